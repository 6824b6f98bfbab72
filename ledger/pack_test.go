package ledger

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/task"
)

// free applies claims as nobody's transaction.
func (w *world) free(c *task.Claims) error {
	w.t.Helper()
	return w.block.Apply(w.unsigned(c))
}

func (w *world) unsigned(c *task.Claims) task.VerifiedTx {
	w.t.Helper()
	tx, err := task.VerifyTx(task.FreeClaims("test", c), "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return tx
}

// Claims cost nobody a fee, and so bring nothing along that does not count: neither
// what is false, nor what is there, nor what comes twice.
func TestFreeClaimsCountOrAreRefused(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	all := w.allClaims()
	false1 := all[0]
	false1.Proof[0] ^= 1
	stranger := all[0]
	stranger.Node = task.NodeID{9}
	burned := w.block.meta.Burned
	for name, set := range map[string][]task.Claim{
		"none": {}, "a false one": {all[1], false1}, "a stranger's": {all[1], stranger}, "one twice": {all[1], all[1]},
	} {
		if err := w.free(task.PackClaims(set)); err == nil {
			t.Errorf("%s: taken", name)
		}
		if len(w.c().Members) != 0 {
			t.Fatalf("%s: refused, and a member all the same", name)
		}
	}
	if err := w.free(task.PackClaims(all[:2])); err != nil {
		t.Fatal(err)
	}
	if err := w.free(task.PackClaims(all[1:])); task.CodeOf(err) != "nothing-new" {
		t.Errorf("one of them is there: %v", err)
	}
	if w.block.meta.Burned != burned {
		t.Error("somebody has paid a fee")
	}
	w.must("carol", task.Body{Claims: task.PackClaims(all)}) // who pays may bring what is there, too
	if len(w.c().Members) != len(all) {
		t.Errorf("%d members of %d", len(w.c().Members), len(all))
	}
}

// Who proposes puts together what counts and nothing else, for each attempt; what was
// verified before is not verified again, and false claims are not remembered as true.
func TestClaimsArePacked(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	all := w.allClaims()
	bad := all[0]
	bad.Proof[0] ^= 1
	stale := all[1]
	stale.Attempt = 7
	seen := memo{}
	for round := range 2 {
		b := NewBlock(w.store, w.height)
		b.state = w.block.state
		b.Remember(seen)
		var waiting []task.Claims
		for _, k := range append(slices.Clone(all), bad, stale, all[0]) {
			waiting = append(waiting, *task.PackClaims([]task.Claim{k}))
		}
		packs := b.Pack(waiting)
		if len(packs) != 1 || !slices.Equal(packs[0].All(), all) {
			t.Fatalf("round %d: %d packs", round, len(packs))
		}
		if err := w.block.Apply(w.unsigned(&packs[0])); round == 1 && err != nil {
			t.Fatal(err)
		}
		if round == 0 { // another block
			w.t.Helper()
			w = newWorld(t, 9)
			w.post()
		}
	}
	if len(seen) != len(all) {
		t.Errorf("%d claims are remembered, %d are true", len(seen), len(all))
	}
}

// However many claims wait and however large they are, what a proposer makes of them can
// be read: a block that nobody can read would be proposed again and again.
func TestPacksAreNeverTooLarge(t *testing.T) {
	w := newWorld(t, 900)
	w.publish()
	w.must("bob", task.Body{Publish: &task.Publish{Function: w.function(), Bond: 200 * task.PRY}})
	w.postFor(task.MaxSeats)
	for w.c().Phase != Electing {
		w.next()
	}
	w.next()
	all := w.allClaims()
	if len(all) <= mostPacked {
		t.Fatalf("only %d claims", len(all))
	}
	var waiting []task.Claims
	for _, k := range all {
		waiting = append(waiting, *task.PackClaims([]task.Claim{k}))
	}
	var packed []task.Claim
	for _, p := range NewBlock(w.store, w.height).Pack(waiting) {
		if _, err := task.VerifyTx(task.FreeClaims("test", &p), "test"); err != nil {
			t.Errorf("%d claims: %v", len(p.Won), err)
		}
		packed = append(packed, p.All()...)
	}
	if !slices.Equal(packed, all) {
		t.Errorf("%d of %d claims are packed", len(packed), len(all))
	}
	var largest []task.Claim
	for i := range mostPacked {
		k := all[i]
		k.Busy = &task.Signature{}
		largest = append(largest, k)
	}
	if raw := task.FreeClaims("test", task.PackClaims(largest)); len(raw) > task.MaxTx {
		t.Errorf("%d busy claims have %d bytes", len(largest), len(raw))
	}
}

// One claim comes alone into a pool, and only where it would count.
func TestAPoolTakesClaimsThatCount(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.next()
	all := w.allClaims()
	bad := all[0]
	bad.Proof[0] ^= 1
	seen := memo{}
	for name, row := range map[string]struct {
		set  []task.Claim
		code string
	}{
		"one":           {all[:1], ""},
		"two":           {all[:2], "claims-many"},
		"none":          {nil, "claims-many"},
		"false":         {[]task.Claim{bad}, "nothing-new"},
		"of no attempt": {[]task.Claim{{Task: w.id, Attempt: 3, Node: all[0].Node}}, "attempt-stale"},
	} {
		if err := CheckFree(w.store, w.height, w.unsigned(task.PackClaims(row.set)), seen); task.CodeOf(err) != row.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(w.c().Members) != 0 {
		t.Error("a look changed the state")
	}
}

// memo is a Seen for one goroutine.
type memo map[task.Hash]Member

func (m memo) Get(asked task.Hash) (Member, bool) { said, ok := m[asked]; return said, ok }
func (m memo) Put(asked task.Hash, said Member)   { m[asked] = said }
