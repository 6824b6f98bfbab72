package gas

// Opcodes that the rewriter acts on or writes.
const (
	opUnreachable   = 0x00
	opBlock         = 0x02
	opLoop          = 0x03
	opIf            = 0x04
	opElse          = 0x05
	opEnd           = 0x0b
	opBr            = 0x0c
	opBrIf          = 0x0d
	opBrTable       = 0x0e
	opReturn        = 0x0f
	opCall          = 0x10
	opCallIndirect  = 0x11
	opLocalGet      = 0x20
	opLocalSet      = 0x21
	opLocalTee      = 0x22
	opGlobalGet     = 0x23
	opGlobalSet     = 0x24
	opMemoryGrow    = 0x40
	opI32Const      = 0x41
	opI64Const      = 0x42
	opF32Const      = 0x43
	opF64Const      = 0x44
	opI32Eq         = 0x46
	opI32GtU        = 0x4b
	opI64GtU        = 0x56
	opI32Add        = 0x6a
	opI32Sub        = 0x6b
	opI64Add        = 0x7c
	opI64Mul        = 0x7e
	opI64ShrU       = 0x88
	opI64ExtendI32U = 0xad
	opRefNull       = 0xd0
	opRefFunc       = 0xd2
	opBulk          = 0xfc // prefix: saturating conversions, bulk memory, tables
	opVector        = 0xfd // prefix: SIMD

	bulkMemoryInit = 8
	bulkMemoryCopy = 10
	bulkMemoryFill = 11
	bulkTableInit  = 12
	bulkTableCopy  = 14
	bulkTableGrow  = 15
	bulkTableFill  = 17
	vectorConst    = 12

	typeI32       = 0x7f
	typeI64       = 0x7e
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
	typeEmpty     = 0x40
	typeFunc      = 0x60
)

// An immediate says what follows an opcode in the binary.
type immediate uint8

const (
	unknown immediate = iota // no such instruction in WebAssembly 2.0
	none
	blockType
	label
	labels      // br_table
	function    // call
	declared    // ref.func
	indirect    // type and table of call_indirect
	local       //
	global      //
	table       //
	tables      // two of them: table.copy
	element     //
	elementInto // element and table of table.init
	data        //
	dataInto    // data and memory of memory.init
	memory      // memory.size, memory.grow, memory.fill
	memories    // two of them: memory.copy
	address     // alignment and offset of a load or store
	addressLane // the same and a lane
	lane        //
	int32Const  //
	int64Const  //
	bytes4      // f32.const
	bytes8      // f64.const
	bytes16     // v128.const, i8x16.shuffle
	selectType  //
	refType     // ref.null
)

// The instruction set of WebAssembly 2.0: by opcode, and by the number after
// the prefix. What is not here is refused: threads, tail calls, exceptions,
// garbage collection, 64-bit memories and whatever comes next.
var (
	plain   = plainSet()
	bulk    = bulkSet()
	vectors = vectorSet()
)

func plainSet() (t [256]immediate) {
	fill := func(from, to int, what immediate) {
		for op := from; op <= to; op++ {
			t[op] = what
		}
	}
	fill(0x00, 0x01, none) // unreachable, nop
	fill(opBlock, opIf, blockType)
	t[opElse], t[opEnd] = none, none
	fill(opBr, opBrIf, label)
	t[opBrTable] = labels
	t[opReturn] = none
	t[opCall], t[opCallIndirect] = function, indirect
	fill(0x1a, 0x1b, none) // drop, select
	t[0x1c] = selectType
	fill(opLocalGet, opLocalTee, local)
	fill(opGlobalGet, opGlobalSet, global)
	fill(0x25, 0x26, table)   // table.get, table.set
	fill(0x28, 0x3e, address) // loads and stores
	fill(0x3f, opMemoryGrow, memory)
	t[opI32Const], t[opI64Const] = int32Const, int64Const
	t[opF32Const], t[opF64Const] = bytes4, bytes8
	fill(0x45, 0xc4, none) // comparisons, arithmetic, conversions, sign extension
	t[opRefNull], t[0xd1], t[opRefFunc] = refType, none, declared
	t[opBulk], t[opVector] = none, none // looked up in their own tables
	return t
}

func bulkSet() (t [18]immediate) {
	for op := range 8 { // saturating conversions
		t[op] = none
	}
	t[bulkMemoryInit], t[9] = dataInto, data // memory.init, data.drop
	t[bulkMemoryCopy], t[bulkMemoryFill] = memories, memory
	t[bulkTableInit], t[13] = elementInto, element // table.init, elem.drop
	t[bulkTableCopy] = tables
	t[bulkTableGrow], t[16], t[bulkTableFill] = table, table, table // table.grow, table.size, table.fill
	return t
}

func vectorSet() (t [256]immediate) {
	for op := range t {
		switch {
		case op <= 0x0b, op == 0x5c, op == 0x5d: // loads and stores
			t[op] = address
		case op == vectorConst, op == 0x0d: // v128.const, i8x16.shuffle
			t[op] = bytes16
		case op >= 0x15 && op <= 0x22: // extract_lane, replace_lane
			t[op] = lane
		case op >= 0x54 && op <= 0x5b: // lane loads and stores
			t[op] = addressLane
		default:
			t[op] = none
		}
	}
	for _, hole := range []int{
		0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb,
		0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee,
	} {
		t[hole] = unknown
	}
	return t
}
