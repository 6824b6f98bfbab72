package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"time"

	"github.com/prytany/prytany/sandbox"
	"golang.org/x/sys/unix"
)

// A run is one execution of what is in a box.
type run struct {
	*box
	group   *group
	kept    *kept
	meter   Meter
	limits  sandbox.Limits
	stopped sandbox.Outcome // why, if it was
	reason  string
}

// execute runs what is in the box and says in result how it ended. When it
// returns, no process of it is left, nor its cgroup. The run is stopped when ctx
// ends, and came to nothing if parent has.
func (r *Runtime) execute(parent, ctx context.Context, b *box, job *sandbox.Job, result *sandbox.Result) (err error) {
	const most = 1 << 50 // bytes; more cannot be written into a cgroup
	g, err := newGroup(min(job.Limits.MemoryBytes, most)+r.engine.memory, r.config.Processes+r.engine.processes, r.config.CPUs)
	if err != nil {
		return err
	}
	defer func() { err = first(err, g.remove()) }()

	log := &log{limit: job.Limits.LogBytes}
	cmd := &exec.Cmd{Stdout: drop{}, Stderr: log}
	u := &run{box: b, group: g, limits: job.Limits}
	if u.kept, err = startKeeper(cmd, order{Cgroup: g.procs(), Argv: r.engine.command()}, r.program, b); err != nil {
		return err
	}
	watchErr := u.watch(ctx)
	<-u.kept.done
	if err := first(watchErr, parent.Err()); err != nil {
		return err
	}
	usage, gas, err := u.total()
	if err != nil {
		return err
	}
	if r.config.Observe != nil {
		r.config.Observe(usage)
	}
	if usage.DiskWrites != 0 {
		return fmt.Errorf("the run wrote %d bytes to a disk, though all it has is in memory", usage.DiskWrites)
	}
	result.Gas, result.Log = min(gas, job.Limits.Gas), log.bytes
	if began, why := b.began(); !began && u.stopped == 0 && usage.OOMKills == 0 {
		result.Log = nil
		if refusal := r.engine.refusal; refusal != "" && strings.Contains(why, refusal) {
			result.Outcome, result.Reason = sandbox.FunctionError, fmt.Sprintf("the program cannot be started by the image's user: %.300s", oneLine(why[strings.Index(why, refusal):]))
			return nil
		}
		return fmt.Errorf("%s did not start the container: %s", r.engine.name, strings.TrimSpace(why+" "+string(log.bytes)))
	}
	return u.judge(result, gas, usage.OOMKills)
}

// watch counts gas until the run ends, and ends it when it has used too much or
// its time is over.
func (u *run) watch(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-u.kept.done:
			return nil
		case <-ctx.Done():
			u.stop(sandbox.WallExceeded, "the function was stopped when its time was over")
			return nil
		case <-t.C:
		}
		now := time.Now()
		memory, err1 := u.group.memory()
		cpu, err2 := u.group.cpu()
		full, err3 := u.out.full()
		if err := errors.Join(err1, err2, err3); err != nil {
			u.kept.kill()
			return err
		}
		u.meter.Held(memory, now.Sub(last))
		last = now
		if u.meter.Gas(cpu) > u.limits.Gas {
			u.stop(sandbox.GasExhausted, "")
			return nil
		}
		if full != "" {
			u.stop(sandbox.OutputExceeded, "the output has too many "+full)
			return nil
		}
	}
}

func (u *run) stop(why sandbox.Outcome, reason string) {
	u.stopped, u.reason = why, reason
	u.kept.kill()
}

// total reads what the run has used, when it is over.
func (u *run) total() (Usage, uint64, error) {
	cpu, err1 := u.group.cpu()
	written, err2 := u.group.written()
	oom, err3 := u.group.oomKills()
	usage := Usage{CPU: cpu, MemoryGas: u.meter.memory, DiskWrites: written, OOMKills: oom}
	return usage, u.meter.Gas(cpu), errors.Join(err1, err2, err3)
}

// judge says how a run that began has ended (spec §9.3).
func (u *run) judge(result *sandbox.Result, gas, oom uint64) error {
	code, why := u.exit()
	outputs, err := u.take(u.limits.OutputBytes)
	var taken *errTaken
	if err != nil && !errors.As(err, &taken) {
		return fmt.Errorf("reading the output: %w", err)
	}
	switch {
	case taken != nil && taken.outcome == sandbox.OutputExceeded:
		result.Outcome, result.Reason = taken.outcome, taken.reason
	case u.stopped == sandbox.OutputExceeded:
		result.Outcome, result.Reason = u.stopped, u.reason
	case gas > u.limits.Gas || u.stopped == sandbox.GasExhausted:
		result.Outcome, result.Gas = sandbox.GasExhausted, u.limits.Gas
		result.Reason = fmt.Sprintf("the function was stopped when it had used all %d gas", u.limits.Gas)
	case u.stopped != 0:
		result.Outcome, result.Reason = u.stopped, u.reason
	case code == 0 && taken == nil:
		result.Outcome, result.Outputs = sandbox.OK, outputs
	case code == 0:
		result.Outcome, result.Reason = taken.outcome, taken.reason
	case oom > 0:
		result.Outcome, result.Reason = sandbox.MemoryExceeded, why+", after it was denied more memory"
	default:
		result.Outcome, result.Reason = sandbox.FunctionError, why
	}
	if u.stopped == 0 {
		result.ExitCode = code
	}
	return nil
}

// exit is the exit code, that of the runtime: 128 and a signal's number if the
// function was killed by it.
func (u *run) exit() (code uint32, why string) {
	var e *exec.ExitError
	if u.kept.err == nil {
		return 0, ""
	}
	code = 1
	if errors.As(u.kept.err, &e) {
		if c := e.ExitCode(); c >= 0 {
			code = uint32(c)
		} else {
			code = 128 + uint32(unix.SIGKILL)
		}
	}
	why = fmt.Sprintf("the function ended with exit code %d", code)
	if code > 128 && code < 160 {
		why = fmt.Sprintf("the function ended with exit code %d, which may be the signal %s", code, unix.SignalName(unix.Signal(code-128)))
	}
	return code, why
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
