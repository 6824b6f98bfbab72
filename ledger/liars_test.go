package ledger

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// elected is a fresh world with a committee.
func elected(t testing.TB, set ...func(*Params)) *world {
	w := newWorld(t, 9, set...)
	w.post()
	w.elect()
	return w
}

// verifiers are the judges of the present view, those with fewest seats first.
func (w *world) verifiers() (all []task.NodeID) {
	c := w.c()
	for _, m := range c.Members {
		if c.Judges(m.Claim.Node) {
			all = append(all, m.Claim.Node)
		}
	}
	slices.SortStableFunc(all, func(a, b task.NodeID) int { return int(c.Member(a).Seats) - int(c.Member(b).Seats) })
	return all
}

// except says v, but lets the first n of the verifiers do something else.
func (w *world) except(n int, v task.Verdict, say word) word {
	odd := w.verifiers()[:n]
	return func(id task.NodeID) (task.Verdict, bool) {
		if slices.Contains(odd, id) {
			return say(id)
		}
		return v, true
	}
}

// nextAttempt waits for it.
func (w *world) nextAttempt() {
	for a := w.c().Attempt; w.c().Attempt == a && w.c().Phase != Closed; {
		w.next()
	}
}

// lost is what each node lost in the case, by cause.
func (w *world) lost(cause Cause) map[task.NodeID]task.Amount {
	all := map[task.NodeID]task.Amount{}
	for _, s := range w.c().Slashes {
		if s.Cause == cause {
			all[s.Node] += s.Amount
		}
	}
	return all
}

func (w *world) earned(id task.NodeID) task.Amount {
	return w.state().Account(w.nodes[id].node.Operator).Balance
}

// One honest verifier is enough: its FAULT with proof beats all OKs, the
// executor and the lazy ones pay, and half of what they pay is burned.
func TestFaultWithProofBeatsAnyNumberOfOKs(t *testing.T) {
	w := elected(t)
	c := w.c()
	liar, honest := c.View.Executor, w.verifiers()[0]
	before, burned := w.earned(honest), w.state().Meta().Burned
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), w.except(1, task.OK, everyone(task.Fault)))
	if !w.c().View.Pre.Faulty {
		t.Fatalf("the chain sees no fault: %v", w.c().History)
	}
	for w.c().View.Number == 0 {
		w.next()
	}
	if got := w.lost(BadEvidence)[liar]; got == 0 {
		t.Error("the executor was not slashed")
	}
	lazy := w.lost(FalseOK)
	if len(lazy) != len(c.Members)-2 || lazy[honest] != 0 {
		t.Errorf("slashed for a false OK: %d of %d, the honest one %s", len(lazy), len(c.Members)-2, lazy[honest])
	}
	var all, rewards task.Amount
	for _, s := range w.c().Slashes {
		all, rewards = all+s.Amount, rewards+total(s.Rewards)
	}
	w.next() // Meta is written at the block's end
	if got := w.earned(honest) - before; got != rewards || rewards == 0 || rewards > all/2 {
		t.Errorf("the finder earned %s of rewards %s, slashed were %s", got, rewards, all)
	}
	if got := w.state().Meta().Burned - burned; got < all-all/2 {
		t.Errorf("burned %s of %s", got, all)
	}
	if n, _ := w.state().Node(liar); n.JailedUntil == 0 || n.Bond != 0 || n.StakeAt(1<<40) != 0 {
		t.Errorf("the executor is still in the draw: %+v", n)
	}
}

// Whoever cries FAULT at good evidence pays, and stops nobody.
func TestFalseAlarmCosts(t *testing.T) {
	w := elected(t)
	crier := w.verifiers()[0]
	seats := task.Amount(w.c().Member(crier).Seats)
	w.judge(task.PreRun, w.except(1, task.OK, everyone(task.Fault)))
	if p := w.c().Phase; p != Releasing {
		t.Fatalf("one false alarm holds the task up: %s", p)
	}
	w.wait(Closed)
	if got := w.lost(FalseFault)[crier]; got != seats*w.block.Params.FalseAlarm {
		t.Errorf("lost %s for a false alarm", got)
	}
}

