package attest

import (
	"encoding/binary"
	"math/bits"

	"github.com/prytany/prytany/task"
)

// Quoter is a platform, from the side of the enclave: what makes a quote over
// report data, in the form of its kind. It is slow on some, and can fail.
type Quoter interface {
	Kind() Kind
	Quote(reportData task.Hash) ([]byte, error)
}

// Make has a platform quote what the evidence is to be bound to. runtime is the
// container runtime's digest, or zero.
func Make(q Quoter, c Context, k Keys, nonces []task.Hash, state, runtime task.Hash) (Evidence, error) {
	quote, err := q.Quote(ReportData(c, k, state, NonceRoot(nonces), runtime))
	return Evidence{Kind: q.Kind(), Round: c.Round, Keys: k, Nonces: nonces, State: state, Quote: quote, Runtime: runtime}, err
}

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

// Canary makes evidence that is faulty on purpose, on any platform: it quotes
// what is not so, or spoils a signature that was good. The VRF output chooses
// the fault, so that a shallow check does not do.
func Canary(q Quoter, c Context, k Keys, nonces []task.Hash, runtime task.Hash, beta [64]byte) (Evidence, error) {
	switch beta[8] % 3 {
	case 0:
		return Make(q, c, k, nonces, task.H(task.TagState, []byte("canary")), runtime) // dirty-state
	case 1:
		quote, err := q.Quote(task.H(task.TagReportData, beta[:])) // report-data-mismatch
		return Evidence{Kind: q.Kind(), Round: c.Round, Keys: k, Nonces: nonces, State: EmptyState, Quote: quote, Runtime: runtime}, err
	}
	e, err := Make(q, c, k, nonces, EmptyState, runtime)
	if err == nil {
		e.Quote = kinds[e.Kind].unsign(e.Quote) // bad-signature
	}
	return e, err
}
