// Package node is a worker: it follows the chain, draws in every task, and
// where it has won seats it does what the committee's state machine asks.
//
// For each open task runs one [session] with one [committee.Machine] in it. The
// session is the only place where the machine meets the world: it stores and
// signs votes, sends messages, sets timers, starts the enclave, submits
// transactions, and hands whatever comes back to the machine as events, one at
// a time. A worker handles ciphertext only; keys reach the enclave sealed.
//
// The package knows its surroundings as the small interfaces it declares here;
// cmd plugs in libp2p, CometBFT, IPFS and the enclave process, and the
// simulator plugs in its own.
package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Chain is what a worker needs of the chain.
type Chain interface {
	Params(ctx context.Context) (ledger.Params, error)
	Node(ctx context.Context, id task.NodeID) (ledger.NodeRecord, error)
	Case(ctx context.Context, id task.TaskID) (*ledger.Case, error)
	// Send signs and submits a transaction and does not wait for its block.
	// Calls with one key are applied in their order.
	Send(ctx context.Context, key ed25519.PrivateKey, body task.Body) error
	// Watch calls each for the events of every block, in order, without a gap,
	// until ctx ends.
	Watch(ctx context.Context, each func(height uint64, events []ledger.Event)) error
}

// Net carries messages. Protocol names are task's.
type Net interface {
	Publish(ctx context.Context, data []byte) error
	Send(ctx context.Context, addr, proto string, msg []byte) error
	Request(ctx context.Context, addr, proto string, msg []byte) ([]byte, error)
}

// Blobs stores and fetches encrypted files. Get checks the content against
// the CID and refuses more than the stated size; from is a peer that has it.
type Blobs interface {
	Get(ctx context.Context, b task.Blob, from string) ([]byte, error)
	Put(ctx context.Context, data []byte) (task.Blob, error)
}

// Enclave is one enclave process.
type Enclave interface {
	Begin(t task.Task, f task.Function, c attest.Context, nonces []task.Hash) (evidence []byte, err error)
	Quote(nonces []task.Hash) (evidence []byte, err error) // again, before the run
	Release(r task.Release) error
	Run(code, input []byte) (result task.SignedResult, output []byte, err error)
	Exit(c attest.Context, nonce task.Hash) (evidence []byte, err error)
	Close()
}

// Journal is stable storage for what this node has said. Vote and Reveal
// return only when the record would survive a crash.
type Journal interface {
	Vote(v task.SignedVote) error
	Reveal(r task.Reveal) error
	Load(id task.TaskID) ([]task.SignedVote, []task.Reveal, error)
	Forget(id task.TaskID) error
}

// Config is a worker's keys and surroundings; all are needed.
type Config struct {
	Node     task.Node
	Operator ed25519.PrivateKey // pays and submits
	Peer     ed25519.PrivateKey // signs votes
	VRF      *vrf.PrivateKey
	Chain    Chain
	Net      Net
	Blobs    Blobs
	Journal  Journal
	Enclaves func(ctx context.Context) (Enclave, error)
	Times    committee.Timeouts
	Slots    int // enclaves at once
	Log      *slog.Logger
}

// Worker is a running worker.
type Worker struct {
	Config
	id     task.NodeID
	params ledger.Params
	slots  chan struct{}

	mu       sync.Mutex
	sessions map[task.TaskID]*session
	changed  chan struct{}        // closed and replaced when sessions changes
	closed   map[task.TaskID]bool // lately: stragglers' messages are not waited for
	nodes    map[task.NodeID]ledger.NodeRecord
	wg       sync.WaitGroup
}

// New makes a worker. It does nothing before Run.
func New(c Config) *Worker {
	return &Worker{
		Config: c, id: c.Node.ID(), slots: make(chan struct{}, max(c.Slots, 1)),
		sessions: map[task.TaskID]*session{}, changed: make(chan struct{}), nodes: map[task.NodeID]ledger.NodeRecord{},
		closed: map[task.TaskID]bool{},
	}
}

// ID is the node's name.
func (w *Worker) ID() task.NodeID { return w.id }

