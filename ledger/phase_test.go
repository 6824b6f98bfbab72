package ledger

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

var rewriteStages = flag.Bool("rewrite-stages", false, "write testdata/stages.txt anew")

// told is what a case of TestStages has heard, and might hear.
type told struct {
	shown   task.Showing
	commits []task.Commitment
	reveals []task.Reveal
}

// reached are the ways into each stage, and what is said on them.
var reached = []struct {
	stage Stage
	phase Phase
	when  string
	by    func(*world, *told)
}{
	{Seeding, Posted, "", func(w *world, _ *told) {
		w.publish()
		tk := w.task()
		w.id = tk.ID()
		w.must("alice", task.Body{Post: &tk})
	}},
	{Claiming, Electing, "", func(w *world, _ *told) { w.post() }},
	{Claiming, Electing, "with a member", func(w *world, _ *told) {
		w.post()
		w.must("carol", task.Body{Claims: task.PackClaims(w.allClaims()[:1])})
	}},
	{Gathering, Electing, "", func(w *world, _ *told) {
		w.post()
		w.must("carol", task.Body{Claims: task.PackClaims(w.allClaims()[:1])})
		w.until(Gathering)
	}},
	{Committing, Attesting, "at once", func(w *world, s *told) {
		w.post()
		w.elect()
		w.prepare(s, everyone(task.OK))
	}},
	{Committing, Attesting, "when the committee may skip", func(w *world, s *told) { w.hear(s, everyone(task.OK)) }},
	{Opening, Attesting, "", func(w *world, s *told) {
		w.hear(s, everyone(task.OK))
		w.must("carol", task.Body{Commitments: task.PackCommitments(s.commits)})
	}},
	{Judging, Attesting, "", func(w *world, s *told) { w.opened(s, everyone(task.OK), 1) }},
	{Doubting, Attesting, "", func(w *world, s *told) {
		w.hear(s, everyone(decoys))
		w.opened(s, nil, len(s.reveals))
	}},
	{Computing, Running, "uncalled", func(w *world, s *told) { w.good(s) }},
	{Unlocking, Releasing, "", func(w *world, s *told) { w.good(s); _ = w.call() }},
	{Computing, Running, "", func(w *world, s *told) { w.good(s); w.keysOut() }},
	{Questioning, Reviewing, "", func(w *world, s *told) { w.good(s); w.keysOut(); _ = w.result(task.RunOK, 9) }},
	{Leaving, Reviewing, "", func(w *world, s *told) {
		w.good(s)
		w.keysOut()
		_ = w.result(task.RunOK, 9)
		w.until(Leaving)
	}},
	{Left, Reviewing, "", func(w *world, s *told) {
		w.good(s)
		w.keysOut()
		_ = w.result(task.RunOK, 9)
		w.until(Leaving)
		_ = w.exit(w.quote(task.PostRun))
	}},
	{TimedOut, Releasing, "", func(w *world, s *told) { w.good(s); _ = w.call(); _ = w.result(task.OutOfTime, 9) }},
	{TimedOut, Running, "", func(w *world, s *told) { w.good(s); w.keysOut(); _ = w.result(task.OutOfTime, 9) }},
	{TimedOut, Running, "by its executor's word", func(w *world, s *told) {
		w.good(s)
		w.keysOut()
		_ = w.decline(w.c().View.Executor, task.Gone)
	}},
	{Condemned, Attesting, "", func(w *world, s *told) { w.opened(s, everyone(task.OK), 1); w.condemn(s) }},
	{Condemned, Attesting, "before the commitments are closed", func(w *world, s *told) {
		w.hear(s, everyone(task.OK))
		w.must("carol", task.Body{Show: &s.shown})
		w.must("carol", task.Body{Show: ref(w.pair(w.dirty(task.PreRun)))})
	}},
	{Condemned, Attesting, "before the pair is opened", func(w *world, s *told) {
		w.hear(s, everyone(task.OK))
		w.must("carol", task.Body{Commitments: task.PackCommitments(s.commits)})
		w.condemn(s)
	}},
	{Condemned, Releasing, "", func(w *world, s *told) { w.good(s); _ = w.call(); w.condemn(s) }},
	{Condemned, Running, "", func(w *world, s *told) { w.good(s); w.keysOut(); w.condemn(s) }},
	{Condemned, Reviewing, "", func(w *world, s *told) {
		w.good(s)
		w.keysOut()
		_ = w.result(task.RunOK, 9)
		w.until(Leaving)
		w.condemn(s)
	}},
	{Settled, Closed, "", func(w *world, s *told) {
		w.good(s)
		w.must("carol", task.Body{Verdicts: task.PackVerdicts(s.shown.Ballot, s.reveals, nil)})
		w.keysOut()
		_ = w.result(task.RunOK, 9)
		w.until(Leaving)
		_ = w.exit(w.quote(task.PostRun))
	}},
}

