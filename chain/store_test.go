package chain

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	dbm "github.com/cometbft/cometbft-db"
	"pgregory.net/rapid"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

var errDead = errors.New("the process was killed")

// dying is a database whose process is killed at some write: that one and all
// after it never happen. A batch is one write.
type dying struct {
	dbm.DB
	left *int
}

func (d dying) write(f func() error) error {
	if *d.left--; *d.left < 0 {
		return errDead
	}
	return f()
}

func (d dying) Set(k, v []byte) error     { return d.write(func() error { return d.DB.Set(k, v) }) }
func (d dying) SetSync(k, v []byte) error { return d.Set(k, v) }
func (d dying) Delete(k []byte) error     { return d.write(func() error { return d.DB.Delete(k) }) }
func (d dying) DeleteSync(k []byte) error { return d.Delete(k) }
func (d dying) NewBatch() dbm.Batch       { return dyingBatch{d.DB.NewBatch(), d} }

type dyingBatch struct {
	dbm.Batch
	d dying
}

func (b dyingBatch) Write() error     { return b.d.write(b.Batch.Write) }
func (b dyingBatch) WriteSync() error { return b.Write() }

// story is what happens in the crash test, block by block.
func story(height int64) (pool [][]byte) {
	switch {
	case height == 2:
		pool = append(pool, signed("bob", 0, publish()))
	case height == 4 || height == 9:
		pool = append(pool, signed("alice", uint64(height/5), post()))
	case height%3 == 0:
		pool = append(pool, signed("carol", uint64(height/3-1), transfer("alice", task.Amount(height))))
	}
	return pool
}

const storyEnd = 60

// plainDigest is a hash over all plain keys and values.
func plainDigest(db dbm.DB) string {
	h := sha256.New()
	for _, p := range plainPairs(db, nil) {
		fmt.Fprintf(h, "%x=%x\n", p.key, p.value)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func openSmall(t testing.TB, db dbm.DB) *driver {
	d := drive(t, db)
	d.app.store.keep = 5
	return d
}

func TestKilledAtEveryWrite(t *testing.T) {
	chainOf := map[int64][][]byte{}
	hashOf := map[int64][]byte{}
	writes := 1 << 30
	db := dbm.NewMemDB()
	d := openSmall(t, dying{db, &writes})
	for h := d.next(); h <= storyEnd; h = d.next() {
		chainOf[h], hashOf[h] = d.block(story(h)...)
	}
	end, total := plainDigest(db), 1<<30-writes
	if total < storyEnd {
		t.Fatalf("%d writes for %d blocks", total, storyEnd)
	}
	for n := range total + 1 {
		left, db := n, dbm.NewMemDB()
		replay(openSmall(t, dying{db, &left}), chainOf, nil)
		replay(openSmall(t, db), chainOf, hashOf)
		if got := plainDigest(db); got != end {
			t.Fatalf("killed at write %d: the plain keys differ in the end", n)
		}
	}
}

// replay executes the decided blocks that the state does not hold yet, until
// the end or until the process is killed. It compares app hashes if there are any.
func replay(d *driver, blocks map[int64][][]byte, hashes map[int64][]byte) {
	d.t.Helper()
	defer func() {
		if err, ok := recover().(error); ok && !errors.Is(err, errDead) {
			d.t.Fatal(err)
		}
	}()
	for h := d.next(); h <= storyEnd; h = d.next() {
		r := d.finalize(blocks[h])
		d.commit()
		if hashes != nil && !bytes.Equal(r.AppHash, hashes[h]) {
			d.t.Fatalf("block %d has app hash %x, it was %x", h, r.AppHash, hashes[h])
		}
	}
	read := ledger.Read(d.app.store)
	if read.Held() != read.Meta().Supply {
		d.t.Fatalf("%s are held of %s", read.Held(), read.Meta().Supply)
	}
}

// The store against a map, with commits, reopening and pruning in between.
func TestStoreIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db, model := dbm.NewMemDB(), ledger.NewMemStore()
		s := reopen(t, db)
		key := rapid.Map(rapid.IntRange(0, 40), func(i int) []byte { return []byte(fmt.Sprintf("%c/%02d", "ap"[i%2], i)) })
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := key.Draw(t, "key")
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1, 2:
				v := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")
				s.Set(k, v)
				model.Set(k, append([]byte{}, v...))
			case 3:
				s.Delete(k)
				model.Delete(k)
			case 4:
				before := s.Hash()
				s.Commit()
				if hash, _ := s.root(); len(hash) > 0 && !bytes.Equal(hash, before) {
					t.Fatalf("the hash %x became %x by the commit", before, hash)
				}
				if err := s.Prune(); err != nil {
					t.Fatal(err)
				}
			case 5:
				s.Commit()
				s = reopen(t, db)
			case 6:
				if got, want := dump(s), dump(model); got != want {
					t.Fatalf("have %s, want %s", got, want)
				}
			}
			if got, want := s.Get(k), model.Get(k); (got == nil) != (want == nil) || !bytes.Equal(got, want) {
				t.Fatalf("%s is %x, want %x", k, got, want)
			}
		}
		s.Commit()
		_ = s.View(func(_ uint64, at ledger.Store) error {
			if got, want := dump(at), dump(model); got != want {
				t.Fatalf("committed %s, want %s", got, want)
			}
			return nil
		})
	})
}

