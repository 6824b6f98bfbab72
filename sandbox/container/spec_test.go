package container

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
)

// The table of docs/oci.md says of each field of the runtime specification
// whether a configuration has it, and so it is: with every runtime, whatever the
// image.
func TestRuntimeSpecification(t *testing.T) {
	text, err := os.ReadFile("../../docs/oci.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## Runtime specification\n")
	verdicts := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\*\\*(used|ignored)\\*\\*").FindAllStringSubmatch(rest, -1) {
		verdicts[m[1]] = m[2]
	}
	set := map[string]bool{}
	for _, e := range engines {
		p := process{args: []string{"/main"}, env: []string{"A=1"}, dir: "/", uid: 5, gid: 6, groups: []uint32{7}}
		s, err := e.spec(Config{}.withDefaults(), p, sandbox.Limits{OutputBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		leaves("", v, set)
	}
	for at := range set {
		if verdicts[at] != "used" {
			t.Errorf("%s is set, and docs/oci.md says %q", at, verdicts[at])
		}
	}
	all := map[string]bool{}
	fields("", reflect.TypeFor[specs.Spec](), all)
	for at, verdict := range verdicts {
		if verdict == "used" && !set[at] {
			t.Errorf("%s is not set, and docs/oci.md says that it is", at)
		}
		if !all[at] {
			t.Errorf("docs/oci.md has %s, which is no field", at)
		}
	}
	for at := range all {
		// An object needs no row of its own if each of its fields has one, and they
		// need none if it is left out.
		covered := verdicts[at] != ""
		for other := range all {
			covered = covered || strings.HasPrefix(other, at+".") || strings.HasPrefix(at, other+".") && verdicts[other] == "ignored"
		}
		if !covered {
			t.Errorf("docs/oci.md has no row for %s", at)
		}
	}
	// An image's labels reach no runtime: there is nothing that could hold them.
	if _, ok := reflect.TypeFor[image.Config]().FieldByName("Labels"); ok || set["annotations"] {
		t.Error("labels are read: runsc and crun take orders from annotations")
	}
	// Tests that the other tables name are there.
	var tests string
	for _, dir := range []string{".", "../image"} {
		files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			tests += string(src)
		}
	}
	for _, m := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1) {
		if !strings.Contains(tests, "func "+m+"(") {
			t.Errorf("docs/oci.md names %s, which is no test", m)
		}
	}
}

// leaves marks where a value of JSON has something that is not an object.
func leaves(at string, v any, set map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			set[at] = true
		}
		for k, in := range v {
			leaves(strings.TrimPrefix(at+"."+k, "."), in, set)
		}
	case []any:
		for _, in := range v {
			leaves(at, in, set)
		}
	default:
		set[at] = true
	}
}

// fields marks all names that a type can have in JSON.
func fields(at string, typ reflect.Type, all map[string]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		in := strings.TrimPrefix(at+"."+name, ".")
		all[in] = true
		fields(in, f.Type, all)
	}
}

// The variables of an image are those of the function, and nothing is put in the
// place of one.
func TestImagesEnvironment(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, dir := range []string{"bin", "own"} {
		if err := root.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := root.WriteFile(dir+"/tool", nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ have, want []string }{
		{nil, []string{"PATH=" + searchPath, "/bin/tool"}},
		{[]string{"A=1", "A=2", "B="}, []string{"PATH=" + searchPath, "A=1", "A=2", "B=", "/bin/tool"}},
		{[]string{"X=y", "PATH=/own"}, []string{"X=y", "PATH=/own", "/own/tool"}},
	} {
		p, why := newProcess(root, image.Config{Env: c.have}, []string{"tool"})
		if got := append(slices.Clone(p.env), p.args...); why != "" || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q %s", c.have, got, why)
		}
	}
	if _, why := newProcess(root, image.Config{Env: []string{"PATH="}}, []string{"tool"}); why == "" {
		t.Error("a program was found where the image's PATH is empty")
	}
}
