package model

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// A member is a deterministic automaton over the production machine. Its
// states are numbered as they are met, and each step is done once by the
// machine and then looked up.

// input is what can happen to a member.
type input struct {
	kind inputKind
	n    int32 // hear: a fact; fire: an event; see: a state of the chain
}

type inputKind uint8

const (
	hear    inputKind = iota + 1 // a message that was said
	fire                         // a timer, or an answer of the enclave
	see                          // the chain as it is
	restart                      // a crash, and another life with what the journal holds
)

// local is a numbered state of a member.
type local struct {
	alive   *live
	pending []int32 // events that may fire: timers and answers
	seen    int32   // the state of the chain
	done    bool
	steps   map[input]step
}

// step is what an input does.
type step struct {
	to  int32
	out []int32 // facts: messages said, transactions submitted, decisions
}

type member struct {
	m      *model
	self   int
	states []*local
	index  map[task.Hash]int32
	macros map[macroKey][]macro
}

// live is a member's state in the flesh.
type live struct {
	of      *member
	m       *committee.Machine
	reveals []task.Reveal // the journal
	pending []int32
	seen    int32
	done    bool
	out     []int32
}

func newMember(m *model, self int) *member {
	k := &member{m: m, self: self, index: map[task.Hash]int32{}, macros: map[macroKey][]macro{}}
	l := k.born()
	l.take(input{see, 0})
	l.out = nil // setting out on its own says nothing, or the scenario asks for it
	k.enter(l)
	return k
}

func (k *member) born() *live {
	return &live{of: k, m: committee.New(k.m.cast.workers[k.self].id, committee.Embedded)}
}

// enter numbers a state.
func (k *member) enter(l *live) int32 {
	p := l.print()
	if i, ok := k.index[p]; ok {
		return i
	}
	i := int32(len(k.states))
	k.index[p] = i
	k.states = append(k.states, &local{alive: l, pending: l.pending, seen: l.seen, done: l.done, steps: map[input]step{}})
	return i
}

// clone copies a state, so that two inputs can be tried in it.
func (l *live) clone() *live {
	to := *l
	to.m, to.out = l.m.Clone(), nil
	to.reveals, to.pending = slices.Clone(l.reveals), slices.Clone(l.pending)
	return &to
}

// step does one input in a state.
func (k *member) step(i int32, in input) step {
	s := k.states[i]
	if st, ok := s.steps[in]; ok {
		return st
	}
	k.m.stepped++
	l := s.alive.clone()
	l.take(in)
	slices.Sort(l.out)
	st := step{k.enter(l), slices.Compact(l.out)}
	s.steps[in] = st
	return st
}

// take does an input.
func (l *live) take(in input) {
	m := l.of.m
	switch in.kind {
	case see:
		l.seen = in.n
		l.step(committee.ChainMoved{Case: m.chain[in.n].c})
	case hear:
		l.step(m.facts[in.n].event)
	case fire:
		l.pending = slices.DeleteFunc(l.pending, func(p int32) bool { return p == in.n })
		e := m.events[in.n].event
		if q, ok := e.(answer); ok { // the enclave quotes when it is asked to, of the case as it stands
			l.step(q.give(l))
		} else {
			l.step(e.(committee.Event))
		}
	case restart:
		seen, reveals := l.seen, l.reveals
		if m.sc.forgetful {
			reveals = nil
		}
		*l = live{of: l.of, m: committee.New(m.cast.workers[l.of.self].id, committee.Embedded), reveals: reveals, out: l.out}
		c := m.chain[seen].c
		l.m.Restore(reveals, nil) // no enclave here is too busy to answer
		l.seen = seen
		l.step(committee.ChainMoved{Case: c})
	}
}

func c(l *live) *ledger.Case { return l.of.m.chain[l.seen].c }

func (l *live) step(e committee.Event) {
	if l.done {
		return
	}
	for _, a := range l.m.Step(e) {
		l.perform(a)
	}
}