func TestMissingRevealCosts(t *testing.T) {
	w := elected(t)
	quiet := w.verifiers()[0]
	shown := w.shown(task.PreRun, w.quote(task.PreRun))
	reveals := w.commit(task.PreRun, shown, everyone(task.OK))
	reveals = slices.DeleteFunc(reveals, func(v task.Reveal) bool { return v.Node == quiet })
	w.must("carol", task.Body{Verdicts: &task.Verdicts{Shown: shown, Reveals: reveals}})
	w.wait(Closed)
	want := task.Amount(w.c().Member(quiet).Seats) * w.block.Params.NoReveal
	if got := w.lost(NoReveal)[quiet]; got != want {
		t.Errorf("lost %s, want %s", got, want)
	}
}

// A lie is not hidden by silence: who committed to an OK and then sees that the
// evidence was faulty pays as for the OK.
func TestSilenceIsNoWayOutOfALie(t *testing.T) {
	w := elected(t)
	honest := w.verifiers()[0]
	shown := w.shown(task.PreRun, w.dirty(task.PreRun))
	reveals := w.commit(task.PreRun, shown, w.except(1, task.OK, everyone(task.Fault)))
	reveals = slices.DeleteFunc(reveals, func(v task.Reveal) bool { return v.Node != honest })
	w.must("carol", task.Body{Verdicts: &task.Verdicts{Shown: shown, Reveals: reveals}})
	for w.c().View.Number == 0 {
		w.next()
	}
	for id, got := range w.lost(NoReveal) {
		if want := task.Amount(w.c().Member(id).Seats) * w.block.Params.Miss; got != want {
			t.Errorf("%s lost %s, want %s", id.Short(), got, want)
		}
	}
	if len(w.lost(NoReveal)) == 0 {
		t.Error("silence cost nothing")
	}
}

// always makes every first evidence a canary.
func always(p *Params) { p.CanaryPPM, p.PostingFee = million, 40*p.CheckCost }

// opening is the executor's proof of a canary, with evidence in earnest.
func (w *world) opening() task.Canary {
	c := w.c()
	_, k := w.platform()
	context := c.Expected(task.PreRun, c.View.Number, k.node).Context
	proof, _ := enclaveVRF.Prove(attest.CanaryInput(context))
	return task.Canary{Shown: w.shown(task.PreRun, w.dirty(task.PreRun)), Proof: proof, Genuine: w.shown(task.Recheck, w.quote(task.Recheck))}
}

func TestCanaryPaysWhoLooksAndSlashesWhoDoesNot(t *testing.T) {
	w := elected(t, always)
	honest := w.verifiers()[:2]
	executor := w.c().View.Executor
	before := w.earned(honest[0])
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), w.except(2, task.OK, everyone(task.Fault)))
	w.must("carol", task.Body{Canary: ref(w.opening())})
	c := w.c()
	if c.View.Canary == nil || c.Phase != Attesting || c.View.Executor != executor || c.PreRound() != task.Recheck {
		t.Fatalf("the canary is not settled: %v", c.History)
	}
	if len(w.lost(BadEvidence)) != 0 {
		t.Error("the executor paid for a canary")
	}
	if got := len(w.lost(FalseOK)); got != len(c.Members)-3 {
		t.Errorf("%d paid for saying OK unread, want %d", got, len(c.Members)-3)
	}
	if bonus := total(c.View.Canary.Bonus); bonus == 0 || bonus > w.block.Params.Bonus || w.earned(honest[0]) <= before {
		t.Errorf("the finders shared %s", bonus)
	}
	// Then in earnest, and the task goes on.
	w.judge(task.Recheck, everyone(task.OK))
	if p := w.c().Phase; p != Releasing {
		t.Errorf("after the canary: %s", p)
	}
}

