package explain

import (
	"reflect"
	"strings"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// unexplained are causes that a record counts, by their word: nobody lost anything.
var unexplained = map[ledger.Cause]bool{
	ledger.Executed: true, ledger.Verified: true, ledger.FoundFault: true,
	ledger.Jailed: true, ledger.NotShown: true, ledger.Inherited: true,
}

// Whatever the chain can keep has words here, each its own; what it cannot keep has
// none, and is named by its number.
func TestEveryWordOfTheChainIsExplained(t *testing.T) {
	table := func(name string, word func(uint8) string, words func(uint8) string) {
		said := map[string]string{}
		for n := range 256 {
			w, s := word(uint8(n)), words(uint8(n))
			known := n > 0 && !strings.HasPrefix(w, "unknown-")
			switch {
			case !known && s != w:
				t.Errorf("%s %d is none, and is explained: %q", name, n, s)
			case known && (s == "" || said[s] != ""):
				t.Errorf("%s %s: %q, as %s", name, w, s, said[s])
			case known && s == w && !(name == "cause" && unexplained[ledger.Cause(n)]) && !(name == "culprit" && w == "nobody"):
				t.Errorf("%s %s has no words", name, w)
			}
			if known {
				said[s] = w
			}
		}
		if len(said) < 5 {
			t.Errorf("%d of %s", len(said), name)
		}
	}
	table("kind", func(n uint8) string { return ledger.Kind(n).String() }, func(n uint8) string { return Fact(ledger.Fact{Kind: ledger.Kind(n)}) })
	table("cause", func(n uint8) string { return ledger.Cause(n).String() }, func(n uint8) string { return Cause(ledger.Cause(n)) })
	table("outcome", func(n uint8) string { return ledger.Outcome(n).String() }, func(n uint8) string { return Outcome(ledger.Outcome(n)) })
	table("culprit", func(n uint8) string { return ledger.Culprit(n).String() }, func(n uint8) string { return Culprit(ledger.Culprit(n)) })
	table("due", func(n uint8) string { return ledger.Due(n).String() }, func(n uint8) string { return Due(ledger.Due(n)) })
}

// A field that a kind has makes a difference to its words: nothing is kept that
// nobody reads.
func TestEveryFieldOfAFactIsSaid(t *testing.T) {
	for n := range 256 {
		kind := ledger.Kind(n)
		if (ledger.Fact{Kind: kind}).Check() != nil {
			continue
		}
		plain := Fact(ledger.Fact{Kind: kind})
		for i := 2; i < reflect.TypeFor[ledger.Fact]().NumField(); i++ {
			f := ledger.Fact{Kind: kind}
			name := reflect.TypeFor[ledger.Fact]().Field(i).Name
			switch v := reflect.ValueOf(&f).Elem().Field(i); v.Kind() {
			case reflect.Array:
				v.Set(reflect.ValueOf(task.NodeID{1}))
			default:
				v.SetUint(2)
			}
			if f.Check() == nil && Fact(f) == plain {
				t.Errorf("%s: %s is not said: %q", kind, name, plain)
			}
		}
	}
}
