// Package model searches all behaviours of one task within small bounds: the
// production machines of four members and the production ledger, every order
// of messages, timers, crashes and blocks, and one member that lies. Where the
// simulator plays many long worlds by chance, the model plays all short ones.
//
// # How all is made few
//
// Members are deterministic automata that meet only in what they have said. So
// each distinct step of a machine or of the ledger is done once by the
// production code and then looked up, and a state of the world is a handful of
// numbers: where each member is, what has been said, what waits for a block,
// and the chain. What was said stays said: the network may delay, reorder and
// repeat at will, and a message that is never delivered is lost.
//
// An input that changes nothing but its member's own knowledge is taken as late
// as it can be: right before the first step that would have gone otherwise
// without it ([member.next]). Nobody can tell the difference, so nothing is
// lost, and the subsets of messages that matter to nothing are never visited.
package model

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Scenario is one search: who lies, what may fail, and how far to look.
type Scenario struct {
	Name   string
	Bounds string // in words, for the report
	params func(*ledger.Params)
	liar   int // -1: nobody

	crashes    uint8
	forgetful  bool // a planted error: the journal is lost in a crash
	crashable  []int
	timers     map[committee.TimerKind]bool
	maxView    uint32
	enclaves   bool
	ledgerOnly bool // transactions come from offers alone
	chain      bool // blocks are made
	calm       bool // a block is made only when all that can be heard is heard
	blocks     uint64
	wide       bool
	silent     int // inputs that nobody can see, before one that somebody can

	start   func(*model) []int32                                                               // what the liar has said
	extra   func(*model, facts) []int32                                                        // what it can say given what was said
	deaf    func(m *model, to int, f *fact) bool                                               // what is never delivered
	offers  func(*model, int32) []int32                                                        // transactions of others, by the state of the chain
	lies    func(*model, int, committee.Appraise, task.Verdict, string) (task.Verdict, string) // of a verifier
	spoilt  func(self int, b task.Ballot) bool                                                 // of an enclave
	mutes   func(m *model, f *fact) bool                                                       // what the liar does not say
	checks  []check
	goals   map[string]func(*model, *world) bool // what must be reachable: or the search has not looked where it should
	maximum int
}

// check says what is wrong in a state, or nothing.
type check func(*model, *world) string

// Report is what came of a search.
type Report struct {
	Scenario  string
	Bounds    string
	States    int // of the world
	Edges     int
	Locals    int // of all members
	Steps     int // done by production code
	Chain     int // states of the ledger
	Violation string
	Trace     []string
	Missed    []string // goals that no state reached
	Exhausted bool
}

const words = 4

// facts is a set of facts.
type facts [words]uint64

func (f *facts) add(i int32)     { f[i/64] |= 1 << (i % 64) }
func (f *facts) remove(i int32)  { f[i/64] &^= 1 << (i % 64) }
func (f facts) has(i int32) bool { return f[i/64]&(1<<(i%64)) != 0 }

func (f facts) all() (list []int32) {
	for w, set := range f {
		for ; set != 0; set &= set - 1 {
			list = append(list, int32(w*64+bits.TrailingZeros64(set)))
		}
	}
	return list
}

// fact is something that was said, submitted or decided.
type fact struct {
	kind     factKind
	from     int
	name     string
	public   bool // a message
	event    committee.Event
	group    int32 // of this many of the liar's words a member hears one
	vote     task.Vote
	reveal   task.Reveal
	body     task.Body
	evidence []byte
	ballot   task.Ballot
	key      int // who signs the transaction: a worker, or one of the owners
}

type factKind uint8

const (
	vote factKind = iota + 1
	commitment
	reveal
	evidence
	tx
	decision
	keys
)

const (
	byAlice = members + iota
	byBob
)

// world is a state of everything.
type world struct {
	at      [members]int32
	said    facts
	pool    facts // transactions that wait
	chain   int32
	crashes uint8
}

type edge struct {
	parent int32
	who    int8 // -1: a block
	ins    []input
	txs    []int32
	lost   bool // what the step said, in a crash
}

type link struct {
	state chainState
	c     *ledger.Case
	next  map[string]int32
}

type eventName struct {
	event any // a committee.Event, or an answer that becomes one
	what  string
}

type model struct {
	sc      *Scenario
	cast    *cast
	facts   []fact
	factBy  map[string]int32
	events  []eventName
	eventBy map[string]int32
	chain   []*link
	chainBy map[task.Hash]int32
	members [members]*member
	stepped int
	shown   map[string]task.Showing
	truths  map[string]verdictOf
	votes   map[string]int32
	late    map[lateKey]string // what settledOnce found
	ends    map[int32]bool
	broken  string // the supply was not conserved
}

