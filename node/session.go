package node

import (
	"context"
	"sync"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// mailbox bounds the events that wait for one machine.
const mailbox = 1024

// session is one task at one worker. Its loop alone touches the machine.
type session struct {
	w       *Worker
	id      task.TaskID
	ctx     context.Context
	cancel  context.CancelFunc
	machine *committee.Machine
	events  chan committee.Event
	timers  map[timerKey]*time.Timer
	done    bool
	job     *job // this node's enclave, when it executes

	mu    sync.Mutex
	state *ledger.Case  // the latest, for those who hear messages
	seen  chan struct{} // closed and replaced when the case changes
	heard map[claimKey]bool
}

// timerKey keeps one running timer for each question.
type timerKey struct {
	kind  committee.TimerKind
	round task.Round
}

type claimKey struct {
	attempt uint32
	node    task.NodeID
}

func newSession(ctx context.Context, w *Worker, id task.TaskID) *session {
	ctx, cancel := context.WithCancel(ctx)
	return &session{
		w: w, id: id, ctx: ctx, cancel: cancel, machine: committee.New(w.id, w.Times),
		events: make(chan committee.Event, mailbox), timers: map[timerKey]*time.Timer{},
		seen: make(chan struct{}), heard: map[claimKey]bool{},
	}
}

// post hands an event to the loop; it waits while the mailbox is full.
func (s *session) post(e committee.Event) {
	select {
	case s.events <- e:
	case <-s.ctx.Done():
	}
}

// chain takes the case as the chain now holds it.
func (s *session) chain(c *ledger.Case) {
	s.w.remember(c.Members)
	s.mu.Lock()
	s.state = c
	close(s.seen)
	s.seen = make(chan struct{})
	s.mu.Unlock()
	s.post(committee.ChainMoved{Case: c})
}

// loop runs the machine until the task is settled or the worker stops.
func (s *session) loop() {
	defer s.close()
	for !s.done {
		select {
		case e := <-s.events:
			for _, a := range s.machine.Step(e) {
				s.perform(a)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *session) close() {
	s.cancel()
	for _, t := range s.timers {
		t.Stop()
	}
	s.stopJob()
}

// perform does one action. What takes time goes its own way and answers with
// an event; the order of storing, signing and sending is kept here.
func (s *session) perform(a committee.Action) {
	switch a := a.(type) {
	case committee.Draw:
		s.draw(a.Case)
	case committee.Gossip:
		s.report("gossip", s.w.Net.Publish(s.ctx, task.Encode(a.Claim)))
	case committee.Cast:
		s.castVote(a)
	case committee.CommitVerdict:
		s.commitVerdict(a.Reveal)
	case committee.SendReveal:
		s.toMembers(Message{Reveal: &a.Reveal})
		s.again(committee.RevealHeard{Reveal: a.Reveal})
	case committee.SendEvidence:
		s.toMembers(Message{Evidence: &Evidence{Ballot: s.ballot(a.View, a.Round), Evidence: a.Evidence}})
	case committee.Appraise:
		s.appraise(a)
	case committee.StartEnclave:
		s.startJob(a)
	case committee.Requote:
		s.job.requote(a)
	case committee.RequestKeys:
		s.job.keys(a)
	case committee.QuoteExit:
		s.job.exit(a)
	case committee.StopEnclave:
		s.w.Log.Info("work dropped", "task", s.id.Short(), "why", a.Why)
		s.stopJob()
	case committee.Submit:
		s.report("submit "+a.Body.Kind(), s.w.Chain.Send(s.ctx, s.w.Operator, a.Body))
	case committee.SetTimer:
		s.setTimer(a)
	case committee.Finish:
		s.done = true
		s.report("forget", s.w.Journal.Forget(s.id))
	}
}

// again hands the machine an event of its own, in the middle of its actions.
func (s *session) again(e committee.Event) {
	for _, a := range s.machine.Step(e) {
		s.perform(a)
	}
}

func (s *session) report(what string, err error) {
	if err != nil && s.ctx.Err() == nil {
		s.w.Log.Warn(what, "task", s.id.Short(), "node", s.w.id.Short(), "err", err)
	}
}

func (s *session) setTimer(a committee.SetTimer) {
	key := timerKey{a.Timer.Kind, a.Timer.Round}
	if t := s.timers[key]; t != nil {
		t.Stop()
	}
	s.timers[key] = time.AfterFunc(time.Duration(a.Millis)*time.Millisecond, func() {
		s.post(committee.TimedOut{Timer: a.Timer})
	})
}

func (s *session) ballot(view uint32, r task.Round) task.Ballot {
	return task.Ballot{Task: s.id, Attempt: s.machine.Attempt(), View: view, Round: r}
}

// draw evaluates this node's VRF. A loser computes β alone and stays silent.
func (s *session) draw(c *ledger.Case) {
	rec, err := s.w.Chain.Node(s.ctx, s.w.id)
	if err != nil {
		s.report("draw", err)
		return
	}
	claim, won := sortition.Win(s.w.VRF, task.Hash(s.w.id), c.Seed(), c.Seats, uint64(rec.StakeAt(c.Epoch)), uint64(c.TotalStake))
	if !won {
		return
	}
	s.again(committee.Won{Self: committee.Member{
		Node: s.w.id, Seats: claim.Seats(), Tickets: claim.Tickets(), Beta: claim.Output(),
		Claim: task.Claim{Task: s.id, Attempt: c.Attempt, Node: s.w.id, Proof: claim.Proof()},
	}})
}

// castVote: on stable storage first, then signed, then counted, then sent
// (spec §6.2).
func (s *session) castVote(a committee.Cast) {
	v := task.SignedVote{Vote: a.Vote, Signature: task.Sign(s.w.Peer, a.Vote.Hash()), Lock: a.Lock}
	if err := s.w.Journal.Vote(v); err != nil {
		s.w.Log.Error("vote not stored, so not cast", "task", s.id.Short(), "err", err)
		return
	}
	if a.Vote.Stage != task.NewView {
		v.Lock = nil // the proof of a lock travels with a NewView only
	}
	verified, err := committee.VerifyVote(v, s.w.peerKey(s.ctx))
	if err != nil {
		s.report("own vote", err)
		return
	}
	s.toMembers(Message{Vote: &v})
	s.again(committee.VoteHeard{Vote: verified})
}

func (s *session) commitVerdict(r task.Reveal) {
	if err := s.w.Journal.Reveal(r); err != nil {
		s.w.Log.Error("verdict not stored, so not committed to", "task", s.id.Short(), "err", err)
		return
	}
	k := task.Commitment{Ballot: r.Ballot, Node: s.w.id, Digest: r.Digest()}
	k.Signature = task.Sign(s.w.Peer, k.Hash())
	s.toMembers(Message{Commitment: &k})
	s.again(committee.CommitmentHeard{Commitment: k})
}

// toMembers sends to every other member that this node knows.
func (s *session) toMembers(m Message) {
	raw := task.Encode(m)
	for _, k := range s.machine.Members() {
		if k.Node == s.w.id {
			continue
		}
		s.w.wg.Go(func() {
			rec, err := s.w.record(s.ctx, k.Node)
			if err == nil {
				err = s.w.Net.Send(s.ctx, rec.Node.Addr, task.ProtoCommittee, raw)
			}
			if err != nil && s.ctx.Err() == nil {
				s.w.Log.Debug("member not reached", "task", s.id.Short(), "node", k.Node.Short(), "err", err)
			}
		})
	}
}

// appraise judges the executor's evidence, this node's own nonce included.
func (s *session) appraise(a committee.Appraise) {
	s.mu.Lock()
	c := s.state
	s.mu.Unlock()
	rec, err := s.w.record(s.ctx, a.Executor)
	if err != nil {
		s.report("appraise", err)
		return
	}
	want := c.Expected(a.Round, a.View, rec.Node)
	ev, err := attest.ParseEvidence(a.Evidence)
	verdict := attest.Appraisal{Verdict: task.Fault, Reason: attest.EvidenceMalformed}
	if err == nil {
		if a.Round == task.PreRun {
			want.Nonces = []task.Hash{s.ownNonce(c)}
		}
		verdict = attest.Appraise(ev, want, c.Task.Policy, s.w.params.Reference)
	}
	if verdict.Verdict == task.Fault {
		s.w.Log.Warn("evidence is faulty", "task", s.id.Short(), "executor", a.Executor.Short(), "reason", verdict.Reason, "detail", verdict.Detail)
	}
	s.again(committee.Appraised{
		Round: a.Round, View: a.View, Evidence: a.Evidence, Verdict: verdict.Verdict, Reason: verdict.Reason,
		Salt: s.salt(a.View, a.Round),
	})
}

func (s *session) ownNonce(c *ledger.Case) task.Hash {
	return attest.Nonce(s.w.VRF.Output(sortition.Alpha(c.Seed(), task.Hash(s.w.id))), s.w.id)
}

// salt is this node's secret for one commitment: the same after a crash, and
// unknown to anyone without its VRF key.
func (s *session) salt(view uint32, r task.Round) task.Hash {
	h := task.H(task.TagSalt, task.Encode(s.ballot(view, r)))
	out := s.w.VRF.Output(h[:])
	return task.H(task.TagSalt, out[:])
}

// hearClaim judges a claim against the case; it waits for the block that
// opens the attempt.
func (s *session) hearClaim(ctx context.Context, k task.Claim) (pass, junk bool) {
	for {
		s.mu.Lock()
		c, seen := s.state, s.seen
		s.mu.Unlock()
		if c != nil && (c.Attempt > k.Attempt || c.Phase > ledger.Electing) {
			return false, false // late: the chain has closed these claims
		}
		if c != nil && c.Attempt == k.Attempt && c.Phase == ledger.Electing {
			return s.admit(ctx, c, k)
		}
		select {
		case <-seen:
		case <-ctx.Done():
			return false, false
		}
	}
}

// admit verifies a claim with the stake that the chain holds now. That the chain
// cannot be asked is not the sender's fault.
func (s *session) admit(ctx context.Context, c *ledger.Case, k task.Claim) (pass, junk bool) {
	rec, err := s.w.Chain.Node(ctx, k.Node)
	if err != nil {
		return false, task.CodeOf(err) != "" && ctx.Err() == nil
	}
	m, err := c.Admit(rec.Node, rec.StakeAt(c.Epoch), k)
	if err != nil {
		return false, true
	}
	s.w.keep(k.Node, rec)
	key := claimKey{k.Attempt, k.Node}
	s.mu.Lock()
	known := s.heard[key]
	s.heard[key] = true
	s.mu.Unlock()
	if !known {
		s.post(committee.ClaimHeard{Member: committee.MemberOf(&m)})
	}
	return true, false
}

// hear verifies a message and hands it to the machine.
func (s *session) hear(from task.Key, m Message) {
	switch {
	case m.Vote != nil:
		v, err := committee.VerifyVote(*m.Vote, s.w.peerKey(s.ctx))
		if err != nil {
			s.w.Log.Debug("vote refused", "from", from.Short(), "err", err)
			return
		}
		s.post(committee.VoteHeard{Vote: v})
	case m.Commitment != nil:
		key, ok := s.w.peerKey(s.ctx)(m.Commitment.Node)
		if ok && m.Commitment.Signature.Verify(key, m.Commitment.Hash()) {
			s.post(committee.CommitmentHeard{Commitment: *m.Commitment})
		}
	case m.Reveal != nil:
		s.post(committee.RevealHeard{Reveal: *m.Reveal})
	case m.Evidence != nil:
		b, name := m.Evidence.Ballot, s.nameOf(from)
		if !name.IsZero() && (b.Round == task.PreRun || b.Round == task.PostRun) {
			s.post(committee.EvidenceHeard{From: name, Round: b.Round, View: b.View, Evidence: m.Evidence.Evidence})
		}
	case m.Alive != nil:
		s.post(committee.AliveHeard{View: m.Alive.View, Node: s.nameOf(from)})
	}
}

// nameOf finds the member with a peer key, or nobody.
func (s *session) nameOf(key task.Key) task.NodeID {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for id, rec := range s.w.nodes {
		if rec.Node.Peer == key {
			return id
		}
	}
	return task.NodeID{}
}
