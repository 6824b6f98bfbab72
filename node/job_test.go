package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// store keeps blobs as package blob does: an empty one is none.
type store struct{}

func (store) Get(context.Context, task.Blob, string) ([]byte, error) { return nil, errors.New("none") }
func (store) Put(_ context.Context, data []byte) (task.Blob, error) {
	if len(data) == 0 {
		return task.Blob{}, errors.New("empty")
	}
	return task.BlobOf(data), nil
}

type nobody struct{}

func (nobody) Publish(context.Context, []byte) error              { return nil }
func (nobody) Send(context.Context, string, string, []byte) error { return nil }
func (nobody) Request(context.Context, string, string, []byte) ([]byte, error) {
	return nil, errors.New("nobody")
}

// Alice can name a recipient that is none. Nothing can be encrypted to it, and
// the executor's word that this is her fault must reach the chain.
func TestResultWithoutOutputIsBrought(t *testing.T) {
	r := &runner{w: New(Config{Blobs: store{}, Net: nobody{}}), ctx: t.Context(), inputs: make(chan func(*Session), 2)}
	j := &job{r: r, ctx: t.Context(), of: &ledger.Case{}}
	for _, output := range [][]byte{nil, []byte("output")} {
		if err := j.bring(task.SignedResult{}, output); err != nil || len(r.inputs) != 1 {
			t.Errorf("%d bytes of output: %d results brought, %v", len(output), len(r.inputs), err)
			continue
		}
		<-r.inputs
	}
	r.w.wg.Wait()
}

// twoFaced is an owner that answers an executor with another release than it puts
// on the chain, and an enclave that only the latter opens anything for.
type twoFaced struct {
	nobody
	Enclave
	direct, chain task.Release
	mu            sync.Mutex
	taken         []task.Release
}

func (o *twoFaced) Request(context.Context, string, string, []byte) ([]byte, error) {
	return task.Encode(task.KeyReply{Release: &o.direct}), nil
}

func (o *twoFaced) Release(r task.Release) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = append(o.taken, r)
	return nil
}

func (o *twoFaced) Run(_, _, _ []byte) (task.SignedResult, []byte, error) {
	last := o.taken[len(o.taken)-1]
	r := task.Result{Outcome: task.RunOK, InputKey: last.Hash()}
	if last.Hash() == o.direct.Hash() {
		r.Outcome = task.BadInputKey
	}
	return task.SignedResult{Result: r}, []byte("output"), nil
}

// The chain would not let an executor blame an owner for what only it was told;
// it tries what the chain was told.
func TestOwnerWithTwoReleases(t *testing.T) {
	o := &twoFaced{direct: task.Release{Role: task.Alice, Sealed: []byte("junk")}, chain: task.Release{Role: task.Alice, Sealed: []byte("sealed")}}
	for name, onChain := range map[string]task.Release{"another": o.chain, "the same": o.direct} {
		o.taken = nil
		c := &ledger.Case{View: ledger.View{Releases: []task.Release{onChain, {Role: task.Bob}}}}
		r := &runner{w: New(Config{Blobs: store{}, Net: o, Log: slog.New(slog.DiscardHandler)}), ctx: t.Context(), inputs: make(chan func(*Session), 1), state: c, seen: make(chan struct{})}
		j := &job{r: r, ctx: t.Context(), of: c, enclave: o}
		if err := j.execute(committee.RequestKeys{}); err != nil {
			t.Fatal(err)
		}
		tried := o.taken[len(o.taken)-1]
		if tried.Hash() != onChain.Hash() || len(r.inputs) != 1 {
			t.Errorf("%s on the chain: tried %s, %d results brought", name, tried.Sealed, len(r.inputs))
		}
		r.w.wg.Wait()
	}
}
