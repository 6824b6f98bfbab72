// Package committee is one node's part in the committee of one task, as a pure
// state machine: [Machine.Step] takes an event and returns actions.
//
// The machine owns no clock, no network, no key and no randomness. Heights,
// votes, claims, appraisals and timeouts come in as events; what it wants done
// comes out as actions, in the order in which they must happen. So the same
// code runs in a worker, in the simulator and in a replayed trace.
//
// # What it decides
//
// A committee decides who executes, whether a silent executor is passed over,
// and what to say of the executor's evidence before and after the run
// (spec §6, §7). The first decision has two speeds:
//
//   - Fast: as soon as gossip has brought claims, the members agree among
//     themselves, weighted by seats. In view v each prepares the owner of the
//     v-th ticket; n−f prepares, the executor's own among them, lock it; n−f
//     commits decide it; a timeout moves everyone to view v+1 and carries the
//     highest lock, unless its owner is silent. The winner then starts its
//     enclave and is attested while the chain is still collecting claims. All
//     of this is harmless: no key has been released.
//   - Confirmed: the chain closes the claims, and the claims it holds are the
//     committee. If it names another executor, the chain wins and the
//     provisional work is dropped.
//
// # Order of actions
//
// [Cast] and [Commit] say that the node must store the vote, then sign it,
// then hand it back as an event like anybody else's, then send it. A member's
// own vote counts only after that, so a crash between deciding and sending
// can never make it say two different things.
package committee

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Member is a node with seats, from a verified claim.
type Member struct {
	Node    task.NodeID
	Seats   uint32
	Tickets []sortition.Ticket // none if it cannot run the function
	Claim   task.Claim
	Beta    vrf.Output
}

// MemberOf is the member that a verified claim makes in a case.
func MemberOf(c *ledger.Case, m *ledger.Member) Member {
	return Member{Node: m.Claim.Node, Seats: m.Seats, Claim: m.Claim, Beta: m.Beta, Tickets: c.TicketsOf(m)}
}

// Timeouts are in milliseconds of the node's own waiting; no rule of the chain
// depends on them.
type Timeouts struct {
	Collect uint64 // from one's own claim to the first prepare
	View    uint64 // for an executor to be decided; grows with each view
	Silence uint64 // without evidence or a sign of life from a decided executor
	Flush   uint64 // for stragglers, before a set goes to the chain without them
}

// Embedded suits a network in one process.
var Embedded = Timeouts{Collect: 12, View: 600, Silence: 2500, Flush: 60}

// Event is something that happened. Closed set.
//
//sumtype:decl
type Event interface{ event() }

// The events.
type (
	// ChainMoved brings the case as the chain now holds it.
	ChainMoved struct{ Case *ledger.Case }
	// Won says that this node has drawn seats in the present attempt.
	Won struct{ Self Member }
	// ClaimHeard brings another node's verified claim for the present attempt.
	ClaimHeard struct{ Member Member }
	// VoteHeard brings a verified vote, this node's own included.
	VoteHeard struct{ Vote Verified }
	// EvidenceHeard brings evidence, not yet appraised, under the signature of
	// the node that shows it.
	EvidenceHeard struct {
		From  task.NodeID
		Shown task.Showing
	}
	// Appraised brings this node's own appraisal, with the salt for the commitment.
	Appraised struct {
		Ballot   task.Ballot
		Evidence []byte
		Verdict  task.Verdict
		Reason   string
		Salt     task.Hash
	}
	// CommitmentHeard brings a signed commitment, this node's own included.
	CommitmentHeard struct{ Commitment task.Commitment }
	// RevealHeard brings a reveal, this node's own included.
	RevealHeard struct{ Reveal task.Reveal }
	// AliveHeard is a sign of life from the executor.
	AliveHeard struct {
		View uint32
		Node task.NodeID
	}
	// Quoted says that this node's enclave has made evidence, which this node
	// has signed.
	Quoted struct{ Shown task.Showing }
	// Unveiled answers Unveil: with the proof of a canary and what is genuine, or
	// nil if the evidence was in earnest.
	Unveiled struct {
		Ballot task.Ballot
		Canary *task.Canary
	}
	// Ran says that this node's enclave has signed a result.
	Ran struct{ Result task.SignedResult }
	// TimedOut says that a timer set by SetTimer is up.
	TimedOut struct{ Timer Timer }
)

func (ChainMoved) event()      {}
func (Won) event()             {}
func (ClaimHeard) event()      {}
func (VoteHeard) event()       {}
func (EvidenceHeard) event()   {}
func (Appraised) event()       {}
func (CommitmentHeard) event() {}
func (RevealHeard) event()     {}
func (AliveHeard) event()      {}
func (Quoted) event()          {}
func (Unveiled) event()        {}
func (Ran) event()             {}
func (TimedOut) event()        {}

// Action is something to do. Closed set; do them in order.
//
//sumtype:decl
type Action interface{ action() }

