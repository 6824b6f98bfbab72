package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/internal/wat"
)

// guestCode is testdata/guest, compiled.
var guestCode = sync.OnceValues(func() ([]byte, error) { return compileGo("./testdata/guest") })

func compileGo(pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	build := exec.Command("go", "build", "-trimpath", "-o", out, pkg)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return os.ReadFile(out)
}

var sharedEngine = sync.OnceValues(func() (*Engine, error) { return New(context.Background()) })

func engine(t testing.TB) *Engine {
	t.Helper()
	w, err := sharedEngine()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var ample = sandbox.Limits{Gas: 1 << 40, MemoryBytes: 256 << 20, OutputBytes: 16 << 20, LogBytes: 64 << 10, Wall: time.Minute}

// guest is a job for the guest, with room for everything.
func guest(t testing.TB, args ...string) sandbox.Job {
	t.Helper()
	code, err := guestCode()
	if err != nil {
		t.Fatal(err)
	}
	return sandbox.Job{Code: code, Args: args, Limits: ample, Inputs: []sandbox.File{
		{Name: "data", Data: []byte("Alice's data")},
		{Name: "more/empty"},
		{Name: "more/of/it", Data: []byte{0, 1, 2}},
	}}
}

func small(text string) sandbox.Job { return sandbox.Job{Code: wat.Module(text), Limits: ample} }

// steers is a function f that calls itself with a frame of 16 KB, by which the
// engine's stack would have its last size too early.
var steers = "global i64 7\nfunc f\n" + strings.Repeat("i64.const 3\nglobal.get 0\ni64.mul\n", 2000) + "call f\n" +
	strings.Repeat("i64.add\n", 1999) + "global.set 0\n"

func runJob(t testing.TB, job sandbox.Job) sandbox.Result {
	t.Helper()
	r, err := engine(t).Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if r.Before != sandbox.EmptyState || r.After != sandbox.EmptyState {
		t.Errorf("the state was %v before the run and is %v after", r.Before, r.After)
	}
	if r.Gas > job.Limits.Gas {
		t.Errorf("used %d gas of %d", r.Gas, job.Limits.Gas)
	}
	if uint64(len(r.Log)) > job.Limits.LogBytes {
		t.Errorf("a log of %d bytes of %d", len(r.Log), job.Limits.LogBytes)
	}
	if r.Outcome != sandbox.OK && len(r.Outputs) > 0 {
		t.Errorf("%v, but with output", r.Outcome)
	}
	if (r.Outcome == sandbox.OK) != (r.Reason == "") {
		t.Errorf("%v for the reason %q", r.Outcome, r.Reason)
	}
	return r
}

func want(t testing.TB, r sandbox.Result, outcome sandbox.Outcome, reason string) {
	t.Helper()
	if r.Outcome != outcome || !strings.Contains(r.Reason, reason) {
		t.Errorf("%v (%q), want %v (%q); log:\n%s", r.Outcome, r.Reason, outcome, reason, r.Log)
	}
}

// Functions that fail, and what Alice is told.
func TestOutcomes(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles many modules, one after the other")
	}
	with := func(j sandbox.Job, change func(l *sandbox.Limits)) sandbox.Job {
		change(&j.Limits)
		return j
	}
	for _, c := range []struct {
		name    string
		job     sandbox.Job
		outcome sandbox.Outcome
		exit    uint32
		reason  string
	}{
		{"nothing to do", small("func _start"), sandbox.OK, 0, ""},
		{"no module", sandbox.Job{Limits: ample}, sandbox.FunctionError, 0, "the module is empty"},
		{"a shell script", sandbox.Job{Code: []byte("#!/bin/sh"), Limits: ample}, sandbox.FunctionError, 0, "not a WebAssembly module"},
		{"an ELF file", sandbox.Job{Code: []byte("\x7fELF\x02\x01\x01"), Limits: ample}, sandbox.FunctionError, 0, "not a WebAssembly module"},
		{"no _start", small("func main"), sandbox.FunctionError, 0, "no function _start"},
		{"_start with parameters", small("func _start i32"), sandbox.FunctionError, 0, "no function _start"},
		{"an unknown import", small("memory 1\nimport fork -> i32\nfunc _start"), sandbox.FunctionError, 0, `wants "fork" from "wasi_snapshot_preview1"`},
		{"an import of the wrong type", small("memory 1\nimport fd_close i64 -> i32\nfunc _start"), sandbox.FunctionError, 0, "cannot be started"},
		{"imports but no memory", small("import fd_write i32 i32 i32 i32 -> i32\nfunc _start"), sandbox.FunctionError, 0, "has no memory"},
		{"types that do not fit", small("func _start\n i32.const 1"), sandbox.FunctionError, 0, "not a valid module"},
		{"unreachable", small("func _start\n unreachable"), sandbox.FunctionError, 0, "crashed: unreachable"},
		{"division by zero", small("func _start\n i32.const 1\n i32.const 0\n i32.div_u\n drop"), sandbox.FunctionError, 0, "divide by zero"},
		{"out of bounds", small("memory 1\nfunc _start\n i32.const 65536\n i32.load\n drop"), sandbox.FunctionError, 0, "out of bounds memory"},
		{"a call of nothing", small("table 1\nfunc _start\n i32.const 0\n call_indirect 0"), sandbox.FunctionError, 0, "table"},
		{"a float too large", small("func _start\n f64.const 1e30\n i32.trunc_f64_s\n drop"), sandbox.FunctionError, 0, "integer overflow"},
		{"data out of bounds", small("memory 1\ndata 65535 xx\nfunc _start"), sandbox.FunctionError, 0, "cannot be started"},
		{"endless recursion", small("func _start\n call _start"), sandbox.FunctionError, 0, "nested too deep"},
		{"endless recursion that steers the engine's stack", small(steers + "func _start\ncall f"), sandbox.FunctionError, 0, "nested too deep"},
		{"the same in a start function", small(steers + "func s\ncall f\nfunc _start\nstart s"), sandbox.FunctionError, 0, "nested too deep"},
		{"a start function that traps", small("func _start\nfunc s\n unreachable\nstart s"), sandbox.FunctionError, 0, "unreachable"},
		{"an endless loop", small("func _start\n loop\n br 0\n end"), sandbox.GasExhausted, 0, "had used all"},
		{"an endless start function", small("func _start\nfunc s\n loop\n br 0\n end\nstart s"), sandbox.GasExhausted, 0, "had used all"},
		{"a memory that begins too large", with(small("memory 5\nfunc _start"), func(l *sandbox.Limits) { l.MemoryBytes = 4*65536 + 65535 }), sandbox.MemoryExceeded, 0, "needs 327680 bytes"},
		{"a memory that fits", with(small("memory 5\nfunc _start"), func(l *sandbox.Limits) { l.MemoryBytes = 5 * 65536 }), sandbox.OK, 0, ""},
		{"exit 3", guest(t, "exit", "3"), sandbox.FunctionError, 3, "exit code 3"},
		{"exit 0", guest(t, "exit", "0"), sandbox.OK, 0, ""},
		{"a panic in Go", guest(t, "panic"), sandbox.FunctionError, 2, "exit code 2"},
		{"a nil pointer in Go", guest(t, "crash"), sandbox.FunctionError, 2, "exit code 2"},
		{"endless recursion in Go", guest(t, "recurse"), sandbox.FunctionError, 0, "nested too deep"},
		{"an endless loop in Go", guest(t, "loop"), sandbox.GasExhausted, 0, "had used all"},
		{"memory without end in Go", guest(t, "hog"), sandbox.MemoryExceeded, 2, "denied more memory"},
		{"too much output", guest(t, "bomb"), sandbox.OutputExceeded, 0, "too many bytes"},
		{"1025 files", guest(t, "flood", "1025"), sandbox.OutputExceeded, 0, "too many files"},
		{"1024 files", guest(t, "flood", "1024"), sandbox.OK, 0, ""},
		{"output that fits", with(guest(t, "write", "1000"), func(l *sandbox.Limits) { l.OutputBytes = 1000 }), sandbox.OK, 0, ""},
		{"output that does not", with(guest(t, "write", "1001"), func(l *sandbox.Limits) { l.OutputBytes = 1000 }), sandbox.OutputExceeded, 0, "too many bytes"},
		{"much more output", with(guest(t, "write", "1002"), func(l *sandbox.Limits) { l.OutputBytes = 1000 }), sandbox.OutputExceeded, 1, "too many bytes"},
		{"no output allowed", with(guest(t, "write", "1"), func(l *sandbox.Limits) { l.OutputBytes = 0 }), sandbox.OutputExceeded, 0, "too many bytes"},
		{"file times", guest(t, "times"), sandbox.OK, 0, ""},
		{"scratch space", guest(t, "scratch"), sandbox.OK, 0, ""},
		{"more room than there is", guest(t, "overreach"), sandbox.OK, 0, ""},
		{"the same, and giving up", guest(t, "overreach", "twice"), sandbox.FunctionError, 1, "exit code 1"},
		{"no gas", with(small("func _start\n nop"), func(l *sandbox.Limits) { l.Gas = 0 }), sandbox.GasExhausted, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.outcome == sandbox.GasExhausted && c.job.Limits.Gas > 0 {
				c.job.Limits.Gas = 50_000_000
			}
			r := runJob(t, c.job)
			want(t, r, c.outcome, c.reason)
			if r.ExitCode != c.exit {
				t.Errorf("exit code %d, want %d", r.ExitCode, c.exit)
			}
			if r.Outcome == sandbox.GasExhausted && r.Gas != c.job.Limits.Gas {
				t.Errorf("gas exhausted at %d of %d", r.Gas, c.job.Limits.Gas)
			}
			if strings.Contains(r.Reason, "\n") || strings.Contains(r.Reason, "wasm stack trace") {
				t.Errorf("the reason says too much: %s", r.Reason)
			}
		})
	}
}

