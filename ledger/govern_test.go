package ledger

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/task"
)

// governed is a world with four validators of these powers; without any, of one
// each.
func governed(t testing.TB, powers ...uint64) *world {
	w := newWorld(t, 9)
	if len(powers) == 0 {
		powers = []uint64{1, 1, 1, 1}
	}
	g := w.state().Group()
	g.Set.Holders = nil
	for i, p := range powers {
		g.Set.Holders = append(g.Set.Holders, beacon.Holder{Validator: task.PublicKey(validatorKey(i)), Shares: make([]beacon.Key, p)})
	}
	save(w.block.state, []byte(keyGroup), g)
	return w
}

func validatorKey(i int) ed25519.PrivateKey { return seedKey(fmt.Sprint("validator", i)) }

// signed is a change that some validators have signed.
func signed(number uint64, c attest.Change, by ...int) task.Govern {
	g := task.Govern{Number: number, Change: task.Encode(c)}
	for _, i := range by {
		g.Signed = append(g.Signed, task.Approval{Validator: task.PublicKey(validatorKey(i)), Signature: task.Sign(validatorKey(i), g.Hash("test"))})
	}
	slices.SortFunc(g.Signed, func(a, b task.Approval) int { return slices.Compare(a.Validator[:], b.Validator[:]) })
	return g
}

func (w *world) govern(g task.Govern) error { return w.send("carol", task.Body{Govern: &g}) }

func program(b byte) attest.Value {
	return attest.Value{List: "measurement", Data: append([]byte{b}, make([]byte, 31)...)}
}

func floor(n uint64) attest.Value { return attest.Value{List: "simulated-floor", Number: n} }

func changing(t ...attest.Term) attest.Change { return attest.Change{Terms: t} }

// More than two thirds of the power change the values, and nobody less.
func TestTwoThirdsChangeTheValues(t *testing.T) {
	for _, row := range []struct {
		powers []uint64
		by     []int
		code   string
	}{
		{[]uint64{1, 1, 1, 1}, nil, "approval-weak"},
		{[]uint64{1, 1, 1, 1}, []int{0, 1}, "approval-weak"},
		{[]uint64{1, 1, 1, 1}, []int{0, 1, 3}, ""},
		{[]uint64{1, 1, 1}, []int{0, 1}, "approval-weak"}, // two thirds to the unit
		{[]uint64{1, 1, 1}, []int{0, 1, 2}, ""},
		{[]uint64{66, 1, 1, 31}, []int{0}, "approval-weak"},
		{[]uint64{67, 1, 1, 31}, []int{0}, ""},
		{[]uint64{67, 1, 1, 31}, []int{1, 2, 3}, "approval-weak"},
		{[]uint64{1}, nil, "approval-weak"},
		{[]uint64{1}, []int{0, 1}, "approval-malformed"}, // who has no seat signs nothing
		{[]uint64{1}, []int{1}, "approval-stranger"},
	} {
		w := governed(t, row.powers...)
		from := w.block.Params.Earliest(w.height)
		if err := w.govern(signed(1, changing(attest.Term{Value: program(9), From: from}), row.by...)); task.CodeOf(err) != row.code {
			t.Errorf("%v of %v: %v, want %q", row.by, row.powers, err, row.code)
			continue
		}
		a, ok := w.state().Amendment(1)
		if v := w.state().Values(); (row.code == "") != (v.Number == 1) || ok != (row.code == "") {
			t.Errorf("%v of %v: %+v", row.by, row.powers, v)
		}
		if ok && (a.Height != w.height || len(a.Signed) != len(row.by) || a.Power*3 <= a.Total*2) {
			t.Errorf("%v of %v: the log says %+v", row.by, row.powers, a)
		}
	}
}

