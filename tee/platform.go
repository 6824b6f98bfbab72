package tee

import (
	"crypto/ed25519"
	"fmt"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/nsm"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/tsm"
)

// Platform says by what the enclave is to quote. What the host says here it
// cannot lie about to anyone's harm but its own: the evidence says what it is.
type Platform struct {
	Kind      attest.Kind `cbor:"1,keyasint"`
	Simulated *Simulated  `cbor:"2,keyasint,omitempty"`
	TPM       *tpm.Quoter `cbor:"3,keyasint,omitempty"`
	VM        *tsm.Quoter `cbor:"4,keyasint,omitempty"` // of a confidential VM, in which the enclave process is
}

// Simulated is a platform made of what the host gives it. A real TEE has its
// own key, in hardware, and measures for itself; that this one does not is why
// simulated evidence protects nothing.
type Simulated struct {
	ChipSeed    [32]byte  `cbor:"1,keyasint"`
	Measurement task.Hash `cbor:"2,keyasint"` // of the Program that the host started as enclave
}

// Quoter is what quotes by the platform. Nothing may be said of another kind.
func (p Platform) Quoter() (attest.Quoter, error) {
	var q attest.Quoter
	said := 0
	if p.Simulated != nil {
		said++
		q = attest.Platform{Chip: ed25519.NewKeyFromSeed(p.Simulated.ChipSeed[:]), Measurement: p.Simulated.Measurement}.Quoter()
	}
	if p.TPM != nil {
		said++
		q = *p.TPM
	}
	if p.VM != nil {
		said++
		q = *p.VM
	}
	if said == 0 && p.Kind == attest.Nitro {
		q = nsm.Open(nsm.Path)
	}
	if q == nil || said > 1 || q.Kind() != p.Kind {
		return nil, fmt.Errorf("no platform of kind %q here", p.Kind)
	}
	return q, nil
}

// Needs are the files of the host's that the platform quotes by: no more is let
// through the enclave's walls (spec §9.1.12).
func (p Platform) Needs() []string {
	switch {
	case p.TPM != nil:
		return p.TPM.Needs()
	case p.VM != nil:
		return p.VM.Needs()
	case p.Kind == attest.Nitro:
		return []string{nsm.Path}
	}
	return nil
}
