package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts are shell sessions that double as documentation of the command
// line. exits N COMMAND runs a command that must end with exit code N; await
// FILE waits until a file is there and is not empty; the others are below.
func TestScripts(t *testing.T) {
	skipInShort(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			port, err := freePort()
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("RPC", fmt.Sprintf("127.0.0.1:%d", port))
			e.Setenv("NO_COLOR", "1")
			e.Setenv(builtPrograms, os.Getenv(builtPrograms))
			for _, k := range []string{"PATH", "GOCACHE", "GOMODCACHE", "GOPATH", "GOFLAGS"} {
				if v := os.Getenv(k); v != "" && k != "PATH" {
					e.Setenv(k, v)
				}
			}
			if home, err := os.UserHomeDir(); err == nil && os.Getenv("GOCACHE") == "" {
				e.Setenv("GOCACHE", filepath.Join(home, ".cache", "go-build"))
			}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "await": await, "flip": flip, "mkfifo": mkfifo, "until": until, "capture": capture},
	})
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if (got == want) == neg {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	for range 600 {
		if raw, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && len(bytes.TrimSpace(raw)) > 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s never came", args[0])
}

func mkfifo(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// until runs a command again and again, until its output matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for range 600 {
		if ts.Exec(args[1], args[2:]...) == nil && want.MatchString(ts.ReadFile("stdout")+ts.ReadFile("stderr")) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s never came", args[0])
}

// capture sets a variable to what the last output has in the parentheses.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("no %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// flip changes one bit in the middle of a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	raw[len(raw)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o644))
}