func TestCopies(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles, and copies in one thread")
	}
	job := guest(t, "copy")
	r := runJob(t, job)
	want(t, r, sandbox.OK, "")
	if !slices.EqualFunc(r.Outputs, job.Inputs, func(a, b sandbox.File) bool { return a.Name == b.Name && bytes.Equal(a.Data, b.Data) }) {
		t.Errorf("copied %v", r.Outputs)
	}
	r.Outputs[0].Data[0] = 'X'
	if job.Inputs[0].Data[0] == 'X' {
		t.Error("input and output share memory")
	}
}

// A transcript of what the file system says, to be read and to stay so.
func TestFiles(t *testing.T) {
	r := runJob(t, guest(t, "files"))
	want(t, r, sandbox.OK, "")
	golden(t, "files.txt", r.Log)
	if len(r.Outputs) != 1 || r.Outputs[0].Name != "a" || string(r.Outputs[0].Data) != "Hi t\x00\x00" {
		t.Errorf("left %q", r.Outputs)
	}
}

// Scratch space is found where programs look for it, is within the memory that
// a job may have, and a program that fills it can go on.
func TestScratch(t *testing.T) {
	job := guest(t, "scratch")
	r := runJob(t, job)
	want(t, r, sandbox.OK, "")
	const said = "/tmp: 67108864 bytes, then true\n4095 files, then true\nmove to /out: true\n"
	if string(r.Log) != said || len(r.Outputs) != 1 || r.Outputs[0].Name != "done" {
		t.Errorf("%s\nleft %v", r.Log, r.Outputs)
	}
	job.Limits.MemoryBytes = 20 << 20
	if r = runJob(t, job); !strings.HasPrefix(string(r.Log), "/tmp: 20971520 bytes, then true\n") {
		t.Errorf("%v %s: %s", r.Outcome, r.Reason, r.Log)
	}
}

