package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container/enginetest"
	"github.com/prytany/prytany/sandbox/image"
)

// each runs a test once for each OCI runtime that works here.
func each(t *testing.T, f func(t *testing.T, r *Runtime)) {
	t.Helper()
	ran := false
	for _, name := range (Config{}).withDefaults().Runtimes {
		s, p := probe(t.Context(), name)
		if p != nil {
			p.Close()
		}
		if !s.Available {
			t.Logf("%s is left out: %s. To have it: %s", s.Name, s.Why, s.Hint)
			continue
		}
		ran = true
		t.Run(s.Name, func(t *testing.T) { f(t, open(t, s.Name)) })
	}
	if !ran {
		t.Skip("no OCI runtime works here")
	}
}

// two is each, for long tests: runc is left out where there is crun, which gets
// the same configuration from the same keeper.
func two(t *testing.T, f func(t *testing.T, r *Runtime)) {
	t.Helper()
	_, crun := Find("crun")
	each(t, func(t *testing.T, r *Runtime) {
		if r.Name() == "runc" && crun {
			t.Skip("crun stands for it")
		}
		f(t, r)
	})
}

func open(t testing.TB, name string) *Runtime {
	t.Helper()
	r, err := New(t.Context(), Config{Runtimes: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// limits are enough for all that a test does not want to fail.
var limits = enginetest.Limits

func job(t testing.TB, args ...string) sandbox.Job {
	t.Helper()
	return enginetest.Job(t, "testdata/guest", args...)
}

var output = enginetest.Output

// mustRun also checks what holds for every run.
func mustRun(t testing.TB, r *Runtime, j sandbox.Job) sandbox.Result {
	t.Helper()
	res, err := r.Run(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if res.Before != sandbox.EmptyState || res.After != sandbox.EmptyState {
		t.Errorf("state before %v, after %v", res.Before, res.After)
	}
	if res.Gas > j.Limits.Gas || len(res.Log) > int(j.Limits.LogBytes) {
		t.Errorf("gas %d, log of %d bytes", res.Gas, len(res.Log))
	}
	if (res.Outcome == sandbox.OK) != (res.Reason == "") || res.Outcome != sandbox.OK && len(res.Outputs) > 0 {
		t.Errorf("%v with reason %q and %d outputs", res.Outcome, res.Reason, len(res.Outputs))
	}
	return res
}

// skipInShort leaves out what is about the function's process and not about
// this one: beside the race detector it takes minutes and tells nothing.
func skipInShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("long; run without -short")
	}
}

func TestContract(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		res := mustRun(t, r, job(t, "upper"))
		if res.Outcome != sandbox.OK || output(res, "result") != "HELLO" || len(res.Outputs) != 1 {
			t.Errorf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
		}
		look := output(mustRun(t, r, job(t, "look")), "look")
		for _, want := range []string{
			"uid 0 gid 0 args [look]", "cwd /\n", "NoNewPrivs:\t1",
			"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		} {
			if !strings.Contains(look, want) {
				t.Errorf("no %q in\n%s", want, look)
			}
		}
		// That there is no /sys is the runtime's to keep; runsc has its own, which
		// leads nowhere.
		if r.Name() != "runsc" && strings.Contains(look, "\n/sys") {
			t.Errorf("too much to see:\n%s", look)
		}
		j := job(t) // its image has an Entrypoint, which the manifest does not name
		if res := mustRun(t, r, sandbox.Job{Image: j.Image, Digest: j.Digest, Limits: limits}); res.Outcome != sandbox.FunctionError || !strings.Contains(res.Reason, "no arguments") {
			t.Errorf("without arguments: %v: %s", res.Outcome, res.Reason)
		}
	})
}

