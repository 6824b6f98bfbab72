package receipt_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

func debug(ev *quoted) { ev.Debug = true }

// attesting is a world with a committee, reviewed one at its exit round.
// attesting has an executor, and judges who agree without the first of them as well.
func attesting(t testing.TB) *world {
	for nonce := 0; ; nonce++ {
		w := newWorld(t, fmt.Sprint(nonce)).elect()
		if n := w.c().Roster().Judging(); n-w.c().Member(w.judges()[0]).Seats >= sortition.Quorum(n) {
			return w
		}
	}
}

func reviewed(t testing.TB, o task.Outcome, gas uint64, wrong ...uint8) *world {
	return attesting(t).ran(o, gas, wrong...)
}

// A story plays until the case is closed, and what comes after it is told.
type story func(testing.TB) *world

func run(o task.Outcome, gas uint64, wrong ...uint8) story {
	return func(t testing.TB) *world { return reviewed(t, o, gas, wrong...).leave() }
}

func ref[T any](v T) *T { return &v }

// to plays on until the end, and returns the world.
func (w *world) to(more func(*world) *world) *world {
	for w.c().Phase != ledger.Closed {
		more(w)
	}
	return w
}

// Every way in which a case can end makes a receipt that holds. The word has a
// letter for each row: o is ok, - is not applicable.
func TestEveryEndVerifies(t *testing.T) {
	for _, row := range []struct {
		name  string
		rows  string
		end   ledger.Outcome
		story story
	}{
		{"ok after much   ", "oooooo oo o o o ooo", ledger.Completed, completed},
		{"ok at once      ", "oooooo oo o o o o-o", ledger.Completed, run(task.RunOK, 9)},
		{"failed          ", "oooooo oo o o o o-o", ledger.FunctionFailed, run(task.RunFailed, 9)},
		{"failed, all gas ", "oooooo oo o o o o-o", ledger.FunctionFailed, run(task.RunFailed, 1_000_000)},
		{"out of time once", "oooooo oo o o o o-o", ledger.Completed, func(t testing.TB) *world {
			return attesting(t).ran(task.OutOfTime, 9).ran(task.RunOK, 9).leave()
		}},
		{"out of time ever", "oooooo oo o - - o-o", ledger.AllOutOfTime, func(t testing.TB) *world {
			w := attesting(t)
			return w.to(func(w *world) *world { return w.ran(task.OutOfTime, 9) })
		}},
		{"gives up        ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, elsewhere).judge().release(alices, bobs).declines(task.Gone)
			return w.until(1).say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"all give up     ", "oooooo oo o - - ooo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			return attesting(t).to(func(w *world) *world { return w.judge().release(alices, bobs).declines(task.Gone) })
		}},
		{"wrong input key ", "oooooo oo o o o o-o", ledger.DataOwnerSilent, run(task.WrongKey, 0, alices)},
		{"wrong code key  ", "oooooo oo o o o o-o", ledger.CodeOwnerSilent, run(task.WrongKey, 0, bobs)},
		{"guessers        ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			return attesting(t).say(task.OK, elsewhere).ran(task.RunOK, 9).leave()
		}},
		{"false alarm     ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			return attesting(t).say(task.OK, task.Fault).ran(task.RunOK, 9).leave()
		}},
		{"missing reveal  ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			return attesting(t).say(task.OK, silent).ran(task.RunOK, 9).leave()
		}},
		{"one sees a fault", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, task.Fault, silent).dirty((*world).judge).nextView()
			return w.say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"one names other ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, elsewhere).dirty((*world).judge).until(1)
			return w.say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"accused in time ", "oooooo oo o o - ooo", ledger.BadEnclave, func(t testing.TB) *world {
			return attesting(t).dirty(func(w *world) *world { return w.ran(task.RunOK, 9) }).look()
		}},
		{"accused at once ", "oooooo oo o o - ooo", ledger.BadEnclave, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, silent).dirty((*world).judge).release(alices, bobs)
			w.one = true
			return w.result(task.RunOK, 9).look()
		}},
		{"late, two good  ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, elsewhere)
			shown := w.twoGood()
			w.judgeThis(shown, true).result(task.OutOfTime, 9).show(shown)
			return w.until(1).say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"late, a guesser ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, elsewhere).judge().result(task.OutOfTime, 9)
			return w.until(1).say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"words of nothing", "oooooo oo o o o o-o", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.Fault)
			return w.judgeThis(w.twoGood(), false).nextView().say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"a hidden pair   ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t)
			shown := w.pair()
			return w.judgeThis(shown, false).show(shown).nextView().ran(task.RunOK, 9).leave()
		}},
		{"two pairs, bad  ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t)
			for range 2 { // at the third, all who say OK are sent away, and have no turn
				w.dirty((*world).judge).otherPair()
			}
			return w.ran(task.RunOK, 9).leave()
		}},
		{"two at opening  ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).declines(task.Busy) // of a bond so large that the forfeit burned first makes no difference
			shown, second := w.pair(), w.twoGood().Pair()
			w.judgeThis(shown, false) // which closes them, and nobody has opened it
			for w.show(shown); w.c().View.Pre.Progress < ledger.Sealed; {
				w.next()
			}
			w.accuse(w.c().View.Executor, task.Accusation{Pairs: []task.Pair{shown.Pair(), second}})
			return w.until(2).ran(task.RunOK, 9).leave()
		}},
		{"two, collecting ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t)
			w.show(w.pair()).show(w.twoGood())
			return w.nextView().ran(task.RunOK, 9).leave()
		}},
		{"late lies of all", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := reviewed(t, task.RunOK, 9)
			for w.c().View.ExitNonce.IsZero() {
				w.next()
			}
			w.one = true // the exit, and in its block
			w.leave()
			w.lax = true // the nonce of the second in one block is stale
			return w.twoResults().twoWords(w.c().View.Executor)
		}},
		{"nobody can cover", "oooooo -- - - - o-o", ledger.NoCommittee, func(t testing.TB) *world {
			w := newWorld(t)
			w.unbonded(task.NodeID{})
			return w.to((*world).elects)
		}},
		{"out of time, and nobody else can cover", "oooooo -- - - - o-o", ledger.NoCommittee, func(t testing.TB) *world {
			w := attesting(t)
			w.unbonded(w.c().View.Executor)
			return w.to(func(w *world) *world {
				if w.elects(); w.c().Phase == ledger.Attesting {
					w.ran(task.OutOfTime, 9)
				}
				return w
			})
		}},
		{"all are sent off", "ooooo- -- - - - ooo", ledger.NoCommittee, func(t testing.TB) *world {
			w := attesting(t)
			for w.c().Attempt == 0 {
				w.dirty((*world).judge).otherPair()
			}
			return w.wait(ledger.Closed)
		}},
		{"another pair    ", "oooooo oo o o - ooo", ledger.BadEnclave, func(t testing.TB) *world {
			return reviewed(t, task.RunOK, 9).otherPair()
		}},
		{"two good pieces ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, elsewhere)
			w.judgeThis(w.twoGood(), true)
			for w.c().View.Number == 0 {
				w.must("carol", task.Body{Show: ref(w.twoGood())})
			}
			return w.say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"two good, run   ", "oooooo oo o o - ooo", ledger.BadEnclave, func(t testing.TB) *world {
			w := attesting(t).say(task.OK, elsewhere)
			shown := w.twoGood()
			return w.judgeThis(shown, true).release(alices, bobs).result(task.RunOK, 9).show(shown)
		}},
		{"neither is good ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t).say(task.Fault)
			w.tweak = debug
			shown := w.both(w.evidence(task.PreRun), w.evidence(task.PreRun))
			w.judgeThis(shown, false).show(shown)
			w.tweak = func(*quoted) {}
			return w.until(1).say(task.OK).ran(task.RunOK, 9).leave()
		}},
		{"not opened      ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t)
			shown := w.pair()
			return w.show(shown).judgeThis(shown, false).nextView().ran(task.RunOK, 9).leave()
		}},
		{"called clean    ", "oooooo oo o o o ooo", ledger.DirtyExit, func(t testing.TB) *world {
			return attesting(t).ran(task.RunOK, 9).dirty((*world).leave)
		}},
		{"another's exit  ", "oooooo oo o o o ooo", ledger.DirtyExit, func(t testing.TB) *world {
			w := attesting(t).ran(task.RunOK, 9)
			w.tweak = func(ev *quoted) { ev.Keys = enclaveKey(77) }
			return w.leave()
		}},
		{"an old nonce    ", "oooooo oo o o o ooo", ledger.DirtyExit, func(t testing.TB) *world {
			w := attesting(t).ran(task.RunOK, 9)
			w.tweak = func(ev *quoted) { ev.Nonce = task.Hash{1} }
			return w.leave()
		}},
		{"two results     ", "oooooo oo o o - ooo", ledger.ForgedResult, func(t testing.TB) *world {
			return reviewed(t, task.RunOK, 9).twoResults()
		}},
		{"forged at once  ", "oooooo oo - o - ooo", ledger.ForgedResult, func(t testing.TB) *world {
			return attesting(t).say(task.OK, elsewhere).judge().result(task.RunOK, 9).twoResults()
		}},
		{"no exit evidence", "oooooo oo o o - ooo", ledger.ExitSilent, func(t testing.TB) *world {
			return reviewed(t, task.RunOK, 9)
		}},
		{"alice silent    ", "oooooo oo o - - o-o", ledger.DataOwnerSilent, func(t testing.TB) *world {
			return attesting(t).judge().release(bobs)
		}},
		{"bob silent      ", "oooooo oo o - - o-o", ledger.CodeOwnerSilent, func(t testing.TB) *world {
			return attesting(t).judge().release(alices)
		}},
		{"both silent     ", "oooooo oo - - - o-o", ledger.DataOwnerSilent, func(t testing.TB) *world {
			return attesting(t).judge().call()
		}},
		{"keys directly   ", "oooooo oo - o o o-o", ledger.Completed, func(t testing.TB) *world {
			return attesting(t).judge().result(task.RunOK, 9).leave()
		}},
		{"neither called, nor a result", "oooooo oo - - - ooo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			return attesting(t).to(func(w *world) *world { return w.judge().nextView() })
		}},
		{"executors silent", "oooooo -- - - - ooo", ledger.ExecutorsFailed, attesting},
		{"executors skipped", "oooooo -- - - - o-o", ledger.ExecutorsFailed, func(t testing.TB) *world {
			return attesting(t).to((*world).skip)
		}},
		{"no result       ", "oooooo oo o - - ooo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			return attesting(t).to(func(w *world) *world { return w.judge().release(alices, bobs).nextView() })
		}},
		{"evidence faulty ", "oooooo oo - - - ooo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			w := attesting(t).say(task.Fault)
			w.tweak = debug
			return w.to(func(w *world) *world { return w.judge().nextView() })
		}},
		{"declined once   ", "oooooo oo o o o o-o", ledger.Completed, func(t testing.TB) *world {
			return attesting(t).declines(task.Busy).ran(task.RunOK, 9).leave()
		}},
		{"another declined", "oooooo oo o o o o-o", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t)
			return w.decline(w.judges()[0], task.CannotRun).lacks(alices).ran(task.RunOK, 9).leave()
		}},
		{"no input        ", "oooooo -- - - - o-o", ledger.InputWithheld, func(t testing.TB) *world {
			return attesting(t).to(func(w *world) *world { return w.lacks(alices) })
		}},
		{"no code         ", "oooooo -- - - - o-o", ledger.CodeWithheld, func(t testing.TB) *world {
			return attesting(t).to(func(w *world) *world { return w.lacks(bobs) })
		}},
		{"nobody can      ", "oooooo -- - - - o-o", ledger.NoCommittee, func(t testing.TB) *world {
			return attesting(t).to(func(w *world) *world {
				if w.c().Phase == ledger.Posted {
					w.elect()
				}
				return w.declines(task.CannotRun)
			})
		}},
		{"redrawn, then ok", "oooooo oo o o o o-o", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t)
			shown := w.pair()
			for w.show(shown); w.c().View.Pre.Progress < ledger.Sealed; {
				w.next()
			}
			w.must("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, nil, w.opening(shown))})
			return w.wait(ledger.Posted).elect().ran(task.RunOK, 9).leave()
		}},
		{"redrawn for good", "oooooo -o - - - ooo", ledger.NoCommittee, func(t testing.TB) *world {
			return newWorld(t).say(silent).to(func(w *world) *world {
				w.elect().judge()
				for a := w.c().Attempt; w.c().Attempt == a && w.c().Phase != ledger.Closed; {
					w.next()
				}
				return w
			})
		}},
		{"no claims       ", "ooooo- -- - - - o-o", ledger.NoCommittee, func(t testing.TB) *world { return newWorld(t) }},
		{"one claim       ", "ooooo- -- - - - o-o", ledger.NoCommittee, func(t testing.TB) *world {
			return newWorld(t).to(func(w *world) *world {
				w.claim(1)
				for a := w.c().Attempt; w.c().Attempt == a && w.c().Phase != ledger.Closed; {
					w.next()
				}
				return w
			})
		}},
		{"two words       ", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := attesting(t)
			w.twoWords(w.judges()[0])
			return w.ran(task.RunOK, 9).leave()
		}},
		{"accused too late", "oooooo oo o o o ooo", ledger.Completed, func(t testing.TB) *world {
			w := run(task.RunOK, 9)(t).wait(ledger.Closed)
			w.twoWords(w.judges()[0])
			w.look() // which proves nothing
			return w.twoResults()
		}},
	} {
		t.Run(strings.TrimSpace(row.name), func(t *testing.T) {
			w := row.story(t).wait(ledger.Closed)
			r, check := w.receipt()
			parsed, err := receipt.Parse(r.Encode())
			if err != nil || !bytes.Equal(parsed.Encode(), r.Encode()) {
				t.Fatalf("a receipt does not survive its encoding: %v", err)
			}
			rep := receipt.Verify(parsed, check)
			if err := rep.Err(); err != nil || !rep.Holds() || rep.Outcome != row.end {
				t.Fatalf("%s: %v\n%s", rep.Outcome, err, rep.Text())
			}
			if got, want := letters(rep), strings.ReplaceAll(row.rows, " ", "")+"o"; got != want {
				t.Errorf("rows %s, want %s\n%s", got, want, rep.Text())
			}
			for _, other := range ends() {
				bad, _ := receipt.Parse(r.Encode())
				was := *bad.Case.Settlement
				s := ledger.Settle(&bad.Case, other, was.Height)
				bad.Case.Settlement = &s
				if !bytes.Equal(task.Encode(s), task.Encode(was)) && receipt.Verify(bad, gullible).Holds() {
					t.Errorf("it might as well have ended with %v", other)
				}
			}
		})
	}
}

