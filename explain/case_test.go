package explain

import (
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Every phase but the last waits for something, and every one but the first was led to.
func TestEveryPhaseIsExplained(t *testing.T) {
	said := map[string]bool{}
	for n := range 256 {
		p := ledger.Phase(n)
		known := n > 0 && !strings.HasPrefix(p.String(), "unknown-")
		w := Waits(&ledger.Case{Phase: p})
		if open := known && p != ledger.Closed; (w != "") != open || open && said[w] {
			t.Errorf("%s waits: %q", p, w)
		}
		if later := known && p != ledger.Posted; (Led(p) != "") != later || later && said[Led(p)] {
			t.Errorf("%s was led to: %q", p, Led(p))
		}
		said[w], said[Led(p)] = true, true
	}
	if len(said) < 12 {
		t.Errorf("%d phases and ways", len(said))
	}
}

// settledCase ended by an executor's silence: one was slashed, and all was paid back.
func settledCase() *ledger.Case {
	alice, bob, finder := task.Address{1}, task.Address{2}, task.Address{3}
	silent := task.NodeID{4}
	c := &ledger.Case{Phase: ledger.Closed, PostedAt: 10}
	c.Task.Requester, c.Function.Owner = alice, bob
	c.Escrow.Locks = []task.Amount{100 * task.PRY, 20 * task.PRY}
	c.Escrow.Room = 5 * task.PRY
	c.Slashes = []ledger.Slash{{
		Node: silent, Cause: ledger.Silence, Amount: 50 * task.PRY, Height: 15,
		Rewards: []ledger.Payment{{To: finder, Amount: 10 * task.PRY, Why: ledger.WhyFinder}},
	}}
	c.Settlement = &ledger.Settlement{
		Outcome: ledger.ExecutorsFailed, Fault: ledger.Fault{Of: ledger.TheExecutor}, Height: 20, Rent: 3 * task.PRY,
		Payments: []ledger.Payment{
			{To: alice, Amount: 100 * task.PRY, Why: ledger.WhyRefund}, {To: alice, Amount: 2 * task.PRY, Why: ledger.WhyRoom},
			{To: finder, Node: task.NodeID{5}, Amount: 7 * task.PRY, Why: ledger.WhyVerifier},
		},
		Kept: []task.Amount{0, 20 * task.PRY},
	}
	return c
}

func TestASettledCaseIsTold(t *testing.T) {
	c := settledCase()
	found := []Finding{{Executor: task.NodeID{4}, Round: task.PreRun, Reason: "wrong-measurement", Detail: "not this one"}}
	names := Names{
		Accounts: map[task.Address]string{{1}: "Alice", {2}: "Bob", {3}: "Vera"},
		Nodes:    map[task.NodeID]string{{4}: "w4"},
	}
	for _, told := range []struct{ got, want string }{
		{Case(c, 30, found), `
the pre-run evidence of 04000000 was faulty, appraised again: wrong-measurement: not this one
node 04000000 lost 50 PRY at block 15: its enclave was found good, and it brought no result, or no exit, in time, or gave up
  10 PRY of it to 03000000, who found it
settled at block 20: executors-failed
at fault: the executor
what happened: no executor brought a result
  the requester got 100 PRY as refund
  the requester got 2 PRY back of what was locked for rent
  03000000 got 7 PRY as verifier
  3 PRY of rent were burned, for the 10 blocks that the task was open
  20 PRY went back into the bond of the code-owner
`},
		{strings.Join(names.Story(c, found), "\n") + "\n", `
the pre-run evidence of w4, looked at again: wrong-measurement: not this one
w4 lost 50 PRY of its bond: its enclave was found good, and it brought no result, or no exit, in time, or gave up
  10 PRY of that to Vera, who found it
  40 PRY of that burned
the escrow gave back to Alice 100 PRY: nobody had earned it
the escrow gave back to Alice 2 PRY: the task took less room than was locked for it
Alice paid Vera 7 PRY: it verified
20 PRY went back into the bond of Bob's function
`},
		{strings.Join(names.Payments(c), "\n") + "\n", `
Vera              7 PRY  verifier
Alice           100 PRY  refund
Alice             2 PRY  room
`},
		{names.Fault(c), "\nthe executor"},
	} {
		if "\n"+told.got != told.want {
			t.Errorf("got\n%s\nwant%s", told.got, told.want)
		}
	}
}

// What ended well is no error, and what did not says whose fault it was and where the
// money is.
func TestAnEndIsAnErrorThatHelps(t *testing.T) {
	c := settledCase()
	e, ok := Ended(c).(*task.Error)
	if !ok || e.Code != "task-executors-failed" || e.Fault != "the executor" || e.Money == "" || !strings.Contains(e.Next, c.ID().String()) {
		t.Errorf("%+v", e)
	}
	if strings.Contains(e.What, "ran out of the time") {
		t.Error("nobody was late")
	}
	c.Passed = []ledger.Pass{{}, {Result: &task.SignedResult{}}}
	if e := Ended(c).(*task.Error); !strings.Contains(e.What, "; 1 of 2 ran out of the time") {
		t.Error(e.What)
	}
	c.Settlement.Outcome = ledger.Completed
	if err := Ended(c); err != nil {
		t.Error(err)
	}
	if c.Settlement = nil; Ended(c) != nil {
		t.Error("it is open")
	}
}

// An account without a name goes by its address.
func TestWhoHasNoNameIsNamedAllTheSame(t *testing.T) {
	c := settledCase()
	if lines := (Names{}).Payments(c); !slices.ContainsFunc(lines, func(s string) bool {
		return strings.HasPrefix(s, task.Address{1}.Short())
	}) {
		t.Error(lines)
	}
}
