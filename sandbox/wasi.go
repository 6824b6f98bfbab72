package sandbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// wasiModule is what guests import.
const wasiModule = "wasi_snapshot_preview1"

// An errno is what a call of WASI says, by the numbers of its specification.
type errno uint16

const (
	success      errno = 0
	ebadf        errno = 8
	eexist       errno = 20
	efault       errno = 21
	efbig        errno = 22
	eilseq       errno = 25
	einval       errno = 28
	eisdir       errno = 31
	emfile       errno = 33
	enametoolong errno = 37
	enoent       errno = 44
	enospc       errno = 51
	enotdir      errno = 54
	enotempty    errno = 55
	enotsock     errno = 57
	enotsup      errno = 58
	eperm        errno = 63
	erofs        errno = 69
	espipe       errno = 70
	exdev        errno = 75
)

// A call is one function of WASI preview 1. The table of them is §9.9 of the
// specification, and complete: the engine's own functions are not used, for
// some of them promise what they do not do.
type call struct {
	name    string
	params  []api.ValueType
	lengths []length
	do      func(r *run, p []uint64) errno
}

// A length is a parameter that the host works through: for how many bytes each
// unit counts, and how many there may be, for nothing looks at the time while
// the host is at it.
type length struct {
	param      int
	unit, most uint64
}

// What one call may ask for, about a third of a second of the host's; a program
// that asks for more crashes.
const (
	maxVectors       = 1 << 23
	maxSubscriptions = 1 << 20
	maxBuffer        = 64 << 20 // bytes
)

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

func vectors(param int) length { return length{param, 64, maxVectors} }
func buffer(param int) length  { return length{param, 1, maxBuffer} }

type (
	types   = []api.ValueType
	lengths = []length
)

var wasi = []call{
	{"args_get", types{i32, i32}, nil, argsGet},
	{"args_sizes_get", types{i32, i32}, nil, argsSizesGet},
	{"environ_get", types{i32, i32}, nil, func(*run, []uint64) errno { return success }},
	{"environ_sizes_get", types{i32, i32}, nil, environSizesGet},
	{"clock_res_get", types{i32, i32}, nil, clockResGet},
	{"clock_time_get", types{i32, i64, i32}, nil, clockTimeGet},
	{"fd_advise", types{i32, i64, i64, i32}, nil, fdAdvise},
	{"fd_allocate", types{i32, i64, i64}, nil, fdAllocate},
	{"fd_close", types{i32}, nil, fdClose},
	{"fd_datasync", types{i32}, nil, fdSync},
	{"fd_fdstat_get", types{i32, i32}, nil, fdFdstatGet},
	{"fd_fdstat_set_flags", types{i32, i32}, nil, fdFdstatSetFlags},
	{"fd_fdstat_set_rights", types{i32, i64, i64}, nil, refuseOpen(enotsup)},
	{"fd_filestat_get", types{i32, i32}, nil, fdFilestatGet},
	{"fd_filestat_set_size", types{i32, i64}, nil, fdFilestatSetSize},
	{"fd_filestat_set_times", types{i32, i64, i64, i32}, nil, fdFilestatSetTimes},
	{"fd_pread", types{i32, i32, i32, i64, i32}, lengths{vectors(2)}, fdPread},
	{"fd_prestat_get", types{i32, i32}, nil, fdPrestatGet},
	{"fd_prestat_dir_name", types{i32, i32, i32}, lengths{buffer(2)}, fdPrestatDirName},
	{"fd_pwrite", types{i32, i32, i32, i64, i32}, lengths{vectors(2)}, fdPwrite},
	{"fd_read", types{i32, i32, i32, i32}, lengths{vectors(2)}, fdRead},
	{"fd_readdir", types{i32, i32, i32, i64, i32}, lengths{buffer(2)}, fdReaddir},
	{"fd_renumber", types{i32, i32}, nil, fdRenumber},
	{"fd_seek", types{i32, i64, i32, i32}, nil, fdSeek},
	{"fd_sync", types{i32}, nil, fdSync},
	{"fd_tell", types{i32, i32}, nil, fdTell},
	{"fd_write", types{i32, i32, i32, i32}, lengths{vectors(2)}, fdWrite},
	{"path_create_directory", types{i32, i32, i32}, lengths{buffer(2)}, pathCreateDirectory},
	{"path_filestat_get", types{i32, i32, i32, i32, i32}, lengths{buffer(3)}, pathFilestatGet},
	{"path_filestat_set_times", types{i32, i32, i32, i32, i64, i64, i32}, lengths{buffer(3)}, pathFilestatSetTimes},
	{"path_link", types{i32, i32, i32, i32, i32, i32, i32}, lengths{buffer(3), buffer(6)}, pathLink},
	{"path_open", types{i32, i32, i32, i32, i32, i64, i64, i32, i32}, lengths{buffer(3)}, pathOpen},
	{"path_readlink", types{i32, i32, i32, i32, i32, i32}, lengths{buffer(2), buffer(4)}, pathReadlink},
	{"path_remove_directory", types{i32, i32, i32}, lengths{buffer(2)}, pathRemoveDirectory},
	{"path_rename", types{i32, i32, i32, i32, i32, i32}, lengths{buffer(2), buffer(5)}, pathRename},
	{"path_symlink", types{i32, i32, i32, i32, i32}, lengths{buffer(1), buffer(4)}, pathSymlink},
	{"path_unlink_file", types{i32, i32, i32}, lengths{buffer(2)}, pathUnlinkFile},
	{"poll_oneoff", types{i32, i32, i32, i32}, lengths{{2, 48, maxSubscriptions}}, pollOneoff},
	{"proc_exit", types{i32}, nil, nil}, // the one that does not return
	{"proc_raise", types{i32}, nil, func(*run, []uint64) errno { return enotsup }},
	{"random_get", types{i32, i32}, lengths{buffer(1)}, randomGet},
	{"sched_yield", nil, nil, func(*run, []uint64) errno { return success }},
	{"sock_accept", types{i32, i32, i32}, nil, refuseOpen(enotsock)},
	{"sock_recv", types{i32, i32, i32, i32, i32, i32}, lengths{vectors(2)}, refuseOpen(enotsock)},
	{"sock_send", types{i32, i32, i32, i32, i32}, lengths{vectors(2)}, refuseOpen(enotsock)},
	{"sock_shutdown", types{i32, i32}, nil, refuseOpen(enotsock)},
}