func ref[T any](v T) *T { return &v }

// All OK, and it was a canary: no key is released, and everyone pays.
func TestLazyOK(t *testing.T) {
	w := elected(t, always)
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
	if w.c().Phase != Releasing {
		t.Fatal("a lazy quorum was not believed")
	}
	w.must("carol", task.Body{Canary: ref(w.opening())})
	if c := w.c(); c.Phase != Attesting || len(w.lost(FalseOK)) != len(c.Members)-1 {
		t.Errorf("%s, %d slashed of %d", c.Phase, len(w.lost(FalseOK)), len(c.Members)-1)
	}
}

// A liar cannot call itself a canary.
func TestCanaryCannotBeMadeUp(t *testing.T) {
	foreign := vrf.NewKey(task.Hash{78})
	for name, row := range map[string]struct {
		ppm  uint64
		bad  func(*world, *task.Canary)
		code string
	}{
		"the VRF says no": {1, func(*world, *task.Canary) {}, "canary-false"},
		"another's proof": {million, func(w *world, c *task.Canary) {
			_, k := w.platform()
			p, _ := foreign.Prove(attest.CanaryInput(w.c().Expected(task.PreRun, 0, k.node).Context))
			c.Proof = p
		}, "canary-false"},
		"another enclave follows": {million, func(w *world, c *task.Canary) {
			p, k := w.platform()
			keys := enclaveKeys()
			keys.VRF = task.Key(foreign.Public())
			c.Genuine = w.shown(task.Recheck, p.Quote(w.c().Expected(task.Recheck, 0, k.node).Context, keys, nil, attest.EmptyState))
		}, "canary-false"},
		"nothing genuine follows": {million, func(w *world, c *task.Canary) {
			c.Genuine = w.shown(task.Recheck, w.dirty(task.Recheck))
		}, "canary-false"},
		"unsigned": {million, func(_ *world, c *task.Canary) { c.Genuine.Signature[0]++ }, "canary-false"},
		"stale":    {million, func(_ *world, c *task.Canary) { c.Shown.Ballot.View++ }, "ballot-stale"},
	} {
		t.Run(name, func(t *testing.T) {
			w := elected(t, always, func(p *Params) { p.CanaryPPM, p.CheckCost = row.ppm, 0 })
			executor := w.c().View.Executor
			w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.Fault))
			o := w.opening()
			row.bad(w, &o)
			if err := w.send("carol", task.Body{Canary: &o}); task.CodeOf(err) != row.code {
				t.Fatalf("%v", err)
			}
			for w.c().View.Number == 0 {
				w.next()
			}
			if w.lost(BadEvidence)[executor] == 0 {
				t.Error("the liar got away")
			}
		})
	}
}

// Everyone says OK unread, the owner looks: her accusation takes the task from
// the liar, and those who did not look pay.
func TestAccusationOfAnExecutor(t *testing.T) {
	w := elected(t)
	c := w.c()
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
	before := w.state().Account(task.PublicKey(w.keys["alice"])).Balance
	accuse := task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(task.PreRun), Accused: c.View.Executor, Shown: ref(w.c().Shown(task.PreRun))}}
	w.must("alice", accuse)
	if err := w.send("bob", accuse); task.CodeOf(err) != "nothing-new" {
		t.Errorf("accused twice: %v", err)
	}
	for w.c().View.Number == 0 {
		w.next()
	}
	if w.lost(BadEvidence)[c.View.Executor] == 0 || len(w.lost(FalseOK)) != len(c.Members)-1 {
		t.Errorf("slashed: %+v", w.c().Slashes)
	}
	if w.state().Account(task.PublicKey(w.keys["alice"])).Balance <= before {
		t.Error("the accuser earned nothing")
	}
}

