package receipt

import (
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Faults appraises again what the chain has found faulty. Of earlier committees
// the case keeps too little for that. The case is a true one: of a node that was
// asked with a proof, or of a receipt that holds.
func Faults(c *ledger.Case) (all []explain.Finding) {
	add := func(c *ledger.Case) {
		if !c.View.Pre.Faulty || c.Member(c.View.Executor) == nil {
			return
		}
		f := explain.Finding{Executor: c.View.Executor, View: c.View.Number, Round: task.PreRun}
		switch cause := wrong(c); cause {
		case ledger.TwoGood:
			f.Reason, f.Detail = cause.String(), "its decoy is good as well, so nobody could have told by looking"
		case ledger.TwoPairs:
			f.Reason, f.Detail = cause.String(), "it has signed two pairs for one ballot"
		default:
			a := c.Appraise(task.PreRun, c.Genuine())
			if c.View.Pre.Progress < ledger.Opened { // neither piece is good
				a = c.Appraise(task.PreRun, c.View.Pre.Evidence[0])
			}
			f.Reason, f.Detail = a.Reason, a.Detail
		}
		all = append(all, f)
	}
	for _, p := range passed(c) {
		add(asItWas(c, p))
	}
	if gone(c) {
		return all
	}
	add(c)
	if len(c.View.Exit) > 0 && c.Member(c.View.Executor) != nil {
		if a := c.Appraise(task.PostRun, c.View.Exit); a.Verdict == task.Fault {
			all = append(all, explain.Finding{
				Executor: c.View.Executor, View: c.View.Number, Round: task.PostRun, Reason: a.Reason, Detail: a.Detail,
			})
		}
	}
	return all
}

// wrong is what is wrong with the pair, as appraised here.
func wrong(c *ledger.Case) ledger.Cause {
	return c.Wrong(func(evidence []byte) task.Verdict { return c.Appraise(task.PreRun, evidence).Verdict })
}

// inWords is why evidence is faulty, as appraised here.
func inWords(a attest.Appraisal) string { return a.Reason + ", " + a.Detail }
