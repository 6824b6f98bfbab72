package sim

import (
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Nobody honest is slashed for a lie, whatever fails; and for silence only if
// something did fail (§10.4).
func (w *world) checkSlashes(c *ledger.Case) {
	for _, s := range c.Slashes {
		k := w.byID[s.Node]
		if k.liar != nil {
			continue
		}
		quiet := s.Cause == ledger.NoReveal || s.Cause == ledger.Absent || s.Cause == ledger.Silence ||
			s.Cause == ledger.WrongPick && w.facts.twoGood[task.Ballot{Task: c.ID(), Attempt: s.Attempt, View: s.View}] // it could not show in time that both pieces are good
		// Its own word comes to the chain whatever its executor does, and however messages are lost.
		heard := s.Cause == ledger.NoReveal && !k.faulted
		if !quiet || w.net.heals == 0 || heard {
			w.violate("nobody honest is slashed", "%s lost %s for %s in task %s", k.name, s.Amount, s.Cause, c.ID().Short())
		}
	}
	for _, p := range c.Passed {
		// And who lied about what the chain has seen to be faulty has paid.
		if p.Pre.Faulty && !w.paid(c, p.Executor, p.Attempt, p.View) {
			w.violate("a liar pays", "task %s: %s showed faulty evidence in view %d", c.ID().Short(), w.name(p.Executor), p.View)
		}
	}
	if c.Phase == ledger.Closed && len(c.View.Exit) > 0 {
		bad := w.facts.bad[task.H(task.TagEvidence, c.View.Exit)]
		if o := c.Settlement.Outcome; bad && o != ledger.DirtyExit && o != ledger.BadEnclave && o != ledger.ForgedResult || !bad && o == ledger.DirtyExit && w.byID[c.View.Executor].liar == nil {
			w.violate("a dirty exit is seen", "task %s: %s, and its exit is bad: %t", c.ID().Short(), o, bad)
		}
	}
	if c.Phase == ledger.Closed && (c.View.Pre.Faulty || c.Settlement.Outcome == ledger.DirtyExit) && !w.paid(c, c.View.Executor, c.Attempt, c.View.Number) {
		w.violate("a liar pays", "task %s: %s showed faulty evidence", c.ID().Short(), w.name(c.View.Executor))
	}
}

// paid says whether an executor has lost a part of its bond in its view.
func (w *world) paid(c *ledger.Case, id task.NodeID, attempt, view uint32) bool {
	return slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool {
		return s.Node == id && s.Attempt == attempt && s.View == view && s.Amount > 0 &&
			(s.Cause == ledger.BadEvidence || s.Cause == ledger.TwoGood || s.Cause == ledger.TwoPairs || s.Cause == ledger.UncleanExit || s.Cause == ledger.TwoResults)
	})
}

// A slash takes its share of all that the node has, what is on its way out of
// the bond too, and at least half of it is burned (§10.4). Where something else
// moved the node's money in the same block, its share cannot be told.
func (w *world) checkAmounts(c *ledger.Case) {
	fresh := c.Slashes[w.facts.slashes[c.ID()]:]
	w.facts.slashes[c.ID()] = len(c.Slashes)
	for _, s := range fresh {
		var given task.Amount
		for _, p := range s.Rewards {
			given += p.Amount
		}
		if given > s.Amount/2 {
			w.violate("half of a slash is burned", "%s lost %s for %s, of which %s were given away", w.name(s.Node), s.Amount, s.Cause, given)
		}
		if verifiers := s.Cause == ledger.WrongPick || s.Cause == ledger.FalseOK || s.Cause == ledger.FalseFault || s.Cause == ledger.NoReveal; verifiers && given > 0 {
			w.violate("nobody earns by a verifier's word", "%s lost %s for %s, of which %s were given away", w.name(s.Node), s.Amount, s.Cause, given)
		}
		ppm := map[ledger.Cause]uint64{
			ledger.BadEvidence: w.params.BadEvidencePPM, ledger.TwoGood: w.params.BadEvidencePPM, ledger.UncleanExit: w.params.BadEvidencePPM, ledger.TwoResults: w.params.BadEvidencePPM,
			ledger.Equivocation: w.params.EquivocationPPM, ledger.TwoPairs: w.params.EquivocationPPM,
		}[s.Cause]
		rec, _ := w.chain.node(s.Node)
		all := w.facts.stakes[s.Node]
		before := all[len(all)-1].held
		share := before * task.Amount(ppm) / 1_000_000
		if w.endsTurn(c, s) { // the two may have the result: it costs no less, and so much is burned
			first := min(before, max(w.params.Silence, c.Escrow.Locks[0]))
			share = max(share, first)
			if s.Amount-given < min(s.Amount, first) {
				w.violate("a lie costs what it spares", "%s lost %s for %s, of which %s were given away; %s are at stake for Alice", w.name(s.Node), s.Amount, s.Cause, given, first)
			}
		}
		if ppm > 0 && before-held(rec) == s.Amount && s.Amount != share {
			w.violate("a lie costs its share", "%s lost %s of %s for %s", w.name(s.Node), s.Amount, before, s.Cause)
		}
		if ppm > 0 && rec.JailedUntil <= w.chain.height {
			w.violate("who lies is sent away", "%s lost %s for %s, and stays", w.name(s.Node), s.Amount, s.Cause)
		}
	}
}

// endsTurn says whether a slash is for a lie that ended the turn of an executor whose
// verifiers had spoken: then it may have had keys, and have run.
func (w *world) endsTurn(c *ledger.Case, s ledger.Slash) bool {
	switch s.Cause {
	case ledger.BadEvidence, ledger.TwoGood, ledger.TwoPairs:
		for _, p := range c.Passed {
			if p.Attempt == s.Attempt && p.View == s.View {
				return p.Pre.ClosedAt != 0
			}
		}
		return c.Settlement != nil && c.Settlement.Outcome == ledger.BadEnclave && c.View.Pre.Faulty
	case ledger.UncleanExit:
		return true
	case ledger.TwoResults:
		return c.Settlement != nil && c.Settlement.Outcome == ledger.ForgedResult
	}
	return false
}
