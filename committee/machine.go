package committee

import (
	"bytes"
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// Machine is one node's part in one task. Not safe for concurrent use.
type Machine struct {
	self     task.NodeID
	patience Patience
	id       task.TaskID
	c        *ledger.Case // as the chain last told; nil before the first ChainMoved

	out []Action // of the present Step

	said     map[task.Ballot]task.Reveal // before a crash
	drawn    bool                        // in the present attempt
	saidBusy bool                        // since its claim did not, in the present attempt
	accused  map[task.NodeID]bool        // of two words, in the present attempt
	unable   map[uint32]task.Lack        // why this node executes nothing in an attempt
	enclave  bool                        // this node has one for the present view
	turn                                 // the present view
}

// turn is what a machine knows of one executor's turn. The next one forgets it.
type turn struct {
	begun    bool
	view     uint32
	alive    bool                            // a sign of life since the silence timer was set
	voted    bool                            // to pass over
	skipSent bool                            // the votes of a quorum, to the chain
	votes    map[task.NodeID]task.SignedVote // to pass over
	round
	call     *task.Call         // to the owners, if one leaves this node without a key
	called   bool               // the chain has been told
	leaving  bool               // the enclave is asked for its exit
	result   *task.SignedResult // the enclave's, not brought to the chain yet, or too early
	hasty    bool               // it was brought before the chain waited for one
	declined bool               // the chain has been told that this node does not execute
	lost     bool               // the enclave, with the result, if there was one
	gaveUp   bool               // and has told the chain so
}

// round is this node's knowledge of the verdict on the executor's pair.
type round struct {
	shown       task.Showing // the executor's pair
	pair        task.Hash    // names it
	second      *task.Pair   // another that the executor has shown this node
	opening     task.Opening // this node's own, if it executes
	place       uint8        // and where its genuine evidence is
	asked       bool         // for the pair's appraisal
	mine        *task.Reveal
	revealed    bool
	commitments map[task.NodeID]task.Commitment
	reveals     map[task.NodeID]task.Reveal
	valid       map[task.NodeID]bool // whose reveals open a commitment of the closed set
	keysAsked   bool
	watched     bool                 // the executor gives stragglers their time once the set is closed
	sent        map[task.NodeID]bool // whose commitments, or reveals once the set is closed, are on their way to the chain
	opened      bool                 // so is the word which piece is genuine
	told        bool                 // and that the pair is not what it must be
	late        bool                 // stragglers, or the executor's errand, have had their time
	stuck       bool                 // so has the opening
}

// New makes a machine for a node. It wants ChainMoved first.
func New(self task.NodeID, p Patience) *Machine {
	return &Machine{self: self, patience: p, said: map[task.Ballot]task.Reveal{}, accused: map[task.NodeID]bool{}, unable: map[uint32]task.Lack{}}
}

// Restore tells a machine, before its first Step, what this node has committed
// to and declined before a crash, so that it never says something else.
func (m *Machine) Restore(reveals []task.Reveal, declines []task.Decline) {
	for _, d := range declines {
		m.unable[d.Attempt] = d.Lack
	}
	for _, r := range reveals {
		m.said[r.Ballot] = r
	}
}

// Step takes one event and returns what to do, in order.
func (m *Machine) Step(e Event) []Action {
	m.out = nil
	if moved, ok := e.(ChainMoved); ok {
		m.chainMoved(moved.Case)
		return m.out
	}
	if m.c == nil || m.c.Phase == ledger.Closed {
		return nil
	}
	switch e := e.(type) {
	case ChainMoved:
	case Won:
		m.won(e.Claim)
	case VoteHeard:
		m.voteHeard(e.Vote)
	case EvidenceHeard:
		m.evidenceHeard(e)
	case Appraised:
		m.appraised(e)
	case CommitmentHeard:
		m.commitmentHeard(e.Commitment)
	case RevealHeard:
		m.revealHeard(e.Reveal)
	case AliveHeard:
		if e.Attempt == m.c.Attempt && m.begun && e.View == m.view && e.Node == m.c.View.Executor {
			m.alive = true
		}
	case Quoted:
		m.quoted(e)
	case Left:
		m.exited(e)
	case Ran:
		m.ran(e.Result)
	case Unanswered:
		m.unanswered(e.Call)
	case Unable:
		m.cannot(e)
	case TimedOut:
		m.timedOut(e.Timer)
	}
	return m.out
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) submit(b task.Body) { m.do(Submit{Body: b}) }

// timer sets a timer of the present view.
func (m *Machine) timer(kind TimerKind, blocks uint64) {
	m.do(SetTimer{Timer: Timer{Kind: kind, Attempt: m.c.Attempt, View: m.view}, Blocks: blocks})
}

func (m *Machine) isMember() bool { return m.c.Member(m.self) != nil }

func (m *Machine) executes() bool { return m.begun && m.c.View.Executor == m.self }

// ---- the chain ----

// chainMoved follows the chain, which is always right.
func (m *Machine) chainMoved(c *ledger.Case) {
	if m.c == nil {
		m.id = c.ID()
	} else if m.c.Attempt != c.Attempt {
		m.end("the chain began another attempt")
		m.drawn, m.saidBusy = false, false
		clear(m.accused)
	}
	m.c = c
	switch {
	case c.Phase == ledger.Closed:
		m.end("the task is settled")
		m.do(Finish{})
	case c.Phase == ledger.Electing && !m.drawn:
		m.drawn = true
		m.do(Draw{Case: c})
	case c.Phase == ledger.Electing:
		m.sayBusy()
	case c.Phase >= ledger.Attesting:
		m.follow()
	}
}

// won sends this node's claim to the chain, as every winner does for itself:
// nobody can leave it out for another (spec §6.3).
func (m *Machine) won(k task.Claim) {
	if _, busy := k.Decline(); busy && k.Attempt == m.c.Attempt {
		m.unable[k.Attempt] = task.Lack{Reason: task.Busy}
	}
	if m.c.Phase == ledger.Electing && k.Attempt == m.c.Attempt && !m.isMember() {
		m.submit(task.Body{Claims: task.PackClaims([]task.Claim{k})})
	}
}

// sayBusy declines at once where somebody has cut that word off this node's claim, so
// that it gets no turn that it has refused.
func (m *Machine) sayBusy() {
	lack := m.unable[m.c.Attempt]
	if own := m.c.Member(m.self); own != nil && own.Claim.Busy == nil && lack.Reason == task.Busy && !m.saidBusy && !m.declined {
		m.saidBusy = true
		m.do(Decline{Decline: task.Decline{Task: m.id, Attempt: m.c.Attempt, Node: m.self, Lack: lack}})
	}
}

// follow acts on the present view.
func (m *Machine) follow() {
	if !m.begun || m.view != m.c.View.Number {
		m.begin()
	}
	if !m.isMember() {
		return
	}
	m.sayBusy()
	m.followRound()
	m.tryCall()
	m.tryResult()
	m.tryExit()
	m.giveUp()
}

// begin begins the turn of the executor whom the chain has named.
func (m *Machine) begin() {
	m.end("the chain named another executor")
	m.turn = turn{begun: true, view: m.c.View.Number, votes: map[task.NodeID]task.SignedVote{}}
	m.commitments, m.reveals = map[task.NodeID]task.Commitment{}, map[task.NodeID]task.Reveal{}
	m.valid, m.sent = map[task.NodeID]bool{}, map[task.NodeID]bool{}
	if mine, ok := m.said[m.ballot()]; ok {
		m.mine = &mine
	}
	switch {
	case !m.isMember():
	case m.c.View.Executor != m.self:
		m.timer(SilenceTimer, m.patience.Silence)
	case m.unable[m.c.Attempt] != task.Lack{}:
		m.decline()
	case m.c.Phase == ledger.Attesting && !m.c.View.Pre.HasPair():
		// Where evidence is on the chain, it is of an enclave that a crash has taken:
		// what another shows would contradict it.
		m.enclave = true
		m.do(StartEnclave{Ballot: m.ballot(), GiveUp: m.c.GiveUpAt()})
	}
	if m.executes() && !m.enclave { // what it had said before the crash may still be on its way
		m.timer(SilenceTimer, m.patience.Silence)
	}
}

// cannot ends this node's turn: it has no enclave free, or a file does not come, or
// its enclave has failed. As long as it has shown nothing that costs nothing, if it
// says so in time.
func (m *Machine) cannot(e Unable) {
	if e.Ballot.Attempt != m.c.Attempt || !m.executes() || e.Ballot.View != m.view {
		return
	}
	m.unable[m.c.Attempt] = e.Why
	if m.enclave {
		m.enclave = false
		m.do(StopEnclave{Why: "this node cannot execute it: " + e.Why.String()})
	}
	m.decline()
	m.lost = true
	m.giveUp()
}

// giveUp tells the chain that the enclave it waits for is gone. That costs what
// silence costs, and nothing is won by being silent longer.
func (m *Machine) giveUp() {
	if m.lost && !m.gaveUp && m.executes() && m.c.Stage == ledger.Computing {
		m.gaveUp = true
		m.do(Decline{Decline: task.Decline{Task: m.id, Attempt: m.c.Attempt, Node: m.self, Lack: task.Lack{Reason: task.Gone}}})
	}
}

// decline tells the chain that this node does not execute.
func (m *Machine) decline() {
	if !m.declined && !m.c.HasShown() {
		m.declined = true
		m.do(Decline{Decline: task.Decline{Task: m.id, Attempt: m.c.Attempt, Node: m.self, Lack: m.unable[m.c.Attempt]}})
	}
}

// end drops what this node has begun.
func (m *Machine) end(why string) {
	if m.enclave {
		m.do(StopEnclave{Why: why})
	}
	m.enclave, m.turn = false, turn{}
}

// ---- a silent executor ----

func (m *Machine) voteHeard(s task.SignedVote) {
	v := s.Vote
	if v.Task != m.id || v.Attempt != m.c.Attempt || !m.begun || v.View != m.view+1 || m.c.Member(v.Node) == nil {
		return
	}
	m.votes[v.Node] = s
	// One honest member among them must have found the executor silent.
	if seats, _ := m.gone(); seats > (m.c.Roster().Total()-1)/3 && !m.executes() {
		m.passOver()
	}
	m.trySkip()
}

// gone are the votes to pass over the executor, and their seats, by node, so that
// no map order reaches an action.
func (m *Machine) gone() (seats uint32, votes []task.SignedVote) {
	for id, s := range m.votes {
		seats += m.c.Member(id).Seats
		votes = append(votes, s)
	}
	slices.SortFunc(votes, func(a, b task.SignedVote) int { return bytes.Compare(a.Vote.Node[:], b.Vote.Node[:]) })
	return seats, votes
}

// passOver says, once, that the executor is silent.
func (m *Machine) passOver() {
	if m.isMember() && !m.voted {
		m.voted = true
		m.do(Cast{Vote: task.Vote{Task: m.id, Attempt: m.c.Attempt, View: m.view + 1, Node: m.self}})
	}
}

// trySkip brings the word of n−f seats that the executor is silent to the chain.
func (m *Machine) trySkip() {
	if !m.isMember() || m.skipSent || m.c.Phase != ledger.Attesting || m.c.HasShown() {
		return
	}
	if seats, votes := m.gone(); seats >= sortition.Quorum(m.c.Roster().Total()) {
		m.skipSent = true
		m.submit(task.Body{Skip: &task.Skip{Task: m.id, Attempt: m.c.Attempt, View: m.view + 1, Votes: votes}})
		m.timer(SkipTimer, max(m.patience.Silence/4, 1)) // it may have been too early
	}
}

// silence asks for the next executor if the present one gave no sign of life.
func (m *Machine) silence() {
	switch {
	case m.executes():
		m.lost = true // the timer is set for an executor without an enclave alone
		m.giveUp()
	case m.c.Phase == ledger.Reviewing:
	case m.alive || m.c.Phase != ledger.Attesting || m.c.HasShown():
		m.alive = false // from its evidence on the chain's own deadlines watch over it
		m.timer(SilenceTimer, m.patience.Silence)
	default:
		m.passOver()
	}
}

// accuse brings a node's two words that exclude each other to the chain.
func (m *Machine) accuse(id task.NodeID, a task.Accusation) {
	if !m.isMember() || m.accused[id] || id == m.self {
		return
	}
	m.accused[id] = true
	a.Accused, a.Ballot = id, task.Ballot{Task: m.id, Attempt: m.c.Attempt}
	m.submit(task.Body{Accuse: &a})
}

func (m *Machine) timedOut(t Timer) {
	if t.Attempt != m.c.Attempt || !m.begun || t.View != m.view {
		return
	}
	switch t.Kind {
	case SilenceTimer:
		m.silence()
	case FlushTimer:
		m.flushUp()
	case StallTimer:
		m.stalled()
	case WordTimer:
		m.ownWord()
	case SkipTimer:
		m.skipSent = false
		m.trySkip()
	}
}
