package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/prytany/prytany/task"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// What a call of the host costs in gas (spec §9.4).
const (
	callGas     = 1000
	bytesPerGas = 8 // rounded up, for what is moved and for what is named
)

// The shadow clock, in nanoseconds.
const (
	epoch = 946_684_800_000_000_000 // 2000-01-01T00:00:00Z
	tick  = 1_000                   // for each time it is read
)

const maxDescriptor = 4096

// errStopped unwinds a guest that is over its gas or wall limit.
var errStopped = errors.New("stopped at a limit")

// A run is what the host knows of a guest while it runs.
type run struct {
	ctx     context.Context
	limit   uint64
	used    api.MutableGlobal
	expired atomic.Bool // the context ended and the guest was told to stop
	files   *files
	log     log
	args    int   // bytes of all arguments
	now     int64 // nanoseconds of the shadow clock since epoch
	random  *rand.ChaCha8
}

type runKey struct{}

// charge adds to the gas of the guest that is calling, and stops it there if
// that was too much.
func (r *run) charge(gas uint64) {
	used := r.used.Get() + gas
	r.used.Set(used)
	if used > r.limit {
		panic(errStopped)
	}
}

func (r *run) chargeBytes(n int) { r.charge(perBytes(uint64(n))) }

func perBytes(n uint64) uint64 { return (n + bytesPerGas - 1) / bytesPerGas }

// sizes says for each function of WASI which parameters are lengths that the
// host works through, for how many bytes each unit counts, and how many there may
// be: nothing looks at the time while the engine is at it.
var sizes = map[string][]struct{ param, unit, most uint64 }{
	"fd_pread":                {{2, 64, maxVectors}},
	"fd_prestat_dir_name":     {{2, 1, maxBuffer}},
	"fd_pwrite":               {{2, 64, maxVectors}},
	"fd_read":                 {{2, 64, maxVectors}},
	"fd_readdir":              {{2, 1, maxBuffer}},
	"fd_write":                {{2, 64, maxVectors}},
	"path_create_directory":   {{2, 1, maxBuffer}},
	"path_filestat_get":       {{3, 1, maxBuffer}},
	"path_filestat_set_times": {{3, 1, maxBuffer}},
	"path_link":               {{3, 1, maxBuffer}, {6, 1, maxBuffer}},
	"path_open":               {{3, 1, maxBuffer}},
	"path_readlink":           {{2, 1, maxBuffer}, {4, 1, maxBuffer}},
	"path_remove_directory":   {{2, 1, maxBuffer}},
	"path_rename":             {{2, 1, maxBuffer}, {5, 1, maxBuffer}},
	"path_symlink":            {{1, 1, maxBuffer}, {4, 1, maxBuffer}},
	"path_unlink_file":        {{2, 1, maxBuffer}},
	"poll_oneoff":             {{2, 48, maxSubscriptions}},
	"random_get":              {{1, 1, maxBuffer}},
	"sock_recv":               {{2, 64, maxVectors}},
	"sock_send":               {{2, 64, maxVectors}},
}

// What one call may ask for, about a third of a second of the host's; a program
// that asks for more crashes.
const (
	maxVectors       = 1 << 23
	maxSubscriptions = 1 << 20
	maxBuffer        = 64 << 20 // bytes
)

// meter has every call of the host pass by beforeCall.
type meter struct{}

func (meter) NewFunctionListener(api.FunctionDefinition) experimental.FunctionListener {
	return experimental.FunctionListenerFunc(beforeCall)
}

// beforeCall charges for a call before the host does anything for it, so that
// no argument makes work that is not paid.
func beforeCall(ctx context.Context, _ api.Module, def api.FunctionDefinition, params []uint64, _ experimental.StackIterator) {
	r := ctx.Value(runKey{}).(*run)
	if r.ctx.Err() != nil {
		r.expired.Store(true)
		panic(errStopped)
	}
	name, cost := def.Name(), uint64(callGas)
	for _, s := range sizes[name] {
		n := uint64(uint32(params[s.param]))
		if n > s.most {
			panic(fmt.Errorf("%s of %d, more than %d", name, n, s.most))
		}
		cost += perBytes(n * s.unit)
	}
	if name == "args_get" {
		cost += perBytes(uint64(r.args))
	}
	r.charge(cost)
	if name == "fd_renumber" && uint32(params[1]) > maxDescriptor {
		panic(errors.New("a file descriptor that is too large")) // the engine would make room for all below
	}
}

// The shadow clock.

func (r *run) nanotime() int64 {
	r.now += tick
	return r.now
}

func (r *run) walltime() (seconds int64, nanoseconds int32) {
	t := epoch + r.nanotime()
	return t / 1e9, int32(t % 1e9)
}

// sleep moves the clock. It ends at the end of time and not before its beginning.
func (r *run) sleep(d int64) {
	const end = 1<<63 - 1 - epoch - 1<<60
	if d > 0 {
		r.now = min(r.now+min(d, end), end)
	}
}

// Read gives random bytes.
func (r *run) Read(p []byte) (int, error) { return r.random.Read(p) }

// seed is derived from the job, so that the same job has the same luck.
func seed(code task.Hash, job *Job, script []File) [32]byte {
	d := sha256.New()
	d.Write(code[:])
	for _, a := range job.Args {
		d.Write([]byte(a))
		d.Write([]byte{0})
	}
	state := StateDigest(job.Inputs)
	d.Write(state[:])
	if script != nil {
		state = StateDigest(script)
		d.Write(state[:])
	}
	return [32]byte(d.Sum(nil))
}

// A log keeps the first bytes that are written to it.
type log struct {
	*run
	kept  []byte
	limit uint64
	lost  bool
}

const cut = "\n[the rest of the log was cut off]\n"

func (l *log) Write(p []byte) (int, error) {
	l.chargeBytes(len(p))
	n := min(uint64(len(p)), l.limit-uint64(len(l.kept)))
	l.kept = append(l.kept, p[:n]...)
	l.lost = l.lost || n < uint64(len(p))
	return len(p), nil
}

// bytes gives the log, with a mark at its end where something is missing and
// there is room to say so.
func (l *log) bytes() []byte {
	if l.lost && l.limit >= uint64(len(cut)) {
		return append(l.kept[:l.limit-uint64(len(cut))], cut...)
	}
	return l.kept
}

// drop is standard output.
type drop struct{ *run }

func (d drop) Write(p []byte) (int, error) {
	d.chargeBytes(len(p))
	return len(p), nil
}
