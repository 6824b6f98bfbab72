package main

import (
	"context"
	"crypto/ed25519"
	"errors"
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
	"github.com/prytany/prytany/sandbox/docker"
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

// platform starts the enclaves of this process, one for each task. One of them
// stands by, started and without any key, since starting takes longer than an
// agreement.
type platform struct {
	program *tee.Program // of all functions but docker's
	docker  *tee.Program // of docker functions; nil: they are not run here
	oci     []string     // runtimes for containers, the best first
	ctx     context.Context
	stop    context.CancelFunc

	mu    sync.Mutex
	spare *tee.Enclave
	wg    sync.WaitGroup
}

// openPlatform finds the enclave programs.
func openPlatform(ctx context.Context, oci []string, say func(string, ...any)) (p *platform, err error) {
	p = &platform{oci: oci}
	if p.program, err = findProgram(ctx, enclaveProgram, say); err != nil {
		return nil, err
	}
	// Whoever wants no Docker engine near may leave its program away.
	if p.docker, err = findProgram(ctx, dockerProgram, say); err != nil && task.CodeOf(err) != enclaveMissing {
		return nil, errors.Join(err, p.program.Close())
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.prepare)
	return p, nil
}

// prepare starts the next enclave ahead of its task.
func (p *platform) prepare() {
	e, err := p.program.Start(p.ctx)
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

// start starts an enclave of a program, or takes the one that stands by.
func (p *platform) start(program *tee.Program) (*tee.Enclave, error) {
	if program != p.program {
		return program.Start(p.ctx)
	}
	defer p.wg.Go(p.prepare)
	if e := p.take(); e != nil {
		return e, nil
	}
	return program.Start(p.ctx)
}

// enclaves gives a worker its enclaves, which quote by its own platform. What
// they compile they keep in a directory of its.
func (p *platform) enclaves(by func(program task.Hash) tee.Platform, compiled string) func(context.Context, task.Function) (node.Enclave, error) {
	return func(_ context.Context, f task.Function) (node.Enclave, error) {
		program := p.program
		if f.Manifest.Runtime == task.RuntimeDocker {
			program = p.docker
		}
		if program == nil {
			return nil, errors.New("this worker runs no docker functions")
		}
		e, err := p.start(program)
		if err != nil {
			return nil, err
		}
		b := by(program.Measurement)
		return enclaveEdge{e, b, tee.Host{OCI: p.oci, Docker: dockerSocket(), Cache: cache(b, compiled)}}, nil
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

// runtimes are those that this machine has for workers with a kind of TEE.
func (p *platform) runtimes(ctx context.Context, kind string) []string {
	list := []string{task.RuntimeWasm, task.RuntimePython}
	if k, err := container.New(ctx, container.Config{Runtimes: p.oci}); err == nil {
		list = append(list, task.RuntimeOCI)
		_ = k.Close()
	}
	if p.docker != nil && kind != string(attest.TPM) && docker.Probe(ctx, docker.Config{Socket: dockerSocket(), Init: p.docker.Path()}).Available {
		list = append(list, task.RuntimeDocker)
	}
	return list
}

// known says whether the chain takes these programs for enclaves: a worker with
// others would only lose its bond. One for docker functions that it does not
// know is not used.
func (p *platform) known(params ledger.Params) error {
	if p.docker != nil && p.docker.Measurement != params.Reference.Docker {
		_ = p.docker.Close()
		p.docker = nil
	}
	if m := p.program.Measurement; !slices.Contains(params.Reference.Measurements, m) {
		return task.Refuse("measurement-unknown", "chain %s does not know this enclave program (%s)", params.Chain, m.Short()).
			WithMoney("nothing was bonded").WithNext("run the same release as the network's, or start the devnet anew without --dir")
	}
	return nil
}

func (p *platform) close() error {
	p.stop()
	p.wg.Wait()
	if e := p.take(); e != nil {
		e.Close()
	}
	err := p.program.Close()
	if p.docker != nil {
		err = errors.Join(err, p.docker.Close())
	}
	return err
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
