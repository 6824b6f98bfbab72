package wasm

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prytany/prytany/sandbox"
)

// What a guest may hold beside its memory. In /out one byte and one file more
// than allowed find room: what they are for is to show that it was too much.
const (
	maxOpen       = 1024    // files and directories open at once
	maxDescriptor = 4096    // the largest number of one
	maxListed     = 1 << 16 // entries that are kept for those who list directories
)

// files is all the guest can see: a tree in memory with the directories /in,
// which nobody can write to, and /out and /tmp, which hold so much and no more;
// and what of it the guest has open. Links do not exist.
type files struct {
	root, in, out, tmp *node
	spaces             [2]*space // of /out and /tmp
	inodes             uint64
	charge             func(bytes int)
	stamp              func() uint64

	open   []*descriptor // by their numbers
	opened int           // but for the standard streams
	listed int           // entries that are kept for fd_readdir
}

// A space is what may be written to in one of the directories.
type space struct {
	device uint64
	limit  uint64
	size   uint64 // bytes in it, and in what was removed but is open
	most   int
	count  int // files and directories below, likewise
}

// A node is a file or a directory.
type node struct {
	parent   *node // nil if it was removed
	name     string
	inode    uint64
	space    *space           // nil if nobody can write to it
	children map[string]*node // of a directory
	data     []byte           // of a file
	open     int

	accessed, modified, changed uint64 // nanoseconds since 1970; reading is no access
}

// newFiles makes the directories of the contract, with room for limit bytes in
// /out and scratch bytes in /tmp.
func newFiles(limit, scratch uint64, charge func(bytes int), stamp func() uint64) *files {
	f := &files{charge: charge, stamp: stamp}
	f.spaces = [2]*space{
		{device: 2, limit: limit + 1, most: sandbox.MaxFiles + 1},
		{device: 3, limit: scratch, most: sandbox.TmpFiles},
	}
	f.root = f.directory(nil, "", nil)
	f.in = f.directory(f.root, "in", nil)
	f.out = f.directory(f.root, "out", f.spaces[0])
	f.tmp = f.directory(f.root, "tmp", f.spaces[1])
	return f
}

// load puts files into a directory. The guest cannot write to them, so they are not copied.
func (f *files) load(dir *node, files []sandbox.File) error {
	for _, in := range files {
		at := dir
		path := strings.Split(in.Name, "/")
		for _, name := range path[:len(path)-1] {
			next := at.children[name]
			if next == nil {
				next = f.directory(at, name, nil)
			}
			if next.children == nil {
				return fmt.Errorf("input %s: %w", in.Name, fs.ErrExist)
			}
			at = next
		}
		name := path[len(path)-1]
		if at.children[name] != nil {
			return fmt.Errorf("input %s: %w", in.Name, fs.ErrExist)
		}
		f.add(at, name, &node{data: in.Data}, epoch)
	}
	return nil
}

func (f *files) directory(parent *node, name string, of *space) *node {
	return f.add(parent, name, &node{children: map[string]*node{}, space: of}, epoch)
}

func (f *files) add(parent *node, name string, n *node, at uint64) *node {
	f.inodes++
	n.parent, n.name, n.inode = parent, name, f.inodes
	n.accessed, n.modified, n.changed = at, at, at
	if parent != nil {
		parent.children[name] = n
	}
	return n
}

// below lists what is under a directory, in the form of StateDigest.
func (n *node) below(prefix string) (list []sandbox.File) {
	for name, c := range n.children {
		if c.children == nil {
			list = append(list, sandbox.File{Name: prefix + name, Data: c.data})
			continue
		}
		list = append(list, sandbox.File{Name: prefix + name + "/"})
		list = append(list, c.below(prefix+name+"/")...)
	}
	return list
}

// written is all that the guest has left: the writable state.
func (f *files) written() []sandbox.File { return append(f.out.below("out/"), f.tmp.below("tmp/")...) }

// take hands over the files in /out, sorted by name.
func (f *files) take() (outputs []sandbox.File) {
	for _, o := range f.out.below("") {
		if !strings.HasSuffix(o.Name, "/") {
			outputs = append(outputs, o)
		}
	}
	slices.SortFunc(outputs, func(a, b sandbox.File) int { return strings.Compare(a.Name, b.Name) })
	f.out.children = map[string]*node{}
	return outputs
}

// tooMuch says of what there is more in /out than allowed, when all is closed.
func (f *files) tooMuch() string {
	switch out := f.spaces[0]; {
	case out.size == out.limit:
		return "bytes"
	case out.count == out.most:
		return "files"
	}
	return ""
}

