package attest

import (
	"encoding/binary"
	"math/bits"

	"github.com/prytany/prytany/task"
)

// CanaryInput is what the enclave's VRF is evaluated on to decide whether its
// first evidence is faulty on purpose (spec §7.6). The key was born in the
// enclave for this view, so nobody can know the answer before.
func CanaryInput(c Context) []byte {
	c.Round = task.PreRun
	h := task.H(task.TagCanary, task.Encode(c))
	return h[:]
}

// CanaryDue says whether a VRF output asks for a canary: for ppm of a million
// outputs it does.
func CanaryDue(beta [64]byte, ppm uint64) bool {
	share, _ := bits.Mul64(binary.BigEndian.Uint64(beta[:8]), 1_000_000)
	return share < ppm
}

// Canary makes evidence that is faulty on purpose. The VRF output chooses
// the fault, so that a shallow check does not do.
func (p Platform) Canary(c Context, k Keys, nonces []task.Hash, beta [64]byte) Evidence {
	switch beta[8] % 3 {
	case 0:
		return p.Quote(c, k, nonces, task.H(task.TagState, []byte("canary"))) // dirty-state
	case 1:
		e := p.Quote(c, k, nonces, EmptyState)
		e.Quote.ReportData = task.H(task.TagReportData, beta[:]) // report-data-mismatch
		return p.sign(e)
	}
	e := p.Quote(c, k, nonces, EmptyState)
	e.Signature[0] ^= 1 // bad-signature
	return e
}
