package walls

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/image"
)

// Containers run inside the walls, by each runtime that is here.
func TestContainersRunInside(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "guest"), "./testdata/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
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
}
