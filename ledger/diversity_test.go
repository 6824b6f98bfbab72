package ledger

import (
	"testing"

	"github.com/prytany/prytany/task"
)

// No more of a quorum than the policy's share comes from one kind of TEE,
// however many of its owners say OK (spec §7.5).
func TestOneKindIsNoQuorum(t *testing.T) {
	evidence := []byte("evidence")
	for _, row := range []struct {
		name   string
		most   uint64 // of a quorum, in parts per million
		kinds  []string
		wantOK uint32
	}{
		{"no rule", 0, []string{"a", "a", "a", "a", "a", "a", "a", "a", "a"}, 9},
		{"one kind", 666_667, []string{"a", "a", "a", "a", "a", "a", "a", "a", "a"}, 4},
		{"two kinds, enough", 666_667, []string{"a", "a", "a", "a", "a", "a", "b", "b", "b"}, 7},
		{"two kinds, one vote short", 666_667, []string{"a", "a", "a", "a", "a", "a", "a", "b", "b"}, 6},
		{"three kinds", 666_667, []string{"a", "a", "a", "b", "b", "b", "c", "c", "c"}, 9},
		{"the whole quorum may be one", 1_000_000, []string{"a", "a", "a", "a", "a", "a", "a", "a", "a"}, 7},
	} {
		c := &Case{Task: task.Task{Policy: task.Policy{MaxKindPPM: row.most}}}
		c.View.Executor = task.NodeID{255}
		c.View.Pre.Evidence = evidence
		c.Members = []Member{{Claim: task.Claim{Node: c.View.Executor}, Seats: 3}}
		var all []task.Reveal
		for i, kind := range row.kinds {
			id := task.NodeID{byte(i + 1)}
			c.Members = append(c.Members, Member{Node: task.Node{TEE: task.TEE{Kind: kind}}, Claim: task.Claim{Node: id}, Seats: 1})
			all = append(all, task.Reveal{Node: id, Verdict: task.OK, Evidence: task.H(task.TagEvidence, evidence)})
		}
		if ok, _ := c.Tally(task.PreRun, all); ok != row.wantOK { // of 9 judging seats a quorum is 7
			t.Errorf("%s: %d seats count, want %d", row.name, ok, row.wantOK)
		}
	}
}
