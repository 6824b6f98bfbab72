package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prytany/prytany/examples"
	"github.com/prytany/prytany/task"
)

// manifestName is the file beside a function's source.
const manifestName = "prytany.json"

// manifestFile is the manifest as a person writes it, with units.
type manifestFile struct {
	Name        string     `json:"name"`
	Version     string     `json:"version"`
	Description string     `json:"description"`
	Runtime     string     `json:"runtime"`
	Args        []string   `json:"args"`
	Limits      limitsFile `json:"limits"`
	Royalty     string     `json:"royalty"`
}

type limitsFile struct {
	Gas    string `json:"gas"`    // instructions: "20G"
	Memory string `json:"memory"` // bytes: "256MiB"
	Output string `json:"output"`
	Wall   string `json:"wall"` // a duration: "60s"
}

// parseManifest reads a manifest file; unknown fields are errors, since a
// misspelt limit would be no limit.
func parseManifest(raw []byte) (task.Manifest, error) {
	var f manifestFile
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	bad := func(format string, args ...any) (task.Manifest, error) {
		return task.Manifest{}, task.Refuse("manifest-invalid", format, args...).WithNext("prytany func init --help")
	}
	if err := d.Decode(&f); err != nil {
		return bad("%s: %v", where(raw, d.InputOffset()), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return bad("%s: something follows the manifest", where(raw, d.InputOffset()))
	}
	m := task.Manifest{Name: f.Name, Version: f.Version, Description: f.Description, Runtime: f.Runtime, Args: f.Args}
	var err error
	for _, q := range []struct {
		field, text string
		to          *uint64
	}{{"gas", f.Limits.Gas, &m.Limits.Gas}, {"memory", f.Limits.Memory, &m.Limits.MemoryBytes}, {"output", f.Limits.Output, &m.Limits.OutputBytes}} {
		if *q.to, err = parseQuantity(q.text); err != nil {
			return bad("limits.%s: %v", q.field, err)
		}
	}
	wall, err := time.ParseDuration(f.Limits.Wall)
	if err != nil || wall <= 0 {
		return bad("limits.wall: %q is no time such as \"60s\"", f.Limits.Wall)
	}
	m.Limits.WallMillis = uint64(wall.Milliseconds())
	if f.Royalty != "" {
		if m.Royalty, err = task.ParseAmount(f.Royalty); err != nil {
			return bad("royalty: %v", err)
		}
	}
	return m, nil
}

// where turns an offset into line and column.
func where(raw []byte, offset int64) string {
	head := raw[:min(int(offset), len(raw))]
	line := bytes.Count(head, []byte("\n")) + 1
	col := len(head) - bytes.LastIndexByte(head, '\n')
	return "line " + strconv.Itoa(line) + ", column " + strconv.Itoa(col)
}

var units = []struct {
	suffix string
	factor uint64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"", 1},
}

// parseQuantity reads a whole number with an optional unit.
func parseQuantity(s string) (uint64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
		if err != nil {
			break
		}
		if hi, lo := bits.Mul64(n, u.factor); hi == 0 && lo > 0 {
			return lo, nil
		}
		break
	}
	return 0, errors.New(strconv.Quote(s) + ` is no amount such as "20G" or "256MiB"`)
}

// buildGo compiles the Go program in dir to WASI preview 1.
func buildGo(ctx context.Context, dir string) ([]byte, error) {
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
	return os.ReadFile(out)
}

// unpackExample writes the sources of the examples, as a module of their own.
func unpackExample(dir string) error {
	err := fs.WalkDir(examples.Sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(examples.Sources, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, "examples", path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, raw, 0o644)
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module github.com/prytany/prytany\n\ngo 1.26\n"), 0o644)
}

// buildExample compiles one of the examples that this program carries.
func buildExample(ctx context.Context, name string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "prytany-example-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := unpackExample(dir); err != nil {
		return nil, err
	}
	return buildGo(ctx, filepath.Join(dir, "examples", name))
}

// exampleManifest is the manifest of an example.
func exampleManifest(name string) (task.Manifest, error) {
	raw, err := fs.ReadFile(examples.Sources, name+"/"+manifestName)
	if err != nil {
		return task.Manifest{}, err
	}
	return parseManifest(raw)
}

func exampleArgs(name string) []string {
	m, _ := exampleManifest(name)
	return m.Args
}
