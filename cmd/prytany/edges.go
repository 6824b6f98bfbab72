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
	oci     []string     // OCI runtimes to look for, the best first
	chosen  *ociRuntime  // the one that starts containers; nil: none
	ctx     context.Context
	stop    context.CancelFunc

	mu    sync.Mutex
	spare *tee.Enclave
	wg    sync.WaitGroup
}

// ociRuntime is an OCI runtime of this machine.
type ociRuntime struct {
	path   string
	digest task.Hash
}

// openPlatform finds the enclave programs. It has no runtime for containers
// before one is chosen.
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
	return p, nil
}

// choose takes the first OCI runtime that works here and is accepted, if there is
// one; where a person has named some, there must be. Then an enclave can stand by.
func (p *platform) choose(ctx context.Context, accepted func(task.Hash) bool) error {
	names := p.oci
	if len(names) == 0 {
		names = container.Known
	}
	var why error
	for _, name := range names {
		r, err := container.Pick(ctx, name)
		if err != nil {
			why = errors.Join(why, err)
			continue
		}
		digest, err := r.Load()
		c := &ociRuntime{r.Path(), digest}
		r.Close()
		if err != nil {
			return err
		}
		if accepted(digest) {
			p.chosen = c
			break
		}
		why = errors.Join(why, task.Refuse("runtime-unknown", "the chain does not know %s, or a library of its, as it is here (%s)", c.path, digest.Short()).
			WithMoney("nothing was bonded").WithNext("prytany doctor   (shows the digests)"))
	}
	if p.chosen == nil && len(p.oci) > 0 {
		return why
	}
	p.wg.Go(p.prepare)
	return nil
}

// finds is what an enclave program is told to find things by (spec §9.1.5).
func (p *platform) finds(program *tee.Program) []string {
	if socket := dockerSocket(); program == p.docker && socket != "" {
		return []string{socket}
	}
	if program == p.program && p.chosen != nil {
		return []string{p.chosen.path}
	}
	return nil
}

// prepare starts the next enclave ahead of its task.
func (p *platform) prepare() {
	e, err := p.program.Start(p.ctx, p.finds(p.program)...)
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
		return program.Start(p.ctx, p.finds(program)...)
	}
	defer p.wg.Go(p.prepare)
	if e := p.take(); e != nil {
		return e, nil
	}
	return program.Start(p.ctx, p.finds(program)...)
}

// enclaves gives a worker its enclaves, which quote by its own platform. What
// they compile is kept in a directory of its.
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
		return enclaveEdge{e, by(program.Measurement), keptFor(compiled, f.Manifest)}, nil
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
	if p.chosen != nil {
		list = append(list, task.RuntimeOCI)
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
	if c := p.chosen; c != nil && !slices.Contains(params.Reference.Runtimes, c.digest) {
		return task.Refuse("runtime-unknown", "chain %s does not know %s, or a library of its, as it is here (%s)", params.Chain, c.path, c.digest.Short()).
			WithNext("name another by --oci, or start the devnet anew without --dir")
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
	kept compiledFile
}

func (e enclaveEdge) Begin(t task.Task, f task.Function, c attest.Context, nonces []task.Hash) ([]byte, error) {
	return e.Enclave.Begin(tee.Begin{Task: t, Function: f, Context: c, Nonces: nonces, Platform: e.by})
}

// Run brings the enclave what an earlier one has compiled, and keeps what this
// one has.
func (e enclaveEdge) Run(code, input, image []byte) (task.SignedResult, []byte, error) {
	r, output, compiled, err := e.Enclave.Run(tee.Run{Code: code, Input: input, Image: image, Compiled: e.kept.read()})
	if err == nil && compiled != nil {
		e.kept.write(compiled)
	}
	return r, output, err
}
