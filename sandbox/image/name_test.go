package image

import (
	"bytes"
	"testing"
)

// An image is found in its layout by the name that Build gave it.
func TestDigest(t *testing.T) {
	dir := t.TempDir()
	layout, digest, err := BuildDir(dir, Config{Cmd: []string{"/bin/true"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Digest(layout); err != nil || got != digest {
		t.Errorf("%s, %v; want %s", got, err, digest)
	}
	for name, bad := range map[string][]byte{
		"nothing":     nil,
		"no tar":      bytes.Repeat([]byte("x"), 600),
		"cut off":     layout[:700],
		"other index": bytes.Replace(layout, []byte(`"manifests":[`), []byte(`"manifestz":[`), 1),
	} {
		if got, err := Digest(bad); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
}
