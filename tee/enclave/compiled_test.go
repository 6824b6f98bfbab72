package enclave

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/gas"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// exits is a module whose _start ends with an exit code.
func exits(code byte) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + "\x01\x08\x02\x60\x01\x7f\x00\x60\x00\x00" +
		"\x02\x24\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x00" + "\x03\x02\x01\x01" + "\x05\x03\x01\x00\x01" +
		"\x07\x0a\x01\x06_start\x00\x01" + "\x0a\x08\x01\x06\x00\x41" + string(code) + "\x10\x00\x0b")
}

// compile is the file that the engine makes of a module.
func compile(t *testing.T, code []byte) module {
	t.Helper()
	dir := t.TempDir()
	w, err := sandbox.NewWasmCached(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Compile(context.Background(), code); err != nil {
		t.Fatal(err)
	}
	_ = w.Close(context.Background())
	var m module
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			m.Path, _ = filepath.Rel(dir, p)
			m.Data, err = os.ReadFile(p)
		}
		return err
	})
	if m.Data == nil {
		t.Fatal("the engine keeps nothing")
	}
	return m
}

func digestOf(image []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(image)) }

// sealedBy is what an enclave on a platform would give out of a file.
func sealedBy(t *testing.T, p tee.Platform, label task.Hash, m module) []byte {
	t.Helper()
	q, err := p.Quoter()
	if err != nil {
		t.Fatal(err)
	}
	return (&compiled{platform: q}).aead(label).Seal(nil, nil, task.Encode(m), nil)
}

func simulatedPlatform(seed byte, measurement task.Hash) tee.Platform {
	return tee.Platform{Kind: attest.Simulated, Simulated: &tee.Simulated{ChipSeed: [32]byte{seed}, Measurement: measurement}}
}

