package enclave

import (
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/nsm"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/tsm"
	"github.com/prytany/prytany/tee/walls"
)

// Whoever starts an enclave says which walls it builds. It begins only within those
// that its task needs, which let through what it quotes by and nothing else; and
// without any, by simulated evidence alone.
func TestWallsAreThoseOfTheTask(t *testing.T) {
	simulated := tee.Platform{Kind: attest.Simulated, Simulated: &tee.Simulated{}}
	measured := tee.Platform{Kind: attest.TPM, TPM: &tpm.Quoter{Path: "/dev/tpmrm0"}}
	vm := tee.Platform{Kind: attest.SEVSNP, VM: &tsm.Quoter{Is: attest.SEVSNP}}
	nitro := tee.Platform{Kind: attest.Nitro}
	within := func(k walls.Kind, let ...string) *walls.Profile { return &walls.Profile{Kind: k, Let: let} }
	const none, kind, lets = "no walls", "want walls for", "let "
	for _, c := range []struct {
		runtime string
		by      tee.Platform
		within  *walls.Profile
		refused string
	}{
		{task.RuntimeWasm, simulated, nil, ""},
		{task.RuntimeWasm, measured, nil, none},
		{task.RuntimeWasm, vm, nil, none},
		{task.RuntimeWasm, nitro, nil, none},
		{task.RuntimeOCI, measured, nil, none},
		{task.RuntimeWasm, simulated, within(walls.Modules), ""},
		{task.RuntimePython, simulated, within(walls.Modules), ""},
		{task.RuntimeOCI, simulated, within(walls.Containers), ""},
		{task.RuntimeWasm, simulated, within(walls.Containers), kind},
		{task.RuntimePython, measured, within(walls.Containers), kind},
		{task.RuntimeOCI, simulated, within(walls.Modules), kind},
		{task.RuntimeWasm, simulated, within(walls.Modules, "/dev/shm"), lets},
		{task.RuntimeWasm, measured, within(walls.Modules, "/dev/tpmrm0"), ""},
		{task.RuntimeWasm, measured, within(walls.Modules, "/dev/tpmrm0", "/run/docker.sock"), lets},
		{task.RuntimeWasm, measured, within(walls.Modules, "/dev"), lets},
		{task.RuntimeOCI, measured, within(walls.Containers, "/home"), lets},
		{task.RuntimeWasm, vm, within(walls.Modules, vm.Needs()...), ""},
		{task.RuntimeWasm, vm, within(walls.Modules, "/sys"), lets},
		{task.RuntimeWasm, nitro, within(walls.Modules, nsm.Path), ""},
		{task.RuntimeWasm, nitro, within(walls.Modules, nsm.Path, "/dev/vsock"), lets},
	} {
		e := enclave{runtimes: Standard("/nowhere/crun"), within: c.within}
		b := &tee.Begin{Platform: c.by, Function: task.Function{Manifest: task.Manifest{Runtime: c.runtime}}}
		err := e.walled(b)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s by %s within %+v: %v, want %q", c.runtime, c.by.Kind, c.within, err, c.refused)
		}
	}
	// Begin asks.
	s := newStage(t)
	e := enclave{runtimes: Standard(""), within: within(walls.Modules, "/dev/shm"), clock: system}
	if a, err := e.start(&s.begin); err == nil || len(a.Evidence) > 0 {
		t.Errorf("evidence within walls that let /dev/shm through: %v", err)
	}
}
