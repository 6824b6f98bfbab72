// Package journal is what a worker must not forget: every verdict that it has
// committed to, every pair of evidence that it has shown, and every turn that it has
// declined, in tasks that are still open, so that after a crash it never says
// something else (spec §6.4, §6.5).
//
// It is one bbolt file. A record is on the disk when the call returns: bbolt
// writes whole pages, syncs them, and only then the page that makes them count,
// so a torn write leaves the state before it. Syncing takes longer than all else, so
// those who wait at the same time share one: whatever came while the disk was busy
// is written together.
package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prytany/prytany/task"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Journal is the log of one node's verdicts and declines. Safe for concurrent use; a second
// process that opens the same file is refused.
type Journal struct {
	db *bolt.DB

	mu     sync.Mutex
	queue  []*entry // not written yet, in order
	idle   int      // of them, nobody waits for so many
	busy   bool     // somebody writes
	writer sync.WaitGroup
}

// entry is a change of the file.
type entry struct {
	do   func(*bolt.Tx) error
	err  error
	done chan struct{} // closed when it is on the disk, or refused
}

// maxIdle bounds the changes that nobody waits for.
const maxIdle = 64

// write makes a change with all others that come at the time, and waits until it is
// on the disk. A change that is refused must have changed nothing.
func (j *Journal) write(do func(*bolt.Tx) error) error {
	e := &entry{do: do, done: make(chan struct{})}
	j.mu.Lock()
	j.queue = append(j.queue, e)
	j.begin()
	j.mu.Unlock()
	<-e.done
	return e.err
}

// begin lets the queue be written, unless that is under way. j.mu is held.
func (j *Journal) begin() {
	if !j.busy {
		j.busy = true
		j.writer.Go(j.flush)
	}
}

// flush writes the queue until it is empty.
func (j *Journal) flush() {
	for {
		j.mu.Lock()
		all := j.queue
		j.queue, j.idle, j.busy = nil, 0, len(all) > 0
		j.mu.Unlock()
		if len(all) == 0 {
			return
		}
		err := j.db.Update(func(tx *bolt.Tx) error {
			for _, e := range all {
				if e.err = e.do(tx); e.err != nil && !errors.Is(e.err, ErrContradiction) {
					return e.err // the file's: nothing of all this is written
				}
			}
			return nil
		})
		for _, e := range all {
			if err != nil {
				e.err = err
			}
			close(e.done)
		}
	}
}

var revealBucket, pairBucket, declineBucket = []byte("reveals"), []byte("pairs"), []byte("declines")

// Open opens or makes the file, mode 0600.
func Open(path string) (*Journal, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, task.Refuse("journal-busy", "%s is open in another process: a node's verdicts are kept by one process only", path)
	}
	if err != nil {
		return nil, fmt.Errorf("verdict journal %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{revealBucket, pairBucket, declineBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Journal{db: db}, nil
}

// Close writes what is left and closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.begin()
	j.mu.Unlock()
	j.writer.Wait()
	return j.db.Close()
}

func ballotKey(b task.Ballot) []byte {
	key := append([]byte{}, b.Task[:]...)
	key = binary.BigEndian.AppendUint32(key, b.Attempt)
	return binary.BigEndian.AppendUint32(key, b.View)
}

// ErrContradiction says that another verdict for the same ballot is on record: to
// commit to this one would be equivocation.
var ErrContradiction = errors.New("a different word is on record for the same question")

// Reveal records a verdict before it is committed to. Recording it again is no
// error; recording another one for the same ballot is ErrContradiction.
func (j *Journal) Reveal(r task.Reveal) error {
	return j.put(revealBucket, ballotKey(r.Ballot), task.Encode(r))
}

// Pair records the pair of evidence that this node is about to show, likewise.
func (j *Journal) Pair(p task.Pair) error {
	return j.put(pairBucket, ballotKey(p.Ballot), task.Encode(p))
}

func (j *Journal) put(bucket, key, value []byte) error {
	return j.write(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		switch old := b.Get(key); {
		case old == nil:
			return b.Put(key, value)
		case !bytes.Equal(old, value):
			return ErrContradiction
		}
		return nil
	})
}

// Decline records that this node executes no more in an attempt, and why, before it
// says so. The first reason stays.
func (j *Journal) Decline(d task.Decline) error {
	key := binary.BigEndian.AppendUint32(append([]byte{}, d.Task[:]...), d.Attempt)
	return j.write(func(tx *bolt.Tx) error {
		b := tx.Bucket(declineBucket)
		if b.Get(key) != nil {
			return nil
		}
		return b.Put(key, task.Encode(d))
	})
}

// Load returns what this node has said in a task.
func (j *Journal) Load(id task.TaskID) (reveals []task.Reveal, declines []task.Decline, err error) {
	err = j.db.View(func(tx *bolt.Tx) error {
		if reveals, err = scan[task.Reveal](tx.Bucket(revealBucket), id); err != nil {
			return err
		}
		declines, err = scan[task.Decline](tx.Bucket(declineBucket), id)
		return err
	})
	return reveals, declines, err
}

func scan[T any](b *bolt.Bucket, id task.TaskID) (list []T, err error) {
	c := b.Cursor()
	for k, raw := c.Seek(id[:]); k != nil && task.TaskID(k[:32]) == id; k, raw = c.Next() {
		v, err := task.Decode[T](raw, len(raw))
		if err != nil {
			return nil, fmt.Errorf("verdict journal: record %x: %w", k, err)
		}
		list = append(list, v)
	}
	return list, nil
}

// Forget drops a settled task's records, with the next change that somebody waits
// for: that they stay in the file until then, or for good after a crash, harms
// nobody.
func (j *Journal) Forget(id task.TaskID) error {
	e := &entry{done: make(chan struct{}), do: func(tx *bolt.Tx) error {
		for _, name := range [][]byte{revealBucket, pairBucket, declineBucket} {
			c := tx.Bucket(name).Cursor()
			for k, _ := c.Seek(id[:]); k != nil && task.TaskID(k[:32]) == id; k, _ = c.Seek(id[:]) {
				if err := c.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	}}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue = append(j.queue, e)
	if j.idle++; j.idle >= maxIdle {
		j.begin()
	}
	return nil
}
