// Package attest judges evidence (RFC 9334). An enclave (the Attester) shows
// [Evidence]; a verifier, an owner or the chain (each a Verifier and its own
// Relying Party) calls [Appraise] with what it expects and gets an
// [Appraisal]: a verdict with a reason code.
//
// Appraise is a pure function of the evidence, what was expected, the policy
// and the reference values (spec §7.4). So two honest verifiers never differ,
// and a false verdict can be proven wrong by anyone who repeats it.
//
// Each [Kind] brings a quote of its own form, with all certificates and
// collateral in it, and comes down to the same [Claims]; what they must say is
// checked for all kinds alike. Each kind says what it protects. [Simulated]
// evidence protects nothing: it is made by ordinary software, and a chain whose
// genesis does not allow it refuses it, whatever else it says.
//
// Certificates need a time. It comes with what is expected, from the chain
// ([Expected].Now), so that everyone appraises at the same one.
package attest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
)

// Keys are the enclave's, born with the task (spec §2.3). The key that owners seal
// to is long, and nobody else needs it: it is named here, and shown to them alone.
type Keys struct {
	Seal task.Hash `cbor:"1,keyasint" json:"seal"` // names the HPKE public key, MLKEM768-X25519: [SealKey]
	Sign task.Key  `cbor:"2,keyasint" json:"sign"` // Ed25519: signs the result
}

// SealKey names an enclave's HPKE public key.
func SealKey(public []byte) task.Hash { return task.H(task.TagHPKE, public) }

// Evidence is an enclave's proof of what it is, bound to one view of one task
// and to one round of it: before the run, or at the exit.
type Evidence struct {
	Kind  Kind       `cbor:"1,keyasint" json:"kind"`
	Round task.Round `cbor:"2,keyasint" json:"round"`
	Keys  Keys       `cbor:"3,keyasint" json:"keys"`
	Nonce task.Hash  `cbor:"4,keyasint" json:"nonce"` // what the quote answers: before the run the root of all members' nonces, at the exit the chain's
	State task.Hash  `cbor:"5,keyasint" json:"state"` // of the writable space
	Quote []byte     `cbor:"6,keyasint" json:"quote"` // canonical CBOR in the kind's own form, over the report data
	// Runtime is the digest of the OCI runtime, with all that it loads, that the
	// enclave has in its memory to start the function's container with; zero if
	// the function needs none.
	Runtime task.Hash `cbor:"7,keyasint" json:"runtime"`
}

// ParseEvidence reads evidence from an untrusted peer.
func ParseEvidence(raw []byte) (Evidence, error) {
	return task.Decode[Evidence](raw, task.MaxEvidence)
}

// Digest names the evidence.
func (e Evidence) Digest() task.Hash { return task.H(task.TagEvidence, task.Encode(e)) }

// NonceRoot stands for the nonces of a whole committee, in the order of the case:
// one quote answers them all, and its evidence is as long for a thousand members as
// for two (spec §7.3).
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

// Context is what the evidence must be bound to, from the chain's own record. The
// names of task and function bind all files and all parties.
type Context struct {
	Chain    string          `cbor:"1,keyasint"`
	Task     task.TaskID     `cbor:"2,keyasint"`
	Attempt  uint32          `cbor:"3,keyasint"`
	View     uint32          `cbor:"4,keyasint"`
	Node     task.NodeID     `cbor:"5,keyasint"`
	Round    task.Round      `cbor:"6,keyasint"`
	Function task.FunctionID `cbor:"7,keyasint"`
}

// ReportData binds keys, nonce, state and container runtime to the context
// (spec §7.2).
func ReportData(c Context, k Keys, state, nonce, runtime task.Hash) task.Hash {
	return task.H(task.TagReportData, task.Encode(c), task.Encode(k), state[:], nonce[:], runtime[:])
}

// EmptyState is the digest of a writable space with nothing in it.
var EmptyState = task.H(task.TagState)

// Expected is all that a verifier knows of the executor.
type Expected struct {
	Context Context
	Chip    task.Key   // the node's registered TEE identity
	Kind    string     // and its kind
	Nonce   task.Hash  // of the members together, or of the exit
	Keys    *Keys      // at the exit: the keys of the pre-run evidence
	State   task.Hash  // the empty writable space
	OCI     bool       // whether the function runs in a container that an OCI runtime starts
	Docker  bool       // whether an engine of the host's runs it (spec §9.6.8)
	Runtime *task.Hash // at the exit: the container runtime of the pre-run evidence
	Boots   *uint64    // at the exit: the machine's starts in the pre-run evidence, if it counts them
	Now     int64      // Unix seconds, the chain's (spec §7.4.2)
}

// Reason codes of a FAULT (spec §7.4). Stable.
const (
	UnknownKind         = "unknown-kind"
	SimulatedRefused    = "simulated-refused"
	KindRefused         = "kind-refused"
	KindNotAsked        = "kind-not-asked"
	TierTooLow          = "tier-too-low"
	WrongRound          = "wrong-round"
	ForeignChip         = "foreign-chip"
	QuoteMalformed      = "quote-malformed"
	UntrustedChain      = "untrusted-chain"
	CertificateExpired  = "certificate-expired"
	Revoked             = "revoked"
	BadSignature        = "bad-signature"
	EndorsementMismatch = "endorsement-mismatch"
	WrongProduct        = "wrong-product"
	UnsafePolicy        = "unsafe-policy"
	StaleCollateral     = "stale-collateral"
	StaleQuote          = "stale-quote"
	WeakKey             = "weak-key"
	NotActivated        = "key-not-activated"
	WrongPCRs           = "wrong-pcrs"
	WrongFirmware       = "wrong-firmware"
	LogMismatch         = "event-log-mismatch"
	DebugEnclave        = "debug-enclave"
	StaleTCB            = "stale-tcb"
	WrongMeasurement    = "wrong-measurement"
	WrongRuntime        = "wrong-runtime"
	KeysChanged         = "keys-changed"
	Restarted           = "machine-restarted"
	DirtyState          = "dirty-state"
	NonceMissing        = "nonce-missing"
	NotBound            = "report-data-mismatch"
	EvidenceMalformed   = "evidence-malformed"
)

