package owner

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// slowChain takes a transaction when its block is made, and not before. It has the
// cases of tasks by name.
type slowChain struct {
	Chain
	block chan struct{} // closed when it is made

	mu    sync.Mutex
	cases map[task.TaskID]*ledger.Case
	nonce uint64
	sent  []task.Body
}

func (c *slowChain) Params(context.Context) (ledger.Params, error) { return ledger.Embedded("c"), nil }

func (c *slowChain) Case(_ context.Context, id task.TaskID) (*ledger.Case, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.cases[id]; k != nil {
		return k, nil
	}
	return nil, task.Refuse("no-task", "")
}

func (c *slowChain) VerifiedCase(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	return c.Case(ctx, id)
}

func (c *slowChain) Submit(ctx context.Context, _ ed25519.PrivateKey, body task.Body) (uint64, error) {
	c.mu.Lock()
	c.nonce++
	nonce := c.nonce
	c.sent = append(c.sent, body)
	if body.Post != nil {
		t := *body.Post
		t.Nonce = nonce
		c.cases[t.ID()] = &ledger.Case{Task: t, Phase: ledger.Closed}
	}
	c.mu.Unlock()
	select {
	case <-c.block:
		return nonce, nil
	case <-ctx.Done():
		return nonce, ctx.Err()
	}
}

// shelves name each file by itself.
type shelves struct{}

func (shelves) Get(context.Context, task.Blob, string) ([]byte, error) { return nil, nil }
func (shelves) Put(_ context.Context, b []byte) (task.Blob, error) {
	return task.Blob{CID: fmt.Sprintf("%x", b), Size: 1}, nil
}

// bare is a vault without secrets.
type bare struct{ paper }

func (b bare) Lock(input []byte) ([]byte, Secrets, error) { return input, b, nil }
func (bare) Keep(task.Blob) error                         { return nil }

// Many tasks of one Alice are posted in one block, and whoever asks for a key
// meanwhile is answered: no call holds up another while it waits for its block. A
// task that somebody else has posted with her input is not hers.
func TestPostsWaitSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const posts = 5
		chain := &slowChain{block: make(chan struct{}), cases: map[task.TaskID]*ledger.Case{}}
		c := &Client{Account: keyOf("alice"), Chain: chain, Blobs: shelves{}, Vault: bare{}, Log: slog.New(slog.DiscardHandler)}
		runs := make([]*Run, posts)
		var wg sync.WaitGroup
		for i := range posts {
			wg.Go(func() {
				r, err := c.Post(t.Context(), Job{Input: []byte{byte(i)}})
				if err != nil {
					t.Error(err)
				}
				runs[i] = r
			})
		}
		synctest.Wait()
		if len(chain.sent) != posts {
			t.Fatalf("%d of %d posts are on their way before the first block", len(chain.sent), posts)
		}
		ask := func(id task.TaskID) string {
			q := task.KeyRequest{Opening: task.Opening{Pair: task.Pair{Ballot: task.Ballot{Task: id}}}}
			raw, err := c.AnswerRelease(t.Context(), task.Key{}, task.Encode(q))
			if err != nil {
				t.Fatal(err)
			}
			reply, err := task.Decode[task.KeyReply](raw, task.MaxMessage)
			if err != nil {
				t.Fatal(err)
			}
			return reply.Refused
		}
		const stranger = "no such task here"
		var hers []task.TaskID
		for id := range chain.cases {
			hers = append(hers, id)
			if r := c.posted(t.Context(), id); r == nil || ask(id) == stranger {
				t.Errorf("task %s is not known before its block", id.Short())
			}
		}
		copied := chain.cases[hers[0]].Task
		copied.Requester, copied.Function = task.PublicKey(keyOf("thief")), task.FunctionID{1}
		chain.cases[copied.ID()] = &ledger.Case{Task: copied}
		if c.posted(t.Context(), copied.ID()) != nil || ask(copied.ID()) != stranger {
			t.Error("a task of another, with her input, is taken for hers")
		}
		lie := task.TaskID{9} // the node says that her task has this name
		chain.cases[lie] = chain.cases[hers[0]]
		if c.posted(t.Context(), lie) != nil {
			t.Error("a name is believed")
		}
		close(chain.block)
		wg.Wait()
		for _, r := range runs {
			if r == nil || c.run(r.ID) != r || chain.cases[r.ID] == nil {
				t.Errorf("%+v", r)
			}
		}
		if len(c.posting) != 0 {
			t.Errorf("%d posts are still waited for", len(c.posting))
		}
	})
}

// followed is a chain in which tasks are found good, one in each block.
type followed struct {
	*slowChain
	found []task.TaskID
}

func (f *followed) Watch(ctx context.Context, _ uint64, each func(uint64, []ledger.Event)) error {
	for i, id := range f.found {
		each(uint64(i+1), []ledger.Event{{Task: id, Phase: ledger.Releasing}})
	}
	<-ctx.Done()
	return ctx.Err()
}

// A keeper puts the releases of all tasks on the chain at the same time. Others'
// tasks cost it no proof.
func TestReleasesWaitSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		chain := &followed{slowChain: &slowChain{block: make(chan struct{}), cases: map[task.TaskID]*ledger.Case{}}}
		k := keeper(task.Policy{})
		k.Account = keyOf("alice")
		k.Chain = chain
		for i := range 4 {
			q := newRequest(t, func(c *ledger.Case) { c.Task.Nonce = uint64(i) })
			q.onChain()
			q.c.Phase, q.c.View.Seal = ledger.Releasing, []byte(enclaveKey)
			chain.cases[q.c.ID()] = q.c
			chain.found = append(chain.found, q.c.ID())
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = k.Follow(ctx, 0, func(c *ledger.Case, _ task.Party) bool { return c.Task.Nonce != 0 })
		})
		synctest.Wait()
		if len(chain.sent) != 3 {
			t.Errorf("%d of 3 releases are on their way before the first block", len(chain.sent))
		}
		close(chain.block)
		synctest.Wait()
		if len(chain.sent) != 3 {
			t.Errorf("%d releases in all", len(chain.sent))
		}
		stop()
		wg.Wait()
	})
}
