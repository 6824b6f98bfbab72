package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/docker"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/enclave"
	"github.com/spf13/cobra"
)

func (a *app) funcTestCommand() *cobra.Command {
	var inputs, oci []string
	var output string
	c := &cobra.Command{
		Use:   "test DIR [-- ARGUMENT...]",
		Short: "Run a function here, in the sandbox that workers run it in, without a network or a task",
		Long: "Runs the function in DIR on files of yours in the sandbox and under the limits that it will meet\n" +
			"when it is published. Nothing is encrypted, attested or paid.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("prytany func test takes a DIR").WithNext("prytany func test --help")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.funcTest(c.Context(), args[0], inputs, output, oci, args[1:])
		},
	}
	c.Flags().StringArrayVar(&inputs, "input", nil, "an input: FILE, or NAME=FILE where the manifest names several")
	ociFlag(c, &oci)
	c.Flags().StringVar(&output, "output", "", "where to write the outputs: a file for one, a directory for several (default: nowhere)")
	return c
}

// tried is what came of a run of func test.
type tried struct {
	Outcome  string   `json:"outcome"`
	ExitCode uint32   `json:"exit_code"`
	Gas      uint64   `json:"gas,string"`
	ShownGas uint64   `json:"shown_gas,string"` // what the chain would see of it, and Alice pay
	Reason   string   `json:"reason,omitempty"`
	Message  string   `json:"message,omitempty"`
	Log      string   `json:"log"`
	Files    []string `json:"files"`
}

func (a *app) funcTest(ctx context.Context, dir string, inputs []string, output string, oci, args []string) error {
	p, err := function.ReadPlan(dir)
	if err != nil {
		return err
	}
	if len(args) > 0 && !p.Manifest.TaskArgs {
		return task.Refuse("args-refused", "%s takes no arguments of a task; task_args: true in %s lets it", p.Manifest.Name, p.Path)
	}
	blob, err := function.ReadInputs(p.Manifest, inputs)
	if err != nil {
		return err
	}
	s, err := p.Load(ctx, a.say)
	if err != nil {
		return err
	}
	m := s.Manifest
	files, err := tee.UnpackInputs(m, blob)
	if err != nil {
		return task.Refuse("input-invalid", "%v", err)
	}
	a.say("running %s %s by %s", m.Name, m.Version, m.Runtime)
	runtimes, done, err := a.runtimesFor(ctx, m, oci)
	if err != nil {
		return err
	}
	defer done()
	begin := time.Now()
	r, err := runtimes.Run(ctx, m, enclave.NewJob(m, args, m.Limits.Gas, s.Code, s.Image, files))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return task.Refuse("runtime-unavailable", "this machine cannot run it: %v", err).WithNext("prytany doctor")
	}
	shown := m.ShownGas(m.Limits.Gas, r.Gas)
	a.say("%s after %d ms and %d of %d gas, which the chain would see as %d", r.Outcome, time.Since(begin).Milliseconds(), r.Gas, m.Limits.Gas, shown)
	if len(r.Log) > 0 {
		a.say("the function's log:\n%s", visible(string(r.Log)))
	}
	if r.Message != "" {
		a.say("the function's message to Alice:\n%s", visible(r.Message))
	}
	t := tried{Outcome: r.Outcome.String(), ExitCode: r.ExitCode, Gas: r.Gas, ShownGas: shown, Reason: r.Reason, Message: r.Message, Log: string(r.Log), Files: []string{}}
	written := map[string][]byte{}
	for _, f := range r.Outputs {
		written[f.Name] = f.Data
	}
	if output != "" && len(written) > 0 {
		if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
			return err
		}
		if t.Files, err = writeOutput(output, written); err != nil {
			return err
		}
	} else {
		for _, f := range r.Outputs {
			t.Files = append(t.Files, fmt.Sprintf("%s (%d bytes, not written)", visibleName(f.Name), len(f.Data)))
		}
	}
	if len(t.Files) == 0 && r.Reason == "" {
		a.say("the function wrote no file: there is no output")
	}
	if err := a.print(t, lines(t.Files)); err != nil {
		return err
	}
	if r.Reason != "" {
		return task.Refuse("function-failed", "%s: %s", r.Outcome, visible(r.Reason))
	}
	return nil
}

// runtimesFor are those of this machine, with what a function needs among them.
func (a *app) runtimesFor(ctx context.Context, m task.Manifest, oci []string) (rs enclave.Runtimes, done func(), err error) {
	rs, done = enclave.Standard(""), func() {}
	switch m.Runtime {
	case task.RuntimeOCI:
		r, err := container.Pick(ctx, oci...)
		if err != nil {
			return nil, nil, task.Refuse("runtime-unavailable", "%v", err).WithNext("prytany doctor")
		}
		rs = enclave.Standard(r.Path())
		r.Close()
	case task.RuntimeDocker:
		p, err := a.programs().Find(ctx, host.DockerProgram)
		if err != nil {
			return nil, nil, err
		}
		done = func() { p.Close() }
		rs[m.Runtime] = enclave.Runtime{Simulated: true, Open: func(ctx context.Context, _ task.Manifest) (enclave.Runner, func(), error) {
			d, err := docker.New(ctx, docker.Config{Socket: dockerSocket(), Init: p.Path()})
			return d, func() { _ = d.Close() }, err
		}}
	}
	return rs, done, nil
}
