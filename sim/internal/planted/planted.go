// Package planted puts bugs into the production code of a test's build, and nowhere else.
package planted

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Edit is one change of one file of the module. What is old stands exactly once in it.
type Edit struct{ File, Old, New string }

// Overlay writes the changed files, and what tells the compiler of them: the argument of
// go build's -overlay.
func Overlay(t *testing.T, dir string, edits ...Edit) string {
	t.Helper()
	write := func(name string, raw []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	root, replace := moduleRoot(t), map[string]string{}
	for i, e := range edits {
		path := filepath.Join(root, e.File)
		from := path
		if changed, ok := replace[path]; ok { // a second place in the same file
			from = changed
		}
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(raw), e.Old); n != 1 {
			t.Fatalf("%s has changed: what the bug replaces stands there %d times", e.File, n)
		}
		replace[path] = write(fmt.Sprintf("planted%d.go", i), []byte(strings.Replace(string(raw), e.Old, e.New, 1)))
	}
	all, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return write("overlay.json", all)
}

// moduleRoot is where go.mod is, above the test.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above")
		}
	}
	t.Fatal(err)
	return ""
}
