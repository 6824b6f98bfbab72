package walls

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/prytany/prytany/sandbox/container"
	"golang.org/x/sys/unix"
)

// The ids of the host, above what systemd and useradd hand out. The first
// 65,536 are those of package container's users; the one after them is the
// enclave's, and nobody else's.
const (
	containerIDs = 0x7000_0000
	nobody       = containerIDs + 1<<16
)

// settings are the variables of the environment that an enclave may have: the
// Go runtime's own.
var settings = []string{"GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"}

// order is what the process is told, as its last argument.
type order struct {
	Profile Profile  `json:"profile"`
	Shown   []shown  `json:"shown,omitempty"` // what the parent has taken for it
	Join    []string `json:"join,omitempty"`  // cgroup.procs files
}

const argument = "--walls="

// None is the last argument of a process that is started without walls.
const None = argument + "none"

// Arguments are those of an enclave program, without the one about its walls, and
// whether it is to have any.
func Arguments(args []string) (rest []string, walled bool) {
	if n := len(args) - 1; n >= 0 && strings.HasPrefix(args[n], argument) {
		return args[:n], args[n] != None
	}
	return args, true
}

func (o order) String() string {
	b, _ := json.Marshal(o)
	return argument + string(b)
}

func given(args []string) (o order, err error) {
	text, ok := strings.CutPrefix(args[len(args)-1], argument)
	if !ok {
		return o, errors.New("this process was not started with walls")
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return o, err
	}
	return o, o.Profile.check()
}

// Start starts a command whose program calls [Enter] first, in new namespaces.
// It gets the profile as its last argument; of descriptors its standard input
// and output, which have to be pipes; of the environment what cmd.Env has, which
// is settings of the Go runtime only. It dies with this process.
//
// Where namespaces are refused, the error has the code walls-missing.
func Start(cmd *exec.Cmd, p Profile) error {
	if err := p.check(); err != nil {
		return err
	}
	if cmd.Stderr != nil || len(cmd.ExtraFiles) > 0 {
		return errors.New("an enclave has a standard input and output, and no other file")
	}
	// Otherwise the runtime reads files of the host to learn it, for as long as it lives.
	env := slices.DeleteFunc(slices.Clone(cmd.Env), func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") })
	cmd.Env = append(env, fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0)))
	if err := foreign(cmd.Env); err != nil {
		return err
	}
	a, err := attributes(p)
	if err != nil {
		return missing(namespaces, err)
	}
	cmd.Dir, cmd.SysProcAttr = "/", a
	// In its namespaces it is nobody who could find the program by the host's names.
	program := cmd.Path
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{f}
	o, after := order{Profile: p}, func() {}
	if p.Kind == Containers {
		if after, err = lend(cmd, &o); err != nil {
			return missing(root, err)
		}
	}
	cmd.Args = append(slices.Clone(cmd.Args), o.String())

	started := make(chan error)
	go func() {
		// It dies with the thread that started it, and so that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer after()
		err := cmd.Start()
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
		started <- err
		if err == nil {
			for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
			}
		}
	}()
	switch err := <-started; {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return missing(namespaces, err)
	default: // also a program that others may not execute, which it is with Containers
		return fmt.Errorf("starting %s: %w", program, err)
	}
}