// closeAll closes what the guest has open, and with that forgets what it removed.
func (f *files) closeAll() {
	for fd := range f.open {
		_ = f.close(uint64(fd))
	}
}

// wipe overwrites and removes what is in /out and /tmp.
func (f *files) wipe() {
	f.closeAll()
	for _, w := range f.written() {
		clear(w.Data)
	}
	for _, dir := range []*node{f.out, f.tmp} {
		dir.children = map[string]*node{}
	}
}

// A place is where a path leads to. There need not be anything.
type place struct {
	parent *node // nil if the path does not end in a name
	name   string
	node   *node // nil if there is nothing
}

// What the host looks at for a guest is charged as so many bytes: at 100,000 gas a
// millisecond, which every chain's machines can do (spec §3.5.2), it must never take
// longer than its gas.
const (
	stepBytes  = 128  // one name of a path
	entryBytes = 1024 // one entry of a directory, to list and to sort
)

// walk follows a path from a directory, and never above it.
func (f *files) walk(dir *node, path string) (place, errno) {
	switch {
	case len(path) > sandbox.MaxPath:
		return place{}, enametoolong
	case path == "":
		return place{}, enoent
	case path[0] == '/':
		return place{}, eperm
	case strings.ContainsRune(path, 0): // no system has one, and no archive
		return place{}, einval
	case !utf8.ValidString(path):
		return place{}, eilseq
	}
	p := place{node: dir}
	for name := range strings.SplitSeq(path, "/") {
		at := p.node
		f.charge(stepBytes)
		switch {
		case at == nil:
			return place{}, enoent
		case at.children == nil:
			return place{}, enotdir
		case name == "": // a slash at the end, or one too many
		case name == ".":
			p = place{node: at}
		case name == ".." && at == dir:
			return place{}, eperm
		case name == "..":
			p = place{node: at.parent}
		case len(name) > sandbox.MaxName:
			return place{}, enametoolong
		default:
			p = place{parent: at, name: name, node: at.children[name]}
		}
	}
	return p, success
}

// find follows a path to what there is.
func (f *files) find(dir *node, path string) (*node, errno) {
	p, e := f.walk(dir, path)
	if e == success && p.node == nil {
		e = enoent
	}
	return p.node, e
}

// create adds a file or directory, if there may be one more.
func (f *files) create(p place, n *node) (*node, errno) {
	s := p.parent.space
	switch {
	case s == nil:
		return nil, erofs
	case p.parent != f.root && p.parent.parent == nil: // a directory that was removed
		return nil, enoent
	case s.count >= s.most:
		return nil, enospc
	}
	s.count++
	n.space = s
	f.touch(p.parent)
	return f.add(p.parent, p.name, n, p.parent.modified), success
}

// touch notes that a node has another content now.
func (f *files) touch(n *node) {
	n.modified = f.stamp()
	n.changed = n.modified
}

// remove takes a node out of the tree. Its content lives on while it is open.
func (f *files) remove(n *node) {
	delete(n.parent.children, n.name)
	f.touch(n.parent)
	n.changed = n.parent.modified
	n.parent = nil
	f.forget(n)
}

func (f *files) forget(n *node) {
	if n.parent == nil && n.open == 0 && n.space != nil {
		n.space.count--
		n.space.size -= uint64(len(n.data))
		clear(n.data)
		n.data = nil
		n.space = nil
	}
}

// resize makes a file longer or shorter, if there is room. A longer one is
// filled with zeros.
func (f *files) resize(n *node, size int64) errno {
	s, old := n.space, int64(len(n.data))
	if size > old && uint64(size-old) > s.limit-s.size {
		return enospc
	}
	s.size += uint64(size - old)
	clear(n.data[min(size, old):])
	// Room that is not used counts for nobody, so it is given back.
	if size <= int64(cap(n.data)) && size >= int64(cap(n.data))/4 {
		n.data = n.data[:size]
		return success
	}
	f.charge(int(size))
	grown := make([]byte, size, max(size, min(2*size, int64(s.limit))))
	copy(grown, n.data)
	clear(n.data)
	n.data = grown
	return success
}

// The directories that are part of the contract stay where they are.
func (f *files) movable(n *node) bool { return n.space != nil && n != f.out && n != f.tmp }

func (f *files) mkdir(dir *node, path string) errno {
	p, e := f.walk(dir, strings.TrimRight(path, "/"))
	switch {
	case e != success:
		return e
	case p.node != nil:
		return eexist
	}
	_, e = f.create(p, &node{children: map[string]*node{}})
	return e
}

