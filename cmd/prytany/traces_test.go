package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
)

// marker is a secret that was never seen before.
func marker() string { return fmt.Sprintf("MARKER-%x", seedOf()) }

// secretiveRoot is a whole private root file system: a program that writes the
// secret beside it, and its input, to the output, to /tmp and to its log.
func secretiveRoot(t *testing.T, secret string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module f\n\ngo 1.26\n",
		"main.go": `package main
import "os"
func must[T any](v T, err error) T { if err != nil { panic(err) }; return v }
func main() {
	both := append(must(os.ReadFile("/secret")), must(os.ReadFile("/in/input"))...)
	for _, f := range []string{"/tmp/scratch", "/out/out.txt"} {
		if err := os.WriteFile(f, both, 0o600); err != nil { panic(err) }
	}
	os.Stderr.Write(both)
}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", "f", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{{"f", 0o755, program}, {"secret", 0o644, []byte(secret)}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(f.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layer.Bytes()
}

// After a hundred tasks in containers, on the real stack, no file on any disk
// has changed to one with a marker of the code, the input or the output in it.
// What a job wrote to a block device is an error of the runtime's own (spec §9.5).
func TestHundredTasksLeaveNothing(t *testing.T) {
	skipInShort(t)
	k, err := container.New(t.Context(), container.Config{Runtimes: []string{"crun", "runc", "runsc"}})
	if err != nil {
		t.Skip(err)
	}
	began, secret, input := time.Now().Add(-time.Second), marker(), marker()
	home, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	w := newTown(t, host.Config{Home: home, Enclaves: host.Enclaves{OCI: []string{k.Name()}}})
	m := task.Manifest{Name: "secretive", Version: "1", Runtime: task.RuntimeOCI, Arch: runtime.GOARCH, Args: []string{"/f"}, Royalty: task.PRY / 100, Limits: small, Log: true}
	f, err := w.bob.Publish(t.Context(), client.Publication{Manifest: m, Code: secretiveRoot(t, secret), Bond: 1000 * task.PRY})
	if err != nil {
		t.Fatal(err)
	}
	const tasks, atOnce = 100, 5
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for range tasks / atOnce {
				r, err := w.alice.Post(t.Context(), w.job(f, input))
				if err != nil {
					t.Error(err)
					return
				}
				c, out, err := w.finish(r)
				if err != nil || c.Settlement.Outcome != ledger.Completed || string(out.Files["out.txt"]) != secret+input || string(out.Log) != secret+input {
					t.Errorf("%v: %+v, the log: %s", err, c.Settlement, out.Log)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	files, found := searchChanged(t, began, secret, input)
	if len(found) != 0 || files < 50 {
		t.Errorf("%d files have changed, with a marker: %v", files, found)
	}
	t.Logf("%d files on disks have changed, %d of them with a marker", files, len(found))
}

// searchChanged looks through every regular file on every mounted disk that has
// changed since.
func searchChanged(t *testing.T, since time.Time, markers ...string) (files int, found []string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		device, rest, _ := strings.Cut(line, " ")
		root, _, _ := strings.Cut(rest, " ")
		if !strings.HasPrefix(device, "/dev/") {
			continue // not a disk
		}
		var on syscall.Stat_t
		if err := syscall.Stat(root, &on); err != nil {
			continue
		}
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // it went away meanwhile
			}
			var st syscall.Stat_t
			if syscall.Lstat(path, &st) != nil {
				return nil
			}
			switch {
			case d.IsDir() && st.Dev != on.Dev:
				return fs.SkipDir // another file system
			case !d.Type().IsRegular() || time.Unix(st.Mtim.Unix()).Before(since):
				return nil
			}
			if raw, err := os.ReadFile(path); err == nil {
				files++
				if holds(raw, markers) {
					found = append(found, path)
				}
			}
			return nil
		})
	}
	return files, found
}

// The search finds a marker, wherever it lies.
func TestTheSearchFindsMarkers(t *testing.T) {
	skipInShort(t)
	began, secret := time.Now().Add(-time.Second), marker()
	if err := os.WriteFile(filepath.Join(t.TempDir(), "found"), []byte("x"+secret+"y"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, found := searchChanged(t, began, secret)
	if len(found) != 1 || filepath.Base(found[0]) != "found" {
		t.Errorf("found %v", found)
	}
}
