package ledger

import (
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// Account is money that its owner can spend, and the number of the next
// transaction it signs.
type Account struct {
	Balance task.Amount `cbor:"1,keyasint" json:"balance"`
	Nonce   uint64      `cbor:"2,keyasint" json:"nonce,string"`
}

// NodeRecord is a registered worker.
type NodeRecord struct {
	Node      task.Node   `cbor:"1,keyasint" json:"node"`
	Bond      task.Amount `cbor:"2,keyasint" json:"bond"`
	Stakes    []Stake     `cbor:"3,keyasint" json:"stakes"`
	Unbonding []Unbonding `cbor:"4,keyasint" json:"unbonding"`
	// JailedUntil is the height from which a node that was sent away may be
	// bonded again; Misses is its count of wrong words since (spec §10.4).
	JailedUntil uint64             `cbor:"5,keyasint" json:"jailed_until,string"`
	Misses      uint64             `cbor:"6,keyasint" json:"misses,string"`
	Counts      task.Counts[Cause] `cbor:"7,keyasint" json:"counts"` // by cause (spec §10.9)
	Lost        task.Amount        `cbor:"8,keyasint" json:"lost"`   // of its bond, so far
	Profile     attest.Profile     `cbor:"9,keyasint" json:"profile"`
	Class       attest.Profile     `cbor:"10,keyasint" json:"class"` // under which its stake is counted by policies
	// Renew is the height at which it must have shown its machine again, 0 for
	// never more; Lapsed says that it has not, and is out of the draw.
	Renew  uint64      `cbor:"11,keyasint" json:"renew,string"`
	Lapsed bool        `cbor:"12,keyasint" json:"lapsed"`
	Before task.NodeID `cbor:"13,keyasint" json:"before"` // whose machine and record it took over; zero for nobody's
	// Pledged is what its silence would cost in all turns that it has now (spec §6.4.11).
	Pledged task.Amount `cbor:"14,keyasint" json:"pledged"`
}

// Stake says what counts in the draw from an epoch on.
type Stake struct {
	Epoch  uint64      `cbor:"1,keyasint" json:"epoch,string"`
	Amount task.Amount `cbor:"2,keyasint" json:"amount"`
}

// Unbonding is money on its way back to the operator.
type Unbonding struct {
	Height uint64      `cbor:"1,keyasint" json:"height,string"`
	Amount task.Amount `cbor:"2,keyasint" json:"amount"`
}

// activationEpochs is how many epoch boundaries a change of stake waits for:
// two, so that at least one whole epoch lies between (spec §3.2).
const activationEpochs = 2

// StakeAt is what counts of the node's bond in a snapshot.
func (n NodeRecord) StakeAt(epoch uint64) task.Amount {
	var a task.Amount
	for _, s := range n.Stakes {
		if s.Epoch <= epoch {
			a = s.Amount
		}
	}
	return a
}

// setStake lets an amount count from a later epoch on and forgets what no open
// draw can ask for any more.
func (n *NodeRecord) setStake(now uint64, amount task.Amount) {
	from := now + activationEpochs
	n.Stakes = slices.DeleteFunc(n.Stakes, func(s Stake) bool { return s.Epoch == from })
	n.Stakes = append(n.Stakes, Stake{Epoch: from, Amount: amount})
	for len(n.Stakes) > 1 && n.Stakes[1].Epoch+activationEpochs <= now {
		n.Stakes = n.Stakes[1:]
	}
}

// FunctionRecord is a published function and the bond behind its promise to
// release keys.
type FunctionRecord struct {
	Function task.Function `cbor:"1,keyasint" json:"function"`
	Bond     task.Amount   `cbor:"2,keyasint" json:"bond"` // free of any open task's lock
	Height   uint64        `cbor:"3,keyasint" json:"height,string"`
	// Counts are its tasks by outcome; of those that failed, some are ShortOfGas.
	Counts task.Counts[Outcome] `cbor:"4,keyasint" json:"counts"`
}

// Name is what is published under a name. Anyone may take a name, so a reader must
// know when it means more than one function.
type Name struct {
	Functions uint64          `cbor:"1,keyasint" json:"functions,string"` // of this name, by whomever
	Last      task.FunctionID `cbor:"2,keyasint" json:"last"`
}

// Success is the share of a function's runs that ended well, in parts per
// million of those whose end says something about it, and their number. One that
// was short of gas says nothing.
func (f FunctionRecord) Success() (ppm, runs uint64) {
	good := f.Counts[Completed]
	runs = good + f.Counts[FunctionFailed] + f.Counts[CodeOwnerSilent] + f.Counts[CodeWithheld]
	if runs == 0 {
		return 0, 0
	}
	return good * million / runs, runs
}

// Change is one line of a record: what happened, in which task.
type Change struct {
	Height uint64      `cbor:"1,keyasint" json:"height,string"`
	Task   task.TaskID `cbor:"2,keyasint" json:"task"`
	Cause  Cause       `cbor:"3,keyasint,omitzero" json:"cause,omitzero"` // of a node's record
	Lost   task.Amount `cbor:"4,keyasint,omitzero" json:"lost,omitzero"`
	// Outcome is what a function's record counts the task as.
	Outcome Outcome `cbor:"5,keyasint,omitzero" json:"outcome,omitzero"`
}

// logNode changes a node's record, and keeps why.
func (b *Block) logNode(id task.NodeID, t task.TaskID, cause Cause, lost task.Amount) {
	key := join(keyNode, id[:])
	n, ok := load[NodeRecord](b.state, key)
	if !ok {
		return
	}
	if n.Counts == nil {
		n.Counts = map[Cause]uint64{}
	}
	n.Counts[cause]++
	n.Lost += lost
	save(b.state, key, n)
	b.logChange(task.Hash(id), Change{Height: b.Height, Task: t, Cause: cause, Lost: lost})
}

// logFunction counts a task of a function by its outcome.
func (b *Block) logFunction(c *Case, o Outcome) {
	id := c.Task.Function
	m := c.Function.Manifest
	if limit := m.RunGas(c.Task); o == FunctionFailed && limit < m.Limits.Gas && c.View.Result.Result.Gas == limit {
		o = ShortOfGas
	}
	key := join(keyFunction, id[:])
	f, _ := load[FunctionRecord](b.state, key)
	if f.Counts == nil {
		f.Counts = map[Outcome]uint64{}
	}
	f.Counts[o]++
	save(b.state, key, f)
	b.logChange(task.Hash(id), Change{Height: b.Height, Task: c.ID(), Outcome: o})
}

func (b *Block) logChange(of task.Hash, what Change) {
	b.meta.Logged++
	save(b.state, join(keyLog, of[:], task.U64(b.meta.Logged)), what)
}

// Meta is what the ledger keeps of itself.
type Meta struct {
	Supply task.Amount `cbor:"1,keyasint" json:"supply"`
	Burned task.Amount `cbor:"2,keyasint" json:"burned"`
	Open   uint64      `cbor:"3,keyasint" json:"open,string"` // cases not yet closed
	Stakes StakeLine   `cbor:"4,keyasint" json:"stakes"`
	Logged uint64      `cbor:"5,keyasint" json:"logged,string"`
}

// TotalStake is W: all stake that counts in an epoch's snapshot.
func (m Meta) TotalStake(epoch uint64) task.Amount { return m.Stakes.At(epoch) }
