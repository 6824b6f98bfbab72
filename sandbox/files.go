package sandbox

import (
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasi "github.com/tetratelabs/wazero/sys"
)

// maxOpen is how many files and directories a guest may have open.
const maxOpen = 1024

// files is all the guest can see: a tree in memory with the directories /in,
// which nobody can write to, and /out, which holds at most limit bytes in at
// most MaxFiles files and directories. Links do not exist.
type files struct {
	sys.UnimplementedFS
	root, in, out *node
	limit         uint64
	size          uint64 // bytes in /out, and in what was removed but is open
	count         int    // files and directories below /out, likewise
	open          int
	inodes        uint64
	exceeded      string // what there was too much of
	charge        func(bytes int)
}

// A node is a file or a directory.
type node struct {
	parent   *node // nil if it was removed
	name     string
	inode    uint64
	children map[string]*node // of a directory
	data     []byte           // of a file
	writable bool
	open     int
}

func newFiles(limit uint64, charge func(bytes int)) *files {
	f := &files{limit: limit, charge: charge}
	f.root = f.directory(nil, "", false)
	f.in = f.directory(f.root, "in", false)
	f.out = f.directory(f.root, "out", true)
	return f
}

// load puts files into a directory. The guest cannot write to them, so they are not copied.
func (f *files) load(dir *node, files []File) error {
	for _, in := range files {
		at := dir
		path := strings.Split(in.Name, "/")
		for _, name := range path[:len(path)-1] {
			next := at.children[name]
			if next == nil {
				next = f.directory(at, name, false)
			}
			if next.children == nil {
				return &fs.PathError{Op: "input", Path: in.Name, Err: sys.ENOTDIR}
			}
			at = next
		}
		name := path[len(path)-1]
		if at.children[name] != nil {
			return &fs.PathError{Op: "input", Path: in.Name, Err: sys.EEXIST}
		}
		f.add(at, name, &node{data: in.Data})
	}
	return nil
}

func (f *files) directory(parent *node, name string, writable bool) *node {
	return f.add(parent, name, &node{children: map[string]*node{}, writable: writable})
}

func (f *files) add(parent *node, name string, n *node) *node {
	f.inodes++
	n.parent, n.name, n.inode = parent, name, f.inodes
	if parent != nil {
		parent.children[name] = n
	}
	return n
}

// below lists what is under a directory, in the form of StateDigest.
func (n *node) below(prefix string) (list []File) {
	for name, c := range n.children {
		if c.children == nil {
			list = append(list, File{Name: prefix + name, Data: c.data})
			continue
		}
		list = append(list, File{Name: prefix + name + "/"})
		list = append(list, c.below(prefix+name+"/")...)
	}
	return list
}

// take hands over the files in /out, sorted by name.
func (f *files) take() (outputs []File) {
	for _, o := range f.out.below("") {
		if !strings.HasSuffix(o.Name, "/") {
			outputs = append(outputs, o)
		}
	}
	slices.SortFunc(outputs, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	f.out.children = map[string]*node{}
	return outputs
}

// wipe overwrites and removes what is in /out.
func (f *files) wipe() {
	for _, o := range f.out.below("") {
		clear(o.Data)
	}
	f.out.children = map[string]*node{}
}

// find follows a path, which the engine has made relative to the root.
func (f *files) find(path string) (*node, sys.Errno) {
	parent, name, errno := f.split(path)
	if errno != 0 || name == "" {
		return parent, errno
	}
	n := parent.children[name]
	if n == nil {
		return nil, sys.ENOENT
	}
	if n.children == nil && strings.HasSuffix(path, "/") {
		return nil, sys.ENOTDIR
	}
	return n, 0
}

// split follows a path up to its last element, which need not exist. The name
// is empty if the path is the root.
func (f *files) split(path string) (*node, string, sys.Errno) {
	if len(path) > maxPath {
		return nil, "", sys.ENAMETOOLONG
	}
	at, last := f.root, ""
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			return nil, "", sys.EPERM
		}
		if strings.ContainsRune(name, 0) { // no system has one, and no archive
			return nil, "", sys.EINVAL
		}
		if len(name) > maxName {
			return nil, "", sys.ENAMETOOLONG
		}
		if last != "" {
			next := at.children[last]
			if next == nil {
				return nil, "", sys.ENOENT
			}
			if next.children == nil {
				return nil, "", sys.ENOTDIR
			}
			at = next
		}
		last = name
	}
	return at, last, 0
}

// create adds a file or directory, if there may be one more.
func (f *files) create(parent *node, name string, n *node) (*node, sys.Errno) {
	if !parent.writable {
		return nil, sys.EROFS
	}
	if f.count >= MaxFiles {
		f.exceeded = "files"
		return nil, sys.EIO
	}
	f.count++
	n.writable = true
	return f.add(parent, name, n), 0
}

// remove takes a node out of the tree. Its content lives on while it is open.
func (f *files) remove(n *node) {
	delete(n.parent.children, n.name)
	n.parent = nil
	f.forget(n)
}