func TestOutcomes(t *testing.T) {
	with := func(change func(l *sandbox.Limits)) sandbox.Limits {
		l := limits
		change(&l)
		return l
	}
	gas := with(func(l *sandbox.Limits) { l.Gas = 300_000_000 }) // 0.3 s of one processor
	memory := with(func(l *sandbox.Limits) { l.MemoryBytes = 64 << 20 })
	large := with(func(l *sandbox.Limits) { l.MemoryBytes = 200 << 20 })
	wall := with(func(l *sandbox.Limits) { l.Wall = 500 * time.Millisecond })
	for _, c := range []struct {
		args   string
		limits sandbox.Limits
		want   sandbox.Outcome
		reason string
	}{
		{"nothing", limits, sandbox.OK, ""},
		{"exit 3", limits, sandbox.FunctionError, "exit code 3"},
		{"panic", limits, sandbox.FunctionError, "exit code 2"},
		{"spin", gas, sandbox.GasExhausted, "all 300000000 gas"},
		{"memory-bomb", memory, sandbox.MemoryExceeded, "denied more memory"},
		{"sleep 60000", wall, sandbox.WallExceeded, "time was over"},
		{"spin", wall, sandbox.WallExceeded, "time was over"},
		{"output-bomb", limits, sandbox.OutputExceeded, "too many bytes"},
		{"sparse 1048577", limits, sandbox.OutputExceeded, "too many bytes"},
		{"room", limits, sandbox.OK, ""},
		{"sparse 1048576", limits, sandbox.OK, ""},
		{"many-files 1025", limits, sandbox.OutputExceeded, "too many files"},
		{"many-files 1024", limits, sandbox.OK, ""},
		{"many-links 1024", limits, sandbox.OutputExceeded, "too many files"},
		{"two-links", limits, sandbox.OK, ""},
		{"tmp-bomb", limits, sandbox.OK, ""}, // it was told that there is no room left
		{"deep-tmp", limits, sandbox.OK, ""},
		{"deep-out", limits, sandbox.FunctionError, "more than 4096 bytes"},
		{"bad-name", limits, sandbox.FunctionError, "not in UTF-8"},
		// What is in /dev/shm counts as memory, as what is in /tmp does: 190 would fit
		// beside one of them, with what the runtime itself may have.
		{"full 40", large, sandbox.OK, ""},
		{"full 190", large, sandbox.MemoryExceeded, "denied more memory"},
		{"shared", limits, sandbox.OK, ""},
		{"log-flood", limits, sandbox.OK, ""},
		{"fork-bomb", wall, sandbox.WallExceeded, "time was over"},
	} {
		t.Run(c.args, func(t *testing.T) {
			each(t, func(t *testing.T, r *Runtime) {
				j := job(t, strings.Fields(c.args)...)
				j.Limits = c.limits
				res := mustRun(t, r, j)
				for strings.Contains(res.Reason, "before it was unpacked") && j.Limits.Wall < time.Minute { // a busy machine
					j.Limits.Wall *= 2
					res = mustRun(t, r, j)
				}
				if res.Outcome != c.want || !strings.Contains(res.Reason, c.reason) {
					t.Errorf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
				}
				if c.want == sandbox.GasExhausted && res.Gas != c.limits.Gas {
					t.Errorf("gas %d", res.Gas)
				}
			})
		})
	}
}

