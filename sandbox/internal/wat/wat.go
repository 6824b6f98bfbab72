// Package wat puts small WebAssembly modules together for tests. It takes a
// plain form of the text format, one declaration or instruction a line:
//
//	import fd_write i32 i32 i32 i32 -> i32
//	memory 1 16
//	table 10
//	global i32 7
//	elem 0 first second
//	data 64 hello
//	func _start i64 -> i32 : i32 f64
//	  local.get 0
//	  if i32
//	    i32.const 1
//	  else
//	    call other
//	  end
//	func other -> i32
//	  unreachable
//	start other
//
// Functions are exported by their names; what follows the colon are locals;
// labels, locals, globals and types are numbers, functions are names. The end
// of a function is written by itself. Imports come first, from WASI.
package wat

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

var types = map[string]byte{"i32": 0x7f, "i64": 0x7e, "f32": 0x7d, "f64": 0x7c, "v128": 0x7b, "funcref": 0x70, "externref": 0x6f}

// plain are the instructions from 0x45 on, which have no immediates.
var plain = strings.Fields(`
	i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u
	i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u
	f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge
	i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u
	i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr
	i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u
	i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr
	f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign
	f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul f64.div f64.min f64.max f64.copysign
	i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u
	i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u
	f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64
	f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32
	i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64
	i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s`)

// loads are the instructions from 0x28 on, which have an offset.
var loads = strings.Fields(`
	i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u
	i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u
	i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32`)

var others = map[string][]byte{
	"unreachable": {0x00}, "nop": {0x01}, "else": {0x05}, "end": {0x0b}, "return": {0x0f}, "drop": {0x1a}, "select": {0x1b},
	"memory.size": {0x3f, 0}, "memory.grow": {0x40, 0}, "ref.null": {0xd0, 0x70}, "ref.is_null": {0xd1},
	"memory.copy": {0xfc, 10, 0, 0}, "memory.fill": {0xfc, 11, 0},
	"v128.store": {0xfd, 11, 0, 0}, "i8x16.add": {0xfd, 0x6e}, "i32x4.mul": {0xfd, 0xb5, 1},
}

// indexed are the instructions with a number, or two.
var indexed = map[string][]byte{
	"br": {0x0c}, "br_if": {0x0d}, "local.get": {0x20}, "local.set": {0x21}, "local.tee": {0x22},
	"global.get": {0x23}, "global.set": {0x24}, "table.get": {0x25}, "table.set": {0x26}, "call_indirect": {0x11},
	"memory.init": {0xfc, 8}, "data.drop": {0xfc, 9}, "table.init": {0xfc, 12}, "elem.drop": {0xfc, 13},
	"table.copy": {0xfc, 14}, "table.grow": {0xfc, 15}, "table.size": {0xfc, 16}, "table.fill": {0xfc, 17},
}

var blocks = map[string]byte{"block": 0x02, "loop": 0x03, "if": 0x04}

type function struct {
	name string
	typ  int
	code []byte
}

type module struct {
	types     []string
	imports   [][]byte
	functions []function
	names     map[string]int
	sections  map[int][][]byte
}

// Module gives the binary. It panics if it does not understand the text.
func Module(text string) []byte {
	m := &module{names: map[string]int{}, sections: map[int][][]byte{}}
	lines := strings.Split(text, "\n")
	m.each(lines, func(word string, args []string) {
		if word == "import" || word == "func" {
			m.names[args[0]] = len(m.names)
		}
	})
	m.each(lines, m.line)
	for i, f := range m.functions {
		m.add(3, uleb(f.typ))
		m.add(7, append(append(str(f.name), 0), uleb(len(m.imports)+i)...))
		m.add(10, sized(append(f.code, 0x0b)))
	}
	if m.sections[5] != nil {
		m.add(7, append(str("memory"), 2, 0))
	}
	for _, t := range m.types {
		m.add(1, []byte(t))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, id := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11} {
		s := m.sections[id]
		if id == 12 && m.sections[11] != nil {
			out = append(out, 12, 1, byte(len(m.sections[11])))
		}
		if s == nil {
			continue
		}
		var body []byte
		if id != 8 {
			body = uleb(len(s))
		}
		for _, e := range s {
			body = append(body, e...)
		}
		out = append(append(out, byte(id)), sized(body)...)
	}
	return out
}

func (m *module) each(lines []string, f func(word string, args []string)) {
	for _, l := range lines {
		if w := strings.Fields(l); len(w) > 0 && !strings.HasPrefix(w[0], ";") {
			f(w[0], w[1:])
		}
	}
}

func (m *module) add(section int, entry []byte) {
	m.sections[section] = append(m.sections[section], entry)
}

