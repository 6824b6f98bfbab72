package client

import (
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// TestAHiddenNamesakeIsMissed: a node leaves a function out of its list, so that
// another one of the same name looks like the only one.
func TestAHiddenNamesakeIsMissed(t *testing.T) {
	of := func(owner byte, name string) ledger.FunctionRecord {
		return ledger.FunctionRecord{Function: task.Function{Owner: task.Address{owner}, Manifest: task.Manifest{Name: name}}}
	}
	real, fake, other := of(1, "risk"), of(2, "risk"), of(1, "dose")
	two, one := ledger.Name{Functions: 2}, ledger.Name{Functions: 1}
	for _, c := range []struct {
		list  []ledger.FunctionRecord
		known ledger.Name
		name  string
		code  string
	}{
		{[]ledger.FunctionRecord{real, fake, other}, two, "risk", "function-ambiguous"},
		{[]ledger.FunctionRecord{fake, other}, two, "risk", "unproven"},
		{[]ledger.FunctionRecord{other}, one, "risk", "unproven"},
		{[]ledger.FunctionRecord{real, other}, one, "risk", ""},
		{[]ledger.FunctionRecord{real, other}, ledger.Name{}, real.Function.ID().String()[:12], ""},
		{[]ledger.FunctionRecord{other}, ledger.Name{}, "risk", "no-function"},
	} {
		f, err := theFunction(c.list, c.known, c.name, "x")
		if task.CodeOf(err) != c.code || err == nil && f.Function.ID() != real.Function.ID() {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
