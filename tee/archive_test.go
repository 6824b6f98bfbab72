package tee

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

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

// An archive is what tar opens, in a size that says little; its report has one form,
// and all of it comes back as it was.
func TestArchive(t *testing.T) {
	whole := Output{
		Files: map[string][]byte{"a/b": []byte("x"), strings.Repeat("d/", 100) + "é": {}, "\xff\n=": []byte("odd")},
		Log:   []byte("log"), Message: "my own words", Run: Report{"function-error", 3, 123_456, 45, "it <failed> \"so\"\n"},
	}
	for name, c := range map[string]struct {
		out   Output
		least uint64
		size  int
	}{
		"whole":              {whole, 0, 16 << 10}, // for the long name
		"nothing":            {Output{Files: map[string][]byte{}, Run: Report{Outcome: "ok"}}, 0, 4 << 10},
		"an empty log":       {Output{Files: map[string][]byte{}, Log: []byte{}, Run: Report{Outcome: "ok"}}, 0, 4 << 10},
		"just under":         {Output{Files: map[string][]byte{"a": make([]byte, 1536)}, Run: Report{Outcome: "ok"}}, 0, 4 << 10},
		"just over":          {Output{Files: map[string][]byte{"a": make([]byte, 1537)}, Run: Report{Outcome: "ok"}}, 0, 16 << 10},
		"of a size at least": {Output{Files: map[string][]byte{}, Run: Report{Outcome: "ok"}}, 64 << 10, 64 << 10},
		"of an odd one":      {Output{Files: map[string][]byte{}, Run: Report{Outcome: "ok"}}, 5000, 16 << 10},
	} {
		packed, err := c.out.Pack(c.least)
		if err != nil || len(packed) != c.size {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(packed), c.size, err)
			continue
		}
		if got, err := Unpack(packed); err != nil || !reflect.DeepEqual(got, c.out) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	packed, _ := whole.Pack(0)
	dir := t.TempDir()
	cmd := exec.Command("tar", "x")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(packed)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar x: %v: %s", err, out)
	}
	for name, want := range map[string]string{
		"out/a/b": "x", "log.txt": "log", "error.txt": "my own words",
		"run.json": `{"outcome":"function-error","exit_code":3,"gas":"123456","ms":"45","reason":"it \u003cfailed\u003e \"so\"\n"}` + "\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// Nothing that a function says of its failure changes the size.
	for _, m := range []task.Manifest{{}, {Log: true}} {
		worst := Output{Message: strings.Repeat("m", sandbox.MaxMessage), Run: Report{"function-error", 1<<32 - 1, 1<<64 - 1, 1<<64 - 1, strings.Repeat("\x01", 9999)}}
		if m.Log {
			worst.Log = make([]byte, MaxLog)
		}
		a, err1 := worst.Pack(ShownFailure(m))
		b, err2 := Output{Run: Report{Outcome: "wrong-input-key"}}.Pack(ShownFailure(m))
		if err := errors.Join(err1, err2); err != nil || len(a) != len(b) {
			t.Errorf("log %v: %d and %d bytes, %v", m.Log, len(a), len(b), err)
		}
		if _, err := Unpack(a); err != nil {
			t.Error(err)
		}
	}
	if _, err := (Output{Files: map[string][]byte{"a": make([]byte, task.MaxArchive)}}).Pack(0); !errors.Is(err, task.ErrTooLarge) {
		t.Errorf("too much: %v", err)
	}
}

