package sim

import (
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// checkTurns: whoever declines, or is passed over by words, loses its turn and no
// money. Words take no turn before their time, nor of one that has shown evidence.
// Silence costs what the rules say, and nobody gets any of it (§6.4, §6.6).
func (w *world) checkTurns(c *ledger.Case) {
	for _, d := range c.Declined {
		turn := d.From - 1
		if d.Turn && w.paidFor(c, d.Decline.Node, c.Attempt, turn, ledger.Absent, ledger.Silence) {
			w.violate("a decline costs nothing", "task %s: %s declined in view %d, and lost money", c.ID().Short(), w.name(d.Decline.Node), turn)
		}
		if d.Turn && c.View.Executor == d.Decline.Node && c.View.Number == turn && c.Phase != ledger.Closed && c.Phase != ledger.Posted {
			w.violate("a declined turn is over", "task %s: it is still the turn of %s", c.ID().Short(), w.name(d.Decline.Node))
		}
	}
	for _, p := range c.Passed {
		if p.Why == ledger.GaveUp && !w.paidFor(c, p.Executor, p.Attempt, p.View, ledger.Silence) {
			w.violate("who gives up pays for silence", "task %s: %s gave up in view %d, and paid nothing", c.ID().Short(), w.name(p.Executor), p.View)
		}
		if k := w.byID[p.Executor]; p.Why == ledger.GaveUp && k.liar == nil && !k.faulted {
			w.violate("nobody gives up an enclave that it has", "task %s: %s gave up in view %d, and nothing had failed", c.ID().Short(), k.name, p.View)
		}
		if p.Why != ledger.FoundSilent {
			continue
		}
		if w.paidFor(c, p.Executor, p.Attempt, p.View, ledger.Absent, ledger.Silence) {
			w.violate("words cost nothing", "task %s: %s was passed over by words in view %d, and lost money", c.ID().Short(), w.name(p.Executor), p.View)
		}
		if p.Pre.Digests != [2]task.Hash{} {
			w.violate("words wait", "task %s: %s was passed over by words, with its evidence on the chain", c.ID().Short(), w.name(p.Executor))
		}
		began := w.facts.began[turn{c.ID(), p.Attempt, p.View}]
		if p.Height < began+w.params.SkipBlocks {
			w.violate("words wait", "task %s: %s was passed over by words in block %d; its turn had begun in block %d", c.ID().Short(), w.name(p.Executor), p.Height, began)
		}
	}
	if c.Phase == ledger.Attesting {
		key := turn{c.ID(), c.Attempt, c.View.Number}
		if _, known := w.facts.began[key]; !known {
			w.facts.began[key] = c.View.StartedAt
		}
	}
	for _, s := range c.Slashes {
		price, silence := map[ledger.Cause]task.Amount{ledger.Absent: w.params.Absent, ledger.Silence: max(w.params.Silence, c.Escrow.Of(0))}[s.Cause]
		if silence && (s.Amount > price || len(s.Rewards) > 0) {
			w.violate("silence is burned", "task %s: %s lost %s for %s, of which others got %d parts", c.ID().Short(), w.name(s.Node), s.Amount, s.Cause, len(s.Rewards))
		}
	}
	w.checkBlame(c)
}

// paidFor says whether a node has lost money for one of some causes in a view.
func (w *world) paidFor(c *ledger.Case, id task.NodeID, attempt, view uint32, causes ...ledger.Cause) bool {
	return slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool {
		return s.Node == id && s.Attempt == attempt && s.View == view && s.Amount > 0 && slices.Contains(causes, s.Cause)
	})
}

// checkBlame: an owner that serves everyone is blamed for a file only by the words
// of liars, and of workers that something had failed at, and only if they have most
// of the tickets, or are many (§6.4.7).
func (w *world) checkBlame(c *ledger.Case) {
	if c.Settlement == nil {
		return
	}
	p, why := w.alice, task.Lack{Reason: task.NoFile, Party: 1}
	if c.Settlement.Outcome == ledger.CodeWithheld {
		p, why.Party = w.bob, 2
	} else if c.Settlement.Outcome != ledger.InputWithheld {
		return
	}
	if p.withholds {
		return
	}
	var said, able, nodes uint32
	for _, m := range c.Members {
		if slices.Contains(m.Node.Runtimes, c.Function.Manifest.Runtime) {
			able += m.Seats
		}
		i := slices.IndexFunc(c.Declined, func(d ledger.Declined) bool {
			return d.Turn && d.Decline.Node == m.Claim.Node && d.Decline.Lack == why
		})
		if i < 0 {
			continue
		}
		if k := w.byID[m.Claim.Node]; k.liar == nil && !k.faulted {
			w.violate("an honest owner is not blamed", "task %s: %s serves everyone, and %s says that its file does not come", c.ID().Short(), p.name, k.name)
		}
		said, nodes = said+m.Seats, nodes+1
	}
	if 2*said <= able && nodes < 8 {
		w.violate("an honest owner is not blamed", "task %s: %s, and %s serves everyone; %d of %d seats say otherwise", c.ID().Short(), c.Settlement.Outcome, p.name, said, able)
	}
}

// checkDeclined: a decline is on the disk before it is sent (§6.4).
func (w *world) checkDeclined(k *worker, d task.Decline) {
	r := k.disk.records[d.Task]
	if r == nil || !slices.ContainsFunc(r.declines, func(o task.Decline) bool { return o.Attempt == d.Attempt }) {
		w.violate("a word is stored before it is said", "%s declines in task %s", k.name, d.Task.Short())
	}
}

// checkBusy: whoever said with its claim that it is busy gets no turn, though somebody
// cut that word off: it says so again, and the chain hears it within two blocks (§6.4.1).
func (w *world) checkBusy(c *ledger.Case) {
	if c.Phase != ledger.Electing && c.Phase != ledger.Attesting {
		return
	}
	height := w.chain.height
	for _, m := range c.Members {
		key := attemptNode{c.ID(), c.Attempt, m.Claim.Node}
		if _, known := w.facts.bare[key]; w.facts.busy[key] && m.Claim.Busy == nil && !known {
			w.facts.bare[key] = height
		}
	}
	x := w.byID[c.View.Executor]
	from, cut := w.facts.bare[attemptNode{c.ID(), c.Attempt, c.View.Executor}]
	late := from + 2 + 30/w.params.IntervalMillis
	if c.Phase == ledger.Attesting && cut && !x.faulted && c.View.StartedAt > late {
		w.violate("who is busy gets no turn", "task %s: %s said so before block %d, and its turn began in block %d", c.ID().Short(), x.name, from, c.View.StartedAt)
	}
}

// checkPledges: what a node has pledged is what its silence would cost in the turns that
// it has, and nothing else (§6.4.11).
func (w *world) checkPledges() {
	want := map[task.NodeID]task.Amount{}
	for _, j := range w.jobs {
		c, ok := w.chain.at(j.id)
		if ok && c.Phase >= ledger.Attesting && c.Phase < ledger.Closed {
			want[c.View.Executor] += max(w.params.Silence, c.Escrow.Locks[0])
		}
	}
	for _, k := range w.workers {
		if n, ok := w.chain.node(k.id); ok && n.Pledged != want[k.id] {
			w.violate("pledges are for turns", "%s has pledged %s, and its turns could cost %s", k.name, n.Pledged, want[k.id])
		}
	}
}
