package attest

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/task"
)

// Reference holds a chain's reference values and rules of appraisal, as they are
// at one height: the genesis begins them, and the chain's validators change them
// (spec §7.9).
type Reference struct {
	AllowSimulated bool           `cbor:"1,keyasint" json:"allow_simulated"`
	Measurements   []task.Hash    `cbor:"2,keyasint" json:"measurements"`   // accepted programs and images, of any kind
	MinTCB         uint64         `cbor:"3,keyasint" json:"min_tcb,string"` // of simulated evidence
	Kinds          []Kind         `cbor:"4,keyasint" json:"kinds"`          // accepted beside simulated evidence
	Revoked        []task.Hash    `cbor:"5,keyasint" json:"revoked"`        // SHA-256 of what is signed of certificates (TBSCertificate, DER)
	TPM            TPMReference   `cbor:"6,keyasint" json:"tpm"`
	SNP            SNPReference   `cbor:"7,keyasint" json:"sev_snp"`
	TDX            TDXReference   `cbor:"8,keyasint" json:"tdx"`
	Nitro          NitroReference `cbor:"9,keyasint" json:"nitro"`
	// Docker are the programs that run docker functions, by simulated evidence. They
	// are accepted for nothing else, for the engine beside them sees the plaintext.
	Docker   []task.Hash `cbor:"10,keyasint" json:"docker"`
	Runtimes []task.Hash `cbor:"11,keyasint" json:"runtimes"` // accepted OCI runtimes, each with all that it loads
}

// Check refuses a reference under which evidence could not be appraised, or
// that would take a toy for a machine.
func (r Reference) Check() error {
	if len(r.Measurements) > 256 || len(r.Revoked) > 4096 || len(r.Kinds) > len(kinds) {
		return fmt.Errorf("reference: too many measurements, revoked certificates or kinds")
	}
	if len(r.Docker) > 16 || len(r.Docker) > 0 && !r.AllowSimulated || slices.ContainsFunc(r.Docker, func(h task.Hash) bool { return h.IsZero() || slices.Contains(r.Measurements, h) }) {
		return fmt.Errorf("reference: a program of docker functions has simulated evidence, and is accepted for nothing else")
	}
	if len(r.Runtimes) > 256 || slices.Contains(r.Runtimes, task.Hash{}) {
		return fmt.Errorf("reference: too many container runtimes, or one without a digest")
	}
	for _, k := range r.Kinds {
		if _, ok := k.Tier(); !ok || k == Simulated {
			return fmt.Errorf("reference: kind %q is not known, or has a rule of its own (allow_simulated)", k)
		}
	}
	for _, named := range []struct {
		kind  Kind
		roots [][]byte
	}{{TPM, r.TPM.Roots}, {SEVSNP, r.SNP.Roots}, {TDX, r.TDX.Roots}, {Nitro, r.Nitro.Roots}} {
		if len(named.roots) > 64 {
			return fmt.Errorf("reference: too many roots for %s", named.kind)
		}
		for _, der := range named.roots {
			c, err := readCertificate(der)
			if err != nil {
				return fmt.Errorf("reference: a root for %s cannot be read: %w", named.kind, err)
			}
			if toy := namesSoftware(c.subject.common) || namesSoftware(c.issuer.common); toy && !r.AllowSimulated {
				return fmt.Errorf("reference: root %s for %s makes certificates for TPMs of software; a chain without simulated evidence takes none", c.subject, named.kind)
			}
		}
	}
	t := r.TPM
	if r.accepts(TPM) && (len(t.Roots) == 0 || t.Threshold == 0 || t.Threshold > uint64(len(t.Activators))) || len(t.Activators) > maxEndorsements || len(t.PCRs) > 256 {
		return fmt.Errorf("reference: TPM evidence needs roots, and a threshold of 1 to all of at most %d activators; have %d roots, %d of %d",
			maxEndorsements, len(t.Roots), t.Threshold, len(t.Activators))
	}
	if len(r.SNP.Products) > 16 || len(r.SNP.MinTCB) > 16 || len(r.TDX.Statuses) > 16 || r.TDX.MaxAgeSeconds > 1<<31 {
		return fmt.Errorf("reference: too many products, floors or statuses, or collateral for ever")
	}
	if len(r.Measurements) == 0 || !r.AllowSimulated && len(r.Kinds) == 0 {
		return fmt.Errorf("reference: no program or no kind of evidence is accepted, so no task could run")
	}
	return nil
}

// accepts says whether evidence of a kind is worth a look.
func (r Reference) accepts(k Kind) bool {
	return k == Simulated && r.AllowSimulated || slices.Contains(r.Kinds, k)
}

// Serves says whether any evidence that this chain accepts could meet a task's
// policy.
func (r Reference) Serves(p task.Policy) bool {
	known := func(m task.Hash) bool { return slices.Contains(r.Measurements, m) }
	if len(p.Measurements) > 0 && !slices.ContainsFunc(p.Measurements, known) {
		return false
	}
	var serving uint64
	for k, v := range kinds {
		wanted := len(p.Kinds) == 0 || slices.Contains(p.Kinds, string(k))
		// Simulated chips have the TCB of the genesis; what real ones have is not known here.
		if wanted && r.accepts(k) && v.tier >= p.MinTier && (k != Simulated || p.MinTCB <= r.MinTCB) {
			serving++
		}
	}
	return serving > 0 && (p.MaxKindPPM == 0 || serving*p.MaxKindPPM >= 1_000_000)
}

func (r Reference) revoked(h task.Hash) bool { return slices.Contains(r.Revoked, h) }

// BestTier is the best that any accepted kind of evidence can show; 0 if none
// is accepted.
func (r Reference) BestTier() (best task.Tier) {
	for k, v := range kinds {
		if r.accepts(k) {
			best = max(best, v.tier)
		}
	}
	return best
}
