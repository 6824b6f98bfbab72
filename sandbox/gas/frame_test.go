package gas

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
)

// A shape is a function that calls itself without end, with as large a frame as
// somebody could think of who wants to meet the engine's limit before ours.
type shape struct {
	strings.Builder
	locals []string
}

func (s *shape) say(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s *shape) local(kind string) int {
	s.locals = append(s.locals, kind)
	return len(s.locals)
}

func (s *shape) locate(n int, kind string) (all []int) {
	for range n {
		all = append(all, s.local(kind))
	}
	return all
}

// module has the parameter count down, from so many that nobody arrives.
func (s *shape) module() []byte {
	return wat.Module("memory 1\nglobal i32 7\nglobal i64 7\nfunc f i32 : " + strings.Join(s.locals, " ") + "\n" + s.String() +
		"func _start\ni32.const -1\ncall f\nfunc leaf\nnop\nfunc two i64 -> i64\nlocal.get 0\nfunc many" + strings.Repeat(" i64", 300) + " -> i64\nlocal.get 7\n")
}

func (s *shape) recurse() { s.say("local.get 0\ni32.const 1\ni32.sub\ncall f") }

// use has what is in the locals wanted.
func (s *shape) use(kind string, all []int) {
	for _, l := range all {
		s.say("i32.const 16\nlocal.get %d\n%s.store", l, kind)
	}
}

// one is an instruction that makes two values into one.
var one = map[string][]string{
	"i32": {"i32.add", "i32.div_u", "i32.shl"}, "i64": {"i64.mul", "i64.rem_s", "i64.rotl"},
	"f64": {"f64.add", "f64.min"}, "v128": {"i8x16.add", "i32x4.mul"},
}

// combine sets a local to what an instruction makes of two.
func (s *shape) combine(op string, a, b, to int) {
	second := fmt.Sprintf("local.get %d", b)
	if strings.Contains(op, "div_u") || strings.Contains(op, "rem_s") { // not by zero
		second = op[:3] + ".const 3"
	}
	s.say("local.get %d\n%s\n%s\nlocal.set %d", a, second, op, to)
}

