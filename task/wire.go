package task

// Protocols of direct streams between peers.
const (
	ProtoCommittee = "/prytany/committee/1" // one-way, between members
	ProtoRelease   = "/prytany/release/1"   // KeyRequest → KeyReply, executor to owner
	ProtoResult    = "/prytany/result/1"    // one-way, executor to Alice: SignedResult
	ProtoDeposit   = "/prytany/deposit/1"   // a deposit → its refusal, Bob to his broker
)

// KeyRequest shows an owner why it may release its key: the genuine evidence, and
// the verdicts on it. Everything else the owner asks the chain.
type KeyRequest struct {
	Party   uint8    `cbor:"1,keyasint"` // who is asked
	Opening Opening  `cbor:"2,keyasint"`
	Reveals []Reveal `cbor:"3,keyasint"`
	Seal    []byte   `cbor:"4,keyasint"` // the enclave's HPKE public key, which the evidence names
}

// KeyReply is the release, or the reason for its refusal.
type KeyReply struct {
	Release *Release `cbor:"1,keyasint,omitempty"`
	Refused string   `cbor:"2,keyasint,omitempty"`
}
