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
	Box, Out, Tmp int      // descriptors of the file systems; Box is 0 if there are none
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
	if err == nil {
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
	// Private, so that nothing that is mounted here is mounted anywhere else;
	// read-only, so that nothing that is written here is written to a disk.
	all := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, all); err != nil {
		return fmt.Errorf("making all mounts private and read-only: %w", err)
	}
	for _, m := range []struct {
		fd int
		at string
	}{{o.Box, boxDir}, {o.Out, outDir}, {o.Tmp, tmpDir}} {
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
	// The runtime must see the processes of this namespace, and no cgroup tree:
	// crun refuses some, and all it needs of one is done.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	_ = unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH) // where there is one
	err := unix.Exec(o.Argv[0], o.Argv, []string{"PATH=" + searchPath, "HOME=/run", "XDG_RUNTIME_DIR=/run"})
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

// startKeeper starts a keeper with the file systems of a job, if there is one.
// The rest of cmd, its streams, is the caller's.
func startKeeper(cmd *exec.Cmd, o order, b *box) (*kept, error) {
	if b != nil {
		for i, m := range []*ram{b.base, b.out, b.tmp} {
			// The copy belongs to the command, and is closed with it.
			fd, err := unix.FcntlInt(uintptr(m.fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			f := os.NewFile(uintptr(fd), "ram")
			defer f.Close()
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
			*[]*int{&o.Box, &o.Out, &o.Tmp}[i] = 3 + i
		}
	}
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd.Path, cmd.Args = "/proc/self/exe", []string{keeperName, string(arg)}
	cmd.Env, cmd.Dir = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
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
