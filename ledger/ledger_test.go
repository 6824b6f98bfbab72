package ledger

import (
	"testing"

	"github.com/prytany/prytany/task"
)

// ran brings a fresh world to a result.
func ran(t *testing.T, o task.Outcome, gas uint64) *world {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	w.judge(task.PreRun, everyone(task.OK))
	for _, r := range []task.Role{task.Alice, task.Bob} {
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

func paid(s *Settlement, why string) (sum task.Amount) {
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
			w.judge(task.PostRun, everyone(task.OK))
			return w
		}, Completed, "1 PRY", "2 PRY", "0.5 PRY", "3 PRY"},
		{"function error", func(t *testing.T) *world {
			w := ran(t, task.FunctionError, 250_000)
			w.judge(task.PostRun, everyone(task.OK))
			return w
		}, FunctionFailed, "1 PRY", "2 PRY", "0 PRY", "3.5 PRY"},
		{"gas exhausted", func(t *testing.T) *world {
			w := ran(t, task.GasExhausted, 1_000_000)
			w.judge(task.PostRun, everyone(task.OK))
			return w
		}, GasExhausted, "4 PRY", "2 PRY", "0 PRY", "0.5 PRY"},
		{"alice's key opens nothing", func(t *testing.T) *world {
			w := ran(t, task.BadInputKey, 0)
			w.judge(task.PostRun, everyone(task.OK))
			return w
		}, AliceSilent, "0.4 PRY", "2 PRY", "0 PRY", "4.1 PRY"},
		{"dirty exit", func(t *testing.T) *world {
			w := ran(t, task.RunOK, 250_000)
			w.judge(task.PostRun, everyone(task.Fault))
			return w
		}, DirtyExit, "0 PRY", "0 PRY", "0 PRY", "6.5 PRY"},
		{"alice silent", func(t *testing.T) *world {
			w := newWorld(t, 9)
			w.post()
			w.elect()
			w.judge(task.PreRun, everyone(task.OK))
			if err := w.release(task.Bob); err != nil {
				t.Fatal(err)
			}
			w.wait(Closed)
			return w
		}, AliceSilent, "0.4 PRY", "2 PRY", "0 PRY", "4.1 PRY"},
		{"bob silent", func(t *testing.T) *world {
			w := newWorld(t, 9)
			w.post()
			w.elect()
			w.judge(task.PreRun, everyone(task.OK))
			if err := w.release(task.Alice); err != nil {
				t.Fatal(err)
			}
			w.wait(Closed)
			return w
		}, BobSilent, "0.4 PRY", "2 PRY", "0 PRY", "6.5 PRY"},
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
			got := []string{string(s.Outcome), paid(s, WhyExecutor).String(), paid(s, WhyVerifier).String(), paid(s, WhyRoyalty).String(), paid(s, WhyRefund).String()}
			want := []string{string(row.outcome), row.executor, row.verifiers, row.royalty, row.alice}
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
