// Package attest judges evidence (RFC 9334). An enclave (the Attester) shows
// [Evidence]; a verifier, an owner or the chain (each a Verifier and its own
// Relying Party) calls [Appraise] with what it expects and gets an
// [Appraisal]: a verdict with a reason code.
//
// Appraise is a pure function of the evidence, what was expected, the policy
// and the reference values (spec §7.4). So two honest verifiers never differ,
// and a false verdict can be proven wrong by anyone who repeats it.
//
// Each kind of evidence says what it protects. The one kind so far,
// [Simulated], protects nothing: it is made by ordinary software, and a chain
// whose genesis does not allow it refuses it by type, whatever else it says.
package attest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/prytany/prytany/task"
)

// Kind is the technology that the evidence comes from.
type Kind string

// Simulated evidence is signed by a key in a file. It exists so that the whole
// protocol can run on a machine without a TEE, and it protects nothing.
const Simulated Kind = "simulated"

// Tier is what the kind protects (spec §7.1); not ok for an unknown kind.
func (k Kind) Tier() (tier task.Tier, ok bool) {
	if k == Simulated {
		return task.TierSimulated, true
	}
	return 0, false
}

// BestTier is the best that any known kind of evidence shows.
const BestTier = task.TierSimulated

// Keys are the enclave's, born with the task (spec §2.3).
type Keys struct {
	Seal []byte   `cbor:"1,keyasint" json:"-"`    // HPKE public key, MLKEM768-X25519
	Sign task.Key `cbor:"2,keyasint" json:"sign"` // Ed25519: signs the result
	VRF  task.Key `cbor:"3,keyasint" json:"vrf"`
}

// Equal says whether they are one enclave's.
func (k Keys) Equal(o Keys) bool {
	return bytes.Equal(k.Seal, o.Seal) && k.Sign == o.Sign && k.VRF == o.VRF
}

// Quote is what the platform signs.
type Quote struct {
	ReportData  task.Hash `cbor:"1,keyasint" json:"report_data"`
	Measurement task.Hash `cbor:"2,keyasint" json:"measurement"`
	Debug       bool      `cbor:"3,keyasint" json:"debug"`
	TCB         uint64    `cbor:"4,keyasint" json:"tcb"`
}

// Evidence is an enclave's proof of what it is, bound to one view of one task
// and to one round of it: before the run, or at the exit.
type Evidence struct {
	Kind      Kind           `cbor:"1,keyasint" json:"kind"`
	Round     task.Round     `cbor:"2,keyasint" json:"round"`
	Keys      Keys           `cbor:"3,keyasint" json:"keys"`
	Nonces    []task.Hash    `cbor:"4,keyasint" json:"nonces"` // all that the quote answers, in order of arrival
	State     task.Hash      `cbor:"5,keyasint" json:"state"`  // of the writable space
	Quote     Quote          `cbor:"6,keyasint" json:"quote"`
	Chip      task.Key       `cbor:"7,keyasint" json:"chip"` // the platform's identity
	Signature task.Signature `cbor:"8,keyasint" json:"-"`    // by the chip, over the quote
}

// ParseEvidence reads evidence from an untrusted peer.
func ParseEvidence(raw []byte) (Evidence, error) {
	return task.Decode[Evidence](raw, task.MaxEvidence)
}

// Digest names the evidence.
func (e Evidence) Digest() task.Hash { return task.H(task.TagEvidence, task.Encode(e)) }

// QuoteHash is what the chip signs.
func QuoteHash(k Kind, q Quote) task.Hash {
	return task.H(task.TagChip, []byte(k), task.Encode(q))
}

// NonceRoot is the root over all nonces that one quote answers: one slow
// platform operation, however many verifiers (spec §7.3).
func NonceRoot(nonces []task.Hash) task.Hash {
	parts := make([][]byte, len(nonces))
	for i := range nonces {
		parts[i] = nonces[i][:]
	}
	return task.H(task.TagNonceRoot, parts...)
}

// Nonce is a verifier's own, derived from its VRF output β, so that anyone
// can check whose it is and nobody could know it before the seed (spec §7.3).
func Nonce(beta [64]byte, node task.NodeID) task.Hash {
	return task.H(task.TagNonce, beta[:], node[:])
}

// ExitNonce is that of the exit quote: the beacon after the result's block
// could not be known when the result was signed (spec §9.5).
func ExitNonce(result task.Hash, beacon task.Hash) task.Hash {
	return task.H(task.TagExitNonce, result[:], beacon[:])
}

// Context is what the evidence must be bound to, from the chain's own record.
type Context struct {
	Chain    string          `cbor:"1,keyasint"`
	Task     task.TaskID     `cbor:"2,keyasint"`
	Attempt  uint32          `cbor:"3,keyasint"`
	View     uint32          `cbor:"4,keyasint"`
	Node     task.NodeID     `cbor:"5,keyasint"`
	Round    task.Round      `cbor:"6,keyasint"`
	Function task.FunctionID `cbor:"7,keyasint"`
	CodeCID  string          `cbor:"8,keyasint"`
	InputCID string          `cbor:"9,keyasint"`
	// CanaryPPM is how often the enclave must show faulty evidence on purpose.
	// It is bound here so that no host can talk its enclave out of it.
	CanaryPPM uint64 `cbor:"10,keyasint"`
}

