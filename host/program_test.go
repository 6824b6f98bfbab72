package host

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prytany/prytany/task"
)

// copyOfSource is a tree of this module's source in a directory of its own.
func copyOfSource(t *testing.T) string {
	t.Helper()
	from, ok := sourceRoot()
	if !ok {
		t.Fatal("no source")
	}
	to := t.TempDir()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir() && rel != "." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "bin" || e.Name() == "testdata"):
			return fs.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !e.Type().IsRegular() || strings.HasSuffix(rel, "_test.go"):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// measured builds the enclave programs of a source tree, and says what comes of
// it.
func measured(t *testing.T, root string) map[string]task.Hash {
	t.Helper()
	var said []Notice
	dir, err := buildEnclaves(t.Context(), root, func(n Notice) { said = append(said, n) })
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 {
		t.Errorf("it was not built, or nothing was said of it: %v", said)
	}
	m := map[string]task.Hash{}
	for _, name := range []string{EnclaveProgram, DockerProgram} {
		p, err := Origin{name: name, file: filepath.Join(dir, name)}.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m[name] = p.Measurement
		_ = p.Close()
	}
	return m
}

// The programs are the same, bit for bit, from two directories. What is not in
// them does not move their measurement, and what is does.
func TestMeasurementIsOfTheEnclaveAlone(t *testing.T) {
	skipInShort(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("GOCACHE") == "" {
		t.Setenv("GOCACHE", filepath.Join(cache, "go-build")) // compiled once, linked anew
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	// What a user may have set for other builds.
	t.Setenv("GOFLAGS", "-ldflags=-X=main.x=y")
	t.Setenv("GOAMD64", "v2")
	root := copyOfSource(t)
	before := measured(t, root)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if other := measured(t, copyOfSource(t)); other[EnclaveProgram] != before[EnclaveProgram] || other[DockerProgram] != before[DockerProgram] {
		t.Errorf("two builds in two directories: %v and %v", before, other)
	}
	for _, row := range []struct {
		name, file, old, new string
		moves                bool
	}{
		{"a help text", "cmd/prytany/doctor.go", "Look at this machine", "Have a look at this machine", false},
		{"a rule of the chain", "ledger/apply.go", "is not published here", "is not to be found here", false},
		{"the enclave", "tee/enclave/enclave.go", "out of order: begin", "out of order: first begin", true},
		{"the seal", "seal/seal.go", "sealed key of %d bytes", "sealed secret of %d bytes", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(root, row.file)
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.WriteFile(file, was, 0o644); err != nil {
					t.Error(err)
				}
			})
			changed := bytes.Replace(was, []byte(row.old), []byte(row.new), 1)
			if bytes.Equal(changed, was) {
				t.Fatalf("%q does not stand in %s", row.old, row.file)
			}
			if err := os.WriteFile(file, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			now := measured(t, root)
			for name, m := range now {
				if moved := m != before[name]; moved != row.moves {
					t.Errorf("%s: moved %v, want %v", name, moved, row.moves)
				}
			}
		})
	}
}

// make builds what this program would.
func TestMakefileHasTheSameWords(t *testing.T) {
	root, _ := sourceRoot()
	raw, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	line := func(name string) string {
		_, rest, _ := strings.Cut(string(raw), "\n"+name+" = ")
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	var env []string
	for _, e := range enclaveEnv {
		if !strings.HasPrefix(e, "GOOS=") && !strings.HasPrefix(e, "GOARCH=") {
			env = append(env, e)
		}
	}
	if got, want := line("ENCLAVE_ENV"), strings.Join(env, " "); got != want {
		t.Errorf("Makefile: %q, here: %q", got, want)
	}
	if got, want := strings.ReplaceAll(line("ENCLAVE_FLAGS"), "'", ""), strings.Join(enclaveFlags, " "); got != want {
		t.Errorf("Makefile: %q, here: %q", got, want)
	}
}

// A program is taken from beside this one first, and then from the source;
// without either a person is told what to type.
func TestWhereProgramsAreFound(t *testing.T) {
	dir := t.TempDir()
	p := Programs{Beside: dir}
	if o, err := p.Locate(EnclaveProgram); err != nil || o.root == "" {
		t.Errorf("%v, %v: want the source", o, err)
	}
	file := filepath.Join(dir, EnclaveProgram)
	if err := os.WriteFile(file, []byte("#!"), 0o644); err != nil {
		t.Fatal(err)
	}
	if o, _ := p.Locate(EnclaveProgram); o.file != "" {
		t.Error("a file that cannot be started is taken for a program")
	}
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	if o, err := p.Locate(EnclaveProgram); err != nil || o.file != file {
		t.Errorf("%v, %v: want %s", o, err, file)
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p.Source = dir // in which there is none
	_, err := p.Locate(EnclaveProgram)
	if task.CodeOf(err) != EnclaveMissing || !strings.Contains(err.(*task.Error).Next, "go build -o "+file) {
		t.Errorf("%v", err)
	}
	if _, err := openPlatform(t.Context(), Enclaves{Programs: p}); task.CodeOf(err) != EnclaveMissing {
		t.Errorf("without a program: %v", err)
	}
}

// A release carries its programs, and takes them for nothing else than what it
// was built with.
func TestCarriedPrograms(t *testing.T) {
	programs := Programs{Beside: t.TempDir()}
	program := []byte("a program")
	sum := fmt.Sprintf("%x  prytany-enclave\n", sha256.Sum256(program))
	for _, row := range []struct {
		program []byte
		ok      bool
	}{{program, true}, {[]byte("another program"), false}} {
		programs.Carried = fstest.MapFS{
			"embedded/" + EnclaveProgram:             {Data: row.program},
			"embedded/" + EnclaveProgram + ".sha256": {Data: []byte(sum)},
		}
		p, err := programs.Find(t.Context(), EnclaveProgram)
		if (err == nil) != row.ok {
			t.Errorf("%s: %v", row.program, err)
		}
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(p.Path())
		if err != nil || !bytes.Equal(raw, program) || p.Measurement != task.Hash(sha256.Sum256(program)) {
			t.Errorf("%q, %s, %v", raw, p.Measurement, err)
		}
		_ = p.Close()
	}
}

// Where there is source and no toolchain, one is told so.
func TestNoToolchain(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	root, _ := sourceRoot()
	_, err := buildEnclaves(t.Context(), root, nil)
	if task.CodeOf(err) != EnclaveMissing || !strings.Contains(err.(*task.Error).Next, "make build") {
		t.Errorf("%v", err)
	}
}

// What is kept of old builds does not grow, and what somebody is building stays.
func TestOldBuildsGo(t *testing.T) {
	all := t.TempDir()
	for i, name := range []string{"a", "b", "c", "part-x", "d", "e"} {
		dir := filepath.Join(all, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		at := st.ModTime().Add(-time.Duration(i) * time.Minute)
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := forget(all, 2); err != nil {
		t.Fatal(err)
	}
	var left []string
	list, err := os.ReadDir(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "a b part-x" {
		t.Errorf("left are %q", got)
	}
}
