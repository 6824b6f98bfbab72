package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// registry is a chain that has one record, and takes what it is sent.
type registry struct {
	Chain
	rec  ledger.NodeRecord
	sent []task.Register
	fail error
}

func (r *registry) Node(context.Context, task.NodeID) (ledger.NodeRecord, error) {
	return r.rec, r.fail
}

func (r *registry) Beacon(context.Context) (ledger.Beacon, error) {
	return ledger.Beacon{Height: 7, Value: task.Hash{7}}, nil
}

func (r *registry) Send(_ context.Context, _ ed25519.PrivateKey, b task.Body) error {
	r.sent = append(r.sent, *b.Register)
	return nil
}

// A worker shows its machine again when half of the time is over, by itself, and
// tries anew until the chain has it.
func TestRenews(t *testing.T) {
	key := func(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }
	ours := task.Node{Operator: task.PublicKey(key(1)), Peer: task.PublicKey(key(2)), VRF: task.Key{3}}
	for name, row := range map[string]struct {
		rec    ledger.NodeRecord
		fail   error
		height uint64
		sends  int
	}{
		"long before":      {ledger.NodeRecord{Bond: 1, Renew: 1600}, nil, 700, 0},
		"half of the time": {ledger.NodeRecord{Bond: 1, Renew: 1600}, nil, 800, 1},
		"it is nearly due": {ledger.NodeRecord{Bond: 1, Renew: 1600}, nil, 1599, 1},
		"lapsed":           {ledger.NodeRecord{Bond: 1, Renew: 3200, Lapsed: true}, nil, 1700, 1},
		"jailed":           {ledger.NodeRecord{Bond: 1, Renew: 1600, JailedUntil: 2000}, nil, 1000, 0},
		"no bond":          {ledger.NodeRecord{Renew: 1600}, nil, 1000, 0},
		"no answer":        {ledger.NodeRecord{}, errors.New("no answer"), 1000, 0},
	} {
		chain := &registry{rec: row.rec, fail: row.fail}
		heard := 0
		w := New(Config{
			Node: ours, Peer: key(2), Operator: key(1), Chain: chain, Log: slog.New(slog.DiscardHandler),
			ChainID: "c", RenewBlocks: 1600, Renewed: func(uint64, bool) { heard++ },
			Quote: func(over task.Hash) ([]byte, error) { return over[:], nil },
		})
		look := func(height uint64) { w.renew(t.Context(), height); w.wg.Wait() }
		look(row.height)
		if len(chain.sent) != row.sends || heard != row.sends {
			t.Errorf("%s: sent %d, want %d", name, len(chain.sent), row.sends)
		}
		look(row.height + 1) // not at every block
		if len(chain.sent) != row.sends {
			t.Errorf("%s: sent again at the next block", name)
		}
		look(row.height + 1600/looks) // the chain does not have it yet
		if len(chain.sent) < 2*row.sends {
			t.Errorf("%s: not tried anew", name)
		}
		for _, r := range chain.sent {
			h := task.RegistrationHash("c", ours, task.Hash{7})
			if r.Beacon != 7 || r.Bond != 0 || task.Hash(r.Quote) != h || !r.Possession.Verify(ours.Peer, h) {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}
