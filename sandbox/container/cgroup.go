package container

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A group is the cgroup of one job: one directory of version 2, or one for
// each controller of version 1.
type group struct {
	v2     bool
	dirs   map[string]string // by controller; in version 2 there is one, of no name
	found  map[string]string // that of this process, of each controller that there is
	mounts map[string]string // where they are mounted
}

// groupPrefix begins the name of a job's cgroup, and the process id of who made
// it follows.
const groupPrefix = "prytany-"

// needed are the controllers without which there is no limit. blkio (io in
// version 2) only counts.
var needed = []string{"cpu", "memory", "pids"}

// parents finds the cgroups to make a job's in: those that this process is in,
// or in version 2 the nearest above that may have children with controllers.
func parents(mountinfo, own string) (g group, err error) {
	v1, mounts := map[string]string{}, map[string]string{}
	var v2, mount string
	for line := range strings.Lines(mountinfo) {
		// id parent dev root mountpoint options … - type source superoptions
		f := strings.Fields(line)
		i := slices.Index(f, "-")
		if i < 6 || len(f) < i+4 {
			continue
		}
		at := filepath.Join(f[4], relative(f[3], own, f[i+1], f[i+3]))
		switch f[i+1] {
		case "cgroup":
			for c := range strings.SplitSeq(f[i+3], ",") {
				v1[c], mounts[c] = at, f[4]
			}
		case "cgroup2":
			v2, mount = at, f[4]
		}
	}
	if v1["memory"] == "" && v2 != "" {
		return group{v2: true, dirs: map[string]string{"": v2}, mounts: map[string]string{"": mount}}, nil
	}
	for _, c := range append([]string{"cpuacct"}, needed...) {
		if v1[c] == "" {
			return group{}, fmt.Errorf("the cgroup controller %s is not mounted", c)
		}
	}
	return group{dirs: v1, mounts: mounts}, nil
}

// relative is the path of the process's own cgroup below a mount whose root is
// root, of the hierarchy with those options.
func relative(root, own, kind, options string) string {
	for line := range strings.Lines(own) {
		// hierarchy:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		mine := f[1] == "" && kind == "cgroup2"
		if f[1] != "" && kind == "cgroup" {
			first, _, _ := strings.Cut(f[1], ",")
			mine = slices.Contains(strings.Split(options, ","), first)
		}
		if p := f[2]; mine && strings.HasPrefix(p, root) {
			return strings.TrimPrefix(p, root)
		}
	}
	return ""
}

// newGroup makes a cgroup with these limits.
func newGroup(memory, processes, cpus uint64) (*group, error) {
	g, err := emptyGroup()
	if err != nil {
		return nil, err
	}
	if err := g.limit(memory, processes, cpus); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// emptyGroup makes a cgroup below that of this process.
func emptyGroup() (*group, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	g, err := parents(string(info), string(own))
	if err != nil {
		return nil, err
	}
	if g.v2 {
		if g.dirs[""], err = delegated(g.dirs[""]); err != nil {
			return nil, err
		}
	}
	name := fmt.Sprintf("%s%d-%s", groupPrefix, os.Getpid(), rand.Text()[:8])
	if err := g.make(name); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return &g, nil
}

// A Delegated cgroup belongs to another user, who can make those of jobs in it.
type Delegated struct {
	group *group
	// Mounts are where its directories are to be mounted, for whoever runs jobs in
	// it without the host's other cgroups: by directory.
	Mounts map[string]string
	// Show is likewise of others, read-only. It is there for runc, which wants to
	// find the controller of devices.
	Show map[string]string
	// Enclave is the cgroup to start that user's process in, in version 2. Of
	// version 1 it joins the directories by itself.
	Enclave string
}

// Delegate makes a cgroup for a process of another user.
func Delegate(uid, gid int) (*Delegated, error) {
	g, err := emptyGroup()
	if err != nil {
		return nil, err
	}
	d := &Delegated{group: g, Mounts: map[string]string{}}
	if dir := g.found["devices"]; dir != "" {
		d.Show = map[string]string{dir: g.mounts["devices"]}
	}
	for c, dir := range g.dirs {
		d.Mounts[dir] = g.mounts[c]
		for _, name := range []string{"", "cgroup.procs", "tasks", "cgroup.threads", "cgroup.subtree_control"} {
			if e := os.Chown(filepath.Join(dir, name), uid, gid); err == nil && !errors.Is(e, fs.ErrNotExist) {
				err = e
			}
		}
	}
	if g.v2 && err == nil {
		d.Enclave = filepath.Join(g.dir(""), "enclave")
		control := filepath.Join(g.dir(""), "cgroup.subtree_control")
		err = errors.Join(os.WriteFile(control, []byte("+"+strings.Join(needed, " +")), 0), os.Mkdir(d.Enclave, 0o755))
		_ = os.WriteFile(control, []byte("+io"), 0) // only counts
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("giving a cgroup away: %w", err), d.Remove())
	}
	return d, nil
}

