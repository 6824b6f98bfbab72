package chain

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	coretypes "github.com/cometbft/cometbft/rpc/core/types"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// reads counts what a client reads of blocks.
type reads struct {
	rpcclient.Client
	mu     sync.Mutex
	blocks map[int64]int
}

func (r *reads) BlockResults(ctx context.Context, h *int64) (*coretypes.ResultBlockResults, error) {
	r.mu.Lock()
	r.blocks[*h]++
	r.mu.Unlock()
	return r.Client.BlockResults(ctx, h)
}

// However many follow the chain through one client, each block is read once, and a
// case once for each block that changes it; and nobody sees an older case than the
// event that made it look.
func TestEachChangeIsReadOnceForAll(t *testing.T) {
	const watchers = 10
	_, c := start(t, single(t))
	counted := &reads{Client: c.rpc, blocks: map[int64]int{}}
	c.rpc = counted
	var asked atomic.Int64
	plain := c.query
	c.query = func(ctx context.Context, q abci.RequestQuery) (*abci.ResponseQuery, error) {
		if len(q.Path) > 6 && q.Path[:6] == "/case/" {
			asked.Add(1)
		}
		return plain(ctx, q)
	}
	submit(t, c, "bob", publish())
	from := c.Height() + 1
	var wg sync.WaitGroup
	var changes atomic.Int64
	seen := make([]map[*ledger.Case]bool, watchers)
	for i := range watchers {
		seen[i] = map[*ledger.Case]bool{}
		wg.Go(func() {
			ctx, stop := context.WithCancel(patient(t))
			defer stop()
			for b := range c.Watch(ctx, from) {
				for _, e := range b.Events {
					if i == 0 {
						changes.Add(1)
					}
					k, err := c.Case(ctx, e.Task)
					if err != nil || k.History[len(k.History)-1].Height < e.Height {
						t.Errorf("block %d: %v", e.Height, err)
						return
					}
					seen[i][k] = true
					if e.Phase == ledger.Closed {
						stop()
					}
				}
			}
		})
	}
	submit(t, c, "alice", post())
	wg.Wait()
	counted.mu.Lock()
	defer counted.mu.Unlock()
	for h, n := range counted.blocks {
		if n != 1 {
			t.Errorf("block %d was read %d times", h, n)
		}
	}
	// A watcher that is late may ask at a later height than the others.
	if n := asked.Load(); n >= changes.Load()*watchers/2 {
		t.Errorf("%d reads of a case in %d changes for %d watchers", n, changes.Load(), watchers)
	}
	all := map[*ledger.Case]bool{}
	for _, s := range seen {
		for k := range s {
			all[k] = true
		}
	}
	if int64(len(all)) > changes.Load() {
		t.Errorf("%d cases were decoded for %d changes", len(all), changes.Load())
	}
}

// What is asked for once fails for all who wait, and is tried again by who comes
// later; who goes away does not take the others' answer along.
func TestSharedWork(t *testing.T) {
	life, end := context.WithCancel(t.Context())
	s := newShared[int, string](life, 2)
	goes := make(chan struct{})
	slow := func(ctx context.Context) (string, error) { <-goes; return "slow", ctx.Err() }
	away, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.get(away, 1, slow); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		v, _ := s.get(t.Context(), 1, func(context.Context) (string, error) { return "again", nil })
		got <- v
	}()
	close(goes)
	if v := <-got; v != "slow" {
		t.Errorf("%q", v)
	}
	bad := task.Refuse("bad", "bad")
	if _, err := s.get(t.Context(), 2, func(context.Context) (string, error) { return "", bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	for range 3 {
		if v, err := s.get(t.Context(), 2, func(context.Context) (string, error) { return "good", nil }); v != "good" || err != nil {
			t.Errorf("%q %v", v, err)
		}
	}
	for i := range 100 {
		_, _ = s.get(t.Context(), i, func(context.Context) (string, error) { return "", nil })
		if len(s.calls) > 2 {
			t.Fatalf("%d results are kept", len(s.calls))
		}
	}
	end()
	s.wait()
	if _, err := s.get(t.Context(), 500, slow); err == nil {
		t.Error("it works on after its life")
	}
}

// A worker gets the same news from a node of its own, from a remote one, and from a
// remote one that has forgotten them.
func TestNewsAreTheEventsInShort(t *testing.T) {
	config := single(t)
	config.RPCAddr = "127.0.0.1:0"
	n, c := start(t, config)
	trust, _ := config.Trust()
	remote, err := Dial(patient(t), n.RPC(), trust, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = remote.Close() }()
	submit(t, c, "bob", publish())
	from := c.Height() + 1
	submit(t, c, "alice", post())
	atRest(t, n, c)
	last := c.Height()
	read := func(c *Client) (all []BlockNews) {
		ctx, stop := context.WithCancel(patient(t))
		defer stop()
		_ = c.News(ctx, from, func(height uint64, news []ledger.News) {
			if height <= last {
				all = append(all, BlockNews{height, append([]ledger.News{}, news...)})
			}
			if height >= last {
				stop()
			}
		})
		return all
	}
	own := read(c)
	if uint64(len(own)) != last-from+1 {
		t.Fatalf("%d blocks of %d", len(own), last-from+1)
	}
	draws, size := 0, 0
	for i, b := range own {
		if b.Height != from+uint64(i) {
			t.Errorf("block %d in place %d", b.Height, i)
		}
		for _, x := range b.News {
			size += len(task.Encode(x))
			k, err := c.Case(patient(t), x.Task)
			if err != nil {
				t.Fatal(err)
			}
			if x.Draw != nil {
				if draws++; x.Draw.Attempt == k.Attempt && *x.Draw != k.Draw() {
					t.Errorf("%+v, the case says %+v", *x.Draw, k.Draw())
				}
			}
		}
	}
	if draws == 0 || own[len(own)-1].News != nil && size > 1000 {
		t.Errorf("%d draws in %d bytes", draws, size)
	}
	if got := read(remote); !bytes.Equal(task.Encode(got), task.Encode(own)) {
		t.Errorf("a remote node says %+v, want %+v", got, own)
	}
	n.app.recent.mu.Lock()
	clear(n.app.recent.news)
	n.app.recent.mu.Unlock()
	if got := read(remote); !bytes.Equal(task.Encode(got), task.Encode(own)) {
		t.Errorf("of old blocks a remote node says %+v, want %+v", got, own)
	}
}

// Only as many news are kept, and in an answer, as there is room for.
func TestNewsAreBounded(t *testing.T) {
	r := newRecent()
	const last = 3 * keepNews
	for h := uint64(1); h <= last; h++ {
		r.put(h, make([]ledger.News, 10))
	}
	if len(r.news) != keepNews {
		t.Errorf("the news of %d blocks are kept", len(r.news))
	}
	if list := r.from(last-keepNews+1, last); !inOrder(list, last-keepNews+1) || len(list) > pageSize/10 {
		t.Errorf("%d blocks in an answer", len(list))
	}
	if list := r.from(last-keepNews, last); len(list) != 0 || inOrder(list, last-keepNews) {
		t.Error("forgotten news are there")
	}
	if inOrder([]BlockNews{{Height: 1}, {Height: 3}}, 1) {
		t.Error("a gap is none")
	}
}
