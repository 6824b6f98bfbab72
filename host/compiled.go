package host

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// compiledFile is a public interpreter, compiled, in a file of a worker's. Whoever
// runs it looks whether it is what it should be; the worker can lose it, and that
// is all.
type compiledFile struct {
	path        string // empty: nothing is kept
	interpreter string // its digest
	known       tee.Interpreters
}

// maxKept is how many such files a worker has.
const maxKept = 4

// keptFor is the file for a function's image and an enclave program.
func keptFor(dir string, m task.Manifest, program task.Hash) compiledFile {
	if m.Runtime != task.RuntimePython || dir == "" || len(tee.Public[m.Image.Digest]) == 0 {
		return compiledFile{}
	}
	name := sha256.Sum256(append(program[:], m.Image.Digest...))
	return compiledFile{filepath.Join(dir, hex.EncodeToString(name[:])), m.Image.Digest, tee.Public}
}

// of is what an enclave would take, or nothing. What is not there is compiled
// first, once: if something else comes of it, since this is another processor than
// the table's, an empty file says so.
func (k compiledFile) of(image []byte, compile func([]byte) ([]byte, error)) []byte {
	if k.path == "" {
		return nil
	}
	raw, err := disk.ReadFile(k.path, tee.MaxCompiled)
	if err == nil && (len(raw) == 0 || k.known.Has(k.interpreter, raw)) {
		return raw
	}
	if k.interpreter != fmt.Sprintf("sha256:%x", sha256.Sum256(image)) {
		return nil // strangers' modules are compiled in their own time
	}
	if raw, err = compile(image); err != nil {
		return nil
	}
	if !k.known.Has(k.interpreter, raw) {
		raw = nil
	}
	k.write(raw)
	return raw
}

// write replaces the file, and makes room for it. What cannot be kept is made
// again.
func (k compiledFile) write(compiled []byte) {
	dir := filepath.Dir(k.path)
	if os.MkdirAll(dir, 0o700) != nil {
		return
	}
	part, err := os.CreateTemp(dir, "part-")
	if err != nil {
		return
	}
	_, err = part.Write(compiled)
	if e := part.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(part.Name(), k.path)
	}
	if err != nil {
		_ = os.Remove(part.Name())
		return
	}
	evict(dir, maxKept)
}

// evict removes all but the newest files of a directory.
func evict(dir string, keep int) {
	list, _ := os.ReadDir(dir)
	var files []fs.FileInfo
	for _, e := range list {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return cmp.Compare(b.ModTime().UnixNano(), a.ModTime().UnixNano()) })
	for _, f := range files[min(keep, len(files)):] {
		_ = os.Remove(filepath.Join(dir, f.Name()))
	}
}
