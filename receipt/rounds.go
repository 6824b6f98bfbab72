package receipt

import (
	"fmt"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

func (e *exam) preVerdicts() finding  { return e.verdicts(e.c.PreRound()) }
func (e *exam) exitVerdicts() finding { return e.verdicts(task.PostRun) }

// canary: the first evidence was faulty because the enclave's VRF said so, and
// who said what to it (spec §7.6).
func (e *exam) canary() finding {
	c, past := e.c, e.c.View.Canary
	if c.View.Opening != nil {
		return fails("a canary was revealed and never settled")
	}
	if past == nil {
		return idle("the first evidence was in earnest")
	}
	if err := spoken(c, task.PreRun); err != nil {
		return fails("%v", err)
	}
	shown, _, err := appraised(c, task.PreRun)
	if err != nil {
		return fails("%v", err)
	}
	if !past.Round.Faulty || past.Round.ClosedAt == 0 {
		return fails("a canary is faulty, and revealed when the commitments are closed")
	}
	if err := c.CheckCanary(task.Canary{Shown: c.Shown(task.PreRun), Proof: past.Proof, Genuine: c.Shown(task.Recheck)}); err != nil {
		return fails("%v", err)
	}
	if !bonusShared(c) {
		return fails("the bonus is not what those who saw it share, of at most %s", c.Params.Bonus)
	}
	paid, _ := total(past.Bonus)
	ok, bad := c.Tally(task.PreRun, past.Round.Reveals)
	return holds("the enclave's own VRF asked for faulty evidence, and it was: %s. FAULT said %d seats, who shared %s; OK, unread, %d", inWords(shown), bad, paid, ok)
}

// verdicts: each was signed unread, opens what was signed, and a quorum found
// the enclave good before it got a key (spec §7.5).
func (e *exam) verdicts(r task.Round) finding {
	c, round := e.c, e.c.Round(r)
	if err := spoken(c, r); err != nil {
		return fails("%v", err)
	}
	ok, bad := c.Tally(r, round.Reveals)
	need, committed := sortition.Quorum(c.JudgeSeats()), len(round.Commitments)
	switch {
	case r == task.PostRun && c.View.Result == nil:
		return idle("nothing had run")
	case r != task.PostRun && c.View.Result != nil && ok < need:
		return fails("%d of %d seats found the enclave good; a quorum is %d", ok, c.JudgeSeats(), need)
	case r == task.PostRun && ok < need && len(round.Evidence) > 0 && !round.Faulty:
		e.caveat("Too few verifiers judged how the enclave ended; the chain looked itself.")
	}
	if len(round.Reveals) == 0 {
		return idle("%d verifiers committed, none revealed", committed)
	}
	return holds("%d verifiers committed under their signatures, %d revealed just that: OK %d, FAULT %d of %d seats; a quorum is %d",
		committed, len(round.Reveals), ok, bad, c.JudgeSeats(), need)
}

// believed says whether a quorum found the enclave good: from then on it was
// the owners' turn.
func believed(c *ledger.Case) bool {
	ok, _ := c.Tally(c.PreRound(), c.View.Pre.Reveals)
	return len(c.View.Pre.Evidence) > 0 && ok >= sortition.Quorum(c.JudgeSeats())
}

// spoken checks who committed in a round, that they did, and that each reveal
// opens a commitment. Who revealed has then committed, so it is a judge.
func spoken(c *ledger.Case, r task.Round) error {
	seen := map[task.NodeID]bool{}
	for _, k := range c.Round(r).Commitments {
		switch {
		case !c.Judges(k.Node) || seen[k.Node]:
			return fmt.Errorf("node %s committed twice, or has no say here", k.Node.Short())
		case k.Ballot != c.Ballot(r) || !k.Signature.Verify(c.Member(k.Node).Node.Peer, k.Hash()):
			return fmt.Errorf("the commitment of %s is not signed by it, or is for another view", k.Node.Short())
		}
		seen[k.Node] = true
	}
	clear(seen)
	for _, v := range c.Round(r).Reveals {
		if seen[v.Node] || v.Ballot.Round != r {
			return fmt.Errorf("node %s revealed twice, or for another round", v.Node.Short())
		}
		if err := c.CheckReveal(v); err != nil {
			return err
		}
		seen[v.Node] = true
	}
	return nil
}

// appraised checks that the executor has signed a round's evidence, and that
// the chain saw in it what there is to see: that it is faulty, and not why, which
// the chain does not say (spec §7.4.3). One FAULT is enough to make it look. blamed
// is the appraisal of what is faulty, if that is other evidence than the round's.
func appraised(c *ledger.Case, r task.Round) (own, blamed attest.Appraisal, err error) {
	round := c.Round(r)
	if len(round.Evidence) > 0 {
		if err := c.CheckShowing(c.Shown(r)); err != nil {
			return own, own, err
		}
		own = c.Appraise(r, round.Evidence)
	} else if round.Signature != (task.Signature{}) {
		return own, own, fmt.Errorf("a signature stands over evidence that is missing")
	}
	doubted := len(finders(c, r)) > 0
	blamed = own
	if round.Other != nil {
		if err := c.CheckShowing(*round.Other); err != nil {
			return own, own, err
		}
		blamed = c.Appraise(r, round.Other.Evidence)
	}
	switch {
	case round.Faulty && blamed.Verdict != task.Fault:
		return own, own, fmt.Errorf("the chain says it is faulty; appraised again: %s", blamed.Verdict)
	case round.Other != nil && !round.Faulty:
		return own, own, fmt.Errorf("its executor is said to have signed other evidence, yet no fault was found")
	case !round.Faulty && own.Verdict == task.Fault && (doubted || r == task.PostRun && c.Settlement.Outcome != ledger.ForgedResult && c.Settlement.Outcome != ledger.BadEnclave):
		return own, own, fmt.Errorf("appraised again: FAULT, %s; and the chain did nothing", own.Detail)
	case !round.Faulty && round.Accuser != task.Address{}:
		return own, own, fmt.Errorf("%s is said to have accused it, yet no fault was found", round.Accuser.Short())
	}
	return own, blamed, nil
}

// preEvidence: the enclave was what it said it was (spec §7.4).
func (e *exam) preEvidence() finding {
	c := e.c
	a, f := e.evidence(c.PreRound(), !gone(c) && believed(c))
	e.report.Tier = a.Tier
	return f
}

// exitEvidence: the enclave that ran left nothing behind (spec §9.5).
func (e *exam) exitEvidence() finding {
	v := &e.c.View
	if v.Result == nil {
		return idle("nothing had run")
	}
	_, f := e.evidence(task.PostRun, !v.Pre.Faulty && e.c.Settlement.Outcome != ledger.ForgedResult)
	return f
}

// evidence appraises a round's evidence and holds every verdict against that.
// A false verdict of a minority changed nothing: it is named, and the row
// holds. What is relied on must be good.
func (e *exam) evidence(r task.Round, relied bool) (attest.Appraisal, finding) {
	c, round := e.c, e.c.Round(r)
	own, blamed, err := appraised(c, r)
	switch {
	case err != nil:
		return own, fails("%v", err)
	case len(round.Evidence) == 0:
		return own, idle("no evidence is on the chain")
	}
	truthful, wrong := compare(c, r)
	what := "appraised again: FAULT, " + own.Detail
	if ev, err := attest.ParseEvidence(round.Evidence); err == nil {
		e.protection(r, ev.Kind, own)
		if own.Verdict == task.OK {
			what = fmt.Sprintf("appraised again: good, %s evidence of chip %s, measurement %s", own.Tier, own.Claims.Chip.Short(), own.Claims.Measurement.Short())
		}
	}
	need := sortition.Quorum(c.JudgeSeats())
	switch {
	case round.Other != nil:
		return own, holds("%s. But for the same round its executor has signed other evidence, which is faulty: %s; the chain acted on it", what, inWords(blamed))
	case round.Faulty:
		return own, holds("%s; the chain said so, and acted on it", what)
	case own.Verdict == task.Fault && relied:
		return own, fails("%s; and it had no consequence. False verdicts: %s", what, strings.Join(wrong, ", "))
	case own.Verdict == task.OK && relied && r != task.PostRun && truthful < need:
		return own, fails("%s; but only %d seats said OK truthfully, a quorum is %d; false: %s", what, truthful, need, strings.Join(wrong, ", "))
	}
	if len(wrong) > 0 {
		e.caveat("False verdicts in the %s round, which changed nothing: %s.", r, strings.Join(wrong, ", "))
	}
	switch {
	case own.Verdict == task.Fault:
		return own, holds("%s; nothing rests on it", what)
	case r == task.PostRun:
		return own, holds("%s, by the enclave that ran, its writable space empty, answering a nonce that came after the result", what)
	}
	return own, holds("%s, answering the nonces of the %d seats that said OK", what, truthful)
}

// compare repeats each verifier's appraisal, with its own nonce (spec §7.3),
// and names whose verdict was false. Of who judged other evidence than the
// chain holds, nothing is said here.
func compare(c *ledger.Case, r task.Round) (truthful uint32, wrong []string) {
	evidence := c.Round(r).Evidence
	digest := task.H(task.TagEvidence, evidence)
	for _, v := range c.Round(r).Reveals {
		if !c.Judges(v.Node) || v.Evidence != digest {
			continue
		}
		a := c.Appraise(r, evidence)
		switch {
		case a.Verdict != v.Verdict:
			wrong = append(wrong, fmt.Sprintf("%s said %s, the evidence says %s %s", v.Node.Short(), v.Verdict, a.Verdict, a.Reason))
		case v.Verdict == task.OK:
			truthful += c.Member(v.Node).Seats
		}
	}
	return truthful, wrong
}

// protection says what evidence of this kind does not protect (spec §7.1).
func (e *exam) protection(r task.Round, kind attest.Kind, own attest.Appraisal) {
	switch {
	case r == task.PostRun:
	case kind == attest.TPM && own.Tier == task.TierSimulated:
		e.caveat("THE TPM WAS SOFTWARE, as its certificate says: nothing was protected. Whoever owned the machine could read everything: the code, the data and the result; and could have made up any result.")
	case kind == attest.Simulated:
		e.caveat("THE TEE WAS SIMULATED: nothing was protected. Whoever owned the machine could read everything: the code, the data and the result; and could have made up any result.")
	case own.Tier == task.TierMeasured:
		e.caveat("The TEE was measured, not confidential: it shows which code ran, but whoever owned the machine could read its memory.")
	}
}
