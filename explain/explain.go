// Package explain says in words what the chain keeps as facts: what happened to a
// case, what it waits for, why something was lost, how it ended and whose fault that
// was, and who paid whom.
//
// The state has no sentences (spec §6.1.1): every node must find the same bits, and
// words may change without a change of consensus. So this is the only place where a
// fact becomes one, for the terminal, logs and reports alike. It is pure: one table for
// each enumeration, and a sentence for each kind of fact.
package explain

import (
	"fmt"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// Fact is what happened, as one line without its height. One of a kind that is not
// known here is named by its word.
func Fact(f ledger.Fact) string {
	if say, ok := kinds[f.Kind]; ok {
		return say(f)
	}
	return f.Kind.String()
}

var kinds = map[ledger.Kind]func(ledger.Fact) string{
	ledger.FactPosted: func(f ledger.Fact) string {
		return fmt.Sprintf("posted: %s locked by the requester, %s of the function's bond", f.Amount, f.Bond)
	},
	ledger.FactSeeded: func(f ledger.Fact) string {
		return fmt.Sprintf("seeded: attempt %d, %d seats expected, claims close at the end of block %d", f.Number, f.Of, f.Until)
	},
	ledger.FactClaimed: func(f ledger.Fact) string {
		return fmt.Sprintf("claims: %d nodes with %d seats so far", f.Nodes, f.Seats)
	},
	ledger.FactClaimsLate: func(f ledger.Fact) string {
		return fmt.Sprintf("%d seats by %d nodes so far, of %d expected; late claims are waited for until block %d ends", f.Seats, f.Nodes, f.Of, f.Until)
	},
	ledger.FactAttemptOver: func(f ledger.Fact) string {
		return fmt.Sprintf("attempt %d came to nothing: %s. It had %d nodes with %d seats, of at least %d", f.Number, Cause(f.Cause), f.Nodes, f.Seats, f.Of)
	},
	ledger.FactTurn: func(f ledger.Fact) string {
		return fmt.Sprintf("view %d: %s is the executor, %d seats verify it", f.Number, f.Node.Short(), f.Of)
	},
	ledger.FactDeclined: func(f ledger.Fact) string {
		return fmt.Sprintf("node %s declines: %s", f.Node.Short(), Lack(task.Lack{Reason: f.Reason, Party: f.Party}))
	},
	ledger.FactCommitted: func(f ledger.Fact) string {
		return fmt.Sprintf("commitments: %d of %d seats so far", f.Seats, f.Of)
	},
	ledger.FactCommitsLate: func(f ledger.Fact) string {
		return fmt.Sprintf("commitments so far hold %d of %d seats, a quorum is %d; waiting until block %d", f.Seats, f.Of, sortition.Quorum(f.Of), f.Until)
	},
	ledger.FactClosed: func(f ledger.Fact) string {
		return fmt.Sprintf("commitments are closed: %d of %d seats", f.Seats, f.Of)
	},
	ledger.FactShown: func(f ledger.Fact) string {
		return fmt.Sprintf("both pieces of %s's evidence are shown to all", f.Node.Short())
	},
	ledger.FactRevealed: func(f ledger.Fact) string {
		return fmt.Sprintf("verdicts: %d seats for the genuine place, %d against, of %d; a quorum is %d", f.Seats, f.Against, f.Of, sortition.Quorum(f.Of))
	},
	ledger.FactGood: func(f ledger.Fact) string {
		return fmt.Sprintf("the enclave of %s is found good: its result is due by block %d", f.Node.Short(), f.Until)
	},
	ledger.FactUndecided: func(f ledger.Fact) string {
		return fmt.Sprintf("all have spoken, and too few for the genuine place; waiting until block %d", f.Until)
	},
	ledger.FactFaulty: func(f ledger.Fact) string {
		return fmt.Sprintf("the chain itself finds the evidence of %s faulty; last words are due by block %d", f.Node.Short(), f.Until)
	},
	ledger.FactPassed: func(f ledger.Fact) string {
		return fmt.Sprintf("executor %s passed over in view %d: %s", f.Node.Short(), f.Number, Cause(f.Cause))
	},
	ledger.FactCalled: func(f ledger.Fact) string {
		return fmt.Sprintf("%s calls for the owners' keys: they are due by block %d", f.Node.Short(), f.Until)
	},
	ledger.FactReleased: func(f ledger.Fact) string {
		return fmt.Sprintf("the %s, party %d, has released its key", f.Role, f.Party)
	},
	ledger.FactRunning: func(f ledger.Fact) string {
		return fmt.Sprintf("all keys are released: the result is due by block %d", f.Until)
	},
	ledger.FactResult: func(f ledger.Fact) string {
		return fmt.Sprintf("result: %s, %d gas", f.Ran, f.Gas)
	},
	ledger.FactLate: func(f ledger.Fact) string {
		return fmt.Sprintf("the enclave of %s ran out of time, or is gone; words about it are due by block %d", f.Node.Short(), f.Until)
	},
	ledger.FactExitAsked: func(f ledger.Fact) string {
		return fmt.Sprintf("the exit evidence has its nonce, and is due by block %d", f.Until)
	},
	ledger.FactExit: func(f ledger.Fact) string {
		return "the executor shows how its enclave ended"
	},
	ledger.FactExitWaits: func(f ledger.Fact) string {
		return fmt.Sprintf("words about the enclave are due by block %d", f.Until)
	},
	ledger.FactSlashed: func(f ledger.Fact) string {
		return fmt.Sprintf("node %s slashed %s: %s", f.Node.Short(), f.Amount, Cause(f.Cause))
	},
	ledger.FactUnproven: func(f ledger.Fact) string {
		return fmt.Sprintf("an accusation against %s proved nothing", f.Node.Short())
	},
	ledger.FactSettled: func(f ledger.Fact) string {
		return fmt.Sprintf("settled: %s; fault: %s", f.Outcome, blamed(f.Outcome, f.Role, f.Party))
	},
}

// Often says of a kind of fact that there is one for each transaction of a round: more
// than somebody who watches wants to read.
func Often(k ledger.Kind) bool { return often[k] }

var often = map[ledger.Kind]bool{
	ledger.FactClaimed: true, ledger.FactClaimsLate: true,
	ledger.FactCommitted: true, ledger.FactCommitsLate: true,
}

// Led is what led to a phase: the name of the time that it took to come there. Nothing
// led to the first.
func Led(p ledger.Phase) string { return led[p] }

var led = map[ledger.Phase]string{
	ledger.Electing:  "beacon",
	ledger.Attesting: "election and attestation",
	ledger.Running:   "verdicts",
	ledger.Releasing: "keys not given directly",
	ledger.Reviewing: "result on the chain",
	ledger.Closed:    "exit review and settlement",
}

// said is what a table has for a value, or the value's own word.
func said[K interface {
	comparable
	String() string
}](words map[K]string, k K) string {
	if w, ok := words[k]; ok {
		return w
	}
	return k.String()
}

// Cause is why something was lost, as what its node, or its committee, has done. One
// that costs nothing has its word.
func Cause(c ledger.Cause) string { return said(causes, c) }

var causes = map[ledger.Cause]string{
	ledger.Absent:       "it neither showed evidence in time nor declined",
	ledger.Silence:      "its enclave was found good, and it brought no result, or no exit, in time, or gave up",
	ledger.NoReveal:     "it committed to a verdict and never opened it",
	ledger.WrongPick:    "it named the decoy, and not the evidence that is good",
	ledger.FalseOK:      "it said OK to evidence that is faulty",
	ledger.FalseFault:   "it said FAULT to evidence that is good",
	ledger.BadEvidence:  "its enclave is not what it should be",
	ledger.TwoGood:      "its decoy was good as well, so that nobody could tell the two apart by looking",
	ledger.TwoPairs:     "it showed two different pairs of evidence",
	ledger.UncleanExit:  "its enclave left something behind, or another one ended than ran",
	ledger.Equivocation: "it committed to two verdicts in one round",
	ledger.TwoResults:   "its enclave signed two results",

	ledger.FoundSilent:    "its committee found it silent",
	ledger.RanOutOfTime:   "its enclave ran out of time",
	ledger.WasAbsent:      "it showed no evidence in time",
	ledger.WasFaulty:      "its evidence was faulty",
	ledger.DidNotOpen:     "it did not show in time which of its evidence is genuine",
	ledger.BroughtNothing: "it brought no result in time",
	ledger.GaveUp:         "it gave up: its enclave was gone",

	ledger.TooFewSeats:  "too few seats",
	ledger.TooFewJudged: "too few judged evidence that is good",
	ledger.NobodyLeft:   "nobody is left to execute: those with tickets have declined, or the others are of too few kinds of TEE, or operators, to judge them",
}

// Reason is why a member does not execute.
func Reason(r task.DeclineReason) string { return said(reasons, r) }

var reasons = map[task.DeclineReason]string{
	task.Busy:      "busy, no enclave is free",
	task.NoFile:    "a file does not come",
	task.CannotRun: "it cannot",
	task.Gone:      "its enclave is gone",
	task.Pledged:   "what it has at stake is pledged for its other turns, says the chain",
}

// Lack is the same, with the party whose file it is.
func Lack(l task.Lack) string {
	if l.Party == 0 {
		return Reason(l.Reason)
	}
	return fmt.Sprintf("%s, of party %d", Reason(l.Reason), l.Party)
}

// Outcome is how a case ended, in a sentence.
func Outcome(o ledger.Outcome) string { return said(outcomes, o) }

var outcomes = map[ledger.Outcome]string{
	ledger.Completed:       "the function ran, and its result is signed by the enclave that was found good",
	ledger.FunctionFailed:  "the function failed; how, the requester alone was told",
	ledger.DataOwnerSilent: "a data owner released no key that opens its input in time",
	ledger.CodeOwnerSilent: "the code owner released no key that opens the code in time",
	ledger.ExecutorsFailed: "no executor brought a result",
	ledger.AllOutOfTime:    "every executor's enclave ran out of the time that the function's wall limit gives it; those who verified them are paid",
	ledger.InputWithheld:   "the executors could not fetch a data owner's input, one after the other",
	ledger.CodeWithheld:    "the executors could not fetch the code owner's code or image, one after the other",
	ledger.RequesterSilent: "the requester, who owns no data, named nobody whom the result is for",
	ledger.DirtyExit:       "the executor's enclave left something behind, or another one ended than ran",
	ledger.ExitSilent:      "the executor did not show how its enclave ended",
	ledger.BadEnclave:      "the enclave that ran was not what it should be, which was found after the run",
	ledger.ForgedResult:    "the enclave signed two results",
	ledger.NoCommittee:     "in every attempt too few workers drew seats, or judged: of those whose machines the policy takes",
	ledger.ShortOfGas:      "the function failed, with all the gas used that the requester gave it",
}

// Fault is who is at fault for how a case ended.
func Fault(c *ledger.Case) string {
	f := c.SettledAs()
	return blamed(f.Outcome, f.Role, f.Party)
}

// blamed is who is at fault for an outcome: a party that is named, or none.
func blamed(o ledger.Outcome, role task.Role, party uint8) string {
	who := Culprit(o.Culprit())
	if role != 0 {
		who = "the " + role.String()
	}
	if party != 0 {
		who += fmt.Sprintf(", party %d", party)
	}
	return who
}

// Culprit is who is at fault, of those who are not named.
func Culprit(p ledger.Culprit) string { return said(culprits, p) }

var culprits = map[ledger.Culprit]string{
	ledger.Nobody:       "nobody",
	ledger.AParty:       "the function, which is the code owner's, or its input, which is a data owner's",
	ledger.TheExecutor:  "the executor",
	ledger.TheNetwork:   "the network: too few workers",
	ledger.NobodyCanSee: "nobody can see: the function is slow, or the machines were",
}

// Due is why a payment was made.
func Due(d ledger.Due) string { return said(dues, d) }

var dues = map[ledger.Due]string{
	ledger.WhyExecutor: "its enclave was at work",
	ledger.WhyVerifier: "it verified",
	ledger.WhyRoyalty:  "his code was used, or another let the task fail after its key was released",
	ledger.WhyRefund:   "nobody had earned it",
	ledger.WhyFinder:   "it found what cost another its bond",
	ledger.WhyRoom:     "the task took less room than was locked for it",
}
