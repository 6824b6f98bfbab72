package enclave

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// asEnclave is the argument by which this test is an enclave's process.
const asEnclave = "as-enclave"

func init() {
	if len(os.Args) == 2 && os.Args[1] == asEnclave {
		if Serve(os.Stdin, os.Stdout, Standard(""), nil) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// A host that stops the enclave until the function's time is over gets a signed
// result by which nobody is to blame, and for which nobody is paid.
func TestAStoppedEnclaveBlamesNobody(t *testing.T) {
	m := tellerManifest
	m.Limits.Gas, m.Limits.WallMillis = 1<<62, 300
	s := stageOf(t, m, teller, secret20{Loops: 1<<32 - 1}.bytes(), system)
	cmd := exec.Command("/proc/self/exe", asEnclave)
	cmd.Env = []string{"GOGC=off"}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	s.in, s.out = in, out
	s.releaseBoth()
	if err := tee.WriteFrame(in, tee.Request{Run: &tee.Run{Files: s.files()}}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Duration(m.Limits.WallMillis) * time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a, err := tee.ReadFrame[tee.Response](out)
	if err != nil || a.Result == nil {
		t.Fatalf("%v: %s", err, a.Error)
	}
	r := a.Result.Result
	if r.Outcome != task.OutOfTime || r.Gas != 0 || r.Size != 0 || !r.Output.IsZero() || len(a.Output) != 0 {
		t.Errorf("%+v, %d bytes", r, len(a.Output))
	}
	if who, _, blamed := r.Blames(); blamed {
		t.Errorf("it blames party %d", who)
	}
}

// A host that feeds the pipe slowly takes its own time and not the function's: its
// clock begins when all is there.
func TestASlowPipeCostsTheFunctionNothing(t *testing.T) {
	m := tellerManifest
	m.Limits.WallMillis = 2000 // a busy machine compiles slowly
	s := stageOf(t, m, teller, secret20{Loops: 1}.bytes(), system)
	s.releaseBoth()
	var frame bytes.Buffer
	if err := tee.WriteFrame(&frame, tee.Request{Run: &tee.Run{Files: s.files()}}); err != nil {
		t.Fatal(err)
	}
	for raw := frame.Bytes(); len(raw) > 0; {
		n := min(len(raw), 100)
		if _, err := s.in.Write(raw[:n]); err != nil {
			t.Fatal(err)
		}
		raw = raw[n:]
		time.Sleep(time.Duration(m.Limits.WallMillis) * time.Millisecond * 100 / time.Duration(frame.Len()))
	}
	a, err := tee.ReadFrame[tee.Response](s.out)
	if err != nil || a.Result == nil || a.Result.Result.Outcome != task.RunOK {
		t.Errorf("%v: %+v", err, a)
	}
}

// How a run that is not ok came to that is nobody's affair but Alice's: a key that
// opens nothing, an input of the wrong kind, a crash with a long log.
func TestFailuresLookAlike(t *testing.T) {
	for _, log := range []bool{false, true} {
		m := tellerManifest
		m.Log = log
		sizes := map[uint64][]string{}
		note := func(name string, a tee.Response) {
			if a.Result == nil || a.Result.Result.Outcome == task.RunOK {
				t.Fatalf("%s: %+v", name, a)
			}
			sizes[a.Result.Result.Size] = append(sizes[a.Result.Result.Size], name)
		}
		for name, role := range map[string]uint8{"Alice's key": alices, "Bob's key": bobs} {
			s := stageOf(t, m, teller, secret20{Loops: 1}.bytes(), system)
			ev := s.start()
			ids := map[uint8]seal.Identity{alices: s.alice, bobs: s.bob}
			ids[role] = newIdentity(t)
			s.release(ev, alices, ids[alices])
			s.release(ev, bobs, ids[bobs])
			note(name, s.run())
		}
		for name, code := range map[string][]byte{"no module": nil, "a crash": teller[:len(teller)-1], "exit": teller} {
			s := stageOf(t, m, code, secret20{Loops: 1, Exit: 5, Log: 60_000}.bytes(), system)
			s.releaseBoth()
			note(name, s.run())
		}
		named := m
		named.Inputs = []task.Port{{Name: "photo.png"}}
		s := stageOf(t, named, teller, []byte("x"), system)
		s.releaseBoth()
		note("the input", s.run())
		if len(sizes) != 1 {
			t.Errorf("with log %v: %v", log, sizes)
		}
	}
}

// What Alice is told of Bob's code is his to say: without a log no word of it
// reaches her but the exit code, the limits, and what he wrote for her.
func TestLogsAreBobsToGive(t *testing.T) {
	run := sandbox.Result{Log: []byte("secret log"), Message: "try a smaller picture", Gas: 7, ExitCode: 3}
	for outcome, reason := range map[sandbox.Outcome]string{
		sandbox.FunctionError: "the function crashed: secret trap", sandbox.MemoryExceeded: "the function crashed: secret trap, after it was denied more memory",
		sandbox.GasExhausted: "all 7 gas", sandbox.OutputExceeded: "too many bytes", sandbox.OK: "",
	} {
		for _, log := range []bool{false, true} {
			run.Outcome, run.Reason = outcome, reason
			m := task.Manifest{Log: log}
			id := newIdentity(t)
			e := enclave{to: id.Recipient(), begin: &tee.Begin{Task: task.Task{Recipient: task.NameRecipient(id.Recipient())}}}
			ran := judged(m, run)
			file, err := e.pack(m, &ran, 0)
			if err != nil {
				t.Fatal(err)
			}
			archive, err := id.Decrypt(file, task.MaxBlob)
			if err != nil {
				t.Fatal(err)
			}
			out, err := tee.Unpack(archive)
			if err != nil || log != strings.Contains(string(archive), "secret log") || log != (out.Log != nil) {
				t.Errorf("%s, log %v: %+v, %v", outcome, log, out, err)
			}
			if !log && strings.Contains(string(archive), "secret") || log && out.Run.Reason != reason || (out.Run.Reason == "") != (outcome == sandbox.OK) {
				t.Errorf("%s, log %v: reason %q", outcome, log, out.Run.Reason)
			}
			if out.Message != run.Message || out.Run.ExitCode != 3 {
				t.Errorf("%s, log %v: message %q, exit code %d", outcome, log, out.Message, out.Run.ExitCode)
			}
		}
	}
}

// Where outputs have schemas, a run says nothing beside them: a function that cannot
// write what it has read fails with it in its message, its exit code or its gas.
func TestWhatIsBoundedIsAllThatLeaves(t *testing.T) {
	m := tellerManifest
	m.Log = false
	m.Outputs = []task.Port{{Name: "A", Schema: `{"type":"boolean"}`}}
	for _, s := range []secret20{{Loops: 1000, Size: 77, Files: 1}, {Loops: 1000, Size: 77, Files: 1, Exit: 9}} {
		want := "output-refused"
		if s.Exit != 0 {
			want = "function-error"
		}
		got, told := tell(t, m, s)
		if got.outcome != task.RunFailed || told.Run.Outcome != want || len(told.Files) != 0 || told.Run.ExitCode != 0 || told.Run.Reason != "" || told.Run.Gas != got.gas {
			t.Errorf("%+v: %+v, %+v", s, got, told)
		}
	}

	reports := map[string]bool{}
	for i := range 50 { // each with another secret
		run := sandbox.Result{
			Outcome: sandbox.FunctionError, ExitCode: uint32(i), Gas: uint64(900_000 + i), Log: []byte{byte(i)},
			Message: strings.Repeat("patient 17", i), Reason: strings.Repeat("x", i),
		}
		ran := judged(m, run)
		id := newIdentity(t)
		e := enclave{to: id.Recipient(), begin: &tee.Begin{Task: task.Task{GasLimit: 1 << 40, Recipient: task.NameRecipient(id.Recipient())}}}
		file, err := e.pack(m, &ran, time.Duration(20+i/10)*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		archive, err := id.Decrypt(file, task.MaxBlob)
		if err != nil {
			t.Fatal(err)
		}
		reports[string(archive)] = true
	}
	if len(reports) > 2 { // one for 20 ms, and one for what is more
		t.Errorf("%d different archives of failed runs", len(reports))
	}
}

// Alice's arguments come after Bob's. Where his say which program runs, and there
// are none, hers do not say it in their place.
func TestArgumentsReplaceNothing(t *testing.T) {
	alice := []string{"/bin/cp", "-r", "/code", "/out"}
	for _, row := range []struct {
		runtime string
		bob     []string
		want    string
	}{
		{task.RuntimeOCI, []string{"/bin/model", "-x"}, "/bin/model -x /bin/cp -r /code /out"},
		{task.RuntimeOCI, nil, ""},
		{task.RuntimeDocker, nil, ""},
		{task.RuntimePython, nil, ""}, // -c would be a program too
		{task.RuntimePython, []string{"/code/main.py"}, "/code/main.py /bin/cp -r /code /out"},
		{task.RuntimeWasm, nil, "/bin/cp -r /code /out"}, // the module is the program
	} {
		j := NewJob(task.Manifest{Runtime: row.runtime, Args: row.bob}, alice, 1, nil, nil, nil)
		if got := strings.Join(j.Args, " "); got != row.want {
			t.Errorf("%s, %v: %q", row.runtime, row.bob, got)
		}
	}
}

// No function can have the enclave sign nothing, and so say something, and have its
// executor pay: whatever it asks for or leaves behind.
func TestNoFunctionMakesTheEnclaveFail(t *testing.T) {
	m := tellerManifest
	m.Limits.Gas = math.MaxUint64
	m.Log = false
	if got, _ := tell(t, m, secret20{Loops: 1}); got.outcome != task.RunOK {
		t.Errorf("all the gas there is: %+v", got)
	}
	id := newIdentity(t)
	e := enclave{to: id.Recipient(), begin: &tee.Begin{Task: task.Task{Recipient: task.NameRecipient(id.Recipient())}}}
	deep := strings.Repeat(strings.Repeat("d", 255)+"/", sandbox.MaxFiles-1)
	var many []sandbox.File
	for i := range sandbox.MaxFiles {
		many = append(many, sandbox.File{Name: strings.Repeat("n", 200) + string(rune(0x100+i))})
	}
	for name, files := range map[string][]sandbox.File{
		"no UTF-8": {{Name: "\xff\xfe"}}, "as in a tar's record": {{Name: "12 path=x\n"}}, "deep": {{Name: deep + "x", Data: []byte("x")}}, "many": many,
		"dots": {{Name: "...", Data: []byte("x")}}, "spaces": {{Name: " "}, {Name: "a \x7f\x1b[2J"}}, "as this has": {{Name: "run.json"}, {Name: "out/x"}},
	} {
		ran := judged(m, sandbox.Result{Outcome: sandbox.OK, Outputs: files})
		file, err := e.pack(m, &ran, 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		archive, err := id.Decrypt(file, task.MaxBlob)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := tee.Unpack(archive); err != nil || len(out.Files) != len(files) {
			t.Errorf("%s: %d files, %v", name, len(out.Files), err)
		}
	}
}

// A run that is out of time is handed out when its time is over, however it came to
// that: a function that could choose would say something by it in each view.
func TestOutOfTimeIsOneMoment(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	m := tellerManifest
	m.Limits.Gas, m.Limits.WallMillis = 1<<62, 15
	got, _ := tell(t, m, secret20{})
	if got.outcome != task.OutOfTime || got.handed != 1015*time.Millisecond {
		t.Errorf("%+v", got)
	}
	for took, want := range map[time.Duration]time.Duration{0: 10, 10 * time.Millisecond: 10, 10*time.Millisecond + 1: 20, 39 * time.Millisecond: 40} {
		if a, b := handOut(m, task.RunOK, took), handOut(m, task.OutOfTime, took); a != want*time.Millisecond || b != 1015*time.Millisecond {
			t.Errorf("after %s: %s, out of time %s", took, a, b)
		}
	}
	m.Exact = true // a run that ends is handed out at the next millisecond
	if a, b := handOut(m, task.RunFailed, 12_000_001), handOut(m, task.OutOfTime, 12_000_001); a != 13*time.Millisecond || b != 1015*time.Millisecond {
		t.Errorf("exact: %s, out of time %s", a, b)
	}
	if e := judged(m, sandbox.Result{Outcome: sandbox.Killed, ExitCode: 137, Log: []byte("x"), Message: "x"}); e.outcome != task.OutOfTime {
		t.Errorf("killed: %v", e.outcome)
	}
}