// The actions.
type (
	// Draw asks for this node's draw in the case's present attempt; answer with
	// Won if it has seats, with nothing if not.
	Draw struct{ Case *ledger.Case }
	// Gossip sends this node's claim to everyone.
	Gossip struct{ Claim task.Claim }
	// Cast stores the vote (with the proof of its lock), signs it, hands it back
	// as VoteHeard and sends it to the members.
	Cast struct {
		Vote task.Vote
		Lock []task.SignedVote
	}
	// CommitVerdict stores the reveal, signs its commitment, hands it back as
	// CommitmentHeard and sends it to the members.
	CommitVerdict struct{ Reveal task.Reveal }
	// SendReveal sends this node's reveal to the members.
	SendReveal struct{ Reveal task.Reveal }
	// SendEvidence sends this node's evidence to the members.
	SendEvidence struct{ Shown task.Showing }
	// Appraise asks for an appraisal of the executor's evidence; answer with
	// Appraised.
	Appraise struct {
		Ballot   task.Ballot
		Executor task.NodeID
		Members  []Member // whose nonces it must answer before the run
		Evidence []byte
	}
	// StartEnclave fetches the blobs, starts the enclave and makes its evidence
	// over the members' nonces; answer with Quoted.
	StartEnclave struct {
		Ballot  task.Ballot
		Members []Member
	}
	// Requote asks the running enclave for its pre-run evidence again, for a
	// committee that was not known before; answer with Quoted.
	Requote struct {
		Ballot  task.Ballot
		Members []Member
	}
	// Unveil asks the enclave, once the commitments are closed, whether its
	// evidence was a canary; answer with Unveiled (spec §7.6).
	Unveil struct {
		Ballot  task.Ballot
		Members []Member
	}
	// StopEnclave drops all work for the task.
	StopEnclave struct{ Why string }
	// RequestKeys shows the owners the verdict quorum and asks for their keys;
	// then the enclave runs; answer with Ran.
	RequestKeys struct {
		Ballot   task.Ballot
		Evidence []byte
		Reveals  []task.Reveal
	}
	// QuoteExit asks the enclave for its exit evidence; answer with Quoted.
	QuoteExit struct {
		Ballot task.Ballot
		Nonce  task.Hash
	}
	// Submit sends a transaction to the chain.
	Submit struct{ Body task.Body }
	// SetTimer asks for TimedOut after a time; a newer one of the same kind replaces it.
	SetTimer struct {
		Timer  Timer
		Millis uint64
	}
	// Finish ends this machine: the task is settled.
	Finish struct{}
)

func (Draw) action()          {}
func (Gossip) action()        {}
func (Cast) action()          {}
func (CommitVerdict) action() {}
func (SendReveal) action()    {}
func (SendEvidence) action()  {}
func (Appraise) action()      {}
func (StartEnclave) action()  {}
func (Requote) action()       {}
func (StopEnclave) action()   {}
func (Unveil) action()        {}
func (RequestKeys) action()   {}
func (QuoteExit) action()     {}
func (Submit) action()        {}
func (SetTimer) action()      {}
func (Finish) action()        {}

// TimerKind is what a timer waits for.
type TimerKind uint8

// The timers.
const (
	CollectTimer TimerKind = iota + 1
	ViewTimer
	SilenceTimer
	FlushTimer
	StallTimer
)

// Timer names one waiting: of a kind, in one view of one attempt, and where it
// is about a verdict in one round.
type Timer struct {
	Kind    TimerKind
	Attempt uint32
	View    uint32
	Round   task.Round
}

// Verified is a vote whose signature and lock hold. Only VerifyVote makes one.
type Verified struct{ vote task.SignedVote }

// Vote is the vote.
func (v Verified) Vote() task.SignedVote { return v.vote }

// VerifyVote checks a vote's signature and those of the prepares that prove
// its lock. key gives a node's registered peer key. Whether the proof is heavy
// enough depends on the committee, and is the machine's question.
func VerifyVote(s task.SignedVote, key func(task.NodeID) (task.Key, bool)) (Verified, error) {
	check := func(s task.SignedVote) error {
		k, ok := key(s.Vote.Node)
		if !ok || !s.Signature.Verify(k, s.Vote.Hash()) {
			return task.Refuse("vote-forged", "the signature of %s does not hold", s.Vote.Node.Short())
		}
		return nil
	}
	v := s.Vote
	names := v.Stage == task.Prepare || v.Stage == task.Commit
	if v.Stage < task.Prepare || v.Stage > task.PassOver || names && v.Executor.IsZero() || !names && v.View == 0 ||
		v.Stage == task.PassOver && !v.Executor.IsZero() || v.Stage != task.NewView && len(s.Lock) > 0 || len(s.Lock) > task.MaxSeats {
		return Verified{}, task.Refuse("vote-malformed", "no such vote: %s in view %d", v.Stage, v.View)
	}
	if err := check(s); err != nil {
		return Verified{}, err
	}
	seen := map[task.NodeID]bool{}
	for _, p := range s.Lock {
		if p.Vote.Stage != task.Prepare || p.Vote.View != v.LockView || p.Vote.Executor != v.Executor ||
			p.Vote.Task != v.Task || p.Vote.Attempt != v.Attempt || len(p.Lock) != 0 || seen[p.Vote.Node] {
			return Verified{}, task.Refuse("vote-malformed", "the lock's proof is of something else, or names a node twice")
		}
		seen[p.Vote.Node] = true
		if err := check(p); err != nil {
			return Verified{}, err
		}
	}
	return Verified{s}, nil
}