func TestForbidden(t *testing.T) {
	r := runJob(t, guest(t, "forbidden"))
	want(t, r, sandbox.OK, "")
	if bytes.Contains(r.Log, []byte("WORKED")) || !bytes.Contains(r.Log, []byte("dial tcp: refused")) {
		t.Errorf("%s", r.Log)
	}
	if len(r.Outputs) != 1 || r.Outputs[0].Name != "y" {
		t.Errorf("left %v", r.Outputs)
	}
}

func TestWorld(t *testing.T) {
	t.Setenv("SECRET", "of the host")
	job := guest(t, "world", "a b", "ü")
	r := runJob(t, job)
	want(t, r, sandbox.OK, "")
	const saw = `args ["function" "world" "a b" "ü"]
env []
stdin "" <nil>
dir / <nil>
`
	if !strings.HasPrefix(string(r.Log), saw) || strings.Contains(string(r.Log), "dropped") {
		t.Errorf("%s", r.Log)
	}
}

func TestNames(t *testing.T) {
	r := runJob(t, guest(t, "names"))
	want(t, r, sandbox.OutputExceeded, "too many files")
	const said = "255: <nil>\n256: false\na million: false\nodd: <nil>\n1023 deep\n"
	if string(r.Log) != said {
		t.Errorf("%s", r.Log)
	}
}

