package receipt_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
)

// Whatever nodes say and do, true or false, in whatever order: what the chain
// makes of it verifies. Only a quorum that lies together, and that nobody
// contradicts, makes a receipt whose evidence does not hold.
func TestRandomStoriesVerify(t *testing.T) {
	stories := 150
	if testing.Short() {
		stories = 20
	}
	ends := map[ledger.Outcome]int{}
	for seed := range stories {
		w := newWorld(t)
		w.wander(rand.New(rand.NewPCG(uint64(seed), 1)))
		rep := receipt.Verify(w.receipt())
		ends[rep.Outcome]++
		for _, row := range rep.Rows {
			if row.Status == receipt.Failed && !strings.Contains(row.Words, "False verdicts") {
				t.Errorf("story %d: %s: %s\n%v", seed, row.Name, row.Words, w.c().History)
				break
			}
		}
	}
	t.Log(ends)
}

// wander plays at random until some time after the settlement.
func (w *world) wander(r *rand.Rand) {
	w.lax = true
	liars, patience, asleep := r.IntN(3) == 0, 40, ledger.Phase(0)
	switch r.IntN(3) {
	case 0: // what ends at once leaves others no time for their words
		patience = 2
	case 1: // the executor brings no result, or no exit
		asleep = []ledger.Phase{ledger.Running, ledger.Reviewing}[r.IntN(2)]
	}
	one := func(p int) bool { return r.IntN(p) == 0 }
	for after := 0; after < 4; {
		c := w.c()
		w.verdict = func(task.NodeID) task.Verdict {
			switch n := r.IntN(12); {
			case n == 0:
				return silent
			case n == 1 || liars && n < 4:
				return task.Fault
			case n == 2 || liars && n < 6:
				return elsewhere
			}
			return task.OK
		}
		w.tweak = func(*quoted) {}
		if one(4) || liars && one(2) {
			w.tweak = func(ev *quoted) { ev.State = task.Hash{1} }
		}
		switch {
		case c.Phase == ledger.Closed:
			after++
			switch {
			case c.View.Executor.IsZero():
			case one(4):
				w.twoWords(w.judges()[0])
			case one(4) && c.View.Result != nil:
				w.twoResults()
			case one(4) && c.View.Pre.Progress >= ledger.Opened:
				w.otherPair()
			case one(2):
				w.look()
			}
		case c.Phase == ledger.Posted:
			w.next()
		case c.Phase == asleep:
			for range 40 {
				w.next()
			}
		case c.Phase == ledger.Electing && len(c.Members) == 0 && !one(8):
			w.claim(4 + r.IntN(9))
		case c.Phase == ledger.Attesting && one(8) && !c.View.Pre.Faulty:
			w.skip()
		case c.Phase == ledger.Attesting && one(8):
			w.decline(c.Members[r.IntN(len(c.Members))].Claim.Node, task.DeclineReason(1+r.IntN(4)))
		case c.Phase == ledger.Attesting && one(8):
			w.declines(task.DeclineReason(2 + r.IntN(2)))
		case c.Phase == ledger.Attesting && one(6) && len(c.View.Pre.Evidence[0]) == 0:
			w.show(w.pair())
		case c.Phase == ledger.Attesting && c.View.Pre.Progress < ledger.Sealed && !one(3):
			shown := w.pair()
			if one(6) {
				shown = w.twoGood()
			}
			if w.judgeThis(shown, !one(6)); one(3) {
				w.show(shown)
			}
		case c.Phase >= ledger.Attesting && c.View.Pre.Progress >= ledger.Sealed && one(6):
			w.look()
		case c.Phase >= ledger.Attesting && c.View.Pre.Progress >= ledger.Opened && one(12):
			w.otherPair()
		case c.Phase == ledger.Releasing && patience == 2 && one(2):
			w.release(alices)
			w.release(bobs)
			if w.result(task.RunOK, 9); w.c().Phase == ledger.Reviewing {
				w.twoResults()
			}
		case c.Phase == ledger.Releasing && !one(3):
			w.release(uint8(1 + r.IntN(2)))
		case c.Stage == ledger.Computing && one(5):
			w.declines(task.Gone)
		case c.Phase == ledger.Running && !c.View.Called() && one(3):
			w.call()
		case c.Phase == ledger.Running && !one(5):
			w.result(task.Outcome(1+r.IntN(5)), 9)
		case c.Phase == ledger.Reviewing && (one(12) || patience == 2 && one(2)):
			w.twoResults()
		case c.Phase == ledger.Reviewing && !one(3):
			w.leave()
		default:
			for range 1 + r.IntN(patience) {
				w.next()
			}
		}
	}
}