// Remove removes it, when no process is left in it.
func (d *Delegated) Remove() error {
	for _, dir := range d.group.dirs {
		removeBelow(dir)
	}
	return d.group.remove()
}

// removeBelow removes the cgroups in one: those of jobs that were cut short.
func removeBelow(dir string) {
	below, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
	for _, procs := range below {
		_ = os.Remove(filepath.Dir(procs))
	}
}

// delegated is the nearest cgroup from dir upwards whose children have all
// controllers that are needed, or can be given them.
func delegated(dir string) (string, error) {
	for {
		have, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
		if err != nil {
			return "", fmt.Errorf("no cgroup here gives its children the controllers %s: %w", strings.Join(needed, ", "), err)
		}
		missing := slices.DeleteFunc(slices.Clone(needed), func(c string) bool { return slices.Contains(strings.Fields(string(have)), c) })
		if len(missing) == 0 || os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+strings.Join(missing, " +")), 0) == nil {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+io"), 0) // only counts
			return dir, nil
		}
		dir = filepath.Dir(dir)
	}
}

// make makes the directories, and removes those of makers that are gone.
func (g *group) make(name string) error {
	g.found, g.dirs = g.dirs, map[string]string{}
	for c, parent := range g.found {
		if !g.v2 && !slices.Contains(append([]string{"cpuacct", "blkio"}, needed...), c) {
			continue
		}
		sweep(parent)
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // two controllers may share one
			return fmt.Errorf("making a cgroup: %w", err)
		}
		g.dirs[c] = dir
	}
	return nil
}

func sweep(parent string) {
	old, _ := filepath.Glob(filepath.Join(parent, groupPrefix+"*-*"))
	for _, dir := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			removeBelow(dir)
			_ = os.Remove(dir) // fails if a process is in it
		}
	}
}

func (g *group) dir(controller string) string {
	if g.v2 {
		return g.dirs[""]
	}
	return g.dirs[controller]
}

func (g *group) limit(memory, processes, cpus uint64) error {
	const period = 100_000 // µs
	type setting struct{ controller, file, value string }
	list := []setting{
		{"memory", "memory.limit_in_bytes", fmt.Sprint(memory)},
		{"memory", "memory.memsw.limit_in_bytes", fmt.Sprint(memory)},
		{"cpu", "cpu.cfs_period_us", fmt.Sprint(period)},
		{"cpu", "cpu.cfs_quota_us", fmt.Sprint(cpus * period)},
		{"pids", "pids.max", fmt.Sprint(processes)},
	}
	if g.v2 {
		list = []setting{
			{"", "memory.max", fmt.Sprint(memory)},
			{"", "memory.swap.max", "0"},
			{"", "memory.oom.group", "1"},
			{"", "cpu.max", fmt.Sprintf("%d %d", cpus*period, period)},
			{"", "pids.max", fmt.Sprint(processes)},
		}
	}
	for _, s := range list {
		err := os.WriteFile(filepath.Join(g.dir(s.controller), s.file), []byte(s.value), 0)
		if errors.Is(err, fs.ErrNotExist) && strings.Contains(s.file, "sw") && noSwap() {
			continue // the kernel does not account for swap, and there is none
		}
		if err != nil {
			return fmt.Errorf("limiting a cgroup: %w", err)
		}
	}
	return nil
}