// What the function's author got wrong is a result; what the host did not get
// right is an error.
func TestWhoseFault(t *testing.T) {
	skipInShort(t)
	each(t, func(t *testing.T, r *Runtime) {
		dir := t.TempDir()
		for name, data := range map[string]string{"script": "#!/none\n", "text": "hello", "data": "data"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "data"), 0o644); err != nil {
			t.Fatal(err)
		}
		layer, err := image.Layer(dir)
		if err != nil {
			t.Fatal(err)
		}
		for what, j := range map[string]sandbox.Job{
			"no such program":        {Code: layer, Args: []string{"/none"}},
			"no program in the path": {Code: layer, Args: []string{"none"}},
			"not executable":         {Code: layer, Args: []string{"/data"}},
			"nothing to start":       {Code: layer},
			"no interpreter":         {Code: layer, Args: []string{"/script"}},
			"no program at all":      {Code: layer, Args: []string{"/text"}},
			"no tar":                 {Code: []byte("hello"), Args: []string{"/x"}},
			"no code":                {Args: []string{"/x"}},
		} {
			j.Limits = limits
			if res := mustRun(t, r, j); res.Outcome != sandbox.FunctionError {
				t.Errorf("%s: %v", what, res.Outcome)
			} else {
				t.Logf("%s: %s %s", what, res.Reason, res.Log)
			}
		}
		j := job(t, "nothing")
		j.Digest = "sha256:" + strings.Repeat("0", 64)
		if _, err := r.Run(t.Context(), j); !errors.Is(err, image.ErrDigest) {
			t.Error(err)
		}
		j = job(t, "nothing")
		j.Inputs[0].Name = "../x"
		if _, err := r.Run(t.Context(), j); err == nil {
			t.Error("an input outside /in was taken")
		}
	})
}

func TestMemoryCostsGas(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		var used Usage
		r.config.Observe = func(u Usage) { used = u }
		res := mustRun(t, r, job(t, "work", "100", "400"))
		// 100 MiB for most of the processor's time, whatever that was.
		if least := uint64(used.CPU.Milliseconds()) * 100 * GasPerMiBMillisecond / 4; res.Outcome != sandbox.OK || used.MemoryGas < least {
			t.Errorf("%v, %d gas for memory in %s", res.Outcome, used.MemoryGas, used.CPU)
		}
		if want := used.MemoryGas + uint64(used.CPU.Microseconds())*GasPerMicrosecond; res.Gas != want {
			t.Errorf("gas %d, not %d", res.Gas, want)
		}
		// Held asleep it costs no more than filling it.
		res = mustRun(t, r, job(t, "hold", "100", "3000"))
		if res.Outcome != sandbox.OK || used.MemoryGas > 100*3000*GasPerMiBMillisecond/2 {
			t.Errorf("%v, asleep %d gas for memory", res.Outcome, used.MemoryGas)
		}
	})
}

func TestContextEndsRun(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		_, err := r.Run(ctx, job(t, "sleep", "60000"))
		if !errors.Is(err, context.Canceled) { // while it ran, or on a busy machine while it was unpacked
			t.Error(err)
		}
	})
}

// What a function writes of its failure is for Alice: a plain file of its own, and
// only if it fails.
func TestMessage(t *testing.T) {
	two(t, func(t *testing.T, r *Runtime) {
		res := mustRun(t, r, job(t, "explain", "a picture\xff, please", "3"))
		if res.Outcome != sandbox.FunctionError || res.ExitCode != 3 || res.Message != "a picture\ufffd, please" {
			t.Errorf("%v: %q", res.Outcome, res.Message)
		}
		if res := mustRun(t, r, job(t, "explain", "all is well", "0")); res.Outcome != sandbox.OK || res.Message != "" || output(res, "error.txt") != "all is well" {
			t.Errorf("%v: %q", res.Outcome, res.Message)
		}
		if res := mustRun(t, r, job(t, "explain-by-link")); res.Outcome != sandbox.FunctionError || res.Message != "" {
			t.Errorf("by a link: %v: %q", res.Outcome, res.Message)
		}
	})
}

// With the arguments of Alice's alone there is nothing to start, whatever the image
// says: they would be the command, over Bob's private files.
func TestImagesCommandIsNotRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model"), []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c := image.Config{Entrypoint: []string{"/model"}, Cmd: []string{"-x"}}
	for _, args := range [][]string{nil, {""}} {
		if p, why := newProcess(root, c, args); why != NothingToStart {
			t.Errorf("%q: %v, %q", args, p.args, why)
		}
	}
	if p, why := newProcess(root, c, []string{"/model", "-y"}); why != "" || strings.Join(p.args, " ") != "/model -y" {
		t.Errorf("%v, %q", p.args, why)
	}
}

