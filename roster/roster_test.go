package roster

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// reference answers the same questions as the spec says them, seat by seat and step
// by step: no two of its answers share a line.
type reference struct {
	Roster
	executor task.NodeID
	view     uint32
}

func (r reference) out(id task.NodeID, view uint32, passedOnly bool) bool {
	for _, o := range r.Out {
		if o.Node == id && o.From <= view && (o.Passed || !passedOnly) {
			return true
		}
	}
	return false
}

// next looks at every seat of everybody for the lowest ticket.
func (r reference) next(view uint32) (who task.NodeID) {
	var lowest *task.Hash
	for _, m := range r.Members {
		if !m.Able || m.Busy || r.out(m.Node, view, false) {
			continue
		}
		for seat := range m.Seats {
			h := sortition.TicketHash(m.Beta, seat)
			if lowest == nil || bytes.Compare(h[:], lowest[:]) < 0 {
				lowest, who = &h, m.Node
			}
		}
	}
	return who
}

// judges names each judge's seats.
func (r reference) judges() map[task.NodeID]uint32 {
	all := map[task.NodeID]uint32{}
	for _, m := range r.Members {
		if m.Node == r.executor || r.out(m.Node, r.view, true) {
			continue
		}
		all[m.Node] = m.Seats
	}
	return all
}

func (r reference) seats() (n uint32) {
	for _, s := range r.judges() {
		n += s
	}
	return n
}

// quorum is the least number that more than two thirds are.
func (r reference) quorum() (q uint32) {
	for n := r.seats(); 3*q <= 2*n; {
		q++
	}
	return q
}

// agreed lets seats in one by one, first under one limit and then under the other.
func (r reference) agreed(in map[task.NodeID]bool) uint32 {
	judges, executors := r.judges(), task.Address{}
	for _, m := range r.Members {
		if m.Node == r.executor {
			executors = m.Operator
		}
	}
	count := func(ppm uint64, group func(Member) (string, bool)) (n uint32) {
		had := map[string]uint64{}
		for _, m := range r.Members {
			for range judges[m.Node] {
				name, counts := group(m)
				if !in[m.Node] || ppm > 0 && (!counts || (had[name]+1)*1_000_000 > uint64(r.quorum())*ppm) {
					continue
				}
				had[name]++
				n++
			}
		}
		return n
	}
	return min(
		count(r.Rules.KindPPM, func(m Member) (string, bool) { return m.Kind, true }),
		count(r.Rules.OperatorPPM, func(m Member) (string, bool) { return string(m.Operator[:]), m.Operator != executors }))
}

func (r reference) canAgree() bool {
	all := map[task.NodeID]bool{}
	for _, m := range r.Members {
		all[m.Node] = true
	}
	return r.agreed(all) >= r.quorum()
}

// turn walks the views from the first one.
func (r reference) turn(view uint32) (task.NodeID, bool) {
	var passed uint32
	for _, o := range r.Out {
		if o.Passed && o.From <= view {
			passed++
		}
	}
	who := r.next(view)
	if who.IsZero() || view >= r.Rules.Turns || passed >= r.Rules.Views {
		return task.NodeID{}, false
	}
	return who, reference{r.Roster, who, view}.canAgree()
}

