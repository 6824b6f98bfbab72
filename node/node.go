// Package node is a worker: it follows the chain, draws in every task, and
// where it has won seats it does what the committee's state machine asks.
//
// Most workers win no seat in most tasks. They draw by the news that bring the seed,
// and leave it at that: only who has won reads the case, and follows it.
//
// For the others there are two layers. A [Session] is one task at one worker, with one
// [committee.Machine] in it: it draws, appraises evidence, stores, signs and sends
// what this node says of it. It is single-threaded and reaches the world
// through [Effects] only, so a simulator runs it as it is. What others say
// comes to it verified, by [Verify]. A [Worker] is the world around
// the sessions: a goroutine and a mailbox for each, timers, the network, the
// enclave. It decides nothing, and handles ciphertext only; keys reach the
// enclave sealed.
//
// The package knows its surroundings as the small interfaces it declares here;
// cmd plugs in libp2p, CometBFT, IPFS and the enclave process.
package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Chain is what a worker needs of the chain.
type Chain interface {
	Node(ctx context.Context, id task.NodeID) (ledger.NodeRecord, error)
	Case(ctx context.Context, id task.TaskID) (*ledger.Case, error)
	Beacon(ctx context.Context) (ledger.Beacon, error) // the latest
	// Values is the register of reference values, and the height that it is of.
	Values(ctx context.Context) (ledger.Values, uint64, error)
	// Send signs and submits a transaction and does not wait for its block.
	// Calls with one key are applied in their order.
	Send(ctx context.Context, key ed25519.PrivateKey, body task.Body) error
	// News calls each for the news of every block from a height on, or with 0 from
	// now on, in order, without a gap, until ctx ends.
	News(ctx context.Context, from uint64, each func(height uint64, news []ledger.News)) error
}

// Net carries messages. Protocol names are task's.
type Net interface {
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
	// Begin makes evidence before the run, and a decoy with the fault that is asked
	// for (spec §7.6). seal is the HPKE key that the evidence names.
	Begin(t task.Task, f task.Function, c attest.Context, nonce task.Hash, fault uint8) (genuine, decoy, seal []byte, err error)
	Release(r task.Release) error
	// Run gets the encrypted files by party, and the image of the function.
	Run(files [][]byte, image []byte) (result task.SignedResult, output []byte, err error)
	Exit(c attest.Context, nonce task.Hash) (evidence []byte, err error)
	Close()
}

// Journal is stable storage for what this node has committed to, the pairs that it
// has shown, and what it has declined. Reveal, Pair and Decline return only when the
// record would survive a crash; of a second, different word to one question they
// return an error.
type Journal interface {
	Reveal(r task.Reveal) error
	Pair(p task.Pair) error
	Decline(d task.Decline) error
	Load(id task.TaskID) ([]task.Reveal, []task.Decline, error)
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
	Enclaves func(ctx context.Context, f task.Function) (Enclave, error) // that can run f
	Appraise Appraise
	Fits     Fits
	Epoch    uint64 // blocks
	Patience committee.Patience
	Slots    int // enclaves at once
	Log      *slog.Logger

	ChainID     string
	RenewBlocks uint64                               // of the chain's parameters
	Quote       func(over task.Hash) ([]byte, error) // shows this machine, for the registry
	Renewed     func(due uint64, lapsed bool)        // hears that it was; may be nil
}

// Worker is a running worker.
type Worker struct {
	Config
	id    task.NodeID
	slots chan struct{}

	jobs atomic.Int64 // that have a slot or wait for one

	height atomic.Uint64 // of the last block that was followed

	mu      sync.Mutex
	ticked  chan struct{} // closed and replaced with each block
	runners map[task.TaskID]*runner
	opened  chan struct{}        // closed and replaced when there is a new one
	closed  map[task.TaskID]bool // lately: stragglers' messages are not waited for
	left    map[task.TaskID]bool // tasks, not closed, in whose present attempt this node has no part
	nodes   map[task.NodeID]task.Node
	names   map[task.Key]task.NodeID // of the nodes, by peer key

	own      ledger.NodeRecord // this node's, as of an epoch; Run's alone
	ownEpoch uint64            // 0 for none yet, else that epoch and one

	warned   uint64 // the epoch after the last one in which it looked ahead
	nextLook uint64 // at its registration; Run's alone
	wg       sync.WaitGroup
}

