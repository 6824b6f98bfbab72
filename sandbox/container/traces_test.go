package container

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container/enginetest"
	"github.com/prytany/prytany/sandbox/image"
)

// What is secret in a job, its code, input, output and log, is on no disk when
// it is over, and nothing was written to one.
func TestNoTraces(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 5
	}
	two(t, func(t *testing.T, r *Runtime) {
		x := newTrap(t, r)
		runs := 0
		r.config.Observe = func(u Usage) {
			runs++
			if u.DiskWrites != 0 {
				t.Errorf("%d bytes were written to a disk", u.DiskWrites)
			}
		}
		began := time.Now()
		var markers [][]byte
		for range n {
			code, input := []byte("code"+rand.Text()), []byte("input"+rand.Text())
			markers = append(markers, code, input)
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "code"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "code/marked"), code, 0o644); err != nil {
				t.Fatal(err)
			}
			layer, err := image.Layer(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil { // Bob's own copy
				t.Fatal(err)
			}
			j := job(t, "marked")
			j.Code, j.Inputs[0].Data = layer, input
			res := mustRun(t, r, j)
			if res.Outcome != sandbox.OK || output(res, "result") != "out:"+string(input) || string(res.Log) != "log:"+string(input) {
				t.Fatalf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
			}
		}
		if runs != n {
			t.Errorf("%d runs were observed, not %d", runs, n)
		}
		x.Check(t, "all of it")

		home, _ := os.UserCacheDir()
		places := []string{os.TempDir(), "/run", "/var", "/dev/shm", home, "."}
		// The search finds what there is to find.
		planted := filepath.Join(t.TempDir(), "planted")
		if err := os.WriteFile(planted, slices.Concat([]byte("..."), markers[n]), 0o600); err != nil {
			t.Fatal(err)
		}
		found := enginetest.Search(began, markers, places)
		if !slices.Contains(found, planted) {
			t.Error("the search does not find what was planted")
		}
		for _, f := range found {
			if f != planted {
				t.Errorf("%s has a byte of a job", f)
			}
		}
	})
}

// An executor that does not wipe is given away by the state after the run.
func TestSkippedWipeShows(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		r.wipe = func(*ram) error { return nil }
		res, err := r.Run(t.Context(), job(t, "upper"))
		if err != nil || res.Outcome != sandbox.OK {
			t.Fatal(res.Outcome, err)
		}
		if res.Before != sandbox.EmptyState || res.After == sandbox.EmptyState {
			t.Errorf("state before %v, after %v", res.Before, res.After)
		}
	})
}

// The processes of a job are in network namespaces with nothing in them but a
// loopback interface, through which no packet went.
func TestNoNetwork(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		own, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := r.Run(t.Context(), job(t, "sleep", "1500"))
			done <- err
		}()
		seen := 0
		for ended := false; !ended; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				ended = true
			case <-time.After(50 * time.Millisecond):
			}
			for _, p := range leftovers(t) {
				pid, ok := strings.CutSuffix(p, "/cgroup")
				dev, err := os.ReadFile(filepath.Join(pid, "net/dev"))
				ns, err2 := os.Readlink(filepath.Join(pid, "ns/net"))
				if !ok || err != nil || err2 != nil {
					continue // a directory, or it has ended
				}
				seen++
				if ns == own {
					t.Errorf("process %s is in the host's network", pid)
				}
				lines := strings.Split(strings.TrimSpace(string(dev)), "\n")
				for _, l := range lines[2:] {
					if strings.Join(strings.Fields(l), " ") != "lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0" {
						t.Errorf("interface %s", l)
					}
				}
			}
		}
		if seen == 0 {
			t.Error("no process of the job was seen")
		}
	})
}
