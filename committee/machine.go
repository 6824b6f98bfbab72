package committee

import (
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// Machine is one node's part in one task. Not safe for concurrent use.
type Machine struct {
	self  task.NodeID
	times Timeouts
	c     *ledger.Case // as the chain last told; nil before the first ChainMoved

	out []Action // of the present Step

	// The present attempt. A new attempt forgets all of it.
	drawn     bool
	mine      *Member // this node's seats, nil without
	members   map[task.NodeID]Member
	ordered   []Member           // the members by name; nil when they have changed
	set       task.Hash          // names them
	tickets   []sortition.Ticket // theirs, ascending; nil likewise
	confirmed bool               // the chain has closed the claims

	// The agreement on an executor.
	view      uint32
	ready     bool // the collecting time is over: prepare as soon as may be
	cast      map[castKey]bool
	votes     map[task.Stage]map[uint32]map[task.NodeID]task.SignedVote
	lock      *lock
	decided   bool // in this view
	executor  task.NodeID
	alive     bool // a sign of life since the silence timer was set
	skipSent  map[uint32]bool
	claimSent bool

	rounds  map[task.Ballot]*round
	quoting bool                 // the enclave is asked for pre-run evidence
	enclave *uint32              // the view of the one that this node has
	result  *task.SignedResult   // the enclave's, not brought to the chain yet
	accused map[task.NodeID]bool // of two words
}

type castKey struct {
	stage task.Stage
	view  uint32
}

// lock is the executor that a quorum has prepared, with its proof.
type lock struct {
	view     uint32
	executor task.NodeID
	proof    []task.SignedVote
}

// round is this node's knowledge of one verdict.
type round struct {
	shown       task.Showing // the executor's evidence
	asked       bool         // for this evidence's appraisal, or for the enclave's quote
	mine        *task.Reveal
	revealed    bool
	commitments map[task.NodeID]task.Commitment
	reveals     map[task.NodeID]task.Reveal
	keysAsked   bool
	unveiling   bool         // the enclave was asked whether this was a canary
	earnest     bool         // and it was not
	canary      *task.Canary // or it was
	told        bool         // and the chain has been told
	watched     bool         // the executor gives stragglers their time once the set is closed
	accused     bool         // the executor, of other evidence than the chain has
	submitted   int          // commitments, at the last submission
	reported    int          // reveals, at the last submission
	late        bool
}

// New makes a machine for a node. It wants ChainMoved first.
func New(self task.NodeID, times Timeouts) *Machine {
	m := &Machine{self: self, times: times}
	m.reset()
	return m
}

// reset begins an attempt.
func (m *Machine) reset() {
	m.drawn, m.mine, m.members, m.confirmed = false, nil, map[task.NodeID]Member{}, false
	m.ordered, m.tickets = nil, nil
	m.cast, m.skipSent, m.rounds = map[castKey]bool{}, map[uint32]bool{}, map[task.Ballot]*round{}
	m.accused, m.quoting, m.enclave, m.result = map[task.NodeID]bool{}, false, nil, nil
	m.votes = map[task.Stage]map[uint32]map[task.NodeID]task.SignedVote{task.Prepare: {}, task.Commit: {}, task.NewView: {}, task.PassOver: {}}
	m.view, m.ready, m.lock, m.decided, m.executor, m.alive, m.claimSent = 0, false, nil, false, task.NodeID{}, false, false
}

// Restore tells a machine, before its first Step, what this node has cast and
// committed to before a crash, so that it never says something else.
func (m *Machine) Restore(attempt uint32, votes []task.SignedVote, reveals []task.Reveal) {
	for _, s := range votes {
		if v := s.Vote; v.Attempt == attempt {
			m.cast[castKey{v.Stage, v.View}] = true
			m.view = max(m.view, v.View)
			if v.Stage == task.Commit && (m.lock == nil || v.View >= m.lock.view) {
				m.lock = &lock{view: v.View, executor: v.Executor, proof: s.Lock}
			}
		}
	}
	for _, r := range reveals {
		if r.Ballot.Attempt == attempt {
			m.roundOf(r.Ballot).mine = &r
		}
	}
}

// Attempt is the attempt that the machine is in.
func (m *Machine) Attempt() uint32 {
	if m.c == nil {
		return 0
	}
	return m.c.Attempt
}

// Executor is who executes in the present view as far as this node knows, and
// whether that is decided.
func (m *Machine) Executor() (task.NodeID, bool) { return m.executor, m.decided }

// Members are those that this node knows, by name.
func (m *Machine) Members() []Member { return slices.Clone(m.sorted()) }

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
	case ChainMoved: // taken above
	case Won:
		m.won(e.Self)
	case ClaimHeard:
		m.claimHeard(e.Member)
	case VoteHeard:
		m.voteHeard(e.Vote.vote)
	case EvidenceHeard:
		m.evidenceHeard(e)
	case Appraised:
		m.appraised(e)
	case CommitmentHeard:
		m.commitmentHeard(e.Commitment)
	case RevealHeard:
		m.revealHeard(e.Reveal)
	case AliveHeard:
		if e.View == m.view && e.Node == m.executor {
			m.alive = true
		}
	case Quoted:
		m.quoted(e)
	case Unveiled:
		m.unveiled(e)
	case Ran:
		m.ran(e.Result)
	case TimedOut:
		m.timedOut(e.Timer)
	}
	return m.out
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) submit(b task.Body) { m.do(Submit{Body: b}) }

