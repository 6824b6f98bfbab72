package container

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container/enginetest"
	"github.com/prytany/prytany/sandbox/image"
	"golang.org/x/sys/unix"
)

// newTrap also looks at the runtime, and at what it may have left.
func newTrap(t *testing.T, r *Runtime) *enginetest.Trap {
	t.Helper()
	return enginetest.NewTrap(t, func() map[string]string { return outside(t, r) })
}

// outside is what must be after all attempts as it was before.
func outside(t *testing.T, r *Runtime) map[string]string {
	t.Helper()
	m := map[string]string{}
	file, _ := Find(r.Name())
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m[file] = fmt.Sprintf("%x", sha256.Sum256(program))
	m["mounts"] = mounts()
	m["cgroups and processes left"] = strings.Join(leftovers(t), " ")
	return m
}

// mounts are those of this namespace at the places where the keeper mounts
// something in its own. Others on this machine may mount elsewhere meanwhile.
func mounts() string {
	info, _ := os.ReadFile("/proc/self/mountinfo")
	var list []string
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); f[4] == boxDir || f[4] == "/proc" || slices.Contains([]string{rootDir, inDir, outDir, tmpDir, shmDir}, f[4]) {
			list = append(list, line)
		}
	}
	return strings.Join(list, "")
}

// leftovers are the cgroups of jobs and the processes in them.
func leftovers(t *testing.T) (list []string) {
	t.Helper()
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), fmt.Sprint(groupPrefix, os.Getpid(), "-")) {
			list = append(list, p)
		}
		return nil
	})
	procs, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, p := range procs {
		if data, _ := os.ReadFile(p); strings.Contains(string(data), fmt.Sprint(groupPrefix, os.Getpid(), "-")) {
			list = append(list, p)
		}
	}
	return list
}

// inOwnKernel are attempts that runsc's own kernel lets succeed. What they get
// is a part of that kernel, inside the sandbox.
var inOwnKernel = map[string]bool{
	"ptrace oneself": true, "keyctl": true, "clone user namespace": true, "message queue": true,
	"read the kernel's log": true, "oom_score_adj": true, "more terminals than there may be": true,
}

// Attempts to get out, one job each, in every runtime. The guest says whether
// it got what it wanted, and the trap whether the host noticed.
func TestHostile(t *testing.T) {
	skipInShort(t)
	two(t, func(t *testing.T, r *Runtime) {
		x := newTrap(t, r)
		j := job(t)
		names := enginetest.Attempts(t, "testdata/guest")
		if len(names) < 60 {
			t.Fatalf("only %d attempts", len(names))
		}
		for _, name := range names {
			j.Args = append([]string{"/guest", name}, x.Args...)
			if name == "effective root of a set-uid program" {
				continue // it takes another image: TestHostileImages
			}
			res := mustRun(t, r, j)
			x.Check(t, name)
			_, got := find2(res, "succeeded")
			why, told := find2(res, "refused")
			verdict := "refused: " + strings.ReplaceAll(why, "\n", "; ")
			switch {
			case got && r.engine.kernel && inOwnKernel[name]:
				verdict = "only in its own kernel"
			case got:
				verdict = "SUCCEEDED"
				t.Errorf("%s succeeded", name)
			case !told:
				verdict = fmt.Sprintf("ended: %v, %s", res.Outcome, res.Reason)
				if strings.Contains(res.Reason, "exit code 99") || res.Outcome == sandbox.OK {
					t.Errorf("%s: %v: %s: %s", name, res.Outcome, res.Reason, res.Log)
				}
			}
			t.Logf("%-5s | %-36s | %.120s", r.Name(), name, verdict)
		}
	})
}

func find2(res sandbox.Result, name string) (string, bool) {
	for _, f := range res.Outputs {
		if f.Name == name {
			return string(f.Data), true
		}
	}
	return "", false
}

