package blob

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	flatfs "github.com/ipfs/go-ds-flatfs"
	"github.com/prytany/prytany/task"
)

// Space bounds what a store keeps on its disk. The zero value bounds nothing.
type Space struct {
	Bytes uint64
	Evict bool // the oldest make room for what comes; else what comes is refused
}

// room keeps a directory within its space.
type room struct {
	Space
	dir  string
	data *flatfs.Datastore

	mu      sync.Mutex
	pending uint64 // bytes of files that are coming in
}

// reserve makes room for a file that comes in, until done is called.
func (r *room) reserve(ctx context.Context, size uint64) (done func(), err error) {
	if r == nil || r.Bytes == 0 {
		return func() {}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	used, err := r.data.DiskUsage(ctx)
	if err != nil {
		return nil, err
	}
	need := used + r.pending + size
	if need > r.Bytes && r.Evict {
		freed, err := r.evict(ctx, need-r.Bytes+r.Bytes/10) // and not for every file anew
		if err != nil {
			return nil, err
		}
		need -= min(need, freed)
	}
	if need > r.Bytes {
		return nil, task.Refuse("blob-space", "no room for %d bytes: files have %d of %d bytes here", size, used, r.Bytes)
	}
	r.pending += size
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pending -= size
	}, nil
}

// evict removes the oldest blocks, of at least so many bytes if there are. What
// is left of their files is fetched again by who needs it.
func (r *room) evict(ctx context.Context, bytes uint64) (freed uint64, err error) {
	type block struct {
		key  datastore.Key
		size uint64
		made time.Time
	}
	var all []block
	err = filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		name, is := strings.CutSuffix(filepath.Base(path), ".data")
		if err != nil || !is || !e.Type().IsRegular() {
			return ignoreMissing(err)
		}
		st, err := e.Info()
		if err == nil {
			all = append(all, block{datastore.NewKey(name), uint64(st.Size()), st.ModTime()})
		}
		return ignoreMissing(err)
	})
	slices.SortFunc(all, func(a, b block) int {
		return cmp.Or(a.made.Compare(b.made), strings.Compare(a.key.String(), b.key.String()))
	})
	for _, b := range all {
		if err != nil || freed >= bytes {
			break
		}
		if err = r.data.Delete(ctx, b.key); err == nil {
			freed += b.size
		}
	}
	return freed, err
}

// ignoreMissing is for files that another goroutine has just moved.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
