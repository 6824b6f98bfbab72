// Guest is what the tests run in the sandbox: its first argument says what
// it is to try, good or bad.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	try, ok := map[string]func(args []string) error{
		"copy": copyAll, "files": files, "forbidden": forbidden, "world": world, "time": clocks, "sleep": sleep, "random": random,
		"loop": loop, "hog": hog, "bomb": bomb, "flood": flood, "panic": doPanic, "exit": exit, "crash": crash, "recurse": recurse,
		"names": names, "log": chatter, "open": openMany, "write": write,
		"times": times, "scratch": scratch, "overreach": overreach,
		"sieve": bench(sieve), "matmul": bench(matmul), "blur": bench(blur), "sha256": bench(sum), "sort": bench(sorting), "map": bench(mapping), "fib": bench(fib),
	}[os.Args[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "unknown:", os.Args[1])
		os.Exit(99)
	}
	if err := try(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func number(args []string) int {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		panic(err)
	}
	return n
}

// copyAll copies /in to /out.
func copyAll([]string) error { return os.CopyFS("/out", os.DirFS("/in")) }

// write writes so many bytes to a file.
func write(args []string) error {
	return os.WriteFile("/out/data", bytes.Repeat([]byte("x"), number(args)), 0o600)
}

// files does all that one does with files, and says what came of it.
func files([]string) error {
	step := func(what string, err error) {
		var path *fs.PathError
		var link *os.LinkError
		switch {
		case errors.As(err, &path):
			err = path.Err
		case errors.As(err, &link):
			err = link.Err
		}
		say("%s: %v", what, err)
	}
	read := func(name string) {
		b, err := os.ReadFile(name)
		step(fmt.Sprintf("read %s %q", name, b), err)
	}
	list := func(name string) {
		entries, err := os.ReadDir(name)
		var got []string
		for _, e := range entries {
			if e.IsDir() {
				got = append(got, e.Name()+"/")
				continue
			}
			info, _ := e.Info()
			got = append(got, fmt.Sprintf("%s(%d)", e.Name(), info.Size()))
		}
		step(fmt.Sprintf("list %s %v", name, got), err)
	}
	list("/")
	step("write", os.WriteFile("/out/a", []byte("hello"), 0o600))
	step("write over it", os.WriteFile("/out/a", []byte("hi"), 0o600))
	read("/out/a")
	step("write relative", os.WriteFile("out/b", nil, 0o600))
	f, err := os.OpenFile("/out/a", os.O_APPEND|os.O_WRONLY, 0)
	step("open to append", err)
	_, err = f.WriteString(" there")
	step("append", err)
	_, err = f.Read(make([]byte, 1))
	step("read what is open for writing", err)
	step("close", f.Close())
	read("/out/a")
	f, err = os.OpenFile("/out/a", os.O_RDWR, 0)
	step("open for both", err)
	_, err = f.WriteAt([]byte("H"), 0)
	step("write at", err)
	_, err = f.WriteAt([]byte("!"), 10)
	step("write beyond the end", err)
	_, err = f.Seek(-3, io.SeekEnd)
	step("seek", err)
	_, err = f.Seek(-3, io.SeekStart)
	step("seek before the start", err)
	rest, err := io.ReadAll(f)
	step(fmt.Sprintf("rest %q", rest), err)
	step("truncate", f.Truncate(4))
	step("truncate up", f.Truncate(6))
	step("close", f.Close())
	step("close twice", f.Close())
	read("/out/a")
	_, err = os.OpenFile("/out/a", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	step("create what is there", err)
	_, err = os.OpenFile("/out/none", os.O_RDWR, 0)
	step("open what is not there", err)
	_, err = os.OpenFile("/out", os.O_RDWR, 0)
	step("open a directory for writing", err)
	_, err = os.ReadFile("/out")
	step("read a directory", err)
	step("mkdir", os.Mkdir("/out/d", 0o700))
	step("mkdir again", os.Mkdir("/out/d", 0o700))
	step("mkdir in nothing", os.Mkdir("/out/x/y", 0o700))
	step("mkdir below a file", os.Mkdir("/out/a/y", 0o700))
	step("mkdir all", os.MkdirAll("/out/d/e/f", 0o700))
	step("write below", os.WriteFile("/out/d/e/f/g", []byte("deep"), 0o600))
	list("/out")
	list("/out/d/e")
	step("remove what is full", os.Remove("/out/d"))
	step("rename", os.Rename("/out/d/e/f/g", "/out/h"))
	read("/out/h")
	step("rename over", os.Rename("/out/h", "/out/b"))
	read("/out/b")
	step("rename a directory", os.Rename("/out/d/e", "/out/e"))
	step("rename into itself", os.Rename("/out/e", "/out/e/f/e"))
	step("rename a file over a directory", os.Rename("/out/b", "/out/d"))
	step("rename a directory over a file", os.Rename("/out/d", "/out/b"))
	step("rename what is not there", os.Rename("/out/none", "/out/some"))
	step("rename over what is full", os.Rename("/out/d", "/out/e"))
	step("remove", os.Remove("/out/b"))
	step("remove again", os.Remove("/out/b"))
	f, err = os.Create("/out/gone")
	step("create", err)
	step("remove what is open", os.Remove("/out/gone"))
	_, err = f.WriteString("still here")
	step("write what is removed", err)
	_, err = f.Seek(0, io.SeekStart)
	step("seek what is removed", err)
	rest, err = io.ReadAll(f)
	step(fmt.Sprintf("read what is removed %q", rest), err)
	step("close what is removed", f.Close())
	info, err := os.Stat("/out/a")
	step(fmt.Sprintf("stat %s %d %v %v", info.Name(), info.Size(), info.Mode(), info.ModTime().UTC().Truncate(time.Second)), err)
	info, err = os.Stat("/in")
	step(fmt.Sprintf("stat %s %v", info.Name(), info.Mode()), err)
	step("touch", os.Chtimes("/out/a", time.Unix(1, 0), time.Unix(1, 0)))
	step("remove all", os.RemoveAll("/out/e"))
	f, err = os.CreateTemp("/out", "tmp")
	step("create temporary", err)
	step("remove it", errors.Join(f.Close(), os.Remove(f.Name())))
	step("walk", filepath.WalkDir("/", func(path string, _ fs.DirEntry, err error) error {
		say("  %s", path)
		return err
	}))
	return nil
}

// forbidden tries what must not work.
func forbidden([]string) error {
	step := func(what string, err error) {
		if err == nil {
			say("%s WORKED", what)
			return
		}
		say("%s: refused", what)
	}
	for _, name := range []string{
		"/etc/passwd", "/proc/self/environ", "/dev/null", "/dev/stderr", "/root/.ssh/id_rsa", "../../etc/passwd", "/in/../../etc/passwd",
		"/out/../../../etc/passwd", "/./../etc/passwd", "//etc//passwd", "/in/../out/../etc/passwd", "etc/passwd", "",
	} {
		_, err := os.ReadFile(name)
		step("read "+name, err)
		step("write "+name, os.WriteFile(name, []byte("x"), 0o666))
	}
	step("write /x", os.WriteFile("/x", nil, 0o666))
	step("write /in/x", os.WriteFile("/in/x", nil, 0o666))
	step("write /in/data", os.WriteFile("/in/data", nil, 0o666))
	step("truncate /in/data", os.Truncate("/in/data", 0))
	step("remove /in/data", os.Remove("/in/data"))
	step("remove /in", os.RemoveAll("/in"))
	step("remove /out", os.Remove("/out"))
	step("rename /in/data", os.Rename("/in/data", "/out/data"))
	step("rename /out", os.Rename("/out", "/in/out"))
	step("rename to /in", errors.Join(os.WriteFile("/out/y", nil, 0o600), os.Rename("/out/y", "/in/y")))
	step("mkdir /tmp", os.Mkdir("/tmp", 0o777))
	step("symlink", os.Symlink("/etc/passwd", "/out/passwd"))
	step("symlink dir", os.Symlink("/", "/out/root"))
	step("link", os.Link("/in/data", "/out/data"))
	os.Chmod("/in/data", 0o777) // WASI has no such thing, and Go ignores it
	step("write after chmod", os.WriteFile("/in/data", nil, 0o666))
	_, err := os.Readlink("/out/passwd")
	step("readlink", err)
	_, err = net.DialTimeout("tcp", "127.0.0.1:80", time.Second)
	step("dial tcp", err)
	if c, err := net.DialTimeout("udp", "8.8.8.8:53", time.Second); err == nil { // in a network that Go makes up
		_, err = c.Write(make([]byte, 12))
		if err == nil {
			c.SetReadDeadline(time.Now().Add(time.Second))
			_, err = c.Read(make([]byte, 12))
		}
		step("ask by udp", err)
	}
	_, err = net.Dial("unix", "/var/run/docker.sock")
	step("dial unix", err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil { // the same
		go func() {
			c, _ := ln.Accept()
			c.Close()
		}()
		say("listens to itself")
	}
	_, err = net.LookupHost("example.com")
	step("resolve", err)
	_, err = os.StartProcess("/bin/sh", []string{"sh"}, &os.ProcAttr{})
	step("exec", err)
	for fd := 3; fd < 100; fd++ {
		if _, err := os.NewFile(uintptr(fd), "x").Write([]byte("x")); err == nil {
			say("write to descriptor %d WORKED", fd)
		}
	}
	return nil
}

// world says all that a guest can see of the world.
func world([]string) error {
	say("args %q", os.Args)
	say("env %q", os.Environ())
	in, err := io.ReadAll(os.Stdin)
	say("stdin %q %v", in, err)
	fmt.Println("this is dropped")
	dir, err := os.Getwd()
	say("dir %s %v", dir, err)
	host, _ := os.Hostname()
	say("host %q uid %d pid %d", host, os.Getuid(), os.Getpid())
	return nil
}

func clocks([]string) error {
	a, b := time.Now(), time.Now()
	say("%v", a.UTC())
	say("%v later", b.Sub(a))
	return nil
}

func sleep([]string) error {
	start := time.Now()
	time.Sleep(1000 * time.Hour)
	say("slept %v", time.Since(start).Truncate(time.Hour))
	select {
	case <-time.After(time.Hour):
	}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() { time.Sleep(time.Duration(i) * time.Minute) })
	}
	wg.Wait()
	say("in all %v", time.Since(start).Truncate(time.Minute))
	return nil
}

