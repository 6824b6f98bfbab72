package container

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/prytany/prytany/sandbox"
	"golang.org/x/sys/unix"
)

// An engine is an OCI runtime and what is particular about it.
type engine struct {
	name, path string // path is where it runs, see [Program]
	// before and after come before and after the word "run". No runtime touches
	// a cgroup: there is one already, and it is in it.
	before, after []string
	kernel        bool   // it brings its own kernel, and knows no seccomp profile
	tree          bool   // it does not start where it sees no cgroup tree
	memory        uint64 // bytes it needs itself, beside the job's
	processes     uint64 // threads likewise
	// refusal is what it says when it cannot start the program, which may not be
	// for the image's user, and says so before it says that there is a container.
	refusal string
	// lost is what it says when the kernel that it brings was ended before the
	// program began: to a function that says the same, that is nothing to gain.
	lost string
}

// engines are those that are known, by the name of the program.
var engines = map[string]engine{
	"runsc": {
		before: []string{
			"--root=" + stateDir, "--platform=systrap", "--network=none", "--overlay2=none",
			"--ignore-cgroups", "--host-uds=none", "--log=" + logFile, "--log-format=json",
		},
		after:  []string{"--pid-file=" + pidFile},
		kernel: true, memory: 96 << 20, processes: 512,
		lost: `urpc method "containerManager.StartRoot" failed: EOF`,
	},
	"crun": {
		before: []string{"--root=" + stateDir, "--cgroup-manager=disabled", "--log=file:" + logFile, "--log-format=json"},
		after:  []string{"--pid-file=" + pidFile, "--no-new-keyring"}, memory: 4 << 20, processes: 4,
	},
	"runc": {
		// rootless: it may go on without a cgroup of its own, which it cannot make
		// where all is read-only.
		before: []string{"--root=" + stateDir, "--rootless=true", "--log=" + logFile, "--log-format=json"},
		after:  []string{"--pid-file=" + pidFile, "--no-new-keyring"}, tree: true, memory: 32 << 20, processes: 32,
		refusal: "unable to start container process: exec",
	},
}

// Where the keeper puts the file systems of the job, in its own namespace.
const (
	boxDir    = "/run"
	bundleDir = boxDir + "/bundle"
	stateDir  = boxDir + "/state"
	rootDir   = boxDir + "/rootfs"
	inDir     = boxDir + "/in"
	outDir    = boxDir + "/out"
	tmpDir    = boxDir + "/tmp"
	shmDir    = boxDir + "/shm"
	logFile   = bundleDir + "/log"
	pidFile   = bundleDir + "/pid"

	containerID = "job"
)

func (e engine) command() []string {
	argv := append([]string{e.path}, e.before...)
	argv = append(append(argv, "run", "--bundle="+bundleDir), e.after...)
	return append(argv, containerID)
}

