package wasm

import (
	"github.com/tetratelabs/wazero/experimental"
)

// A memory is the linear memory of one guest. The address space for all that
// it may grow to is reserved at once and filled with pages as they are
// touched, so that growing costs nothing and leaves no copies behind.
type memory struct {
	limit    uint64 // bytes
	reserved []byte
	size     int
	err      error // of the host
}

// Allocate is called by the engine when it instantiates the module, whose
// own maximum is most.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	m.reserved, m.err = reserve(min(m.limit, most))
	return m
}

// Reallocate makes the memory larger, or says with nil that it cannot be.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.reserved)) {
		if m.err != nil { // the engine does not take nil for the first size
			return make([]byte, size)
		}
		return nil
	}
	m.size = int(size)
	return m.reserved[:size]
}

// Free does nothing: the engine calls it while the guest is still on the stack.
func (m *memory) Free() {}

// wipe overwrites what the guest had and gives it back.
func (m *memory) wipe() error {
	clear(m.reserved[:m.size])
	r := m.reserved
	m.reserved, m.size = nil, 0
	return release(r)
}
