package main

import (
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm/swtpm"
)

// Workers show their machines to the chain again, by themselves and in time, and go
// on drawing.
func TestWorkersRenew(t *testing.T) {
	skipInShort(t)
	for _, kind := range []attest.Kind{attest.Simulated, attest.TPM} {
		t.Run(string(kind), func(t *testing.T) {
			if kind == attest.TPM && swtpm.Missing() != nil {
				t.Skip(swtpm.Missing())
			}
			const renew = 80
			w := newTown(t, host.Config{Workers: 4, TEE: kind, Params: func(p *ledger.Params) { p.RenewBlocks, p.FreshBlocks = renew, 20 }})
			for range 2 * renew { // a block each
				if _, err := w.Client.Submit(t.Context(), w.key, task.Body{Transfer: &task.Transfer{To: task.Address{1}, Amount: 1}}); err != nil {
					t.Fatal(err)
				}
			}
			nodes, err := w.Client.Nodes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range nodes {
				if n.Lapsed || n.Renew <= 2*renew || n.StakeAt(w.Client.Height()/w.Params.EpochBlocks) == 0 {
					t.Errorf("%s: due in block %d of %d, lapsed %t", n.Node.ID().Short(), n.Renew, w.Client.Height(), n.Lapsed)
				}
			}
		})
	}
}
