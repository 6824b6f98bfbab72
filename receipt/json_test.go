package receipt_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What `task show`, `node show` and `verify` print with --json, of a task that went
// through much.
func TestJSONGolden(t *testing.T) {
	w := completed(t)
	r, trust := w.receipt()
	chain := ledger.Read(w.store)
	type shown struct {
		Node ledger.NodeRecord `json:"node"`
		Log  []ledger.Change   `json:"log"`
	}
	executor, _ := chain.Node(r.Case.View.Executor)
	slashed, _ := chain.Node(r.Case.Slashes[0].Node)
	for name, v := range map[string]any{
		"case":   r.Case,
		"report": receipt.Verify(r, trust),
		"nodes": []shown{
			{executor, chain.Log(task.Hash(executor.Node.ID()), ledger.Whole)},
			{slashed, chain.Log(task.Hash(slashed.Node.ID()), ledger.Whole)},
		},
	} {
		have, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, '\n')
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, have, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what is printed (%v); look, then run with -update", file, err)
		}
	}
}

// Who has a receipt as JSON, and numbers of 53 bits, can check all of it.
func TestJSONVerifies(t *testing.T) {
	r, trust := completed(t).receipt()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var browser any
	if err := json.Unmarshal(raw, &browser); err != nil {
		t.Fatal(err)
	}
	if raw, err = json.Marshal(browser); err != nil {
		t.Fatal(err)
	}
	var back receipt.Receipt
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Encode(), r.Encode()) {
		t.Error("it is another receipt after JSON")
	}
	if rep := receipt.Verify(back, trust); !rep.Holds() {
		t.Errorf("it does not hold after JSON: %v", rep.Err())
	}
}
