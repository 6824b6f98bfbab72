package gas

// trace follows the operands and locals of one instruction that can be reached.
func (b *body) trace(op byte, number int, what immediate, arg int) {
	f := b.flow
	f.now++
	switch op {
	case opBlock, opLoop, opElse, opEnd:
	case opIf:
		f.pop(1)
	case opUnreachable, opReturn:
		f.step(stepStop, 0)
	case opBr:
		f.branch(stepGo, arg)
	case opBrIf:
		f.pop(1)
		f.branch(stepTo, arg)
	case opBrTable:
		f.pop(1)
		f.branchTable(b.targets)
	case opCall:
		t := b.signature(arg)
		f.call(len(t.params), len(t.results))
	case opCallIndirect:
		t := b.types[arg]
		f.call(len(t.params)+1, len(t.results))
	case opLocalGet:
		f.step(stepUse, int32(arg))
		f.push(1, int32(arg))
	case opLocalSet:
		f.pop(1)
		f.set(int32(arg))
	case opLocalTee:
		if n := len(f.operands) - 1; n >= 0 {
			f.operands[n].slot = int32(arg)
		}
		f.set(int32(arg))
		f.step(stepUse, int32(arg)) // the copy on the stack
	case opGlobalGet:
		s := f.slot(slotGlobal, int32(arg))
		f.step(stepUse, s)
		f.push(1, s)
	case opGlobalSet:
		f.pop(1)
		f.set(f.slot(slotGlobal, int32(arg)))
	default:
		b.traceOther(op, number, what)
	}
}

// traceOther is for what does nothing but take and give operands.
func (b *body) traceOther(op byte, number int, what immediate) {
	f := b.flow
	a := plainArity[op]
	switch op {
	case opVector:
		a = vectorArity[number]
		f.wide = true
	case opBulk:
		a = bulkArity[number]
	}
	switch {
	case op == opMemoryGrow, op == opBulk && number >= bulkMemoryInit, what == declared, what == table:
		f.call(a.takes, a.gives) // a call to the engine's helpers
		return
	}
	if op >= 0x6d && op <= 0x70 || op >= 0x74 && op <= 0x78 || op >= 0x7f && op <= 0x82 || op >= 0x86 && op <= 0x8a {
		f.tight() // division, shifts
	}
	at := f.pop(a.takes)
	if what == address || what == addressLane {
		f.memory(at)
	}
	f.push(a.gives, -1)
}

var (
	plainArity  = plainArities()
	bulkArity   = bulkArities()
	vectorArity = vectorArities()
)

func fillArity(t []arity, a arity, ranges ...int) {
	for i := 0; i < len(ranges); i += 2 {
		for op := ranges[i]; op <= ranges[i+1]; op++ {
			t[op] = a
		}
	}
}

func plainArities() (t [256]arity) {
	fill := func(takes, gives int, ranges ...int) { fillArity(t[:], arity{takes, gives}, ranges...) }
	fill(1, 0, 0x1a, 0x1a)                                                             // drop
	fill(3, 1, 0x1b, 0x1c)                                                             // select
	fill(1, 1, 0x25, 0x25, 0x28, 0x35, 0x40, 0x40)                                     // table.get, loads, memory.grow
	fill(2, 0, 0x26, 0x26, 0x36, 0x3e)                                                 // table.set, stores
	fill(0, 1, 0x3f, 0x3f, 0x41, 0x44, 0xd0, 0xd0, 0xd2, 0xd2)                         // memory.size, constants, ref.null, ref.func
	fill(2, 1, 0x46, 0x4f, 0x51, 0x66, 0x6a, 0x78, 0x7c, 0x8a, 0x92, 0x98, 0xa0, 0xa6) // comparisons and arithmetic of two
	fill(1, 1, 0x45, 0x45, 0x50, 0x50, 0x67, 0x69, 0x79, 0x7b, 0x8b, 0x91, 0x99, 0x9f) // of one
	fill(1, 1, 0xa7, 0xc4, 0xd1, 0xd1)                                                 // conversions, ref.is_null
	return t
}

func bulkArities() (t [18]arity) {
	fill := func(takes, gives int, ranges ...int) { fillArity(t[:], arity{takes, gives}, ranges...) }
	fill(1, 1, 0, 7)
	fill(3, 0, bulkMemoryInit, bulkMemoryInit, bulkMemoryCopy, bulkTableInit, bulkTableCopy, bulkTableCopy, bulkTableFill, bulkTableFill)
	fill(0, 0, 13, 13) // elem.drop
	fill(2, 1, bulkTableGrow, bulkTableGrow)
	fill(0, 1, 16, 16) // table.size
	return t
}

func vectorArities() (t [256]arity) {
	fill := func(takes, gives int, ranges ...int) { fillArity(t[:], arity{takes, gives}, ranges...) }
	fill(2, 1, 0x0d, 0xff) // most take two
	fill(1, 1, 0x00, 0x0a, 0x5c, 0x5d, 0x0f, 0x14)
	fill(2, 0, 0x0b, 0x0b, 0x58, 0x5b)
	fill(0, 1, vectorConst, vectorConst)
	for _, op := range []int{0x15, 0x16, 0x18, 0x19, 0x1b, 0x1d, 0x1f, 0x21} { // extract_lane
		t[op] = arity{1, 1}
	}
	fill(3, 1, 0x52, 0x52) // bitselect
	fill(1, 1, 0x4d, 0x4d, 0x53, 0x53, 0x5e, 0x64, 0x67, 0x6a, 0x74, 0x75, 0x7a, 0x7a, 0x7c, 0x81, 0x83, 0x84, 0x87, 0x8a, 0x94, 0x94,
		0xa0, 0xa1, 0xa3, 0xa4, 0xa7, 0xaa, 0xc0, 0xc1, 0xc3, 0xc4, 0xc7, 0xca, 0xe0, 0xe1, 0xe3, 0xe3, 0xec, 0xed, 0xef, 0xef, 0xf8, 0xff)
	return t
}
