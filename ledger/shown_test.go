package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// published is a world with a task for a function of the test's choice.
func published(t *testing.T, change func(*task.Manifest), ask func(*task.Task)) (*world, error) {
	w := newWorldUnder(t, 9, func(r *attest.Reference) { r.Docker = []task.Hash{{44}} })
	f := w.function()
	change(&f.Manifest)
	w.fn = f.ID()
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
	p := w.task()
	ask(&p)
	w.id = p.ID()
	return w, w.send("alice", task.Body{Post: &p})
}

func container(runtime string) func(*task.Manifest) {
	return func(m *task.Manifest) {
		m.Runtime, m.Arch, m.Args = runtime, "any", []string{"/f"}
		m.Image = &task.Image{Digest: "sha256:" + strings.Repeat("0", 64), Blob: task.Blob{CID: "image", Size: 9}}
	}
}

// What a task asks of a function, and a function of a task, is settled before any
// money moves; and a receipt's reader finds it again.
func TestRequestsFitTheFunction(t *testing.T) {
	plain := func(*task.Manifest) {}
	for _, row := range []struct {
		name   string
		change func(*task.Manifest)
		ask    func(*task.Task)
		code   string
	}{
		{"arguments for a function that takes none", plain, func(p *task.Task) { p.Args = []string{"-x"} }, "args-refused"},
		{"for one that does", func(m *task.Manifest) { m.TaskArgs = true }, func(p *task.Task) { p.Args = []string{"-x"} }, ""},
		{"exact metering", func(m *task.Manifest) { m.Exact = true }, func(*task.Task) {}, "weakness-unaccepted"},
		{"accepted", func(m *task.Manifest) { m.Exact = true }, func(p *task.Task) { p.Policy.Accept = []string{task.WeakExact} }, ""},
		{"another weakness accepted", func(m *task.Manifest) { m.Exact = true }, func(p *task.Task) { p.Policy.Accept = []string{task.WeakDocker} }, "weakness-unaccepted"},
		{"docker", container(task.RuntimeDocker), func(*task.Task) {}, "weakness-unaccepted"},
		{"docker, accepted", container(task.RuntimeDocker), func(p *task.Task) { p.Policy.Accept = []string{task.WeakDocker} }, ""},
		{"oci is no weakness", container(task.RuntimeOCI), func(*task.Task) {}, ""},
		{"a weakness that is none", plain, func(p *task.Task) { p.Policy.Accept = []string{"all"} }, "task-malformed"},
		{"less gas than the least", func(m *task.Manifest) { m.Limits.GasLeast = 1_000_001 }, func(*task.Task) {}, "gas-low"},
		{"the least", func(m *task.Manifest) { m.Limits.GasLeast = 1_000_000 }, func(*task.Task) {}, ""},
	} {
		w, err := published(t, row.change, row.ask)
		if got := task.CodeOf(err); got != row.code {
			t.Errorf("%s: %v, want %q", row.name, err, row.code)
		}
		if open := w.block.meta.Open; open == 1 != (row.code == "") {
			t.Errorf("%s: %d tasks are open", row.name, open)
		}
	}
	// No reference values of this world have a better tier: the rule stands alone.
	docker := task.Manifest{Runtime: task.RuntimeDocker}
	for tier, code := range map[task.Tier]string{task.TierSimulated: "", task.TierMeasured: "docker-tier", task.TierConfidential: "docker-tier"} {
		err := CheckRequest(task.Task{Policy: task.Policy{MinTier: tier, Accept: []string{task.WeakDocker}}}, docker)
		if code == "" && err != nil || code != "" && task.CodeOf(err) != code {
			t.Errorf("docker for %s: %v, want %q", tier, err, code)
		}
	}
	if err := CheckRequest(task.Task{}, docker); !strings.Contains(err.Next, "--accept docker") {
		t.Errorf("what to do: %q", err.Next)
	}
}

