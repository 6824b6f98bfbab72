package gas

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
	"pgregory.net/rapid"
)

// A writer writes functions of all shapes that control flow can have. Each
// ends, for a global holds fuel that every way back takes some of.
type writer struct {
	*rapid.T
	strings.Builder
	labels []string // what encloses the place being written: "block", "loop", "if"; the last is the innermost
	size   int
}

const variables = 4 // parameters

func (w *writer) say(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *writer) pick(n int) int { return rapid.IntRange(0, n-1).Draw(w.T, "pick") }

func (w *writer) value() {
	if w.pick(2) == 0 {
		w.say("i32.const %d", w.pick(5)-1)
	} else {
		w.say("local.get %d", w.pick(variables))
	}
}

func (w *writer) condition() {
	w.value()
	w.value()
	w.say("%s", []string{"i32.lt_s", "i32.eq", "i32.and", "i32.gt_u"}[w.pick(4)])
}

func (w *writer) burn() {
	w.say("global.get 0\ni32.const 1\ni32.sub\nglobal.set 0\nglobal.get 0\ni32.eqz\nif\nreturn\nend")
}

func (w *writer) inside(kind string, n int) {
	w.labels = append(w.labels, kind)
	for range n {
		w.statement()
	}
	w.labels = w.labels[:len(w.labels)-1]
}

// label picks one, and burns fuel where it may lead back.
func (w *writer) label() int {
	l := w.pick(len(w.labels))
	if w.labels[len(w.labels)-1-l] == "loop" {
		w.burn()
	}
	return l
}

func (w *writer) statement() {
	w.size++
	kind := w.pick(14)
	if w.size > 60 || len(w.labels) > 6 {
		kind = w.pick(7)
	}
	switch kind {
	case 0:
		w.say("nop")
	case 1, 2:
		w.value()
		w.say("local.set %d", w.pick(variables))
	case 3:
		w.value()
		w.value()
		w.say("i32.add\nlocal.set %d", w.pick(variables))
	case 4:
		w.condition()
		w.say("if")
		w.labels = append(w.labels, "if")
		w.say("br %d", w.label())
		w.labels = w.labels[:len(w.labels)-1]
		w.say("end")
	case 5:
		l := w.label()
		w.condition()
		w.say("br_if %d", l)
	case 6:
		switch w.pick(8) {
		case 0:
			w.say("return")
		case 1:
			w.say("br %d", w.label())
		case 2:
			w.say("call leaf")
		case 3:
			w.say("i32.const 0\ni32.const 0\ni32.const %d\nmemory.fill", w.pick(40))
		case 4:
			w.value()
			w.say("i32.const 65535\ni32.and\ni32.load8_u\nlocal.set 0")
		default:
			w.say("nop")
		}
	case 7, 8:
		w.say("block")
		w.inside("block", 1+w.pick(4))
		w.say("end")
	case 9, 10:
		w.say("loop")
		w.inside("loop", 1+w.pick(4))
		w.say("end")
	case 11:
		w.condition()
		w.say("if")
		w.inside("if", w.pick(4))
		if w.pick(2) == 0 {
			w.say("else")
			w.inside("if", w.pick(4))
		}
		w.say("end")
	case 12:
		n := w.pick(4)
		var table string
		for range n + 1 {
			table += fmt.Sprintf(" %d", w.label())
		}
		w.value()
		w.say("br_table%s", table)
	case 13:
		w.dispatch()
	}
}

// dispatch writes a loop around a switch.
func (w *writer) dispatch() {
	cases := 1 + w.pick(4)
	selector := w.pick(variables)
	w.say("loop")
	w.labels = append(w.labels, "loop")
	for range cases {
		w.say("block")
		w.labels = append(w.labels, "block")
	}
	w.say("local.get %d", selector)
	var table string
	for range cases + w.pick(2) {
		table += fmt.Sprintf(" %d", w.pick(cases)) // never the loop
	}
	w.say("br_table%s %d", table, cases-1)
	for range cases {
		w.say("end")
		w.labels = w.labels[:len(w.labels)-1]
		for range 1 + w.pick(3) {
			if w.pick(3) > 0 {
				w.statement()
				continue
			}
			w.condition()
			w.say("if")
			w.burn()
			w.say("i32.const %d\nlocal.set %d\nbr %d", w.pick(cases+2)-1, selector, w.depthOfLoop()+1)
			w.say("end")
		}
	}
	w.labels = w.labels[:len(w.labels)-1]
	w.say("end")
}

func (w *writer) depthOfLoop() int {
	for l := range w.labels {
		if w.labels[len(w.labels)-1-l] == "loop" {
			return l
		}
	}
	panic("no loop")
}

// Whatever the shape, counting by regions arrives at what counting one by one
// arrives at, and the function does the same.
func TestRandomFunctions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &writer{T: rt}
		w.say("memory 1\nglobal i32 %d", 1+w.pick(50))
		w.say("func f i32 i32 i32 i32 -> i32 i32 : i32 i64")
		w.say("block")
		w.labels = []string{"block"}
		for range 1 + w.pick(8) {
			w.statement()
		}
		w.say("end\nlocal.get 0\nlocal.get 1")
		w.say("func leaf\nnop")
		text := strings.ReplaceAll(w.String(), "return\n", "local.get 2\nlocal.get 3\nreturn\n")
		code := wat.Module(text)
		twins := newTwin(t, nil)
		if err := twins.load(t.Context(), code); err != nil || twins.refused {
			rt.Fatalf("not valid: %v\n%s", err, text)
		}
		args := []uint64{uint64(w.pick(4)), uint64(w.pick(4)), uint64(w.pick(4)), uint64(w.pick(4))}
		if err := twins.call(t.Context(), twins.last, "f", args); err != nil {
			rt.Fatalf("%v\n%s", err, text)
		}
	})
}