// Appraisal is the outcome: OK, or FAULT with a reason code and a sentence.
type Appraisal struct {
	Verdict task.Verdict `json:"verdict"`
	Tier    task.Tier    `json:"tier"`
	Reason  string       `json:"reason,omitempty"`
	Detail  string       `json:"detail,omitempty"`
	Claims  Claims       `json:"claims"` // what the quote says, if its signatures hold
}

func fault(reason, format string, args ...any) Appraisal {
	return Appraisal{Verdict: task.Fault, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// programs are those that evidence may be of: the chain's, or those for docker
// functions; of these a policy may take fewer, and adds none. A task's policy is
// Alice's word alone, and Bob releases his key by the verdict that it leads to.
func programs(want Expected, policy task.Policy, ref Reference) []task.Hash {
	list := ref.Measurements
	if want.Docker {
		list = ref.Docker
	}
	return slices.DeleteFunc(slices.Clone(list), func(m task.Hash) bool {
		return len(policy.Measurements) > 0 && !slices.Contains(policy.Measurements, m)
	})
}

// Appraise judges evidence (spec §7.4).
func Appraise(e Evidence, want Expected, policy task.Policy, ref Reference) Appraisal {
	tier, known := e.Kind.Tier()
	ctx := want.Context
	switch {
	case !known:
		return fault(UnknownKind, "evidence of kind %q", e.Kind)
	case e.Kind == Simulated && !ref.AllowSimulated:
		return fault(SimulatedRefused, "this chain's genesis does not allow simulated evidence")
	case !ref.accepts(e.Kind):
		return fault(KindRefused, "this chain's genesis does not accept %s evidence", e.Kind)
	case len(policy.Kinds) > 0 && !slices.Contains(policy.Kinds, string(e.Kind)):
		return fault(KindNotAsked, "%s evidence; the task accepts %s", e.Kind, strings.Join(policy.Kinds, ", "))
	case tier < policy.MinTier:
		return fault(TierTooLow, "%s evidence, the task wants %s or better", tier, policy.MinTier)
	case e.Round != ctx.Round:
		return fault(WrongRound, "evidence of the %s round in the %s round", e.Round, ctx.Round)
	case string(e.Kind) != want.Kind:
		return fault(ForeignChip, "evidence of kind %s; the node registered kind %s", e.Kind, want.Kind)
	}
	c, err := kinds[e.Kind].claims(e.Quote, want, ref)
	if err != nil {
		return fault(err.Code, "%s", err.What)
	}
	fault := func(reason, format string, args ...any) Appraisal {
		a := fault(reason, format, args...)
		a.Claims = c
		return a
	}
	switch {
	case c.Tier == task.TierSimulated && !ref.AllowSimulated:
		return fault(SimulatedRefused, "%s evidence of a TPM that is software; this chain's genesis does not allow simulated evidence", e.Kind)
	case c.Tier < policy.MinTier:
		return fault(TierTooLow, "the chip is software: %s evidence, the task wants %s or better", c.Tier, policy.MinTier)
	case c.Chip != want.Chip:
		return fault(ForeignChip, "chip %s; the node registered %s", c.Chip.Short(), want.Chip.Short())
	case c.Debug:
		return fault(DebugEnclave, "the enclave runs in debug mode: its owner can read it")
	case !kinds[e.Kind].reaches(c.TCB, policy.MinTCB):
		return fault(StaleTCB, "TCB %#x is below %#x, the task's floor", c.TCB, policy.MinTCB)
	case !slices.Contains(programs(want, policy, ref), c.Measurement):
		return fault(WrongMeasurement, "measurement %s is not a reference value", c.Measurement.Short())
	case want.OCI && !slices.Contains(ref.Runtimes, e.Runtime):
		return fault(WrongRuntime, "container runtime %s is not a reference value", e.Runtime.Short())
	case !want.OCI && !e.Runtime.IsZero():
		return fault(WrongRuntime, "container runtime %s, and the function needs none", e.Runtime.Short())
	case want.Runtime != nil && *want.Runtime != e.Runtime:
		return fault(WrongRuntime, "container runtime %s; it was %s before the run", e.Runtime.Short(), want.Runtime.Short())
	case want.Keys != nil && *want.Keys != e.Keys:
		return fault(KeysChanged, "the exit evidence is of another enclave than the one that ran")
	case want.Boots != nil && *want.Boots != c.Boots:
		return fault(Restarted, "the machine was restarted between the pre-run evidence and the exit")
	case e.State != want.State:
		return fault(DirtyState, "writable state %s, the empty one is %s", e.State.Short(), want.State.Short())
	case e.Nonce != want.Nonce:
		return fault(NonceMissing, "nonce %s is answered and %s was asked: a replayed or an early quote, or one for other members", e.Nonce.Short(), want.Nonce.Short())
	case c.ReportData != ReportData(ctx, e.Keys, e.State, e.Nonce, e.Runtime):
		return fault(NotBound, "the quote is not bound to this task, view, node, keys, state, container runtime and nonce")
	}
	return Appraisal{Verdict: task.OK, Tier: c.Tier, Claims: c}
}
