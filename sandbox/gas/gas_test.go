package gas

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// A guest is an instance of a module, counted or not.
type guest struct {
	api.Module
	t testing.TB
}

func newRuntime(t testing.TB) wazero.Runtime {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false).WithMemoryLimitPages(256))
	t.Cleanup(func() { r.Close(context.Background()) })
	return r
}

func start(t testing.TB, code []byte) guest {
	t.Helper()
	m, err := newRuntime(t).InstantiateWithConfig(t.Context(), code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	return guest{m, t}
}

func counted(t testing.TB, code []byte) []byte {
	t.Helper()
	m, err := Instrument(code)
	if err != nil {
		t.Fatal(err)
	}
	return m.Code
}

func (g guest) global(name string) api.MutableGlobal {
	return g.ExportedGlobal(name).(api.MutableGlobal)
}

// run calls a function with a limit and gives what it used.
func (g guest) run(limit uint64, name string, args ...uint64) ([]uint64, uint64, error) {
	g.global(Used).Set(0)
	g.global(Depth).Set(0)
	g.global(Limit).Set(limit)
	results, err := g.ExportedFunction(name).Call(g.t.Context(), args...)
	return results, g.global(Used).Get(), err
}

// naive counts in the dullest way: one before each instruction.
func naive(code []byte) ([]byte, error) {
	m, err := parse(code)
	if err != nil {
		return nil, err
	}
	r := reader{b: m.raw[secCode]}
	var bodies []byte
	for _, t := range m.functions[m.imported:] {
		b, err := m.readBody(m.types[t], r.bytes(int(r.u32())))
		if err != nil {
			return nil, err
		}
		helps := slices.DeleteFunc(b.edits, func(e edit) bool { return e.what != size && e.what != grow })
		b.calls, b.regions, b.edits, b.frames = false, []uint64{uint64(b.locals - b.params), 1}, nil, make([]frame, 1)
		b.at = b.first
		for len(b.frames) > 0 {
			at := b.at
			op := b.byte()
			what, _ := b.lookup(op)
			b.immediate(what)
			switch op {
			case opBlock, opLoop, opIf:
				b.frames = append(b.frames, frame{})
			case opEnd:
				b.frames = b.frames[:len(b.frames)-1]
			}
			if op != opBlock && op != opLoop && op != opElse && op != opEnd {
				b.edits = append(b.edits, edit{what: charge, at: at, arg: 1})
			}
			if len(helps) > 0 && helps[0].at == at {
				b.edits = append(b.edits, helps[0])
				helps = helps[1:]
			}
		}
		bodies = appendSized(bodies, b.write())
	}
	return m.write(bodies), nil
}

var counts = []struct {
	name   string
	module string
	args   []uint64
	gas    uint64
}{
	{"nothing", `
		func f`, nil, 0},
	{"a straight line: const, const, add", `
		func f -> i32
		  i32.const 1
		  i32.const 2
		  i32.add`, nil, 3},
	{"brackets are free", `
		func f
		  block
		    block
		      nop
		    end
		  end`, nil, 1},
	{"declared locals cost one each, parameters do not", `
		func f i32 i32 : i32 i64 f64`, []uint64{1, 2}, 3},
	{"if taken: get, if, nop, and one nop after", `
		func f i32
		  local.get 0
		  if
		    nop
		  end
		  nop`, []uint64{1}, 4},
	{"if not taken", `
		func f i32
		  local.get 0
		  if
		    nop
		  end
		  nop`, []uint64{0}, 3},
	{"then: 2 + 3", `
		func f i32
		  local.get 0
		  if
		    nop
		    nop
		    nop
		  else
		    nop
		  end`, []uint64{1}, 5},
	{"else: 2 + 1", `
		func f i32
		  local.get 0
		  if
		    nop
		    nop
		    nop
		  else
		    nop
		  end`, []uint64{0}, 3},
	{"a loop of 5, ten times", `
		func f i32
		  loop
		    local.get 0
		    i32.const 1
		    i32.sub
		    local.tee 0
		    br_if 0
		  end`, []uint64{10}, 50},
	{"a loop with its test on top: 10 × (3 test + 4 body + br) + 3 test", `
		func f i32
		  block
		    loop
		      local.get 0
		      i32.eqz
		      br_if 1
		      local.get 0
		      i32.const 1
		      i32.sub
		      local.set 0
		      br 0
		    end
		  end`, []uint64{10}, 83},
	{"the same with if: 10 × (2 + 5) + 2 + br", `
		func f i32
		  block
		    loop
		      local.get 0
		      i32.eqz
		      if
		        br 2
		      end
		      local.get 0
		      i32.const 1
		      i32.sub
		      local.set 0
		      br 0
		    end
		  end`, []uint64{10}, 10*(3+5) + 3 + 1},
	{"a loop in a loop: outer 3 × (const, set, 7 around), inner 4 × 5 each", `
		func f i32 : i32
		  loop
		    i32.const 4
		    local.set 1
		    loop
		      local.get 1
		      i32.const 1
		      i32.sub
		      local.tee 1
		      br_if 0
		    end
		    local.get 0
		    i32.const 1
		    i32.sub
		    local.tee 0
		    br_if 0
		  end`, []uint64{3}, 1 + 3*(2+4*5+5)},
	{"a block left early skips the rest: const, br_if, and the nop after", `
		func f
		  block
		    i32.const 1
		    br_if 0
		    nop
		    nop
		  end
		  nop`, nil, 3},
	{"a block not left early", `
		func f
		  block
		    i32.const 0
		    br_if 0
		    nop
		    nop
		  end
		  nop`, nil, 5},
	{"two blocks left at once: const, br_if, last nop", `
		func f
		  block
		    block
		      i32.const 1
		      br_if 1
		      nop
		    end
		    nop
		    nop
		  end
		  nop`, nil, 3},
	{"nothing after a branch is counted", `
		func f
		  block
		    br 0
		    nop
		    nop
		    block
		      nop
		    end
		  end
		  nop`, nil, 2},
	{"return from the inside", `
		func f i32 -> i32
		  local.get 0
		  if
		    block
		      i32.const 7
		      return
		    end
		    nop
		  end
		  i32.const 8`, []uint64{1}, 4},
	{"br_table to the first: 2 + nop + nop + nop", `
		func f i32
		  block
		    block
		      block
		        local.get 0
		        br_table 0 1 2
		      end
		      nop
		    end
		    nop
		  end
		  nop`, []uint64{0}, 5},
	{"br_table to the second", `
		func f i32
		  block
		    block
		      block
		        local.get 0
		        br_table 0 1 2
		      end
		      nop
		    end
		    nop
		  end
		  nop`, []uint64{1}, 4},
	{"br_table to the default", `
		func f i32
		  block
		    block
		      block
		        local.get 0
		        br_table 0 1 2
		      end
		      nop
		    end
		    nop
		  end
		  nop`, []uint64{99}, 3},
	{"a call: call, nop, and 2 + 1 local in the other", `
		func f
		  call g
		  nop
		func g : i32
		  nop
		  nop`, nil, 5},
	{"an indirect call: const, call_indirect, 3 there", `
		table 1
		elem 0 g
		func f
		  i32.const 0
		  call_indirect 0
		func g
		  nop
		  nop
		  nop`, nil, 5},
	{"recursion: 5 × (get, if, get, const, sub, call) + 2", `
		func f i32
		  local.get 0
		  if
		    local.get 0
		    i32.const 1
		    i32.sub
		    call f
		  end`, []uint64{5}, 32},
	{"a loop around a switch, as the Go compiler writes it: three cases forwards", `
		func f : i32
		  loop
		    block
		      block
		        block
		          local.get 0
		          br_table 0 1 2
		        end
		        i32.const 1
		        local.set 0
		        br 2
		      end
		      i32.const 2
		      local.set 0
		      br 1
		    end
		    nop
		  end`, nil, 1 + 3*2 + 3 + 3 + 1},
	{"and four times back", `
		func f i32 : i32
		  loop
		    block
		      block
		        local.get 1
		        br_table 0 1
		      end
		      local.get 0
		      i32.const 1
		      i32.sub
		      local.tee 0
		      if
		        i32.const 0
		        local.set 1
		        br 2
		      end
		      i32.const 1
		      local.set 1
		      br 1
		    end
		    nop
		  end`, []uint64{4}, 1 + 5*2 + 4*5 + 4*3 + 1},
	{"memory.fill of 17 bytes: 4 + 3", `
		memory 1
		func f
		  i32.const 0
		  i32.const 1
		  i32.const 17
		  memory.fill`, nil, 7},
	{"memory.copy of 16 bytes: 4 + 2", `
		memory 1
		func f
		  i32.const 0
		  i32.const 1
		  i32.const 16
		  memory.copy`, nil, 6},
	{"memory.fill of 9 bytes among locals and calls: 1 local, 7 here + 2, 2 in the other", `
		memory 1
		func f i32 : i64
		  i64.const 1
		  local.set 1
		  i32.const 0
		  i32.const 1
		  local.get 0
		  memory.fill
		  call g
		func g
		  nop
		  nop`, []uint64{9}, 2 + 1 + 4 + 2 + 1 + 2},
	{"memory.init of 1 byte: 4 + 1", `
		memory 1
		data 0 hello
		func f
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  memory.init 0`, nil, 4},
	{"memory.grow by two pages: 3 + 2 × 8192", `
		memory 1
		func f
		  i32.const 2
		  memory.grow
		  drop`, nil, 3 + 2*8192},
	{"memory.grow that fails: 3", `
		memory 1 2
		func f
		  i32.const 2
		  memory.grow
		  drop`, nil, 3},
	{"table.grow by 5: 4 + 5", `
		table 1
		func f
		  ref.null
		  i32.const 5
		  table.grow 0
		  drop`, nil, 9},
	{"table.fill of 3: 4 + 3", `
		table 4
		func f
		  i32.const 1
		  ref.null
		  i32.const 3
		  table.fill 0`, nil, 7},
	{"table.copy of 2: 4 + 2", `
		table 4
		func f
		  i32.const 1
		  i32.const 0
		  i32.const 2
		  table.copy 0 0`, nil, 6},
}

func TestCounts(t *testing.T) {
	for _, c := range counts {
		t.Run(c.name, func(t *testing.T) {
			code := wat.Module(c.module)
			_, used, err := start(t, counted(t, code)).run(1<<40, "f", c.args...)
			if err != nil || used != c.gas {
				t.Errorf("counted %d, want %d: %v", used, c.gas, err)
			}
			dull, err := naive(code)
			if err != nil {
				t.Fatal(err)
			}
			if _, used, err := start(t, dull).run(1<<40, "f", c.args...); err != nil || used != c.gas {
				t.Errorf("one by one %d, want %d: %v", used, c.gas, err)
			}
		})
	}
}

// The count is the module's own, not the engine's.
func TestSameInAnotherEngine(t *testing.T) {
	interpreter := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer interpreter.Close(t.Context())
	for _, c := range counts {
		m, err := interpreter.InstantiateWithConfig(t.Context(), counted(t, wat.Module(c.module)), wazero.NewModuleConfig().WithName(""))
		if err != nil {
			t.Fatal(err)
		}
		if _, used, err := (guest{m, t}).run(1<<40, "f", c.args...); err != nil || used != c.gas {
			t.Errorf("%s: counted %d, want %d: %v", c.name, used, c.gas, err)
		}
	}
}

// A run that costs n gas succeeds with a limit of n. With less it may run to
// its end where nothing checks, but it is over its limit then.
func TestLimitIsExact(t *testing.T) {
	for _, c := range counts {
		g := start(t, counted(t, wat.Module(c.module)))
		for limit := range c.gas {
			g := g
			if c.gas > 1000 { // memory.grow
				g, limit = start(t, counted(t, wat.Module(c.module))), c.gas-1
			}
			if _, used, _ := g.run(limit, "f", c.args...); used <= limit {
				t.Errorf("%s: costs %d, but got through with %d", c.name, c.gas, limit)
			}
			if limit == c.gas-1 {
				break
			}
		}
		if _, used, err := start(t, counted(t, wat.Module(c.module))).run(c.gas, "f", c.args...); err != nil || used != c.gas {
			t.Errorf("%s: costs %d, but did not get through with it: %d, %v", c.name, c.gas, used, err)
		}
	}
}

// What never ends by itself ends by its limit.
func TestEndless(t *testing.T) {
	for name, text := range map[string]string{
		"empty loop": `
			func f
			  loop
			    br 0
			  end`,
		"conditional loop": `
			func f
			  loop
			    i32.const 1
			    br_if 0
			  end`,
		"loop by table": `
			func f
			  loop
			    i32.const 0
			    br_table 0 0
			  end`,
		"two loops": `
			func f
			  loop
			    loop
			      br 1
			    end
			  end`,
		"switch that goes back to itself": `
			func f : i32
			  loop
			    block
			      block
			        local.get 0
			        br_table 0 1
			      end
			      i32.const 0
			      local.set 0
			      br 1
			    end
			    i32.const 0
			    local.set 0
			    br 0
			  end`,
		"switch with another local set": `
			func f : i32 i32
			  loop
			    block
			      block
			        local.get 0
			        br_table 0 1
			      end
			      i32.const 1
			      local.set 1
			      br 1
			    end
			  end`,
		"switch that goes back from inside a block where its case was": `
			func f : i32
			  loop
			    block
			      block
			        local.get 0
			        br_table 0 1
			      end
			      block
			        i32.const 0
			        local.set 0
			        br 2
			      end
			    end
			  end`,
		"switch of another loop": `
			func f : i32
			  loop
			    block
			      local.get 0
			      br_table 0
			    end
			    loop
			      block
			        i32.const 0
			        local.set 0
			        br 2
			      end
			    end
			  end`,
		"switch out of its range": `
			func f : i32
			  i32.const 5
			  local.set 0
			  loop
			    block
			      block
			        local.get 0
			        br_table 1 0
			      end
			      i32.const -1
			      local.set 0
			      br 1
			    end
			  end`,
		"tree of calls": `
			func f
			  i32.const 200
			  call g
			func g i32
			  local.get 0
			  if
			    local.get 0
			    i32.const 1
			    i32.sub
			    call g
			    local.get 0
			    i32.const 1
			    i32.sub
			    call g
			  end`,
		"filling": `
			memory 256
			func f
			  loop
			    i32.const 0
			    i32.const 0
			    i32.const 16777216
			    memory.fill
			    br 0
			  end`,
	} {
		g := start(t, counted(t, wat.Module(text)))
		_, used, err := g.run(1_000_000, "f")
		if err == nil || used <= 1_000_000 || used > 4_000_000 {
			t.Errorf("%s: used %d, %v", name, used, err)
		}
	}
}

func TestCallsNestToTheSameDepth(t *testing.T) {
	code := wat.Module(`
		global i32 0
		func f
		  global.get 0
		  i32.const 1
		  i32.add
		  global.set 0
		  call f
		func depth -> i32
		  global.get 0`)
	g := start(t, counted(t, code))
	if _, _, err := g.run(1<<40, "f"); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Fatal(err)
	}
	if d := g.global(Depth).Get(); d <= MaxDepth {
		t.Errorf("stopped with %d bytes of stack in use", d)
	}
	frame := frames(t, code)[0]
	if d, _, err := g.run(1<<40, "depth"); err != nil || d[0] != uint64(MaxDepth/frame) {
		t.Errorf("%d calls, want %d: %v", d, MaxDepth/frame, err)
	}
}