// A wall limit that an honest machine could miss is refused, so that no function
// makes executors work for nothing.
func TestWallLimitsLastForAllTheGas(t *testing.T) {
	p := Embedded("c")
	p.GasFloor, p.CodeFloor = 100, 10
	for _, row := range []struct {
		gas, code, image, wall uint64
		code2                  string
	}{
		{1000, 50, 0, 15, ""},
		{1000, 50, 0, 14, "wall-short"},
		{1001, 50, 0, 15, "wall-short"}, // each part is rounded up
		{1000, 51, 0, 15, "wall-short"},
		{1000, 50, 30, 17, "wall-short"},
		{1000, 50, 30, 18, ""},
		{1, 1, 0, 2, ""},
		{1, 1, 0, 1, "wall-short"},
		{1 << 63, 1, 0, 24 * 3600 * 1000, "wall-short"},
		{1000, 50, 0, 24 * 3600 * 1000, "wall-too-long"},
	} {
		f := task.Function{Code: task.Blob{Size: row.code}, Manifest: task.Manifest{Limits: task.Limits{Gas: row.gas, WallMillis: row.wall}}}
		if row.image > 0 {
			f.Manifest.Image = &task.Image{Blob: task.Blob{Size: row.image}}
		}
		if err := p.CheckFunction(f); task.CodeOf(err) != row.code2 {
			t.Errorf("%+v: %v", row, err)
		}
	}
	p.GasFloor, p.CodeFloor = 1, 1
	if err := p.CheckFunction(task.Function{Code: task.Blob{Size: 1}, Manifest: task.Manifest{Limits: task.Limits{Gas: 1<<64 - 1, WallMillis: 5}}}); task.CodeOf(err) != "wall-short" {
		t.Errorf("a sum that wraps: %v", err)
	}
}

// at brings a case of the world's to where a result is due.
func due(t *testing.T) *world {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	w.judge(everyone(task.OK))
	w.keysOut()
	return w
}

// bare is a result of the present view as its enclave would sign it.
func (w *world) bare(o task.Outcome, gas uint64) task.Result {
	c := w.c()
	pre, _ := attest.ParseEvidence(c.Genuine())
	r := task.Result{
		Task: w.id, Attempt: c.Attempt, View: c.View.Number, Node: c.View.Executor, Outcome: o, Gas: gas,
		PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: pre.Digest(),
	}
	r.Keys = keysOf(c)
	if o == task.WrongKey {
		r.Party = alices
	}
	return r
}

// The chain takes no result that shows more of a run than the money needs.
func TestFineResultsAreRefused(t *testing.T) {
	w := due(t)
	taken := map[uint64]bool{}
	for gas := uint64(0); gas <= 1_000_000; gas = gas*2 + 1 {
		for _, g := range []uint64{gas, gas + 1, 1_000_000 >> min(20, gas)} {
			for _, o := range []task.Outcome{task.RunOK, task.RunFailed, task.OutOfTime, task.WrongKey} {
				s := w.signed(w.bare(o, g))
				if o == task.OutOfTime {
					s.CID = ""
					s = s.PlacedBy(w.nodes[s.Result.Node].peer)
				}
				err := w.c().CheckResult(s)
				coarse := !o.Paid() && g == 0
				for k := range 8 {
					coarse = coarse || o.Paid() && g == (1_000_000+1<<k-1)>>k
				}
				if (err == nil) != coarse || err != nil && task.CodeOf(err) != "result-fine" {
					t.Errorf("%s with %d gas: %v", o, g, err)
				}
				if err == nil && o == task.RunOK {
					taken[g] = true
				}
			}
		}
	}
	if len(taken) == 0 || len(taken) > 8 {
		t.Errorf("%d values of gas were taken", len(taken))
	}
	for name, spoil := range map[string]func(*task.SignedResult){
		"output": func(s *task.SignedResult) { s.Result.Output[3]++ },
		"size":   func(s *task.SignedResult) { s.Result.Size = 4096 },
		"place":  func(s *task.SignedResult) { s.CID = "out" },
	} {
		s := w.signed(w.bare(task.OutOfTime, 0))
		s.CID = ""
		spoil(&s)
		s.Signature = task.Sign(seedKey("enclave"), s.Result.Hash())
		s = s.PlacedBy(w.nodes[s.Result.Node].peer)
		if err := w.send("carol", task.Body{Result: &s}); task.CodeOf(err) != "result-fine" {
			t.Errorf("out of time with an %s: %v", name, err)
		}
	}
}

