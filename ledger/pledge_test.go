package ledger

import (
	"testing"

	"github.com/prytany/prytany/roster"
	"github.com/prytany/prytany/task"
)

// pledges holds each node's pledge against the turns that are open.
func (w *world) pledges() {
	w.t.Helper()
	r := Read(w.store)
	want := map[task.NodeID]task.Amount{}
	for _, c := range listed[Case](r.s, []byte(keyCase), Whole) {
		if c.Stage >= Committing && c.Stage < Settled {
			want[c.View.Executor] += max(c.Params.Silence, c.Escrow.Locks[0])
		}
	}
	for _, n := range r.Nodes(Whole) {
		if id := n.Node.ID(); n.Pledged != want[id] {
			w.t.Fatalf("block %d: node %s has pledged %s, its open turns could cost %s", w.height, id.Short(), n.Pledged, want[id])
		}
	}
}

// spared says whether the chain itself has declined a node's turn in the present task.
func (w *world) spared(id task.NodeID) bool {
	for _, d := range w.c().Declined {
		if d.Decline.Node == id && d.Decline.Reason == task.Pledged {
			return true
		}
	}
	return false
}

// A friend of Alice's with little to lose has many turns at once. It gives her the
// results alone, and is silent in all: each of them must cost it what she gets back.
func TestManySilencesAtOnce(t *testing.T) {
	w := newWorld(t, 9, func(p *Params) { p.ReleaseBlocks, p.RunGraceBlocks = 100, 20 })
	w.publish()
	w.must("bob", task.Body{Publish: &task.Publish{Function: w.function(), Bond: 200 * task.PRY}})
	_, _, friend := w.gang()
	w.lose(friend, 7*task.PRY)
	var silent []task.TaskID
	turns, spared := 0, 0
	for turns+spared < 6 {
		w.again()
		switch {
		case w.spared(friend):
			spared++
		case w.c().View.Executor == friend:
			turns++
			w.judge(everyone(task.OK)) // keys and result go beside the chain
			silent = append(silent, w.id)
		}
	}
	for rec, _ := w.state().Node(friend); rec.Pledged > 0; rec, _ = w.state().Node(friend) {
		w.next()
	}
	var lost, spares task.Amount
	for _, id := range silent {
		w.id = id
		spares += w.c().forfeit()
		for _, s := range w.c().Slashes {
			if s.Node == friend {
				lost += s.Amount
			}
		}
	}
	t.Logf("silent in %d turns, of %d it was spared: it lost %s, Alice was spared %s", turns, spared, lost, spares)
	if turns < 3 || spared == 0 || lost < spares {
		t.Errorf("with Alice it keeps %d base units", int64(spares)-int64(lost))
	}
}

// Who is spared a turn loses nothing, verifies on and is paid; and has its next turns
// when the present ones are over. A bond that is on its way out backs no turn.
func TestWhoIsSparedATurn(t *testing.T) {
	for name, short := range map[string]func(w *world, id task.NodeID){
		"other turns": func(w *world, id task.NodeID) {
			key := join(keyNode, id[:])
			n, _ := load[NodeRecord](w.block.state, key)
			w.lose(id, n.Pledged+w.block.Params.Silence-1)
		},
		"unbonded": func(w *world, id task.NodeID) {
			n, _ := w.state().Node(id)
			w.must(w.names[id], task.Body{Unbond: &task.Bond{Node: id, Amount: n.Bond}})
		},
	} {
		w := newWorld(t, 9)
		w.post()
		w.elect()
		first := w.c().View.Executor
		r := w.c().Roster()
		r.Out = append(r.Out, roster.Out{Node: first})
		second, _ := r.Next(1)
		w = newWorld(t, 9)
		w.post()
		short(w, first)
		w.elect()
		c := w.c()
		before := w.block.atStake(first)
		switch d := c.Declined; {
		case len(d) != 1 || d[0].Decline.Node != first || !d[0].Turn || d[0].From != 1 || d[0].Height != c.View.StartedAt:
			t.Fatalf("%s: %+v", name, d)
		case c.View.Number != 1 || c.View.Executor != second || len(c.Passed) > 0:
			t.Fatalf("%s: view %d is of %s, want %s", name, c.View.Number, c.View.Executor.Short(), second.Short())
		case !c.Roster().Judges(first):
			t.Errorf("%s: it does not judge", name)
		}
		w.finish()
		if paid := w.earned(first); paid == 0 || w.c().Settlement.Outcome != Completed || w.block.atStake(first) != before {
			t.Errorf("%s: %s, it earned %s", name, w.c().Settlement.Outcome, paid)
		}
	}
}

// A lock above the least bond could be answered for by few, or by nobody.
func TestALockIsAtMostTheLeastBond(t *testing.T) {
	w := newWorld(t, 9)
	w.publish()
	for fee, code := range map[task.Amount]string{95*task.PRY + task.PRY/2: "", 95*task.PRY + task.PRY/2 + 1: "lock-over-bond"} { // beside gas for 4 PRY and a royalty of 0.5
		tk := w.task()
		tk.Fee = fee
		w.must("bob", task.Body{Publish: &task.Publish{Function: w.function(), Bond: 100 * task.PRY}})
		if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != code {
			t.Errorf("a fee of %s: %v", fee, err)
		}
	}
}

// Nobody says for a node, in words of its own, that it has nothing left.
func TestNobodySignsThatABondIsPledged(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	if err := w.decline(w.c().View.Executor, task.Pledged); task.CodeOf(err) != "decline-malformed" {
		t.Error(err)
	}
}

// A pair that too few have judged is redrawn: its executor's turn is over, and pledges
// nothing more.
func TestARedrawFreesThePledge(t *testing.T) {
	w := elected(t)
	shown := w.pair(w.quote(task.PreRun))
	w.must("carol", task.Body{Show: &shown})
	for w.c().View.Pre.Progress < Sealed {
		w.next()
	}
	if err := w.verdicts(nil, shown); err != nil {
		t.Fatal(err)
	}
	first := w.c().View.Executor
	if n, _ := w.state().Node(first); n.Pledged == 0 {
		t.Fatal("nothing is pledged in its turn")
	}
	w.nextAttempt()
	if n, _ := w.state().Node(first); n.Pledged != 0 || w.c().Attempt != 1 {
		t.Errorf("attempt %d: %s are pledged for a turn that is over", w.c().Attempt, n.Pledged)
	}
}
