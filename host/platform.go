package host

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/docker"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/walls"
)

var _ node.Chain = chain.Distrustful{}

// platform starts the enclaves of this process, one for each task. Some stand by,
// started and without any key, since starting takes longer than an agreement.
type platform struct {
	program *tee.Program // of all functions but docker's
	docker  *tee.Program // of docker functions; nil: they are not run here
	config  Enclaves
	chosen  *ociRuntime // the one that starts containers; nil: none
	ctx     context.Context
	stop    context.CancelFunc

	unwalled error // why this machine's enclaves have no walls; nil: they have

	compiling sync.Mutex // one enclave compiles at a time: a second one would make the same

	mu     sync.Mutex
	spare  map[room][]*tee.Enclave // those that stand by
	coming map[room]int            // those that are being started
	wg     sync.WaitGroup
}

// ociRuntime is an OCI runtime of this machine.
type ociRuntime struct {
	path   string
	digest task.Hash
}

// Enclaves says by what this process starts enclaves.
type Enclaves struct {
	// Programs are the enclave programs.
	Programs Programs
	// OCI are the OCI runtimes for containers, names or paths, the best first, of which one
	// must work. Empty: those that are known, and none need work.
	OCI []string
	// DockerSocket is that of an engine with Docker's API. Empty: the usual places.
	DockerSocket string
	// Notice hears what a person may want to know at once. Nil: nobody does.
	Notice func(Notice)
}

// openPlatform finds the enclave programs. It has no runtime for containers
// before one is chosen.
func openPlatform(ctx context.Context, c Enclaves) (p *platform, err error) {
	if c.Notice == nil {
		c.Notice = func(Notice) {}
	}
	if c.Programs.Notice == nil {
		c.Programs.Notice = c.Notice
	}
	p = &platform{config: c, spare: map[room][]*tee.Enclave{}, coming: map[room]int{}}
	if p.program, err = c.Programs.Find(ctx, EnclaveProgram); err != nil {
		return nil, err
	}
	// Whoever wants no Docker engine near may leave its program away.
	if p.docker, err = c.Programs.Find(ctx, DockerProgram); err != nil && task.CodeOf(err) != EnclaveMissing {
		return nil, errors.Join(err, p.program.Close())
	}
	if _, p.unwalled = walls.Try(ctx, p.program.Path(), walls.Profile{Kind: walls.Modules}); p.unwalled != nil {
		c.Notice(Unwalled{Why: p.unwalled})
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p, nil
}

// choose takes the first OCI runtime that works here and is accepted, if there is
// one; where a person has named some, there must be. Then an enclave can stand by.
func (p *platform) choose(ctx context.Context, accepted func(task.Hash) bool) error {
	names := p.config.OCI
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
	if p.chosen == nil && len(p.config.OCI) > 0 {
		return why
	}
	p.wg.Go(func() { p.prepare(room{runtime: task.RuntimeWasm}) })
	return nil
}

// room is what an enclave is started for: the runtime of a function, and the files
// by which its platform quotes.
type room struct {
	runtime string
	needs   string // paths, each with a colon before it
}

// open starts an enclave in a room: within walls that let through what its
// platform needs and no more, and told where the program is that starts containers.
func (p *platform) open(in room) (*tee.Enclave, error) {
	w := &walls.Profile{Kind: walls.Modules, Let: strings.Split(in.needs, ":")[1:]}
	var finds []string
	switch {
	case in.runtime == task.RuntimeDocker:
		if socket := p.config.DockerSocket; socket != "" {
			finds = []string{socket}
		}
		return p.docker.Start(p.ctx, nil, finds...)
	case in.runtime == task.RuntimeOCI && p.chosen == nil:
		return nil, errors.New("this worker runs no containers")
	case in.runtime == task.RuntimeOCI:
		w.Kind, w.Show, finds = walls.Containers, []string{p.chosen.path}, []string{p.chosen.path}
	}
	if p.unwalled != nil {
		w = nil
	}
	return p.program.Start(p.ctx, w, finds...)
}

// spares is how many enclaves stand by in a room: a committee that is split for a
// moment starts more than one.
const spares = 2

// breath is how long a task has the processors to itself before the next enclave is
// started: most are over by then.
const breath = 500 * time.Millisecond

// prepare starts the next enclaves of a room ahead of their tasks.
func (p *platform) prepare(in room) {
	p.mu.Lock()
	missing := spares - len(p.spare[in]) - p.coming[in]
	p.coming[in] += max(missing, 0)
	p.mu.Unlock()
	for range missing {
		e, err := p.open(in)
		p.mu.Lock()
		p.coming[in]--
		if err == nil && p.ctx.Err() == nil {
			p.spare[in] = append(p.spare[in], e)
		} else if err == nil {
			e.Close()
		} // else the task that needs it will say why
		p.mu.Unlock()
	}
}

func (p *platform) take(in room) *tee.Enclave {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.spare[in]) > 0 {
		e := p.spare[in][0]
		p.spare[in] = p.spare[in][1:]
		if e.Alive() {
			return e
		}
		e.Close()
	}
	return nil
}

