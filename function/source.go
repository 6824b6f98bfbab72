// Package function makes a function of a directory: the manifest as a person writes it,
// the code and the image beside it, what it takes as inputs, and what a new one starts
// from. It prints nothing.
package function

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/gas"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
)

// Say is told what takes time, in a line for people. It may be nil.
type Say func(format string, args ...any)

func (s Say) line(format string, args ...any) {
	if s != nil {
		s(format, args...)
	}
}

// Source is a function as its author has it on disk.
type Source struct {
	Manifest task.Manifest // without the image's blob, which publishing makes
	Code     []byte        // private
	Image    []byte        // public; empty if there is none
}

// Plan is a function's manifest, before anything is compiled.
type Plan struct {
	Path     string // of the manifest
	Manifest task.Manifest
	dir      string
	file     manifestFile
}

// ReadPlan reads the manifest in a directory, and checks what can be checked of
// it alone.
func ReadPlan(dir string) (p Plan, err error) {
	p.dir = dir
	var raw []byte
	if p.Path, raw, err = readManifest(dir); err != nil {
		return p, err
	}
	if p.Manifest, p.file, err = Parse(raw); err != nil {
		return p, inFile(err, p.Path)
	}
	if err := p.readSchemas(); err != nil {
		return p, err
	}
	if i := p.Manifest.Image; i == nil || i.Digest != "" && !p.bare() {
		err = p.check(p.Manifest)
	}
	return p, err
}

// bare says whether the command is to be had from the image.
func (p Plan) bare() bool {
	m := p.Manifest
	return m.Image != nil && len(m.Args) == 0 && (m.Runtime == task.RuntimeOCI || m.Runtime == task.RuntimeDocker)
}

func (p Plan) check(m task.Manifest) error {
	if err := m.Check(); err != nil {
		return task.Refuse("manifest-invalid", "%s: %v", p.Path, err).WithNext("prytany func schema")
	}
	return nil
}

// Load reads a function: its manifest and what belongs to it.
func Load(ctx context.Context, dir string, say Say) (Source, error) {
	p, err := ReadPlan(dir)
	if err != nil {
		return Source{}, err
	}
	return p.Load(ctx, say)
}

// Load reads what belongs to a manifest, and compiles Go.
func (p Plan) Load(ctx context.Context, say Say) (s Source, err error) {
	dir, m, f := p.dir, p.Manifest, p.file
	s = Source{Manifest: m}
	if m.Runtime == task.RuntimeWasm {
		s.Code, err = loadModule(ctx, dir, f.Code, say)
	} else {
		s.Code, err = loadLayer(dir, f.Code, f.Image == nil)
	}
	if err != nil || f.Image == nil {
		return s, err
	}
	if len(f.Image.Debian) > 0 {
		s.Image, err = p.packagesImage(ctx, say)
	} else {
		s.Image, err = loadImage(dir, f.Image.File)
	}
	if err != nil {
		return s, err
	}
	digest, err := imageDigest(m, s.Image)
	if err != nil {
		return s, task.Refuse("image-invalid", "%s%s: %v", f.Image.File, strings.Join(f.Image.Debian, " "), err)
	}
	if want := f.Image.Digest; want != "" && want != digest {
		return s, task.Refuse("image-differs", "%s%s is %s; the manifest wants %s", f.Image.File, strings.Join(f.Image.Debian, " "), digest, want).
			WithNext("fetch or build the image again, or put its digest into %s", p.Path)
	}
	s.Manifest.Image.Digest = digest
	if p.bare() { // by value: what runs must not be for an image, or Alice, to say
		if s.Manifest.Args, err = image.Command(s.Image, digest); err != nil {
			return s, task.Refuse("image-invalid", "%s: %v", f.Image.File, err)
		}
		if len(s.Manifest.Args) == 0 {
			return s, task.Refuse("manifest-invalid", "%s names no args, and the image neither Entrypoint nor Cmd: nothing says what runs", p.Path).WithNext("prytany func schema")
		}
		say.line("the command is the image's, since %s names none; args: %q", p.Path, s.Manifest.Args)
	}
	return s, p.check(s.Manifest)
}

// readManifest finds the manifest of a directory.
func readManifest(dir string) (path string, raw []byte, err error) {
	var found []string
	for _, name := range manifestNames {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			found = append(found, name)
		}
	}
	if len(found) > 1 {
		return "", nil, task.Refuse("manifest-invalid", "%s has %s; which of them is meant, nobody can tell", dir, strings.Join(found, " and ")).WithNext("remove all but one")
	}
	if len(found) == 1 {
		path = filepath.Join(dir, found[0])
		if raw, err = disk.ReadFile(path, maxDocument); err != nil {
			err = task.Refuse("manifest-invalid", "%v", err)
		}
		return path, raw, err
	}
	return "", nil, task.Refuse("manifest-missing", "there is none of %s in %s", strings.Join(manifestNames, ", "), dir).WithNext("prytany func init DIR")
}

