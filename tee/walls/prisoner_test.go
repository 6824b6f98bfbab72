package walls

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/wasm"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm"
	"golang.org/x/sys/unix"
)

// prisonerName is what the test binary is called when it is the code that has
// escaped from its engine: plain Go inside the walls. Its arguments are what to
// do, which walls to leave out, and what the test tells it of the host.
const prisonerName = "prisoner"

// Other names of the test binary.
const (
	plainName     = "plain"     // a chore without walls
	parentName    = "parent"    // one that starts a prisoner and is killed
	forbiddenName = "forbidden" // one that may make no namespaces
)

func init() {
	switch os.Args[0] {
	case prisonerName:
	case plainName:
		fmt.Println(word(prisoner(os.Args[1])))
		os.Exit(0)
	case parentName:
		cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{prisonerName, "for ever", ""}}
		_, _ = cmd.StdinPipe()
		_, _ = cmd.StdoutPipe()
		err := Start(cmd, Profile{Kind: Kind(os.Args[1])})
		if err != nil {
			fmt.Println(word(err))
			os.Exit(1)
		}
		fmt.Println(cmd.Process.Pid)
		select {}
	case forbiddenName:
		_ = os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
		cmd := &exec.Cmd{Path: "/proc/self/exe"}
		fmt.Println(task.CodeOf(Start(cmd, Profile{Kind: Modules})))
		os.Exit(0)
	default:
		return
	}
	build := slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.name == os.Args[2] })
	_, err := raise(build)
	if err == nil {
		err = prisoner(os.Args[1])
	}
	fmt.Println(word(err))
	os.Exit(0)
}

// word is how an attempt ended, in one word if the kernel said it.
func word(err error) string {
	var e syscall.Errno
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &e):
		return unix.ErrnoName(e)
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

func prisoner(what string) error {
	if f := attempts[what]; f != nil {
		return f()
	}
	if f := chores[what]; f != nil {
		return f()
	}
	return errors.New("nothing is called " + what)
}

// told is what the test told it of the host.
func told(name string) string {
	for _, a := range os.Args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
	}
	return ""
}

func toldInt(name string) int {
	n, _ := strconv.Atoi(told(name))
	return n
}

