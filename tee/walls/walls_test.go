package walls

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// program is the test binary, static.
var program = sync.OnceValues(func() (string, error) {
	if !withC {
		return os.Executable()
	}
	dir, err := os.MkdirTemp("", "walls")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "test", "-c", "-o", dir+"/walls.test", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir + "/walls.test", nil
})

// A cell is a prisoner in walls.
type cell struct {
	Profile
	without string   // the wall that is left out
	told    []string // NAME=value
	input   []byte
}

// start puts code into a cell.
func (c cell) start(t testing.TB, what string) (cmd *exec.Cmd, in io.WriteCloser, out io.ReadCloser) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd = &exec.Cmd{Path: path, Args: append([]string{prisonerName, what, c.without}, c.told...)}
	in, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := Start(cmd, c.Profile); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

// ends says in a word how what was tried in a cell has ended.
func (c cell) ends(t testing.TB, what string) string {
	t.Helper()
	cmd, in, out := c.start(t, what)
	go func() { _, _ = in.Write(c.input); in.Close() }()
	said, _ := io.ReadAll(out)
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		if status.Signal() == unix.SIGSYS {
			return "killed"
		}
		return status.Signal().String()
	}
	return strings.TrimSpace(string(said))
}

// world is what there is on the host to be reached.
func world(t *testing.T) []string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	victim := exec.Command("sleep", "1000")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = victim.Process.Kill(); _ = victim.Wait() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	abstract := fmt.Sprintf("prytany-walls-%d", os.Getpid())
	a, err := net.Listen("unix", "@"+abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	// A directory that another program left open, for whoever is started.
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return []string{
		"secret=" + secret, fmt.Sprintf("pid=%d", victim.Process.Pid),
		fmt.Sprintf("port=%d", l.Addr().(*net.TCPAddr).Port), "abstract=" + abstract,
	}
}

func TestExplore(t *testing.T) {
	w := world(t)
	for name := range attempts {
		a := cell{Profile: Profile{Kind: Modules}, told: w}.ends(t, name)
		b := cell{Profile: Profile{Kind: Modules}, told: w, without: seccomp}.ends(t, name)
		c := cell{Profile: Profile{Kind: Containers}, told: w}.ends(t, name)
		fmt.Printf("{%q, %q, %q, %q},\n", name, a, b, c)
	}
	for name := range chores {
		fmt.Printf("%q %q\n", name, cell{Profile: Profile{Kind: Modules}, told: []string{fmt.Sprintf("processors=%d", runtime.GOMAXPROCS(0))}, input: bytes.Clone(nil)}.ends(t, name))
	}
}

// All walls stand here, and say so.
func TestTry(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for kind, walls := range map[Kind]int{Modules: len(steps), Containers: len(steps) - 1} {
		s, err := Try(t.Context(), path, Profile{Kind: kind})
		t.Log(s)
		if err != nil || len(s.Walls) != walls {
			t.Errorf("%s: %d walls: %v", kind, len(s.Walls), err)
		}
	}
}