// timer sets a timer of the present view.
func (m *Machine) timer(kind TimerKind, millis uint64) {
	m.do(SetTimer{Timer: Timer{Kind: kind, Attempt: m.c.Attempt, View: m.view}, Millis: millis})
}

// n and quorum are in seats, of the members known so far.
func (m *Machine) n() (n uint32) {
	for _, k := range m.members {
		n += k.Seats
	}
	return n
}

func (m *Machine) quorum() uint32 { return sortition.Quorum(m.n()) }

func (m *Machine) isMember() bool { return m.mine != nil }

// owner is the owner of the v-th ticket among different owners.
func (m *Machine) owner(view uint32) (task.NodeID, bool) {
	if m.tickets == nil {
		for _, k := range m.members {
			m.tickets = append(m.tickets, k.Tickets...)
		}
		sortition.Sort(m.tickets)
	}
	id, ok := sortition.Owner(m.tickets, view)
	return task.NodeID(id), ok
}

// ---- the chain ----

// chainMoved follows the chain, which is always right.
func (m *Machine) chainMoved(c *ledger.Case) {
	last := m.c
	m.c = c
	if last != nil && last.Attempt != c.Attempt {
		m.dropWork("the chain began another attempt")
		m.reset()
	}
	switch {
	case c.Phase == ledger.Closed:
		m.dropWork("the task is settled")
		m.do(Finish{})
		return
	case c.Phase == ledger.Posted:
		return
	case !m.drawn && c.Phase == ledger.Electing:
		m.drawn = true
		m.do(Draw{Case: c})
	}
	for i := range c.Members {
		m.admit(MemberOf(c, &c.Members[i]))
	}
	switch c.Phase {
	case ledger.Electing:
		m.claimLeftOut()
		m.tryAppraise(m.view, task.PreRun)
		m.commitmentsLeftOut(task.PreRun)
	case ledger.Attesting, ledger.Releasing, ledger.Running, ledger.Reviewing:
		m.confirm()
		m.follow(m.c.PreRound())
		m.tryResult()
		if c.Phase == ledger.Reviewing {
			m.review()
		}
	}
}

func (m *Machine) admit(k Member) {
	if _, ok := m.members[k.Node]; !ok && !m.confirmed {
		m.members[k.Node] = k
		m.ordered, m.tickets = nil, nil
		m.tryRequote()
		m.tryAppraise(m.view, task.PreRun)
	}
}

// confirm takes the chain's committee and view for what they are.
func (m *Machine) confirm() {
	if !m.confirmed {
		m.confirmed = true
		clear(m.members)
		m.ordered, m.tickets = nil, nil
		for i := range m.c.Members {
			k := MemberOf(m.c, &m.c.Members[i])
			m.members[k.Node] = k
		}
		if k, ok := m.members[m.self]; ok {
			m.mine = &k
		} else {
			m.mine = nil
			m.dropWork("the chain's committee is without this node")
		}
	}
	// The chain wins, also over a view that members went on to while its claims
	// were still open: its executor has only now been told.
	if v := &m.c.View; !m.decided || m.executor != v.Executor || m.view != v.Number {
		if v.Executor != m.self {
			m.dropWork("the chain named another executor")
		}
		m.enter(v.Number)
		m.decide(v.Executor)
		m.trySkip()
	} else if m.executor == m.self && m.isMember() {
		m.work()
	}
}