// isCall says which names a module may import.
var isCall = func() map[string]bool {
	names := map[string]bool{}
	for _, c := range wasi {
		names[c.name] = true
	}
	return names
}()

// exportWASI gives the table to an engine.
func exportWASI(ctx context.Context, to wazero.Runtime) error {
	b := to.NewHostModuleBuilder(wasiModule)
	for _, c := range wasi {
		results := types{i32}
		if c.do == nil {
			results = nil
		}
		b.NewFunctionBuilder().WithGoModuleFunction(c, c.params, results).Export(c.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// Call is how the engine calls one for a guest. It charges before anything is
// done, so that no argument makes work that is not paid.
func (c call) Call(ctx context.Context, guest api.Module, stack []uint64) {
	r := ctx.Value(runKey{}).(*run)
	if r.ctx.Err() != nil {
		r.expired.Store(true)
		panic(errStopped)
	}
	cost := uint64(callGas)
	for _, l := range c.lengths {
		n := uint64(uint32(stack[l.param]))
		if n > l.most {
			panic(fmt.Errorf("%s of %d, more than %d", c.name, n, l.most))
		}
		cost += perBytes(n * l.unit)
	}
	if c.name == "args_get" {
		cost += perBytes(uint64(r.argBytes() - len(program) - 1)) // its own name is free
	}
	r.charge(cost)
	if c.do == nil {
		code := uint32(stack[0])
		_ = guest.CloseWithExitCode(ctx, code)
		panic(sys.NewExitError(code))
	}
	r.memory = guest.Memory()
	e := c.do(r, stack)
	stack[0] = uint64(e)
}

// refuseOpen is for calls that no descriptor has a use for.
func refuseOpen(e errno) func(*run, []uint64) errno {
	return func(r *run, p []uint64) errno {
		if _, bad := r.files.descriptor(p[0]); bad != success {
			return bad
		}
		return e
	}
}

// The guest's memory.

func (r *run) bytes(at, n uint64) ([]byte, errno) {
	b, ok := r.memory.Read(uint32(at), uint32(n))
	if !ok {
		return nil, efault
	}
	return b, success
}

func (r *run) put32(at uint64, v uint32) errno {
	if !r.memory.WriteUint32Le(uint32(at), v) {
		return efault
	}
	return success
}

func (r *run) put64(at, v uint64) errno {
	if !r.memory.WriteUint64Le(uint32(at), v) {
		return efault
	}
	return success
}

// at reads a path, and the directory that it is from.
func (r *run) at(fd, path, n uint64) (*node, string, errno) {
	b, e := r.bytes(path, n)
	if e != success {
		return nil, "", e
	}
	d, e := r.files.descriptor(fd)
	switch {
	case e != success:
		return nil, "", e
	case d.node == nil || d.node.children == nil:
		return nil, "", enotdir
	case len(b) > maxPath:
		return nil, "", enametoolong
	}
	return d.node, string(b), success
}

// Arguments, environment, clocks, chance.

func (r *run) argBytes() (n int) {
	for _, a := range r.args {
		n += len(a) + 1
	}
	return n
}

func argsSizesGet(r *run, p []uint64) errno {
	return cmpErr(r.put32(p[0], uint32(len(r.args))), r.put32(p[1], uint32(r.argBytes())))
}

func argsGet(r *run, p []uint64) errno {
	table, e1 := r.bytes(p[0], uint64(len(r.args))*4)
	text, e2 := r.bytes(p[1], uint64(r.argBytes()))
	if e := cmpErr(e1, e2); e != success {
		return e
	}
	at := 0
	for i, a := range r.args {
		binary.LittleEndian.PutUint32(table[4*i:], uint32(p[1])+uint32(at))
		at += copy(text[at:], a)
		text[at] = 0
		at++
	}
	return success
}

func environSizesGet(r *run, p []uint64) errno { return cmpErr(r.put32(p[0], 0), r.put32(p[1], 0)) }

// cmpErr is the first that is one.
func cmpErr(a, b errno) errno {
	if a != success {
		return a
	}
	return b
}

// The clocks there are. Those of processor time would tell how fast the host is.
const (
	realtime  = 0
	monotonic = 1
)

func clockResGet(r *run, p []uint64) errno {
	if uint32(p[0]) > monotonic {
		return einval
	}
	return r.put64(p[1], tick)
}

func clockTimeGet(r *run, p []uint64) errno {
	switch uint32(p[0]) {
	case realtime:
		return r.put64(p[2], r.stamp())
	case monotonic:
		return r.put64(p[2], uint64(r.nanotime()))
	}
	return einval
}

func randomGet(r *run, p []uint64) errno {
	b, e := r.bytes(p[0], p[1])
	if e == success {
		_, _ = r.random.Read(b) // never fails
	}
	return e
}

// Descriptors.

func fdAdvise(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case d.node == nil:
		return espipe
	case int64(p[1]) < 0 || int64(p[2]) < 0 || int64(p[1]+p[2]) < 0 || uint32(p[3]) > 5:
		return einval
	}
	return success // all is in memory: there is no better place to have it
}

func fdAllocate(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case d.node == nil:
		return espipe
	case int64(p[1]) < 0 || p[2] == 0:
		return einval
	case int64(p[2]) < 0 || int64(p[1]+p[2]) < 0:
		return efbig
	case !d.write:
		return ebadf
	case int64(p[1]+p[2]) <= int64(len(d.node.data)):
		return success
	}
	return d.truncate(int64(p[1] + p[2]))
}

func fdClose(r *run, p []uint64) errno { return r.files.close(p[0]) }

// fdSync has nothing to wait for: what is written is in memory.
func fdSync(r *run, p []uint64) errno {
	_, e := r.files.descriptor(p[0])
	return e
}

// Kinds of files.
const (
	blockDevice = 1 // what the standard streams say they are: nobody takes it for a terminal
	directory   = 3
	regular     = 4
)

func kindOf(n *node) byte {
	switch {
	case n == nil:
		return blockDevice
	case n.children != nil:
		return directory
	}
	return regular
}

// Rights are not kept, but C libraries want to see those that they need.
const (
	rightRead  = 1 << 1
	rightWrite = 1 << 6
	// All of a file but the two above, and of a directory.
	rightsFile      = 1<<0 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<7 | 1<<8 | 1<<21 | 1<<22 | 1<<23 | 1<<27
	rightsDirectory = 1<<0 | 1<<3 | 1<<4 | (1<<27-1)&^(1<<9-1)&^(1<<22)
	rightsStream    = 1<<0 | 1<<3 | 1<<4 | 1<<21 | 1<<27
)

func (d *descriptor) rights() (own, inherited uint64) {
	switch kindOf(d.node) {
	case directory:
		return rightsDirectory, rightsDirectory | rightsFile | rightRead | rightWrite
	case blockDevice:
		own = rightsStream
	default:
		own = rightsFile
	}
	if d.read {
		own |= rightRead
	}
	if d.write {
		own |= rightWrite
	}
	return own, 0
}

func fdFdstatGet(r *run, p []uint64) errno {
	b, e1 := r.bytes(p[1], 24)
	d, e2 := r.files.descriptor(p[0])
	if e := cmpErr(e1, e2); e != success {
		return e
	}
	own, inherited := d.rights()
	clear(b)
	b[0] = kindOf(d.node)
	binary.LittleEndian.PutUint16(b[2:], d.flags)
	binary.LittleEndian.PutUint64(b[8:], own)
	binary.LittleEndian.PutUint64(b[16:], inherited)
	return success
}

// Flags of descriptors. All but append ask for what is so anyway: a call does
// not wait, and what it wrote is where it stays.
const (
	flagAppend = 1 << 0
	flagsKnown = 1<<5 - 1
)

func fdFdstatSetFlags(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case uint32(p[1])&^flagsKnown != 0:
		return einval
	}
	d.flags = uint16(p[1])
	return success
}