// Exact gas is what the manifest and Alice have agreed on.
func TestExactGas(t *testing.T) {
	w, err := published(t, func(m *task.Manifest) { m.Exact = true }, func(p *task.Task) { p.Policy.Accept = []string{task.WeakExact} })
	if err != nil {
		t.Fatal(err)
	}
	w.next()
	w.elect()
	w.judge(everyone(task.OK))
	w.keysOut()
	if err := w.c().CheckResult(w.signed(w.bare(task.RunOK, 1_000_001))); task.CodeOf(err) != "result-fine" {
		t.Errorf("more than the limit: %v", err)
	}
	if err := w.result(task.RunOK, 777_777); err != nil {
		t.Fatal(err)
	}
	if got := w.c().View.Result.Result.Gas; got != 777_777 {
		t.Errorf("%d gas", got)
	}
}

// An executor that says it ran out of time is passed over at once. It gains
// nothing and loses nothing, and so does everyone else; no record changes.
func TestOutOfTimeBlamesNobody(t *testing.T) {
	w := due(t)
	first := w.c().View.Executor
	before := w.state()
	node, _ := before.Node(first)
	fn, _ := before.Function(w.fn)
	money := before.Account(node.Node.Operator)
	if err := w.result(task.OutOfTime, 5); err != nil {
		t.Fatal(err)
	}
	c := w.c()
	if c.Phase != Attesting || c.View.Number != 1 || c.View.Executor == first || c.View.Result != nil {
		t.Fatalf("%s, view %d, executor %s", c.Phase, c.View.Number, w.names[c.View.Executor])
	}
	p := c.Passed[0]
	if p.Why != RanOutOfTime || len(c.Slashes) != 0 || p.Result == nil || p.Executor != first {
		t.Errorf("%+v", p)
	}
	if c.Roster().Judges(first) {
		t.Error("who was passed over judges on")
	}
	after := w.state()
	node.Pledged = 0 // its turn is over
	if n, _ := after.Node(first); fmt.Sprint(n) != fmt.Sprint(node) {
		t.Errorf("its record changed: %+v, was %+v", n, node)
	}
	if f, _ := after.Function(w.fn); fmt.Sprint(f.Counts, f.Bond) != fmt.Sprint(fn.Counts, fn.Bond) {
		t.Errorf("the function's record changed: %+v, was %+v", f, fn)
	}
	if a := after.Account(node.Node.Operator); a != money {
		t.Errorf("it has %+v, had %+v", a, money)
	}
	// The same again is about a view that is over.
	old := *p.Result
	if err := w.send("carol", task.Body{Result: &old}); task.CodeOf(err) != "result-stale" {
		t.Errorf("%v", err)
	}
	// The next one does the work, and is paid as if nothing had been.
	w.judge(everyone(task.OK))
	w.keysOut()
	if err := w.result(task.RunOK, 250_000); err != nil {
		t.Fatal(err)
	}
	w.next()
	w.left()
	w.wait(Closed)
	s := w.c().Settlement
	if s.Outcome != Completed || paid(s, WhyExecutor) != task.PRY || s.Burned != 0 {
		t.Errorf("%+v", s)
	}
	for _, pay := range s.Payments {
		if pay.Node == first {
			t.Errorf("the slow one got %s as %s", pay.Amount, pay.Why)
		}
	}
	if n, _ := w.state().Node(first); n.Lost != 0 || n.Counts[Absent]+n.Counts[Silence]+n.Counts[Executed] != 0 {
		t.Errorf("its record: %v, lost %s", n.Counts, n.Lost)
	}
}