func (m *Machine) dropWork(why string) {
	if m.enclave != nil {
		m.enclave, m.quoting = nil, false
		m.do(StopEnclave{Why: why})
	}
}

// ---- claims ----

func (m *Machine) won(self Member) {
	if m.mine != nil || m.confirmed {
		return
	}
	m.mine = &self
	m.admit(self)
	m.do(Gossip{Claim: self.Claim})
	m.timer(CollectTimer, m.times.Collect)
}

func (m *Machine) claimHeard(k Member) {
	m.admit(k)
	m.tryPrepare()
	m.countVotes()
}

// submitClaims brings the set to the chain: the owner of the lowest ticket for
// all, and whoever was left out for itself.
func (m *Machine) submitClaims() {
	if m.claimSent || m.confirmed {
		return
	}
	m.claimSent = true
	var set []task.Claim
	for _, k := range m.sorted() {
		set = append(set, k.Claim)
	}
	m.submit(task.Body{Claims: &task.Claims{Claims: set}})
}

// sorted lists the members by name, so that no map order reaches an action.
func (m *Machine) sorted() []Member {
	if m.ordered == nil {
		for _, k := range m.members {
			m.ordered = append(m.ordered, k)
		}
		slices.SortFunc(m.ordered, func(a, b Member) int { return slices.Compare(a.Node[:], b.Node[:]) })
		ids := make([]task.NodeID, len(m.ordered))
		for i := range m.ordered {
			ids[i] = m.ordered[i].Node
		}
		m.set = task.Committee(ids)
	}
	return m.ordered
}

// claimLeftOut posts this node's own claim if a block has passed without it.
func (m *Machine) claimLeftOut() {
	if m.isMember() && m.ready && m.c.Member(m.self) == nil && len(m.c.Members) > 0 && !m.claimSent {
		m.claimSent = true
		m.submit(task.Body{Claims: &task.Claims{Claims: []task.Claim{m.mine.Claim}}})
	}
}

// ---- agreement ----

// enter begins a view.
func (m *Machine) enter(view uint32) {
	if view == m.view && m.decided {
		return
	}
	m.view, m.decided, m.alive, m.quoting = view, false, false, false
}

// castVote votes once for each stage and view, and only as a member.
func (m *Machine) castVote(v task.Vote, proof []task.SignedVote) {
	key := castKey{v.Stage, v.View}
	if !m.isMember() || m.cast[key] {
		return
	}
	m.cast[key] = true
	v.Task, v.Attempt, v.Node = m.c.ID(), m.c.Attempt, m.self
	m.do(Cast{Vote: v, Lock: proof})
}

// left says whether this node has gone on from a view: then it is silent in it.
func (m *Machine) left(view uint32) bool {
	for k := range m.cast {
		if k.stage == task.NewView && k.view > view {
			return true
		}
	}
	return false
}

// tryPrepare prepares the lock that was carried into this view, or the owner
// of its ticket.
func (m *Machine) tryPrepare() {
	if !m.ready || m.confirmed || m.decided || m.left(m.view) {
		return
	}
	candidate, ok := m.owner(m.view)
	if m.lock != nil {
		candidate, ok = m.lock.executor, true
	}
	if ok {
		m.castVote(task.Vote{View: m.view, Stage: task.Prepare, Executor: candidate}, nil)
	}
}

