package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// join a chain with a machine of one's own.
func (w *world) join(name string, p attest.Platform, bond task.Amount) *worker {
	k := newWorker(name)
	w.keys[name] = seedKey(name)
	w.nodes[k.node.ID()], w.names[k.node.ID()] = k, name
	w.must("alice", task.Body{Transfer: &task.Transfer{To: k.node.Operator, Amount: bond + task.PRY}})
	p.Chip = k.chip
	r := w.enrol(k, bond)
	r.Quote, _ = p.Quoter().Quote(w.registration(k.node))
	w.must(name, task.Body{Register: r})
	return k
}

// Four machines of the least bond that run a program of their own were all that a
// policy asked for, so that they drew in every task of their friends and milked the
// pool. Such a policy is refused (spec §10.1).
func TestNarrowPoliciesAreRefused(t *testing.T) {
	rare := task.Hash{43}
	w := newWorldUnder(t, 9, func(r *attest.Reference) { r.Measurements = append(r.Measurements, rare) })
	for i := range 4 {
		w.join(fmt.Sprintf("m%d", i), attest.Platform{Measurement: rare}, 100*task.PRY)
	}
	w.publish()
	w.rest(2*w.block.Params.EpochBlocks + 1)
	tk := w.task()
	tk.Policy.Measurements = []task.Hash{rare}
	before := w.state().Account(tk.Requester).Balance
	if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != "policy-narrow" {
		t.Errorf("400 of 4900 PRY suit the policy: %v", err)
	}
	if after := w.state().Account(tk.Requester).Balance; after != before-w.fee {
		t.Errorf("%s of %s left", after, before)
	}
	// A quarter is enough where the function's owner says so, and a twelfth is not.
	for ppm, want := range map[uint64]string{250_000: "policy-narrow", 80_000: ""} {
		f := w.function()
		f.Manifest.SuitedPPM = ppm
		w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 10 * task.PRY}})
		tk := w.task()
		tk.Function, tk.Policy.Measurements = f.ID(), []task.Hash{rare}
		if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != want {
			t.Errorf("%d ppm: %v", ppm, err)
		}
	}
	tk = w.task()
	if err := w.send("alice", task.Body{Post: &tk}); err != nil {
		t.Errorf("a policy that all meet: %v", err)
	}
}

// rest lets blocks pass.
func (w *world) rest(blocks uint64) {
	for range blocks {
		w.next()
	}
}

// However stakes, machines, jails and lapses come and go, the chain's sums are what
// a look at each node gives, in this epoch and in the next.
func TestStakeByMachine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	other := task.Hash{43}
	w := newWorldUnder(t, 6, func(r *attest.Reference) { r.Measurements = append(r.Measurements, other) }, func(p *Params) {
		p.EpochBlocks, p.RenewBlocks, p.FreshBlocks = 3, 40, 30
	})
	policies := []task.Policy{
		{MinTier: 1}, {MinTier: 2}, {MinTier: 1, Measurements: []task.Hash{other}}, {MinTier: 1, MinTCB: 2},
		{MinTier: 1, MinTCB: 3, Measurements: []task.Hash{measurement}}, {MinTier: 1, Kinds: []string{"tpm"}},
	}
	var names []string
	for i := range 6 {
		names = append(names, fmt.Sprintf("n%d", i))
	}
	kinds := map[string]int{}
	for step := range 1500 {
		name := names[rng.IntN(len(names))]
		k := newWorker(name)
		id := k.node.ID()
		p := attest.Platform{Chip: k.chip, Measurement: []task.Hash{measurement, other}[rng.IntN(2)], TCB: rng.Uint64N(4)}
		what := []string{"bond", "unbond", "show", "jail", "slash", "next", "next"}[rng.IntN(7)]
		var err error
		switch what {
		case "bond":
			amount := task.Amount(rng.IntN(3)) * task.PRY
			if rec, _ := w.state().Node(id); rec.Bond == 0 {
				amount = w.block.Params.MinBond
			}
			err = w.send("alice", task.Body{Bond: &task.Bond{Node: id, Amount: amount}})
		case "unbond":
			amount := task.Amount(rng.IntN(3)) * task.PRY
			if rec, _ := w.state().Node(id); rng.IntN(10) == 0 {
				amount = rec.Bond
			}
			err = w.send(name, task.Body{Unbond: &task.Bond{Node: id, Amount: amount}})
		case "show":
			r := w.enrol(k, 0)
			r.Quote, _ = p.Quoter().Quote(w.registration(k.node))
			err = w.send(name, task.Body{Register: r})
		case "jail":
			if rng.IntN(20) == 0 {
				w.block.jail(id, task.TaskID{})
			}
		case "slash":
			w.block.meta.Burned += w.block.take(id, task.Amount(rng.IntN(2))*task.PRY)
		case "next":
			w.next()
		}
		if err == nil {
			kinds[what]++
		}
		if step%5 == 0 {
			for _, n := range w.state().Nodes(Whole) {
				if n.Lapsed {
					kinds["lapsed"]++
				}
			}
		}
		for _, epoch := range []uint64{w.block.epoch(), w.block.epoch() + 1, w.block.epoch() + 2} {
			for _, policy := range policies {
				var want task.Amount
				for _, n := range w.state().Nodes(Whole) {
					if n.Profile.Meets(n.Node.TEE, policy, w.block.reference()) == nil {
						want += n.StakeAt(epoch)
					}
				}
				if got := Suited(w.state().Alike(), policy, task.Manifest{}, w.block.reference(), epoch); got != want {
					t.Fatalf("step %d, %s %s, epoch %d of %d, %+v: %s, want %s", step, what, name, epoch, w.block.epoch(), policy, got, want)
				}
			}
		}
	}
	for _, what := range []string{"bond", "unbond", "show", "lapsed"} {
		if kinds[what] == 0 {
			t.Errorf("never %s: %v", what, kinds)
		}
	}
}

