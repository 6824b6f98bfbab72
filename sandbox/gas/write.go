package gas

// What is added to a module, counted from what it has itself.
const (
	globalUsed = iota
	globalLimit
	globalDepth
	globalDenied
)

var globals = []struct {
	name string
	of   byte
	zero byte
}{
	globalUsed:   {Used, typeI64, opI64Const},
	globalLimit:  {Limit, typeI64, opI64Const},
	globalDepth:  {Depth, typeI32, opI32Const},
	globalDenied: {Denied, typeI32, opI32Const},
}

// code is machine code being written.
type code []byte

func (c *code) op(ops ...byte) { *c = append(*c, ops...) }

func (c *code) with(op byte, index int) { *c = appendU32(append(*c, op), uint32(index)) }

func (c *code) i32(v int32) { *c = appendSigned(append(*c, opI32Const), int64(v)) }

func (c *code) i64(v uint64) { *c = appendSigned(append(*c, opI64Const), int64(v)) }

// stopIf traps if the i32 on top is not zero. The engine makes better code of
// this than of a branch to one trap for all.
func (c *code) stopIf() { c.op(opIf, typeEmpty, opUnreachable, opEnd) }

func (m *module) global(g int) int { return m.globals + g }

func (m *module) charge(c *code, cost uint64) {
	if cost == 0 {
		return
	}
	c.with(opGlobalGet, m.global(globalUsed))
	c.i64(cost)
	c.op(opI64Add)
	c.with(opGlobalSet, m.global(globalUsed))
}

func (m *module) check(c *code) {
	c.with(opGlobalGet, m.global(globalUsed))
	c.with(opGlobalGet, m.global(globalLimit))
	c.op(opI64GtU)
	c.stopIf()
}

// write gives the function with its charges and checks. One that has a frame
// also takes its frame from the stack, and gives it back at its one end:
//
//	used += cost of the first region; check
//	depth += frame; stop if depth > MaxDepth
//	block
//	  …, with a branch to its end for return
//	end
//	depth -= frame
func (b *body) write() []byte {
	c := b.writeLocals()
	out := &c
	b.charge(out, b.regions[0])
	frame := int32(b.frame)
	if frame > 0 {
		b.check(out)
		out.with(opGlobalGet, b.global(globalDepth))
		out.i32(frame)
		out.op(opI32Add)
		out.with(opGlobalSet, b.global(globalDepth))
		out.with(opGlobalGet, b.global(globalDepth))
		out.i32(MaxDepth)
		out.op(opI32GtU)
		out.stopIf()
		out.op(opBlock)
		b.resultType(out)
	}
	at := b.first
	for _, e := range b.edits {
		out.op(b.b[at:e.at]...)
		at = e.at
		if b.apply(out, e) {
			at += e.skip
		}
	}
	out.op(b.b[at:]...)
	if frame > 0 {
		out.with(opGlobalGet, b.global(globalDepth))
		out.i32(frame)
		out.op(opI32Sub)
		out.with(opGlobalSet, b.global(globalDepth))
		out.op(opEnd)
	}
	return c
}

// writeLocals declares those of the function, and behind them the one that
// chargeSize uses.
func (b *body) writeLocals() (c code) {
	if !b.sized {
		return append(appendU32(nil, uint32(b.groups)), b.written...)
	}
	c = append(appendU32(nil, uint32(b.groups+1)), b.written...)
	c.op(1, typeI32)
	return c
}

// apply writes what an edit says, or says that the original stays.
func (b *body) apply(c *code, e edit) bool {
	switch e.what {
	case charge:
		b.charge(c, b.regions[e.arg])
	case checkHead:
		if b.loops[e.arg].maybe {
			b.check(c)
		}
	case checkBack:
		if !b.loops[e.arg].maybe {
			b.check(c)
		}
	case leave:
		if b.frame == 0 {
			return false
		}
		c.with(opBr, e.arg)
	case size:
		b.chargeSize(c, e.arg)
	case grow:
		c.with(opCall, len(b.functions))
	}
	return true
}

