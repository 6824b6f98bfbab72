package main

import (
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
	m, err := parseManifest([]byte(goodManifest))
	want := task.Limits{Gas: 20e9, MemoryBytes: 256 << 20, OutputBytes: 16 << 20, WallMillis: 90_000}
	if err != nil || m.Limits != want || m.Royalty != task.PRY/4 || m.Name != "f" {
		t.Fatalf("%+v, %v", m, err)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"misspelt field":  {`"gas"`, `"gass"`, "gass"},
		"missing limit":   {`"gas": "20G", `, ``, "limits.gas"},
		"negative":        {`"20G"`, `"-1"`, "limits.gas"},
		"overflow":        {`"20G"`, `"99999999999T"`, "limits.gas"},
		"unknown unit":    {`"256MiB"`, `"256MB"`, "limits.memory"},
		"zero":            {`"256MiB"`, `"0"`, "limits.memory"},
		"no duration":     {`"90s"`, `"90"`, "limits.wall"},
		"negative time":   {`"90s"`, `"-1s"`, "limits.wall"},
		"bad royalty":     {`"0.25"`, `"0.1234567"`, "royalty"},
		"two manifests":   {`}`, `}{}`, "line"},
		"not JSON at all": {goodManifest, "name: f", "line 1"},
	} {
		text := goodManifest
		if i := strings.LastIndex(text, c.old); i >= 0 {
			text = text[:i] + c.new + text[i+len(c.old):]
		}
		if _, err := parseManifest([]byte(text)); task.CodeOf(err) != "manifest-invalid" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(goodManifest))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := parseManifest(raw); err == nil && (m.Limits.Gas == 0 || m.Limits.WallMillis > 1<<63) {
			t.Fatalf("accepted %+v", m)
		}
	})
}
