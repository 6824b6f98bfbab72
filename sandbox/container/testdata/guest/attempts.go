package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The attempts are told by the test where on the host its canaries are, as
// NAME=value arguments after their own name.
func host(name string) string {
	for _, a := range os.Args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
	}
	fail("not told " + name)
	return ""
}

var refused = errors.New("refused")

// attempts return nil if they got what they wanted.
var attempts = map[string]func() error{
	// Network. The host answers "canary" to whoever reaches it.
	"tcp to the host":           func() error { return reach("tcp", "127.0.0.1:"+host("port")) },
	"tcp6 to the host":          func() error { return reach("tcp", "[::1]:"+host("port")) },
	"udp to the host":           func() error { return reach("udp", "127.0.0.1:"+host("udp")) },
	"tcp to the host's address": func() error { return reach("tcp", net.JoinHostPort(host("address"), host("port"))) },
	"abstract unix socket":      func() error { return reach("unix", "@"+host("abstract")) },
	"unix socket by path":       func() error { return reach("unix", host("socket")) },
	"docker's socket":           func() error { return reach("unix", "/run/docker.sock") },
	"resolver":                  func() error { _, err := net.LookupHost("example.org"); return err },
	"raw socket":                func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) },
	"packet socket":             func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0x300) },
	"vsock":                     func() error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) },
	"bluetooth":                 func() error { return socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, 1) },
	"alg":                       func() error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) },
	"can":                       func() error { return socket(unix.AF_CAN, unix.SOCK_RAW, 1) },
	"xdp":                       func() error { return socket(unix.AF_XDP, unix.SOCK_RAW, 0) },
	"key socket":                func() error { return socket(unix.AF_KEY, unix.SOCK_RAW, 2) },
	"rds":                       func() error { return socket(unix.AF_RDS, unix.SOCK_SEQPACKET, 0) },
	"netlink: audit":            func() error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT) },
	"netlink: interfaces": func() error {
		list, err := net.Interfaces()
		for _, i := range list {
			if i.Flags&net.FlagLoopback == 0 {
				return nil
			}
		}
		return errors.Join(err, refused)
	},

	// Files of the host.
	"../ to the host":  func() error { return canary(strings.Repeat("../", 40) + host("marker")) },
	"by absolute path": func() error { return canary(host("marker")) },
	"/proc/1/root":     func() error { return canary("/proc/1/root" + host("marker")) },
	"/proc/*/cwd and root": func() error {
		return glob("/proc/*/cwd", "/proc/*/root", "/proc/*/task/*/root", "/proc/self/map_files/*")
	},
	"/proc/*/fd": func() error { return glob("/proc/*/fd/*") },
	"leaked descriptors": func() error {
		for fd := range 1024 {
			if fd <= 2 {
				continue
			}
			if err := readAt(fd, strings.Repeat("../", 40)+host("marker")); err == nil {
				return nil
			}
			to, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
			// Go's runtime keeps its processor limit open, where it sees one.
			if strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
				return nil // a file that nobody here opened
			}
		}
		return refused
	},
	"open_by_handle_at": func() error {
		fd, err := unix.Open("/in", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		_, err = unix.OpenByHandleAt(fd, unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0}), unix.O_RDONLY)
		return err
	},
	"host's processes in /proc": func() error {
		_, err := os.Stat("/proc/" + host("pid") + "/status")
		return err
	},
	"write to the image":       func() error { return os.WriteFile("/new", nil, 0o600) },
	"write to the program":     func() error { return appendTo("/guest") },
	"write to the input":       func() error { return appendTo("/in/input") },
	"add an input":             func() error { return os.WriteFile("/in/new", nil, 0o600) },
	"chmod the input":          func() error { return os.Chmod("/in/input", 0o777) },
	"write to /dev":            func() error { return os.WriteFile("/dev/new", nil, 0o600) },
	"write to /sys":            func() error { return os.WriteFile("/sys/new", nil, 0o600) },
	"overwrite /proc/self/exe": func() error { return appendTo("/proc/self/exe") },
	"run a file from /tmp":     func() error { return runFrom("/tmp/copy") },
	"run a file from /dev/shm": func() error { return runFrom("/dev/shm/copy") },
	"run a file from /out":     func() error { err := runFrom("/out/copy"); os.Remove("/out/copy"); return err },

	// Devices.
	"mknod mem":         func() error { return unix.Mknod("/tmp/mem", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 1))) },
	"mknod in /dev/shm": func() error { return unix.Mknod("/dev/shm/mem", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 1))) },
	"mknod disk":        func() error { return unix.Mknod("/tmp/sda", unix.S_IFBLK|0o666, int(unix.Mkdev(8, 0))) },
	"open /dev/mem":     func() error { return opened("/dev/mem", "/dev/kmem", "/dev/port") },
	"open /dev/kmsg":    func() error { return opened("/dev/kmsg") },
	"open a disk": func() error {
		return opened("/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop0", "/dev/loop-control", "/dev/mapper/control")
	},
	"open /dev/kvm": func() error { return opened("/dev/kvm", "/dev/vhost-net", "/dev/vsock") },
	"open a tpm":    func() error { return opened("/dev/tpm0", "/dev/tpmrm0", "/dev/sev-guest", "/dev/tdx_guest") },
	"push to the tty": func() error {
		fd, err := unix.Open("/dev/tty", unix.O_RDWR, 0)
		if err != nil {
			return err
		}
		c := byte('x')
		return errno(unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&c))))
	},

	"line discipline": func() error {
		outer, inner := terminal()
		defer outer.Close()
		defer inner.Close()
		for _, high := range []uintptr{0, 1 << 32} { // which the kernel does not look at
			for _, n := range []uint32{0, 1, 3, 13, 21} { // the usual, slip, ppp, hdlc, gsm
				if err := control(inner, unix.TIOCSETD|high, unsafe.Pointer(&n)); err != unix.EPERM && err != unix.EINVAL {
					return err
				}
			}
		}
		return refused
	},
	"type into a terminal": func() error {
		outer, inner := terminal()
		defer outer.Close()
		defer inner.Close()
		c := byte('x')
		for _, high := range []uintptr{0, 1 << 32} {
			if control(inner, unix.TIOCSTI|high, unsafe.Pointer(&c)) == nil {
				return nil
			}
		}
		return refused
	},
	"take the console": func() error {
		outer, inner := terminal()
		defer outer.Close()
		defer inner.Close()
		return control(inner, unix.TIOCCONS, nil)
	},
	"more terminals than there may be": func() error {
		for range 65 {
			fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
		}
		return nil
	},
	"terminals of the host": func() error {
		list, err := filepath.Glob("/dev/pts/[0-9]*")
		if len(list) > 0 {
			return nil
		}
		return errors.Join(err, refused)
	},

	// Mounts and namespaces.
	"mount tmpfs":  func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") },
	"mount proc":   func() error { return unix.Mount("none", "/tmp", "proc", 0, "") },
	"bind mount":   func() error { return unix.Mount("/in", "/tmp", "", unix.MS_BIND, "") },
	"remount / rw": func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
	"umount":       func() error { return unix.Unmount("/in", unix.MNT_DETACH) },
	"fsopen":       func() error { _, err := unix.Fsopen("tmpfs", 0); return err },
	"open_tree":    func() error { _, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return err },
	"pivot_root":   func() error { return unix.PivotRoot("/tmp", "/tmp") },
	"chroot":       func() error { return unix.Chroot("/tmp") },
	"cgroup release_agent": func() error {
		err := unix.Mount("none", "/tmp", "cgroup", 0, "memory")
		return errors.Join(err, os.WriteFile("/sys/fs/cgroup/release_agent", []byte("/x"), 0), os.WriteFile("/sys/fs/cgroup/memory/release_agent", []byte("/x"), 0))
	},
	"unshare user":    func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"unshare mounts":  func() error { return unix.Unshare(unix.CLONE_NEWNS) },
	"unshare network": func() error { return unix.Unshare(unix.CLONE_NEWNET) },
	"clone user namespace": func() error {
		_, err := syscall.ForkExec("/guest", []string{"guest", "nothing"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}})
		return err
	},
	"setns": func() error {
		fd, err := unix.Open("/proc/1/ns/net", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return unix.Setns(fd, 0)
	},
	"write uid_map": func() error { return os.WriteFile("/proc/self/uid_map", []byte("0 0 4294967295"), 0) },

	// Other processes.
	"signal to a host process": func() error { return unix.Kill(pid(), 0) },
	"ptrace a host process":    func() error { return unix.PtraceAttach(pid()) },
	"ptrace oneself": func() error {
		return errno(unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, 0, 0, 0))
	},
	"process_vm_readv": func() error {
		var b [8]byte
		local := []unix.Iovec{{Base: &b[0], Len: 8}}
		_, err := unix.ProcessVMReadv(pid(), local, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&b)), Len: 8}}, 0)
		return err
	},
	"/proc/pid/mem of the host": func() error { return opened("/proc/" + host("pid") + "/mem") },
	"pidfd_open":                func() error { _, err := unix.PidfdOpen(pid(), 0); return err },
	"host's shared memory": func() error {
		key, err := strconv.Atoi(host("shm"))
		check(err)
		return errno(unix.Syscall(unix.SYS_SHMGET, uintptr(key), 0, 0))
	},
	"message queue": func() error {
		name := append([]byte("prytany"), 0)
		return errno(unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&name[0])), unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0, 0))
	},
	"real-time priority": func() error {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		return unix.SchedSetAttr(0, &attr, 0)
	},

	// Parts of the kernel.
	"keyctl": func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err },
	"add_key": func() error {
		_, err := unix.AddKey("user", "x", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
		return err
	},
	"bpf": func() error {
		b := [16]uint32{2, 4, 4, 1}
		return errno(unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&b)), 64))
	},
	"io_uring": func() error {
		var p [256]byte
		return errno(unix.Syscall(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&p)), 0))
	},
	"userfaultfd":            func() error { return errno(unix.Syscall(unix.SYS_USERFAULTFD, 0, 0, 0)) },
	"userfaultfd, user mode": func() error { return errno(unix.Syscall(unix.SYS_USERFAULTFD, 1, 0, 0)) },
	"perf_event_open": func() error {
		_, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Config: 1}, 0, -1, -1, 0)
		return err
	},
	"init_module":  func() error { return unix.InitModule([]byte("x"), "") },
	"kexec":        func() error { return errno(unix.Syscall6(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0, 0, 0)) },
	"reboot":       func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) },
	"settimeofday": func() error { return unix.Settimeofday(&unix.Timeval{Sec: time.Now().Unix()}) },
	"sethostname":  func() error { return unix.Sethostname([]byte("taken")) },
	"swapon": func() error {
		b := []byte("/tmp/x\x00")
		return errno(unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(&b[0])), 0, 0))
	},
	"iopl":                  func() error { return errno(unix.Syscall(unix.SYS_IOPL, 3, 0, 0)) },
	"read the kernel's log": func() error { _, err := unix.Klogctl(3, make([]byte, 100)); return err },
	"quotactl":              func() error { return errno(unix.Syscall6(unix.SYS_QUOTACTL, 0x80000100, 0, 0, 0, 0, 0)) },
	"acct":                  func() error { return unix.Acct("/tmp/acct") },

	// Powers.
	"capset": func() error {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		d := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
		return unix.Capset(&h, &d[0])
	},
	"setuid to another": func() error { return unix.Setuid(1234) },
	"chown":             func() error { write("/tmp/f", nil); return os.Chown("/tmp/f", 1234, 1234) },
	"set a capability on a file": func() error {
		write("/tmp/f", nil)
		return unix.Setxattr("/tmp/f", "security.capability", []byte("\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0)
	},
	"raise a limit": func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}) },
	"effective root of a set-uid program": func() error {
		p, err := os.StartProcess("/su", []string{"su", "euid"}, &os.ProcAttr{})
		if err != nil {
			return err
		}
		s, err := p.Wait()
		if err == nil && s.ExitCode() != 0 {
			err = refused
		}
		return err
	},

	// Settings of the kernel.
	"/proc/sys/kernel/core_pattern": func() error { return appendTo("/proc/sys/kernel/core_pattern") },
	"/proc/sys/kernel/modprobe":     func() error { return appendTo("/proc/sys/kernel/modprobe") },
	"/proc/sys/vm":                  func() error { return appendTo("/proc/sys/vm/drop_caches") },
	"/proc/sys/net":                 func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) },
	"/proc/sysrq-trigger":           func() error { return sysrq() },
	"/proc/kcore": func() error {
		return opened2("/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/timer_list")
	},
	"/proc/kallsyms": func() error { return opened2("/proc/kallsyms", "/proc/config.gz") },
	"binfmt_misc":    func() error { return os.WriteFile("/proc/sys/fs/binfmt_misc/register", []byte("x"), 0) },
	"oom_score_adj":  func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) },
}

