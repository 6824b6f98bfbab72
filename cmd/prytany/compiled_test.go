package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// A worker keeps what its enclaves have compiled, of the newest images only, and
// brings nothing that is too long to be looked at.
func TestCompiledFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "compiled")
	python := func(digest string) compiledFile {
		return keptFor(dir, task.Manifest{Runtime: task.RuntimePython, Image: &task.Image{Digest: digest}})
	}
	if python("a").read() != nil {
		t.Error("there is one before there is one")
	}
	for i := range maxKept + 2 {
		k := python(fmt.Sprint(i))
		k.write([]byte{byte(i)})
		if err := os.Chtimes(string(k), time.Time{}, time.Unix(int64(1000+i), 0)); err != nil {
			t.Fatal(err)
		}
		if got := k.read(); !bytes.Equal(got, []byte{byte(i)}) {
			t.Errorf("%d: read back %v", i, got)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != maxKept {
		t.Errorf("%d files, %v", len(list), err)
	}
	if python("0").read() != nil || python(fmt.Sprint(maxKept+1)).read() == nil {
		t.Error("the oldest was kept, or the newest was not")
	}
	long := python("long")
	if err := os.WriteFile(string(long), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(string(long), tee.MaxCompiled+1); err != nil {
		t.Fatal(err)
	}
	if long.read() != nil {
		t.Error("a file that is too long was brought")
	}
	if k := keptFor(dir, task.Manifest{Runtime: task.RuntimeWasm}); k != "" || k.read() != nil {
		t.Error("a private module is kept")
	}
}

// A worker has no runtime for containers but one that its chain accepts, and
// does not start where a person named one that it does not.
func TestPlatformTakesAcceptedRuntimes(t *testing.T) {
	first, err := container.Pick(t.Context())
	if err != nil {
		t.Skip(err)
	}
	digest, err := first.Load()
	first.Close()
	if err != nil {
		t.Fatal(err)
	}
	choose := func(oci []string, accepted ...task.Hash) (*platform, error) {
		p, err := openPlatform(t.Context(), oci, t.Logf)
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = p.close() })
		return p, p.choose(t.Context(), func(h task.Hash) bool { return slices.Contains(accepted, h) })
	}
	p, err := choose(nil, digest)
	if err != nil || p.chosen == nil || p.chosen.digest != digest || !slices.Contains(p.runtimes(t.Context(), ""), task.RuntimeOCI) {
		t.Errorf("an accepted one: %+v, %v", p.chosen, err)
	}
	var other ledger.Params
	other.Reference.Measurements = []task.Hash{p.program.Measurement}
	if err := p.known(other); task.CodeOf(err) != "runtime-unknown" {
		t.Errorf("chosen, and then not known to the chain: %v", err)
	}
	if p, err := choose(nil, task.Hash{1}); err != nil || p.chosen != nil || slices.Contains(p.runtimes(t.Context(), ""), task.RuntimeOCI) {
		t.Errorf("none that is accepted: %v, %v", p.chosen, err)
	}
	if _, err := choose([]string{first.Path()}, task.Hash{1}); task.CodeOf(err) != "runtime-unknown" {
		t.Errorf("named, and not accepted: %v", err)
	}
	if _, err := choose([]string{"/nowhere/crun"}, digest); err == nil {
		t.Error("named, and not there")
	}
}
