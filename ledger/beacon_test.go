package ledger

import (
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// shared has four validators hold the beacon. The world's own key is their secret,
// which none of them knows.
func shared(w *world) (beacon.Group, []beacon.Secret) {
	seed := [32]byte{1}
	w.val = beacon.NewSecret(seed)
	return beacon.DealtGroup(seed, task.Key{1}, task.Key{2}, task.Key{3}, task.Key{4})
}

func sharedWorld(t testing.TB) (*world, beacon.Group, []beacon.Secret) {
	w := newWorld(t, 9)
	g, shares := shared(w)
	save(w.store, []byte(keyGroup), g)
	return w, g, shares
}

// Among several validators both beacons that matter come two blocks later: the first
// part of them is given when what they decide about is final.
func TestBeaconsComeWhenWhatTheyDecideIsFinal(t *testing.T) {
	for name, x := range map[string]struct {
		world    *world
		distance uint64
	}{
		"one validator": {newWorld(t, 9), 1},
		"four":          {func() *world { w, _, _ := sharedWorld(t); return w }(), 2},
	} {
		w := x.world
		w.post()
		called := w.c().PostedAt                                   // the block that called for the attempt
		for seeded := uint64(0); w.c().Phase != Closed; w.next() { // nobody claims
			c := w.c()
			if c.Phase != Electing || c.SeededAt == seeded {
				continue
			}
			if c.Began != called || c.SeededAt != called+x.distance {
				t.Errorf("%s: attempt %d of a task of block %d, called for in %d, was seeded in %d", name, c.Attempt, c.PostedAt, called, c.SeededAt)
			}
			if c.Beacon != w.val.Sign(beacon.Input("test", c.SeededAt)) {
				t.Errorf("%s: not the beacon of block %d", name, c.SeededAt)
			}
			seeded, called = c.SeededAt, c.LastClaims()
		}
		w.post()
		w.elect()
		w.ran()
		for range x.distance {
			if v := w.c().View; !v.ExitNonce.IsZero() || !v.ExitBeacon.IsZero() {
				t.Errorf("%s: the exit's nonce is known in block %d, the result is of %d", name, w.height, v.ResultAt)
			}
			w.next()
		}
		if v := w.c().View; v.ExitNonce.IsZero() || v.ExitAt != v.ResultAt+x.distance || v.ExitBeacon != w.val.Sign(beacon.Input("test", v.ExitAt)) {
			t.Errorf("%s: a result of block %d, a nonce of block %d", name, v.ResultAt, v.ExitAt)
		}
	}
}

// The only validator of a chain, or whoever made two blocks in a row, used to know
// the next beacon before it took a task into a block: it kept the task back until the
// draw was its own. A validator with less than a threshold of the shares knows now,
// until its block is final, nothing of the draw: not with its own part, not with the
// parts of as many friends as are short of a threshold.
func TestNobodyBelowTheThresholdWaitsForItsDraw(t *testing.T) {
	w, g, shares := sharedWorld(t)
	w.publish()
	tk := w.task()
	w.id = tk.ID()
	guessed := 0
	for h := w.height; h < w.height+20; h++ { // which block shall the task be in?
		seeded := h + 2
		m := beacon.Input("test", seeded)
		real := sortition.Seed("test", task.Hash(w.id), 0, w.val.Sign(m).Value())
		mine := []beacon.Part{{Seat: 0, Signature: shares[0].Sign(m)}, {Seat: 1, Signature: shares[1].Sign(m)}}
		if _, err := g.Recover(m, mine); task.CodeOf(err) != "beacon-missing" {
			t.Fatalf("two of four: %v", err)
		}
		// All that they can make of theirs and of older ones.
		old := shares[2].Sign(beacon.Input("test", seeded-1))
		for _, guess := range [][]beacon.Part{mine[:1], mine, append(mine, beacon.Part{Seat: 2, Signature: old})} {
			s, err := beacon.Combine(len(guess), guess)
			if err != nil {
				t.Fatal(err)
			}
			if sortition.Seed("test", task.Hash(w.id), 0, s.Value()) == real {
				guessed++
			}
		}
	}
	if guessed > 0 {
		t.Errorf("HOLE: %d draws were known to two of four", guessed)
	}
	// A sole validator knows them all, and whoever reads its cases is told so.
	if f := g.Foresight(); f.Alone() {
		t.Errorf("%s", f)
	}
	own := newWorld(t, 9)
	own.post()
	if f := own.c().Foresight; !f.Alone() || f.Holder != (task.Key{1}) {
		t.Errorf("%s", f)
	}
}

// A genesis whose beacon could not be made is refused before there is a block.
func TestGenesisNeedsABeacon(t *testing.T) {
	good := Genesis{Params: Embedded("test"), Beacon: beacon.OwnGroup(task.Key{1}, beacon.NewSecret([32]byte{1}))}
	good.Reference.AllowSimulated, good.Reference.Measurements = true, []task.Hash{measurement}
	if err := Init(NewMemStore(), good); err != nil {
		t.Fatal(err)
	}
	bad := good
	bad.Beacon.Key = beacon.NewSecret([32]byte{2}).Public()
	for name, g := range map[string]Genesis{"none": {Params: good.Params, Reference: good.Reference}, "another key's": bad} {
		if err := Init(NewMemStore(), g); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A review that is over before the beacon that asks for the exit would find every
// executor silent.
func TestAReviewOutlastsItsBeacon(t *testing.T) {
	_, dealt, _ := sharedWorld(t)
	own := beacon.OwnGroup(task.Key{1}, beacon.NewSecret([32]byte{1}))
	for _, row := range []struct {
		group  beacon.Group
		review uint64
		good   bool
	}{{own, 1, true}, {dealt, 1, false}, {dealt, 2, true}} {
		g := Genesis{Params: Embedded("test"), Beacon: row.group, Reference: attest.Reference{AllowSimulated: true, Measurements: []task.Hash{measurement}}}
		g.Params.CommitBlocks, g.Params.ReviewBlocks = 1, row.review
		if err := g.Check(); (err == nil) != row.good || err != nil && !strings.Contains(err.Error(), "review_blocks") {
			t.Errorf("%s, %d blocks: %v", row.group.Kind, row.review, err)
		}
	}
}
