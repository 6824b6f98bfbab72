package ledger

import (
	"bytes"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// accuse judges a proof that anyone brings while a case is open and for the
// dispute window after it (spec §10.5). An accusation that proves nothing
// costs its bond; one about what is known already is refused.
func (b *Block) accuse(from task.Address, t task.Accusation) error {
	c, ok := b.loadCase(t.Ballot.Task)
	if !ok {
		return task.Refuse("no-task", "task %s is not on this chain", t.Ballot.Task.Short())
	}
	if c.Phase == Closed && b.Height > c.Settlement.Height+b.Params.DisputeBlocks {
		return task.Refuse("dispute-over", "task %s was settled in block %d; its dispute window is over", c.ID().Short(), c.Settlement.Height)
	}
	if err := b.debit(from, b.Params.AccusationBond); err != nil {
		return err
	}
	proven, err := b.weighProof(c, from, t)
	switch {
	case err != nil:
		return err
	case proven:
		b.credit(from, b.Params.AccusationBond)
	default:
		b.meta.Burned += b.Params.AccusationBond
		b.saveCase(c, c.Deadline, "an accusation against %s proved nothing", t.Accused.Short())
	}
	return nil
}

// weighProof does what the proof of an accusation asks for. An error says that
// there is nothing to judge; the bond is not lost then.
func (b *Block) weighProof(c *Case, from task.Address, t task.Accusation) (proven bool, err error) {
	n, ok := load[NodeRecord](b.state, join(keyNode, t.Accused[:]))
	if !ok {
		return false, task.Refuse("no-node", "node %s is not registered", t.Accused.Short())
	}
	accuser := []share{{account: from, weight: 1}}
	switch {
	case len(t.Commitments) == 2 && t.Shown == nil && t.Result == nil:
		k, o := t.Commitments[0], t.Commitments[1]
		return b.twoWords(c, t.Accused, accuser, k.Node == t.Accused && o.Node == t.Accused && k.Ballot == o.Ballot && k.Digest != o.Digest &&
			k.Ballot.Task == c.ID() && k.Signature.Verify(n.Node.Peer, k.Hash()) && o.Signature.Verify(n.Node.Peer, o.Hash()))
	case t.Shown != nil && t.Commitments == nil && t.Result == nil:
		return b.weighShown(c, from, t.Accused, *t.Shown)
	case t.Result != nil && t.Commitments == nil && t.Shown == nil:
		return b.weighResult(c, t.Accused, *t.Result, accuser)
	}
	return false, task.Refuse("accusation-malformed", "an accusation brings exactly one kind of proof")
}

// maxSlashes bounds what nodes that are not even members can write into a case,
// with two words for one ballot that nobody asked them for.
const maxSlashes = 1024

// twoWords slashes an equivocator once in each task.
func (b *Block) twoWords(c *Case, id task.NodeID, accuser []share, proven bool) (bool, error) {
	if !proven {
		return false, nil
	}
	for _, s := range c.Slashes {
		if s.Node == id && s.Cause == Equivocation {
			return false, task.Refuse("nothing-new", "node %s has paid for its two words in this task", id.Short())
		}
	}
	if len(c.Slashes) >= maxSlashes {
		return false, task.Refuse("nothing-new", "task %s has no room for more slashes", c.ID().Short())
	}
	want, _ := b.atStake(id).MulDiv(b.Params.EquivocationPPM, million)
	b.slash(c, id, 0, Equivocation, want, accuser)
	b.jail(id, c.ID())
	b.saveCase(c, c.Deadline, "node %s has committed to two verdicts in one round", id.Short())
	return true, nil
}

// weighShown appraises evidence that the executor of the present, or last, view
// has signed.
func (b *Block) weighShown(c *Case, from task.Address, accused task.NodeID, s task.Showing) (bool, error) {
	if err := c.CheckShowing(s); err != nil {
		return false, err
	}
	if c.Phase < Attesting {
		return false, task.Refuse("accusation-early", "the task waits for its next committee")
	}
	r := s.Ballot.Round
	if r == task.PreRun && c.View.Canary != nil || r != c.PreRound() && r != task.PostRun {
		return false, task.Refuse("nothing-new", "the evidence of that round was a canary, and is settled")
	}
	if round := c.Round(r); c.Phase < Closed && (round.ClosedAt == 0 || r == task.PostRun && (c.Phase != Reviewing || c.View.Pre.Faulty)) {
		return false, task.Refuse("accusation-early", "the %s commitments are not closed: its verifiers speak first, and an executor must be able to explain itself", r)
	}
	if accused == c.View.Executor {
		return b.weighEvidence(c, from, s)
	}
	return b.weighVerdict(c, accused, s, []share{{account: from, weight: 1}})
}

// weighEvidence is the accusation of an executor. While the case is open the
// accused may still show that it was a canary; after it, it is too late.
func (b *Block) weighEvidence(c *Case, from task.Address, s task.Showing) (bool, error) {
	r := s.Ballot.Round
	cause := BadEvidence
	if r == task.PostRun {
		cause = UncleanExit
	}
	round := c.Round(r)
	if round.Faulty || c.slashed(c.View.Executor, r, cause) {
		return false, task.Refuse("nothing-new", "the chain knows that this evidence is faulty")
	}
	if b.appraise(c, r, s.Evidence) == task.OK {
		return false, nil
	}
	if c.Phase == Closed {
		want, _ := b.atStake(c.View.Executor).MulDiv(b.Params.BadEvidencePPM, million)
		b.slash(c, c.View.Executor, r, cause, want, []share{{account: from, weight: 1}})
		b.jail(c.View.Executor, c.ID())
		b.saveCase(c, c.Deadline, "the %s evidence of %s was faulty", r, c.View.Executor.Short())
		return true, nil
	}
	switch {
	case len(round.Evidence) == 0:
		c.put(s)
	case !bytes.Equal(round.Evidence, s.Evidence):
		round.Other = &s
	}
	round.Accuser = from
	b.foundFaulty(c, r)
	return true, nil
}

// weighVerdict is the accusation of a verifier whose words nobody held against
// the evidence at the time.
func (b *Block) weighVerdict(c *Case, accused task.NodeID, s task.Showing, accuser []share) (bool, error) {
	r := s.Ballot.Round
	digest := task.H(task.TagEvidence, s.Evidence)
	if c.Phase != Closed {
		return false, task.Refuse("accusation-early", "verdicts of an open task are judged when their round ends; accuse the executor")
	}
	for _, v := range c.Round(r).Reveals {
		if v.Node != accused || v.Evidence != digest {
			continue
		}
		if c.slashed(accused, r, FalseOK, FalseFault) {
			return false, task.Refuse("nothing-new", "node %s has paid for this verdict", accused.Short())
		}
		seats := task.Amount(c.Member(accused).Seats)
		switch truth := b.appraise(c, r, s.Evidence); {
		case truth == v.Verdict:
			return false, nil
		case v.Verdict == task.OK:
			b.slash(c, accused, r, FalseOK, seats*b.Params.Miss, accuser)
			b.missed(accused, c.ID())
		default:
			b.slash(c, accused, r, FalseFault, seats*b.Params.FalseAlarm, accuser)
		}
		b.saveCase(c, c.Deadline, "the %s verdict of %s was false", r, accused.Short())
		return true, nil
	}
	return false, task.Refuse("verdict-unknown", "node %s said nothing about this evidence", accused.Short())
}

// weighResult is the accusation that an enclave has signed two results: one of
// them is in a forged receipt.
func (b *Block) weighResult(c *Case, accused task.NodeID, s task.SignedResult, accuser []share) (bool, error) {
	if c.View.Result == nil || accused != c.View.Executor {
		return false, task.Refuse("result-stale", "there is no result of node %s in this task", accused.Short())
	}
	if c.slashed(accused, 0, TwoResults) {
		return false, task.Refuse("nothing-new", "node %s has paid for its two results", accused.Short())
	}
	pre, err := attest.ParseEvidence(c.View.Pre.Evidence)
	first := c.View.Result.Result
	if err != nil || s.Result.Task != c.ID() || s.Result.Evidence != first.Evidence || s.Result.Hash() == first.Hash() ||
		!s.Signature.Verify(pre.Keys.Sign, s.Result.Hash()) {
		return false, nil
	}
	want, _ := b.atStake(accused).MulDiv(b.Params.BadEvidencePPM, million)
	b.slash(c, accused, 0, TwoResults, want, accuser)
	b.jail(accused, c.ID())
	if c.Phase == Reviewing {
		b.settle(c, ForgedResult)
		return true, nil
	}
	b.saveCase(c, c.Deadline, "the enclave of %s has signed two results", accused.Short())
	return true, nil
}
