package ledger

import (
	"cmp"
	"slices"
	"testing"

	"github.com/prytany/prytany/task"
)

// Claims close after their blocks if they are enough. Else they are waited for:
// until they are enough, or the last block is over.
func TestLateClaims(t *testing.T) {
	for name, row := range map[string]struct {
		early, late int    // claims in the first block, and in a later one
		at          uint64 // that later one, after the seed
		closed      uint64 // after the seed; 0: there is no committee
	}{
		"in time":                {99, 0, 0, 1},
		"late":                   {0, 99, 3, 3},
		"some late":              {1, 99, 2, 2},
		"in the last block":      {0, 99, lastClaims, lastClaims},
		"none at all":            {0, 0, 0, 0},
		"too few, and no more":   {1, 0, 0, 0},
		"more than enough, late": {99, 99, 2, 1},
	} {
		w := newWorld(t, 9, func(p *Params) { p.ClaimBlocks = 1 })
		w.postFor(60)
		c := w.c()
		if c.Phase != Electing {
			t.Fatalf("%s: %s", name, c.Phase)
		}
		all := w.allClaims()
		slices.SortFunc(all, func(a, b task.Claim) int { return slices.Compare(a.Node[:], b.Node[:]) })
		bring := func(n int) {
			if n = min(n, len(all)); n > 0 && w.c().Phase == Electing {
				w.must("carol", task.Body{Claims: task.PackClaims(all[:n])})
			}
		}
		for w.c().Phase == Electing && w.c().Attempt == 0 {
			switch w.height - c.SeededAt {
			case 1:
				bring(row.early)
			case row.at:
				bring(row.late)
			}
			w.next()
		}
		switch got := w.c(); {
		case row.closed > 0 && (got.Phase != Attesting || got.View.StartedAt != c.SeededAt+row.closed):
			t.Errorf("%s: %s from block %d on, seeded in %d", name, got.Phase, got.View.StartedAt, c.SeededAt)
		case row.closed == 0 && (got.Attempt != 1 || got.Began != c.LastClaims()):
			t.Errorf("%s: attempt %d, called for in block %d, seeded in %d", name, got.Attempt, got.Began, c.SeededAt)
		}
	}
}

// A quorum that comes late closes the set as soon after it as one that came in
// time: an absent verifier does not cost the task all the time there is.
func TestLateQuorumClosesSoon(t *testing.T) {
	w := elected(t)
	absent := w.verifiers()[0]
	for range w.block.Params.CommitBlocks + 3 {
		w.next()
	}
	var commits []task.Commitment
	for _, m := range w.c().Members {
		if id := m.Claim.Node; w.c().Roster().Judges(id) && id != absent {
			k := task.Commitment{Ballot: w.c().Ballot(), Node: id, Digest: task.Hash{1}}
			k.Signature = task.Sign(w.nodes[id].peer, k.Hash())
			commits = append(commits, k)
		}
	}
	at := w.height
	w.must("carol", task.Body{Commitments: task.PackCommitments(commits)})
	for w.c().View.Pre.Progress < Sealed {
		w.next()
	}
	if got := w.c().View.Pre.ClosedAt; got != at+w.block.Params.CommitBlocks {
		t.Errorf("committed in block %d, closed in %d", at, got)
	}
}

// A quorum that comes in the last block in which commitments count, early or late in
// the turn, leaves who was left out the time to see it and bring its own: once, and not
// more.
func TestAQuorumAtLastLeavesTime(t *testing.T) {
	for _, late := range []bool{false, true} {
		w := elected(t)
		last := w.c().Deadline
		if late {
			last = w.c().AttestBy()
		}
		shown := w.pair(w.quote(task.PreRun))
		commits, _ := w.speak(shown, everyone(task.OK))
		for w.height < last {
			w.next()
		}
		c, bring := w.c(), func(k ...task.Commitment) {
			w.must("carol", task.Body{Commitments: task.PackCommitments(k)})
		}
		if c.Deadline != last {
			t.Fatalf("commitments are open until block %d, want %d", c.Deadline, last)
		}
		slices.SortFunc(commits, func(a, b task.Commitment) int { return cmp.Compare(c.Roster().Seats(a.Node), c.Roster().Seats(b.Node)) })
		out := commits[:2]
		bring(commits[2:]...)
		if c = w.c(); c.committed(c.Roster()) < c.Roster().Quorum() {
			t.Fatal("that is no quorum")
		}
		open := last + w.block.Params.CommitBlocks/2 + 1
		for w.height < open {
			w.next()
			if w.height == last+1 {
				bring(out[0])
			}
		}
		if c = w.c(); c.Stage != Committing || c.Deadline != open {
			t.Errorf("late %t: %s until block %d, want %d", late, c.Stage, c.Deadline, open)
		}
		bring(out[1])
		if c = w.c(); c.Stage != Opening || c.committed(c.Roster()) != c.Roster().Judging() {
			t.Errorf("late %t: %s, %d seats of %d", late, c.Stage, c.committed(c.Roster()), c.Roster().Judging())
		}
	}
}
