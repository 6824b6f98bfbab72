package attest

import (
	"slices"

	"github.com/prytany/prytany/task"
)

// Reference holds a chain's reference values and rules of appraisal, fixed at
// genesis.
type Reference struct {
	AllowSimulated bool           `cbor:"1,keyasint" json:"allow_simulated"`
	Measurements   []task.Hash    `cbor:"2,keyasint" json:"measurements"` // accepted programs and images, of any kind
	MinTCB         uint64         `cbor:"3,keyasint" json:"min_tcb"`      // of simulated evidence
	Kinds          []Kind         `cbor:"4,keyasint" json:"kinds"`        // accepted beside simulated evidence
	Revoked        []task.Hash    `cbor:"5,keyasint" json:"revoked"`      // SHA-256 of certificates (DER)
	SNP            SNPReference   `cbor:"7,keyasint" json:"sev_snp"`
	TDX            TDXReference   `cbor:"8,keyasint" json:"tdx"`
	Nitro          NitroReference `cbor:"9,keyasint" json:"nitro"`
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
	for k, v := range kinds {
		wanted := len(p.Kinds) == 0 || slices.Contains(p.Kinds, string(k))
		// Simulated chips have the TCB of the genesis; what real ones have is not known here.
		if wanted && r.accepts(k) && v.tier >= p.MinTier && (k != Simulated || p.MinTCB <= r.MinTCB) {
			return true
		}
	}
	return false
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
