package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/spf13/cobra"
)

func (a *app) nodeCommand() *cobra.Command {
	var o nodeOptions
	c := &cobra.Command{
		Use:   "node",
		Short: "Run a worker on a network, until Ctrl-C",
		Long: "Registers this worker and bonds stake on first use. Its stake counts in the draw after a whole\n" +
			"epoch. Its TEE is SIMULATED, or this machine's TPM with --tee tpm.",
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error { return a.node(c.Context(), o) },
	}
	checkTEE := teeFlag(c, &o.tee.kind, "this machine's, by --tpm")
	c.PreRunE = func(*cobra.Command, []string) error { return checkTEE() }
	c.Flags().StringVar(&o.tee.path, "tpm", tpm.DefaultPath, "the TPM's device")
	c.Flags().StringVar(&o.tee.socket, "tpm-socket", "", "swtpm's socket, in place of a device")
	c.Flags().StringVar(&o.tee.chain, "tpm-chain", "", "PEM file of the certificates between the TPM's and its maker's root")
	c.AddCommand(a.nodeShowCommand())
	c.Flags().StringVar(&o.dir, "dir", "", "the worker's home (default: worker in the user's directory)")
	c.Flags().StringVar(&o.listen, "listen", "", "multiaddr to listen on (default: a free TCP port on loopback)")
	ociFlag(c, &o.oci)
	c.Flags().StringVar(&o.bond, "bond", "200", "PRY to bond on first use")
	c.Flags().StringVar(&o.space, "blob-space", "10GiB", "what others' encrypted files may take of the disk: the oldest make room for new ones")
	return c
}

type nodeOptions struct {
	dir, listen, bond, space string
	oci                      []string
	tee                      nodeTEE
}

// nodeTEE says what a worker's enclaves quote by.
type nodeTEE struct{ kind, path, socket, chain string }

func (t nodeTEE) device() string {
	if t.socket != "" {
		return t.socket
	}
	return t.path
}

// leastSpace is room for the files of the tasks that a worker has in hand.
const leastSpace = 8 * task.MaxBlob

func (a *app) node(ctx context.Context, o nodeOptions) error {
	amount, err := task.ParseAmount(o.bond)
	if err != nil {
		return usage("--bond: %v", err)
	}
	space, err := function.ParseQuantity(o.space)
	if err == nil && space < leastSpace {
		err = fmt.Errorf("%s is under the least, %d GiB", o.space, leastSpace>>30)
	}
	if err != nil {
		return usage("--blob-space: %v", err)
	}
	if o.dir == "" {
		home, err := a.userHome()
		if err != nil {
			return err
		}
		o.dir = filepath.Join(home, "worker")
	}
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	certificates, err := pemFile(o.tee.chain)
	if err != nil {
		return err
	}
	w, err := host.Join(ctx, host.WorkerConfig{
		Home: o.dir, Listen: o.listen, Space: space, Chain: s.Node, Bootstrap: s.Bootstrap, Bond: amount, Faucet: s.Faucet, Enclaves: a.enclaves(o.oci),
		TEE: attest.Kind(o.tee.kind), TPM: o.tee.device(), TPMChain: certificates, Activator: s.Broker.Addr, Log: a.logger(),
	})
	if err != nil {
		return err
	}
	defer w.Close()
	a.say("worker %s at %s follows chain %s and runs %s functions", w.ID().Short(), w.Peer.Host.Addr(), s.Chain, strings.Join(w.Node.Runtimes, ", "))
	if err := a.print(nodeUp{w.ID()}, fmt.Sprintln(w.ID())); err != nil {
		return err
	}
	return w.Run(ctx)
}

func lastEpoch(n ledger.NodeRecord) uint64 {
	if len(n.Stakes) == 0 {
		return 0
	}
	return n.Stakes[len(n.Stakes)-1].Epoch
}