// inFile puts a file's name before what is wrong in it.
func inFile(err error, path string) error {
	var e *task.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", path, err)
	}
	c := *e
	c.What = path + ": " + e.What
	return &c
}

// loadModule gets a WASM module: the file or the Go source that the manifest
// names, else the source beside the manifest. What func build left of that
// source may be old, so function.wasm counts only where there is none.
func loadModule(ctx context.Context, dir, name string, say Say) ([]byte, error) {
	path := filepath.Join(dir, name)
	if name == "" && !hasProgram(dir) {
		path = filepath.Join(dir, WasmName)
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, task.Refuse("code-missing", "%v", err).WithNext("put a Go program or %s into %s, or name the code as code: in the manifest", WasmName, task.ShellWord(dir))
	}
	if st.IsDir() {
		say.line("compiling %s to WASM", path)
		return BuildGo(ctx, path)
	}
	code, err := disk.ReadFile(path, task.MaxBlob)
	if err != nil {
		return nil, task.Refuse("code-invalid", "%v", err)
	}
	if _, err := gas.Instrument(code); err != nil {
		e := task.Refuse("code-invalid", "%s is no WASM module that can run here: %v", path, err)
		if filepath.Ext(path) == ".go" {
			e = e.WithNext("name the directory of the Go source as code: in the manifest")
		}
		return nil, e
	}
	return code, nil
}

// hasProgram says whether a directory has the source of a Go program.
func hasProgram(dir string) bool {
	files, _ := os.ReadDir(dir)
	return slices.ContainsFunc(files, func(e fs.DirEntry) bool {
		if filepath.Ext(e.Name()) != ".go" || strings.HasSuffix(e.Name(), "_test.go") {
			return false
		}
		raw, err := disk.ReadFile(filepath.Join(dir, e.Name()), task.MaxBlob)
		if err != nil {
			return false
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), raw, parser.PackageClauseOnly)
		return err != nil || f.Name.Name == "main" // what does not parse is for the compiler to explain
	})
}

// loadLayer gets a private layer: a tar as it is, or the files of a directory.
// The function finds these in /code; if it has no image they are all there is,
// and so its root.
func loadLayer(dir, name string, root bool) ([]byte, error) {
	if name == "" {
		name = sandbox.CodeDir
	}
	path := filepath.Join(dir, name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, task.Refuse("code-missing", "%v", err).WithNext("put the code into %s, or name it as code: in the manifest", path)
	}
	var layer []byte
	switch {
	case !st.IsDir():
		layer, err = disk.ReadFile(path, task.MaxBlob)
	case root:
		layer, err = image.Layer(path)
	default:
		layer, err = sandbox.PackLayer(os.DirFS(path))
	}
	if err != nil {
		return nil, task.Refuse("code-invalid", "%s: %v", path, err)
	}
	return layer, nil
}

// inCache marks an image that lies in this user's cache of images.
const inCache = "cache:"

func loadImage(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	if cached, ok := strings.CutPrefix(name, inCache); ok {
		images, err := ImagesDir()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(images, cached)
	}
	raw, err := disk.ReadFile(path, task.MaxBlob)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, task.Refuse("image-missing", "there is no image at %s", path).WithNext("prytany doctor   says how to get it")
	}
	if err != nil {
		return nil, task.Refuse("image-invalid", "%v", err)
	}
	return raw, nil
}

// ImagesDir is where fetched and built images are.
func ImagesDir() (string, error) {
	h, err := os.UserCacheDir()
	return filepath.Join(h, "prytany", "images"), err
}

// imageDigest is the name that a runtime knows an image by.
func imageDigest(m task.Manifest, raw []byte) (string, error) {
	if m.Runtime == task.RuntimePython {
		return fmt.Sprintf("sha256:%x", sha256.Sum256(raw)), nil
	}
	return image.Digest(raw)
}

// LayerName is what code that is no module is packed into.
const LayerName = "function.tar"

// WasmName is a function's compiled code, if its author brings it.
const WasmName = "function.wasm"

// BuildGo compiles the Go program in dir to WASI preview 1.
func BuildGo(ctx context.Context, dir string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "prytany-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "function.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, task.Refuse("go-missing", "the Go toolchain is needed to compile %s, and is not there", dir).WithNext("prytany doctor")
		}
		return nil, task.Refuse("build-failed", "go build in %s: %v\n%s", dir, err, text)
	}
	code, err := disk.ReadFile(out, task.MaxBlob)
	if err == nil {
		_, err = gas.Instrument(code)
	}
	if err != nil {
		return nil, task.Refuse("code-invalid", "what go build made of %s: %v", dir, err).WithNext("the package must be a program: package main")
	}
	return code, nil
}

// BuildImage makes a public image of a root file system, a directory or a tar of one:
// the same bytes for the same files.
func BuildImage(rootfs string, c image.Config) ([]byte, string, error) {
	f, err := os.Open(rootfs)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return image.BuildDir(rootfs, c)
	}
	return image.Build(f, c)
}
