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

// Quoter is what quotes by the platform.
func (p Platform) Quoter() (attest.Quoter, error) {
	switch {
	case p.Kind == attest.Simulated && p.Simulated != nil:
		return attest.Platform{Chip: ed25519.NewKeyFromSeed(p.Simulated.ChipSeed[:]), Measurement: p.Simulated.Measurement}.Quoter(), nil
	case p.Kind == attest.TPM && p.TPM != nil:
		return *p.TPM, nil
	case p.VM != nil && p.VM.Is == p.Kind:
		return *p.VM, nil
	case p.Kind == attest.Nitro:
		return nsm.Open(nsm.Path), nil
	}
	return nil, fmt.Errorf("no platform of kind %q here", p.Kind)
}
