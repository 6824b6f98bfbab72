package task

import (
	"reflect"
	"testing"
)

// Both owners' rules hold: each number is the stricter, each list what both name.
func TestPoliciesTogether(t *testing.T) {
	a, b := Hash{1}, Hash{2}
	for _, row := range []struct {
		name       string
		alice, bob Policy
		both       Policy
		ok         bool
	}{
		{"nothing more", Policy{MinTier: 1}, Policy{MinTier: 1}, Policy{MinTier: 1}, true},
		{"the stricter tier and TCB", Policy{MinTier: 1, MinTCB: 9}, Policy{MinTier: 3, MinTCB: 4}, Policy{MinTier: 3, MinTCB: 9}, true},
		{"one names measurements", Policy{MinTier: 1}, Policy{MinTier: 1, Measurements: []Hash{a}}, Policy{MinTier: 1, Measurements: []Hash{a}}, true},
		{"both do", Policy{MinTier: 1, Measurements: []Hash{a, b}}, Policy{MinTier: 1, Measurements: []Hash{b}}, Policy{MinTier: 1, Measurements: []Hash{b}}, true},
		{"none in common", Policy{MinTier: 1, Measurements: []Hash{a}}, Policy{MinTier: 1, Measurements: []Hash{b}}, Policy{MinTier: 1, Measurements: []Hash{}}, false},
		{"kinds", Policy{MinTier: 1, Kinds: []string{"tdx", "tpm"}}, Policy{MinTier: 1, Kinds: []string{"sev-snp", "tdx"}}, Policy{MinTier: 1, Kinds: []string{"tdx"}}, true},
		{"no kind in common", Policy{MinTier: 1, Kinds: []string{"tpm"}}, Policy{MinTier: 1, Kinds: []string{"tdx"}}, Policy{MinTier: 1, Kinds: []string{}}, false},
		{"one limits a kind's share", Policy{MinTier: 1}, Policy{MinTier: 1, MaxKindPPM: 500_000}, Policy{MinTier: 1, MaxKindPPM: 500_000}, true},
		{"both do so", Policy{MinTier: 1, MaxKindPPM: 400_000}, Policy{MinTier: 1, MaxKindPPM: 500_000}, Policy{MinTier: 1, MaxKindPPM: 400_000}, true},
		{"one limits an operator's share", Policy{MinTier: 1, MaxOperatorPPM: 300_000}, Policy{MinTier: 1}, Policy{MinTier: 1, MaxOperatorPPM: 300_000}, true},
		{"both limit it", Policy{MinTier: 1, MaxOperatorPPM: 300_000}, Policy{MinTier: 1, MaxOperatorPPM: 200_000}, Policy{MinTier: 1, MaxOperatorPPM: 200_000}, true},
	} {
		both, ok := row.alice.And(row.bob)
		if ok != row.ok || !reflect.DeepEqual(both, row.both) {
			t.Errorf("%s: %+v, %v; want %+v", row.name, both, ok, row.both)
		}
		m := Manifest{Policy: &row.bob}
		if ok && !both.Meets(m) {
			t.Errorf("%s: both together do not meet Bob's", row.name)
		}
		if row.alice.Meets(m) != (ok && reflect.DeepEqual(both, row.alice)) {
			t.Errorf("%s: Alice's alone: %v", row.name, row.alice.Meets(m))
		}
	}
	if !(Policy{MinTier: 1}).Meets(Manifest{}) {
		t.Error("a function without a policy asks for something")
	}
}
