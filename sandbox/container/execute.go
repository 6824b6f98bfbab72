package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/sandbox"
	"golang.org/x/sys/unix"
)

// A run is one execution of what is in a box.
type run struct {
	*box
	group   *group
	kept    *kept
	begun   time.Time
	meter   Meter
	limits  sandbox.Limits
	lost    bool            // by the runtime: its kernel was ended
	stopped sandbox.Outcome // why, if it was
	reason  string
}

// execute runs what is in the box and says in result how it ended. When it
// returns, no process of it is left, nor its cgroup. The run is stopped when ctx
// ends, and came to nothing if parent has.
func (r *Runtime) execute(parent, ctx context.Context, b *box, job *sandbox.Job, result *sandbox.Result) (err error) {
	if err := roomy(); err != nil {
		return err
	}
	const most = 1 << 50 // bytes; more cannot be written into a cgroup
	g, err := newGroup(min(job.Limits.MemoryBytes, most)+r.engine.memory, r.config.Processes+r.engine.processes, r.config.CPUs)
	if err != nil {
		return err
	}
	defer func() { err = first(err, g.remove()) }()

	log := &log{limit: job.Limits.LogBytes}
	cmd := &exec.Cmd{Stdout: drop{}, Stderr: log}
	u := &run{box: b, group: g, limits: job.Limits, begun: time.Now(), meter: Meter{cpus: r.config.CPUs, gap: longestGap}}
	if u.kept, err = startKeeper(cmd, order{Cgroup: g.procs(), Argv: r.engine.command()}, r.program, b); err != nil {
		return err
	}
	watchErr := u.watch(ctx)
	<-u.kept.done
	if err := first(watchErr, parent.Err()); err != nil {
		return err
	}
	usage, own, err := u.total()
	if err != nil {
		return err
	}
	if r.config.Observe != nil {
		r.config.Observe(usage)
	}
	if usage.DiskWrites != 0 {
		return fmt.Errorf("the run wrote %d bytes to a disk, though all it has is in memory", usage.DiskWrites)
	}
	result.Gas, result.Log = min(u.meter.Gas(), job.Limits.Gas), log.bytes
	if began, why := b.began(); !began && u.stopped == 0 && usage.OOMKills == 0 {
		result.Log = nil
		if refusal := r.engine.refusal; refusal != "" && strings.Contains(why, refusal) {
			result.Outcome, result.Reason = sandbox.FunctionError, fmt.Sprintf("the program cannot be started by the image's user: %.300s", oneLine(why[strings.Index(why, refusal):]))
			return nil
		}
		return fmt.Errorf("%s did not start the container: %s", r.engine.name, strings.TrimSpace(why+" "+string(log.bytes)))
	}
	u.lost = r.engine.lost != "" && strings.Contains(string(log.bytes), r.engine.lost)
	if err := u.judge(result, usage.OOMKills, own); err != nil {
		return err
	}
	if result.Outcome != sandbox.OK {
		result.Message = sandbox.FileMessage(b.out.root.FS())
	}
	return nil
}

// watch counts gas until the run ends, and ends it when it has used too much or
// its time is over.
func (u *run) watch(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-u.kept.done:
			return nil
		case <-ctx.Done():
			u.stop(sandbox.WallExceeded, "the function was stopped when its time was over")
			return nil
		case <-t.C:
		}
		at := time.Since(u.begun)
		memory, err1 := u.group.memory()
		cpu, err2 := u.group.cpu()
		if err := errors.Join(err1, err2); err != nil {
			u.kept.kill()
			return err
		}
		u.meter.Read(at, cpu, memory)
		if u.meter.Gas() > u.limits.Gas {
			u.stop(sandbox.GasExhausted, "")
			return nil
		}
	}
}

func (u *run) stop(why sandbox.Outcome, reason string) {
	u.stopped, u.reason = why, reason
	u.kept.kill()
}

// total reads what the run has used, when it is over, and whether it was at its own
// limit of memory.
func (u *run) total() (usage Usage, own bool, err error) {
	at := time.Since(u.begun)
	cpu, err1 := u.group.cpu()
	written, err2 := u.group.written()
	kills, own, err3 := u.group.oom()
	u.meter.Read(at, cpu, 0)
	usage = Usage{CPU: u.meter.cpu, MemoryGas: u.meter.memory, DiskWrites: written, OOMKills: kills}
	return usage, own, errors.Join(err1, err2, err3)
}

// sigkill is the exit code of a function that was ended by SIGKILL, and of one that
// says so itself: a runtime does not tell them apart.
const sigkill = 128 + uint32(unix.SIGKILL)

// lostCode is the exit code of a runtime that failed itself.
const lostCode = 128

