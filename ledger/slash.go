package ledger

import (
	"slices"

	"github.com/prytany/prytany/task"
)

// Cause is why something was lost: money, a turn or an attempt; and why a node's
// record changed.
type Cause uint8

// The causes of spec §10.4, with the good ones that a record counts too. Those that
// cost a bond are for what the chain has seen or computed itself, never for what
// somebody says.
const (
	Executed     Cause = 1  // a run that was settled
	Verified     Cause = 2  // a verdict that was right
	FoundFault   Cause = 3  // a FAULT that was right
	Absent       Cause = 4  // an executor that neither showed evidence in time nor declined
	Silence      Cause = 5  // one that was found good, and brought no result or no exit in time, or gave up
	NoReveal     Cause = 6  // a commitment that was never opened
	WrongPick    Cause = 7  // OK for the other place of a pair that is as it should be
	FalseOK      Cause = 8  // OK where the proof says FAULT
	FalseFault   Cause = 9  // FAULT where the proof says OK
	BadEvidence  Cause = 10 // an executor's genuine piece is not
	TwoGood      Cause = 11 // its decoy is good as well: no look would find it
	TwoPairs     Cause = 12 // it has signed two for one ballot
	UncleanExit  Cause = 13 // something was left behind, or another enclave ended than ran
	Equivocation Cause = 14 // two words of one node that exclude each other
	TwoResults   Cause = 15 // two of one enclave: a forged receipt
	Jailed       Cause = 16 // its bond was sent away
	NotShown     Cause = 17 // its machine, in time: it draws no more
	Inherited    Cause = 18 // the record of the node that had its machine before
)

// Why an executor was passed over.
const (
	FoundSilent    Cause = 32 // by a quorum of its committee
	RanOutOfTime   Cause = 33 // says its enclave
	WasAbsent      Cause = 34 // it showed no evidence in time
	WasFaulty      Cause = 35 // its evidence was
	DidNotOpen     Cause = 36 // its pair, in time
	BroughtNothing Cause = 37 // no result in time
	GaveUp         Cause = 38 // says it itself
)

// Why an attempt came to nothing.
const (
	TooFewSeats  Cause = 48
	TooFewJudged Cause = 49 // evidence that is good
	NobodyLeft   Cause = 50 // whose turn it could be, or who could be judged
)

var causeWords = task.Words{
	Executed: "executed", Verified: "verified", FoundFault: "found-fault", Absent: "absent", Silence: "silence",
	NoReveal: "no-reveal", WrongPick: "wrong-pick", FalseOK: "false-ok", FalseFault: "false-fault",
	BadEvidence: "bad-evidence", TwoGood: "two-good", TwoPairs: "two-pairs", UncleanExit: "dirty-exit",
	Equivocation: "equivocation", TwoResults: "two-results", Jailed: "jailed", NotShown: "not-shown", Inherited: "inherited",
	FoundSilent: "found-silent", RanOutOfTime: "out-of-time", WasAbsent: "showed-nothing", WasFaulty: "was-faulty",
	DidNotOpen: "did-not-open", BroughtNothing: "brought-nothing", GaveUp: "gave-up",
	TooFewSeats: "too-few-seats", TooFewJudged: "too-few-judged", NobodyLeft: "nobody-left",
}

func (c Cause) String() string { return causeWords.Of(uint8(c)) }

// MarshalText is the cause's word.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads one.
func (c *Cause) UnmarshalText(text []byte) error { return task.ReadWord(causeWords, c, text) }

// Slash is money that a node lost in a case.
type Slash struct {
	Node    task.NodeID `cbor:"1,keyasint" json:"node"`
	Cause   Cause       `cbor:"2,keyasint" json:"cause"`
	Height  uint64      `cbor:"3,keyasint" json:"height,string"`
	Amount  task.Amount `cbor:"4,keyasint" json:"amount"`
	Rewards []Payment   `cbor:"5,keyasint" json:"rewards"` // the rest was burned
	Attempt uint32      `cbor:"6,keyasint" json:"attempt"`
	View    uint32      `cbor:"7,keyasint" json:"view"`
	// Owed is what of it was burned before anybody shared, since without it the node could
	// not answer for the turns that it has (spec §10.4).
	Owed task.Amount `cbor:"8,keyasint,omitempty" json:"owed"`
}

// silent is what an executor pays that was found good and then was silent. The
// sum does not depend on what it has, and all of it is burned: nobody gains by
// another's silence, so it pays nobody to cause one (spec §10.4).
func (b *Block) silent(c *Case) {
	due := b.Params.Silence
	if c.Stage >= Computing {
		due = c.forfeit()
	}
	b.slash(c, c.View.Executor, Silence, due, nil)
	b.missed(c.View.Executor, c.ID())
}

// forfeit is what an executor loses at the least that may have had both keys, and whose
// turn ends without a result that is paid for: no less than Alice gets back by that. It
// may be her friend, who has brought her the result.
func (c *Case) forfeit() task.Amount { return max(c.Params.Silence, c.Escrow.Of(0)) }

// byLie says whether a slash ends such a turn: for what the executor's pair, its results
// or its exit turned out to be, while the case is open. When the commitments are closed
// a quorum may have told owners more than the chain knows.
func (c *Case) byLie(cause Cause) bool {
	own := slices.Contains([]Cause{BadEvidence, TwoGood, TwoPairs, UncleanExit, TwoResults}, cause)
	return own && c.View.Pre.Progress > Collecting && c.Phase < Closed
}