// unlink removes a file, or an empty directory.
func (f *files) unlink(dir *node, path string, directory bool) errno {
	p, e := f.walk(dir, path)
	n := p.node
	switch {
	case e != success:
		return e
	case n == nil:
		return enoent
	case p.parent == nil:
		return einval
	case directory && n.children == nil:
		return enotdir
	case !directory && n.children != nil:
		return eisdir
	case !f.movable(n):
		return erofs
	case len(n.children) > 0:
		return enotempty
	}
	f.remove(n)
	return success
}

func (f *files) rename(fromDir *node, from string, toDir *node, to string) errno {
	p, e := f.walk(fromDir, from)
	if e != success {
		return e
	}
	n := p.node
	if n == nil {
		return enoent
	}
	if n.children != nil {
		to = strings.TrimRight(to, "/")
	}
	q, e := f.walk(toDir, to)
	switch {
	case e != success:
		return e
	case p.parent == nil || q.parent == nil:
		return einval
	case !f.movable(n) || q.parent.space == nil:
		return erofs
	case q.parent.space != n.space:
		return exdev
	case q.parent.parent == nil:
		return enoent
	}
	for d := q.parent; d != nil; d = d.parent {
		if d == n {
			return einval // into itself
		}
	}
	if old := q.node; old != nil {
		switch {
		case old == n:
			return success
		case n.children != nil && old.children == nil:
			return enotdir
		case n.children == nil && old.children != nil:
			return eisdir
		case len(old.children) > 0:
			return enotempty
		}
		f.remove(old)
	}
	delete(n.parent.children, n.name)
	f.touch(n.parent)
	n.parent, n.name = q.parent, q.name
	q.parent.children[q.name] = n
	f.touch(q.parent)
	n.changed = q.parent.modified
	return success
}

func (n *node) device() uint64 {
	if n.space == nil {
		return 1
	}
	return n.space.device
}

// A descriptor is what a guest has open: a node or, where that is nil, a
// standard stream.
type descriptor struct {
	files       *files
	node        *node
	stream      func(b []byte) // takes what is written to a stream
	preopen     bool
	read, write bool
	flags       uint16
	at          int64
	list        []entry // of a directory, as it was when it was read from the start
}

// An entry is a name in a directory.
type entry struct {
	name  string
	inode uint64
	kind  byte
}

// start opens what a guest finds open: the standard streams and the root.
func (f *files) start(stdout, stderr func(b []byte)) {
	f.open = []*descriptor{
		{files: f, read: true},
		{files: f, write: true, stream: stdout},
		{files: f, write: true, stream: stderr},
		{files: f, node: f.root, read: true, preopen: true},
	}
	f.root.open++
	f.opened = 1
}

func (f *files) descriptor(fd uint64) (*descriptor, errno) {
	if n := uint32(fd); int64(n) < int64(len(f.open)) && f.open[n] != nil {
		return f.open[n], success
	}
	return nil, ebadf
}

// An opening is how a file is to be opened.
type opening struct {
	create, exclusive, truncate, directory bool
	read, write                            bool
	flags                                  uint16
}

// openAt opens, and gives the least number that is free.
func (f *files) openAt(dir *node, path string, o opening) (uint32, errno) {
	if f.opened >= maxOpen {
		return 0, emfile
	}
	p, e := f.walk(dir, path)
	n := p.node
	switch {
	case e != success:
		return 0, e
	case n == nil && !o.create:
		return 0, enoent
	case n == nil:
		if n, e = f.create(p, &node{}); e != success {
			return 0, e
		}
	case o.create && o.exclusive:
		return 0, eexist
	case n.children != nil && (o.write || o.create || o.truncate):
		return 0, eisdir
	case n.children == nil && o.directory:
		return 0, enotdir
	case n.space == nil && (o.write || o.truncate):
		return 0, erofs
	}
	d := &descriptor{files: f, node: n, read: o.read, write: o.write, flags: o.flags}
	if o.truncate && len(n.data) > 0 {
		if e := f.resize(n, 0); e != success {
			return 0, e
		}
		f.touch(n)
	}
	n.open++
	f.opened++
	fd := slices.Index(f.open, nil)
	if fd < 0 {
		fd = len(f.open)
		f.open = append(f.open, nil)
	}
	f.open[fd] = d
	return uint32(fd), success
}

