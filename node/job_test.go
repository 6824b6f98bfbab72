package node

import (
	"context"
	"errors"
	"testing"

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
