package main

import (
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

// policyFlags are the flags of a policy, which Alice asks for.
func policyFlags(c *cobra.Command, t *function.Policy) {
	f := c.Flags()
	f.StringVar(&t.Tier, "tier", task.TierSimulated.String(), "the least protection to accept: simulated, measured or hardware-confidential")
	f.StringSliceVar(&t.Kinds, "kind", nil, "accepted kinds of evidence, such as sev-snp,tdx (default: all of the tier)")
	f.StringSliceVar(&t.Measurements, "measurement", nil, "accepted measurements of the enclave, in hex (default: the chain's)")
	f.StringVar(&t.MinTCB, "min-tcb", "", "the least TCB of the enclave's platform, on top of the chain's")
	f.StringVar(&t.MaxKindShare, "max-kind-share", "", "the most of a verdict's quorum that verifiers with one kind of TEE can make up, such as 0.67 (default: no limit)")
	f.StringVar(&t.MaxOperatorShare, "max-operator-share", "", "the same for verifiers of one operator, of whom the executor's own then count for nothing (default: no limit)")
}
