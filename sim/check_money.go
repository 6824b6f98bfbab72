package sim

import (
	"bytes"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// All money there was is all money there is (spec §10.8).
func (w *world) checkSupply() {
	r := w.chain.read()
	if held, supply := r.Held(), r.Meta().Supply; held != supply {
		w.violate("supply is conserved", "block %d: %d held of %d", w.chain.height, held, supply)
	}
}

// A task is settled once, and its settlement pays out what was locked (§10.7).
func (w *world) checkSettledOnce(c *ledger.Case) {
	if c.Settlement == nil {
		return
	}
	raw := task.Encode(*c.Settlement)
	if old, ok := w.facts.settled[c.ID()]; ok && !bytes.Equal(old, raw) {
		w.violate("a task is settled once", "task %s was settled again", c.ID().Short())
	}
	w.facts.settled[c.ID()] = raw
	sum := c.Settlement.Kept + c.Settlement.Burned
	for _, p := range c.Settlement.Payments {
		sum += p.Amount
	}
	if locked := c.Escrow.Alice + c.Escrow.Bob + c.Escrow.Pot; sum != locked {
		w.violate("a settlement pays what was locked", "task %s: %d of %d", c.ID().Short(), sum, locked)
	}
	if c.Phase != ledger.Closed {
		w.violate("a settled task is closed", "task %s is %s", c.ID().Short(), c.Phase)
	}
}