func (f *files) forget(n *node) {
	if n.parent == nil && n.open == 0 && n != f.root {
		f.count--
		f.size -= uint64(len(n.data))
		clear(n.data)
		n.data = nil
	}
}

// resize makes a file longer or shorter, if there may be so many bytes. A
// longer one is filled with zeros.
func (f *files) resize(n *node, size int64) sys.Errno {
	old := int64(len(n.data))
	if size > old && uint64(size-old) > f.limit-f.size {
		f.exceeded = "bytes"
		return sys.EIO
	}
	f.size += uint64(size - old)
	clear(n.data[min(size, old):])
	// Room that is not used counts for nobody, so it is given back.
	if size <= int64(cap(n.data)) && size >= int64(cap(n.data))/4 {
		n.data = n.data[:size]
		return 0
	}
	f.charge(int(size))
	grown := make([]byte, size, max(size, min(2*size, int64(f.limit))))
	copy(grown, n.data)
	clear(n.data)
	n.data = grown
	return 0
}

// The directories that are part of the contract stay where they are.
func (f *files) movable(n *node) bool { return n.writable && n != f.out }

func (f *files) OpenFile(path string, flag sys.Oflag, _ fs.FileMode) (sys.File, sys.Errno) {
	const access = sys.O_RDONLY | sys.O_RDWR | sys.O_WRONLY
	write := flag&access != sys.O_RDONLY
	if f.open >= maxOpen {
		return nil, sys.EAGAIN
	}
	n, errno := f.find(path)
	switch {
	case errno == sys.ENOENT && flag&sys.O_CREAT != 0:
		parent, name, errno := f.split(path)
		if errno != 0 {
			return nil, errno
		}
		if strings.HasSuffix(path, "/") {
			return nil, sys.EISDIR
		}
		if n, errno = f.create(parent, name, &node{}); errno != 0 {
			return nil, errno
		}
	case errno != 0:
		return nil, errno
	case flag&sys.O_CREAT != 0 && flag&sys.O_EXCL != 0:
		return nil, sys.EEXIST
	case n.children != nil && (write || flag&(sys.O_CREAT|sys.O_TRUNC) != 0):
		return nil, sys.EISDIR
	case n.children == nil && flag&sys.O_DIRECTORY != 0:
		return nil, sys.ENOTDIR
	case !n.writable && (write || flag&sys.O_TRUNC != 0):
		return nil, sys.EROFS
	}
	if flag&sys.O_TRUNC != 0 {
		if errno := f.resize(n, 0); errno != 0 {
			return nil, errno
		}
	}
	f.open++
	n.open++
	return &file{files: f, node: n, read: flag&access != sys.O_WRONLY, write: write, append: flag&sys.O_APPEND != 0}, 0
}

func (n *node) stat() wasi.Stat_t {
	st := wasi.Stat_t{Dev: 1, Ino: n.inode, Nlink: 1, Size: int64(len(n.data)), Mode: 0o444, Atim: epoch, Mtim: epoch, Ctim: epoch}
	if n.children != nil {
		st.Mode = fs.ModeDir | 0o555
	}
	if n.writable {
		st.Mode |= 0o200
	}
	return st
}

func (f *files) Stat(path string) (wasi.Stat_t, sys.Errno) {
	n, errno := f.find(path)
	if errno != 0 {
		return wasi.Stat_t{}, errno
	}
	return n.stat(), 0
}

func (f *files) Lstat(path string) (wasi.Stat_t, sys.Errno) { return f.Stat(path) }

func (f *files) Mkdir(path string, _ fs.FileMode) sys.Errno {
	parent, name, errno := f.split(path)
	switch {
	case errno != 0:
		return errno
	case name == "" || parent.children[name] != nil:
		return sys.EEXIST
	}
	_, errno = f.create(parent, name, &node{children: map[string]*node{}})
	return errno
}

func (f *files) Rmdir(path string) sys.Errno {
	n, errno := f.find(path)
	switch {
	case errno != 0:
		return errno
	case n.children == nil:
		return sys.ENOTDIR
	case !f.movable(n):
		return sys.EROFS
	case len(n.children) > 0:
		return sys.ENOTEMPTY
	}
	f.remove(n)
	return 0
}

func (f *files) Unlink(path string) sys.Errno {
	n, errno := f.find(path)
	switch {
	case errno != 0:
		return errno
	case n.children != nil:
		return sys.EISDIR
	case !f.movable(n):
		return sys.EROFS
	}
	f.remove(n)
	return 0
}

func (f *files) Rename(from, to string) sys.Errno {
	n, errno := f.find(from)
	if errno != 0 {
		return errno
	}
	parent, name, errno := f.split(to)
	switch {
	case errno != 0:
		return errno
	case !f.movable(n) || name == "" || !parent.writable:
		return sys.EROFS
	case n.children == nil && strings.HasSuffix(to, "/"):
		return sys.ENOTDIR
	}
	for p := parent; p != nil; p = p.parent {
		if p == n {
			return sys.EINVAL // into itself
		}
	}
	if old := parent.children[name]; old != nil {
		switch {
		case old == n:
			return 0
		case n.children != nil && old.children == nil:
			return sys.ENOTDIR
		case n.children == nil && old.children != nil:
			return sys.EISDIR
		case len(old.children) > 0:
			return sys.ENOTEMPTY
		}
		f.remove(old)
	}
	delete(n.parent.children, n.name)
	n.parent, n.name = parent, name
	parent.children[name] = n
	return 0
}