// An accusation that proves nothing costs its bond and changes nothing else.
func TestFalseAccusationCostsItsBond(t *testing.T) {
	w := elected(t)
	w.judge(task.PreRun, everyone(task.OK))
	c := w.c()
	before := w.state().Account(task.PublicKey(w.keys["carol"])).Balance
	w.must("carol", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(task.PreRun), Accused: c.View.Executor, Shown: ref(c.Shown(task.PreRun))}})
	if got := before - w.state().Account(task.PublicKey(w.keys["carol"])).Balance; got != w.block.Params.AccusationBond+w.fee {
		t.Errorf("cost %s", got)
	}
	if c := w.c(); c.Phase != Releasing || len(c.Slashes) != 0 {
		t.Errorf("%s, %+v", c.Phase, c.Slashes)
	}
}

// After the settlement anyone may still bring what nobody looked at, for the
// dispute window and no longer.
func TestDispute(t *testing.T) {
	w := elected(t)
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
	_, _ = w.release(task.Alice), w.release(task.Bob)
	if err := w.result(task.RunOK, 9); err != nil {
		t.Fatal(err)
	}
	for w.c().View.ExitNonce.IsZero() {
		w.next()
	}
	w.judge(task.PostRun, everyone(task.OK))
	c := w.c()
	if c.Phase != Closed || c.Settlement.Outcome != Completed {
		t.Fatalf("%v", c.History)
	}
	liar := w.verifiers()[0]
	accuse := func(who task.NodeID) task.Body {
		return task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(task.PreRun), Accused: who, Shown: ref(c.Shown(task.PreRun))}}
	}
	w.must("carol", accuse(liar))
	w.must("carol", accuse(c.View.Executor))
	for _, id := range []task.NodeID{liar, c.View.Executor} {
		if err := w.send("carol", accuse(id)); task.CodeOf(err) != "nothing-new" {
			t.Errorf("accused twice: %v", err)
		}
	}
	if w.lost(FalseOK)[liar] == 0 || w.lost(BadEvidence)[c.View.Executor] == 0 {
		t.Errorf("slashed: %+v", w.c().Slashes)
	}
	w.next()
	w.block.Params.DisputeBlocks = 0
	w.next()
	w.block.Params.DisputeBlocks = 0
	if err := w.send("carol", accuse(w.verifiers()[1])); task.CodeOf(err) != "dispute-over" {
		t.Errorf("%v", err)
	}
}

func TestEquivocation(t *testing.T) {
	w := elected(t)
	c := w.c()
	id := w.verifiers()[0]
	sign := func(key ed25519.PrivateKey, digest byte) task.Commitment {
		k := task.Commitment{Ballot: c.Ballot(task.PreRun), Node: id, Digest: task.Hash{digest}}
		k.Signature = task.Sign(key, k.Hash())
		return k
	}
	peer := w.nodes[id].peer
	other := sign(peer, 2)
	other.Ballot.View = 1
	other.Signature = task.Sign(peer, other.Hash())
	for name, words := range map[string][]task.Commitment{
		"the same twice": {sign(peer, 1), sign(peer, 1)},
		"one is forged":  {sign(peer, 1), sign(seedKey("other"), 2)},
		"two questions":  {sign(peer, 1), other},
	} {
		w.must("carol", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(0), Accused: id, Commitments: words}})
		if len(w.c().Slashes) != 0 {
			t.Fatalf("%s: slashed", name)
		}
	}
	two := task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(0), Accused: id, Commitments: []task.Commitment{sign(peer, 1), sign(peer, 2)}}}
	w.must("carol", two)
	if err := w.send("carol", two); task.CodeOf(err) != "nothing-new" {
		t.Errorf("paid twice: %v", err)
	}
	if n, _ := w.state().Node(id); w.lost(Equivocation)[id] == 0 || n.JailedUntil == 0 || n.Counts[Equivocation] != 1 {
		t.Errorf("%+v", n)
	}
}

