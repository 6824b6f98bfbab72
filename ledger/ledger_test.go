package ledger

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// ran brings a fresh world to a result.
func ran(t *testing.T, o task.Outcome, gas uint64) *world {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	w.judge(everyone(task.OK))
	for _, r := range []uint8{alices, bobs} {
		if err := w.release(r); err != nil {
			t.Fatal(err)
		}
	}
	w.next()
	if err := w.result(o, gas); err != nil {
		t.Fatal(err)
	}
	w.next()
	w.next()
	return w
}

func paid(s *Settlement, why Due) (sum task.Amount) {
	for _, p := range s.Payments {
		if p.Why == why {
			sum += p.Amount
		}
	}
	return sum
}

// The table of spec §10.2, with a gas limit of 1,000,000 at 4 PRY per million,
// a committee fee of 2 PRY and a royalty of 0.5 PRY: Alice locks 6.5 PRY.
func TestOutcomes(t *testing.T) {
	for _, row := range []struct {
		name                                string
		story                               func(*testing.T) *world
		outcome                             Outcome
		executor, verifiers, royalty, alice string // what each got
	}{
		{"ok", func(t *testing.T) *world {
			w := ran(t, task.RunOK, 250_000)
			w.left()
			return w
		}, Completed, "1 PRY", "2 PRY", "0.5 PRY", "3 PRY"},
		{"failed", func(t *testing.T) *world {
			w := ran(t, task.RunFailed, 250_000)
			w.left()
			return w
		}, FunctionFailed, "1 PRY", "2 PRY", "0 PRY", "3.5 PRY"},
		{"failed at the limit", func(t *testing.T) *world {
			w := ran(t, task.RunFailed, 600_000)
			w.left()
			return w
		}, FunctionFailed, "4 PRY", "2 PRY", "0 PRY", "0.5 PRY"},
		{"alice's key opens nothing", func(t *testing.T) *world {
			w := ran(t, task.WrongKey, 0)
			w.left()
			return w
		}, DataOwnerSilent, "0.4 PRY", "2 PRY", "0.5 PRY", "3.6 PRY"},
		{"dirty exit", func(t *testing.T) *world {
			w := ran(t, task.RunOK, 250_000)
			if err := w.exit(w.dirty(task.PostRun)); err != nil {
				t.Fatal(err)
			}
			return w
		}, DirtyExit, "0 PRY", "0 PRY", "0 PRY", "6.5 PRY"},
		{"alice silent", func(t *testing.T) *world {
			w := newWorld(t, 9)
			w.post()
			w.elect()
			w.judge(everyone(task.OK))
			if err := w.release(bobs); err != nil {
				t.Fatal(err)
			}
			w.wait(Closed)
			return w
		}, DataOwnerSilent, "0.4 PRY", "2 PRY", "0.5 PRY", "3.6 PRY"},
		{"both silent", func(t *testing.T) *world {
			w := newWorld(t, 9)
			w.post()
			w.elect()
			w.judge(everyone(task.OK))
			if err := w.call(); err != nil {
				t.Fatal(err)
			}
			w.wait(Closed)
			return w
		}, DataOwnerSilent, "0.4 PRY", "2 PRY", "0 PRY", "4.1 PRY"},
		{"bob silent", func(t *testing.T) *world {
			w := newWorld(t, 9)
			w.post()
			w.elect()
			w.judge(everyone(task.OK))
			if err := w.release(alices); err != nil {
				t.Fatal(err)
			}
			w.wait(Closed)
			return w
		}, CodeOwnerSilent, "0.4 PRY", "2 PRY", "0 PRY", "6.5 PRY"},
		{"no committee", func(t *testing.T) *world {
			w := newWorld(t, 9)
			w.post()
			w.wait(Closed)
			return w
		}, NoCommittee, "0 PRY", "0 PRY", "0 PRY", "6.5 PRY"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := row.story(t)
			w.next()
			s := w.c().Settlement
			if s == nil {
				t.Fatalf("not settled: %v", w.c().History)
			}
			got := []string{s.Outcome.String(), paid(s, WhyExecutor).String(), paid(s, WhyVerifier).String(), paid(s, WhyRoyalty).String(), paid(s, WhyRefund).String()}
			want := []string{row.outcome.String(), row.executor, row.verifiers, row.royalty, row.alice}
			for i, what := range []string{"outcome", "executor", "verifiers", "royalty", "refund"} {
				// A split's remainder goes to Alice: up to a base unit a seat.
				if got[i] != want[i] && !near(got[i], want[i]) {
					t.Errorf("%s: %s, want %s", what, got[i], want[i])
				}
			}
			if w.state().Meta().Open != 0 {
				t.Error("a closed case still counts as open")
			}
		})
	}
}

