package container

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// A ram is a file system in memory that is mounted nowhere: it is reached by
// its descriptor, and gone when the last one is closed.
type ram struct {
	fd   int
	root *os.Root
}

// newRAM makes one that holds at most so many bytes, in pages, and files and
// directories, its root not counted. No file of it is run, unless it may.
func newRAM(bytes, files uint64, runnable bool) (*ram, error) {
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("a file system in memory: %w", err)
	}
	defer unix.Close(fsfd)
	if err := unix.FsconfigSetFlag(fsfd, "noswap"); err != nil && !noSwap() {
		return nil, errors.New("this kernel may swap files in memory to a disk (it is older than 6.4, or this is a user namespace), and the machine has swap. Next: swapoff -a")
	}
	for key, value := range map[string]string{
		"size": strconv.FormatUint(bytes, 10), "nr_inodes": strconv.FormatUint(files+1, 10), "mode": "0755",
	} {
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
			return nil, fmt.Errorf("a file system in memory with %s %s: %w", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return nil, fmt.Errorf("a file system in memory: %w", err)
	}
	attributes := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	if !runnable {
		attributes |= unix.MOUNT_ATTR_NOEXEC
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, fmt.Errorf("a file system in memory: %w", err)
	}
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &ram{fd, root}, nil
}

// noSwap says that nothing can be swapped here.
func noSwap() bool {
	b, err := os.ReadFile("/proc/swaps")
	return err == nil && strings.Count(string(b), "\n") <= 1
}

func (m *ram) close() {
	m.root.Close()
	unix.Close(m.fd)
}

// full says of what the file system has none left: bytes, files or nothing.
func (m *ram) full() (string, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(m.fd, &st); err != nil {
		return "", err
	}
	switch {
	case st.Bfree == 0:
		return "bytes", nil
	case st.Ffree == 0:
		return "files", nil
	}
	return "", nil
}

// A box is all the files of one job. base has the directories rootfs, in,
// bundle and state (of the runtime) and the mount points out, tmp and shm. What
// is in shm is the job's /dev/shm.
type box struct {
	base, out, tmp, shm *ram
}

func newBox(c Config, job *sandbox.Job) (*box, error) {
	var b box
	var err error
	page := uint64(os.Getpagesize())
	bytes, files := uint64(c.Image.Bytes)+runtimeBytes, uint64(c.Image.Files)+runtimeFiles
	for _, f := range job.Inputs {
		bytes, files = bytes+uint64(len(f.Data)), files+1+uint64(strings.Count(f.Name, "/"))
	}
	if b.base, err = newRAM(bytes+files*page, files, true); err != nil {
		return nil, err
	}
	// Room for what is allowed however it is cut into files, and one page and
	// one file more: if that is used too, it was too much.
	if b.out, err = newRAM((min(job.Limits.OutputBytes, 1<<40)/page+sandbox.MaxFiles+2)*page, sandbox.MaxFiles+1, false); err != nil {
		b.close()
		return nil, err
	}
	for _, m := range []**ram{&b.tmp, &b.shm} {
		if *m, err = newRAM(c.TmpBytes, sandbox.TmpFiles, false); err != nil {
			b.close()
			return nil, err
		}
	}
	for _, dir := range []string{"rootfs", "in", "bundle", "state", "out", "tmp", "shm"} {
		if err := b.base.root.Mkdir(dir, 0o755); err != nil {
			b.close()
			return nil, err
		}
	}
	return &b, nil
}

func (b *box) all() []*ram { return append([]*ram{b.base}, b.open()...) }

// open are those that the function can write to.
func (b *box) open() []*ram { return []*ram{b.out, b.tmp, b.shm} }

func (b *box) close() {
	for _, m := range b.all() {
		if m != nil {
			m.close()
		}
	}
}

