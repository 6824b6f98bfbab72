package gas

import (
	"errors"
	"fmt"
	"strings"
)

// Section numbers of the binary format.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	sections
)

// written are the sections in the order in which they may stand, but for the
// start section, which comes between export and element and is not written.
var written = []int{
	secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport,
	secElement, secDataCount, secCode, secData,
}

// The kinds of what is imported and exported.
const (
	kindFunction = iota
	kindTable
	kindMemory
	kindGlobal
)

const header = "\x00asm\x01\x00\x00\x00"

type signature struct{ params, results []byte }

type tableType struct {
	of          byte
	least, most uint32
}

// A module is what there is to know of one: how large its index spaces are,
// and the entries of its sections as they stand.
type module struct {
	types     []signature
	functions []int // type of each, the imported ones first
	imported  int   // how many of functions
	imports   []Import
	tables    []tableType
	memories  int
	min, max  uint32 // pages of the memory; max is maxPages where none is declared
	globals   int
	elements  int
	datas     int
	start     int // index of the start function, or -1
	exports   map[string]export
	refs      map[int]bool // functions that a ref.func may name

	raw    [sections][]byte // entries, without their count
	extra  [sections][]byte // entries to add
	counts [sections]int    // of both
	added  map[string]int   // the types among them

	flow flow // of the function that is being read
	work int  // that went into the measuring of frames

	largest int // frame, in bytes
	helpers int // functions that are added
	digger  int // index of one of them, or 0
}

type export struct {
	kind  byte
	index int
}

