package sim

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// checkTime: what a host does to its enclave's time blames no function, and the
// host gains and loses nothing by it but its turn (§6.4.8).
func (w *world) checkTime(c *ledger.Case) {
	for _, p := range c.Passed {
		who, late := w.facts.late[turn{c.ID(), p.Attempt, p.View}]
		switch said := p.Result != nil; {
		case said && (!late || who != p.Executor):
			w.violate("an enclave says itself that it is late", "task %s, view %d: the enclave of %s has not said so", c.ID().Short(), p.View, w.name(p.Executor))
		case said && w.paidFor(c, p.Executor, p.Attempt, p.View, ledger.Absent, ledger.Silence):
			w.violate("lost time costs nothing", "task %s: %s was out of time, and lost money", c.ID().Short(), w.name(p.Executor))
		}
	}
	if c.Settlement == nil {
		return
	}
	if _, late := w.facts.late[turn{c.ID(), c.Attempt, c.View.Number}]; late && c.View.Result != nil {
		w.violate("lost time is no result", "task %s, settled as %s", c.ID().Short(), c.Settlement.Outcome)
	}
	for _, j := range w.jobs {
		if j.id == c.ID() && c.Settlement.Outcome == ledger.FunctionFailed && j.outcome != task.RunFailed {
			w.violate("a function is blamed for its own", "task %s: its run goes well, and ended as %s", c.ID().Short(), c.Settlement.Outcome)
		}
	}
	for _, pay := range c.Settlement.Payments {
		for _, p := range c.Passed {
			if p.Result != nil && p.Attempt == c.Attempt && pay.Node == p.Executor {
				w.violate("lost time earns nothing", "task %s: %s was out of time, and got %s as %s", c.ID().Short(), w.name(p.Executor), pay.Amount, pay.Why)
			}
		}
	}
}