func init() {
	// What an attempt runs, seen from the other side.
	modes["euid"] = func([]string) {
		if os.Geteuid() != 0 {
			os.Exit(1)
		}
	}
	// all makes every attempt in one run, for runtimes that are slow to start.
	modes["all"] = func([]string) {
		var table strings.Builder
		names := slices.Sorted(maps.Keys(attempts))
		first := slices.Index(names, "leaked descriptors") // before the others leave theirs
		names[0], names[first] = names[first], names[0]
		for _, name := range names {
			if err := attempts[name](); err != nil {
				fmt.Fprintf(&table, "%s\trefused: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
			} else {
				fmt.Fprintf(&table, "%s\tsucceeded\n", name)
			}
		}
		write("/out/table", []byte(table.String()))
	}
	modes["link-out"] = func([]string) { check(os.Symlink(host("marker"), "/out/link")) }
	modes["dir-link-out"] = func([]string) { check(os.Symlink(filepath.Dir(host("marker")), "/out/link")) }
	modes["fifo-out"] = func([]string) { check(unix.Mkfifo("/out/fifo", 0o666)) }
	modes["socket-out"] = func([]string) {
		l, err := net.Listen("unix", "/out/socket")
		check(err)
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	modes["kill-all"] = func([]string) {
		unix.Kill(-1, unix.SIGKILL)
		unix.Kill(0, unix.SIGKILL)
	}
	modes["end-init"] = func([]string) {
		for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGSEGV, unix.SIGQUIT, unix.SIGABRT} {
			unix.Kill(1, s)
		}
		time.Sleep(200 * time.Millisecond)
	}
	modes["speak-for-init"] = func([]string) {
		for _, name := range []string{"/proc/1/fd/1", "/proc/1/fd/0"} {
			if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
				f.Write([]byte("\x00\x00\x00\x0e{\"Failed\":\"x\"}"))
			}
		}
	}
	modes["orphans"] = func([]string) {
		for range 20 {
			_, err := os.StartProcess("/guest", []string{"guest", "sleep", "600000"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
			check(err)
		}
	}
	modes["marked"] = func([]string) {
		code, err := os.ReadFile("/code/marked")
		check(err)
		in, err := os.ReadFile("/in/input")
		check(err)
		write("/tmp/scratch", append(code, in...))
		out := slices.Concat([]byte("out:"), in)
		write("/out/result", out)
		fmt.Fprintf(os.Stderr, "log:%s", in)
		fmt.Printf("stdout:%s", in)
	}
}

func pid() int { return number(host("pid")) }

func errno(_, _ uintptr, e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

func reach(network, address string) error {
	c, err := net.DialTimeout(network, address, 500*time.Millisecond)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = io.ReadAtLeast(c, make([]byte, 6), 6)
	return err
}

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// canary reads the host's marker, and says nil if it is that.
func canary(path string) error {
	data, err := os.ReadFile(path)
	if err == nil && string(data) != "canary" {
		err = refused
	}
	return err
}

func readAt(dir int, path string) error {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func glob(patterns ...string) error {
	err := refused
	for _, p := range patterns {
		list, _ := filepath.Glob(p)
		for _, at := range list {
			for _, way := range []string{at + host("marker"), at + "/" + strings.Repeat("../", 40) + host("marker")} {
				if err = canary(way); err == nil {
					return nil
				}
			}
		}
	}
	return errors.Join(refused, err)
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("x")
	return err
}

// opened says nil if any of the files can be opened.
func opened(paths ...string) error {
	var errs []error
	for _, p := range paths {
		f, err := os.Open(p)
		if err == nil {
			f.Close()
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// opened2 says nil if any of the files has something in it.
func opened2(paths ...string) error {
	err := refused
	for _, p := range paths {
		f, e := os.Open(p)
		if e != nil {
			continue
		}
		n, _ := f.Read(make([]byte, 16))
		f.Close()
		if n > 0 {
			return nil
		}
	}
	return err
}

// sysrq asks for something harmless, to be told the help. A write that goes
// nowhere (a masked file takes all) is told apart by its device.
func sysrq() error {
	f, err := os.OpenFile("/proc/sysrq-trigger", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	check(unix.Fstat(int(f.Fd()), &st))
	if st.Mode&unix.S_IFMT == unix.S_IFCHR {
		return refused // /dev/null
	}
	_, err = f.WriteString("h")
	return err
}

func control(f *os.File, what uintptr, arg unsafe.Pointer) error {
	return errno(unix.Syscall(unix.SYS_IOCTL, f.Fd(), what, uintptr(arg)))
}

func runFrom(path string) error {
	data, err := os.ReadFile("/guest")
	check(err)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		return err
	}
	p, err := os.StartProcess(path, []string{"guest", "nothing"}, &os.ProcAttr{})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}
