package ledger

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/task"
)

// Each test of this file states a rule that the ledger does not keep yet.

// A canary is shown to verifiers before the set is closed. Whoever of them
// accuses at once frames an executor that cannot explain itself in time.
func TestACanaryIsNotAccusedBeforeItCanBeShown(t *testing.T) {
	w := elected(t, always)
	executor := w.c().View.Executor
	canary := w.shown(task.PreRun, w.dirty(task.PreRun))
	_ = w.send("carol", task.Body{Accuse: &task.Accusation{Ballot: canary.Ballot, Accused: executor, Shown: &canary}})
	w.next()
	w.next()
	if w.lost(BadEvidence)[executor] != 0 {
		t.Errorf("slashed for a canary that nobody let it show: %v", w.c().History)
	}
}

// An accusation about a round that has not begun must not move the deadline of
// the phase: here an executor accuses itself and Alice is held silent.
func TestAnAccusationDoesNotMakeAliceSilent(t *testing.T) {
	w := elected(t)
	w.judge(task.PreRun, everyone(task.OK))
	c := w.c()
	due := c.Deadline
	s := task.Showing{Ballot: c.Ballot(task.PostRun), Evidence: []byte{1}}
	s.Signature = task.Sign(w.nodes[c.View.Executor].peer, s.Hash())
	_ = w.send("carol", task.Body{Accuse: &task.Accusation{Ballot: s.Ballot, Accused: c.View.Executor, Shown: &s}})
	w.next()
	w.next()
	if c := w.c(); c.Phase == Closed {
		t.Errorf("settled %s in block %d; Alice had until block %d", c.Settlement.Outcome, c.Settlement.Height, due)
	}
}

// Once the chain has found the evidence of an enclave faulty, its exit must
// not settle the case as if nothing had been.
func TestAFaultyEnclaveIsNotPaidForItsExit(t *testing.T) {
	w := elected(t)
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
	_ = w.release(task.Alice)
	_ = w.release(task.Bob)
	if err := w.result(task.RunOK, 9); err != nil {
		t.Fatal(err)
	}
	for w.c().View.ExitNonce.IsZero() {
		w.next()
	}
	c := w.c()
	exit := w.shown(task.PostRun, w.quote(task.PostRun))
	reveals := w.commit(task.PostRun, exit, everyone(task.OK))
	w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(task.PreRun), Accused: c.View.Executor, Shown: ref(w.c().Shown(task.PreRun))}})
	_ = w.send("carol", task.Body{Verdicts: &task.Verdicts{Shown: exit, Reveals: reveals}})
	w.wait(Closed)
	if s := w.c().Settlement; s.Outcome != BadEnclave || w.lost(BadEvidence)[c.View.Executor] == 0 {
		t.Errorf("%s, the executor got %s, slashed %v", s.Outcome, paid(s, WhyExecutor), w.c().Slashes)
	}
}

// A skip must not let an executor off with the price of silence once the chain
// has found its evidence faulty, nor cut short the time for last words.
func TestASkipIsNoWayOutOfFaultyEvidence(t *testing.T) {
	w := elected(t)
	executor, honest := w.c().View.Executor, w.verifiers()
	shown := w.shown(task.PreRun, w.dirty(task.PreRun))
	reveals := w.commit(task.PreRun, shown, everyone(task.Fault))
	first := slices.DeleteFunc(slices.Clone(reveals), func(v task.Reveal) bool { return v.Node != honest[0] })
	w.must("carol", task.Body{Verdicts: &task.Verdicts{Shown: shown, Reveals: first}})
	c := w.c()
	var votes []task.SignedVote
	for _, m := range c.Members {
		v := task.Vote{Task: w.id, View: 1, Stage: task.NewView, Node: m.Claim.Node}
		votes = append(votes, task.SignedVote{Vote: v, Signature: task.Sign(w.nodes[v.Node].peer, v.Hash())})
	}
	_ = w.send("carol", task.Body{Skip: &task.Skip{Task: w.id, View: 1, Votes: votes}})
	_ = w.send("carol", task.Body{Verdicts: &task.Verdicts{Shown: shown, Reveals: reveals}})
	for w.c().View.Number == 0 {
		w.next()
	}
	if w.lost(BadEvidence)[executor] == 0 {
		t.Error("the executor was not slashed for its evidence")
	}
	if got := w.lost(NoReveal); len(got) != 0 {
		t.Errorf("%d who would have said FAULT were cut short and pay as for a false OK", len(got))
	}
}

