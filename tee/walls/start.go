package walls

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The ids of the host, above what systemd and useradd hand out. The first
// 65,536 are those of package container's users; the one after them is nobody's
// but the enclave's.
const (
	containerIDs = 0x7000_0000
	nobody       = containerIDs + 1<<16
)

// settings are the variables of the environment that an enclave may have: the
// Go runtime's own.
var settings = []string{"GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"}

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
	a, err := attributes(p)
	if err != nil {
		return missing(root, err)
	}
	// Otherwise the runtime reads files of the host to learn it, for as long as it lives.
	env := slices.DeleteFunc(slices.Clone(cmd.Env), func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") })
	cmd.Env = append(env, fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0)))
	if err := foreign(cmd.Env); err != nil {
		return err
	}
	cmd.Args = append(slices.Clone(cmd.Args), p.argument())
	cmd.Dir, cmd.SysProcAttr = "/", a

	started := make(chan error)
	go func() {
		// It dies with the thread that started it, and so that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
			}
		}
	}()
	switch err := <-started; {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return missing(namespaces, err)
	default:
		return err
	}
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
// Its ids are the same inside and outside. Root, which is inside only the owner
// of these namespaces, builds the walls; then the process is who identity says.
// Who is not root has but his own id to give, which is root inside.
func attributes(p Profile) (*syscall.SysProcAttr, error) {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true,
		Pdeathsig:  unix.SIGKILL,
	}
	if p.Kind == Modules {
		// A runtime of containers finds its cgroup by the names that the host uses.
		a.Cloneflags |= unix.CLONE_NEWCGROUP
	}
	if os.Geteuid() != 0 {
		if p.Kind == Containers {
			return nil, errors.New("only root can give away the ids that containers need")
		}
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		return a, nil
	}
	who, err := identify(p)
	if err != nil {
		return nil, err
	}
	a.UidMappings, a.GidMappings = mapping(p.Kind, []int{who.uid}), mapping(p.Kind, append(who.groups, who.gid))
	a.GidMappingsEnableSetgroups = true
	return a, nil
}

func mapping(k Kind, ids []int) []syscall.SysProcIDMap {
	ids = append([]int{0}, ids...)
	slices.Sort(ids)
	var list []syscall.SysProcIDMap
	for _, id := range slices.Compact(ids) {
		list = append(list, syscall.SysProcIDMap{ContainerID: id, HostID: id, Size: 1})
	}
	if k == Containers {
		list = append(list, syscall.SysProcIDMap{ContainerID: containerIDs, HostID: containerIDs, Size: 1 << 16})
	}
	return list
}

// identity is who the enclave is when the walls stand, by the host's ids.
type identity struct {
	uid, gid int
	groups   []int
}

// identify makes the enclave nobody of the host's; of the group that a file
// that is let in is for; or, if there is no such group, its owner, then without
// the powers of one. Containers need root.
func identify(p Profile) (identity, error) {
	if p.Kind == Containers {
		return identity{}, nil
	}
	who := identity{uid: nobody, gid: nobody}
	for _, path := range p.Let {
		info, err := stat(path)
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
		case st.Mode>>3&need == need:
			who.groups = append(who.groups, int(st.Gid))
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
