package container

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strings"
)

// A Status says whether a runtime works on this machine.
type Status struct {
	Name      string
	Version   string // as it calls itself
	Available bool
	Why       string // if it is not
	Hint      string // what to do about it
}

// Probe tries each runtime that this package knows, in the order of
// preference.
func Probe(ctx context.Context) []Status {
	var list []Status
	for _, name := range (Config{}).withDefaults().Runtimes {
		s, _ := probe(ctx, name)
		list = append(list, s)
	}
	return list
}

var hints = map[string]string{
	"runsc": "tools/runsc.sh builds it",
	"crun":  "install the Debian package crun",
	"runc":  "install the Debian package runc",
}

// probe does with an OCI runtime all that a job does, but have it run one: files in
// memory, a cgroup with limits, a keeper in its namespaces that becomes it.
func probe(ctx context.Context, name string) (Status, engine) {
	s := Status{Name: filepath.Base(name)}
	fail := func(hint, format string, args ...any) (Status, engine) {
		s.Why, s.Hint = fmt.Sprintf(format, args...), hint
		return s, engine{}
	}
	path, ok := Find(name)
	if !ok {
		hint := hints[s.Name]
		if hint == "" {
			hint = "name one of runsc, crun, runc"
		}
		return fail(hint, "there is no such program")
	}
	e, ok := named(path)
	if !ok {
		return fail("name one of runsc, crun, runc", "%s is no runtime that is known here", path)
	}
	if os.Geteuid() != 0 {
		return fail("run as root; containers are made for one that is not", "only root can make namespaces, mounts and cgroups")
	}
	m, err := newRAM(1<<20, 16, false)
	if err != nil {
		return fail("a kernel of 6.4 or later, and the capability CAP_SYS_ADMIN", "%v", err)
	}
	m.close()
	g, err := newGroup(64<<20+e.memory, 16+e.processes, 1)
	if err != nil {
		return fail("let this process make cgroups: in a systemd unit, Delegate=yes; in a container, mount /sys/fs/cgroup writable", "%v", err)
	}
	var out bytes.Buffer
	cmd := &exec.Cmd{Stdout: &out, Stderr: &out}
	k, err := startKeeper(cmd, order{Cgroup: g.procs(), Argv: []string{e.path, "--version"}}, nil)
	if err == nil {
		select {
		case <-k.done:
		case <-ctx.Done():
			k.kill()
			<-k.done
		}
		err = k.err
	}
	if removed := g.remove(); err == nil {
		err = removed
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	if err != nil {
		return fail("give it CAP_SYS_ADMIN, and a kernel of 5.12 or later", "%s in its own namespaces: %v: %s", path, err, line)
	}
	s.Version = strings.TrimSpace(strings.TrimPrefix(line, s.Name+" version"))
	s.Available = true
	return s, e
}

// cacheDir is where tools/runsc.sh puts what it builds, also for a process
// without an environment.
func cacheDir() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home := os.Getenv("HOME")
		if u, err := osuser.Current(); home == "" && err == nil {
			home = u.HomeDir
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "prytany", "bin")
}
