package ledger

import (
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Nobody is silent whom nobody has called: an executor that is found good, and then
// neither calls for keys nor brings a result, pays itself.
func TestNobodyIsSilentUncalled(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	w.judge(everyone(task.OK))
	c := w.c()
	first, held := c.View.Executor, task.Amount(0)
	for _, r := range w.state().Nodes(Whole) {
		if r.Node.ID() == first {
			held = r.Bond
		}
	}
	w.pastCall()
	if err := w.call(); task.CodeOf(err) != "call-late" {
		t.Errorf("a call in the block after the last: %v", err)
	}
	for w.c().View.Number == 0 && w.c().Phase != Closed {
		w.next()
	}
	if c = w.c(); c.Phase == Closed || len(c.Passed) != 1 || c.Passed[0].Why != BroughtNothing {
		t.Fatalf("%s, passed %+v, settled %+v", c.Phase, c.Passed, c.Settlement)
	}
	if n, _ := w.state().Node(first); held-n.Bond != max(c.Params.Silence, c.Escrow.Of(0)) {
		t.Errorf("the silent executor has lost %s", held-n.Bond)
	}
}

// Called in the last block in which that is possible, an owner has its whole time, and
// a run has its own after that.
func TestACalledOwnerHasItsTime(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	w.judge(everyone(task.OK))
	for w.height < w.c().CallBy() {
		w.next()
	}
	if err := w.call(); err != nil {
		t.Fatal(err)
	}
	for range w.block.Params.ReleaseBlocks {
		w.next()
	}
	if err := w.release(alices); err != nil {
		t.Fatal(err)
	}
	if err := w.release(bobs); err != nil {
		t.Fatal(err)
	}
	for due := w.c().Deadline; w.height < due; {
		w.next()
	}
	if err := w.result(task.RunOK, 5); err != nil {
		t.Fatal(err)
	}
	w.left()
}

// pastCall goes to the first block in which the executor can call no more.
func (w *world) pastCall() {
	for w.height <= w.c().CallBy() {
		w.next()
	}
}

// Evidence is as long for a committee of a thousand members as for one of two, so
// there is none that could not show it.
func TestEvidenceIsAsLongForAll(t *testing.T) {
	size := func(members int) int {
		c := &Case{}
		for i := range members {
			k := newWorker("n")
			m := Member{Node: k.node, Claim: task.Claim{Node: task.NodeID(task.H(task.TagNode, task.U64(uint64(i))))}, Beta: vrf.Output{byte(i)}, Seats: 1}
			c.Members = append(c.Members, m)
		}
		k := newWorker("n")
		return len(task.Encode(k.platform().Quote(attest.Context{}, enclaveKeys(), c.Nonce(), attest.EmptyState)))
	}
	if few, many := size(2), size(task.MaxSeats); few != many || many > 1024 {
		t.Errorf("%d bytes for two members, %d for %d", few, many, task.MaxSeats)
	}
}

// A nonce of another committee, or of the same in another order, is another.
func TestTheNonceIsOfAllMembers(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	c := *w.c()
	all := c.Nonce()
	c.Members = c.Members[:len(c.Members)-1]
	if c.Nonce() == all {
		t.Error("a member less, and the same nonce")
	}
}