// An enclave that signs two results forges one receipt.
func TestTwoResults(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	c := w.c()
	second := *c.View.Result
	second.Result.Gas++
	second.Signature = task.Sign(seedKey("enclave"), second.Result.Hash())
	w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(0), Accused: c.View.Executor, Result: &second}})
	if c := w.c(); c.Settlement == nil || c.Settlement.Outcome != ForgedResult || w.lost(TwoResults)[c.View.Executor] == 0 {
		t.Errorf("%v", c.History)
	}
}

// A committee that is mostly asleep is redrawn, and the executor that showed
// its evidence to all loses nothing.
func TestSilentMajorityIsRedrawn(t *testing.T) {
	w := elected(t)
	executor := w.c().View.Executor
	w.must("carol", task.Body{Show: ref(w.shown(task.PreRun, w.quote(task.PreRun)))})
	w.nextAttempt()
	c := w.c()
	if c.Attempt != 1 || len(c.Passed) != 0 || c.Seats <= c.Task.Seats {
		t.Errorf("attempt %d with %d seats, passed %v", c.Attempt, c.Seats, c.Passed)
	}
	if n, _ := w.state().Node(executor); n.Counts[Absent] != 0 {
		t.Error("the executor was held silent")
	}
	w.elect()
	w.judge(task.PreRun, everyone(task.OK))
	if p := w.c().Phase; p != Releasing {
		t.Errorf("after the redraw: %s", p)
	}
}

// Doubts about what nobody can show stop a committee, slash nobody, and go to
// a fresh one.
func TestUnprovableDoubtsGoToAFreshCommittee(t *testing.T) {
	w := elected(t)
	c := w.c()
	other := w.quote(task.PreRun)
	other.Nonces = nil
	unseen := w.shown(task.PreRun, other)
	unseen.Signature = task.Signature{} // nobody signed it
	reveals := w.commit(task.PreRun, unseen, everyone(task.Fault))
	w.must("carol", task.Body{Verdicts: &task.Verdicts{Shown: w.shown(task.PreRun, w.quote(task.PreRun)), Reveals: reveals}})
	if len(w.c().View.Pre.Evidence) == 0 {
		w.must("carol", task.Body{Show: ref(w.shown(task.PreRun, w.quote(task.PreRun)))})
	}
	w.nextAttempt()
	if got := w.c(); got.Attempt != 1 || len(got.Slashes) != 0 || len(got.Passed) != 0 {
		t.Errorf("attempt %d, slashed %v, passed %v", got.Attempt, got.Slashes, got.Passed)
	}
	if n, _ := w.state().Node(c.View.Executor); n.Counts[Absent] != 0 {
		t.Error("the executor paid for a doubt")
	}
}

func TestJailAfterThreeMisses(t *testing.T) {
	w := newWorld(t, 9, always)
	lazy := task.NodeID{}
	for i := range 12 {
		w.id = task.TaskID{}
		w.post()
		w.elect()
		if lazy.IsZero() || w.c().Member(lazy) == nil || w.c().View.Executor == lazy {
			if !lazy.IsZero() {
				if n, _ := w.state().Node(lazy); n.JailedUntil > 0 {
					return
				}
			}
			lazy = w.verifiers()[0]
		}
		n, _ := w.state().Node(lazy)
		misses, atStake := n.Misses, n.Bond
		w.judgeThis(task.PreRun, w.dirty(task.PreRun), func(id task.NodeID) (task.Verdict, bool) {
			if id == lazy {
				return task.OK, true
			}
			return task.Fault, true
		})
		w.must("carol", task.Body{Canary: ref(w.opening())})
		n, _ = w.state().Node(lazy)
		if misses+1 >= w.block.Params.JailMisses {
			if n.JailedUntil <= w.height || n.Bond != 0 {
				t.Fatalf("after three misses in task %d: %+v", i, n)
			}
			name := w.names[lazy]
			if err := w.send(name, task.Body{Bond: &task.Bond{Node: lazy, Amount: task.PRY}}); task.CodeOf(err) != "node-jailed" {
				t.Errorf("bonded from jail: %v", err)
			}
			if len(n.Unbonding) == 0 || n.Unbonding[0].Amount > atStake {
				t.Errorf("its money: %+v", n.Unbonding)
			}
			return
		}
		if n.Misses != misses+1 {
			t.Fatalf("%d misses, want %d", n.Misses, misses+1)
		}
		w.wait(Closed)
	}
	t.Fatal("never jailed")
}

