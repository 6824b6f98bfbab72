package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// compiledFile is the file with what an enclave has compiled of a function's public
// image. It is sealed: the node can lose it, and that is all. Empty: there is
// nothing to compile.
type compiledFile string

// maxKept is how many such files a worker has.
const maxKept = 4

func keptFor(dir string, m task.Manifest) compiledFile {
	if m.Runtime != task.RuntimePython || dir == "" {
		return ""
	}
	return compiledFile(filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(m.Image.Digest)))))
}

// read returns nothing where there is nothing that an enclave would look at.
func (k compiledFile) read() []byte {
	raw, err := readFile(string(k), tee.MaxCompiled)
	if err != nil {
		return nil
	}
	return raw
}

// write replaces the file, and makes room for it. What cannot be kept is made
// again.
func (k compiledFile) write(sealed []byte) {
	if k == "" {
		return
	}
	dir := filepath.Dir(string(k))
	if os.MkdirAll(dir, 0o700) != nil {
		return
	}
	part, err := os.CreateTemp(dir, "part-")
	if err != nil {
		return
	}
	_, err = part.Write(sealed)
	if e := part.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(part.Name(), string(k))
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
