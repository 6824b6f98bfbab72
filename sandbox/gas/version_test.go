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
	const version, want = 1, "11c2d7a21857de189f8a1f5febafc8f6792b825392c9dd677ea2a3eb95052392"
	if got := fmt.Sprintf("%x", d.Sum(nil)); Version != version || got != want {
		t.Errorf("version %d makes %s; version %d made %s: raise Version, and note both here", Version, got, version, want)
	}
}
