package tee

import (
	"archive/tar"
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/task"
)

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
		CheckOutputs(m, &r)
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

func TestUnpackRefusesWhatPackNeverMakes(t *testing.T) {
	good, err := Pack(sandbox.Result{Outputs: []sandbox.File{{Name: "a/b", Data: []byte("x")}}, Log: []byte("log"), Reason: "why"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := Unpack(good)
	if err != nil || string(out.Files["a/b"]) != "x" || string(out.Log) != "log" || out.Reason != "why" {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, h := range []tar.Header{
		{Name: "out/../../etc/passwd", Typeflag: tar.TypeReg}, {Name: "/etc/passwd", Typeflag: tar.TypeReg}, {Name: "out//etc/x", Typeflag: tar.TypeReg},
		{Name: "out/link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "out/dev", Typeflag: tar.TypeChar}, {Name: "other", Typeflag: tar.TypeReg},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		_ = w.WriteHeader(&h)
		_ = w.Close()
		if _, err := Unpack(b.Bytes()); err == nil {
			t.Errorf("%q was unpacked", h.Name)
		}
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

func FuzzUnpack(f *testing.F) {
	good, _ := Pack(sandbox.Result{Outputs: []sandbox.File{{Name: "a", Data: []byte("x")}}})
	f.Add(good)
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := Unpack(raw)
		for name := range out.Files {
			if err == nil && (strings.HasPrefix(name, "/") || strings.Contains(name, "..") && !strings.Contains(name, "...") && strings.HasPrefix(name, "../")) {
				t.Fatalf("name %q", name)
			}
		}
	})
}
