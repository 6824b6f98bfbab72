// Package roster answers who does what on a committee: whose turn a view is, who
// judges its executor, how many seats are a quorum of them, and whether they can
// agree at all (spec §5.3, §6.4, §7.5).
//
// A [Roster] is a plain value. The chain, a member, an owner and who reads a receipt
// make it of the same case and ask it the same questions. A question about what would
// be, another executor or another view, is asked of another value: see [Roster.With]
// and [Roster.At]. So nobody copies a case to ask one, or changes one and puts it back.
package roster

import (
	"slices"

	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Member is what a committee's order and its counts know of a member.
type Member struct {
	Node     task.NodeID
	Operator task.Address
	Kind     string // of its TEE
	Seats    uint32
	Beta     vrf.Output // its draw, of which its tickets are made
	Able     bool       // it has what the function needs
	Busy     bool       // it had no enclave free when it claimed
}

// Tickets are the member's. One that cannot execute, or was busy, has none: it votes
// and verifies, and never executes (spec §6.4.1).
func (m Member) Tickets() []sortition.Ticket {
	if !m.Able || m.Busy {
		return nil
	}
	return sortition.Tickets(task.Hash(m.Node), m.Beta, m.Seats)
}

// Out is a member that executes no more from a view on: it has declined, or it was
// passed over in the view before. Who was passed over does not judge either, or its
// silence would count against every later quorum.
type Out struct {
	Node   task.NodeID
	From   uint32
	Passed bool
}

// Rules are the limits that a roster is under.
type Rules struct {
	Turns, Views         uint32 // the most of an attempt; a declined turn uses up no view
	KindPPM, OperatorPPM uint64 // the most that one of them may have of a quorum; 0: no limit
}

// Roster is a committee in one view.
type Roster struct {
	Members  []Member
	Out      []Out
	Rules    Rules
	View     uint32
	Executor task.NodeID // of the view; zero before there is one
}

// With is the roster as it would be with another executor.
func (r Roster) With(executor task.NodeID) Roster {
	r.Executor = executor
	return r
}

// At is the roster as it was, or would be, in another view. With nobody left to
// execute there, its executor is zero.
func (r Roster) At(view uint32) Roster {
	r.View = view
	r.Executor, _ = r.Next(view)
	return r
}

// Member finds a member by name.
func (r Roster) Member(id task.NodeID) (Member, bool) {
	i := slices.IndexFunc(r.Members, func(m Member) bool { return m.Node == id })
	if i < 0 {
		return Member{}, false
	}
	return r.Members[i], true
}

// Seats is how many a node has; none if it is no member.
func (r Roster) Seats(id task.NodeID) uint32 {
	m, _ := r.Member(id)
	return m.Seats
}

// Total is n, the number of all seats.
func (r Roster) Total() (n uint32) {
	for _, m := range r.Members {
		n += m.Seats
	}
	return n
}

// Order is the order of executors: all tickets, the lowest first.
func (r Roster) Order() (all []sortition.Ticket) {
	for _, m := range r.Members {
		all = append(all, m.Tickets()...)
	}
	sortition.Sort(all)
	return all
}

// Next is the owner of the lowest ticket that is not out when a view begins.
func (r Roster) Next(view uint32) (task.NodeID, bool) {
	for _, t := range r.Order() {
		id := task.NodeID(t.Node)
		if !slices.ContainsFunc(r.Out, func(o Out) bool { return o.Node == id && o.From <= view }) {
			return id, true
		}
	}
	return task.NodeID{}, false
}

// Turn is who executes in a view, if there is such a view: within the limits, and
// with judges who can agree. Nobody works for a quorum that cannot be.
func (r Roster) Turn(view uint32) (task.NodeID, bool) {
	id, ok := r.Next(view)
	if !ok || view >= r.Rules.Turns || r.Passed(view) >= r.Rules.Views {
		return task.NodeID{}, false
	}
	return id, r.At(view).CanAgree()
}

// Passed counts the executors that were passed over before a view.
func (r Roster) Passed(view uint32) (n uint32) {
	for _, o := range r.Out {
		if o.Passed && o.From <= view {
			n++
		}
	}
	return n
}

// Judges says whether a member judges the executor: everyone does but itself, and
// those who were passed over before it.
func (r Roster) Judges(id task.NodeID) bool {
	_, member := r.Member(id)
	return member && r.mayJudge(id)
}

func (r Roster) mayJudge(id task.NodeID) bool {
	return id != r.Executor && !slices.ContainsFunc(r.Out, func(o Out) bool { return o.Passed && o.Node == id && o.From <= r.View })
}

// Judging is the number of the judges' seats.
func (r Roster) Judging() (n uint32) {
	for _, m := range r.Members {
		if r.mayJudge(m.Node) {
			n += m.Seats
		}
	}
	return n
}

// Quorum is how many of the judges' seats decide.
func (r Roster) Quorum() uint32 { return sortition.Quorum(r.Judging()) }

// Spoken adds up the seats of those judges who are in a set.
func (r Roster) Spoken(in func(task.NodeID) bool) (n uint32) {
	for _, m := range r.Members {
		if r.mayJudge(m.Node) && in(m.Node) {
			n += m.Seats
		}
	}
	return n
}

// Agreed is how many seats of those judges who are in a set count for a quorum: no
// more of one kind of TEE, and of one operator, than the task's policy lets them have.
// Each limit is held on its own, so that the sum does not depend on who speaks first.
// The executor's own operator counts for nothing where operators are limited.
func (r Roster) Agreed(in func(task.NodeID) bool) uint32 {
	var all uint32
	kinds, operators := map[string]uint32{}, map[task.Address]uint32{}
	executor, _ := r.Member(r.Executor)
	for _, m := range r.Members {
		if !r.mayJudge(m.Node) || !in(m.Node) {
			continue
		}
		all += m.Seats
		kinds[m.Kind] += m.Seats
		if m.Operator != executor.Operator {
			operators[m.Operator] += m.Seats
		}
	}
	quorum := r.Quorum()
	if ppm := r.Rules.KindPPM; ppm > 0 {
		all = min(all, atMost(kinds, partOf(quorum, ppm)))
	}
	if ppm := r.Rules.OperatorPPM; ppm > 0 {
		all = min(all, atMost(operators, partOf(quorum, ppm)))
	}
	return all
}

// CanAgree says whether the judges are of kinds, and operators, enough for a quorum.
func (r Roster) CanAgree() bool {
	return r.Agreed(func(task.NodeID) bool { return true }) >= r.Quorum()
}

const million = 1_000_000

// partOf is a share of a quorum, rounded down.
func partOf(quorum uint32, ppm uint64) uint32 { return uint32(uint64(quorum) * ppm / million) }

// atMost adds up what each has, of none more than most.
func atMost[K comparable](seats map[K]uint32, most uint32) (n uint32) {
	for _, s := range seats {
		n += min(s, most)
	}
	return n
}