func random([]string) error {
	b := make([]byte, 16)
	rand.Read(b)
	m := map[int]bool{}
	for i := range 20 {
		m[i] = true
	}
	var order []int
	for i := range m {
		order = append(order, i)
	}
	say("%x %v", b, order)
	return nil
}

func loop([]string) error {
	for i := 0; ; i++ {
	}
}

var kept [][]byte

func hog([]string) error {
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
}

// bomb writes until it is told to stop, and takes no hint.
func bomb([]string) error {
	f, err := os.Create("/out/bomb")
	if err != nil {
		return err
	}
	for range 100 {
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			say("%v", err)
		}
	}
	return nil
}

func flood(args []string) error {
	for i := range number(args) {
		if err := os.WriteFile(fmt.Sprintf("/out/%d", i), nil, 0o600); err != nil {
			say("%v", err)
			return nil
		}
	}
	return nil
}

// names tries long and deep ones.
func names([]string) error {
	say("255: %v", os.WriteFile("/out/"+strings.Repeat("n", 255), nil, 0o600))
	say("256: %v", os.WriteFile("/out/"+strings.Repeat("n", 256), nil, 0o600) == nil)
	say("a million: %v", os.WriteFile("/out/"+strings.Repeat("n", 1<<20), nil, 0o600) == nil)
	say("odd: %v", os.WriteFile("/out/ä\n\"'\\ %s\x7f", nil, 0o600))
	deep := "/out"
	for i := range 10_000 {
		deep += "/d"
		if err := os.Mkdir(deep, 0o700); err != nil {
			say("%d deep", i)
			break
		}
	}
	return nil
}

