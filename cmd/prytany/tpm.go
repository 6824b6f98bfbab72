package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/tpm/swtpm"
	"github.com/spf13/cobra"
)

// protoActivate is where a devnet's activator has TPMs prove themselves.
const protoActivate = "/prytany/tpm-activate/1"

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
func (n *network) startTPMs(ctx context.Context, o networkOptions) error {
	t := &tpms{running: make([]*swtpm.TPM, len(n.workers))}
	seed, err := secretFile(filepath.Join(o.home, "broker", "activator.key"))
	if err != nil {
		return err
	}
	t.activator = ed25519.NewKeyFromSeed(seed[:])
	if t.ca, err = swtpm.OpenCA(filepath.Join(o.home, "tpm-ca")); err != nil {
		return err
	}
	n.tpms = t
	n.closers = append(n.closers, t.stop)
	errs := make([]error, len(n.workers))
	var wg sync.WaitGroup
	for i, w := range n.workers {
		wg.Go(func() {
			dir := filepath.Join(o.home, w.name, "tpm")
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
func (n *network) endorseAll(chain string, ref attest.Reference) error {
	for _, w := range n.workers {
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
func (w *worker) useTPM(path string, chain [][]byte, program task.Hash) error {
	d, err := tpm.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	q := &tpm.Quoter{Path: path}
	if q.Log, err = d.Measure(enclaveProgram, program); err != nil {
		return err
	}
	if q.Keys, err = d.Keys(chain); err != nil {
		return err
	}
	w.tpm = q
	w.node.TEE = task.TEE{Kind: string(attest.TPM), Identity: attest.EKIdentity(q.Keys.EK)}
	return nil
}

// introduce gets an activator's word for the worker's TPM.
func (w *worker) introduce(ask func([]byte) ([]byte, error)) error {
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

// nodeTPM sets a worker of its own up with this machine's TPM.
func (w *worker) nodeTPM(ctx context.Context, s *session, p *platform, ref attest.Reference, path, chainFile string) error {
	if !slices.Contains(ref.Kinds, attest.TPM) {
		return task.Refuse("kind-refused", "chain %s does not accept TPM evidence", s.Chain).WithMoney("nothing was bonded").
			WithNext("start the devnet with --tee tpm, or leave --tee out")
	}
	chain, err := pemFile(chainFile)
	if err != nil {
		return err
	}
	if err := w.useTPM(path, chain, p.program.Measurement); err != nil {
		return err
	}
	return w.introduce(func(raw []byte) ([]byte, error) { return w.host.Request(ctx, s.Broker.Addr, protoActivate, raw) })
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
