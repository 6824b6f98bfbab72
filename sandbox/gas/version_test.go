package gas

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
)

// What the rewriter of a version makes of the modules of TestCounts. Where that
// changes, the version does.
func TestVersion(t *testing.T) {
	d := sha256.New()
	for _, c := range counts {
		d.Write(counted(t, wat.Module(c.module)))
	}
	const version, want = 2, "97db7fae2194c05f3c4cc45a890d3c835dd5e00fe6ebddb35dff62d530e9aa0d"
	if got := fmt.Sprintf("%x", d.Sum(nil)); Version != version || got != want {
		t.Errorf("version %d makes %s; version %d made %s: raise Version, and note both here", Version, got, version, want)
	}
}