// What an accusation brings must not replace what the committee judged: the
// result and the releases refer to that, and so does a receipt.
func TestAnAccusationKeepsTheEvidenceThatWasJudged(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	c := w.c()
	other := w.shown(task.PreRun, w.dirty(task.PreRun))
	w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: other.Ballot, Accused: c.View.Executor, Shown: &other}})
	w.wait(Closed)
	if err := w.c().CheckResult(*w.c().View.Result); err != nil {
		t.Error(err)
	}
}

// Keys that were released to a canary are for evidence that does not count.
func TestReleasesToACanaryDoNotCount(t *testing.T) {
	w := elected(t, always)
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
	_ = w.release(task.Alice)
	w.must("carol", task.Body{Canary: ref(w.opening())})
	if w.c().Released(task.Alice) {
		t.Error("the key for the canary's evidence is taken for the genuine one's")
	}
}

// A quorum for no evidence at all finds nothing good.
func TestOKToNothing(t *testing.T) {
	w := elected(t)
	reveals := w.commit(task.PreRun, task.Showing{}, everyone(task.OK))
	_ = w.send("carol", task.Body{Verdicts: &task.Verdicts{Shown: w.shown(task.PreRun, w.quote(task.PreRun)), Reveals: reveals}})
	if c := w.c(); c.Phase == Releasing {
		t.Errorf("keys are due with %d bytes of evidence", len(c.View.Pre.Evidence))
	}
}

// Verdicts that come with evidence that none of them is about must not end
// the review: a dirty executor brings them first, with a decoy.
func TestADecoyDoesNotEndTheReview(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	for w.c().View.ExitNonce.IsZero() {
		w.next()
	}
	executor := w.c().View.Executor
	dirty := w.shown(task.PostRun, w.dirty(task.PostRun))
	reveals := w.commit(task.PostRun, dirty, everyone(task.Fault))
	_ = w.send("carol", task.Body{Verdicts: &task.Verdicts{Shown: w.shown(task.PostRun, w.quote(task.PostRun)), Reveals: reveals}})
	_ = w.send("carol", task.Body{Verdicts: &task.Verdicts{Shown: dirty, Reveals: reveals}})
	w.wait(Closed)
	if s := w.c().Settlement; s.Outcome != DirtyExit || w.lost(UncleanExit)[executor] == 0 {
		t.Errorf("%s, slashed %v", s.Outcome, w.lost(UncleanExit))
	}
}

// Two results end the case at once; who has committed to a FAULT and had time
// left to say it must not pay for that.
func TestTwoResultsDoNotCutVerifiersShort(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	for w.c().View.ExitNonce.IsZero() {
		w.next()
	}
	c := w.c()
	dirty := w.shown(task.PostRun, w.dirty(task.PostRun))
	reveals := w.commit(task.PostRun, dirty, everyone(task.Fault))
	w.must("carol", task.Body{Verdicts: &task.Verdicts{Shown: dirty, Reveals: reveals[:1]}})
	second := *c.View.Result
	second.Result.Gas++
	second.Signature = task.Sign(seedKey("enclave"), second.Result.Hash())
	_ = w.send("alice", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(0), Accused: c.View.Executor, Result: &second}})
	_ = w.send("carol", task.Body{Verdicts: &task.Verdicts{Shown: dirty, Reveals: reveals}})
	w.wait(Closed)
	if got := w.lost(NoReveal); len(got) != 0 {
		t.Errorf("%d verifiers pay for silence that was not theirs: %v", len(got), w.c().History)
	}
}

// The executor knows its canary for certain: a friend who accuses it must
// not share in the bonus of those who had to look.
func TestNoBonusForTheFriendOfACanary(t *testing.T) {
	w := elected(t, always)
	c := w.c()
	shown := w.shown(task.PreRun, w.dirty(task.PreRun))
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
	_ = w.send("carol", task.Body{Accuse: &task.Accusation{Ballot: shown.Ballot, Accused: c.View.Executor, Shown: &shown}})
	w.must("alice", task.Body{Canary: ref(w.opening())})
	for w.c().View.Canary == nil {
		w.next()
	}
	for _, p := range w.c().View.Canary.Bonus {
		if p.Node.IsZero() {
			t.Errorf("%s of the bonus to an accuser", p.Amount)
		}
	}
}
