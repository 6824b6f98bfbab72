package host

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"golang.org/x/sys/cpu"
)

// known is an interpreter, a table in which it stands, and what is made of it.
func known(t *testing.T, dir string, n byte) (k compiledFile, image, compiled []byte) {
	t.Helper()
	image, compiled = []byte{n}, []byte{'c', n}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(image))
	return compiledFile{filepath.Join(dir, fmt.Sprint(n)), digest, tee.Interpreters{digest: {fmt.Sprintf("%x", sha256.Sum256(compiled))}}}, image, compiled
}

// A worker has each interpreter compiled once, keeps the newest only, and nothing
// that an enclave would not take: whatever was made of it, or has become of the file.
func TestCompiledFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "compiled")
	jobs := 0
	makes := func(what []byte, err error) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { jobs++; return what, err }
	}
	for i := range byte(maxKept + 2) {
		k, image, compiled := known(t, dir, i)
		for range 2 {
			if got := k.of(image, makes(compiled, nil)); !bytes.Equal(got, compiled) {
				t.Errorf("%d: %q", i, got)
			}
		}
		if jobs != int(i)+1 {
			t.Errorf("%d: %d jobs", i, jobs)
		}
		if err := os.Chtimes(k.path, time.Time{}, time.Unix(int64(1000+int(i)), 0)); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != maxKept {
		t.Errorf("%d files, %v", len(list), err)
	}
	k, image, compiled := known(t, dir, maxKept+1)
	for what, spoil := range map[string]func() error{
		"altered":  func() error { return os.WriteFile(k.path, []byte("xx"), 0o600) },
		"too long": func() error { return os.Truncate(k.path, tee.MaxCompiled+1) },
		"gone":     func() error { return os.Remove(k.path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		jobs = 0
		if got := k.of(image, makes(compiled, nil)); !bytes.Equal(got, compiled) || jobs != 1 {
			t.Errorf("%s: %q after %d jobs", what, got, jobs)
		}
	}
	_ = os.Remove(k.path)
	jobs = 0
	if k.of([]byte("another image"), makes(compiled, nil)) != nil || jobs != 0 {
		t.Error("another image than the interpreter was compiled")
	}
	for range 2 { // an enclave that fails may do better the next time
		if k.of(image, makes(nil, errors.New("killed"))) != nil {
			t.Error("something of nothing")
		}
	}
	if jobs != 2 {
		t.Errorf("%d jobs", jobs)
	}
	jobs = 0
	for range 2 { // another processor than the table's makes the same each time
		if len(k.of(image, makes([]byte("other code"), nil))) > 0 {
			t.Error("code that is not in the table was kept")
		}
	}
	if jobs != 1 {
		t.Errorf("%d jobs", jobs)
	}
}

// What is kept is of the interpreters in the table alone, and of one program's.
func TestKeptFor(t *testing.T) {
	public := func(digest, runtime, dir string, program byte) compiledFile {
		return keptFor(dir, task.Manifest{Runtime: runtime, Image: &task.Image{Digest: digest}}, task.Hash{program})
	}
	for digest := range tee.Public {
		a := public(digest, task.RuntimePython, "d", 1)
		if a.path == "" || a.path == public(digest, task.RuntimePython, "d", 2).path {
			t.Errorf("%s: %q", digest, a.path)
		}
		if k := public(digest, task.RuntimeOCI, "d", 1); k.path != "" {
			t.Error("an image of containers is compiled")
		}
		if k := public(digest, task.RuntimePython, "", 1); k.path != "" {
			t.Error("kept nowhere")
		}
	}
	if k := public("sha256:0", task.RuntimePython, "d", 1); k.path != "" || k.of(nil, nil) != nil {
		t.Error("an interpreter of a stranger's is compiled in the worker's time")
	}
	if k := keptFor("d", task.Manifest{Runtime: task.RuntimeWasm}, task.Hash{}); k.path != "" {
		t.Error("a private module is kept")
	}
}

// The table is right: this program, within its walls, makes of each interpreter
// that is here what stands there, each time.
func TestPublicInterpreters(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles whole interpreters")
	}
	if runtime.GOARCH != "amd64" || !cpu.X86.HasBMI1 || !cpu.X86.HasBMI2 || !cpu.X86.HasPOPCNT {
		t.Skip("the table has other processors")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	p, err := openPlatform(t.Context(), Enclaves{})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = p.close() })
	found, _ := filepath.Glob(filepath.Join(cache, "prytany", "images", "python-*.wasm"))
	tried := 0
	for _, path := range found {
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(image))
		if len(tee.Public[digest]) == 0 {
			continue
		}
		compiled, err := p.compile(image)
		if err != nil {
			t.Fatal(err)
		}
		if !tee.Public.Has(digest, compiled) {
			t.Errorf("%s makes %d bytes %x, and tee.Public has %v", path, len(compiled), sha256.Sum256(compiled), tee.Public[digest])
		}
		tried++
	}
	if tried == 0 {
		t.Skip("no interpreter of the table: tools/python-wasi.sh fetches it")
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
		p, err := openPlatform(t.Context(), Enclaves{OCI: oci})
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
	other := attest.Reference{Measurements: []task.Hash{p.program.Measurement}}
	if err := p.known("c", other); task.CodeOf(err) != "runtime-unknown" {
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
