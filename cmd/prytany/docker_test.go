// It starts engines, which takes minutes: by name, and a step of .ci/run.

//go:build engines

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/sandbox/container/enginetest"
)

// The picture job on the real stack, with Bob's container run by a Docker engine
// that the test starts itself.
func TestDemoByDocker(t *testing.T) {
	skipInShort(t)
	images, err := function.ImagesDir()
	if err != nil {
		t.Skip(err)
	}
	if _, err := os.Stat(filepath.Join(images, "python-pillow.tar")); err != nil {
		t.Skipf("no image for it: %v. To have it: tools/install.sh", err)
	}
	prytany := filepath.Join(t.TempDir(), "prytany") // static, to be the init of the container
	build := exec.Command("go", "build", "-buildvcs=false", "-o", prytany, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	enginetest.Each(t, func(t *testing.T, socket string) {
		dir := t.TempDir()
		t.Setenv("DOCKER_HOST", "unix://"+socket)
		t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
		if out, _ := exec.Command(prytany, "doctor").Output(); !strings.Contains(string(out), "ok       runtime docker ") {
			t.Errorf("doctor does not see the engine:\n%s", out)
		}
		out, err := exec.Command(prytany, "demo", "--runtime", "docker", "--out", dir).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "out.png is bit for bit what the function gives") {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.Contains(string(out), "as run --accept docker does: the function is run by an engine of the host's") {
			t.Errorf("what Alice accepts is not said:\n%s", out)
		}
		if out, err := exec.Command(prytany, "verify", filepath.Join(dir, "receipt.cbor")).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
