package enginetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// A Trap is what an attempt would find if it got out: a file, listeners, a
// process, shared memory. It notices from outside.
type Trap struct {
	// Args tell the guest where all that is.
	Args    []string
	reached atomic.Int64
	before  map[string]string
	child   *exec.Cmd
	marker  string
	more    func() map[string]string
}

// NewTrap sets one up. more is what else must be after all attempts as it was
// before; nil is nothing.
func NewTrap(t *testing.T, more func() map[string]string) *Trap {
	t.Helper()
	x := &Trap{more: more}
	dir := t.TempDir()
	x.marker = filepath.Join(dir, "marker")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(x.marker, []byte("canary"), 0o666))
	must(os.Chmod(x.marker, 0o666))
	for _, d := range []string{dir, filepath.Dir(dir)} {
		must(os.Chmod(d, 0o777)) // whoever gets there may read it
	}
	answer := func(l net.Listener, err error) net.Listener {
		must(err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				x.reached.Add(1)
				go func() {
					_, _ = c.Read(make([]byte, 100))
					_, _ = c.Write([]byte("canary"))
					c.Close()
				}()
			}
		}()
		return l
	}
	tcp := answer(net.Listen("tcp", ":0"))
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	must(err)
	abstract := fmt.Sprint("prytany-test-", os.Getpid())
	answer(net.Listen("unix", "@"+abstract))
	socket := filepath.Join(dir, "socket")
	answer(net.Listen("unix", socket))
	must(os.Chmod(socket, 0o777))
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(err)
	t.Cleanup(func() { udp.Close() })
	go func() {
		for buf := make([]byte, 100); ; {
			_, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			x.reached.Add(1)
			_, _ = udp.WriteTo([]byte("canary"), from)
		}
	}()
	_, udpPort, err := net.SplitHostPort(udp.LocalAddr().String())
	must(err)
	address := "192.0.2.1"
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
				address = n.IP.String()
			}
		}
	}
	x.child = exec.Command("sleep", "600")
	must(x.child.Start())
	t.Cleanup(func() { _ = x.child.Process.Kill(); _ = x.child.Wait() })
	key := 0x5072_0000 + os.Getpid()&0xffff
	shm, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	must(err)
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(shm, unix.IPC_RMID, nil) })
	x.Args = []string{
		"port=" + port, "udp=" + udpPort, "address=" + address, "abstract=" + abstract, "socket=" + socket,
		"marker=" + x.marker, fmt.Sprint("pid=", x.child.Process.Pid), fmt.Sprint("shm=", key),
	}
	// The traps work: from here they are reached.
	for _, to := range [][2]string{{"tcp", "127.0.0.1:" + port}, {"unix", "@" + abstract}, {"unix", socket}, {"udp", udp.LocalAddr().String()}} {
		c, err := net.Dial(to[0], to[1])
		must(err)
		_, err = c.Write([]byte("x"))
		must(err)
		if n, err := c.Read(make([]byte, 6)); n != 6 {
			t.Fatalf("the trap %v does not answer: %v", to, err)
		}
		c.Close()
	}
	x.reached.Store(0)
	x.before = x.outside()
	return x
}

func (x *Trap) outside() map[string]string {
	m := map[string]string{}
	if x.more != nil {
		m = x.more()
	}
	for _, file := range []string{
		x.marker, "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
	} {
		data, _ := os.ReadFile(file)
		m[file] = string(data)
	}
	return m
}

// Check fails the test if somebody got out.
func (x *Trap) Check(t *testing.T, what string) {
	t.Helper()
	if n := x.reached.Swap(0); n != 0 {
		t.Errorf("%s: the host was reached %d times", what, n)
	}
	if err := x.child.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("%s: the host's process: %v", what, err)
	}
	for k, after := range x.outside() {
		if x.before[k] != after {
			t.Errorf("%s: %s was %.300q and is %.300q", what, k, x.before[k], after)
		}
	}
}
