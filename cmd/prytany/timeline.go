package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// timeline tells the story of one task on stderr, with the milliseconds since
// the task was posted.
type timeline struct {
	a     *app
	mu    sync.Mutex
	begin time.Time
	last  time.Time
	steps []step
	phase ledger.Phase
}

type step struct {
	name string
	took time.Duration
}

// stepRun ends with Alice's result.
const stepRun = "run"

func newTimeline(a *app) *timeline {
	now := time.Now()
	return &timeline{a: a, begin: now, last: now}
}

func (l *timeline) line(colour, format string, args ...any) {
	ms := time.Since(l.begin).Milliseconds()
	l.a.say("%s %s", l.a.paint(dim, fmt.Sprintf("%7d ms", ms)), l.a.paint(colour, fmt.Sprintf(format, args...)))
}

func (l *timeline) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line("0", format, args...)
}

func (l *timeline) warn(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(amber, format, args...)
}

// wait says what is being waited for, once it takes more than a second.
func (l *timeline) wait(what string) (done func() bool) {
	return time.AfterFunc(time.Second, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.line(dim, "%s …", what)
	}).Stop
}

// start sets the clock to zero: what came before is not part of the task.
func (l *timeline) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin, l.last = time.Now(), time.Now()
	l.steps = l.steps[:0]
}

// mark ends a phase.
func (l *timeline) mark(name, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	// The chain may have the result before Alice: what led to it was the run.
	if n := len(l.steps); n > 0 && name == stepRun && l.steps[n-1].name == phaseNames[ledger.Reviewing] {
		l.steps[n-1].name, name = name, "result to Alice"
	}
	l.steps = append(l.steps, step{name, now.Sub(l.last)})
	l.last = now
	l.line(bold, format, args...)
}

// event tells what the chain says of the task.
func (l *timeline) event(ctx context.Context, n *network, e ledger.Event) {
	l.mu.Lock()
	if e.Phase != l.phase {
		if name := phaseNames[e.Phase]; name != "" {
			now := time.Now()
			l.steps = append(l.steps, step{name, now.Sub(l.last)})
			l.last = now
		}
		l.phase = e.Phase
	} else if often[e.Kind] {
		l.mu.Unlock()
		return // one line for each transaction would be too many
	}
	l.line("0", "block %d  %s", e.Height, explain.Fact(e.Fact))
	l.mu.Unlock()
	if e.Kind == ledger.FactTurn && e.Number == 0 {
		if c, err := n.client.Case(ctx, e.Task); err == nil {
			l.election(ctx, c, n)
		}
	}
}

// often are kinds of facts of which there is one for each transaction of a round.
var often = map[ledger.Kind]bool{ledger.FactClaimed: true, ledger.FactClaimsLate: true, ledger.FactCommitted: true, ledger.FactCommitsLate: true}

// phaseNames are the phases as the table of times calls what led to them.
var phaseNames = map[ledger.Phase]string{
	ledger.Electing: "beacon", ledger.Attesting: "election and attestation", ledger.Running: "verdicts",
	ledger.Releasing: "keys not given directly", ledger.Reviewing: "result on the chain", ledger.Closed: "exit review and settlement",
}

// election shows every worker's draw against its threshold. The losers' draws
// are known here only because all workers live in this process.
func (l *timeline) election(ctx context.Context, c *ledger.Case, n *network) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rank := map[task.NodeID]int{}
	for i, t := range c.Roster().Order() {
		if _, ok := rank[task.NodeID(t.Node)]; !ok {
			rank[task.NodeID(t.Node)] = i + 1
		}
	}
	l.line(dim, "election: a worker wins seats if its draw is above its threshold; %d seats were expected, %d drawn", c.Seats, c.Roster().Total())
	for _, w := range n.workers {
		rec, err := n.client.Node(ctx, w.ID())
		if err != nil {
			continue
		}
		stake := rec.StakeAt(c.Epoch)
		lambda := float64(c.Seats) * float64(stake) / float64(c.TotalStake)
		beta := w.keys.vrf.Output(sortition.Alpha(c.Seed(), task.Hash(w.ID())))
		draw := float64(beta[0])/256 + float64(beta[1])/65536 + float64(beta[2])/(1<<24)
		seats := sortition.Seats(beta, c.Seats, uint64(stake), uint64(c.TotalStake))
		mark, what := "  ", l.a.paint(dim, "no seat")
		switch {
		case seats > 0 && c.Member(w.ID()) != nil && rank[w.ID()] == 0:
			what = fmt.Sprintf("%d seat%s; it verifies, and has no %s to execute", seats, plural(seats), c.Function.Manifest.Runtime)
		case seats > 0 && rank[w.ID()] == 0:
			what = fmt.Sprintf("%d seat%s, but its claim came too late", seats, plural(seats))
		case seats > 0:
			what = fmt.Sprintf("%d seat%s, lowest ticket is number %d of %d", seats, plural(seats), rank[w.ID()], c.Roster().Total())
		}
		if c.View.Executor == w.ID() {
			mark, what = "→ ", l.a.paint(green, what+": the executor")
		}
		l.a.say("             %s%-7s stake %5.1f %%  draw %.4f  threshold %.4f  %s", mark, w.name,
			100*float64(stake)/float64(c.TotalStake), draw, math.Exp(-lambda), what)
	}
}