func TestDescriptors(t *testing.T) {
	r := runJob(t, guest(t, "open"))
	want(t, r, sandbox.OK, "")
	if !strings.HasPrefix(string(r.Log), "1023 open\nthen <nil>") {
		t.Errorf("%s", r.Log)
	}
}

// What a guest does to its descriptors is no failure of the host.
func TestRenumberToItself(t *testing.T) {
	r := runJob(t, small(`
		import path_open i32 i32 i32 i32 i32 i64 i64 i32 i32 -> i32
		import fd_renumber i32 i32 -> i32
		import fd_close i32 -> i32
		memory 1
		data 0 out/x
		func _start
		  i32.const 3
		  i32.const 0
		  i32.const 0
		  i32.const 5
		  i32.const 1
		  i64.const 66
		  i64.const 0
		  i32.const 0
		  i32.const 100
		  call path_open
		  i32.const 100
		  i32.load
		  i32.const 100
		  i32.load
		  call fd_renumber
		  i32.or
		  if
		    unreachable
		  end
		  i32.const 3
		  call fd_close
		  drop`))
	want(t, r, sandbox.OK, "")
	if len(r.Outputs) != 1 || r.Outputs[0].Name != "x" {
		t.Errorf("left %v", r.Outputs)
	}
}

func TestLog(t *testing.T) {
	job := guest(t, "log", "1000")
	r := runJob(t, job)
	want(t, r, sandbox.OK, "")
	if !strings.HasPrefix(string(r.Log), "line 0\nline 1\n") || !strings.HasSuffix(string(r.Log), "line 999\n") {
		t.Errorf("%s", r.Log)
	}
	job.Limits.LogBytes = 100
	r = runJob(t, job)
	if len(r.Log) != 100 || !strings.HasPrefix(string(r.Log), "line 0\n") || !strings.HasSuffix(string(r.Log), cut) {
		t.Errorf("%d: %s", len(r.Log), r.Log)
	}
	job.Limits.LogBytes = 10
	if r = runJob(t, job); string(r.Log) != "line 0\nlin" {
		t.Errorf("%q", r.Log)
	}
	job.Limits.LogBytes = 0
	if r = runJob(t, job); len(r.Log) != 0 {
		t.Errorf("%q", r.Log)
	}
}

