package enclave

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// A file is held to its name, and only then to its owner's key: who brought
// what is told apart, and pays apart (spec §9.2.5).
func TestWhoBroughtWhat(t *testing.T) {
	other, _ := seal.Encrypt(newIdentity(t).Recipient(), noop)
	t.Run("Bob releases a key for another file than he published", func(t *testing.T) {
		s := newStage(t)
		ev := s.start()
		s.release(ev, alices, s.alice)
		published := s.code
		s.code = other // his release names this one
		s.release(ev, bobs, s.bob)
		s.code = published
		if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.WrongKey || a.Result.Result.Party != bobs {
			t.Errorf("%+v", a)
		}
	})
	t.Run("Alice names her file in a shape of her own", func(t *testing.T) {
		s := newStage(t)
		s.begin.Task.Data[0].Blob.CID = "z" + s.begin.Task.Data[0].Blob.CID // a node finds it all the same
		s.begin.Context.Task = s.begin.Task.ID()
		s.releaseBoth()
		if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.WrongKey || a.Result.Result.Party != alices {
			t.Errorf("%+v", a)
		}
	})
	t.Run("Bob publishes an image that has another digest", func(t *testing.T) {
		s := pythonStage(t, []byte("no interpreter"), "sha256:"+strings.Repeat("0", 64))
		if a := s.ask(tee.Request{Run: &tee.Run{Files: s.files(), Image: []byte("no interpreter")}}); a.Result == nil || a.Result.Result.Outcome != task.RunFailed {
			t.Errorf("%+v", a)
		}
	})
	t.Run("the host brings another image", func(t *testing.T) {
		s := pythonStage(t, []byte("no interpreter"), fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("no interpreter"))))
		if a := s.ask(tee.Request{Run: &tee.Run{Files: s.files(), Image: []byte("another")}}); a.Result != nil || !strings.Contains(a.Error, "not the image") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("Alice's input is not what the function takes", func(t *testing.T) {
		s := newStage(t)
		s.begin.Function.Manifest.Inputs = []task.Port{{Name: "photo.png"}}
		s.begin.Task.Function = s.begin.Function.ID()
		s.begin.Context.Function, s.begin.Context.Task = s.begin.Task.Function, s.begin.Task.ID()
		s.releaseBoth()
		if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.WrongKey || a.Result.Result.Party != alices {
			t.Errorf("%+v", a)
		}
	})
}

func newIdentity(t *testing.T) seal.Identity {
	t.Helper()
	id, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// pythonStage is a stage whose function is a script for some interpreter.
func pythonStage(t *testing.T, image []byte, digest string) *stage {
	t.Helper()
	s := newStage(t)
	m := &s.begin.Function.Manifest
	m.Runtime, m.Image = task.RuntimePython, &task.Image{Digest: digest, Blob: task.BlobOf(image)}
	s.begin.Task.Function = s.begin.Function.ID()
	s.begin.Context.Function, s.begin.Context.Task = s.begin.Task.Function, s.begin.Task.ID()
	s.releaseBoth()
	return s
}

func (s *stage) releaseBoth() {
	s.t.Helper()
	ev := s.start()
	s.release(ev, alices, s.alice)
	s.release(ev, bobs, s.bob)
}

// A function may write as much as a blob holds, and then what it wrote is none
// when it is packed and encrypted: that is no reason for its executor to pay.
func TestOutputFitsIntoABlob(t *testing.T) {
	id := newIdentity(t)
	e := enclave{to: id.Recipient(), begin: &tee.Begin{Task: task.Task{Recipient: task.NameRecipient(id.Recipient())}}}
	m := task.Manifest{Log: true}
	ran := judged(m, sandbox.Result{Outcome: sandbox.OK, Log: []byte("log"), Outputs: []sandbox.File{{Name: "a", Data: make([]byte, task.MaxBlob)}}})
	file, err := e.pack(m, &ran, time.Second)
	if err != nil || ran.outcome != task.RunFailed {
		t.Fatalf("%v, %v", ran.outcome, err)
	}
	packed, err := id.Decrypt(file, task.MaxBlob)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := tee.Unpack(packed); err != nil || len(out.Files) != 0 || out.Run.Outcome != "output-limit" || out.Run.Reason == "" || string(out.Log) != "log" {
		t.Errorf("%v, %v", out, err)
	}
	if file, err := seal.Encrypt(id.Recipient(), make([]byte, task.MaxArchive)); err != nil || len(file) > task.MaxBlob {
		t.Errorf("%d bytes, %v", len(file), err)
	}
}