// A function that calls nothing is free if it is small. A large one pays, and
// where it does not fit that is a trap like any.
func TestLargeFunctionBelowTheDeepestCall(t *testing.T) {
	const values = 20_000 // that are all kept until the last is there
	var leaf strings.Builder
	for i := range values {
		fmt.Fprintf(&leaf, "local.get 0\ni32.const %d\ni32.mul\nlocal.set %d\n", 2*i+3, i+1)
	}
	leaf.WriteString("i32.const 0\n")
	for i := range values {
		fmt.Fprintf(&leaf, "local.get %d\ni32.xor\n", i+1)
	}
	code := wat.Module(`
		func f i32 -> i32
		  local.get 0
		  if i32
		    local.get 0
		    i32.const 1
		    i32.sub
		    call f
		  else
		    i32.const 7
		    call leaf
		  end
		func leaf i32 -> i32 :` + strings.Repeat(" i32", values) + "\n" + leaf.String())
	f := frames(t, code)
	if f[1] < slotBytes*values {
		t.Fatalf("a frame of %d bytes for %d values", f[1], values)
	}
	g := start(t, counted(t, code))
	deepest := (MaxDepth-f[1])/f[0] - 1
	var want uint32
	for i := range uint32(values) {
		want ^= 7 * (2*i + 3)
	}
	for range 2 {
		if v, _, err := g.run(1<<40, "f", uint64(deepest)); err != nil || uint32(v[0]) != want || g.global(Depth).Get() != 0 {
			t.Fatalf("%d, want %d; %d bytes of stack still in use: %v", v, want, g.global(Depth).Get(), err)
		}
		_, _, err := g.run(1<<40, "f", uint64(deepest+1))
		if err == nil || !strings.Contains(err.Error(), "unreachable") || g.global(Depth).Get() <= MaxDepth {
			t.Fatalf("stopped with %d bytes of stack in use: %v", g.global(Depth).Get(), err)
		}
	}
}

