package host

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/faucet"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// WorkerConfig says what a worker is that joins a network of other processes.
type WorkerConfig struct {
	// Home is the directory of its keys, files and journal. Needed.
	Home string
	// Listen is the multiaddr to listen on. Empty: that of the last time, or a free TCP
	// port on loopback.
	Listen string
	// Space is what others' encrypted files may take of the disk, in bytes. Needed.
	Space uint64
	// Chain is a client of the network's chain, which the worker does not close. Needed.
	Chain chain.Pinned
	// Bootstrap are addresses to join the network at.
	Bootstrap []string
	// Bond is what is bonded on first use.
	Bond task.Amount
	// Faucet is where a worker asks for money that has none. Empty: nowhere.
	Faucet string
	// Enclaves says by what it starts enclaves.
	Enclaves Enclaves
	// TEE is the kind of its evidence, attest.Simulated or attest.TPM. Empty: simulated.
	TEE attest.Kind
	// TPM is the TPM's device or socket, with TEE attest.TPM.
	TPM string
	// TPMChain are the certificates between the TPM's and its maker's root, as DER.
	TPMChain [][]byte
	// Activator is where the TPM proves itself.
	Activator string
	// Log is the worker's. Needed.
	Log *slog.Logger
}

// Join opens a worker on a network, funds and registers it where it must, and connects
// it. It works once it is run.
func Join(ctx context.Context, c WorkerConfig) (w *Worker, err error) {
	p, err := openPlatform(ctx, c.Enclaves)
	if err != nil {
		return nil, err
	}
	owned := []func() error{p.close}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(owned))
		}
	}()
	params, err := c.Chain.Params(ctx)
	if err != nil {
		return nil, err
	}
	ref, err := c.Chain.Reference(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.known(params.Chain, ref); err != nil {
		return nil, err
	}
	if err := p.choose(ctx, func(h task.Hash) bool { return slices.Contains(ref.Runtimes, h) }); err != nil {
		return nil, err
	}
	if w, err = openWorker(ctx, c.Home, c.Listen, c.Space, p.runtimes(ctx, c.TEE), nil, c.Log); err != nil {
		return nil, err
	}
	owned = append(owned, w.close)
	w.owned, w.notice = owned, p.config.Notice
	for _, addr := range c.Bootstrap {
		if err := w.Peer.Host.Connect(ctx, addr); err != nil {
			return nil, err
		}
	}
	if c.TEE == attest.TPM {
		if err := w.ownTPM(ctx, c, params.Chain, p.program.Measurement, ref); err != nil {
			return nil, err
		}
	}
	gift, err := faucet.Ask(ctx, w.Peer.Host, c.Faucet, c.Chain, w.Node.Operator)
	if err != nil {
		return nil, err
	}
	if gift > 0 {
		w.notice(Funded{w.Node.Operator, gift})
	}
	if err := w.register(ctx, c, params.Chain, p.program.Measurement, ref); err != nil {
		return nil, err
	}
	w.attach(chain.Distrustful{Pinned: c.Chain}, p, params, committee.Embedded, nil)
	return w, nil
}

// register enters the worker, or what is new about it.
func (w *Worker) register(ctx context.Context, c WorkerConfig, chain string, measurement task.Hash, ref attest.Reference) error {
	id, bond := w.Node.ID(), c.Bond
	late, err := c.Chain.Beacon(ctx)
	if err != nil {
		return err
	}
	r, profile, err := w.enrol(measurement, chain, ref, late)
	if err != nil {
		return err
	}
	rec, err := c.Chain.Node(ctx, id)
	switch {
	case err == nil && rec.Profile == profile && !rec.Lapsed && rec.Node.Addr == w.Node.Addr && slices.Equal(rec.Node.Runtimes, w.Node.Runtimes):
		return nil
	case err == nil && rec.Lapsed && rec.Bond == 0: // it was off for so long that the bond was sent back
	case err == nil:
		bond = 0
	case !errors.Is(err, task.Refuse("no-node", "")) && task.CodeOf(err) == "":
		return err
	}
	r.Bond = bond
	if _, err := c.Chain.Submit(ctx, w.keys.operator, task.Body{Register: &r}); err != nil {
		return err
	}
	if rec, err = c.Chain.Node(ctx, id); err != nil {
		return err
	}
	w.notice(Registered{rec})
	return nil
}

// Close ends a worker that has joined, and all that it has opened.
func (w *Worker) Close() error { return closeAll(w.owned) }

// closeAll ends what was opened, the last first.
func closeAll(opened []func() error) error {
	var errs []error
	for _, end := range slices.Backward(opened) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// Cancel ends the work of a devnet's worker, at once and for good: its machine is gone.
func (w *Worker) Cancel() { w.cancel() }

// Output is the worker's draw for a task that has this seed.
func (w *Worker) Output(seed task.Hash) vrf.Output {
	return w.keys.vrf.Output(sortition.Alpha(seed, task.Hash(w.Node.ID())))
}

// SignVote signs a vote as the worker, whatever it says.
func (w *Worker) SignVote(v task.Vote) task.SignedVote {
	return task.SignedVote{Vote: v, Signature: task.Sign(w.keys.peer, v.Hash())}
}

// Submit submits a transaction of the worker's operator.
func (w *Worker) Submit(ctx context.Context, c chain.Pinned, body task.Body) error {
	_, err := c.Submit(ctx, w.keys.operator, body)
	return err
}