// Functions that want too much, and results that lead out: how they end.
func TestHostileFunctions(t *testing.T) {
	skipInShort(t)
	l := limits
	l.Wall, l.MemoryBytes, l.Gas = 400*time.Millisecond, 64<<20, 2_000_000_000
	two(t, func(t *testing.T, r *Runtime) {
		x := newTrap(t, r)
		for _, c := range []struct {
			args string
			want []sandbox.Outcome
		}{
			{"spin", []sandbox.Outcome{sandbox.WallExceeded}},
			{"fork-bomb", []sandbox.Outcome{sandbox.WallExceeded, sandbox.MemoryExceeded, sandbox.FunctionError}},
			{"memory-bomb", []sandbox.Outcome{sandbox.MemoryExceeded, sandbox.WallExceeded}},
			{"output-bomb", []sandbox.Outcome{sandbox.OutputExceeded}},
			{"tmp-bomb", []sandbox.Outcome{sandbox.OK, sandbox.MemoryExceeded, sandbox.WallExceeded}},
			{"many-files 100000", []sandbox.Outcome{sandbox.OutputExceeded}},
			{"many-links 100000", []sandbox.Outcome{sandbox.OutputExceeded}},
			{"sparse 1099511627776", []sandbox.Outcome{sandbox.FunctionError, sandbox.OutputExceeded}},
			{"deep-tmp", []sandbox.Outcome{sandbox.OK, sandbox.WallExceeded}},
			{"deep-out", []sandbox.Outcome{sandbox.FunctionError}},
			{"log-flood", []sandbox.Outcome{sandbox.OK, sandbox.WallExceeded}},
			{"link-out", []sandbox.Outcome{sandbox.FunctionError}},
			{"dir-link-out", []sandbox.Outcome{sandbox.FunctionError}},
			// In runsc they are made in its own kernel, and no file comes of them.
			{"fifo-out", []sandbox.Outcome{sandbox.FunctionError, sandbox.OK}},
			{"socket-out", []sandbox.Outcome{sandbox.FunctionError, sandbox.OK}},
			{"kill-all", []sandbox.Outcome{sandbox.OK, sandbox.FunctionError, sandbox.Killed}},
			{"orphans", []sandbox.Outcome{sandbox.OK}},
		} {
			j := job(t, append(strings.Fields(c.args), x.Args...)...)
			j.Limits = l
			if !slices.Contains(c.want, sandbox.WallExceeded) {
				j.Limits.Wall = time.Minute // something else ends it, on a busy machine too
			}
			if r.engine.kernel {
				j.Limits.Wall *= 4 // it takes longer to start
			}
			res := mustRun(t, r, j)
			x.Check(t, c.args)
			if !slices.Contains(c.want, res.Outcome) || strings.HasSuffix(c.args, "-out") && len(res.Outputs) > 0 {
				t.Errorf("%s: %v: %s: %s", c.args, res.Outcome, res.Reason, res.Log)
			}
			t.Logf("%-5s | %-36s | %v: %.100s", r.Name(), c.args, res.Outcome, res.Reason)
		}
	})
}

// Images and layers that are the attack.
func TestHostileImages(t *testing.T) {
	skipInShort(t)
	type file struct {
		kind     byte
		name, to string
		mode     int64
		data     []byte
	}
	layer := func(files ...file) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range files {
			if err := w.WriteHeader(&tar.Header{Typeflag: f.kind, Name: f.name, Linkname: f.to, Mode: f.mode, Size: int64(len(f.data)), Uid: 0}); err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(f.data)
		}
		w.Close()
		return b.Bytes()
	}
	zip := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(data)
		w.Close()
		return b.Bytes()
	}
	two(t, func(t *testing.T, r *Runtime) {
		x := newTrap(t, r)
		marker := x.Args[5][len("marker="):]
		reg := func(name, data string) file { return file{tar.TypeReg, name, "", 0o755, []byte(data)} }
		sym := func(name, to string) file { return file{tar.TypeSymlink, name, to, 0o777, nil} }
		base := job(t, "nothing")
		for _, c := range []struct {
			what  string
			layer []byte
			args  []string
			want  string // in the reason; if it is empty the job must end well
		}{
			{"traversal", layer(reg("../.."+marker, "taken")), nil, "not one below the root"},
			{"absolute path", layer(reg(marker, "taken")), nil, "absolute"},
			{"link and file through it", layer(sym("d", filepath.Dir(marker)), reg("d/marker", "taken")), nil, "is a link"},
			{"hard link to the host", layer(file{tar.TypeLink, "h", marker, 0, nil}), nil, "absolute"},
			{"device in the layer", layer(file{tar.TypeBlock, "sda", "", 0o666, nil}), nil, "device"},
			{"zip bomb", zip(layer(file{tar.TypeReg, "zeros", "", 0o644, make([]byte, 300<<20)})), nil, "times its size"},
			{"program is a link to the host", layer(sym("run", marker)), []string{"/run"}, "no file"},
			{"interpreter is /proc/self/exe", layer(reg("run", "#!/proc/self/exe\n")), []string{"/run"}, "exit code"},
			{"program is a link to /proc/self/exe", layer(sym("run", "/proc/self/exe")), []string{"/run"}, "no file"},
			{"/out is a link", layer(sym("out", filepath.Dir(marker))), nil, ""},
			{"/in is a link", layer(sym("in", filepath.Dir(marker))), nil, ""},
			{"/tmp is a link", layer(sym("tmp", "/proc/self/cwd")), nil, ""},
			{"/proc is a link", layer(sym("proc", "/tmp")), nil, ""},
			{"/dev is a link", layer(sym("dev", "/")), nil, ""},
			{"/dev has files", layer(reg("dev/null", "x"), sym("dev/zero", "/in/input"), sym("dev/shm", "/")), nil, ""},
			{"/proc has files", layer(reg("proc/self/attr/exec", "x"), sym("proc/kcore", "/")), nil, ""},
			{"/etc/passwd is a link", layer(sym("etc/passwd", "/proc/self/root/etc/passwd")), nil, ""},
		} {
			j := base
			j.Code = c.layer
			if c.args != nil {
				j.Args = c.args
			}
			res := mustRun(t, r, j)
			x.Check(t, c.what)
			if c.want == "" && res.Outcome != sandbox.OK || c.want != "" && (res.Outcome != sandbox.FunctionError || !strings.Contains(res.Reason, c.want)) {
				t.Errorf("%s: %v: %s: %s", c.what, res.Outcome, res.Reason, res.Log)
			}
			t.Logf("%-5s | %-36s | %v: %.100s", r.Name(), c.what, res.Outcome, res.Reason)
		}

		program := slices.Collect(maps.Values(unpacked(t)))[0]
		for dir, want := range map[string]string{
			"/proc/self/fd/7": "not one of the image", "/proc/self/fd/7/../../..": "not one of the image", "/../../proc/self": "not one of the image",
			"/w": "no directory", "/dev": "not one of the image", "relative": "absolute",
		} {
			img, digest, err := image.Build(bytes.NewReader(layer(reg("guest", string(program)), sym("w", "/proc/self/fd/7"))), image.Config{WorkingDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			res := mustRun(t, r, sandbox.Job{Image: img, Digest: digest, Args: []string{"/guest", "nothing"}, Limits: limits})
			x.Check(t, dir)
			if res.Outcome != sandbox.FunctionError || !strings.Contains(res.Reason, want) {
				t.Errorf("working directory %s: %v: %s", dir, res.Outcome, res.Reason)
			}
			t.Logf("%-5s | %-36s | %v: %.100s", r.Name(), "WORKDIR "+dir, res.Outcome, res.Reason)
		}

		// A set-user-id program, run by somebody who is not root.
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for name, mode := range map[string]int64{"guest": 0o755, "su": 0o4755} {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(program))}); err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(program)
		}
		w.Close()
		img, digest, err := image.Build(bytes.NewReader(layer(reg("x", ""))), image.Config{User: "1000:1000"})
		if err != nil {
			t.Fatal(err)
		}
		res := mustRun(t, r, sandbox.Job{Image: img, Digest: digest, Code: b.Bytes(), Args: []string{"/guest", "effective root of a set-uid program"}, Limits: limits})
		if _, refused := find2(res, "refused"); !refused {
			t.Errorf("set-uid: %v: %s: %s: %v", res.Outcome, res.Reason, res.Log, res.Outputs)
		}
		t.Logf("%-5s | %-36s | refused", r.Name(), "set-user-id program")
	})
}

