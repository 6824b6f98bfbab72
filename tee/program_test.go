package tee

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// What is started is what was measured, whatever becomes of the file.
func TestProgramIsSealed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cat")
	raw, err := os.ReadFile("/bin/cat")
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(file, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Measurement != task.Hash(sha256.Sum256(raw)) {
		t.Errorf("measurement %s", p.Measurement)
	}
	if err := os.WriteFile(file, []byte("#!/bin/false"), 0o755); err != nil {
		t.Fatal(err)
	}
	cat := exec.Command(p.Path())
	cat.Stdin = strings.NewReader("hello")
	if echo, err := cat.Output(); err != nil || string(echo) != "hello" {
		t.Errorf("another program was started: %q, %v", echo, err)
	}
	for name, err := range map[string]error{
		"a write":    second(p.file.WriteAt([]byte("#!"), 0)),
		"a cut":      p.file.Truncate(1),
		"more of it": p.file.Truncate(int64(len(raw)) + 1),
		"through another descriptor": func() error {
			f, err := os.OpenFile(p.Path(), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			return second(f.WriteAt([]byte("#!"), 0))
		}(),
	} {
		if err == nil {
			t.Errorf("%s changed the program", name)
		}
	}
}

func second(_ int, err error) error { return err }

func TestProgramIsBounded(t *testing.T) {
	if _, err := Load("big", io.LimitReader(zeros{}, MaxProgram+1)); !errors.Is(err, task.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if p, err := Load("empty", bytes.NewReader(nil)); err != nil {
		t.Error(err)
	} else if _, err := p.Start(t.Context(), nil); err == nil {
		t.Error("nothing was started")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
