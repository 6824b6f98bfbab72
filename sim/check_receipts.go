package sim

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
)

// checkReceipt: every closed case verifies offline (§11).
func (w *world) checkReceipt(c *ledger.Case) {
	report := receipt.Verify(receipt.New(c, []byte("proof")), receipt.Trust{
		State:  func(_, _, _ []byte) error { return nil },
		Beacon: isBeacon,
	})
	for _, row := range report.Rows {
		if row.Status == receipt.Failed {
			w.violate("receipts verify", "task %s: %s: %s", c.ID().Short(), row.Name, row.Words)
		}
	}
}