func reopen(t interface{ Fatal(...any) }, db dbm.DB) *store {
	s, err := openStore(db)
	if err != nil {
		t.Fatal(err)
	}
	s.keep = 3
	return s
}

func dump(s ledger.Store) string {
	var b bytes.Buffer
	for _, prefix := range []string{"a/", "p/"} {
		s.Ascend([]byte(prefix), func(k, v []byte) bool {
			fmt.Fprintf(&b, "%s=%x ", k, v)
			return true
		})
	}
	return b.String()
}

// A state that stays as it is keeps its app hash through any number of blocks
// and of pruned versions.
func TestARestingStateKeepsItsHash(t *testing.T) {
	db := dbm.NewMemDB()
	s := reopen(t, db)
	s.Set([]byte("a/x"), []byte("1"))
	s.Set([]byte("a/y"), []byte("2"))
	hash := s.Hash()
	for i := range 100 {
		s.Set([]byte("a/x"), []byte("1"))
		if s.Commit(); !bytes.Equal(s.Hash(), hash) {
			t.Fatalf("block %d: the hash moved", i)
		}
		if err := s.Prune(); err != nil {
			t.Fatal(err)
		}
		if i%30 == 29 {
			s = reopen(t, db)
		}
	}
	s.Set([]byte("a/x"), []byte("3"))
	if bytes.Equal(s.Hash(), hash) {
		t.Error("a change left the hash as it was")
	}
	s.Commit()
	if s = reopen(t, db); string(s.Get([]byte("a/x"))) != "3" || s.Height() != 101 {
		t.Errorf("height %d, a/x = %q", s.Height(), s.Get([]byte("a/x")))
	}
	if _, err := s.at(50); task.CodeOf(err) != "no-height" {
		t.Errorf("a pruned height: %v", err)
	}
	if _, err := s.at(100); err != nil {
		t.Errorf("a kept height: %v", err)
	}
}

// Readers beside a running chain always see one whole block: a case and its
// authenticated hash agree.
func TestReadersSeeWholeBlocks(t *testing.T) {
	d := busy(t)
	k := job()
	k.Nonce = 0
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = d.app.store.View(func(height uint64, s ledger.Store) error {
					c, ok := ledger.Read(s).Case(k.ID())
					if !ok || !bytes.Equal(s.Get(ledger.CaseKey(k.ID())), CaseValue(c)) {
						t.Errorf("height %d: the case and its hash differ", height)
					}
					return nil
				})
			}
		})
	}
	for range 40 {
		d.block()
	}
	close(stop)
	wg.Wait()
}