func TestUnpackRefusesWhatPackNeverMakes(t *testing.T) {
	good := `{"outcome":"ok","exit_code":0,"gas":"1","ms":"2","reason":""}` + "\n"
	file := func(name, data string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data))})
		_, _ = w.Write([]byte(data))
		_ = w.Close()
		return b.Bytes()
	}
	if _, err := Unpack(file("run.json", good)); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"no report": "", "not JSON": "x", "a field more": strings.Replace(good, `"ms"`, `"x":1,"ms"`, 1), "a field less": strings.Replace(good, `"ms":"2",`, "", 1),
		"another order": strings.Replace(good, `"gas":"1","ms":"2"`, `"ms":"2","gas":"1"`, 1), "without its newline": strings.TrimSpace(good), "with a space": " " + good,
		"a number in another form": strings.Replace(good, "1", "1.0", 1), "a bare number": strings.Replace(good, `"1"`, "1", 1), "below zero": strings.Replace(good, "2", "-2", 1), "an outcome of its own": strings.Replace(good, "ok", "fine", 1),
		"a code too large": strings.Replace(good, `"exit_code":0`, `"exit_code":4294967296`, 1), "a long reason": strings.Replace(good, `""`, `"`+strings.Repeat("x", MaxReason+1)+`"`, 1),
		"capitals": strings.Replace(good, "gas", "GAS", 1), "twice": strings.Replace(good, `"gas":"1"`, `"gas":"1","gas":"1"`, 1), "no UTF-8": strings.Replace(good, `""`, "\"\xff\"", 1),
		"much": strings.Repeat(" ", maxReport) + good,
	} {
		if out, err := Unpack(file("run.json", bad)); err == nil {
			t.Errorf("%s: %+v", name, out)
		}
	}
	for name, data := range map[string]string{"error.txt": "\xff", "log.txt": strings.Repeat("x", MaxLog+1), "reason.txt": "x"} {
		if out, err := Unpack(append(file(name, data)[:512+(len(data)+511)/512*512], file("run.json", good)...)); err == nil {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if out, err := Unpack(append(bytes.Clone(file("run.json", good)[:1024]), file("run.json", good)...)); err == nil {
		t.Errorf("two reports: %+v", out)
	}
	for _, h := range []tar.Header{
		{Name: "out/../../etc/passwd", Typeflag: tar.TypeReg}, {Name: "/etc/passwd", Typeflag: tar.TypeReg}, {Name: "out//etc/x", Typeflag: tar.TypeReg},
		{Name: "out/link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "out/dev", Typeflag: tar.TypeChar}, {Name: "other", Typeflag: tar.TypeReg},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		_ = w.WriteHeader(&h)
		_ = w.Close()
		if _, err := Unpack(append(b.Bytes()[:512], file("run.json", good)...)); err == nil {
			t.Errorf("%q was unpacked", h.Name)
		}
	}
}

// A message is a function's word, and may be anything.
func TestMessages(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "sorry": "sorry", "a\xffb": "a\ufffdb", strings.Repeat("é", 3000): strings.Repeat("é", 2048),
		"x" + strings.Repeat("é", 3000): "x" + strings.Repeat("é", 2047), strings.Repeat("a\xff", 3000): strings.Repeat("a\ufffd", 1024),
	} {
		if got := sandbox.ReadMessage(strings.NewReader(in)); got != want || !utf8.ValidString(got) {
			t.Errorf("%.20q…: %d bytes, want %d", in, len(got), len(want))
		}
	}
	m := task.Manifest{Outputs: []task.Port{{Name: "a"}}}
	r := sandbox.Result{Outcome: sandbox.OK, Outputs: []sandbox.File{{Name: sandbox.MessageFile, Data: []byte("sorry")}}}
	if CheckOutputs(m, &r); r.Outcome != sandbox.FunctionError || r.Message != "sorry" || len(r.Outputs) != 0 {
		t.Errorf("%+v", r)
	}
}

// What has a schema goes out in its one form, or not at all.
func TestOutputsAreHeldToTheirSchemas(t *testing.T) {
	m := task.Manifest{Outputs: []task.Port{{
		Name: "report.json", MaxBytes: 1 << 10,
		Schema: `{"type":"object","additionalProperties":false,"required":["auc","cells"],"properties":{` +
			`"auc":{"type":"number","minimum":0,"maximum":1,"multipleOf":0.001},` +
			`"cells":{"type":"array","minItems":4,"maxItems":4,"items":{"type":["integer","null"],"minimum":5,"maximum":1000000}}}}`,
	}}}
	for _, row := range []struct{ name, in, want, says string }{
		{"a report", "{ \"cells\": [50, null, null, 9.0e1],\n\"auc\": 0.970 }\n", `{"auc":0.97,"cells":[50,null,null,90]}`, ""},
		{"a field more", `{"auc":0.97,"cells":[50,null,null,90],"patients":["17"]}`, "", "a field that it may not have"},
		{"too many digits", `{"auc":0.9700012345,"cells":[50,null,null,90]}`, "", "auc: not one of the numbers"},
		{"a small cell", `{"auc":0.97,"cells":[50,3,null,90]}`, "", "cells/1: not one of the numbers"},
		{"no JSON", "age,diagnosis\n54,1\n", "", "no JSON"},
	} {
		raw := []byte(row.in)
		r := sandbox.Result{Outcome: sandbox.OK, Outputs: []sandbox.File{{Name: "report.json", Data: raw}}}
		CheckOutputs(m, &r)
		if row.says == "" {
			if r.Outcome != sandbox.OK || len(r.Outputs) != 1 || string(r.Outputs[0].Data) != row.want {
				t.Errorf("%s: %+v", row.name, r)
			}
		} else if r.Outcome != sandbox.OutputRefused || len(r.Outputs) != 0 || !strings.Contains(r.Reason, "report.json: ") || !strings.Contains(r.Reason, row.says) {
			t.Errorf("%s: %+v", row.name, r)
		}
		if len(bytes.Trim(raw, "\x00")) != 0 {
			t.Errorf("%s: what the function wrote is still in memory: %s", row.name, raw)
		}
	}
	r := sandbox.Result{Outcome: sandbox.OK, Outputs: []sandbox.File{{Name: "report.json", Data: []byte("{}")}, {Name: "patients.csv"}}}
	if CheckOutputs(m, &r); r.Outcome == sandbox.OK || len(r.Outputs) != 0 {
		t.Errorf("a file more: %+v", r)
	}
	m.Outputs[0].Schema = "{}"
	r = sandbox.Result{Outcome: sandbox.OK, Outputs: []sandbox.File{{Name: "report.json", Data: []byte("{}")}}}
	if CheckOutputs(m, &r); r.Outcome != sandbox.OutputRefused || len(r.Outputs) != 0 {
		t.Errorf("a schema that is none: %+v", r)
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
	good, err := Output{Files: map[string][]byte{"a": []byte("x")}, Log: []byte("l"), Message: "m", Run: Report{Outcome: "ok"}}.Pack(0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := Unpack(raw)
		if err == nil && (!slices.Contains(Outcomes, out.Run.Outcome) || len(out.Log) > MaxLog || len(out.Message) > sandbox.MaxMessage || !utf8.ValidString(out.Message)) {
			t.Fatalf("%+v", out)
		}
		for name := range out.Files {
			if err == nil && (strings.HasPrefix(name, "/") || strings.Contains(name, "..") && !strings.Contains(name, "...") && strings.HasPrefix(name, "../")) {
				t.Fatalf("name %q", name)
			}
		}
	})
}
