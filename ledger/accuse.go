package ledger

import (
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
		b.saveCase(c, Fact{Kind: FactUnproven, Node: t.Accused})
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
	proofs := 0
	for _, there := range []bool{t.Commitments != nil, t.Pairs != nil, t.Shown != nil, t.Result != nil, t.Look} {
		if there {
			proofs++
		}
	}
	accuser := []share{{account: from, weight: 1}}
	switch {
	case proofs != 1:
	case len(t.Commitments) == 2:
		k, o := t.Commitments[0], t.Commitments[1]
		return b.twoWords(c, t.Accused, accuser, k.Node == t.Accused && o.Node == t.Accused && k.Ballot == o.Ballot && k.Digest != o.Digest &&
			k.Ballot.Task == c.ID() && k.Signature.Verify(n.Node.Peer, k.Hash()) && o.Signature.Verify(n.Node.Peer, o.Hash()))
	case len(t.Pairs) == 2:
		p, o := t.Pairs[0], t.Pairs[1]
		return b.weighPair(c, from, t, func(r *Round) error {
			if p.Ballot != c.Ballot() || o.Ballot != p.Ballot || p.Digests == o.Digests {
				return task.Refuse("accusation-malformed", "two different pairs of one ballot prove something")
			}
			if !p.Signature.Verify(n.Node.Peer, p.Hash()) || !o.Signature.Verify(n.Node.Peer, o.Hash()) {
				return task.Refuse("evidence-unsigned", "the executor has not signed both pairs")
			}
			if !r.HasPair() {
				r.Digests, r.Signature = p.Digests, p.Signature
			}
			if r.Other = &o; !r.contradicts(o) {
				r.Other = &p
			}
			return nil
		})
	case t.Shown != nil:
		return b.weighPair(c, from, t, func(r *Round) error {
			if err := c.CheckShowing(*t.Shown); err != nil {
				return err
			}
			r.put(*t.Shown)
			return nil
		})
	case t.Look:
		return b.weighPair(c, from, t, func(*Round) error { return nil })
	case t.Result != nil:
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
	b.slash(c, id, Equivocation, want, accuser)
	b.jail(id, c.ID())
	b.saveCase(c)
	return true, nil
}

// weighPair judges the pair of the executor of the present, or last, view, with
// what the accusation adds to what the chain has of it. It changes the case only if
// that proves the pair wrong.
func (b *Block) weighPair(c *Case, from task.Address, t task.Accusation, add func(*Round) error) (bool, error) {
	round := &c.View.Pre
	switch {
	case c.Phase < Attesting || t.Accused != c.View.Executor:
		return false, task.Refuse("accusation-early", "node %s does not execute the task now", t.Accused.Short())
	case c.Phase < Closed && round.Progress == Collecting:
		return false, task.Refuse("accusation-early", "the commitments are not closed: its verifiers speak first")
	case round.Faulty || c.slashed(t.Accused, BadEvidence, TwoGood, TwoPairs):
		return false, task.Refuse("nothing-new", "the chain knows that this evidence is faulty")
	}
	before := *round
	if err := add(round); err != nil {
		return false, err
	}
	cause := b.wrong(c)
	if cause == 0 {
		*round = before
		return false, nil
	}
	round.Accuser = from
	if c.Phase < Closed {
		b.foundFaulty(c)
		b.lastWords(c)
		return true, nil
	}
	*round = before // a closed case stays what it was, but for its slashes
	round.Accuser = from
	b.condemn(c, cause)
	says := c.Words()
	for _, v := range round.Reveals {
		if cause == BadEvidence && says(v) == ForGenuine {
			b.falseOK(c, v.Node, task.Amount(c.Member(v.Node).Seats))
		}
	}
	round.Accuser = before.Accuser
	b.saveCase(c)
	return true, nil
}

// weighResult is the accusation that an enclave has signed two results: one of
// them is in a forged receipt.
func (b *Block) weighResult(c *Case, accused task.NodeID, s task.SignedResult, accuser []share) (bool, error) {
	if c.View.Result == nil || accused != c.View.Executor {
		return false, task.Refuse("result-stale", "there is no result of node %s in this task", accused.Short())
	}
	if c.slashed(accused, TwoResults) {
		return false, task.Refuse("nothing-new", "node %s has paid for its two results", accused.Short())
	}
	pre, err := attest.ParseEvidence(c.Genuine())
	first := c.View.Result.Result
	if err != nil || s.Result.Task != c.ID() || s.Result.Evidence != first.Evidence || s.Result.Hash() == first.Hash() ||
		!s.Signature.Verify(pre.Keys.Sign, s.Result.Hash()) {
		return false, nil
	}
	want, _ := b.atStake(accused).MulDiv(b.Params.BadEvidencePPM, million)
	b.slash(c, accused, TwoResults, want, accuser)
	b.jail(accused, c.ID())
	if c.Phase == Reviewing {
		b.settle(c, End{Outcome: ForgedResult})
		return true, nil
	}
	b.saveCase(c)
	return true, nil
}
