package enginetest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
)

// Limits are enough for all that a test does not want to fail.
var Limits = sandbox.Limits{Gas: sandbox.MaxGas, MemoryBytes: 256 << 20, OutputBytes: 1 << 20, LogBytes: 4096, Wall: 60 * time.Second}

// guest is an image with nothing but one program in it, and its digest.
type guest struct {
	once   sync.Once
	bytes  []byte
	digest string
	err    error
}

var guests sync.Map // by the directory of the program

func (g *guest) build(source string) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		g.err = err
		return
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "guest"), "./"+source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		g.err = fmt.Errorf("%w: %s", err, out)
		return
	}
	g.bytes, g.digest, g.err = image.BuildDir(dir, image.Config{Entrypoint: []string{"/guest"}, Cmd: []string{"nothing"}})
}

// Job runs the guest, whose source is in a directory, with some arguments.
func Job(t testing.TB, source string, args ...string) sandbox.Job {
	t.Helper()
	kept, _ := guests.LoadOrStore(source, &guest{})
	g := kept.(*guest)
	g.once.Do(func() { g.build(source) })
	if g.err != nil {
		t.Fatal(g.err)
	}
	return sandbox.Job{
		Image: g.bytes, Digest: g.digest, Args: append([]string{"/guest"}, args...),
		Inputs: []sandbox.File{{Name: "input", Data: []byte("hello")}}, Limits: Limits,
	}
}

// Output is one of the files that a run has given, or nothing.
func Output(res sandbox.Result, name string) string {
	for _, f := range res.Outputs {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// Attempts reads the names of what the guest can try off its source, so that none is
// forgotten here.
func Attempts(t *testing.T, guest string) (names []string) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(guest, "attempts.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(src), "var attempts = map[string]func() error{\n")
	table, _, _ = strings.Cut(table, "\n}\n")
	for line := range strings.Lines(table) {
		if name, ok := strings.CutPrefix(line, "\t\""); ok {
			name, _, _ = strings.Cut(name, "\"")
			names = append(names, name)
		}
	}
	return names
}

// Search lists the files below some directories that changed since then and
// hold one of the markers.
func Search(since time.Time, markers [][]byte, places []string) (found []string) {
	for _, place := range places {
		_ = filepath.WalkDir(place, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			changed := info.Sys().(*syscall.Stat_t).Ctim
			if time.Unix(changed.Unix()).Before(since.Add(-time.Second)) || info.Size() > 64<<20 {
				return nil
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return nil
			}
			for _, m := range markers {
				if bytes.Contains(data, m) {
					found = append(found, p)
					return nil
				}
			}
			return nil
		})
	}
	return found
}
