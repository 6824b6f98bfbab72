package sim

import (
	"bytes"
	"encoding/binary"
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

// spoke is 1 if a judge said a verdict to the round's evidence.
func spoke(c *ledger.Case, round *ledger.Round, id task.NodeID, v task.Verdict) uint32 {
	digest := task.H(task.TagEvidence, round.Evidence)
	for _, r := range round.Reveals {
		if r.Node == id && r.Verdict == v && r.Evidence == digest && mayJudge(c, id) {
			return 1
		}
	}
	return 0
}

// judges counts the seats that judge, and those of them that said a verdict to
// the round's evidence.
func judges(c *ledger.Case, round *ledger.Round, v task.Verdict) (said, all uint32) {
	for _, m := range c.Members {
		if mayJudge(c, m.Claim.Node) {
			all += m.Seats
			said += m.Seats * spoke(c, round, m.Claim.Node, v)
		}
	}
	return said, all
}

// Only judges are heard; reveals count once the set is closed, and open what
// was committed to; keys go out only after n−f seats said OK (§7.5, §8.1).
func (w *world) checkVerdicts(c *ledger.Case) {
	for i, round := range []*ledger.Round{&c.View.Pre, &c.View.Post} {
		for _, k := range round.Commitments {
			if c.Phase >= ledger.Attesting && !mayJudge(c, k.Node) {
				w.violate("only judges are heard", "task %s: %s commits to a verdict", c.ID().Short(), w.name(k.Node))
			}
		}
		w.checkClosed(c, []task.Round{task.PreRun, task.PostRun}[i], round)
		for _, r := range round.Reveals {
			if round.ClosedAt == 0 {
				w.violate("reveals wait for the commitments", "task %s: %s revealed before", c.ID().Short(), w.name(r.Node))
			}
			if !slices.ContainsFunc(round.Commitments, func(k task.Commitment) bool {
				return k.Node == r.Node && k.Digest == task.H(task.TagCommitment, task.Encode(r))
			}) {
				w.violate("a reveal opens its commitment", "task %s: that of %s does not", c.ID().Short(), w.name(r.Node))
			}
			w.checkHonest(c, round == &c.View.Pre, round, r)
		}
	}
	if c.Phase == ledger.Releasing || c.Phase == ledger.Running || c.Phase == ledger.Reviewing {
		if ok, all := judges(c, &c.View.Pre, task.OK); ok < quorum(all) {
			w.violate("keys wait for a quorum", "task %s is %s with %d of %d seats", c.ID().Short(), c.Phase, ok, all)
		}
	}
}

// A commit set is closed when a quorum is in it, and then it is closed (§7.5).
func (w *world) checkClosed(c *ledger.Case, r task.Round, round *ledger.Round) {
	if round.ClosedAt == 0 || c.Phase < ledger.Attesting { // a round of the attempt before
		return
	}
	if r == task.PreRun && c.View.Canary != nil {
		r = task.Recheck
	}
	key := task.Ballot{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number, Round: r}
	raw := task.Encode(round.Commitments)
	if old, ok := w.facts.closed[key]; ok && !bytes.Equal(old, raw) {
		w.violate("a closed set is closed", "task %s: a commitment came after block %d", c.ID().Short(), round.ClosedAt)
	}
	w.facts.closed[key] = raw
}

// checkHonest: the world has seen all evidence being made, and an honest
// verifier says of it what is true; before the run its own nonce is in it (§7.4).
func (w *world) checkHonest(c *ledger.Case, before bool, round *ledger.Round, r task.Reveal) {
	k := w.byID[r.Node]
	bad, made := w.facts.bad[r.Evidence]
	if k.liar != nil {
		return
	}
	if !made || bad != (r.Verdict == task.Fault) {
		w.violate("an honest verifier says what is true", "task %s: %s said %s to evidence that is bad: %t, made by an enclave: %t", c.ID().Short(), k.name, r.Verdict, bad, made)
	}
	ev, err := attest.ParseEvidence(round.Evidence)
	if before && r.Verdict == task.OK && err == nil && ev.Digest() == r.Evidence && !slices.Contains(ev.Nonces, attest.Nonce(c.Member(r.Node).Beta, r.Node)) {
		w.violate("evidence answers the verifier's nonce", "task %s: %s said OK to other evidence", c.ID().Short(), k.name)
	}
}

// Proof beats words: one judge's FAULT about bad evidence makes the chain look
// for itself, however many say OK; and good evidence stays good (§10.4).
func (w *world) checkProof(c *ledger.Case) {
	for _, round := range []*ledger.Round{&c.View.Pre, &c.View.Post} {
		if len(round.Evidence) == 0 {
			continue
		}
		digest := task.H(task.TagEvidence, round.Evidence)
		bad, made := w.facts.bad[digest]
		if doubted, _ := judges(c, round, task.Fault); doubted > 0 && bad && !round.Faulty {
			w.violate("proof beats words", "task %s: a FAULT about bad evidence of %s was shrugged off", c.ID().Short(), w.name(c.View.Executor))
		}
		if round.Faulty && round.Other == nil && made && !bad {
			w.violate("proof beats words", "task %s: good evidence of %s was found faulty", c.ID().Short(), w.name(c.View.Executor))
		}
	}
}

// A canary is one only if the enclave's own VRF asked for it, and what comes
// after it is genuine, of the same enclave (§7.6).
func (w *world) checkCanary(c *ledger.Case) {
	past := c.View.Canary
	if past == nil {
		return
	}
	was, err := attest.ParseEvidence(past.Round.Evidence)
	if past.Round.Other != nil {
		was, err = attest.ParseEvidence(past.Round.Other.Evidence)
	}
	is, err2 := attest.ParseEvidence(c.View.Pre.Evidence)
	if err != nil || err2 != nil {
		w.violate("a canary is the enclave's", "task %s: evidence that nobody can read", c.ID().Short())
		return
	}
	e := w.facts.enclaves[string(was.Keys.Seal[:32])]
	switch {
	case e == nil || !e.due:
		w.violate("a canary is the enclave's", "task %s: %s excuses itself with one that it never drew", c.ID().Short(), w.name(c.View.Executor))
	case !bytes.Equal(was.Keys.Seal, is.Keys.Seal):
		w.violate("a canary is the enclave's", "task %s: %s shows another enclave after it", c.ID().Short(), w.name(c.View.Executor))
	case w.facts.bad[is.Digest()]:
		w.violate("what follows a canary is genuine", "task %s: %s shows bad evidence", c.ID().Short(), w.name(c.View.Executor))
	}
}

// canaryDue is the share of the enclaves that must show faulty evidence: of
// the first 64 bits of β as a fraction of one.
func canaryDue(beta [64]byte, ppm uint64) bool {
	return float64(binary.BigEndian.Uint64(beta[:8]))/(1<<64) < float64(ppm)/1e6
}