// share is a part of the reward for finding a fault.
type share struct {
	node    task.NodeID  // zero for an accuser who is no verifier
	account task.Address // who is paid
	weight  uint64
}

// take cuts up to want from what a node has at stake: what is on its way out
// of the bond as well, so leaving saves nobody.
func (b *Block) take(id task.NodeID, want task.Amount) task.Amount {
	n, ok := load[NodeRecord](b.state, join(keyNode, id[:]))
	if !ok {
		return 0
	}
	bonded := min(want, n.Bond)
	n.Bond -= bonded
	cut := bonded
	for i := range n.Unbonding {
		part := min(want-cut, n.Unbonding[i].Amount)
		n.Unbonding[i].Amount -= part
		cut += part
	}
	if bonded > 0 {
		b.restake(&n)
	}
	save(b.state, join(keyNode, id[:]), n)
	return cut
}

// atStake is all that a node can lose.
func (b *Block) atStake(id task.NodeID) task.Amount {
	n, _ := load[NodeRecord](b.state, join(keyNode, id[:]))
	all := n.Bond
	for _, u := range n.Unbonding {
		all += u.Amount
	}
	return all
}

// slash takes from a node's bond. Half, rounded up, is burned, so that nobody
// gains by accusing himself; the other half is shared by the finders, and
// burned as well if there is none (spec §10.4). Of a lie that ends an executor's turn
// the forfeit is burned first, whoever has found it: Alice may accuse her friend. And of
// every slash what the node's present turns could cost it: by two words of her friend in
// a stranger's task Alice would be paid what his silence in hers is to cost.
func (b *Block) slash(c *Case, id task.NodeID, cause Cause, want task.Amount, finders []share) {
	var first task.Amount // is burned
	if c.byLie(cause) {
		first = c.forfeit()
	}
	cut := b.take(id, max(want, first))
	s := Slash{Node: id, Cause: cause, Height: b.Height, Amount: cut, Attempt: c.Attempt, View: c.View.Number}
	if len(finders) > 0 {
		n, _ := load[NodeRecord](b.state, join(keyNode, id[:]))
		s.Owed = min(cut, n.Pledged-min(n.Pledged, b.atStake(id)))
		first = max(first, s.Owed)
	}
	s.Rewards = b.reward(c, min(cut/2, cut-min(cut, first)), finders, WhyFinder)
	b.meta.Burned += cut - total(s.Rewards)
	c.Slashes = append(c.Slashes, s)
	b.note(c, Fact{Kind: FactSlashed, Node: id, Amount: cut, Cause: cause})
	b.logNode(id, c.ID(), cause, cut)
}

func total(payments []Payment) (sum task.Amount) {
	for _, p := range payments {
		sum += p.Amount
	}
	return sum
}

// reward shares money by weight and pays it. What does not divide is not paid.
func (b *Block) reward(c *Case, money task.Amount, finders []share, why Due) (paid []Payment) {
	var all uint64
	for _, f := range finders {
		all += f.weight
	}
	for _, f := range finders {
		part, _ := money.MulDiv(f.weight, all)
		if part == 0 {
			continue
		}
		b.credit(f.account, part)
		paid = append(paid, Payment{To: f.account, Node: f.node, Amount: part, Why: why})
	}
	return paid
}

// jail sends a node's whole bond away: it draws no more, its money waits out
// all disputes like any other withdrawal, and only then may it come back.
func (b *Block) jail(id task.NodeID, t task.TaskID) {
	key := join(keyNode, id[:])
	n, ok := load[NodeRecord](b.state, key)
	if !ok || n.JailedUntil > b.Height {
		return
	}
	n.JailedUntil = b.Height + max(b.Params.JailBlocks, 1)
	n.Misses = 0
	if n.Bond > 0 {
		b.sendBack(&n)
	}
	b.unstake(&n)
	save(b.state, key, n)
	b.logNode(id, t, Jailed, 0)
}

// wrongWord is what a wrong or a missing word adds to a node's count, from which a
// right one takes one: who guesses is jailed soon, an honest error is forgotten.
const wrongWord = 4

// missed counts a wrong or a missing word, and jails whoever has had enough of
// them.
func (b *Block) missed(id task.NodeID, t task.TaskID) {
	key := join(keyNode, id[:])
	n, ok := load[NodeRecord](b.state, key)
	if !ok {
		return
	}
	n.Misses += wrongWord
	save(b.state, key, n)
	if n.Misses >= b.Params.JailMisses {
		b.jail(id, t)
	}
}

// right takes one from a node's count.
func (b *Block) right(id task.NodeID) {
	key := join(keyNode, id[:])
	if n, ok := load[NodeRecord](b.state, key); ok && n.Misses > 0 {
		n.Misses--
		save(b.state, key, n)
	}
}

// share of a member in a reward.
func (c *Case) share(id task.NodeID) share {
	m := c.Member(id)
	return share{node: id, account: m.Node.Operator, weight: uint64(m.Seats)}
}

// slashed says whether a node has paid for something in this view already.
func (c *Case) slashed(id task.NodeID, causes ...Cause) bool {
	return slices.ContainsFunc(c.Slashes, func(s Slash) bool {
		return s.Node == id && s.Attempt == c.Attempt && s.View == c.View.Number && slices.Contains(causes, s.Cause)
	})
}
