// Package sim runs whole networks in virtual time, from one seed: workers,
// owners, a chain, a bad network, bad disks and liars. What it drives is the
// production code: [ledger.Block] makes the blocks, a [node.Session] is each
// worker's part in a task, an [owner.Keeper] decides on every key, and
// [receipt.Verify] reads every closed case. Only the edges are played: the
// network, the disk, the enclave and the clock.
//
// There is one loop, no goroutine, no real time and no other randomness than
// the seed's, so a seed and a commit give the same trace, hash for hash, on
// every machine. A failing seed replays with `prytany simulate --seed N`.
//
// A world lives in two phases. In the first, anything may fail; what must
// hold is safety: no money comes or goes, nobody honest is slashed for a lie,
// no key reaches an enclave that is not what it says. Then the faults end, and
// what must hold is liveness: every task comes to its end in time. Each
// invariant is a checker of its own (check_*.go).
package sim

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Options shape a world. The zero value lets the seed decide everything.
type Options struct {
	Calm     bool      // no fault of network, disk or machine
	Honest   bool      // no liar
	Workers  int       // 0: the seed decides, here and below
	Tasks    int       // of Alice
	Seats    uint32    // expected on each committee
	Hostile  float64   // the most of the stake that lies, 0 to 1
	Lie      string    // what all liars do, one of Lies
	Loss     float64   // of messages, while there are faults
	Delay    uint64    // of a message, one way, in milliseconds
	Interval uint64    // between blocks, in milliseconds; then claims and commitments have the embedded chain's blocks
	Log      io.Writer // the transcript of all messages, blocks and faults; nil for none
}

// Lies are the strategies that a liar may have.
func Lies() (names []string) {
	for _, l := range lies {
		names = append(names, string(l))
	}
	return names
}

// Check refuses what no world can be.
func (o Options) Check() error {
	for _, share := range []float64{o.Hostile, o.Loss} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("a share is %v, want 0 to 1", share)
		}
	}
	if o.Lie != "" && !slices.Contains(lies, lie(o.Lie)) {
		return fmt.Errorf("%q is no lie; there are %s", o.Lie, strings.Join(Lies(), ", "))
	}
	if o.Seats != 0 && (o.Seats < 2 || o.Seats > 200) || o.Delay > 10_000 || o.Interval > 10_000 {
		return fmt.Errorf("want 2 to 200 seats and at most 10,000 ms of delay and between blocks")
	}
	return nil
}

// Result is what came of a world.
type Result struct {
	Seed      uint64                      `json:"seed,string"`
	Trace     task.Hash                   `json:"trace"`               // of all that happened
	Violation string                      `json:"violation,omitempty"` // of an invariant, with its name; empty if all held
	Millis    uint64                      `json:"virtual_ms,string"`
	Blocks    uint64                      `json:"blocks,string"`
	Events    uint64                      `json:"events,string"`
	Outcomes  task.Counts[ledger.Outcome] `json:"outcomes"`
	Slashes   task.Counts[ledger.Cause]   `json:"slashes"`
	Enclaves  uint64                      `json:"enclaves,string"`
	Latency   []uint64                    `json:"-"` // virtual milliseconds from posting to settlement, of tasks that ended well
	Waited    []uint64                    `json:"-"` // and to their results on the chain
}

// Run plays one seed to its end. What many would read alike is read once; some seeds
// are played again with everyone reading for itself, and must be the same to the hash.
func Run(seed uint64, o Options) Result {
	r := play(seed, o, false)
	if o.Log = nil; seed%64 == 0 {
		if again := play(seed, o, true); again.Trace != r.Trace {
			r.Violation = "what is read once is read alike: the trace is " + again.Trace.String() + " where everyone reads for itself"
		}
	}
	return r
}

func play(seed uint64, o Options, plain bool) (r Result) {
	w := newWorld(seed, o)
	w.plain = plain
	defer func() {
		if p := recover(); p != nil {
			w.violate("no panic", "%v", p)
		}
		r = w.result()
	}()
	w.run()
	return w.result()
}

func (w *world) result() Result {
	r := Result{
		Seed: w.seed, Violation: w.violation, Millis: uint64(w.now / millisecond), Blocks: w.chain.height, Events: w.steps,
		Outcomes: map[ledger.Outcome]uint64{}, Slashes: map[ledger.Cause]uint64{}, Trace: task.Hash(w.trace.Sum(nil)),
		Enclaves: uint64(len(w.facts.enclaves)),
	}
	for _, j := range w.jobs {
		c, ok := w.chain.at(j.id)
		if !ok || c.Settlement == nil {
			continue
		}
		r.Outcomes[c.Settlement.Outcome]++
		for _, s := range c.Slashes {
			r.Slashes[s.Cause]++
		}
		if c.Settlement.Outcome == ledger.Completed {
			r.Waited = append(r.Waited, uint64((j.answered-j.posted)/millisecond))
			r.Latency = append(r.Latency, uint64((j.closed-j.posted)/millisecond))
		}
	}
	return r
}

// world is everything that there is.
type world struct {
	loop
	seed     uint64
	o        Options
	plain    bool // everyone reads everything for itself
	params   ledger.Params
	chain    *chain
	workers  []*worker
	byID     map[task.NodeID]*worker
	alice    *person
	bob      *person
	jobs     []*job
	net      network
	facts    facts
	patience committee.Patience

	violation string
}

// job is one of Alice's tasks.
type job struct {
	id             task.TaskID
	posted, closed int64
	answered       int64        // its result was on the chain
	outcome        task.Outcome // how its run ends
	calm           bool         // posted when the faults were over
	refused        bool         // too little of the stake could have worked for it
}

func newWorld(seed uint64, o Options) *world {
	w := &world{loop: newLoop(seed, o.Log), seed: seed, o: o, byID: map[task.NodeID]*worker{}}
	w.trace, w.patience = sha256.New(), committee.Embedded
	w.o.Honest, w.o.Calm = o.Honest || w.chance(0.1), o.Calm || w.chance(0.2)
	w.facts.init()
	w.people()
	w.hire()
	w.found()
	w.weather()
	w.govern()
	return w
}

// run lets the world live until all is settled, or until that is overdue.
func (w *world) run() {
	w.schedule()
	w.churn()
	for w.violation == "" && w.step() {
		if w.now > w.net.heals+patience {
			w.checkDeadlines()
			return
		}
	}
	w.checkDeadlines()
	w.strangers()
}

// patience is how long after the last fault every task must be settled: all
// attempts and views there may be, one after the other.
const patience = 240 * second

// violate records the first violation, and stops the world.
func (w *world) violate(invariant, format string, args ...any) {
	if w.violation == "" {
		w.violation = invariant + ": " + fmt.Sprintf(format, args...)
		w.say("VIOLATION %s", w.violation)
	}
}
