package receipt_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
)

func debug(ev *attest.Evidence) { ev.Quote.Debug = true }

func condemn(task.Round, task.NodeID) task.Verdict { return task.Fault }

// reviewed is a world at its exit round.
func reviewed(t testing.TB, o task.Outcome, gas uint64) *world {
	return newWorld(t).elect().ran(o, gas)
}

// Every way in which a case can end makes a receipt that holds. The word has a
// letter for each row: o is ok, - is not applicable.
func TestEveryEndVerifies(t *testing.T) {
	for _, row := range []struct {
		name  string
		rows  string
		end   ledger.Outcome
		story func(testing.TB) *world
	}{
		{"ok after a skip ", "ooooo oo o o oo oo", ledger.Completed, completed},
		{"function error  ", "ooooo oo o o oo oo", ledger.FunctionFailed, func(t testing.TB) *world {
			return reviewed(t, task.FunctionError, 9).judge(task.PostRun)
		}},
		{"memory exceeded ", "ooooo oo o o oo oo", ledger.FunctionFailed, func(t testing.TB) *world {
			return reviewed(t, task.MemoryExceeded, 9).judge(task.PostRun)
		}},
		{"gas exhausted   ", "ooooo oo o o oo oo", ledger.GasExhausted, func(t testing.TB) *world {
			return reviewed(t, task.GasExhausted, 1_000_000).judge(task.PostRun)
		}},
		{"wrong input key ", "ooooo oo o o oo oo", ledger.AliceSilent, func(t testing.TB) *world {
			return reviewed(t, task.BadInputKey, 0).judge(task.PostRun)
		}},
		{"wrong code key  ", "ooooo oo o o oo oo", ledger.BobSilent, func(t testing.TB) *world {
			return reviewed(t, task.BadCodeKey, 0).judge(task.PostRun)
		}},
		{"dirty exit      ", "ooooo oo o o oo oo", ledger.DirtyExit, func(t testing.TB) *world {
			w := reviewed(t, task.RunOK, 9)
			w.tweak = func(ev *attest.Evidence) { ev.State = task.Hash{1} }
			w.verdict = condemn
			return w.judge(task.PostRun)
		}},
		{"no exit verdicts", "ooooo oo o o -- oo", ledger.Completed, func(t testing.TB) *world {
			return reviewed(t, task.RunOK, 9)
		}},
		{"exit not revealed", "ooooo oo o o -- oo", ledger.Completed, func(t testing.TB) *world {
			w := reviewed(t, task.RunOK, 9)
			w.verdict = func(task.Round, task.NodeID) task.Verdict { return 0 }
			return w.judge(task.PostRun)
		}},
		{"alice silent    ", "ooooo oo o - -- oo", ledger.AliceSilent, func(t testing.TB) *world {
			return newWorld(t).elect().judge(task.PreRun).release(task.Bob)
		}},
		{"bob silent      ", "ooooo oo o - -- oo", ledger.BobSilent, func(t testing.TB) *world {
			return newWorld(t).elect().judge(task.PreRun).release(task.Alice)
		}},
		{"both silent     ", "ooooo oo - - -- oo", ledger.AliceSilent, func(t testing.TB) *world {
			return newWorld(t).elect().judge(task.PreRun)
		}},
		{"executors silent", "ooooo -- - - -- oo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			return newWorld(t).elect()
		}},
		{"executors skipped", "ooooo -- - - -- oo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			w := newWorld(t).elect()
			for w.c().Phase != ledger.Closed {
				w.skip()
			}
			return w
		}},
		{"no result       ", "ooooo oo o - -- oo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			w := newWorld(t).elect()
			for w.c().Phase != ledger.Closed {
				w.judge(task.PreRun).release(task.Alice, task.Bob)
				for n := w.c().View.Number; w.c().View.Number == n && w.c().Phase != ledger.Closed; {
					w.next()
				}
			}
			return w
		}},
		{"evidence faulty ", "ooooo oo - - -- oo", ledger.ExecutorsFailed, func(t testing.TB) *world {
			w := newWorld(t).elect()
			w.tweak, w.verdict = debug, condemn
			for w.c().Phase != ledger.Closed {
				w.judge(task.PreRun)
			}
			return w
		}},
		{"no claims       ", "oooo- -- - - -- oo", ledger.NoCommittee, func(t testing.TB) *world {
			return newWorld(t)
		}},
		{"one claim       ", "oooo- -- - - -- oo", ledger.NoCommittee, func(t testing.TB) *world {
			w := newWorld(t)
			for w.c().Phase != ledger.Closed {
				w.claim(1)
				for a := w.c().Attempt; w.c().Attempt == a && w.c().Phase != ledger.Closed; {
					w.next()
				}
			}
			return w
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
			if got, want := letters(rep), strings.ReplaceAll(row.rows, " ", ""); got != want {
				t.Errorf("rows %s, want %s\n%s", got, want, rep.Text())
			}
		})
	}
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