// times looks whether files have the times that they should have.
func times([]string) error {
	at := func(name string) time.Time {
		info, err := os.Stat(name)
		if err != nil {
			panic(err)
		}
		return info.ModTime()
	}
	out, start := at("/out"), time.Now()
	if err := os.WriteFile("/out/a", []byte("x"), 0o600); err != nil {
		return err
	}
	made := at("/out/a")
	if !made.After(start) || !made.Before(time.Now()) || !at("/out").After(out) {
		return fmt.Errorf("made at %v, and /out changed at %v", made, at("/out"))
	}
	if err := os.Chtimes("/out/a", time.Unix(5, 0), time.Unix(1e9, 7)); err != nil || !at("/out/a").Equal(time.Unix(1e9, 7)) {
		return fmt.Errorf("set to %v, %v", at("/out/a"), err)
	}
	out = at("/out")
	f, err := os.OpenFile("/out/a", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("y"); err != nil || !at("/out/a").After(made) || !at("/out").Equal(out) {
		return fmt.Errorf("written at %v, /out at %v, %v", at("/out/a"), at("/out"), err)
	}
	if err := errors.Join(f.Close(), os.Remove("/out/a")); err != nil || !at("/out").After(out) {
		return fmt.Errorf("removed at %v, %v", at("/out"), err)
	}
	return os.WriteFile("/out/done", nil, 0o600)
}

// scratch finds the place for temporary files, fills it, and goes on.
func scratch([]string) error {
	f, err := os.CreateTemp("", "x")
	if err != nil {
		return err
	}
	size := 0
	for err == nil {
		var n int
		n, err = f.Write(make([]byte, 1<<20-1))
		size += n
	}
	say("%s: %d bytes, then %v", filepath.Dir(f.Name()), size, errors.Is(err, syscall.ENOSPC))
	if err := errors.Join(f.Truncate(0), f.Close(), os.Remove(f.Name())); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "y")
	if err != nil {
		return err
	}
	n := 1
	for err = nil; err == nil; n++ {
		err = os.WriteFile(fmt.Sprintf("%s/%d", dir, n), nil, 0o600)
	}
	say("%d files, then %v", n-2, errors.Is(err, syscall.ENOSPC))
	say("move to /out: %v", errors.Is(os.Rename(dir+"/1", "/out/x"), syscall.Errno(75)))
	return os.WriteFile("/out/done", nil, 0o600)
}

