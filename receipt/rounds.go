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
	if past == nil {
		if c.View.Opening != nil {
			return fails("a canary was revealed and never settled")
		}
		return idle("the first evidence was in earnest")
	}
	if _, err := commitments(c, task.PreRun); err != nil {
		return fails("%v", err)
	}
	if err := reveals(c, task.PreRun); err != nil {
		return fails("%v", err)
	}
	if err := c.CheckShowing(c.Shown(task.PreRun)); err != nil {
		return fails("%v", err)
	}
	if err := c.CheckCanary(task.Canary{Shown: c.Shown(task.PreRun), Proof: past.Proof, Genuine: c.Shown(task.Recheck)}); err != nil {
		return fails("%v", err)
	}
	ok, bad := c.Tally(task.PreRun, past.Round.Reveals)
	if own := c.Appraise(task.PreRun, past.Round.Evidence); own.Reason != past.Round.Faulty {
		return fails("the fault was %s; the chain says %q", own.Reason, past.Round.Faulty)
	}
	var bonus task.Amount
	for _, p := range past.Bonus {
		bonus += p.Amount
	}
	if bonus > c.Params.Bonus || bonus > 0 && bad == 0 {
		return fails("a bonus of %s; the rules allow %s for those who saw it", bonus, c.Params.Bonus)
	}
	return holds("the enclave's own VRF asked for faulty evidence, and it was: %s. FAULT said %d seats, who shared %s; OK, unread, %d", past.Round.Faulty, bad, bonus, ok)
}

// verdicts: each was signed unread, opens what was signed, and a quorum found
// the enclave good before it got a key (spec §7.5).
func (e *exam) verdicts(r task.Round) finding {
	c, round := e.c, e.c.Round(r)
	committed, err := commitments(c, r)
	if err != nil {
		return fails("%v", err)
	}
	if err := reveals(c, r); err != nil {
		return fails("%v", err)
	}
	ok, bad := c.Tally(r, round.Reveals)
	if need := sortition.Quorum(c.JudgeSeats()); r != task.PostRun && trusted(c) && ok < need {
		return fails("%d of %d seats found the enclave good; a quorum is %d", ok, c.JudgeSeats(), need)
	}
	switch {
	case r == task.PostRun && c.View.Result == nil:
		return idle("nothing had run")
	case len(round.Reveals) == 0 && r == task.PostRun:
		e.caveat("No verifier judged how the enclave ended; the chain looked itself.")
		return idle("%d verifiers committed, none revealed", len(committed))
	case len(round.Reveals) == 0:
		return idle("%d verifiers committed, none revealed", len(committed))
	}
	return holds("%d verifiers committed under their signatures, %d revealed just that: OK %d, FAULT %d of %d seats; a quorum is %d",
		len(committed), len(round.Reveals), ok, bad, c.JudgeSeats(), sortition.Quorum(c.JudgeSeats()))
}

// trusted says whether the case went on to the owners' keys.
func trusted(c *ledger.Case) bool {
	return c.View.Result != nil || !c.View.Executor.IsZero() && len(passed(c)) <= int(c.View.Number) && !undecided(c)
}

// undecided says whether the last committee came to nothing: it is then as if
// there had been none.
func undecided(c *ledger.Case) bool {
	ok, _ := c.Tally(c.PreRound(), c.View.Pre.Reveals)
	return c.View.Result == nil && len(c.View.Pre.Evidence) > 0 && c.View.Pre.Faulty == "" && len(c.View.Releases) == 0 &&
		ok < sortition.Quorum(c.JudgeSeats()) && len(passed(c)) == int(c.View.Number)
}

// passed are the executors that the last committee passed over.
func passed(c *ledger.Case) (all []ledger.Pass) {
	for _, p := range c.Passed {
		if p.Attempt == c.Attempt {
			all = append(all, p)
		}
	}
	return all
}

// commitments checks who committed, and that they did.
func commitments(c *ledger.Case, r task.Round) (map[task.NodeID]bool, error) {
	seen := map[task.NodeID]bool{}
	for _, k := range c.Round(r).Commitments {
		m := c.Member(k.Node)
		switch {
		case m == nil || k.Node == c.View.Executor || seen[k.Node]:
			return nil, fmt.Errorf("node %s committed twice, or has no say here", k.Node.Short())
		case k.Ballot != c.Ballot(r) || !k.Signature.Verify(m.Node.Peer, k.Hash()):
			return nil, fmt.Errorf("the commitment of %s is not signed by it, or is for another view", k.Node.Short())
		}
		seen[k.Node] = true
	}
	return seen, nil
}