func (m *module) line(word string, args []string) {
	switch word {
	case "import":
		t, _ := m.signature(args[1:])
		entry := append(append(str("wasi_snapshot_preview1"), str(args[0])...), 0)
		m.imports = append(m.imports, entry)
		m.add(2, append(entry, uleb(t)...))
	case "memory":
		m.add(5, limits(args))
	case "table":
		m.add(4, append([]byte{0x70}, limits(args)...))
	case "global":
		op := byte(0x41)
		if args[0] == "i64" {
			op = 0x42
		}
		m.add(6, append(append([]byte{types[args[0]], 1, op}, sleb(number(args[1]))...), 0x0b))
	case "elem":
		e := append(append([]byte{0, 0x41}, sleb(number(args[0]))...), 0x0b)
		e = append(e, uleb(len(args)-1)...)
		for _, f := range args[1:] {
			e = append(e, uleb(m.function(f))...)
		}
		m.add(9, e)
	case "data":
		e := append(append([]byte{0, 0x41}, sleb(number(args[0]))...), 0x0b)
		m.add(11, append(e, str(strings.Join(args[1:], " "))...))
	case "start":
		m.add(8, uleb(m.function(args[0])))
	case "func":
		t, locals := m.signature(args[1:])
		code := uleb(len(locals))
		for _, l := range locals {
			code = append(code, 1, l)
		}
		m.functions = append(m.functions, function{args[0], t, code})
	default:
		f := &m.functions[len(m.functions)-1]
		f.code = append(f.code, m.instruction(word, args)...)
	}
}

// signature reads parameters -> results : locals, and gives the type's index.
func (m *module) signature(words []string) (int, []byte) {
	var lists [3][]byte
	at := 0
	for _, w := range words {
		switch {
		case w == "->":
			at = 1
		case w == ":":
			at = 2
		default:
			lists[at] = append(lists[at], types[w])
		}
	}
	t := string(append(append([]byte{0x60}, sized(lists[0])...), sized(lists[1])...))
	for i, have := range m.types {
		if have == t {
			return i, lists[2]
		}
	}
	m.types = append(m.types, t)
	return len(m.types) - 1, lists[2]
}

func (m *module) function(name string) int {
	i, ok := m.names[name]
	if !ok {
		panic("wat: no function " + name)
	}
	return i
}

func (m *module) instruction(word string, args []string) []byte {
	if b, ok := others[word]; ok {
		return b
	}
	if b, ok := indexed[word]; ok {
		for _, a := range args {
			b = append(b[:len(b):len(b)], uleb(int(number(a)))...)
		}
		if word == "call_indirect" && len(args) == 1 || word == "memory.init" || word == "table.init" && len(args) == 1 {
			b = append(b, 0)
		}
		return b
	}
	if op, ok := blocks[word]; ok {
		switch {
		case len(args) == 0:
			return []byte{op, 0x40}
		case types[args[0]] != 0:
			return []byte{op, types[args[0]]}
		}
		return append([]byte{op}, sleb(number(args[0]))...)
	}
	for i, name := range plain {
		if name == word {
			return []byte{byte(0x45 + i)}
		}
	}
	for i, name := range loads {
		if name == word {
			offset := 0
			if len(args) > 0 {
				offset = int(number(args[0]))
			}
			return append([]byte{byte(0x28 + i), 0}, uleb(offset)...)
		}
	}
	switch word {
	case "i32.const":
		return append([]byte{0x41}, sleb(number(args[0]))...)
	case "i64.const":
		return append([]byte{0x42}, sleb(number(args[0]))...)
	case "f32.const":
		return binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(float32(float(args[0]))))
	case "f64.const":
		return binary.LittleEndian.AppendUint64([]byte{0x44}, math.Float64bits(float(args[0])))
	case "call":
		return append([]byte{0x10}, uleb(m.function(args[0]))...)
	case "ref.func":
		return append([]byte{0xd2}, uleb(m.function(args[0]))...)
	case "br_table":
		b := append([]byte{0x0e}, uleb(len(args)-1)...)
		for _, a := range args {
			b = append(b, uleb(int(number(a)))...)
		}
		return b
	case "bytes": // anything else, in hexadecimal
		var b []byte
		for _, a := range args {
			v, err := strconv.ParseUint(a, 16, 8)
			check(err)
			b = append(b, byte(v))
		}
		return b
	}
	panic(fmt.Sprintf("wat: %s %v", word, args))
}

func check(err error) {
	if err != nil {
		panic("wat: " + err.Error())
	}
}

func number(s string) int64 {
	v, err := strconv.ParseInt(s, 0, 64)
	check(err)
	return v
}

func float(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	check(err)
	return v
}

func limits(args []string) []byte {
	b := append([]byte{byte(len(args) - 1)}, uleb(int(number(args[0])))...)
	if len(args) > 1 {
		b = append(b, uleb(int(number(args[1])))...)
	}
	return b
}

func uleb(v int) []byte { return binary.AppendUvarint(nil, uint64(v)) }

func sleb(v int64) (b []byte) {
	for v < -0x40 || v > 0x3f {
		b = append(b, byte(v)&0x7f|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

func sized(b []byte) []byte { return append(uleb(len(b)), b...) }

func str(s string) []byte { return sized([]byte(s)) }
