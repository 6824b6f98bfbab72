package main

import (
	"fmt"
	"strconv"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

// policyText is the least that an owner accepts of an enclave, as people write
// it: Bob in his manifest, Alice by flags.
type policyText struct {
	Tier             string   `json:"tier"`
	Kinds            []string `json:"kinds"`
	Measurements     []string `json:"measurements"`
	MinTCB           string   `json:"min_tcb"`
	MaxKindShare     string   `json:"max_kind_share"`
	MaxOperatorShare string   `json:"max_operator_share"`
}

func (t *policyText) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.Tier, "tier", task.TierSimulated.String(), "the least protection to accept: simulated, measured or hardware-confidential")
	f.StringSliceVar(&t.Kinds, "kind", nil, "accepted kinds of evidence, such as sev-snp,tdx (default: all of the tier)")
	f.StringSliceVar(&t.Measurements, "measurement", nil, "accepted measurements of the enclave, in hex (default: the chain's)")
	f.StringVar(&t.MinTCB, "min-tcb", "", "the least TCB of the enclave's platform, on top of the chain's")
	f.StringVar(&t.MaxKindShare, "max-kind-share", "", "the most of a verdict's quorum that verifiers with one kind of TEE can make up, such as 0.67 (default: no limit)")
	f.StringVar(&t.MaxOperatorShare, "max-operator-share", "", "the same for verifiers of one operator, of whom the executor's own then count for nothing (default: no limit)")
}

// read turns it into a policy; the error begins with the field's name.
func (t policyText) read() (p task.Policy, err error) {
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
	if p.MaxKindPPM, err = parseShare("max-kind-share", t.MaxKindShare); err != nil {
		return p, err
	}
	p.MaxOperatorPPM, err = parseShare("max-operator-share", t.MaxOperatorShare)
	return p, err
}

// parseShare reads a part of a whole, which has six decimals as parts per million
// have. Nothing is 0.
func parseShare(name, text string) (ppm uint64, err error) {
	if text == "" {
		return 0, nil
	}
	share, err := task.ParseAmount(text)
	if err != nil || share == 0 || share > task.PRY {
		return 0, fmt.Errorf("%s: %q is no share such as 0.67", name, text)
	}
	return uint64(share), nil
}