// ends are all that there are, each by each party.
func ends() (all []ledger.End) {
	for _, o := range outcomes {
		for party := range uint8(3) {
			all = append(all, ledger.End{Outcome: o, Party: party})
		}
	}
	return all
}

var outcomes = []ledger.Outcome{
	ledger.RequesterSilent, ledger.Completed, ledger.FunctionFailed, ledger.DataOwnerSilent, ledger.CodeOwnerSilent, ledger.ExecutorsFailed,
	ledger.DirtyExit, ledger.NoCommittee, ledger.ExitSilent, ledger.BadEnclave, ledger.ForgedResult,
	ledger.InputWithheld, ledger.CodeWithheld, ledger.AllOutOfTime,
}

func letters(r receipt.Report) (s string) {
	for _, row := range r.Rows {
		s += map[receipt.Status]string{receipt.OK: "o", receipt.Failed: "F", receipt.NotApplicable: "-"}[row.Status]
	}
	return s
}

func words(r receipt.Report, name string) string {
	for _, row := range r.Rows {
		if row.Name == name {
			return string(row.Status) + ": " + row.Words
		}
	}
	return ""
}

// Who lied together had their way; here the receipt says what was false. A lie
// that changed nothing it names.
func TestLiesAreNamed(t *testing.T) {
	for _, row := range []struct {
		name  string
		row   string // that fails; none if the lie changed nothing
		says  string
		story func(*world) *world
	}{
		{"all call a debug enclave good", "evidence", "debug mode", func(w *world) *world {
			w.tweak = debug
			w.ran(task.RunOK, 9).tweak = func(*quoted) {}
			return w.leave()
		}},
		{"the quote answers nobody", "evidence", "nonce-missing", func(w *world) *world {
			w.tweak = func(ev *quoted) { ev.Nonce = task.Hash{} }
			w.ran(task.RunOK, 9).tweak = func(*quoted) {}
			return w.leave()
		}},
		{"one condemns a good enclave", "", "said FAULT", func(w *world) *world {
			return w.say(task.OK, task.Fault).ran(task.RunOK, 9).leave()
		}},
		{"a second result after the settlement", "", "two-results on an accusation", func(w *world) *world {
			return w.ran(task.RunOK, 9).leave().twoResults()
		}},
		{"another pair after the settlement", "", "two-pairs on an accusation", func(w *world) *world {
			return w.ran(task.RunOK, 9).leave().otherPair()
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := row.story(attesting(t)).wait(ledger.Closed)
			rep := receipt.Verify(w.receipt())
			if row.row == "" {
				if !rep.Holds() || !strings.Contains(strings.Join(rep.Caveats, " "), row.says) {
					t.Fatal(rep.Text())
				}
				return
			}
			if got := words(rep, row.row); !strings.HasPrefix(got, "failed") || !strings.Contains(got, row.says) || rep.Err() == nil {
				t.Fatal(rep.Text())
			}
			if got := strings.Count(letters(rep), "F"); got != 1 {
				t.Errorf("%d rows failed\n%s", got, rep.Text())
			}
		})
	}
}

