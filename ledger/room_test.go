package ledger

import (
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/prytany/prytany/task"
)

// fill posts the cheapest tasks until no more are taken, and returns what is gone
// for good with those that are open, transaction fees apart.
func (w *world) fill(who ...string) (spent task.Amount, open uint64, err error) {
	for _, name := range who {
		for err == nil {
			key := task.PublicKey(w.keys[name])
			acct := w.state().Account(key)
			tk := w.task()
			tk.Requester, tk.Data[0].Owner, tk.Nonce = key, key, acct.Nonce
			tk.Seats, tk.MinSeats, tk.GasPrice, tk.Fee = 2, 2, 1, 2*w.block.Params.SeatFee
			if err = w.send(name, task.Body{Post: &tk}); err == nil {
				c, _ := w.state().Case(tk.ID())
				spent += acct.Balance - w.state().Account(key).Balance - w.fee - c.Escrow.Locks[0] - c.Escrow.Room
			}
		}
		if task.CodeOf(err) == "chain-full" {
			break
		}
		err = nil
	}
	return spent, w.block.meta.Open, err
}

// Who fills the chain keeps all others out. It cost a posting fee a task, and must
// cost thousands of PRY (spec §10.1).
func TestFillingTheChainCosts(t *testing.T) {
	w := newWorld(t, 9)
	f := w.function()
	f.Manifest.Royalty = 0
	w.fn = f.ID()
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 300 * task.PRY}})
	p := w.block.Params
	spent, open, err := w.fill("alice")
	if task.CodeOf(err) == "chain-full" {
		t.Fatalf("1000 PRY fill the chain: %s are gone", spent)
	}
	t.Logf("1000 PRY and %s pay for %d of %d tasks", spent, open, p.MaxOpen)
	if open >= p.MaxOpen*9/10 {
		t.Errorf("%d of %d tasks are open", open, p.MaxOpen)
	}

	// What it costs to go on to the end.
	rich := w.state().Account(task.PublicKey(w.keys["alice"]))
	rich.Balance += 10_000 * task.PRY
	w.block.meta.Supply += 10_000 * task.PRY
	key := task.PublicKey(w.keys["alice"])
	save(w.block.state, join(keyAccount, key[:]), rich)
	more, open, err := w.fill("alice")
	if task.CodeOf(err) != "chain-full" || open != p.MaxOpen {
		t.Fatalf("%d open: %v", open, err)
	}
	var rent task.Amount // for a block of all of them
	for n := range p.MaxOpen {
		r, _ := p.Room(w.task(), f, p.Load(n))
		rent += r.Rent
	}
	hour := rent * task.Amount(3_600_000/p.IntervalMillis)
	flat := task.Amount(p.MaxOpen) * p.PostingFee
	t.Logf("filling the chain costs %s at once, and %s an hour; it was %s, and nothing", spent+more, hour, flat)
	if spent+more < 4000*task.PRY || hour < 25_000*task.PRY {
		t.Errorf("%s at once, %s an hour", spent+more, hour)
	}
	w.next() // the money is all there
}

// Up to a tenth of what the chain takes nothing is dearer than ever, and each tenth
// more doubles it.
func TestLoad(t *testing.T) {
	p := Embedded("c")
	for open := range p.MaxOpen {
		want := uint64(1)
		for range 10 * open / p.MaxOpen {
			want *= 2
		}
		if got := p.Load(open); got != want || got > maxLoad {
			t.Fatalf("%d open: %d, want %d", open, got, want)
		}
	}
	m := task.Manifest{Limits: task.Limits{WallMillis: 60_000}}
	if r, ok := p.Room(task.Task{}, task.Function{Manifest: m}, p.Load(p.MaxOpen/10)); !ok || r.Load != 1 || r.Fee != p.PostingFee || r.Rent != p.Rent || r.Locked != p.Rent*task.Amount(r.Blocks) {
		t.Errorf("%+v", r)
	}
	p.Rent = 1 << 40
	if _, ok := p.Room(task.Task{}, task.Function{Manifest: m}, maxLoad); ok {
		t.Error("a rent over all money is a price")
	}
}

