package sim

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/sim/internal/dice"
)

// checkReceipt: every closed case verifies offline (§11).
func (w *world) checkReceipt(c *ledger.Case) {
	report := receipt.Verify(receipt.New(c, []byte("proof")), receipt.Trust{
		State:  func(_, _, _ []byte) error { return nil },
		Beacon: dice.Check,
	})
	for _, row := range report.Rows {
		if row.Status == receipt.Failed && !(row.Name == "evidence" && w.nobodyLooked(c)) {
			w.violate("receipts verify", "task %s: %s: %s", c.ID().Short(), row.Name, row.Words)
		}
	}
}

// nobodyLooked says whether only liars have judged an executor, and both owners are
// silent: then a receipt says that the evidence was bad and nothing came of it, which
// is true.
func (w *world) nobodyLooked(c *ledger.Case) bool {
	for _, r := range c.View.Pre.Reveals {
		if w.byID[r.Node].liar == nil {
			return false
		}
	}
	return w.alice.silent && w.bob.silent
}
