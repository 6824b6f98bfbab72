//go:build planted

package economy

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prytany/prytany/sim/internal/planted"
)

// A search that finds nothing is worth something only if it would have found what
// there was. So old rules are put back, and the search must find who robs by them.

// weakRule is an old rule.
type weakRule struct {
	name  string
	edits []planted.Edit
	finds string // a deviation that must be in some find that pays
}

// silencePays has the word of a committee take money, which others share.
var silencePays = planted.Edit{File: "ledger/turn.go", Old: `	b.passOver(c, Pass{Why: FoundSilent})
`, New: `	var pot []share
	for _, m := range c.Members {
		if c.Roster().Judges(m.Claim.Node) {
			pot = append(pot, c.share(m.Claim.Node))
		}
	}
	b.slash(c, c.View.Executor, Absent, b.atStake(c.View.Executor)/100, pot)
	b.passOver(c, Pass{Why: FoundSilent})
`}

var weakRules = []weakRule{
	{"words take money at once, and others share it", []planted.Edit{
		{File: "ledger/turn.go", Old: `case b.Height < c.SkipFrom():`, New: `case b.Height == 0:`},
		silencePays,
	}, "skip"},
	{"nobody can decline, and others share what silence costs", []planted.Edit{
		{File: "ledger/turn.go", Old: `case turn && (c.HasShown() ||`, New: `case turn && (b.Height > 0 || c.HasShown() ||`},
		silencePays,
	}, "input-to-friends"},
}

var coalHunt = flag.Bool("coalitions", false, "search for coalitions, print the finds that pay as JSON: for the planted binaries")

// TestHuntCoalitions runs inside a planted binary.
func TestHuntCoalitions(t *testing.T) {
	if !*coalHunt {
		t.Skip("not planted")
	}
	_ = json.NewEncoder(os.Stdout).Encode(smallHunt(t, 3).Holes())
}

// TestPlantedCoalitions finds who gains by each old rule.
func TestPlantedCoalitions(t *testing.T) {
	if *coalHunt {
		t.Skip("planted")
	}
	for _, r := range weakRules {
		t.Run(r.name, func(t *testing.T) {
			holes := r.hunt(t)
			found := false
			for _, f := range holes {
				t.Logf("%s by %s in %s: %+.1f ± %.1f c a task; others lose %.1f", strings.Join(f.Deviations, " + "), strings.Join(f.Coalition, ", "), f.Market, f.Gain, f.Band, f.Loss)
				found = found || strings.Contains(" "+strings.Join(f.Deviations, " ")+" ", " "+r.finds+" ")
			}
			if !found {
				t.Errorf("nobody gains by %q: %d finds", r.finds, len(holes))
			}
		})
	}
}

// hunt builds a binary with the old rule in it, and runs that.
func (r weakRule) hunt(t *testing.T) (holes []CoalitionFind) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "sim.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-tags", "planted", "-overlay", planted.Overlay(t, dir, r.edits...), "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "-test.run", "^TestHuntCoalitions$", "-coalitions").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(line), &holes); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return holes
}