// sent are the transactions about a case, each as it would count if it were awaited.
var sent = []struct {
	kind string
	by   func(*world, *told) error
}{
	{"claims", func(w *world, _ *told) error { return w.send("carol", w.claimsRow("all")) }},
	{"commitments", func(w *world, s *told) error {
		if s.commits == nil {
			return w.send("carol", w.commitRow("executor"))
		}
		return w.send("carol", task.Body{Commitments: task.PackCommitments(s.commits)})
	}},
	{"reveals", func(w *world, s *told) error {
		return w.send("carol", task.Body{Verdicts: task.PackVerdicts(w.c().Ballot(), s.reveals, nil)})
	}},
	{"opening", func(w *world, s *told) error {
		return w.send("carol", task.Body{Verdicts: task.PackVerdicts(w.c().Ballot(), nil, w.opening(s.shown))})
	}},
	{"show", func(w *world, s *told) error {
		shown := s.shown
		shown.Ballot = w.c().Ballot()
		return w.send("carol", task.Body{Show: &shown})
	}},
	{"skip", func(w *world, _ *told) error { return w.send("carol", w.skipRow("all")) }},
	{"decline", func(w *world, _ *told) error { return w.leave(task.Lack{Reason: task.NoFile, Party: alices}) }},
	{"give-up", func(w *world, _ *told) error { return w.leave(task.Lack{Reason: task.Gone}) }},
	{"call", func(w *world, _ *told) error {
		if w.c().View.Executor.IsZero() {
			w.names[task.NodeID{}] = "carol"
		}
		return w.call()
	}},
	{"release", func(w *world, _ *told) error { return w.released(alices) }},
	{"result", func(w *world, _ *told) error { return w.result(task.RunOK, 9) }},
	{"exit", func(w *world, _ *told) error { return w.exit(w.quote(task.PostRun)) }},
	{"accuse", func(w *world, s *told) error {
		accused := w.c().View.Executor
		if accused.IsZero() {
			accused = w.nodeID("n0")
		}
		return w.accuse(task.Accusation{Accused: accused, Pairs: w.twoPairs(s)})
	}},
}

func (w *world) until(s Stage) {
	w.t.Helper()
	for range 1000 {
		if w.c().Stage == s {
			return
		}
		w.next()
	}
	w.t.Fatalf("waiting for %s, still %s", s, w.c().Stage)
}

// hear brings a committee into office, and makes what it will say.
func (w *world) hear(s *told, says say) {
	w.post()
	w.elect()
	for w.height < w.c().SkipFrom() { // or a skip would be too early
		w.next()
	}
	w.prepare(s, says)
}

func (w *world) prepare(s *told, says say) {
	s.shown = w.pair(w.quote(task.PreRun))
	s.commits, s.reveals = w.speak(s.shown, says)
}

// opened lets all commit, and some reveal, with the opening of the pair.
func (w *world) opened(s *told, says say, reveals int) {
	if s.commits == nil {
		w.hear(s, says)
	}
	w.must("carol", task.Body{Commitments: task.PackCommitments(s.commits)})
	w.must("carol", task.Body{Verdicts: task.PackVerdicts(s.shown.Ballot, s.reveals[:reveals], w.opening(s.shown))})
}

// good lets all but one find the enclave good: a word is still due.
func (w *world) good(s *told) {
	w.hear(s, everyone(task.OK))
	at := slices.IndexFunc(s.reveals, func(v task.Reveal) bool { return v.Node == w.verifiers()[0] })
	s.reveals[at], s.reveals[len(s.reveals)-1] = s.reveals[len(s.reveals)-1], s.reveals[at]
	w.opened(s, nil, len(s.reveals)-1)
}

// leave is the executor's decline, or a member's before there is one.
func (w *world) leave(why task.Lack) error {
	d := task.Decline{Task: w.id, Node: w.c().View.Executor, Lack: why}
	if d.Node.IsZero() && len(w.c().Members) > 0 {
		d.Node = w.c().Members[0].Claim.Node
	}
	if k := w.nodes[d.Node]; k != nil {
		d = d.SignedBy(k.peer)
	}
	return w.send("carol", task.Body{Decline: &d})
}

func (w *world) twoPairs(s *told) []task.Pair {
	if s.commits == nil {
		return []task.Pair{{}, {}}
	}
	_, k := w.platform()
	other := task.Pair{Ballot: s.shown.Ballot, Digests: [2]task.Hash{{1}, {2}}}
	other.Signature = task.Sign(k.peer, other.Hash())
	return []task.Pair{s.shown.Pair(), other}
}

func (w *world) condemn(s *told) {
	if err := w.accuse(task.Accusation{Pairs: w.twoPairs(s)}); err != nil {
		w.t.Fatal(err)
	}
}

// fork is the world as it is, for one transaction that does not count.
func (w *world) fork() *world {
	f, b := *w, *w.block
	b.state, b.cases = newOverlay(w.block.state), map[task.TaskID]*held{}
	b.meta.Stakes, b.judged = slices.Clone(b.meta.Stakes), maps.Clone(b.judged)
	f.block = &b
	return &f
}

