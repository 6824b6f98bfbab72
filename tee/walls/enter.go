package walls

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A builder builds the walls of one profile.
type builder struct {
	Profile
	order order
	who   identity // when they stand
}

// A step builds one wall, tries whether it holds, and says what stands;
// nothing, if the profile has no such wall.
type step struct {
	name  string
	build func(*builder) (string, error)
}

// steps are all walls, in an order in which none takes from the next what it is
// built with.
var steps = []step{
	{leftovers, (*builder).inherited},
	{namespaces, (*builder).namespaces},
	{root, (*builder).root},
	{powers, (*builder).powers},
	{privileges, (*builder).privileges},
	{memory, (*builder).memory},
	{limits, (*builder).limits},
	{landlock, (*builder).landlock},
	{seccomp, (*builder).seccomp},
}

// Enter builds the walls around this process, which [Start] has started. It is
// the first thing that the program does. After an error the program must end:
// some walls may stand, and others not.
func Enter() (Standing, error) { return raise(steps) }

func raise(steps []step) (Standing, error) {
	if withC {
		return Standing{}, missing(leftovers, errors.New("the program was built with cgo, and brings libc's threads and files"))
	}
	o, err := given(os.Args)
	if err != nil {
		return Standing{}, missing(leftovers, err)
	}
	b, s := &builder{Profile: o.Profile, order: o}, Standing{Profile: o.Profile}
	for _, w := range steps {
		is, err := w.build(b)
		if err != nil {
			return s, missing(w.name, err)
		}
		if is != "" {
			s.Walls = append(s.Walls, Wall{w.name, is})
		}
	}
	return s, nil
}

// quota is the file of a cgroup that says how much processor it may use.
var quota = regexp.MustCompile(`^/.*/cpu\.(max|cfs_quota_us|cfs_period_us)$`)

// inherited holds the process to a pipe in, a pipe out, and no other file; no
// other variable than the settings.
func (b *builder) inherited() (string, error) {
	if err := foreign(os.Environ()); err != nil {
		return "", err
	}
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			return "", err
		}
		is, err := os.Readlink("/proc/self/fd/" + name)
		if err != nil {
			return "", err
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			return "", err
		}
		// Go's own are closed when a program is started: this process has opened them.
		own := flags&unix.FD_CLOEXEC != 0
		switch {
		case fd <= 1 && strings.HasPrefix(is, "pipe:"), fd == 2 && is == os.DevNull, uintptr(fd) == dir.Fd():
		case fd > 2 && own && strings.HasPrefix(is, "anon_inode:[event"): // the Go runtime waits by them
		case slices.ContainsFunc(b.order.Shown, func(s shown) bool { return s.Tree == fd }): // used up by the root
			unix.CloseOnExec(fd)
		case fd > 2 && !own, quota.MatchString(is) && os.Getenv("GOMAXPROCS") != "":
			// Another program of this machine had left it open, or it is this program;
			// or the Go runtime has opened it at its start, and reads it only without the
			// variable.
			if err := unix.Close(fd); err != nil {
				return "", err
			}
		default:
			return "", fmt.Errorf("descriptor %d is %s", fd, is)
		}
	}
	return "descriptors: a pipe in, a pipe out; environment: settings of the Go runtime", nil
}

// namespaces shows that the process is alone: the first of its PID namespace,
// in a user namespace of few ids, to which all its namespaces belong. And it
// learns who it can be.
func (b *builder) namespaces() (string, error) {
	if os.Getpid() != 1 {
		return "", errors.New("it is not the first process of its own")
	}
	var err error
	if b.Kind == Modules { // otherwise it was started as who it is
		if b.who, err = identify(b.Profile); err != nil {
			return "", err
		}
	}
	for _, file := range []string{"uid_map", "gid_map"} {
		text, err := os.ReadFile("/proc/self/" + file)
		if err != nil {
			return "", err
		}
		// id inside, id outside, how many
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) != 3 || f[2] != "1" && (b.Kind != Containers || f[0] != strconv.Itoa(containerIDs)) {
				return "", fmt.Errorf("it is in a user namespace with others: %s", strings.TrimSpace(line))
			}
			if f[0] != f[1] {
				b.who = identity{} // who is not root can be but one
			}
		}
	}
	var user unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &user); err != nil {
		return "", err
	}
	names := []string{"mnt", "pid", "net", "ipc", "uts"}
	if b.Kind == Modules {
		names = append(names, "cgroup")
	}
	for _, name := range names {
		if err := ownedBy(name, user.Ino); err != nil {
			return "", fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	devices, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return "", err
	}
	if n := bytes.Count(devices, []byte(":")); n != 1 || !bytes.Contains(devices, []byte(" lo:")) {
		return "", fmt.Errorf("there are %d network interfaces", n)
	}
	if err := errors.Join(unix.Sethostname([]byte("enclave")), unix.Setdomainname([]byte("enclave"))); err != nil {
		return "", err
	}
	return "own user, " + strings.Join(names, ", ") + "; no interface but a loopback that is down; no other process", nil
}