func near(a, b string) bool {
	x, err := task.ParseAmount(a)
	y, err2 := task.ParseAmount(b)
	return err == nil && err2 == nil && max(x, y)-min(x, y) <= 32
}

func TestOneTEEOneNode(t *testing.T) {
	w := newWorld(t, 4)
	thief := newWorker("thief")
	w.keys["thief"] = seedKey("thief")
	for _, k := range w.nodes {
		thief.node.TEE = k.node.TEE
		break
	}
	w.must("alice", task.Body{Transfer: &task.Transfer{To: thief.node.Operator, Amount: 500 * task.PRY}})
	if err := w.send("thief", task.Body{Register: w.enrol(thief, 200*task.PRY)}); task.CodeOf(err) != "tee-taken" {
		t.Errorf("%v", err)
	}
}

// A result that says itself that the enclave is dirty is none.
func TestDirtyResultIsRefused(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	w.judge(everyone(task.OK))
	c := w.c()
	pre, _ := attest.ParseEvidence(c.Genuine())
	r := task.Result{
		Task: w.id, Node: c.View.Executor, Outcome: task.RunOK, PreState: attest.EmptyState,
		PostState: task.Hash{1}, Evidence: pre.Digest(),
	}
	s := w.signed(r)
	err := w.send("carol", task.Body{Result: &s})
	if task.CodeOf(err) != "result-dirty" {
		t.Errorf("%v", err)
	}
}

// A reveal that comes during the review is paid for, and settles nothing.
func TestLateRevealDoesNotEndTheReview(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	c := w.c()
	shown := w.pair(w.quote(task.PreRun))
	reveals := w.commit(shown, everyone(task.OK))
	// One small verifier holds its word back; the others are a quorum.
	late := 0
	for i, r := range reveals {
		if c.Member(r.Node).Seats < c.Member(reveals[late].Node).Seats {
			late = i
		}
	}
	w.must("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, slices.Concat(reveals[:late], reveals[late+1:]), w.opening(shown))})
	if w.c().Phase != Running {
		t.Skip("this draw has no small verifier")
	}
	_, _ = w.release(alices), w.release(bobs)
	if err := w.result(task.RunOK, 5); err != nil {
		t.Fatal(err)
	}
	w.must("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals[late:late+1], nil)})
	if p := w.c().Phase; p != Reviewing {
		t.Errorf("the review was ended by a late word: %s", p)
	}
}

// The enclave's word that a key opens nothing counts only against the key that
// the owner put on the chain.
func TestBlameNeedsTheOwnersOwnRelease(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	w.judge(everyone(task.OK))
	blame := func() error {
		c := w.c()
		pre, _ := attest.ParseEvidence(c.Genuine())
		r := task.Result{
			Task: w.id, Node: c.View.Executor, Outcome: task.WrongKey, Evidence: pre.Digest(),
			PreState: attest.EmptyState, PostState: attest.EmptyState, Party: alices, Keys: []task.Hash{{}, {1}, {}}, // rubbish from its host
		}
		s := w.signed(r)
		return w.send("carol", task.Body{Result: &s})
	}
	if err := blame(); task.CodeOf(err) != "blame-unfounded" {
		t.Errorf("blamed before any release: %v", err)
	}
	if err := w.release(alices); err != nil {
		t.Fatal(err)
	}
	if err := blame(); task.CodeOf(err) != "blame-unfounded" {
		t.Errorf("blamed for another release: %v", err)
	}
}

// What is on its way out of a bond is slashed with it.
func TestUnbondingIsAtStake(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	id := w.c().View.Executor
	name := w.names[id]
	n, _ := w.state().Node(id)
	w.must(name, task.Body{Unbond: &task.Bond{Node: id, Amount: n.Bond}})
	w.wait(Attesting)
	for range 200 {
		if len(w.c().Passed) > 0 {
			break
		}
		w.next()
	}
	if got := w.lost(Absent)[id]; got != w.block.Params.Absent {
		t.Errorf("slashed %s after unbonding everything, want %s", got, w.block.Params.Absent)
	}
}
