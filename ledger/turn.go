package ledger

import (
	"slices"

	"github.com/prytany/prytany/roster"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// This file is whose turn it is to execute, and how a turn ends without a result
// (spec §6.4, §6.6).
//
// Words alone cost nobody anything. A member that cannot execute says so, and
// loses its turn. A quorum that finds an executor silent takes its turn, and no
// more. What costs money is what the chain has seen itself: no evidence in time
// and no decline either, or silence after the evidence was found good. Since
// evidence says that the executor has all files, that silence is nobody else's.

// Declined is a member that executes no more in the present attempt.
type Declined struct {
	Decline task.Decline `cbor:"1,keyasint" json:"decline"`
	Height  uint64       `cbor:"2,keyasint" json:"height,string"`
	From    uint32       `cbor:"3,keyasint" json:"from"` // the first view that it counts for
	Turn    bool         `cbor:"4,keyasint" json:"turn"` // it was its turn: only then it has tried
}

// MaxTurns bounds the turns of one attempt, those that are declined among them: a
// bond must outlast them (spec §3.3).
const MaxTurns = 32

// enoughWithheld is how many members must have missed a file in their turns for
// its owner to be blamed, if they do not hold most of the tickets.
const enoughWithheld = 8

// fetchBlocks is how long an executor may take to fetch the task's files.
func (c *Case) fetchBlocks() uint64 {
	return c.Params.fetch(c.Task.DataSize() + c.Function.Size())
}

// DeclineBy is the last block in which the present executor may decline.
func (c *Case) DeclineBy() uint64 { return c.View.StartedAt + c.DeclineTime() }

// DeclineTime is how many blocks an executor has to decline.
func (c *Case) DeclineTime() uint64 { return c.Params.DeclineBlocks + c.fetchBlocks() }

// GiveUpAt is the block with which an executor that lacks something has waited long
// enough: its decline still comes in time. It is a block and no time of day, so a
// slow chain on a busy machine leaves owners as much time as a fast one.
func (c *Case) GiveUpAt() uint64 { return c.DeclineBy() - c.Params.DeclineBlocks/4 }

// AttestBy is the block at whose end an executor that has shown nothing is absent.
func (c *Case) AttestBy() uint64 {
	return c.View.StartedAt + c.Params.AttestBlocks + c.fetchBlocks()
}

// HasShown says whether evidence of the present executor is on the chain, or a
// quorum has committed to a word about some: or an executor whose evidence is
// found faulty would leave its turn before that is on the chain.
func (c *Case) HasShown() bool {
	return c.View.Pre.HasPair() || c.View.Pre.Progress != Collecting
}

// decline takes a member out of the order of executors. If it was its turn, the
// next view begins at once.
func (b *Block) decline(d task.Decline) error {
	c, err := b.open(d.Task, d.Attempt)
	if err != nil {
		return err
	}
	if d.Reason == task.Gone {
		return b.giveUp(c, d)
	}
	r := c.Roster()
	m, in := r.Member(d.Node)
	turn := c.Phase >= Attesting && d.Node == r.Executor
	switch {
	case !in || int(d.Party) >= len(c.Parties()):
		return task.Refuse("decline-malformed", "node %s is no member of this committee, or party %d none of the task", d.Node.Short(), d.Party)
	case len(m.Tickets()) == 0 || c.Phase >= Attesting && !r.Judges(d.Node) && !turn,
		slices.ContainsFunc(c.Declined, func(o Declined) bool { return o.Decline.Node == d.Node }):
		return task.Refuse("nothing-new", "node %s executes nothing in this attempt anyway", d.Node.Short())
	case c.Phase < Electing || c.Phase > Running:
		return task.Refuse("decline-late", "no executor is looked for in phase %s", c.Phase)
	case turn && (c.HasShown() || c.Phase != Attesting || b.Height > c.DeclineBy()):
		return task.Refuse("decline-late", "the executor has shown evidence, which says that it has the files; or its time to decline was over with block %d", c.DeclineBy())
	}
	if err := d.Check(c.Member(d.Node).Node.Peer); err != nil {
		return err
	}
	from := uint32(0)
	if c.Phase > Electing {
		from = c.View.Number + 1
	}
	b.declined(c, d, from, turn)
	if !turn {
		return nil
	}
	if o, ok := c.Withheld(); ok {
		b.settle(c, o)
		return nil
	}
	b.unpledge(c)
	b.startView(c, c.View.Number+1)
	return nil
}

// declined notes that a member executes no more from a view on.
func (b *Block) declined(c *Case, d task.Decline, from uint32, turn bool) {
	c.Declined = append(c.Declined, Declined{Decline: d, Height: b.Height, From: from, Turn: turn})
	b.saveCase(c, Fact{Kind: FactDeclined, Node: d.Node, Reason: d.Reason, Party: d.Party})
}

// pledge sets aside, of the present executor's bond, what its silence would cost; or
// says that its other turns leave too little. An executor pays at most what it has: one
// that could take more turns would be silent in all, for the price of some. What is on
// its way out of the bond may be gone before the turn is over, and does not count.
func (b *Block) pledge(c *Case) bool {
	key := join(keyNode, c.View.Executor[:])
	n, _ := load[NodeRecord](b.state, key)
	all, ok := n.Pledged.Add(c.forfeit())
	if !ok || all > n.Bond {
		return false
	}
	n.Pledged = all
	save(b.state, key, n)
	return true
}

// unpledge gives that free when the turn is over.
func (b *Block) unpledge(c *Case) {
	key := join(keyNode, c.View.Executor[:])
	n, _ := load[NodeRecord](b.state, key)
	n.Pledged -= c.forfeit()
	save(b.state, key, n)
}

// giveUp ends the turn of an executor that says its enclave is gone. It pays what its
// silence would have cost at the deadline, which may be hours away: so it gains
// nothing but an end, and nobody waits for a run that nobody does. The chain takes
// its own word alone, since others cannot know, and would rob it (spec §6.4.9).
func (b *Block) giveUp(c *Case, d task.Decline) error {
	m := c.Member(d.Node)
	switch {
	case m == nil || d.Node != c.View.Executor:
		return task.Refuse("decline-malformed", "node %s does not execute the task now, and has nothing to give up", d.Node.Short())
	case c.Stage < Computing:
		return task.Refuse("decline-early", "an executor gives up when its enclave is found good and its result is due: else nobody waits long for it")
	case c.Stage != Computing:
		return task.Refuse("decline-late", "no result is awaited in phase %s", c.Phase)
	}
	if err := d.Check(m.Node.Peer); err != nil {
		return err
	}
	c.View.Gone = &d
	b.endTurn(c)
	return nil
}

// Withheld says whether a party is to blame for a file that does not come: most
// of the tickets of those who could execute, and more than one hand, or so many
// members that they are not all liars, had their turn and missed it (spec §6.4.6).
func (c *Case) Withheld() (End, bool) {
	var able uint32
	r := c.Roster()
	for _, m := range r.Members {
		if m.Able {
			able += m.Seats
		}
	}
	for i := range c.Parties() {
		lack := task.Lack{Reason: task.NoFile, Party: uint8(i)}
		var seats, nodes uint32
		for _, d := range c.Declined {
			if d.Turn && d.Decline.Lack == lack {
				seats, nodes = seats+r.Seats(d.Decline.Node), nodes+1
			}
		}
		if nodes >= enoughWithheld || nodes > 1 && 2*seats > able {
			return c.withheld(uint8(i)), true
		}
	}
	return End{}, false
}

// nobodyLeft ends an attempt that has nobody whose turn it could be. Members that
// were busy may not be tomorrow: they are no failure, and another committee may
// find others.
func (b *Block) nobodyLeft(c *Case) {
	if c.Spent() {
		b.nextAttempt(c, NobodyLeft)
		return
	}
	b.settle(c, End{Outcome: c.Failure()})
}

// Spent says whether an attempt has come to nothing for want of members that
// would execute, and not by those who did.
func (c *Case) Spent() bool {
	r := c.Roster()
	busy := slices.ContainsFunc(r.Members, func(m roster.Member) bool { return m.Able && m.Busy })
	next := r.At(r.View + 1)
	unjudged := !next.Executor.IsZero() && next.Judging() > 0 && !next.CanAgree() // others are left, of too few kinds or operators
	return (busy || unjudged || len(c.Declined) > 0) && r.Passed(MaxTurns) < c.Params.MaxViews
}

// Failure is the outcome of a case whose executors have all failed.
func (c *Case) Failure() Outcome {
	last := slices.DeleteFunc(slices.Clone(c.Passed), func(p Pass) bool { return p.Attempt != c.Attempt })
	if len(last) > 0 && !slices.ContainsFunc(last, func(p Pass) bool { return p.Why != RanOutOfTime }) {
		return AllOutOfTime
	}
	return ExecutorsFailed
}

// skip passes over a silent executor on the word of n−f seats. That is a word and
// no proof: so it counts late, only of one that has shown nothing, and slashes
// nobody (spec §6.6).
func (b *Block) skip(t task.Skip) error {
	c, err := b.open(t.Task, t.Attempt)
	if err != nil {
		return err
	}
	switch {
	case c.Phase != Attesting || t.View != c.View.Number+1:
		return task.Refuse("skip-stale", "the view is %d in phase %s", c.View.Number, c.Phase)
	case c.HasShown():
		return task.Refuse("skip-stale", "the executor is not silent: its evidence is on the chain")
	case b.Height < c.SkipFrom():
		return task.Refuse("skip-early", "the executor has until block %d before its committee can end its turn", c.SkipFrom())
	}
	if err := c.CheckSkip(t); err != nil {
		return err
	}
	b.passOver(c, Pass{Why: FoundSilent})
	return nil
}

// SkipFrom is the first block in which a quorum's word ends the present turn.
func (c *Case) SkipFrom() uint64 { return c.View.StartedAt + c.Params.SkipBlocks }

// CheckSkip verifies that n−f seats have found the executor before this view
// silent.
func (c *Case) CheckSkip(t task.Skip) error {
	var seats uint32
	seen := once{}
	for _, s := range t.Votes {
		m, v := c.Member(s.Vote.Node), s.Vote
		if m == nil || v.Task != t.Task || v.Attempt != t.Attempt || v.View != t.View || !seen.first(v.Node) {
			continue
		}
		if s.Signature.Verify(m.Node.Peer, v.Hash()) {
			seats += m.Seats
		}
	}
	if n := c.Roster().Total(); seats < sortition.Quorum(n) {
		return task.Refuse("skip-weak", "%d of %d seats have gone on, a quorum is %d", seats, n, sortition.Quorum(n))
	}
	return nil
}
