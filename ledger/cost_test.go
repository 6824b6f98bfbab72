package ledger

import (
	"strings"
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
		"claims":            {task.Body{Claims: &task.Claims{Claims: []task.Claim{{Task: w.id}}}}, size},
		"an empty set":      {task.Body{Claims: &task.Claims{}}, 0},
		"commitments":       {task.Body{Commitments: &task.Commitments{Commitments: []task.Commitment{{Ballot: task.Ballot{Task: w.id}}}}}, size},
		"verdicts":          {task.Body{Verdicts: &task.Verdicts{Shown: task.Showing{Ballot: task.Ballot{Task: w.id}}}}, size},
		"a release":         {task.Body{Release: &task.Release{Task: w.id}}, size},
		"a result":          {task.Body{Result: &task.SignedResult{Result: task.Result{Task: w.id}}}, size},
		"evidence":          {task.Body{Show: &task.Showing{Ballot: task.Ballot{Task: w.id}}}, size},
		"a canary":          {task.Body{Canary: &task.Canary{Shown: task.Showing{Ballot: task.Ballot{Task: w.id}}}}, size},
		"an accusation":     {task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: w.id}}}, size},
		"a node's own bond": {task.Body{Unbond: &task.Bond{}}, 0},
	} {
		tx, err := task.VerifyTx(task.SignTx(w.keys["carol"], "test", 0, row.body), "test")
		if err != nil {
			t.Fatal(err)
		}
		if got := w.block.Work(tx) - int64(tx.Size()); got != row.more {
			t.Errorf("%s: %d bytes beside its own, want %d", name, got, row.more)
		}
	}
}

// What a transaction may take of its sender is what Apply takes, or more.
func TestCostIsNotLessThanWhatIsTaken(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	for name, body := range map[string]task.Body{
		"transfer": {Transfer: &task.Transfer{To: task.Address{1}, Amount: 7}},
		"bond":     {Bond: &task.Bond{Node: w.someNode(), Amount: 11}},
		"accuse":   {Accuse: &task.Accusation{Ballot: task.Ballot{Task: w.id}}},
	} {
		from := task.PublicKey(w.keys["carol"])
		before := w.state().Account(from)
		tx, err := task.VerifyTx(task.SignTx(w.keys["carol"], "test", before.Nonce, body), "test")
		if err != nil {
			t.Fatal(err)
		}
		cost, ok := w.block.Cost(tx)
		err = w.block.Apply(tx)
		taken := before.Balance - w.state().Account(from).Balance
		if !ok || taken > cost || err == nil && taken != cost {
			t.Errorf("%s: %s taken, %s said: %v", name, taken, cost, err)
		}
	}
	huge := task.Body{Transfer: &task.Transfer{Amount: ^task.Amount(0)}}
	tx, err := task.VerifyTx(task.SignTx(w.keys["carol"], "test", 0, huge), "test")
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

// Nodes without a seat can be slashed in a case for two words that nobody asked
// of them: not without end, or the case could not be read any more.
func TestSlashesOfStrangersEnd(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	stranger := newWorker("stranger")
	w.keys["stranger"] = seedKey("stranger")
	w.must("carol", task.Body{Transfer: &task.Transfer{To: stranger.node.Operator, Amount: 300 * task.PRY}})
	w.must("stranger", task.Body{Register: stranger.enrol(100 * task.PRY)})
	var two []task.SignedVote
	for i := range 2 {
		v := task.Vote{Task: w.id, View: 1, Stage: task.Prepare, Executor: task.NodeID{byte(i)}, Node: stranger.node.ID()}
		two = append(two, task.SignedVote{Vote: v, Signature: task.Sign(stranger.peer, v.Hash())})
	}
	c := w.c()
	for len(c.Slashes) < maxSlashes {
		c.Slashes = append(c.Slashes, Slash{Node: task.NodeID{9}, Cause: Equivocation})
	}
	save(w.block.state, join(keyCase, w.id[:]), c)
	err := w.send("carol", task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: w.id}, Accused: stranger.node.ID(), Votes: two}})
	if task.CodeOf(err) != "nothing-new" || !strings.Contains(err.Error(), "no room") {
		t.Errorf("one more: %v", err)
	}
	if _, err := ParseCase(task.Encode(w.c())); err != nil {
		t.Errorf("the case cannot be read any more: %v", err)
	}
}