// Registering, bonding, a task, and taking all back, again and again with machines of
// other TCBs, leaves nothing behind but what is kept on purpose: who was registered,
// what was recorded of it, the tasks, and the last beacons.
func TestRoundsLeaveNothing(t *testing.T) {
	w := newWorld(t, 9, func(p *Params) {
		p.EpochBlocks, p.FreshBlocks, p.DeclineBlocks, p.FetchFloor, p.DisputeBlocks = 3, 30, 5, 1<<30, 100
		p.MaxViews, p.RunGraceBlocks, p.UnbondBlocks = 1, 50, 2000
	})
	kept := []string{keyNode, keyLog, keyCaseHash, keyCase, keyOwned, keyRecent}
	size := func() map[string]int {
		n := map[string]int{}
		w.block.state.Ascend(nil, func(k, _ []byte) bool {
			i := slices.IndexFunc(kept, func(prefix string) bool { return strings.HasPrefix(string(k), prefix) })
			if i < 0 {
				n[strings.Join(strings.SplitAfterN(string(k), "/", 3)[:min(2, strings.Count(string(k), "/"))], "")]++
			}
			return true
		})
		return n
	}
	w.publish()
	var first map[string]int
	for round := range 4 {
		k := newWorker(fmt.Sprint("round ", round))
		k.node.Operator, k.chip = task.PublicKey(w.keys["carol"]), newWorker("machine").chip
		k.node.TEE.Identity = task.PublicKey(k.chip)
		r := w.enrol(k, 0)
		p := attest.Platform{Chip: k.chip, Measurement: measurement, TCB: uint64(round) + 1}
		r.Quote, _ = p.Quoter().Quote(w.registration(k.node))
		r.Bond = w.block.Params.MinBond
		w.must("carol", task.Body{Register: r})
		w.rest(7)
		w.post()
		w.elect()
		w.finish()
		if round == 2 { // this one loses all of it
			w.block.meta.Burned += w.block.take(k.node.ID(), r.Bond)
		} else {
			w.must("carol", task.Body{Unbond: &task.Bond{Node: k.node.ID(), Amount: r.Bond}})
		}
		w.rest(w.block.Params.UnbondBlocks + 3)
		switch {
		case round == 0:
			first = size()
		case fmt.Sprint(size()) != fmt.Sprint(first):
			t.Fatalf("after %d rounds the state has %v, after the first %v", round+1, size(), first)
		}
	}
	if n := len(w.state().Meta().Stakes); n > 5 {
		t.Errorf("the sum of all stakes has %d steps", n)
	}
	if first[keyAlike] != 1 {
		t.Errorf("the machines of the genesis are of one sort: %v", first)
	}
}

// A stranger cannot make the sums grow: of many TCBs the last count as 0, and what
// nobody has any more makes room.
func TestTCBsAreBounded(t *testing.T) {
	w := newWorld(t, 1)
	class := func(tcb uint64) attest.Profile {
		n := NodeRecord{Node: newWorker("k").node, Stakes: []Stake{{Amount: task.PRY}}}
		p := attest.Platform{Measurement: measurement, TCB: tcb}.Profile()
		w.block.classify(&n, p)
		return n.Class
	}
	for tcb := range uint64(100) {
		want := tcb
		if tcb > maxTCBs {
			want = 0
		}
		if got := class(tcb); got.TCB != want {
			t.Errorf("TCB %d counts as %d, want %d", tcb, got.TCB, want)
		}
	}
	if n := len(w.state().Alike()); n != maxTCBs+1 {
		t.Errorf("%d sums", n)
	}
	gone := NodeRecord{Node: newWorker("k").node, Stakes: []Stake{{Amount: task.PRY}}, Profile: attest.Platform{Measurement: measurement, TCB: 5}.Profile(), Class: attest.Platform{Measurement: measurement, TCB: 5}.Profile()}
	w.block.unstake(&gone)
	if got := class(1000); got.TCB != 1000 {
		t.Errorf("there is room again, and TCB 1000 counts as %d", got.TCB)
	}
	// And who comes back finds its place taken: it is no 33rd.
	for w.block.Height%w.block.Params.EpochBlocks != 0 {
		w.block.Height++
	}
	w.block.sweep()
	gone.Bond = task.PRY
	if w.block.restake(&gone); gone.Class.TCB != 0 {
		t.Errorf("back again it counts as TCB %d", gone.Class.TCB)
	}
}
