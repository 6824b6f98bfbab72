package chain

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cosmos/iavl"
	iavldb "github.com/cosmos/iavl/db"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

const (
	// plainSpace goes before every plain key in the database. The tree's own
	// keys begin with small letters.
	plainSpace = "P"

	cacheNodes   = 100_000 // of the tree that is written
	readerNodes  = 20_000  // of the tree that queries read
	keepVersions = 1000    // heights for which the state can still be proven
	pruneEvery   = 16      // blocks; the work of pruning is spread
)

// store is the ledger's state on disk: authenticated keys in a Merkle tree
// (iavl) whose root is the app hash, all others beside it in the same database.
//
// A block's changes stay in memory until Commit writes all of them, tree nodes
// and plain keys, in one database batch. A batch is written whole or not at
// all, so a process that is killed at any write wakes up with the state after
// some whole block, and the consensus engine replays what is missing.
//
// One goroutine executes blocks: Get, Set, Delete, Ascend, Hash and Commit are
// its own, and see the changes of the block so far. Everybody else reads the
// last committed block through View.
type store struct {
	db    dbm.DB
	tree  *iavl.MutableTree
	plain map[string][]byte // changes of this block; nil: deleted
	keep  int64             // versions

	// readers has node caches of its own: iavl clears fields of shared nodes
	// while it writes.
	readers *iavl.MutableTree

	mu   sync.RWMutex // held for writing while a block becomes visible
	last view
}

// openStore opens the state, or an empty one at height 0. The caller closes db
// after the last use of the store.
func openStore(db dbm.DB) (*store, error) {
	s := &store{db: db, plain: map[string][]byte{}, keep: keepVersions}
	s.tree = iavl.NewMutableTree(treeDB{db, s}, cacheNodes, true, iavl.NewNopLogger(), iavl.FlushThresholdOption(math.MaxInt))
	s.readers = iavl.NewMutableTree(treeDB{db, nil}, readerNodes, true, iavl.NewNopLogger())
	version, err := s.tree.Load()
	if err != nil {
		return nil, fmt.Errorf("chain: open the state: %w", err)
	}
	return s, s.show(version)
}

// show lets readers see a version.
func (s *store) show(version int64) error {
	if version == 0 {
		s.last = view{db: s.db}
		return nil
	}
	tree, err := s.readers.GetImmutable(version)
	if err != nil {
		return fmt.Errorf("chain: read the state of height %d: %w", version, err)
	}
	s.last = view{height: uint64(version), tree: tree, db: s.db}
	return nil
}

// Height is the last committed block's, 0 before the first.
func (s *store) Height() uint64 { return uint64(s.tree.Version()) }

// Hash is the app hash of the state with the changes so far.
func (s *store) Hash() []byte { return s.tree.WorkingHash() }

// root is the app hash of the last committed state, nil before the first.
func (s *store) root() (hash []byte, height uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.last.tree != nil {
		hash = s.last.tree.Hash()
	}
	return hash, s.last.height
}

// Commit makes the changes so far durable as the state after the next height.
// It panics if it cannot: the state on disk is then still the one before.
func (s *store) Commit() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, version, err := s.tree.SaveVersion()
	must(err)
	clear(s.plain)
	must(s.show(version))
	return uint64(version)
}

// Prune forgets old versions of the tree, now and then. It may run at any time
// on the executing goroutine.
func (s *store) Prune() error {
	version := s.tree.Version()
	if version <= s.keep || version%pruneEvery != 0 {
		return nil
	}
	return s.tree.DeleteVersionsTo(version - s.keep)
}

// Get implements ledger.Store.
func (s *store) Get(key []byte) []byte {
	if ledger.Authenticated(key) {
		v, err := s.tree.Get(key)
		must(err)
		return v
	}
	if v, ok := s.plain[string(key)]; ok {
		return v
	}
	return getPlain(s.db, key)
}

// Set implements ledger.Store. Writing what is there already changes nothing:
// a leaf of the tree would else get a new version, hence a new app hash, and a
// chain whose app hash moves never rests (spec §1.5).
func (s *store) Set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	if old := s.Get(key); old != nil && bytes.Equal(old, value) {
		return
	}
	if !ledger.Authenticated(key) {
		s.plain[string(key)] = slices.Clone(value)
		return
	}
	_, err := s.tree.Set(slices.Clone(key), slices.Clone(value))
	must(err)
}

// Delete implements ledger.Store.
func (s *store) Delete(key []byte) {
	if !ledger.Authenticated(key) {
		s.plain[string(key)] = nil
		return
	}
	_, _, err := s.tree.Remove(key)
	must(err)
}

// Ascend implements ledger.Store.
func (s *store) Ascend(prefix []byte, visit func(key, value []byte) bool) {
	if ledger.Authenticated(prefix) {
		ascendTree(s.tree.ImmutableTree, prefix, visit)
		return
	}
	list := plainPairs(s.db, prefix)
	for k, v := range s.plain {
		if !strings.HasPrefix(k, string(prefix)) {
			continue
		}
		i, found := slices.BinarySearchFunc(list, k, func(p pair, k string) int { return strings.Compare(string(p.key), k) })
		switch {
		case found && v == nil:
			list = slices.Delete(list, i, i+1)
		case found:
			list[i].value = v
		case v != nil:
			list = slices.Insert(list, i, pair{[]byte(k), v})
		}
	}
	visitPairs(list, visit)
}

