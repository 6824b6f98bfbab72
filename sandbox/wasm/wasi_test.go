package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/internal/wat"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// A caller is a guest that does nothing but call the host as the test says.
type caller struct {
	t     *testing.T
	r     *run
	guest api.Module
	ctx   context.Context
	free  uint32 // memory above is not used yet
}

// callerCode imports all of WASI, and exports each as do_ and its name.
func callerCode() []byte {
	var imports, functions strings.Builder
	for _, c := range wasi {
		var list, gets strings.Builder
		for i, p := range c.params {
			list.WriteString(" " + api.ValueTypeName(p))
			fmt.Fprintf(&gets, " local.get %d\n", i)
		}
		result := " -> i32"
		if c.do == nil {
			result = ""
		}
		fmt.Fprintf(&imports, "import %s%s%s\n", c.name, list.String(), result)
		fmt.Fprintf(&functions, "func do_%s%s%s\n%s call %s\n", c.name, list.String(), result, gets.String(), c.name)
	}
	return wat.Module(imports.String() + "memory 16\n" + functions.String() + "func _start\n")
}

func newCaller(t *testing.T, limit uint64) *caller {
	t.Helper()
	b := newBare(t, callerCode(), false)
	job := sandbox.Job{
		Args: []string{"a", "bc"}, Inputs: []sandbox.File{{Name: "data", Data: []byte("Alice's data")}, {Name: "dir/b", Data: nil}},
		Limits: sandbox.Limits{OutputBytes: limit, MemoryBytes: 1 << 20, LogBytes: 100},
	}
	r := newRun(t.Context(), b.hash, &job, nil)
	r.limit, r.used = sandbox.MaxGas, b.spare
	if err := r.files.load(r.files.in, job.Inputs); err != nil {
		t.Fatal(err)
	}
	mem := &memory{limit: job.Limits.MemoryBytes}
	ctx := context.WithValue(t.Context(), runKey{}, r)
	guest, err := b.w.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, mem), b.compiled, guestConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guest.Close(context.Background()); _ = mem.wipe() })
	return &caller{t: t, r: r, guest: guest, ctx: ctx, free: 4096}
}

func (c *caller) do(name string, params ...uint64) errno {
	c.t.Helper()
	result, err := c.guest.ExportedFunction("do_"+name).Call(c.ctx, params...)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	return errno(result[0])
}

// must is for a call that has to succeed, and as for one that has to say why not.
func (c *caller) must(name string, params ...uint64) { c.t.Helper(); c.as(success, name, params...) }

func (c *caller) as(want errno, name string, params ...uint64) {
	c.t.Helper()
	if got := c.do(name, params...); got != want {
		c.t.Errorf("%s%v: %d, want %d", name, params, got, want)
	}
}

// room is memory of the guest that is not used otherwise.
func (c *caller) room(n int) uint64 {
	at := c.free
	c.free += uint32(n+7) &^ 7
	return uint64(at)
}

func (c *caller) put(b []byte) uint64 {
	at := c.room(len(b))
	c.guest.Memory().Write(uint32(at), b)
	return at
}

func (c *caller) read(at uint64, n int) []byte {
	b, ok := c.guest.Memory().Read(uint32(at), uint32(n))
	if !ok {
		c.t.Fatal("beyond the memory")
	}
	return b
}

func (c *caller) u32(at uint64) uint32 { return binary.LittleEndian.Uint32(c.read(at, 4)) }
func (c *caller) u64(at uint64) uint64 { return binary.LittleEndian.Uint64(c.read(at, 8)) }

// path is a path in the form of two parameters.
func (c *caller) path(s string) (at, n uint64) { return c.put([]byte(s)), uint64(len(s)) }

// vector is a list of one buffer.
func (c *caller) vector(at uint64, n int) uint64 {
	return c.put(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(at)), uint32(n)))
}

const (
	oCreate, oDirectory, oExclusive, oTruncate = 1, 2, 4, 8
	readWrite                                  = rightRead | rightWrite
	pastTheEnd                                 = 1 << 20 // of the memory
)

func (c *caller) open(path string, oflags, rights, fdflags uint64) uint64 {
	c.t.Helper()
	at, n := c.path(path)
	fd := c.room(4)
	c.must("path_open", preopened, 0, at, n, oflags, rights, 0, fdflags, fd)
	return uint64(c.u32(fd))
}

func (c *caller) write(fd uint64, data string) {
	c.t.Helper()
	n := c.room(4)
	c.must("fd_write", fd, c.vector(c.put([]byte(data)), len(data)), 1, n)
	if c.u32(n) != uint32(len(data)) {
		c.t.Errorf("wrote %d of %d bytes", c.u32(n), len(data))
	}
}

func (c *caller) content(fd uint64) string {
	c.t.Helper()
	n, buf := c.room(4), c.room(200)
	c.must("fd_pread", fd, c.vector(buf, 200), 1, 0, n)
	return string(c.read(buf, int(c.u32(n))))
}

// A fileStat is what a guest sees of a file.
type fileStat struct {
	device, inode, kind, links, size, accessed, modified, changed uint64
}