// New makes a worker. It does nothing before Run.
func New(c Config) *Worker {
	return &Worker{
		Config: c, id: c.Node.ID(), slots: make(chan struct{}, max(c.Slots, 1)),
		ticked: make(chan struct{}), runners: map[task.TaskID]*runner{}, opened: make(chan struct{}), closed: map[task.TaskID]bool{},
		left:  map[task.TaskID]bool{},
		nodes: map[task.NodeID]task.Node{}, names: map[task.Key]task.NodeID{},
	}
}

// passes notes a block.
func (w *Worker) passes(height uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.height.Store(height)
	close(w.ticked)
	w.ticked = make(chan struct{})
}

// until is a context that ends with a block.
func (w *Worker) until(ctx context.Context, height uint64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	w.wg.Go(func() {
		defer cancel()
		w.await(ctx, height)
	})
	return ctx, cancel
}

// await returns when a block has been followed, or ctx ends.
func (w *Worker) await(ctx context.Context, height uint64) {
	for {
		w.mu.Lock()
		ticked := w.ticked
		w.mu.Unlock()
		if w.height.Load() >= height {
			return
		}
		select {
		case <-ticked:
		case <-ctx.Done():
			return
		}
	}
}

// free says whether one more enclave can be promised. A turn comes some blocks after
// the claim, and there are more claims than turns: so half of what is promised may
// still have to wait, as long as a turn may be declined.
func (w *Worker) free() bool { return w.jobs.Load() < 2*int64(cap(w.slots)) }

// Occupy takes all places for enclaves, as other people's tasks do, until it is told
// to leave them: for who wants to see what a busy worker does.
func (w *Worker) Occupy() (leave func()) {
	n := cap(w.slots)
	for range n {
		w.jobs.Add(1)
		w.slots <- struct{}{}
	}
	return func() {
		for range n {
			<-w.slots
			w.jobs.Add(-1)
		}
	}
}

// ID is the node's name.
func (w *Worker) ID() task.NodeID { return w.id }

// Run works until ctx ends, then waits for everything it started.
func (w *Worker) Run(ctx context.Context) error {
	w.lookAhead(ctx)
	err := w.Chain.News(ctx, 0, func(height uint64, news []ledger.News) {
		w.passes(height)
		w.renew(ctx, height)
		if height/w.Epoch >= w.warned {
			w.lookAhead(ctx)
		}
		for _, n := range news {
			w.follow(ctx, n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.runners {
			r.passed(height)
		}
	})
	w.wg.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// lookAhead warns, once an epoch, of reference values to come under which this
// machine would not be accepted. Then it draws no more, and nothing else happens:
// its operator has to act before.
func (w *Worker) lookAhead(ctx context.Context) {
	v, height, err := w.Chain.Values(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.Log.Error("cannot read the reference values", "err", err)
		}
		return
	}
	w.warned = height/w.Epoch + 1
	said := map[string]bool{} // most reasons are the same for every runtime
	for _, runtime := range w.Node.Runtimes {
		from, why, ok := v.ShutOut(height, func(ref attest.Reference) error { return w.Fits(ref, runtime) })
		if !ok || said[why.Error()] {
			continue
		}
		said[why.Error()] = true
		if from > height+1 {
			w.Log.Warn("this machine will be shut out", "from", from, "height", height, "why", why)
		} else {
			w.Log.Warn("this machine is shut out, and does not draw", "height", height, "why", why)
		}
	}
}

// follow takes the news of a task. Its case is read where this node has a part in it,
// or may have one: it has won seats, or the seed came before this process.
func (w *Worker) follow(ctx context.Context, n ledger.News) {
	w.mu.Lock()
	r, left := w.runners[n.Task], w.left[n.Task]
	w.mu.Unlock()
	switch {
	case r != nil:
	case n.Phase == ledger.Closed:
		w.leave(n.Task, false)
		return
	case n.Phase == ledger.Posted: // another attempt, perhaps
		return
	case n.Draw != nil && !w.wins(ctx, *n.Draw), n.Draw == nil && left:
		w.leave(n.Task, true)
		return
	}
	c, err := w.Chain.Case(ctx, n.Task)
	if err != nil {
		if ctx.Err() == nil {
			w.Log.Error("cannot read a case", "task", n.Task.Short(), "err", err)
		}
		return
	}
	switch none := c.Phase >= ledger.Attesting && c.Member(w.id) == nil; {
	case r != nil && (c.Phase == ledger.Closed || !none):
		r.chain(c)
	case r != nil: // its claim was not made, or not taken
		w.leave(n.Task, true)
		r.cancel()
	case c.Phase == ledger.Closed:
	case none:
		w.leave(n.Task, true)
	default:
		w.open(ctx, c)
	}
}

// leave notes whether an open task goes on without this node.
func (w *Worker) leave(id task.TaskID, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.runners, id)
	delete(w.left, id)
	if open {
		w.left[id] = true
	}
}

// wins says whether this node wins seats in a draw. A change of its stake counts two
// epochs later, so its record is read once an epoch. Who cannot read it looks at the
// case.
func (w *Worker) wins(ctx context.Context, d ledger.Draw) bool {
	if d.Epoch >= w.ownEpoch {
		rec, err := w.Chain.Node(ctx, w.id)
		if err != nil {
			return true
		}
		w.own, w.ownEpoch = rec, d.Epoch+1
	}
	return d.Wins(w.VRF, w.id, w.own.StakeAt(d.Epoch))
}

// open starts a session.
func (w *Worker) open(ctx context.Context, c *ledger.Case) {
	id := c.ID()
	r, err := newRunner(ctx, w, c)
	if err != nil {
		w.Log.Error("this task is left to others", "task", id.Short(), "err", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runners[id] = r
	delete(w.left, id)
	close(w.opened)
	w.opened = make(chan struct{})
	w.wg.Go(func() {
		r.loop()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.runners[id] == r {
			delete(w.runners, id)
		}
		if len(w.closed) > 4096 {
			clear(w.closed)
		}
		if r.session.Done() {
			w.closed[id] = true
		}
	})
}

// A message may be ahead of the block that it is about, by some blocks: on a busy
// machine they come late. Whoever hears of blocks late, from a node elsewhere, waits a
// second at least; and nobody's stream is held up for longer than earlyMost.
const (
	earlyBlocks = 8
	earlyLeast  = time.Second
	earlyMost   = 10 * time.Second
)

// early is a context that ends when a message that is still ahead of its block is
// not waited for any more.
func (w *Worker) early() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), earlyMost)
	from := w.height.Load()
	t := time.AfterFunc(earlyLeast, func() {
		w.await(ctx, from+earlyBlocks)
		cancel()
	})
	return ctx, func() {
		t.Stop()
		cancel()
	}
}