// The file systems that programs for Linux expect (runtime-spec, config-linux.md):
// shared memory, and terminals. What is left in them is wiped: mustRun looks.
func TestDefaultFilesystems(t *testing.T) {
	each(t, func(t *testing.T, r *Runtime) {
		if res := mustRun(t, r, job(t, "shared")); res.Outcome != sandbox.OK {
			t.Errorf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
		}
		if res := mustRun(t, r, job(t, "terminal")); res.Outcome != sandbox.OK || output(res, "line") != "hello\n" {
			t.Errorf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
		}
		look := output(mustRun(t, r, job(t, "look")), "look")
		for _, want := range []string{"\n/dev/shm\n", "\n/dev/pts\n", "\n/dev/ptmx\n", "\n/dev/fd\n", "\n/dev/null\n"} {
			if !strings.Contains(look, want) {
				t.Errorf("no %q in\n%s", want, look)
			}
		}
	})
}

// A user is in the groups that the image's /etc/group says.
func TestSupplementaryGroups(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"etc/passwd": "app:x:1000:1000::/:\n", "etc/group": "readers:x:2000:app\n", "guest": string(unpacked(t)["guest"]),
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(data), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	var secret bytes.Buffer
	w := tar.NewWriter(&secret)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "data/f", Mode: 0o640, Gid: 2000, Size: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("shown")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	two(t, func(t *testing.T, r *Runtime) {
		for user, want := range map[string]string{"app": "shown", "1000": "shown", "app:": "shown", "app:1000": "", "1001": ""} {
			img, digest, err := image.BuildDir(dir, image.Config{User: user, WorkingDir: "/data/"})
			if err != nil {
				t.Fatal(err)
			}
			res := mustRun(t, r, sandbox.Job{Image: img, Digest: digest, Code: secret.Bytes(), Args: []string{"/guest", "read", "f"}, Limits: limits})
			if output(res, "read") != want || want == "" && !strings.Contains(string(res.Log), "permission denied") {
				t.Errorf("%s: %v: %s: %s", user, res.Outcome, res.Reason, res.Log)
			}
		}
	})
}

// Python's processes share memory, locks and queues.
func TestPythonsMultiprocessing(t *testing.T) {
	skipInShort(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	img, err := os.ReadFile(filepath.Join(cache, "prytany", "images", "python-pillow.tar"))
	if err != nil {
		t.Skipf("no image for it: %v. To have it: tools/install.sh", err)
	}
	digest, err := image.Digest(img)
	if err != nil {
		t.Fatal(err)
	}
	const main = `
import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory

def square(x): return x * x
def put(q, lock, array, name):
    with lock:
        array[1] = 7
        m = shared_memory.SharedMemory(name)
        m.buf[3] = 9
        m.close()
        q.put("from another process")

if __name__ == "__main__":
    with mp.Pool(2) as p:
        assert p.map(square, [1, 2, 3]) == [1, 4, 9]
    with ProcessPoolExecutor(2) as e:
        assert list(e.map(square, [4, 5])) == [16, 25]
    q, lock, array = mp.Queue(), mp.Lock(), mp.Array("i", 3)
    m = shared_memory.SharedMemory(create=True, size=1 << 20)
    p = mp.Process(target=put, args=(q, lock, array, m.name))
    p.start()
    got = q.get()
    p.join()
    assert (got, array[1], m.buf[3]) == ("from another process", 7, 9), (got, array[1], m.buf[3])
    m.close(); m.unlink()
    open("/out/done", "w").write("yes")
`
	var code bytes.Buffer
	w := tar.NewWriter(&code)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "code/main.py", Mode: 0o644, Size: int64(len(main))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(main)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	two(t, func(t *testing.T, r *Runtime) {
		res := mustRun(t, r, sandbox.Job{Image: img, Digest: digest, Code: code.Bytes(), Args: []string{"python3", "/code/main.py"}, Limits: limits})
		if res.Outcome != sandbox.OK || output(res, "done") != "yes" {
			t.Errorf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
		}
	})
}
