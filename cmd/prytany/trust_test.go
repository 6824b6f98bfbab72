package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/task"
)

// TestNobodySignsForAnotherChain: a network file pins a chain, and the node at its
// address is of another, on which the same key has money. At 5808ac2 the client
// signed for the chain that the node named.
func TestNobodySignsForAnotherChain(t *testing.T) {
	w := newTown(t, host.Config{RPC: "127.0.0.1:0", Workers: 4})
	right := client.Network{Chain: w.Params.Chain, RPC: w.Chain.RPC(), Trust: w.Client.Trust}
	for code, change := range map[string]func(*client.Network){
		"":                  func(*client.Network) {},
		"wrong-chain":       func(n *client.Network) { n.Chain, n.Trust.Chain = "bank-main", "bank-main" },
		"unproven":          func(n *client.Network) { n.Trust.Validators = task.Hash{1} },
		"network-malformed": func(n *client.Network) { n.Trust = chain.Trust{} },
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
			s.Close()
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

// What others write does nothing to a terminal.
func TestVisible(t *testing.T) {
	if got := visible("a\tb\n\x1b[31mred\x07 \xff é\n\n"); got != "a\tb\n\\x1b[31mred\\x07 \ufffd é" {
		t.Errorf("%q", got)
	}
}
