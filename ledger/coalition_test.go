package ledger

import (
	"testing"

	"github.com/prytany/prytany/task"
)

// hand is a coalition of Alice and of whoever executes.
func (w *world) hand(executor task.NodeID) (sum task.Amount) {
	rec, _ := w.state().Node(executor)
	for _, u := range rec.Unbonding {
		sum += u.Amount
	}
	return sum + rec.Bond + w.state().Account(rec.Node.Operator).Balance + w.state().Account(task.PublicKey(w.keys["alice"])).Balance
}

// Alice and her executor have the result, which is sealed to her. How the case ends
// then must not give them back more of what it costs than it takes from him.
func TestNobodyRobsBobByFailing(t *testing.T) {
	start := func(t *testing.T) (w *world, before task.Amount, executor task.NodeID) {
		w = newWorld(t, 9)
		f := w.function()
		f.Manifest.Royalty = 7 * task.PRY
		w.fn = f.ID()
		w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
		tk := w.task()
		tk.GasPrice, tk.Seats, tk.Fee = 1, 16, 16*w.block.Params.SeatFee
		w.id = tk.ID()
		all := map[task.NodeID]task.Amount{}
		for id := range w.nodes {
			all[id] = w.hand(id)
		}
		w.must("alice", task.Body{Post: &tk})
		w.next()
		w.elect()
		executor = w.c().View.Executor
		return w, all[executor], executor
	}
	run := func(w *world) {
		w.judge(everyone(task.OK))
		for _, r := range []uint8{alices, bobs} {
			if err := w.release(r); err != nil {
				w.t.Fatal(err)
			}
		}
		if err := w.result(task.RunOK, 1); err != nil {
			w.t.Fatal(err)
		}
	}
	cost := map[string]int64{}
	for name, end := range map[string]func(w *world){
		"honest": func(w *world) { run(w); w.left() },
		"called, and Alice silent": func(w *world) {
			w.judge(everyone(task.OK)) // all keys come directly, and she has her result by them
			if err := w.release(bobs); err != nil {
				w.t.Fatal(err)
			}
			w.wait(Closed)
		},
		"called, and Alice's key opens nothing": func(w *world) {
			w.judge(everyone(task.OK))
			for _, r := range []uint8{alices, bobs} {
				if err := w.release(r); err != nil {
					w.t.Fatal(err)
				}
			}
			if err := w.result(task.WrongKey, 0); err != nil {
				w.t.Fatal(err)
			}
			w.left()
		},
		"no word of how the enclave ended": func(w *world) { run(w); w.wait(Closed) },
		"a second pair, shown by Alice": func(w *world) {
			shown := w.pair(w.quote(task.PreRun))
			other := w.both(w.quote(task.PreRun), w.dirty(task.PreRun))
			reveals := w.commit(shown, everyone(task.OK))
			w.must("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals, w.opening(shown))})
			for _, r := range []uint8{alices, bobs} {
				if err := w.release(r); err != nil {
					w.t.Fatal(err)
				}
			}
			if err := w.result(task.RunOK, 1); err != nil {
				w.t.Fatal(err)
			}
			w.next()
			w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: w.c().Ballot(), Accused: w.c().View.Executor, Pairs: []task.Pair{shown.Pair(), other.Pair()}}})
			w.wait(Closed)
		},
	} {
		w, before, executor := start(t)
		end(w)
		after := w.hand(executor)
		cost[name] = int64(before) - int64(after)
		t.Logf("%-35s %-14s: Alice and her executor lose %s", name, w.c().Settlement.Outcome, task.Amount(cost[name]))
	}
	for name, c := range cost {
		if c < cost["honest"] {
			t.Errorf("%s: Alice and her executor keep %s that they would have paid", name, task.Amount(cost["honest"]-c))
		}
	}
}
