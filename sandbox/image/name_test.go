package image

import (
	"bytes"
	"slices"
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
	if got, err := Command(layout, digest); err != nil || !slices.Equal(got, []string{"/bin/true"}) {
		t.Errorf("its command: %q, %v", got, err)
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
		if got, err := Command(bad, digest); err == nil && name != "other index" { // which it does not look at
			t.Errorf("%s: the command %q", name, got)
		}
	}
}