func TestTheReportSpeaks(t *testing.T) {
	r, check := completed(t).receipt()
	rep := receipt.Verify(r, check)
	text := rep.Text()
	t.Log("\n" + text)
	for _, want := range []string{"THE TEE WAS SIMULATED", "proved by VRF that they were drawn; 20 were expected", "The receipt holds", "passed over", "The stakes",
		"beacon: 1 of 1 seats; the largest holder has 1; known in advance to validator 01000000", "alone knew the beacons in advance"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("the text does not say %q", want)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 101 && strings.Count(line, " ") > 3 {
			t.Errorf("too wide: %q", line)
		}
	}
	if rep.Tier != task.TierSimulated {
		t.Errorf("tier %s", rep.Tier)
	}
	raw, err := json.Marshal(rep)
	var back struct {
		Holds bool
		Rows  []receipt.Row
	}
	if err != nil || json.Unmarshal(raw, &back) != nil || !back.Holds || len(back.Rows) != len(rep.Rows) {
		t.Errorf("json: %v %s", err, raw)
	}
	if rep := receipt.Verify(r, receipt.Trust{}); rep.Holds() || words(rep, "state proof") == "" {
		t.Error("without a state proof it holds")
	}
	if (receipt.Report{}).Holds() || (receipt.Report{}).Err() == nil {
		t.Error("an empty report holds")
	}
}