// lend gives an enclave for containers, which is no user of the host's and can
// reach little of it, what it needs: all that it is shown, by descriptors, and a
// cgroup. after takes the cgroup back.
func lend(cmd *exec.Cmd, o *order) (after func(), err error) {
	lent := func(fd int, name string) int {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), name))
		return 2 + len(cmd.ExtraFiles)
	}
	defer func() {
		if err != nil {
			for _, f := range cmd.ExtraFiles {
				f.Close()
			}
		}
	}()
	show := func(list []shown, err error) error {
		for _, s := range list {
			if s.Link == "" {
				s.Tree = lent(s.Tree, s.Path)
			}
			o.Shown = append(o.Shown, s)
		}
		return err
	}
	if err := show(take(o.Profile)); err != nil {
		return nil, err
	}
	group, err := container.Delegate(nobody, nobody)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = group.Remove()
		}
	}()
	for dir, at := range group.Mounts {
		if err := show(taken(dir, at, true)); err != nil {
			return nil, err
		}
		if group.Enclave == "" {
			o.Join = append(o.Join, at+"/cgroup.procs")
		}
	}
	for dir, at := range group.Show {
		if err := show(taken(dir, at, false)); err != nil {
			return nil, err
		}
	}
	if group.Enclave != "" {
		fd, err := unix.Open(group.Enclave, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		lent(fd, group.Enclave)
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
	return func() { _ = group.Remove() }, nil
}

// foreign finds a variable that is not one of the settings.
func foreign(env []string) error {
	for _, v := range env {
		if name, _, _ := strings.Cut(v, "="); !slices.Contains(settings, name) {
			return fmt.Errorf("the environment has %s, which is none of %s", name, strings.Join(settings, ", "))
		}
	}
	return nil
}

// attributes are the namespaces and whom the process is in them.
//
// Modules has no other process and no powers in the end, so its ids are the
// same inside and outside: root, which is but the owner of these namespaces,
// builds the walls, and then the process is who identify says. Containers keeps
// some powers, so nothing that it could become may be anybody of the host's.
// Who is not root has but his own id to give.
func attributes(p Profile) (*syscall.SysProcAttr, error) {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true,
		Pdeathsig:  unix.SIGKILL,
	}
	one := func(inside, outside int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: inside, HostID: outside, Size: 1}}
	}
	switch {
	case p.Kind == Containers && os.Geteuid() != 0:
		return nil, errors.New("only root can give away the ids and the cgroup that containers need")
	case p.Kind == Containers:
		who, err := identify(p)
		if err != nil {
			return nil, err
		}
		ids := append(one(0, nobody), syscall.SysProcIDMap{ContainerID: containerIDs, HostID: containerIDs, Size: 1 << 16})
		a.UidMappings, a.GidMappings, a.GidMappingsEnableSetgroups = ids, append(slices.Clone(ids), same(who.groups...)...), true
		a.Credential = &syscall.Credential{}
		for _, g := range who.groups {
			a.Credential.Groups = append(a.Credential.Groups, uint32(g))
		}
		return a, nil
	case os.Geteuid() != 0:
		a.UidMappings, a.GidMappings = one(0, os.Geteuid()), one(0, os.Getegid())
	default:
		who, err := identify(p)
		if err != nil {
			return nil, err
		}
		a.UidMappings, a.GidMappings, a.GidMappingsEnableSetgroups = same(0, who.uid), same(append(who.groups, 0, who.gid)...), true
	}
	a.Cloneflags |= unix.CLONE_NEWCGROUP // a runtime of containers finds its cgroup by the host's names
	return a, nil
}

// same maps ids to themselves.
func same(ids ...int) (list []syscall.SysProcIDMap) {
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		list = append(list, syscall.SysProcIDMap{ContainerID: id, HostID: id, Size: 1})
	}
	return list
}

// identity is who the enclave is when the walls stand.
type identity struct {
	uid, gid int
	groups   []int
}

// identify makes an enclave nobody of the host's; of the group that a file that
// is let in is for; or, if there is no such group, its owner, then without the
// powers of one, which is for modules only.
func identify(p Profile) (identity, error) {
	who := identity{uid: nobody, gid: nobody}
	for _, path := range p.Let {
		info, err := os.Stat(path)
		if err != nil {
			return who, err
		}
		st := info.Sys().(*syscall.Stat_t)
		need := uint32(6) // read and write
		if info.IsDir() {
			need = 7
		}
		switch {
		case st.Mode&need == need:
		case st.Mode>>3&need == need && (st.Gid != 0 || p.Kind == Modules):
			who.groups = append(who.groups, int(st.Gid))
		case p.Kind == Containers:
			return who, fmt.Errorf("%s is neither for everybody nor for a group that is not root's, and an enclave for containers can be no user of the host", path)
		case who.uid == nobody || who.uid == int(st.Uid):
			who.uid = int(st.Uid)
		default:
			return who, fmt.Errorf("%s is another user's than what else is let in", path)
		}
	}
	slices.Sort(who.groups)
	who.groups = slices.Compact(who.groups)
	return who, nil
}
