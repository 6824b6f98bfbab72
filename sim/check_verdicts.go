package sim

import (
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

// judges counts the seats that judge, and those of them that said a verdict to
// the round's evidence.
func judges(c *ledger.Case, round *ledger.Round, v task.Verdict) (said, all uint32) {
	digest := task.H(task.TagEvidence, round.Evidence)
	for _, m := range c.Members {
		passed := slices.ContainsFunc(c.Passed, func(p ledger.Pass) bool { return p.Executor == m.Claim.Node && p.Attempt == c.Attempt })
		if m.Claim.Node == c.View.Executor || passed {
			continue
		}
		all += m.Seats
		for _, r := range round.Reveals {
			if r.Node == m.Claim.Node && r.Verdict == v && r.Evidence == digest {
				said += m.Seats
			}
		}
	}
	return said, all
}

// Reveals count only once the set is closed, and open what was committed to;
// keys go out only after n−f seats said OK (§7.5, §8.1).
func (w *world) checkVerdicts(c *ledger.Case) {
	for _, round := range []*ledger.Round{&c.View.Pre, &c.View.Post} {
		for _, r := range round.Reveals {
			if round.ClosedAt == 0 {
				w.violate("reveals wait for the commitments", "task %s: %s revealed before", c.ID().Short(), w.name(r.Node))
			}
			if !slices.ContainsFunc(round.Commitments, func(k task.Commitment) bool {
				return k.Node == r.Node && k.Digest == task.H(task.TagCommitment, task.Encode(r))
			}) {
				w.violate("a reveal opens its commitment", "task %s: that of %s does not", c.ID().Short(), w.name(r.Node))
			}
			// An honest verifier says OK only to what answers its own nonce.
			k, m := w.byID[r.Node], c.Member(r.Node)
			ev, err := attest.ParseEvidence(round.Evidence)
			if round == &c.View.Pre && r.Verdict == task.OK && k.liar == nil && err == nil && ev.Digest() == r.Evidence &&
				!slices.Contains(ev.Nonces, attest.Nonce(m.Beta, r.Node)) {
				w.violate("evidence answers the verifier's nonce", "task %s: %s said OK to other evidence", c.ID().Short(), k.name)
			}
		}
	}
	if c.Phase == ledger.Releasing || c.Phase == ledger.Running || c.Phase == ledger.Reviewing {
		if ok, all := judges(c, &c.View.Pre, task.OK); ok < quorum(all) {
			w.violate("keys wait for a quorum", "task %s is %s with %d of %d seats", c.ID().Short(), c.Phase, ok, all)
		}
	}
}
