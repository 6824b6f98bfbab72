package main

import (
	"encoding/pem"
	"os"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

// ociFlag lets a person choose what runs containers.
func ociFlag(c *cobra.Command, to *[]string) {
	c.Flags().StringSliceVar(to, "oci", nil, "OCI runtimes for containers, names or paths, the first that works (default: runsc, crun, runc)")
}

// dockerSocket is the engine's that DOCKER_HOST names, if it is on this machine:
// an enclave has no environment to look in.
func dockerSocket() string {
	path, local := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if !local {
		return ""
	}
	return path
}

const softwareTPMs = "the TPMs are SOFTWARE (swtpm): their evidence has tier simulated and protects nothing from this machine's owner"

// teeFlag adds --tee, and returns its check.
func teeFlag(c *cobra.Command, kind *string, tpms string) func() error {
	c.Flags().StringVar(kind, "tee", string(attest.Simulated), "where evidence comes from: simulated, or tpm ("+tpms+")")
	return func() error {
		if *kind != string(attest.Simulated) && *kind != string(attest.TPM) {
			return usage("--tee is %q, want simulated or tpm", *kind)
		}
		return nil
	}
}

// pemFile reads certificates as DER; without a file there are none.
func pemFile(path string) (ders [][]byte, err error) {
	if path == "" {
		return nil, nil
	}
	rest, err := disk.ReadFile(path, disk.MaxSetting)
	if err != nil {
		return nil, task.Refuse("tpm-chain-unreadable", "%v", err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return ders, nil
		}
		ders = append(ders, block.Bytes)
	}
}
