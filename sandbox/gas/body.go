package gas

// A body is one function on its way through. It is read once, to learn what
// its regions cost, and then copied with the charges in between.
type body struct {
	*module
	reader
	params  int
	locals  int    // params included
	groups  int    // declarations of locals
	written []byte // they, as they stand
	results []byte
	first   int // where the instructions begin

	frames  []frame
	regions []uint64 // what each costs; region 0 is that in which the function begins
	forks   []fork
	loops   []loop
	edits   []edit
	calls   bool // calls functions that may call it
	sized   bool // the price of an instruction depends on its operand
	frame   int  // bytes of the stack that it is charged for, or 0
	flow    *flow
	block   arity // of the block type that was just read

	targets []int // frames that the br_table just read leads to
	last    [2]operation
	opening int // the loop frame of which only the head has been read, or 0
}

// A frame is a block, loop or if that is open. Frame 0 is the function.
type frame struct {
	op     byte
	dead   bool // the instruction being read cannot be reached
	joined bool // a branch leads to the end
	split  bool // an if that has come to its else
	region int  // that pays for the instruction being read
	arms   [2]int
	out    int // the outermost frame that a branch from inside leads to
	arity      // of a block
	loop   int // 1 + the loop that this is, or in whose head this block was opened
}

// An arity is how many operands something takes and gives.
type arity struct{ takes, gives int }

// An operation is an instruction as far as it matters for what follows it.
type operation struct {
	op  byte
	arg int
}

// An edit is something to write before the byte at, in place of skip bytes.
type edit struct {
	what     action
	at, skip int
	arg      int
}

type action uint8

const (
	charge    action = iota // for region arg
	checkHead               // at the head of loop arg
	checkBack               // before going back to loop arg
	leave                   // to label arg, where the stack is given back, in place of return
	size                    // to charge for: the operand on top, in units of 1<<arg
	grow                    // the memory, by calling the function that is added for it
)

func (m *module) readBody(t signature, content []byte) (*body, error) {
	b := &body{module: m, reader: reader{b: content}, params: len(t.params), locals: len(t.params), results: t.results}
	b.flow = m.newFlow(t.params)
	b.readLocals()
	b.first = b.at
	b.frames = []frame{{op: opBlock, arity: arity{0, len(t.results)}}}
	b.regions = []uint64{uint64(b.locals - b.params)}
	b.flow.step(stepGas, 0)
	b.flow.check()
	for len(b.frames) > 0 && b.err == nil {
		b.instruction()
	}
	if b.left() > 0 {
		b.fail("goes on after its end")
	}
	b.unfork(0)
	b.measure()
	return b, b.err
}

// measure says what the function is charged of the stack. One that calls none is
// alone, below all that do, and may have a little for nothing.
func (b *body) measure() {
	if b.err != nil {
		return
	}
	frame, ok := b.flow.frame(b.regions, &b.work)
	if !ok {
		b.fail("has so many locals, blocks and loops that its values cannot be counted")
	}
	if frame > maxFrame {
		b.fail("may take %d bytes of the stack, more than %d", frame, maxFrame)
	}
	if b.calls || frame > frameLeaf {
		b.frame = frame
	}
	b.largest = max(b.largest, frame)
}

func (b *body) readLocals() {
	b.groups = b.count("declarations of locals", maxLocals)
	from := b.at
	for range b.groups {
		n := int64(b.locals) + int64(b.u32())
		kind := valueType(&b.reader)
		if n > maxLocals {
			b.fail("more than %d locals", maxLocals)
		}
		if b.err != nil {
			return
		}
		for ; b.locals < int(n); b.locals++ {
			b.flow.kinds = append(b.flow.kinds, kind)
		}
	}
	b.written = b.b[from:b.at]
}

func (b *body) top() *frame { return &b.frames[len(b.frames)-1] }

// edit notes one, unless nobody comes this way.
func (b *body) edit(what action, at, skip, arg int) {
	if !b.top().dead {
		b.edits = append(b.edits, edit{what, at, skip, arg})
		if what == checkHead || what == checkBack || what == size {
			b.flow.check()
		}
	}
}

