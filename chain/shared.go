package chain

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// shared does a piece of work once for all who want its result at that time, and
// remembers some results. They are everybody's, and not to be changed.
type shared[K comparable, V any] struct {
	life context.Context // of the work: who asked first may leave before the others
	most int             // results that are remembered; then all are forgotten

	mu    sync.Mutex
	calls map[K]*call[V]
	wg    sync.WaitGroup
}

type call[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newShared[K comparable, V any](life context.Context, most int) *shared[K, V] {
	return &shared[K, V]{life: life, most: most, calls: map[K]*call[V]{}}
}

// get gives the result for a key, by f unless somebody has it or is at it. An error
// is everyone's who waits for it, and is not remembered.
func (s *shared[K, V]) get(ctx context.Context, key K, f func(context.Context) (V, error)) (V, error) {
	s.mu.Lock()
	c := s.calls[key]
	if err := s.life.Err(); c == nil && err != nil {
		s.mu.Unlock()
		var zero V
		return zero, err
	}
	if c == nil {
		if s.most > 0 && len(s.calls) >= s.most {
			clear(s.calls) // who waits has its call
		}
		c = &call[V]{done: make(chan struct{})}
		s.calls[key] = c
		s.wg.Go(func() {
			defer close(c.done)
			if c.value, c.err = f(s.life); c.err == nil && s.most > 0 {
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.calls[key] == c {
				delete(s.calls, key)
			}
		})
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var zero V
		return zero, ctx.Err()
	}
}

// wait waits for all work, when life has ended.
func (s *shared[K, V]) wait() {
	s.mu.Lock() // who came before has begun, and nobody begins after
	wait := s.wg.Wait
	s.mu.Unlock()
	wait()
}

// maxBlocks bounds how many blocks a client remembers, and maxCases how many cases;
// all cases together have at most maxAnswer bytes.
const (
	maxBlocks = 64
	maxCases  = 1024
)

// done is what a block did.
type done struct {
	txs    []*abci.ExecTxResult
	events []ledger.Event
}

// kept is a case as the chain keeps it and as it is used. It is everybody's, and not
// to be changed.
type kept struct {
	raw  []byte
	hash task.Hash // what stands authenticated for it
	kase *ledger.Case
	at   uint64 // height of a state that it is from
}

// value is what the chain keeps under ledger.CaseKey for it.
func (k kept) value() []byte { return task.Encode(k.hash) }

// caseAt gives a case as it is at the present height or later. All who ask for it
// because of one block ask once, and it is decoded once for each change.
func (c *Client) caseAt(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	height := c.Height()
	c.mu.Lock()
	k, ok := c.cases[id]
	c.mu.Unlock()
	if ok && k.at >= height {
		return k.kase, nil
	}
	k, err := c.asked.get(ctx, moment{id, height}, func(ctx context.Context) (kept, error) {
		r, err := c.query(ctx, abci.RequestQuery{Path: "/case/" + id.String()})
		if err != nil {
			return kept{}, err
		}
		return c.parse(ctx, id, r)
	})
	return k.kase, err
}

// moment is a case at a height or later.
type moment struct {
	id     task.TaskID
	height uint64
}

// parse makes a case of a node's answer, or takes the one of before if it has not
// changed: most of a case's cost is its decoding.
func (c *Client) parse(ctx context.Context, id task.TaskID, r *abci.ResponseQuery) (kept, error) {
	c.mu.Lock()
	k, ok := c.cases[id]
	c.mu.Unlock()
	if !ok || !bytes.Equal(k.raw, r.Value) {
		kase, err := c.decode(r.Value)
		if err != nil {
			return kept{}, fmt.Errorf("chain: the node's answer: %w", err)
		}
		if err := c.judge(ctx, kase); err != nil {
			return kept{}, err
		}
		k = kept{raw: r.Value, hash: task.H(task.TagCase, r.Value), kase: kase}
	}
	k.at = uint64(r.Height)
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.cases[id]; old.at > k.at {
		return k, nil
	}
	c.caseBytes += len(k.raw) - len(c.cases[id].raw)
	if len(c.cases) >= maxCases || c.caseBytes > maxAnswer {
		clear(c.cases)
		c.caseBytes = len(k.raw)
	}
	c.cases[id] = k
	return k, nil
}

// decode reads a case: strictly, unless a node in this process has encoded it.
func (c *Client) decode(raw []byte) (*ledger.Case, error) {
	if c.trust != nil {
		return ledger.ParseCase(raw)
	}
	k, err := task.Restore[ledger.Case](raw)
	return &k, err
}