func shapes() map[string]*shape {
	all := map[string]*shape{}
	add := func(name string, make func(s *shape)) {
		s := &shape{}
		make(s)
		all[name] = s
	}
	for _, kind := range []string{"i32", "i64", "f64", "v128"} {
		for _, n := range []int{1, 6, 8, 9, 10, 11, 12, 13, 16, 30} {
			for _, op := range one[kind] {
				// Values in turn, each wanted again when all others were: nothing better to put aside.
				add(fmt.Sprintf("turns of %d by %s", n, op), func(s *shape) {
					l := s.locate(n, kind)
					for i := range 1200 {
						s.combine(op, l[i%n], l[(i+1)%n], l[i%n])
						if i == 600 && n%2 == 0 {
							s.recurse()
						}
					}
					s.use(kind, l)
					s.recurse()
				})
			}
		}
		add("across calls, "+kind, func(s *shape) {
			l := s.locate(4, kind)
			for i := range 800 {
				s.combine(one[kind][0], l[i%4], l[(i+1)%4], l[i%4])
				s.say("call leaf")
			}
			s.use(kind, l)
			s.recurse()
		})
		add("different values where paths meet, "+kind, func(s *shape) {
			const deep = 120
			l := s.locate(60, kind)
			for range deep {
				s.say("block")
			}
			for i := range deep {
				s.say("local.get 0\nbr_if %d", i)
			}
			for i := range l {
				s.combine(one[kind][0], l[i], l[(i+1)%60], l[i])
			}
			s.recurse()
			for range deep {
				s.say("end")
			}
			s.use(kind, l)
			s.recurse()
		})
	}
	add("a very large frame", func(s *shape) {
		l := s.locate(15_000, "i64")
		for i := range l {
			s.combine("i64.mul", l[i/2], l[i], l[i])
		}
		s.recurse()
		s.use("i64", l)
	})
	add("deep operands", func(s *shape) {
		for i := range 2000 {
			s.say("i64.const %d\nglobal.get 1\ni64.mul", i)
		}
		s.recurse()
		s.say("%s", strings.Repeat("i64.add\n", 1999)+"global.set 1")
	})
	for _, n := range []int{4, 6, 8, 10, 12, 20} {
		add(fmt.Sprintf("addresses, %d", n), func(s *shape) {
			l := s.locate(n, "i32")
			for i := range 2000 {
				s.say("local.get %d\ni32.load\nlocal.set %d", l[i%n], l[(i*7+3)%n])
				s.say("local.get %d\nlocal.get %d\ni32.load 8\ni32.store", l[(i*3)%n], l[(i*5)%n])
				if i%100 == 0 {
					s.say("local.get 0\nif\ncall leaf\nend")
				}
			}
			s.use("i32", l)
			s.recurse()
		})
		add(fmt.Sprintf("operands that wait, %d", n), func(s *shape) {
			l := s.locate(n, "i64")
			for i := range 300 {
				for j := range n {
					s.say("local.get %d\ni64.const %d\ni64.mul", l[(i+j)%n], 2*i+1)
				}
				for j := range n {
					s.say("local.get %d\ni64.add\nlocal.set %d", l[j], l[(j+i)%n])
				}
			}
			s.use("i64", l)
			s.recurse()
		})
		add(fmt.Sprintf("loops, %d", n), func(s *shape) {
			l := s.locate(n, "i64")
			for i := range 60 {
				s.say("loop")
				for j := range n {
					s.say("local.get %d\nlocal.get %d\ni64.xor\nlocal.set %d", l[j], l[(j+i)%n], l[j])
				}
				s.say("local.get 0\ni32.eqz\nbr_if 0\nend")
			}
			s.use("i64", l)
			s.recurse()
		})
		add(fmt.Sprintf("a loop around a switch, %d", n), func(s *shape) {
			l := s.locate(n, "i64")
			const cases = 100
			s.say("loop")
			s.say("%s", strings.Repeat("block\n", cases)+"global.get 0\nbr_table"+numbers(cases))
			for i := range cases {
				s.say("end")
				for j := range n {
					s.say("local.get %d\nlocal.get %d\ni64.mul\nlocal.set %d", l[j], l[(j+i)%n], l[(j+1)%n])
				}
				if i%3 == 0 {
					s.recurse()
				}
				s.say("local.get 0\ni32.eqz\nbr_if %d", cases-1-i)
			}
			s.say("end")
			s.use("i64", l)
			s.recurse()
		})
	}
	add("many arguments", func(s *shape) {
		for range 300 {
			s.say("i64.const 5")
		}
		s.say("call many\nglobal.set 1")
		s.recurse()
	})
	add("code that is not reached", func(s *shape) {
		s.recurse()
		s.say("local.get 0\nif\n%send", strings.Repeat("i32.const 0\nlocal.get 0\ni32.store\n", 3000))
	})
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		add(fmt.Sprintf("random %d", i), func(s *shape) { s.random(random) })
	}
	return all
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %d", i)
	}
	return b.String()
}

// random is anything, of few or many locals.
func (s *shape) random(r *rand.Rand) {
	kind := []string{"i32", "i64", "f64", "v128"}[r.IntN(4)]
	l := s.locate(1+r.IntN(30), kind)
	some := func() int { return l[r.IntN(len(l))] }
	depth, calls := 0, r.IntN(40)
	for range 1500 {
		switch n := r.IntN(60); {
		case n < 2 && depth < 20:
			s.say("block")
			depth++
		case n < 4 && depth > 0:
			s.say("end")
			depth--
		case n < 6 && depth > 0:
			s.say("local.get 0\nbr_if %d", r.IntN(depth))
		case n < 8:
			s.say("global.get 0\nif\nlocal.get %d\nlocal.set %d\nelse\nlocal.get %d\nlocal.set %d\nend", some(), some(), some(), some())
		case n < 9 && calls > 0:
			calls--
			s.say("call leaf")
		case n < 10 && calls > 0:
			calls--
			s.recurse()
		case n < 12:
			s.say("i32.const 16\nlocal.get 0\ni32.const 1023\ni32.and\ni32.load 8\ni32.store 4")
		default:
			s.combine(one[kind][r.IntN(len(one[kind]))], some(), some(), some())
		}
	}
	s.say("%s", strings.Repeat("end\n", depth))
	s.use(kind, l)
	s.recurse()
}

// The limit on nested calls is ours, whatever a function's frame is like, and
// never the engine's, which is another on each machine.
func TestOurLimitComesFirst(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the stack many times")
	}
	for name, s := range shapes() {
		code := s.module()
		frame := frames(t, code)[0]
		g := start(t, counted(t, code))
		_, _, err := g.run(1<<60, Run)
		if err == nil || g.global(Depth).Get() <= MaxDepth || strings.Contains(err.Error(), "stack overflow") {
			t.Errorf("%s: %d bytes a call: stopped with %d: %v", name, frame, g.global(Depth).Get(), firstLineOf(err))
		}
		_ = g.Module.Close(t.Context())
	}
}

func firstLineOf(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
