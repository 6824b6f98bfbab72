package container

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// keeperName is what a program is called when it is to be a keeper.
const keeperName = "prytany-keeper"

// order is what a keeper is told.
type order struct {
	Root          int  // descriptor of a runtime's files, to make a namespace of them; nothing else is set then
	Tree          bool // with Root: a cgroup tree to look at
	Namespace     int  // descriptor of such a namespace
	Box           int  // descriptor of the job's file systems, and of those in it; 0 if there are none
	Out, Tmp, Shm int
	Cgroup        []string // cgroup.procs files to join
	Argv          []string // what to become
}

// keeperFailed is the exit code of a keeper that could not do its part. It says
// why on its standard error.
const keeperFailed = 240

// keep is the keeper: the first process of new namespaces, which makes them
// safe, joins the cgroup and becomes the runtime.
func keep(arg string) {
	var o order
	err := json.Unmarshal([]byte(arg), &o)
	switch {
	case err != nil:
	case o.Root != 0:
		if err = o.build(); err == nil {
			os.Exit(0)
		}
	default:
		err = o.do()
	}
	fmt.Fprintf(os.Stderr, "%v\n", err)
	os.Exit(keeperFailed)
}

func (o order) do() error {
	for _, procs := range o.Cgroup {
		if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
			return fmt.Errorf("joining the cgroup: %w", err)
		}
	}
	// All that is here is the runtime, in memory, read-only and private: nothing
	// that is written is written to a disk, or mounted anywhere else.
	if err := enter(o.Namespace); err != nil {
		return fmt.Errorf("entering the runtime's namespace: %w", err)
	}
	for _, m := range []struct {
		fd int
		at string
	}{{o.Box, boxDir}, {o.Out, outDir}, {o.Tmp, tmpDir}, {o.Shm, shmDir}} {
		if m.fd == 0 {
			continue
		}
		if err := unix.MoveMount(m.fd, "", unix.AT_FDCWD, m.at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mounting the job's files at %s: %w", m.at, err)
		}
		unix.CloseOnExec(m.fd)
	}
	if o.Box != 0 {
		for dir, attributes := range map[string]uint64{
			rootDir: unix.MOUNT_ATTR_RDONLY,
			inDir:   unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC,
		} {
			if err := rebind(dir, attributes); err != nil {
				return fmt.Errorf("making %s read-only: %w", dir, err)
			}
		}
	}
	// There is no cgroup tree: crun refuses some, and all it needs of one is done.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	err := unix.Exec(o.Argv[0], o.Argv, []string{"PATH=" + searchPath, "HOME=/run", "XDG_RUNTIME_DIR=/run", "LD_LIBRARY_PATH=" + libDir})
	return fmt.Errorf("%s: %w", o.Argv[0], err)
}

// rebind mounts a directory onto itself, with more attributes. What a runtime
// makes of it later cannot have fewer, for it is another user's by then.
func rebind(dir string, attributes uint64) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// A kept process is one that a keeper has become. All of its namespace dies
// with it.
type kept struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done: how it ended
}

// startKeeper starts a keeper that is to become a loaded program, with the file
// systems of a job, if there is one; or without a program, as its order says.
// The rest of cmd, its streams, is the caller's.
func startKeeper(cmd *exec.Cmd, o order, p *Program, b *box) (*kept, error) {
	pass := func(fd int, to *int) error {
		// The copy belongs to the command, and is closed with it.
		fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "passed"))
		*to = 2 + len(cmd.ExtraFiles)
		return nil
	}
	defer func() {
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
	}()
	if p != nil {
		if err := pass(p.ns, &o.Namespace); err != nil {
			return nil, err
		}
	}
	if b != nil {
		for m, to := range map[*ram]*int{b.base: &o.Box, b.out: &o.Out, b.tmp: &o.Tmp, b.shm: &o.Shm} {
			if err := pass(m.fd, to); err != nil {
				return nil, err
			}
		}
	}
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	namespace := uintptr(unix.CLONE_NEWNS)
	if p != nil {
		namespace = 0 // it copies the program's
	}
	cmd.Path, cmd.Args = "/proc/self/exe", []string{keeperName, string(arg)}
	cmd.Env, cmd.Dir = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: namespace | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true,
		Pdeathsig:  unix.SIGKILL,
	}
	k := &kept{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// It dies with the thread that started it, and so that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			k.err = cmd.Wait()
			close(k.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("a process in new namespaces: %w", err)
	}
	return k, nil
}

// kill ends all of the namespace.
func (k *kept) kill() { _ = k.cmd.Process.Kill() }
