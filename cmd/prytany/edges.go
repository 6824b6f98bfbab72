package main

import (
	"context"
	"crypto/ed25519"
	"os"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// chainEdge is a chain client as workers and owners want it.
type chainEdge struct {
	*chain.Client
	trust chain.Trust
}

// Watch calls each for every block, in order, until ctx ends.
func (e chainEdge) Watch(ctx context.Context, each func(uint64, []ledger.Event)) error {
	blocks, err := e.Client.Watch(ctx)
	if err != nil {
		return err
	}
	for b := range blocks {
		each(b.Height, b.Events)
	}
	return ctx.Err()
}

// VerifiedCase believes nothing but a proof against the pinned validators.
func (e chainEdge) VerifiedCase(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	c, _, err := e.Client.VerifiedCase(ctx, e.trust, id)
	return c, err
}

// Submit waits for the block and returns the transaction's nonce.
func (e chainEdge) Submit(ctx context.Context, key ed25519.PrivateKey, body task.Body) (uint64, error) {
	r, err := e.Client.Submit(ctx, key, body)
	return r.Nonce, err
}

var (
	_ node.Chain  = chainEdge{}
	_ owner.Chain = chainEdge{}
)

// enclaveEdge is an enclave process on the simulated platform.
type enclaveEdge struct {
	*tee.Enclave
	chip [32]byte
}

func (e enclaveEdge) Begin(t task.Task, f task.Function, c attest.Context, nonces []task.Hash) ([]byte, error) {
	return e.Enclave.Begin(tee.Begin{Task: t, Function: f, Context: c, Nonces: nonces, ChipSeed: e.chip})
}

// simulatedEnclaves starts this same program as the enclave of each task.
func simulatedEnclaves(chip [32]byte) func(context.Context) (node.Enclave, error) {
	return func(ctx context.Context) (node.Enclave, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		e, err := tee.Start(ctx, self, enclaveCommand)
		if err != nil {
			return nil, err
		}
		return enclaveEdge{e, chip}, nil
	}
}

// vault makes a task's secrets with package seal.
func vault() owner.Vault {
	return owner.Vault{
		Lock: func(plain []byte) ([]byte, func(task.Release, []byte) (task.Release, error), error) {
			id, err := seal.NewIdentity()
			if err != nil {
				return nil, nil, err
			}
			file, err := seal.Encrypt(id.Recipient(), plain)
			return file, func(r task.Release, enclave []byte) (task.Release, error) { return seal.Seal(r, enclave, id) }, err
		},
		Box: func() (string, func([]byte, int) ([]byte, error), error) {
			id, err := seal.NewIdentity()
			if err != nil {
				return "", nil, err
			}
			return id.Recipient(), id.Decrypt, nil
		},
	}
}