type lateKey struct {
	chain int32
	pool  facts
}

type verdictOf struct {
	v      task.Verdict
	reason string
}

// note numbers a fact.
func (m *model) note(from int, name string, f fact) int32 {
	f.from, f.name = from, name
	content := ""
	switch e := f.event.(type) {
	case committee.VoteHeard:
		content = string(task.Encode(e.Vote.Vote()))
	case committee.CommitmentHeard:
		content = string(task.Encode(e.Commitment))
	case committee.RevealHeard:
		content = string(task.Encode(e.Reveal))
	case committee.EvidenceHeard:
		content = string(task.Encode(e.Shown))
	case committee.AliveHeard, committee.Appraised, committee.ChainMoved, committee.ClaimHeard, committee.Quoted,
		committee.Ran, committee.TimedOut, committee.Unveiled, committee.Won: // nobody sends these
	}
	if f.kind == tx {
		content = string(task.Encode(f.body))
	}
	if f.kind == keys {
		content = string(f.evidence)
	}
	key := fmt.Sprint(from, f.kind, f.group, name, "\x00", content)
	if i, ok := m.factBy[key]; ok {
		return i
	}
	i := int32(len(m.facts))
	if i >= words*64 {
		panic("model: too many facts; a bound is too wide")
	}
	if f.kind == tx && f.key == 0 {
		f.key = from
	}
	m.facts = append(m.facts, f)
	m.factBy[key] = i
	return i
}

func (m *model) event(e any, what string) int32 {
	key := fmt.Sprintf("%T %+v", e, e)
	if i, ok := m.eventBy[key]; ok {
		return i
	}
	i := int32(len(m.events))
	m.events = append(m.events, eventName{e, what})
	m.eventBy[key] = i
	return i
}

// vote signs a vote once and for all.
func (m *model) vote(from int, v task.Vote, lock []task.SignedVote) int32 {
	return m.voteIn(from, v, lock, 0)
}

func (m *model) voteIn(from int, v task.Vote, lock []task.SignedVote, group int32) int32 {
	key := fmt.Sprint(from, group, v, len(lock))
	for _, p := range lock {
		key += m.cast.name(p.Vote.Node)
	}
	if i, ok := m.votes[key]; ok {
		return i
	}
	s := task.SignedVote{Vote: v, Signature: task.Sign(m.cast.workers[from].peer, v.Hash())}
	name := fmt.Sprintf("says %s of view %d for %s", v.Stage, v.View, m.cast.name(v.Executor))
	if v.Stage == task.NewView {
		s.Lock = lock
		var by []string
		for _, p := range lock {
			by = append(by, m.cast.name(p.Vote.Node))
		}
		name += fmt.Sprintf(" (lock of view %d: %s)", v.LockView, strings.Join(by, " "))
	}
	verified, err := committee.VerifyVote(s, m.cast.peerKey)
	if err != nil {
		panic(err)
	}
	i := m.note(from, name, fact{kind: vote, public: true, event: committee.VoteHeard{Vote: verified}, vote: v, group: group})
	m.votes[key] = i
	return i
}

func (m *model) detail(b task.Body) string {
	switch {
	case b.Commitments != nil:
		var who []string
		for _, k := range b.Commitments.Commitments {
			who = append(who, m.cast.name(k.Node))
		}
		return fmt.Sprintf(" of %s (%s)", strings.Join(who, " "), b.Commitments.Commitments[0].Ballot.Round)
	case b.Verdicts != nil:
		var who []string
		for _, r := range b.Verdicts.Reveals {
			who = append(who, m.cast.name(r.Node)+":"+r.Verdict.String())
		}
		return fmt.Sprintf(" %s (%s)", strings.Join(who, " "), b.Verdicts.Shown.Ballot.Round)
	case b.Accuse != nil:
		return " of " + m.cast.name(b.Accuse.Accused)
	}
	return ""
}

// evidence is made once for each ballot.
func (m *model) evidence(k *ledger.Case, who int, b task.Ballot, spoilt bool) task.Showing {
	key := fmt.Sprint(who, b, spoilt, k.View.ExitNonce)
	s, ok := m.shown[key]
	if !ok {
		s = m.cast.evidence(k, who, b, m.cast.nonces(), spoilt)
		m.shown[key] = s
	}
	return s
}