// Each transaction, in each stage of a case, counts or is refused with its code, as
// testdata/stages.txt says; and the spec says which count.
func TestStages(t *testing.T) {
	var table strings.Builder
	takes := map[string]map[string]bool{} // by stage
	for _, row := range reached {
		w, s := newWorld(t, 9), &told{}
		row.by(w, s)
		c := w.c()
		if c.Stage != row.stage || c.Phase != row.phase {
			t.Fatalf("%s in %s: it is %s in %s", row.stage, row.phase, c.Stage, c.Phase)
		}
		if takes[c.Stage.String()] == nil {
			takes[c.Stage.String()] = map[string]bool{}
		}
		fmt.Fprintf(&table, "%s, %s\n", row.stage, strings.TrimSuffix(row.phase.String()+", "+row.when, ", "))
		for _, tx := range sent {
			f, code := w.fork(), "ok"
			if err := tx.by(f, s); err != nil {
				code = task.CodeOf(err)
			} else {
				takes[c.Stage.String()][tx.kind] = true
			}
			if err := fits(f.c()); err != nil {
				t.Errorf("%s in %s, after %s: %v", row.stage, row.phase, tx.kind, err)
			}
			fmt.Fprintf(&table, "  %-12s %s\n", tx.kind, code)
		}
	}
	const golden = "testdata/stages.txt"
	if *rewriteStages {
		if err := os.WriteFile(golden, []byte(table.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if table.String() != string(want) {
		t.Errorf("now it is\n%s", table.String())
	}
	specSays(t, takes)
}

// specSays holds the table of spec §6.2 against the code.
func specSays(t *testing.T, takes map[string]map[string]bool) {
	raw, err := os.ReadFile("../spec/06-committee.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(raw), "## 6.2 ")
	table, _, _ = strings.Cut(table, "## 6.3 ")
	rows := regexp.MustCompile(`(?m)^\| (\d+) ([a-z-]+) \| ([^|]*) \|.*\| ([^|]*) \|$`).FindAllStringSubmatch(table, -1)
	if len(rows) != len(phaseOf)-1 {
		t.Fatalf("the spec has %d stages, the code %d", len(rows), len(phaseOf)-1)
	}
	for i, row := range rows {
		s, phase := Stage(i+1), "any from attesting"
		switch p := phaseOf[i+1]; {
		case p != 0:
			phase = p.String()
		case s == TimedOut:
			phase = "releasing, running"
		}
		if row[1] != fmt.Sprint(i+1) || row[2] != s.String() || row[3] != phase {
			t.Errorf("the spec says %s %s in %q, the code %d %s in %q", row[1], row[2], row[3], uint8(s), s, phase)
		}
		kinds := strings.Join(slices.Sorted(maps.Keys(takes[s.String()])), ", ")
		if row[4] != kinds && (row[4] != "–" || kinds != "") {
			t.Errorf("the spec says that %s takes %q; it takes %q", s, row[4], kinds)
		}
	}
}

// fits holds a case's stage, and how far the verdict has come, against what has
// happened, by the heights and the rest of what is in the case.
func fits(c *Case) error {
	v, r := &c.View, &c.View.Pre
	progress := Collecting
	for i, at := range []uint64{r.ClosedAt, r.OpenedAt, r.DecidedAt} {
		if at != 0 {
			progress = Progress(i + 1)
		}
	}
	want := Stage(0)
	switch {
	case c.Settlement != nil:
		want = Settled
	case c.SeededAt < c.Began:
		want = Seeding
	case v.Executor.IsZero() && c.Deadline <= c.SeededAt+c.Params.ClaimBlocks:
		want = Claiming
	case v.Executor.IsZero():
		want = Gathering
	case r.Faulty:
		want = Condemned
	case v.Late != nil || v.Gone != nil:
		want = TimedOut
	case len(v.Exit) > 0:
		want = Left
	case v.ExitAt != 0:
		want = Leaving
	case v.Result != nil:
		want = Questioning
	case r.DecidedAt != 0 && (v.CalledAt == 0 || len(v.Releases) == 2):
		want = Computing
	case r.DecidedAt != 0:
		want = Unlocking
	case r.OpenedAt != 0 && c.allRevealed():
		want = Doubting
	case r.OpenedAt != 0:
		want = Judging
	case r.ClosedAt != 0:
		want = Opening
	default:
		want = Committing
	}
	phase := phaseOf[c.Stage]
	switch {
	case c.Stage != want:
		return fmt.Errorf("the case is %s; what is in it is %s", c.Stage, want)
	case r.Progress != progress:
		return fmt.Errorf("the verdict has come to %s, by its blocks to %s", r.Progress, progress)
	case phase != 0 && c.Phase != phase,
		phase == 0 && (c.Phase < Attesting || c.Phase > Reviewing),
		c.Stage == TimedOut && c.Phase > Running:
		return fmt.Errorf("%s is no stage of %s", c.Stage, c.Phase)
	case (c.Deadline == 0) != (c.Stage == Settled):
		return fmt.Errorf("%s is due in block %d", c.Stage, c.Deadline)
	}
	return nil
}
