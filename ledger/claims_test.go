package ledger

import (
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
