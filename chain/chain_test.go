package chain

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// One validator, one task for which nobody draws: the chain wakes, makes every
// attempt, gives Alice her money back and rests.
func TestATaskWithoutWorkersEndsInARefund(t *testing.T) {
	n, c := start(t, single(t))
	ctx := patient(t)
	submit(t, c, "alice", transfer("bob", 5*task.PRY))
	submit(t, c, "bob", publish())
	atRest(t, n, c)
	before, _ := c.Account(ctx, addr("alice"))

	blocks := c.Watch(ctx, 0)
	id := jobOf(submit(t, c, "alice", post()))
	phases, height := map[ledger.Phase]int{}, uint64(0)
	for phases[ledger.Closed] == 0 {
		b := <-blocks
		if height != 0 && b.Height != height+1 {
			t.Fatalf("block %d was followed by %d", height, b.Height)
		}
		height = b.Height
		for _, e := range b.Events {
			if e.Task != id || e.Height != b.Height {
				t.Fatalf("an event of another task or height: %+v", e)
			}
			phases[e.Phase]++
		}
	}
	params, _ := c.Params(ctx)
	if want := int(params.MaxAttempts); phases[ledger.Posted] != want || phases[ledger.Electing] != 2*want+1 { // seeded, and late claims waited for; the last one is over
		t.Errorf("%d attempts expected, phases seen: %v", want, phases)
	}
	k, err := c.Case(ctx, id)
	if err != nil || k.Settlement == nil || k.Settlement.Outcome != ledger.NoCommittee {
		t.Fatalf("the case ended with %+v, %v", k.Settlement, err)
	}
	after, _ := c.Account(ctx, addr("alice"))
	if paid := before.Balance - after.Balance; paid != params.TxFee+params.PostingFee+k.Settlement.Rent || k.Settlement.Rent == 0 {
		t.Errorf("Alice paid %s", paid)
	}
	conserved(t, n)
	rest := atRest(t, n, c)
	idle, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := c.WaitHeight(idle, rest+1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a chain at rest made block %d: %v", c.Height(), err)
	}
	if owned, err := c.Owned(ctx, addr("alice")); err != nil || len(owned) != 1 || owned[0] != id {
		t.Errorf("Alice owns %v, %v", owned, err)
	}
}