// call is a system call of any number.
func call(nr uintptr, args ...uintptr) error {
	a := append(args, 0, 0, 0, 0, 0, 0)
	if _, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

func ptr[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

func text(s string) uintptr {
	b := append([]byte(s), 0)
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

var kept [][]byte

// write opens a file, and leaves it as it is.
func write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func read(path string) error {
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 0 {
		err = unix.ENODATA
	}
	return err
}

// socket opens one, and says done only if it did.
func socket(family, kind int) func() error {
	return func() error { _, err := unix.Socket(family, kind, 0); return err }
}

// fork makes a process in the barest way, which ends at once.
func fork(flags uintptr) error {
	r, _, e := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if r == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

// attempts return nil if they got what they wanted.
var attempts = map[string]func() error{
	"read /etc/passwd":            func() error { return read("/etc/passwd") },
	"read a secret":               func() error { return read(told("secret")) },
	"read /proc/self/environ":     func() error { return read("/proc/self/environ") },
	"write /proc/1/mem":           func() error { return write("/proc/1/mem") },
	"read the host's process":     func() error { return read("/proc/" + told("pid") + "/environ") },
	"read a disk":                 func() error { return read("/dev/vda") },
	"list /":                      func() error { _, err := os.ReadDir("/"); return err },
	"list above /":                func() error { _, err := os.ReadDir("/../../.."); return err },
	"list /root":                  func() error { _, err := os.ReadDir("/root"); return err },
	"write into /":                func() error { return os.WriteFile("/x", []byte("x"), 0o600) },
	"write a secret":              func() error { return os.WriteFile(told("secret"), []byte("x"), 0o600) },
	"write above the cgroup":      func() error { return os.Mkdir("/sys/fs/cgroup/memory/../x", 0o700) },
	"write a cgroup of the host":  func() error { return write("/sys/fs/cgroup/devices/cgroup.procs") },
	"mount /proc":                 func() error { return unix.Mount("proc", Scratch, "proc", 0, "") },
	"mount /sys":                  func() error { return unix.Mount("sysfs", Scratch, "sysfs", 0, "") },
	"make /usr writable":          func() error { return unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
	"write a program of the host": func() error { return write("/usr/bin/env") },
	"write a kernel's setting":    func() error { return write("/proc/sys/kernel/core_pattern") },
	"fill the memory": func() error {
		f, err := os.Create(Scratch + "/x")
		if err != nil {
			return err
		}
		return unix.Fallocate(int(f.Fd()), 0, 0, scratchBytes+4096)
	},
	"an inherited directory": func() error {
		for fd := 3; fd < 1024; fd++ {
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				return nil
			}
		}
		return unix.EBADF
	},
	"chroot through a descriptor": func() error {
		fd, err := unix.Open("/", unix.O_PATH, 0)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(Scratch+"/d", 0o700); err != nil {
			return err
		}
		if err := unix.Chroot(Scratch + "/d"); err != nil {
			return err
		}
		_, err = unix.Openat(fd, "../etc/passwd", unix.O_RDONLY, 0)
		return err
	},
	"a device node":      func() error { return unix.Mknod(Scratch+"/d", unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0))) },
	"run what is mapped": runMapped,
	"memory that is written and run": func() error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
		return err
	},
	"a call of another architecture": otherArchitecture,

	"AF_INET":    socket(unix.AF_INET, unix.SOCK_STREAM),
	"AF_INET6":   socket(unix.AF_INET6, unix.SOCK_DGRAM),
	"AF_UNIX":    socket(unix.AF_UNIX, unix.SOCK_STREAM),
	"AF_NETLINK": socket(unix.AF_NETLINK, unix.SOCK_RAW),
	"AF_PACKET":  socket(unix.AF_PACKET, unix.SOCK_RAW),
	"AF_VSOCK":   socket(unix.AF_VSOCK, unix.SOCK_STREAM),
	"AF_ALG":     socket(unix.AF_ALG, unix.SOCK_SEQPACKET),
	"connect to the host": func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrInet4{Port: toldInt("port"), Addr: [4]byte{127, 0, 0, 1}})
	},
	"send to the host": func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 53, Addr: [4]byte{127, 0, 0, 1}})
	},
	"an abstract socket of the host": func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + told("abstract")})
	},

	"signal a process":         func() error { return unix.Kill(toldInt("pid"), unix.SIGTERM) },
	"signal a thread":          func() error { return unix.Tgkill(toldInt("pid"), toldInt("pid"), unix.SIGTERM) },
	"signal everyone":          func() error { return unix.Kill(-1, 0) },
	"trace a process":          func() error { return unix.PtraceAttach(toldInt("pid")) },
	"hold a process":           func() error { _, err := unix.PidfdOpen(toldInt("pid"), 0); return err },
	"read a process":           func() error { return unixVM(unix.SYS_PROCESS_VM_READV) },
	"write a process":          func() error { return unixVM(unix.SYS_PROCESS_VM_WRITEV) },
	"a process's limits":       func() error { return unix.Prlimit(toldInt("pid"), unix.RLIMIT_NOFILE, nil, &unix.Rlimit{}) },
	"run a program":            func() error { return unix.Exec("/bin/sh", []string{"sh", "-c", ":"}, nil) },
	"run memory":               runMemory,
	"a process":                func() error { return fork(0) },
	"a process, vfork":         func() error { return fork(unix.CLONE_VFORK) },
	"a process by clone3":      func() error { a := [8]uint64{4: uint64(unix.SIGCHLD)}; return clone3(&a) },
	"a user namespace":         func() error { return fork(unix.CLONE_NEWUSER) },
	"a mount namespace":        func() error { return unix.Unshare(unix.CLONE_NEWNS) },
	"a network namespace":      func() error { return unix.Unshare(unix.CLONE_NEWNET) },
	"enter a namespace":        func() error { return unix.Setns(0, 0) },
	"mount":                    func() error { return unix.Mount("none", Scratch, "tmpfs", 0, "") },
	"mount a disk":             func() error { return unix.Mount("/dev/vda", Scratch, "ext4", 0, "") },
	"mount the host's cgroups": func() error { return unix.Mount("cgroup", Scratch, "cgroup", 0, "memory") },
	"unmount":                  func() error { return unix.Unmount(Scratch, 0) },
	"a new root":               func() error { return unix.PivotRoot(Scratch, Scratch) },
	"a file by its handle":     func() error { _, err := unix.OpenByHandleAt(0, unix.NewFileHandle(1, make([]byte, 8)), 0); return err },

	"keys":            func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err },
	"bpf":             func() error { return call(unix.SYS_BPF, 0, 0, 0) },
	"perf events":     func() error { var a unix.PerfEventAttr; _, err := unix.PerfEventOpen(&a, 0, -1, -1, 0); return err },
	"io_uring":        func() error { var p [128]byte; return call(unix.SYS_IO_URING_SETUP, 1, ptr(&p)) },
	"userfaultfd":     func() error { return call(unix.SYS_USERFAULTFD, 0) },
	"kexec":           func() error { return call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0) },
	"a module":        func() error { return unix.FinitModule(0, "", 0) },
	"reboot":          func() error { return call(unix.SYS_REBOOT, 0, 0, 0, 0) }, // EINVAL, if it may
	"swap":            func() error { return call(unix.SYS_SWAPON, text("/x"), 0) },
	"the host's name": func() error { return unix.Sethostname([]byte("x")) },
	"the clock": func() error {
		_, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &unix.Timex{Modes: unix.ADJ_SETOFFSET})
		return err
	},
	"the kernel's log": func() error { _, err := unix.Klogctl(3, make([]byte, 64)); return err },
	"raise a limit": func() error {
		return unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}, nil)
	},
	"type into a terminal": func() error { var c byte = 'x'; return call(unix.SYS_IOCTL, 0, unix.TIOCSTI, ptr(&c)) },
	"become dumpable":      func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) },
	"become root":          func() error { return call(unix.SYS_SETRESUID, 0, 0, 0) },
	"become a user":        func() error { return call(unix.SYS_SETRESUID, 1000, 1000, 1000) },
	"all capabilities": func() error {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		all := [2]unix.CapUserData{{Effective: 1<<32 - 1, Permitted: 1<<32 - 1}, {Effective: 1<<9 - 1, Permitted: 1<<9 - 1}}
		return unix.Capset(&h, &all[0])
	},
	"another filter": func() error {
		allow := unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}
		return call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, ptr(&unix.SockFprog{Len: 1, Filter: &allow}))
	},
	"learn the host's name": func() error {
		var u unix.Utsname
		err := unix.Uname(&u)
		if err == nil && unix.ByteSliceToString(u.Nodename[:]) != told("name") {
			err = unix.ENODATA
		}
		return err
	},
}

