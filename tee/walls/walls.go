// Package walls builds the walls of the operating system around an enclave
// process that is not in a machine of its own (spec §9.1.11).
//
// They are for the day on which a guest breaks out of its engine and runs as
// native code in the enclave. It then finds no file, no network, no other
// process and no way to make one; and Alice's data leaves by the pipe or not at
// all. They are no protection from the machine's owner, who builds them.
//
// The parent makes the namespaces ([Start]); the process itself does the rest
// before it reads a byte from anyone ([Enter]). A wall that does not hold is an
// error, never a warning: the process must then end. Which walls stand is a
// value, [Standing].
package walls

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/task"
)

// Kind is what an enclave runs, and with it which walls there can be.
type Kind string

const (
	// Modules is for WebAssembly, and Python on it: nothing but memory is needed.
	Modules Kind = "modules"
	// Containers is for an OCI runtime, which needs processes, mounts and powers
	// in namespaces of its own. Only root can start it.
	//
	// There is no profile for docker: who has its socket commands an engine that is
	// outside of all walls. It is for the simulated tier only.
	Containers Kind = "containers"
)

// Profile says which walls to build and what is let through them.
type Profile struct {
	Kind Kind `json:"kind"`
	// Let are files of the host that are at the same path inside, for reading and
	// writing: the device or directory by which the platform quotes. Of a socket
	// it lets connect. If they are not for everybody, the enclave is of their group
	// then, or for modules their owner.
	Let []string `json:"let,omitempty"`
	// Show are files and directories of the host that are at the same path
	// inside, read-only: container runtimes. Of Containers only, which always
	// shows where the system has its programs and libraries.
	Show []string `json:"show,omitempty"`
}

// check refuses a profile that means nothing.
func (p Profile) check() error {
	if p.Kind != Modules && p.Kind != Containers {
		return fmt.Errorf("no profile of walls is called %q", p.Kind)
	}
	if p.Kind == Modules && len(p.Show) > 0 {
		return errors.New("the profile modules shows nothing of the host")
	}
	for _, path := range append(append([]string{}, p.Let...), p.Show...) {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			return fmt.Errorf("%q is not an absolute path in its shortest form", path)
		}
	}
	return nil
}

// Wall is one wall that stands, and what was found when it was tried.
type Wall struct {
	Name string `json:"name"`
	Is   string `json:"is"`
}

// Standing is what [Enter] has built. A wall that is not in it does not stand.
type Standing struct {
	Profile Profile `json:"profile"`
	Walls   []Wall  `json:"walls"`
}

func (s Standing) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "walls for %s:", s.Profile.Kind)
	for _, w := range s.Walls {
		fmt.Fprintf(&b, "\n  %s: %s", w.Name, w.Is)
	}
	return b.String()
}

// missing is the refusal for a wall that does not stand.
func missing(wall string, err error) *task.Error {
	e := task.Refuse("walls-missing", "the wall %q does not stand around the enclave: %v", wall, err)
	if next := remedies[wall]; next != "" {
		return e.WithNext("%s", next)
	}
	return e
}

// remedies say what to do about a wall that does not stand.
var remedies = map[string]string{
	namespaces: "start it as root, or let users make namespaces: sysctl -w user.max_user_namespaces=10000, kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in a container, allow clone and mount in its profile",
	root:       "what is let in or shown must exist; for who is not root, let users make namespaces (Ubuntu: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0); in a container, show it an unmasked /proc and allow mount and pivot_root in its profile",
	landlock:   "a kernel of 6.2 or later, with landlock in /sys/kernel/security/lsm (start it with lsm=landlock,…)",
	seccomp:    "a kernel with CONFIG_SECCOMP_FILTER, on amd64 or arm64",
	leftovers:  "build it with CGO_ENABLED=0, and let the node start it, which gives it a pipe and nothing else",
}

// The names of the walls, in the order in which they are built.
const (
	leftovers  = "nothing inherited"
	namespaces = "namespaces"
	root       = "root"
	powers     = "capabilities"
	privileges = "no new privileges"
	memory     = "no dump"
	limits     = "limits"
	landlock   = "landlock"
	seccomp    = "seccomp"
)