// What thieves try with a change, and with the signatures of others.
func TestChangesOfThieves(t *testing.T) {
	all := []int{0, 1, 2, 3}
	w := governed(t)
	first := w.block.Params.Earliest(w.height)
	good := signed(1, changing(attest.Term{Value: program(9), From: first}), all...)
	other := good
	other.Signed = nil
	for i := range 4 {
		other.Signed = append(other.Signed, task.Approval{Validator: good.Signed[i].Validator, Signature: task.Sign(validatorKey(i), good.Hash("another"))})
	}
	twice := good
	twice.Signed = slices.Clone(good.Signed)
	twice.Signed[1] = twice.Signed[0]
	swapped := good
	swapped.Signed = slices.Clone(good.Signed)
	slices.Reverse(swapped.Signed)
	for name, row := range map[string]struct {
		g    task.Govern
		code string
	}{
		"a number ahead":               {signed(2, changing(attest.Term{Value: program(9), From: first}), all...), "change-stale"},
		"number 0":                     {signed(0, changing(attest.Term{Value: program(9), From: first}), all...), "change-stale"},
		"of another chain":             {other, "approval-false"},
		"one signature, twice":         {twice, "approval-malformed"},
		"another order":                {swapped, "approval-malformed"},
		"a stranger's signature":       {signed(1, changing(attest.Term{Value: program(9), From: first}), 0, 1, 2, 9), "approval-stranger"},
		"more signatures than seats":   {signed(1, changing(attest.Term{Value: program(9), From: first}), 0, 1, 2, 3, 9), "approval-malformed"},
		"another change":               {task.Govern{Number: 1, Change: task.Encode(changing(attest.Term{Value: program(8), From: first})), Signed: good.Signed}, "approval-false"},
		"no change":                    {task.Govern{Number: 1, Change: []byte{0xa0}}, "change-malformed"},
		"large":                        {task.Govern{Number: 1, Change: make([]byte, attest.MaxChange+1)}, "change-malformed"},
		"too soon":                     {signed(1, changing(attest.Term{Value: program(9), From: first - 1}), all...), "change-hasty"},
		"from the beginning":           {signed(1, changing(attest.Term{Value: program(9)}), all...), "change-hasty"},
		"an end too soon":              {signed(1, changing(attest.Term{Value: program(42), Until: first - 1}), all...), "change-hasty"},
		"a past that was otherwise":    {signed(1, changing(attest.Term{Value: program(42), From: first}), all...), "change-hasty"},
		"nothing new":                  {signed(1, changing(attest.Term{Value: program(42)}), all...), "change-empty"},
		"a time of no block":           {signed(1, changing(attest.Term{Value: program(9), From: first, Until: first}), all...), "change-empty"},
		"no program any more":          {signed(1, changing(attest.Term{Value: program(42), Until: first}), all...), "change-unsound"},
		"no program for a while":       {signed(1, changing(attest.Term{Value: program(42), Until: first}, attest.Term{Value: program(9), From: first + 5}), all...), "change-unsound"},
		"no program later":             {signed(1, changing(attest.Term{Value: program(42), Until: first}, attest.Term{Value: program(9), From: first, Until: first + 5}), all...), "change-unsound"},
		"no kind any more":             {signed(1, changing(attest.Term{Value: attest.Value{List: "simulated"}, Until: first}), all...), "change-unsound"},
		"a floor for a while":          {signed(1, changing(attest.Term{Value: floor(9), From: first, Until: first + 9}), all...), "change-unsound"},
		"a TPM without activators":     {signed(1, changing(attest.Term{Value: attest.Value{List: "kind", Name: "tpm"}, From: first}), all...), "change-unsound"},
		"a kind that is none":          {signed(1, changing(attest.Term{Value: attest.Value{List: "kind", Name: "sgx"}, From: first}), all...), "change-unsound"},
		"a root that cannot be read":   {signed(1, changing(attest.Term{Value: attest.Value{List: "nitro-root", Data: []byte{1}}, From: first}), all...), "change-unsound"},
		"the docker program as any":    {signed(1, changing(attest.Term{Value: attest.Value{List: "docker", Data: program(42).Data}, From: first}), all...), "change-unsound"},
		"a program that was not meant": {signed(1, changing(attest.Term{Value: attest.Value{List: "runtime", Data: make([]byte, 32)}, From: first}), all...), "change-unsound"},
	} {
		if err := w.govern(row.g); task.CodeOf(err) != row.code {
			t.Errorf("%s: %v, want %q", name, err, row.code)
		}
	}
	if v := w.state().Values(); v.Number != 0 || len(v.Standing) != 3 {
		t.Errorf("something has changed: %+v", v)
	}
	if err := w.govern(good); err != nil {
		t.Fatal(err)
	}
	w.next()
	if err := w.govern(good); task.CodeOf(err) != "change-stale" {
		t.Errorf("the same again: %v", err)
	}
}

