package sim

import (
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Nobody honest is slashed for a lie, whatever fails; and for silence only if
// something did fail (§10.4).
func (w *world) checkSlashes(c *ledger.Case) {
	for _, s := range c.Slashes {
		k := w.byID[s.Node]
		if k.liar != nil {
			continue
		}
		quiet := s.Cause == ledger.NoReveal || s.Cause == ledger.Silent ||
			s.Cause == ledger.BadEvidence && k.faulted && w.facts.canaries[k.id] // it could not explain its canary (spec §12.3)
		if !quiet || w.net.heals == 0 {
			w.violate("nobody honest is slashed", "%s lost %s for %s in task %s", k.name, s.Amount, s.Cause, c.ID().Short())
		}
	}
	for _, p := range c.Passed {
		if k := w.byID[p.Executor]; k.liar == nil && p.Slashed > 0 && w.net.heals == 0 && w.o.Honest {
			w.violate("nobody honest is slashed", "%s was passed over in a calm world: %s", k.name, p.Why)
		}
	}
	// And who lied about what the chain has seen to be faulty has paid.
	if c.Phase == ledger.Closed && c.View.Pre.Faulty != "" && len(passedOver(c, c.View.Executor)) == 0 && !w.paid(c, c.View.Executor) {
		w.violate("a liar pays", "task %s: %s showed faulty evidence", c.ID().Short(), w.name(c.View.Executor))
	}
}

func passedOver(c *ledger.Case, id task.NodeID) (all []ledger.Pass) {
	for _, p := range c.Passed {
		if p.Executor == id {
			all = append(all, p)
		}
	}
	return all
}

func (w *world) paid(c *ledger.Case, id task.NodeID) bool {
	return slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool { return s.Node == id })
}
