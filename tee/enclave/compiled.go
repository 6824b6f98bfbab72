package enclave

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/gas"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"golang.org/x/sys/cpu"
)

// engine is the one that compiles, at the version of go.mod.
const engine = "wazero v1.12.0"

// compiled is what becomes of an interpreter, which takes seconds to compile:
// sealed, it goes out to the node, which brings it to the next enclave. The node
// can lose it and cannot make it: the key is one that the TEE derives.
type compiled struct {
	platform attest.Quoter // whose key it is, if it derives any
	sealed   []byte        // what an earlier enclave has made, if it is not something else
	made     []byte        // what this one has, if it had to
}

// label says for what a compiled module is good: for nothing but this module,
// rewritten and compiled by just these, for just this processor (spec §9.2.7).
func label(engine string, rewriter int, digest string) task.Hash {
	processor := fmt.Sprintf("%s %+v %+v", runtime.GOARCH, cpu.X86, cpu.ARM64)
	return task.H(task.TagCompiled, []byte(engine), fmt.Append(nil, rewriter), []byte(processor), []byte(digest))
}

// aead seals and opens what was compiled of a module; nil where the TEE derives
// no key.
func (c *compiled) aead(label task.Hash) cipher.AEAD {
	s, ok := c.platform.(tee.Sealer)
	if !ok {
		return nil
	}
	key, err := s.SealingKey(label)
	if err != nil {
		return nil
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil
	}
	return aead
}

// interpreter opens an engine for a public module, with what an earlier enclave
// has compiled of it. What this one compiles is sealed when the engine is closed.
func (c *compiled) interpreter(ctx context.Context, digest string) (Runner, func(), error) {
	sweep(scratch())
	dir, err := os.MkdirTemp(scratch(), fmt.Sprintf("%s%d-", compiledPrefix, os.Getpid()))
	if err != nil {
		return nil, nil, err
	}
	aead := c.aead(label(engine, gas.Version, digest))
	found := aead != nil && restore(aead, c.sealed, dir)
	r, err := sandbox.NewWasmCached(ctx, dir)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, func() {
		_ = r.Close(ctx)
		if aead != nil && !found {
			c.made = save(aead, dir) // without it the next one compiles again
		}
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

// module is a file of the engine's own cache.
type module struct {
	Path string `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
}

// restore puts what an earlier enclave has sealed into a directory of this
// one's; false if that cannot be opened by its key.
func restore(aead cipher.AEAD, sealed []byte, dir string) bool {
	if len(sealed) > tee.MaxCompiled {
		return false
	}
	raw, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return false
	}
	m, err := task.Decode[module](raw, tee.MaxCompiled)
	if err != nil || !filepath.IsLocal(m.Path) {
		return false
	}
	to := filepath.Join(dir, m.Path)
	return os.MkdirAll(filepath.Dir(to), 0o700) == nil && os.WriteFile(to, m.Data, 0o600) == nil
}

// save seals the one module that an engine has compiled into a directory; nil
// if there is none, or it is too long.
func save(aead cipher.AEAD, dir string) (sealed []byte) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".tmp") { // the engine is still at it
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
		if body := task.Encode(module{rel, data}); len(body)+aead.Overhead() <= tee.MaxCompiled {
			sealed = aead.Seal(nil, nil, body, nil)
		}
		return fs.SkipAll
	})
	return sealed
}
