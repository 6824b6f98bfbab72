package tee

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// Program is an enclave program in memory, sealed and measured: what is started
// is what was measured, whatever becomes of its file meanwhile.
type Program struct {
	// Measurement is what the simulated platform says of it, and what is extended
	// into a TPM: the SHA-256 of the program's bytes.
	Measurement task.Hash

	name string
	file *os.File
}

// MaxProgram bounds a program, in bytes.
const MaxProgram = 64 << 20

// Load reads a program. The name is for those who list processes.
func Load(name string, r io.Reader) (*Program, error) {
	// Kernels from 6.3 on may be told to want the flag; older ones do not know it.
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memory for a program: %w (vm.memfd_noexec must be 0 or 1)", err)
	}
	p := &Program{name: name, file: os.NewFile(uintptr(fd), name)}
	if err := p.fill(r); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	return p, nil
}

func (p *Program) fill(r io.Reader) error {
	d := sha256.New()
	n, err := io.Copy(io.MultiWriter(p.file, d), io.LimitReader(r, MaxProgram+1))
	if err != nil {
		return err
	}
	if n > MaxProgram {
		return fmt.Errorf("%s is longer than %d bytes: %w", p.name, MaxProgram, task.ErrTooLarge)
	}
	p.Measurement = task.Hash(d.Sum(nil))
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(p.file.Fd(), unix.F_ADD_SEALS, all); err != nil {
		return fmt.Errorf("sealing a program: %w", err)
	}
	return nil
}

// LoadFile reads a program from a file.
func LoadFile(path string) (*Program, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Load(filepath.Base(path), f)
}

// Path is where this process, and those that it starts, find the program until
// it is closed.
func (p *Program) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), p.file.Fd()) }

// Close frees the memory; enclaves that run keep theirs.
func (p *Program) Close() error { return p.file.Close() }
