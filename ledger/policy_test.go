package ledger

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/task"
)

// No more of a quorum than the policy's share comes from one kind of TEE,
// however many of its owners say OK (spec §7.5).
func TestOneKindIsNoQuorum(t *testing.T) {
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
		c.View.Pre.Digests, c.View.Pre.Progress = [2]task.Hash{{1}, {2}}, Opened
		c.Members = []Member{{Claim: task.Claim{Node: c.View.Executor}, Seats: 3}}
		var all []task.Reveal
		for i, kind := range row.kinds {
			id := task.NodeID{byte(i + 1)}
			c.Members = append(c.Members, Member{Node: task.Node{TEE: task.TEE{Kind: kind}}, Claim: task.Claim{Node: id}, Seats: 1})
			all = append(all, task.Reveal{Node: id, Verdict: task.OK})
		}
		for i := range all { // the pair names the members
			all[i].Pair = c.Pair().Hash()
		}
		if ok, _ := c.Tally(all); ok != row.wantOK { // of 9 judging seats a quorum is 7
			t.Errorf("%s: %d seats count, want %d", row.name, ok, row.wantOK)
		}
	}
}

// A task has to be as strict as the function that it runs, or its owner would
// refuse the key and pay for that (spec §10.1).
func TestBobsPolicyHolds(t *testing.T) {
	w := newWorld(t, 10)
	f := w.function()
	f.Manifest.Policy = &task.Policy{MinTier: task.TierSimulated, MaxKindPPM: 1_000_000}
	w.fn = f.ID()
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
	tk := w.task()
	if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != "policy-weak" {
		t.Errorf("a weaker task: %v", err)
	}
	tk = w.task()
	tk.Policy, _ = tk.Policy.And(*f.Manifest.Policy)
	if err := w.send("alice", task.Body{Post: &tk}); err != nil {
		t.Errorf("as strict a task: %v", err)
	}
}

// Who has no runtime for the function votes and never executes; where nobody
// has it there is no committee (spec §6.5.1).
func TestExecutorsHaveTheRuntime(t *testing.T) {
	w := newWorld(t, 10)
	w.post()
	w.elect()
	c := w.c()
	first := c.View.Executor
	c.Member(first).Node.Runtimes = []string{task.RuntimeOCI}
	second, ok := c.Roster().Next(0)
	if !ok || second == first {
		t.Fatalf("%s executes without the runtime", second.Short())
	}
	if next, _ := c.Roster().Next(1); next == first {
		t.Error("it executes later")
	}
	if !c.Roster().Judges(first) && c.View.Executor != first {
		t.Error("it does not judge")
	}
	if c.Roster().Total() != w.c().Roster().Total() {
		t.Error("its seats do not count")
	}
	for i := range c.Members {
		c.Members[i].Node.Runtimes = []string{task.RuntimeOCI}
	}
	if c.Enough() {
		t.Error("a committee that cannot run the function is enough")
	}
	c.Function.Manifest.Runtime, c.Function.Manifest.Arch = task.RuntimeOCI, "riscv64"
	if _, ok := c.Roster().Next(0); ok {
		t.Error("somebody runs code for another processor")
	}
}

// No more of a quorum than the policy's share comes from one operator, and nothing
// from the executor's own: who judges is in other hands (spec §7.5).
func TestOneOperatorIsNoQuorum(t *testing.T) {
	for _, row := range []struct {
		name      string
		operators string // of nine verifiers; x is the executor's
		kinds     string
		operator  uint64 // of a quorum, in parts per million
		kind      uint64
		wantOK    uint32
	}{
		{"no rule", "aaaaaaaaa", "kkkkkkkkk", 0, 0, 9},
		{"one hand", "aaaaaaaaa", "kkkkkkkkk", 500_000, 0, 3},
		{"two hands", "aaaaaabbb", "kkkkkkkkk", 500_000, 0, 6},
		{"two hands and a wide share", "aaaaaabbb", "kkkkkkkkk", 600_000, 0, 7},
		{"three hands", "aaabbbccc", "kkkkkkkkk", 500_000, 0, 9},
		{"the executor's own do not count", "xxxaaabbb", "kkkkkkkkk", 1_000_000, 0, 6},
		{"all are the executor's", "xxxxxxxxx", "kkkkkkkkk", 1_000_000, 0, 0},
		{"without the rule they do", "xxxxxxxxx", "kkkkkkkkk", 0, 0, 9},
		{"the lesser of two limits", "aaabbbccc", "kkkkkkkkk", 500_000, 500_000, 3},
		{"the same the other way", "aaaaaaaaa", "kkkmmmnnn", 500_000, 500_000, 3},
	} {
		c := &Case{Task: task.Task{Policy: task.Policy{MaxKindPPM: row.kind, MaxOperatorPPM: row.operator}}}
		c.View.Executor = task.NodeID{255}
		c.View.Pre.Digests, c.View.Pre.Progress = [2]task.Hash{{1}, {2}}, Opened
		c.Members = []Member{{Node: task.Node{Operator: task.Address{'x'}}, Claim: task.Claim{Node: c.View.Executor}, Seats: 3}}
		var all []task.Reveal
		for i := range row.operators {
			id := task.NodeID{byte(i + 1)}
			n := task.Node{Operator: task.Address{row.operators[i]}, TEE: task.TEE{Kind: row.kinds[i : i+1]}}
			c.Members = append(c.Members, Member{Node: n, Claim: task.Claim{Node: id}, Seats: 1})
			all = append(all, task.Reveal{Node: id, Verdict: task.OK})
		}
		for i := range all { // the pair names the members
			all[i].Pair = c.Pair().Hash()
		}
		if ok, _ := c.Tally(all); ok != row.wantOK { // of 9 judging seats a quorum is 7
			t.Errorf("%s: %d seats count, want %d", row.name, ok, row.wantOK)
		}
		slices.Reverse(all)
		if ok, _ := c.Tally(all); ok != row.wantOK {
			t.Errorf("%s, in another order: %d seats count, want %d", row.name, ok, row.wantOK)
		}
		if c.Roster().CanAgree() != (row.wantOK >= 7) {
			t.Errorf("%s: can agree: %t", row.name, c.Roster().CanAgree())
		}
	}
}

// Nobody works for a committee of too few operators: there is none, and the task
// ends with nobody slashed.
func TestTooFewOperatorsAreNoCommittee(t *testing.T) {
	w := newWorld(t, 9)
	w.publish()
	for most, want := range map[uint64]Phase{1: Closed, 500_000: Attesting} {
		tk := w.task()
		tk.Policy.MaxOperatorPPM = most
		tk.Seats, tk.Fee = 25, 3*task.PRY
		w.id = tk.ID()
		w.must("alice", task.Body{Post: &tk})
		w.next()
		for w.c().Phase < Attesting {
			if c := w.c(); c.Phase == Electing && len(c.Members) == 0 {
				w.must("carol", task.Body{Claims: task.PackClaims(w.allClaims())})
			}
			w.next()
		}
		if c := w.c(); c.Phase != want || len(c.Slashes)+len(c.Passed) != 0 {
			t.Errorf("%d ppm of one operator: %s, %d slashes: %v", most, c.Phase, len(c.Slashes), c.History)
		}
	}
}
