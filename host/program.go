package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// The enclave programs, by the names of their commands.
const (
	EnclaveProgram = "prytany-enclave"
	DockerProgram  = "prytany-enclave-docker" // of docker functions
)

// EnclaveMissing is the error's code when a program is nowhere to be found.
const EnclaveMissing = "enclave-missing"

// modulePath is this module's, as its go.mod says it.
const modulePath = "github.com/prytany/prytany"

// Programs says where the enclave programs are. They are looked for beside the running
// program, in what it carries, and as source, which is built. The zero value is for a
// program that carries none.
type Programs struct {
	// Beside is the directory that is looked into first. Empty: that of the running
	// program.
	Beside string
	// Carried has each program as embedded/NAME, and its digest as embedded/NAME.sha256.
	// Nil: none is carried.
	Carried fs.FS
	// Source is the root of this module's source. Empty: where this program was built
	// from, if that is still there.
	Source string
	// Notice hears of a build before it begins. Nil: nobody does.
	Notice func(Notice)
}

func (p Programs) beside() string {
	if p.Beside != "" {
		return p.Beside
	}
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	return filepath.Dir(self)
}

func (p Programs) source() (string, bool) {
	if p.Source != "" {
		return p.Source, isSource(p.Source)
	}
	return sourceRoot()
}

// Origin is where an enclave program is: in a file, in this program, or still
// as source code.
type Origin struct {
	from Programs
	name string
	file string // a path
	sum  string // in this program: what its SHA-256 must be
	root string // of this module's source
}

func (o Origin) String() string {
	switch {
	case o.file != "":
		return o.file
	case o.root != "":
		return "built from " + o.root
	}
	return "in this program"
}

// Locate finds an enclave program.
func (p Programs) Locate(name string) (Origin, error) {
	o := Origin{from: p, name: name}
	beside := p.beside()
	path := filepath.Join(beside, name)
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
		o.file = path
		return o, nil
	}
	if p.Carried != nil {
		if raw, err := fs.ReadFile(p.Carried, "embedded/"+name+".sha256"); err == nil {
			o.sum, _, _ = strings.Cut(string(raw), " ")
			return o, nil
		}
	}
	if root, ok := p.source(); ok {
		o.root = root
		return o, nil
	}
	return o, task.Refuse(EnclaveMissing, "there is no %s beside this program, in %s", name, beside).
		WithNext("go build -o %s %s/cmd/%s", task.ShellWord(path), modulePath, name)
}

// File is the path of a program that is a file, or that is built now; empty if it is
// carried.
func (o Origin) File(ctx context.Context) (string, error) {
	if o.file != "" || o.root == "" {
		return o.file, nil
	}
	dir, err := buildEnclaves(ctx, o.root, o.from.Notice)
	return filepath.Join(dir, o.name), err
}

// Load reads the program into memory, and builds it before if it must.
func (o Origin) Load(ctx context.Context) (*tee.Program, error) {
	path, err := o.File(ctx)
	if err != nil {
		return nil, err
	}
	if path != "" {
		return tee.LoadFile(path)
	}
	f, err := o.from.Carried.Open("embedded/" + o.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := tee.Load(o.name, f)
	if err == nil && p.Measurement.String() != o.sum {
		err = errors.Join(fmt.Errorf("%s in this program has measurement %s, and was built with %s", o.name, p.Measurement, o.sum), p.Close())
	}
	return p, err
}

// Find finds an enclave program and reads it into memory.
func (p Programs) Find(ctx context.Context, name string) (*tee.Program, error) {
	o, err := p.Locate(name)
	if err != nil {
		return nil, err
	}
	return o.Load(ctx)
}

// sourceRoot is where this module's source is: where this program was built
// from, if that is still there. Not the working directory, in which anything
// may lie; and a build with -trimpath, as releases are, knows of none.
func sourceRoot() (string, bool) {
	_, file, _, ok := runtime.Caller(0)
	root := filepath.Dir(filepath.Dir(file))
	return root, ok && filepath.IsAbs(file) && isSource(root)
}

func isSource(root string) bool {
	raw, err := disk.ReadFile(filepath.Join(root, "go.mod"), disk.MaxSetting)
	if err != nil || !strings.HasPrefix(string(raw), "module "+modulePath+"\n") {
		return false
	}
	_, err = os.Stat(filepath.Join(root, "cmd", EnclaveProgram, "main.go"))
	return err == nil
}

// enclaveFlags make the programs the same, bit for bit, wherever and by whomever
// they are built.
var enclaveFlags = []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}