// frames are what the functions of a module are charged of the stack.
func frames(t testing.TB, code []byte) (all []int) {
	t.Helper()
	m, err := parse(code)
	if err != nil {
		t.Fatal(err)
	}
	r := reader{b: m.raw[secCode]}
	for _, of := range m.functions[m.imported:] {
		b, err := m.readBody(m.types[of], r.bytes(int(r.u32())))
		if err != nil {
			t.Fatal(err)
		}
		if b.flow.skew {
			t.Errorf("function %d takes operands that are not there", len(all))
		}
		all = append(all, b.frame)
	}
	return all
}

// A trap has paid for the rest of its region, and the stack is given back
// wherever a function ends.
func TestTrap(t *testing.T) {
	g := start(t, counted(t, wat.Module(`
		func f i32
		  nop
		  local.get 0
		  if
		    unreachable
		  end
		  nop
		  nop
		func g i32
		  block
		    local.get 0
		    br_if 1
		    local.get 0
		    br_table 0 1
		  end
		  call h
		  return
		func h`)))
	if _, used, err := g.run(100, "f", 1); err == nil || used != 3+1+2 {
		t.Errorf("used %d: %v", used, err)
	}
	for _, arg := range []uint64{0, 1} {
		if _, _, err := g.run(100, "g", arg); err != nil || g.global(Depth).Get() != 0 {
			t.Errorf("%d bytes of stack still in use: %v", g.global(Depth).Get(), err)
		}
	}
}

