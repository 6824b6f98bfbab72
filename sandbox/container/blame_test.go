package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"golang.org/x/sys/unix"
)

// What whoever rules the machine does to a job never ends as the function's fault: it
// is an error, for which nobody signs, or time that has passed.
func TestTheMachineIsNotTheFunction(t *testing.T) {
	skipInShort(t)
	if name := os.Getenv("PRYTANY_TEST_SQUEEZED"); name != "" {
		j := job(t, "memory-bomb")
		j.Limits.MemoryBytes = 4 << 30
		res, err := open(t, name).Run(t.Context(), j)
		fmt.Printf("it ended: %v, %v\n", res.Outcome, err)
		return
	}
	for _, c := range []struct {
		what   string
		args   string
		change func(*sandbox.Limits)
		attack func(t *testing.T, j *jobOutside) // once the job runs
		want   []sandbox.Outcome
		err    string // or that
	}{
		{"nothing is done to it", "exit 3", nil, nil, []sandbox.Outcome{sandbox.FunctionError}, ""},
		{"its processor is taken away", "spin", func(l *sandbox.Limits) { l.Wall, l.Gas = 4*time.Second, 2_500_000_000 },
			func(t *testing.T, j *jobOutside) { j.set(t, "cpu.cfs_quota_us", "cpu.max", "2000", "2000 100000") },
			[]sandbox.Outcome{sandbox.WallExceeded}, ""},
		{"its processes are stopped, and it holds memory", "hold 64 600000", func(l *sandbox.Limits) { l.Wall, l.Gas = 3*time.Second, 10_000_000_000 },
			func(t *testing.T, j *jobOutside) {
				j.signal(t, unix.SIGSTOP, func(pid int) bool { return !j.keeper(pid) })
			},
			[]sandbox.Outcome{sandbox.WallExceeded}, ""},
		{"its runtime is killed", "sleep 600000", nil,
			func(t *testing.T, j *jobOutside) { j.signal(t, unix.SIGKILL, j.keeper) },
			nil, "the runtime was killed"},
		{"its process is killed", "sleep 600000", nil,
			func(t *testing.T, j *jobOutside) { j.signal(t, unix.SIGKILL, j.function) },
			[]sandbox.Outcome{sandbox.Killed}, "the runtime was killed"}, // in runsc the process is the runtime's
		{"it kills itself", "exit 137", nil, nil, []sandbox.Outcome{sandbox.Killed}, ""},
		{"it crashes", "exit 139", nil, nil, []sandbox.Outcome{sandbox.FunctionError}, ""},
		{"it needs more than its own limit", "memory-bomb", func(l *sandbox.Limits) { l.MemoryBytes = 64 << 20 }, nil, []sandbox.Outcome{sandbox.MemoryExceeded}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			two(t, func(t *testing.T, r *Runtime) {
				j := job(t, strings.Fields(c.args)...)
				if c.change != nil {
					c.change(&j.Limits)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				attacked := make(chan struct{})
				go func() {
					defer close(attacked)
					if c.attack != nil {
						c.attack(t, await(ctx, r, c.args))
					}
				}()
				res, err := r.Run(t.Context(), j)
				cancel()
				<-attacked
				switch {
				case err != nil && (c.err == "" || !strings.Contains(err.Error(), c.err)):
					t.Error(err)
				case err == nil && !slices.Contains(c.want, res.Outcome):
					t.Errorf("%v: %s: %s", res.Outcome, res.Reason, res.Log)
				}
				t.Logf("%-5s | %v, %v, %d gas", r.Name(), res.Outcome, err, res.Gas)
			})
		})
	}
	// The machine has less memory than the job may have: a cgroup above it stands
	// for that. The job is the first that the kernel looks for.
	t.Run("the machine has too little memory", func(t *testing.T) {
		two(t, func(t *testing.T, r *Runtime) {
			dir, procs := squeeze(t, 512<<20)
			cmd := exec.Command("/bin/sh", "-c", "echo $$ > "+procs+" && exec /proc/"+strconv.Itoa(os.Getpid())+"/exe -test.run=^TestTheMachineIsNotTheFunction$")
			cmd.Env = append(os.Environ(), "PRYTANY_TEST_SQUEEZED="+r.Name())
			out, err := cmd.CombinedOutput()
			until(t, "its cgroup is removed", func() bool { return removeTree(dir) })
			if err != nil || !strings.Contains(string(out), "it ended: outcome 0, the machine had too little memory") {
				t.Errorf("%v: %s", err, out)
			}
		})
	})
}