// An executor whose exit nobody was shown is not paid.
func TestExitMustBeShown(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	id := w.c().View.Executor
	w.wait(Closed)
	if s := w.c().Settlement; s.Outcome != ExitSilent || paid(s, WhyExecutor) != 0 {
		t.Errorf("%+v", s)
	}
	if n, _ := w.state().Node(id); n.Counts[Silence] != 1 {
		t.Errorf("%+v", n.Counts)
	}
}

// Nobody says a word, but the exit was shown: the chain looks itself.
func TestTheChainLooksWhereNobodyDoes(t *testing.T) {
	for want, quote := range map[Outcome]func(*world, task.Round) attest.Evidence{Completed: (*world).quote, DirtyExit: (*world).dirty} {
		w := ran(t, task.RunOK, 250_000)
		w.must("carol", task.Body{Show: ref(w.shown(task.PostRun, quote(w, task.PostRun)))})
		w.wait(Closed)
		if s := w.c().Settlement; s.Outcome != want {
			t.Errorf("%s, want %s", s.Outcome, want)
		}
	}
}

// Self-accusation: a node that owns executor and accuser loses.
func TestSelfAccusationLoses(t *testing.T) {
	w := elected(t)
	c := w.c()
	name := w.names[c.View.Executor]
	rich := func() task.Amount {
		n, _ := w.state().Node(c.View.Executor)
		all := w.state().Account(n.Node.Operator).Balance + n.Bond
		for _, u := range n.Unbonding {
			all += u.Amount
		}
		return all
	}
	before := rich()
	w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
	w.must(name, task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(task.PreRun), Accused: c.View.Executor, Shown: ref(w.c().Shown(task.PreRun))}})
	for w.c().View.Number == 0 {
		w.next()
	}
	if s := w.lost(BadEvidence)[c.View.Executor]; s == 0 || before-rich() < s/2 {
		t.Errorf("slashed %s, lost %s", s, before-rich())
	}
}

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
		v := task.Vote{Task: w.id, View: 1, Node: m.Claim.Node}
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

func TestEconomicsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Params){
		"OK unread pays":           func(p *Params) { p.Miss, p.NoReveal = 30*p.CheckCost, 10*p.CheckCost; p.CanaryPPM = 50_000 },
		"FAULT always pays":        func(p *Params) { p.FalseAlarm = p.CheckCost },
		"silence pays":             func(p *Params) { p.NoReveal = p.Miss },
		"the bonus is not covered": func(p *Params) { p.PostingFee = 1 },
		"a bond that cannot pay":   func(p *Params) { p.MinBond = p.Miss },
		"no committee":             func(p *Params) { p.Committee = 0 },
		"sleep is free":            func(p *Params) { p.Absent = 0 },
		"showing first pays":       func(p *Params) { p.Silence = p.Absent - 1 },
		"a bond below silence":     func(p *Params) { p.Silence = p.MinBond + 1 },
		"skipped before a decline": func(p *Params) { p.SkipBlocks = p.DeclineBlocks - 1 },
		"unbonding is too quick":   func(p *Params) { p.UnbondBlocks = p.DisputeBlocks },
	} {
		p := Embedded("c")
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		change(&p)
		if err := p.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	p := Embedded("c")
	p.CanaryPPM, p.SeatFee, p.Miss = 0, 0, 0
	if err := p.Check(); err != nil {
		t.Errorf("an experiment without canaries: %v", err)
	}
}

