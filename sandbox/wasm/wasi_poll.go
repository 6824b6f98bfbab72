package wasm

import (
	"encoding/binary"
	"math"
)

// This file is how a guest of WASI waits.

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
