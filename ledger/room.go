package ledger

import "github.com/prytany/prytany/task"

// Room is what it costs to have a task on the chain (spec §10.1). A chain holds so
// many open tasks and no more, so who fills it keeps all others out. Room gets
// dearer as it gets scarce: twice the price for each tenth that is taken.
type Room struct {
	Load   uint64      `json:"load,string"`   // how many times the usual price
	Fee    task.Amount `json:"fee"`           // of the posting, for good
	Rent   task.Amount `json:"rent"`          // for each block that the task is open
	Blocks uint64      `json:"blocks,string"` // the longest that it can be open
	Locked task.Amount `json:"locked"`        // the rent of all of them; what is left of it comes back
}

// maxLoad is the load of a chain that is nearly full.
const maxLoad = 1 << 9

// Load is how many times the usual price room costs while so many tasks are open.
func (p Params) Load(open uint64) uint64 { return 1 << min(9, 10*open/p.MaxOpen) }

// Room is what it costs to post a task of a function at a load. It is not ok over
// 2^64-1.
func (p Params) Room(t task.Task, f task.Function, load uint64) (r Room, ok bool) {
	r = Room{Load: load, Blocks: p.stay(t, f)}
	var ok2, ok3 bool
	r.Fee, ok = p.PostingFee.MulDiv(r.Load, 1)
	r.Rent, ok2 = p.Rent.MulDiv(r.Load, 1)
	r.Locked, ok3 = r.Rent.MulDiv(r.Blocks, 1)
	return r, ok && ok2 && ok3
}

// stay is the longest that a task of a function can be open: every attempt, whose seed
// comes two blocks later at the most, with all that can be waited for in it.
func (p Params) stay(t task.Task, f task.Function) uint64 {
	attempt := 2 + p.attempt(p.Blocks(f.Manifest.LateMillis()), p.fetch(t.DataSize()+f.Size()))
	return uint64(p.MaxAttempts)*attempt + p.ReviewBlocks
}

// attempt is the longest that an attempt can take from its seed on, with a run of so
// many blocks and files that come in so many: claims, the turns that are declined,
// and every view.
func (p Params) attempt(run, fetch uint64) uint64 {
	return lastClaims*p.ClaimBlocks + MaxTurns*(p.DeclineBlocks+fetch) + uint64(p.MaxViews)*p.view(run, fetch)
}

// view is the longest that one executor's turn can take: the pair may be shown last
// thing, a quorum commit last thing after that, the others last thing then, the pair be
// opened last thing, the owners be called for their keys last thing, and last words be
// due when all else is over.
func (p Params) view(run, fetch uint64) uint64 {
	return p.AttestBlocks + 4*p.CommitBlocks + p.lastCommits() + fetch + 2*p.ReleaseBlocks + run + p.RunGraceBlocks
}

// silentRent is the most that a view without a run costs a task, which whoever is
// silent in it has made for nothing.
func (p Params) silentRent() task.Amount {
	rent, ok := p.Rent.MulDiv(maxLoad*p.view(0, 0), 1)
	if !ok {
		return ^task.Amount(0)
	}
	return rent
}

// CheckRoom says whether what a case has locked for room is what the rules ask for
// at some load, and not more than its task takes. The load itself is the chain's word.
func (c *Case) CheckRoom() error {
	for load := uint64(1); load <= maxLoad; load *= 2 {
		if r, ok := c.Params.Room(c.Task, c.Function, load); ok && r.Locked == c.Escrow.Room && (c.Task.MaxLoad == 0 || load <= c.Task.MaxLoad) {
			return nil
		}
	}
	return task.Refuse("room-false", "%s are locked for rent, which is the price of %d blocks at no load that the task takes", c.Escrow.Room, c.Params.stay(c.Task, c.Function))
}

// rent is what a task owes for room when it is settled: for each block that it was
// open, and never more than it has locked.
func (c *Case) rent(height uint64) task.Amount {
	longest := c.Params.stay(c.Task, c.Function)
	due, _ := c.Escrow.Room.MulDiv(min(height-c.PostedAt, longest), longest)
	return due
}
