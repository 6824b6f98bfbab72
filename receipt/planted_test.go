//go:build planted

package receipt_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/receipt"
)

// What a receipt says about slashes is worth something only if a chain with other
// rules would be caught. So this test changes the ledger's rules of slashing, one at a
// time and by a build overlay, and plays random stories under them: the receipt's own
// rules must refuse one of each (spec §11.3.6).

// mutant is one change of the ledger.
type mutant struct {
	name, file string
	old, new   string // old stands exactly once in the file
}

var mutants = []mutant{
	{"who never reveals pays nothing", "verdict.go", `			b.slash(c, k.Node, NoReveal, seats*b.Params.NoReveal, nil)
`, ``},
	{"who had time left to reveal pays", "verdict.go", `case i < 0 && b.Height < round.ClosedAt+b.Params.CommitBlocks: // it had time left`, `case i < -1:`},
	{"who names the other place pays nothing", "verdict.go", `		b.slash(c, id, WrongPick, seats*b.Params.WrongPick, nil)
`, ``},
	{"who had time left to show both pays", "verdict.go", `!c.shownBoth() && b.Height < round.OpenedAt+b.Params.CommitBlocks:`, `!c.shownBoth() && round.Progress < Opened:`},
	{"a false alarm costs the double", "verdict.go", `FalseFault, seats*b.Params.FalseAlarm`, `FalseFault, 2*seats*b.Params.FalseAlarm`},
	{"a false alarm is a wrong pick", "verdict.go", `b.slash(c, id, FalseFault, seats*b.Params.FalseAlarm, nil)`, `b.slash(c, id, WrongPick, seats*b.Params.FalseAlarm, nil)`},
	{"OK for faulty evidence costs more where nothing came of it", "verdict.go", `if c.View.Pre.Progress == Decided {`, `if c.View.Pre.Progress != Decided {`},
	{"OK for faulty evidence costs nothing", "verdict.go", `	b.slash(c, id, FalseOK, seats*each, nil)
`, `	_ = each
`},
	{"who could not know pays", "verdict.go", `case word == Elsewhere, round.Faulty && !bad, `, `case word == Elsewhere, `},
	{"those who were fooled are finders", "verdict.go", `		if says(v) == Against {
			all`, `		if says(v) != Elsewhere {
			all`},
	{"an accuser counts nine times", "verdict.go", `share{account: accuser, weight: 1}`, `share{account: accuser, weight: 9}`},
	{"faulty evidence costs nothing", "verdict.go", `	b.condemn(c, b.wrong(c))
`, ``},
	{"two good pieces are bad evidence", "verdict.go", `b.slash(c, id, cause, want, c.finders())`, `b.slash(c, id, BadEvidence, want, c.finders())`},
	{"an exit that is not clean costs nothing", "verdict.go", `		b.slash(c, c.View.Executor, UncleanExit, want, nil)
`, `		_ = want
`},
	{"who could not decline any more pays for absence", "verdict.go", `	if !c.View.Pre.HasPair() {
`, `	if !c.View.Pre.HasPair() {
		b.slash(c, c.View.Executor, Absent, b.Params.Absent, nil)
`},
	{"absence costs nothing", "verdict.go", `	default:
		b.slash(c, c.View.Executor, Absent, b.Params.Absent, nil)
`, `	default:
`},
	{"silence costs a share", "slash.go", `Silence, due, nil)`, `Silence, b.atStake(c.View.Executor)/20, nil)`},
	{"silence pays the first member", "slash.go", `Silence, due, nil)`, `Silence, due, []share{c.share(c.Members[0].Claim.Node)})`},
	{"finders get all", "slash.go", `min(cut/2, cut-min(cut, first))`, `cut-min(cut, first)`},
	{"a friend who is found out costs half", "slash.go", `min(cut/2, cut-min(cut, first))`, `cut/2`},
	{"no exit costs nothing", "phase.go", `		b.silent(c)
		b.settle(c, End{Outcome: ExitSilent})`, `		b.settle(c, End{Outcome: ExitSilent})`},
	{"no result costs nothing", "phase.go", `		b.silent(c)
		b.passOver`, `		b.passOver`},
	{"giving up costs nothing", "verdict.go", `		b.silent(c)
		b.passOver(c, Pass{Why: GaveUp`, `		b.passOver(c, Pass{Why: GaveUp`},
	{"words slash", "turn.go", `	b.passOver(c, Pass{Why: FoundSilent})
`, `	b.slash(c, c.View.Executor, Absent, b.Params.Absent, nil)
	b.passOver(c, Pass{Why: FoundSilent})
`},
}

var stories = flag.Int("stories", 0, "play this many random stories, say which row fails first: for the planted binaries")

// TestStories runs inside a planted binary.
func TestStories(t *testing.T) {
	for seed := range *stories {
		w := newWorld(t)
		w.wander(rand.New(rand.NewPCG(uint64(seed), 1)))
		rows := slices.DeleteFunc(receipt.Verify(w.receipt()).Rows, func(r receipt.Row) bool {
			return r.Status != receipt.Failed || strings.Contains(r.Words, "False verdicts")
		})
		at := max(0, slices.IndexFunc(rows, func(r receipt.Row) bool { return r.Name == "slashes" }))
		if len(rows) > 0 {
			fmt.Printf("CAUGHT story %d: %s: %s\n", seed, rows[at].Name, rows[at].Words)
			return
		}
	}
}

// TestPlanted wants each mutant to be caught by the row about slashes. Without one the
// same stories verify: TestRandomStoriesVerify plays them.
func TestPlanted(t *testing.T) {
	const most = 150
	if *stories != 0 {
		t.Skip("planted")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			said := m.play(t, most)
			if !strings.Contains(said, ": slashes: ") {
				t.Errorf("not caught in %d stories: %q", most, said)
			}
			t.Log(said)
		})
	}
}

// play builds a binary with the mutant in it, and runs that.
func (m mutant) play(t *testing.T, most int) string {
	t.Helper()
	dir := t.TempDir()
	path, err := filepath.Abs(filepath.Join("../ledger", m.file))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), m.old); n != 1 {
		t.Fatalf("%s has changed: what the mutant replaces stands there %d times", m.file, n)
	}
	changed := filepath.Join(dir, m.file)
	overlay, bin := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "receipt.test")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	source := strings.Replace(string(raw), m.old, m.new, 1)
	for name, content := range map[string]string{changed: source, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-tags", "planted", "-overlay", overlay, "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "-test.run", "^TestStories$", "-stories", fmt.Sprint(most)).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if !strings.HasPrefix(line, "CAUGHT") {
		return ""
	}
	return line
}
