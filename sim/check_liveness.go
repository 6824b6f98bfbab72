package sim

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// checkDeadlines: every task ends, and one that was posted when all was well
// ends well unless somebody lied about it (§6.2).
func (w *world) checkDeadlines() {
	for _, j := range w.jobs {
		c, ok := w.chain.read().Case(j.id)
		switch {
		case w.violation != "":
		case !ok:
			w.violate("every task ends", "task %s was never posted", j.id.Short())
		case c.Phase != ledger.Closed:
			w.violate("every task ends", "task %s is %s in attempt %d, view %d", j.id.Short(), c.Phase, c.Attempt, c.View.Number)
		case j.calm && w.o.Honest && c.Settlement.Fault != ledger.Nobody && j.outcome == task.RunOK:
			w.violate("honest work ends well", "task %s: %s", j.id.Short(), c.Settlement.Outcome)
		}
	}
}
