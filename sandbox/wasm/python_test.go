package wasm

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prytany/prytany/sandbox"
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

func script(t *testing.T, files ...sandbox.File) []byte {
	t.Helper()
	dir := fstest.MapFS{}
	for _, f := range files {
		dir[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	layer, err := sandbox.PackLayer(dir)
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

var pythonLimits = sandbox.Limits{Gas: 20e9, MemoryBytes: 256 << 20, OutputBytes: 1 << 20, LogBytes: 64 << 10}

// Python runs as any function does: with the contract, repeatably, within its
// limits, and shut in.
func TestPython(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles an interpreter")
	}
	image, digest := interpreter(t)
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	run := func(main string, more ...sandbox.File) sandbox.Result {
		t.Helper()
		r, err := w.Run(t.Context(), sandbox.Job{
			Image: image, Digest: digest, Code: script(t, append(more, sandbox.File{Name: "main.py", Data: []byte(main)})...),
			Args: []string{"/code/main.py", "one"}, Inputs: []sandbox.File{{Name: "input", Data: []byte("hello")}}, Limits: pythonLimits,
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Before != sandbox.EmptyState || r.After != sandbox.EmptyState {
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
	helper := sandbox.File{Name: "helper.py", Data: []byte("def twice(s): return s + s\n")}
	first, again := run(honest, helper), run(honest, helper)
	if first.Outcome != sandbox.OK || len(first.Outputs) != 1 || !strings.Contains(string(first.Outputs[0].Data), `["one", "hellohello", "2cf24dba`) || string(first.Log) != "to the log\n" {
		t.Fatalf("%+v\n%s", first, first.Log)
	}
	if first.Gas != again.Gas || !bytes.Equal(first.Outputs[0].Data, again.Outputs[0].Data) {
		t.Errorf("another run: %d and %d gas, %s and %s", first.Gas, again.Gas, first.Outputs[0].Data, again.Outputs[0].Data)
	}

	for _, row := range []struct {
		name, main string
		outcome    sandbox.Outcome
		log        string
	}{
		{"sleeping", "import time\nt = time.monotonic()\ntime.sleep(1)\nassert 1 <= time.monotonic() - t < 1.01, t", sandbox.OK, ""},
		{"file times", fileTimes, sandbox.OK, ""},
		{"scratch space", "import tempfile\nf = tempfile.TemporaryFile()\nf.write(b'x')\nwith tempfile.TemporaryDirectory() as d: open(d + '/y', 'w').write('y')", sandbox.OK, ""},
		{"room there is not", "import os\nf = open('/out/x', 'wb')\ntry: os.ftruncate(f.fileno(), 1 << 40)\nexcept OSError as e: assert e.strerror == 'No space left on device', e\nos.unlink('/out/x')", sandbox.OK, ""},
		{"exception", `raise ValueError("no")`, sandbox.FunctionError, "ValueError: no"},
		{"exit code", `raise SystemExit(7)`, sandbox.FunctionError, ""},
		{"endless loop", `while True: pass`, sandbox.GasExhausted, ""},
		{"memory", "x = []\nwhile True: x.append(bytes(1 << 20))", sandbox.MemoryExceeded, ""},
		{"output", `open("/out/x", "wb").write(bytes(2 << 20))`, sandbox.OutputExceeded, ""},
		{"other files", `open("/etc/passwd")`, sandbox.FunctionError, "FileNotFoundError"},
		{"files above", `open("/../../etc/passwd")`, sandbox.FunctionError, "Error"},
		{"its own code", `open("/code/main.py", "w")`, sandbox.FunctionError, "OSError"},
		{"its input", `open("/in/input", "a")`, sandbox.FunctionError, "OSError"},
		{"a link", `import os; os.symlink("/etc", "/out/etc")`, sandbox.FunctionError, "PermissionError"},
		{"a process", `import subprocess; subprocess.run(["/bin/true"])`, sandbox.FunctionError, "Error"},
		{"a socket", `import socket; socket.create_connection(("127.0.0.1", 80))`, sandbox.FunctionError, "Error"},
		{"a library", `import ctypes`, sandbox.FunctionError, "ModuleNotFoundError"},
	} {
		r := run(row.main)
		if r.Outcome != row.outcome || !strings.Contains(string(r.Log), row.log) || len(r.Outputs) != 0 {
			t.Errorf("%s: %s, %s\n%s", row.name, r.Outcome, r.Reason, r.Log)
		}
	}
}

// However a program fails, and however it tells of it: where, by which function
// and why, but no line of the source, which is Bob's alone.
func TestTracebacksHaveNoSource(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles an interpreter")
	}
	image, digest := interpreter(t)
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	secret := func(source string) []byte { // on each line that is not empty
		var b strings.Builder
		for line := range strings.Lines(source) {
			if line = strings.TrimRight(line, "\n"); line != "" {
				line += " # SECRET"
			}
			b.WriteString(line + "\n")
		}
		return []byte(b.String())
	}
	more := []sandbox.File{
		{Name: "helper.py", Data: secret("def parse(b):\n    return int(b)\nclass Late:\n    def __del__(self): 1 / 0")},
		{Name: "broken.py", Data: secret("x = 1\ndef f(:\n    pass")},
		{Name: "inside/__init__.py", Data: nil},
		{Name: "inside/__main__.py", Data: secret("import helper\nhelper.parse('x')")},
		{Name: "inside/odd.py", Data: secret("return 1")},
	}
	const parse = `File "</code/helper.py>", line 2, in parse`
	const value = "ValueError: invalid literal for int() with base 10: 'x'"
	for _, row := range []struct {
		name, main string
		args       string
		saw        []string
	}{
		{"in main", "def f():\n    raise KeyError('no')\nf()", "", []string{`File "</code/main.py>", line 3, in <module>`, `File "</code/main.py>", line 2, in f`, "KeyError: 'no'"}},
		{"in a module", "import helper\nhelper.parse('x')", "", []string{parse, value}},
		{"chained", "import helper\ntry:\n    helper.parse('x')\nexcept ValueError as e:\n    raise KeyError('no') from e", "", []string{parse, value, "direct cause", "KeyError: 'no'"}},
		{"while handling", "import helper\ntry:\n    helper.parse('x')\nexcept ValueError:\n    helper.parse('y')", "", []string{parse, value, "During handling", "'y'"}},
		{"a group", "import helper\ntry:\n    helper.parse('x')\nexcept ValueError as e:\n    raise ExceptionGroup('several', [e])", "", []string{parse, value, "several"}},
		{"a module of no syntax", "import broken", "", []string{`File "</code/broken.py>", line 2`, "SyntaxError"}},
		{"which is caught", "import traceback\ntry:\n    import broken\nexcept SyntaxError as e:\n    traceback.print_exc()\n    raise RuntimeError(repr(e), e.text, e.args)", "", []string{`File "</code/broken.py>", line 2`, "RuntimeError"}},
		{"no syntax of another kind", "import inside.odd", "", []string{`File "</code/inside/odd.py>", line 1`, "'return' outside function"}},
		{"main of no syntax", "if True:\npass", "", []string{`File "</code/main.py>", line 2`, "IndentationError"}},
		{"main of no encoding", "# coding: nonsense\npass", "", []string{"SyntaxError"}},
		{"print_exc", "import helper, traceback\ntry: helper.parse('x')\nexcept ValueError: traceback.print_exc()\ntraceback.print_stack()\nprint(traceback.format_stack())", "", []string{parse, value, `File "</code/main.py>", line 4, in <module>`}},
		{"logging", "import helper, logging\ntry: helper.parse('x')\nexcept ValueError: logging.exception('so', stack_info=True)", "", []string{"ERROR:root:so", parse, value}},
		{"a warning", "import warnings\ndef f():\n    warnings.warn('careful', stacklevel=2)\nf()\nx = '\\d'", "", []string{"</code/main.py>:4: UserWarning: careful", "</code/main.py>:5: SyntaxWarning"}},
		{"a warning before there is a module for it", "x = 1 is 1", "", []string{"</code/main.py>:1: SyntaxWarning"}},
		{"nobody to catch it", "import helper\nhelper.Late()", "", []string{"Exception ignored", `File "</code/helper.py>", line 4, in __del__`, "ZeroDivisionError"}},
		{"the default hook", "import sys, helper\nsys.excepthook = sys.__excepthook__\nhelper.parse('x')", "", []string{parse, value}},
		{"compiled by itself", "src = open('/code/helper.py').read()\nexec(compile(src, '/code/helper.py', 'exec'))\nparse('x')", "", []string{parse, value}},
		{"run by its path", "import runpy\nrunpy.run_path('/code/helper.py')['parse']('x')", "", []string{parse, value}},
		{"loaded by its path", "import importlib.util as u\ns = u.spec_from_file_location('h', '/code/helper.py')\nm = u.module_from_spec(s)\ns.loader.exec_module(m)\nm.parse('x')", "", []string{parse, value}},
		{"from the cache of compiled modules", "import sys, shutil\nshutil.copy('/code/helper.py', '/tmp/other.py')\nsys.path.insert(0, '/tmp')\nimport other\ndel sys.modules['other']\nimport other\nassert other.__cached__\nother.parse('x')", "", []string{`File "</tmp/other.py>", line 2, in parse`, value}},
		{"from an archive", "import sys, zipfile\nwith zipfile.ZipFile('/tmp/z.zip', 'w') as z: z.write('/code/helper.py', 'zipped.py')\nsys.path.insert(0, '/tmp/z.zip')\nimport zipped\nzipped.parse('x')", "", []string{`File "</tmp/z.zip/zipped.py>", line 2, in parse`, value}},
		{"a module by its name", "", "-B -Wdefault -X utf8 -umtimeit import_sys;sys.path[0]='/code';import_helper;helper.parse('x')", []string{parse, value}},
		{"a directory", "", "/code/inside", []string{"No module named 'helper'"}},
		{"code", "", "-c import_helper;helper.parse('x')", []string{"No module named 'helper'"}},
		{"after options", "import helper\nhelper.parse('x')", "-E -- /code/main.py", []string{parse, value}},
	} {
		args := strings.Fields(row.args)
		if row.args == "" {
			args = []string{"/code/main.py"}
		}
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "_", " ")
		}
		r, err := w.Run(t.Context(), sandbox.Job{
			Image: image, Digest: digest, Code: script(t, append(more, sandbox.File{Name: "main.py", Data: secret(row.main)})...), Args: args, Limits: pythonLimits,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, saw := range row.saw {
			if !strings.Contains(string(r.Log), saw) {
				t.Errorf("%s: no %s", row.name, saw)
			}
		}
		if strings.Contains(string(r.Log), "SECRET") || t.Failed() {
			t.Fatalf("%s: %v %s\n%s", row.name, r.Outcome, r.Reason, r.Log)
		}
	}
}

// What stands in front of a program changes nothing for it.
func TestPythonStart(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles an interpreter")
	}
	image, digest := interpreter(t)
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	const saw = "import sys; print(sys.argv, sys.path[0], __name__, globals().get('__file__'), 'start' in globals(), sys.flags.optimize, __builtins__.__name__, file=sys.stderr)"
	files := []sandbox.File{
		{Name: "main.py", Data: []byte(saw)}, {Name: "sub/__init__.py", Data: nil}, {Name: "sub/__main__.py", Data: []byte(saw)}, {Name: "code.py", Data: []byte(saw)},
		{Name: "exit.py", Data: []byte("raise SystemExit(7)")}, {Name: "bytes.py", Data: []byte("\xef\xbb\xbf# coding: utf-8\nassert 'ä' == '\\xe4'")},
		{Name: "future.py", Data: []byte("from __future__ import annotations\nexec(compile('def f(x: nothing): pass', 'x', 'exec'))\nassert f.__annotations__ == {'x': 'nothing'}\n" +
			"exec(compile('def f(x: int): pass', 'x', 'exec', 0, True))\nassert f.__annotations__ == {'x': int}")},
		{Name: "pickle_it.py", Data: []byte("import pickle\nclass C: pass\nassert type(pickle.loads(pickle.dumps(C()))) is C")},
	}
	for _, row := range []struct {
		args []string
		exit uint32
		log  string
	}{
		{[]string{"/code/main.py", "-c", "--", "x"}, 0, "['/code/main.py', '-c', '--', 'x'] /code __main__ /code/main.py False 0 builtins\n"},
		{[]string{"-O", "-W", "ignore", "--check-hash-based-pycs", "never", "/code/main.py"}, 0, "['/code/main.py'] /code __main__ /code/main.py False 1 builtins\n"},
		{[]string{"-m", "timeit", "-n1", "-r1", "import sys; print(sys.argv[1:], sys.path[0], file=sys.stderr)"}, 0,
			"['-n1', '-r1', 'import sys; print(sys.argv[1:], sys.path[0], file=sys.stderr)'] .\n"},
		{[]string{"/code/sub", "a"}, 0, "['/code/sub', 'a'] /code/sub __main__ /code/sub/__main__.py False 0 builtins\n"},
		{[]string{"-c", saw, "a"}, 0, "['-c', 'a']  __main__ None False 0 builtins\n"},
		{[]string{"/code/exit.py"}, 7, ""},
		{[]string{"/code/bytes.py"}, 0, ""},
		{[]string{"/code/future.py"}, 0, ""},
		{[]string{"/code/pickle_it.py"}, 0, ""},
		{[]string{"/code/none.py"}, 2, "can't open file '/code/none.py': [Errno 44] No such file or directory: '/code/none.py'\n"},
		{[]string{"-V"}, 0, ""}, // to standard output
		{nil, 0, ""},
		{[]string{"-"}, 0, ""},
	} {
		r, err := w.Run(t.Context(), sandbox.Job{Image: image, Digest: digest, Code: script(t, files...), Args: row.args, Limits: pythonLimits})
		if err != nil {
			t.Fatal(err)
		}
		if r.ExitCode != row.exit || (r.Outcome == sandbox.OK) != (row.exit == 0) || string(r.Log) != row.log {
			t.Errorf("%v: %v, exit code %d\n%s", row.args, r.Outcome, r.ExitCode, r.Log)
		}
	}
}

func TestPythonArgs(t *testing.T) {
	s := pythonStart
	for _, row := range []struct{ args, want []string }{
		{nil, nil},
		{[]string{"a.py", "-m", "x"}, []string{"-c", s, "file", "a.py", "-m", "x"}},
		{[]string{"-bO", "a.py"}, []string{"-bO", "-c", s, "file", "a.py"}},
		{[]string{"-m", "x", "y"}, []string{"-c", s, "-m", "x", "y"}},
		{[]string{"-Omx", "y"}, []string{"-O", "-c", s, "-m", "x", "y"}},
		{[]string{"-X", "-m", "a.py"}, []string{"-X", "-m", "-c", s, "file", "a.py"}},
		{[]string{"-Xm", "-c", "1"}, []string{"-Xm", "-c", s, "-c", "1"}},
		{[]string{"-OW", "a.py", "b.py"}, []string{"-OW", "a.py", "-c", s, "file", "b.py"}},
		{[]string{"--", "-a.py"}, []string{"-c", s, "file", "-a.py"}},
		{[]string{"-c"}, []string{"-c"}},
		{[]string{"-O"}, []string{"-O"}},
		{[]string{"-", "x"}, []string{"-", "x"}},
		{[]string{"--version"}, []string{"--version"}},
		{[]string{"-W"}, []string{"-W"}},
	} {
		if got := pythonArgs(row.args); !slices.Equal(got, row.want) {
			t.Errorf("%q: %q", row.args, got)
		}
	}
}

// What an interpreter is, and what it is given, is not the host's to choose.
func TestInterpreterIsWhatItsDigestNames(t *testing.T) {
	w, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) })
	r, err := w.Run(t.Context(), sandbox.Job{Image: []byte("another"), Digest: "sha256:00", Code: script(t, sandbox.File{Name: "main.py", Data: nil}), Limits: pythonLimits})
	if err != nil || r.Outcome != sandbox.FunctionError || !strings.Contains(r.Reason, "not the manifest's sha256:00") {
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
		if files, err := sandbox.CodeFiles(layer); err == nil {
			t.Errorf("%s: %v", name, files)
		}
	}
	many := make([]sandbox.File, sandbox.MaxFiles+1)
	for i := range many {
		many[i] = sandbox.File{Name: fmt.Sprint(i)}
	}
	if _, err := sandbox.CodeFiles(script(t, many...)); err == nil {
		t.Error("too many files were taken")
	}
	good := []sandbox.File{{Name: "main.py", Data: []byte("print(1)")}, {Name: "pkg/a.py", Data: []byte("")}}
	got, err := sandbox.CodeFiles(script(t, good...))
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
	layer, err := sandbox.PackLayer(dir)
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
		if _, err := sandbox.PackLayer(bad); err == nil {
			t.Errorf("%s was packed", name)
		}
	}
}

func FuzzCodeFiles(f *testing.F) {
	layer, _ := sandbox.PackLayer(fstest.MapFS{"main.py": {Data: []byte("print(1)")}})
	f.Add(layer)
	f.Fuzz(func(t *testing.T, layer []byte) {
		files, err := sandbox.CodeFiles(layer)
		size := 0
		for _, file := range files {
			size += len(file.Data)
		}
		if err == nil && size > len(layer) {
			t.Fatalf("%d bytes out of %d", size, len(layer))
		}
	})
}
