package main

import (
	"testing"

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
	b := &broker{secrets: map[string]kept{fileName(bob, "code"): {ID: id, File: task.Hash{3}}}}
	of := func(owner task.Address) *ledger.Case {
		return &ledger.Case{Function: task.Function{Owner: owner, Code: task.Blob{CID: "code", Size: 1}}}
	}
	if r, err := b.seal(of(bob), task.Release{Role: task.Bob}, enclave.Public()); err != nil || len(r.Sealed) == 0 {
		t.Errorf("Bob's own function: %v", err)
	}
	if r, err := b.seal(of(mallory), task.Release{Role: task.Bob}, enclave.Public()); task.CodeOf(err) != "no-key" || len(r.Sealed) > 0 {
		t.Errorf("Mallory's function with Bob's code: %v", err)
	}
}
