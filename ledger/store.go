package ledger

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"github.com/prytany/prytany/task"
)

// Store is the state as keys and values. Keys that begin with 'a' are
// authenticated: the block's app hash covers them, so keep them few and small.
// All others are plain: history, indexes and the bodies of cases, whose hashes
// are authenticated. Both spaces change together, block by block.
//
// A Store that cannot read or write must not return: a validator that stops
// can be repaired, one that guesses forks.
type Store interface {
	// Get returns nil for a key that is not there. The value is not to be changed.
	Get(key []byte) []byte
	Set(key, value []byte)
	Delete(key []byte)
	// Ascend visits the keys with the prefix in order until visit returns false.
	// The store must not be changed meanwhile.
	Ascend(prefix []byte, visit func(key, value []byte) bool)
}

// Key spaces. The first byte says whether the app hash covers it.
const (
	keyParams    = "a/params"
	keyMeta      = "a/meta"
	keyBeacon    = "a/beacon" // the last one: it moves the app hash
	keyGroup     = "a/group"
	keyValues    = "a/values"
	keyReference = "a/reference"
	keyAmendment = "a/change/"
	keyAccount   = "a/account/"
	keyNode      = "a/node/"
	keyFunction  = "a/function/"
	keyName      = "a/name/"
	keyCaseHash  = "a/case/"
	keyCase      = "p/case/"
	keyDue       = "p/due/"
	keyOwned     = "p/owned/"
	keySet       = "p/reference/"
)

// Authenticated says whether the app hash covers a key.
func Authenticated(key []byte) bool { return len(key) > 0 && key[0] == 'a' }

// CaseKey is the authenticated key that holds a case's hash.
func CaseKey(id task.TaskID) []byte { return join(keyCaseHash, id[:]) }

// ParamsKey is the authenticated key of the parameters.
func ParamsKey() []byte { return []byte(keyParams) }

// NodeKey is the authenticated key of a worker's record.
func NodeKey(id task.NodeID) []byte { return join(keyNode, id[:]) }

// FunctionKey is the authenticated key of a function's record.
func FunctionKey(id task.FunctionID) []byte { return join(keyFunction, id[:]) }

// AccountKey is the authenticated key of an account.
func AccountKey(a task.Address) []byte { return join(keyAccount, a[:]) }

// NameKey is the authenticated key of what is published under a name.
func NameKey(name string) []byte {
	h := task.H(task.TagName, []byte(name))
	return join(keyName, h[:])
}

// ValuesKey is the authenticated key of the register of reference values.
func ValuesKey() []byte { return []byte(keyValues) }

// AmendmentKey is the authenticated key of a change in the public log.
func AmendmentKey(number uint64) []byte { return join(keyAmendment, task.U64(number)) }

func join(prefix string, parts ...[]byte) []byte {
	return append([]byte(prefix), bytes.Join(parts, nil)...)
}

func dueKey(height uint64, id task.TaskID) []byte {
	return join(keyDue, binary.BigEndian.AppendUint64(nil, height), id[:])
}

// overlay buffers writes over a Store until Flush; dropping it undoes them.
type overlay struct {
	under Store
	dirty map[string][]byte // nil: deleted
}

func newOverlay(under Store) *overlay {
	return &overlay{under: under, dirty: map[string][]byte{}}
}

func (o *overlay) Get(key []byte) []byte {
	if v, ok := o.dirty[string(key)]; ok {
		return v
	}
	return o.under.Get(key)
}

func (o *overlay) Set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	o.dirty[string(key)] = value
}

func (o *overlay) Delete(key []byte) { o.dirty[string(key)] = nil }

// Ascend merges the two in order and stops as soon as it is told to.
func (o *overlay) Ascend(prefix []byte, visit func(key, value []byte) bool) {
	var fresh []string
	for k := range o.dirty {
		if strings.HasPrefix(k, string(prefix)) {
			fresh = append(fresh, k)
		}
	}
	sort.Strings(fresh)
	more := true
	upTo := func(limit string) { // visits the fresh keys before limit; "" is no limit
		for more && len(fresh) > 0 && (limit == "" || fresh[0] < limit) {
			if v := o.dirty[fresh[0]]; v != nil {
				more = visit([]byte(fresh[0]), v)
			}
			fresh = fresh[1:]
		}
	}
	o.under.Ascend(prefix, func(k, v []byte) bool {
		upTo(string(k))
		if _, changed := o.dirty[string(k)]; !changed && more {
			more = visit(k, v)
		}
		return more
	})
	upTo("")
}

// Flush writes the buffered changes in key order, so that every validator
// gives its tree the same history.
func (o *overlay) Flush() {
	keys := make([]string, 0, len(o.dirty))
	for k := range o.dirty {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		if v := o.dirty[k]; v == nil {
			o.under.Delete([]byte(k))
		} else {
			o.under.Set([]byte(k), v)
		}
	}
	clear(o.dirty)
}

// MemStore is a Store in memory, for tests, simulation and throw-away checks.
type MemStore struct {
	m    map[string][]byte
	keys []string // in order
}

// NewMemStore returns an empty store.
func NewMemStore() *MemStore { return &MemStore{m: map[string][]byte{}} }

// Get implements Store.
func (s *MemStore) Get(key []byte) []byte { return s.m[string(key)] }

// Set implements Store.
func (s *MemStore) Set(key, value []byte) {
	if _, there := s.m[string(key)]; !there {
		i, _ := slices.BinarySearch(s.keys, string(key))
		s.keys = slices.Insert(s.keys, i, string(key))
	}
	s.m[string(key)] = slices.Clone(value)
}

// Delete implements Store.
func (s *MemStore) Delete(key []byte) {
	if i, there := slices.BinarySearch(s.keys, string(key)); there {
		s.keys = slices.Delete(s.keys, i, i+1)
		delete(s.m, string(key))
	}
}

// Ascend implements Store.
func (s *MemStore) Ascend(prefix []byte, visit func(key, value []byte) bool) {
	first, _ := slices.BinarySearch(s.keys, string(prefix))
	for _, k := range s.keys[first:] {
		if !strings.HasPrefix(k, string(prefix)) || !visit([]byte(k), s.m[k]) {
			return
		}
	}
}

// load reads a record of the state's own making; that it decodes is an
// invariant, and so is its absence being visible.
func load[T any](s Store, key []byte) (T, bool) {
	var zero T
	raw := s.Get(key)
	if raw == nil {
		return zero, false
	}
	v, err := task.Restore[T](raw)
	if err != nil {
		panic("ledger: corrupt state at " + string(key) + ": " + err.Error())
	}
	return v, true
}

func save(s Store, key []byte, v any) { s.Set(key, task.Encode(v)) }
