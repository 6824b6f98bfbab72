package container

import (
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// A Program is an OCI runtime with all that it loads: its ELF interpreter and
// its libraries. [Open] only opens the files, and may be called before walls go
// up that hide them. [Program.Load] copies them into memory of this process and
// names the copy by its digest; that copy is what runs, in a mount namespace
// with nothing of the machine in it. So whoever brings the files cannot swap
// them between the two.
type Program struct {
	engine engine
	found  string // where it was
	parts  []part // sorted by path; nil when they are copied
	ns     int    // the mount namespace in which the copy is the root; 0 before Load
	digest task.Hash
}

// A part is one file of a program.
type part struct {
	at   string // its path where the program runs
	file *os.File
}

const (
	binDir = "/bin"
	// libDir is a directory that every loader searches by itself.
	libDir = "/lib"

	maxParts = 128
	maxPart  = 512 << 20 // bytes of one file
)

// libraryDirs are where libraries are looked for, after those that a file
// itself names: what the loaders of Debian, Fedora, Arch and Alpine search.
func libraryDirs(m elf.Machine) []string {
	dirs := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}
	if triple := map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}[m]; triple != "" {
		dirs = append([]string{"/usr/local/lib/" + triple, "/lib/" + triple, "/usr/lib/" + triple}, dirs...)
	}
	return dirs
}

// Open opens a runtime, by name or path (see [Find]), and what it loads. What it
// is said to be decides how it is started, so the name is a part of its digest.
func Open(name string) (*Program, error) {
	found, ok := Find(name)
	if !ok {
		return nil, fmt.Errorf("there is no program %s", name)
	}
	e, ok := named(found)
	if !ok {
		return nil, fmt.Errorf("%s is no runtime that is known here", found)
	}
	p := &Program{engine: e, found: found}
	if err := p.open(found); err != nil {
		p.Close()
		return nil, fmt.Errorf("%s: %w", found, err)
	}
	return p, nil
}

func (p *Program) open(program string) error {
	main, err := p.add(p.engine.path, program)
	if err != nil {
		return err
	}
	interpreter := main.interpreter
	if interpreter == "" {
		return nil // static
	}
	if interpreter != path.Clean(interpreter) || !path.IsAbs(interpreter) || slices.Contains(mountDirs, "/"+strings.Split(interpreter, "/")[1]) {
		return fmt.Errorf("its interpreter is %q", interpreter)
	}
	if _, err := p.add(interpreter, interpreter); err != nil {
		return err
	}
	have := []string{path.Base(interpreter)}
	for next := []*object{main}; len(next) > 0; next = next[1:] {
		for _, lib := range next[0].needed {
			if slices.Contains(have, lib) {
				continue
			}
			have = append(have, lib)
			b, err := p.library(lib, next[0], main)
			if err != nil {
				return err
			}
			next = append(next, b)
		}
	}
	slices.SortFunc(p.parts, func(a, b part) int { return strings.Compare(a.at, b.at) })
	return nil
}

// library finds one that a file needs, as a loader without an environment does.
func (p *Program) library(name string, by, main *object) (*object, error) {
	if name != path.Base(name) || name == "." || name == "/" {
		return nil, fmt.Errorf("it wants the library %q", name)
	}
	for _, dir := range append(slices.Clone(by.paths), libraryDirs(main.machine)...) {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		b, err := p.add(path.Join(libDir, name), file)
		if err == nil && b.machine == main.machine && b.class == main.class {
			return b, nil
		}
		if err == nil { // another machine's, which a loader passes over
			p.parts[len(p.parts)-1].file.Close()
			p.parts = p.parts[:len(p.parts)-1]
		}
	}
	return nil, fmt.Errorf("it needs the library %s, which is not found", name)
}

// An object is what an ELF file says of itself.
type object struct {
	machine     elf.Machine
	class       elf.Class
	interpreter string
	needed      []string
	paths       []string
}

// add opens a file to be at a path.
func (p *Program) add(at, file string) (*object, error) {
	if len(p.parts) == maxParts {
		return nil, fmt.Errorf("it loads more than %d files", maxParts)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	b, err := read(f, filepath.Dir(file))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p.parts = append(p.parts, part{at, f})
	return b, nil
}

func read(f *os.File, origin string) (*object, error) {
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > maxPart {
		return nil, errors.Join(err, fmt.Errorf("it is no file of at most %d bytes", maxPart))
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	b := &object{machine: e.Machine, class: e.Class}
	for _, s := range e.Progs {
		if s.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(s.Open(), unix.PathMax))
			if err != nil {
				return nil, err
			}
			b.interpreter = strings.TrimRight(string(name), "\x00")
		}
	}
	b.needed, err = e.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		list, err := e.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			l = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(l)
			b.paths = append(b.paths, filepath.SplitList(l)...)
		}
	}
	return b, nil
}

// Name is the runtime's, such as runsc.
func (p *Program) Name() string { return p.engine.name }

// Path is where it was found: another process may [Open] it by that.
func (p *Program) Path() string { return p.found }

// Close lets go of the files, or of the copy. No run may be under way.
func (p *Program) Close() {
	for _, f := range p.parts {
		f.file.Close()
	}
	if p.ns != 0 {
		unix.Close(p.ns)
	}
	p.parts, p.ns = nil, 0
}

// mountDirs are the directories of a program's root that something is mounted on:
// the files of a job, the processes of a run, six devices, and what runsc makes
// its own empty root in. Nothing is in sys: runc looks whether a cgroup tree is.
var mountDirs = []string{boxDir, "/proc", "/dev", "/tmp", "/sys"}