func (b *box) inputs(files []sandbox.File, ids uint32) error {
	for _, f := range files {
		name := "in/" + f.Name
		if err := b.base.root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fmt.Errorf("input %q: %w", f.Name, err)
		}
		w, err := b.base.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
		if err != nil {
			return fmt.Errorf("input %q: %w", f.Name, err)
		}
		_, err = w.Write(f.Data)
		if err := errors.Join(err, w.Chmod(0o444), w.Chown(int(ids), int(ids)), w.Close()); err != nil {
			return fmt.Errorf("input %q: %w", f.Name, err)
		}
	}
	return nil
}

// errTaken is why the outputs are not taken: too much, or not plain files.
type errTaken struct {
	outcome sandbox.Outcome
	reason  string
}

func (e *errTaken) Error() string { return e.reason }

// take reads the files in /out, sorted by name. Nothing is followed, and
// nothing of more than the limit is read.
func (b *box) take(limit uint64) ([]sandbox.File, error) {
	if what, err := b.out.full(); err != nil || what != "" {
		return nil, errors.Join(err, tooMuch(what))
	}
	var list []sandbox.File
	count, size := 0, uint64(0)
	err := fs.WalkDir(b.out.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return unreadable(name)
		}
		if err != nil || name == "." {
			return err
		}
		if count++; count > sandbox.MaxFiles {
			return tooMuch("files")
		}
		if !fs.ValidPath(name) { // of all that may be wrong with it a directory lets pass only this
			return &errTaken{sandbox.FunctionError, fmt.Sprintf("the output has a file of the name %.100q, which is not in UTF-8", name)}
		}
		if len(name) > 4096 {
			return &errTaken{sandbox.FunctionError, fmt.Sprintf("the output has a file of the name %.100q, and of more than 4096 bytes", name)}
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return &errTaken{sandbox.FunctionError, fmt.Sprintf("the output %q is %s: only plain files are taken", name, kind(d.Type()))}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if uint64(info.Size()) > limit-size {
			return tooMuch("bytes")
		}
		size += uint64(info.Size())
		f, err := b.out.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrPermission) {
			return unreadable(name)
		}
		if err != nil {
			return err
		}
		defer f.Close()
		data := make([]byte, info.Size())
		if _, err := io.ReadFull(f, data); err != nil {
			return err
		}
		list = append(list, sandbox.File{Name: name, Data: data})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b sandbox.File) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func tooMuch(of string) error {
	if of == "" {
		return nil
	}
	return &errTaken{sandbox.OutputExceeded, "the output has too many " + of}
}

// unreadable happens to who is not root.
func unreadable(name string) error {
	return &errTaken{sandbox.FunctionError, fmt.Sprintf("the output %q may not be read", name)}
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a fifo"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// writable is the state digest of what the function can write to.
func (b *box) writable() (task.Hash, error) { return digest(b.open()...) }

// state is the state digest of all files of the job, its code and input among
// them: what must be left when it is over is nothing.
func (b *box) state() (task.Hash, error) { return digest(b.all()...) }

func digest(list ...*ram) (task.Hash, error) {
	var all []sandbox.File
	for i, m := range list {
		dir, err := m.root.Open(".")
		if err != nil {
			return task.Hash{}, err
		}
		files, err := below(dir, fmt.Sprint(i, "/"))
		dir.Close()
		if err != nil {
			return task.Hash{}, err
		}
		all = append(all, files...)
	}
	return sandbox.StateDigest(all), nil
}

// below lists a directory in the form of StateDigest: the content of an entry
// is its mode, owner, device and number of bytes, 4, 4, 4, 8 and 8 bytes long,
// and then the SHA-256 of a file, the target of a link, or the state digest of a
// directory.
func below(dir *os.File, prefix string) (list []sandbox.File, err error) {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, err
		}
		data := binary.BigEndian.AppendUint32(nil, st.Mode)
		data = binary.BigEndian.AppendUint32(data, st.Uid)
		data = binary.BigEndian.AppendUint32(data, st.Gid)
		data = binary.BigEndian.AppendUint64(data, uint64(st.Rdev))
		what := st.Mode & unix.S_IFMT
		if what == unix.S_IFDIR {
			st.Size = 0
		}
		data = binary.BigEndian.AppendUint64(data, uint64(st.Size))
		switch what {
		case unix.S_IFREG, unix.S_IFDIR:
			fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			f := os.NewFile(uintptr(fd), name)
			if what == unix.S_IFDIR {
				var inner []sandbox.File
				inner, err = below(f, "")
				sum := sandbox.StateDigest(inner)
				data = append(data, sum[:]...)
				name += "/"
			} else {
				h := sha256.New()
				_, err = io.Copy(h, f)
				data = h.Sum(data)
			}
			f.Close()
			if err != nil {
				return nil, err
			}
		case unix.S_IFLNK:
			buf := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
			if err != nil {
				return nil, err
			}
			data = append(data, buf[:n]...)
		}
		list = append(list, sandbox.File{Name: prefix + name, Data: data})
	}
	return list, nil
}

