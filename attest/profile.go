package attest

import (
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
)

// Profile is what a node's machine has shown that it is when the node was
// registered. A draw is only among nodes whose profile meets the task's policy:
// so no policy can make honest evidence faulty.
type Profile struct {
	Tier        task.Tier `cbor:"1,keyasint" json:"tier"`
	Measurement task.Hash `cbor:"2,keyasint" json:"measurement"`
	TCB         uint64    `cbor:"3,keyasint" json:"tcb,string"`
	Product     string    `cbor:"4,keyasint,omitempty" json:"product,omitempty"` // of the processor, for floors by it
}

// Enrol appraises the quote that comes with a registration: bound is the hash
// that it must be over, chain and now are the chain's own. It shows, too, that
// the node has the TEE that it names.
func Enrol(tee task.TEE, quote []byte, bound task.Hash, chain string, now int64, ref Reference) (Profile, error) {
	k := Kind(tee.Kind)
	switch _, known := k.Tier(); {
	case !known:
		return Profile{}, task.Refuse(UnknownKind, "evidence of kind %q", k)
	case k == Simulated && !ref.AllowSimulated:
		return Profile{}, task.Refuse(SimulatedRefused, "this chain's genesis does not allow simulated evidence")
	case !ref.accepts(k):
		return Profile{}, task.Refuse(KindRefused, "this chain's genesis does not accept %s evidence", k)
	}
	c, err := kinds[k].claims(quote, Expected{Context: Context{Chain: chain}, Chip: tee.Identity, Kind: tee.Kind, Now: now}, ref)
	switch {
	case err != nil:
		return Profile{}, err
	case c.Tier == task.TierSimulated && !ref.AllowSimulated:
		return Profile{}, task.Refuse(SimulatedRefused, "%s evidence of a TPM that is software; this chain's genesis does not allow simulated evidence", k)
	case c.Chip != tee.Identity:
		return Profile{}, task.Refuse(ForeignChip, "the quote is of chip %s, the registration of %s", c.Chip.Short(), tee.Identity.Short())
	case c.Debug:
		return Profile{}, task.Refuse(DebugEnclave, "the machine quotes in debug mode: its owner can read it")
	case !slices.Contains(ref.Measurements, c.Measurement):
		return Profile{}, task.Refuse(WrongMeasurement, "measurement %s is not a reference value of this chain", c.Measurement.Short())
	case c.ReportData != bound:
		return Profile{}, task.Refuse(NotBound, "the quote is not over this registration")
	}
	return Profile{Tier: c.Tier, Measurement: c.Measurement, TCB: c.TCB, Product: c.Product}, nil
}

// Accepted says whether evidence of such a machine can be good under reference
// values, nil if so. It knows what a profile shows: roots, activators, registers
// and revoked certificates only a quote can be held against ([Enrol]).
func (p Profile) Accepted(tee task.TEE, ref Reference) error {
	floor, reached := uint64(0), true
	switch k := Kind(tee.Kind); k {
	case Simulated:
		floor = ref.MinTCB
	case TPM:
		floor = ref.TPM.MinFirmware
	case TDX:
		floor = ref.TDX.MinEvaluation
	case SEVSNP:
		if !slices.Contains(ref.SNP.products(), p.Product) {
			return task.Refuse(WrongProduct, "a %s processor; the chain accepts %s", p.Product, strings.Join(ref.SNP.products(), ", "))
		}
		floor, reached = ref.SNP.reached(p.Product, p.TCB)
	}
	switch {
	case !ref.accepts(Kind(tee.Kind)):
		return task.Refuse(KindRefused, "the chain does not accept %s evidence", tee.Kind)
	case p.Tier == task.TierSimulated && !ref.AllowSimulated:
		return task.Refuse(SimulatedRefused, "the chain does not accept simulated evidence")
	case !reached:
		return task.Refuse(StaleTCB, "TCB %#016x below floor %#016x of %s", p.TCB, floor, p.Product)
	case Kind(tee.Kind) != SEVSNP && p.TCB < floor:
		return task.Refuse(StaleTCB, "TCB %d below floor %d", p.TCB, floor)
	case !slices.Contains(ref.Measurements, p.Measurement):
		return task.Refuse(WrongMeasurement, "program %s is not accepted", p.Measurement.Short())
	}
	return nil
}

// Meets says whether evidence of such a machine can be what a policy asks for.
func (p Profile) Meets(tee task.TEE, policy task.Policy, ref Reference) error {
	if err := p.Accepted(tee, ref); err != nil {
		return err
	}
	switch k, known := kinds[Kind(tee.Kind)]; {
	case !known || p.Tier < policy.MinTier:
		return task.Refuse("tier-low", "it has %s evidence, the task wants %s or better", p.Tier, policy.MinTier)
	case len(policy.Kinds) > 0 && !slices.Contains(policy.Kinds, tee.Kind):
		return task.Refuse("kind-unasked", "it has %s evidence, the task accepts %s", tee.Kind, strings.Join(policy.Kinds, ", "))
	case len(policy.Measurements) > 0 && !slices.Contains(policy.Measurements, p.Measurement):
		return task.Refuse("measurement-unasked", "it runs program %s, which the task does not accept", p.Measurement.Short())
	case !k.reaches(p.TCB, policy.MinTCB):
		return task.Refuse("tcb-low", "its TCB %#x is below %#x, the task's floor", p.TCB, policy.MinTCB)
	}
	return nil
}
