// Package committee is one node's part in the committee of one task, as a pure
// state machine: [Machine.Step] takes an event and returns actions.
//
// The machine owns no clock, no network, no key and no randomness. The case,
// votes, verdicts, appraisals and the passing of blocks come in as events; what
// it wants done comes out as actions, in the order in which they must happen. So
// the same code runs in a worker, in the simulator and in a replayed trace.
//
// # What it decides
//
// The chain decides who is a member and who executes: winners send it their
// claims, and when it has closed them the case names both. A member decides which
// of the executor's two pieces of evidence to call good, and whether an executor
// that gives no sign of life is passed over (spec §6, §7).
//
// # Order of actions
//
// [CommitVerdict] says that the node must store the verdict, then sign its
// commitment, then hand it back as an event like anybody else's, then send it. A
// member's own word counts only after that, so a crash between deciding and
// sending can never make it say two different things.
package committee

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Patience is in blocks that pass at this node: a machine that is busy makes
// blocks, and hears of them, as slowly as all else. No rule of the chain depends
// on it.
type Patience struct {
	Silence uint64 // without evidence or a sign of life from the executor
	Flush   uint64 // for stragglers, before a set goes to the chain without them
}

// Embedded suits a network in one process.
var Embedded = Patience{Silence: 100, Flush: 4}

// Event is something that happened. Closed set.
//
//sumtype:decl
type Event interface{ event() }

// The events. Words of others are verified, and about the present view or one
// that is over (package node).
type (
	// ChainMoved brings the case as the chain now holds it.
	ChainMoved struct{ Case *ledger.Case }
	// Won says that this node has drawn seats in the present attempt.
	Won struct{ Claim task.Claim }
	// VoteHeard brings a vote to pass over the executor, this node's own included.
	VoteHeard struct{ Vote task.SignedVote }
	// EvidenceHeard brings a pair of evidence, not yet appraised, under the
	// signature of the node that shows it.
	EvidenceHeard struct {
		From  task.NodeID
		Shown task.Showing
	}
	// Appraised brings what this node has found of a pair: the place whose evidence
	// is good, or FAULT; with the salt for the commitment.
	Appraised struct {
		Ballot  task.Ballot
		Pair    task.Hash
		Verdict task.Verdict
		Place   uint8
		Reason  string
		Salt    task.Hash
	}
	// CommitmentHeard brings a signed commitment, this node's own included.
	CommitmentHeard struct{ Commitment task.Commitment }
	// RevealHeard brings a reveal, this node's own included.
	RevealHeard struct{ Reveal task.Reveal }
	// AliveHeard is a sign of life from the executor.
	AliveHeard struct {
		Attempt, View uint32
		Node          task.NodeID
	}
	// Quoted says that this node's enclave has made a pair of evidence, which this
	// node has signed, with what will say which of the two is genuine.
	Quoted struct {
		Shown   task.Showing
		Opening task.Opening
		Place   uint8 // of the genuine one
	}
	// Left brings the evidence of how this node's enclave has ended.
	Left struct{ Exit task.Exit }
	// Ran says that this node's enclave has signed a result.
	Ran struct{ Result task.SignedResult }
	// Unanswered says that an owner has given this node's enclave no key, or one that
	// opens nothing.
	Unanswered struct{ Call task.Call }
	// Unable says that this node cannot execute in a view, and why.
	Unable struct {
		Ballot task.Ballot
		Why    task.Lack
	}
	// TimedOut says that a timer set by SetTimer is up.
	TimedOut struct{ Timer Timer }
)

func (ChainMoved) event()      {}
func (Won) event()             {}
func (VoteHeard) event()       {}
func (EvidenceHeard) event()   {}
func (Appraised) event()       {}
func (CommitmentHeard) event() {}
func (RevealHeard) event()     {}
func (AliveHeard) event()      {}
func (Quoted) event()          {}
func (Left) event()            {}
func (Ran) event()             {}
func (Unanswered) event()      {}
func (Unable) event()          {}
func (TimedOut) event()        {}

// Action is something to do. Closed set; do them in order.
//
//sumtype:decl
type Action interface{ action() }

// The actions. What the enclave must answer, the members' nonces, stands in the
// case.
type (
	// Draw asks for this node's draw in the case's present attempt; answer with
	// Won if it has seats, with nothing if not.
	Draw struct{ Case *ledger.Case }
	// Cast signs the vote, hands it back as VoteHeard and sends it to the members.
	Cast struct{ Vote task.Vote }
	// CommitVerdict stores the reveal, signs its commitment, hands it back as
	// CommitmentHeard and sends it to the executor.
	CommitVerdict struct{ Reveal task.Reveal }
	// SendReveal sends this node's reveal to the executor.
	SendReveal struct{ Reveal task.Reveal }
	// SendEvidence sends this node's pair to the members.
	SendEvidence struct{ Shown task.Showing }
	// Appraise asks which of the executor's two pieces of evidence is good; answer
	// with Appraised.
	Appraise struct{ Shown task.Showing }
	// StartEnclave fetches the blobs, starts the enclave and then makes its evidence;
	// answer with Quoted, or with Unable if what it needs is not there when the chain
	// has come to the block GiveUp.
	StartEnclave struct {
		Ballot task.Ballot
		GiveUp uint64
	}
	// Decline stores the decline, signs it and sends it to the chain.
	Decline struct{ Decline task.Decline }
	// StopEnclave drops all work for the task.
	StopEnclave struct{ Why string }
	// RequestKeys shows the owners the verdict quorum and asks for their keys;
	// then the enclave runs; answer with Ran.
	RequestKeys struct {
		Opening task.Opening
		Reveals []task.Reveal
	}
	// QuoteExit asks the enclave for its exit evidence; answer with Left.
	QuoteExit struct {
		Ballot task.Ballot
		Nonce  task.Hash
	}
	// Submit sends a transaction to the chain.
	Submit struct{ Body task.Body }
	// SetTimer asks for TimedOut when so many more blocks have passed; a newer one
	// of the same kind replaces it.
	SetTimer struct {
		Timer  Timer
		Blocks uint64
	}
	// Finish ends this machine: the task is settled.
	Finish struct{}
)

func (Draw) action()          {}
func (Cast) action()          {}
func (CommitVerdict) action() {}
func (SendReveal) action()    {}
func (SendEvidence) action()  {}
func (Appraise) action()      {}
func (StartEnclave) action()  {}
func (Decline) action()       {}
func (StopEnclave) action()   {}
func (RequestKeys) action()   {}
func (QuoteExit) action()     {}
func (Submit) action()        {}
func (SetTimer) action()      {}
func (Finish) action()        {}

// TimerKind is what a timer waits for.
type TimerKind uint8

// The timers.
const (
	SilenceTimer TimerKind = iota + 1
	FlushTimer
	StallTimer
	SkipTimer
	WordTimer
)

// Timer names one waiting: of a kind, in one view of one attempt.
type Timer struct {
	Kind    TimerKind
	Attempt uint32
	View    uint32
}