func TestTime(t *testing.T) {
	r := runJob(t, guest(t, "time"))
	if !strings.HasPrefix(string(r.Log), "2000-01-01 00:00:00.0") || !strings.Contains(string(r.Log), "µs later") {
		t.Errorf("%s", r.Log)
	}
	r = runJob(t, guest(t, "sleep"))
	if string(r.Log) != "slept 1000h0m0s\nin all 1001h9m0s\n" {
		t.Errorf("%s", r.Log)
	}
}

// The same job has the same result, also with one processor or many and in
// any engine; another job has another.
func TestRepeats(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, args := range [][]string{{"random"}, {"time"}, {"sleep"}, {"files"}, {"copy"}, {"panic"}, {"hog"}, {"bomb"}, {"recurse"}, {"map", "1000"}, {"sort", "1000"}} {
		job := guest(t, args...)
		first := runJob(t, job)
		for i := range 5 {
			runtime.GOMAXPROCS(1 + i)
			again := runJob(t, job)
			if fmt.Sprint(again) != fmt.Sprint(first) {
				t.Errorf("%v: %v the first time, then %v\n%s\n%s", args, first, again, first.Log, again.Log)
			}
		}
	}
	job := guest(t, "random")
	a := runJob(t, job)
	job.Inputs = job.Inputs[:1]
	if b := runJob(t, job); bytes.Equal(a.Log, b.Log) {
		t.Errorf("another job, but the same random numbers: %s", b.Log)
	}
	other, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	dice := small(`
		import random_get i32 i32 -> i32
		import fd_write i32 i32 i32 i32 -> i32
		memory 1
		func _start
		  i32.const 100
		  i32.const 16
		  call random_get
		  drop
		  i32.const 4
		  i32.const 16
		  i32.store
		  i32.const 0
		  i32.const 100
		  i32.store
		  i32.const 2
		  i32.const 0
		  i32.const 1
		  i32.const 8
		  call fd_write
		  drop`)
	a = runJob(t, dice)
	if b, err := other.Run(t.Context(), dice); err != nil || len(a.Log) != 16 || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("another engine: %v, then %v, %v", a, b, err)
	}
}

// A run succeeds with exactly the gas it costs, and fails with less.
func TestGasIsExact(t *testing.T) {
	job := guest(t, "copy")
	r := runJob(t, job)
	want(t, r, sandbox.OK, "")
	job.Limits.Gas = r.Gas
	want(t, runJob(t, job), sandbox.OK, "")
	job.Limits.Gas = r.Gas - 1
	again := runJob(t, job)
	want(t, again, sandbox.GasExhausted, fmt.Sprint(r.Gas-1))
	if again.Gas != r.Gas-1 {
		t.Errorf("used %d of %d", again.Gas, r.Gas-1)
	}
}

// Calls of the host cost a fixed sum and what they move, so that none of
// these can go on for longer than its gas says.
func TestHostCallsAreCharged(t *testing.T) {
	for name, text := range map[string]string{
		"clock": `
			import clock_time_get i32 i64 i32 -> i32
			memory 1
			func _start
			  loop
			    i32.const 0
			    i64.const 0
			    i32.const 0
			    call clock_time_get
			    drop
			    br 0
			  end`,
		"random": `
			import random_get i32 i32 -> i32
			memory 1024
			func _start
			  loop
			    i32.const 0
			    i32.const 67108864
			    call random_get
			    drop
			    br 0
			  end`,
		"many empty buffers": `
			import fd_write i32 i32 i32 i32 -> i32
			memory 1024
			func _start
			  loop
			    i32.const 2
			    i32.const 0
			    i32.const 8388607
			    i32.const 0
			    call fd_write
			    drop
			    br 0
			  end`,
		"a long path": `
			import path_unlink_file i32 i32 i32 -> i32
			memory 1024
			func _start
			  loop
			    i32.const 3
			    i32.const 0
			    i32.const 67108864
			    call path_unlink_file
			    drop
			    br 0
			  end`,
		"many subscriptions": `
			import poll_oneoff i32 i32 i32 i32 -> i32
			memory 1024
			func _start
			  loop
			    i32.const 0
			    i32.const 0
			    i32.const 1000000
			    i32.const 0
			    call poll_oneoff
			    drop
			    br 0
			  end`,
	} {
		job := small(text)
		job.Limits.Gas = 20_000_000
		start := time.Now()
		r := runJob(t, job)
		if r.Outcome != sandbox.GasExhausted {
			t.Errorf("%s: %v %s", name, r.Outcome, r.Reason)
		}
		t.Logf("%s: %v", name, time.Since(start)) // for people: that it ends at all is the test
	}
}

