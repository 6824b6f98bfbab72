package function

import (
	"fmt"
	"strconv"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// Policy is the least that an owner accepts of an enclave, as people write
// it: Bob in his manifest, Alice by flags.
type Policy struct {
	Tier             string   `json:"tier"`
	Kinds            []string `json:"kinds"`
	Measurements     []string `json:"measurements"`
	MinTCB           string   `json:"min_tcb"`
	MaxKindShare     string   `json:"max_kind_share"`
	MaxOperatorShare string   `json:"max_operator_share"`
}

// Read turns it into a policy; the error begins with the field's name.
func (t Policy) Read() (p task.Policy, err error) {
	for _, tier := range []task.Tier{task.TierSimulated, task.TierMeasured, task.TierConfidential} {
		if tier.String() == t.Tier || t.Tier == "" && p.MinTier == 0 {
			p.MinTier = tier
		}
	}
	if p.MinTier == 0 {
		return p, fmt.Errorf("tier: %q is none of simulated, measured, hardware-confidential", t.Tier)
	}
	for _, k := range t.Kinds {
		if _, known := attest.Kind(k).Tier(); !known {
			return p, fmt.Errorf("kind: %q is no kind of evidence", k)
		}
	}
	p.Kinds = t.Kinds
	for _, text := range t.Measurements {
		var m task.Hash
		if err := m.UnmarshalText([]byte(text)); err != nil {
			return p, fmt.Errorf("measurement: %q: %w", text, err)
		}
		p.Measurements = append(p.Measurements, m)
	}
	if t.MinTCB != "" {
		if p.MinTCB, err = strconv.ParseUint(t.MinTCB, 0, 64); err != nil {
			return p, fmt.Errorf("min-tcb: %q is no whole number", t.MinTCB)
		}
	}
	if p.MaxKindPPM, err = ParseShare("max-kind-share", t.MaxKindShare); err != nil {
		return p, err
	}
	p.MaxOperatorPPM, err = ParseShare("max-operator-share", t.MaxOperatorShare)
	return p, err
}

// ParseShare reads a part of a whole, which has six decimals as parts per million
// have. Nothing is 0.
func ParseShare(name, text string) (ppm uint64, err error) {
	if text == "" {
		return 0, nil
	}
	share, err := task.ParseAmount(text)
	if err != nil || share == 0 || share > task.PRY {
		return 0, fmt.Errorf("%s: %q is no share such as 0.67", name, text)
	}
	return uint64(share), nil
}
