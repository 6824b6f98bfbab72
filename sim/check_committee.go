package sim

import (
	"bytes"
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// noteStakes keeps every node's bond at every height, for checkCommittee.
func (w *world) noteStakes() {
	for _, k := range w.workers {
		rec, _ := w.chain.read().Node(k.id)
		all := w.facts.stakes[k.id]
		if all[len(all)-1].amount != rec.Bond {
			w.facts.stakes[k.id] = append(all, stakeAt{w.chain.height, rec.Bond})
		}
	}
}

// The committee is whom the draw drew: with the stake of a whole epoch before,
// not of now, and fixed once the claims are closed (§3.2, §5.5).
func (w *world) checkCommittee(c *ledger.Case) {
	for _, m := range c.Members {
		epoch := c.SeededAt / w.params.EpochBlocks
		from := uint64(0) // what counted: the bond at the end of the epoch before the last
		if epoch >= 2 {
			from = (epoch - 1) * w.params.EpochBlocks
		}
		var stake task.Amount
		for _, s := range w.facts.stakes[m.Claim.Node] {
			if s.height < from || s.height == 0 {
				stake = s.amount
			}
		}
		if m.Stake > stake {
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

// The executor owns the lowest ticket of those who were not passed over (§5.3).
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
		for j := range m.Seats {
			tickets = append(tickets, drawn{task.H(task.TagTicket, m.Beta[:], task.U64(uint64(j))), m.Claim.Node})
		}
	}
	slices.SortFunc(tickets, func(a, b drawn) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	var order []task.NodeID
	for _, t := range tickets {
		if !slices.Contains(order, t.node) {
			order = append(order, t.node)
		}
	}
	if int(c.View.Number) >= len(order) || order[c.View.Number] != c.View.Executor {
		w.violate("the executor owns the lowest ticket", "task %s view %d: %s", c.ID().Short(), c.View.Number, w.name(c.View.Executor))
	}
}