// truth is an honest appraisal.
func (m *model) truth(a committee.Appraise) (task.Verdict, string) {
	key := string(a.Evidence) + string(task.Encode(a.Ballot))
	t, ok := m.truths[key]
	if !ok {
		k := m.chain[len(m.chain)-1].c
		for _, l := range m.chain { // of a case that stands where the ballot does
			if l.c.View.Number == a.Ballot.View && l.c.PreRound() == a.Ballot.Round || a.Ballot.Round == task.PostRun && !l.c.View.ExitNonce.IsZero() {
				k = l.c
			}
		}
		v := k.Appraise(a.Ballot.Round, a.Evidence)
		t = verdictOf{v.Verdict, v.Reason}
		m.truths[key] = t
	}
	return t.v, t.reason
}

// ---- the chain ----

func (m *model) link(s chainState) int32 {
	p := s.print(m.cast.id)
	if r := ledger.Read(s.store); r.Held() != r.Meta().Supply { // on every way there
		m.broken = fmt.Sprintf("supply is conserved: %d held of %d", r.Held(), r.Meta().Supply)
	}
	if i, ok := m.chainBy[p]; ok {
		return i
	}
	i := int32(len(m.chain))
	m.chain = append(m.chain, &link{state: s, c: s.read(m.cast.id), next: map[string]int32{}})
	m.chainBy[p] = i
	return i
}

// block is the state after a block with these transactions.
func (m *model) block(from int32, txs []int32) int32 {
	var key []byte
	for _, t := range txs {
		key = binary.BigEndian.AppendUint32(key, uint32(t))
	}
	l := m.chain[from]
	if i, ok := l.next[string(key)]; ok {
		return i
	}
	i := m.link(m.cast.block(l.state, m.signed(txs)))
	l.next[string(key)] = i
	return i
}

func (m *model) signed(txs []int32) []signed {
	var list []signed
	for _, t := range txs {
		f := &m.facts[t]
		switch f.key {
		case byAlice:
			list = append(list, signed{m.cast.alice, f.body})
		case byBob:
			list = append(list, signed{m.cast.bob, f.body})
		default:
			list = append(list, signed{m.cast.workers[f.key].op, f.body})
		}
	}
	return list
}

// blockChoices are the contents of the next block that are tried: all that
// waits, in either order of senders; and unless the world is calm also nothing
// and the next of each sender alone, or in a wide search all but that. One
// sender's transactions keep their order, by their nonces.
func (m *model) blockChoices(pool []int32, calm, wide bool) [][]int32 {
	slices.SortStableFunc(pool, func(a, b int32) int {
		f, g := &m.facts[a], &m.facts[b]
		return cmp.Or(cmp.Compare(f.key, g.key), cmp.Compare(rank(f.body), rank(g.body)))
	})
	reversed := slices.Clone(pool)
	slices.SortStableFunc(reversed, func(a, b int32) int { return m.facts[b].key - m.facts[a].key })
	choices := [][]int32{pool}
	if !slices.Equal(pool, reversed) {
		choices = append(choices, reversed)
	}
	if calm {
		return choices
	}
	if len(pool) > 0 {
		choices = append(choices, nil)
	}
	if len(pool) > 1 {
		for i := range pool {
			if m.sc.ledgerOnly || i == 0 || m.facts[pool[i-1]].key != m.facts[pool[i]].key {
				choices = append(choices, pool[i:i+1])
			}
			if wide && len(pool) > 2 && (i+1 == len(pool) || m.facts[pool[i+1]].key != m.facts[pool[i]].key) {
				choices = append(choices, append(slices.Clone(pool[:i]), pool[i+1:]...))
			}
		}
	}
	return choices
}

// rank is the order in which a machine submits.
func rank(b task.Body) int {
	switch {
	case b.Claims != nil:
		return 0
	case b.Show != nil:
		return 10*int(rounds[b.Show.Ballot.Round]) + 1
	case b.Commitments != nil:
		return 10*int(rounds[b.Commitments.Commitments[0].Ballot.Round]) + 2
	case b.Verdicts != nil:
		return 10*int(rounds[b.Verdicts.Shown.Ballot.Round]) + 4 + len(b.Verdicts.Reveals)
	case b.Canary != nil:
		return 19
	case b.Result != nil:
		return 30
	}
	return 50
}

var rounds = map[task.Round]int{task.PreRun: 1, task.Recheck: 2, task.PostRun: 4}

// ---- a member's next steps ----

// macro is a step that others can see, after inputs that nobody can.
type macro struct {
	ins []input
	to  int32
	out []int32
}

type macroKey struct {
	at    int32
	said  facts
	chain int32
}

