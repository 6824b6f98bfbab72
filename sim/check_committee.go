package sim

import (
	"bytes"
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// noteStakes keeps what every node has after every block, for checkCommittee
// and checkAmounts.
func (w *world) noteStakes() {
	for _, k := range w.workers {
		rec, _ := w.chain.node(k.id)
		all := w.facts.stakes[k.id]
		if last := all[len(all)-1]; last.bond != rec.Bond || last.held != held(rec) {
			w.facts.stakes[k.id] = append(all, stakeAt{w.chain.height, rec.Bond, held(rec)})
		}
		if rec.JailedUntil > 0 {
			w.facts.jailed[k.id] = rec.JailedUntil - w.params.JailBlocks
		}
	}
}

func held(rec ledger.NodeRecord) task.Amount {
	sum := rec.Bond
	for _, u := range rec.Unbonding {
		sum += u.Amount
	}
	return sum
}

// snapshot is the bond that counts in a draw, and the block before which the
// node had it: the end of the epoch before the last.
func (w *world) snapshot(id task.NodeID, seeded uint64) (bond task.Amount, from uint64) {
	if epoch := seeded / w.params.EpochBlocks; epoch >= 2 {
		from = (epoch - 1) * w.params.EpochBlocks
	}
	for _, s := range w.facts.stakes[id] {
		if s.height < from || s.height == 0 {
			bond = s.bond
		}
	}
	return bond, from
}

// The committee is whom the draw drew: with the stake of a whole epoch before,
// not of now, and fixed once the claims are closed (§3.2, §5.5). Who was sent
// away draws nothing, whatever it had.
func (w *world) checkCommittee(c *ledger.Case) {
	if c.SeededAt == 0 {
		return
	}
	// The first part of a block's beacon is given with a precommit of the block before,
	// which is while that one is being decided (§4.2).
	if v := c.View; c.Phase != ledger.Posted && c.SeededAt < c.Began+2 || v.ExitAt != 0 && v.ExitAt < v.ResultAt+2 {
		w.violate("nobody knows a seed before its task is final", "task %s: called for in block %d, seeded in %d; result in %d, the exit's nonce in %d",
			c.ID().Short(), c.Began, c.SeededAt, v.ResultAt, v.ExitAt)
	}
	var total task.Amount
	for _, k := range w.workers {
		stake, _ := w.snapshot(k.id, c.SeededAt)
		total += stake
	}
	if c.TotalStake != total {
		w.violate("stake counts from the snapshot", "task %s: the draw is of %s in all, there were %s", c.ID().Short(), c.TotalStake, total)
	}
	for _, m := range c.Members {
		stake, from := w.snapshot(m.Claim.Node, c.SeededAt)
		jailed := w.facts.jailed[m.Claim.Node]
		switch {
		case jailed > 0 && jailed >= from && jailed < c.SeededAt:
			w.violate("who is jailed draws nothing", "%s was sent away in block %d, and sits with %d seats", w.name(m.Claim.Node), jailed, m.Seats)
		case m.Stake != stake:
			w.violate("stake counts from the snapshot", "%s draws with %s, it had %s before block %d", w.name(m.Claim.Node), m.Stake, stake, from)
		}
	}
	if c.Phase >= ledger.Attesting && c.Phase < ledger.Closed {
		raw := task.Encode(c.Members)
		key := attemptKey{c.ID(), c.Attempt}
		if old, ok := w.facts.members[key]; ok && !bytes.Equal(old, raw) {
			w.violate("a committee is fixed", "task %s attempt %d", c.ID().Short(), c.Attempt)
		}
		w.facts.members[key] = raw
	}
}

// Claims close in time: after their blocks when two thirds of the expected seats
// are there and it is a committee, in the block that brings so many, or in the last
// one (§6.3).
func (w *world) checkClaims(c *ledger.Case) {
	var seats uint32
	for _, m := range c.Members {
		seats += m.Seats
	}
	key, height := attemptKey{c.ID(), c.Attempt}, w.chain.height
	if c.Phase == ledger.Electing {
		w.facts.electing[key] = electing{c.SeededAt, seats}
		return
	}
	if c.Phase == ledger.Posted { // the attempt before may have come to no committee
		key.attempt--
	}
	e, open := w.facts.electing[key]
	if !open {
		return
	}
	delete(w.facts.electing, key)
	pledged := slices.ContainsFunc(c.Declined, func(d ledger.Declined) bool { // it could have begun, had its executors more at stake
		return d.Decline.Attempt == key.attempt && d.Decline.Lack.Reason == task.Pledged
	})
	first, last := e.seeded+w.params.ClaimBlocks, e.seeded+4*w.params.ClaimBlocks
	switch {
	case height < first || height > last:
		w.violate("claims close in time", "task %s: seeded in block %d, closed in %d", c.ID().Short(), e.seeded, height)
	case height < last && (c.Phase != ledger.Attesting && !pledged || 3*seats < 2*c.Seats):
		w.violate("claims close in time", "task %s: %d of %d seats in block %d, and nobody waits until %d", c.ID().Short(), seats, c.Seats, height, last)
	case height > first && c.Phase == ledger.Attesting && 3*seats >= 2*c.Seats && seats == e.seats:
		w.violate("claims close in time", "task %s: nobody came in block %d, which closed them", c.ID().Short(), height)
	}
}

// The executor owns the lowest ticket of those who have the runtime, have neither
// declined nor been passed over, and were not busy when they claimed (§5.3, §6.4).
func (w *world) checkExecutor(c *ledger.Case) {
	if c.View.Executor.IsZero() || c.Phase < ledger.Attesting {
		return
	}
	type drawn struct {
		hash task.Hash
		node task.NodeID
	}
	var tickets []drawn
	for _, m := range c.Members {
		if !slices.Contains(m.Node.Runtimes, c.Function.Manifest.Runtime) || m.Claim.Busy != nil {
			continue
		}
		for j := range m.Seats {
			tickets = append(tickets, drawn{task.H(task.TagTicket, m.Beta[:], task.U64(uint64(j))), m.Claim.Node})
		}
	}
	slices.SortFunc(tickets, func(a, b drawn) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	out := map[task.NodeID]bool{}
	for _, p := range c.Passed {
		if p.Attempt == c.Attempt && p.View < c.View.Number {
			out[p.Executor] = true
		}
	}
	for _, d := range c.Declined {
		if d.From <= c.View.Number {
			out[d.Decline.Node] = true
		}
	}
	tickets = slices.DeleteFunc(tickets, func(t drawn) bool { return out[t.node] })
	if len(tickets) == 0 || tickets[0].node != c.View.Executor {
		w.violate("the executor owns the lowest ticket", "task %s view %d: %s", c.ID().Short(), c.View.Number, w.name(c.View.Executor))
	}
}

// Nobody is passed over on the word of its committee unless n−f seats have gone
// on; a liar may have said anything, so it counts as gone (§6.2).
func (w *world) checkSkips(c *ledger.Case) {
	for _, p := range c.Passed {
		if p.Height != w.chain.height || p.Attempt != c.Attempt || p.Why != ledger.FoundSilent {
			continue
		}
		var gone, all uint32
		for _, m := range c.Members {
			all += m.Seats
			if w.byID[m.Claim.Node].liar != nil || w.facts.gone[goneKey{attemptNode{c.ID(), c.Attempt, m.Claim.Node}, p.View + 1}] {
				gone += m.Seats
			}
		}
		if gone < quorum(all) {
			w.violate("a quorum passes over", "%s was passed over by %d of %d seats at most", w.name(p.Executor), gone, all)
		}
	}
}
