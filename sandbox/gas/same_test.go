package gas

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
)

// The rewriter makes the same of a module everywhere and in every release, here of
// the modules of TestCounts, and of one with an entry and a large frame. Where that
// changes, gas may, and interpreters are compiled into something else.
func TestSameRewriting(t *testing.T) {
	d := sha256.New()
	for _, c := range counts {
		d.Write(counted(t, wat.Module(c.module)))
	}
	d.Write(counted(t, across(1000)))
	const want = "cdb17f364eb66f83601a86bfdbd5176e96b634c0a573fa4005d34f8ff0952c78"
	if got := fmt.Sprintf("%x", d.Sum(nil)); got != want {
		t.Errorf("it makes %s, and made %s: if that is meant, note it here, and renew tee.Public", got, want)
	}
}
