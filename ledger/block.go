// Package ledger is the state of the chain: accounts, the registry of nodes
// and functions, and one [Case] for every task, from the posting to the last
// payment.
//
// The package is pure. A [Block] takes verified transactions and the height
// and beacon of its block, changes a [Store], and says in events what
// happened; it reads no clock, does no I/O of its own and owns no randomness.
// So the same code runs in the validator, in the simulator and in the offline
// verifier, and gives the same bytes on every machine.
//
// Money: amounts are integers, each transaction either applies whole or
// changes nothing but its sender's fee and nonce, and after each of them
// balances + bonds + unbonding + escrows + burned = supply (spec §10.8).
//
// Time: deadlines are heights (spec §1.5). What is due at a height is done by
// [Block.Begin] (draws) and [Block.End] (everything else), never by a clock.
package ledger

import (
	"encoding/binary"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/task"
)

// Event says that a case has changed, and how. Who wants to know more reads the case.
type Event struct {
	Task  task.TaskID `json:"task"`
	Phase Phase       `json:"phase"` // in which the case was then
	Fact
	Draw *Draw `json:"draw,omitempty"` // where an attempt has its seed
}

// Block is one block's changes, on their way into a store.
type Block struct {
	Height uint64
	Params Params

	state  *overlay
	meta   Meta
	beacon beacon.Signature // this block's, if it has one
	time   int64            // the block's own
	events []Event
	judged map[task.Hash]task.Verdict
	sets   map[task.Hash]attest.Reference // of reference values, as far as they were asked for
	cases  map[task.TaskID]*held          // as far as they were asked for
	seen   Seen                           // claims that were verified before; may be nil
	wrote  func(task.TaskID)              // called for each case that is written; nil but in tests
}

// held is a case in the hands of a block: decoded once, changed as often as a
// transaction wants, and written once when that is done.
type held struct {
	c     *Case
	due   uint64 // the deadline under which the state lists it; 0 for none
	dirty bool
}

// NewBlock starts the changes of a block at a height, over the state after the
// block before it. Nothing reaches the store before End.
func NewBlock(s Store, height uint64) *Block {
	b := &Block{Height: height, state: newOverlay(s), judged: map[task.Hash]task.Verdict{}, sets: map[task.Hash]attest.Reference{}, cases: map[task.TaskID]*held{}}
	b.Params, _ = load[Params](s, []byte(keyParams))
	b.meta, _ = load[Meta](s, []byte(keyMeta))
	return b
}

func (b *Block) epoch() uint64 { return b.Height / b.Params.EpochBlocks }

// BeaconDue says whether the block must carry a beacon: while a task is open,
// and only then (spec §4.1).
func (b *Block) BeaconDue() bool { return b.meta.Open > 0 }

// BeaconInput is what the group signs for this block.
func (b *Block) BeaconInput() task.Hash { return beacon.Input(b.Params.Chain, b.Height) }

// group is the chain's key, and who holds its shares.
func (b *Block) group() beacon.Group {
	g, _ := load[beacon.Group](b.state, []byte(keyGroup))
	return g
}

// appraise is the case's own, done once in a block for evidence of one round: it
// may be slow, and decides about every verifier. It gives the verdict alone: the
// reason is for people, and must not get into the state (spec §7.4.3).
func (b *Block) appraise(c *Case, r task.Round, evidence []byte) task.Verdict {
	key := task.H(task.TagEvidence, evidence, task.Encode(c.Wanted(r)))
	v, ok := b.judged[key]
	if !ok {
		v = c.Appraise(r, evidence).Verdict
		b.judged[key] = v
	}
	return v
}

// Begin starts the block with its beacon, nil if none is due, and seeds the tasks
// that waited for it. time is the block's own, in Unix seconds,
// which its validators have agreed on: no rule of money or turns reads it, only
// the validity of certificates (spec §7.4.2). An error means that the proposer broke a
// rule and the block must not be accepted; nothing has changed then.
func (b *Block) Begin(v *beacon.Beacon, time int64) error {
	b.time = time
	b.advance()
	switch {
	case b.BeaconDue() && v == nil:
		return task.Refuse("beacon-missing", "block %d: a task is open, so a beacon is due", b.Height)
	case !b.BeaconDue() && v != nil:
		return task.Refuse("beacon-superfluous", "block %d: no task is open, so no beacon may move", b.Height)
	case v == nil:
		return nil
	case !v.Of(b.group().Key, b.BeaconInput()):
		return task.Refuse("beacon-forged", "block %d: the beacon is of another key, chain or height", b.Height)
	}
	b.beacon = v.Signature()
	save(b.state, []byte(keyBeacon), b.beacon)
	b.keepBeacon()
	for _, c := range b.due() {
		b.dice(c, time)
	}
	b.writeCases()
	return nil
}

