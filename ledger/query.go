package ledger

import (
	"encoding/binary"
	"math"

	"github.com/prytany/prytany/beacon"
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

// Group is the beacon's key, and who holds its shares.
func (r Reader) Group() beacon.Group {
	g, _ := load[beacon.Group](r.s, []byte(keyGroup))
	return g
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

// Name is what is published under the name with this hash; zero if nothing is.
func (r Reader) Name(of task.Hash) Name {
	n, _ := load[Name](r.s, join(keyName, of[:]))
	return n
}

// Case finds a task's case.
func (r Reader) Case(id task.TaskID) (*Case, bool) {
	c, ok := load[Case](r.s, join(keyCase, id[:]))
	if ok {
		ref := r.set(c.Values)
		c.ref = &ref
	}
	return &c, ok
}

// RawCase is a task's case as it is kept: the same bytes as its encoding; nil if
// there is none.
func (r Reader) RawCase(id task.TaskID) []byte { return r.s.Get(join(keyCase, id[:])) }

// Window is a part of a list: from a position on, at most so many records, and
// none after so many bytes.
type Window struct {
	From  uint64
	Most  int
	Bytes int
}

// Whole is a list's.
var Whole = Window{Most: math.MaxInt, Bytes: math.MaxInt}

// visit calls take for what is in the window, and reads nothing behind it.
func (w Window) visit(s Store, prefix []byte, take func(key, value []byte)) {
	at, taken, bytes := uint64(0), 0, 0
	s.Ascend(prefix, func(k, value []byte) bool {
		if at++; at <= w.From {
			return true
		}
		if taken >= w.Most || bytes >= w.Bytes {
			return false
		}
		taken, bytes = taken+1, bytes+len(k)+len(value)
		take(k, value)
		return true
	})
}

// Nodes lists registered workers, by name.
func (r Reader) Nodes(w Window) []NodeRecord { return listed[NodeRecord](r.s, []byte(keyNode), w) }

// Functions lists published functions, by name.
func (r Reader) Functions(w Window) []FunctionRecord {
	return listed[FunctionRecord](r.s, []byte(keyFunction), w)
}

// Owned lists an account's tasks, oldest first.
func (r Reader) Owned(a task.Address, w Window) []task.TaskID {
	var ids []task.TaskID
	prefix := join(keyOwned, a[:])
	w.visit(r.s, prefix, func(k, _ []byte) { ids = append(ids, task.TaskID(k[len(prefix)+8:])) })
	return ids
}

// Log lists the changes of a node's or a function's record, oldest first.
func (r Reader) Log(of task.Hash, w Window) []Change {
	return listed[Change](r.s, join(keyLog, of[:]), w)
}

func listed[T any](s Store, prefix []byte, w Window) []T {
	var list []T
	w.visit(s, prefix, func(k, raw []byte) {
		v, err := task.Restore[T](raw)
		if err != nil {
			panic("ledger: corrupt state at " + string(k) + ": " + err.Error())
		}
		list = append(list, v)
	})
	return list
}

// Held adds up all money there is: balances, bonds, unbonding, the free bonds
// of functions, the escrows of open cases, and what was burned. It must equal the
// supply after every transaction (spec §10.8).
func (r Reader) Held() task.Amount {
	meta := r.Meta()
	held := meta.Burned
	for _, a := range listed[Account](r.s, []byte(keyAccount), Whole) {
		held += a.Balance
	}
	for _, n := range r.Nodes(Whole) {
		held += n.Bond
		for _, u := range n.Unbonding {
			held += u.Amount
		}
	}
	for _, f := range r.Functions(Whole) {
		held += f.Bond
	}
	for _, c := range listed[Case](r.s, []byte(keyCase), Whole) {
		if c.Phase != Closed {
			sum, _ := c.Escrow.Sum()
			held += sum
		}
	}
	return held
}
