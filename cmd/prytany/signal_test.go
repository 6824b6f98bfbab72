package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program starts the test binary as prytany, with a home of its own.
func program(t *testing.T, dir string, args ...string) (*exec.Cmd, *words) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "prytany")
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	said := &words{}
	c := exec.Command(bin, args...)
	c.Dir, c.Stderr = dir, said
	c.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "PRYTANY_HOME="+filepath.Join(dir, "home"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c, said
}

// words are what a program has said so far.
type words struct {
	mu   sync.Mutex
	text []byte
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	return len(p), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// ends waits for a process, which must not take long.
func ends(t *testing.T, c *exec.Cmd) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("still there")
		return nil
	}
}

// A network that takes connections and says nothing does not keep anybody: a
// signal ends the wait.
func TestSignalEndsTheWaitForASilentNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "n.json"), []byte(`{"chain":"c","rpc":"http://`+l.Addr().String()+`","trust":{"chain":"c","validators":"`+strings.Repeat("1", 64)+`"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, said := program(t, dir, "func", "list", "--network", "n.json")
	if conn, err := l.Accept(); err != nil {
		t.Fatal(err)
	} else {
		defer conn.Close()
	}
	_ = c.Process.Signal(os.Interrupt)
	if err := ends(t, c); err == nil || !strings.Contains(said.String(), "error[interrupted]") {
		t.Errorf("%v: %s", err, said)
	}
}

// Who stops his own function is not told that this machine cannot run it.
func TestSignalEndsAFunction(t *testing.T) {
	skipInShort(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"prytany.yaml": "name: slow\nversion: 1\nruntime: wasm\nlimits: {gas: 1000G, memory: 64MiB, output: 1MiB, wall: 60s}\n",
		"go.mod":       "module slow\n\ngo 1.26\n",
		"main.go":      "package main\n\nfunc main() {\n\tfor {\n\t}\n}\n",
		"in.txt":       "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, said := program(t, dir, "func", "test", ".", "--input", "in.txt")
	for tries := 0; !strings.Contains(said.String(), "running slow 1"); tries++ {
		if tries == 600 {
			t.Fatalf("never ran: %s", said)
		}
		time.Sleep(100 * time.Millisecond)
	}
	_ = c.Process.Signal(os.Interrupt)
	if err := ends(t, c); err == nil || !strings.Contains(said.String(), "error[interrupted]") {
		t.Errorf("%v: %s", err, said)
	}
}

// What cannot be interrupted, such as reading a pipe into which nobody writes,
// a second signal ends.
func TestSecondSignalKills(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	c, _ := program(t, dir, "key", "new", "--passphrase-file", pipe)
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case err := <-done:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("%v", err)
			}
			return
		case <-time.After(300 * time.Millisecond): // the first may come before anybody listens for it
			_ = c.Process.Signal(os.Interrupt)
		case <-deadline:
			t.Fatal("still there")
		}
	}
}