// enclaveEnv is what else a build depends on. What the user has set for other
// builds is no part of this one. (An empty value would let `go env -w` speak,
// and GOEXPERIMENT has no word for its default.)
var enclaveEnv = []string{
	"CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off",
	"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH, "GOAMD64=v1", "GOARM64=v8.0",
}

// buildEnclaves builds the enclave programs into this user's cache, unless they
// are there for this source and this toolchain, and returns the directory.
func buildEnclaves(ctx context.Context, root string, notice func(Notice)) (string, error) {
	missing := func(err error, what string) error {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = errors.New(strings.TrimSpace(string(exit.Stderr)))
		}
		return task.Refuse(EnclaveMissing, "%s: %v", what, err).WithNext("cd %s && make build, and run bin/prytany", task.ShellWord(root))
	}
	tool := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, "go", args...)
		c.Dir, c.Env = root, append(os.Environ(), enclaveEnv...)
		return c
	}
	version, err := tool("env", "GOVERSION").Output() // the toolchain that go.mod asks for
	if err != nil {
		return "", missing(err, "the enclave programs are not built, and Go is not there to build them")
	}
	key, err := sourceKey(root, string(version))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	all := filepath.Join(cache, "prytany", "enclave")
	dir := filepath.Join(all, key)
	now := time.Now()
	if os.Chtimes(dir, now, now) == nil {
		return dir, nil
	}
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(all, "part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	if notice != nil {
		notice(Building{Source: root})
	}
	args := append([]string{"build", "-o", part + string(filepath.Separator)}, enclaveFlags...)
	if _, err := tool(append(args, "./cmd/"+EnclaveProgram, "./cmd/"+DockerProgram)...).Output(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", missing(err, "the enclave programs cannot be built")
	}
	// Another process may have been as fast; what it built is the same.
	if err := os.Rename(part, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, forget(all, 4)
}

// forget removes all builds but the last used.
func forget(all string, keep int) error {
	list, err := os.ReadDir(all)
	if err != nil {
		return err
	}
	used := func(e fs.DirEntry) time.Time {
		i, err := e.Info()
		if err != nil {
			return time.Time{}
		}
		return i.ModTime()
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return used(b).Compare(used(a)) })
	for _, e := range list[min(keep, len(list)):] {
		if strings.HasPrefix(e.Name(), "part-") && time.Since(used(e)) < time.Hour {
			continue // somebody is at it
		}
		if err := os.RemoveAll(filepath.Join(all, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sourceKey names what is built from the module's source by a toolchain: a
// digest of every file that could be a part of it, embedded ones too. It is
// quicker than asking the toolchain, which would link anew to answer.
func sourceKey(root, version string) (string, error) {
	d := sha256.New()
	fmt.Fprintln(d, version, enclaveFlags, enclaveEnv)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() {
			// Of these the toolchain takes nothing, or there is nothing in them for it.
			if path != root && (name[0] == '.' || slices.Contains([]string{"testdata", "bin", "docs", "spec", "embedded"}, name)) {
				return fs.SkipDir
			}
			return nil
		}
		outside := filepath.Dir(path) == root && name != "go.mod" && name != "go.sum"
		if outside || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".md") || !e.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		one := sha256.New()
		if _, err := io.Copy(one, f); err != nil {
			return err
		}
		fmt.Fprintf(d, "%x %s\n", one.Sum(nil), rel)
		return nil
	})
	return fmt.Sprintf("%x", d.Sum(nil)[:16]), err
}
