package gas

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
)

// engineStack is how long the engine's stack is, as it comes to be.
type engineStack int

func (s *engineStack) grow(frame int) { *s = 2**s + engineStack(frame) + stackAlign }

// last has it grow by frames until the engine would not again.
func (s engineStack) last(frame func() int) engineStack {
	for s <= stackCeiling {
		s.grow(frame())
	}
	return s
}

// However a function steers what the engine's stack grows by, the last one is as
// long as doubling alone makes it; and it could have steered.
func TestTheLastStackIsLong(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, largest := range []int{0, 100, 1_000, 2_000, 5_000, 28_000, 52_000, frameLeaf, 200_000, 1 << 20, maxFrame} {
		for _, dug := range []int{digLeast, 500, digMost} {
			begin := engineStack(stackFirst)
			for call := range digs(largest) {
				if (call+1)*dug > int(begin) {
					begin.grow(dug)
				}
			}
			if limit := 64 * (largest + 1_000); int(begin) > limit {
				t.Errorf("frames of at most %d bytes: begins with %d, more than %d", largest, begin, limit)
			}
			shortest := engineStack(stackLast)
			for one := range 2_000 {
				same := func() int { return largest * one / 1_999 }
				mixed := func() int { return random.IntN(largest + 1) }
				for _, frame := range []func() int{same, mixed} {
					if got := begin.last(frame); got < stackLast {
						t.Fatalf("frames of at most %d bytes: from %d to %d, less than %d", largest, begin, got, stackLast)
					}
					shortest = min(shortest, engineStack(stackFirst).last(frame))
				}
			}
			if largest >= 2_000 && shortest >= stackLast {
				t.Errorf("frames of at most %d bytes could do no harm", largest)
			}
		}
	}
}

// across is a module that keeps so many values across a call, and counts how
// often it ran.
func across(values int) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "global i32 0\nfunc leaf\nfunc get -> i32\nglobal.get 0\nfunc _start :%s\n", strings.Repeat(" i64", values))
	for i := range values {
		fmt.Fprintf(&text, "i64.const %d\nlocal.set %d\n", i, i)
	}
	text.WriteString("call leaf\n")
	for i := range values {
		fmt.Fprintf(&text, "local.get %d\ndrop\n", i)
	}
	text.WriteString("global.get 0\ni32.const 1\ni32.add\nglobal.set 0\nstart _start")
	return wat.Module(text.String())
}

// What makes the stack long is no part of the function: it costs no gas, and
// gives back all that it takes.
func TestRunCostsNothing(t *testing.T) {
	for _, values := range []int{1, 1000} {
		code := across(values)
		if f := frames(t, code)[2]; (digs(f) > 0) != (values > 1) {
			t.Fatalf("a frame of %d bytes: %d calls", f, digs(f))
		}
		for _, name := range []string{"_start", Run, Start} {
			g := start(t, counted(t, code))
			_, used, err := g.run(1<<40, name)
			if want := uint64(values + 4*values + 5); err != nil || used != want || g.global(Depth).Get() != 0 {
				t.Errorf("%s: used %d, want %d; %d bytes of stack still in use: %v", name, used, want, g.global(Depth).Get(), err)
			}
			if v, _, err := g.run(100, "get"); err != nil || v[0] != 1 {
				t.Errorf("%s: ran %d times: %v", name, v, err)
			}
		}
	}
}