// The chain counts votes; here the votes are false, and the report says whose.
func TestFalseVerdictsAreNamed(t *testing.T) {
	for _, row := range []struct {
		name  string
		row   string // that fails; none if the lie changed nothing
		says  string
		story func(*world) *world
	}{
		{"all call a debug enclave good", "pre-run evidence", "debug mode", func(w *world) *world {
			w.tweak = debug
			return w.ran(task.RunOK, 9)
		}},
		{"all condemn a good enclave", "pre-run evidence", "yet verifiers condemned it", func(w *world) *world {
			w.verdict = condemn
			for w.c().Phase != ledger.Closed {
				w.judge(task.PreRun)
			}
			return w
		}},
		{"all call a dirty exit clean", "exit evidence", "writable state", func(w *world) *world {
			w.ran(task.RunOK, 9).tweak = func(ev *attest.Evidence) { ev.State = task.Hash{1} }
			return w.judge(task.PostRun)
		}},
		{"all call a clean exit dirty", "exit evidence", "yet verifiers condemned it", func(w *world) *world {
			w.ran(task.RunOK, 9).verdict = condemn
			return w.judge(task.PostRun)
		}},
		{"the exit is of another enclave", "exit evidence", "another enclave", func(w *world) *world {
			w.ran(task.RunOK, 9).tweak = func(ev *attest.Evidence) { ev.Keys = enclaveKey(77) }
			return w.judge(task.PostRun)
		}},
		{"the exit answers an old nonce", "exit evidence", "not answered", func(w *world) *world {
			w.ran(task.RunOK, 9).tweak = func(ev *attest.Evidence) { ev.Nonces = []task.Hash{{1}} }
			return w.judge(task.PostRun)
		}},
		{"the quote answers nobody", "pre-run evidence", "only 0 seats said OK truthfully", func(w *world) *world {
			w.tweak = func(ev *attest.Evidence) { ev.Nonces = nil }
			return w.ran(task.RunOK, 9)
		}},
		{"one condemns a good enclave", "", "said FAULT", func(w *world) *world {
			liar := w.smallest()
			w.verdict = func(_ task.Round, id task.NodeID) task.Verdict {
				if id == liar {
					return task.Fault
				}
				return task.OK
			}
			return w.ran(task.RunOK, 9).judge(task.PostRun)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := row.story(newWorld(t).elect()).wait(ledger.Closed)
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
	for _, want := range []string{"THE TEE WAS SIMULATED", "proved by VRF that they were drawn; 20 were expected", "The receipt holds", "passed over", "The stakes"} {
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
	if rep := receipt.Verify(r, nil); rep.Holds() || words(rep, "state proof") == "" {
		t.Error("without a state proof it holds")
	}
	if (receipt.Report{}).Holds() || (receipt.Report{}).Err() == nil {
		t.Error("an empty report holds")
	}
}

// A receipt's text reaches the reader's terminal; it must not steer it.
func TestTextIsPlain(t *testing.T) {
	r, _ := completed(t).receipt()
	r.Case.Passed[0].Why = "\x1b[2J\r\nThe receipt holds."
	r.Case.Task.Chain = "\x1b]0;x\a"
	r.Case.Settlement.Outcome = "\x1b[1mok"
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
		"unknown end":        func(c *ledger.Case) { c.Settlement.Outcome = "fine" },
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