// What is added must be out of reach.
func TestNothingAddedIsInReach(t *testing.T) {
	for name, text := range map[string]string{
		"counter":         "func f\n i64.const 0\n global.set 0",
		"counter read":    "func f -> i64\n global.get 0",
		"limit":           "global i32 0\nfunc f\n i64.const -1\n global.set 2",
		"function":        "memory 1\nfunc f\n i32.const 0\n bytes 10 01\n drop",
		"function by ref": "memory 1\nfunc f\n bytes d2 01\n drop",
		"type":            "table 1\nfunc f\n i32.const 0\n i32.const 0\n call_indirect 1\n drop",
		"block type":      "func f\n i32.const 0\n bytes 02 01 0b\n drop",
		"label":           "func f\n block\n br 2\n end",
		"local":           "func f i32\n local.get 1\n drop",
		"local for sizes": "memory 1\nfunc f\n i32.const 0\n i32.const 0\n i32.const 8\n memory.fill\n local.get 0\n drop",
		"grow":            "func f\n i32.const 1\n bytes 40 00\n drop",
		"data":            "memory 1\nfunc f\n data.drop 0",
		"element":         "table 1\nfunc f\n elem.drop 0",
		"table":           "func f\n table.size 0\n drop",
	} {
		if _, err := Instrument(wat.Module(text)); err == nil {
			t.Errorf("%s is in reach", name)
		}
	}
}