func (m *Machine) voteHeard(s task.SignedVote) {
	v := s.Vote
	if v.Task != m.c.ID() || v.Attempt != m.c.Attempt {
		return
	}
	// Bounds on memory. A node whose claim is not here yet may have agreed already,
	// or be ahead of this one on the chain; and nobody honest is far ahead.
	_, member := m.members[v.Node]
	early := !m.confirmed && (v.View == 0 || v.Stage == task.PassOver && v.View <= m.c.Params.MaxViews)
	if !member && !early || v.View > m.view+64 {
		return
	}
	views := m.votes[v.Stage]
	if views[v.View] == nil {
		views[v.View] = map[task.NodeID]task.SignedVote{}
	}
	if first, ok := views[v.View][v.Node]; ok { // the first counts
		switch {
		case first.Vote != v:
			first.Lock, s.Lock = nil, nil
			m.accuse(v.Node, task.Accusation{Votes: []task.SignedVote{first, s}})
			return
		case m.locked(s) <= m.locked(first):
			return
		} // who carried it left out a part of the proof, which nobody has signed
	}
	views[v.View][v.Node] = s
	m.countVotes()
}

// accuse brings a node's two words that exclude each other to the chain.
func (m *Machine) accuse(id task.NodeID, a task.Accusation) {
	if !m.isMember() || m.accused[id] || id == m.self {
		return
	}
	m.accused[id] = true
	a.Accused, a.Ballot = id, task.Ballot{Task: m.c.ID(), Attempt: m.c.Attempt}
	m.submit(task.Body{Accuse: &a})
}

// weigh adds the seats of those who voted in a stage and view and whom keep accepts.
func (m *Machine) weigh(stage task.Stage, view uint32, keep func(task.Vote) bool) (seats uint32, votes []task.SignedVote) {
	for _, k := range m.sorted() {
		if s, ok := m.votes[stage][view][k.Node]; ok && keep(s.Vote) {
			seats += k.Seats
			votes = append(votes, s)
		}
	}
	return seats, votes
}

// countVotes acts on every quorum that there is.
func (m *Machine) countVotes() {
	if m.confirmed {
		m.joinPassOver()
		m.trySkip()
		return
	}
	m.followNewViews()
	if m.decided || m.n() == 0 {
		return
	}
	for _, k := range m.sorted() {
		named := func(v task.Vote) bool { return v.Executor == k.Node }
		seats, proof := m.weigh(task.Prepare, m.view, named)
		_, own := m.votes[task.Prepare][m.view][k.Node]
		// The executor's own prepare is its word that it is there: one that is
		// silent from the start is never locked.
		if seats >= m.quorum() && own && m.votes[task.Prepare][m.view][k.Node].Vote.Executor == k.Node && !m.left(m.view) {
			m.lock = &lock{view: m.view, executor: k.Node, proof: proof}
			m.castVote(task.Vote{View: m.view, Stage: task.Commit, Executor: k.Node}, proof)
		}
		if seats, _ := m.weigh(task.Commit, m.view, named); seats >= m.quorum() {
			m.decide(k.Node)
			return
		}
	}
}

// followNewViews goes to a view that a quorum has gone to, and joins those who
// go as soon as one of them must be honest.
func (m *Machine) followNewViews() {
	views := make([]uint32, 0, len(m.votes[task.NewView]))
	for v := range m.votes[task.NewView] {
		if v > m.view {
			views = append(views, v)
		}
	}
	slices.Sort(views)
	for _, v := range views {
		seats, votes := m.weigh(task.NewView, v, everyone)
		if n := m.n(); n > 0 && seats > (n-1)/3 && seats < m.quorum() {
			m.leave(v)
		}
		if seats < m.quorum() || m.n() == 0 {
			continue
		}
		m.lock = m.highestLock(votes)
		m.enter(v)
		m.timer(ViewTimer, m.times.View*uint64(v+1))
		m.tryPrepare()
	}
}

// highestLock is the one that the new view must go on with, if any. A lock
// whose proof is no quorum is nobody's.
func (m *Machine) highestLock(votes []task.SignedVote) *lock {
	var best *lock
	for _, s := range votes {
		if s.Vote.Executor.IsZero() || best != nil && best.view >= s.Vote.LockView {
			continue
		}
		if m.locked(s) >= m.quorum() {
			best = &lock{view: s.Vote.LockView, executor: s.Vote.Executor, proof: s.Lock}
		}
	}
	return best
}

// locked is the weight of a lock's proof, which names no node twice.
func (m *Machine) locked(s task.SignedVote) (seats uint32) {
	for _, p := range s.Lock {
		seats += m.members[p.Vote.Node].Seats
	}
	return seats
}

