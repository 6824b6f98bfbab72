package receipt

import (
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Fault is faulty evidence of a case, in words for people. The chain keeps only
// that it is faulty (spec §7.4.3).
type Fault struct {
	Executor task.NodeID `json:"executor"`
	View     uint32      `json:"view"`
	Round    task.Round  `json:"round"`
	Canary   bool        `json:"canary"` // faulty on purpose
	Reason   string      `json:"reason"` // code of spec §7.4
	Detail   string      `json:"detail"`
}

// Faults appraises again what the chain has found faulty. Of earlier committees
// the case keeps too little for that. The case is a true one: of a node that was
// asked with a proof, or of a receipt that holds.
func Faults(c *ledger.Case) (all []Fault) {
	add := func(c *ledger.Case, r task.Round, canary bool) {
		round := c.Round(r)
		if !round.Faulty || c.Member(c.View.Executor) == nil {
			return
		}
		if a := c.Appraise(r, accused(round)); a.Verdict == task.Fault {
			all = append(all, Fault{c.View.Executor, c.View.Number, r, canary, a.Reason, a.Detail})
		}
	}
	for _, p := range passed(c) {
		was := asItWas(c, p)
		add(was, was.PreRound(), false)
	}
	if c.View.Canary != nil {
		add(c, task.PreRun, true)
	}
	if !gone(c) {
		add(c, c.PreRound(), c.View.Opening != nil)
		add(c, task.PostRun, false)
	}
	return all
}

// inWords is why evidence is faulty, as appraised here.
func inWords(a attest.Appraisal) string { return a.Reason + ", " + a.Detail }
