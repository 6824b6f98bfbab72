package sandbox

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// interpreter is CPython for WASI, where tools/python-wasi.sh puts it.
func interpreter(t *testing.T) (image []byte, digest string) {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "prytany", "images", "python-*.wasm"))
	if len(found) == 0 {
		t.Skip("no Python interpreter: tools/python-wasi.sh fetches it")
	}
	image, err = os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return image, fmt.Sprintf("sha256:%x", sha256.Sum256(image))
}

func script(t *testing.T, files ...File) []byte {
	t.Helper()
	dir := fstest.MapFS{}
	for _, f := range files {
		dir[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	layer, err := PackLayer(dir)
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// fileTimes is how a person met the lack of them: importlib looks at a
// directory's time before it looks into it.
const fileTimes = `
import os, sys
open("/out/a", "w").write("x")
os.utime("/out/a", (1e9, 1e9))
assert os.stat("/out/a").st_mtime == 1e9, os.stat("/out/a").st_mtime
sys.path.insert(0, "/out")
try:
    import made
except ImportError:
    pass
open("/out/made.py", "w").write("v = 1")
import made
for f in "a", "made.py":
    os.unlink("/out/" + f)
import shutil; shutil.rmtree("/out/__pycache__")
`

var pythonLimits = Limits{Gas: 20e9, MemoryBytes: 256 << 20, OutputBytes: 1 << 20, LogBytes: 64 << 10}

// Python runs as any function does: with the contract, repeatably, within its
// limits, and shut in.
func TestPython(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles an interpreter")
	}
	image, digest := interpreter(t)
	w, err := NewWasm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	run := func(main string, more ...File) Result {
		t.Helper()
		r, err := w.Run(t.Context(), Job{
			Image: image, Digest: digest, Code: script(t, append(more, File{"main.py", []byte(main)})...),
			Args: []string{"/code/main.py", "one"}, Inputs: []File{{"input", []byte("hello")}}, Limits: pythonLimits,
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Before != EmptyState || r.After != EmptyState {
			t.Error("the writable state was not empty, or is not")
		}
		return r
	}

	const honest = `
import hashlib, helper, json, random, sys, time
data = open("/in/input", "rb").read()
json.dump([sys.argv[1], helper.twice(data.decode()), hashlib.sha256(data).hexdigest(), random.random(), hash("x"), time.time()], open("/out/a.json", "w"))
print("to the log", file=sys.stderr)
`
	helper := File{"helper.py", []byte("def twice(s): return s + s\n")}
	first, again := run(honest, helper), run(honest, helper)
	if first.Outcome != OK || len(first.Outputs) != 1 || !strings.Contains(string(first.Outputs[0].Data), `["one", "hellohello", "2cf24dba`) || string(first.Log) != "to the log\n" {
		t.Fatalf("%+v\n%s", first, first.Log)
	}
	if first.Gas != again.Gas || !bytes.Equal(first.Outputs[0].Data, again.Outputs[0].Data) {
		t.Errorf("another run: %d and %d gas, %s and %s", first.Gas, again.Gas, first.Outputs[0].Data, again.Outputs[0].Data)
	}

	for _, row := range []struct {
		name, main string
		outcome    Outcome
		log        string
	}{
		{"sleeping", "import time\nt = time.monotonic()\ntime.sleep(1)\nassert 1 <= time.monotonic() - t < 1.01, t", OK, ""},
		{"file times", fileTimes, OK, ""},
		{"scratch space", "import tempfile\nf = tempfile.TemporaryFile()\nf.write(b'x')\nwith tempfile.TemporaryDirectory() as d: open(d + '/y', 'w').write('y')", OK, ""},
		{"room there is not", "import os\nf = open('/out/x', 'wb')\ntry: os.ftruncate(f.fileno(), 1 << 40)\nexcept OSError as e: assert e.strerror == 'No space left on device', e\nos.unlink('/out/x')", OK, ""},
		{"exception", `raise ValueError("no")`, FunctionError, "ValueError: no"},
		{"exit code", `raise SystemExit(7)`, FunctionError, ""},
		{"endless loop", `while True: pass`, GasExhausted, ""},
		{"memory", "x = []\nwhile True: x.append(bytes(1 << 20))", MemoryExceeded, ""},
		{"output", `open("/out/x", "wb").write(bytes(2 << 20))`, OutputExceeded, ""},
		{"other files", `open("/etc/passwd")`, FunctionError, "FileNotFoundError"},
		{"files above", `open("/../../etc/passwd")`, FunctionError, "Error"},
		{"its own code", `open("/code/main.py", "w")`, FunctionError, "OSError"},
		{"its input", `open("/in/input", "a")`, FunctionError, "OSError"},
		{"a link", `import os; os.symlink("/etc", "/out/etc")`, FunctionError, "PermissionError"},
		{"a process", `import subprocess; subprocess.run(["/bin/true"])`, FunctionError, "Error"},
		{"a socket", `import socket; socket.create_connection(("127.0.0.1", 80))`, FunctionError, "Error"},
		{"a library", `import ctypes`, FunctionError, "ModuleNotFoundError"},
	} {
		r := run(row.main)
		if r.Outcome != row.outcome || !strings.Contains(string(r.Log), row.log) || len(r.Outputs) != 0 {
			t.Errorf("%s: %s, %s\n%s", row.name, r.Outcome, r.Reason, r.Log)
		}
	}
}

// What an interpreter is, and what it is given, is not the host's to choose.
func TestInterpreterIsWhatItsDigestNames(t *testing.T) {
	w, err := NewWasm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	r, err := w.Run(t.Context(), Job{Image: []byte("another"), Digest: "sha256:00", Code: script(t, File{"main.py", nil}), Limits: pythonLimits})
	if err != nil || r.Outcome != FunctionError || !strings.Contains(r.Reason, "not the manifest's sha256:00") {
		t.Errorf("%+v, %v", r, err)
	}
}

// Only plain files below code/ reach an interpreted function.
func TestLayersForInterpreters(t *testing.T) {
	entry := func(h tar.Header, data string) []byte {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(data))
		_ = w.Close()
		return buf.Bytes()
	}
	for name, layer := range map[string][]byte{
		"no tar":        []byte("print(1)"),
		"elsewhere":     entry(tar.Header{Name: "etc/passwd"}, "x"),
		"up":            entry(tar.Header{Name: "code/../etc/passwd"}, "x"),
		"absolute":      entry(tar.Header{Name: "/code/main.py"}, "x"),
		"symbolic link": entry(tar.Header{Name: "code/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""),
		"hard link":     entry(tar.Header{Name: "code/x", Typeflag: tar.TypeLink, Linkname: "code/y"}, ""),
		"device":        entry(tar.Header{Name: "code/x", Typeflag: tar.TypeChar}, ""),
		"cut off":       entry(tar.Header{Name: "code/main.py"}, strings.Repeat("x", 2000))[:1000],
	} {
		if files, err := CodeFiles(layer); err == nil {
			t.Errorf("%s: %v", name, files)
		}
	}
	many := make([]File, MaxFiles+1)
	for i := range many {
		many[i] = File{Name: fmt.Sprint(i)}
	}
	if _, err := CodeFiles(script(t, many...)); err == nil {
		t.Error("too many files were taken")
	}
	good := []File{{"main.py", []byte("print(1)")}, {"pkg/a.py", []byte("")}}
	got, err := CodeFiles(script(t, good...))
	if err != nil || len(got) != 2 || got[1].Name != "pkg/a.py" || string(got[0].Data) != "print(1)" {
		t.Errorf("%v, %v", got, err)
	}
}

// What may be executed stays so; what is no file of Bob's stays out.
func TestPackLayer(t *testing.T) {
	dir := fstest.MapFS{
		"run.sh": {Data: []byte("#!"), Mode: 0o700}, "a/b.py": {Data: []byte("b"), Mode: 0o600},
		"a/__pycache__/b.pyc": {Data: []byte("c")}, ".git/HEAD": {Data: []byte("d")},
	}
	layer, err := PackLayer(dir)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		modes[h.Name] = h.Mode
	}
	if len(modes) != 2 || modes["code/run.sh"] != 0o755 || modes["code/a/b.py"] != 0o644 {
		t.Errorf("%v", modes)
	}
	for name, bad := range map[string]fstest.MapFS{"empty": {}, "a link": {"l": {Mode: fs.ModeSymlink}}} {
		if _, err := PackLayer(bad); err == nil {
			t.Errorf("%s was packed", name)
		}
	}
}

func FuzzCodeFiles(f *testing.F) {
	layer, _ := PackLayer(fstest.MapFS{"main.py": {Data: []byte("print(1)")}})
	f.Add(layer)
	f.Fuzz(func(t *testing.T, layer []byte) {
		files, err := CodeFiles(layer)
		size := 0
		for _, file := range files {
			size += len(file.Data)
		}
		if err == nil && size > len(layer) {
			t.Fatalf("%d bytes out of %d", size, len(layer))
		}
	})
}