func TestRefused(t *testing.T) {
	function := func(body string) []byte { return wat.Module("memory 1\ntable 1\nfunc f : i32\n" + body) }
	after := func(name string, section ...byte) []byte { return append(wat.Module("func "+name), section...) }
	for _, c := range []struct {
		name string
		code []byte
		want string
	}{
		{"nothing", nil, "the module is empty"},
		{"text", []byte("#!/bin/sh\nexit 0\n"), "this is not a WebAssembly module"},
		{"half a header", []byte("\x00as"), "this is not a WebAssembly module"},
		{"another version", []byte("\x00asm\x02\x00\x00\x00"), "not a WebAssembly module of version 1"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), "not a WebAssembly module of version 1"},
		{"a cut module", wat.Module("func f\n nop")[:20], "ends in the middle"},
		{"too large", make([]byte, MaxModule+1), "more than"},
		{"atomics", function("bytes fe 03 00"), "unknown instruction 0xfe"},
		{"tail call", function("bytes 12 00"), "unknown instruction 0x12"},
		{"exceptions", function("bytes 08 00"), "unknown instruction 0x8"},
		{"relaxed SIMD", function("bytes fd 80 02"), "unknown instruction 0xfd"},
		{"a hole in SIMD", function("bytes fd 9a 01"), "unknown instruction 0xfd"},
		{"SIMD in a long form", function("bytes fd 8c 00"), "long form"},
		{"a second memory", function("bytes 3f 01 1a"), "memory"},
		{"else alone", function("else"), "else without if"},
		{"else twice", function("i32.const 0\nif\nelse\nelse\nend"), "else without if"},
		{"code after the end", function("end\nnop"), "after its end"},
		{"no end", []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x05\x01\x03\x00\x41\x00"), "ends in the middle"},
		{"an i32 of six bytes", function("bytes 41 80 80 80 80 80 00 1a"), "longer than 32 bits"},
		{"an i32 of 33 bits", function("bytes 41 80 80 80 80 10 1a"), "longer than 32 bits"},
		{"an i64 of 65 bits", function("bytes 42 80 80 80 80 80 80 80 80 80 02 1a"), "longer than 64 bits"},
		{"select of two", function("bytes 1c 02 7f 7f"), "select"},
		{"a reserved name", wat.Module("func prytany:used"), "reserved"},
		{"two functions of a name", wat.Module("func f\nfunc f"), "exports"},
		{"many locals", []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x0a\x01\x08\x01\xff\xff\xff\xff\x0f\x7f\x0b"), "locals"},
		{"a huge table", wat.Module("table 1048577\nfunc f"), "more than"},
		{"a huge memory", wat.Module("memory 65537\nfunc f"), "4 GiB"},
		{"shared memory", []byte("\x00asm\x01\x00\x00\x00\x05\x04\x01\x03\x01\x02"), "shared"},
		{"least above most", wat.Module("memory 2 1\nfunc f"), "smallest"},
		{"two memories", []byte("\x00asm\x01\x00\x00\x00\x05\x05\x02\x00\x01\x00\x01"), "more than 1"},
		{"an imported memory", []byte("\x00asm\x01\x00\x00\x00\x02\x08\x01\x01a\x01b\x02\x00\x01"), "not a function"},
		{"sections out of order", after("f", 1, 1, 0), "out of order"},
		{"an unknown section", after("f", 13, 1, 0), "unknown section"},
		{"a section that is too long", after("f", 11, 2, 0, 0), "more bytes than entries"},
		{"a million entries in four bytes", after("f", 11, 3, 0xc0, 0x84, 0x3d), "more than"},
		{"bodies missing", []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00"), "1 functions but 0 bodies"},
		{"a start function that is not there", []byte("\x00asm\x01\x00\x00\x00\x08\x01\x00"), "start function"},
		{"a frame of 2 MiB and more", largeFrame(50_000, 3), "of the stack, more than 2097152"},
		{"nested too deep", function(strings.Repeat("block\n", maxNesting) + strings.Repeat("end\n", maxNesting)), "nested"},
	} {
		_, err := Instrument(c.code)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// largeFrame is a module of a function with as many locals, all set before each
// of some calls and wanted after it.
func largeFrame(locals, calls int) []byte {
	var b strings.Builder
	b.WriteString("func leaf\nfunc f v128 :" + strings.Repeat(" v128", locals-1) + "\n")
	for range calls {
		for i := 1; i < locals; i++ {
			fmt.Fprintf(&b, "local.get 0\nlocal.set %d\n", i)
		}
		b.WriteString("call leaf\n")
		for i := 1; i < locals; i++ {
			fmt.Fprintf(&b, "local.get %d\ndrop\n", i)
		}
	}
	return wat.Module(b.String())
}

func TestModule(t *testing.T) {
	m, err := Instrument(wat.Module(`
		import fd_write i32 i32 i32 i32 -> i32
		memory 3 9
		func _start
		func other
		start other`))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Entry || !m.Start || !m.Memory || m.MinPages != 3 || m.MaxPages != 9 ||
		!slices.Equal(m.Imports, []Import{{"wasi_snapshot_preview1", "fd_write"}}) {
		t.Errorf("%+v", m)
	}
	if m, err = Instrument(wat.Module("func _start i32")); err != nil || m.Entry || m.Memory || m.MaxPages != maxPages {
		t.Errorf("%+v, %v", m, err)
	}
}

// The start function runs when it is called, not before there is a limit.
func TestStart(t *testing.T) {
	g := start(t, counted(t, wat.Module(`
		global i32 0
		func init
		  i32.const 7
		  global.set 0
		func get -> i32
		  global.get 0
		start init`)))
	if v, _, err := g.run(10, "get"); err != nil || v[0] != 0 {
		t.Errorf("ran by itself: %d, %v", v, err)
	}
	if _, _, err := g.run(10, Start); err != nil {
		t.Error(err)
	}
	if v, _, err := g.run(10, "get"); err != nil || v[0] != 7 {
		t.Errorf("did not run: %d, %v", v, err)
	}
}

func TestTablesHaveAMaximum(t *testing.T) {
	g := start(t, counted(t, wat.Module(`
		table 1
		func grow i32 -> i32
		  ref.null
		  local.get 0
		  table.grow 0`)))
	if v, _, err := g.run(1<<40, "grow", 1<<20); err != nil || int32(v[0]) != -1 {
		t.Errorf("grew: %d, %v", v, err)
	}
	if v, _, err := g.run(1<<40, "grow", 1<<19); err != nil || int32(v[0]) != 1 {
		t.Errorf("did not grow: %d, %v", v, err)
	}
}

func TestDenied(t *testing.T) {
	g := start(t, counted(t, wat.Module(`
		memory 1
		func grow i32 -> i32
		  local.get 0
		  memory.grow`)))
	if _, _, err := g.run(1<<40, "grow", 2); err != nil || g.global(Denied).Get() != 0 {
		t.Errorf("denied: %v", err)
	}
	for _, pages := range []uint64{1000, 1<<32 - 1} {
		g.global(Denied).Set(0)
		if v, _, err := g.run(1<<40, "grow", pages); err != nil || int32(v[0]) != -1 || g.global(Denied).Get() == 0 {
			t.Errorf("not denied %d pages: %d, %v", pages, v, err)
		}
	}
}

// Functions with several results and functions without any keep them.
func TestResults(t *testing.T) {
	g := start(t, counted(t, wat.Module(`
		func two i32 -> i32 i64
		  local.get 0
		  if
		    i32.const 1
		    i64.const 2
		    return
		  end
		  i32.const 3
		  i64.const 4
		  call nothing
		func nothing`)))
	for arg, want := range map[uint64][]uint64{0: {3, 4}, 1: {1, 2}} {
		if v, _, err := g.run(100, "two", arg); err != nil || !slices.Equal(v, want) {
			t.Errorf("%d, %v; want %d", v, err, want)
		}
	}
}

func TestReaderNumbers(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 1<<31 - 1, -1 << 31, 1<<63 - 1, -1 << 63} {
		r := reader{b: appendSigned(nil, v)}
		if got := r.signed(64); got != v || r.err != nil {
			t.Errorf("%d became %d: %v", v, got, r.err)
		}
		if v == int64(int32(v)) {
			r := reader{b: appendSigned(nil, v)}
			if got := r.signed(32); got != v || r.err != nil {
				t.Errorf("%d became %d: %v", v, got, r.err)
			}
		}
		if u := uint32(v); v >= 0 && v < 1<<32 {
			r := reader{b: appendU32(nil, u)}
			if got := r.u32(); got != u || r.err != nil {
				t.Errorf("%d became %d: %v", u, got, r.err)
			}
		}
	}
}

func ExampleInstrument() {
	module := wat.Module(`
		func sum i32 -> i32 : i32
		  loop
		    local.get 0
		    local.get 1
		    i32.add
		    local.set 1
		    local.get 0
		    i32.const 1
		    i32.sub
		    local.tee 0
		    br_if 0
		  end
		  local.get 1`)
	m, err := Instrument(module)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	engine := wazero.NewRuntime(ctx)
	defer engine.Close(ctx)
	guest, err := engine.Instantiate(ctx, m.Code)
	if err != nil {
		panic(err)
	}
	guest.ExportedGlobal(Limit).(api.MutableGlobal).Set(1000)
	for _, n := range []uint64{10, 100, 1000} {
		sum, err := guest.ExportedFunction("sum").Call(ctx, n)
		if err != nil {
			err = errors.New("stopped")
		}
		fmt.Println(n, sum, guest.ExportedGlobal(Used).Get(), err)
	}
	// Output:
	// 10 [55] 92 <nil>
	// 100 [5050] 994 <nil>
	// 1000 [] 1005 stopped
}
