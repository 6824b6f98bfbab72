package owner

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Blobs stores and fetches encrypted files.
type Blobs interface {
	Get(ctx context.Context, b task.Blob, from string) ([]byte, error)
	Put(ctx context.Context, data []byte) (task.Blob, error)
}

// Net reaches peers.
type Net interface {
	Connect(ctx context.Context, addr string) error
}

// Vault makes the secrets of tasks. They stay in it.
type Vault interface {
	// Lock encrypts an input to a fresh identity, and makes another for the result.
	Lock(input []byte) (file []byte, s Secrets, err error)
	// Find is for the secrets of a task that an earlier process has kept.
	Find(input task.Blob) (Secrets, error)
}

// Secrets are those of one task.
type Secrets interface {
	Recipient() string                                         // of the result
	Seal(r task.Release, enclave []byte) (task.Release, error) // the input's key to an enclave
	Open(result []byte, limit int) (archive []byte, err error) // at most limit bytes
	Keep(input task.Blob) error                                // until Forget, whatever becomes of this process
	Forget() error
}

// Client is Alice's side of tasks.
type Client struct {
	Account  ed25519.PrivateKey
	Endpoint string // this client's own address: executors ask it for the key
	Chain    Chain
	Blobs    Blobs
	Net      Net
	Vault    Vault
	Policy   task.Policy // on top of each task's own
	Log      *slog.Logger

	mu      sync.Mutex
	runs    map[task.TaskID]*Run
	posting map[string]*Run // by the input's CID: whose task has no name yet
}

// Job is what Alice wants done.
type Job struct {
	Function task.FunctionID
	Input    []byte
	Args     []string
	GasLimit uint64
	GasPrice task.Amount // base units per 1,000,000 gas
	Fee      task.Amount // of the whole committee
	Seats    uint32
	MinSeats uint32
	Policy   task.Policy
	MaxLoad  uint64 // the most times the usual price that she pays for room
}

// Run is a task under way, as Alice sees it.
type Run struct {
	ID      task.TaskID
	Task    task.Task
	c       *Client
	keeper  *Keeper
	input   task.Blob
	secrets Secrets
	from    uint64                 // height of the block that may ask for the key already; 0: none does
	resumed bool                   // an earlier process has posted it, and may have released the key
	direct  chan task.SignedResult // from the executor; the chain is the other way
}

// Outcome is what came of a run, checked.
type Outcome struct {
	Result  task.Result
	Archive []byte // the opened output: a tar
	From    task.NodeID
}

// Post encrypts and stores the input, posts the task and locks the money. The
// task's secrets are kept first: once there is a task, [Client.Resume] can take
// it up.
func (c *Client) Post(ctx context.Context, j Job) (*Run, error) {
	file, secrets, err := c.Vault.Lock(j.Input)
	if err != nil {
		return nil, err
	}
	input, err := c.Blobs.Put(ctx, file)
	if err != nil {
		return nil, err
	}
	params, err := c.Chain.Params(ctx)
	if err != nil {
		return nil, err
	}
	me := task.PublicKey(c.Account)
	t := task.Task{
		Chain: params.Chain, Requester: me, Function: j.Function, Data: []task.Data{{Owner: me, Blob: input}}, Args: j.Args, Recipient: task.NameRecipient(secrets.Recipient()),
		Endpoint: task.Endpoint{Addr: c.Endpoint, Account: me}, GasLimit: j.GasLimit, GasPrice: j.GasPrice,
		Fee: j.Fee, Seats: j.Seats, MinSeats: j.MinSeats, Policy: j.Policy,
		MaxLoad: j.MaxLoad,
	}
	if err := secrets.Keep(input); err != nil {
		return nil, err
	}
	// Executors may ask before this call knows the task's name, and it holds up
	// nobody else's post.
	r := c.open(&Run{Task: t, input: input, secrets: secrets})
	c.mu.Lock()
	c.posting[input.CID] = r
	c.mu.Unlock()
	nonce, err := c.Chain.Submit(ctx, c.Account, task.Body{Post: &t})
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.posting, input.CID)
	if err != nil {
		return nil, err // the secrets stay: that the task is not on the chain is only a node's word
	}
	r.Task.Nonce = nonce
	r.ID = r.Task.ID()
	c.runs[r.ID] = r
	return r, nil
}

