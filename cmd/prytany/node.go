package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/function"
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
	defer s.close()
	p, err := openPlatform(ctx, o.oci, a.say)
	if err != nil {
		return err
	}
	defer p.close()
	params, err := s.chain.Params(ctx)
	if err != nil {
		return err
	}
	ref, err := s.chain.Reference(ctx)
	if err != nil {
		return err
	}
	if err := p.known(s.Chain, ref); err != nil {
		return err
	}
	if err := p.choose(ctx, func(h task.Hash) bool { return slices.Contains(ref.Runtimes, h) }); err != nil {
		return err
	}
	w, err := openWorker(ctx, o.dir, o.listen, space, p.runtimes(ctx, o.tee.kind), nil, a.logger())
	if err != nil {
		return err
	}
	defer w.close()
	for _, addr := range s.Bootstrap {
		if err := w.host.Connect(ctx, addr); err != nil {
			return err
		}
	}
	if o.tee.kind == string(attest.TPM) {
		if err := w.nodeTPM(ctx, s, p, ref, o.tee.device(), o.tee.chain); err != nil {
			return err
		}
	}
	if err := a.fund(ctx, s, &service{host: w.host, blobs: w.blobs}, w.node.Operator); err != nil {
		return err
	}
	if err := a.register(ctx, s, w, p.program.Measurement, ref, amount); err != nil {
		return err
	}
	w.renewed = func(due uint64, lapsed bool) {
		if lapsed {
			a.say("the machine is shown to the chain again, too late: the worker draws again after a whole epoch")
			return
		}
		a.say("the machine is shown to the chain again; that was due by block %d", due)
	}
	w.attach(provenChain{s.chain}, p, params, committee.Embedded, nil)
	a.say("worker %s at %s follows chain %s and runs %s functions", w.ID().Short(), w.host.Addr(), s.Chain, strings.Join(w.node.Runtimes, ", "))
	if err := a.print(nodeUp{w.ID()}, fmt.Sprintln(w.ID())); err != nil {
		return err
	}
	return w.Run(ctx)
}

// register enters the worker, or what is new about it.
func (a *app) register(ctx context.Context, s *session, w *worker, measurement task.Hash, ref attest.Reference, bond task.Amount) error {
	id := w.node.ID()
	late, err := s.chain.Beacon(ctx)
	if err != nil {
		return err
	}
	r, profile, err := w.enrol(measurement, s.Chain, ref, late)
	if err != nil {
		return err
	}
	rec, err := s.chain.Node(ctx, id)
	switch {
	case err == nil && rec.Profile == profile && !rec.Lapsed && rec.Node.Addr == w.node.Addr && slices.Equal(rec.Node.Runtimes, w.node.Runtimes):
		return nil
	case err == nil && rec.Lapsed && rec.Bond == 0: // it was off for so long that the bond was sent back
	case err == nil:
		bond = 0
	case !errors.Is(err, task.Refuse("no-node", "")) && task.CodeOf(err) == "":
		return err
	}
	r.Bond = bond
	if _, err := s.chain.Submit(ctx, w.keys.operator, task.Body{Register: &r}); err != nil {
		return err
	}
	if rec, err = s.chain.Node(ctx, id); err != nil {
		return err
	}
	a.say("registered with a bond of %s; it counts from epoch %d on", rec.Bond, lastEpoch(rec))
	return nil
}

func lastEpoch(n ledger.NodeRecord) uint64 {
	if len(n.Stakes) == 0 {
		return 0
	}
	return n.Stakes[len(n.Stakes)-1].Epoch
}
