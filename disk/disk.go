// Package disk reads and writes files that somebody names. What is read is bounded, and
// is a regular file or, where one is asked for, a pipe. What is written outlasts a power
// cut; a secret is readable by its owner alone, and replaces nothing.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/prytany/prytany/task"
)

// The most bytes that are read of a file that somebody names.
const (
	MaxSecret  = 4 << 10 // passphrases and sealed keys
	MaxSetting = 1 << 20 // networks, trust, certificates
)

// ReadFile reads a regular file of no more than limit bytes. Nothing else will
// do: a device has no end, and a pipe may never say anything.
func ReadFile(path string, limit int) ([]byte, error) { return readKinds(path, limit, 0) }

// ReadPiped reads a pipe as well, such as a shell's <(COMMAND).
func ReadPiped(path string, limit int) ([]byte, error) {
	return readKinds(path, limit, os.ModeNamedPipe)
}

func readKinds(path string, limit int, also os.FileMode) ([]byte, error) {
	// Without O_NONBLOCK it is the opening of a pipe that may never end.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Type()&^also != 0 {
		return nil, fmt.Errorf("%s is no file but a %s", path, kindOf(st.Mode()))
	}
	raw, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return raw, nil
}

func kindOf(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&os.ModeNamedPipe != 0:
		return "pipe"
	case m&os.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// WriteNew writes a secret file durably, mode 0600, and refuses to replace one.
func WriteNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return task.Refuse("key-exists", "%s exists already and is not overwritten", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close(), SyncDir(filepath.Dir(path)))
}

// SyncDir makes what was done in a directory outlast a power cut.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) { // not every file system has a word for it
		err = nil
	}
	return errors.Join(err, d.Close())
}

// WriteSynced writes a file that nothing can bring again once the key to it is
// gone: it outlasts a power cut.
func WriteSynced(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if st, bad := f.Stat(); bad == nil && st.Mode().IsRegular() {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close(), SyncDir(filepath.Dir(path)))
}

// WriteWhole writes a file that others see as a whole or not at all, for what can be
// made again.
func WriteWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
