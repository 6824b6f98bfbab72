package host

import "testing"

// skipInShort leaves out tests that count blocks while the whole stack runs:
// beside the race detector, on two cores, they take minutes.
func skipInShort(t *testing.T) {
	if testing.Short() {
		t.Skip("long; run without -short")
	}
}
