// Package store is what a worker must not forget: every vote and every verdict
// it has given in tasks that are still open, so that after a crash it never
// says something else (spec §6.2).
//
// It is one bbolt file. A record is on the disk when the call returns: bbolt
// writes whole pages, syncs them, and only then the page that makes them count,
// so a torn write leaves the state before it.
package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/prytany/prytany/task"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Journal is the vote log of one node. Safe for concurrent use; a second
// process that opens the same file is refused.
type Journal struct{ db *bolt.DB }

var (
	voteBucket   = []byte("votes")
	revealBucket = []byte("reveals")
)

// OpenJournal opens or makes the file, mode 0600.
func OpenJournal(path string) (*Journal, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, task.Refuse("journal-busy", "%s is open in another process: a node's votes are kept by one process only", path)
	}
	if err != nil {
		return nil, fmt.Errorf("vote journal %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{voteBucket, revealBucket} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Journal{db}, nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.db.Close() }

func voteKey(v task.Vote) []byte {
	key := append([]byte{}, v.Task[:]...)
	key = binary.BigEndian.AppendUint32(key, v.Attempt)
	key = binary.BigEndian.AppendUint32(key, v.View)
	return append(key, byte(v.Stage))
}

func ballotKey(b task.Ballot) []byte {
	key := append([]byte{}, b.Task[:]...)
	key = binary.BigEndian.AppendUint32(key, b.Attempt)
	key = binary.BigEndian.AppendUint32(key, b.View)
	key = append(key, byte(b.Round))
	return append(append(key, b.Committee[:]...), b.Executor[:]...)
}

// ErrContradiction says that another vote for the same stage, view and attempt
// is on record: to send this one would be equivocation.
var ErrContradiction = errors.New("a different word is on record for the same question")

// Vote records a vote. Recording it again is no error; recording another one
// for the same question is ErrContradiction.
func (j *Journal) Vote(v task.SignedVote) error {
	return j.put(voteBucket, voteKey(v.Vote), task.Encode(v), func(old []byte) bool {
		o, err := task.Decode[task.SignedVote](old, len(old))
		return err == nil && o.Vote == v.Vote
	})
}

// Reveal records a verdict before it is committed to.
func (j *Journal) Reveal(r task.Reveal) error {
	return j.put(revealBucket, ballotKey(r.Ballot), task.Encode(r), func(old []byte) bool {
		o, err := task.Decode[task.Reveal](old, len(old))
		return err == nil && o == r
	})
}

func (j *Journal) put(bucket, key, value []byte, same func(old []byte) bool) error {
	return j.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		if old := b.Get(key); old != nil {
			if same(old) {
				return nil
			}
			return ErrContradiction
		}
		return b.Put(key, value)
	})
}

// Load returns what this node has said in a task.
func (j *Journal) Load(id task.TaskID) (votes []task.SignedVote, reveals []task.Reveal, err error) {
	err = j.db.View(func(tx *bolt.Tx) error {
		if votes, err = scan[task.SignedVote](tx.Bucket(voteBucket), id); err != nil {
			return err
		}
		reveals, err = scan[task.Reveal](tx.Bucket(revealBucket), id)
		return err
	})
	return votes, reveals, err
}

func scan[T any](b *bolt.Bucket, id task.TaskID) (list []T, err error) {
	c := b.Cursor()
	for k, raw := c.Seek(id[:]); k != nil && task.TaskID(k[:32]) == id; k, raw = c.Next() {
		v, err := task.Decode[T](raw, len(raw))
		if err != nil {
			return nil, fmt.Errorf("vote journal: record %x: %w", k, err)
		}
		list = append(list, v)
	}
	return list, nil
}

// Forget drops a settled task's records.
func (j *Journal) Forget(id task.TaskID) error {
	return j.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{voteBucket, revealBucket} {
			c := tx.Bucket(name).Cursor()
			for k, _ := c.Seek(id[:]); k != nil && task.TaskID(k[:32]) == id; k, _ = c.Seek(id[:]) {
				if err := c.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
