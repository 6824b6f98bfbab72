//go:build unix

package wasm

import "syscall"

// reserve takes memory from the system and not from Go's heap: the collector
// cannot stop a guest that does not call the host, and would wait for it with
// everything else standing still.
func reserve(size uint64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	return syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
}

func release(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return syscall.Munmap(b)
}