func TestWall(t *testing.T) {
	// A collection that begins while the guest is busy would wait for it, and the timer with it.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for name, job := range map[string]sandbox.Job{
		"a loop":      guest(t, "loop"),
		"a tiny loop": small("func _start\n loop\n br 0\n end"),
		"host calls": small(`
			import sched_yield -> i32
			memory 1
			func _start
			  loop
			    call sched_yield
			    drop
			    br 0
			  end`),
	} {
		job.Limits.Gas = sandbox.MaxGas
		job.Limits.Wall = 100 * time.Millisecond
		if err := engine(t).Compile(t.Context(), job.Code); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r := runJob(t, job)
		want(t, r, sandbox.WallExceeded, "its time was over")
		if d := time.Since(start); d < job.Limits.Wall {
			t.Errorf("%s: stopped after %v, before its time was over", name, d)
		}
		if r.Gas == 0 {
			t.Errorf("%s: no gas", name)
		}
	}
}

// What takes long to compile takes of the function's time, and of nobody else's:
// its executor would be late, and pay for that.
func TestWallEndsTheWaitForACompilation(t *testing.T) {
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	job := large(0)
	job.Limits.Wall = time.Millisecond
	r, err := w.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sandbox.WallExceeded, "was not compiled when the function's time was over")
	if r.Before != sandbox.EmptyState || r.After != sandbox.EmptyState {
		t.Errorf("%+v", r)
	}
	// Meanwhile the same module of a more patient function waits for the same compilation.
	job.Limits.Wall = 0
	if r, err := w.Run(t.Context(), job); err != nil || r.Outcome != sandbox.OK {
		t.Errorf("%+v, %v", r, err)
	}
	// One that is being compiled when the engine is closed does no harm.
	again := large(1)
	again.Limits.Wall = time.Millisecond
	if r, err := w.Run(t.Context(), again); err != nil || r.Outcome != sandbox.WallExceeded {
		t.Errorf("%+v, %v", r, err)
	}
	m := w.modules[sha256.Sum256(again.Code)]
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	<-m.ready
}

// One call of the host is short, whatever it is given: nothing looks at the time
// while the engine is at it.
func TestHostCallsAreBounded(t *testing.T) {
	for name, body := range map[string]string{
		"fd_write":    "import fd_write i32 i32 i32 i32 -> i32\nmemory 1\nfunc _start\n i32.const 1\n i32.const 0\n i32.const 536870911\n i32.const 0\n call fd_write\n drop",
		"poll_oneoff": "import poll_oneoff i32 i32 i32 i32 -> i32\nmemory 1\nfunc _start\n i32.const 0\n i32.const 0\n i32.const 80000000\n i32.const 0\n call poll_oneoff\n drop",
		"random_get":  "import random_get i32 i32 -> i32\nmemory 1\nfunc _start\n i32.const 0\n i32.const -1\n call random_get\n drop",
	} {
		job := small(body)
		job.Limits.Gas = sandbox.MaxGas
		want(t, runJob(t, job), sandbox.FunctionError, name+" of ")
	}
}

