package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
)

// docker starts an engine of the test's own, and leaves the test out where
// there is none.
func docker(t *testing.T) (*Docker, string) {
	t.Helper()
	program, ok := Find("dockerd")
	if !ok || os.Geteuid() != 0 {
		t.Skip("no dockerd here, or not root. To have it: install the Debian package docker.io")
	}
	dir := t.TempDir()
	init := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", init, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	socket := filepath.Join(dir, "docker.sock")
	cmd := exec.Command(program, "--iptables=false", "--ip6tables=false", "--bridge=none",
		"--data-root="+filepath.Join(dir, "data"), "--exec-root="+filepath.Join(dir, "exec"),
		"--pidfile="+filepath.Join(dir, "pid"), "--host=unix://"+socket, "--storage-driver=overlay2", "--group=root")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			lines := strings.Split(log.String(), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
	var d *Docker
	var err error
	for range 200 {
		if d, err = NewDocker(t.Context(), Config{Socket: socket, Init: init}); err == nil {
			t.Cleanup(func() { d.Close() })
			return d, dir
		}
		if cmd.ProcessState != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Skipf("dockerd does not start here: %v", err)
	return nil, ""
}

func TestDocker(t *testing.T) {
	skipInShort(t)
	d, dir := docker(t)
	run := func(j sandbox.Job) sandbox.Result {
		t.Helper()
		res, err := d.Run(t.Context(), j)
		if err != nil {
			t.Fatal(j.Args, err)
		}
		if res.Before != sandbox.EmptyState || res.After != sandbox.EmptyState {
			t.Errorf("state before %v, after %v", res.Before, res.After)
		}
		return res
	}
	code := func(name, data string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(data))
		w.Close()
		return b.Bytes()
	}

	t.Run("outcomes", func(t *testing.T) {
		small := limits
		small.MemoryBytes = 64 << 20
		gas := limits
		gas.Gas = 400_000_000
		wall := limits
		wall.Wall = 3 * time.Second
		for _, c := range []struct {
			args   string
			limits sandbox.Limits
			want   sandbox.Outcome
		}{
			{"nothing", limits, sandbox.OK},
			{"upper", limits, sandbox.OK},
			{"exit 3", limits, sandbox.FunctionError},
			{"spin", gas, sandbox.GasExhausted},
			{"sleep 60000", wall, sandbox.WallExceeded},
			{"memory-bomb", small, sandbox.MemoryExceeded},
			{"output-bomb", limits, sandbox.OutputExceeded},
			{"many-files 1025", limits, sandbox.OutputExceeded},
			{"sparse 1048577", limits, sandbox.OutputExceeded},
			{"orphans", limits, sandbox.OK},
			{"log-flood", limits, sandbox.OK},
			{"bad-name", limits, sandbox.FunctionError},
			{"end-init", limits, sandbox.OK},
			{"speak-for-init", limits, sandbox.OK},
		} {
			j := job(t, strings.Fields(c.args)...)
			j.Limits = c.limits
			res := run(j)
			if res.Outcome != c.want {
				t.Errorf("%s: %v: %s: %s", c.args, res.Outcome, res.Reason, res.Log)
			}
			if c.args == "upper" && output(res, "result") != "HELLO" {
				t.Errorf("outputs %v", res.Outputs)
			}
			if res.Gas == 0 || c.want == sandbox.GasExhausted && res.Gas != c.limits.Gas {
				t.Errorf("%s: gas %d", c.args, res.Gas)
			}
		}
	})

	t.Run("layers", func(t *testing.T) {
		j := job(t, "nothing")
		for name, want := range map[string]string{"main": "not below code/", "code/../x": "not one below", "../x": "not one below"} {
			j.Code = code(name, "x")
			if res := run(j); res.Outcome != sandbox.FunctionError || !strings.Contains(res.Reason, want) {
				t.Errorf("%s: %v: %s", name, res.Outcome, res.Reason)
			}
		}
		j.Code, j.Digest = nil, "sha256:"+strings.Repeat("0", 64)
		if _, err := d.Run(t.Context(), j); !errors.Is(err, image.ErrDigest) {
			t.Error(err)
		}
	})

	// Nothing that is secret is in a file of the daemon's, and the search finds
	// what is: the public image.
	t.Run("traces", func(t *testing.T) {
		began := time.Now().Add(-time.Hour)
		var markers [][]byte
		for i := range 5 {
			c, in := fmt.Sprintf("code-marker-%d-%d", os.Getpid(), i), fmt.Sprintf("input-marker-%d-%d", os.Getpid(), i)
			markers = append(markers, []byte(c), []byte(in))
			j := job(t, "marked")
			j.Code, j.Inputs[0].Data = code("code/marked", c), []byte(in)
			if res := run(j); res.Outcome != sandbox.OK || output(res, "result") != "out:"+in {
				t.Fatalf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
			}
		}
		if found := search(began, markers, []string{dir, "/var/lib/docker", "/var/log", "/run"}); len(found) > 0 {
			t.Errorf("a byte of a job is in %v", found)
		}
		if found := search(began, [][]byte{[]byte("push to the tty")}, []string{dir}); !slices.ContainsFunc(found, func(p string) bool { return strings.HasSuffix(p, "/guest") }) {
			t.Errorf("the search does not find the image: %v", found)
		}
		list, err := d.client.ContainerList(t.Context(), client.ContainerListOptions{All: true})
		if err != nil || len(list.Items) != 0 {
			t.Errorf("containers left: %v %v", list.Items, err)
		}
	})

	t.Run("hostile", func(t *testing.T) {
		r := &Runtime{engine: engine{name: "docker", path: "/proc/self/exe"}}
		x := newTrap(t, r)
		mine := []string{ // its own copy, and memory that is bounded; it may
			"write to the input", "add an input", "chmod the input", "chown", "write to /dev", "write to /dev/shm",
			"effective root of a set-uid program", // takes another image
		}
		j := job(t, append([]string{"all"}, x.args...)...)
		res := run(j)
		x.check(t, r, "all attempts")
		table := output(res, "table")
		if n := strings.Count(table, "\n"); n != len(attemptNames(t)) {
			t.Errorf("%d attempts were made: %v: %s: %s", n, res.Outcome, res.Reason, res.Log)
		}
		for line := range strings.Lines(table) {
			name, verdict, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if verdict == "succeeded" && !slices.Contains(mine, name) {
				t.Errorf("%s succeeded", name)
			}
			t.Logf("docker | %-36s | %.100s", name, verdict)
		}
	})

	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := d.Run(ctx, job(t, "sleep", "60000")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// An engine is left as it was found, by who closes and, a day later, by the next
// one too if nobody did.
func TestDockerImagesGo(t *testing.T) {
	skipInShort(t)
	first, dir := docker(t)
	again := func() *Docker {
		d, err := NewDocker(t.Context(), Config{Socket: filepath.Join(dir, "docker.sock"), Init: filepath.Join(dir, "init")})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	run := func(d *Docker) {
		t.Helper()
		if res, err := d.Run(t.Context(), job(t, "nothing")); err != nil || res.Outcome != sandbox.OK {
			t.Errorf("%+v, %v", res, err)
		}
	}
	images := func(want int) {
		t.Helper()
		list, err := first.client.ImageList(t.Context(), client.ImageListOptions{All: true})
		if err != nil || len(list.Items) != want {
			t.Errorf("%d images, want %d, %v", len(list.Items), want, err)
		}
	}
	one, other := again(), again()
	run(one)
	run(other)
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	run(other) // what it needs is still there
	images(1)
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	images(0)

	killed := again()
	run(killed)
	left, err := os.MkdirTemp("", imageDir)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(left)
	first.sweep(t.Context(), time.Now().Add(abandoned-time.Hour))
	images(1)
	first.sweep(t.Context(), time.Now().Add(abandoned+time.Hour))
	images(0)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", left, err)
	}
	_ = killed.client.Close()
}

// A program that needs libraries cannot be an init, and one is told so.
func TestInitMustBeStatic(t *testing.T) {
	program, ok := Find("ls")
	if !ok {
		t.Skip("no ls here")
	}
	if _, err := static(program); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Error(err)
	}
	if _, err := NewDocker(t.Context(), Config{Socket: "/nowhere", Init: program}); err == nil {
		t.Error("an engine at /nowhere")
	}
}
