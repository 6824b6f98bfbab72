package ledger

import (
	"testing"

	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// What the event of a seed says is what the case says, and who wins by it is who wins
// by the case; of several events of a task the last phase stands, and the draw stays.
func TestADrawIsTheCases(t *testing.T) {
	w := newWorld(t, 10)
	w.postFor(9)
	w.wait(Electing)
	w.next() // tells what its block has done
	for _, e := range w.events {
		if e.Draw != nil && e.Phase != Electing {
			t.Errorf("%s with a draw", e.Phase)
		}
	}
	news := NewsOf(w.events)
	c := w.c()
	if len(news) != 1 || news[0].Task != w.id || news[0].Phase != Electing || news[0].Draw == nil || *news[0].Draw != c.Draw() {
		t.Fatalf("%+v, the case is %s, with %+v", news, c.Phase, c.Draw())
	}
	winners, losers := 0, 0
	for id, k := range w.nodes {
		rec, _ := w.state().Node(id)
		stake := rec.StakeAt(c.Epoch)
		_, won := sortition.Win(k.vrf, task.Hash(id), c.Seed(), c.Seats, uint64(stake), uint64(c.TotalStake))
		if news[0].Draw.Wins(k.vrf, id, stake) != won {
			t.Errorf("%s wins by one of them only", k.name)
		}
		if won {
			winners++
		} else {
			losers++
		}
	}
	if winners == 0 || losers == 0 {
		t.Errorf("%d win, %d do not", winners, losers)
	}
}
