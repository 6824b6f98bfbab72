package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// TestNobodySignsForAnotherChain: a network file pins a chain, and the node at its
// address is of another, on which the same key has money. At 5808ac2 the client
// signed for the chain that the node named.
func TestNobodySignsForAnotherChain(t *testing.T) {
	w := newTown(t, host.Config{RPC: "127.0.0.1:0", Workers: 4})
	right := networkFile{Chain: w.Params.Chain, RPC: w.Chain.RPC(), Trust: w.Client.Trust}
	for code, change := range map[string]func(*networkFile){
		"":                  func(*networkFile) {},
		"wrong-chain":       func(n *networkFile) { n.Chain, n.Trust.Chain = "bank-main", "bank-main" },
		"unproven":          func(n *networkFile) { n.Trust.Validators = task.Hash{1} },
		"network-malformed": func(n *networkFile) { n.Trust = chain.Trust{} },
	} {
		file := right
		change(&file)
		raw, _ := json.Marshal(file)
		path := filepath.Join(t.TempDir(), "network.json")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		a := &app{in: &bytes.Buffer{}, out: &bytes.Buffer{}, err: &bytes.Buffer{}, network: path}
		s, err := a.connect(t.Context())
		if err == nil {
			s.close()
		}
		if got := task.CodeOf(err); got != code {
			t.Errorf("want %q: %v", code, err)
		}
	}
}

// TestNothingMovesTheCursor: whatever a stranger has said, a terminal shows it and
// does not obey it. At 5808ac2 registrations and refusals went there as they were.
func TestNothingMovesTheCursor(t *testing.T) {
	const esc = "\x1b]52;c;cm0gLXJmIH4=\a\x1b[2J\u202e\u009b31m"
	var out, errOut bytes.Buffer
	a := &app{out: &out, err: &errOut, colour: true}
	a.explain(&task.Error{Code: esc, What: esc, Fault: esc, Money: esc, Next: esc})
	a.say("%s %s", esc, a.paint(amber, "amber"))
	if err := a.print(nil, esc+a.paint(red, "red")+"\n"); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{a.paint(red, "error[")[:8], a.paint(amber, "amber"), a.paint(red, "red")} {
		if !strings.Contains(out.String()+errOut.String(), own) {
			t.Errorf("our own colour is gone: %q", own)
		}
	}
	rest := strings.NewReplacer("\x1b[31m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(out.String() + errOut.String())
	if strings.ContainsAny(rest, "\x1b\a\u202e\u009b") {
		t.Errorf("%q", rest)
	}
	if !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("the last line's end is gone: %q", out.String())
	}
}

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

// What others write does nothing to a terminal.
func TestVisible(t *testing.T) {
	if got := visible("a\tb\n\x1b[31mred\x07 \xff é\n\n"); got != "a\tb\n\\x1b[31mred\\x07 \ufffd é" {
		t.Errorf("%q", got)
	}
}