// An executor that has shown its verifiers one piece of evidence, and keeps a
// canary of another enclave back, cannot explain the one by the other: it would
// wipe out bad evidence, take the bonus, or call a run off.
func TestAHiddenCanaryExplainsNothing(t *testing.T) {
	canaries := func(p *Params) { p.CanaryPPM, p.PostingFee = 1_000_000, task.PRY }
	end := func(w *world) {
		t.Helper()
		for w.c().View.Number == 0 && w.c().Phase != Closed {
			w.next()
		}
	}
	t.Run("before what was judged is on the chain", func(t *testing.T) {
		w := elected(t, canaries)
		executor := w.c().View.Executor
		p, k := w.platform()
		p.Measurement = task.Hash{66} // a program of its own
		bad := w.shown(task.PreRun, p.Quote(w.c().Expected(task.PreRun, 0, k.node).Context, enclaveKeys(), w.nonces(task.PreRun), attest.EmptyState))
		hidden := w.shown(task.PreRun, w.dirty(task.PreRun))
		reveals := w.commit(task.PreRun, bad, everyone(task.Fault))
		w.must("carol", task.Body{Accuse: &task.Accusation{Ballot: hidden.Ballot, Accused: executor, Shown: &hidden}})
		w.must("carol", task.Body{Canary: w.explain(hidden)})
		w.must("carol", task.Body{Verdicts: &task.Verdicts{Shown: bad, Reveals: reveals}})
		end(w)
		if w.lost(BadEvidence)[executor] == 0 || w.c().View.Canary != nil {
			t.Errorf("bad evidence cost %s", w.lost(BadEvidence)[executor])
		}
	})
	t.Run("while the enclave runs", func(t *testing.T) {
		w := elected(t, canaries)
		executor := w.c().View.Executor
		hidden := w.shown(task.PreRun, w.dirty(task.PreRun))
		w.judge(task.PreRun, everyone(task.OK))
		w.keysOut()
		w.must("carol", task.Body{Accuse: &task.Accusation{Ballot: hidden.Ballot, Accused: executor, Shown: &hidden}})
		if err := w.send("carol", task.Body{Canary: w.explain(hidden)}); task.CodeOf(err) != "canary-false" {
			t.Errorf("explained: %v", err)
		}
		end(w)
		if w.lost(BadEvidence)[executor] == 0 {
			t.Error("two pieces of evidence for one ballot cost nothing")
		}
	})
}

// Between two attempts there is nobody to accuse: an executor of before could
// else sign its good evidence for the next, where it is faulty, and have those
// who found it good slashed with it.
func TestNobodyIsAccusedBetweenAttempts(t *testing.T) {
	w := elected(t)
	good := w.quote(task.PreRun)
	w.judge(task.PreRun, everyone(task.OK))
	executor := w.c().View.Executor
	w.block.nextAttempt(w.c(), "for the test")
	shown := w.shown(task.PreRun, good)
	if err := w.send("carol", task.Body{Accuse: &task.Accusation{Ballot: shown.Ballot, Accused: executor, Shown: &shown}}); task.CodeOf(err) != "accusation-early" {
		t.Errorf("%v", err)
	}
	if c := w.c(); c.Phase != Posted || c.View.Pre.Faulty {
		t.Errorf("%s, %t", c.Phase, c.View.Pre.Faulty)
	}
	w.next()
	if c := w.c(); c.Phase != Electing || c.Attempt != 1 || len(c.Slashes) > 0 {
		t.Errorf("%s in attempt %d, %d slashes", c.Phase, c.Attempt, len(c.Slashes))
	}
}

