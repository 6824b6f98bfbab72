package attest

import (
	"crypto/ed25519"

	"github.com/prytany/prytany/task"
)

// SimulatedQuote is the quote of [Simulated] evidence.
type SimulatedQuote struct {
	Body      SimulatedBody  `cbor:"1,keyasint"`
	Chip      task.Key       `cbor:"2,keyasint"`
	Signature task.Signature `cbor:"3,keyasint"` // by the chip, over the body
}

// SimulatedBody is what the simulated chip signs.
type SimulatedBody struct {
	ReportData  task.Hash `cbor:"1,keyasint"`
	Measurement task.Hash `cbor:"2,keyasint"`
	Debug       bool      `cbor:"3,keyasint"`
	TCB         uint64    `cbor:"4,keyasint"`
}

func (b SimulatedBody) hash() task.Hash {
	return task.H(task.TagChip, []byte(Simulated), task.Encode(b))
}

func verifySimulated(quote []byte, _ Expected, ref Reference) (Claims, *task.Error) {
	q, err := task.Decode[SimulatedQuote](quote, task.MaxEvidence)
	if err != nil {
		return Claims{}, task.Refuse(QuoteMalformed, "%v", err)
	}
	if !q.Signature.Verify(q.Chip, q.Body.hash()) {
		return Claims{}, task.Refuse(BadSignature, "the chip's signature over the quote does not hold")
	}
	if q.Body.TCB < ref.MinTCB {
		return Claims{}, task.Refuse(StaleTCB, "TCB %d is below %d, the chain's floor", q.Body.TCB, ref.MinTCB)
	}
	return Claims{
		Tier: task.TierSimulated, Chip: q.Chip, Measurement: q.Body.Measurement,
		ReportData: q.Body.ReportData, TCB: q.Body.TCB, Debug: q.Body.Debug,
	}, nil
}

// Platform is the simulated one: a key that signs whatever it is asked to. It
// is here, and pure, so that the enclave process and the simulator quote alike.
type Platform struct {
	Chip        ed25519.PrivateKey
	Measurement task.Hash // of the program that was started as the enclave
	TCB         uint64
	Debug       bool
	Runtime     task.Hash // the container runtime of that enclave, or zero
}

// Quote makes evidence.
func (p Platform) Quote(c Context, k Keys, nonce, state task.Hash) Evidence {
	return must(Make(simulator{p}, c, k, nonce, state, p.Runtime))
}

// Decoy makes evidence that is faulty on purpose.
func (p Platform) Decoy(c Context, k Keys, nonce task.Hash, fault uint8) Evidence {
	return must(Decoy(simulator{p}, c, k, nonce, p.Runtime, fault))
}

// Profile is what the platform's quotes say of it.
func (p Platform) Profile() Profile {
	return Profile{Tier: task.TierSimulated, Measurement: p.Measurement, TCB: p.TCB}
}

// Quoter is the platform as what makes quotes.
func (p Platform) Quoter() Quoter { return simulator{p} }

func must(e Evidence, err error) Evidence {
	if err != nil {
		panic(err) // the simulator cannot fail
	}
	return e
}

type simulator struct{ p Platform }

func (s simulator) Kind() Kind { return Simulated }

func (s simulator) Quote(reportData task.Hash) ([]byte, error) {
	b := SimulatedBody{ReportData: reportData, Measurement: s.p.Measurement, TCB: s.p.TCB, Debug: s.p.Debug}
	return task.Encode(SimulatedQuote{Body: b, Chip: task.PublicKey(s.p.Chip), Signature: task.Sign(s.p.Chip, b.hash())}), nil
}
