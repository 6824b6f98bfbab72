package attest

import (
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
func Make(q Quoter, c Context, k Keys, nonce, state, runtime task.Hash) (Evidence, error) {
	quote, err := q.Quote(ReportData(c, k, state, nonce, runtime))
	return Evidence{Kind: q.Kind(), Round: c.Round, Keys: k, Nonce: nonce, State: state, Quote: quote, Runtime: runtime}, err
}

// DecoyFault is what is wrong with an executor's decoy, by its VRF's output.
func DecoyFault(beta [64]byte) uint8 { return beta[1] % 8 }

// Decoy makes evidence that is faulty on purpose, on any platform, with a quote of
// its own: it looks like the genuine one, and to find the fault takes the same
// appraisal. Half of the time only the signature is bad, the last thing that a
// shallow check looks at; else what was signed is not so. k are keys that nobody
// has kept.
func Decoy(q Quoter, c Context, k Keys, nonce, runtime task.Hash, fault uint8) (Evidence, error) {
	shown := c
	switch fault {
	case 0: // dirty-state
		return Make(q, c, k, nonce, task.H(task.TagState, []byte("decoy")), runtime)
	case 1: // nonce-missing
		return Make(q, c, k, NonceRoot([]task.Hash{nonce}), EmptyState, runtime)
	case 2: // report-data-mismatch: another task
		shown.Task[0]++
	case 3: // report-data-mismatch: another view
		shown.View++
	}
	e, err := Make(q, shown, k, nonce, EmptyState, runtime)
	if err == nil && fault > 3 {
		e.Quote = kinds[e.Kind].unsign(e.Quote) // bad-signature
	}
	return e, err
}