// procs are the files that a process joins the cgroup by.
func (g *group) procs() []string {
	var list []string
	for _, dir := range g.dirs {
		list = append(list, filepath.Join(dir, "cgroup.procs"))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// cpu is the processor time of the cgroup so far.
func (g *group) cpu() (time.Duration, error) {
	if g.v2 {
		us, err := keyed(filepath.Join(g.dir(""), "cpu.stat"), "usage_usec")
		return time.Duration(us) * time.Microsecond, err
	}
	ns, err := number(filepath.Join(g.dir("cpuacct"), "cpuacct.usage"))
	return time.Duration(ns), err
}

// memory is the bytes that the cgroup holds now, files in memory among them.
func (g *group) memory() (uint64, error) {
	if g.v2 {
		return number(filepath.Join(g.dir(""), "memory.current"))
	}
	return number(filepath.Join(g.dir("memory"), "memory.usage_in_bytes"))
}

// oom is how many processes of the cgroup the kernel killed for memory, and whether
// the cgroup was at its own limit. If not, it was a limit above it, or the
// machine, that had none left, and that is not the job's doing.
func (g *group) oom() (kills uint64, own bool, err error) {
	if g.v2 { // an event counts for the cgroup whose limit it is, and for those above
		events := filepath.Join(g.dir(""), "memory.events")
		kills, err1 := keyed(events, "oom_kill")
		limit, err2 := keyed(events, "oom")
		return kills, limit > 0, errors.Join(err1, err2)
	}
	// Version 1 counts who was killed, and not for whose limit; and its failcnt
	// stays 0 in some kernels. That nothing was left shows in the most that was held.
	kills, err1 := keyed(filepath.Join(g.dir("memory"), "memory.oom_control"), "oom_kill")
	most, err2 := number(filepath.Join(g.dir("memory"), "memory.max_usage_in_bytes"))
	limit, err3 := number(filepath.Join(g.dir("memory"), "memory.limit_in_bytes"))
	return kills, most+charged >= limit, errors.Join(err1, err2, err3)
}

// charged is what the kernel takes at a time for a processor, in bytes: a cgroup
// that is denied a page may be so far from its limit.
const charged = 64 << 12

// written is the bytes that the cgroup wrote to block devices, 0 where the
// kernel does not count them.
func (g *group) written() (uint64, error) {
	file := filepath.Join(g.dir("blkio"), "blkio.throttle.io_service_bytes")
	if g.v2 {
		file = filepath.Join(g.dir(""), "io.stat")
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return writtenIn(data)
}

// writtenIn sums lines such as "8:0 Write 4096" of version 1, and such as "8:0
// rbytes=1 wbytes=4096 rios=1" of version 2.
func writtenIn(data []byte) (sum uint64, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		for i, word := range f {
			v, ok := strings.CutPrefix(word, "wbytes=")
			if word == "Write" && i+1 < len(f) {
				v, ok = f[i+1], true
			}
			if !ok {
				continue
			}
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}

// remove removes the cgroup, in which no process may be left. The kernel may
// take a moment to see that.
func (g *group) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	for _, dir := range g.dirs {
		for {
			err := os.Remove(dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			select {
			case <-ctx.Done():
				errs = append(errs, fmt.Errorf("removing a cgroup: %w", err))
			case <-time.After(2 * time.Millisecond):
				continue
			}
			break
		}
	}
	return errors.Join(errs...)
}

func number(file string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
}

func keyed(file, key string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			return strconv.ParseUint(v, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, key)
}
