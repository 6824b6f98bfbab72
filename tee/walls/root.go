package walls

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// What there is room for in the enclave's own files, which are in memory. Only
// what is public is put there: they may be swapped.
const (
	scratchBytes = 512 << 20
	scratchFiles = 4096
)

// Scratch is the one directory that the enclave can write to, but for what is
// let in. It is where os.TempDir is.
const Scratch = "/scratch"

// system is where programs of Containers have their libraries.
var system = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"}

// devices are those that containers get.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

// A shown file or directory is taken from the old root into the new one.
type shown struct {
	Path string `json:"path"`
	Dir  bool   `json:"dir,omitempty"`
	Link string `json:"link,omitempty"` // a symbolic link is made again
	Tree int    `json:"tree,omitempty"` // else a detached copy of the mount
}

// root makes an empty file system in memory the root, read-only, with
// a directory for scratch and with what the profile lets in, and nothing else.
func (b *builder) root() (string, error) {
	unix.Umask(0o022)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("making mounts private: %w", err)
	}
	list, err := b.order.Shown, error(nil)
	if b.Kind == Modules {
		if list, err = take(b.Profile); err != nil {
			return "", err
		}
	}
	top, err := memoryFS(1<<20, 1024, "0755")
	if err != nil {
		return "", err
	}
	if err := unix.MoveMount(top, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return "", fmt.Errorf("mounting the new root: %w", err)
	}
	// Through the descriptor, since "/" is still the old one.
	if err := errors.Join(unix.Fchdir(top), unix.Close(top)); err != nil {
		return "", err
	}
	scratch, err := memoryFS(scratchBytes, scratchFiles, "0700")
	if err != nil {
		return "", err
	}
	if err := unix.Fchownat(scratch, "", b.who.uid, b.who.gid, unix.AT_EMPTY_PATH); err != nil {
		return "", err
	}
	list = append(list, shown{Path: Scratch, Dir: true, Tree: scratch})
	if b.Kind == Containers {
		// The keeper mounts onto /run, and runsc onto /tmp.
		if err := errors.Join(os.Mkdir("run", 0o755), os.Mkdir("tmp", 0o755), os.Mkdir("proc", 0o555)); err != nil {
			return "", err
		}
		// While the old one is in sight, or the kernel refuses.
		if err := unix.Mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return "", fmt.Errorf("mounting /proc: %w", err)
		}
	}
	for _, s := range list {
		if err := s.put(); err != nil {
			return "", fmt.Errorf("%s: %w", s.Path, err)
		}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, ".", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return "", err
	}
	// The old root is then on top of the new one, and goes.
	if err := unix.PivotRoot(".", "."); err != nil {
		return "", fmt.Errorf("pivot_root: %w", err)
	}
	if err := errors.Join(unix.Unmount(".", unix.MNT_DETACH), os.Chdir("/")); err != nil {
		return "", err
	}
	for _, procs := range b.order.Join {
		if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
			return "", fmt.Errorf("joining the cgroup: %w", err)
		}
	}
	if err := os.Setenv("TMPDIR", Scratch); err != nil {
		return "", err
	}
	return b.rooted(list)
}

// take gets hold of what the profile shows of the old root. What it has got
// hold of is in the list, after an error too.
func take(p Profile) (list []shown, err error) {
	add := func(path string, write bool) error {
		one, err := taken(path, path, write)
		list = append(list, one...)
		return err
	}
	for _, path := range append(slices.Clone(p.Let), p.Show...) {
		if err := add(path, slices.Contains(p.Let, path)); err != nil {
			return list, err
		}
		if list[len(list)-1].Link != "" {
			return list, fmt.Errorf("%s is a link: what it leads to has to be named", path)
		}
	}
	if p.Kind == Modules {
		return list, nil
	}
	for _, path := range devices {
		if err := add(path, true); err != nil {
			return list, err
		}
	}
	for _, path := range system {
		if err := add(path, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return list, err
		}
	}
	return list, nil
}

// taken gets hold of one file or directory, for a place in the new root. It
// cannot be written to there, nor give powers, unless it may.
func taken(path, at string, write bool) ([]shown, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	s := shown{Path: at, Dir: info.IsDir()}
	if info.Mode()&fs.ModeSymlink != 0 {
		if s.Link, err = os.Readlink(path); err != nil {
			return nil, err
		}
		return []shown{s}, nil
	}
	if s.Tree, err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if write {
		return []shown{s}, nil
	}
	ro := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	return []shown{s}, unix.MountSetattr(s.Tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, ro)
}

// put gives a file its place below the working directory.
func (s shown) put() error {
	at := "." + s.Path
	if err := os.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	if s.Link != "" {
		return os.Symlink(s.Link, at)
	}
	var err error
	if s.Dir {
		err = os.MkdirAll(at, 0o755)
	} else {
		err = os.WriteFile(at, nil, 0o600)
	}
	if err != nil {
		return err
	}
	return errors.Join(unix.MoveMount(s.Tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH), unix.Close(s.Tree))
}

// memoryFS makes a file system in memory, mounted nowhere yet, from which no
// program is started.
func memoryFS(bytes, files uint64, mode string) (fd int, err error) {
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("a file system in memory: %w", err)
	}
	defer unix.Close(fsfd)
	for key, value := range map[string]string{"size": strconv.FormatUint(bytes, 10), "nr_inodes": strconv.FormatUint(files, 10), "mode": mode} {
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
			return 0, fmt.Errorf("a file system in memory with %s %s: %w", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return 0, fmt.Errorf("a file system in memory: %w", err)
	}
	return unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// rooted tries whether the root is the new one: it has the names that were put
// there, and takes no other.
func (b *builder) rooted(list []shown) (string, error) {
	want := map[string]bool{}
	for _, s := range list {
		for p := s.Path; p != "/"; p = path.Dir(p) {
			if path.Dir(p) == "/" {
				want[p[1:]] = true
			}
		}
	}
	if b.Kind == Containers {
		want["run"], want["tmp"], want["proc"] = true, true, true
	}
	names, err := os.ReadDir("/")
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if !want[n.Name()] {
			return "", fmt.Errorf("/%s is in it", n.Name())
		}
	}
	if err := os.Mkdir("/new", 0o700); !errors.Is(err, unix.EROFS) {
		return "", fmt.Errorf("it is not read-only: %v", err)
	}
	is := fmt.Sprintf("empty, read-only; %s of %d MiB in memory", Scratch, scratchBytes>>20)
	for _, p := range append(slices.Clone(b.Let), b.Show...) {
		is += "; " + p
	}
	if b.Kind == Containers {
		is += "; /proc of its own processes; read-only /usr, libraries, runtimes; a cgroup of its own"
	}
	return is, nil
}