// Nonce is what a sender's next transaction in this block must carry.
func (b *Block) Nonce(from task.Address) uint64 {
	acct, _ := load[Account](b.state, join(keyAccount, from[:]))
	return acct.Nonce
}

// askExit gives the exit quote its nonce: a beacon that nobody knew when the
// result was signed (spec §9.5).
func (b *Block) askExit(c *Case) {
	c.View.ExitBeacon, c.View.ExitAt = b.beacon, b.Height
	c.View.ExitNonce = attest.ExitNonce(c.View.Result.Result.Hash(), b.beacon.Value())
	b.enter(c, Leaving)
	b.saveCase(c, Fact{Kind: FactExitAsked, Until: c.Deadline})
}

// End does what is due at this height, writes the block's changes to the store
// and returns its events.
func (b *Block) End() []Event {
	for _, c := range b.due() {
		b.expire(c)
	}
	b.writeCases()
	b.lapse()
	b.payUnbonded()
	b.sweep()
	save(b.state, []byte(keyMeta), b.meta)
	b.state.Flush()
	return b.events
}

// due lists the cases whose deadline is this height or before, in the order
// of their deadlines.
func (b *Block) due() []*Case {
	var ids []task.TaskID
	b.state.Ascend([]byte(keyDue), func(k, _ []byte) bool {
		rest := k[len(keyDue):]
		if binary.BigEndian.Uint64(rest) > b.Height {
			return false
		}
		ids = append(ids, task.TaskID(rest[8:]))
		return true
	})
	var cases []*Case
	for _, id := range ids {
		if c, ok := b.loadCase(id); ok {
			cases = append(cases, c)
		}
	}
	return cases
}

func (b *Block) loadCase(id task.TaskID) (*Case, bool) {
	if h := b.cases[id]; h != nil {
		return h.c, true
	}
	c, ok := load[Case](b.state, join(keyCase, id[:]))
	if !ok {
		return nil, false
	}
	ref := b.set(c.Values)
	c.ref = &ref
	b.hold(id, &c).due = c.Deadline
	return &c, true
}

func (b *Block) hold(id task.TaskID, c *Case) *held {
	h := &held{c: c}
	b.cases[id] = h
	return h
}

// writeCases writes each case that has changed, its authenticated hash and its
// deadline: once, however often it has changed since it was last written.
func (b *Block) writeCases() {
	for id, h := range b.cases { // in whatever order: the overlay sorts what it writes
		if !h.dirty {
			continue
		}
		if h.due != 0 {
			b.state.Delete(dueKey(h.due, id))
		}
		if h.due = h.c.Deadline; h.due != 0 {
			b.state.Set(dueKey(h.due, id), nil)
		}
		body := task.Encode(h.c)
		b.state.Set(join(keyCase, id[:]), body)
		save(b.state, CaseKey(id), task.H(task.TagCase, body))
		h.dirty = false
		if b.wrote != nil {
			b.wrote(id)
		}
	}
}

// saveCase notes that the case has changed, and what happened, if that is not noted
// yet.
func (b *Block) saveCase(c *Case, happened ...Fact) {
	for _, f := range happened {
		b.note(c, f)
	}
	b.cases[c.ID()].dirty = true
}

// seed gives a posted task its open seed and opens the claims (spec §4.2).
func (b *Block) seed(c *Case, time int64) {
	c.Beacon, c.SeededAt, c.SeededTime = b.beacon, b.Height, time
	c.Epoch = b.epoch()
	b.bind(c)
	c.TotalStake = b.meta.TotalStake(c.Epoch)
	c.Members, c.View, c.Declined = nil, View{}, nil
	b.enter(c, Claiming)
	b.saveCase(c, Fact{Kind: FactSeeded, Number: c.Attempt, Of: c.Seats, Until: c.Deadline})
	draw := c.Draw()
	b.events[len(b.events)-1].Draw = &draw
}

func (b *Block) extend(c *Case, to uint64) {
	r := c.Roster()
	c.Deadline = to
	b.saveCase(c, Fact{Kind: FactCommitsLate, Seats: c.committed(r), Of: r.Judging(), Until: to})
}

// lastClaims is how many times as long as always claims stay open for a committee
// that is not all there.
const lastClaims = 4

// LastClaims is the last block at whose end the claims of the present attempt
// can be closed.
func (c *Case) LastClaims() uint64 { return c.SeededAt + lastClaims*c.Params.ClaimBlocks }