// unpacked is the guest's image as files.
func unpacked(t testing.TB) map[string][]byte {
	t.Helper()
	g := job(t)
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := image.Unpack(t.Context(), root, g.Image, g.Digest, nil, image.Options{}); err != nil {
		t.Fatal(err)
	}
	data, err := root.ReadFile("guest")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"guest": data}
}

// When the process that runs a job is killed, so is the job: no process, no
// mount, and only an empty cgroup, which the next run removes.
func TestKillNine(t *testing.T) {
	skipInShort(t)
	if name := os.Getenv("PRYTANY_TEST_KILLED"); name != "" {
		_, err := open(t, name).Run(t.Context(), job(t, "sleep", "600000"))
		t.Fatal("it ended:", err)
	}
	each(t, func(t *testing.T, r *Runtime) {
		before := mounts()
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKillNine$")
		cmd.Env = append(os.Environ(), "PRYTANY_TEST_KILLED="+r.Name())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		mine := fmt.Sprint(groupPrefix, cmd.Process.Pid, "-")
		inside := func() (pids []string, asleep bool) {
			procs, _ := filepath.Glob("/proc/[0-9]*/cgroup")
			for _, p := range procs {
				if data, _ := os.ReadFile(p); strings.Contains(string(data), mine) {
					pids = append(pids, p)
					line, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
					asleep = asleep || strings.Contains(string(line), "sleep\x00600000") || r.engine.kernel && strings.Contains(string(line), "boot")
				}
			}
			return pids, asleep
		}
		until(t, "the job runs", func() bool { _, asleep := inside(); return asleep })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		until(t, "all of it is gone", func() bool { pids, _ := inside(); return len(pids) == 0 })
		if now := mounts(); now != before {
			t.Errorf("mounts were\n%s and are\n%s", before, now)
		}
		// The kernel may need a moment to see that they are empty.
		until(t, "its cgroups are removed", func() bool {
			mustRun(t, r, job(t, "nothing"))
			left := 0
			_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d os.DirEntry, err error) error {
				if err == nil && strings.HasPrefix(d.Name(), mine) {
					left++
				}
				return nil
			})
			return left == 0
		})
	})
}

// The enclave has no environment, is not dumpable and may not gain privileges
// (spec §9.1). It can run containers all the same.
func TestHardenedParent(t *testing.T) {
	skipInShort(t)
	if name := os.Getenv("PRYTANY_TEST_HARDENED"); name != "" {
		j := job(t, "upper") // needs the environment, to build
		os.Clearenv()
		if err := errors.Join(unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0), unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
			unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})); err != nil {
			t.Fatal(err)
		}
		if res := mustRun(t, open(t, name), j); output(res, "result") != "HELLO" {
			t.Errorf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
		}
		return
	}
	each(t, func(t *testing.T, r *Runtime) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestHardenedParent$")
		cmd.Env = append(os.Environ(), "PRYTANY_TEST_HARDENED="+r.program.Path()) // there is no HOME to find it by
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