// Run works until ctx ends, then waits for everything it started.
func (w *Worker) Run(ctx context.Context) error {
	var err error
	if w.params, err = w.Chain.Params(ctx); err != nil {
		return err
	}
	err = w.Chain.Watch(ctx, func(_ uint64, events []ledger.Event) {
		seen := map[task.TaskID]bool{}
		for _, e := range events {
			if !seen[e.Task] {
				seen[e.Task] = true
				w.follow(ctx, e.Task)
			}
		}
	})
	w.wg.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// follow brings a case's new state to its session, and opens one for a case
// that is new to this node.
func (w *Worker) follow(ctx context.Context, id task.TaskID) {
	c, err := w.Chain.Case(ctx, id)
	if err != nil {
		if ctx.Err() == nil {
			w.Log.Error("cannot read a case", "task", id.Short(), "err", err)
		}
		return
	}
	w.mu.Lock()
	s := w.sessions[id]
	if s == nil && c.Phase != ledger.Closed {
		s = w.open(ctx, c)
	}
	w.mu.Unlock()
	if s != nil {
		s.chain(c)
	}
}

// open starts a session; w.mu is held.
func (w *Worker) open(ctx context.Context, c *ledger.Case) *session {
	id := c.ID()
	s := newSession(ctx, w, id)
	votes, reveals, err := w.Journal.Load(id)
	if err != nil {
		// Without its own record it must not vote: it might contradict itself.
		w.Log.Error("cannot read the vote journal; this task is left to others", "task", id.Short(), "err", err)
		s.cancel()
		return nil
	}
	s.machine.Restore(c.Attempt, votes, reveals)
	w.sessions[id] = s
	close(w.changed)
	w.changed = make(chan struct{})
	w.wg.Go(func() {
		s.loop()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.sessions, id)
		if len(w.closed) > 4096 {
			clear(w.closed)
		}
		w.closed[id] = true
	})
	return s
}

// waitForBlock is how long a message may be ahead of the block that it is about.
const waitForBlock = time.Second

// session finds the session of a task; a message can be a block early, so it
// waits a little.
func (w *Worker) session(ctx context.Context, id task.TaskID) *session {
	timeout := time.NewTimer(waitForBlock)
	defer timeout.Stop()
	for {
		w.mu.Lock()
		s, changed, closed := w.sessions[id], w.changed, w.closed[id]
		w.mu.Unlock()
		if s != nil || closed {
			return s
		}
		select {
		case <-changed:
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// record is a node's registration, remembered: keys never change under a name.
// Stakes do, so draws ask the chain.
func (w *Worker) record(ctx context.Context, id task.NodeID) (ledger.NodeRecord, error) {
	w.mu.Lock()
	rec, ok := w.nodes[id]
	w.mu.Unlock()
	if ok {
		return rec, nil
	}
	rec, err := w.Chain.Node(ctx, id)
	if err == nil {
		w.keep(id, rec)
	}
	return rec, err
}

func (w *Worker) keep(id task.NodeID, rec ledger.NodeRecord) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.nodes) > 1<<14 {
		clear(w.nodes)
	}
	w.nodes[id] = rec
}

// remember keeps the registrations that stand in a case.
func (w *Worker) remember(members []ledger.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range members {
		if id := members[i].Claim.Node; w.nodes[id].Node.Operator == (task.Address{}) {
			w.nodes[id] = ledger.NodeRecord{Node: members[i].Node, Stakes: []ledger.Stake{{Amount: members[i].Stake}}}
		}
	}
}

func (w *Worker) peerKey(ctx context.Context) func(task.NodeID) (task.Key, bool) {
	return func(id task.NodeID) (task.Key, bool) {
		rec, err := w.record(ctx, id)
		return rec.Node.Peer, err == nil
	}
}

// HearClaim judges a claim from gossip and takes it: pass says whether it may
// be passed on, junk that nobody honest would have sent it (spec §5.5).
func (w *Worker) HearClaim(ctx context.Context, data []byte) (pass, junk bool) {
	k, err := task.Decode[task.Claim](data, task.MaxClaim)
	if err != nil {
		return false, true
	}
	s := w.session(ctx, k.Task)
	if s == nil {
		return false, false
	}
	return s.hearClaim(ctx, k)
}

// HearMessage takes a committee message from a peer's stream.
func (w *Worker) HearMessage(from task.Key, raw []byte) {
	m, err := task.Decode[Message](raw, task.MaxMessage)
	if err != nil {
		w.Log.Debug("message refused", "from", from.Short(), "err", err)
		return
	}
	id, ok := m.task()
	if !ok {
		return
	}
	// A session's context outlives this call; the wait for it is bounded.
	if s := w.session(context.Background(), id); s != nil {
		s.hear(from, m)
	}
}
