package ledger

import (
	"reflect"
	"testing"

	"github.com/prytany/prytany/task"
)

// A small transaction about a large case counts with the case: a block's bound
// on work ends what its bound on bytes does not.
func TestSmallTransactionsCountWithTheirCase(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	size := int64(len(task.Encode(w.c())))
	for name, row := range map[string]struct {
		body task.Body
		more int64
	}{
		"about the case":    {task.Body{Skip: &task.Skip{Task: w.id, View: 9}}, size},
		"about another":     {task.Body{Skip: &task.Skip{Task: task.TaskID{1}, View: 9}}, 0},
		"about none":        {task.Body{Transfer: &task.Transfer{}}, 0},
		"claims":            {task.Body{Claims: task.PackClaims([]task.Claim{{Task: w.id}})}, size},
		"an empty set":      {task.Body{Claims: &task.Claims{}}, 0},
		"commitments":       {task.Body{Commitments: task.PackCommitments([]task.Commitment{{Ballot: task.Ballot{Task: w.id}}})}, size},
		"verdicts":          {task.Body{Verdicts: task.PackVerdicts(task.Ballot{Task: w.id}, nil, nil)}, size},
		"a release":         {task.Body{Release: &task.Release{Task: w.id}}, size},
		"a result":          {task.Body{Result: &task.SignedResult{Result: task.Result{Task: w.id}}}, size},
		"evidence":          {task.Body{Show: &task.Showing{Ballot: task.Ballot{Task: w.id}}}, size},
		"an exit":           {task.Body{Exit: &task.Exit{Ballot: task.Ballot{Task: w.id}}}, size},
		"an accusation":     {task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: w.id}}}, size},
		"a node's own bond": {task.Body{Unbond: &task.Bond{}}, 0},
	} {
		tx, err := task.VerifyTx(task.SignTx(w.keys["carol"], task.Tx{Chain: "test", Body: row.body}), "test")
		if err != nil {
			t.Fatal(err)
		}
		if got := w.block.Work(tx) - int64(tx.Size()); got != row.more {
			t.Errorf("%s: %d bytes beside its own, want %d", name, got, row.more)
		}
	}
}

// Each kind of transaction has a cost that somebody has said: another kind, and none, is
// taken by no pool.
func TestEveryKindHasACost(t *testing.T) {
	w := newWorld(t, 9)
	kinds := reflect.TypeFor[task.Body]()
	for i := range kinds.NumField() {
		var body task.Body
		reflect.ValueOf(&body).Elem().Field(i).Set(reflect.New(kinds.Field(i).Type.Elem()))
		tx, err := task.VerifyTx(task.SignTx(w.keys["carol"], task.Tx{Chain: "test", Body: body}), "test")
		if err != nil {
			t.Fatalf("%s: %v", kinds.Field(i).Name, err)
		}
		if cost, ok := w.block.Cost(tx); !ok || cost < w.block.Params.Fee(tx.Size()) {
			t.Errorf("%s costs %s, %t", kinds.Field(i).Name, cost, ok)
		}
	}
}

// What a transaction may take of its sender is what Apply takes, or more if it is
// refused.
func TestCostIsWhatIsTaken(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	stranger, tk, f := newWorker("stranger"), w.task(), w.function()
	w.keys["stranger"], f.Manifest.Version = seedKey("stranger"), "another"
	w.must("carol", task.Body{Transfer: &task.Transfer{To: stranger.node.Operator, Amount: 300 * task.PRY}})
	for name, row := range map[string]struct {
		by      string
		body    task.Body
		refused bool
	}{
		"transfer": {"carol", task.Body{Transfer: &task.Transfer{To: task.Address{1}, Amount: 7}}, false},
		"register": {"stranger", task.Body{Register: w.enrol(stranger, 100*task.PRY)}, false},
		"bond":     {"carol", task.Body{Bond: &task.Bond{Node: w.someNode(), Amount: 11}}, false},
		"publish":  {"bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}}, false},
		"post":     {"alice", task.Body{Post: &tk}, false},
		"accuse":   {"carol", task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: w.id}}}, true},
		"too much": {"carol", task.Body{Transfer: &task.Transfer{Amount: 1 << 60}}, true},
	} {
		from := task.PublicKey(w.keys[row.by])
		before := w.state().Account(from)
		tx, err := task.VerifyTx(task.SignTx(w.keys[row.by], task.Tx{Chain: "test", Nonce: before.Nonce, Body: row.body}), "test")
		if err != nil {
			t.Fatal(err)
		}
		cost, ok := w.block.Cost(tx)
		err = w.block.Apply(tx)
		taken := before.Balance - w.state().Account(from).Balance
		if !ok || (err != nil) != row.refused || taken > cost || !row.refused && taken != cost {
			t.Errorf("%s: %s taken, %s said: %v", name, taken, cost, err)
		}
	}
	huge := task.Body{Transfer: &task.Transfer{Amount: ^task.Amount(0)}}
	tx, err := task.VerifyTx(task.SignTx(w.keys["carol"], task.Tx{Chain: "test", Body: huge}), "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := w.block.Cost(tx); ok {
		t.Error("a cost over 2^64-1 was said")
	}
}

func (w *world) someNode() task.NodeID {
	for id := range w.nodes {
		return id
	}
	return task.NodeID{}
}
