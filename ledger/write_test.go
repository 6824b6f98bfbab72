package ledger

import (
	"bytes"
	"testing"

	"github.com/prytany/prytany/task"
)

// A case is written once for each transaction that changes it, and once at a block's
// beginning and end, however often it changes in between: closing the set of
// commitments, a whole settlement and a new view are many changes.
func TestACaseIsWrittenOnce(t *testing.T) {
	w := newWorld(t, 9)
	writes, most := map[task.TaskID]int{}, 0
	w.wrote = func(id task.TaskID) { writes[id]++ }
	w.block.wrote = w.wrote
	once := func(what string) {
		for id, n := range writes {
			if n != 1 {
				t.Errorf("%s: case %s was written %d times", what, id.Short(), n)
			}
			most = max(most, n)
		}
		clear(writes)
	}
	// Of next, the end of a block and the beginning of the one after are two steps.
	next := func() {
		w.events = append(w.events, w.block.End()...)
		once("a block's end")
		w.begin()
		once("a block's beginning")
	}
	do := func(what string, want bool, act func() error) {
		t.Helper()
		history := len(w.c().History)
		err := act()
		if (err == nil) != want || (writes[w.id] == 1) != want {
			t.Errorf("%s: %v, %d writes", what, err, writes[w.id])
		}
		if want && len(w.c().History) == history {
			t.Errorf("%s: the write is not the present case", what)
		}
		once(what)
	}
	w.publish()
	tk := w.task()
	w.id = tk.ID()
	w.must("alice", task.Body{Post: &tk})
	once("post")
	for w.c().Phase != Electing {
		next()
	}
	do("claims", true, func() error { return w.send("carol", w.claimsRow("all")) })
	do("no new claims", false, func() error { return w.send("carol", w.claimsRow("all")) })
	for w.c().Phase != Attesting {
		next()
	}
	shown := w.pair(w.quote(task.PreRun))
	var reveals []task.Reveal
	do("commitments, which are closed at once", true, func() error {
		reveals = w.commit(shown, everyone(task.OK))
		return nil
	})
	do("verdicts, which decide", true, func() error {
		return w.send("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals, w.opening(shown))})
	})
	do("a call for keys", true, w.call)
	do("Alice's key", true, func() error { return w.release(alices) })
	do("the same again", false, func() error { return w.release(alices) })
	do("Bob's key, which starts the run", true, func() error { return w.release(bobs) })
	do("a result", true, func() error { return w.result(task.RunOK, 9) })
	for w.c().View.ExitNonce.IsZero() {
		next()
	}
	do("an exit, which settles", true, func() error { return w.exit(w.quote(task.PostRun)) })
	if w.c().Phase != Closed || most != 1 {
		t.Errorf("%s; %d writes at the most", w.c().Phase, most)
	}
}

// A refused transaction leaves no trace in a case that the block holds, even where it
// had changed it before it was refused.
func TestARefusedTransactionChangesNoHeldCase(t *testing.T) {
	w := elected(t)
	w.judge(everyone(task.OK))
	w.keysOut()
	before := task.Encode(w.c())
	held, _ := w.block.loadCase(w.id)
	held.View.Number = 77 // as a handler may have done before it refuses
	if err := w.release(alices); err == nil {
		t.Fatal("twice released")
	}
	again, _ := w.block.loadCase(w.id)
	if again == held || again.View.Number == 77 {
		t.Error("the block still holds what a refused transaction has changed")
	}
	w.block.writeCases()
	if !bytes.Equal(before, task.Encode(w.c())) {
		t.Error("a refused transaction has changed the case")
	}
	if got := w.state().s.Get(CaseKey(w.id)); !bytes.Equal(got, task.Encode(w.c().Hash())) {
		t.Error("the authenticated hash is not the case's")
	}
}
