package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
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
	if n := len(l.steps); n > 0 && name == stepRun && l.steps[n-1].name == explain.Led(ledger.Reviewing) {
		l.steps[n-1].name, name = name, "result to Alice"
	}
	l.steps = append(l.steps, step{name, now.Sub(l.last)})
	l.last = now
	l.line(bold, format, args...)
}

// event tells what the chain says of the task.
func (l *timeline) event(ctx context.Context, n *host.Devnet, e ledger.Event) {
	l.mu.Lock()
	if e.Phase != l.phase {
		if name := explain.Led(e.Phase); name != "" {
			now := time.Now()
			l.steps = append(l.steps, step{name, now.Sub(l.last)})
			l.last = now
		}
		l.phase = e.Phase
	} else if explain.Often(e.Kind) {
		l.mu.Unlock()
		return // one line for each transaction would be too many
	}
	l.line("0", "block %d  %s", e.Height, explain.Fact(e.Fact))
	l.mu.Unlock()
	if e.Kind == ledger.FactTurn && e.Number == 0 {
		if c, err := n.Client.Case(ctx, e.Task); err == nil {
			l.election(ctx, c, n)
		}
	}
}

// election shows every worker's draw against its threshold. The losers' draws
// are known here only because all workers live in this process.
func (l *timeline) election(ctx context.Context, c *ledger.Case, n *host.Devnet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(dim, "election: a worker wins seats if its draw is above its threshold; %d seats were expected, %d drawn", c.Seats, c.Roster().Total())
	for _, w := range n.Workers {
		rec, err := n.Client.Node(ctx, w.ID())
		if err != nil {
			continue
		}
		d := explain.Drawn(c, w.ID(), rec.StakeAt(c.Epoch), w.Output(c.Seed()))
		mark, what := "  ", d.Words
		switch {
		case d.Executor:
			mark, what = "→ ", l.a.paint(green, what)
		case d.Seats == 0:
			what = l.a.paint(dim, what)
		}
		l.a.say("             %s%-7s stake %5.1f %%  draw %.4f  threshold %.4f  %s", mark, w.Name, 100*d.Stake, d.Value, d.Threshold, what)
	}
}

// namesOf are the people and workers of a demo.
func namesOf(c *ledger.Case, n *host.Devnet) explain.Names {
	names := explain.Names{
		Accounts: map[task.Address]string{c.Task.Requester: "Alice", c.Function.Owner: "Bob"},
		Nodes:    map[task.NodeID]string{},
	}
	for _, w := range n.Workers {
		names.Accounts[w.Node.Operator], names.Nodes[w.ID()] = w.Name, w.Name
	}
	return names
}

// told says in words who paid whom and why: the moral of a demo with a liar.
func (l *timeline) told(c *ledger.Case, n *host.Devnet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(bold, "who paid whom, and why:")
	for _, s := range namesOf(c, n).Story(c, receipt.Faults(c)) {
		l.a.say("             %s", s)
	}
}

// settled says who was paid what.
func (l *timeline) settled(c *ledger.Case, n *host.Devnet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := namesOf(c, n)
	l.line(bold, "settled: %s, at fault: %s", c.Settlement.Outcome, names.Fault(c))
	for _, s := range names.Payments(c) {
		l.a.say("             %s", s)
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
