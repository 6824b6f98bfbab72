package ledger

import (
	"encoding/binary"

	"github.com/prytany/prytany/task"
)

const (
	keyChip   = "a/chip/"
	keyUnbond = "p/unbond/"
	keyLog    = "p/log/"
)

func unbondKey(height uint64, id task.NodeID) []byte {
	return join(keyUnbond, task.U64(height), id[:])
}

func heightIn(key []byte, prefix string) uint64 {
	return binary.BigEndian.Uint64(key[len(prefix):])
}

// Reader reads a state; it never changes it.
type Reader struct{ s Store }

// Read opens a state for reading.
func Read(s Store) Reader { return Reader{s} }

// Params are the chain's.
func (r Reader) Params() Params {
	p, _ := load[Params](r.s, []byte(keyParams))
	return p
}

// Meta is the ledger's own record.
func (r Reader) Meta() Meta {
	m, _ := load[Meta](r.s, []byte(keyMeta))
	return m
}

// Account is zero for an address that was never paid.
func (r Reader) Account(a task.Address) Account {
	acct, _ := load[Account](r.s, join(keyAccount, a[:]))
	return acct
}

// Node finds a registered worker.
func (r Reader) Node(id task.NodeID) (NodeRecord, bool) {
	return load[NodeRecord](r.s, join(keyNode, id[:]))
}

// Function finds a published function.
func (r Reader) Function(id task.FunctionID) (FunctionRecord, bool) {
	return load[FunctionRecord](r.s, join(keyFunction, id[:]))
}

// Case finds a task's case.
func (r Reader) Case(id task.TaskID) (*Case, bool) {
	c, ok := load[Case](r.s, join(keyCase, id[:]))
	return &c, ok
}

// Nodes lists all registered workers, by name.
func (r Reader) Nodes() []NodeRecord { return all[NodeRecord](r.s, keyNode) }

// Functions lists all published functions, by name.
func (r Reader) Functions() []FunctionRecord { return all[FunctionRecord](r.s, keyFunction) }

// Owned lists an account's tasks, oldest first.
func (r Reader) Owned(a task.Address) []task.TaskID {
	var ids []task.TaskID
	prefix := join(keyOwned, a[:])
	r.s.Ascend(prefix, func(k, _ []byte) bool {
		ids = append(ids, task.TaskID(k[len(prefix)+8:]))
		return true
	})
	return ids
}

// Log lists the changes of a node's or a function's record, oldest first.
func (r Reader) Log(of task.Hash) []Change { return all[Change](r.s, string(join(keyLog, of[:]))) }

func all[T any](s Store, prefix string) []T {
	var list []T
	s.Ascend([]byte(prefix), func(k, raw []byte) bool {
		v, err := task.Decode[T](raw, len(raw))
		if err != nil {
			panic("ledger: corrupt state at " + string(k) + ": " + err.Error())
		}
		list = append(list, v)
		return true
	})
	return list
}

// Held adds up all money there is: balances, bonds, unbonding, the free bonds
// of functions, the escrows of open cases, the pool, and what was burned. It must equal
// the supply after every transaction (spec §10.8).
func (r Reader) Held() task.Amount {
	meta := r.Meta()
	held := meta.Burned + meta.Pool
	for _, a := range all[Account](r.s, keyAccount) {
		held += a.Balance
	}
	for _, n := range r.Nodes() {
		held += n.Bond
		for _, u := range n.Unbonding {
			held += u.Amount
		}
	}
	for _, f := range r.Functions() {
		held += f.Bond
	}
	for _, c := range all[Case](r.s, keyCase) {
		if c.Phase != Closed {
			held += c.Escrow.Alice + c.Escrow.Bob + c.Escrow.Pot
		}
	}
	return held
}