// judge says how a run that began has ended (spec §9.3), given how many of its
// processes were killed for memory, and whether it was at its own limit. What the
// machine did is an error.
func (u *run) judge(result *sandbox.Result, kills uint64, own bool) error {
	code, signalled, why := exit(u.kept.err)
	outputs, err := u.take(u.limits.OutputBytes)
	var taken *errTaken
	if err != nil && !errors.As(err, &taken) {
		return fmt.Errorf("reading the output: %w", err)
	}
	switch {
	case taken != nil && taken.outcome == sandbox.OutputExceeded:
		result.Outcome, result.Reason = taken.outcome, taken.reason
	case u.meter.Gas() > u.limits.Gas || u.stopped == sandbox.GasExhausted:
		result.Outcome, result.Gas = sandbox.GasExhausted, u.limits.Gas
		result.Reason = fmt.Sprintf("the function was stopped when it had used all %d gas", u.limits.Gas)
	case u.stopped != 0:
		result.Outcome, result.Reason = u.stopped, u.reason
	case kills > 0 && !own:
		return errors.New("the machine had too little memory: a process of the job was killed below the job's own limit")
	case signalled && kills == 0: // the runtime itself, which no function can reach
		return fmt.Errorf("the runtime was killed: %w", u.kept.err)
	case code == 0 && taken == nil:
		result.Outcome, result.Outputs = sandbox.OK, outputs
	case code == 0:
		result.Outcome, result.Reason = taken.outcome, taken.reason
	case kills > 0:
		result.Outcome, result.Reason = sandbox.MemoryExceeded, why+", after it was denied more memory"
	case code == sigkill || u.lost && code == lostCode:
		result.Outcome, result.Reason = sandbox.Killed, why+", and nobody can say whose it was"
	default:
		result.Outcome, result.Reason = sandbox.FunctionError, why
	}
	if u.stopped == 0 {
		result.ExitCode = code
	}
	return nil
}

// exit reads how a process ended, given the error of waiting for it: its exit code,
// 128 and the number if a signal ended it. For a container's process its runtime
// says the same by its own exit code.
func exit(ended error) (code uint32, signalled bool, why string) {
	if ended == nil {
		return 0, false, ""
	}
	code = 1
	var e *exec.ExitError
	if errors.As(ended, &e) {
		status, ok := e.Sys().(syscall.WaitStatus)
		if signalled = ok && status.Signaled(); signalled {
			code = 128 + uint32(status.Signal())
		} else {
			code = uint32(e.ExitCode())
		}
	}
	why = fmt.Sprintf("the function ended with exit code %d", code)
	if code > 128 && code < 160 {
		why = fmt.Sprintf("the function ended with exit code %d, which may be the signal %s", code, unix.SignalName(unix.Signal(code-128)))
	}
	return code, signalled, why
}

// began says whether the runtime came so far as to make the container. If not,
// it may have left a word about it.
func (b *box) began() (bool, string) {
	if _, err := b.base.root.Lstat("bundle/pid"); !errors.Is(err, fs.ErrNotExist) {
		return true, ""
	}
	const most = 4096
	f, err := b.base.root.Open("bundle/log")
	if err != nil {
		return false, ""
	}
	defer f.Close()
	word := make([]byte, most)
	n, _ := f.Read(word)
	return false, string(word[:n])
}

// least are limits of a process that a job inherits from this one, and that its
// configuration does not set. With less it would fail, and its function be blamed
// for what the machine has refused.
var least = []struct {
	what string
	id   int
	n    uint64
}{
	{"address space", unix.RLIMIT_AS, unix.RLIM_INFINITY},
	{"data", unix.RLIMIT_DATA, unix.RLIM_INFINITY},
	{"processor time", unix.RLIMIT_CPU, unix.RLIM_INFINITY},
	{"stack", unix.RLIMIT_STACK, 8 << 20},
	{"processes", unix.RLIMIT_NPROC, 1024},
}

// roomy says whether this process has no narrower limits than a job may need.
func roomy() error {
	for _, l := range least {
		var have unix.Rlimit
		if err := unix.Getrlimit(l.id, &have); err != nil {
			return err
		}
		if have.Cur < l.n {
			return fmt.Errorf("this process is limited to %d of %s, and so would be the job. Next: start the worker without such a limit (ulimit, LimitAS= and the like)", have.Cur, l.what)
		}
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// log keeps the first bytes of what is written to it.
type log struct {
	bytes []byte
	limit uint64
}

func (l *log) Write(p []byte) (int, error) {
	if room := l.limit - uint64(len(l.bytes)); uint64(len(p)) > room {
		l.bytes = append(l.bytes, p[:room]...)
	} else {
		l.bytes = append(l.bytes, p...)
	}
	return len(p), nil
}

type drop struct{}

func (drop) Write(p []byte) (int, error) { return len(p), nil }
