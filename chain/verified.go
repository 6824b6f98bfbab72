package chain

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/prytany/prytany/task"
)

// verified remembers transactions whose signature holds, between their check
// for the pool, the proposal that carries them and the block: a signature is
// most of a transaction's cost. It keeps two generations and drops the older
// one when the newer is full, so its size is bounded.
type verified struct {
	chain string

	mu         sync.Mutex
	young, old map[[32]byte]task.VerifiedTx
	bytes      int // of the transactions in young
}

const (
	generationTxs   = 1 << 14
	generationBytes = 16 << 20
)

func newVerified(chain string) *verified {
	return &verified{chain: chain, young: map[[32]byte]task.VerifiedTx{}}
}

// verify is task.VerifyTx for this chain, once for each transaction.
func (v *verified) verify(raw []byte) (task.VerifiedTx, error) {
	name := sha256.Sum256(raw)
	v.mu.Lock()
	tx, ok := v.young[name]
	if !ok {
		tx, ok = v.old[name]
	}
	v.mu.Unlock()
	if ok {
		return tx, nil
	}
	tx, err := task.VerifyTx(raw, v.chain)
	if err != nil {
		return tx, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= generationTxs || v.bytes >= generationBytes {
		v.old, v.young, v.bytes = v.young, map[[32]byte]task.VerifiedTx{}, 0
	}
	v.young[name] = tx
	v.bytes += len(raw)
	return tx, nil
}

// forget drops a transaction that the pool does not want.
func (v *verified) forget(raw []byte) {
	name := sha256.Sum256(raw)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.young, name)
	delete(v.old, name)
}

// gate lets any number of goroutines wait for a height.
type gate struct {
	mu     sync.Mutex
	height uint64
	moved  chan struct{}
}

func newGate() *gate { return &gate{moved: make(chan struct{})} }

func (g *gate) open(height uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if height > g.height {
		g.height = height
		close(g.moved)
		g.moved = make(chan struct{})
	}
}

// wait returns the present height as soon as it is at least the one asked for.
// Its only error is the context's.
func (g *gate) wait(ctx context.Context, height uint64) (uint64, error) {
	for {
		g.mu.Lock()
		now, moved := g.height, g.moved
		g.mu.Unlock()
		if now >= height {
			return now, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}
