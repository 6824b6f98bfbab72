package enclave

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// The host keeps what an enclave has compiled. It can lose it; it cannot change
// it, and an enclave of another measurement does not believe it.
func TestCacheIsSealed(t *testing.T) {
	c := tee.Cache{Dir: t.TempDir(), Key: task.Hash{1}}
	ram := t.TempDir()
	if err := os.MkdirAll(filepath.Join(ram, "engine"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ram, "engine", "code"), []byte("machine code"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := file(c, "sha256:aa")
	kept.save(ram)
	restored := func(c cached) []byte {
		dir := t.TempDir()
		if !c.restore(dir) {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(dir, "engine", "code"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if got := restored(kept); string(got) != "machine code" {
		t.Fatalf("%q", got)
	}
	raw, err := os.ReadFile(kept.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if err := os.WriteFile(kept.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if restored(kept) != nil {
			t.Fatalf("byte %d changed, and it was believed", i)
		}
	}
	if err := os.WriteFile(kept.path, raw[:20], 0o600); err != nil || restored(kept) != nil {
		t.Error("a short one was believed", err)
	}
	// Moved to where another enclave, or another interpreter, looks.
	for name, other := range map[string]cached{
		"another measurement": file(tee.Cache{Dir: c.Dir, Key: task.Hash{2}}, "sha256:aa"),
		"another interpreter": file(c, "sha256:bb"),
	} {
		if err := os.WriteFile(other.path, raw, 0o600); err != nil || restored(other) != nil {
			t.Errorf("%s: it was believed (%v)", name, err)
		}
	}
	if restored(file(tee.Cache{Dir: c.Dir}, "sha256:aa")) != nil {
		t.Error("a platform without a key has a cache")
	}
}

// An enclave that is killed leaves what it has compiled. The next one removes
// it, and nothing of those that live.
func TestKilledEnclavesAreSweptUp(t *testing.T) {
	dir := t.TempDir()
	dead, alive := filepath.Join(dir, compiledPrefix+"4194305-x"), filepath.Join(dir, fmt.Sprintf("%s%d-x", compiledPrefix, os.Getpid()))
	for _, d := range []string{dead, alive} { // no process id is over 2^22
		if err := os.MkdirAll(filepath.Join(d, "engine"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir)
	if _, err := os.Stat(dead); err == nil {
		t.Error("the dead one's is still there")
	}
	if _, err := os.Stat(alive); err != nil {
		t.Error(err)
	}
}