// When all views are out of time nobody is blamed, since nobody can see whose time
// it was. Those who verified the last one are paid: Alice chose the function.
func TestAllOutOfTime(t *testing.T) {
	w := newWorld(t, 30)
	w.post()
	w.elect()
	w.judge(everyone(task.OK))
	w.keysOut()
	for {
		if err := w.result(task.OutOfTime, 0); err != nil {
			t.Fatal(err)
		}
		if w.c().Phase == Closed {
			break
		}
		w.judge(everyone(task.OK))
		w.keysOut()
	}
	c := w.c()
	if s := c.Settlement; s.Outcome != AllOutOfTime || s.Fault.Of != NobodyCanSee || paid(s, WhyVerifier)+task.Amount(len(c.Members)) < c.Task.Fee || paid(s, WhyVerifier)+paid(s, WhyRefund) != c.Escrow.Locks[0] || paid(s, WhyExecutor) != 0 || paid(s, WhyRoom) != c.Escrow.Room-s.Rent {
		t.Errorf("%+v", s)
	}
	if len(c.Passed) < 2 || len(c.Slashes) != 0 {
		t.Errorf("%d passed over, %d slashed", len(c.Passed), len(c.Slashes))
	}
	f, _ := w.state().Function(w.fn)
	if _, runs := f.Success(); runs != 0 {
		t.Errorf("%d runs count for the function: %v", runs, f.Counts)
	}
}

// Alice cannot spoil Bob's record by small limits; what fails for another reason,
// or with all the gas that the function may have, counts.
func TestStarvedRunsSpoilNoRecord(t *testing.T) {
	for _, row := range []struct {
		name         string
		limit, used  uint64 // of the task; the manifest's is 10,000,000
		counts       Outcome
		executor     string
		ppm, nOfRuns uint64
	}{
		{"starved", 1_000_000, 1_000_000, ShortOfGas, "4 PRY", 0, 0},
		{"failed with gas left", 1_000_000, 500_000, FunctionFailed, "2 PRY", 0, 1},
		{"perhaps starved", 1_000_000, 500_001, ShortOfGas, "4 PRY", 0, 0},
		{"at its own limit", 10_000_000, 10_000_000, FunctionFailed, "4 PRY", 0, 1},
		{"beyond it", 20_000_000, 10_000_000, FunctionFailed, "2 PRY", 0, 1},
	} {
		w, err := published(t, func(*task.Manifest) {}, func(p *task.Task) {
			p.GasLimit, p.GasPrice = row.limit, 4*task.PRY*1_000_000/task.Amount(row.limit)
		})
		if err != nil {
			t.Fatal(err)
		}
		w.next()
		w.elect()
		w.judge(everyone(task.OK))
		w.keysOut()
		if err := w.result(task.RunFailed, row.used); err != nil {
			t.Fatal(err)
		}
		w.next()
		w.left()
		w.wait(Closed)
		f, _ := w.state().Function(w.fn)
		ppm, runs := f.Success()
		s := w.c().Settlement
		if s.Outcome != FunctionFailed || !slices.Equal(s.Fault.Parties, []uint32{uint32(alices), uint32(bobs)}) || f.Counts[row.counts] != 1 || ppm != row.ppm || runs != row.nOfRuns || paid(s, WhyExecutor).String() != row.executor {
			t.Errorf("%s: %s, %v, %d of %d, executor %s", row.name, s.Outcome, f.Counts, ppm, runs, paid(s, WhyExecutor))
		}
	}
}

