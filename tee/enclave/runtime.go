package enclave

import (
	"context"
	"fmt"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/walls"
)

// A Runner runs jobs by one technology (spec §9.3).
type Runner interface {
	Run(ctx context.Context, job sandbox.Job) (sandbox.Result, error)
}

// A Runtime is a technology that an enclave program has in it.
type Runtime struct {
	// Open opens what a function runs in, and says how to close it.
	Open func(ctx context.Context, m task.Manifest) (r Runner, done func(), err error)
	// Digest, if there is one, names what Open takes beside this program to run
	// functions with. It is asked first, and the evidence says it (spec §9.6.7).
	Digest func() (task.Hash, error)
	// Simulated says that it shows the plaintext to somebody outside of the
	// enclave, or could. A program that has such a runtime quotes by the simulated
	// platform and no other.
	Simulated bool
	// Walls are those that it runs within, where there are any.
	Walls walls.Kind

	interprets tee.Interpreters // modules of the image's, these compiled before
}

// Runtimes are all that a program has, by the manifest's names of them.
type Runtimes map[string]Runtime

// Standard are the runtimes that keep the plaintext in the enclave. oci is the
// path of the OCI runtime that starts containers, if there is one. Who chose it
// does not matter, for the evidence says what it is.
func Standard(oci string) Runtimes {
	rs := Runtimes{
		task.RuntimeWasm:   {Walls: walls.Modules, Open: func(ctx context.Context, _ task.Manifest) (Runner, func(), error) { return module(ctx) }},
		task.RuntimePython: {Walls: walls.Modules, interprets: tee.Public},
	}
	if oci != "" {
		p, err := container.Open(oci)
		rs[task.RuntimeOCI] = Runtime{
			Walls: walls.Containers,
			Digest: func() (task.Hash, error) {
				if err != nil {
					return task.Hash{}, err
				}
				return p.Load()
			},
			Open: func(ctx context.Context, _ task.Manifest) (Runner, func(), error) {
				if err != nil {
					return nil, nil, err
				}
				k, err := container.New(ctx, container.Config{Program: p})
				return k, func() { _ = k.Close() }, err
			},
		}
	}
	return rs
}

// quotes says whether a program with these runtimes may quote by a kind.
func (rs Runtimes) quotes(kind attest.Kind) error {
	for name, r := range rs {
		if r.Simulated && kind != attest.Simulated {
			return fmt.Errorf("this enclave cannot keep %s functions and the machine apart: it quotes by a simulated TEE only, not by %s", name, kind)
		}
	}
	return nil
}

// digest names what a runtime takes beside this program; zero is nothing.
func (rs Runtimes) digest(name string) (task.Hash, error) {
	r, ok := rs[name]
	if !ok {
		return task.Hash{}, fmt.Errorf("this enclave has no runtime %q", name)
	}
	if r.Digest == nil {
		return task.Hash{}, nil
	}
	return r.Digest()
}

// open opens what a function runs in.
func (rs Runtimes) open(ctx context.Context, m task.Manifest, compiled []byte) (Runner, func(), error) {
	r, ok := rs[m.Runtime]
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("this enclave has no runtime %q", m.Runtime)
	case r.interprets != nil:
		return interpreter(ctx, r.interprets, m.Image.Digest, compiled)
	}
	return r.Open(ctx, m)
}
