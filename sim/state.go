package sim

import (
	"bytes"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// state is the ledger's store, and what was read of it: a record is decoded once for all
// who look at it, until it changes. Nobody changes what everybody has.
type state struct {
	*ledger.MemStore
	cases   map[task.TaskID]*ledger.Case
	nodes   map[task.NodeID]ledger.NodeRecord
	money   map[string]task.Amount // that a record holds
	held    task.Amount            // that all hold
	changed map[string]bool        // since that was added up
}

func newState() *state {
	return &state{
		MemStore: ledger.NewMemStore(), cases: map[task.TaskID]*ledger.Case{}, nodes: map[task.NodeID]ledger.NodeRecord{},
		money: map[string]task.Amount{}, changed: map[string]bool{},
	}
}

// Set implements ledger.Store.
func (s *state) Set(key, value []byte) {
	s.forget(key)
	s.changed[string(key)] = true
	s.MemStore.Set(key, value)
}

// Delete implements ledger.Store.
func (s *state) Delete(key []byte) {
	s.forget(key)
	delete(s.changed, string(key))
	s.MemStore.Delete(key)
}

func (s *state) forget(key []byte) {
	s.held -= s.money[string(key)]
	delete(s.money, string(key))
	if n := len(key) - len(task.TaskID{}); n > 0 { // keys of records end with their names
		delete(s.cases, task.TaskID(key[n:]))
		delete(s.nodes, task.NodeID(key[n:]))
	}
}

// supply adds up all money there is. That is a sum over records, so those that have not
// changed are not read again.
func (s *state) supply() task.Amount {
	for key := range s.changed { // a sum has no order
		m := ledger.Read(alone{[]byte(key), s.Get([]byte(key))}).Held()
		s.money[key] = m
		s.held += m
	}
	clear(s.changed)
	return s.held
}

// alone is a store with one record in it, which is only read.
type alone struct{ key, value []byte }

func (a alone) Get(key []byte) []byte {
	if bytes.Equal(key, a.key) {
		return a.value
	}
	return nil
}

func (a alone) Set([]byte, []byte) { panic("a record is only read") }
func (a alone) Delete([]byte)      { panic("a record is only read") }

func (a alone) Ascend(prefix []byte, visit func(key, value []byte) bool) {
	if bytes.HasPrefix(a.key, prefix) {
		visit(a.key, a.value)
	}
}

// at is a case as it is.
func (c *chain) at(id task.TaskID) (*ledger.Case, bool) {
	if k := c.store.cases[id]; k != nil && !c.w.plain {
		return k, true
	}
	k, ok := c.read().Case(id)
	if ok {
		c.store.cases[id] = k
	}
	return k, ok
}

// node is a node's record as it is.
func (c *chain) node(id task.NodeID) (ledger.NodeRecord, bool) {
	if n, ok := c.store.nodes[id]; ok && !c.w.plain {
		return n, true
	}
	n, ok := c.read().Node(id)
	if ok {
		c.store.nodes[id] = n
	}
	return n, ok
}

// held is all the money there is.
func (c *chain) held() task.Amount {
	if c.w.plain {
		return c.read().Held()
	}
	return c.store.supply()
}
