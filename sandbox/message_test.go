package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
	"github.com/prytany/prytany/task"
	"github.com/tetratelabs/wazero/experimental/sys"
)

// A guest's message is what stands in its file at the end, and not what it was told
// it could not write.
func TestMessage(t *testing.T) {
	f := newFiles(1<<20, 0, func(int) {}, func() uint64 { return 0 })
	if got := f.message(); got != "" {
		t.Errorf("%q before there is one", got)
	}
	if errno := f.Mkdir("out/error.txt", 0); errno != 0 {
		t.Fatal(errno)
	}
	if got := f.message(); got != "" {
		t.Errorf("a directory says %q", got)
	}
	if errno := f.Rmdir("out/error.txt"); errno != 0 {
		t.Fatal(errno)
	}
	w, errno := f.OpenFile("out/error.txt", sys.O_CREAT|sys.O_RDWR, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, text := range []string{"sorry", strings.Repeat("x", MaxMessage)} {
		if _, errno := w.Pwrite([]byte(text), 0); errno != 0 {
			t.Fatal(errno)
		}
		if got := f.message(); got != text {
			t.Errorf("%d bytes, want %d", len(got), len(text))
		}
	}
	if _, errno := w.Pwrite([]byte("more"), MaxMessage); errno != 0 {
		t.Fatal(errno)
	}
	if got := f.message(); len(got) != MaxMessage {
		t.Errorf("%d bytes", len(got))
	}
}

// What the operating system refuses to the engine is no fault of the module.
func TestRefusedMemoryIsTheHosts(t *testing.T) {
	code := wat.Module("func _start")
	w := &Wasm{modules: map[task.Hash]*module{}}
	m := &module{hash: sha256.Sum256(code), ready: make(chan struct{}), err: &denied{fmt.Errorf("mmap: %w", syscall.ENOMEM)}}
	close(m.ready)
	w.modules[m.hash] = m
	if r, err := w.Run(t.Context(), Job{Code: code, Limits: ample}); err == nil || !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("%+v, %v", r, err)
	}
	for err, want := range map[error]bool{nil: false, errors.New("unknown opcode"): false, syscall.ENOMEM: true, fmt.Errorf("mprotect: %w", syscall.EPERM): true} {
		if fromSystem(err) != want {
			t.Errorf("%v is the system's: %v", err, !want)
		}
	}
}
