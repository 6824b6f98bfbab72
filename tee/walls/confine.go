package walls

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	filter "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	ll "github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// abis are Landlock's versions, from the least that is enough: files, with
// truncation.
var abis = []ll.Config{ll.V3, ll.V4, ll.V5, ll.V6, ll.V7, ll.V8, ll.V9, ll.V10, ll.V11}

const leastABI = 3

// landlock denies all files but scratch and what is let in, and as the kernel
// has it, devices, TCP, UDP, and signals and sockets of others. Modules only:
// under Landlock nobody mounts, and a container is made of mounts.
func (b *builder) landlock() (string, error) {
	if b.Kind != Modules {
		return "", nil
	}
	abi, err := llsys.LandlockGetABIVersion()
	if err != nil {
		return "", err
	}
	if abi < leastABI {
		return "", fmt.Errorf("the kernel has version %d, and %d is needed", abi, leastABI)
	}
	rules := []ll.Rule{ll.RWDirs(Scratch)}
	for _, p := range b.Let {
		info, err := os.Stat(p)
		if err != nil {
			return "", err
		}
		if info.IsDir() {
			rules = append(rules, ll.RWDirs(p))
		} else {
			rules = append(rules, ll.RWFiles(p).WithIoctlDev().WithResolveUnix())
		}
	}
	if err := abis[min(abi, leastABI+len(abis)-1)-leastABI].Restrict(rules...); err != nil {
		return "", err
	}
	if _, err := os.ReadDir("/"); !errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("the root can be read: %v", err)
	}
	return fmt.Sprintf("version %d: no file but scratch and what is let in", abi), nil
}

// threadFlags are the clone flags of a thread of the Go runtime.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// modulesCalls are all that a Go program needs that computes, reads and writes
// a pipe, and compiles WebAssembly.
var modulesCalls = []string{
	// files that are open, and those of scratch
	"close", "fallocate", "fchmod", "fchmodat", "fchmodat2", "fcntl", "fdatasync", "flock", "fstat", "fsync", "ftruncate", "getdents64",
	"lseek", "mkdirat", "newfstatat", "openat", "pread64", "pwrite64", "read", "readlinkat", "readv",
	"renameat", "renameat2", "statx", "unlinkat", "write", "writev",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "pipe2", "ppoll",
	// memory
	"brk", "madvise", "munmap",
	// threads, of this process only
	"exit", "exit_group", "futex", "getpid", "gettid", "restart_syscall", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "sched_getaffinity", "sched_yield", "sigaltstack", "tgkill",
	// time, chance and who it is
	"clock_gettime", "clock_nanosleep", "getcwd", "getegid", "geteuid", "getgid", "getrandom", "gettimeofday", "getuid", "nanosleep",
}

// modulesAMD64 are of this architecture only.
var modulesAMD64 = []string{"epoll_wait", "poll"}

// politely are refused with an error: Go's library asks, and does without.
var politely = []string{"copy_file_range", "prlimit64", "sendfile", "splice", "uname"}

// containersDenied are what no runtime of containers needs, and what an attack
// on a kernel begins with. The container has a list of its own (§9.6.3).
var containersDenied = []string{
	"acct", "add_key", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "delete_module", "fanotify_init", "finit_module",
	"init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl",
	"lookup_dcookie", "mbind", "migrate_pages", "move_pages", "name_to_handle_at", "nfsservctl", "open_by_handle_at",
	"perf_event_open", "quotactl", "quotactl_fd", "reboot", "request_key", "settimeofday", "swapoff", "swapon", "syslog",
	"userfaultfd", "vhangup",
}

var deniedAMD64 = []string{"ioperm", "iopl", "modify_ldt", "uselib", "_sysctl"}

// families are the sockets that a runtime of containers may open: none of them
// leads out of a network namespace. AF_VSOCK does, to the hypervisor.
var families = []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

func when(name string, conditions ...filter.Condition) filter.NameWithConditions {
	return filter.NameWithConditions{Name: name, Conditions: conditions}
}