// interpreted is a stage whose function is a script for an interpreter.
func interpreted(t *testing.T, image []byte) *stage {
	t.Helper()
	s := newStage(t)
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
func (s *stage) runWith(image, sealed []byte) tee.Response {
	s.t.Helper()
	ev := s.start()
	want, policy, ref := s.expected()
	if a := attest.Appraise(ev, want, policy, ref); a.Verdict != task.OK {
		s.t.Fatal(a)
	}
	s.release(ev, task.Alice, s.alice)
	s.release(ev, task.Bob, s.bob)
	a := s.ask(tee.Request{Run: &tee.Run{Code: s.code, Input: s.input, Image: image, Compiled: sealed}})
	if a.Result == nil {
		s.t.Fatal(a.Error)
	}
	return a
}

// A host that brings machine code of its own for a public interpreter does not
// have it run. Until 5808ac2 it named the key of the seal, and it ran.
func TestHostCannotPoisonCompiledCode(t *testing.T) {
	honest, evil := exits(0), exits(7)
	poison := module{compile(t, honest).Path, compile(t, evil).Data}
	here, at := simulatedPlatform(1, task.Hash{7}), label(engine, gas.Version, digestOf(honest)) // the stage's
	own, err := aes.NewCipher(bytes.Repeat([]byte{0x66}, 32))
	if err != nil {
		t.Fatal(err)
	}
	ownKey, err := cipher.NewGCMWithRandomNonce(own)
	if err != nil {
		t.Fatal(err)
	}
	good := interpreted(t, honest).runWith(honest, nil).Compiled
	if good == nil {
		t.Fatal("nothing was kept")
	}
	altered := bytes.Clone(good)
	altered[len(altered)/2] ^= 1
	for name, brought := range map[string][]byte{
		"in the clear":                        task.Encode(poison),
		"under a key of the host's":           ownKey.Seal(nil, nil, task.Encode(poison), nil),
		"under the zero key":                  zeroKey(t).Seal(nil, nil, task.Encode(poison), nil),
		"by an enclave of another program":    sealedBy(t, simulatedPlatform(1, task.Hash{8}), at, poison),
		"by an enclave on another chip":       sealedBy(t, simulatedPlatform(2, task.Hash{7}), at, poison),
		"for another engine":                  sealedBy(t, here, label("wazero v1.11.0", gas.Version, digestOf(honest)), poison),
		"for another rewriter":                sealedBy(t, here, label(engine, gas.Version-1, digestOf(honest)), poison),
		"of another module":                   sealedBy(t, here, label(engine, gas.Version, digestOf(evil)), compile(t, evil)),
		"honest, and altered":                 altered,
		"honest, and cut short":               good[:len(good)-1],
		"honest, with something behind it":    append(bytes.Clone(good), 0),
		"shorter than a seal":                 {1},
		"of a path that leads out":            sealedBy(t, here, at, module{"../" + poison.Path, poison.Data}),
		"of an absolute path":                 sealedBy(t, here, at, module{"/tmp/" + poison.Path, poison.Data}),
		"sealed, and nothing that is decoded": zeroKey(t).Seal(nil, nil, nil, nil),
	} {
		t.Run(name, func(t *testing.T) {
			a := interpreted(t, honest).runWith(honest, brought)
			if o := a.Result.Result.Outcome; o != task.RunOK {
				t.Errorf("the outcome is %s: the host's machine code ran", o)
			}
			if a.Compiled == nil {
				t.Error("it was taken for good: the next enclave is given it again")
			}
		})
	}
	// What the enclave itself has sealed is used, and nothing comes back; and the
	// poison is one: with the right key it would have run.
	if a := interpreted(t, honest).runWith(honest, good); a.Compiled != nil || a.Result.Result.Outcome != task.RunOK {
		t.Errorf("its own was not used: %s", a.Result.Result.Outcome)
	}
	if a := interpreted(t, honest).runWith(honest, sealedBy(t, here, at, poison)); a.Result.Result.Outcome == task.RunOK {
		t.Error("this test would not notice")
	}
}

func zeroKey(t *testing.T) cipher.AEAD {
	t.Helper()
	b, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// counting is an AEAD that says how often it was used.
type counting struct {
	cipher.AEAD
	opened int
}

func (c *counting) Open(dst, nonce, sealed, data []byte) ([]byte, error) {
	c.opened++
	return c.AEAD.Open(dst, nonce, sealed, data)
}

// What is too long is not looked at, and a platform that derives no key, or
// cannot, has nothing kept.
func TestCompiledCodeIsBounded(t *testing.T) {
	c := &counting{AEAD: zeroKey(t)}
	if restore(c, make([]byte, tee.MaxCompiled+1), t.TempDir()) || c.opened != 0 {
		t.Error("it was opened")
	}
	if tee.MaxFrame < 3*task.MaxBlob+tee.MaxCompiled {
		t.Error("a run with the longest blobs and compiled code does not fit into a frame")
	}
	for name, q := range map[string]attest.Quoter{
		"none": nil, "no key": attest.Platform{}.Quoter(), "a key that fails": failing{attest.Platform{}.Quoter()},
	} {
		if (&compiled{platform: q}).aead(task.Hash{}) != nil {
			t.Errorf("%s: a key", name)
		}
	}
}

// A compilation that a run did not wait for goes on: half of what it writes is not
// kept. The next enclave would take it for what there is to have, use nothing of it,
// and keep nothing better.
func TestHalfOfAModuleIsNotKept(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, compile(t, exits(0)).Path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(whole), 0o700), os.WriteFile(whole+".123.tmp", []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if save(zeroKey(t), dir) != nil {
		t.Error("half of it was kept")
	}
	if err := os.WriteFile(whole, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if !restore(zeroKey(t), save(zeroKey(t), dir), to) {
		t.Fatal("nothing was kept")
	}
	if raw, err := os.ReadFile(filepath.Join(to, compile(t, exits(0)).Path)); string(raw) != "whole" {
		t.Errorf("%q, %v", raw, err)
	}
}

type failing struct{ attest.Quoter }

func (failing) SealingKey(task.Hash) (task.Hash, error) { return task.Hash{}, os.ErrNotExist }

// The engine is that of go.mod: what another has compiled is not run by it.
func TestEngineIsThatOfTheModule(t *testing.T) {
	raw, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "\tgithub.com/tetratelabs/"+engine+"\n") {
		t.Errorf("go.mod has another version than %q", engine)
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