func unixVM(nr uintptr) error {
	var b [8]byte
	local := unix.Iovec{Base: &b[0], Len: 8}
	remote := unix.RemoteIovec{Base: 0x400000, Len: 8}
	return call(nr, uintptr(toldInt("pid")), ptr(&local), 1, ptr(&remote), 1, 0)
}

func clone3(a *[8]uint64) error {
	r, _, e := unix.RawSyscall(unix.SYS_CLONE3, ptr(a), 64, 0)
	if e == 0 && r == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	if e != 0 {
		return e
	}
	return nil
}

// runMapped maps a file of scratch as code.
func runMapped() error {
	f, err := os.Create(Scratch + "/code")
	if err != nil {
		return err
	}
	if err := f.Truncate(4096); err != nil {
		return err
	}
	_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	return err
}

// runMemory runs a program that is no file.
func runMemory() error {
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte("#!/none\n")); err != nil {
		return err
	}
	argv := [2]uintptr{text("x"), 0}
	return call(unix.SYS_EXECVEAT, uintptr(fd), text(""), ptr(&argv), 0, unix.AT_EMPTY_PATH)
}

// otherArchitecture asks for what is getpid to a 32-bit program.
func otherArchitecture() error {
	if runtime.GOARCH != "amd64" {
		return unix.ENOSYS
	}
	code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	copy(code, []byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3}) // mov eax, 20; int 0x80; ret
	if err := unix.Mprotect(code, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return err
	}
	at := &code[0]
	f := unsafe.Pointer(&at)
	(*(*func())(unsafe.Pointer(&f)))()
	return nil
}

// tinyModule is a WebAssembly program that does nothing.
var tinyModule, _ = hex.DecodeString("0061736d01000000" + // magic, version
	"010401600000" + "03020100" + "0503010001" + // one type, one function, one memory
	"0713" + "02" + "065f7374617274" + "0000" + "066d656d6f7279" + "0200" + // _start, memory
	"0a040102000b") // an empty body

func runModule(w *wasm.Engine, code []byte) error {
	job := sandbox.Job{
		Code: code, Args: []string{"x"},
		Limits: sandbox.Limits{Gas: sandbox.MaxGas, MemoryBytes: 64 << 20, OutputBytes: 1 << 20, LogBytes: 4096, Wall: time.Minute},
	}
	res, err := w.Run(context.Background(), job)
	if err == nil && res.Outcome != sandbox.OK {
		err = fmt.Errorf("%v: %s", res.Outcome, res.Reason)
	}
	return err
}

var spun int

