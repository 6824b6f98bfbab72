package walls

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/image"
)

// Containers run inside the walls, by each runtime that is here, and leave no
// cgroup.
func TestContainersRunInside(t *testing.T) {
	needRoot(t)
	if testing.Short() {
		t.Skip("builds an image")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/guest", "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	img, digest, err := image.BuildDir(dir, image.Config{Entrypoint: []string{"/guest"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"crun", "runc", "runsc"} {
		t.Run(name, func(t *testing.T) {
			path, ok := container.Find(name)
			if !ok {
				t.Skipf("there is no %s: tools/install.sh", name)
			}
			c := cell{Profile: Profile{Kind: Containers, Show: []string{path}}, told: []string{"runtime=" + path, "digest=" + digest}, input: img}
			if is := c.ends(t, "a container"); is != "done" {
				t.Error(is)
			}
		})
	}
	deadline, _ := t.Deadline()
	for time.Now().Before(deadline) {
		left, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/prytany-%d-*", os.Getpid()))
		if len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond) // they go when the process has, a moment after its last word
	}
	t.Error("cgroups are left")
}