func plural(n uint32) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// namesOf are the people and workers of a demo, by account.
func namesOf(c *ledger.Case, n *network) map[task.Address]string {
	names := map[task.Address]string{c.Task.Requester: "Alice", c.Function.Owner: "Bob"}
	for _, w := range n.workers {
		names[w.node.Operator] = w.name
	}
	return names
}

// faultOf says whose fault a demo's end was, by the names of its people.
func faultOf(c *ledger.Case, names map[task.Address]string) string {
	var who []string
	for _, i := range c.Settlement.Fault.Parties {
		who = append(who, names[c.Parties()[i].Account])
	}
	if len(who) == 0 {
		return explain.Fault(c)
	}
	return strings.Join(who, " or ")
}

// told says in words who paid whom and why: the moral of a demo with a liar.
func (l *timeline) told(c *ledger.Case, n *network) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names, nodes := namesOf(c, n), map[task.NodeID]string{}
	for _, w := range n.workers {
		nodes[w.ID()] = w.name
	}
	tell := func(format string, args ...any) { l.a.say("             "+format, args...) }
	l.line(bold, "who paid whom, and why:")
	for _, f := range receipt.Faults(c) {
		tell("the %s evidence of %s, looked at again: %s: %s", f.Round, nodes[f.Executor], f.Reason, f.Detail)
	}
	for _, d := range c.Declined {
		tell("%s declined to execute, which costs nothing: %s", nodes[d.Decline.Node], explain.Lack(d.Decline.Lack))
	}
	for _, p := range c.Passed {
		tell("%s lost its turn: %s", nodes[p.Executor], explain.Cause(p.Why))
		if p.Result != nil {
			tell("  and nothing else: time is the machine's affair")
		}
	}
	for _, s := range c.Slashes {
		rest := s.Amount
		tell("%s lost %s of its bond: %s", nodes[s.Node], s.Amount, explain.Cause(s.Cause))
		for _, p := range s.Rewards {
			rest -= p.Amount
			tell("  %s of that to %s, who found it", p.Amount, names[p.To])
		}
		tell("  %s of that burned", rest)
	}
	for _, p := range c.Settlement.Payments {
		payer := "Alice paid"
		if p.Why == ledger.WhyRefund || p.Why == ledger.WhyRoom {
			payer = "the escrow gave back to"
		} else if c.Settlement.Outcome == ledger.CodeOwnerSilent {
			payer = "Bob's bond paid"
		}
		tell("%s %s %s: %s", payer, names[p.To], p.Amount, explain.Due(p.Why))
	}
	if s := c.Settlement; s.Burned > 0 {
		tell("%s of what %s had locked were burned: nobody gains by a file that does not come", s.Burned, faultOf(c, names))
	}
	if kept := c.Settlement.Kept; kept[len(kept)-1] > 0 {
		tell("%s went back into the bond of Bob's function", kept[len(kept)-1])
	}
}

// settled says who was paid what.
func (l *timeline) settled(c *ledger.Case, n *network) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := namesOf(c, n)
	s := c.Settlement
	l.line(bold, "settled: %s, at fault: %s", s.Outcome, faultOf(c, names))
	paid := slices.Clone(s.Payments) // the case is everybody's
	slices.SortStableFunc(paid, func(a, b ledger.Payment) int { return cmp.Compare(a.Why, b.Why) })
	for _, p := range paid {
		name := names[p.To]
		if name == "" {
			name = p.To.Short()
		}
		l.a.say("             %-8s %14s  %s", name, p.Amount, p.Why)
	}
}

// phases says where the time went.
func (l *timeline) phases() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	var sum time.Duration
	for _, s := range l.steps {
		if s.took >= time.Millisecond/2 {
			parts = append(parts, fmt.Sprintf("%s %d", s.name, s.took.Milliseconds()))
		}
		sum += s.took
	}
	l.a.say("time in ms: %s; together %d", strings.Join(parts, ", "), sum.Milliseconds())
}

func short(cid string) string {
	if len(cid) > 16 {
		return cid[:8] + "…" + cid[len(cid)-6:]
	}
	return cid
}
