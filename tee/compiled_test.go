package tee

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
)

// Only what the table has for an interpreter is taken for it.
func TestInterpreters(t *testing.T) {
	sum := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
	a, b := []byte("compiled a"), []byte("compiled b")
	long := make([]byte, MaxCompiled+1)
	table := Interpreters{"a": {sum([]byte("on another processor")), sum(a)}, "b": {sum(b)}, "long": {sum(long)}, "none": nil, "empty": {""}}
	for _, row := range []struct {
		interpreter string
		compiled    []byte
		want        bool
	}{
		{"a", a, true}, {"b", b, true}, {"a", b, false}, {"b", a, false}, {"c", a, false}, {"", a, false}, {"none", a, false},
		{"a", nil, false}, {"none", nil, false}, {"empty", nil, false}, {"a", a[:len(a)-1], false}, {"a", append(a[:len(a):len(a)], 0), false},
		{"long", long, false},
	} {
		if got := table.Has(row.interpreter, row.compiled); got != row.want {
			t.Errorf("%q, %d bytes: %t", row.interpreter, len(row.compiled), got)
		}
	}
	for digest, list := range Public {
		for _, h := range append(list, digest[len("sha256:"):]) {
			if raw, err := hex.DecodeString(h); err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != h {
				t.Errorf("%s: %q is no digest", digest, h)
			}
		}
	}
}
