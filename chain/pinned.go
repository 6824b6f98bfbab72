package chain

import (
	"context"
	"crypto/ed25519"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Pinned is a client as workers and owners want it: of one chain, whose validators
// they have pinned.
type Pinned struct {
	*Client
	Trust Trust
}

// Watch calls each for every block from a height on, or with 0 from now on, in
// order, until ctx ends.
func (p Pinned) Watch(ctx context.Context, from uint64, each func(uint64, []ledger.Event)) error {
	for b := range p.Client.Watch(ctx, from) {
		each(b.Height, b.Events)
	}
	return ctx.Err()
}

// VerifiedCase believes nothing but a proof against the pinned validators.
func (p Pinned) VerifiedCase(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	c, _, err := p.Client.VerifiedCase(ctx, p.Trust, id)
	return c, err
}

// Submit waits for the block and returns the transaction's nonce.
func (p Pinned) Submit(ctx context.Context, key ed25519.PrivateKey, body task.Body) (uint64, error) {
	r, err := p.Client.Submit(ctx, key, body)
	return r.Nonce, err
}

// Distrustful is for a worker that follows a node of somebody else's: what it is bonded
// for, it says on cases that the pinned validators have signed. That is a block later
// than a node of its own would let it speak.
type Distrustful struct{ Pinned }

// Case believes nothing but a proof.
func (p Distrustful) Case(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	return p.VerifiedCase(ctx, id)
}
