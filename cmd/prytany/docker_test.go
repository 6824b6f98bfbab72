package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox/container"
)

// The picture job on the real stack, with Bob's container run by a Docker engine
// that the test starts itself.
func TestDemoByDocker(t *testing.T) {
	skipInShort(t)
	images, err := imagesDir()
	if err != nil {
		t.Skip(err)
	}
	if _, err := os.Stat(filepath.Join(images, "python-pillow.tar")); err != nil {
		t.Skipf("no image for it: %v. To have it: tools/install.sh", err)
	}
	dockerd, ok := container.Find("dockerd")
	if !ok || os.Geteuid() != 0 {
		t.Skip("no dockerd here, or not root. To have it: install the Debian package docker.io")
	}
	dir := t.TempDir()
	prytany := filepath.Join(dir, "prytany") // static, to be the init of the container
	build := exec.Command("go", "build", "-buildvcs=false", "-o", prytany, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	socket := filepath.Join(dir, "docker.sock")
	log, err := os.Create(filepath.Join(dir, "dockerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	engine := exec.Command(dockerd, "--iptables=false", "--ip6tables=false", "--bridge=none", "--group=root",
		"--data-root="+filepath.Join(dir, "data"), "--exec-root="+filepath.Join(dir, "exec"),
		"--pidfile="+filepath.Join(dir, "pid"), "--host=unix://"+socket)
	engine.Stdout, engine.Stderr = log, log
	if err := engine.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = engine.Process.Signal(os.Interrupt)
		_ = engine.Wait()
	})
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	for tries := 0; ; tries++ {
		out, _ := exec.Command(prytany, "doctor").Output()
		if strings.Contains(string(out), "ok       runtime docker") {
			break
		}
		if tries == 100 {
			said, _ := os.ReadFile(log.Name())
			t.Skipf("dockerd does not start here:\n%s", said)
		}
		time.Sleep(100 * time.Millisecond)
	}
	out, err := exec.Command(prytany, "demo", "--runtime", "docker", "--out", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "out.png is bit for bit what the function gives") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(prytany, "verify", filepath.Join(dir, "receipt.cbor")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