// A task pays for the blocks that it was open, and gets the rest back, whoever made
// it last; never more than it has locked.
func TestRentIsForBlocks(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.wait(Closed)
	c := w.c()
	s := c.Settlement
	if want := task.Amount(s.Height-c.PostedAt) * w.block.Params.Rent; s.Rent != want || s.Rent == 0 || paid(s, WhyRoom) != c.Escrow.Room-want {
		t.Errorf("rent %s, want %s; %s of %s came back", s.Rent, want, paid(s, WhyRoom), c.Escrow.Room)
	}
	long := *c
	long.Settlement = nil
	if s := Settle(&long, End{Outcome: ExecutorsFailed}, c.PostedAt+1<<40); s.Rent != c.Escrow.Room || paid(&s, WhyRoom) != 0 {
		t.Errorf("open for ever: rent %s of %s", s.Rent, c.Escrow.Room)
	}
}

// A task may say what it pays at the most: else who sees it coming could fill the
// chain before it.
func TestRoomIsNotDearerThanAlicePays(t *testing.T) {
	w := newWorld(t, 9, func(p *Params) { p.MaxOpen = 20 })
	w.publish()
	post := func(most uint64) error {
		tk := w.task()
		tk.MaxLoad = most
		return w.send("alice", task.Body{Post: &tk})
	}
	for range 4 {
		if err := post(2); err != nil {
			t.Fatal(err)
		}
	}
	before := w.block.meta.Open
	err := post(2)
	if task.CodeOf(err) != "room-dear" || w.block.meta.Open != before {
		t.Errorf("at four times the price: %v", err)
	}
	for _, most := range []uint64{4, 0} {
		if err := post(most); err != nil {
			t.Errorf("who pays %d times: %v", most, err)
		}
	}
	if got := w.block.Params.Load(before); bits.Len64(got) != 3 {
		t.Errorf("load %d", got)
	}
}

// A view lasts no longer than what its room and its bonds are counted for, though
// everything in it comes last thing.
func TestAViewIsNotLongerThanIsCounted(t *testing.T) {
	w := elected(t)
	c := w.c()
	began, quiet := c.View.StartedAt, w.verifiers()[0]
	last := func() {
		for w.height < w.c().Deadline {
			w.next()
		}
	}
	for w.height < c.AttestBy() {
		w.next()
	}
	shown := w.pair(w.dirty(task.PreRun))
	w.must("carol", task.Body{Show: &shown})
	last()
	commits, reveals := w.speak(shown, everyone(task.OK))
	w.must("carol", task.Body{Commitments: task.PackCommitments(commits[1:])})
	last()
	w.must("carol", task.Body{Commitments: task.PackCommitments(commits[:1])})
	last()
	if err := w.verdicts(nil, shown); err != nil {
		t.Fatal(err)
	}
	last()
	if err := w.verdicts(slices.DeleteFunc(slices.Clone(reveals), func(v task.Reveal) bool { return v.Node == quiet })); err != nil {
		t.Fatal(err)
	}
	for w.height < w.c().CallBy() {
		w.next()
	}
	if err := w.call(); err != nil {
		t.Fatal(err)
	}
	last()
	w.keysOut()
	last()
	if err := w.accuse(task.Accusation{Look: true}); err != nil {
		t.Fatal(err)
	}
	w.passed()
	took, most := w.c().Passed[0].Height-began, c.Params.view(c.Params.Blocks(c.Function.Manifest.LateMillis()), c.fetchBlocks())
	if took > most {
		t.Errorf("a view took %d blocks, and is counted as %d", took, most)
	}
}

// A time for bonds that wraps would give them back at once.
func TestUnbondingDoesNotWrap(t *testing.T) {
	p := Embedded("test")
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	p.UnbondBlocks = math.MaxUint64
	if p.Check() == nil {
		t.Error("every bond comes back in the block that unbonds it")
	}
}