// start starts an enclave in a room, or takes the one that stands by there.
func (p *platform) start(in room) (*tee.Enclave, error) {
	if in.runtime != task.RuntimeDocker { // its program looks for the engine first, which may be gone
		defer p.wg.Go(func() {
			select {
			case <-time.After(breath):
				p.prepare(in)
			case <-p.ctx.Done():
			}
		})
	}
	if e := p.take(in); e != nil {
		return e, nil
	}
	return p.open(in)
}

// compile has an enclave of its own compile a public module: within walls through
// which nothing is let, and with nothing else to do.
func (p *platform) compile(module []byte) ([]byte, error) {
	e, err := p.open(room{runtime: task.RuntimeWasm})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return e.Compile(module)
}

// enclaves gives a worker its enclaves, which quote by its own platform. What is
// compiled for them is kept in a directory of its.
func (p *platform) enclaves(by func(program task.Hash) tee.Platform, compiled string) func(context.Context, task.Function) (node.Enclave, error) {
	return func(_ context.Context, f task.Function) (node.Enclave, error) {
		in, program := room{runtime: f.Manifest.Runtime}, p.program
		switch in.runtime {
		case task.RuntimeDocker:
			program = p.docker
		case task.RuntimePython:
			in.runtime = task.RuntimeWasm // the same walls
		}
		if program == nil {
			return nil, errors.New("this worker runs no docker functions")
		}
		platform := by(program.Measurement)
		for _, path := range platform.Needs() {
			in.needs += ":" + path
		}
		e, err := p.start(in)
		if err != nil {
			return nil, err
		}
		kept := keptFor(compiled, f.Manifest, program.Measurement)
		return enclaveEdge{e, platform, func(image []byte) []byte {
			p.compiling.Lock()
			defer p.compiling.Unlock()
			return kept.of(image, p.compile)
		}}, nil
	}
}

// runtimes are those that this machine has for workers with a kind of TEE.
func (p *platform) runtimes(ctx context.Context, kind attest.Kind) []string {
	list := []string{task.RuntimeWasm, task.RuntimePython}
	if p.chosen != nil {
		list = append(list, task.RuntimeOCI)
	}
	if p.docker != nil && kind != attest.TPM && docker.Probe(ctx, docker.Config{Socket: p.config.DockerSocket, Init: p.docker.Path()}).Available {
		list = append(list, task.RuntimeDocker)
	}
	return list
}

// known says whether the chain takes these programs for enclaves: a worker with
// others would only lose its bond. One for docker functions that it does not
// know is not used.
func (p *platform) known(chain string, ref attest.Reference) error {
	if p.docker != nil && !slices.Contains(ref.Docker, p.docker.Measurement) {
		_ = p.docker.Close()
		p.docker = nil
	}
	if c := p.chosen; c != nil && !slices.Contains(ref.Runtimes, c.digest) {
		return task.Refuse("runtime-unknown", "chain %s does not know %s, or a library of its, as it is here (%s)", chain, c.path, c.digest.Short()).
			WithNext("name another by --oci, or start the devnet anew without --dir")
	}
	if m := p.program.Measurement; !slices.Contains(ref.Measurements, m) {
		return task.Refuse("measurement-unknown", "chain %s does not know this enclave program (%s)", chain, m.Short()).
			WithMoney("nothing was bonded").WithNext("run the same release as the network's, or start the devnet anew without --dir")
	}
	return nil
}

// accepted says whether reference values take what this machine runs a runtime's
// functions with, beside its enclave program.
func (p *platform) accepted(ref attest.Reference, runtime string) error {
	switch {
	case runtime == task.RuntimeOCI && p.chosen != nil && !slices.Contains(ref.Runtimes, p.chosen.digest):
		return task.Refuse(attest.WrongRuntime, "container runtime %s (%s) is not accepted", p.chosen.path, p.chosen.digest.Short())
	case runtime == task.RuntimeDocker && p.docker != nil && !slices.Contains(ref.Docker, p.docker.Measurement):
		return task.Refuse(attest.WrongMeasurement, "program %s of docker functions is not accepted", p.docker.Measurement.Short())
	}
	return nil
}

func (p *platform) close() error {
	p.stop()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range p.spare {
		for _, e := range list {
			e.Close()
		}
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
	by       tee.Platform
	compiled func(image []byte) []byte // what there is of an image, compiled
}

func (e enclaveEdge) Begin(t task.Task, f task.Function, c attest.Context, nonce task.Hash, fault uint8) (genuine, decoy, seal []byte, err error) {
	return e.Enclave.Begin(tee.Begin{Task: t, Function: f, Context: c, Nonce: nonce, Platform: e.by, Fault: fault})
}

func (e enclaveEdge) Run(files [][]byte, image []byte) (task.SignedResult, []byte, error) {
	return e.Enclave.Run(tee.Run{Files: files, Image: image, Compiled: e.compiled(image)})
}
