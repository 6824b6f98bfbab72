// Package enginetest starts container engines that speak the Docker Engine API
// for tests: one of the test's own, with all that it keeps in a directory that
// goes with the test.
package enginetest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// engines are the programs, and how each starts in a directory.
var engines = map[string]func(dir, socket string) []string{
	"dockerd": func(dir, socket string) []string {
		return []string{
			"--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=overlay2", "--group=root",
			"--data-root=" + filepath.Join(dir, "data"), "--exec-root=" + filepath.Join(dir, "exec"),
			"--pidfile=" + filepath.Join(dir, "pid"), "--host=unix://" + socket,
		}
	},
	"podman": func(dir, socket string) []string {
		return []string{
			"--root=" + filepath.Join(dir, "data"), "--runroot=" + filepath.Join(dir, "exec"), "--tmpdir=" + filepath.Join(dir, "tmp"),
			"--storage-driver=overlay", "--cgroup-manager=cgroupfs",
			"--runtime=runc", // Debian's crun wants one version of cgroups alone
			"system", "service", "--time=0", "unix://" + socket,
		}
	},
}

// Each runs a test with every engine that is here, and leaves out with a word
// those that are not.
func Each(t *testing.T, test func(t *testing.T, socket string)) {
	for name := range engines {
		t.Run(name, func(t *testing.T) { test(t, start(t, name)) })
	}
}

func start(t *testing.T, name string) (socket string) {
	program, err := exec.LookPath(name)
	if err != nil || os.Geteuid() != 0 {
		t.Skipf("no %s here, or not root. To have it: tools/install.sh", name)
	}
	// Not t.TempDir, whose name may be too long for a socket.
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "socket")
	cmd := exec.Command(program, engines[name](dir, socket)...)
	cmd.Dir = dir // podman's monitor leaves a file where it stands
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	last := func() string {
		lines := strings.Split(log.String(), "\n")
		return strings.Join(lines[max(0, len(lines)-15):], "\n")
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Log(last())
		}
		_ = unix.Unmount(filepath.Join(dir, "data", "overlay"), unix.MNT_DETACH) // podman leaves it
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for range 200 {
		if answers(socket) {
			return socket
		}
		select {
		case <-ended:
			t.Skipf("%s does not start here: %s", name, last())
		case <-time.After(50 * time.Millisecond):
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	t.Skipf("%s does not answer: %s", name, last())
	return ""
}

func answers(socket string) bool {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	r, err := c.Get("http://engine/_ping")
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}