// joinPassOver finds the chain's executor silent as soon as one honest member
// must have found it so.
func (m *Machine) joinPassOver() {
	next := m.c.View.Number + 1
	if seats, _ := m.weigh(task.PassOver, next, everyone); m.n() > 0 && seats > (m.n()-1)/3 && m.executor != m.self {
		m.passOver()
	}
}

// passOver says that the executor whom the chain has named is silent.
func (m *Machine) passOver() {
	m.castVote(task.Vote{View: m.c.View.Number + 1, Stage: task.PassOver}, nil)
}

func everyone(task.Vote) bool { return true }

// leave goes on to a later view. The lock goes along unless its owner was
// decided and then was silent: that is what a new view is for.
func (m *Machine) leave(to uint32) {
	v := task.Vote{View: to, Stage: task.NewView}
	var proof []task.SignedVote
	if m.lock != nil && !(m.decided && m.lock.executor == m.executor) {
		v.Executor, v.LockView, proof = m.lock.executor, m.lock.view, m.lock.proof
	}
	m.castVote(v, proof)
}

// decide knows the executor of the present view.
func (m *Machine) decide(executor task.NodeID) {
	m.decided, m.executor, m.alive = true, executor, false
	if !m.isMember() {
		return
	}
	if executor == m.self {
		m.work()
		return
	}
	m.timer(SilenceTimer, m.times.Silence)
	m.tryAppraise(m.view, task.PreRun)
}

// work begins this node's turn, or goes on with it: members that went on to
// another view may come back. A second enclave would contradict what the first
// has shown, so there is no other before the chain has named its executor.
func (m *Machine) work() {
	switch view := m.view; {
	case m.enclave != nil && *m.enclave == view:
		m.tryRequote()
	case m.enclave == nil || m.confirmed:
		m.enclave, m.quoting = &view, true
		m.do(StartEnclave{Ballot: m.ballot(view, task.PreRun), Members: m.Members()})
	}
}

// trySkip brings the word of n−f seats that the executor is silent to the chain.
func (m *Machine) trySkip() {
	if !m.confirmed || !m.isMember() || m.c.Phase < ledger.Attesting || m.c.Phase > ledger.Running {
		return
	}
	next := m.c.View.Number + 1
	seats, votes := m.weigh(task.PassOver, next, everyone)
	if seats < m.quorum() || m.skipSent[next] {
		return
	}
	m.skipSent[next] = true
	m.submit(task.Body{Skip: &task.Skip{Task: m.c.ID(), Attempt: m.c.Attempt, View: next, Votes: votes}})
}

func (m *Machine) timedOut(t Timer) {
	if t.Attempt != m.c.Attempt || t.Kind != FlushTimer && t.View != m.view {
		return
	}
	switch t.Kind {
	case CollectTimer:
		m.ready = true
		if lowest, ok := m.owner(0); ok && lowest == m.self {
			m.submitClaims()
		}
		m.timer(ViewTimer, m.times.View)
		m.tryPrepare()
		m.countVotes()
	case ViewTimer:
		if !m.decided && !m.confirmed {
			m.leave(m.view + 1)
		}
	case SilenceTimer:
		m.silence()
	case FlushTimer:
		if m.bounded(t.View) {
			m.round(t.View, t.Round).late = true
			m.flush(t.View, t.Round)
		}
	case StallTimer:
		m.stalled(t.Round)
	}
}

// awaited says whether the chain waits for words of a round.
func (m *Machine) awaited(r task.Round) bool {
	return m.c.Phase == ledger.Attesting && r == m.c.PreRound() || m.c.Phase == ledger.Reviewing && r == task.PostRun
}

// silence asks for the next executor if the decided one gave no sign of life.
func (m *Machine) silence() {
	switch {
	case !m.decided || m.executor == m.self || m.c.Phase == ledger.Reviewing:
		return
	case m.alive || m.c.Phase == ledger.Releasing:
		m.alive = false // owners, not the executor, are waited for while releasing
		m.timer(SilenceTimer, m.times.Silence)
	case m.confirmed:
		m.passOver()
	default:
		m.leave(m.view + 1)
	}
}
