package enclave

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// contained is a stage whose function runs in a container.
func contained(t *testing.T, rs Runtimes) *stage {
	t.Helper()
	s := newStageOf(t, rs)
	f := &s.begin.Function
	f.Manifest.Runtime = task.RuntimeOCI
	s.begin.Task.Function = f.ID()
	s.begin.Context.Function, s.begin.Context.Task = s.begin.Task.Function, s.begin.Task.ID()
	return s
}

// runner runs nothing, well.
type runner struct{}

func (runner) Run(context.Context, sandbox.Job) (sandbox.Result, error) {
	return sandbox.Result{Outcome: sandbox.OK, Before: sandbox.EmptyState, After: sandbox.EmptyState}, nil
}

// What starts a function's container is in the evidence of both rounds, and
// evidence of another one is found faulty.
func TestContainerRuntimeIsInTheEvidence(t *testing.T) {
	digest := task.Hash{5}
	open := func(context.Context, task.Manifest) (Runner, func(), error) { return runner{}, func() {}, nil }
	s := contained(t, Runtimes{task.RuntimeOCI: {Open: open, Digest: func() (task.Hash, error) { return digest, nil }}})
	ev := s.start()
	want, policy, ref := s.expected()
	want.OCI = true
	judge := func(what, reason string, ev attest.Evidence) {
		t.Helper()
		if a := attest.Appraise(ev, want, policy, ref); a.Reason != reason {
			t.Errorf("%s: %q: %s, want %q", what, a.Reason, a.Detail, reason)
		}
	}
	judge("on a chain that accepts none", attest.WrongRuntime, ev)
	ref.Runtimes = []task.Hash{{6}}
	judge("on a chain that accepts another", attest.WrongRuntime, ev)
	ref.Runtimes = []task.Hash{{6}, digest}
	judge("on a chain that accepts it", "", ev)
	s.release(ev, alices, s.alice)
	s.release(ev, bobs, s.bob)
	if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.RunOK {
		t.Fatalf("%+v", a)
	}
	c := s.begin.Context
	c.Round = task.PostRun
	exit, err := attest.ParseEvidence(s.ask(tee.Request{Exit: &tee.Exit{Context: c, Nonce: task.Hash{9}}}).Evidence)
	if err != nil {
		t.Fatal(err)
	}
	want.Context, want.Nonce, want.Runtime = c, task.Hash{9}, &ev.Runtime
	judge("at the exit", "", exit)
}

// A decoy names the runtime, too: by that nobody can tell it from genuine evidence.
func TestDecoyNamesTheRuntime(t *testing.T) {
	digest := task.Hash{5}
	for fault := range uint8(8) {
		s := contained(t, Runtimes{task.RuntimeOCI: {Digest: func() (task.Hash, error) { return digest, nil }}})
		s.begin.Fault = fault
		a := s.ask(tee.Request{Begin: &s.begin})
		if decoy, err := attest.ParseEvidence(a.Decoy); err != nil || decoy.Runtime != digest {
			t.Fatal(decoy.Runtime, err, a.Error)
		}
	}
}

// An enclave that has no runtime for a function, or one that cannot be read,
// shows nothing.
func TestNoEvidenceWithoutTheRuntime(t *testing.T) {
	for what, rs := range map[string]Runtimes{
		"none":                {},
		"only others":         Standard(""),
		"a path to nothing":   Standard("/nowhere/crun"),
		"a path to something": Standard("/bin/sh"),
		"one that fails":      {task.RuntimeOCI: {Digest: func() (task.Hash, error) { return task.Hash{}, errors.New("it cannot be read") }}},
	} {
		s := contained(t, rs)
		if a := s.ask(tee.Request{Begin: &s.begin}); a.Error == "" || len(a.Evidence) > 0 {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// A host that puts another program at the path has that one's digest in the
// evidence.
func TestRuntimeAtThePathIsTheOneInTheEvidence(t *testing.T) {
	p, err := container.Pick(t.Context(), "crun", "runc", "runsc")
	if err != nil {
		t.Skip(err)
	}
	defer p.Close()
	honest, err := p.Load()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(p.Path())
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/" + p.Name()
	for change, same := range map[string]bool{"": true, "and a word": false} {
		if err := os.WriteFile(path, append(raw, change...), 0o755); err != nil {
			t.Fatal(err)
		}
		if ev := contained(t, Standard(path)).start(); (ev.Runtime == honest) != same || ev.Runtime.IsZero() {
			t.Errorf("%q appended: %s, honest %s", change, ev.Runtime, honest)
		}
	}
}