// region begins a new one with the next instruction.
func (b *body) region() int {
	id := len(b.regions)
	b.regions = append(b.regions, 0)
	b.edits = append(b.edits, edit{what: charge, at: b.at, arg: id})
	b.flow.step(stepGas, int32(id))
	return id
}

// instruction reads one, counts it, and notes what has to be written around it.
func (b *body) instruction() {
	at := b.at
	op := b.byte()
	what, number := b.lookup(op)
	arg := b.immediate(what)
	if b.err != nil {
		return
	}
	if f := b.top(); !f.dead && op != opBlock && op != opLoop && op != opElse && op != opEnd {
		b.regions[f.region]++
	}
	b.watch(op)
	if !b.top().dead {
		b.trace(op, number, what, arg)
	}
	switch op {
	case opBlock, opLoop, opIf:
		b.open(op)
	case opElse:
		b.otherwise()
	case opEnd:
		b.close()
	case opUnreachable:
		b.top().dead = true
	case opReturn:
		b.edit(leave, at, b.at-at, len(b.frames)-1)
		b.branch(0, true)
	case opBr:
		b.checkBefore(at, arg)
		b.branch(arg, true)
	case opBrIf:
		b.branch(arg, false)
		if f := b.top(); !f.dead {
			f.region = b.region()
		}
	case opBrTable:
		b.dispatch()
		for _, t := range b.targets {
			b.branch(t, false)
		}
		b.top().dead = true
	case opCall:
		b.calls = b.calls || arg >= b.imported
	case opCallIndirect:
		b.calls = true
	case opMemoryGrow:
		b.edit(grow, at, b.at-at, 0)
	case opBulk:
		if shift, ok := sizeShift[number]; ok {
			b.sized = true
			b.edit(size, at, 0, shift)
		}
	}
	b.last = [2]operation{b.last[1], {op, arg}}
}

// sizeShift has the instructions whose price depends on the operand on top:
// how much to move or fill.
var sizeShift = map[int]int{
	bulkMemoryInit: bytesShift, bulkMemoryCopy: bytesShift, bulkMemoryFill: bytesShift,
	bulkTableInit: 0, bulkTableCopy: 0, bulkTableGrow: 0, bulkTableFill: 0,
}

// lookup says what follows an opcode, and which number if it is a prefix. The
// number must have its shortest form: the engine looks at a single byte of
// it, and both have to see the same instruction.
func (b *body) lookup(op byte) (immediate, int) {
	set, number := plain[:], uint32(op)
	switch op {
	case opBulk:
		set, number = bulk[:], b.u32()
	case opVector:
		from := b.at
		set, number = vectors[:], b.u32()
		if b.err == nil && b.at-from != len(appendU32(nil, number)) {
			b.fail("instruction %#x with a number in a long form", op)
		}
	}
	if b.err == nil && (int64(number) >= int64(len(set)) || set[number] == unknown) {
		b.fail("unknown instruction %#x %#x", op, number)
	}
	if b.err != nil {
		return none, 0
	}
	return set[number], int(number)
}

// immediate reads what follows an opcode. Every index must lie in the space
// that the module declared. It gives the index or constant, and for a label
// the frame it means.
func (b *body) immediate(what immediate) (arg int) {
	switch what {
	case blockType:
		b.blockType()
	case label:
		return b.label()
	case labels:
		b.targets = b.targets[:0]
		for n := b.count("branches", maxBody); n >= 0 && b.err == nil; n-- {
			b.targets = append(b.targets, b.label())
		}
	case function:
		return b.index("function", len(b.functions))
	case declared:
		if f := b.index("function", len(b.functions)); !b.refs[f] {
			b.fail("refers to function %d, which nothing declares", f)
		}
	case indirect:
		arg = b.index("type", len(b.types))
		b.index("table", len(b.tables))
		return arg
	case local:
		return b.index("local", b.locals)
	case global:
		return b.index("global", b.globals)
	case table:
		b.index("table", len(b.tables))
	case tables:
		b.index("table", len(b.tables))
		b.index("table", len(b.tables))
	case element:
		b.index("element segment", b.elements)
	case elementInto:
		b.index("element segment", b.elements)
		b.index("table", len(b.tables))
	case data:
		b.index("data segment", b.datas)
	case dataInto:
		b.index("data segment", b.datas)
		b.memory()
	case memory:
		b.memory()
	case memories:
		b.memory()
		b.memory()
	case address, addressLane:
		b.u32()
		b.u32()
		b.needMemory()
		if what == addressLane {
			b.byte()
		}
	case lane:
		b.byte()
	case int32Const:
		return int(b.signed(32))
	case int64Const:
		b.signed(64)
	case bytes4:
		b.bytes(4)
	case bytes8:
		b.bytes(8)
	case bytes16:
		b.bytes(16)
	case selectType:
		b.expect(1, "number of results of select")
		valueType(&b.reader)
	case refType:
		reference(&b.reader)
	}
	return 0
}