// Resume takes up a task that an earlier process has posted, in whatever phase
// it is: it releases the key if that is still waited for, and brings the result
// if there is one.
func (c *Client) Resume(k *ledger.Case) (*Run, error) {
	var input task.Blob
	var secrets Secrets
	err := error(task.Refuse("not-owner", "task %s has no data", k.ID().Short()))
	for i := 0; i < len(k.Task.Data) && err != nil; i++ {
		input = k.Task.Data[i].Blob
		secrets, err = c.Vault.Find(input)
	}
	if err != nil {
		return nil, err
	}
	r := &Run{ID: k.ID(), Task: k.Task, input: input, secrets: secrets, resumed: true}
	if n := len(k.History); n > 0 {
		r.from = k.History[n-1].Height
	}
	c.open(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[r.ID] = r
	return r, nil
}

// open makes a run able to answer for its key.
func (c *Client) open(r *Run) *Run {
	r.c, r.direct = c, make(chan task.SignedResult, 4)
	r.keeper = &Keeper{
		Role: task.DataOwner, Account: c.Account, Chain: c.Chain, Policy: c.Policy, Log: c.Log,
		Seal: func(k *ledger.Case, rel task.Release, enclave []byte) (task.Release, error) {
			if k.Parties()[rel.Party].File != r.input {
				return rel, task.Refuse("no-key", "the key of this run is of another file")
			}
			return r.secrets.Seal(rel, enclave)
		},
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs, c.posting = map[task.TaskID]*Run{}, map[string]*Run{}
	}
	return r
}

func (c *Client) run(id task.TaskID) *Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[id]
}