// The register is bounded, in values and in heights at which something changes.
func TestTheRegisterIsBounded(t *testing.T) {
	w := governed(t)
	from := w.block.Params.Earliest(w.height)
	var c attest.Change
	for i := range 33 {
		c.Terms = append(c.Terms, attest.Term{Value: program(byte(100 + i)), From: from + uint64(2*i), Until: from + uint64(2*i) + 1})
	}
	if err := w.govern(signed(1, c, 0, 1, 2)); task.CodeOf(err) != "register-full" {
		t.Errorf("66 heights: %v", err)
	}
	c.Terms = c.Terms[:31]
	if err := w.govern(signed(1, c, 0, 1, 2)); err != nil {
		t.Errorf("62 heights: %v", err)
	}
	for w.height < from+70 {
		w.next()
	}
	// What is over goes with the next change; the log keeps it.
	if err := w.govern(signed(2, changing(attest.Term{Value: program(9), From: w.block.Params.Earliest(w.height)}), 0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if v := w.state().Values(); len(v.Standing) != 4 {
		t.Errorf("%d values stand", len(v.Standing))
	}
	if log := w.state().Amendments(Whole); len(log) != 2 || len(log[0].Change.Terms) != 31 {
		t.Errorf("the log has %d changes", len(log))
	}
	full := Values{Standing: make([]Standing, maxStanding)}
	if _, err := full.Amend(1, 1, changing(attest.Term{Value: program(9), From: 2})); task.CodeOf(err) != "register-full" {
		t.Errorf("one value more than fit: %v", err)
	}
}

// Values come and go at their heights: a new program counts beside the old one
// for as long as both are in force, and an end can be put off or called off.
func TestValuesComeAndGo(t *testing.T) {
	w := governed(t)
	from := w.block.Params.Earliest(w.height)
	change := func(number uint64, c attest.Change) {
		t.Helper()
		if err := w.govern(signed(number, c, 0, 1, 2)); err != nil {
			t.Fatal(err)
		}
	}
	change(1, changing(attest.Term{Value: program(9), From: from}, attest.Term{Value: program(42), Until: from + 10}))
	change(2, changing(attest.Term{Value: program(42), Until: from + 20})) // put off
	change(3, changing(attest.Term{Value: program(8), From: from + 30}))
	change(4, changing(attest.Term{Value: program(8), From: from + 30, Until: from + 30})) // called off
	for w.height < from+40 {
		got := w.block.reference().Measurements
		var want []task.Hash
		if w.height >= from {
			want = append(want, task.Hash{9})
		}
		if w.height < from+20 {
			want = append(want, measurement)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("block %d: %v, want %v", w.height, got, want)
		}
		// A pool, which looks a block ahead, sees the same.
		if ahead := NewBlock(w.store, w.height).reference(); ahead.Hash() != w.block.reference().Hash() {
			t.Fatalf("block %d: the pool has other values", w.height)
		}
		w.next()
	}
	v := w.state().Values()
	i := slices.IndexFunc(v.Standing, func(s Standing) bool { return s.Value.Equal(program(9)) })
	if i < 0 || v.Standing[i].Begun != 1 || v.Standing[i].Ended != 0 || v.Number != 4 {
		t.Errorf("%+v", v)
	}
}

// A dumb reference: what is in force at a height is what a replay of the log says.
func TestTheRegisterIsItsLog(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 7))
	w := governed(t)
	var log []attest.Change
	for number := uint64(1); number < 60; {
		for range dice.IntN(12) {
			w.next()
		}
		notice := w.block.Params.NoticeBlocks
		c := attest.Change{}
		for range 1 + dice.IntN(3) {
			x := attest.Term{Value: program(byte(dice.IntN(6) + 40)), From: w.height + notice + uint64(dice.IntN(40))}
			for _, s := range w.state().Values().Standing {
				if s.Value.Equal(x.Value) && (s.Until == 0 || s.Until > w.height) && dice.IntN(4) > 0 {
					x.From = s.From
				}
			}
			if dice.IntN(2) == 0 {
				x.Until = w.height + notice + uint64(dice.IntN(80))
			}
			c.Terms = append(c.Terms, x)
		}
		if w.govern(signed(number, c, 0, 1, 2)) == nil {
			log = append(log, c)
			number++
		}
		// The last term that the log has of a value, by hand.
		v := w.state().Values()
		for _, h := range append(v.Moments(w.height), w.height) {
			var want []string
			for i := range 6 {
				x := attest.Term{Value: program(byte(40 + i))}
				there := i == 2 // 42 is the genesis's
				for _, past := range log {
					for _, y := range past.Terms {
						if y.Value.Equal(x.Value) {
							x, there = y, true
						}
					}
				}
				if there && x.From <= h && (x.Until == 0 || h < x.Until) {
					want = append(want, x.Value.String())
				}
			}
			var got []string
			for _, x := range v.At(h) {
				if x.List == "measurement" {
					got = append(got, x.String())
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("after %d changes, at %d of %d: %v, want %v", len(log), h, w.height, got, want)
			}
		}
	}
}

// The values that count for an attempt are those of its seed: an executor that was
// good then loses nothing when they have changed before it is judged, and one that
// would not be good now does not draw.
func TestTheValuesOfTheSeedCount(t *testing.T) {
	w := governed(t)
	from := w.block.Params.Earliest(w.height)
	if err := w.govern(signed(1, changing(attest.Term{Value: floor(1), From: from}), 0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	for w.height < from-8 {
		w.next()
	}
	w.post()
	w.elect()
	for w.height < from-1 {
		w.next()
	}
	later := w.task() // for which there are machines while it is posted
	w.must("alice", task.Body{Post: &later})
	for w.height < from+1 {
		w.next()
	}
	if c := w.c(); c.SeededAt >= from || c.Reference().MinTCB != 0 || w.block.reference().MinTCB != 1 {
		t.Fatalf("seeded in block %d, the floor rises in %d", c.SeededAt, from)
	}
	shown := w.pair(w.quote(task.PreRun))
	w.judgeThis(shown, everyone(task.OK))
	if c := w.c(); c.Phase != Running || len(c.Slashes)+len(c.Passed) > 0 {
		t.Fatalf("%s, slashes %v, passed %v", c.Phase, c.Slashes, c.Passed)
	}
	w.must("carol", task.Body{Accuse: &task.Accusation{Ballot: shown.Ballot, Accused: w.c().View.Executor, Shown: &shown}}) // in vain, and not for nothing
	if c := w.c(); c.View.Pre.Faulty || len(c.Slashes) > 0 {
		t.Error("it was judged by the values of today")
	}
	was := w.id
	if tk := w.task(); task.CodeOf(w.send("alice", task.Body{Post: &tk})) != "policy-narrow" {
		t.Error("posted though no machine is accepted")
	}
	w.id = later.ID()
	for _, k := range w.allClaims() {
		if err := w.send("carol", task.Body{Claims: task.PackClaims([]task.Claim{k})}); task.CodeOf(err) != "nothing-new" {
			t.Fatalf("who is shut out draws: %v", err)
		}
	}
	if c, _ := w.state().Case(was); c.Reference().MinTCB != 0 {
		t.Error("the older case has other values now")
	}
	if _, err := attest.Enrol(newWorker("n0").node.TEE, w.enrol(newWorker("n0"), 0).Quote, w.registration(newWorker("n0").node), "test", 0, w.block.reference()); task.CodeOf(err) != attest.StaleTCB {
		t.Errorf("registered below the floor: %v", err)
	}
}

// Who will be shut out can see it from the register, with the reason.
func TestShutOutIsSeenAhead(t *testing.T) {
	v := first(attest.Reference{AllowSimulated: true, Measurements: []task.Hash{measurement}, MinTCB: 8})
	p, tee := attest.Platform{Measurement: measurement, TCB: 8}.Profile(), task.TEE{Kind: "simulated"}
	refused := func(r attest.Reference) error { return p.Accepted(tee, r) }
	if _, _, ok := v.ShutOut(10, refused); ok {
		t.Error("nothing is coming")
	}
	v, err := v.Amend(10, 80, changing(attest.Term{Value: floor(9), From: 100}, attest.Term{Value: floor(8), Until: 120}))
	if err != nil {
		t.Fatal(err)
	}
	from, why, ok := v.ShutOut(10, refused)
	if !ok || from != 120 || !strings.Contains(why.Error(), "TCB 8 below floor 9") {
		t.Errorf("block %d: %v, %t", from, why, ok)
	}
	if from, _, ok := v.ShutOut(150, refused); !ok || from != 151 {
		t.Errorf("afterwards: block %d, %t", from, ok)
	}
}

// A genesis whose values accept nothing, or change without notice, is refused.
func TestGenesisOfGovernance(t *testing.T) {
	for name, change := range map[string]func(*Genesis){
		"no values": func(g *Genesis) { g.Reference = attest.Reference{} },
		"no notice": func(g *Genesis) { g.Params.NoticeBlocks = g.Params.EpochBlocks },
	} {
		g := Genesis{Params: Embedded("c"), Beacon: beacon.OwnGroup(task.Key{1}, beacon.NewSecret([32]byte{1})), Reference: attest.Reference{AllowSimulated: true, Measurements: []task.Hash{{1}}}}
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
		if change(&g); g.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