// spec is the runtime's configuration for a job.
func (e engine) spec(c Config, p process, l sandbox.Limits) (*specs.Spec, error) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: c.IDs, Size: 1 << 16}}
	worst := 1000
	s := &specs.Spec{
		Version: "1.0.2", // what is used here is older than the newest, and so are some runtimes
		Root:    &specs.Root{Path: rootDir, Readonly: true},
		Process: &specs.Process{
			Args: p.args, Env: p.env, Cwd: p.dir,
			User:            specs.User{UID: p.uid, GID: p.gid, AdditionalGids: p.groups},
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{},
			OOMScoreAdj:     &worst,
			Rlimits: []specs.POSIXRlimit{
				limit("RLIMIT_CORE", 0),
				limit("RLIMIT_FSIZE", max(l.OutputBytes, c.TmpBytes)+1),
				limit("RLIMIT_MEMLOCK", 64<<10),
				limit("RLIMIT_MSGQUEUE", 0),
				limit("RLIMIT_NOFILE", 1024),
			},
		},
		Hostname: "prytany",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k", "nr_inodes=64", "ro"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", "max=" + strconv.Itoa(maxTerminals)}},
			{Destination: "/dev/shm", Type: "bind", Source: shmDir, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec"}},
			{Destination: "/in", Type: "bind", Source: inDir, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"}},
			{Destination: "/out", Type: "bind", Source: outDir, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec"}},
			{Destination: "/tmp", Type: "bind", Source: tmpDir, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec"}},
		},
		Linux: &specs.Linux{
			UIDMappings: ids, GIDMappings: ids,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace}, {Type: specs.PIDNamespace}, {Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths:   Masked,
			ReadonlyPaths: []string{"/proc/sys"},
		},
	}
	if !e.kernel {
		profile, err := Seccomp(s)
		if err != nil {
			return nil, err
		}
		s.Linux.Seccomp = profile
	}
	return s, nil
}

// maxTerminals is how many terminals a job may have. They are the kernel's, which
// has some thousands for all.
const maxTerminals = 64

// Masked are files of the kernel that tell about the machine or steer it.
var Masked = []string{
	"/dev/tty",
	"/proc/acpi", "/proc/asound", "/proc/bus", "/proc/cgroups", "/proc/cmdline", "/proc/config.gz", "/proc/driver", "/proc/fs", "/proc/interrupts", "/proc/irq",
	"/proc/kallsyms", "/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount",
	"/proc/kpageflags", "/proc/latency_stats", "/proc/modules", "/proc/mtrr", "/proc/pagetypeinfo", "/proc/sched_debug",
	"/proc/scsi", "/proc/slabinfo", "/proc/sysrq-trigger", "/proc/sysvipc", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo",
}

func limit(name string, n uint64) specs.POSIXRlimit {
	return specs.POSIXRlimit{Type: name, Hard: n, Soft: n}
}

// refused are the system calls that Docker's profile allows and this one does
// not: to look into other processes, to make namespaces and mounts, to talk to
// parts of the kernel that a function has no use for.
var refused = []string{
	"add_key", "keyctl", "request_key",
	"bpf", "perf_event_open", "ptrace", "userfaultfd",
	"process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
	"kcmp", "pidfd_getfd", "pidfd_open", "pidfd_send_signal",
	"io_uring_enter", "io_uring_register", "io_uring_setup",
	"mount", "mount_setattr", "move_mount", "fsconfig", "fsmount", "fsopen", "fspick", "open_tree", "umount", "umount2",
	"pivot_root", "chroot", "listmount", "statmount", "listns",
	"setns", "unshare", "name_to_handle_at", "open_by_handle_at",
	"mknod", "mknodat", "quotactl", "quotactl_fd", "swapon", "swapoff", "syslog", "acct",
	"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink",
	"fanotify_init", "fanotify_mark", "memfd_secret", "modify_ldt", "vhangup",
	"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
	"ioctl",  // comes back without refusedControls
	"socket", // comes back for AF_UNIX alone
}

// refusedControls are calls of ioctl that a terminal of a job's own would open:
// to change what the kernel makes of its bytes, for which it loads modules that
// have had holes, to type into a terminal, and to reach the machine's console.
var refusedControls = []uint32{unix.TIOCSETD, unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCCONS}

// others are conditions of which one holds for each 32-bit number that is not in
// the list, and none for those in it. The kernel looks at 32 bits of the 64 that
// a program gives it, so these do too: "greater than" would look at all. A block
// is of all numbers that begin with the same bits.
func others(list []uint32) (args []specs.LinuxSeccompArg) {
	var split func(first uint32, bits int)
	split = func(first uint32, bits int) {
		mask := uint32(uint64(1)<<32 - uint64(1)<<(32-bits))
		switch {
		case !slices.ContainsFunc(list, func(n uint32) bool { return n&mask == first }):
			args = append(args, specs.LinuxSeccompArg{Index: 1, Op: specs.OpMaskedEqual, Value: uint64(mask), ValueTwo: uint64(first)})
		case bits < 32:
			split(first, bits+1)
			split(first|1<<(31-bits), bits+1)
		}
	}
	split(0, 0)
	return args
}

// Seccomp is Docker's default list for a process without capabilities, less
// what a function does not need. What is not on it fails with EPERM.
func Seccomp(s *specs.Spec) (*specs.LinuxSeccomp, error) {
	p, err := seccomp.GetDefaultProfile(s)
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	// The other instruction sets of the processor have calls of the same names
	// with other arguments. The first is its own.
	p.Architectures = p.Architectures[:min(1, len(p.Architectures))]
	var list []specs.LinuxSyscall
	for _, call := range p.Syscalls {
		if call.Action == specs.ActAllow {
			call.Names = slices.DeleteFunc(slices.Clone(call.Names), func(n string) bool { return slices.Contains(refused, n) })
		}
		if len(call.Names) > 0 {
			list = append(list, call)
		}
	}
	for _, arg := range others(refusedControls) {
		list = append(list, specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{arg}})
	}
	const afUnix = 1
	p.Syscalls = append(list, specs.LinuxSyscall{
		Names: []string{"socket"}, Action: specs.ActAllow,
		Args: []specs.LinuxSeccompArg{{Index: 0, Value: afUnix, Op: specs.OpEqualTo}},
	})
	return p, nil
}

// named is the engine that a program is, by its name.
func named(path string) (engine, bool) {
	name := filepath.Base(path)
	e, ok := engines[name]
	e.name, e.path = name, binDir+"/"+name
	return e, ok
}