// random makes a committee that has had some turns.
func random(r *rand.Rand) Roster {
	c := Roster{Rules: Rules{Turns: 8, Views: 1 + r.Uint32N(5), KindPPM: []uint64{0, 400_000, 700_000}[r.IntN(3)], OperatorPPM: []uint64{0, 500_000, 1_000_000}[r.IntN(3)]}}
	for i := range r.IntN(9) {
		m := Member{
			Node: task.NodeID{byte(i + 1)}, Operator: task.Address{byte(1 + r.IntN(4))}, Kind: string(rune('a' + r.IntN(3))),
			Seats: 1 + r.Uint32N(4), Able: r.IntN(8) > 0, Busy: r.IntN(8) == 0,
		}
		m.Beta[0], m.Beta[1] = byte(r.Uint32()), byte(i)
		c.Members = append(c.Members, m)
	}
	for view := range r.Uint32N(7) {
		id, ok := c.Next(view)
		if !ok {
			break
		}
		c.View, c.Executor = view, id
		c.Out = append(c.Out, Out{Node: id, From: view + 1, Passed: r.IntN(2) == 0})
		if n := len(c.Members); r.IntN(3) == 0 { // somebody declines out of turn
			c.Out = append(c.Out, Out{Node: c.Members[r.IntN(n)].Node, From: r.Uint32N(view + 2)})
		}
	}
	if r.IntN(2) == 0 {
		c.View++
		c.Executor, _ = c.Next(c.View)
	}
	return c
}

// What a roster says of a committee is what the spec says, asked in the dumbest way.
func TestAgainstReference(t *testing.T) {
	turns, agree, limited := 0, 0, 0
	for seed := range uint64(5_000) {
		r := rand.New(rand.NewPCG(seed, 2))
		c := random(r)
		ref := reference{c, c.Executor, c.View}
		if c.Judging() != ref.seats() || c.Quorum() != ref.quorum() {
			t.Fatalf("%d: %d seats judge, %d are a quorum; want %d, %d", seed, c.Judging(), c.Quorum(), ref.seats(), ref.quorum())
		}
		judges, in := ref.judges(), map[task.NodeID]bool{}
		for _, m := range append(c.Members, Member{Node: task.NodeID{99}}) {
			_, want := judges[m.Node]
			if c.Judges(m.Node) != want {
				t.Fatalf("%d: %s judges: %t", seed, m.Node.Short(), !want)
			}
			in[m.Node] = r.IntN(3) > 0
		}
		said := func(id task.NodeID) bool { return in[id] }
		if got, want := c.Agreed(said), ref.agreed(in); got != want {
			t.Fatalf("%d: %d seats agree, want %d", seed, got, want)
		} else if want < c.Spoken(said) {
			limited++
		}
		if c.CanAgree() != ref.canAgree() {
			t.Fatalf("%d: can agree: %t", seed, c.CanAgree())
		}
		for view := range uint32(10) {
			next, ok := c.Next(view)
			if want := ref.next(view); next != want || ok == want.IsZero() {
				t.Fatalf("%d: view %d is %s's turn, want %s", seed, view, next.Short(), want.Short())
			}
			id, ok := c.Turn(view)
			if want, can := ref.turn(view); id != want || ok != can {
				t.Fatalf("%d: in view %d %s executes (%t), want %s (%t)", seed, view, id.Short(), ok, want.Short(), can)
			} else if ok {
				turns++
			}
			if c.At(view).CanAgree() {
				agree++
			}
		}
	}
	if turns < 1000 || agree < 1000 || limited < 300 {
		t.Errorf("%d turns, %d who agree, %d under a limit: the cases are too narrow", turns, agree, limited)
	}
}

// A question about what would be changes nothing of what is.
func TestWhatIfChangesNothing(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		c, before := random(r), random(rand.New(rand.NewPCG(seed, 3)))
		for view := range uint32(10) {
			c.Turn(view)
			c.At(view).Quorum()
			c.With(task.NodeID{byte(view)}).CanAgree()
		}
		if !reflect.DeepEqual(c, before) {
			t.Fatalf("%d: asked, the roster is another", seed)
		}
	}
	c := Roster{Members: []Member{{Node: task.NodeID{1}, Seats: 2, Able: true}, {Node: task.NodeID{2}, Seats: 3, Able: true}}}
	if a, b := c.With(task.NodeID{1}), c.With(task.NodeID{2}); a.Judging() != 3 || b.Judging() != 2 || c.Judging() != 5 {
		t.Errorf("%d, %d and %d seats judge", a.Judging(), b.Judging(), c.Judging())
	}
}
