package host

import (
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/walls"
)

// The program itself, as it is shipped: whoever starts it says which walls it is to
// build, and gets no evidence from it with others than its task needs, and none but
// simulated evidence without any.
func TestProgramMindsItsWalls(t *testing.T) {
	p, err := Programs{}.Find(t.Context(), EnclaveProgram)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := walls.Try(t.Context(), p.Path(), walls.Profile{Kind: walls.Modules}); err != nil {
		t.Skip(err)
	}
	f := task.Function{Manifest: task.Manifest{Runtime: task.RuntimeWasm}}
	tk := task.Task{Function: f.ID(), Data: make([]task.Data, 1)}
	begin := tee.Begin{Task: tk, Function: f, Nonce: task.Hash{1}, Context: attest.Context{Task: tk.ID(), Function: f.ID(), Round: task.PreRun}}
	simulated := tee.Platform{Kind: attest.Simulated, Simulated: &tee.Simulated{Measurement: p.Measurement}}
	for _, c := range []struct {
		what   string
		within *walls.Profile
		by     tee.Platform
		want   string // in the refusal
	}{
		{"its walls", &walls.Profile{Kind: walls.Modules}, simulated, ""},
		{"no walls, simulated", nil, simulated, ""},
		{"no walls, measured", nil, tee.Platform{Kind: attest.TPM, TPM: &tpm.Quoter{Path: tpm.DefaultPath}}, "no walls"},
		{"no walls, confidential", nil, tee.Platform{Kind: attest.Nitro}, "no walls"},
		{"walls with a hole", &walls.Profile{Kind: walls.Modules, Let: []string{"/dev/zero"}}, simulated, "/dev/zero"},
	} {
		e, err := p.Start(t.Context(), c.within)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		begin.Platform = c.by
		raw, _, _, err := e.Begin(begin)
		e.Close()
		if (err == nil) != (c.want == "") || err != nil && (len(raw) > 0 || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
	}
}
