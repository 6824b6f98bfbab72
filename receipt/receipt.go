// Package receipt holds the one file that Alice has after a task, and the
// judge of it: anyone, years later and without a network, can check with it
// what was promised, who was drawn, what they saw, what ran and who was paid
// (spec chapter 11).
//
// A [Receipt] is the closed case as the chain keeps it, and a proof that the
// chain kept exactly that. The case is self-contained: every claim with its VRF
// proof, every commitment with its signature, every reveal, the evidence of
// each round, the enclave's signed result, every slash and every payment.
//
// There are two ways to believe such a file. The proof alone would do, if one
// trusted the chain to have applied its own rules. [Verify] does not: it takes
// from the chain only what arithmetic cannot give, and computes all else again.
// Each check is one [Row] of the [Report], in words, and none is skipped because
// another one held. So a chain whose validators have conspired can still lie,
// but not about a VRF that nobody drew, a vote that nobody signed, a quote that
// no chip made, a result that no enclave signed or a sum that does not add up.
//
// So the rules of slashing stand here a second time, and the ledger's own code of them
// is not called (spec §11.3.6). What a settlement pays is one pure function, the
// ledger's, done again.
//
// What only the chain can vouch for, and the file cannot show by itself:
//
//   - who holds the shares of the beacon's key, and so who could know it in advance;
//   - what each node had at stake, and how much stake there was in all;
//   - the rules' numbers, which are the genesis's;
//   - that its reference values were in force when the draw was seeded; that the
//     case names them is checked;
//   - which chip a node registered, and that an executor who was passed over
//     had been silent: its view's votes are not in the case;
//   - slashes in earlier attempts, and the proofs of accusations that are about
//     nothing in the case: two commitments, two results, evidence shown elsewhere;
//   - heights, as far as one does not follow from another, and the history's text;
//   - where the output lies. What it is, the enclave has signed.
//
// These the state proof carries: more than two thirds of the validators' power
// have signed the header over them. How that is checked is the caller's to say,
// by a function, so that this package knows no chain and no consensus engine.
//
// And a receipt proves only what its evidence can. Simulated evidence is made
// by ordinary software: with it everything here may hold and nothing was
// protected. The report says so, first and loudly.
//
// The package is pure: no I/O, no clock, no randomness. Whatever bytes it is
// given, it answers and does not panic.
package receipt

import (
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Version is that of the format; another one is not read.
const Version = 1

// MaxSize bounds an encoded receipt, in bytes: a case, a proof and reference
// values.
const MaxSize = ledger.MaxCase + 4<<20 + 2<<20 + 64

// Receipt is the file (spec §11).
type Receipt struct {
	Version uint32      `cbor:"1,keyasint" json:"version"`
	Case    ledger.Case `cbor:"2,keyasint" json:"case"`
	// Proof shows that the hash of Case stands on the chain. Its form is the
	// chain's; here it is only handed on.
	Proof []byte `cbor:"3,keyasint" json:"proof"`
	// Reference are the values by which all evidence of the case was judged. The
	// case names them by their hash.
	Reference attest.Reference `cbor:"4,keyasint" json:"reference"`
}

// New makes the receipt of a closed case.
func New(c *ledger.Case, proof []byte) Receipt {
	return Receipt{Version: Version, Case: *c, Proof: proof, Reference: c.Reference()}
}

// Parse reads a receipt from a file of unknown origin. It says only that the
// file is one; whether it is true, Verify says.
func Parse(raw []byte) (Receipt, error) {
	r, err := task.Decode[Receipt](raw, MaxSize)
	if err != nil {
		return Receipt{}, task.Refuse("receipt-malformed", "this file is no receipt: %v", err)
	}
	return r, r.checkVersion()
}

// Encode gives the file's bytes. A receipt has one encoding only.
func (r Receipt) Encode() []byte { return task.Encode(r) }

func (r Receipt) checkVersion() error {
	if r.Version == Version {
		return nil
	}
	return task.Refuse("receipt-version", "the receipt has version %d, this program reads %d", r.Version, Version).
		WithNext("verify it with the program that knows version %d", r.Version)
}

// slot is where on the chain the case's hash stands, and the hash as it stands.
func (r Receipt) slot() (key, value []byte) {
	return ledger.CaseKey(r.Case.ID()), task.Encode(r.Case.Hash())
}