// ReportData binds keys, nonces and state to the context (spec §7.2).
func ReportData(c Context, k Keys, state, nonceRoot task.Hash) task.Hash {
	return task.H(task.TagReportData, task.Encode(c), task.Encode(k), state[:], nonceRoot[:])
}

// EmptyState is the digest of a writable space with nothing in it.
var EmptyState = task.H(task.TagState)

// Expected is all that a verifier knows of the executor.
type Expected struct {
	Context Context
	Chip    task.Key    // the node's registered TEE identity
	Kind    string      // and its kind
	Nonces  []task.Hash // each must be among those the quote answers
	Keys    *Keys       // at the exit: the keys of the pre-run evidence
	State   task.Hash   // the empty writable space
}

// Reference values and rules of the chain.
type Reference struct {
	AllowSimulated bool        `cbor:"1,keyasint" json:"allow_simulated"`
	Measurements   []task.Hash `cbor:"2,keyasint" json:"measurements"`
	MinTCB         uint64      `cbor:"3,keyasint" json:"min_tcb"`
}

// Reason codes of a FAULT (spec §7.4). Stable.
const (
	UnknownKind       = "unknown-kind"
	SimulatedRefused  = "simulated-refused"
	TierTooLow        = "tier-too-low"
	WrongRound        = "wrong-round"
	ForeignChip       = "foreign-chip"
	BadSignature      = "bad-signature"
	DebugEnclave      = "debug-enclave"
	StaleTCB          = "stale-tcb"
	WrongMeasurement  = "wrong-measurement"
	NonceMissing      = "nonce-missing"
	NotBound          = "report-data-mismatch"
	DirtyState        = "dirty-state"
	KeysChanged       = "keys-changed"
	BadKeys           = "bad-keys"
	EvidenceMalformed = "evidence-malformed"
)

// Appraisal is the outcome: OK, or FAULT with a reason code and a sentence.
type Appraisal struct {
	Verdict task.Verdict `json:"verdict"`
	Tier    task.Tier    `json:"tier"`
	Reason  string       `json:"reason,omitempty"`
	Detail  string       `json:"detail,omitempty"`
}

func fault(reason, format string, args ...any) Appraisal {
	return Appraisal{Verdict: task.Fault, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// sealKeySize is an MLKEM768-X25519 public key's, in bytes.
const sealKeySize = 1216

// Appraise judges evidence (spec §7.4).
func Appraise(e Evidence, want Expected, policy task.Policy, ref Reference) Appraisal {
	tier, known := e.Kind.Tier()
	measurements := policy.Measurements
	if len(measurements) == 0 {
		measurements = ref.Measurements
	}
	ctx := want.Context
	switch {
	case !known:
		return fault(UnknownKind, "evidence of kind %q", e.Kind)
	case e.Kind == Simulated && !ref.AllowSimulated:
		return fault(SimulatedRefused, "this chain's genesis does not allow simulated evidence")
	case tier < policy.MinTier:
		return fault(TierTooLow, "%s evidence, the task wants %s or better", tier, policy.MinTier)
	case e.Round != ctx.Round:
		return fault(WrongRound, "evidence of the %s round in the %s round", e.Round, ctx.Round)
	case string(e.Kind) != want.Kind || e.Chip != want.Chip:
		return fault(ForeignChip, "chip %s of kind %s; the node registered %s of kind %s", e.Chip.Short(), e.Kind, want.Chip.Short(), want.Kind)
	case !e.Signature.Verify(e.Chip, QuoteHash(e.Kind, e.Quote)):
		return fault(BadSignature, "the chip's signature over the quote does not hold")
	case e.Quote.Debug:
		return fault(DebugEnclave, "the enclave runs in debug mode: its owner can read it")
	case e.Quote.TCB < max(policy.MinTCB, ref.MinTCB):
		return fault(StaleTCB, "TCB %d is below %d", e.Quote.TCB, max(policy.MinTCB, ref.MinTCB))
	case !slices.Contains(measurements, e.Quote.Measurement):
		return fault(WrongMeasurement, "measurement %s is not a reference value", e.Quote.Measurement.Short())
	case len(e.Keys.Seal) != sealKeySize:
		return fault(BadKeys, "sealing key of %d bytes, want %d", len(e.Keys.Seal), sealKeySize)
	case want.Keys != nil && !want.Keys.Equal(e.Keys):
		return fault(KeysChanged, "the exit evidence is of another enclave than the one that ran")
	case e.State != want.State:
		return fault(DirtyState, "writable state %s, the empty one is %s", e.State.Short(), want.State.Short())
	}
	for _, n := range want.Nonces {
		if !slices.Contains(e.Nonces, n) {
			return fault(NonceMissing, "nonce %s is not answered: a replayed or an early quote", n.Short())
		}
	}
	if e.Quote.ReportData != ReportData(ctx, e.Keys, e.State, NonceRoot(e.Nonces)) {
		return fault(NotBound, "the quote is not bound to this task, view, node, keys, state and nonces")
	}
	return Appraisal{Verdict: task.OK, Tier: tier}
}