// posted is the run of a task whose post this client still waits for, or nil. The
// task's name is the hash of all of it: one that another has posted with the same
// input is another.
func (c *Client) posted(ctx context.Context, id task.TaskID) *Run {
	c.mu.Lock()
	waits := len(c.posting) > 0
	c.mu.Unlock()
	if !waits {
		return nil
	}
	k, err := c.Chain.Case(ctx, id)
	if err != nil || k.ID() != id {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var r *Run
	for _, d := range k.Task.Data {
		r = cmp.Or(r, c.posting[d.Blob.CID])
	}
	if r == nil {
		return c.runs[id] // by now
	}
	named := r.Task
	if named.Nonce = k.Task.Nonce; named.ID() != id {
		return nil
	}
	return r
}

// AnswerRelease handles the release protocol for all of this client's runs.
func (c *Client) AnswerRelease(ctx context.Context, from task.Key, raw []byte) ([]byte, error) {
	q, err := task.Decode[task.KeyRequest](raw, task.MaxMessage)
	if err != nil {
		return nil, err
	}
	id := q.Opening.Pair.Ballot.Task
	r := c.run(id)
	if r == nil {
		r = c.posted(ctx, id)
	}
	if r == nil {
		return task.Encode(task.KeyReply{Refused: "no such task here"}), nil
	}
	return r.keeper.Answer(ctx, from, raw)
}

// HearResult takes a result that an executor sends directly. One that is out of
// time is none: the next executor runs the task again.
func (c *Client) HearResult(_ task.Key, raw []byte) {
	s, err := task.Decode[task.SignedResult](raw, task.MaxMessage)
	if err != nil || s.Result.Outcome == task.OutOfTime {
		return
	}
	if r := c.run(s.Result.Task); r != nil {
		select {
		case r.direct <- s:
		default: // the chain brings it too
		}
	}
}

// Result waits for the enclave's result, checks its signature against the
// evidence that Alice released her key to, fetches the output and opens it.
// each hears of every change of the case. If the task is settled without a
// result, the error says whose fault it was and where the money is.
func (r *Run) Result(ctx context.Context, each func(ledger.Event)) (Outcome, error) {
	// The keeper outlives this call, as long as ctx: Alice's release must get on
	// the chain even if the executor brought her the result and then died.
	go r.keep(ctx)
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	changed := make(chan struct{}, 1)
	wg.Go(func() {
		_ = r.c.Chain.Watch(ctx, 0, func(_ uint64, events []ledger.Event) {
			for _, e := range events {
				if e.Task == r.ID {
					each(e)
					select {
					case changed <- struct{}{}:
					default:
					}
				}
			}
		})
	})
	changed <- struct{}{}
	again := time.NewTicker(2 * time.Second) // a peer or a node may only be busy
	defer again.Stop()
	failures := 0 // of the chain's result: anybody may send others
	var met task.NodeID
	for {
		var s *task.SignedResult
		select {
		case d := <-r.direct:
			s = &d
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return Outcome{}, ctx.Err()
		}
		direct, closed := s != nil, false
		if !direct {
			c, err := r.c.Chain.Case(ctx, r.ID)
			if err != nil {
				r.c.Log.Warn("cannot read the task", "task", r.ID.Short(), "err", err)
				continue
			}
			if x := c.Member(c.View.Executor); x != nil && c.View.Executor != met {
				met = c.View.Executor
				wg.Go(func() { r.meet(ctx, x.Node.Addr) })
			}
			closed = c.Phase == ledger.Closed
			if s = c.View.Result; s == nil && closed {
				if c, err = closedCase(ctx, r.c.Chain, r.ID); err != nil {
					return Outcome{}, err
				}
				if s = c.View.Result; s == nil {
					return Outcome{}, explain.Ended(c)
				}
			}
		}
		if s == nil {
			continue
		}
		o, err := r.take(ctx, *s)
		if err == nil {
			return o, nil
		}
		r.c.Log.Warn("result not taken", "task", r.ID.Short(), "err", err)
		if direct {
			continue
		}
		code := task.CodeOf(err)
		hopeless := code == "result-forged" || code == "output-false"
		if failures++; closed && (hopeless || failures >= attemptsAfterEnd) {
			return Outcome{}, err
		}
	}
}

// meet connects to the executor: where it cannot reach Alice, behind a router
// or at another address than the task names, it then can all the same.
func (r *Run) meet(ctx context.Context, addr string) {
	if err := r.c.Net.Connect(ctx, addr); err != nil && ctx.Err() == nil {
		r.c.Log.Warn("the executor does not answer", "task", r.ID.Short(), "err", err)
	}
}

// keep lets the keeper follow this run until ctx ends.
func (r *Run) keep(ctx context.Context) {
	_ = r.keeper.Follow(ctx, r.from, func(k *ledger.Case, p task.Party) bool { return k.ID() == r.ID && p.File == r.input })
}

// attemptsAfterEnd is how often a result is fetched after the task has ended.
const attemptsAfterEnd = 10

// take checks a result and opens its output.
func (r *Run) take(ctx context.Context, s task.SignedResult) (Outcome, error) {
	c, err := r.c.Chain.Case(ctx, r.ID)
	if err != nil {
		return Outcome{}, err
	}
	ev, err := r.releasedTo(ctx, c.Ballot())
	if err != nil {
		return Outcome{}, err
	}
	if ev.Digest() != s.Result.Evidence || !s.Signature.Verify(ev.Keys.Sign, s.Result.Hash()) || s.Result.Task != r.ID {
		return Outcome{}, task.Refuse("result-forged", "not signed by the enclave that this owner released its key to")
	}
	m := c.Member(s.Result.Node)
	if m == nil {
		return Outcome{}, task.Refuse("result-forged", "%s is not on the committee", s.Result.Node.Short())
	}
	if !s.Placed.Verify(m.Node.Peer, s.PlaceHash()) {
		return Outcome{}, task.Refuse("result-forged", "its executor has not said that the output is there")
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	file, err := r.c.Blobs.Get(ctx, task.Blob{CID: s.CID, Size: s.Result.Size}, m.Node.Addr)
	if err != nil {
		return Outcome{}, err
	}
	if task.Hash(sha256.Sum256(file)) != s.Result.Output {
		return Outcome{}, task.Refuse("output-false", "the output is not the one that the enclave signed")
	}
	archive, err := r.secrets.Open(file, task.MaxBlob)
	if err != nil {
		return Outcome{}, fmt.Errorf("open the output: %w", err)
	}
	return Outcome{Result: s.Result, Archive: archive, From: s.Result.Node}, nil
}

// releasedTo is the evidence of the enclave that has Alice's key. What an
// earlier process has released directly is on no record: an enclave then counts
// that she would release it to, by all that the chain proves.
func (r *Run) releasedTo(ctx context.Context, b task.Ballot) (attest.Evidence, error) {
	if ev, ok := r.keeper.evidenceOf(b); ok {
		return ev, nil
	}
	if !r.resumed {
		return attest.Evidence{}, task.Refuse("result-forged", "this owner has released its key to no enclave of this view")
	}
	c, err := r.c.Chain.VerifiedCase(ctx, r.ID)
	if err != nil {
		return attest.Evidence{}, err
	}
	if c.Ballot() != b {
		return attest.Evidence{}, fmt.Errorf("the proof of task %s is of another view", r.ID.Short())
	}
	return r.keeper.check(c, c.Opening(), c.View.Pre.Reveals)
}

// Forget destroys the secrets of a task whose result is in safe hands: from then
// on not even Alice can open what lies on other people's disks.
func (r *Run) Forget() error { return r.secrets.Forget() }

// evidenceOf is the evidence that this keeper has released a key to.
func (k *Keeper) evidenceOf(b task.Ballot) (attest.Evidence, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ev, ok := k.judged[b]
	return ev, ok
}

// Settled waits until the task is settled and returns the closed case.
func (r *Run) Settled(ctx context.Context, each func(ledger.Event)) (*ledger.Case, error) {
	return Settled(ctx, r.c.Chain, r.ID, each)
}

// Settled waits until a task is settled, by proof: what ends with it, such as
// the keys to the result, must not end by a node's word. A node that is out of
// reach, an error without a code, is asked again at the next block, until ctx
// ends.
func Settled(ctx context.Context, chain Chain, id task.TaskID, each func(ledger.Event)) (*ledger.Case, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var done *ledger.Case
	var failed error
	again := false // the case must be looked at
	look := func() bool {
		c, err := chain.Case(ctx, id)
		again = err != nil
		switch {
		case task.CodeOf(err) != "":
			failed = err
		case err == nil && c.Phase == ledger.Closed:
			done, failed = closedCase(ctx, chain, id)
		}
		return done != nil || failed != nil
	}
	if look() {
		return done, failed
	}
	again = true // it may be settled between this look and the watch
	err := chain.Watch(ctx, 0, func(_ uint64, events []ledger.Event) {
		if done != nil || failed != nil {
			return
		}
		for _, e := range events {
			if e.Task == id {
				again = true
				if each != nil {
					each(e)
				}
			}
		}
		if again && look() {
			stop()
		}
	})
	if failed != nil {
		return nil, failed
	}
	if done == nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return done, nil
}

// closedCase is a case that a node says is closed, by proof, which may lag a
// block behind.
func closedCase(ctx context.Context, chain Chain, id task.TaskID) (*ledger.Case, error) {
	for tries := 1; ; tries++ {
		c, err := chain.VerifiedCase(ctx, id)
		pause := time.Second
		switch {
		case err == nil && c.Phase == ledger.Closed:
			return c, nil
		case err == nil && tries < 100:
			pause = 10 * time.Millisecond
		case err == nil:
			return nil, task.Refuse("node-lies", "the node says that task %s is settled, and proves that it is not", id.Short())
		case tries >= attemptsAfterEnd:
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
