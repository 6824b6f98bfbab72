package economy

import (
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// This file is a worker in a coalition's world: a production session, and what it asks
// for. A friend of the coalition does otherwise here, at the edges.

// coalSession is one worker's part in a task.
type coalSession struct {
	w       *coalWorld
	t       *coalTask
	k       *econWorker
	mate    bool
	s       *node.Session
	timers  map[committee.TimerKind]coalTimer
	start   *committee.StartEnclave
	enclave econEnclave
	asked   uint64            // height at which it asked for keys; 0 for not
	called  bool              // for keys, on the chain
	looks   map[task.Hash]int // by pair: at how many of its pieces
	journal coalJournal
}

type coalTimer struct {
	timer  committee.Timer
	height uint64
}

// coalJournal is a disk that never fails.
type coalJournal struct {
	reveals  []task.Reveal
	declines []task.Decline
}

func (j *coalJournal) Reveal(v task.Reveal) error { j.reveals = append(j.reveals, v); return nil }
func (j *coalJournal) Pair(task.Pair) error       { return nil }
func (j *coalJournal) Decline(d task.Decline) error {
	j.declines = append(j.declines, d)
	return nil
}
func (j *coalJournal) Load(task.TaskID) ([]task.Reveal, []task.Decline, error) {
	return j.reveals, j.declines, nil
}
func (j *coalJournal) Forget(task.TaskID) error { return nil }

// coalRunShare is what a run costs its executor, of what is paid for it.
const coalRunShare = 0.8

var coalPatience = committee.Patience{Silence: 25, Flush: 2}

// Record is the node's own.
func (s *coalSession) Record() (ledger.NodeRecord, error) {
	rec, _ := s.w.read().Node(s.k.node.ID())
	return rec, nil
}

// Free says whether a claim is to say that the node can execute.
func (s *coalSession) Free() bool { return !s.deviates(devBusy) }

func (s *coalSession) deviates(deviation int) bool { return s.mate && s.t.does(deviation) }

// SetTimer keeps a timer.
func (s *coalSession) SetTimer(a committee.SetTimer) {
	s.timers[a.Timer.Kind] = coalTimer{a.Timer, s.w.height + a.Blocks}
}

// friendly says whether the present executor is the coalition's.
func (s *coalSession) friendly() bool { return s.w.friend(s.s.Case().View.Executor) }

// Send brings a word to others. It is verified once, for all of them.
func (s *coalSession) Send(to []task.NodeID, m node.Message) {
	if m.Shown != nil {
		s.enclave.shown = *m.Shown
	}
	if s.mate {
		s.deviant(to, m)
		return
	}
	s.say(to, m)
}

func (s *coalSession) say(to []task.NodeID, m node.Message) {
	h, err := node.Verify(s.k.node.ID(), m, func(id task.NodeID) (task.Key, bool) {
		i := s.w.index(id)
		if i < 0 {
			return task.Key{}, false
		}
		return s.w.workers[i].node.Peer, true
	})
	if err != nil {
		return
	}
	for _, id := range to {
		o := s.t.sessions[s.w.index(id)]
		s.w.later(func() {
			if !h.Early(o.s.Case()) {
				o.s.Hear(h)
			}
		})
	}
}

// Submit sends a transaction.
func (s *coalSession) Submit(b task.Body) {
	if s.mate && !s.bends(&b) {
		return
	}
	tx := coalTx{key: s.k.operator, body: b, ours: s.mate}
	if s.deviates(devLateClaims) && b.Claims != nil {
		tx.from = s.w.height + 3
	}
	s.w.pool = append(s.w.pool, tx)
}

// appraise is a look at one piece: it costs a check for each seat.
func (s *coalSession) appraise(ev attest.Evidence, want attest.Expected, _ task.Policy, _ attest.Reference) attest.Appraisal {
	c := s.s.Case()
	a := s.w.found(c, task.Encode(ev))
	if s.mate {
		if word, unread := s.word(c, want, a); unread {
			return word
		}
	}
	s.w.spent[s.w.party(s.k)] += float64(c.Member(s.k.node.ID()).Seats)
	if s.deviates(devWrong) {
		return coalTurned(a)
	}
	return a
}

// coalTurned is the opposite of what was found.
func coalTurned(a attest.Appraisal) attest.Appraisal {
	if a.Verdict == task.OK {
		return attest.Appraisal{Verdict: task.Fault, Reason: attest.DirtyState}
	}
	return attest.Appraisal{Verdict: task.OK}
}

// StartEnclave fetches the files, if they come.
func (s *coalSession) StartEnclave(_ *ledger.Case, a committee.StartEnclave) {
	s.start, s.asked = &a, 0
	s.w.later(s.tryStart)
}

// StopEnclave drops the enclave.
func (s *coalSession) StopEnclave(committee.StopEnclave) {
	s.start, s.asked, s.enclave = nil, 0, econEnclave{}
}

func (s *coalSession) tryStart() {
	if s.start == nil {
		return
	}
	a := *s.start
	unable := func(party uint8) {
		s.start = nil
		s.s.Unable(a.Ballot, task.Lack{Reason: task.NoFile, Party: party})
	}
	input, code := s.w.serves(s.t, task.DataOwner, s.mate), s.w.serves(s.t, task.CodeOwner, s.mate)
	switch {
	case s.deviates(devMute):
		s.start = nil
	case s.deviates(devLieInput):
		unable(1)
	case s.deviates(devLieCode):
		unable(2)
	case input && code:
		s.start = nil
		s.quote(a.Ballot)
	case s.w.height < a.GiveUp:
	case input:
		unable(2)
	default:
		unable(1)
	}
}

// coalBox is the key of every enclave that owners seal to: here nothing is sealed.
var coalBox = make([]byte, 1216)

// quote makes the enclave's pair.
func (s *coalSession) quote(b task.Ballot) {
	c := s.s.Case()
	if c.Ballot() != b || c.View.Executor != s.k.node.ID() {
		return
	}
	want, p := c.Wanted(task.PreRun), s.w.platform(s.w.index(s.k.node.ID()))
	e := econEnclave{view: b, sign: s.w.key()}
	e.keys = attest.Keys{Seal: attest.SealKey(coalBox), Sign: task.PublicKey(e.sign)}
	thrown := attest.Keys{Seal: attest.SealKey(coalBox), Sign: task.PublicKey(s.w.key())}
	_, beta := s.k.node.vrf.Prove(b.PairInput())
	e.place = task.PairPlace(beta)
	genuine, decoy := p.Quote(want.Context, e.keys, want.Nonce, attest.EmptyState), p.Decoy(want.Context, thrown, want.Nonce, attest.DecoyFault(beta))
	if s.deviates(devBadEvidence) {
		genuine = p.Quote(want.Context, e.keys, want.Nonce, task.Hash{13})
	}
	if s.deviates(devTwoGood) {
		decoy = p.Quote(want.Context, thrown, want.Nonce, attest.EmptyState)
	}
	s.enclave = e
	s.s.Quoted(b, task.Encode(genuine), task.Encode(decoy))
}

// RequestKeys asks both owners. Who does not answer is called on the chain.
func (s *coalSession) RequestKeys(committee.RequestKeys) {
	s.asked, s.called = s.w.height+1, false
	s.w.later(s.askKeys)
}

// askKeys runs the enclave when both keys are there.
func (s *coalSession) askKeys() {
	c := s.s.Case()
	if s.asked == 0 || s.enclave.view != c.Ballot() || c.Stage != ledger.Computing && c.Stage != ledger.Unlocking {
		return
	}
	all := true
	for _, o := range s.w.ownersOf(s.t) {
		all = all && (o.gives() || c.Released(o.party))
	}
	if all && s.deviates(devRunFirst) && !s.t.has {
		s.t.has = true
		s.w.spent[s.w.party(s.k)] += coalRunShare * float64(s.t.market.gas)
	}
	calls := (s.deviates(devCall) || s.deviates(devRunFirst)) && !c.View.Called()
	switch {
	case all && !calls:
		s.asked = 0
		s.run(c)
	case !s.called && (calls || s.w.height >= s.asked+s.w.params.ReleaseBlocks/4):
		s.called = true
		s.s.Unanswered(c.Ballot(), coalBox)
	}
}

// run is the enclave's, with the keys of both owners.
func (s *coalSession) run(c *ledger.Case) {
	r := task.Result{
		Task: s.t.id, Attempt: c.Attempt, View: c.View.Number, Node: c.View.Executor, Outcome: task.RunOK,
		PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: task.H(task.TagEvidence, c.Genuine()),
	}
	cid := "out"
	r.Keys = make([]task.Hash, len(c.Parties()))
	for _, o := range c.View.Releases {
		r.Keys[o.Party] = o.Hash()
		if string(o.Sealed) == wrongKey && (r.Outcome == task.RunOK || o.Party < r.Party) { // the first
			r.Outcome, r.Party = task.WrongKey, o.Party
		}
	}
	if s.deviates(devBlame) {
		r.Outcome, r.Party, r.Keys[1] = task.WrongKey, 1, task.Hash{66}
	}
	stopped := s.deviates(devLate)
	if r.Outcome == task.RunOK && (stopped || s.t.does(devSlow) && !s.mate) {
		r.Outcome, cid = task.OutOfTime, ""
	}
	if r.Outcome == task.RunOK || r.Outcome == task.OutOfTime && !stopped {
		s.w.spent[s.w.party(s.k)] += coalRunShare * float64(s.t.market.gas)
	}
	r.Gas = c.Function.Manifest.Shown(c.Task, r.Outcome, c.Task.GasLimit)
	if s.mate && r.Outcome == task.RunOK {
		s.t.has = true
	}
	if s.deviates(devNoResult) {
		return
	}
	s.s.Ran(task.SignedResult{Result: r, Signature: task.Sign(s.enclave.sign, r.Hash()), CID: cid}.PlacedBy(s.k.node.peer))
}

// QuoteExit shows how the enclave ended.
func (s *coalSession) QuoteExit(a committee.QuoteExit) {
	if s.deviates(devNoExit) {
		return
	}
	state := attest.EmptyState
	if s.deviates(devDirtyExit) {
		state = task.Hash{13}
	}
	want := s.s.Case().Wanted(task.PostRun)
	ev := s.w.platform(s.w.index(s.k.node.ID())).Quote(want.Context, s.enclave.keys, want.Nonce, state)
	s.w.later(func() { s.s.Left(a.Ballot, task.Encode(ev)) })
}
