package receipt

import (
	"fmt"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// verdicts: each was signed unread, opens what was signed, and a quorum named the
// genuine place before the enclave got a key (spec §7.5).
func (e *exam) verdicts() finding {
	c, round := e.c, &e.c.View.Pre
	if err := spoken(c); err != nil {
		return fails("%v", err)
	}
	ok, other := c.Tally(round.Reveals)
	r, committed := c.Roster(), len(round.Commitments)
	if round.Progress < ledger.Decided && (c.View.Result != nil || len(c.View.Releases) > 0) {
		return fails("there is a result, or a key, and no block in which the enclave was found good")
	}
	if len(round.Reveals) == 0 {
		return idle("%d verifiers committed, none revealed", committed)
	}
	return holds("%d verifiers committed under their signatures, %d revealed just that: %d seats for the genuine evidence, %d against, of %d; a quorum is %d",
		committed, len(round.Reveals), ok, other, r.Judging(), r.Quorum())
}

// spoken checks who committed in the round, that they did, and that each reveal
// opens a commitment, and that the enclave was not found good by less than a quorum.
// Who revealed has then committed, so it is a judge.
func spoken(c *ledger.Case) error {
	seen, r := map[task.NodeID]bool{}, c.Roster()
	for _, k := range c.View.Pre.Commitments {
		switch {
		case !r.Judges(k.Node) || seen[k.Node]:
			return fmt.Errorf("node %s committed twice, or has no say here", k.Node.Short())
		case k.Ballot != c.Ballot() || !k.Signature.Verify(c.Member(k.Node).Node.Peer, k.Hash()):
			return fmt.Errorf("the commitment of %s is not signed by it, or is for another view", k.Node.Short())
		}
		seen[k.Node] = true
	}
	clear(seen)
	for _, v := range c.View.Pre.Reveals {
		if seen[v.Node] {
			return fmt.Errorf("node %s revealed twice", v.Node.Short())
		}
		if err := c.CheckReveal(v); err != nil {
			return err
		}
		seen[v.Node] = true
	}
	ok, _ := c.Tally(c.View.Pre.Reveals)
	if need := r.Quorum(); c.View.Pre.Progress >= ledger.Decided && ok < need {
		return fmt.Errorf("%d of %d seats found the enclave good; a quorum is %d", ok, r.Judging(), need)
	}
	return nil
}

// paired checks that the executor has signed its pair, that its own VRF has put the
// genuine piece where the chain has found it, and that the chain saw in the pair
// what there is to see: that it is faulty, and not why, which the chain does not
// say (spec §7.4.3). One doubt is enough to make it look.
func paired(c *ledger.Case) error {
	round := &c.View.Pre
	known := round.HasPair()
	executor := c.Member(c.View.Executor)
	switch {
	case round.Progress != reached(round):
		return fmt.Errorf("how far the verdict had come, and the blocks in which it did, do not fit")
	case !known && (round.Signature != task.Signature{} || round.Progress >= ledger.Opened || round.Other != nil || len(round.Evidence[0])+len(round.Evidence[1]) > 0):
		return fmt.Errorf("evidence or a signature stands there of a pair that is missing")
	case known && (executor == nil || !c.Pair().Signature.Verify(executor.Node.Peer, c.Pair().Hash())):
		return fmt.Errorf("the executor has not signed this pair of evidence")
	case round.Progress < ledger.Opened && (round.Place != 0 || round.Proof != task.Proof{}):
		return fmt.Errorf("a place is named, and nobody has opened the pair")
	}
	for i, evidence := range round.Evidence {
		if len(evidence) > 0 && (round.Digests[i] != task.H(task.TagEvidence, evidence) || len(evidence) > task.MaxEvidence) {
			return fmt.Errorf("the evidence in place %d is not what the executor has signed", i)
		}
	}
	if round.Progress >= ledger.Opened {
		if place, err := c.CheckOpening(c.Opening()); err != nil || place != round.Place {
			return fmt.Errorf("the genuine evidence is not where the executor's VRF puts it: %v", err)
		}
	}
	if o := round.Other; o != nil && (o.Ballot != c.Ballot() || o.Digests == round.Digests || !o.Signature.Verify(executor.Node.Peer, o.Hash())) {
		return fmt.Errorf("the executor has not signed the other pair that it is said to have shown")
	}
	cause := wrong(c)
	switch {
	case round.Faulty && cause == 0:
		return fmt.Errorf("the chain says that the pair is faulty; appraised again, it is not")
	case !round.Faulty && round.Other != nil:
		return fmt.Errorf("its executor has signed two pairs, and the chain did nothing")
	case !round.Faulty && cause != 0 && doubted(c):
		return fmt.Errorf("appraised again: %s; and the chain did nothing", cause)
	case !round.Faulty && round.Accuser != task.Address{}:
		return fmt.Errorf("%s is said to have accused it, yet no fault was found", round.Accuser.Short())
	}
	return nil
}

// reached is how far a verdict had come, by its blocks.
func reached(r *ledger.Round) ledger.Progress {
	switch {
	case r.ClosedAt == 0:
		return ledger.Collecting
	case r.OpenedAt == 0:
		return ledger.Sealed
	case r.DecidedAt == 0:
		return ledger.Opened
	}
	return ledger.Decided
}

// doubted says whether a verifier named the other place, or said FAULT.
func doubted(c *ledger.Case) bool { return len(against(c)) > 0 }

// evidence: the enclave was what it said it was (spec §7.4, §7.6). A false word of
// a minority changed nothing: it is named, and the row holds. What is relied on
// must be good.
func (e *exam) evidence() finding {
	c, round := e.c, &e.c.View.Pre
	if err := paired(c); err != nil {
		return fails("%v", err)
	}
	if round.Progress < ledger.Opened {
		if round.Faulty {
			return holds("its executor never said which piece is genuine; the chain found it faulty (%s), and acted on it", wrong(c))
		}
		return idle("no genuine evidence is on the chain")
	}
	own := c.Appraise(task.PreRun, c.Genuine())
	e.report.Tier = own.Tier
	truthful, lies := compare(c, own.Verdict)
	what := "appraised again: FAULT, " + inWords(own)
	if ev, err := attest.ParseEvidence(c.Genuine()); err == nil {
		e.protection(ev.Kind, own)
		if own.Verdict == task.OK {
			what = fmt.Sprintf("appraised again: good, %s evidence of chip %s, measurement %s", own.Tier, own.Claims.Chip.Short(), own.Claims.Measurement.Short())
		}
	}
	relied, need := !gone(c) && round.Progress >= ledger.Decided, c.Roster().Quorum()
	switch {
	case round.Faulty:
		return holds("%s; the chain found fault with the pair (%s), and acted on it", what, wrong(c))
	case own.Verdict == task.Fault && relied:
		return fails("%s; and it had no consequence. False verdicts: %s", what, strings.Join(lies, ", "))
	case relied && truthful < need:
		return fails("%s; but only %d seats named it, a quorum is %d; false: %s", what, truthful, need, strings.Join(lies, ", "))
	}
	if len(lies) > 0 {
		e.caveat("False verdicts, which changed nothing: %s.", strings.Join(lies, ", "))
	}
	if own.Verdict == task.Fault {
		return holds("%s; nothing rests on it", what)
	}
	return holds("%s, in place %d by the VRF of its node, answering the nonces of the committee", what, round.Place)
}

// compare holds each verdict against an appraisal of the genuine piece, and names
// whose was false. Of who judged another pair, nothing is said here.
func compare(c *ledger.Case, truth task.Verdict) (truthful uint32, lies []string) {
	says := c.Words()
	for _, v := range c.View.Pre.Reveals {
		switch word := says(v); {
		case word == ledger.Elsewhere:
		case (word == ledger.ForGenuine) == (truth == task.OK):
			truthful += c.Member(v.Node).Seats
		default:
			lies = append(lies, fmt.Sprintf("%s said %s (place %d)", v.Node.Short(), v.Verdict, v.Place))
		}
	}
	return truthful, lies
}

// protection says what evidence of this kind does not protect (spec §7.1).
func (e *exam) protection(kind attest.Kind, own attest.Appraisal) {
	switch {
	case kind == attest.TPM && own.Tier == task.TierSimulated:
		e.caveat("THE TPM WAS SOFTWARE, as its certificate says: nothing was protected. Whoever owned the machine could read everything: the code, the data and the result; and could have made up any result.")
	case kind == attest.Simulated:
		e.caveat("THE TEE WAS SIMULATED: nothing was protected. Whoever owned the machine could read everything: the code, the data and the result; and could have made up any result.")
	case own.Tier == task.TierMeasured:
		e.caveat("The TEE was measured, not confidential: it shows which code ran, but whoever owned the machine could read its memory.")
	}
}

// exitEvidence: the enclave that ran left nothing behind (spec §9.5). That it shows
// what the settlement says, [ending] checks.
func (e *exam) exitEvidence() finding {
	c, v := e.c, &e.c.View
	switch {
	case len(v.Exit) == 0 && v.ExitSignature != task.Signature{}:
		return fails("a signature stands over an exit that is missing")
	case len(v.Exit) > 0 && v.Result == nil:
		return fails("there is an exit, and nothing had run")
	case v.Result == nil:
		return idle("nothing had run")
	case len(v.Exit) == 0:
		return idle("no exit is on the chain")
	}
	if err := c.CheckExit(task.Exit{Ballot: c.Ballot(), Evidence: v.Exit, Signature: v.ExitSignature}); err != nil {
		return fails("%v", err)
	}
	a := c.Appraise(task.PostRun, v.Exit)
	if a.Verdict == task.Fault {
		return holds("appraised again: FAULT, %s", inWords(a))
	}
	return holds("appraised again: good, by the enclave that ran, its writable space empty, answering a nonce that came after the result")
}