func (b *body) memory() {
	b.expect(0, "memory")
	b.needMemory()
}

func (b *body) needMemory() {
	if b.memories == 0 {
		b.fail("uses a memory where there is none")
	}
}

func (b *body) blockType() {
	b.block = arity{}
	switch t := b.signed(33); {
	case t >= int64(len(b.types)):
		b.fail("type %d of %d", t, len(b.types))
	case t >= 0:
		b.block = arity{len(b.types[t].params), len(b.types[t].results)}
	case t < 0 && (t < -0x40 || byte(t&0x7f) != typeEmpty && !isValue(byte(t&0x7f))):
		b.fail("unknown block type %d", t)
	case byte(t&0x7f) != typeEmpty:
		b.block.gives = 1
	}
}

func (b *body) label() int { return len(b.frames) - 1 - b.index("label", len(b.frames)) }

// open enters a block, loop or if. What comes after its end is paid by the
// region before it, for all paths meet there again; unless one leads past.
func (b *body) open(op byte) {
	if len(b.frames) == maxNesting {
		b.fail("blocks nested deeper than %d", maxNesting)
		return
	}
	outer := b.top()
	f := frame{op: op, region: outer.region, dead: outer.dead, out: len(b.frames), arity: b.block}
	b.flow.enter(op, f.takes)
	if !f.dead && op != opBlock {
		f.region = b.region()
		f.arms[0] = f.region
	}
	if !f.dead && op == opLoop {
		b.edit(checkHead, b.at, 0, len(b.loops))
		b.loops = append(b.loops, loop{entry: outer.region, head: f.region, forks: len(b.forks)})
		f.loop = len(b.loops)
		b.opening = len(b.frames)
	}
	b.frames = append(b.frames, f)
}

// otherwise goes from one arm of an if to the other.
func (b *body) otherwise() {
	f := b.top()
	if f.op != opIf || f.split {
		b.fail("else without if")
		return
	}
	f.split = true
	b.flow.otherwise(f.takes, f.dead)
	f.joined = f.joined || !f.dead
	f.dead = b.frames[len(b.frames)-2].dead
	if !f.dead {
		f.region = b.region()
		f.arms[1] = f.region
	}
}

func (b *body) close() {
	n := len(b.frames) - 1
	f := b.frames[n]
	b.frames = b.frames[:n]
	b.flow.leave(f.gives, f.dead)
	if n == 0 || b.top().dead {
		return
	}
	if f.op == opLoop {
		b.settle(&b.loops[f.loop-1])
	}
	outer := b.top()
	outer.out = min(outer.out, f.out)
	before := outer.region
	skipped := f.op == opIf && !f.split // there is a path around
	switch {
	case f.dead && !f.joined && !skipped:
		outer.dead = true
	case f.out < n:
		outer.region = b.region()
	}
	switch {
	case f.split:
		b.forks = append(b.forks, fork{before, f.arms[0], f.arms[1]})
	case skipped && f.dead && !f.joined && f.out < n:
		b.forks = append(b.forks, fork{before, f.arms[0], outer.region})
	}
}

// branch notes that a path leads from here to the end of a frame or the head
// of a loop: always, or perhaps.
func (b *body) branch(to int, always bool) {
	from, target := b.top(), &b.frames[to]
	if from.dead {
		return
	}
	from.out = min(from.out, to)
	if target.op == opLoop {
		b.loops[target.loop-1].goBack(from.region, always)
	} else {
		target.joined = true
	}
	from.dead = always
}
