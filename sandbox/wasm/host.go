package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"sync/atomic"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/task"
	"github.com/tetratelabs/wazero/api"
)

// What a call of the host costs in gas (spec §9.4).
const (
	callGas     = 1000
	bytesPerGas = 8 // rounded up, for what is moved and for what is named
)

// The shadow clock, in nanoseconds.
const (
	epoch     = 946_684_800_000_000_000   // 2000-01-01T00:00:00Z
	tick      = 1_000                     // for each time it is read, or a file is changed
	endOfTime = 1<<63 - 1 - epoch - 1<<60 // since epoch; no sleep is longer
)

// program is what a guest finds as its own name.
const program = "function"

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
	args    []string // the program's name first
	now     int64    // nanoseconds of the shadow clock since epoch
	random  *rand.ChaCha8
	memory  api.Memory // of the guest, while it calls the host
}

type runKey struct{}

// newRun is a run of a job that has not begun. Its input is yet to be loaded.
func newRun(ctx context.Context, code task.Hash, job *sandbox.Job, script []sandbox.File) *run {
	r := &run{ctx: ctx, limit: job.Limits.Gas, random: rand.NewChaCha8(seed(code, job, script))}
	args := job.Args
	if script != nil {
		args = pythonArgs(args)
	}
	r.args = append([]string{program}, args...)
	r.log.limit = job.Limits.LogBytes
	r.files = newFiles(min(job.Limits.OutputBytes, 1<<40), min(sandbox.TmpBytes, job.Limits.MemoryBytes), r.chargeBytes, r.stamp)
	r.files.start(func([]byte) {}, r.log.write)
	return r
}

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

// The shadow clock.

func (r *run) nanotime() int64 {
	r.now += tick
	return r.now
}

// stamp is the time of day in nanoseconds since 1970: of a reading, or of a
// change to a file.
func (r *run) stamp() uint64 { return uint64(epoch + r.nanotime()) }

// seed is derived from the job, so that the same job has the same luck.
func seed(code task.Hash, job *sandbox.Job, script []sandbox.File) [32]byte {
	d := sha256.New()
	d.Write(code[:])
	for _, a := range job.Args {
		d.Write([]byte(a))
		d.Write([]byte{0})
	}
	state := sandbox.StateDigest(job.Inputs)
	d.Write(state[:])
	if script != nil {
		state = sandbox.StateDigest(script)
		d.Write(state[:])
	}
	return [32]byte(d.Sum(nil))
}

// A log keeps the first bytes that are written to it.
type log struct {
	kept  []byte
	limit uint64
	lost  bool
}

const cut = "\n[the rest of the log was cut off]\n"

func (l *log) write(p []byte) {
	n := min(uint64(len(p)), l.limit-uint64(len(l.kept)))
	l.kept = append(l.kept, p[:n]...)
	l.lost = l.lost || n < uint64(len(p))
}

// bytes gives the log, with a mark at its end where something is missing and
// there is room to say so.
func (l *log) bytes() []byte {
	if l.lost && l.limit >= uint64(len(cut)) {
		return append(l.kept[:l.limit-uint64(len(cut))], cut...)
	}
	return l.kept
}
