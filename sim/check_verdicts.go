package sim

import (
	"bytes"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// quorum is n−f for f = ⌊(n−1)/3⌋ (§6.2).
func quorum(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return n - (n-1)/3
}

// mayJudge: all members but the executor and those who were passed over.
func mayJudge(c *ledger.Case, id task.NodeID) bool {
	return id != c.View.Executor && !slices.ContainsFunc(c.Passed, func(p ledger.Pass) bool { return p.Executor == id && p.Attempt == c.Attempt })
}

// naming is what a judge said of the round's pair.
type naming uint8

const (
	nothing naming = iota // or of another pair
	theGenuine
	theOther
	neither
)

// named is what a node has said of the pair that the chain has, by the place that
// the executor's VRF names.
func named(c *ledger.Case, id task.NodeID) naming {
	round := &c.View.Pre
	pair := task.Pair{Ballot: c.Ballot(), Digests: round.Digests}.Hash()
	for _, r := range round.Reveals {
		switch {
		case r.Node != id || r.Pair != pair || !mayJudge(c, id):
		case r.Verdict == task.Fault:
			return neither
		case round.OpenedAt == 0:
			return nothing
		case r.Place == round.Place:
			return theGenuine
		default:
			return theOther
		}
	}
	return nothing
}

// judges counts the seats that judge, and those of them that named the genuine
// place.
func judges(c *ledger.Case) (said, all uint32) {
	for _, m := range c.Members {
		if mayJudge(c, m.Claim.Node) {
			all += m.Seats
			if named(c, m.Claim.Node) == theGenuine {
				said += m.Seats
			}
		}
	}
	return said, all
}

// Only judges are heard; reveals count once the set is closed, and open what
// was committed to; keys go out only after n−f seats named the genuine place,
// which is where the executor's own VRF has put it (§7.5, §7.6, §8.1).
func (w *world) checkVerdicts(c *ledger.Case) {
	round := &c.View.Pre
	for _, k := range round.Commitments {
		if c.Phase >= ledger.Attesting && !mayJudge(c, k.Node) {
			w.violate("only judges are heard", "task %s: %s commits to a verdict", c.ID().Short(), w.name(k.Node))
		}
	}
	w.checkClosed(c, round)
	for _, r := range round.Reveals {
		if round.ClosedAt == 0 {
			w.violate("reveals wait for the commitments", "task %s: %s revealed before", c.ID().Short(), w.name(r.Node))
		}
		if !slices.ContainsFunc(round.Commitments, func(k task.Commitment) bool {
			return k.Node == r.Node && k.Digest == task.H(task.TagCommitment, task.Encode(r))
		}) {
			w.violate("a reveal opens its commitment", "task %s: that of %s does not", c.ID().Short(), w.name(r.Node))
		}
		w.checkHonest(c, r)
	}
	if x := w.byID[c.View.Executor]; x != nil && round.OpenedAt != 0 && c.Phase >= ledger.Attesting {
		if out := x.vrf.Output(c.Ballot().PairInput()); round.Place != out[0]&1 {
			w.violate("the place is the executor's VRF's", "task %s: %s chose place %d itself", c.ID().Short(), x.name, round.Place)
		}
		if round.OpenedAt < round.ClosedAt {
			w.violate("a pair is opened when the set is closed", "task %s: opened in block %d", c.ID().Short(), round.OpenedAt)
		}
	}
	if c.Phase == ledger.Releasing || c.Phase == ledger.Running || c.Phase == ledger.Reviewing {
		if _, all := judges(c); agreed(c) < quorum(all) {
			w.violate("keys wait for a quorum", "task %s is %s with %d of %d seats", c.ID().Short(), c.Phase, agreed(c), all)
		}
	}
}

// A commit set is closed when a quorum is in it, and then it is closed (§7.5).
func (w *world) checkClosed(c *ledger.Case, round *ledger.Round) {
	if round.ClosedAt == 0 || c.Phase < ledger.Attesting { // a round of the attempt before
		return
	}
	key := task.Ballot{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number}
	raw := task.Encode(round.Commitments)
	if old, ok := w.facts.closed[key]; ok && !bytes.Equal(old, raw) {
		w.violate("a closed set is closed", "task %s: a commitment came after block %d", c.ID().Short(), round.ClosedAt)
	}
	w.facts.closed[key] = raw
}

// checkHonest: the world has seen all evidence being made, and an honest
// verifier says of it what is true; its own nonce is in what it calls good (§7.4).
func (w *world) checkHonest(c *ledger.Case, r task.Reveal) {
	k := w.byID[r.Node]
	if k.liar != nil {
		return
	}
	p, made := w.facts.pairs[r.Pair]
	bad := [2]bool{w.facts.bad[p.digests[0]], w.facts.bad[p.digests[1]]}
	if right := r.Verdict == task.Fault && bad[0] && bad[1] || r.Verdict == task.OK && !bad[r.Place&1]; !made || !right {
		w.violate("an honest verifier says what is true", "task %s: %s said %s %d of a pair that is bad: %v, made by an enclave: %t", c.ID().Short(), k.name, r.Verdict, r.Place, bad, made)
		return
	}
	ev, err := attest.ParseEvidence(c.View.Pre.Evidence[r.Place&1])
	if r.Verdict == task.OK && err == nil && ev.Digest() == p.digests[r.Place&1] && ev.Nonce != c.Nonce() {
		w.violate("evidence answers the members' nonce", "task %s: %s said OK to other evidence", c.ID().Short(), k.name)
	}
}

// Proof beats words: one judge's doubt about bad evidence makes the chain look for
// itself, however many name it; and a pair that is as it should be stays so (§10.4).
func (w *world) checkProof(c *ledger.Case) {
	round := &c.View.Pre
	if round.OpenedAt == 0 || c.Phase < ledger.Attesting {
		return
	}
	bad, made := w.facts.bad[round.Digests[round.Place&1]]
	doubted := slices.ContainsFunc(c.Members, func(m ledger.Member) bool { n := named(c, m.Claim.Node); return n == theOther || n == neither })
	if doubted && bad && !round.Faulty {
		w.violate("proof beats words", "task %s: a doubt about bad evidence of %s was shrugged off", c.ID().Short(), w.name(c.View.Executor))
	}
	if round.Faulty && round.Other == nil && made && !bad && !w.facts.twoGood[c.Ballot()] {
		w.violate("proof beats words", "task %s: good evidence of %s was found faulty", c.ID().Short(), w.name(c.View.Executor))
	}
}

// A word has its price: who named the decoy of a pair that is as it should be, said
// FAULT to it or kept silent, pays when the case is closed, and who named the
// genuine place of bad evidence does (§10.4).
func (w *world) checkWords(c *ledger.Case) {
	round := &c.View.Pre
	s := c.Settlement
	if s == nil || s.Height != w.chain.height || round.ClosedAt == 0 || s.Outcome == ledger.ExecutorsFailed || s.Outcome == ledger.NoCommittee {
		return
	}
	bad := w.facts.bad[round.Digests[round.Place&1]]
	for _, k := range round.Commitments {
		want := ledger.Cause(0)
		spoke := slices.ContainsFunc(round.Reveals, func(r task.Reveal) bool { return r.Node == k.Node })
		switch said := named(c, k.Node); {
		case !spoke && s.Height >= round.ClosedAt+w.params.CommitBlocks:
			want = ledger.NoReveal
		case round.Other != nil || w.facts.twoGood[c.Ballot()] && round.Faulty || round.OpenedAt == 0:
		case said == theGenuine && bad && round.Faulty:
			want = ledger.FalseOK
		case said == theOther && !bad:
			want = ledger.WrongPick
		case said == neither && !bad:
			want = ledger.FalseFault
		}
		if rec, _ := w.chain.node(k.Node); want == 0 || rec.Lost == 0 && held(rec) == 0 {
			continue // nothing to pay, or nothing to pay with
		}
		if !slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool {
			return s.Node == k.Node && s.Cause == want && s.View == c.View.Number && s.Attempt == c.Attempt
		}) {
			w.violate("a false word costs", "task %s: %s has not paid for %s", c.ID().Short(), w.name(k.Node), want)
		}
	}
}
