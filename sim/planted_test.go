//go:build planted

package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prytany/prytany/sim/internal/planted"
)

// A simulator that finds nothing is worth something only if it would have
// found what there is. So this test puts bugs into the production code, one at
// a time and by a build overlay, and wants each to be found.

// bug is one change of the production code.
type bug struct {
	name      string
	file      string
	old, new  string // old stands exactly once in the file
	seeds     uint64 // within which it must be found
	invariant string // that finds it; several, separated by |, where chance decides
}

// edit is one change of one file.
type edit struct{ file, old, new string }

// edits are all places of a bug: a rule that stands twice is gone only if both are.
func (b bug) edits() []edit { return append([]edit{{b.file, b.old, b.new}}, also[b.name]...) }

var hunted = flag.Uint64("hunt", 0, "play this many seeds, print the first violation as JSON: for the planted binaries")

// found is what a planted binary prints.
type found struct {
	Seed      uint64 `json:"seed"`
	Violation string `json:"violation"`
}

// TestHunt runs inside a planted binary.
func TestHunt(t *testing.T) {
	if *hunted == 0 {
		t.Skip("not planted")
	}
	if f, ok := hunt(*hunted); ok {
		_ = json.NewEncoder(os.Stdout).Encode(f)
	}
}

// hunt finds the lowest seed below n that violates something, on all cores.
func hunt(n uint64) (first found, ok bool) {
	var next, bound atomic.Uint64
	bound.Store(n)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := next.Add(1) - 1; s < bound.Load(); s = next.Add(1) - 1 {
				r := Run(s, Options{})
				mu.Lock()
				if r.Violation != "" && s < bound.Load() {
					bound.Store(s)
					first, ok = found{s, r.Violation}, true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first, ok
}

// TestPlanted finds every planted bug, and nothing where none is.
func TestPlanted(t *testing.T) {
	if *hunted != 0 {
		t.Skip("planted")
	}
	t.Run("none", func(t *testing.T) {
		var most uint64
		for _, b := range bugs {
			most = max(most, b.seeds)
		}
		if f, ok := hunt(most); ok {
			t.Fatalf("without a bug, seed %d violates: %s", f.Seed, f.Violation)
		}
	})
	var table strings.Builder // as docs/simulation.md has it
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			f, ok := b.hunt(t)
			name, _, _ := strings.Cut(f.Violation, ":")
			switch {
			case !ok:
				name = "NOT FOUND"
				t.Errorf("not found within %d seeds", b.seeds)
			case !strings.Contains("|"+b.invariant+"|", "|"+name+"|"):
				t.Errorf("seed %d finds it by another invariant than %q: %s", f.Seed, b.invariant, f.Violation)
			}
			fmt.Fprintf(&table, "| %s | %s | %d | %d |\n", b.name, name, f.Seed, b.seeds)
		})
	}
	fmt.Print(table.String())
}

// overlay writes the changed files, and what tells the compiler of them.
func overlay(t *testing.T, dir string, edits ...edit) string {
	t.Helper()
	var all []planted.Edit
	for _, e := range edits {
		all = append(all, planted.Edit{File: e.file, Old: e.old, New: e.new})
	}
	return planted.Overlay(t, dir, all...)
}

// hunt builds a binary with the bug in it, and runs that.
func (b bug) hunt(t *testing.T) (first found, ok bool) {
	t.Helper()
	dir := t.TempDir()
	overlay, bin := overlay(t, dir, b.edits()...), filepath.Join(dir, "sim.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-tags", "planted", "-overlay", overlay, "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "-test.run", "^TestHunt$", "-hunt", fmt.Sprint(b.seeds)).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return first, json.Unmarshal([]byte(line), &first) == nil
}