func equal(argument uint32, value uint64) filter.Condition {
	return filter.Condition{Argument: argument, Operation: filter.Equal, Value: value}
}

// policy is the filter of system calls. What a list of calls that are allowed
// does not have ends the process at once.
func (b *builder) policy() (filter.Policy, error) {
	here, err := arch.GetInfo("")
	if err != nil {
		return filter.Policy{}, err
	}
	amd64 := here.ID == arch.X86_64.ID
	if b.Kind == Containers {
		denied := filter.SyscallGroup{Names: containersDenied, Action: filter.ActionErrno}
		if amd64 {
			denied.Names = append(append([]string{}, denied.Names...), deniedAMD64...)
		}
		other := []filter.Condition{}
		for _, f := range families {
			other = append(other, filter.Condition{Argument: 0, Operation: filter.NotEqual, Value: f})
		}
		denied.NamesWithCondtions = []filter.NameWithConditions{when("socket", other...), when("socketpair", other...)}
		return filter.Policy{DefaultAction: filter.ActionAllow, Syscalls: []filter.SyscallGroup{denied}}, nil
	}
	const exec, write = unix.PROT_EXEC, unix.PROT_WRITE
	without := func(bits uint64) filter.Condition {
		return filter.Condition{Argument: 2, Operation: filter.BitsNotSet, Value: bits}
	}
	allowed := filter.SyscallGroup{
		Names: modulesCalls, Action: filter.ActionAllow,
		NamesWithCondtions: []filter.NameWithConditions{
			when("clone", equal(0, threadFlags)), when("clone", equal(0, threadFlags|unix.CLONE_SETTLS)),
			// What is written is not executed, and what is executed not written.
			when("mmap", without(exec)), when("mmap", without(write)),
			when("mprotect", without(exec)), when("mprotect", without(write)),
			when("prctl", equal(0, unix.PR_GET_SECCOMP)),
			when("prctl", equal(0, unix.PR_SET_VMA)), // names of memory
		},
	}
	if amd64 {
		allowed.Names = append(append([]string{}, allowed.Names...), modulesAMD64...)
	}
	for _, p := range b.Let {
		info, err := os.Stat(p)
		if err != nil {
			return filter.Policy{}, err
		}
		switch {
		case info.Mode()&fs.ModeDevice != 0:
			allowed.Names = append(allowed.Names, "ioctl")
		case info.Mode()&fs.ModeSocket != 0:
			allowed.Names = append(allowed.Names, "connect", "getpeername", "getsockname", "getsockopt", "setsockopt", "shutdown")
			allowed.NamesWithCondtions = append(allowed.NamesWithCondtions, when("socket", equal(0, unix.AF_UNIX)))
		}
	}
	return filter.Policy{
		DefaultAction: filter.ActionKillProcess,
		Syscalls:      []filter.SyscallGroup{{Names: politely, Action: filter.ActionErrno}, allowed},
	}, nil
}

// seccomp is the last wall: it bounds what can be asked of the kernel at all.
func (b *builder) seccomp() (string, error) {
	policy, err := b.policy()
	if err != nil {
		return "", err
	}
	program, err := policy.Assemble()
	if err != nil {
		return "", err
	}
	here, err := arch.GetInfo("")
	if err != nil {
		return "", err
	}
	// The calls of another architecture of the same processor have other numbers.
	program = append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 4}, // seccomp_data.arch
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(here.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(filter.ActionKillProcess)},
	}, program...)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return "", err
	}
	list := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	load := unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]}
	thread, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&load)))
	if e != 0 {
		return "", e
	}
	if thread != 0 {
		return "", fmt.Errorf("thread %d does not take the filter", thread)
	}
	if err := everywhereIs(unix.PR_GET_SECCOMP, 2); err != nil { // 2 is a filter
		return "", err
	}
	if b.Kind == Containers {
		return fmt.Sprintf("%d system calls denied; sockets of 4 families", len(policy.Syscalls[0].Names)), nil
	}
	n := len(policy.Syscalls[1].Names) + 4 // those with conditions
	return fmt.Sprintf("%d system calls allowed, the end for any other", n), nil
}
