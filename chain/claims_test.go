package chain

import (
	"context"
	"strings"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// electing is an app with a task whose claims are open, and the claims of all winners.
func electing(t testing.TB) (*driver, []task.Claim) {
	d := busy(t)
	c := &ledger.Case{}
	for c.Phase != ledger.Electing {
		d.block()
		err := d.app.store.View(func(_ uint64, s ledger.Store) error {
			k := job()
			c, _ = ledger.Read(s).Case(k.ID())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []task.Claim
	for i := range workers {
		n, key := worker(i)
		won, ok := sortition.Win(key, task.Hash(n.ID()), c.Seed(), c.Seats, uint64(1000*task.PRY), uint64(c.TotalStake))
		if ok {
			all = append(all, task.Claim{Task: c.ID(), Attempt: c.Attempt, Node: n.ID(), Proof: task.Proof(won.Proof())})
		}
	}
	if len(all) < 2 {
		t.Fatal("too few have won")
	}
	return d, all
}

func freely(k task.Claim) []byte { return task.FreeClaims(testChain, task.PackClaims([]task.Claim{k})) }

// saysBusy is the claim of a worker that has no enclave free.
func saysBusy(k task.Claim) task.Claim {
	for i := range workers {
		if n, _ := worker(i); n.ID() == k.Node {
			word := task.Decline{Task: k.Task, Attempt: k.Attempt, Node: k.Node, Lack: task.Lack{Reason: task.Busy}}.SignedBy(account("peer " + string(rune('0'+i))))
			k.Busy = &word.Signature
		}
	}
	return k
}

// Whoever passes a claim on can cut the word *busy* off it, and be faster. The pool takes
// the whole one beside it, and a proposer puts that into the block.
func TestBusyComesBesideTheClaimItWasCutOff(t *testing.T) {
	d, all := electing(t)
	bare, whole := freely(all[0]), freely(saysBusy(all[0]))
	for _, x := range []struct {
		what string
		raw  []byte
		ok   bool
	}{{"bare", bare, true}, {"bare again", bare, false}, {"whole", whole, true}, {"whole again", whole, false}, {"bare after it", bare, false}} {
		if err := d.check(x.raw); (err == nil) != x.ok {
			t.Errorf("%s: %v", x.what, err)
		}
	}
	d.block(bare, freely(all[1]), whole)
	var m *ledger.Member
	if err := d.app.store.View(func(_ uint64, s ledger.Store) error {
		c, _ := ledger.Read(s).Case(all[0].Task)
		m = c.Member(all[0].Node)
		return nil
	}); err != nil || m == nil || m.Claim.Busy == nil {
		t.Errorf("the claim came to the chain without its word: %+v, %v", m, err)
	}
}

// What the pool has is refused before its proof is looked at; a false claim keeps no
// true one out.
func TestFalseClaimsAreCheap(t *testing.T) {
	d, all := electing(t)
	forged := all[0]
	forged.Proof[20] ^= 1
	if err := d.check(freely(forged)); err == nil {
		t.Fatal("a false claim is in the pool")
	}
	if err := d.check(freely(all[0])); err != nil {
		t.Fatalf("the true one after it: %v", err)
	}
	if err := d.check(freely(forged)); err == nil || !strings.Contains(err.Error(), "the pool has a claim") {
		t.Errorf("it was looked at: %v", err)
	}
}

// BenchmarkFlood is what a pool spends on bytes that cost their sender nothing: a claim
// with a false proof, and beside it a payment with a false signature, which any chain
// must look at.
func BenchmarkFlood(b *testing.B) {
	d, all := electing(b)
	forged := all[0]
	forged.Proof[20] ^= 1
	unsigned := signed("alice", 9, transfer("bob", 1))
	unsigned[len(unsigned)-3] ^= 1
	for _, x := range []struct {
		what string
		raw  []byte
	}{{"claim", freely(forged)}, {"signature", unsigned}} {
		b.Run(x.what, func(b *testing.B) {
			for b.Loop() {
				r, err := d.app.CheckTx(context.Background(), &abci.RequestCheckTx{Tx: x.raw})
				if err != nil || r.Code == abci.CodeTypeOK {
					b.Fatal("taken")
				}
			}
		})
	}
}
