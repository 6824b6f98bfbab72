package ledger

import "github.com/prytany/prytany/task"

// maxAhead bounds how many transactions of one sender a pool may hold.
const maxAhead = 256

// Pooled is what a pool holds of one sender: transactions that follow each
// other without a gap, and that he can pay.
type Pooled struct {
	Next  uint64      // the nonce behind them
	Spent task.Amount // what they cost and send away
}

// Check refuses what could not be applied next after what the pool holds of the
// sender: another nonce, a fee or an amount that is not there, a task whose
// escrow is not. So nothing waits in a pool that will never pay. It returns
// what the pool holds with this transaction, and changes nothing.
func Check(s Store, height uint64, tx task.VerifiedTx, held Pooled) (Pooled, error) {
	b := NewBlock(s, height)
	t, fee := tx.Tx(), b.Params.Fee(tx.Size())
	acct, _ := load[Account](s, join(keyAccount, t.From[:]))
	next := max(acct.Nonce, held.Next)
	free, ok := acct.Balance.Sub(held.Spent)
	switch {
	case t.Nonce < acct.Nonce:
		return held, task.Refuse("nonce-used", "nonce %d of %s is used; the next is %d", t.Nonce, t.From.Short(), acct.Nonce)
	case t.Nonce < next:
		return held, task.Refuse("nonce-pooled", "another transaction with nonce %d of %s waits for its block", t.Nonce, t.From.Short())
	case t.Nonce > next || t.Nonce >= acct.Nonce+maxAhead:
		return held, task.Refuse("nonce-far", "nonce %d of %s is ahead of %d, which must come first", t.Nonce, t.From.Short(), next)
	case !ok || free < fee:
		acct.Balance = free
		return held, noFee(t, acct, fee)
	}
	acct.Balance = free - fee
	if t.Body.Post != nil {
		if _, _, err := b.quote(t, acct); err != nil {
			return held, err
		}
	}
	cost, ok := b.Cost(tx)
	if !ok || cost > free {
		return held, task.Refuse("no-money", "%s has %s left besides what waits for its block, %s are needed", t.From.Short(), free, cost)
	}
	return Pooled{Next: t.Nonce + 1, Spent: held.Spent + cost}, nil
}

// Cost is what a transaction takes from its sender at the most: its fee and what
// it sends, bonds or locks. It is not ok over 2^64-1, nor for a kind that is not here.
func (b *Block) Cost(tx task.VerifiedTx) (cost task.Amount, ok bool) {
	fee := b.Params.Fee(tx.Size())
	switch body := tx.Tx().Body; {
	case body.Transfer != nil:
		return task.Sum(fee, body.Transfer.Amount)
	case body.Register != nil:
		return task.Sum(fee, body.Register.Bond)
	case body.Bond != nil:
		return task.Sum(fee, body.Bond.Amount)
	case body.Publish != nil:
		return task.Sum(fee, body.Publish.Bond)
	case body.Accuse != nil:
		return task.Sum(fee, b.Params.AccusationBond)
	case body.Post != nil:
		f, _ := load[FunctionRecord](b.state, join(keyFunction, body.Post.Function[:]))
		locks, fits := Locks(*body.Post, f.Function, b.Params)
		room, fits2 := b.Params.Room(*body.Post, f.Function, b.Params.Load(b.meta.Open))
		cost, ok = task.Sum(fee, locks[0], room.Fee, room.Locked)
		return cost, ok && fits && fits2
	case body.Unbond != nil, body.Withdraw != nil, body.Claims != nil, body.Commitments != nil, body.Verdicts != nil, body.Skip != nil,
		body.Decline != nil, body.Call != nil, body.Release != nil, body.Result != nil, body.Show != nil, body.Exit != nil, body.Govern != nil:
		return fee, true
	}
	return 0, false // a pool takes no kind whose cost nobody has said
}

// Work is how many bytes must be read to apply a transaction: its own, and the
// case's that it is about, or the register's. A small one can be about a large case.
func (b *Block) Work(tx task.VerifiedTx) int64 {
	n := int64(tx.Size())
	if id, ok := about(tx.Tx().Body); ok {
		n += int64(len(b.state.Get(join(keyCase, id[:]))))
	}
	if tx.Tx().Body.Govern != nil {
		n += int64(len(b.state.Get([]byte(keyValues))))
	}
	return n
}

// about is the task whose case a transaction would change.
func about(body task.Body) (id task.TaskID, ok bool) {
	switch {
	case body.Claims != nil:
		return body.Claims.Task, true
	case body.Commitments != nil:
		return body.Commitments.Ballot.Task, true
	case body.Verdicts != nil:
		return body.Verdicts.Ballot.Task, true
	case body.Skip != nil:
		return body.Skip.Task, true
	case body.Release != nil:
		return body.Release.Task, true
	case body.Result != nil:
		return body.Result.Result.Task, true
	case body.Show != nil:
		return body.Show.Ballot.Task, true
	case body.Exit != nil:
		return body.Exit.Ballot.Task, true
	case body.Accuse != nil:
		return body.Accuse.Ballot.Task, true
	case body.Decline != nil:
		return body.Decline.Task, true
	case body.Call != nil:
		return body.Call.Ballot.Task, true
	}
	return id, false
}
