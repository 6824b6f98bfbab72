package function

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prytany/prytany/examples"
	"github.com/prytany/prytany/task"
)

// templates are what a function may start from: examples that this program carries.
var templates = []struct{ name, example string }{
	{"go-wasm", "hello"}, {"python", "python"}, {"python-container", "pillow"}, {"python-packages", "packages"}, {"container", "container"},
	{"validation", "validation"},
}

// Templates are their names.
func Templates() string {
	var names []string
	for _, t := range templates {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

// Init begins a function in a directory that is empty or not there, from a template.
func Init(dir, template string) error {
	i := slices.IndexFunc(templates, func(t struct{ name, example string }) bool { return t.name == template })
	if i < 0 {
		return usage("--template: %q is none of %s", template, Templates())
	}
	if dir == "" {
		return usage("prytany func init takes DIR, and was given an empty name")
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return task.Refuse("dir-not-empty", "%s is not empty", dir).WithNext("prytany func init ANOTHER-DIR")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usage("DIR: %v", err)
	}
	tmp, err := os.MkdirTemp("", "prytany-init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := unpackExample(tmp); err != nil {
		return err
	}
	from := filepath.Join(tmp, "examples", templates[i].example)
	name := functionName(dir, templates[i].example)
	if err := renameFunction(from, name); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		return err
	}
	if template == "go-wasm" {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+name+"\n\ngo 1.26\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// functionName is a directory's own name, if it will do for a function and for
// a module of Go's.
func functionName(dir, otherwise string) string {
	path, err := filepath.Abs(dir)
	if name := filepath.Base(path); err == nil && plainName.MatchString(name) {
		return name
	}
	return otherwise
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// renameFunction writes a function's name into the manifest of an example.
func renameFunction(dir, name string) error {
	path, raw, err := readManifest(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(path, nameField.ReplaceAll(raw, []byte("${1}"+name+"${2}")), 0o644)
}

var nameField = regexp.MustCompile(`(?m)^(\s*"name": "|name: )[^"\n]*("?)`)

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

// LoadExample loads one of the examples that this program carries.
func LoadExample(ctx context.Context, name string, say Say) (Source, error) {
	dir, err := os.MkdirTemp("", "prytany-example-")
	if err != nil {
		return Source{}, err
	}
	defer os.RemoveAll(dir)
	if err := unpackExample(dir); err != nil {
		return Source{}, err
	}
	return Load(ctx, filepath.Join(dir, "examples", name), say)
}

// usage is an error of who asks for something that there is not.
func usage(format string, args ...any) *task.Error { return task.Refuse("usage", format, args...) }
