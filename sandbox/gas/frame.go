package gas

// This file bounds what the frame of a function can take of the engine's stack
// (spec §9.4.4). The engine gives a slot of its own to each value that it does
// not keep in a register: to those that live across a call, and to those that
// live where there are many others. So it is values that are counted, not code.
// A value ends where its local is set anew, and where paths meet that may have
// set it differently.
//
// The count is from above, for all machines.

// What makes up a frame, in bytes, beside its values.
const (
	frameFixed  = 128      // addresses, contexts, the check of the stack
	frameCall   = 4        // for each call in the code: what is put aside where its paths meet others
	frameSaved  = 23       // registers of the caller's that may have to be kept, at most
	frameLeaf   = 64 << 10 // a function that calls none may take this and be free
	slotBytes   = 8
	vectorBytes = 16
)

// When a value counts.
const (
	enough = 14 // values at once find registers on every machine
	pinned = 2  // registers that some instructions want beside their operands
	brief  = 8  // steps: what is used up within so many keeps its register
)

// What may be spent on counting, in words of bit sets: a moment.
const (
	maxFlowWords = 1 << 22 // kept for one function
	maxFlowWork  = 1 << 28 // gone through for a module
)

// A step is an instruction as far as it says which values live where.
type step struct {
	what   stepKind
	height int32 // of the operands
	arg    int32 // a slot, or the number of a block
}

type stepKind uint8

const (
	stepUse stepKind = iota
	stepSet
	stepCall // of anything that needs the registers
	stepOpen // a block
	stepElse
	stepEnd
	stepTo   // a block's label, perhaps
	stepGo   // a block's label, always
	stepStop // return, unreachable
	stepTemp // an operand is taken that came with step arg
	stepNone
	stepNext // stepUse and stepSet
	stepGas  // the counter becomes another value, if region arg costs anything
)

// A flow is the steps of one function. Slots are its locals and, behind them,
// what the engine keeps as if it were one.
type flow struct {
	steps  []step
	kinds  []byte // of slots, by number: vectors are larger
	slots  map[slotKey]int32
	hidden []int32 // the numbers of those
	seen   []int32 // by slot: the epoch in which memory was reached through it
	epoch  int32   // begins anew with each call
	blocks []block // by number: all that were opened
	open   []int32 // the numbers of those that are

	operands []operand
	marked   int   // so many of them are counted: they live across a call
	temps    int   // operands that are counted: they live across a call
	now      int32 // instructions so far
	wide     bool  // there are vectors
	called   int   // calls
	area     int   // values that one call is given or gives back, at most
	table    int32 // numbers the tables of branches
	skew     bool  // operands were missing: the engine will say so
}

// A slotKey names what is no local.
type slotKey struct {
	kind  byte
	index int32
}

const (
	slotGlobal  = iota
	slotMemory  // where it begins, how long it is
	slotGas     // used, limit
	slotAddress // of what a slot points to
)

// An operand is a value on the stack: since which instruction and which step,
// and which slot it is a copy of, or -1.
type operand struct{ at, step, slot int32 }

// A block is a block, loop or if.
type block struct {
	op    byte
	base  int   // operands below it
	meets bool  // more than one path leads to its label
	paths int   // to it, as far as they are known
	split bool  // it has an else
	table int32 // the last one that led to its label
	level int   // on the walk back: so many are open around it
}

func (m *module) newFlow(params []byte) *flow {
	f := &m.flow
	*f = flow{
		steps: f.steps[:0], kinds: append(f.kinds[:0], params...), slots: map[slotKey]int32{}, hidden: f.hidden[:0], seen: f.seen[:0],
		blocks: append(f.blocks[:0], block{op: opBlock}), open: append(f.open[:0], 0), operands: f.operands[:0], epoch: 1,
	}
	return f
}

// slot gives the number of what is no local.
func (f *flow) slot(kind byte, index int32) int32 {
	key := slotKey{kind, index}
	s, ok := f.slots[key]
	if !ok {
		s = int32(len(f.kinds))
		f.kinds = append(f.kinds, typeI64)
		f.hidden = append(f.hidden, s)
		f.slots[key] = s
	}
	return s
}

func (f *flow) step(what stepKind, arg int32) {
	f.steps = append(f.steps, step{what, int32(len(f.operands)), arg})
}

