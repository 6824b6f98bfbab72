package ledger

import (
	"fmt"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// This file is how claims come into a block (spec §6.3.1). A winner's claim travels
// alone, as nobody's transaction, and waits in the pool. Whoever proposes a block puts
// all that wait together, by attempt, in as few transactions as may be. What one leaves
// out the next one finds in the pool.

// ErrClaimsTogether refuses a pool several claims in one: a true one must not bring false
// ones along.
var ErrClaimsTogether = task.Refuse("claims-many", "a claim without a sender comes alone; who proposes a block puts them together")

// CheckFree refuses a pool claims that would not count in the next block.
func CheckFree(s Store, height uint64, tx task.VerifiedTx, seen Seen) error {
	t := tx.Tx()
	if len(t.Body.Claims.Won) != 1 {
		return ErrClaimsTogether
	}
	b := NewBlock(s, height)
	b.Remember(seen)
	b.state = newOverlay(b.state)
	return b.claims(t.Body.Claims.All(), true)
}

// mostPacked is how many claims one transaction holds: so many are below task.MaxTx,
// however large each of them is. A larger one could be read by nobody.
const mostPacked = 256

// Pack puts waiting claims together, as far as they count in this block: sets of one
// attempt each, none of more than mostPacked. Those that say *busy* come first, since
// whoever passes a claim on can cut that word off; then in the order of arrival. The block is not to be used for another purpose.
func (b *Block) Pack(waiting []task.Claims) []task.Claims {
	type attempt struct {
		id     task.TaskID
		number uint32
	}
	var packs []task.Claims
	at := map[attempt]int{}
	var won []task.Claim
	for _, c := range waiting {
		won = append(won, c.All()...)
	}
	for _, busy := range []bool{true, false} {
		for _, k := range won {
			if (k.Busy != nil) != busy || b.claims([]task.Claim{k}, true) != nil {
				continue
			}
			of := attempt{k.Task, k.Attempt}
			i, ok := at[of]
			if !ok || len(packs[i].Won) == mostPacked {
				i, at[of] = len(packs), len(packs)
				packs = append(packs, task.Claims{Task: k.Task, Attempt: k.Attempt})
			}
			packs[i].Won = append(packs[i].Won, task.PackClaims([]task.Claim{k}).Won...)
		}
	}
	return packs
}

// CheckProposal says whether an honest validator takes a proposal of these transactions,
// in their order: claims without a sender come first, and nobody pays for them, so
// nothing in them may be idle. The block is not to be used for another purpose.
func (b *Block) CheckProposal(txs []task.VerifiedTx) error {
	signed := false
	for i, tx := range txs {
		if !tx.Tx().Free() {
			signed = true
			continue
		}
		if signed {
			return fmt.Errorf("transaction %d: claims without a sender come first", i)
		}
		if err := b.Apply(tx); err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	return nil
}

// Seen remembers claims that were verified, by the hash of all that was asked, since
// each comes by four times: into the pool, into a proposal, out of one, and into the
// state. A validator's blocks share one, so whoever implements it serialises its use.
// It remembers what a pure function has said, so it changes nothing, and may forget.
type Seen interface {
	Get(asked task.Hash) (Member, bool)
	Put(asked task.Hash, said Member)
}

// Remember lets the block share what was verified before.
func (b *Block) Remember(s Seen) { b.seen = s }

// admit is Case.Admit, once for each claim.
func (b *Block) admit(c *Case, n task.Node, p attest.Profile, stake task.Amount, k task.Claim) (Member, error) {
	if b.seen == nil {
		return c.Admit(n, p, stake, k)
	}
	values := c.Values
	seed := c.Seed()
	name := task.H(task.TagSeed, seed[:], values[:], task.Encode(n), task.Encode(p), task.U64(uint64(stake)), task.U64(uint64(c.TotalStake)), task.U64(uint64(c.Seats)), task.Encode(k))
	if m, ok := b.seen.Get(name); ok {
		return m, nil
	}
	m, err := c.Admit(n, p, stake, k)
	if err == nil {
		b.seen.Put(name, m)
	}
	return m, err
}
