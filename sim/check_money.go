package sim

import (
	"bytes"
	"math/big"
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// All money there was is all money there is (spec §10.8).
func (w *world) checkSupply() {
	r := w.chain.read()
	if held, supply := w.chain.held(), r.Meta().Supply; held != supply {
		w.violate("supply is conserved", "block %d: %d held of %d", w.chain.height, held, supply)
	}
}

// A task is settled once, and its settlement pays out what was locked (§10.7).
func (w *world) checkSettledOnce(c *ledger.Case) {
	id := c.ID()
	old, before := w.facts.settled[id]
	if c.Settlement == nil {
		if before {
			w.violate("a task is settled once", "the settlement of task %s is gone", id.Short())
		}
		return
	}
	raw := task.Encode(*c.Settlement)
	if before && !bytes.Equal(old, raw) {
		w.violate("a task is settled once", "task %s was settled again", id.Short())
	}
	w.facts.settled[id] = raw
	sum, _ := task.Sum(append([]task.Amount{c.Settlement.Burned, c.Settlement.Rent}, c.Settlement.Kept...)...)
	for _, p := range c.Settlement.Payments {
		sum += p.Amount
	}
	if locked, _ := c.Escrow.Sum(); sum != locked {
		w.violate("a settlement pays what was locked", "task %s: %d of %d", id.Short(), sum, locked)
	}
	if c.Phase != ledger.Closed {
		w.violate("a settled task is closed", "task %s is %s", id.Short(), c.Phase)
	}
}

// Who did the work is paid for it by whom the table names, and nobody else is
// (§10.2, §10.3).
func (w *world) checkPayments(c *ledger.Case) {
	if c.Settlement == nil || c.Settlement.Height != w.chain.height {
		return
	}
	w.checkRent(c)
	want := wages(c)
	for _, p := range c.Settlement.Payments {
		want[due{p.To, p.Why}] -= int64(p.Amount)
	}
	for _, m := range c.Members { // in an order
		for _, why := range []ledger.Due{ledger.WhyExecutor, ledger.WhyVerifier} {
			if d := want[due{m.Node.Operator, why}]; d != 0 {
				w.violate("work is paid by the table", "task %s, %s: %s as %s is off by %d", c.ID().Short(), c.Settlement.Outcome, w.name(m.Claim.Node), why, d)
			}
		}
	}
	if d := want[due{c.Function.Owner, ledger.WhyRoyalty}]; d != 0 {
		w.violate("work is paid by the table", "task %s, %s: the royalty is off by %d", c.ID().Short(), c.Settlement.Outcome, d)
	}
	withheld := map[ledger.Outcome]bool{ledger.InputWithheld: true, ledger.CodeWithheld: true}[c.Settlement.Outcome]
	if burned := c.Settlement.Burned; withheld != (burned > 0) || withheld && new(big.Int).SetUint64(uint64(burned)).Cmp(fixed(c)) != 0 {
		w.violate("who is at fault pays", "task %s, %s: %s were burned", c.ID().Short(), c.Settlement.Outcome, burned)
	}
	w.checkFault(c)
}

// The parties here are Alice, who asks, her input, which she owns, and Bob's code
// (§10.2).
func (w *world) checkFault(c *ledger.Case) {
	const bob = 2
	s, locked := c.Settlement, c.Escrow.Locks[bob]
	blamed := map[ledger.Outcome][]uint32{
		ledger.FunctionFailed: {1, bob}, ledger.DataOwnerSilent: {1}, ledger.InputWithheld: {1},
		ledger.CodeOwnerSilent: {bob}, ledger.CodeWithheld: {bob},
	}[s.Outcome]
	if !slices.Equal(s.Fault.Parties, blamed) || (s.Fault.Of == ledger.AParty) != (len(blamed) > 0) {
		w.violate("who is at fault pays", "task %s, %s: the fault is of %v", c.ID().Short(), s.Outcome, s.Fault)
	}
	if lost := locked - s.Kept[bob]; s.Outcome == ledger.CodeWithheld && lost != s.Burned {
		w.violate("who is at fault pays", "task %s: Bob withheld a file, and lost %s", c.ID().Short(), lost)
	}
	his := s.Outcome == ledger.CodeOwnerSilent || s.Outcome == ledger.CodeWithheld
	if kept := s.Kept[bob]; kept > locked || his == (kept == locked) && len(s.Payments) > 1 {
		w.violate("who is at fault pays", "task %s, %s: %s of Bob's %s is kept", c.ID().Short(), s.Outcome, kept, locked)
	}
}

// Room is paid for by the block, at a price that was fixed when the task was posted,
// and no task is open for longer than it has paid for (§10.1).
func (w *world) checkRent(c *ledger.Case) {
	p, open := w.params, c.Settlement.Height-c.PostedAt
	run := (c.Function.Manifest.LateMillis() + p.IntervalMillis - 1) / p.IntervalMillis
	bytes := c.Task.DataSize() + c.Function.Code.Size
	fetch := (bytes/p.FetchFloor + 1 + p.IntervalMillis - 1) / p.IntervalMillis
	view := p.AttestBlocks + 4*p.CommitBlocks + p.CommitBlocks/2 + 1 + fetch + 2*p.ReleaseBlocks + run + p.RunGraceBlocks
	attempt := 2 + 4*p.ClaimBlocks + 32*(p.DeclineBlocks+fetch) + uint64(p.MaxViews)*view
	longest := uint64(p.MaxAttempts)*attempt + p.ReviewBlocks
	fits := false
	for load := uint64(1); load <= 512; load *= 2 {
		price := uint64(p.Rent) * load
		fits = fits || uint64(c.Escrow.Room) == price*longest && uint64(c.Settlement.Rent) == price*open
	}
	if open > longest || !fits {
		w.violate("rent is for blocks", "task %s was open for %d blocks of at most %d, locked %s and paid %s", c.ID().Short(), open, longest, c.Escrow.Room, c.Settlement.Rent)
	}
	var back task.Amount
	for _, pay := range c.Settlement.Payments {
		if pay.Why == ledger.WhyRoom && pay.To == c.Task.Requester {
			back += pay.Amount
		}
	}
	if back+c.Settlement.Rent != c.Escrow.Room {
		w.violate("rent is for blocks", "task %s: %s of %s came back, and %s was the rent", c.ID().Short(), back, c.Escrow.Room, c.Settlement.Rent)
	}
}

// due is an account's part for one reason.
type due struct {
	to  task.Address
	why ledger.Due
}

// wages are what a closed case owes for work: the gas or, for an owner's
// silence, the fixed part; the royalty for what Alice got, or kept from being; and the
// fee to the seats that named the genuine place.
func wages(c *ledger.Case) map[due]int64 {
	owed := map[due]int64{}
	add := func(to task.Address, why ledger.Due, a *big.Int) { owed[due{to, why}] += a.Int64() }
	o := c.Settlement.Outcome
	ran := o == ledger.Completed || o == ledger.FunctionFailed
	silent := o == ledger.DataOwnerSilent || o == ledger.CodeOwnerSilent
	if m := c.Member(c.View.Executor); m != nil {
		switch {
		case ran:
			add(m.Node.Operator, ledger.WhyExecutor, gasMoney(c.View.Result.Result.Gas, c.Task.GasPrice))
		case silent:
			add(m.Node.Operator, ledger.WhyExecutor, fixed(c))
		}
	}
	if o == ledger.Completed || o == ledger.DataOwnerSilent && c.Released(2) {
		add(c.Function.Owner, ledger.WhyRoyalty, big.NewInt(int64(c.Function.Manifest.Royalty)))
	}
	_, all := judges(c)
	for _, m := range c.Members {
		share := int64(0)
		if o != ledger.BadEnclave && named(c, m.Claim.Node) == theGenuine {
			share = int64(m.Seats)
		}
		if share > 0 && (ran || silent || o == ledger.AllOutOfTime) {
			x := new(big.Int).Mul(big.NewInt(int64(c.Task.Fee)), big.NewInt(share))
			add(m.Node.Operator, ledger.WhyVerifier, x.Div(x, big.NewInt(int64(all))))
		}
	}
	return owed
}

// fixed is what an owner's silence costs, of the gas money.
func fixed(c *ledger.Case) *big.Int {
	part := gasMoney(c.Task.GasLimit, c.Task.GasPrice)
	return part.Div(part.Mul(part, big.NewInt(int64(c.Params.FixedPPM))), big.NewInt(1_000_000))
}

// gasMoney is gas × price, which is for a million, rounded up.
func gasMoney(gas uint64, price task.Amount) *big.Int {
	x := new(big.Int).Mul(new(big.Int).SetUint64(gas), new(big.Int).SetUint64(uint64(price)))
	return x.Div(x.Add(x, big.NewInt(task.MicroGas-1)), big.NewInt(task.MicroGas))
}