// reveals checks that each opens a commitment. Who revealed has then committed,
// so it is a member and a verifier.
func reveals(c *ledger.Case, r task.Round) error {
	seen := map[task.NodeID]bool{}
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

// preEvidence: the enclave was what it said it was (spec §7.4).
func (e *exam) preEvidence() finding {
	c := e.c
	switch shown := len(c.View.Pre.Evidence) > 0; {
	case !shown && (trusted(c) || len(c.View.Pre.Reveals) > 0):
		return fails("verifiers judged an enclave, but its evidence is missing")
	case !shown:
		return idle("no evidence is on the chain")
	}
	a, f := e.evidence(c.PreRound())
	e.report.Tier = a.Tier
	return f
}

// exitEvidence: the enclave that ran left nothing behind (spec §9.5).
func (e *exam) exitEvidence() finding {
	v := &e.c.View
	switch {
	case v.Result == nil:
		return idle("nothing had run")
	case len(v.Post.Evidence) == 0 && len(v.Post.Reveals) > 0:
		return fails("verifiers judged the exit, but its evidence is missing")
	case len(v.Post.Evidence) == 0:
		return idle("no exit evidence is on the chain")
	}
	_, f := e.evidence(task.PostRun)
	return f
}

// evidence appraises a round's evidence and holds every verdict against that.
// A false verdict of a minority changed nothing: it is named, and the row holds.
func (e *exam) evidence(r task.Round) (attest.Appraisal, finding) {
	c := e.c
	if err := c.CheckShowing(c.Shown(r)); err != nil {
		return attest.Appraisal{}, fails("%v", err)
	}
	own := c.Appraise(r, c.Round(r).Evidence)
	if said := c.Round(r).Faulty; said != "" && said != own.Reason {
		return own, fails("the chain says it is faulty: %s; appraised again: %s %s", said, own.Verdict, own.Reason)
	}
	ev, err := attest.ParseEvidence(c.Round(r).Evidence)
	if err != nil {
		return own, faulty(c, r, own, nil)
	}
	e.protection(r, ev.Kind, own)
	truthful, wrong := compare(c, ev, r)
	var f finding
	if own.Verdict == task.OK {
		f = good(c, r, ev, truthful, wrong)
	} else {
		f = faulty(c, r, own, wrong)
	}
	if f.status == OK && len(wrong) > 0 {
		e.caveat("False verdicts in the %s round, which changed nothing: %s.", r, strings.Join(wrong, ", "))
	}
	return own, f
}

// good is the finding on evidence that holds.
func good(c *ledger.Case, r task.Round, ev attest.Evidence, truthful uint32, wrong []string) finding {
	need := sortition.Quorum(c.JudgeSeats())
	tier, _ := ev.Kind.Tier()
	what := fmt.Sprintf("appraised again: good, %s evidence of chip %s, measurement %s", tier, ev.Chip.Short(), ev.Quote.Measurement.Short())
	switch {
	case r == task.PostRun:
		return holds("%s, by the enclave that ran, its writable space empty, answering a nonce that came after the result", what)
	case trusted(c) && truthful < need:
		return fails("%s; but only %d seats said OK truthfully, a quorum is %d; false: %s", what, truthful, need, strings.Join(wrong, ", "))
	}
	return holds("%s, answering the nonces of the %d seats that said OK", what, truthful)
}

// faulty is the finding on evidence that does not hold.
func faulty(c *ledger.Case, r task.Round, own attest.Appraisal, wrong []string) finding {
	what := "appraised again: FAULT, " + own.Detail
	ok, _ := c.Tally(r, c.Round(r).Reveals)
	passed := r == task.PostRun || trusted(c) || ok >= sortition.Quorum(c.JudgeSeats())
	switch {
	case c.Round(r).Faulty != "":
		return holds("%s; the chain said so", what)
	case !passed:
		return holds("%s; no quorum found it good", what)
	case len(wrong) > 0:
		return fails("%s; false verdicts: %s", what, strings.Join(wrong, ", "))
	}
	return fails("%s; and it had no consequence", what)
}

// compare repeats each verifier's appraisal, with its own nonce (spec §7.3),
// and names whose verdict was false. Of who judged other evidence than the
// chain holds, nothing is said here.
func compare(c *ledger.Case, ev attest.Evidence, r task.Round) (truthful uint32, wrong []string) {
	for _, v := range c.Round(r).Reveals {
		m := c.Member(v.Node)
		if m == nil || v.Evidence != ev.Digest() {
			continue
		}
		a := c.Appraise(r, c.Round(r).Evidence)
		switch {
		case a.Verdict != v.Verdict:
			wrong = append(wrong, fmt.Sprintf("%s said %s, the evidence says %s %s", v.Node.Short(), v.Verdict, a.Verdict, a.Reason))
		case v.Verdict == task.OK:
			truthful += m.Seats
		}
	}
	return truthful, wrong
}

// protection says what evidence of this kind does not protect (spec §7.1).
func (e *exam) protection(r task.Round, kind attest.Kind, own attest.Appraisal) {
	switch {
	case r == task.PostRun:
	case kind == attest.Simulated:
		e.caveat("THE TEE WAS SIMULATED: nothing was protected. Whoever owned the machine could read everything: the code, the data and the result; and could have made up any result.")
	case own.Tier == task.TierMeasured:
		e.caveat("The TEE was measured, not confidential: it shows which code ran, but whoever owned the machine could read its memory.")
	}
}