// runner finds a task's. A message can be a block early, so it waits a little,
// and holds up nothing but its sender's stream. A session never sees such a
// message: whoever drives one without a Worker has to keep it back as well
// ([Heard.Early]).
func (w *Worker) runner(ctx context.Context, id task.TaskID) *runner {
	for {
		w.mu.Lock()
		r, opened, closed := w.runners[id], w.opened, w.closed[id]
		w.mu.Unlock()
		if r != nil || closed {
			return r
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil
		}
	}
}

// node is a node's registration, remembered: keys never change under a name.
// Stakes do, so draws and claims ask the chain.
func (w *Worker) node(ctx context.Context, id task.NodeID) (task.Node, error) {
	w.mu.Lock()
	n, ok := w.nodes[id]
	w.mu.Unlock()
	if ok {
		return n, nil
	}
	rec, err := w.Chain.Node(ctx, id)
	if err == nil {
		w.keep(rec.Node)
	}
	return rec.Node, err
}

func (w *Worker) keep(n task.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.nodes) > 1<<14 {
		clear(w.nodes)
		clear(w.names)
	}
	id := n.ID()
	w.nodes[id], w.names[n.Peer] = n, id
}

// remember keeps the registrations that stand in a case.
func (w *Worker) remember(members []ledger.Member) {
	for i := range members {
		w.keep(members[i].Node)
	}
}

// named finds the node with a peer key, or nobody.
func (w *Worker) named(peer task.Key) task.NodeID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[peer]
}

// HearMessage takes a committee message from a peer's stream.
func (w *Worker) HearMessage(from task.Key, raw []byte) {
	m, err := task.Decode[Message](raw, task.MaxMessage)
	if err != nil {
		w.Log.Debug("message refused", "from", from.Short(), "err", err)
		return
	}
	at, ok := m.about()
	if !ok {
		return
	}
	// A session's context outlives this call; the wait for it is bounded.
	ctx, cancel := w.early()
	defer cancel()
	if r := w.runner(ctx, at.task); r != nil {
		r.hear(ctx, from, m)
	}
}