// chores are what an enclave has to do, with all walls.
var chores = map[string]func() error{
	"nothing":      func() error { return nil },
	"say and wait": func() error { fmt.Println("here"); time.Sleep(time.Hour); return nil },
	"for ever":     func() error { time.Sleep(time.Hour); return nil },
	"modules": func() error {
		w, err := wasm.New(context.Background())
		if err != nil {
			return err
		}
		return runModule(w, tinyModule)
	},
	"compiled modules": func() error {
		for range 2 { // the second time from the files of the first
			dir := Scratch + "/compiled"
			w, err := wasm.NewCached(context.Background(), dir)
			if err != nil {
				return err
			}
			if err := runModule(w, tinyModule); err != nil {
				return err
			}
			if err := w.Close(context.Background()); err != nil {
				return err
			}
			if files, _ := filepath.Glob(dir + "/*/*"); len(files) == 0 {
				return errors.New("nothing was kept")
			}
		}
		return nil
	},
	"a large module": func() error {
		code, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		w, err := wasm.NewCached(context.Background(), Scratch+"/compiled")
		if err != nil {
			return err
		}
		return w.Compile(context.Background(), code)
	},
	"threads": func() error {
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				runtime.LockOSThread()
				time.Sleep(20 * time.Millisecond)
			})
		}
		all.Wait()
		return nil
	},
	"garbage": func() error {
		for range 20 {
			b := make([]byte, 16<<20)
			b[len(b)-1] = 1
			runtime.GC()
		}
		return nil
	},
	"preemption": func() error {
		stop := time.After(50 * time.Millisecond)
		go func() {
			for { // without a call in which it could be stopped
				spun++
			}
		}()
		<-stop
		runtime.GC()
		return nil
	},
	"time": func() error {
		before := time.Now()
		time.Sleep(time.Millisecond)
		if after := time.Now(); !after.After(before) || after.Year() < 2024 {
			return fmt.Errorf("%v, then %v", before, after)
		}
		return nil
	},
	"chance": func() error {
		var a, b [32]byte
		_, err1 := rand.Read(a[:])
		_, err2 := rand.Read(b[:])
		if a == b {
			return errors.New("the same twice")
		}
		return errors.Join(err1, err2)
	},
	"4 GiB": func() error {
		m, err := unix.Mmap(-1, 0, 4<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
		if err != nil {
			return err
		}
		m[4<<30-1] = 1
		return unix.Munmap(m)
	},
	"files in scratch": func() error {
		dir, err := os.MkdirTemp("", "x")
		if err != nil {
			return err
		}
		err1 := os.WriteFile(dir+"/a", bytes.Repeat([]byte("x"), 1<<20), 0o600)
		err2 := os.Rename(dir+"/a", dir+"/b")
		b, err3 := os.ReadFile(dir + "/b")
		if len(b) != 1<<20 {
			return errors.New("it is not all there")
		}
		return errors.Join(err1, err2, err3, os.RemoveAll(dir))
	},
	"processors": func() error {
		if n := runtime.GOMAXPROCS(0); n != toldInt("processors") {
			return fmt.Errorf("%d", n)
		}
		return nil
	},
	"a panic is not told": func() error { panic("secret") },
	// A container, by the runtime that the test names, from the image that comes
	// by the pipe.
	"a container": func() error {
		img, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		r, err := container.New(context.Background(), container.Config{Runtimes: []string{told("runtime")}})
		if err != nil {
			return err
		}
		res, err := r.Run(context.Background(), sandbox.Job{
			Image: img, Digest: told("digest"), Args: []string{"/guest"}, Inputs: []sandbox.File{{Name: "input", Data: []byte("hello")}},
			Limits: sandbox.Limits{Gas: sandbox.MaxGas, MemoryBytes: 256 << 20, OutputBytes: 1 << 20, LogBytes: 4096, Wall: time.Minute},
		})
		if err == nil && (res.Outcome != sandbox.OK || len(res.Outputs) != 1 || string(res.Outputs[0].Data) != "HELLO" || res.After != sandbox.EmptyState) {
			err = fmt.Errorf("%v: %s %s %v", res.Outcome, res.Reason, res.Log, res.Outputs)
		}
		return err
	},
	"open what is let in": func() error {
		f, err := os.OpenFile(told("let"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_EX), f.Close())
	},
	"ask a device": func() error {
		f, err := os.OpenFile(told("let"), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return call(unix.SYS_IOCTL, f.Fd(), 0x5452) // FIOASYNC, without an argument
	},
	"quote by a TPM": func() error {
		b, err := hex.DecodeString(told("quoter"))
		if err != nil {
			return err
		}
		q, err := task.Decode[tpm.Quoter](b, 64<<10)
		if err != nil {
			return err
		}
		quote, err := q.Quote(task.Hash{2})
		if err == nil && len(quote) == 0 {
			err = errors.New("no quote")
		}
		return err
	},
	"ask a socket": func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrUnix{Name: told("let")})
	},
	"make a directory": func() error {
		dir, err := os.MkdirTemp(told("let"), "x")
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(dir+"/inblob", []byte("x"), 0o600), read(dir+"/inblob"), os.RemoveAll(dir))
	},
}