// Links are refused: a name means one thing.

func (f *files) Link(_, _ string) sys.Errno          { return sys.EPERM }
func (f *files) Symlink(_, _ string) sys.Errno       { return sys.EPERM }
func (f *files) Readlink(string) (string, sys.Errno) { return "", sys.EINVAL }
func (f *files) Chmod(string, fs.FileMode) sys.Errno { return sys.EPERM }
func (f *files) Utimens(path string, _, _ int64) sys.Errno {
	_, errno := f.find(path)
	return errno // all times are the same
}

// A file is a node that a guest has open.
type file struct {
	sys.UnimplementedFile
	files               *files
	node                *node
	read, write, append bool
	closed              bool
	at                  int64
	list                []sys.Dirent // what of a directory has not been read yet
	listed              bool
}

func (f *file) Dev() (uint64, sys.Errno)       { return 1, 0 }
func (f *file) Ino() (wasi.Inode, sys.Errno)   { return f.node.inode, 0 }
func (f *file) IsDir() (bool, sys.Errno)       { return f.node.children != nil, 0 }
func (f *file) IsAppend() bool                 { return f.append }
func (f *file) Stat() (wasi.Stat_t, sys.Errno) { return f.node.stat(), 0 }
func (f *file) Utimens(int64, int64) sys.Errno { return 0 }
func (f *file) SetAppend(enable bool) sys.Errno {
	f.append = enable
	return 0
}

func (f *file) Read(buf []byte) (int, sys.Errno) {
	n, errno := f.Pread(buf, f.at)
	f.at += int64(n)
	return n, errno
}

func (f *file) Pread(buf []byte, off int64) (int, sys.Errno) {
	switch {
	case f.node.children != nil:
		return 0, sys.EISDIR
	case !f.read:
		return 0, sys.EBADF
	case off < 0:
		return 0, sys.EINVAL
	case off >= int64(len(f.node.data)):
		return 0, 0
	}
	n := min(len(buf), len(f.node.data)-int(off))
	f.files.charge(n)
	return copy(buf, f.node.data[off:]), 0
}

func (f *file) Write(buf []byte) (int, sys.Errno) {
	if f.append {
		f.at = int64(len(f.node.data))
	}
	n, errno := f.Pwrite(buf, f.at)
	f.at += int64(n)
	return n, errno
}

func (f *file) Pwrite(buf []byte, off int64) (int, sys.Errno) {
	switch {
	case !f.write:
		return 0, sys.EBADF
	case off < 0:
		return 0, sys.EINVAL
	case len(buf) == 0:
		return 0, 0
	}
	f.files.charge(len(buf))
	end := off + int64(len(buf))
	if end < off {
		end = 1<<63 - 1
	}
	if end > int64(len(f.node.data)) {
		if errno := f.files.resize(f.node, end); errno != 0 {
			return 0, errno
		}
	}
	return copy(f.node.data[off:], buf), 0
}

func (f *file) Truncate(size int64) sys.Errno {
	switch {
	case !f.write:
		return sys.EBADF
	case size < 0:
		return sys.EINVAL
	}
	return f.files.resize(f.node, size)
}

// go vet takes any Seek of an int64 for that of io.Seeker; the engine's has
// its own kind of error.
type offset = int64

func (f *file) Seek(offset offset, whence int) (int64, sys.Errno) {
	if f.node.children != nil {
		if offset != 0 || whence != io.SeekStart {
			return 0, sys.EINVAL
		}
		f.listed = false
		return 0, 0
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += int64(len(f.node.data))
	default:
		return 0, sys.EINVAL
	}
	if offset < 0 {
		return 0, sys.EINVAL
	}
	f.at = offset
	return offset, 0
}

// Readdir lists a directory by name, so that it is the same each time.
func (f *file) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	if f.node.children == nil {
		return nil, sys.ENOTDIR
	}
	if !f.listed {
		f.listed = true
		f.list = nil
		for name, c := range f.node.children {
			f.list = append(f.list, sys.Dirent{Name: name, Ino: c.inode, Type: c.stat().Mode.Type()})
			f.files.charge(64 + len(name))
		}
		slices.SortFunc(f.list, func(a, b sys.Dirent) int { return strings.Compare(a.Name, b.Name) })
	}
	if n <= 0 || n > len(f.list) {
		n = len(f.list)
	}
	some := f.list[:n]
	f.list = f.list[n:]
	return some, 0
}

// Close may come twice: the engine closes a descriptor that is renumbered to
// itself, and keeps it.
func (f *file) Close() sys.Errno {
	if f.closed {
		return 0
	}
	f.closed = true
	f.files.open--
	f.node.open--
	f.files.forget(f.node)
	return 0
}
