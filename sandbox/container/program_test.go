package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"golang.org/x/sys/unix"
)

// copied puts a runtime of this machine somewhere else.
func copied(t *testing.T, name string) string {
	t.Helper()
	from, ok := Find(name)
	if !ok {
		t.Skipf("no %s here", name)
	}
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(to, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// digestOf is the digest of a program, which is closed.
func digestOf(t *testing.T, p *Program, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	d, err := p.Load()
	if err != nil {
		t.Skip(err) // who is not root makes no file systems
	}
	return d.String()
}

// A host that swaps the runtime when it has been measured does not reach the
// run: what was measured is what runs.
func TestRuntimeSwappedAfterItWasMeasured(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		path := copied(t, r.Name())
		moved, err := New(t.Context(), Config{Runtimes: []string{path}})
		if err != nil {
			t.Fatal(err)
		}
		defer moved.Close()
		if moved.Digest() != r.Digest() || r.Digest().IsZero() {
			t.Errorf("the same program from another place: %s, %s", moved.Digest(), r.Digest())
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0) // the very file that was opened
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteString("#!/bin/false\n")
		f.Close()
		if res := mustRun(t, moved, job(t, "nothing")); res.Outcome != sandbox.OK {
			t.Errorf("%v: %s", res.Outcome, res.Reason)
		}
		if p, err := Open(path); err == nil {
			p.Close()
			t.Error("what is no program was opened as a runtime")
		}
	})
}

// Every file that a runtime loads is in its digest, and so is what it is taken
// for: crun's bytes under the name of runsc would be started without a list of
// system calls.
func TestDigestOfARuntime(t *testing.T) {
	p, err := Open(copied(t, "crun"))
	want := digestOf(t, p, err)
	p, err = Open(copied(t, "crun"))
	if err != nil {
		t.Fatal(err)
	}
	count := len(p.parts)
	p.Close()
	if count < 3 {
		t.Fatalf("crun and %d libraries: it is static here", count-1)
	}
	for i := range count {
		p, err := Open(copied(t, "crun"))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(p.parts[i].file)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)-1] ^= 1
		altered := filepath.Join(t.TempDir(), "altered")
		if err := os.WriteFile(altered, raw, 0o755); err != nil {
			t.Fatal(err)
		}
		p.parts[i].file.Close()
		if p.parts[i].file, err = os.Open(altered); err != nil {
			t.Fatal(err)
		}
		if at := p.parts[i].at; digestOf(t, p, nil) == want {
			t.Errorf("%s was replaced, and the digest is the same", at)
		}
	}
	path := copied(t, "crun")
	other := filepath.Join(filepath.Dir(path), "runsc")
	if err := os.Rename(path, other); err != nil {
		t.Fatal(err)
	}
	if p, err := Open(other); digestOf(t, p, err) == want {
		t.Error("crun taken for runsc has the same digest")
	}
	if p, err := Open("/bin/sh"); err == nil {
		p.Close()
		t.Error("a shell was opened as a runtime")
	}
}

// What runs sees itself, its libraries, and the job: nothing of this machine.
func TestNothingOfTheMachineIsSeenByARuntime(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		done := make(chan error, 1)
		go func() {
			_, err := r.Run(t.Context(), job(t, "sleep", "1500"))
			done <- err
		}()
		want := []string{"bin", "dev", "proc", "run", "sys", "tmp"}
		seen := false
		for ended := false; !ended; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				ended = true
			case <-time.After(20 * time.Millisecond):
			}
			for _, p := range leftovers(t) {
				pid, ok := strings.CutSuffix(p, "/cgroup")
				exe, err := os.Readlink(pid + "/exe")
				if !ok || err != nil || !strings.Contains(exe, r.Name()) {
					continue // a directory, the container's, or not yet the runtime; crun runs as a copy of itself
				}
				names, err := listed(pid + "/root")
				if err != nil || !slices.Contains(names, "bin") {
					continue // it has ended, or has gone into an empty root of its own
				}
				seen = true
				names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "lib") })
				if !slices.Equal(names, want) {
					t.Errorf("%s sees %v", exe, names)
				}
				if _, err := os.Create(filepath.Join(pid, "root/bin/new")); !errors.Is(err, unix.EROFS) && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a file was made beside the runtime: %v", err)
				}
			}
		}
		if !seen {
			t.Error("the runtime was not seen")
		}
	})
}

func listed(dir string) (names []string, err error) {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

// The cost of a runtime that is measured: opened, copied, summed and tried.
func BenchmarkMeasured(b *testing.B) {
	for _, name := range (Config{}).withDefaults().Runtimes {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r, err := New(b.Context(), Config{Runtimes: []string{name}})
				if err != nil {
					b.Skip(err)
				}
				r.Close()
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// Files that are no programs, or programs that cannot be, are refused.
func TestOpenRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir())
	for i, content := range []string{"", "#!/bin/sh\n", "\x7fELF", "\x7fELF\x02\x01\x01" + strings.Repeat("\xff", 200)} {
		path := filepath.Join(dir, fmt.Sprint(i), "crun")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
		if p, err := Open(path); err == nil {
			p.Close()
			t.Errorf("%q was opened", content)
		}
	}
}
