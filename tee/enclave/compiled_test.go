package enclave

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/walls"
)

// exits is a module whose _start ends with an exit code.
func exits(code byte) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + "\x01\x08\x02\x60\x01\x7f\x00\x60\x00\x00" +
		"\x02\x24\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x00" + "\x03\x02\x01\x01" + "\x05\x03\x01\x00\x01" +
		"\x07\x0a\x01\x06_start\x00\x01" + "\x0a\x08\x01\x06\x00\x41" + string(code) + "\x10\x00\x0b")
}

// made is what a compile job makes of a module.
func made(t *testing.T, code []byte) (encoded []byte, c tee.Compiled) {
	t.Helper()
	encoded, err := compile(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = task.Decode[tee.Compiled](encoded, tee.MaxCompiled); err != nil {
		t.Fatal(err)
	}
	return encoded, c
}

func digestOf(image []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(image)) }

// interpreters are modules, and what an enclave program has of each in its table.
func interpreters(module, compiled []byte) tee.Interpreters {
	return tee.Interpreters{digestOf(module): {fmt.Sprintf("%x", sha256.Sum256(compiled))}}
}

// interpreted is a stage whose function is a script for an interpreter.
func interpreted(t *testing.T, image []byte, table tee.Interpreters) *stage {
	t.Helper()
	rs := Standard("")
	rs[task.RuntimePython] = Runtime{Walls: walls.Modules, interprets: table}
	s := newStageOf(t, rs)
	layer, err := sandbox.PackLayer(fstest.MapFS{"main.py": {Data: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	if s.code, err = seal.Encrypt(s.bob.Recipient(), layer); err != nil {
		t.Fatal(err)
	}
	f := &s.begin.Function
	f.Code = task.BlobOf(s.code)
	f.Manifest.Runtime, f.Manifest.Image = task.RuntimePython, &task.Image{Digest: digestOf(image), Blob: task.BlobOf(image)}
	s.begin.Task.Function = f.ID()
	s.begin.Context.Function, s.begin.Context.Task = s.begin.Task.Function, s.begin.Task.ID()
	return s
}

// runWith runs the stage's task with what a host brings as compiled code.
func (s *stage) runWith(image, compiled []byte) task.Outcome {
	s.t.Helper()
	return s.answer(image, compiled).Result.Result.Outcome
}

func (s *stage) answer(image, compiled []byte) tee.Response {
	s.t.Helper()
	ev := s.start()
	want, policy, ref := s.expected()
	if a := attest.Appraise(ev, want, policy, ref); a.Verdict != task.OK {
		s.t.Fatal(a)
	}
	s.release(ev, alices, s.alice)
	s.release(ev, bobs, s.bob)
	a := s.ask(tee.Request{Run: &tee.Run{Files: s.files(), Image: image, Compiled: compiled}})
	if a.Result == nil {
		s.t.Fatal(a.Error)
	}
	return a
}

// Code that was made for a public interpreter and is not what the compiler makes of
// it does not run, whoever brings it: the host, or a guest that had escaped in an
// earlier enclave of that machine and had all of its platform. Until 5808ac2 the host
// named the key of a seal, and its code ran; until 4a401ec such a guest could have
// the key derived, and its code ran.
func TestForgedCompiledCode(t *testing.T) {
	honest, evil := exits(0), exits(7)
	good, of := made(t, honest)
	other, code := made(t, evil)
	poison := task.Encode(tee.Compiled{Name: of.Name, Data: code.Data})
	table := interpreters(honest, good)
	table[digestOf(evil)] = interpreters(evil, other)[digestOf(evil)]
	within := func(table tee.Interpreters, brought []byte) task.Outcome {
		t.Helper()
		return interpreted(t, honest, table).runWith(honest, brought)
	}
	altered := bytes.Clone(good)
	altered[len(altered)/2] ^= 1
	for name, brought := range map[string][]byte{
		"forged":                            poison,
		"of another interpreter":            other,
		"of this one, under another's name": task.Encode(tee.Compiled{Name: code.Name, Data: of.Data}),
		"of a path that leads out":          task.Encode(tee.Compiled{Name: "../" + of.Name, Data: code.Data}),
		"of an absolute path":               task.Encode(tee.Compiled{Name: "/tmp/" + of.Name, Data: code.Data}),
		"altered":                           altered,
		"cut short":                         good[:len(good)-1],
		"with something behind it":          append(bytes.Clone(good), 0),
		"good, and then forged":             slices.Concat(good, poison),
		"nothing":                           nil,
		"one byte":                          {1},
	} {
		if o := within(table, brought); o != task.RunOK {
			t.Errorf("%s: the outcome is %s: it ran", name, o)
		}
	}
	// What is in the table is used; so this test would notice.
	if o := within(table, good); o != task.RunOK {
		t.Errorf("the interpreter, compiled: %s", o)
	}
	if o := within(interpreters(honest, poison), poison); o == task.RunOK {
		t.Error("what is in the table was not used")
	}
	// In the table of one interpreter it is not in that of another.
	if o := within(interpreters(evil, poison), poison); o != task.RunOK {
		t.Errorf("what is another interpreter's in the table: %s", o)
	}
}

// An enclave compiles for others or has a task, and never both; and what it makes is
// the same each time.
func TestCompileJob(t *testing.T) {
	want, _ := made(t, exits(0))
	for range 2 {
		s := newStage(t)
		if a := s.ask(tee.Request{Compile: &tee.Compile{Module: exits(0)}}); !bytes.Equal(a.Compiled, want) || a.Error != "" {
			t.Errorf("%d bytes, %s", len(a.Compiled), a.Error)
		}
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	}
	s := newStage(t)
	if a := s.ask(tee.Request{Compile: &tee.Compile{Module: []byte("no module")}}); a.Error == "" || a.Compiled != nil {
		t.Errorf("no module: %d bytes", len(a.Compiled))
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s = newStage(t)
	s.start()
	if a := s.ask(tee.Request{Compile: &tee.Compile{Module: exits(0)}}); a.Error == "" || a.Compiled != nil {
		t.Error("an enclave with a task compiled for others")
	}
	if left, _ := filepath.Glob(filepath.Join(scratch(), fmt.Sprintf("%s%d-*", compiledPrefix, os.Getpid()))); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The table is of the engine of go.mod: another finds nothing there that it takes.
func TestTableIsOfTheEngine(t *testing.T) {
	raw, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	const engine = "wazero v1.12.0"
	if !strings.Contains(string(raw), "\tgithub.com/tetratelabs/"+engine+"\n") {
		t.Errorf("go.mod has another engine than %s: renew tee.Public (cmd/prytany TestPublicInterpreters), and note it here", engine)
	}
}

// What a run answers has nothing compiled in it, compiled before or anew.
func TestRunHandsNothingCompiledOut(t *testing.T) {
	honest := exits(0)
	good, _ := made(t, honest)
	for _, brought := range [][]byte{nil, good} {
		s := interpreted(t, honest, interpreters(honest, good))
		if a := s.answer(honest, brought); a.Compiled != nil {
			t.Errorf("%d bytes", len(a.Compiled))
		}
	}
}

// An enclave that is killed leaves what it has compiled. The next one removes
// it, and nothing of those that live.
func TestKilledEnclavesAreSweptUp(t *testing.T) {
	dir := t.TempDir()
	dead, alive := filepath.Join(dir, compiledPrefix+"4194305-x"), filepath.Join(dir, fmt.Sprintf("%s%d-x", compiledPrefix, os.Getpid()))
	for _, d := range []string{dead, alive} { // no process id is over 2^22
		if err := os.MkdirAll(filepath.Join(d, "engine"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir)
	if _, err := os.Stat(dead); err == nil {
		t.Error("the dead one's is still there")
	}
	if _, err := os.Stat(alive); err != nil {
		t.Error(err)
	}
}
