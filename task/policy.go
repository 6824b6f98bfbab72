package task

import (
	"fmt"
	"slices"
	"strings"
)

// Policy is the least that an owner accepts of an enclave (spec §7.1). No
// measurements means those of the chain's genesis, no kinds all that the chain
// accepts. The TCB floor is in the kind's own measure (spec §7.4): who sets one
// names the kind as well.
type Policy struct {
	MinTier      Tier     `cbor:"1,keyasint" json:"min_tier"`
	Measurements []Hash   `cbor:"2,keyasint" json:"measurements"`
	MinTCB       uint64   `cbor:"3,keyasint" json:"min_tcb,string"`
	Kinds        []string `cbor:"4,keyasint" json:"kinds"` // accepted kinds of evidence
	// MaxKindPPM is the most of a quorum, in parts per million, that verifiers
	// with one kind of TEE can make up: a broken kind then finds nothing good
	// alone (spec §7.5). 0 sets no limit.
	MaxKindPPM uint64 `cbor:"5,keyasint" json:"max_kind_ppm,string"`
	// Accept names weaknesses of a function that Alice knows of and takes
	// ([Weaknesses]). Only a task's policy has any.
	Accept []string `cbor:"6,keyasint" json:"accept"`
	// MaxOperatorPPM is the most of a quorum, in parts per million, that verifiers
	// of one operator can make up; those of the executor's own then make up none
	// of it (spec §7.5). 0 sets no limit.
	MaxOperatorPPM uint64 `cbor:"7,keyasint" json:"max_operator_ppm,string"`
}

// What a function may have that protects Alice less than the rest of the
// specification says. Her policy names it, or her task is refused.
const (
	WeakDocker = "docker"         // an engine of the host's runs it: simulated tier only (spec §9.6.8)
	WeakExact  = "exact-metering" // its gas and its time can carry what it read (spec §9.8)
)

// Weaknesses are all that a policy can accept.
var Weaknesses = []string{WeakDocker, WeakExact}

// Weaknesses are those of a function.
func (m Manifest) Weaknesses() (list []string) {
	if m.Runtime == RuntimeDocker {
		list = append(list, WeakDocker)
	}
	if m.Exact {
		list = append(list, WeakExact)
	}
	return list
}

// Accepts says whether a task's policy takes all weaknesses of a function; if
// not, which it lacks.
func (p Policy) Accepts(m Manifest) (lacks string, ok bool) {
	for _, w := range m.Weaknesses() {
		if !slices.Contains(p.Accept, w) {
			return w, false
		}
	}
	return "", true
}

func (p Policy) check() error {
	switch {
	case p.MinTier < TierSimulated || p.MinTier > TierConfidential || len(p.Measurements) > 64 || len(p.Kinds) > 16:
		return fmt.Errorf("policy: unknown tier, or too many measurements or kinds")
	case p.MaxKindPPM > 1_000_000 || p.MaxOperatorPPM > 1_000_000:
		return fmt.Errorf("policy: one kind of TEE, or one operator, may have more than a million parts of a quorum")
	}
	for i, w := range p.Accept {
		if !slices.Contains(Weaknesses, w) || slices.Contains(p.Accept[:i], w) {
			return fmt.Errorf("policy: accepts %.40q, which is none of %s, or twice", w, strings.Join(Weaknesses, ", "))
		}
	}
	for _, k := range p.Kinds {
		if k == "" || len(k) > 32 || !printable(k) {
			return fmt.Errorf("policy: a kind of evidence has 1 to 32 printable bytes")
		}
	}
	return nil
}

// And is the policy that holds to both, and whether anything can: not if they
// name measurements or kinds that have none in common.
func (p Policy) And(o Policy) (both Policy, ok bool) {
	both = Policy{
		MinTier: max(p.MinTier, o.MinTier), MinTCB: max(p.MinTCB, o.MinTCB), Accept: p.Accept,
		MaxKindPPM: lower(p.MaxKindPPM, o.MaxKindPPM), MaxOperatorPPM: lower(p.MaxOperatorPPM, o.MaxOperatorPPM),
	}
	var met, kind bool
	both.Measurements, met = common(p.Measurements, o.Measurements)
	both.Kinds, kind = common(p.Kinds, o.Kinds)
	return both, met && kind
}

// lower is the lower of two limits, where 0 is none.
func lower(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// common is what two lists have in common, where an empty one names everything.
func common[T comparable](a, b []T) ([]T, bool) {
	switch {
	case len(a) == 0:
		return b, true
	case len(b) == 0:
		return a, true
	}
	both := slices.DeleteFunc(slices.Clone(a), func(x T) bool { return !slices.Contains(b, x) })
	return both, len(both) > 0
}

// Meets says whether a task's policy is at least as strict as a function's.
func (p Policy) Meets(m Manifest) bool {
	if m.Policy == nil {
		return true
	}
	both, ok := p.And(*m.Policy)
	return ok && both.MinTier == p.MinTier && both.MinTCB == p.MinTCB && both.MaxKindPPM == p.MaxKindPPM && both.MaxOperatorPPM == p.MaxOperatorPPM &&
		slices.Equal(both.Measurements, p.Measurements) && slices.Equal(both.Kinds, p.Kinds)
}