func (f *files) close(fd uint64) errno {
	d, e := f.descriptor(fd)
	if e != success {
		return e
	}
	f.open[uint32(fd)] = nil
	f.listed -= len(d.list)
	if d.node != nil {
		f.opened--
		d.node.open--
		f.forget(d.node)
	}
	return success
}

// renumber gives a descriptor another number, in place of what has that.
func (f *files) renumber(from, to uint64) errno {
	d, e := f.descriptor(from)
	switch {
	case e != success:
		return e
	case uint32(to) > maxDescriptor:
		return ebadf
	case uint32(from) == uint32(to):
		return success
	}
	_ = f.close(to)
	for len(f.open) <= int(uint32(to)) {
		f.open = append(f.open, nil)
	}
	f.open[uint32(from)], f.open[uint32(to)] = nil, d
	return success
}

// readDir notes what is in a directory, by name, so that it is the same each time.
func (d *descriptor) readDir() errno {
	n, f := d.node, d.files
	f.listed += 2 + len(n.children) - len(d.list)
	if d.list = nil; f.listed > maxListed {
		f.listed -= 2 + len(n.children)
		return emfile
	}
	up := n.parent
	if up == nil {
		up = n
	}
	d.list = append(make([]entry, 0, 2+len(n.children)), entry{".", n.inode, directory}, entry{"..", up.inode, directory})
	for name, c := range n.children {
		d.list = append(d.list, entry{name, c.inode, kindOf(c)})
		f.charge(entryBytes)
	}
	slices.SortFunc(d.list[2:], func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return success
}

// next reads on.
func (d *descriptor) next(buf []byte) (int, errno) {
	if d.node == nil {
		if !d.read {
			return 0, ebadf
		}
		return 0, success // nobody types
	}
	n, e := d.readAt(buf, d.at)
	d.at += int64(n)
	return n, e
}

func (d *descriptor) readAt(buf []byte, off int64) (int, errno) {
	switch {
	case d.node.children != nil:
		return 0, eisdir
	case !d.read:
		return 0, ebadf
	case off < 0:
		return 0, einval
	case off >= int64(len(d.node.data)):
		return 0, success
	}
	n := min(len(buf), len(d.node.data)-int(off))
	d.files.charge(n)
	return copy(buf, d.node.data[off:]), success
}

// append writes on.
func (d *descriptor) append(buf []byte) (int, errno) {
	if d.node == nil {
		if !d.write {
			return 0, ebadf
		}
		d.files.charge(len(buf))
		d.stream(buf)
		return len(buf), success
	}
	if d.flags&flagAppend != 0 {
		d.at = int64(len(d.node.data))
	}
	n, e := d.writeAt(buf, d.at)
	d.at += int64(n)
	return n, e
}

// writeAt writes as much as there is room for.
func (d *descriptor) writeAt(buf []byte, off int64) (int, errno) {
	switch {
	case !d.write:
		return 0, ebadf
	case off < 0:
		return 0, einval
	case len(buf) == 0:
		return 0, success
	case off+int64(len(buf)) < 0:
		return 0, efbig
	}
	d.files.charge(len(buf))
	n := d.node
	end := off + int64(len(buf))
	if size := int64(len(n.data)); end > size {
		end = min(end, size+int64(n.space.limit-n.space.size))
		if end <= off {
			return 0, enospc
		}
		if e := d.files.resize(n, max(end, size)); e != success {
			return 0, e
		}
	}
	d.files.touch(n)
	return copy(n.data[off:end], buf), success
}

// truncate makes a file as long as that.
func (d *descriptor) truncate(size int64) errno {
	e := d.files.resize(d.node, size)
	if e == success {
		d.files.touch(d.node)
	}
	return e
}

// Where to seek from.
const (
	seekStart = iota
	seekCurrent
	seekEnd
)

func (d *descriptor) seek(offset int64, whence uint32) (int64, errno) {
	switch {
	case d.node == nil:
		return 0, espipe
	case d.node.children != nil:
		return 0, eisdir
	}
	switch whence {
	case seekStart:
	case seekCurrent:
		offset += d.at
	case seekEnd:
		offset += int64(len(d.node.data))
	default:
		return 0, einval
	}
	if offset < 0 {
		return 0, einval
	}
	d.at = offset
	return offset, success
}

// message is what a guest has written of its failure.
func (f *files) message() string {
	n := f.out.children[sandbox.MessageFile]
	if n == nil {
		return ""
	}
	return sandbox.ReadMessage(strings.NewReader(string(n.data[:min(len(n.data), sandbox.MaxMessage)])))
}
