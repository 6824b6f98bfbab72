package tee

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
)

// A file is held to its name, and only then to its owner's key: who brought
// what is told apart, and pays apart (spec §9.2.5).
func TestWhoBroughtWhat(t *testing.T) {
	other, _ := seal.Encrypt(newIdentity(t).Recipient(), noop)
	t.Run("Bob releases a key for another file than he published", func(t *testing.T) {
		s := newStage(t)
		ev := s.start()
		s.release(ev, task.Alice, s.alice)
		published := s.code
		s.code = other // his release names this one
		s.release(ev, task.Bob, s.bob)
		s.code = published
		if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.BadCodeKey {
			t.Errorf("%+v", a)
		}
	})
	t.Run("Alice names her file in a shape of her own", func(t *testing.T) {
		s := newStage(t)
		s.begin.Task.Input.CID = "z" + s.begin.Task.Input.CID // a node finds it all the same
		s.begin.Context.Task = s.begin.Task.ID()
		s.releaseBoth()
		if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.BadInputKey {
			t.Errorf("%+v", a)
		}
	})
	t.Run("Bob publishes an image that has another digest", func(t *testing.T) {
		s := pythonStage(t, []byte("no interpreter"), "sha256:"+strings.Repeat("0", 64))
		if a := s.ask(Request{Run: &Run{Code: s.code, Input: s.input, Image: []byte("no interpreter")}}); a.Result == nil || a.Result.Result.Outcome != task.FunctionError {
			t.Errorf("%+v", a)
		}
	})
	t.Run("the host brings another image", func(t *testing.T) {
		s := pythonStage(t, []byte("no interpreter"), fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("no interpreter"))))
		if a := s.ask(Request{Run: &Run{Code: s.code, Input: s.input, Image: []byte("another")}}); a.Result != nil || !strings.Contains(a.Error, "not the image") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("Alice's input is not what the function takes", func(t *testing.T) {
		s := newStage(t)
		s.begin.Function.Manifest.Inputs = []task.Port{{Name: "photo.png"}}
		s.begin.Task.Function = s.begin.Function.ID()
		s.begin.Context.Function, s.begin.Context.Task = s.begin.Task.Function, s.begin.Task.ID()
		s.releaseBoth()
		if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.BadInputKey {
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
	s.release(ev, task.Alice, s.alice)
	s.release(ev, task.Bob, s.bob)
}

// Inputs and outputs are held to the manifest by one rule.
func TestPorts(t *testing.T) {
	m := task.Manifest{
		Inputs:  []task.Port{{Name: "a", MaxBytes: 3}, {Name: "b", Optional: true}},
		Outputs: []task.Port{{Name: "a", MaxBytes: 3}, {Name: "b", Optional: true}},
	}
	file := func(name, data string) sandbox.File { return sandbox.File{Name: name, Data: []byte(data)} }
	for _, row := range []struct {
		name  string
		files []sandbox.File
		says  string // "" is ok
	}{
		{"all", []sandbox.File{file("a", "xyz"), file("b", "")}, ""},
		{"without what is optional", []sandbox.File{file("a", "x")}, ""},
		{"one missing", []sandbox.File{file("b", "x")}, "a is missing"},
		{"nothing", nil, "a is missing"},
		{"too long", []sandbox.File{file("a", "wxyz")}, "more than 3"},
		{"one more", []sandbox.File{file("a", "x"), file("c", "x")}, `no output "c"`},
		{"a directory", []sandbox.File{file("a", "x"), file("b/c", "x")}, `no output "b/c"`},
	} {
		r := sandbox.Result{Outcome: sandbox.OK, Outputs: row.files}
		checkOutputs(m, &r)
		if (r.Outcome == sandbox.OK) != (row.says == "") || !strings.Contains(r.Reason, row.says) {
			t.Errorf("%s: %s, %q", row.name, r.Outcome, r.Reason)
		}
		if row.says != "" && len(r.Outputs) != 0 {
			t.Errorf("%s: the outputs are still there", row.name)
		}
	}

	blob, err := PackInputs(m, map[string][]byte{"a": []byte("xyz"), "b": []byte("more")})
	if err != nil {
		t.Fatal(err)
	}
	files, err := UnpackInputs(m, blob)
	if err != nil || len(files) != 2 || string(files[1].Data) != "more" {
		t.Errorf("%v, %v", files, err)
	}
	for name, bad := range map[string][]byte{"no tar": []byte("xyz"), "empty": nil, "cut off": blob[:514], "twice": twice(blob)} {
		if files, err := UnpackInputs(m, bad); err == nil {
			t.Errorf("%s: %v", name, files)
		}
	}
	plain, err := UnpackInputs(task.Manifest{}, []byte("as it is"))
	if err != nil || len(plain) != 1 || plain[0].Name != "input" || string(plain[0].Data) != "as it is" {
		t.Errorf("%v, %v", plain, err)
	}
}

// An input can say of itself that it is longer than the blob that it comes in.
// All of them together are not.
func TestSparseInputs(t *testing.T) {
	var blob bytes.Buffer
	w := tar.NewWriter(&blob)
	for _, name := range []string{"a", "b"} {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"GN0.sparse.numblocks": "1", "GN0.sparse.map": "0,1", "GN0.sparse.size": "5000", // GNU with a zero: the writer takes no records of GNU's own
		}, Size: 1}
		if err := errors.Join(w.WriteHeader(h), func() error { _, err := w.Write([]byte("x")); return err }()); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	sparse := bytes.ReplaceAll(blob.Bytes(), []byte("GN0.sparse"), []byte("GNU.sparse"))
	m := task.Manifest{Inputs: []task.Port{{Name: "a"}, {Name: "b"}}}
	if files, err := UnpackInputs(m, sparse); err == nil || !strings.Contains(err.Error(), "longer than the tar") {
		t.Errorf("%d inputs out of %d bytes, %v", len(files), len(sparse), err)
	}
	if _, err := Unpack(sparse); err == nil || !strings.Contains(err.Error(), "longer than the tar") {
		t.Errorf("as an output: %v", err)
	}
	if files, err := UnpackInputs(m, blob.Bytes()); err != nil || len(files) != 2 {
		t.Errorf("as it was: %v, %v", files, err)
	}
}

// A function may write as much as a blob holds, and then what it wrote is none
// when it is packed and encrypted: that is no reason for its executor to pay.
func TestOutputFitsIntoABlob(t *testing.T) {
	ran := sandbox.Result{Outcome: sandbox.OK, Log: []byte("log"), Outputs: []sandbox.File{{Name: "a", Data: make([]byte, task.MaxBlob)}}}
	outcome := task.RunOK
	packed, err := archive(&ran, &outcome)
	if err != nil || outcome != task.OutputExceeded {
		t.Fatalf("%v, %v", outcome, err)
	}
	if out, err := Unpack(packed); err != nil || len(out.Files) != 0 || out.Reason == "" || string(out.Log) != "log" {
		t.Errorf("%v, %v", out, err)
	}
	file, err := seal.Encrypt(newIdentity(t).Recipient(), make([]byte, maxArchive))
	if err != nil || len(file) > task.MaxBlob {
		t.Errorf("%d bytes, %v", len(file), err)
	}
}

// twice repeats the first entry of a tar of two: header, and one block of data.
func twice(blob []byte) []byte { return append(bytes.Clone(blob[:1024]), blob...) }

func FuzzUnpackInputs(f *testing.F) {
	m := task.Manifest{Inputs: []task.Port{{Name: "a", MaxBytes: 100}, {Name: "b", Optional: true}}}
	blob, err := PackInputs(m, map[string][]byte{"a": []byte("xyz")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Fuzz(func(t *testing.T, blob []byte) {
		files, err := UnpackInputs(m, blob)
		if err == nil && (len(files) == 0 || len(files) > 2 || len(files[0].Data) > len(blob)) {
			t.Fatalf("%d files out of %d bytes", len(files), len(blob))
		}
	})
}