func (r *run) putStat(at uint64, n *node) errno {
	b, e := r.bytes(at, 64)
	if e != success {
		return e
	}
	clear(b)
	b[16] = kindOf(n)
	put := func(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
	put(24, 1)
	if n != nil {
		put(0, n.device())
		put(8, n.inode)
		put(32, uint64(len(n.data)))
		put(40, n.accessed)
		put(48, n.modified)
		put(56, n.changed)
	}
	return success
}

func fdFilestatGet(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	return r.putStat(p[1], d.node)
}

func fdFilestatSetSize(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case !d.write || d.node == nil:
		return ebadf
	case int64(p[1]) < 0:
		return efbig
	}
	return d.truncate(int64(p[1]))
}

// setTimes takes times in nanoseconds since 1970, or now.
func (r *run) setTimes(n *node, accessed, modified, flags uint64) errno {
	const setAccessed, accessedNow, setModified, modifiedNow = 1, 2, 4, 8
	f := uint32(flags)
	has := func(mask uint32) bool { return f&mask == mask }
	switch {
	case f > 15 || has(setAccessed|accessedNow) || has(setModified|modifiedNow):
		return einval
	case n == nil:
		return einval
	case n.space == nil:
		return erofs
	}
	now := r.stamp()
	if has(accessedNow) {
		accessed = now
	}
	if has(modifiedNow) {
		modified = now
	}
	if f&(setAccessed|accessedNow) != 0 {
		n.accessed = accessed
	}
	if f&(setModified|modifiedNow) != 0 {
		n.modified = modified
	}
	n.changed = now
	return success
}

