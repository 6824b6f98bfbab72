package sim

import (
	"bytes"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// checkRelease: a key goes only to the untouched enclave of whoever executes,
// of which good evidence is on the chain or in the owner's hands (§8.1).
func (w *world) checkRelease(p *person, c *ledger.Case, box []byte) {
	e := w.facts.enclaves[string(box)]
	switch {
	case e == nil:
		w.violate("keys go to attested enclaves", "%s sealed a key to no enclave that there is", p.name)
	case !e.genuine:
		w.violate("keys go to attested enclaves", "%s sealed a key to the tampered enclave of %s", p.name, e.s.name)
	case e.s.worker.id != c.View.Executor || e.context.View != c.View.Number || e.context.Attempt != c.Attempt:
		w.violate("keys go to the executor", "%s sealed a key to %s; %s executes", p.name, e.s.name, w.name(c.View.Executor))
	}
	if p == w.bob && c.View.Pre.DecidedAt == 0 {
		w.facts.ahead[turn{c.ID(), c.Attempt, c.View.Number}] = true
	}
}

// checkAhead: who has Bob's key is found good by the chain before its turn is over: from
// then on its silence costs no less than what Alice could get back by it (§8.2, §10.4).
func (w *world) checkAhead(c *ledger.Case) {
	over := func(t turn, round *ledger.Round) {
		if w.facts.ahead[t] && round.DecidedAt == 0 && !round.Faulty {
			w.violate("who has the key is found good", "task %s, attempt %d, view %d: its executor had Bob's key, and the turn is over", c.ID().Short(), t.attempt, t.view)
		}
	}
	for i := range c.Passed {
		over(turn{c.ID(), c.Passed[i].Attempt, c.Passed[i].View}, &c.Passed[i].Pre)
	}
	if c.Phase == ledger.Posted && c.Attempt > 0 { // the view is of the attempt before
		over(turn{c.ID(), c.Attempt - 1, c.View.Number}, &c.View.Pre)
	}
	if c.Phase == ledger.Closed {
		over(turn{c.ID(), c.Attempt, c.View.Number}, &c.View.Pre)
	}
}

// checkReleases: what the chain holds as an owner's release, the owner has
// sealed, to an enclave of this view (§8.2).
func (w *world) checkReleases(c *ledger.Case) {
	if c.Phase == ledger.Posted { // the view is of the attempt before
		return
	}
	v := &c.View
	silent := c.Phase == ledger.Closed && v.Result == nil && (c.Settlement.Outcome == ledger.DataOwnerSilent || c.Settlement.Outcome == ledger.CodeOwnerSilent)
	if (len(v.Releases) > 0 || silent) && !v.Called() {
		w.violate("owners are called before they are blamed", "task %s view %d: nobody has called", c.ID().Short(), v.Number)
	}
	if silent && c.Settlement.Height < v.CalledAt+c.Params.ReleaseBlocks {
		w.violate("owners are called before they are blamed", "task %s view %d: called in block %d, blamed in block %d", c.ID().Short(), v.Number, v.CalledAt, c.Settlement.Height)
	}
	for _, r := range c.View.Releases {
		p := w.alice
		if c.Parties()[r.Party].Role == task.CodeOwner {
			p = w.bob
		}
		box, mine := bytes.CutPrefix(bytes.TrimPrefix(r.Sealed, []byte(wrongKey)), []byte(p.name+" to "))
		e := w.facts.enclaves[string(box)]
		if !mine || e == nil || e.context.View != c.View.Number || e.context.Attempt != c.Attempt {
			w.violate("owners release their own keys", "task %s view %d: %s has released nothing of the kind", c.ID().Short(), c.View.Number, p.name)
		}
	}
}