// What Bob calls an interpreter may be anything: its compilation takes of his
// function's time too.
func TestInterpreterIsOnTheClock(t *testing.T) {
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	job := large(0)
	job.Image, job.Digest = job.Code, fmt.Sprintf("sha256:%x", sha256.Sum256(job.Code))
	job.Code, err = sandbox.PackLayer(fstest.MapFS{"code/main.py": {Data: []byte("x"), Mode: 0o644}})
	if err != nil {
		t.Fatal(err)
	}
	job.Limits.Wall = time.Millisecond
	r, err := w.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sandbox.WallExceeded, "was not compiled")
}

// A caller that gives up is not told that the function did.
func TestCancelDuringCompilation(t *testing.T) {
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	job := large(0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if r, err := w.Run(ctx, job); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", r, err)
	}
	if err := w.Compile(ctx, job.Code); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// large is a module of many functions, which takes a while to compile; n makes it
// another one.
func large(n int) sandbox.Job {
	var b strings.Builder
	b.WriteString("func _start\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "func f%d i32 -> i32\n local.get 0\n", i)
		for j := range 20 {
			fmt.Fprintf(&b, "i32.const %d\ni32.add\n", n+i+j)
		}
	}
	return small(b.String())
}

// A call takes of the stack what its frame can take, not what its code is long:
// real programs nest as deep as their own limits let them.
func TestDeepCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles large programs")
	}
	// A thousand calls of a function with 12,000 stores that are never reached.
	deep := small(`
		memory 1
		func f i32
		  block
		    local.get 0
		    i32.eqz
		    br_if 0
		    local.get 0
		    i32.const 1
		    i32.sub
		    call f
		  end
		  local.get 0
		  i32.const -1
		  i32.eq
		  if
		    ` + strings.Repeat("i32.const 0\ni32.const 7777\ni32.store\n", 12_000) + `
		  end
		func _start
		  i32.const 1000
		  call f`)
	want(t, runJob(t, deep), sandbox.OK, "")
	code, err := compileGo("./testdata/deep")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"xml", "5000"}, {"regexp", "1000"}, {"parser", "5000"}, {"json", "9999"}} {
		job := sandbox.Job{Code: code, Args: args, Limits: ample}
		r := runJob(t, job)
		want(t, r, sandbox.OK, "")
	}
}

