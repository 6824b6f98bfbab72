package node

import (
	"context"
	"sync"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// mailbox bounds the inputs that wait for one session.
const mailbox = 1024

// runner keeps one session in the real world: its loop alone touches the
// session and gives it one input at a time, and it is the session's Effects.
// What takes time goes its own way and answers with another input. It decides
// nothing.
type runner struct {
	w       *Worker
	id      task.TaskID
	ctx     context.Context
	cancel  context.CancelFunc
	session *Session
	inputs  chan func(*Session)
	job     *job // this node's enclave, when it executes

	mu     sync.Mutex
	timers map[committee.TimerKind]timer
	state  *ledger.Case  // the latest that the session has or is about to get
	seen   chan struct{} // closed and replaced when the case changes
}

// timer is up when a block of its height has passed.
type timer struct {
	committee.Timer
	height uint64
}

func newRunner(ctx context.Context, w *Worker, c *ledger.Case) (*runner, error) {
	r := &runner{
		w: w, id: c.ID(), inputs: make(chan func(*Session), mailbox), timers: map[committee.TimerKind]timer{},
		state: c, seen: make(chan struct{}),
	}
	var err error
	r.session, err = NewSession(SessionConfig{
		Node: w.Node, Peer: w.Peer, VRF: w.VRF, Patience: w.Patience, Journal: w.Journal, Effects: r, Appraise: w.Appraise, Fits: w.Fits, Log: w.Log,
	}, c)
	if err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.chain(c)
	return r, nil
}

// post hands an input to the loop; it waits while the mailbox is full.
func (r *runner) post(input func(*Session)) {
	select {
	case r.inputs <- input:
	case <-r.ctx.Done():
	}
}

// chain takes the case as the chain now holds it. The session gets it before
// anything that is verified by it.
func (r *runner) chain(c *ledger.Case) {
	r.w.remember(c.Members)
	r.post(func(s *Session) { s.Chain(c) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = c
	close(r.seen)
	r.seen = make(chan struct{})
}

// latest is the case, and what will be closed when there is a newer one.
func (r *runner) latest() (c *ledger.Case, newer <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.seen
}

// loop runs the session until the task is settled or the worker stops.
func (r *runner) loop() {
	defer r.close()
	for !r.session.Done() {
		select {
		case input := <-r.inputs:
			input(r.session)
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *runner) close() {
	r.cancel()
	r.stopJob()
}

func (r *runner) report(what string, err error) {
	if err != nil && r.ctx.Err() == nil {
		r.w.Log.Warn(what, "task", r.id.Short(), "node", r.w.id.Short(), "err", err)
	}
}

func (r *runner) Record() (ledger.NodeRecord, error) { return r.w.Chain.Node(r.ctx, r.w.id) }

func (r *runner) Submit(b task.Body) {
	r.report("submit "+b.Kind(), r.w.Chain.Send(r.ctx, r.w.Operator, b))
}

func (r *runner) Send(to []task.NodeID, m Message) {
	raw := task.Encode(m)
	for _, id := range to {
		r.w.wg.Go(func() { r.deliver(r.ctx, id, raw) })
	}
}

// deliver brings a message to one member. One that cannot be reached must not
// keep it from the others.
func (r *runner) deliver(ctx context.Context, to task.NodeID, raw []byte) {
	n, err := r.w.node(ctx, to)
	if err == nil {
		err = r.w.Net.Send(ctx, n.Addr, task.ProtoCommittee, raw)
	}
	if err != nil && ctx.Err() == nil {
		r.w.Log.Debug("member not reached", "task", r.id.Short(), "node", to.Short(), "err", err)
	}
}

func (r *runner) SetTimer(a committee.SetTimer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timers[a.Timer.Kind] = timer{a.Timer, r.w.height.Load() + a.Blocks}
}

// passed tells the session of the timers that are up with a block. It does not
// wait for room in the mailbox, whose owner may be waiting for blocks.
func (r *runner) passed(height uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, t := range r.timers {
		if t.height > height {
			continue
		}
		select {
		case r.inputs <- func(s *Session) { s.TimedOut(t.Timer) }:
			delete(r.timers, key)
		default: // with the next block
		}
	}
}

func (r *runner) Free() bool { return r.w.free() }

func (r *runner) StartEnclave(c *ledger.Case, a committee.StartEnclave) { r.startJob(c, a) }
func (r *runner) RequestKeys(a committee.RequestKeys)                   { r.job.keys(a) }
func (r *runner) QuoteExit(a committee.QuoteExit)                       { r.job.exit(a) }

func (r *runner) StopEnclave(a committee.StopEnclave) {
	r.w.Log.Info("work dropped", "task", r.id.Short(), "why", a.Why)
	r.stopJob()
}

// hear verifies a message and hands it to the session, when the chain has come to
// what it is about.
func (r *runner) hear(ctx context.Context, from task.Key, m Message) {
	at, _ := m.about()
	for {
		c, newer := r.latest()
		if !at.early(c) {
			break
		}
		select {
		case <-newer:
		case <-r.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
	heard, err := Verify(r.w.named(from), m, func(id task.NodeID) (task.Key, bool) {
		n, err := r.w.node(r.ctx, id)
		return n.Peer, err == nil
	})
	if err != nil {
		r.w.Log.Debug("message refused", "from", from.Short(), "err", err)
		return
	}
	r.post(func(s *Session) { s.Hear(heard) })
}
