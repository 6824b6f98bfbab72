package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// The most bytes that are read of a file that somebody names.
const (
	maxSecret  = 4 << 10 // passphrases and sealed keys
	maxSetting = 1 << 20 // networks, trust, certificates
)

// readFile reads a regular file of no more than limit bytes. Nothing else will
// do: a device has no end, and a pipe may never say anything.
func readFile(path string, limit int) ([]byte, error) { return readKinds(path, limit, 0) }

// readPiped reads a pipe as well, such as a shell's <(COMMAND).
func readPiped(path string, limit int) ([]byte, error) {
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