// When the caller no longer wants the result, that is not the function's doing.
func TestCancel(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	job := guest(t, "loop")
	job.Limits.Gas = sandbox.MaxGas
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if r, err := engine(t).Run(ctx, job); err != context.DeadlineExceeded || r.Outcome != 0 {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := engine(t).Run(ctx, small("func _start")); err != context.DeadlineExceeded {
		t.Error(err)
	}
}

// What no runtime could run is an error, not a result.
func TestBadJobs(t *testing.T) {
	for name, change := range map[string]func(*sandbox.Job){
		"zero byte":      func(j *sandbox.Job) { j.Args = []string{"a\x00b"} },
		"many arguments": func(j *sandbox.Job) { j.Args = make([]string, sandbox.MaxArgs+1) },
		"long arguments": func(j *sandbox.Job) { j.Args = []string{strings.Repeat("x", sandbox.MaxArgBytes)} },
		"many inputs":    func(j *sandbox.Job) { j.Inputs = make([]sandbox.File, sandbox.MaxFiles+1) },
		"no name":        func(j *sandbox.Job) { j.Inputs = []sandbox.File{{}} },
		"a dot":          func(j *sandbox.Job) { j.Inputs = []sandbox.File{{Name: "."}} },
		"rooted":         func(j *sandbox.Job) { j.Inputs = []sandbox.File{{Name: "/etc/passwd"}} },
		"upwards":        func(j *sandbox.Job) { j.Inputs = []sandbox.File{{Name: "../x"}} },
		"twice":          func(j *sandbox.Job) { j.Inputs = []sandbox.File{{Name: "x"}, {Name: "x"}} },
		"file and dir":   func(j *sandbox.Job) { j.Inputs = []sandbox.File{{Name: "x"}, {Name: "x/y"}} },
		"dir and file":   func(j *sandbox.Job) { j.Inputs = []sandbox.File{{Name: "x/y"}, {Name: "x"}} },
		"gas":            func(j *sandbox.Job) { j.Limits.Gas = sandbox.MaxGas + 1 },
		"wall":           func(j *sandbox.Job) { j.Limits.Wall = -1 },
	} {
		job := small("func _start")
		change(&job)
		if r, err := engine(t).Run(t.Context(), job); err == nil {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// A name that no archive can carry would be the host's trouble later.
func TestNoZeroByteInNames(t *testing.T) {
	f := testFiles(1000)
	for name, want := range map[string]errno{"out/a\x00b": einval, "out/a\xffb": eilseq} {
		if _, e := f.openAt(f.root, name, opening{create: true, write: true}); e != want {
			t.Errorf("%q: %d", name, e)
		}
		if e := f.mkdir(f.root, name); e != want {
			t.Errorf("%q: %d", name, e)
		}
	}
}

// Wiping is what makes the state empty, and overwrites.
func TestWipe(t *testing.T) {
	f := testFiles(1000)
	var data [][]byte
	for _, name := range []string{"out/kept", "tmp/kept", "tmp/gone"} {
		fd, e := f.openAt(f.root, name, opening{create: true, write: true})
		if e != success {
			t.Fatal(e)
		}
		if _, e := f.open[fd].append([]byte("secret")); e != success {
			t.Fatal(e)
		}
		data = append(data, f.open[fd].node.data)
		if sandbox.StateDigest(f.written()) == sandbox.EmptyState {
			t.Errorf("empty before %s was wiped", name)
		}
	}
	if e := f.unlink(f.root, "tmp/gone", false); e != success { // but it is open
		t.Fatal(e)
	}
	f.wipe()
	for _, d := range data {
		if sandbox.StateDigest(f.written()) != sandbox.EmptyState || !bytes.Equal(d, make([]byte, 6)) {
			t.Errorf("left %q", d)
		}
	}
	m := &memory{limit: 1 << 20}
	m.Allocate(0, 1<<32)
	copy(m.Reallocate(65536), "secret")
	if m.Reallocate(1<<20+1) != nil {
		t.Error("grew above its limit")
	}
	grown := m.Reallocate(1 << 20)
	if string(grown[:6]) != "secret" {
		t.Error("forgot")
	}
	if err := m.wipe(); err != nil || m.reserved != nil {
		t.Error(err)
	}
}

// Many at once, more than are kept compiled.
func TestConcurrent(t *testing.T) {
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			job := small(strings.Repeat("global i32 0\n", i%20) + "func _start\n" + strings.Repeat("nop\n", i%20))
			r, err := w.Run(context.Background(), job)
			if err != nil || r.Outcome != sandbox.OK || r.Gas != uint64(i%20) {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
	wg.Wait()
	if n := len(w.modules); n > maxCompiled {
		t.Errorf("%d modules kept", n)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Modules by other compilers, from the engine's own tests.
func TestOtherCompilers(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "imports/wasi_snapshot_preview1")
	for _, compiler := range []string{"cargo-wasi", "tinygo", "zig", "zig-cc"} {
		code, err := os.ReadFile(filepath.Join(dir, "example/testdata", compiler, "cat.wasm"))
		if err != nil {
			t.Log(err)
			continue
		}
		job := guest(t, "in/data")
		job.Code = code
		r := runJob(t, job)
		want(t, r, sandbox.OK, "")
		job.Args = []string{"in/none"}
		r = runJob(t, job)
		if r.Outcome == sandbox.OK && compiler != "zig-cc" { // that one does not look at what open says
			t.Errorf("%s: found what is not there", compiler)
		}
	}
}

// golden compares with a file in testdata, or writes it if UPDATE is set.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, got) {
		t.Errorf("not as in %s:\n%s", path, got)
	}
}