// perform does what node.Session does: stores, signs, counts, sends.
func (l *live) perform(a committee.Action) {
	m, self := l.of.m, l.of.self
	me := m.cast.workers[self]
	say := func(f fact, format string, args ...any) {
		f.public = true
		l.out = append(l.out, m.note(self, fmt.Sprintf(format, args...), f))
	}
	switch a := a.(type) {
	case committee.Draw:
		l.step(committee.Won{Claim: me.claim})
	case committee.Cast:
		i := m.vote(self, a.Vote)
		l.step(m.facts[i].event)
		l.out = append(l.out, i)
	case committee.CommitVerdict:
		i := slices.IndexFunc(l.reveals, func(r task.Reveal) bool { return r.Ballot == a.Reveal.Ballot })
		if i >= 0 && l.reveals[i] != a.Reveal {
			return
		}
		if i < 0 {
			l.reveals = append(slices.Clip(l.reveals), a.Reveal)
		}
		k := task.Commitment{Ballot: a.Reveal.Ballot, Node: me.id, Digest: a.Reveal.Digest()}
		k.Signature = task.Sign(me.peer, k.Hash())
		l.step(committee.CommitmentHeard{Commitment: k})
		say(fact{kind: commitment, event: committee.CommitmentHeard{Commitment: k}}, "commits to %s %d in view %d", a.Reveal.Verdict, a.Reveal.Place, k.Ballot.View)
	case committee.SendReveal:
		l.step(committee.RevealHeard{Reveal: a.Reveal})
		say(fact{kind: reveal, event: committee.RevealHeard{Reveal: a.Reveal}, reveal: a.Reveal}, "reveals %s %d in view %d", a.Reveal.Verdict, a.Reveal.Place, a.Reveal.Ballot.View)
	case committee.SendEvidence:
		say(fact{kind: evidence, event: committee.EvidenceHeard{From: me.id, Shown: a.Shown}}, "shows its evidence of view %d", a.Shown.Ballot.View)
	case committee.Appraise:
		found := m.truth(c(l), a)
		if m.sc.lies != nil {
			found = m.sc.lies(m, self, found)
		}
		found.Salt = task.H(task.TagSalt, me.id[:], task.Encode(found.Ballot))
		l.step(found)
	case committee.StartEnclave:
		if m.sc.enclaves {
			l.later(answer{ballot: a.Ballot, what: "starts its enclave", kind: answerQuote})
		}
	case committee.QuoteExit:
		l.later(answer{ballot: a.Ballot, what: "quotes its exit", kind: answerExit})
	case committee.RequestKeys:
		b := a.Opening.Pair.Ballot
		l.out = append(l.out, m.note(self, fmt.Sprintf("asks for keys in view %d", b.View), fact{kind: keys, opening: a.Opening, ballot: b}))
		l.later(answer{b, "has run", answerRun, task.H(task.TagEvidence, a.Opening.Evidence)})
	case committee.Submit:
		if !m.sc.chain {
			return
		}
		l.out = append(l.out, m.note(self, "submits "+a.Body.Kind()+m.detail(a.Body), fact{kind: tx, body: a.Body}))
	case committee.SetTimer:
		if t := a.Timer; m.sc.timers[t.Kind] && t.View <= m.sc.maxView {
			l.pending = slices.DeleteFunc(slices.Clone(l.pending), func(p int32) bool {
				o, ok := m.events[p].event.(committee.TimedOut)
				return ok && o.Timer.Kind == t.Kind
			})
			l.laterEvent(committee.TimedOut{Timer: t}, fmt.Sprintf("%s timer of view %d", timerNames[t.Kind], t.View))
		}
	case committee.Finish:
		l.done, l.pending = true, nil
	case committee.Decline, committee.StopEnclave: // nobody here is unable
	}
}

var timerNames = map[committee.TimerKind]string{
	committee.SilenceTimer: "silence", committee.FlushTimer: "flush", committee.StallTimer: "stall",
}

func (l *live) later(a answer) { l.laterEvent(a, a.what) }

func (l *live) laterEvent(e any, what string) {
	i := l.of.m.event(e, what)
	if !slices.Contains(l.pending, i) {
		l.pending = append(slices.Clone(l.pending), i)
		slices.Sort(l.pending)
	}
}

// answer is what an enclave will say when it is done.
type answer struct {
	ballot task.Ballot
	what   string
	kind   answerKind
	digest task.Hash // of the evidence that names the enclave that ran
}

type answerKind uint8

const (
	answerQuote answerKind = iota
	answerExit
	answerRun
)

func (a answer) give(l *live) committee.Event {
	m, k := l.of.m, c(l)
	switch a.kind {
	case answerQuote:
		return m.pair(k, l.of.self, a.ballot, m.sc.spoilt != nil && m.sc.spoilt(l.of.self, a.ballot))
	case answerExit:
		return committee.Left{Exit: m.cast.exit(k, l.of.self, a.ballot, false)}
	default:
		return committee.Ran{Result: m.cast.result(k, l.of.self, a.digest, task.RunOK)}
	}
}

// ---- the name of a state ----

// passive says that an input changed nothing that anyone else, or the member's
// own timers, can see.
func (k *member) passive(from int32, st step) bool {
	for _, p := range k.states[st.to].pending {
		if !slices.Contains(k.states[from].pending, p) {
			return false
		}
	}
	return len(st.out) == 0
}

// print names a state by all that the machine holds, and what is around it. Its case is
// named by the chain's number.
func (l *live) print() task.Hash {
	m := l.m.Fingerprint()
	return task.H(task.TagState, m[:], task.Encode([]any{l.reveals, l.pending, l.seen, l.done}))
}
