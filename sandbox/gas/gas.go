// Package gas makes a WebAssembly module count the instructions it executes
// (spec §9.4).
//
// The engine that runs Bob's function has no meter, so the module gets one
// before it is compiled: Instrument takes the binary apart and puts it
// together again with two more globals, Used and Limit, and with code that
// adds to Used what is about to be executed and stops where it has passed
// Limit. What the module computes stays the same; what it costs depends on
// nothing but the module and its input, so every machine arrives at the same
// number.
//
// # What is counted
//
// Every instruction costs one, except the brackets block, loop, else and end,
// which cost nothing. Entering a function costs one more for each local it
// declares. memory.fill, memory.copy and memory.init cost one for every eight
// bytes, rounded up; table.fill, copy, init and grow one for each element;
// memory.grow, when it succeeds, 8192 for each page. What a call of the host
// costs is the host's business: it adds to Used itself.
//
// # Where it is counted
//
// A region is a set of instructions of which, short of a trap, either all are
// executed or none. Its cost is added once, where it begins, so a trap in the
// middle has paid for the rest of its region as well. Two things are cheaper
// than they look, and neither changes a sum: a loop's head is paid by the
// regions that go there, and where a region goes on in one of two others it
// pays what both have in common.
//
// Used is compared with Limit in each function that calls others and each
// time round a loop: code without either is no longer than its source. A run
// is out of gas if Used is above Limit when it ends, however it ends. So a
// run that cost n succeeds with a limit of n and fails with n-1.
//
// # The call stack
//
// How deep calls can nest would otherwise be the engine's secret, and differ
// with the processor. So every call of a function that itself calls, or that
// is large, takes its frame off a budget, MaxDepth: as many bytes as the values
// can take that it may have to put aside. They are counted from above, so that
// the engine's own limit is never met first; see frame.go. That limit depends on
// how the engine's stack came to be as long as it is, so the module is entered by
// functions that see to it: Start and Run; see stack.go.
//
// # What is trusted
//
// The reader is strict: what is not WebAssembly 2.0 to the letter is refused,
// and so is what lies above the limits of browsers. Every index must be one
// that the module itself declared, else it could come to mean one of the
// added globals or functions. Types are left to the engine, which validates
// the result: added code neither takes nor leaves operands, so a body that
// was wrong remains wrong.
package gas

import "fmt"

// Limits on modules. Those that browsers have are theirs.
const (
	MaxModule = 64 << 20 // bytes of a module

	maxTypes        = 1 << 20
	maxFunctions    = 1 << 20
	maxImports      = 1 << 17
	maxExports      = 1 << 17
	maxGlobals      = 1 << 20
	maxSegments     = 100_000
	maxTables       = 16
	maxTableEntries = 1 << 20 // of all tables of a module
	maxPages        = 1 << 16
	maxBody         = 7_654_321
	maxLocals       = 50_000
	maxValues       = 1_000 // parameters, or results
	maxNesting      = 1 << 16
	maxFrame        = 2 << 20 // bytes of the stack that one call may take
)

// Costs beyond one for each instruction.
const (
	bytesShift = 3        // bulk memory instructions: one for every 1<<3 bytes
	gasPerPage = 8 << 10  // memory.grow
	MaxDepth   = 77 << 20 // bytes of stack that calls may take together
	PageSize   = 64 << 10 // bytes of a page of memory
	Reserved   = "prytany:"
)

// The exports that are added to every module. All names that begin like
// these are refused in a module that comes with them.
const (
	Used   = Reserved + "used"   // mutable i64: gas used so far
	Limit  = Reserved + "limit"  // mutable i64: the run stops, by a trap, at the next check once Used is above it
	Depth  = Reserved + "depth"  // mutable i32: bytes of stack in use; above MaxDepth after a trap for want of more
	Denied = Reserved + "denied" // mutable i32: not 0 once a memory.grow has failed
	Start  = Reserved + "start"  // function: the module's start function, if it has one, which is no longer run by itself
	Run    = Reserved + "run"    // function: the module's _start, if it is an Entry, with as long a stack as MaxDepth says
)

// A Module is one that counts.
type Module struct {
	Code     []byte
	Imports  []Import
	Memory   bool   // it has one
	MinPages uint32 // what its memory begins with
	MaxPages uint32 // what its memory may grow to; 65536 if the module does not say
	Entry    bool   // it exports a function _start that takes and gives nothing
	Start    bool   // it has a start function
}

// An Import names a function that a module wants from the host.
type Import struct{ Module, Name string }

// Instrument gives the counting form of a module. The error says what is
// wrong with the module in words for the person who wrote it. A nil error
// does not mean that the module is valid: types are checked by whoever
// compiles Code.
func Instrument(code []byte) (*Module, error) {
	m, err := parse(code)
	if err != nil {
		return nil, err
	}
	var bodies []byte
	r := reader{b: m.raw[secCode]}
	for i, t := range m.functions[m.imported:] {
		b, err := m.readBody(m.types[t], r.bytes(int(r.u32())))
		if err != nil {
			return nil, fmt.Errorf("function %d: %w", m.imported+i, err)
		}
		bodies = appendSized(bodies, b.write())
	}
	out := &Module{
		Code:     m.write(bodies),
		Imports:  m.imports,
		Memory:   m.memories > 0,
		MinPages: m.min,
		MaxPages: m.max,
		Entry:    m.hasEntry(),
		Start:    m.start >= 0,
	}
	return out, nil
}

func (m *module) hasEntry() bool {
	e, ok := m.exports["_start"]
	if !ok || e.kind != kindFunction {
		return false
	}
	t := m.signature(e.index)
	return len(t.params) == 0 && len(t.results) == 0
}
