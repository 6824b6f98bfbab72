package sim

import (
	"math/rand/v2"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// In some worlds the validators raise the floor of the TCB while tasks are under
// way: who is below it when a task is seeded must not draw in it, who was above it
// then must not lose anything, and an operator may bring a machine up to it.
// Validators without two thirds of the power try to change more.

const oldTCB, newTCB = 8, 9

var intruder = task.Hash{66} // a program that only liars want

// governed says whether this is such a world. It has dice of its own, so that the
// others live as they did.
func (w *world) governed() (*rand.Rand, bool) {
	return rand.New(rand.NewPCG(w.seed, 9)), w.seed%3 == 1
}

// age gives some machines the older TCB.
func (w *world) age(ref *attest.Reference) {
	dice, governed := w.governed()
	for _, k := range w.workers {
		if k.tcb = newTCB; governed && dice.IntN(3) == 0 {
			k.tcb = oldTCB
		}
	}
	if governed {
		ref.MinTCB = oldTCB
	}
}

func (k *worker) platform() attest.Platform {
	return attest.Platform{Chip: k.chip, Measurement: measurement, TCB: k.tcb}
}

// fits is what the worker knows of itself.
func (k *worker) fits(ref attest.Reference, _ string) error {
	return k.platform().Profile().Accepted(k.node.TEE, ref)
}

// govern plans the change, upgrades, and what thieves try.
func (w *world) govern() {
	dice, governed := w.governed()
	if !governed {
		return
	}
	at := func(from, to int64) int64 { return from + dice.Int64N(to-from) }
	when := at(100*millisecond, 3*second)
	w.after(at(0, when), func() { w.usurp(1) })
	overlap, later := uint64(dice.IntN(12)), at(100*millisecond, second/2)
	w.after(when, func() {
		from := w.chain.height + w.params.NoticeBlocks + 30 // a hostile proposer may leave it out for a while
		end := func(until uint64) attest.Term { return attest.Term{Value: floorOf(oldTCB), Until: until} }
		w.change(1, attest.Term{Value: floorOf(newTCB), From: from})
		w.after(later, func() { w.change(2, end(from+overlap)) })
		w.after(2*later, func() { w.change(3, end(from+overlap+5)) }) // put off, which a thief would undo
		w.after(3*later, func() { w.change(2, end(from+overlap)) })
	})
	w.after(when+at(second, 4*second), func() { w.usurp(4) })
	for _, k := range w.workers {
		if k.tcb == oldTCB && w.net.heals > 0 && dice.IntN(2) == 0 {
			w.after(when+at(0, 4*second), k.upgrade)
		}
	}
}

// change has three of the four validators change the values.
func (w *world) change(number uint64, t attest.Term) {
	w.facts.changes = max(w.facts.changes, number)
	w.bring(number, attest.Change{Terms: []attest.Term{t}}, w.chain.validators[:3])
}

// usurp has the hostile validator change the values by itself, in the honest ones'
// names too.
func (w *world) usurp(number uint64) {
	from := w.chain.height + w.params.NoticeBlocks + 5
	w.bring(number, attest.Change{Terms: []attest.Term{{Value: attest.Value{List: "measurement", Data: intruder[:]}, From: from}}}, w.chain.validators[3:])
}

// bring submits a change that some validators have signed.
func (w *world) bring(number uint64, c attest.Change, by []*validator) {
	g := task.Govern{Number: number, Change: task.Encode(c)}
	for _, v := range by {
		g.Signed = append(g.Signed, task.Approval{Validator: task.PublicKey(v.sign), Signature: task.Sign(v.sign, g.Hash(chainID))})
	}
	slices.SortFunc(g.Signed, func(a, b task.Approval) int { return slices.Compare(a.Validator[:], b.Validator[:]) })
	w.chain.submit(pooled{key: w.alice.key, body: task.Body{Govern: &g}, who: "a validator"})
}

// upgrade starts the machine anew with the newer TCB, and registers it so.
func (k *worker) upgrade() {
	k.crash("upgrade")
	k.tcb = newTCB
	late := k.w.read().Beacon()
	h := task.RegistrationHash(chainID, k.node, late.Value)
	quote, err := k.platform().Quoter().Quote(h)
	if err != nil {
		panic(err)
	}
	k.w.chain.submit(pooled{key: k.operator, body: task.Body{Register: &task.Register{Node: k.node, Possession: task.Sign(k.peer, h), Quote: quote, Beacon: late.Height}}, who: k.name})
}

// checkValues: nothing but two thirds of the power changes the values, and each
// change counts once.
func (w *world) checkValues() {
	if n := w.chain.read().Values().Number; n > w.facts.changes {
		w.violate("two thirds change the values", "change %d counts; the honest validators have signed %d", n, w.facts.changes)
	}
}

// checkAccepted: who is drawn was acceptable in the block of the seed.
func (w *world) checkAccepted(c *ledger.Case) {
	if _, governed := w.governed(); !governed || c.Phase == ledger.Posted {
		return
	}
	floor := uint64(oldTCB)
	if until, ok := w.rise(); ok && c.SeededAt >= until {
		floor = newTCB
	}
	for _, m := range c.Members {
		if m.Profile.TCB < floor {
			w.violate("who is shut out does not draw", "%s with TCB %d in task %s, seeded in block %d", w.name(m.Claim.Node), m.Profile.TCB, c.ID().Short(), c.SeededAt)
		}
	}
}

// rise is the block from which the new floor alone counts, if the log says so.
func (w *world) rise() (until uint64, ok bool) {
	for _, a := range w.chain.read().Amendments(ledger.Whole) {
		if t := a.Change.Terms[0]; t.Value.Number == oldTCB {
			until, ok = t.Until, true
		}
	}
	return until, ok
}

func floorOf(tcb uint64) attest.Value { return attest.Value{List: "simulated-floor", Number: tcb} }