func fdFilestatSetTimes(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	return r.setTimes(d.node, p[1], p[2], p[3])
}

// move has one buffer after the other read or written, and says how much it was
// in all. What was done before an error counts, and hides it.
func (r *run) move(vectors, count, result uint64, one func(b []byte) (int, errno)) errno {
	list, e := r.bytes(vectors, count*8)
	if e != success {
		return e
	}
	total := uint32(0)
	for ; len(list) > 0; list = list[8:] {
		b, e := r.bytes(uint64(binary.LittleEndian.Uint32(list)), uint64(binary.LittleEndian.Uint32(list[4:])))
		n := 0
		if e == success {
			n, e = one(b)
		}
		total += uint32(n)
		if e != success && total == 0 {
			return e
		}
		if e != success || n < len(b) {
			break
		}
	}
	return r.put32(result, total)
}

func fdRead(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	return r.move(p[1], p[2], p[3], d.next)
}

func fdPread(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case d.node == nil:
		return espipe
	}
	at := int64(p[3])
	return r.move(p[1], p[2], p[4], func(b []byte) (int, errno) {
		n, e := d.readAt(b, at)
		at += int64(n)
		return n, e
	})
}

func fdWrite(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	return r.move(p[1], p[2], p[3], d.append)
}

func fdPwrite(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case d.node == nil:
		return espipe
	}
	at := int64(p[3])
	return r.move(p[1], p[2], p[4], func(b []byte) (int, errno) {
		n, e := d.writeAt(b, at)
		at += int64(n)
		return n, e
	})
}

