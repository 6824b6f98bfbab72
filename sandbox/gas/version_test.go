package gas

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
)

// What the rewriter of a version makes of the modules of TestCounts, and of one
// with an entry and a large frame. Where that changes, the version does.
func TestVersion(t *testing.T) {
	d := sha256.New()
	for _, c := range counts {
		d.Write(counted(t, wat.Module(c.module)))
	}
	d.Write(counted(t, across(1000)))
	const version, want = 3, "cdb17f364eb66f83601a86bfdbd5176e96b634c0a573fa4005d34f8ff0952c78"
	if got := fmt.Sprintf("%x", d.Sum(nil)); Version != version || got != want {
		t.Errorf("version %d makes %s; version %d made %s: raise Version, and note both here", Version, got, version, want)
	}
}