// Nodes without a seat can be slashed in a case for two words that nobody asked
// of them: not without end, or the case could not be read any more.
func TestSlashesOfStrangersEnd(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	stranger := newWorker("stranger")
	w.keys["stranger"] = seedKey("stranger")
	w.must("carol", task.Body{Transfer: &task.Transfer{To: stranger.node.Operator, Amount: 300 * task.PRY}})
	w.must("stranger", task.Body{Register: w.enrol(stranger, 100*task.PRY)})
	var two []task.Commitment
	for i := range 2 {
		k := task.Commitment{Ballot: w.c().Ballot(task.PreRun), Node: stranger.node.ID(), Digest: task.Hash{byte(i)}}
		k.Signature = task.Sign(stranger.peer, k.Hash())
		two = append(two, k)
	}
	c := w.c()
	for len(c.Slashes) < maxSlashes {
		c.Slashes = append(c.Slashes, Slash{Node: task.NodeID{9}, Cause: Equivocation})
	}
	save(w.block.state, join(keyCase, w.id[:]), c)
	err := w.send("carol", task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: w.id}, Accused: stranger.node.ID(), Commitments: two}})
	if task.CodeOf(err) != "nothing-new" || !strings.Contains(err.Error(), "no room") {
		t.Errorf("one more: %v", err)
	}
	if _, err := ParseCase(task.Encode(w.c())); err != nil {
		t.Errorf("the case cannot be read any more: %v", err)
	}
}

// The state and its events say that evidence is faulty, never why: not by a
// code, not by a word of an appraisal. Verifiers may say it, in what they signed.
func TestTheStateSaysThatEvidenceIsFaultyNeverWhy(t *testing.T) {
	accuse := func(w *world, r task.Round) {
		c := w.c()
		w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(r), Accused: c.View.Executor, Shown: ref(w.c().Shown(r))}})
	}
	passOver := func(w *world) {
		for w.c().View.Number == 0 {
			w.next()
		}
	}
	for name, story := range map[string]func() *world{
		"one verifier says FAULT": func() *world {
			w := elected(t)
			w.judgeThis(task.PreRun, w.dirty(task.PreRun), w.except(1, task.OK, everyone(task.Fault)))
			passOver(w)
			return w
		},
		"an accusation": func() *world {
			w := elected(t)
			w.judgeThis(task.PreRun, w.dirty(task.PreRun), everyone(task.OK))
			accuse(w, task.PreRun)
			passOver(w)
			return w
		},
		"an accusation after the end": func() *world {
			w := ran(t, task.RunOK, 250_000)
			w.judgeThis(task.PostRun, w.quote(task.PostRun), everyone(task.OK))
			w.wait(Closed)
			s := w.shown(task.PostRun, w.dirty(task.PostRun))
			w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: s.Ballot, Accused: w.c().View.Executor, Shown: &s}})
			return w
		},
		"a canary": func() *world {
			w := elected(t, always)
			w.judgeThis(task.PreRun, w.dirty(task.PreRun), w.except(2, task.OK, everyone(task.Fault)))
			w.must("carol", task.Body{Canary: ref(w.opening())})
			return w
		},
		"the time is up": func() *world {
			w := elected(t)
			w.must("carol", task.Body{Show: ref(w.shown(task.PreRun, w.dirty(task.PreRun)))})
			passOver(w)
			return w
		},
		"a dirty exit": func() *world {
			w := ran(t, task.RunOK, 250_000)
			w.must("carol", task.Body{Show: ref(w.shown(task.PostRun, w.dirty(task.PostRun)))})
			w.wait(Closed)
			return w
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := story()
			w.next()
			why := w.c().Appraise(task.PostRun, task.Encode(w.dirty(task.PostRun)))
			if why.Reason != attest.DirtyState {
				t.Fatalf("%+v", why)
			}
			if said := fmt.Sprint(w.events); !strings.Contains(said, "faulty") && !strings.Contains(said, "canary") && !strings.Contains(said, "dirty-exit") {
				t.Errorf("nothing was found faulty: %s", said)
			}
			for _, word := range []string{why.Reason, why.Detail[:16]} {
				if strings.Contains(fmt.Sprint(w.events), word) {
					t.Errorf("an event says %q", word)
				}
				for key, value := range w.store.m {
					if strings.Contains(string(value), word) {
						t.Errorf("the state says %q under %q", word, key)
					}
				}
			}
		})
	}
}