func parse(code []byte) (*module, error) {
	if len(code) == 0 {
		return nil, errors.New("the module is empty")
	}
	if len(code) > MaxModule {
		return nil, fmt.Errorf("the module has %d bytes, more than %d", len(code), MaxModule)
	}
	if !strings.HasPrefix(string(code[:min(len(code), len(header))]), header[:4]) {
		return nil, errors.New("this is not a WebAssembly module")
	}
	if !strings.HasPrefix(string(code[:min(len(code), len(header))]), header) {
		return nil, errors.New("this is not a WebAssembly module of version 1")
	}
	m := &module{start: -1, max: maxPages, exports: map[string]export{}, refs: map[int]bool{}, added: map[string]int{}}
	r := reader{b: code, at: len(header)}
	last := 0
	for r.left() > 0 && r.err == nil {
		id := int(r.byte())
		content := r.bytes(int(r.u32()))
		if r.err != nil {
			break
		}
		if id == secCustom {
			custom := reader{b: content}
			custom.name()
			r.err = custom.err
			continue // names and debug information: of no use here, and Bob's secret
		}
		if id >= sections {
			r.fail("unknown section %d", id)
			break
		}
		if place := order(id); place <= last {
			r.fail("section %d is out of order", id)
			break
		} else {
			last = place
		}
		if err := m.section(id, content); err != nil {
			return nil, err
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, m.consistent()
}

// consistent checks what no section can know alone.
func (m *module) consistent() error {
	if m.counts[secFunction] != m.counts[secCode] {
		return fmt.Errorf("%d functions but %d bodies", m.counts[secFunction], m.counts[secCode])
	}
	if m.counts[secDataCount] == 1 && m.datas != m.counts[secData] {
		return fmt.Errorf("%d data segments announced, %d there", m.datas, m.counts[secData])
	}
	for _, t := range m.tables {
		if int(t.least) > maxTableEntries/len(m.tables) {
			return fmt.Errorf("a table of %d entries, more than %d", t.least, maxTableEntries/len(m.tables))
		}
	}
	return nil
}

// order is where a section may stand. They are numbered in that order, save
// the one that came later: it stands before the code.
func order(id int) int {
	if id == secDataCount {
		return 2*secCode - 1
	}
	return 2 * id
}

// section reads one section to its last byte.
func (m *module) section(id int, content []byte) error {
	r := reader{b: content}
	switch id {
	case secStart:
		m.start = r.index("start function", len(m.functions))
		if t := m.signature(m.start); r.err == nil && len(t.params)+len(t.results) > 0 {
			r.fail("a start function with parameters or results")
		}
	case secDataCount:
		m.counts[id] = 1
		if m.datas = int(r.u32()); m.datas > maxSegments {
			r.fail("%d data segments, more than %d", m.datas, maxSegments)
		}
	default:
		n := r.count("entries", limits[id])
		m.counts[id] = n
		from := r.at
		for i := 0; i < n && r.err == nil; i++ {
			m.entry(id, &r)
		}
		if r.err == nil {
			m.raw[id] = content[from:r.at:r.at]
		}
	}
	if r.left() > 0 && r.err == nil {
		r.fail("has more bytes than entries")
	}
	if r.err != nil {
		return fmt.Errorf("section %d: %w", id, r.err)
	}
	return nil
}

var limits = [sections]int{
	secType: maxTypes, secImport: maxImports, secFunction: maxFunctions, secTable: maxTables, secMemory: 1,
	secGlobal: maxGlobals, secExport: maxExports, secElement: maxSegments, secCode: maxFunctions, secData: maxSegments,
}

func (m *module) entry(id int, r *reader) {
	switch id {
	case secType:
		r.expect(typeFunc, "type")
		m.types = append(m.types, signature{params: valueTypes(r), results: valueTypes(r)})
	case secImport:
		m.readImport(r)
	case secFunction:
		m.functions = append(m.functions, r.index("type", len(m.types)))
	case secTable:
		m.readTable(r)
	case secMemory:
		m.memories++
		m.min, m.max = limitsOf(r, maxPages)
		if r.err == nil && (m.min > maxPages || m.max > maxPages) {
			r.fail("a memory of more than 4 GiB")
		}
	case secGlobal:
		m.globals++
		valueType(r)
		if mutable := r.byte(); mutable > 1 {
			r.fail("a global is neither constant nor mutable")
		}
		m.constant(r)
	case secExport:
		m.readExport(r)
	case secElement:
		m.elements++
		m.readElement(r)
	case secCode:
		size := int(r.u32())
		if size > maxBody {
			r.fail("a function of %d bytes, more than %d", size, maxBody)
		}
		r.bytes(size)
	case secData:
		flag := r.u32()
		if flag > 2 {
			r.fail("unknown kind of data segment %d", flag)
		}
		if flag == 2 {
			r.index("memory", m.memories)
		}
		if flag != 1 {
			m.constant(r)
		}
		r.bytes(int(r.u32()))
	}
}

func (m *module) readImport(r *reader) {
	im := Import{Module: r.name(), Name: r.name()}
	if kind := r.byte(); r.err == nil && kind != 0 {
		r.fail("imports %q from %q, which is not a function", im.Name, im.Module)
	}
	m.functions = append(m.functions, r.index("type", len(m.types)))
	m.imported++
	m.imports = append(m.imports, im)
}

func (m *module) readTable(r *reader) {
	t := tableType{of: reference(r)}
	t.least, t.most = limitsOf(r, maxTableEntries)
	m.tables = append(m.tables, t)
}

func (m *module) readExport(r *reader) {
	name := r.name()
	e := export{kind: r.byte()}
	spaces := []int{len(m.functions), len(m.tables), m.memories, m.globals}
	if int(e.kind) >= len(spaces) {
		r.fail("unknown kind of export %d", e.kind)
		return
	}
	e.index = r.index("export", spaces[e.kind])
	if strings.HasPrefix(name, Reserved) {
		r.fail("exports %q: names that begin with %q are reserved", name, Reserved)
	}
	if e.kind == kindFunction {
		m.refs[e.index] = true
	}
	if _, twice := m.exports[name]; twice {
		r.fail("exports %q twice", name)
	}
	m.exports[name] = e
}

func (m *module) readElement(r *reader) {
	flag := r.u32()
	if flag > 7 {
		r.fail("unknown kind of element segment %d", flag)
	}
	active, explicit, expressions := flag&1 == 0, flag&2 != 0, flag&4 != 0
	if active && explicit {
		r.index("table", len(m.tables))
	}
	if active {
		m.constant(r)
	}
	if flag&3 != 0 { // the kind stands there unless it is the only one there was in 1.0
		if expressions {
			reference(r)
		} else {
			r.expect(0, "element kind")
		}
	}
	for n := r.count("elements", maxTableEntries); n > 0 && r.err == nil; n-- {
		if expressions {
			m.constant(r)
		} else {
			m.refs[r.index("function", len(m.functions))] = true
		}
	}
}

// constant reads the one instruction that gives a global or an offset its
// value. global.get has no place here: it may name imported globals only.
func (m *module) constant(r *reader) {
	switch op := r.byte(); op {
	case opI32Const:
		r.signed(32)
	case opI64Const:
		r.signed(64)
	case opF32Const:
		r.bytes(4)
	case opF64Const:
		r.bytes(8)
	case opRefNull:
		reference(r)
	case opRefFunc:
		m.refs[r.index("function", len(m.functions))] = true
	case opVector:
		r.expect(vectorConst, "constant")
		r.bytes(16)
	default:
		r.fail("instruction %#x in a constant", op)
	}
	r.expect(opEnd, "constant")
}

// limitsOf reads the least and the greatest size of a table or memory; where
// no greatest is declared it is the given one.
func limitsOf(r *reader, most uint32) (uint32, uint32) {
	flag := r.byte()
	if flag > 1 {
		r.fail("shared or 64-bit memory")
	}
	least := r.u32()
	if flag == 1 {
		most = r.u32()
		if least > most {
			r.fail("a smallest size above the largest")
		}
	}
	return least, most
}

func valueType(r *reader) byte {
	t := r.byte()
	if r.err == nil && !isValue(t) {
		r.fail("unknown type %#x", t)
	}
	return t
}

func isValue(t byte) bool {
	return t >= typeV128 && t <= typeI32 || t == typeFuncref || t == typeExternref
}

func valueTypes(r *reader) []byte {
	n := r.count("parameters or results", maxValues)
	from := r.at
	for range n {
		valueType(r)
	}
	if r.err != nil {
		return nil
	}
	return r.b[from:r.at]
}

func reference(r *reader) byte {
	t := r.byte()
	if r.err == nil && t != typeFuncref && t != typeExternref {
		r.fail("unknown reference type %#x", t)
	}
	return t
}

// signature gives the type of a function.
func (m *module) signature(f int) (t signature) {
	if f < len(m.functions) {
		t = m.types[m.functions[f]]
	}
	return t
}
