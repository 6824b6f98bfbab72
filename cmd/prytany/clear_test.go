package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/host"
)

// The markers stand for secrets: one in Bob's code, one in Alice's input. They
// are put together when asked for, so that a process that runs this binary and
// never asks does not hold them.
func codeMarker() string { return strings.Join([]string{"BOBS", "CODE", "MARKER", "7f3a9c"}, "-") }
func inputMarker() string {
	return strings.Join([]string{"ALICES", "PICTURE", "MARKER", "51be0d"}, "-")
}

// secretive holds a marker in its code, reads the other from its input, and
// takes long enough to be looked at.
func secretive(t testing.TB) []byte {
	return goFunction(t, fmt.Sprintf(`in, err := os.ReadFile("/in/input"); if err != nil { panic(err) }
mine := []byte(%q)
x := uint64(len(mine)); for i := 0; i < 900_000_000; i++ { x = x*6364136223846793005 + 1 }
if x == 7 { panic("never") }
if err := os.WriteFile("/out/out.txt", append(mine, in...), 0o600); err != nil { panic(err) }`, codeMarker()))
}

// recorder keeps all that is written to it.
type recorder struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.b.Bytes())
}

// holds says whether one of the markers is in the data, plain or in hex.
func holds(data []byte, markers []string) bool {
	for _, m := range markers {
		if bytes.Contains(data, []byte(m)) || bytes.Contains(data, fmt.Appendf(nil, "%x", m)) {
			return true
		}
	}
	return false
}

func mustNotHold(t *testing.T, where string, data []byte) {
	t.Helper()
	if holds(data, []string{codeMarker(), inputMarker()}) {
		t.Errorf("a marker is in the clear in %s", where)
	}
}

// No file of any node's home, no blob, no stream message, no log
// line and no argument of a process shows a marker.
func TestNothingInTheClear(t *testing.T) {
	home, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	wire, logs := &recorder{}, &recorder{}
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := newTown(t, host.Config{
		Home: home, Trace: func(_ string, msg []byte) { _, _ = wire.Write(msg) },
		Log: log, EngineLog: log,
	})
	code := secretive(t)
	if !bytes.Contains(code, []byte(codeMarker())) {
		t.Fatal("the marker is not in the code: this test could not fail")
	}
	limits := small
	limits.Gas, limits.WallMillis = 20_000_000_000, 240_000
	r, err := w.alice.Post(t.Context(), w.job(w.publish("secretive", code, limits), inputMarker()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	args := &recorder{}
	var wg sync.WaitGroup
	wg.Go(func() { recordArguments(ctx, args) })
	_, out, err := w.finish(r)
	stop()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if string(out.Files["out.txt"]) != codeMarker()+inputMarker() {
		t.Fatalf("the function saw %q", out.Files["out.txt"])
	}
	if !bytes.Contains(args.bytes(), []byte(host.EnclaveProgram)) {
		t.Error("no enclave was seen among the processes: this test could not fail")
	}
	for name, data := range map[string][]byte{"messages": wire.bytes(), "logs": logs.bytes(), "arguments and environments": args.bytes()} {
		if len(data) == 0 {
			t.Errorf("no %s were recorded: this test could not fail", name)
		}
		mustNotHold(t, name, data)
	}
	files := 0
	for _, dir := range []string{home, tmp} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, "prytany-build-") {
				return err
			}
			raw, err := os.ReadFile(path)
			files++
			mustNotHold(t, path, raw)
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
}

// recordArguments records the arguments and environments of all processes.
func recordArguments(ctx context.Context, to io.Writer) {
	for ctx.Err() == nil {
		for _, kind := range []string{"cmdline", "environ"} {
			paths, _ := filepath.Glob("/proc/[0-9]*/" + kind)
			for _, p := range paths {
				if raw, err := os.ReadFile(p); err == nil {
					_, _ = to.Write(raw)
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// The memory of the node's process never holds a marker; that of the enclave
// does, while it runs. Alice and Bob are processes of their own here.
func TestNodeProcessNeverHoldsTheSecrets(t *testing.T) {
	skipInShort(t)
	if _, err := os.Open("/proc/self/mem"); err != nil || os.Geteuid() != 0 {
		t.Skip("reading another process's memory needs root and /proc")
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	prytany := filepath.Join(dir, "prytany")
	raw, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(prytany, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "HOME="+dir, "TESTSCRIPT_COMMAND=prytany")
	command := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), prytany, append(args, "--passphrase-file", filepath.Join(dir, "pass"))...)
		c.Args[0] = "prytany"
		c.Dir, c.Env = dir, env
		return c
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := command(args...).CombinedOutput(); err != nil {
			t.Fatalf("prytany %s: %v\n%s", args, err, out)
		}
	}
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pass", []byte("pw"))
	write("f/function.wasm", secretive(t))
	write("f/prytany.yaml", []byte("{name: secretive, version: 1, runtime: wasm, log: true, limits: {gas: 20G, memory: 32MiB, output: 1MiB, wall: 240s}}"))
	write("in", []byte(inputMarker()))

	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	devnet := command("devnet", "--workers", "6", "--rpc", fmt.Sprintf("127.0.0.1:%d", port))
	up, err := devnet.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := devnet.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = devnet.Process.Signal(os.Interrupt)
		_ = devnet.Wait()
	}()
	if _, err := bufio.NewReader(up).ReadString('\n'); err != nil {
		t.Fatal("the devnet did not come up")
	}
	run("key", "new", "--home", "bob")
	run("key", "new", "--home", "alice")
	run("func", "publish", "f", "--home", "bob")
	alice := command("run", "secretive", "--input", "in", "--output", "out", "--home", "alice", "--quiet")
	var said bytes.Buffer
	alice.Stderr = &said
	if err := alice.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- alice.Wait() }()
	seen, looks := false, 0
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("%v\n%s", err, said.Bytes())
			}
			running = false
		case <-time.After(150 * time.Millisecond):
		}
		for _, m := range []string{codeMarker(), inputMarker()} {
			if inMemory(devnet.Process.Pid, m) {
				t.Fatalf("the node's process holds %q", m)
			}
		}
		looks++
		for _, pid := range children(devnet.Process.Pid) {
			seen = seen || inMemory(pid, codeMarker()) && inMemory(pid, inputMarker())
		}
	}
	if !seen || looks < 3 {
		t.Errorf("looked %d times and never saw the secrets in an enclave: this test could not fail", looks)
	}
	got, _ := os.ReadFile(filepath.Join(dir, "out"))
	if string(got) != codeMarker()+inputMarker() {
		t.Errorf("output %q", got)
	}
}

// children are the direct children of a process.
func children(pid int) (pids []int) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, p := range paths {
		raw, _ := os.ReadFile(p)
		for _, f := range bytes.Fields(raw) {
			var n int
			if _, err := fmt.Sscan(string(f), &n); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// inMemory looks for a text in the writable memory of a process.
func inMemory(pid int, text string) bool {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false
	}
	defer mem.Close()
	buf := make([]byte, 1<<20)
	for _, line := range strings.Split(string(maps), "\n") {
		var from, to int64
		var perms string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perms); err != nil || !strings.HasPrefix(perms, "rw") {
			continue
		}
		for at := from; at < to; at += int64(len(buf)) - int64(len(text)) {
			n, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			if bytes.Contains(buf[:n], []byte(text)) {
				return true
			}
			if to-at <= int64(len(buf)) {
				break
			}
		}
	}
	return false
}
