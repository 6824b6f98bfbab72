package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/tpm/swtpm"
)

// protoActivate is where a devnet's activator has TPMs prove themselves.
const protoActivate = "/prytany/tpm-activate/1"

// tpms are the software TPMs of a network in one process, a machine's for each
// worker, and what its genesis says of them.
type tpms struct {
	ca        *swtpm.CA
	activator ed25519.PrivateKey
	root      []byte
	running   []*swtpm.TPM
}

// startTPMs gives each worker a TPM in its home, with the program measured in
// it. Their keys are not endorsed yet: the activator signs for one chain.
func (n *Devnet) startTPMs(ctx context.Context, o Config) error {
	t := &tpms{running: make([]*swtpm.TPM, len(n.Workers))}
	seed, err := secretFile(filepath.Join(o.Home, "broker", "activator.key"))
	if err != nil {
		return err
	}
	t.activator = ed25519.NewKeyFromSeed(seed[:])
	if t.ca, err = swtpm.OpenCA(filepath.Join(o.Home, "tpm-ca")); err != nil {
		return err
	}
	n.tpms = t
	n.closers = append(n.closers, t.stop)
	errs := make([]error, len(n.Workers))
	var wg sync.WaitGroup
	for i, w := range n.Workers {
		wg.Go(func() {
			dir := filepath.Join(o.Home, w.Name, "tpm")
			if errs[i] = t.ca.Setup(ctx, dir); errs[i] != nil {
				return
			}
			if t.running[i], errs[i] = swtpm.Start(dir); errs[i] == nil {
				errs[i] = w.useTPM(t.running[i].Socket, nil, n.platform.program.Measurement)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.root, err = t.ca.Root()
	return err
}

func (t *tpms) stop() (err error) {
	for _, r := range t.running {
		if r != nil {
			err = errors.Join(err, r.Stop())
		}
	}
	return err
}

// allow has a genesis take these TPMs.
func (t *tpms) allow(r *attest.Reference) {
	r.Kinds = append(r.Kinds, attest.TPM)
	r.TPM = attest.TPMReference{Roots: [][]byte{t.root}, Activators: []task.Key{task.PublicKey(t.activator)}, Threshold: 1}
}

// activation answers workers who have their TPMs prove themselves.
func (t *tpms) activation(chain string, ref attest.Reference) func(raw []byte) ([]byte, error) {
	a := tpm.Activator{Key: t.activator, Chain: chain, Reference: ref}
	return func(raw []byte) ([]byte, error) { return task.Encode(a.Answer(raw, time.Now().Unix())), nil }
}

// endorseAll has every worker's TPM prove itself to a chain, once.
func (n *Devnet) endorseAll(chain string, ref attest.Reference) error {
	for _, w := range n.Workers {
		if w.tpm == nil || len(w.tpm.Endorsements) > 0 {
			continue
		}
		if err := w.introduce(n.tpms.activation(chain, ref)); err != nil {
			return err
		}
	}
	return nil
}

// useTPM makes a TPM the worker's platform: the program is measured in it, and
// it is what the worker registers.
func (w *Worker) useTPM(path string, chain [][]byte, program task.Hash) error {
	d, err := tpm.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	q := &tpm.Quoter{Path: path}
	if q.Log, err = d.Measure(EnclaveProgram, program); err != nil {
		return err
	}
	if q.Keys, err = d.Keys(chain); err != nil {
		return err
	}
	w.tpm = q
	w.Node.TEE = task.TEE{Kind: string(attest.TPM), Identity: attest.EKIdentity(q.Keys.EK)}
	return nil
}

// introduce gets an activator's word for the worker's TPM.
func (w *Worker) introduce(ask func([]byte) ([]byte, error)) error {
	d, err := tpm.Open(w.tpm.Path)
	if err != nil {
		return err
	}
	defer d.Close()
	e, err := d.Introduce(w.tpm.Keys, ask)
	if err == nil {
		w.tpm.Endorsements = append(w.tpm.Endorsements, e)
	}
	return err
}

// ownTPM sets a worker of its own up with this machine's TPM, which an activator of the
// chain has prove itself.
func (w *Worker) ownTPM(ctx context.Context, c WorkerConfig, chain string, program task.Hash, ref attest.Reference) error {
	if !slices.Contains(ref.Kinds, attest.TPM) {
		return task.Refuse("kind-refused", "chain %s does not accept TPM evidence", chain).WithMoney("nothing was bonded").
			WithNext("start the devnet with --tee tpm, or leave --tee out")
	}
	if err := w.useTPM(c.TPM, c.TPMChain, program); err != nil {
		return err
	}
	return w.introduce(func(raw []byte) ([]byte, error) { return w.Peer.Host.Request(ctx, c.Activator, protoActivate, raw) })
}
