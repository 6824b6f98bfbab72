package wasm

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/prytany/prytany/sandbox"
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
	case len(b) > sandbox.MaxPath:
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