// chargeSize charges for the i32 on top, which stays: for every 1<<shift,
// rounded up. It is no function, for a call would cost most moves more time
// than they take themselves.
func (b *body) chargeSize(c *code, shift int) {
	c.with(opLocalTee, b.locals)
	c.with(opGlobalGet, b.global(globalUsed))
	c.with(opLocalGet, b.locals)
	c.op(opI64ExtendI32U)
	if shift > 0 {
		c.i64(1<<shift - 1)
		c.op(opI64Add)
		c.i64(uint64(shift))
		c.op(opI64ShrU)
	}
	c.op(opI64Add)
	c.with(opGlobalSet, b.global(globalUsed))
	b.check(c)
}

// resultType writes the type of a block that gives what the function gives.
func (b *body) resultType(c *code) {
	switch len(b.results) {
	case 0:
		c.op(typeEmpty)
	case 1:
		c.op(b.results[0])
	default:
		*c = appendSigned(*c, int64(b.addType(nil, b.results)))
	}
}

// addType gives the index of a function type that is added, once for all.
func (m *module) addType(params, results []byte) int {
	raw := appendSized(appendSized([]byte{typeFunc}, params), results)
	i, ok := m.added[string(raw)]
	if !ok {
		i = len(m.types) + len(m.added)
		m.added[string(raw)] = i
		m.extra[secType] = append(m.extra[secType], raw...)
		m.counts[secType]++
	}
	return i
}

// write writes the module with the given bodies of its functions.
func (m *module) write(bodies []byte) []byte {
	m.raw[secCode] = bodies
	if m.memories > 0 {
		m.helper([]byte{typeI32}, []byte{typeI32}, m.growFunction()) // the first: see apply
	}
	m.raw[secTable] = m.writeTables()
	for i, g := range globals {
		m.add(secGlobal, []byte{g.of, 1, g.zero, 0, opEnd})
		m.export(g.name, kindGlobal, m.global(i))
	}
	if m.start >= 0 {
		m.export(Start, kindFunction, m.entrance(m.start))
	}
	if e := m.exports["_start"]; m.hasEntry() {
		m.export(Run, kindFunction, m.entrance(e.index))
	}
	out := []byte(header)
	for _, id := range written {
		if m.counts[id] == 0 {
			continue
		}
		section := appendU32(nil, uint32(m.counts[id]))
		if id == secDataCount {
			section = appendU32(nil, uint32(m.datas))
		}
		section = append(append(section, m.raw[id]...), m.extra[id]...)
		out = appendSized(append(out, byte(id)), section)
	}
	return out
}

func (m *module) add(section int, entry []byte) {
	m.extra[section] = append(m.extra[section], entry...)
	m.counts[section]++
}

func (m *module) export(name string, kind byte, index int) {
	m.add(secExport, appendU32(append(appendSized(nil, []byte(name)), kind), uint32(index)))
}

// writeTables gives every table a maximum: table.grow takes the host's memory.
func (m *module) writeTables() (out []byte) {
	for _, t := range m.tables {
		most := min(t.most, maxTableEntries/uint32(len(m.tables)))
		out = append(out, t.of, 1)
		out = appendU32(appendU32(out, t.least), most)
	}
	return out
}

// growFunction stands for memory.grow. It charges for what there is more, or
// notes that there is none.
func (m *module) growFunction() code {
	c := code{1, 1, typeI32}
	c.with(opLocalGet, 0)
	c.op(opMemoryGrow, 0)
	c.with(opLocalTee, 1)
	c.i32(-1)
	c.op(opI32Eq, opIf, typeEmpty)
	c.i32(1)
	c.with(opGlobalSet, m.global(globalDenied))
	c.op(opElse)
	c.with(opGlobalGet, m.global(globalUsed))
	c.with(opLocalGet, 0)
	c.op(opI64ExtendI32U)
	c.i64(gasPerPage)
	c.op(opI64Mul, opI64Add)
	c.with(opGlobalSet, m.global(globalUsed))
	m.check(&c)
	c.op(opEnd)
	c.with(opLocalGet, 1)
	c.op(opEnd)
	return c
}
