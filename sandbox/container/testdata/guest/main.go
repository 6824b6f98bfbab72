// Command guest is what the tests run in a container: functions good and bad,
// and attempts to get out. It is static, and all that its image needs.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fail("no mode")
	}
	mode, args := os.Args[1], os.Args[2:]
	if f := modes[mode]; f != nil {
		f(args)
		return
	}
	if a := attempts[mode]; a != nil {
		// Whoever succeeds says so; the test also looks from outside.
		if err := a(); err != nil {
			write("/out/refused", []byte(err.Error()))
		} else {
			write("/out/succeeded", nil)
		}
		return
	}
	fail("no mode " + mode)
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(99)
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func write(name string, data []byte) {
	check(os.WriteFile(name, data, 0o644))
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	check(err)
	return n
}

var sink byte

// terminal opens a terminal of this container's own.
func terminal() (outer, inner *os.File) {
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	check(err)
	check(unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	check(err)
	inner, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	check(err)
	return outer, inner
}

var modes = map[string]func(args []string){
	// upper is a function as it should be.
	"upper": func([]string) {
		data, err := os.ReadFile("/in/input")
		check(err)
		write("/out/result", bytes.ToUpper(data))
		write("/tmp/scratch", data)
	},
	"nothing": func([]string) {},
	// look tells what there is to see.
	"look": func([]string) {
		var b bytes.Buffer
		check(filepath.WalkDir("/", func(p string, d os.DirEntry, err error) error {
			if p == "/proc" {
				return filepath.SkipDir
			}
			fmt.Fprintln(&b, p)
			return nil
		}))
		fmt.Fprintln(&b, "uid", os.Getuid(), "gid", os.Getgid(), "args", os.Args[1:], "env", os.Environ())
		wd, _ := os.Getwd()
		fmt.Fprintln(&b, "cwd", wd)
		status, _ := os.ReadFile("/proc/self/status")
		b.Write(status)
		write("/out/look", b.Bytes())
	},
	"exit":  func(a []string) { os.Exit(number(a[0])) },
	"panic": func([]string) { panic("oh") },
	"spin": func([]string) {
		for {
			sink++
		}
	},
	"count": func(a []string) {
		for range number(a[0]) {
			sink++
		}
	},
	"sleep": func(a []string) { time.Sleep(time.Duration(number(a[0])) * time.Millisecond) },
	// burn uses about so many milliseconds of the processor.
	"burn": func(a []string) {
		for end := time.Now().Add(time.Duration(number(a[0])) * time.Millisecond); time.Now().Before(end); {
			for range 10000 {
				sink++
			}
		}
	},
	// hold holds so many MiB for so many milliseconds.
	"hold": func(a []string) {
		b := make([]byte, number(a[0])<<20)
		for i := range b {
			b[i] = 1
		}
		time.Sleep(time.Duration(number(a[1])) * time.Millisecond)
		sink = b[len(b)-1]
	},
	// work is hold, for so many milliseconds of the processor.
	"work": func(a []string) {
		b := make([]byte, number(a[0])<<20)
		for i := range b {
			b[i] = 1
		}
		var used syscall.Rusage
		for done := int64(0); done < int64(number(a[1])); done = (used.Utime.Nano() + used.Stime.Nano()) / 1e6 {
			for range 10000 {
				sink++
			}
			check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
		}
		sink += b[len(b)-1]
	},
	// explain fails, and says why in a file.
	"explain": func(a []string) {
		write("/out/error.txt", []byte(a[0]))
		os.Exit(number(a[1]))
	},
	// explain-by-link offers a file that is not its own.
	"explain-by-link": func([]string) {
		check(os.Symlink("/in/input", "/out/error.txt"))
		os.Exit(1)
	},
	"memory-bomb": func([]string) {
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			all = append(all, b)
		}
	},
	"fork-bomb": func([]string) {
		for {
			if _, err := os.StartProcess("/guest", []string{"guest", "fork-bomb"}, &os.ProcAttr{}); err != nil {
				time.Sleep(time.Millisecond)
			}
		}
	},
	"log-flood": func([]string) {
		line := bytes.Repeat([]byte("flood "), 1000)
		for range 20_000 {
			_, err := os.Stderr.Write(line)
			check(err)
			_, err = os.Stdout.Write(line)
			check(err)
		}
	},
	"output-bomb": func(a []string) {
		f, err := os.Create("/out/big")
		check(err)
		for {
			if _, err := f.Write(make([]byte, 1<<16)); err != nil {
				fail(err.Error())
			}
		}
	},
	"tmp-bomb": func(a []string) {
		f, err := os.Create("/tmp/big")
		check(err)
		_, err = io.Copy(f, zeros{})
		write("/out/error", []byte(fmt.Sprint(err)))
	},
	// full fills both places for what is to be forgotten, and so many MiB beside.
	"full": func(a []string) {
		for _, dir := range []string{"/dev/shm", "/tmp"} {
			f, err := os.Create(dir + "/big")
			check(err)
			n, err := io.Copy(f, zeros{})
			if !errors.Is(err, syscall.ENOSPC) || n > 64<<20 {
				check(fmt.Errorf("%d bytes: %v", n, err))
			}
		}
		b := make([]byte, number(a[0])<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		sink = b[len(b)-1]
	},
	// shared is what a semaphore of libc does: a file in /dev/shm that two processes
	// have in memory, made under another name and then linked to its own.
	"shared": func(a []string) {
		f, err := os.OpenFile("/dev/shm/new", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		check(err)
		check(f.Truncate(4096))
		m, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		check(err)
		check(os.Link("/dev/shm/new", "/dev/shm/sem.x"))
		check(os.Remove("/dev/shm/new"))
		out, err := exec.Command("/guest", "shared-child").CombinedOutput()
		if err != nil || m[5] != 42 {
			fail(fmt.Sprintf("%v: %s: %d", err, out, m[5]))
		}
		write("/dev/shm/left", []byte("over"))
	},
	"shared-child": func(a []string) {
		f, err := os.OpenFile("/dev/shm/sem.x", os.O_RDWR, 0)
		check(err)
		m, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		check(err)
		m[5] = 42
	},
	// terminal opens a pair of terminals and sends a line through it.
	"terminal": func(a []string) {
		outer, inner := terminal()
		_, err := outer.Write([]byte("hello\n"))
		check(err)
		line := make([]byte, 100)
		n, err := inner.Read(line)
		check(err)
		write("/out/line", line[:n])
	},
	// read is what somebody else may not be able to.
	"read": func(a []string) {
		data, err := os.ReadFile(a[0])
		check(err)
		write("/out/read", data)
	},
	"many-files": func(a []string) {
		for i := range number(a[0]) {
			f, err := os.Create(fmt.Sprint("/out/", i))
			check(err)
			f.Close()
		}
	},
	"sparse": func(a []string) {
		check(os.Truncate(created("/out/sparse"), int64(number(a[0]))))
	},
	// room asks for more than there is, and takes no for an answer.
	"room": func(a []string) {
		signal.Ignore(syscall.SIGXFSZ)
		f, err := os.Create("/out/x")
		check(err)
		if err := f.Truncate(1 << 40); !errors.Is(err, syscall.EFBIG) {
			check(fmt.Errorf("truncated: %v", err))
		}
		for err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			check(fmt.Errorf("filled: %v", err))
		}
		time.Sleep(50 * time.Millisecond) // it is seen to be full, if anybody looks
		check(f.Truncate(0))
	},
	"deep": func(a []string) {
		for {
			if os.Mkdir("d", 0o755) != nil || os.Chdir("d") != nil {
				return
			}
		}
	},
	"deep-tmp": func(a []string) {
		check(os.Chdir("/tmp"))
		name := string(bytes.Repeat([]byte("d"), 255))
		for os.Mkdir(name, 0o755) == nil && os.Chdir(name) == nil {
		}
	},
	"deep-out": func(a []string) {
		check(os.Chdir("/out"))
		name := string(bytes.Repeat([]byte("d"), 255))
		for range 100 {
			check(os.Mkdir(name, 0o755))
			check(os.Chdir(name))
		}
	},
	"many-links": func(a []string) {
		created("/out/a")
		for i := range number(a[0]) {
			check(os.Link("/out/a", fmt.Sprint("/out/l", i)))
		}
	},
	"two-links": func(a []string) {
		write("/out/a", []byte("same"))
		check(os.Link("/out/a", "/out/b"))
	},
	"bad-name": func(a []string) { created("/out/\xff") },
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func created(name string) string {
	f, err := os.Create(name)
	check(err)
	check(f.Close())
	return name
}
