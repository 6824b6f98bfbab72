package wasm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/internal/wat"
	"github.com/prytany/prytany/task"
)

// A guest's message is what stands in its file at the end, and not what it was told
// it could not write.
func TestMessage(t *testing.T) {
	f := newFiles(1<<20, 0, func(int) {}, func() uint64 { return 0 })
	if got := f.message(); got != "" {
		t.Errorf("%q before there is one", got)
	}
	if e := f.mkdir(f.root, "out/error.txt"); e != success {
		t.Fatal(e)
	}
	if got := f.message(); got != "" {
		t.Errorf("a directory says %q", got)
	}
	if e := f.unlink(f.root, "out/error.txt", true); e != success {
		t.Fatal(e)
	}
	f.start(nil, nil)
	if _, e := f.openAt(f.root, "out/error.txt", opening{create: true, write: true}); e != success {
		t.Fatal(e)
	}
	n := f.out.children[sandbox.MessageFile]
	for _, text := range []string{"sorry", strings.Repeat("x", sandbox.MaxMessage), strings.Repeat("x", sandbox.MaxMessage) + "more"} {
		if e := f.resize(n, int64(len(text))); e != success {
			t.Fatal(e)
		}
		copy(n.data, text)
		if got := f.message(); got != text[:min(len(text), sandbox.MaxMessage)] {
			t.Errorf("%d bytes of %d", len(got), len(text))
		}
	}
}

// What the operating system refuses to the engine is no fault of the module.
func TestRefusedMemoryIsTheHosts(t *testing.T) {
	code := wat.Module("func _start")
	w := &Engine{modules: map[task.Hash]*module{}}
	m := &module{hash: sha256.Sum256(code), ready: make(chan struct{}), err: &denied{fmt.Errorf("mmap: %w", syscall.ENOMEM)}}
	close(m.ready)
	w.modules[m.hash] = m
	if r, err := w.Run(t.Context(), sandbox.Job{Code: code, Limits: ample}); err == nil || !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("%+v, %v", r, err)
	}
	for err, want := range map[error]bool{nil: false, errors.New("unknown opcode"): false, syscall.ENOMEM: true, fmt.Errorf("mprotect: %w", syscall.EPERM): true} {
		if fromSystem(err) != want {
			t.Errorf("%v is the system's: %v", err, !want)
		}
	}
}
