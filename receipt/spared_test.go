package receipt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// spared is a task whose first executor had taken its bond back: the chain spares it
// the turn, which is the next one's.
func spared(t testing.TB) *world {
	for nonce := 0; ; nonce++ {
		first := newWorld(t, fmt.Sprint(nonce)).elect().c().View.Executor
		w := newWorld(t, fmt.Sprint(nonce))
		rec, _ := ledger.Read(w.store).Node(first)
		w.one = true // in the same block
		w.must(w.nodes[first].name, task.Body{Unbond: &task.Bond{Node: first, Amount: rec.Bond}})
		c := w.elect().c()
		if len(c.Declined) != 1 || c.View.Number != 1 || c.View.Executor == first {
			t.Fatalf("view %d: %+v", c.View.Number, c.Declined)
		}
		if n := c.Roster().Judging(); n-c.Member(w.judges()[0]).Seats >= sortition.Quorum(n) {
			return w
		}
	}
}

// That a node had too little at stake is the chain's word. It may say so of nobody but
// whose turn begins, then, and once; and not in the node's name.
func TestSparedTurns(t *testing.T) {
	w := spared(t).ran(task.RunOK, 9).leave()
	r, check := w.receipt()
	if rep := receipt.Verify(r, check); !rep.Holds() || !strings.Contains(rep.Text(), "pledged for its other turns") {
		t.Fatal(rep.Text())
	}
	for name, bend := range map[string]func(c *ledger.Case, d *ledger.Declined){
		"by itself":            func(_ *ledger.Case, d *ledger.Declined) { d.Decline = d.Decline.SignedBy(w.nodes[d.Decline.Node].peer) },
		"for a file":           func(_ *ledger.Case, d *ledger.Declined) { d.Decline.Party = alices },
		"out of its turn":      func(_ *ledger.Case, d *ledger.Declined) { d.Turn = false },
		"in a later block":     func(c *ledger.Case, d *ledger.Declined) { d.Height = c.LastClaims() + 1 },
		"before the election":  func(_ *ledger.Case, d *ledger.Declined) { d.From = 0 },
		"in another's turn":    func(c *ledger.Case, d *ledger.Declined) { d.Decline.Node = c.View.Executor },
		"as busy, unsigned":    func(_ *ledger.Case, d *ledger.Declined) { d.Decline.Reason = task.Busy },
		"in another attempt":   func(_ *ledger.Case, d *ledger.Declined) { d.Decline.Attempt++ },
		"twice, and in no row": func(c *ledger.Case, d *ledger.Declined) { c.Declined = append(c.Declined, *d) },
	} {
		r, _ := w.receipt()
		c := r.Case
		c.Declined = append([]ledger.Declined(nil), c.Declined...)
		bend(&c, &c.Declined[0])
		for i, f := range c.History { // it is told so, too
			if f.Kind == ledger.FactDeclined {
				d := c.Declined[0]
				c.History[i].Height, c.History[i].Node, c.History[i].Reason, c.History[i].Party = d.Height, d.Decline.Node, d.Decline.Reason, d.Decline.Party
			}
		}
		r.Case = c
		if got := words(receipt.Verify(r, gullible), "executor"); strings.HasPrefix(got, "ok") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