// next lists the steps of a member that others can see, each with the fewest
// inputs before it that make it what it is.
func (k *member) next(w *world) []macro {
	key := macroKey{at: w.at[k.self], chain: w.chain}
	m, at := k.m, k.states[w.at[k.self]]
	if at.done {
		return nil
	}
	var ins []input
	if m.sc.chain && at.seen != w.chain {
		ins = append(ins, input{see, w.chain})
	}
	for _, i := range w.said.all() {
		f := &m.facts[i]
		if !f.public || f.from == k.self || f.kind == vote && f.vote.View > m.sc.maxView || m.sc.deaf != nil && m.sc.deaf(m, k.self, f) {
			continue
		}
		// A vote that changes nothing now has been heard, or is of the past.
		if in := (input{hear, i}); f.kind != vote || k.open(w.at[k.self], in) && k.step(w.at[k.self], in).to != w.at[k.self] {
			ins = append(ins, in)
			key.said.add(i)
		}
	}
	for _, e := range at.pending {
		ins = append(ins, input{fire, e})
	}
	if list, ok := k.macros[key]; ok {
		return list
	}
	if len(ins) > 64 {
		panic("model: too many inputs")
	}
	type node struct {
		set uint64
		at  int32
	}
	reached := map[uint64]int32{0: w.at[k.self]}
	queue := []node{{0, w.at[k.self]}}
	var list []macro
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for j, in := range ins {
			if n.set&(1<<j) != 0 || !k.open(n.at, in) {
				continue
			}
			st := k.step(n.at, in)
			if st.to == n.at && len(st.out) == 0 {
				continue
			}
			if in.kind != see && k.passive(n.at, st) {
				if bits.OnesCount64(n.set) >= m.sc.silent {
					continue
				}
				set := n.set | 1<<j
				if old, ok := reached[set]; ok && old == st.to {
					continue
				}
				reached[set] = st.to
				queue = append(queue, node{set, st.to})
				continue
			}
			if k.deferrable(reached, n.set, ins, in, st) {
				continue
			}
			mac := macro{to: st.to, out: st.out}
			for b := range ins {
				if n.set&(1<<b) != 0 {
					mac.ins = append(mac.ins, ins[b])
				}
			}
			mac.ins = append(mac.ins, in)
			list = append(list, mac)
		}
	}
	k.macros[key] = list
	return list
}

// open says whether an input can happen in a state.
func (k *member) open(at int32, in input) bool {
	s := k.states[at]
	switch in.kind {
	case fire:
		return slices.Contains(s.pending, in.n)
	case hear:
		g := k.m.facts[in.n].group
		return g == 0 || !slices.Contains(s.heard, g)
	}
	return true
}

// deferrable says whether one of the inputs before a step could as well have
// come after it: to the same state, with the same said in all. What is said
// stays said, so saying it in two steps leads to the same world.
func (k *member) deferrable(reached map[uint64]int32, set uint64, ins []input, last input, st step) bool {
	for j, in := range ins {
		if set&(1<<j) == 0 {
			continue
		}
		without, ok := reached[set&^(1<<j)]
		if !ok || !k.open(without, last) {
			continue
		}
		first := k.step(without, last)
		if !k.open(first.to, in) {
			continue
		}
		if k.passive(without, first) && j < slices.Index(ins, last) {
			continue // the same inputs in another order: one of them is enough
		}
		second := k.step(first.to, in)
		said := slices.Concat(first.out, second.out)
		slices.Sort(said)
		if second.to == st.to && slices.Equal(slices.Compact(said), st.out) {
			return true
		}
	}
	return false
}

// ---- the search ----

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
	m := &model{sc: &sc, cast: newCast(sc.params), factBy: map[string]int32{}, eventBy: map[string]int32{}, chainBy: map[task.Hash]int32{}, shown: map[string]task.Showing{}, truths: map[string]verdictOf{}, votes: map[string]int32{}, late: map[lateKey]string{}, ends: map[int32]bool{}}
	r := Report{Scenario: sc.Name, Bounds: sc.Bounds}
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

// visit notes a state if it is new, and checks it.
func (s *search) visit(w world, e edge) {
	s.report.Edges++
	if s.sc.extra != nil {
		for _, f := range s.sc.extra(s.model, w.said) {
			w.said.add(f)
		}
	}
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
			line = fmt.Sprintf("block %d [%s]: %s, view %d, %s", s.chain[after.chain].state.height, strings.Join(what, "; "), k.Phase, k.View.Number, k.History[len(k.History)-1].What)
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
