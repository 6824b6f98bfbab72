package broker

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
)

// Who publishes another's encrypted code as his own gets no key for it: keys are
// filed under who deposited them.
func TestAnothersCodeGetsNoKey(t *testing.T) {
	id, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	enclave, err := seal.NewEnclaveKey()
	if err != nil {
		t.Fatal(err)
	}
	bob, mallory := task.Address{1}, task.Address{2}
	b := &Broker{secrets: map[string]kept{fileName(bob, "code"): {ID: id, File: task.Hash{3}}}}
	of := func(owner task.Address) *ledger.Case {
		return &ledger.Case{Task: task.Task{Data: make([]task.Data, 1)}, Function: task.Function{Owner: owner, Code: task.Blob{CID: "code", Size: 1}}}
	}
	if r, err := b.seal(of(bob), task.Release{Party: 2}, enclave.Public()); err != nil || len(r.Sealed) == 0 {
		t.Errorf("Bob's own function: %v", err)
	}
	if r, err := b.seal(of(mallory), task.Release{Party: 2}, enclave.Public()); task.CodeOf(err) != "no-key" || len(r.Sealed) > 0 {
		t.Errorf("Mallory's function with Bob's code: %v", err)
	}
}

// A deposit that is known already costs no file: a stranger may repeat it.
func TestAKnownDepositReadsNothing(t *testing.T) {
	id, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	d := Deposit{Owner: task.PublicKey(key), Code: task.Blob{CID: "code", Size: task.MaxBlob}, Identity: id.Secret()}
	d.Signature = task.Sign(key, d.Hash())
	b := &Broker{turn: make(chan struct{}, 1), secrets: map[string]kept{fileName(d.Owner, "code"): {ID: id}}}
	if err := b.deposit(t.Context(), task.Encode(d)); task.CodeOf(err) != "deposit-known" { // no store: it would panic
		t.Error(err)
	}
	// While one is taken the others wait.
	b.turn <- struct{}{}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if err := b.deposit(ctx, task.Encode(d)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another: %v", err)
	}
}