// The one directory that is open from the start.
const (
	preopened     = 3
	preopenedName = "/"
)

func (r *run) preopen(fd uint64) errno {
	d, e := r.files.descriptor(fd)
	if e == success && !d.preopen {
		e = ebadf
	}
	return e
}

func fdPrestatGet(r *run, p []uint64) errno {
	if e := r.preopen(p[0]); e != success {
		return e
	}
	return r.put64(p[1], uint64(len(preopenedName))<<32)
}

func fdPrestatDirName(r *run, p []uint64) errno {
	if e := r.preopen(p[0]); e != success {
		return e
	}
	n := uint32(p[2])
	if int(n) > len(preopenedName) {
		return enametoolong
	}
	b, e := r.bytes(p[1], uint64(n))
	copy(b, preopenedName)
	return e
}

// fdReaddir fills a buffer with entries from a place on. Where the buffer is
// full the last one is cut: the guest asks again, from there.
func fdReaddir(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case d.node == nil || d.node.children == nil:
		return ebadf
	}
	buf, e := r.bytes(p[1], p[2])
	if e != success {
		return e
	}
	if p[3] == 0 || d.list == nil {
		if e := d.readDir(); e != success {
			return e
		}
	}
	used := 0
	for i := p[3]; i < uint64(len(d.list)) && used < len(buf); i++ {
		entry, of := [24]byte{}, d.list[i]
		binary.LittleEndian.PutUint64(entry[0:], i+1)
		binary.LittleEndian.PutUint64(entry[8:], of.inode)
		binary.LittleEndian.PutUint32(entry[16:], uint32(len(of.name)))
		entry[20] = of.kind
		used += copy(buf[used:], entry[:])
		used += copy(buf[used:], of.name)
	}
	return r.put32(p[4], uint32(used))
}

func fdRenumber(r *run, p []uint64) errno { return r.files.renumber(p[0], p[1]) }

func fdSeek(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	at, e := d.seek(int64(p[1]), uint32(p[2]))
	if e != success {
		return e
	}
	return r.put64(p[3], uint64(at))
}

func fdTell(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	at, e := d.seek(0, seekCurrent)
	if e != success {
		return e
	}
	return r.put64(p[1], uint64(at))
}

// Paths.

func pathCreateDirectory(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	return r.files.mkdir(dir, path)
}

func pathFilestatGet(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[2], p[3])
	if e != success {
		return e
	}
	n, e := r.files.find(dir, path)
	if e != success {
		return e
	}
	return r.putStat(p[4], n)
}

func pathFilestatSetTimes(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[2], p[3])
	if e != success {
		return e
	}
	n, e := r.files.find(dir, path)
	if e != success {
		return e
	}
	return r.setTimes(n, p[4], p[5], p[6])
}

// Links are refused: a name means one thing.

func pathLink(r *run, p []uint64) errno {
	_, _, e1 := r.at(p[0], p[2], p[3])
	_, _, e2 := r.at(p[4], p[5], p[6])
	return cmpErr(cmpErr(e1, e2), eperm)
}

func pathSymlink(r *run, p []uint64) errno {
	_, _, e := r.at(p[2], p[3], p[4])
	return cmpErr(e, eperm)
}

func pathReadlink(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	_, e = r.files.find(dir, path)
	return cmpErr(e, einval) // it is there, and no link
}

func pathOpen(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[2], p[3])
	if e != success {
		return e
	}
	if _, e := r.bytes(p[8], 4); e != success {
		return e
	}
	const create, isDirectory, exclusive, truncate = 1, 2, 4, 8
	flags := uint32(p[4])
	has := func(f uint32) bool { return flags&f != 0 }
	if flags > 15 || uint32(p[7])&^flagsKnown != 0 || has(create) && has(isDirectory) {
		return einval
	}
	o := opening{
		create: has(create), exclusive: has(exclusive), truncate: has(truncate), directory: has(isDirectory),
		read: p[5]&rightRead != 0, write: p[5]&rightWrite != 0, flags: uint16(p[7]),
	}
	if !o.read && !o.write { // of programs that ask for no right
		o.read = true
		o.write = o.create || o.truncate || o.flags&flagAppend != 0
	}
	fd, e := r.files.openAt(dir, path, o)
	if e != success {
		return e
	}
	return r.put32(p[8], fd)
}

func pathRemoveDirectory(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	return r.files.unlink(dir, path, true)
}

