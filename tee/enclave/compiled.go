package enclave

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/sandbox/wasm"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// compile does a compile job, in a process that does nothing else: it has no task,
// no key and no platform, and runs nothing of the module. What it makes goes to
// the node, which may bring it to others or may not; they look for themselves
// whether it is what it should be.
func compile(ctx context.Context, module []byte) (encoded []byte, err error) {
	w, dir, done, err := engine(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := w.Compile(ctx, module); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		encoded = task.Encode(tee.Compiled{Name: name, Data: data})
		return fs.SkipAll
	})
	if err == nil && (encoded == nil || len(encoded) > tee.MaxCompiled) {
		err = errors.New("there is nothing to keep of this module, or too much")
	}
	return encoded, err
}

// interpreter opens an engine for one of the interpreters, and spares it the
// compilation if compiled is what that makes.
func interpreter(ctx context.Context, known tee.Interpreters, digest string, compiled []byte) (Runner, func(), error) {
	if !known.Has(digest, compiled) {
		return module(ctx)
	}
	w, dir, done, err := engine(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := restore(dir, compiled); err != nil {
		done()
		return nil, nil, err
	}
	return w, done, nil
}

// module opens an engine that keeps nothing.
func module(ctx context.Context) (Runner, func(), error) {
	w, err := wasm.New(ctx)
	return w, func() { _ = w.Close(ctx) }, err
}

// restore puts compiled code where the engine looks for it.
func restore(dir string, encoded []byte) error {
	c, err := task.Decode[tee.Compiled](encoded, tee.MaxCompiled)
	if err != nil {
		return err
	}
	if !filepath.IsLocal(c.Name) {
		return fmt.Errorf("%q leads out of the engine's directory", c.Name)
	}
	to := filepath.Join(dir, c.Name)
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, c.Data, 0o600))
}

// engine opens one that keeps what it compiles in a directory of this process's.
func engine(ctx context.Context) (w *wasm.Engine, dir string, done func(), err error) {
	sweep(scratch())
	dir, err = os.MkdirTemp(scratch(), fmt.Sprintf("%s%d-", compiledPrefix, os.Getpid()))
	if err != nil {
		return nil, "", nil, err
	}
	if w, err = wasm.NewCached(ctx, dir); err != nil {
		return nil, "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return w, dir, func() {
		_ = w.Close(ctx)
		_ = os.RemoveAll(dir)
	}, nil
}

// scratch is the one place for files of the enclave's own: in memory, if there
// is such a place.
func scratch() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// compiledPrefix begins the name of an enclave's directory of what it compiles,
// and its process id follows.
const compiledPrefix = "prytany-compiled-"

// sweep removes the directories of enclaves that were killed: each has a whole
// compiled interpreter in memory.
func sweep(dir string) {
	old, _ := filepath.Glob(filepath.Join(dir, compiledPrefix+"*-*"))
	for _, path := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), compiledPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			_ = os.RemoveAll(path)
		}
	}
}
