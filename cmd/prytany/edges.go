package main

import (
	"context"
	"crypto/ed25519"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/spf13/cobra"
)

// chainEdge is a chain client as workers and owners want it.
type chainEdge struct {
	*chain.Client
	trust chain.Trust
}

// Watch calls each for every block from a height on, or with 0 from now on, in
// order, until ctx ends.
func (e chainEdge) Watch(ctx context.Context, from uint64, each func(uint64, []ledger.Event)) error {
	for b := range e.Client.Watch(ctx, from) {
		each(b.Height, b.Events)
	}
	return ctx.Err()
}

// VerifiedCase believes nothing but a proof against the pinned validators.
func (e chainEdge) VerifiedCase(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	c, _, err := e.Client.VerifiedCase(ctx, e.trust, id)
	return c, err
}

// Submit waits for the block and returns the transaction's nonce.
func (e chainEdge) Submit(ctx context.Context, key ed25519.PrivateKey, body task.Body) (uint64, error) {
	r, err := e.Client.Submit(ctx, key, body)
	return r.Nonce, err
}

var (
	_ node.Chain  = chainEdge{}
	_ owner.Chain = chainEdge{}
)

// platform starts the enclaves of this process: it measures this same program
// once and starts it as the enclave of each task. One enclave stands by,
// started and without any key, since starting takes longer than an agreement.
type platform struct {
	program     string
	measurement task.Hash
	oci         []string // runtimes for containers, the best first
	ctx         context.Context
	stop        context.CancelFunc

	mu    sync.Mutex
	spare *tee.Enclave
	wg    sync.WaitGroup
}

func openPlatform(oci []string) (*platform, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &platform{program: self, oci: oci}
	if p.measurement, err = tee.Measure(self); err != nil {
		return nil, err
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.prepare)
	return p, nil
}

// prepare starts the next enclave ahead of its task.
func (p *platform) prepare() {
	e, err := tee.Start(p.ctx, p.program, enclaveCommand)
	if err != nil {
		return // the task that needs it will say why
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spare != nil && p.spare.Alive() || p.ctx.Err() != nil {
		e.Close()
		return
	}
	p.spare = e
}

func (p *platform) take() *tee.Enclave {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.spare
	p.spare = nil
	if e != nil && !e.Alive() {
		e.Close()
		return nil
	}
	return e
}

// enclaves gives a worker its enclaves, which quote by its own platform. What
// they compile they keep in a directory of its.
func (p *platform) enclaves(by tee.Platform, compiled string) func(context.Context) (node.Enclave, error) {
	return func(context.Context) (node.Enclave, error) {
		e := p.take()
		if e == nil {
			var err error
			if e, err = tee.Start(p.ctx, p.program, enclaveCommand); err != nil {
				return nil, err
			}
		}
		p.wg.Go(p.prepare)
		return enclaveEdge{e, by, tee.Host{OCI: p.oci, Docker: dockerSocket(), Cache: cache(by, compiled)}}, nil
	}
}

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

// runtimes are those that this machine has.
func (p *platform) runtimes(ctx context.Context) []string {
	list := []string{task.RuntimeWasm, task.RuntimePython}
	if k, err := container.New(ctx, container.Config{Runtimes: p.oci}); err == nil {
		list = append(list, task.RuntimeOCI)
		_ = k.Close()
	}
	if d, err := container.NewDocker(ctx, container.Config{Socket: dockerSocket()}); err == nil {
		list = append(list, task.RuntimeDocker)
		_ = d.Close()
	}
	return list
}

// known says whether the chain takes this program for an enclave: a worker of
// another build would only lose its bond.
func (p *platform) known(params ledger.Params) error {
	if slices.Contains(params.Reference.Measurements, p.measurement) {
		return nil
	}
	return task.Refuse("measurement-unknown", "chain %s does not know this build of prytany (%s) as an enclave", params.Chain, p.measurement.Short()).
		WithMoney("nothing was bonded").WithNext("run the same binary as the network's, or start the devnet anew without --dir")
}

func (p *platform) close() error {
	p.stop()
	p.wg.Wait()
	if e := p.take(); e != nil {
		e.Close()
	}
	return nil
}

// enclaveEdge is an enclave process on a worker's platform.
type enclaveEdge struct {
	*tee.Enclave
	by   tee.Platform
	host tee.Host
}

func (e enclaveEdge) Begin(t task.Task, f task.Function, c attest.Context, nonces []task.Hash) ([]byte, error) {
	return e.Enclave.Begin(tee.Begin{Task: t, Function: f, Context: c, Nonces: nonces, Platform: e.by, Host: e.host})
}

// cache is where a platform's enclaves keep what they compile. Only the
// simulated one has a sealing key here; without one nothing is kept.
func cache(by tee.Platform, dir string) tee.Cache {
	s := by.Simulated
	if s == nil || dir == "" || os.MkdirAll(dir, 0o700) != nil {
		return tee.Cache{}
	}
	return tee.Cache{Dir: dir, Key: task.H(task.TagCompiled, s.ChipSeed[:], s.Measurement[:])}
}