// overreach asks for more room than there is, in all ways, and takes no for an
// answer, or not.
func overreach(args []string) error {
	f, err := os.Create("/out/x")
	if err != nil {
		return err
	}
	for _, size := range []int64{1 << 30, 1 << 50, 1<<63 - 1} {
		err := f.Truncate(size)
		say("truncate: %v", errors.Is(err, syscall.ENOSPC))
		_, err = f.WriteAt([]byte("x"), size-1)
		say("write far away: %v", errors.Is(err, syscall.ENOSPC))
		if len(args) > 0 {
			return err
		}
	}
	_, err = f.Write([]byte("fine"))
	return errors.Join(err, f.Close())
}

func openMany([]string) error {
	n := 0
	var all []*os.File
	for ; n < 10_000; n++ {
		f, err := os.Open("/in/data")
		if err != nil {
			break
		}
		all = append(all, f)
	}
	say("%d open", n)
	for _, f := range all {
		if err := f.Close(); err != nil {
			return err
		}
	}
	f, err := os.Open("/in/data")
	say("then %v", err)
	return f.Close()
}

func doPanic([]string) error { panic("what now") }

func exit(args []string) error {
	os.Exit(number(args))
	return nil
}

func crash([]string) error {
	var p *[10]int
	p[len(os.Args)] = 1
	return nil
}

func recurse([]string) error {
	say("%d", down(1))
	return nil
}

func down(n int) int { return n + down(n+1) }

func chatter(args []string) error {
	for i := range number(args) {
		say("line %d", i)
	}
	return nil
}

// What follows has work to do.

func bench[T any](f func(n int) T) func([]string) error {
	return func(args []string) error {
		say("%v", f(number(args)))
		return nil
	}
}

func sieve(n int) int {
	composite := make([]bool, n+1)
	primes := 0
	for i := 2; i <= n; i++ {
		if composite[i] {
			continue
		}
		primes++
		for j := 2 * i; j <= n; j += i {
			composite[j] = true
		}
	}
	return primes
}

func matmul(n int) float64 {
	a, b, c := make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)
	for i := range a {
		a[i], b[i] = float64(i%7), float64(i%5)
	}
	for i := range n {
		for j := range n {
			s := 0.0
			for k := range n {
				s += a[i*n+k] * b[k*n+j]
			}
			c[i*n+j] = s
		}
	}
	return c[n+1]
}

func blur(n int) int {
	const w, h = 320, 240
	p, q := make([]uint8, w*h), make([]uint8, w*h)
	for i := range p {
		p[i] = uint8(i * 31)
	}
	for range n {
		for y := 1; y < h-1; y++ {
			for x := 1; x < w-1; x++ {
				s := 0
				for dy := -1; dy <= 1; dy++ {
					for dx := -1; dx <= 1; dx++ {
						s += int(p[(y+dy)*w+x+dx])
					}
				}
				q[y*w+x] = uint8(s / 9)
			}
		}
		p, q = q, p
	}
	return int(p[w+1])
}

func sum(n int) string {
	d := sha256.Sum256(nil)
	for range n {
		d = sha256.Sum256(d[:])
	}
	return fmt.Sprintf("%x", d)
}

func sorting(n int) int {
	a := make([]int, n)
	x := uint32(1)
	for i := range a {
		x = x*1664525 + 1013904223
		a[i] = int(x >> 8)
	}
	b := slices.Clone(a)
	sort.Ints(a)
	sort.Slice(b, func(i, j int) bool { return b[i] < b[j] })
	return a[n/2] - b[n/2]
}

func mapping(n int) int {
	m := map[string]int{}
	for i := range n {
		m[strconv.Itoa(i*7919%100003)]++
	}
	return len(m)
}

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}
