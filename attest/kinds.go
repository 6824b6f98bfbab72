package attest

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/prytany/prytany/task"
)

// Kind is the technology that the evidence comes from.
type Kind string

// The kinds of evidence (spec §7.1).
const (
	Simulated Kind = "simulated" // a key in a file: the protocol without a TEE
	TPM       Kind = "tpm"       // TPM 2.0 quote with an event log
	SEVSNP    Kind = "sev-snp"   // AMD's confidential VM
	TDX       Kind = "tdx"       // Intel's confidential VM
	Nitro     Kind = "nitro"     // AWS Nitro Enclave
)

// Claims are what a quote says, once its signatures hold: the same for every
// kind.
type Claims struct {
	Tier        task.Tier `json:"tier"`
	Chip        task.Key  `json:"chip"` // identity of the chip or machine
	Measurement task.Hash `json:"measurement"`
	ReportData  task.Hash `json:"report_data"` // zero if the field holds more than a hash
	TCB         uint64    `json:"tcb,string"`  // in the kind's own measure
	Debug       bool      `json:"debug"`
	Boots       uint64    `json:"boots,omitempty,string"` // starts of the machine; 0 if the kind counts none
	Product     string    `json:"product,omitempty"`      // the processor's product line, if the kind has floors by it
}

// kind is what there is to know of one. verify checks a quote's signatures and
// endorsements and all that only this kind has; what it refuses has a reason
// code. reaches compares TCBs. unsign spoils a quote's signature and nothing
// else.
type kind struct {
	tier    task.Tier
	verify  func(quote []byte, want Expected, ref Reference) (Claims, *task.Error)
	reaches func(tcb, floor uint64) bool
	unsign  func(quote []byte) []byte
}

var kinds map[Kind]kind

func init() {
	kinds = map[Kind]kind{
		Simulated: {task.TierSimulated, verifySimulated, notBelow, lastByte},
		TPM:       {task.TierMeasured, verifyTPM, notBelow, lastByte},
		SEVSNP:    {task.TierConfidential, verifySNP, bytewise, unsignSNP},
		TDX:       {task.TierConfidential, verifyTDX, notBelow, unsignTDX},
		Nitro:     {task.TierConfidential, verifyNitro, notBelow, lastByte},
	}
}

// Tier is what the kind protects at best (spec §7.1); not ok for an unknown
// kind.
func (k Kind) Tier() (tier task.Tier, ok bool) {
	v, ok := kinds[k]
	return v.tier, ok
}

// Claims reads a quote and checks its signatures and endorsements, but not
// whether it says what it should. The error's code is a reason code.
func (e Evidence) Claims(want Expected, ref Reference) (Claims, error) {
	k, ok := kinds[e.Kind]
	if !ok {
		return Claims{}, task.Refuse(UnknownKind, "evidence of kind %q", e.Kind)
	}
	c, err := k.claims(e.Quote, want, ref)
	if err != nil {
		return c, err
	}
	return c, nil
}

// claims is verify for quotes from strangers: one that a vendor's parser panics
// at is refused, as every node would panic at it, in the same block.
func (k kind) claims(quote []byte, want Expected, ref Reference) (c Claims, refused *task.Error) {
	defer func() {
		if p := recover(); p != nil {
			c, refused = Claims{}, task.Refuse(QuoteMalformed, "the parser failed: %v", p)
		}
	}()
	return k.verify(quote, want, ref)
}

func notBelow(tcb, floor uint64) bool { return tcb >= floor }

// lastByte spoils a quote that ends with its signature.
func lastByte(quote []byte) []byte {
	bad := slices.Clone(quote)
	bad[len(bad)-1] ^= 1
	return bad
}

// hashIn is a report data field's hash. What is longer must be zero behind it;
// else it is bound to nothing.
func hashIn(field []byte) (h task.Hash) {
	if len(field) < len(h) || slices.ContainsFunc(field[len(h):], func(b byte) bool { return b != 0 }) {
		return task.Hash{}
	}
	return task.Hash(field)
}

// identity names a chip by what its vendor calls it.
func identity(raw []byte) task.Key { return sha256.Sum256(raw) }

// measurement is one hash for what a kind measures in several or longer parts.
func measurement(k Kind, parts ...[]byte) task.Hash {
	return task.H(task.TagMeasurement, append([][]byte{[]byte(k)}, parts...)...)
}

// utc is a time for people.
func utc(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.DateTime) }