// ownedBy says whether the process's namespace of that name belongs to a user
// namespace.
func ownedBy(name string, user uint64) error {
	fd, err := unix.Open("/proc/self/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if err != nil {
		return err
	}
	defer unix.Close(owner)
	var st unix.Stat_t
	if err := unix.Fstat(owner, &st); err != nil {
		return err
	}
	if st.Ino != user {
		return errors.New("it is shared with others")
	}
	return nil
}

// Capability sets, as capset takes them. Not on a stack, which may move.
var (
	capHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	capData   [2]unix.CapUserData
)

// containerPowers are what the enclave and its runtimes of containers need,
// each found by leaving it out; the last two are for runc. All are over what is
// in its own namespaces, so over nothing of the host's.
var containerPowers = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SYS_ADMIN,
	unix.CAP_SYS_CHROOT, unix.CAP_SYS_PTRACE,
}

// powers takes the capabilities, on every thread, and makes the process who it
// is to be.
func (b *builder) powers() (string, error) {
	keep, who := uint64(0), b.who
	if b.Kind == Containers {
		for _, c := range containerPowers {
			keep |= 1 << c
		}
	}
	last := 0
	for c := uintptr(0); ; c++ {
		have, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			last = int(c) - 1
			break // there is none of this number
		}
		if have == 1 && keep&(1<<c) == 0 {
			if err := everywhere(unix.PR_CAPBSET_DROP, c, 0); err != nil {
				return "", err
			}
		}
	}
	if err := everywhere(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return "", err
	}
	if who.uid != 0 || who.gid != 0 {
		if err := errors.Join(syscall.Setgroups(who.groups), syscall.Setresgid(who.gid, who.gid, who.gid), syscall.Setresuid(who.uid, who.uid, who.uid)); err != nil {
			return "", err
		}
	}
	for i := range capData {
		part := uint32(keep >> (32 * i))
		capData[i] = unix.CapUserData{Effective: part, Permitted: part}
	}
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capHeader)), uintptr(unsafe.Pointer(&capData[0])), 0); e != 0 {
		return "", e
	}
	// Since the credentials have changed, this has to be said again.
	if err := everywhere(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0); err != nil {
		return "", err
	}

	var have [2]unix.CapUserData
	if err := unix.Capget(&capHeader, &have[0]); err != nil {
		return "", err
	}
	for i, h := range have {
		if part := uint32(keep >> (32 * i)); h.Effective&^part != 0 || h.Permitted&^part != 0 || h.Inheritable != 0 {
			return "", fmt.Errorf("capabilities are left: %+v", have)
		}
	}
	for c := range last + 1 {
		bounding, err1 := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		ambient, err2 := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0)
		if err1 != nil || err2 != nil || ambient != 0 || bounding != 0 && keep&(1<<c) == 0 {
			return "", fmt.Errorf("capability %d is left", c)
		}
	}
	if keep != 0 {
		return fmt.Sprintf("%d of %d, over its own namespaces only; user %d of the host", len(containerPowers), last+1, nobody), nil
	}
	return fmt.Sprintf("none in any set; user %d of the host", who.uid), nil
}

// everywhere is prctl on every thread.
func everywhere(option, a, b uintptr) error {
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, a, b, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}

// privileges are never gained again, by no program that is started.
func (*builder) privileges() (string, error) {
	if err := everywhere(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return "", err
	}
	return "on every thread", everywhereIs(unix.PR_GET_NO_NEW_PRIVS, 1)
}

// memory keeps what the process holds out of core files and debuggers, as far
// as they are not root's.
func (*builder) memory() (string, error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return "", err
	}
	return "not dumpable, no core file", everywhereIs(unix.PR_GET_DUMPABLE, 0)
}

// everywhereIs is prctl's answer, the same on every thread.
func everywhereIs(option, want uintptr) error {
	switch is, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, 0, 0, 0, 0, 0); {
	case e != 0:
		return e
	case is != want:
		return fmt.Errorf("prctl %d answers %d", option, is)
	}
	return nil
}

// most are limits of the process. The memory is bounded by the engine, for each
// run.
var most = map[Kind]map[int]uint64{
	Modules: {
		unix.RLIMIT_CORE: 0, unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_NOFILE: 128,
		unix.RLIMIT_NPROC: 1024, unix.RLIMIT_FSIZE: scratchBytes,
	},
	// The runtime and the function inherit them, and the job's cgroup bounds
	// processes.
	Containers: {unix.RLIMIT_CORE: 0, unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_NOFILE: 4096},
}

func (b *builder) limits() (string, error) {
	for what, n := range most[b.Kind] {
		l := unix.Rlimit{Cur: n, Max: n}
		var have unix.Rlimit
		if err := unix.Getrlimit(what, &have); err != nil {
			return "", err
		}
		if have.Max < n { // somebody was stricter
			l = unix.Rlimit{Cur: have.Max, Max: have.Max}
		}
		if err := unix.Prlimit(0, what, &l, nil); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d open files, no core", most[b.Kind][unix.RLIMIT_NOFILE]), nil
}
