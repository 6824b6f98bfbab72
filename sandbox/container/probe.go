package container

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/task"
)

// A Status says whether a runtime works on this machine.
type Status struct {
	Name      string
	Version   string    // as it calls itself
	Digest    task.Hash // of an OCI runtime with all that it loads
	Available bool
	Why       string // if it is not
	Hint      string // what to do about it
}

// Probe tries each runtime that this package knows, in the order of
// preference.
func Probe(ctx context.Context) []Status {
	var list []Status
	for _, name := range (Config{}).withDefaults().Runtimes {
		s, p := probe(ctx, name)
		if p != nil {
			p.Close()
		}
		list = append(list, s)
	}
	return list
}

var hints = map[string]string{
	"runsc": "tools/runsc.sh builds it",
	"crun":  "install the Debian package crun",
	"runc":  "install the Debian package runc",
}

// probe opens an OCI runtime and tries it. The program is the caller's to close.
func probe(ctx context.Context, name string) (Status, *Program) {
	p, err := Open(name)
	if err != nil {
		s := Status{Name: filepath.Base(name), Why: err.Error(), Hint: hints[filepath.Base(name)]}
		if s.Hint == "" {
			s.Hint = "name one of runsc, crun, runc"
		}
		return s, nil
	}
	s := p.try(ctx)
	if !s.Available {
		p.Close()
		return s, nil
	}
	return s, p
}

// try does with a runtime all that a job does, but have it run one: files in
// memory, a cgroup with limits, a keeper in its namespaces that becomes it.
func (p *Program) try(ctx context.Context) Status {
	s := Status{Name: p.engine.name}
	fail := func(hint, format string, args ...any) Status {
		s.Why, s.Hint = fmt.Sprintf(format, args...), hint
		return s
	}
	if os.Geteuid() != 0 {
		return fail("run as root; containers are made for one that is not", "only root can make namespaces, mounts and cgroups")
	}
	digest, err := p.Load()
	if err != nil {
		return fail("a kernel of 6.4 or later, and the capability CAP_SYS_ADMIN", "%v", err)
	}
	g, err := newGroup(64<<20+p.engine.memory, 16+p.engine.processes, 1)
	if err != nil {
		return fail("let this process make cgroups: in a systemd unit, Delegate=yes; in a container, mount /sys/fs/cgroup writable", "%v", err)
	}
	var out bytes.Buffer
	cmd := &exec.Cmd{Stdout: &out, Stderr: &out}
	k, err := startKeeper(cmd, order{Cgroup: g.procs(), Argv: []string{p.engine.path, "--version"}}, p, nil)
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
		return fail("give it CAP_SYS_ADMIN, and a kernel of 5.12 or later", "%s in its own namespaces: %v: %s", s.Name, err, line)
	}
	s.Version = strings.TrimSpace(strings.TrimPrefix(line, s.Name+" version"))
	s.Available, s.Digest = true, digest
	return s
}

// cacheDir is where tools/runsc.sh puts what it builds.
func cacheDir() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "prytany", "bin")
}
