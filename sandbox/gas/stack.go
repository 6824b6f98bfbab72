package gas

import "bytes"

// This file makes the engine's stack as long as MaxDepth needs (spec §9.4.4).
//
// The engine's stack begins with stackFirst bytes. When a call finds no room
// there, the stack gets twice as long, and longer by the frame of that call; if
// it has more than stackCeiling bytes by then, the run is over. By doubling
// alone it would have stackLast bytes in the end. But the frames come on top,
// so a function could have it end just above the ceiling.
//
// Therefore the module's first function is entered by way of another, which
// calls itself until the stack is so long that what the module's frames can add
// to it from there is no longer enough to be above the ceiling too early. The
// larger the largest frame, the longer the stack has to be by then: most
// modules begin with less than a megabyte.
const (
	stackFirst   = 10_240
	stackCeiling = 50_000_000
	stackDoubled = 12 // times, until the last time is to come
	stackLast    = stackFirst << (stackDoubled + 1)

	stackAlign = 16                   // bytes more at each time
	digValues  = 64                   // that the digger is called with
	digLeast   = 8 * (digValues - 8)  // bytes that a call of it takes at least: no machine has registers for more
	digMost    = 8 * (digValues + 16) // and at most
)

// What calls take before they are charged, and those that are free, has room
// above MaxDepth: a negative constant would not compile.
const _ = uint(stackLast - MaxDepth - maxFrame - frameLeaf - 16<<10)

// digs is how often the digger calls itself in a module whose largest frame has
// so many bytes.
func digs(frame int) int {
	const longest = stackFirst + digMost + stackAlign // times 1<<n: after n times, with nobody else's frames
	const spare = stackCeiling - longest<<stackDoubled
	times := 0
	for (frame+stackAlign)<<(stackDoubled-times) > spare {
		times++
	}
	if times == 0 {
		return 0
	}
	return longest<<(times-1)/digLeast + 1 // more than there was room for the time before
}

// digger calls itself as often as its first parameter says. The others are there
// to be put on the stack: few large frames are made sooner than many small ones.
func digger(self int) code {
	c := code{0}
	c.with(opLocalGet, 0)
	c.op(opIf, typeEmpty)
	c.with(opLocalGet, 0)
	c.i32(1)
	c.op(opI32Sub)
	c.op(bytes.Repeat([]byte{opI64Const, 0}, digValues)...)
	c.with(opCall, self)
	c.op(opEnd, opEnd)
	return c
}

// entrance gives the index of a function that digs and calls another. The engine
// has a stack for each call from outside, so it has to be in one.
func (m *module) entrance(of int) int {
	n := digs(m.largest)
	if n == 0 {
		return of
	}
	if m.digger == 0 {
		m.digger = len(m.functions) + m.helpers
		m.helper(append([]byte{typeI32}, bytes.Repeat([]byte{typeI64}, digValues)...), nil, digger(m.digger))
	}
	c := code{0}
	c.i32(int32(n))
	c.op(bytes.Repeat([]byte{opI64Const, 0}, digValues)...)
	c.with(opCall, m.digger)
	c.with(opCall, of)
	c.op(opEnd)
	return m.helper(nil, nil, c)
}

// helper adds a function and gives its index.
func (m *module) helper(params, results []byte, c code) int {
	m.add(secFunction, appendU32(nil, uint32(m.addType(params, results))))
	m.add(secCode, appendSized(nil, c))
	m.helpers++
	return len(m.functions) + m.helpers - 1
}