// tight is an instruction that wants certain registers, and puts aside what is
// in them.
func (f *flow) tight() { f.temps += pinned }

func (f *flow) push(n int, slot int32) {
	for range n {
		f.operands = append(f.operands, operand{f.now, int32(len(f.steps)), slot})
	}
}

// pop takes operands, and gives the last. One that was there for long counts if
// it was among too many meanwhile.
func (f *flow) pop(n int) (o operand) {
	o.slot = -1
	base := f.blocks[f.open[len(f.open)-1]].base
	for range n {
		last := len(f.operands) - 1
		if last < base {
			f.skew = true
			return operand{slot: -1}
		}
		o = f.operands[last]
		f.operands = f.operands[:last]
		if last < f.marked {
			f.marked = last
		} else if f.now-o.at > brief {
			f.step(stepTemp, o.step)
		}
	}
	return o
}

// cut takes operands down to a height.
func (f *flow) cut(to int) {
	for last := len(f.operands) - 1; last >= to; last-- {
		if o := f.operands[last]; last >= f.marked && f.now-o.at > brief {
			f.step(stepTemp, o.step)
		}
	}
	f.operands = f.operands[:min(to, len(f.operands))]
	f.marked = min(f.marked, len(f.operands))
}

func (f *flow) set(slot int32) {
	f.step(stepSet, slot)
	if int(slot) < len(f.seen) {
		f.seen[slot] = 0
	}
}

// call is of a function, or of what the engine calls one for.
func (f *flow) call(params, results int) {
	f.pop(params)
	f.step(stepCall, 0)
	f.temps += len(f.operands) - f.marked
	f.marked = len(f.operands)
	f.push(results, -1)
	f.epoch++
	f.called++
	f.area = max(f.area, params+results)
}

// memory is reached through the operand that is the address. Where that is a
// copy of a slot, the engine keeps what it leads to for the next time.
func (f *flow) memory(address operand) {
	f.step(stepUse, f.slot(slotMemory, 0))
	f.step(stepUse, f.slot(slotMemory, 1))
	if address.slot < 0 {
		return
	}
	at := f.slot(slotAddress, address.slot)
	for len(f.seen) <= int(at) {
		f.seen = append(f.seen, 0)
	}
	if f.seen[address.slot] == f.epoch {
		f.step(stepUse, at)
		return
	}
	f.seen[address.slot] = f.epoch
	f.step(stepSet, at)
}

// check compares the counter with the limit.
func (f *flow) check() {
	f.step(stepUse, f.slot(slotGas, 0))
	f.step(stepUse, f.slot(slotGas, 1))
}

func (f *flow) enter(op byte, params int) {
	f.step(stepOpen, int32(len(f.blocks)))
	f.open = append(f.open, int32(len(f.blocks)))
	b := block{op: op, base: max(len(f.operands)-params, 0)}
	switch op {
	case opIf:
		b.paths = 1 // around it, or through the other arm
	case opLoop:
		b.paths = 1
		f.epoch++ // the engine does not know yet who comes back here
	}
	f.blocks = append(f.blocks, b)
}

func (f *flow) otherwise(params int, dead bool) {
	n := f.open[len(f.open)-1]
	f.blocks[n].split = true
	if dead {
		f.blocks[n].paths--
	}
	f.step(stepElse, n)
	f.cut(f.blocks[n].base)
	f.push(params, -1)
}

func (f *flow) leave(results int, dead bool) {
	n := f.open[len(f.open)-1]
	b := &f.blocks[n]
	if b.op != opLoop && !dead {
		b.paths++
	}
	if b.meets = b.paths > 1; b.meets && b.op != opLoop {
		f.epoch++
	}
	f.cut(b.base)
	f.step(stepEnd, n)
	f.open = f.open[:len(f.open)-1]
	f.push(results, -1)
}

// branch leads to the label of the block that is open at the given depth from
// outside.
func (f *flow) branch(what stepKind, to int) {
	n := f.open[to]
	f.blocks[n].paths++
	f.step(what, n)
}

func (f *flow) branchTable(targets []int) {
	f.table++
	for i, t := range targets {
		b := &f.blocks[f.open[t]]
		if i == len(targets)-1 {
			f.branch(stepGo, t)
		} else if b.table != f.table {
			f.branch(stepTo, t)
		} else {
			b.paths++
		}
		b.table = f.table
	}
}
