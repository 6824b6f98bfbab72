package main

import (
	"context"
	"strings"

	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// unserved are the files of somebody who names them, and serves them to nobody.
type unserved struct{}

func (unserved) Get(_ context.Context, b task.Blob, _ string) ([]byte, error) {
	return nil, task.Refuse("blob-missing", "%s is not here", b.CID)
}

func (unserved) Put(_ context.Context, data []byte) (task.Blob, error) { return task.BlobOf(data), nil }

// meddle plays the parts of those who do more than answer wrongly. What it returns is
// called for each event of the demo's task.
func (a *app) meddle(n *host.Devnet, line *timeline, with string) func(context.Context, ledger.Event) {
	switch with {
	case busyWorker:
		return busy(n)
	case skipping:
		return skips(n, line)
	}
	return func(context.Context, ledger.Event) {}
}

// busy fills all machines, since nobody knows whose turn will come, and leaves them
// again when the first one has declined.
func busy(n *host.Devnet) func(context.Context, ledger.Event) {
	var leave []func()
	for _, w := range n.Workers {
		leave = append(leave, w.Occupy())
	}
	return func(ctx context.Context, e ledger.Event) {
		if c, err := n.Client.Case(ctx, e.Task); err == nil && len(c.Declined) > 0 {
			for _, f := range leave {
				f()
			}
			leave = nil
		}
	}
}

// skips has all members but the executor say that it is silent, once when they are
// drawn, and tells what the chain says to that.
func skips(n *host.Devnet, line *timeline) func(context.Context, ledger.Event) {
	said := false
	return func(ctx context.Context, e ledger.Event) {
		c, err := n.Client.Case(ctx, e.Task)
		if said || e.Phase != ledger.Attesting || err != nil || c.View.Executor.IsZero() {
			return
		}
		said = true
		t := task.Skip{Task: e.Task, Attempt: c.Attempt, View: c.View.Number + 1}
		var seats uint32
		var by *host.Worker
		for _, w := range n.Workers {
			m := c.Member(w.ID())
			if m == nil || w.ID() == c.View.Executor {
				continue
			}
			v := task.Vote{Task: e.Task, Attempt: c.Attempt, View: t.View, Node: w.ID()}
			t.Votes = append(t.Votes, w.SignVote(v))
			seats, by = seats+m.Seats, w
		}
		if by == nil {
			return
		}
		err = by.Submit(ctx, n.Client, task.Body{Skip: &t})
		line.warn("%d of %d seats say that %s is silent. The chain: %s", seats, c.Roster().Total(), nameOf(n, c.View.Executor), answer(err))
	}
}

// answer is what the chain says to a transaction.
func answer(err error) string {
	if err == nil {
		return "it is passed over"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

func nameOf(n *host.Devnet, id task.NodeID) string {
	for _, w := range n.Workers {
		if w.ID() == id {
			return w.Name
		}
	}
	return id.Short()
}