// View lets f read the state after the last committed block. What f sees does
// not change while it runs, and the next block waits for it to end: f must be
// short and must not call Commit. The store that it gets panics on writes.
//
// A state that cannot be read is an error here, since only readers suffer.
func (s *store) View(f func(height uint64, at ledger.Store) error) (err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	defer readError(&err)
	return f(s.last.height, s.last)
}

// at is the state after a committed block, 0 for the last one, if its version
// of the tree is still kept. Plain keys are always the last block's.
func (s *store) at(height uint64) (view, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.last.tree == nil {
		return view{}, errStarting
	}
	if height == 0 || height == s.last.height {
		return s.last, nil
	}
	tree, err := s.readers.GetImmutable(int64(height))
	if err != nil {
		return view{}, task.Refuse("no-height", "the state of height %d is not kept here", height)
	}
	return view{height: height, tree: tree, db: s.db}, nil
}

// view is the state after a committed block.
type view struct {
	height uint64
	tree   *iavl.ImmutableTree // nil at height 0
	db     dbm.DB
}

func (v view) Get(key []byte) []byte {
	if !ledger.Authenticated(key) {
		return getPlain(v.db, key)
	}
	if v.tree == nil {
		return nil
	}
	value, err := v.tree.Get(key)
	must(err)
	return value
}

// prove gives an authenticated key's value and its ics23 proof; a key that is
// not there is an error.
func (v view) prove(key []byte) (value, proof []byte, err error) {
	if v.tree == nil {
		return nil, nil, errStarting
	}
	if value = v.Get(key); value == nil {
		return nil, nil, task.Refuse("no-key", "key %q is not in the state of height %d", key, v.height)
	}
	p, err := v.tree.GetMembershipProof(key)
	if err != nil {
		return nil, nil, fmt.Errorf("chain: prove %q: %w", key, err)
	}
	proof, err = p.Marshal()
	return value, proof, err
}

func (v view) Ascend(prefix []byte, visit func(key, value []byte) bool) {
	if !ledger.Authenticated(prefix) {
		visitPairs(plainPairs(v.db, prefix), visit)
	} else if v.tree != nil {
		ascendTree(v.tree, prefix, visit)
	}
}

func (view) Set(_, _ []byte) { panic("chain: a committed state is not written") }
func (view) Delete(_ []byte) { panic("chain: a committed state is not written") }

// must stops whoever cannot read or write the state: a validator that stops
// can be repaired, one that guesses forks.
func must(err error) {
	if err != nil {
		panic(unusable{fmt.Errorf("chain: the state cannot be used: %w", err)})
	}
}

type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// readError, deferred, makes an error of what must panics with.
func readError(err *error) {
	if r := recover(); r != nil {
		broken, ok := r.(unusable)
		if !ok {
			panic(r)
		}
		*err = broken
	}
}

type pair struct{ key, value []byte }

func visitPairs(list []pair, visit func(key, value []byte) bool) {
	for _, p := range list {
		if !visit(p.key, p.value) {
			return
		}
	}
}

func ascendTree(t *iavl.ImmutableTree, prefix []byte, visit func(key, value []byte) bool) {
	t.IterateRange(prefix, after(prefix), true, func(k, v []byte) bool { return !visit(k, v) })
}

func getPlain(db dbm.DB, key []byte) []byte {
	v, err := db.Get(append([]byte(plainSpace), key...))
	must(err)
	return v
}

// plainPairs reads a whole prefix before anything is visited: an iterator of a
// memory database holds its lock.
func plainPairs(db dbm.DB, prefix []byte) (list []pair) {
	from := append([]byte(plainSpace), prefix...)
	it, err := db.Iterator(from, after(from))
	must(err)
	for ; it.Valid(); it.Next() {
		list = append(list, pair{slices.Clone(it.Key()[len(plainSpace):]), slices.Clone(it.Value())})
	}
	must(it.Error())
	must(it.Close())
	return list
}

// after is the first key behind all that begin with a prefix: nil, the end of
// everything, for a prefix of 0xff alone.
func after(prefix []byte) []byte {
	end := bytes.TrimRight(slices.Clone(prefix), "\xff")
	if len(end) == 0 {
		return nil
	}
	end[len(end)-1]++
	return end
}

// treeDB gives the tree its database. Whatever the tree writes for a block is
// one batch, into which the block's plain changes go as well.
type treeDB struct {
	dbm.DB
	plain *store // nil for readers
}

func (d treeDB) Iterator(start, end []byte) (iavldb.Iterator, error) {
	return d.DB.Iterator(start, end)
}

func (d treeDB) ReverseIterator(start, end []byte) (iavldb.Iterator, error) {
	return d.DB.ReverseIterator(start, end)
}

func (d treeDB) NewBatch() iavldb.Batch            { return &treeBatch{d.DB.NewBatch(), d.plain} }
func (d treeDB) NewBatchWithSize(int) iavldb.Batch { return d.NewBatch() }

type treeBatch struct {
	dbm.Batch
	plain *store
}

func (b *treeBatch) Write() error {
	if b.plain != nil {
		for k, v := range b.plain.plain {
			var err error
			if key := append([]byte(plainSpace), k...); v == nil {
				err = b.Delete(key)
			} else {
				err = b.Set(key, v)
			}
			if err != nil {
				return err
			}
		}
	}
	return b.Batch.Write()
}

// GetByteSize is asked only to split large batches, and ours must stay whole.
func (b *treeBatch) GetByteSize() (int, error) { return 0, nil }