// jobOutside is a job that runs, as root of the machine sees it.
type jobOutside struct {
	mine  string // in the name of its cgroup
	args  string
	ownNS bool // runsc: the function is no process of this kernel
}

// await waits until a job's function runs.
func await(ctx context.Context, r *Runtime, args string) *jobOutside {
	j := &jobOutside{mine: fmt.Sprint(groupPrefix, os.Getpid(), "-"), args: args, ownNS: r.engine.kernel}
	for ctx.Err() == nil {
		for _, pid := range j.pids() {
			if j.function(pid) {
				time.Sleep(200 * time.Millisecond) // past its start
				return j
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return j
}

func (j *jobOutside) pids() (list []int) {
	procs, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, p := range procs {
		if data, _ := os.ReadFile(p); strings.Contains(string(data), j.mine) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			list = append(list, pid)
		}
	}
	return list
}

func cmdline(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(line), "\x00", " ")
}

// keeper says whether a process is the one that has become the runtime: the child
// of this one.
func (j *jobOutside) keeper(pid int) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid()))
}

// function says whether a process is the function, or in runsc the kernel that it is
// a part of.
func (j *jobOutside) function(pid int) bool {
	line := cmdline(pid)
	if j.ownNS {
		return strings.Contains(line, " boot ")
	}
	return strings.HasPrefix(line, "/guest "+j.args)
}

func (j *jobOutside) signal(t *testing.T, s unix.Signal, which func(pid int) bool) {
	n := 0
	for _, pid := range j.pids() {
		if which(pid) && unix.Kill(pid, s) == nil {
			n++
		}
	}
	if n == 0 {
		t.Errorf("there was nobody to send %s to", unix.SignalName(s))
	}
}

// set changes a limit of the job's cgroup, by the names of both versions.
func (j *jobOutside) set(t *testing.T, file1, file2, value1, value2 string) {
	for _, to := range [][2]string{{file1, value1}, {file2, value2}} {
		n := 0
		_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == to[0] && strings.Contains(p, "/"+j.mine) && os.WriteFile(p, []byte(to[1]), 0) == nil {
				n++
			}
			return nil
		})
		if n > 0 {
			return
		}
	}
	t.Errorf("the job has no %s", file1)
}

// squeeze makes a cgroup of this process's with so much memory, for a whole test
// process to be in.
func squeeze(t *testing.T, bytes uint64) (dir, procs string) {
	t.Helper()
	info, err1 := os.ReadFile("/proc/self/mountinfo")
	own, err2 := os.ReadFile("/proc/self/cgroup")
	g, err3 := parents(string(info), string(own))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Skip(err)
	}
	parent, file := g.dirs["memory"], "memory.limit_in_bytes"
	if g.v2 {
		file = "memory.max"
		if parent, err1 = delegated(g.dirs[""]); err1 != nil {
			t.Skip(err1)
		}
	}
	dir = filepath.Join(parent, fmt.Sprint("squeezed-", os.Getpid()))
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, bytes), 0)); err != nil {
		t.Fatal(err)
	}
	if g.v2 { // processes only in leaves
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu +memory +pids"), 0)
		if err := os.Mkdir(filepath.Join(dir, "leaf"), 0o755); err != nil {
			t.Fatal(err)
		}
		return dir, filepath.Join(dir, "leaf", "cgroup.procs")
	}
	return dir, filepath.Join(dir, "cgroup.procs")
}

func removeTree(dir string) bool {
	list, _ := os.ReadDir(dir)
	for _, d := range list {
		if d.IsDir() {
			_ = os.Remove(filepath.Join(dir, d.Name()))
		}
	}
	return os.Remove(dir) == nil
}
