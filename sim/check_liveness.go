package sim

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// checkDeadlines: every task ends, and one that was posted when all was well
// ends well unless somebody lied about it (§6.2).
func (w *world) checkDeadlines() {
	for _, j := range w.jobs {
		c, ok := w.chain.at(j.id)
		switch {
		case w.violation != "" || j.refused:
		case !ok:
			w.violate("every task ends", "task %s was never posted", j.id.Short())
		case c.Phase != ledger.Closed:
			w.violate("every task ends", "task %s is %s in attempt %d, view %d", j.id.Short(), c.Phase, c.Attempt, c.View.Number)
		case c.Task.Policy.MaxOperatorPPM > 0 && c.Settlement.Outcome == ledger.NoCommittee: // of too few operators
		case j.calm && w.o.Honest && c.Settlement.Fault.Of != ledger.Nobody && j.outcome == task.RunOK:
			w.violate("honest work ends well", "task %s: %s", j.id.Short(), c.Settlement.Outcome)
		}
	}
}

// checkCalm: where nothing fails and nobody lies, the first committee that is
// large enough does the work, its first executor runs it, and nobody pays.
func (w *world) checkCalm(c *ledger.Case) {
	if !w.o.Honest || w.net.heals != 0 {
		return
	}
	switch {
	case len(c.Passed) > 0:
		w.violate("calm work needs one attempt", "task %s: %s was passed over: %s", c.ID().Short(), w.name(c.Passed[0].Executor), c.Passed[0].Why)
	case c.Phase == ledger.Posted && !c.View.Executor.IsZero():
		w.violate("calm work needs one attempt", "task %s: the committee of attempt %d came to nothing", c.ID().Short(), c.Attempt-1)
	case len(c.Slashes) > 0:
		w.violate("calm work needs one attempt", "task %s: %s was slashed for %s", c.ID().Short(), w.name(c.Slashes[0].Node), c.Slashes[0].Cause)
	}
}