// An enclave holds its result back (spec §9.5.7). The chain waits for that as well, or
// it would slash the executor of a run that took most of its time, or all of it.
func TestAResultIsNotHeldBackPastItsDeadline(t *testing.T) {
	for _, wall := range []uint64{10_000, 21_000, 90_000, 170_000, 240_000, 800_000} {
		w, err := published(t, func(m *task.Manifest) { m.Limits.WallMillis = wall }, func(*task.Task) {})
		if err != nil {
			t.Fatal(err)
		}
		w.elect()
		w.judge(everyone(task.OK))
		w.keysOut()
		c := w.c()
		if c.Phase != Running {
			t.Fatalf("phase %s", c.Phase)
		}
		m := c.Function.Manifest
		for _, took := range []uint64{0, wall / 2, wall * 3 / 4, wall, wall + 900} {
			for _, o := range []task.Outcome{task.RunOK, task.RunFailed, task.OutOfTime} {
				handed := w.block.Height + w.block.Params.Blocks(m.ShownMillis(o, took))
				if handed+w.block.Params.RunGraceBlocks > c.Deadline {
					t.Errorf("wall %d ms: a run of %d ms, %s, is handed out at block %d; its executor is passed over at %d, with no grace", wall, took, o, handed, c.Deadline)
				}
			}
		}
	}
}

// A run that is out of time is neither paid nor slashed, and takes no longer than
// its owner wishes. It must not save an executor whose decoy is good as well, nor
// cost those who have found that and had no block to say so.
func TestOutOfTimeOutrunsNoWord(t *testing.T) {
	w := elected(t)
	liar := w.c().View.Executor
	shown := w.both(w.quote(task.PreRun), w.quote(task.PreRun))
	victims := w.verifiers()[:2]
	w.judgeThis(shown, w.except(2, task.OK, everyone(decoys)))
	w.keysOut()
	if err := w.result(task.OutOfTime, 10); err != nil { // in the block of the opening
		t.Fatal(err)
	}
	if err := w.send("carol", task.Body{Show: &shown}); err != nil {
		t.Errorf("a victim shows both pieces: %v", err)
	}
	w.passed()
	if w.lost(TwoGood)[liar] == 0 {
		t.Errorf("the liar has lost nothing: %+v", w.c().Slashes)
	}
	for _, id := range victims {
		if n, _ := w.state().Node(id); n.Misses != 0 || w.lost(WrongPick)[id] != 0 {
			t.Errorf("a victim lost %s, and its count is %d", w.lost(WrongPick)[id], n.Misses)
		}
	}
}

// The same of a piece that is faulty: one honest word is enough, and has its time.
func TestOutOfTimeSavesNoLiar(t *testing.T) {
	w := elected(t)
	liar, honest := w.c().View.Executor, w.verifiers()[0]
	shown := w.pair(w.dirty(task.PreRun))
	reveals := w.commit(shown, w.except(1, task.OK, everyone(task.Fault)))
	others := slices.DeleteFunc(slices.Clone(reveals), func(v task.Reveal) bool { return v.Node == honest })
	if err := w.verdicts(others, shown); err != nil {
		t.Fatal(err)
	}
	if w.c().Phase != Running {
		t.Fatal(w.c().Phase)
	}
	if err := w.result(task.OutOfTime, 10); err != nil {
		t.Fatal(err)
	}
	if err := w.verdicts(of(reveals, honest)); err != nil {
		t.Errorf("the honest one's word, in the block of the opening: %v", err)
	}
	w.passed()
	if w.lost(BadEvidence)[liar] == 0 || len(w.lost(FalseOK)) == 0 {
		t.Errorf("the liars have lost nothing: %+v", w.c().Slashes)
	}
}

// A function whose outputs nobody could hold to anything is not published (spec
// §9.10).
func TestSchemasAreRead(t *testing.T) {
	w := newWorld(t, 4)
	publish := func(schema string) string {
		f := w.function()
		f.Manifest.Outputs = []task.Port{{Name: "report.json", Schema: schema}}
		return task.CodeOf(w.send("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}}))
	}
	for schema, want := range map[string]string{
		`{"type":"boolean"}`: "", "": "", `{"type":"string"}`: "schema-invalid", "x": "schema-invalid",
		strings.Repeat(" ", task.MaxSchema+1): "function-malformed",
	} {
		if got := publish(schema); got != want {
			t.Errorf("%.40q: %q, want %q", schema, got, want)
		}
	}
}
