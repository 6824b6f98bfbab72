package wasm

import (
	"encoding/binary"
)

// This file is the calls of WASI on descriptors.

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

// moveAt reads or writes a file from a place of it, which only files have.
func (r *run) moveAt(p []uint64, do func(d *descriptor, b []byte, at int64) (int, errno)) errno {
	d, e := r.files.descriptor(p[0])
	switch {
	case e != success:
		return e
	case d.node == nil:
		return espipe
	}
	at := int64(p[3])
	return r.move(p[1], p[2], p[4], func(b []byte) (int, errno) {
		n, e := do(d, b, at)
		at += int64(n)
		return n, e
	})
}

func fdRead(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	return r.move(p[1], p[2], p[3], d.next)
}

func fdPread(r *run, p []uint64) errno { return r.moveAt(p, (*descriptor).readAt) }

func fdWrite(r *run, p []uint64) errno {
	d, e := r.files.descriptor(p[0])
	if e != success {
		return e
	}
	return r.move(p[1], p[2], p[3], d.append)
}

func fdPwrite(r *run, p []uint64) errno { return r.moveAt(p, (*descriptor).writeAt) }

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
