// It starts engines, which takes minutes: by name, and a step of .ci/run.

//go:build engines

package docker

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
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/container/enginetest"
	"github.com/prytany/prytany/sandbox/image"
)

// guest is the source of the program in the tests' image.
const guest = "../container/testdata/guest"

func job(t testing.TB, args ...string) sandbox.Job {
	t.Helper()
	return enginetest.Job(t, guest, args...)
}

// eachEngine runs a test with every engine that is here: with the directory of
// all its files, and an opener of it.
func eachEngine(t *testing.T, test func(t *testing.T, dir string, open func() *Docker)) {
	t.Helper()
	if testing.Short() {
		t.Skip("long; run without -short")
	}
	init := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", init, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	enginetest.Each(t, func(t *testing.T, socket string) {
		test(t, filepath.Dir(socket), func() *Docker {
			d, err := New(t.Context(), Config{Socket: socket, Init: init})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			return d
		})
	})
}

func TestDocker(t *testing.T) { eachEngine(t, testDocker) }

func testDocker(t *testing.T, dir string, open func() *Docker) {
	d := open()
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
		small := enginetest.Limits
		small.MemoryBytes = 64 << 20
		gas := enginetest.Limits
		gas.Gas = 400_000_000
		wall := enginetest.Limits
		wall.Wall = 3 * time.Second
		for _, c := range []struct {
			args   string
			limits sandbox.Limits
			want   sandbox.Outcome
		}{
			{"nothing", enginetest.Limits, sandbox.OK},
			{"upper", enginetest.Limits, sandbox.OK},
			{"exit 3", enginetest.Limits, sandbox.FunctionError},
			{"spin", gas, sandbox.GasExhausted},
			{"sleep 60000", wall, sandbox.WallExceeded},
			{"memory-bomb", small, sandbox.MemoryExceeded},
			{"output-bomb", enginetest.Limits, sandbox.OutputExceeded},
			{"many-files 1025", enginetest.Limits, sandbox.OutputExceeded},
			{"sparse 1048577", enginetest.Limits, sandbox.OutputExceeded},
			{"shared", enginetest.Limits, sandbox.OK},
			{"terminal", enginetest.Limits, sandbox.OK},
			{"full 40", enginetest.Limits, sandbox.OK},
			{"orphans", enginetest.Limits, sandbox.OK},
			{"log-flood", enginetest.Limits, sandbox.OK},
			{"bad-name", enginetest.Limits, sandbox.FunctionError},
			{"end-init", enginetest.Limits, sandbox.OK},
			{"speak-for-init", enginetest.Limits, sandbox.OK},
		} {
			j := job(t, strings.Fields(c.args)...)
			j.Limits = c.limits
			res := run(j)
			if res.Outcome != c.want {
				t.Errorf("%s: %v: %s: %s", c.args, res.Outcome, res.Reason, res.Log)
			}
			if c.args == "upper" && enginetest.Output(res, "result") != "HELLO" {
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
			if res := run(j); res.Outcome != sandbox.OK || enginetest.Output(res, "result") != "out:"+in {
				t.Fatalf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
			}
		}
		if found := enginetest.Search(began, markers, []string{dir, "/var/lib/docker", "/var/log", "/run"}); len(found) > 0 {
			t.Errorf("a byte of a job is in %v", found)
		}
		if found := enginetest.Search(began, [][]byte{[]byte("push to the tty")}, []string{dir}); !slices.ContainsFunc(found, func(p string) bool { return strings.HasSuffix(p, "/guest") }) {
			t.Errorf("the search does not find the image: %v", found)
		}
		list, err := d.client.ContainerList(t.Context(), client.ContainerListOptions{All: true})
		if err != nil || len(list.Items) != 0 {
			t.Errorf("containers left: %v %v", list.Items, err)
		}
	})

	t.Run("hostile", func(t *testing.T) {
		x := enginetest.NewTrap(t, nil)
		mine := []string{ // its own copy, and memory that is bounded; it may
			"write to the input", "add an input", "chmod the input", "chown", "write to /dev", "more terminals than there may be",
			"effective root of a set-uid program", // takes another image
		}
		j := job(t, append([]string{"all"}, x.Args...)...)
		res := run(j)
		x.Check(t, "all attempts")
		table := enginetest.Output(res, "table")
		if n := strings.Count(table, "\n"); n != len(enginetest.Attempts(t, guest)) {
			t.Errorf("%d attempts were made: %v: %s: %s", n, res.Outcome, res.Reason, res.Log)
		}
		for line := range strings.Lines(table) {
			name, verdict, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if verdict == "succeeded" && !slices.Contains(mine, name) {
				t.Errorf("%s succeeded", name)
			}
			t.Logf("docker API | %-36s | %.100s", name, verdict)
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
func TestDockerImagesGo(t *testing.T) { eachEngine(t, testImagesGo) }

func testImagesGo(t *testing.T, _ string, open func() *Docker) {
	first := open()
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
	one, other := open(), open()
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

	killed := open()
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
	program, ok := container.Find("ls")
	if !ok {
		t.Skip("no ls here")
	}
	if _, err := static(program); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Error(err)
	}
	if _, err := New(t.Context(), Config{Socket: "/nowhere", Init: program}); err == nil {
		t.Error("an engine at /nowhere")
	}
}
