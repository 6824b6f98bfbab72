package function

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// An image of packages comes from a lock file, or the error says how to have one.
func TestPackagesNeedALock(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := filepath.Join(t.TempDir(), "p")
	if err := Init(dir, "python-packages"); err != nil {
		t.Fatal(err)
	}
	load := func(lock string) error {
		if lock != "" {
			if err := os.WriteFile(filepath.Join(dir, LockName), []byte(lock), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Load(t.Context(), dir, nil)
		return err
	}
	t.Setenv("PATH", t.TempDir()) // no apt
	const digest = "1896a2aacf4ad681ff5eacc24a5b0ca4d5d9c9b9c9e4b6de5197bc1e116ea619"
	for _, row := range []struct{ lock, code, next string }{
		{"", "lock-missing", "prytany func lock " + dir},
		{"x\n", "lock-invalid", "prytany func lock " + dir},
		{"libc6 2.36 riscv64 1 " + digest + "\n", "lock-invalid", "prytany func lock " + dir},
		{"libc6 2.36 amd64 1 " + digest + "\n", "apt-missing", "build it on Debian or Ubuntu, and name the image as image.file"},
	} {
		err := load(row.lock)
		if e, ok := err.(*task.Error); !ok || e.Code != row.code || e.Next != row.next {
			t.Errorf("%q: %v", row.lock, err)
		}
	}
}

func TestImagesAreOfOneKind(t *testing.T) {
	for image, says := range map[string]string{
		`{debian: [python3-numpy]}`: "",
		`{debian: [python3-numpy], without: [perl], links: {/a: b}, lock: ../x}`: "",
		`{}`:                                       "want file, or debian",
		`{debian: [python3-numpy], file: x.tar}`:   "want file, or debian",
		`{file: x.tar, without: [perl]}`:           "go with debian",
		`{file: x.tar, lock: x}`:                   "go with debian",
		`{debian: [python3-numpy], links: {a: b}}`: "absolute path",
		`{debian: ["-oDir=/"]}`:                    "image.debian.0",
		`{debian: []}`:                             "image.debian",
	} {
		_, _, err := Parse([]byte("name: f\nversion: 1\nruntime: oci\nargs: [x]\nlimits: {gas: 1G, memory: 1MiB, output: 1MiB, wall: 60s}\nimage: " + image + "\n"))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", image, err)
		}
	}
	_, _, err := Parse([]byte("name: f\nversion: 1\nruntime: python\nargs: [x]\nlimits: {gas: 1G, memory: 1MiB, output: 1MiB, wall: 60s}\nimage: {debian: [python3]}\n"))
	if err == nil || !strings.Contains(err.Error(), "runtimes oci and docker") {
		t.Error(err)
	}
}

// A schema is a file beside the manifest, and part of what is published.
func TestSchemasAreRead(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	manifest := func(outputs, more string) {
		put("prytany.yaml", "name: f\nversion: 1\nruntime: wasm\nlimits: {gas: 1G, memory: 1MiB, output: 1MiB, wall: 60s}\noutputs:"+outputs+"\n"+more)
	}
	manifest(" [{name: a.json, schema: a.schema.json}]", "")
	put("a.schema.json", "{\n\t\"type\": \"integer\",\n\t\"minimum\": 0, \"maximum\": 1\n}\n")
	p, err := ReadPlan(dir)
	if err != nil || p.Manifest.Outputs[0].Schema != `{"type":"integer","minimum":0,"maximum":1}` {
		t.Errorf("%+v, %v", p.Manifest.Outputs, err)
	}
	put("open.schema.json", `{"type": "integer"}`)
	for _, row := range []struct{ outputs, more, code, says string }{
		{" [{name: a.json, schema: none.json}]", "", "schema-invalid", "none.json"},
		{" [{name: a.json, schema: open.schema.json}]", "", "schema-invalid", "minimum is a number"},
		{" [{name: a.json, schema: a.schema.json}, {name: b}]", "", "manifest-invalid", "b could carry out"},
		{" [{name: a.json, schema: a.schema.json}]", "log: true\n", "manifest-invalid", "there is no log"},
		{" [{name: a.json}]", "inputs: [{name: b, schema: a.schema.json}]\n", "manifest-invalid", "only outputs"},
	} {
		manifest(row.outputs, row.more)
		if _, err := ReadPlan(dir); task.CodeOf(err) != row.code || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.outputs, err)
		}
	}
}
