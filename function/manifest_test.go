package function

import (
	"reflect"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

const goodManifest = `{
  "name": "f", "version": "1", "description": "d", "runtime": "wasm", "args": ["-x"],
  "limits": {"gas": "20G", "memory": "256MiB", "output": "16MiB", "wall": "90s"},
  "royalty": "0.25"
}`

func TestManifest(t *testing.T) {
	m, _, err := Parse([]byte(goodManifest))
	want := task.Limits{Gas: 20e9, MemoryBytes: 256 << 20, OutputBytes: 16 << 20, WallMillis: 90_000}
	if err != nil || m.Limits != want || m.Royalty != task.PRY/4 || m.Name != "f" {
		t.Fatalf("%+v, %v", m, err)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"misspelt field": {`"gas"`, `"gass"`, "gass"},
		"missing limit":  {`"gas": "20G", `, ``, "missing property 'gas'"},
		"negative":       {`"20G"`, `"-1"`, "limits.gas"},
		"overflow":       {`"20G"`, `"99999999999T"`, "limits.gas"},
		"unknown unit":   {`"256MiB"`, `"256MB"`, "limits.memory"},
		"zero":           {`"256MiB"`, `"0"`, "limits.memory"},
		"no duration":    {`"90s"`, `"90"`, "limits.wall"},
		"negative time":  {`"90s"`, `"-1s"`, "limits.wall"},
		"bad royalty":    {`"0.25"`, `"0.1234567"`, "royalty"},
		"two manifests":  {`}`, `}{}`, "line"},
		"no manifest":    {goodManifest, "name: f", "limits"},
		"not even YAML":  {goodManifest, "name: {", "line 1"},
	} {
		text := goodManifest
		if i := strings.LastIndex(text, c.old); i >= 0 {
			text = text[:i] + c.new + text[i+len(c.old):]
		}
		if _, _, err := Parse([]byte(text)); task.CodeOf(err) != "manifest-invalid" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const yamlManifest = `# a comment
name: f
version: 1.10
runtime: python
image: {file: "cache:python.wasm"}
inputs:
  - name: photo.png
    type: image/png
    max: 4MiB
  - name: note
    optional: true
outputs:
  - name: out.png
limits:
  gas: 20G
  memory: 256MiB
  output: 16MiB
  wall: 1m30s
policy: {tier: measured, kinds: [tpm, sev-snp], max_kind_share: 0.67}
royalty: 0.25
args: [/code/main.py]
`

// YAML may be written as people do: numbers as numbers, which stay as written.
func TestManifestInYAML(t *testing.T) {
	m, f, err := Parse([]byte(yamlManifest))
	if err != nil {
		t.Fatal(err)
	}
	want := task.Limits{Gas: 20e9, MemoryBytes: 256 << 20, OutputBytes: 16 << 20, WallMillis: 90_000}
	if m.Limits != want || m.Royalty != task.PRY/4 || m.Version != "1.10" || f.Image.File != "cache:python.wasm" {
		t.Errorf("%+v", m)
	}
	if p := m.Policy; p == nil || p.MinTier != task.TierMeasured || len(p.Kinds) != 2 || p.MaxKindPPM != 670_000 {
		t.Errorf("%+v", p)
	}
	if len(m.Inputs) != 2 || m.Inputs[0].MaxBytes != 4<<20 || !m.Inputs[1].Optional || m.Outputs[0].Name != "out.png" {
		t.Errorf("%+v %+v", m.Inputs, m.Outputs)
	}
}

// What Bob decides about his function: what he leaves out keeps most to himself.
func TestManifestDecisions(t *testing.T) {
	image := "image: {file: i.tar}\nruntime: oci"
	for _, row := range []struct {
		name, add string
		want      task.Manifest // of the fields that count here
	}{
		{"nothing said", "", task.Manifest{}},
		{"arguments of tasks", "task_args: true", task.Manifest{TaskArgs: true}},
		{"public code has its log", "public: true", task.Manifest{Public: true, Log: true}},
		{"or not", "public: true\nlog: false", task.Manifest{Public: true}},
		{"private code with a log", "log: true", task.Manifest{Log: true}},
		{"exact", "metering: exact", task.Manifest{Exact: true}},
		{"coarse", "metering: coarse", task.Manifest{}},
	} {
		m, _, err := Parse([]byte("name: f\nversion: 1\nruntime: wasm\nlimits: {gas: 1G, memory: 1MiB, output: 1MiB, wall: 60s}\n" + row.add))
		got := task.Manifest{TaskArgs: m.TaskArgs, Public: m.Public, Log: m.Log, Exact: m.Exact}
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, %v", row.name, got, err)
		}
	}
	m, _, err := Parse([]byte(strings.Replace(yamlManifest, "gas: 20G", "gas: 20G\n  gas_least: 1G", 1)))
	if err != nil || m.Limits.GasLeast != 1e9 {
		t.Errorf("%+v, %v", m.Limits, err)
	}
	// A container's command may be its image's, which is read later.
	if _, _, err := Parse([]byte(strings.NewReplacer("args: [/code/main.py]", "", `image: {file: "cache:python.wasm"}`, "", "runtime: python", image).Replace(yamlManifest))); err != nil {
		t.Errorf("%v", err)
	}
}

// Editors put a mark before the text, or name the schema in it.
func TestManifestOfAnEditor(t *testing.T) {
	for _, text := range []string{"\ufeff" + goodManifest, "\ufeff" + yamlManifest, strings.Replace(goodManifest, "{", `{"$schema": "prytany.schema.json",`, 1), "$schema: x\n" + yamlManifest} {
		if _, _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// Every error names the line and the column, in YAML and in JSON alike.
func TestManifestErrorsHaveAPlace(t *testing.T) {
	for name, c := range map[string]struct{ text, old, new, says string }{
		"misspelt field":    {yamlManifest, "  memory:", "  memori:", "line 16, column 3: there is no field \"limits.memori\""},
		"unknown runtime":   {yamlManifest, "runtime: python", "runtime: pyton", "line 4, column 10: runtime: value must be one of"},
		"bad name":          {yamlManifest, "name: note", "name: ../note", "line 10, column 11: inputs.1.name: "},
		"bad quantity":      {yamlManifest, "max: 4MiB", "max: 4MB", "line 9, column 10: inputs.0.max: "},
		"bad royalty":       {yamlManifest, "0.25", "0.12345678", "line 20, column 10: royalty: "},
		"list for a word":   {yamlManifest, "name: f", "name: [f]", "line 2, column 7: name: got array, want string"},
		"unknown kind":      {yamlManifest, "sev-snp]", "sgx]", "line 19, column 9: policy: kind: \"sgx\" is no kind of evidence"},
		"twice":             {yamlManifest, "version: 1.10", "name: g", "line 3, column 1"},
		"bad indentation":   {yamlManifest, "  gas: 20G\n", " gas: 20G\n", "line 15"},
		"an alias":          {yamlManifest, "version: 1.10", "version: *f", "line 3, column 10: "},
		"tabbed JSON":       {"{\n\t\"name\": \"f\",\n\t\"runtim\": \"wasm\"}", "", "", "line 3, column 2: there is no field \"runtim\""},
		"two documents":     {yamlManifest, "royalty: 0.25", "---\na: b", "want one document"},
		"missing limits":    {yamlManifest, "  wall: 1m30s\n", "", "line 14, column 1: limits: missing property 'wall'"},
		"an empty file":     {"", "", "", "line 1, column 1: the file says nothing"},
		"comments alone":    {"# name: f\n", "", "", "line 1, column 1: the file says nothing"},
		"seconds as such":   {yamlManifest, "wall: 1m30s", "wall: 90", "line 18, column 9: limits.wall: \"90\" is no time such as \"60s\""},
		"an input twice":    {yamlManifest, "name: note", "name: photo.png", "line 10, column 11: inputs.1.name: \"photo.png\" is the name of inputs.0 already"},
		"too much at least": {yamlManifest, "  gas: 20G", "  gas_least: 21G\n  gas: 20G", "line 15, column 14: limits.gas_least: 21G is more than limits.gas, 20G"},
		"no such metering":  {yamlManifest, "royalty: 0.25", "metering: fine", "line 20, column 11: metering: value must be one of"},
		"a log is a choice": {yamlManifest, "royalty: 0.25", "log: some", "line 20, column 6: log: got string, want boolean"},
		"no script":         {yamlManifest, "args: [/code/main.py]\n", "", "line 4, column 10: runtime: python needs args"},
		"python -c":         {yamlManifest, "/code/main.py", "-c", "line 21, column 8: args.0: \"-c\" is no script"},
		"no command":        {strings.Replace(yamlManifest, "args: [/code/main.py]", "", 1), "python\nimage: {file: \"cache:python.wasm\"}", "oci\n", "line 4, column 10: runtime: oci without an image needs args"},
		"several at a time": {yamlManifest, "name: f", "nam: f", "line 2, column 1: there is no field \"nam\""},
	} {
		_, _, err := Parse([]byte(strings.Replace(c.text, c.old, c.new, 1)))
		if task.CodeOf(err) != "manifest-invalid" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v\nwant %s", name, err, c.says)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(goodManifest))
	f.Add([]byte(yamlManifest))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, _, err := Parse(raw); err == nil && (m.Limits.Gas == 0 || m.Limits.WallMillis > 1<<63) {
			t.Fatalf("accepted %+v", m)
		}
	})
}

// What clears a screen is no description.
func TestDescriptionIsText(t *testing.T) {
	m, _, err := Parse([]byte(strings.Replace(goodManifest, `"d"`, `"\u001b[2J"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Check(); err == nil {
		t.Error("a description that clears the screen was taken")
	}
}