func (b *box) wipe(one func(*ram) error) error {
	var errs []error
	for _, m := range b.all() {
		errs = append(errs, one(m))
	}
	return errors.Join(errs...)
}

// wipe overwrites all files with zeros and removes them. It holds one
// directory open at a time, however deep the tree is, and reads a few entries
// of it at a time, however many there are.
func (m *ram) wipe() error {
	fd, err := unix.Openat(m.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	at := os.NewFile(uintptr(fd), "wipe")
	defer func() { at.Close() }()
	var down []string // names of the directories on the way to at
	for {
		next, err := wipeSome(at)
		if err != nil {
			return err
		}
		switch {
		case next == "" && len(down) == 0:
			return nil
		case next == "":
			up, err := step(at, "..")
			if err != nil {
				return err
			}
			at.Close()
			at = up
			last := down[len(down)-1]
			down = down[:len(down)-1]
			if err := unix.Unlinkat(int(at.Fd()), last, unix.AT_REMOVEDIR); err != nil {
				return err
			}
		case next == ".": // some were wiped, and there may be more
			again, err := step(at, ".")
			if err != nil {
				return err
			}
			at.Close()
			at = again
		default:
			into, err := step(at, next)
			if err != nil {
				return err
			}
			at.Close()
			at = into
			down = append(down, next)
		}
	}
}

func step(at *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(at.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "wipe"), nil
}

// wipeSome wipes the next entries of a freshly opened directory. It returns the
// name of a directory that has to be emptied first, "." if it should be called
// again, and nothing if the directory is empty.
func wipeSome(at *os.File) (next string, err error) {
	names, err := at.Readdirnames(256)
	if err == io.EOF {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	dir := int(at.Fd())
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return "", err
		}
		// Who is not root has to let himself in first.
		if what := st.Mode & unix.S_IFMT; what != unix.S_IFLNK && st.Mode&0o700 != 0o700 {
			if err := unix.Fchmodat(dir, name, 0o700, 0); err != nil {
				return "", err
			}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
			if err == unix.ENOTEMPTY {
				return name, nil
			}
			if err != nil {
				return "", err
			}
			continue
		case unix.S_IFREG:
			if err := zero(dir, name, st.Size); err != nil {
				return "", err
			}
		}
		if err := unix.Unlinkat(dir, name, 0); err != nil {
			return "", err
		}
	}
	return ".", nil
}

// zero overwrites what a file has in memory, and empties it, so that other
// links to it cost nothing. Holes are skipped.
func zero(dir int, name string, size int64) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for at := int64(0); at < size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			return err
		}
		to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for at = from; at < to; {
			n, err := unix.Pwrite(fd, zeros[:min(to-at, int64(len(zeros)))], at)
			if err != nil {
				return err
			}
			at += int64(n)
		}
	}
	return unix.Ftruncate(fd, 0)
}

var zeros [1 << 20]byte