func statOf(b []byte) (s fileStat) {
	for i, v := range []*uint64{&s.device, &s.inode, &s.kind, &s.links, &s.size, &s.accessed, &s.modified, &s.changed} {
		*v = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s
}

func (c *caller) stat(path string) fileStat {
	c.t.Helper()
	at, n := c.path(path)
	buf := c.room(64)
	c.must("path_filestat_get", preopened, 0, at, n, buf)
	return statOf(c.read(buf, 64))
}

func (c *caller) expect(what string, got, want any) {
	c.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// subscribe makes subscriptions of clocks and descriptors.
func subscribeTo(user uint64, kind byte, id uint32, timeout uint64, flags uint16) []byte {
	b := make([]byte, sizeIn)
	binary.LittleEndian.PutUint64(b, user)
	b[8] = kind
	binary.LittleEndian.PutUint32(b[16:], id)
	binary.LittleEndian.PutUint64(b[24:], timeout)
	binary.LittleEndian.PutUint16(b[40:], flags)
	return b
}

// poll gives events as "user errno kind bytes flags".
func (c *caller) poll(subscriptions ...[]byte) (e errno, events []string) {
	in, out, n := c.put(bytes.Join(subscriptions, nil)), c.room(sizeOut*len(subscriptions)), c.room(4)
	e = c.do("poll_oneoff", in, out, uint64(len(subscriptions)), n)
	for i := uint64(0); e == success && i < uint64(c.u32(n)); i++ {
		b := c.read(out+i*sizeOut, sizeOut)
		events = append(events, fmt.Sprintf("%d %d %d %d %d", binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[8:]),
			b[10], binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint16(b[24:])))
	}
	return e, events
}

func (c *caller) now(clock uint64) uint64 {
	c.t.Helper()
	at := c.room(8)
	c.must("clock_time_get", clock, 0, at)
	return c.u64(at)
}

// rows tries each call: what it does, not only what it says.
var rows = map[string]func(c *caller){
	"args_sizes_get": func(c *caller) {
		n, size := c.room(4), c.room(4)
		c.must("args_sizes_get", n, size)
		c.expect("arguments", fmt.Sprint(c.u32(n), c.u32(size)), "3 14")
		c.as(efault, "args_sizes_get", pastTheEnd, size)
	},
	"args_get": func(c *caller) {
		table, text := c.room(12), c.room(14)
		c.must("args_get", table, text)
		c.expect("text", fmt.Sprintf("%q", c.read(text, 14)), `"function\x00a\x00bc\x00"`)
		c.expect("table", []uint32{c.u32(table), c.u32(table + 4), c.u32(table + 8)}, []uint64{text, text + 9, text + 11})
		c.as(efault, "args_get", pastTheEnd-11, text)
		c.as(efault, "args_get", table, pastTheEnd-13)
	},
	"environ_sizes_get": func(c *caller) {
		n, size := c.put([]byte{1, 1, 1, 1}), c.put([]byte{1, 1, 1, 1})
		c.must("environ_sizes_get", n, size)
		c.expect("variables", c.u32(n)+c.u32(size), 0)
	},
	"environ_get": func(c *caller) { c.must("environ_get", pastTheEnd, pastTheEnd) }, // of nothing
	"clock_res_get": func(c *caller) {
		at := c.room(8)
		for id, want := range []errno{success, success, einval, einval, einval} {
			c.as(want, "clock_res_get", uint64(id), at)
		}
		c.expect("resolution", c.u64(at), tick)
	},
	"clock_time_get": func(c *caller) {
		c.expect("time of day", c.now(realtime), epoch+tick)
		c.expect("monotonic", c.now(monotonic), 2*tick)
		for _, id := range []uint64{2, 3, 4, math.MaxUint32} {
			c.as(einval, "clock_time_get", id, 0, c.room(8))
		}
		c.as(efault, "clock_time_get", 0, 0, pastTheEnd-7)
	},
	"fd_advise": func(c *caller) {
		fd := c.open("in/data", 0, rightRead, 0)
		for advice := uint64(0); advice < 6; advice++ {
			c.must("fd_advise", fd, 0, 0, advice)
		}
		c.expect("content", c.content(fd), "Alice's data")
		c.as(einval, "fd_advise", fd, 0, 0, 6)
		c.as(einval, "fd_advise", fd, 1<<63, 0, 0)
		c.as(einval, "fd_advise", fd, 1<<62, 1<<62, 0)
		c.as(espipe, "fd_advise", 0, 0, 0, 0)
		c.as(ebadf, "fd_advise", 99, 0, 0, 0)
	},
	"fd_allocate": func(c *caller) {
		fd := c.open("out/x", oCreate, readWrite, 0)
		c.write(fd, "abc")
		c.must("fd_allocate", fd, 2, 4)
		c.expect("content", fmt.Sprintf("%q", c.content(fd)), `"abc\x00\x00\x00"`)
		c.must("fd_allocate", fd, 0, 1) // is there
		c.expect("size", c.stat("out/x").size, 6)
		for _, big := range []uint64{1 << 30, 1<<63 - 2} {
			c.as(enospc, "fd_allocate", fd, 1, big)
		}
		for _, huge := range []uint64{1<<63 - 1, 1 << 63, math.MaxUint64} {
			c.as(efbig, "fd_allocate", fd, 1, huge)
		}
		c.as(einval, "fd_allocate", fd, 0, 0)
		c.as(einval, "fd_allocate", fd, 1<<63, 1)
		c.as(ebadf, "fd_allocate", c.open("in/data", 0, rightRead, 0), 0, 100)
		c.as(espipe, "fd_allocate", 1, 0, 100)
		c.expect("size after all that", c.stat("out/x").size, 6)
		c.expect("too much", c.r.files.tooMuch(), "")
	},
	"fd_close": func(c *caller) {
		fd := c.open("in/data", 0, rightRead, 0)
		c.must("fd_close", fd)
		c.as(ebadf, "fd_close", fd)
		c.as(ebadf, "fd_tell", fd, c.room(8))
		c.expect("the next number", c.open("in/data", 0, rightRead, 0), fd)
		for fd := range uint64(4) { // the streams and the root too
			c.must("fd_close", fd)
			c.as(ebadf, "fd_close", fd)
		}
		c.as(ebadf, "fd_close", math.MaxUint32)
	},
	"fd_datasync": func(c *caller) { c.must("fd_datasync", 1); c.as(ebadf, "fd_datasync", 99) },
	"fd_sync":     func(c *caller) { c.must("fd_sync", c.open("out/x", oCreate, readWrite, 0)); c.as(ebadf, "fd_sync", 99) },
	"fd_fdstat_get": func(c *caller) {
		at := c.room(24)
		see := func(fd uint64) string {
			c.must("fd_fdstat_get", fd, at)
			b := c.read(at, 24)
			rights := binary.LittleEndian.Uint64(b[8:])
			return fmt.Sprintf("kind %d flags %d read %v write %v open %v", b[0], b[2], rights&rightRead != 0, rights&rightWrite != 0, rights&(1<<13) != 0)
		}
		c.expect("input", see(c.open("in/data", 0, rightRead, 0)), "kind 4 flags 0 read true write false open false")
		c.expect("output", see(c.open("out/x", oCreate, rightWrite, 1)), "kind 4 flags 1 read false write true open false")
		c.expect("root", see(preopened), "kind 3 flags 0 read false write false open true")
		c.expect("stdin", see(0), "kind 1 flags 0 read true write false open false")
		c.expect("stderr", see(2), "kind 1 flags 0 read false write true open false")
		c.as(efault, "fd_fdstat_get", 3, pastTheEnd-23)
		c.as(ebadf, "fd_fdstat_get", 99, at)
	},
	"fd_fdstat_set_flags": func(c *caller) {
		fd, at := c.open("out/x", oCreate, readWrite, 0), c.room(24)
		c.write(fd, "abc")
		c.must("fd_seek", fd, 0, seekStart, c.room(8))
		for flags := range uint64(flagsKnown + 1) {
			c.must("fd_fdstat_set_flags", fd, flags)
			c.must("fd_fdstat_get", fd, at)
			c.expect("flags", c.read(at, 24)[2], flags)
		}
		c.write(fd, "d")
		c.expect("appended", c.content(fd), "abcd")
		c.must("fd_fdstat_set_flags", fd, 0)
		c.must("fd_seek", fd, 0, seekStart, c.room(8))
		c.write(fd, "A")
		c.expect("no longer", c.content(fd), "Abcd")
		c.as(einval, "fd_fdstat_set_flags", fd, 1<<5)
		c.as(einval, "fd_fdstat_set_flags", fd, 1<<16)
		c.as(ebadf, "fd_fdstat_set_flags", 99, 0)
	},
	"fd_fdstat_set_rights": func(c *caller) {
		c.as(enotsup, "fd_fdstat_set_rights", 3, 0, 0)
		c.as(ebadf, "fd_fdstat_set_rights", 99, 0, 0)
	},
	"fd_filestat_get": func(c *caller) {
		at := c.room(64)
		c.must("fd_filestat_get", c.open("in/data", 0, rightRead, 0), at)
		s := statOf(c.read(at, 64))
		c.expect("input", fmt.Sprint(s.device, s.kind, s.links, s.size, s.accessed, s.modified, s.changed), fmt.Sprint(1, regular, 1, 12, uint64(epoch), uint64(epoch), uint64(epoch)))
		c.must("fd_filestat_get", 1, at)
		c.expect("stdout", statOf(c.read(at, 64)).kind, blockDevice)
		c.as(efault, "fd_filestat_get", 3, pastTheEnd-63)
		c.as(ebadf, "fd_filestat_get", 99, at)
	},
	"fd_filestat_set_size": func(c *caller) {
		fd := c.open("out/x", oCreate, readWrite, 0)
		c.write(fd, "abc")
		before := c.stat("out/x")
		c.must("fd_filestat_set_size", fd, 5)
		c.expect("longer", fmt.Sprintf("%q", c.content(fd)), `"abc\x00\x00"`)
		c.must("fd_filestat_set_size", fd, 2)
		c.expect("shorter", c.content(fd), "ab")
		if after := c.stat("out/x"); after.modified <= before.modified {
			c.t.Errorf("%+v, then %+v", before, after)
		}
		c.as(enospc, "fd_filestat_set_size", fd, 1<<63-1)
		c.as(efbig, "fd_filestat_set_size", fd, 1<<63)
		c.as(efbig, "fd_filestat_set_size", fd, math.MaxUint64)
		c.expect("after that", c.content(fd)+c.r.files.tooMuch(), "ab")
		c.as(ebadf, "fd_filestat_set_size", c.open("out/x", 0, rightRead, 0), 0)
		c.as(ebadf, "fd_filestat_set_size", 1, 0)
		c.as(ebadf, "fd_filestat_set_size", 3, 0)
	},
	"fd_filestat_set_times": func(c *caller) {
		fd := c.open("out/x", oCreate, readWrite, 0)
		made := c.stat("out/x")
		c.must("fd_filestat_set_times", fd, 7, 8, 1)
		c.expect("accessed", c.stat("out/x").accessed, 7)
		c.expect("not modified", c.stat("out/x").modified, made.modified)
		c.must("fd_filestat_set_times", fd, 7, math.MaxUint64, 4)
		if s := c.stat("out/x"); s.modified != math.MaxUint64 || s.accessed != 7 || s.changed <= made.changed {
			c.t.Errorf("%+v", s)
		}
		now := c.now(realtime)
		c.must("fd_filestat_set_times", fd, 1, 1, 2|8)
		if s := c.stat("out/x"); s.accessed <= now || s.modified != s.accessed {
			c.t.Errorf("%+v, want later than %d", s, now)
		}
		c.must("fd_filestat_set_times", fd, 1, 1, 0)
		for _, both := range []uint64{3, 12, 15, 16, 1 << 16} {
			c.as(einval, "fd_filestat_set_times", fd, 1, 1, both)
		}
		c.as(erofs, "fd_filestat_set_times", c.open("in/data", 0, rightRead, 0), 1, 1, 5)
		c.as(einval, "fd_filestat_set_times", 1, 1, 1, 5)
		c.as(ebadf, "fd_filestat_set_times", 99, 1, 1, 5)
	},
	"fd_pread": func(c *caller) {
		fd, n, buf := c.open("in/data", 0, rightRead, 0), c.room(4), c.room(20)
		c.must("fd_pread", fd, c.vector(buf, 20), 1, 8, n)
		c.expect("read", string(c.read(buf, int(c.u32(n)))), "data")
		c.must("fd_pread", fd, c.vector(buf, 20), 1, 12, n)
		c.expect("at the end", c.u32(n), 0)
		c.as(einval, "fd_pread", fd, c.vector(buf, 20), 1, 1<<63, n)
		c.as(espipe, "fd_pread", 0, c.vector(buf, 20), 1, 0, n)
		c.as(ebadf, "fd_pread", c.open("out/x", oCreate, rightWrite, 0), c.vector(buf, 20), 1, 0, n)
		c.as(efault, "fd_pread", fd, c.vector(pastTheEnd-1, 2), 1, 0, n)
		c.as(eisdir, "fd_pread", preopened, c.vector(buf, 20), 1, 0, n)
	},
	"fd_pwrite": func(c *caller) {
		fd, n, data := c.open("out/x", oCreate, readWrite, 0), c.room(4), c.put([]byte("abc"))
		c.must("fd_pwrite", fd, c.vector(data, 3), 1, 2, n)
		c.expect("content", fmt.Sprintf("%q %d", c.content(fd), c.u32(n)), `"\x00\x00abc" 3`)
		c.as(einval, "fd_pwrite", fd, c.vector(data, 3), 1, 1<<63, n)
		c.as(efbig, "fd_pwrite", fd, c.vector(data, 3), 1, 1<<63-1, n)
		c.as(enospc, "fd_pwrite", fd, c.vector(data, 3), 1, 1<<62, n)
		c.expect("size", c.stat("out/x").size, 5)
		c.as(espipe, "fd_pwrite", 2, c.vector(data, 3), 1, 0, n)
		c.as(ebadf, "fd_pwrite", c.open("in/data", 0, rightRead, 0), c.vector(data, 3), 1, 0, n)
	},
	"fd_prestat_get": func(c *caller) {
		at := c.room(8)
		c.must("fd_prestat_get", preopened, at)
		c.expect("prestat", c.u64(at), 1<<32)
		for _, fd := range []uint64{0, 1, 2, c.open("in", oDirectory, rightRead, 0), 99} {
			c.as(ebadf, "fd_prestat_get", fd, at)
		}
	},
	"fd_prestat_dir_name": func(c *caller) {
		at := c.room(8)
		c.must("fd_prestat_dir_name", preopened, at, 1)
		c.expect("name", string(c.read(at, 1)), "/")
		c.as(enametoolong, "fd_prestat_dir_name", preopened, at, 2)
		c.as(ebadf, "fd_prestat_dir_name", 2, at, 1)
	},
	"fd_read": func(c *caller) {
		fd, n, buf := c.open("in/data", 0, rightRead, 0), c.room(4), c.room(20)
		two := c.vector(buf, 7)
		c.vector(buf+7, 3)
		c.must("fd_read", fd, two, 2, n)
		c.expect("read", string(c.read(buf, int(c.u32(n)))), "Alice's da")
		c.must("fd_read", fd, two, 2, n)
		c.expect("read on", string(c.read(buf, int(c.u32(n)))), "ta")
		c.must("fd_read", 0, two, 2, n)
		c.expect("standard input", c.u32(n), 0)
		c.as(ebadf, "fd_read", 1, two, 2, n)
		c.as(eisdir, "fd_read", preopened, two, 2, n)
		c.as(efault, "fd_read", fd, pastTheEnd-7, 1, n)
	},
	"fd_readdir": func(c *caller) {
		for _, name := range []string{"out/b", "out/a", "out/" + strings.Repeat("c", 200)} {
			c.must("fd_close", c.open(name, oCreate, readWrite, 0))
		}
		fd, n, buf := c.open("out", oDirectory, rightRead, 0), c.room(4), c.room(300)
		list := func(size, cookie uint64) (names []string, next uint64, full bool) {
			c.must("fd_readdir", fd, buf, size, cookie, n)
			b := c.read(buf, int(c.u32(n)))
			for len(b) >= 24 && len(b) >= 24+int(binary.LittleEndian.Uint32(b[16:])) {
				next = binary.LittleEndian.Uint64(b)
				names = append(names, fmt.Sprintf("%.3s %d", b[24:24+binary.LittleEndian.Uint32(b[16:])], b[20]))
				b = b[24+binary.LittleEndian.Uint32(b[16:]):]
			}
			return names, next, uint64(c.u32(n)) == size
		}
		names, next, full := list(110, 0)
		c.expect("the first", fmt.Sprint(names, next, full), "[. 3 .. 3 a 4 b 4] 4 true")
		at, length := c.path("out/a")
		c.must("path_unlink_file", preopened, at, length) // moves nothing under the reader's feet
		names, next, full = list(300, next)
		c.expect("the rest", fmt.Sprint(names, next, full), "[ccc 4] 5 false")
		names, _, _ = list(300, 0)
		c.expect("again", fmt.Sprint(names), "[. 3 .. 3 b 4 ccc 4]")
		for _, cookie := range []uint64{4, 1 << 40, math.MaxUint64} {
			names, _, full = list(300, cookie)
			c.expect("beyond", fmt.Sprint(names, full), "[] false")
		}
		c.must("fd_readdir", fd, buf, 1, 0, n)
		c.expect("one byte", c.u32(n), 1)
		c.as(ebadf, "fd_readdir", c.open("in/data", 0, rightRead, 0), buf, 300, 0, n)
		c.as(efault, "fd_readdir", fd, pastTheEnd-1, 300, 0, n)
	},
	"fd_renumber": func(c *caller) {
		a, b := c.open("in/data", 0, rightRead, 0), c.open("out/x", oCreate, readWrite, 0)
		c.must("fd_renumber", a, b)
		c.expect("content", c.content(b), "Alice's data")
		c.as(ebadf, "fd_renumber", a, b)
		c.must("fd_renumber", b, b)
		c.must("fd_renumber", b, maxDescriptor)
		c.expect("far away", c.content(maxDescriptor), "Alice's data")
		for _, to := range []uint64{maxDescriptor + 1, 2e9, math.MaxUint32} {
			c.as(ebadf, "fd_renumber", maxDescriptor, to)
		}
		out := c.open("out/x", 0, readWrite, 0)
		c.must("fd_renumber", out, 2) // as a shell does it
		c.write(2, "err")
		c.expect("redirected", c.content(2)+string(c.r.log.bytes()), "err")
		c.expect("open", c.r.files.opened, 3)
	},
	"fd_seek": func(c *caller) {
		fd, at := c.open("in/data", 0, rightRead, 0), c.room(8)
		c.must("fd_seek", fd, 5, seekStart, at)
		c.must("fd_seek", fd, math.MaxUint64, seekCurrent, at)
		c.expect("back one", c.u64(at), 4)
		c.must("fd_seek", fd, 2, seekEnd, at)
		c.expect("past the end", c.u64(at), 14)
		c.as(einval, "fd_seek", fd, 1<<63, seekStart, at)
		c.as(einval, "fd_seek", fd, 1<<63-1, seekCurrent, at)
		c.as(einval, "fd_seek", fd, 0, 3, at)
		c.as(espipe, "fd_seek", 0, 0, seekStart, at)
		c.as(eisdir, "fd_seek", preopened, 0, seekStart, at)
	},
	"fd_tell": func(c *caller) {
		fd, at := c.open("out/x", oCreate, readWrite, 0), c.room(8)
		c.write(fd, "abc")
		c.must("fd_tell", fd, at)
		c.expect("place", c.u64(at), 3)
		c.as(espipe, "fd_tell", 1, at)
	},
	"fd_write": func(c *caller) {
		fd, n := c.open("out/x", oCreate, readWrite, 0), c.room(4)
		made := c.stat("out/x")
		data := c.put([]byte("abcde"))
		two := c.vector(data, 3)
		c.vector(data+3, 2)
		c.must("fd_write", fd, two, 2, n)
		c.expect("content", c.content(fd), "abcde")
		if s := c.stat("out/x"); s.modified <= made.modified || s.changed != s.modified || s.accessed != made.accessed {
			c.t.Errorf("%+v, then %+v", made, s)
		}
		c.write(2, "to the log")
		c.write(1, "to nobody")
		c.expect("log", string(c.r.log.bytes()), "to the log")
		c.as(ebadf, "fd_write", 0, two, 2, n)
		c.as(ebadf, "fd_write", preopened, two, 2, n)
		c.as(efault, "fd_write", fd, c.vector(pastTheEnd-1, 2), 1, n)
		// As much as there is room for, one byte to show that it was too much, and no more.
		room := uint64(1000)
		buf := c.room(2000)
		c.must("fd_write", fd, c.vector(buf, 2000), 1, n)
		c.expect("written", c.u32(n), room+1-5)
		c.expect("too much", c.r.files.tooMuch(), "bytes")
		c.as(enospc, "fd_write", fd, c.vector(buf, 1), 1, n)
		c.must("fd_filestat_set_size", fd, 10) // and who makes room again has not written too much
		c.expect("not too much", c.r.files.tooMuch(), "")
	},
	"path_create_directory": func(c *caller) {
		at, n := c.path("out/d")
		before := c.stat("out")
		c.must("path_create_directory", preopened, at, n)
		c.expect("kind", c.stat("out/d").kind, directory)
		if s := c.stat("out"); s.modified <= before.modified {
			c.t.Errorf("%+v, then %+v", before, s)
		}
		c.as(eexist, "path_create_directory", preopened, at, n)
		for path, want := range map[string]errno{"in/d": erofs, "d": erofs, "out/x/y": enoent, "in/data/y": enotdir, "../d": eperm, "/out/e": eperm} {
			at, n := c.path(path)
			c.as(want, "path_create_directory", preopened, at, n)
		}
	},
	"path_filestat_get": func(c *caller) {
		c.expect("size", c.stat("in/data").size, 12)
		c.expect("devices", []uint64{c.stat("in").device, c.stat("out").device, c.stat("tmp").device}, []int{1, 2, 3})
		for path, want := range map[string]errno{"in/none": enoent, "": enoent, "in/data/": enotdir, "..": eperm, "/": eperm, "in/\x00": einval, "in/\xff": eilseq, strings.Repeat("n/", 2049): enametoolong} {
			at, n := c.path(path)
			c.as(want, "path_filestat_get", preopened, 0, at, n, c.room(64))
		}
	},
	"path_filestat_set_times": func(c *caller) {
		for _, path := range []string{"out/x", "out"} {
			if path != "out" {
				c.must("fd_close", c.open(path, oCreate, readWrite, 0))
			}
			at, n := c.path(path)
			c.must("path_filestat_set_times", preopened, 0, at, n, 1_000_000_000_000_000_001, 2, 5)
			c.must("path_filestat_set_times", preopened, 1, at, n, 9, 9, 0)
			s := c.stat(path)
			c.expect("times", fmt.Sprint(s.accessed, s.modified), "1000000000000000001 2")
			c.as(einval, "path_filestat_set_times", preopened, 0, at, n, 1, 2, 3)
		}
		at, n := c.path("in/data")
		c.as(erofs, "path_filestat_set_times", preopened, 0, at, n, 1, 2, 5)
		at, n = c.path("in/none")
		c.as(enoent, "path_filestat_set_times", preopened, 0, at, n, 1, 2, 5)
	},
	"path_link": func(c *caller) {
		a, n := c.path("in/data")
		b, m := c.path("out/x")
		c.as(eperm, "path_link", preopened, 0, a, n, preopened, b, m)
		c.as(ebadf, "path_link", 99, 0, a, n, preopened, b, m)
		c.expect("nothing came of it", len(c.r.files.out.children), 0)
	},
	"path_symlink": func(c *caller) {
		a, n := c.path("/etc/passwd")
		b, m := c.path("out/x")
		c.as(eperm, "path_symlink", a, n, preopened, b, m)
		c.expect("nothing came of it", len(c.r.files.out.children), 0)
	},
	"path_readlink": func(c *caller) {
		a, n := c.path("in/data")
		c.as(einval, "path_readlink", preopened, a, n, c.room(10), 10, c.room(4))
		a, n = c.path("in/none")
		c.as(enoent, "path_readlink", preopened, a, n, c.room(10), 10, c.room(4))
	},
	"path_open": func(c *caller) {
		c.expect("the least number", c.open("in/data", 0, rightRead, 0), 4)
		dir := c.open("out", oDirectory, rightRead, 0)
		at, n := c.path("x")
		fd := c.room(4)
		c.must("path_open", dir, 0, at, n, oCreate|oExclusive, readWrite, 0, 0, fd)
		c.write(uint64(c.u32(fd)), "abc")
		c.as(eexist, "path_open", dir, 0, at, n, oCreate|oExclusive, readWrite, 0, 0, fd)
		c.as(eperm, "path_open", dir, 0, c.put([]byte("../in/data")), 10, 0, rightRead, 0, 0, fd)
		c.expect("no rights to read", c.content(c.open("out/x", 0, 0, 0)), "abc")
		before := c.stat("out/x")
		c.must("fd_close", c.open("out/x", oTruncate, rightWrite, 0))
		if s := c.stat("out/x"); s.size != 0 || s.modified <= before.modified {
			c.t.Errorf("%+v, then %+v", before, s)
		}
		for _, row := range []struct {
			path           string
			oflags, rights uint64
			want           errno
		}{
			{"in/none", 0, rightRead, enoent}, {"in/data", oDirectory, rightRead, enotdir}, {"in/data", 0, rightWrite, erofs},
			{"in/data", oTruncate, rightRead, erofs}, {"in/new", oCreate, rightWrite, erofs}, {"in", 0, rightWrite, eisdir},
			{"out", oCreate, rightRead, eisdir}, {"out/x", oCreate | oDirectory, rightRead, einval}, {"out/x", 16, rightRead, einval},
			{"../out/x", 0, rightRead, eperm}, {"in/../../out/x", 0, rightRead, eperm}, {"in/data/x", oCreate, rightRead, enotdir},
			{"out/" + strings.Repeat("n", 256), oCreate, readWrite, enametoolong},
		} {
			at, n := c.path(row.path)
			c.as(row.want, "path_open", preopened, 0, at, n, row.oflags, row.rights, 0, 0, fd)
		}
		c.as(einval, "path_open", preopened, 0, at, n, 0, rightRead, 0, 1<<5, fd)
		c.as(efault, "path_open", preopened, 0, at, n, 0, rightRead, 0, 0, pastTheEnd)
		c.as(enotdir, "path_open", 1, 0, at, n, 0, rightRead, 0, 0, fd)
		c.as(enotdir, "path_open", 4, 0, at, n, 0, rightRead, 0, 0, fd)
	},
	"path_remove_directory": func(c *caller) {
		at, n := c.path("out/d")
		c.must("path_create_directory", preopened, at, n)
		c.must("fd_close", c.open("out/d/x", oCreate, readWrite, 0))
		c.as(enotempty, "path_remove_directory", preopened, at, n)
		x, m := c.path("out/d/x")
		c.as(enotdir, "path_remove_directory", preopened, x, m)
		c.must("path_unlink_file", preopened, x, m)
		gone := c.open("out/d", oDirectory, rightRead, 0)
		c.must("path_remove_directory", preopened, at, n)
		c.as(enoent, "path_remove_directory", preopened, at, n)
		x, m = c.path("x")
		c.as(enoent, "path_open", gone, 0, x, m, oCreate, readWrite, 0, 0, c.room(4))
		for _, dir := range []string{"out", "tmp", "in", "in/dir"} {
			at, n := c.path(dir)
			c.as(erofs, "path_remove_directory", preopened, at, n)
		}
	},
	"path_rename": func(c *caller) {
		c.write(c.open("out/a", oCreate, readWrite, 0), "abc")
		c.write(c.open("tmp/t", oCreate, readWrite, 0), "abc")
		rename := func(want errno, from, to string) {
			c.t.Helper()
			a, n := c.path(from)
			b, m := c.path(to)
			c.as(want, "path_rename", preopened, a, n, preopened, b, m)
		}
		before := c.stat("out")
		rename(success, "out/a", "out/b")
		c.expect("there", c.stat("out/b").size, 3)
		if s := c.stat("out"); s.modified <= before.modified {
			c.t.Errorf("%+v, then %+v", before, s)
		}
		rename(enoent, "out/a", "out/c")
		rename(exdev, "tmp/t", "out/t") // as between two file systems, which they are in a container
		rename(exdev, "out/b", "tmp/b")
		rename(erofs, "in/data", "out/data")
		rename(erofs, "out/b", "in/b")
		rename(erofs, "out", "tmp/out")
		rename(einval, "out/b", ".")
	},
	"path_unlink_file": func(c *caller) {
		fd := c.open("out/x", oCreate, readWrite, 0)
		c.write(fd, "abc")
		at, n := c.path("out/x")
		before := c.stat("out")
		c.must("path_unlink_file", preopened, at, n)
		c.as(enoent, "path_unlink_file", preopened, at, n)
		c.expect("lives on", c.content(fd), "abc")
		if s := c.stat("out"); s.modified <= before.modified {
			c.t.Errorf("%+v, then %+v", before, s)
		}
		at, n = c.path("in/data")
		c.as(erofs, "path_unlink_file", preopened, at, n)
		at, n = c.path("out")
		c.as(eisdir, "path_unlink_file", preopened, at, n)
	},
	"poll_oneoff": func(c *caller) {
		const second = uint64(1e9)
		polled := func(moved uint64, events string, subscriptions ...[]byte) {
			c.t.Helper()
			before := c.now(monotonic)
			e, got := c.poll(subscriptions...)
			after := c.now(monotonic)
			if after-before-tick != moved {
				c.t.Errorf("the clock moved by %d, want %d", after-before-tick, moved)
			}
			c.expect("events", fmt.Sprint(e, got), fmt.Sprint(success, " ", events))
		}
		clock := func(user uint64, id uint32, timeout uint64, flags uint16) []byte {
			return subscribeTo(user, subscribeClock, id, timeout, flags)
		}
		polled(second, "[7 0 0 0 0]", clock(7, monotonic, second, 0))
		polled(0, "[7 0 0 0 0]", clock(7, realtime, 0, 0))
		// Until a time, by either clock.
		polled(second-tick, "[8 0 0 0 0]", clock(8, monotonic, c.now(monotonic)+second, 1))
		polled(second-tick, "[9 0 0 0 0]", clock(9, realtime, c.now(realtime)+second, 1))
		for _, past := range []uint64{0, 1, uint64(c.r.now)} {
			polled(0, "[9 0 0 0 0]", clock(9, monotonic, past, 1))
			polled(0, "[9 0 0 0 0]", clock(9, realtime, epoch+past, 1))
			polled(0, "[9 0 0 0 0]", clock(9, realtime, past, 1))
		}
		// Only the first of several, or those that are at the same time.
		polled(second, "[2 0 0 0 0]", clock(1, monotonic, 3*second, 0), clock(2, monotonic, second, 0), clock(3, realtime, math.MaxUint64, 1))
		polled(second, "[1 0 0 0 0 2 0 0 0 0]", clock(1, monotonic, second, 0), clock(2, realtime, second, 0))
		// A descriptor is ready at once.
		in, out := c.open("in/data", 0, rightRead, 0), c.open("out/x", oCreate, rightWrite, 0)
		c.must("fd_seek", in, 5, seekStart, c.room(8))
		polled(0, "[2 0 1 7 0]", clock(1, monotonic, second, 0), subscribeTo(2, subscribeRead, uint32(in), 0, 0))
		polled(0, "[2 0 2 67108864 0]", subscribeTo(2, subscribeWrite, uint32(out), 0, 0))
		polled(0, "[2 0 1 0 1 3 8 1 0 0 4 8 2 0 0]", subscribeTo(2, subscribeRead, 0, 0, 0), subscribeTo(3, subscribeRead, 2, 0, 0), subscribeTo(4, subscribeWrite, 99, 0, 0))
		// What is wrong with one is said of that one; what nobody understands, of all.
		polled(0, "[1 28 0 0 0]", clock(1, 2, second, 0))
		for _, bad := range [][]byte{clock(1, 0, second, 2), subscribeTo(1, 3, 0, 0, 0)} {
			if e, _ := c.poll(bad, clock(2, 0, 1, 0)); e != einval {
				c.t.Errorf("%d", e)
			}
		}
		c.as(einval, "poll_oneoff", c.room(48), c.room(32), 0, c.room(4))
		c.as(efault, "poll_oneoff", pastTheEnd-47, c.room(32), 1, c.room(4))
		c.as(efault, "poll_oneoff", c.room(48), pastTheEnd-31, 1, c.room(4))
		// Events over subscriptions: whatever comes of it, it ends.
		both := c.put(bytes.Repeat(clock(1, monotonic, second, 0), 3))
		if e := c.do("poll_oneoff", both, both, 3, c.room(4)); e != success {
			c.t.Error(e)
		}
		// The end of time, and beyond: it stands still there, but for readings.
		for _, far := range [][]byte{
			clock(1, monotonic, math.MaxUint64, 1), clock(1, realtime, math.MaxUint64, 1), clock(1, monotonic, math.MaxUint64, 0),
			clock(1, monotonic, 1<<63-1, 0), clock(1, realtime, 1<<63, 1), clock(1, monotonic, endOfTime, 1), clock(1, monotonic, 1, 0),
		} {
			before := c.now(monotonic)
			e, events := c.poll(far)
			if after := c.now(monotonic); e != success || len(events) != 1 || after <= before || after < endOfTime || after > endOfTime+100*tick {
				c.t.Errorf("%d, %v: from %d to %d", e, events, before, after)
			}
			if real := int64(c.now(realtime)); real < 0 {
				c.t.Errorf("the time of day is %d", real)
			}
		}
	},
	"proc_exit": func(c *caller) {
		_, err := c.guest.ExportedFunction("do_proc_exit").Call(c.ctx, 7)
		var exit *sys.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 7 {
			c.t.Error(err)
		}
	},
	"proc_raise": func(c *caller) { c.as(enotsup, "proc_raise", 6) },
	"random_get": func(c *caller) {
		at := c.room(32)
		c.must("random_get", at, 16)
		if b := c.read(at, 32); bytes.Equal(b[:16], make([]byte, 16)) || !bytes.Equal(b[16:], make([]byte, 16)) {
			c.t.Errorf("%x", b)
		}
		c.must("random_get", pastTheEnd, 0)
		c.as(efault, "random_get", pastTheEnd-15, 16)
	},
	"sched_yield": func(c *caller) {
		c.must("sched_yield")
		c.expect("the clock", c.r.now, 0)
	},
	"sock_accept":   func(c *caller) { c.as(enotsock, "sock_accept", 3, 0, 0); c.as(ebadf, "sock_accept", 99, 0, 0) },
	"sock_recv":     func(c *caller) { c.as(enotsock, "sock_recv", 0, 0, 0, 0, 0, 0) },
	"sock_send":     func(c *caller) { c.as(enotsock, "sock_send", 1, 0, 0, 0, 0) },
	"sock_shutdown": func(c *caller) { c.as(enotsock, "sock_shutdown", 1, 3) },
}

// The specification's table, the code's and the one above have the same rows;
// what is promised is done, and what is refused is refused as it says.
func TestWASI(t *testing.T) {
	spec, err := os.ReadFile("../../spec/09-wasi.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (given|refused: (\\w+)) \\| \\S").FindAllStringSubmatch(string(spec), -1) {
		said[m[1]] = m[3]
	}
	refusals := map[string]errno{"ENOTSUP": enotsup, "ENOTSOCK": enotsock, "EPERM": eperm, "EINVAL": einval}
	if len(said) != len(wasi) || len(rows) != len(wasi) || len(wasi) != 46 {
		t.Errorf("%d calls; the specification has %d, the test %d", len(wasi), len(said), len(rows))
	}
	for _, row := range wasi {
		t.Run(row.name, func(t *testing.T) {
			try, tried := rows[row.name]
			why, is := said[row.name]
			if !tried || !is {
				t.Fatalf("tried: %v; in the specification: %v", tried, is)
			}
			try(newCaller(t, 1000))
			if why == "" {
				return
			}
			// With all that could make it succeed.
			c := newCaller(t, 1000)
			at, n := c.path("in/data")
			b, m := c.path("out/x")
			params := map[string][]uint64{
				"path_link": {preopened, 0, at, n, preopened, b, m}, "path_symlink": {at, n, preopened, b, m},
				"path_readlink": {preopened, at, n, c.room(10), 10, c.room(4)},
			}[row.name]
			if params == nil {
				params = make([]uint64, len(row.params))
			}
			if got := c.do(row.name, params...); got != refusals[why] || got == success {
				t.Errorf("%d, want %s", got, why)
			}
		})
	}
}

// No call works for nothing: whatever it is given, it charges before it does.
func TestEveryCallIsCharged(t *testing.T) {
	for _, row := range wasi {
		c := newCaller(t, 1000)
		params := make([]uint64, len(row.params))
		_, _ = c.guest.ExportedFunction("do_"+row.name).Call(c.ctx, params...)
		if used := c.r.used.Get(); used < callGas {
			t.Errorf("%s for %d", row.name, used)
		}
		c.r.limit = c.r.used.Get()
		if _, err := c.guest.ExportedFunction("do_"+row.name).Call(c.ctx, params...); row.do != nil && err == nil {
			t.Errorf("%s was done beyond the limit", row.name)
		}
	}
}

// Lists of directories are kept until they are read to the end, or a guest
// opens one a thousand times: memory that no limit of its own is on.
func TestListsAreBounded(t *testing.T) {
	f := testFiles(1 << 20)
	for i := range sandbox.TmpFiles {
		if e := f.mkdir(f.root, fmt.Sprintf("tmp/%d", i)); e != success {
			t.Fatal(e)
		}
	}
	if e := f.mkdir(f.root, "tmp/more"); e != enospc {
		t.Errorf("one more: %d", e)
	}
	lists := 0
	for range 100 {
		fd, e := f.openAt(f.root, "tmp", opening{read: true})
		if e != success {
			t.Fatal(e)
		}
		if e := f.open[fd].readDir(); e == success {
			lists++
		} else if e != emfile {
			t.Fatal(e)
		}
	}
	if lists != maxListed/(sandbox.TmpFiles+2) {
		t.Errorf("%d lists", lists)
	}
	f.closeAll()
	if f.listed != 0 {
		t.Errorf("%d are kept", f.listed)
	}
}