// A receipt's text reaches the reader's terminal; it must not steer it.
func TestTextIsPlain(t *testing.T) {
	r, _ := completed(t).receipt()
	r.Case.Function.Manifest.Name = "\x1b[2J\r\nThe receipt holds."
	r.Case.Task.Chain = "\x1b]0;x\a"
	r.Case.Params.Chain = "\x1b[1mok"
	if text := receipt.Verify(r, gullible).Text(); strings.ContainsAny(text, "\x1b\r\a") {
		t.Errorf("%q", text)
	}
}

// An open case is no receipt, even if the chain proves it.
func TestAnOpenCaseFails(t *testing.T) {
	w := newWorld(t).elect().ran(task.RunOK, 9)
	if rep := receipt.Verify(w.receipt()); !strings.Contains(words(rep, "course"), "not closed") || rep.Holds() {
		t.Error(rep.Text())
	}
}

// A hostile file may say anything that can be encoded; Verify must answer.
func TestAbsurdReceipts(t *testing.T) {
	for name, bend := range map[string]func(*ledger.Case){
		"nothing":            func(c *ledger.Case) { *c = ledger.Case{} },
		"endless seats":      func(c *ledger.Case) { c.Members[0].Seats = 1<<32 - 1 },
		"no epoch":           func(c *ledger.Case) { c.Params.EpochBlocks = 0 },
		"endless attempts":   func(c *ledger.Case) { c.Attempt = 1<<32 - 1; c.Params.MaxAttempts = 1<<32 - 1 },
		"stakes that wrap":   func(c *ledger.Case) { c.Members[0].Stake = 1<<64 - 1; c.Members[1].Stake = 2 },
		"prices that wrap":   func(c *ledger.Case) { c.Task.GasPrice = 1<<64 - 1; c.Task.GasLimit = 1<<64 - 1 },
		"view of the end":    func(c *ledger.Case) { c.View.Number = 1<<32 - 1 },
		"no members":         func(c *ledger.Case) { c.Members = nil },
		"unknown executor":   func(c *ledger.Case) { c.View.Executor = task.NodeID{1} },
		"no executor":        func(c *ledger.Case) { c.View.Executor = task.NodeID{} },
		"unknown outcome":    func(c *ledger.Case) { c.View.Result.Result.Outcome = 99 },
		"unknown end":        func(c *ledger.Case) { c.Settlement.Outcome = 99 },
		"another task":       func(c *ledger.Case) { c.Task.Nonce++ },
		"another function":   func(c *ledger.Case) { c.Function.Manifest.Royalty++ },
		"payments that wrap": func(c *ledger.Case) { c.Settlement.Payments[0].Amount = 1<<64 - 1 },
	} {
		r, _ := completed(t).receipt()
		bend(&r.Case)
		if rep := receipt.Verify(r, gullible); rep.Holds() || rep.Text() == "" {
			t.Errorf("%s holds", name)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	r, _ := completed(t).receipt()
	raw := r.Encode()
	for name, bad := range map[string][]byte{
		"empty": nil, "trailing": append(bytes.Clone(raw), 0), "huge": make([]byte, receipt.MaxSize+1),
	} {
		if _, err := receipt.Parse(bad); task.CodeOf(err) != "receipt-malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.Version++
	if _, err := receipt.Parse(r.Encode()); task.CodeOf(err) != "receipt-version" {
		t.Errorf("version: %v", err)
	}
}

// The judge of a chain must not be the chain's own code.
func TestDoesNotImportTheChain(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip(err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, bad := range []string{"cometbft", "prytany/chain", "prytany/p2p", "libp2p", "net/http"} {
			if strings.Contains(dep, bad) {
				t.Errorf("imports %s", dep)
			}
		}
	}
}

// Run with -fuzzminimizetime 20x: a whole receipt takes long to minimize.
func FuzzParse(f *testing.F) {
	w := completed(f)
	r, check := w.receipt()
	good := r.Encode()
	f.Add(good)
	f.Add(receipt.New(newWorld(f).wait(ledger.Closed).c(), nil).Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := receipt.Parse(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Encode(), raw) {
			t.Fatal("two encodings of one receipt")
		}
		if receipt.Verify(r, check).Holds() && !bytes.Equal(raw, good) {
			t.Fatal("another receipt than the true one holds")
		}
		_ = receipt.Verify(r, gullible).Text()
	})
}