// Load copies the program into memory, once, and returns the copy's digest:
// H("runtime", path₁, SHA-256₁, …) over its files by path (spec §9.6.7).
func (p *Program) Load() (task.Hash, error) {
	if p.ns != 0 {
		return p.digest, nil
	}
	var size uint64
	for _, f := range p.parts {
		st, err := f.file.Stat()
		if err != nil {
			return task.Hash{}, err
		}
		size += uint64(st.Size()) + uint64(os.Getpagesize())
	}
	m, err := newRAM(size+1<<20, 8*maxParts, true)
	if err != nil {
		return task.Hash{}, err
	}
	defer m.close()
	var names [][]byte
	for _, f := range p.parts {
		sum, err := f.copy(m.root)
		if err != nil {
			return task.Hash{}, fmt.Errorf("copying %s: %w", f.at, err)
		}
		names = append(names, []byte(f.at), sum[:])
	}
	for _, dir := range append([]string{cgroupTree}, mountDirs...) {
		if err := m.root.MkdirAll(dir[1:], 0o755); err != nil {
			return task.Hash{}, err
		}
	}
	ns, err := rooted(m, p.engine.tree)
	if err != nil {
		return task.Hash{}, err
	}
	p.Close()
	p.ns, p.digest = ns, task.H(task.TagRuntime, names...)
	return p.digest, nil
}

// copy copies a file below a root, and sums what it writes.
func (f part) copy(root *os.Root) (sum task.Hash, err error) {
	name := f.at[1:]
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return sum, err
	}
	to, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(to, h)}, io.NewSectionReader(f.file, 0, maxPart), make([]byte, 1<<18))
	if err := errors.Join(err, to.Close()); err != nil {
		return sum, err
	}
	return task.Hash(h.Sum(nil)), nil
}

// rooted makes a mount namespace in which a file system is the root, read-only,
// with devices of the kernel's own in it and nothing else of this machine. It
// lives as long as its descriptor, and the keepers of runs copy it.
func rooted(m *ram, tree bool) (ns int, err error) {
	in, release, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	defer release.Close()
	ready, out, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ready.Close()
	fd, err := unix.FcntlInt(uintptr(m.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	root := os.NewFile(uintptr(fd), "root")
	defer root.Close()
	var why strings.Builder
	cmd := &exec.Cmd{Stdin: in, Stdout: out, Stderr: &why, ExtraFiles: []*os.File{root}}
	k, err := startKeeper(cmd, order{Root: 3, Tree: tree}, nil, nil)
	out.Close()
	if err != nil {
		return 0, err
	}
	defer func() {
		release.Close()
		<-k.done
		if err != nil {
			err = fmt.Errorf("making the root of a container runtime: %w: %s", err, oneLine(why.String()))
		}
	}()
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		return 0, err
	}
	return unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", k.cmd.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// devices are the kernel's that a runtime may give to a container.
var devices = map[string][2]uint32{
	"/dev/null": {1, 3}, "/dev/zero": {1, 5}, "/dev/full": {1, 7}, "/dev/random": {1, 8}, "/dev/urandom": {1, 9}, "/dev/tty": {5, 0},
}

const cgroupTree = "/sys/fs/cgroup"

// build is the other side of rooted: a keeper that makes its namespace, says
// so, and waits until it is held.
func (o order) build() error {
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE}); err != nil {
		return fmt.Errorf("making all mounts private: %w", err)
	}
	// In a user namespace neither devices nor a cgroup tree can be made: then they
	// are those that there are. Nor can processes be shown to who was not shown any.
	outside := map[string]int{}
	for _, at := range append(slices.Collect(maps.Keys(devices)), cgroupTree, "/proc") {
		if fd, err := unix.OpenTree(unix.AT_FDCWD, at, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE); err == nil {
			outside[at] = fd
		}
	}
	if err := unix.MoveMount(o.Root, "", unix.AT_FDCWD, "/proc", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting the runtime: %w", err)
	}
	if err := unix.Chdir("/proc"); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old root is now on top of the new one
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k,nr_inodes=16"); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	if o.Tree {
		err := unix.Mount("cgroup2", cgroupTree, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		if err == unix.EPERM {
			err = unix.MoveMount(outside[cgroupTree], "", unix.AT_FDCWD, cgroupTree, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		if err != nil {
			return fmt.Errorf("mounting a cgroup tree: %w", err)
		}
	}
	unix.Umask(0)
	borrowed := false
	for at, dev := range devices {
		err := unix.Mknod(at, unix.S_IFCHR|0o666, int(unix.Mkdev(dev[0], dev[1])))
		if err == unix.EPERM {
			if err = unix.Mknod(at, unix.S_IFREG|0o666, 0); err == nil {
				err = unix.MoveMount(outside[at], "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
			}
			borrowed = true
		}
		if err != nil {
			return fmt.Errorf("making %s: %w", at, err)
		}
	}
	if borrowed {
		if err := unix.MoveMount(outside["/proc"], "", unix.AT_FDCWD, "/proc", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mounting /proc: %w", err)
		}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("making all read-only: %w", err)
	}
	_, err := os.Stdout.Write([]byte{1})
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	return err
}

// enter goes into a copy of a program's namespace. The thread is locked, and
// from here on has a root of its own.
func enter(ns int) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return err
	}
	unix.CloseOnExec(ns)
	return unix.Unshare(unix.CLONE_NEWNS)
}