func pathUnlinkFile(r *run, p []uint64) errno {
	dir, path, e := r.at(p[0], p[1], p[2])
	if e != success {
		return e
	}
	return r.files.unlink(dir, path, false)
}

func pathRename(r *run, p []uint64) errno {
	from, old, e1 := r.at(p[0], p[1], p[2])
	to, path, e2 := r.at(p[3], p[4], p[5])
	if e := cmpErr(e1, e2); e != success {
		return e
	}
	return r.files.rename(from, old, to, path)
}

// Polling.

// A subscription is what a guest waits for.
type subscription struct {
	kind     byte
	deadline int64 // of a clock, on the shadow clock
	errno    errno
	ready    bool // of a descriptor: always, or there is an error
	bytes    uint64
	hungUp   bool
}

const (
	subscribeClock = 0
	subscribeRead  = 1
	subscribeWrite = 2
	sizeIn         = 48
	sizeOut        = 32
)

// subscription reads one of 48 bytes. It keeps nothing: there may be many.
func (r *run) subscription(b []byte) (s subscription, e errno) {
	s.kind = b[8]
	switch s.kind {
	case subscribeClock:
		id, timeout := binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint64(b[24:])
		flags := binary.LittleEndian.Uint16(b[40:])
		switch {
		case flags > 1:
			return s, einval
		case id > monotonic:
			s.errno, s.ready = einval, true
		default:
			s.deadline = r.deadline(timeout, flags == 1, id == realtime)
		}
	case subscribeRead, subscribeWrite:
		s.ready = true
		d, bad := r.files.descriptor(uint64(binary.LittleEndian.Uint32(b[16:])))
		switch {
		case bad != success:
			s.errno = bad
		case s.kind == subscribeRead && !d.read, s.kind == subscribeWrite && !d.write:
			s.errno = ebadf
		case s.kind == subscribeRead && d.node == nil:
			s.hungUp = true
		case s.kind == subscribeRead:
			s.bytes = uint64(max(int64(len(d.node.data))-d.at, 0))
		default:
			s.bytes = uint64(maxBuffer)
		}
	default:
		return s, einval
	}
	return s, success
}

// deadline is when a clock comes to a time, on the shadow clock: not before now,
// and at its end at the latest.
func (r *run) deadline(timeout uint64, absolute, real bool) int64 {
	switch {
	case !absolute && timeout > uint64(endOfTime-r.now):
		return endOfTime
	case !absolute:
		return r.now + int64(timeout)
	case real:
		timeout -= min(timeout, epoch)
	}
	return max(int64(min(timeout, endOfTime)), min(r.now, endOfTime))
}

// pollOneoff tells of the descriptors that are ready, which is all of them, at
// once; where there is none it moves the clock to the first deadline.
func pollOneoff(r *run, p []uint64) errno {
	n := uint64(uint32(p[2]))
	if n == 0 {
		return einval
	}
	in, e1 := r.bytes(p[0], n*sizeIn)
	out, e2 := r.bytes(p[1], n*sizeOut)
	_, e3 := r.bytes(p[3], 4)
	if e := cmpErr(cmpErr(e1, e2), e3); e != success {
		return e
	}
	first, ready := int64(math.MaxInt64), false
	for at := in; len(at) > 0; at = at[sizeIn:] {
		s, e := r.subscription(at)
		switch {
		case e != success:
			return e
		case s.ready:
			ready = true
		default:
			first = min(first, s.deadline)
		}
	}
	now := r.now
	if !ready {
		r.now = max(r.now, first)
	}
	events := uint32(0)
	for ; len(in) > 0; in = in[sizeIn:] {
		// The clock is put back, for what is relative is so to what it was. A guest
		// whose events overwrite its subscriptions may see any of them.
		after := r.now
		r.now = now
		s, e := r.subscription(in)
		r.now = after
		if e != success || !s.ready && s.deadline > after {
			continue
		}
		user := binary.LittleEndian.Uint64(in)
		clear(out[:sizeOut])
		binary.LittleEndian.PutUint64(out[0:], user)
		binary.LittleEndian.PutUint16(out[8:], uint16(s.errno))
		out[10] = s.kind
		binary.LittleEndian.PutUint64(out[16:], s.bytes)
		if s.hungUp {
			out[24] = 1
		}
		out = out[sizeOut:]
		events++
	}
	return r.put32(p[3], events)
}
