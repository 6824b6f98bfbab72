package attest

import (
	"crypto/ed25519"

	"github.com/prytany/prytany/task"
)

// Platform is the simulated one: a key that signs whatever it is asked to. It
// is here, and pure, so that the enclave process and the simulator quote alike.
type Platform struct {
	Chip        ed25519.PrivateKey
	Measurement task.Hash // of the program that was started as the enclave
}

// Quote makes evidence.
func (p Platform) Quote(c Context, k Keys, nonces []task.Hash, state task.Hash) Evidence {
	e := Evidence{
		Kind: Simulated, Round: c.Round, Keys: k, Nonces: nonces, State: state,
		Quote: Quote{Measurement: p.Measurement, ReportData: ReportData(c, k, state, NonceRoot(nonces))},
		Chip:  task.PublicKey(p.Chip),
	}
	return p.sign(e)
}

func (p Platform) sign(e Evidence) Evidence {
	e.Signature = task.Sign(p.Chip, QuoteHash(e.Kind, e.Quote))
	return e
}
