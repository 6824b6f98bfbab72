package sandbox

import (
	"slices"
	"testing"
)

func TestStateDigest(t *testing.T) {
	files := []File{{Name: "b", Data: []byte("1")}, {Name: "a/"}, {Name: "a/c"}}
	d := StateDigest(files)
	slices.Reverse(files)
	if StateDigest(files) != d {
		t.Error("depends on the order")
	}
	seen := map[string]string{EmptyState.String(): "nothing", d.String(): "all"}
	for name, other := range map[string][]File{
		"content":   {{Name: "b", Data: []byte("2")}, {Name: "a/"}, {Name: "a/c"}},
		"name":      {{Name: "B", Data: []byte("1")}, {Name: "a/"}, {Name: "a/c"}},
		"less":      {{Name: "b", Data: []byte("1")}, {Name: "a/"}},
		"directory": {{Name: "a/"}},
		"file":      {{Name: "a"}},
		"split":     {{Name: "a/c"}, {Name: "a/"}, {Name: "b1"}},
	} {
		if was, same := seen[StateDigest(other).String()]; same {
			t.Errorf("%s has the digest of %s", name, was)
		}
		seen[StateDigest(other).String()] = name
	}
}

func TestOutcomeString(t *testing.T) {
	if OK.String() != "ok" || WallExceeded.String() != "wall time exceeded" || Outcome(0).String() != "outcome 0" || Outcome(200).String() != "outcome 200" {
		t.Error("wrong words")
	}
}
