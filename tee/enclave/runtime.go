package enclave

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// A Runner runs jobs by one technology (spec §9.3).
type Runner interface {
	Run(ctx context.Context, job sandbox.Job) (sandbox.Result, error)
}

// A Runtime is a technology that an enclave program has in it.
type Runtime struct {
	// Open opens what a function runs in, and says how to close it.
	Open func(ctx context.Context, m task.Manifest, h tee.Host) (r Runner, done func(), err error)
	// Simulated says that it shows the plaintext to somebody outside of the
	// enclave. A program that has such a runtime quotes by the simulated platform
	// and no other.
	Simulated bool
}

// Runtimes are all that a program has, by the manifest's names of them.
type Runtimes map[string]Runtime

// Standard are the runtimes that keep the plaintext in the enclave.
func Standard() Runtimes {
	return Runtimes{
		task.RuntimeWasm: {Open: func(ctx context.Context, _ task.Manifest, _ tee.Host) (Runner, func(), error) {
			w, err := sandbox.NewWasm(ctx)
			return w, func() { _ = w.Close(ctx) }, err
		}},
		task.RuntimePython: {Open: func(ctx context.Context, m task.Manifest, h tee.Host) (Runner, func(), error) {
			return interpreter(ctx, h.Cache, m.Image.Digest)
		}},
		task.RuntimeOCI: {Open: func(ctx context.Context, _ task.Manifest, h tee.Host) (Runner, func(), error) {
			k, err := container.New(ctx, container.Config{Runtimes: h.OCI})
			return k, func() { _ = k.Close() }, err
		}},
	}
}

// quotes says whether a program with these runtimes may quote by a kind.
func (rs Runtimes) quotes(kind attest.Kind) error {
	for name, r := range rs {
		if r.Simulated && kind != attest.Simulated {
			return fmt.Errorf("this enclave runs %s functions, which it cannot hide from the machine: it quotes by a simulated TEE only, not by %s", name, kind)
		}
	}
	return nil
}

// open opens what a function runs in.
func (rs Runtimes) open(ctx context.Context, m task.Manifest, h tee.Host) (Runner, func(), error) {
	r, ok := rs[m.Runtime]
	if !ok {
		return nil, nil, fmt.Errorf("this enclave has no runtime %q", m.Runtime)
	}
	return r.Open(ctx, m, h)
}

// interpreter opens an engine for a public module, which takes seconds to
// compile: what comes of that is kept for the next enclave, with the host.
func interpreter(ctx context.Context, c tee.Cache, digest string) (Runner, func(), error) {
	sweep(ramDir())
	ram, err := os.MkdirTemp(ramDir(), fmt.Sprintf("%s%d-", compiledPrefix, os.Getpid()))
	if err != nil {
		return nil, nil, err
	}
	kept := file(c, digest)
	found := kept.restore(ram)
	r, err := sandbox.NewWasmCached(ctx, ram)
	return r, func() {
		_ = r.Close(ctx)
		if !found {
			kept.save(ram) // without it the next one compiles again
		}
		_ = os.RemoveAll(ram)
	}, err
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

// ramDir is where files are in memory, if there is such a place.
func ramDir() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// maxCompiled bounds what is read back, in bytes.
const maxCompiled = 512 << 20

// cached is one compiled module in a cache.
type cached struct {
	path string
	key  task.Hash
}

func file(c tee.Cache, digest string) cached {
	if c.Dir == "" || c.Key.IsZero() {
		return cached{}
	}
	key := task.H(task.TagCompiled, c.Key[:], []byte(digest))
	return cached{filepath.Join(c.Dir, key.String()), key}
}

func (c cached) mac(body []byte) []byte {
	m := hmac.New(sha256.New, c.key[:])
	m.Write(body)
	return m.Sum(nil)
}

// module is a file of the engine's own cache.
type module struct {
	Path string `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
}

// restore puts what an earlier enclave of this kind has compiled into a
// directory of this one's; false if there is none that can be trusted.
func (c cached) restore(dir string) bool {
	if st, err := os.Stat(c.path); err != nil || st.Size() > maxCompiled {
		return false
	}
	raw, err := os.ReadFile(c.path)
	if err != nil || len(raw) < sha256.Size || !hmac.Equal(raw[:sha256.Size], c.mac(raw[sha256.Size:])) {
		return false
	}
	m, err := task.Decode[module](raw[sha256.Size:], maxCompiled)
	if err != nil || !filepath.IsLocal(m.Path) {
		return false
	}
	to := filepath.Join(dir, m.Path)
	return os.MkdirAll(filepath.Dir(to), 0o700) == nil && os.WriteFile(to, m.Data, 0o600) == nil
}

// save keeps the one module that an engine has compiled into a directory.
func (c cached) save(dir string) {
	if c.path == "" {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		body := task.Encode(module{rel, data})
		part := fmt.Sprintf("%s.%d", c.path, os.Getpid())
		if err := os.WriteFile(part, append(c.mac(body), body...), 0o600); err != nil {
			return err
		}
		return os.Rename(part, c.path)
	})
}
