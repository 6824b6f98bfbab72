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
	"math/bits"

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
	slow       bool // executors may be slower than others' patience: it costs them their turn, and nothing else
	blocks     uint64
	wide       bool
	silent     int // inputs that nobody can see, before one that somebody can

	start   func(*model) []int32                                       // what has been said from the start
	deaf    func(m *model, to int, f *fact) bool                       // what is never delivered
	offers  func(*model, int32) []int32                                // transactions of others, by the state of the chain
	lies    func(*model, int, committee.Appraised) committee.Appraised // of a verifier
	spoilt  func(self int, b task.Ballot) bool                         // of an enclave
	mutes   func(m *model, f *fact) bool                               // what the liar does not say
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
	Maximum   int // of states: a search that has found so many is cut off
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
	kind    factKind
	from    int
	name    string
	public  bool // a message
	event   committee.Event
	vote    task.Vote
	reveal  task.Reveal
	body    task.Body
	opening task.Opening
	ballot  task.Ballot
	key     int // who signs the transaction: a worker, or one of the owners
}

type factKind uint8

const (
	vote factKind = iota + 1
	commitment
	reveal
	evidence
	tx
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
	shown   map[string]committee.Quoted
	truths  map[task.Hash]verdictOf
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
	place  uint8
	reason string
}
