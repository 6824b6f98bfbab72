package ledger

import (
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// quick is a chain whose bonds come back soon.
func quick(p *Params) {
	p.EpochBlocks, p.AttestBlocks, p.ReleaseBlocks, p.RunGraceBlocks, p.ReviewBlocks, p.DisputeBlocks = 4, 10, 10, 10, 10, 100
	p.UnbondBlocks, p.RenewBlocks, p.FreshBlocks, p.DeclineBlocks, p.FetchFloor = 1100, 100, 40, 5, 1<<30
}

// guest has a machine for an hour: its chip is another worker's.
func (w *world) guest(name string, of *worker) *worker {
	k := newWorker(name)
	k.chip, k.node.TEE = of.chip, of.node.TEE
	w.keys[name] = seedKey(name)
	w.must("alice", task.Body{Transfer: &task.Transfer{To: k.node.Operator, Amount: 150 * task.PRY}})
	return k
}

// Who has a machine for an hour, as guests of one host share a chip, registered it,
// took all its money back, and the machine was his for ever (spec §3.1.3).
func TestAMachineIsFreeWhenTheBondIsBack(t *testing.T) {
	w := newWorld(t, 9, quick)
	first := newWorker("squatter")
	squatter, owner := w.guest("squatter", first), w.guest("owner", first)
	w.must("squatter", task.Body{Register: w.enrol(squatter, 100*task.PRY)})
	w.next()
	taken := func(when string) {
		t.Helper()
		if err := w.send("owner", task.Body{Register: w.enrol(owner, 100*task.PRY)}); task.CodeOf(err) != "tee-taken" {
			t.Errorf("%s: %v", when, err)
		}
	}
	taken("bonded")
	w.must("squatter", task.Body{Unbond: &task.Bond{Node: squatter.node.ID(), Amount: 100 * task.PRY}})
	taken("unbonding")
	w.rest(w.block.Params.UnbondBlocks + 1)
	w.must("owner", task.Body{Register: w.enrol(owner, 100*task.PRY)})
	for name, err := range map[string]error{
		"tee-gone":  w.send("squatter", task.Body{Bond: &task.Bond{Node: squatter.node.ID(), Amount: 100 * task.PRY}}),
		"tee-taken": w.send("squatter", task.Body{Register: w.enrol(squatter, 100*task.PRY)}),
	} {
		if task.CodeOf(err) != name {
			t.Errorf("%v, want %s", err, name)
		}
	}
	// The first one may have it again, if it shows it and bonds like anybody.
	w.must("owner", task.Body{Unbond: &task.Bond{Node: owner.node.ID(), Amount: 100 * task.PRY}})
	w.rest(w.block.Params.UnbondBlocks + 1)
	blind := w.enrol(squatter, 100*task.PRY)
	blind.Quote = nil
	for name, r := range map[string]*task.Register{"bond-low": w.enrol(squatter, 0), attest.QuoteMalformed: blind} {
		if err := w.send("squatter", task.Body{Register: r}); task.CodeOf(err) != name {
			t.Errorf("%v, want %s", err, name)
		}
	}
	w.must("squatter", task.Body{Register: w.enrol(squatter, 100*task.PRY)})
}

// A squatter who leaves his bond where it is cannot show the machine again, and has
// his bond sent back.
func TestWhoDoesNotShowItsMachineLosesIt(t *testing.T) {
	w := newWorld(t, 9, quick)
	first := newWorker("squatter")
	squatter, owner := w.guest("squatter", first), w.guest("owner", first)
	w.must("squatter", task.Body{Register: w.enrol(squatter, 100*task.PRY)})
	id := squatter.node.ID()
	record := func() NodeRecord { n, _ := w.state().Node(id); return n }
	w.rest(90)
	if e := w.block.epoch(); record().StakeAt(e) != 100*task.PRY {
		t.Error("it does not draw while its quote is new")
	}
	total := w.block.meta.TotalStake(w.block.epoch() + 3)
	w.rest(11)
	if n := record(); !n.Lapsed || n.StakeAt(w.block.epoch()) != 0 || n.Bond != 100*task.PRY {
		t.Errorf("after its time: %+v", n)
	}
	// All genesis nodes lapse with it: nobody is there to show theirs.
	if got := w.block.meta.TotalStake(w.block.epoch() + 3); got != 0 || total < 4500*task.PRY {
		t.Errorf("%s of %s count", got, total)
	}
	if err := w.send("squatter", task.Body{Bond: &task.Bond{Node: id, Amount: task.PRY}}); task.CodeOf(err) != "node-lapsed" {
		t.Errorf("more bond for a machine that nobody shows: %v", err)
	}
	w.rest(101)
	if n := record(); n.Bond != 0 || len(n.Unbonding) != 1 {
		t.Errorf("after twice its time: %+v", n)
	}
	w.rest(w.block.Params.UnbondBlocks)
	w.must("owner", task.Body{Register: w.enrol(owner, 100*task.PRY)})
}

// Who shows its machine again in time goes on drawing; who is late draws again after
// a whole epoch.
func TestRenewal(t *testing.T) {
	w := newWorld(t, 2, quick)
	k := newWorker("n0")
	id := k.node.ID()
	record := func() NodeRecord { n, _ := w.state().Node(id); return n }
	stake := record().StakeAt(0)
	for range 4 {
		w.rest(70)
		w.must("n0", task.Body{Register: w.enrol(k, 0)})
		if n := record(); n.Lapsed || n.StakeAt(w.block.epoch()) != stake {
			t.Fatalf("renewed in time: %+v", n)
		}
	}
	w.rest(101)
	if !record().Lapsed {
		t.Fatal("it has not lapsed")
	}
	w.must("n0", task.Body{Register: w.enrol(k, 0)})
	e := w.block.epoch()
	if n := record(); n.Lapsed || n.StakeAt(e+1) != 0 || n.StakeAt(e+2) != stake {
		t.Errorf("renewed late, in epoch %d: %+v", e, n)
	}
	if got := w.block.meta.TotalStake(e + 2); got != stake {
		t.Errorf("%s count, want %s", got, stake)
	}
}

// A quote that was made long ago registers nothing: not even the genesis's beacon,
// once there are others.
func TestRegistrationsAreFresh(t *testing.T) {
	w := newWorld(t, 9, quick, func(p *Params) { p.RenewBlocks = 10_000 })
	k := newWorker("fresh")
	w.keys["fresh"] = seedKey("fresh")
	w.must("alice", task.Body{Transfer: &task.Transfer{To: k.node.Operator, Amount: 150 * task.PRY}})
	other := w.guest("other", newWorker("other"))
	old, still := w.enrol(k, 100*task.PRY), w.enrol(other, 100*task.PRY)
	w.rest(2 * w.block.Params.FreshBlocks)
	if err := w.send("other", task.Body{Register: still}); err != nil {
		t.Errorf("the last beacon of a chain that rests is not old: %v", err)
	}
	w.post() // beacons move
	for range w.block.Params.FreshBlocks {
		if w.c().Phase == Closed {
			w.id = w.repost()
		}
		w.next()
	}
	if err := w.send("fresh", task.Body{Register: old}); task.CodeOf(err) != "quote-old" {
		t.Errorf("over a beacon of long ago: %v", err)
	}
	forged := w.enrol(k, 100*task.PRY)
	forged.Quote = old.Quote
	if err := w.send("fresh", task.Body{Register: forged}); task.CodeOf(err) != attest.NotBound {
		t.Errorf("an old quote with a new signature: %v", err)
	}
	w.must("fresh", task.Body{Register: w.enrol(k, 100*task.PRY)})
	kept := 0
	w.block.state.Ascend([]byte(keyRecent), func(_, _ []byte) bool { kept++; return true })
	if kept > int(w.block.Params.FreshBlocks)+1 {
		t.Errorf("%d beacons are kept", kept)
	}
}

// repost opens another task.
func (w *world) repost() task.TaskID {
	tk := w.task()
	w.must("alice", task.Body{Post: &tk})
	return tk.ID()
}

// Whoever is slashed cannot begin anew with the same machine: the record stays with
// it, and so does the count towards the jail (spec §3.1.3).
func TestTheRecordStaysWithTheMachine(t *testing.T) {
	w := newWorld(t, 9, quick)
	first := newWorker("hopper")
	hopper, again := w.guest("hopper", first), w.guest("again", first)
	w.must("hopper", task.Body{Register: w.enrol(hopper, 100*task.PRY)})
	id := hopper.node.ID()
	for range w.block.Params.JailMisses/wrongWord - 1 {
		w.block.missed(id, task.TaskID{1})
	}
	w.block.meta.Burned += w.block.take(id, 3*task.PRY)
	w.block.logNode(id, task.TaskID{1}, FalseOK, 3*task.PRY)
	w.must("hopper", task.Body{Unbond: &task.Bond{Node: id, Amount: 97 * task.PRY}})
	w.rest(w.block.Params.UnbondBlocks + 1)
	w.must("again", task.Body{Register: w.enrol(again, 100*task.PRY)})
	n, _ := w.state().Node(again.node.ID())
	if n.Misses != w.block.Params.JailMisses-wrongWord || n.Lost != 3*task.PRY || n.Counts[FalseOK] != 1 || n.Before != id {
		t.Errorf("under its new name: %+v", n)
	}
	if old, _ := w.state().Node(id); old.Renew != 0 {
		t.Errorf("who has no machine owes a quote by block %d", old.Renew)
	}
	if log := w.state().Log(task.Hash(again.node.ID()), Whole); len(log) != 1 || log[0].Cause != Inherited {
		t.Errorf("its log: %+v", log)
	}
	w.block.missed(again.node.ID(), task.TaskID{2})
	if n, _ := w.state().Node(again.node.ID()); n.JailedUntil == 0 {
		t.Error("one miss more is not jail")
	}
	// Nor does a jail end by another name.
	third := w.guest("third", first)
	w.rest(w.block.Params.UnbondBlocks + 1) // its bond is back
	if err := w.send("third", task.Body{Register: w.enrol(third, 100*task.PRY)}); task.CodeOf(err) != "tee-taken" {
		t.Errorf("while the jail runs: %v", err)
	}
}

// A node bonds nothing or the least: one base unit would keep a machine.
func TestABondIsNotDust(t *testing.T) {
	w := newWorld(t, 9, quick)
	k := newWorker("n0")
	w.must("n0", task.Body{Unbond: &task.Bond{Node: k.node.ID(), Amount: 100 * task.PRY}})
	if err := w.send("n0", task.Body{Bond: &task.Bond{Node: k.node.ID(), Amount: 1}}); task.CodeOf(err) != "bond-low" {
		t.Errorf("one base unit: %v", err)
	}
}
