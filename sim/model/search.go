package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

type search struct {
	*model
	seen   map[world]int32
	all    []world
	edges  []edge
	report *Report
	met    map[string]bool
}

// Run searches a scenario breadth first, so that a violation comes with a
// shortest trace.
func Run(sc Scenario) Report {
	m := &model{sc: &sc, cast: newCast(sc.params), factBy: map[string]int32{}, eventBy: map[string]int32{}, chainBy: map[task.Hash]int32{}, shown: map[string]committee.Quoted{}, truths: map[task.Hash]verdictOf{}, votes: map[string]int32{}, late: map[lateKey]string{}, ends: map[int32]bool{}}
	r := Report{Scenario: sc.Name, Bounds: sc.bounds(), Maximum: sc.maximum}
	m.link(m.cast.seeded)
	for i := range m.members {
		m.members[i] = newMember(m, i)
	}
	s := &search{model: m, seen: map[world]int32{}, report: &r, met: map[string]bool{}}
	first := world{crashes: sc.crashes}
	if sc.start != nil {
		for _, f := range sc.start(m) {
			first.said.add(f)
		}
	}
	s.visit(first, edge{parent: -1})
	for i := 0; i < len(s.all) && r.Violation == "" && len(s.all) < sc.maximum; i++ {
		s.expand(int32(i))
	}
	r.Exhausted = r.Violation == "" && len(s.all) < sc.maximum
	r.States, r.Steps, r.Chain = len(s.all), m.stepped, len(m.chain)
	for _, k := range m.members {
		r.Locals += len(k.states)
	}
	for name := range sc.goals {
		if !s.met[name] && r.Exhausted {
			r.Missed = append(r.Missed, name)
		}
	}
	slices.Sort(r.Missed)
	return r
}

// bounds are all that limits a search, in words.
func (sc *Scenario) bounds() string {
	b := sc.Bounds
	if !sc.ledgerOnly {
		b += fmt.Sprintf("; at most %d messages that nobody can see the effect of before a step that somebody can", sc.silent)
		if sc.crashes > 0 {
			b += fmt.Sprintf("; at most %d crash", sc.crashes)
		}
	}
	return b
}

// visit notes a state if it is new, and checks it.
func (s *search) visit(w world, e edge) {
	s.report.Edges++
	if _, ok := s.seen[w]; ok || s.report.Violation != "" {
		return
	}
	i := int32(len(s.all))
	s.seen[w] = i
	s.all, s.edges = append(s.all, w), append(s.edges, e)
	for name, goal := range s.sc.goals {
		if !s.met[name] && goal(s.model, &w) {
			s.met[name] = true
		}
	}
	for _, c := range s.sc.checks {
		if what := c(s.model, &w); what != "" {
			s.report.Violation, s.report.Trace = what, s.trace(i)
			return
		}
	}
}

func (s *search) expand(i int32) {
	w := s.all[i]
	if s.chain[w.chain].c.Phase == ledger.Closed {
		return // what comes too late has been checked
	}
	busy := false // something can still be heard
	for who, k := range s.members {
		if who == s.sc.liar && !s.sc.enclaves {
			continue // it is played by what it says
		}
		if s.sc.ledgerOnly {
			break
		}
		for _, mac := range k.next(&w) {
			next := w
			next.at[who] = mac.to
			s.utter(&next, mac.out)
			if next == w { // it says again what waits for its block
				continue
			}
			busy = busy || !s.slow(mac)
			s.visit(next, edge{parent: i, who: int8(who), ins: mac.ins})
			if w.crashes > 0 && slices.Contains(s.sc.crashable, who) && len(mac.out) > 0 { // stored, and not said
				lost := w
				lost.crashes--
				lost.at[who] = k.step(mac.to, input{kind: restart}).to
				s.visit(lost, edge{parent: i, who: int8(who), ins: append(slices.Clip(mac.ins), input{kind: restart}), lost: true})
			}
		}
		if w.crashes > 0 && slices.Contains(s.sc.crashable, who) {
			next := w
			next.crashes--
			st := k.step(w.at[who], input{kind: restart})
			next.at[who] = st.to
			s.utter(&next, st.out)
			s.visit(next, edge{parent: i, who: int8(who), ins: []input{{kind: restart}}})
		}
	}
	if !s.sc.chain || s.sc.calm && busy || s.chain[w.chain].state.height >= s.sc.blocks {
		return
	}
	pool := w.pool
	if s.sc.offers != nil {
		for _, f := range s.sc.offers(s.model, w.chain) {
			pool.add(f)
		}
	}
	for _, txs := range s.blockChoices(pool.all(), s.sc.calm, s.sc.wide) {
		next := w
		next.chain = s.block(w.chain, txs)
		for _, t := range txs {
			next.pool.remove(t)
		}
		s.visit(next, edge{parent: i, who: -1, txs: txs})
	}
}

// utter lets out what a step said. A transaction that was sent waits for a block.
func (s *search) utter(w *world, out []int32) {
	for _, i := range out {
		switch f := &s.facts[i]; {
		case f.from == s.sc.liar && s.sc.mutes != nil && s.sc.mutes(s.model, f):
		case f.kind == tx:
			w.pool.add(i)
		default:
			w.said.add(i)
		}
	}
}

// slow says that a step waits for a timer that is longer than a block.
func (s *search) slow(mac macro) bool {
	for _, in := range mac.ins {
		if in.kind != fire {
			continue
		}
		if t, ok := s.events[in.n].event.(committee.TimedOut); ok && t.Timer.Kind != committee.FlushTimer && t.Timer.Kind != committee.StallTimer {
			return true
		}
	}
	return false
}

// trace tells how a state came to be.
func (s *search) trace(i int32) (lines []string) {
	for ; s.edges[i].parent >= 0; i = s.edges[i].parent {
		e, before, after := s.edges[i], &s.all[s.edges[i].parent], &s.all[i]
		var line string
		if e.who < 0 {
			var what []string
			for _, t := range e.txs {
				what = append(what, fmt.Sprintf("n%d %s", s.facts[t].from, s.facts[t].name))
			}
			k := s.chain[after.chain].c
			line = fmt.Sprintf("block %d [%s]: %s, view %d, %s", s.chain[after.chain].state.height, strings.Join(what, "; "), k.Phase, k.View.Number, k.History[len(k.History)-1].Kind)
		} else {
			var what, then []string
			for _, in := range e.ins {
				what = append(what, s.say(in))
			}
			for _, f := range after.said.all() {
				if !before.said.has(f) {
					then = append(then, s.facts[f].name)
				}
			}
			line = fmt.Sprintf("n%d %s", e.who, strings.Join(what, ", "))
			if len(then) > 0 {
				line += ": " + strings.Join(then, ", ")
			}
			if e.lost {
				line += " (before anything of it was sent)"
			}
		}
		lines = append(lines, line)
	}
	slices.Reverse(lines)
	return lines
}

func (m *model) say(in input) string {
	switch in.kind {
	case hear:
		return fmt.Sprintf("hears that n%d %s", m.facts[in.n].from, m.facts[in.n].name)
	case fire:
		return m.events[in.n].what
	case see:
		return fmt.Sprintf("sees block %d", m.chain[in.n].state.height)
	}
	return "crashes and starts again"
}