// gathered says whether nobody is waited for: the committee is large enough, and
// two thirds of the seats that the draw gives on average have come. On a busy
// machine honest claims come late, and who is always in time would judge alone.
func (c *Case) gathered() bool {
	return c.Enough() && 3*uint64(c.Roster().Total()) >= 2*uint64(c.Seats)
}

// closeClaims fixes the committee, waits for late claims, or starts the next
// attempt with a larger one (spec §6.3).
func (b *Block) closeClaims(c *Case) {
	switch {
	case c.gathered() || c.Stage == Gathering && c.Enough():
		b.startView(c, 0)
	case c.Stage == Claiming:
		b.enter(c, Gathering)
		b.saveCase(c, Fact{Kind: FactClaimsLate, Nodes: uint32(len(c.Members)), Seats: c.Roster().Total(), Of: c.Seats, Until: c.Deadline})
	case c.large():
		b.nextAttempt(c, NobodyLeft)
	default:
		b.nextAttempt(c, TooFewSeats)
	}
}

// nextAttempt asks for another committee, or gives up. It is a larger one only if there
// were too few seats: verifiers are paid one fee for all attempts, and a policy that
// lets one committee after the other come to nothing must not have ever more of them
// look.
func (b *Block) nextAttempt(c *Case, why Cause) {
	over := Fact{Kind: FactAttemptOver, Number: c.Attempt, Nodes: uint32(len(c.Members)), Seats: c.Roster().Total(), Of: c.Task.MinSeats, Cause: why}
	if c.Attempt+1 >= b.Params.MaxAttempts {
		b.note(c, over)
		b.settle(c, End{Outcome: NoCommittee})
		return
	}
	for i := range c.Passed { // nobody asks for its committee's words any more, and a case stays readable
		r := &c.Passed[i].Pre
		r.Commitments, r.Reveals, r.Evidence = nil, nil, [2][]byte{}
	}
	c.Attempt++
	if why == TooFewSeats {
		c.Seats = Larger(c.Seats)
	}
	b.callFor(c)
	b.saveCase(c, over)
}

// Larger is the expected size of the committee after one of too few seats.
func Larger(seats uint32) uint32 { return min(seats+(seats+1)/2, task.MaxSeats) }

// callFor begins an attempt, which waits for a beacon that nobody can know before
// this block is final (spec §4.2).
func (b *Block) callFor(c *Case) {
	c.Foresight, c.Began = b.group().Foresight(), b.Height
	b.enter(c, Seeding)
}

// Enough says whether the committee is large enough: the task's minimum of
// seats, and all but one of them in other hands than the executor's, or one
// large worker would be judged by next to nobody; and of as many kinds of TEE as
// the task's policy needs for a quorum.
func (c *Case) Enough() bool {
	first := c.Roster().At(0)
	return c.large() && !first.Executor.IsZero() && first.CanAgree()
}

// large says whether there are seats enough, whoever has them.
func (c *Case) large() bool {
	first := c.Roster().At(0)
	n := first.Total()
	return n >= c.Task.MinSeats && n-first.Seats(first.Executor) >= c.Task.MinSeats-1
}

// startView gives the task to the owner of the next ticket that has enough to lose.
func (b *Block) startView(c *Case, number uint32) {
	for {
		executor, ok := c.Roster().Turn(number)
		if !ok {
			b.nobodyLeft(c)
			return
		}
		c.View = View{Number: number, Executor: executor, StartedAt: b.Height}
		number++
		if b.pledge(c) {
			break
		}
		b.declined(c, task.Decline{Task: c.ID(), Attempt: c.Attempt, Node: executor, Lack: task.Lack{Reason: task.Pledged}}, number, true)
	}
	b.enter(c, Committing)
	b.saveCase(c, Fact{Kind: FactTurn, Node: c.View.Executor, Number: c.View.Number, Of: c.Roster().Judging()})
}

// passOver takes the task from an executor and gives it to the next ticket
// (spec §6.4): p is why.
func (b *Block) passOver(c *Case, p Pass) {
	b.endRound(c)
	b.unpledge(c)
	c.View.Late, c.View.Gone = nil, nil
	p.View, p.Executor, p.Height, p.Attempt, p.Pre = c.View.Number, c.View.Executor, b.Height, c.Attempt, c.View.Pre
	c.Passed = append(c.Passed, p)
	b.note(c, Fact{Kind: FactPassed, Node: p.Executor, Number: p.View, Cause: p.Why})
	b.startView(c, c.View.Number+1)
}
