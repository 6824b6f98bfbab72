package committee

import (
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// lost adds up what a cause cost each node in the cluster's case.
func (c *cluster) lost(cause ledger.Cause) map[task.NodeID]task.Amount {
	all := map[task.NodeID]task.Amount{}
	for _, s := range c.theCase().Slashes {
		if s.Cause == cause {
			all[s.Node] += s.Amount
		}
	}
	return all
}

// settled runs a cluster to its end and wants the task done.
func (c *cluster) settled(t *testing.T) *ledger.Case {
	t.Helper()
	if !c.run(c.closed) {
		c.dump()
		t.Fatal("not settled")
	}
	k := c.theCase()
	if k.Settlement.Outcome != ledger.Completed {
		c.dump()
		t.Fatalf("settled as %s", k.Settlement.Outcome)
	}
	return k
}

// guessing names a place that its coin names, and has looked at neither.
func guessing(found Appraised) (Appraised, bool) {
	found.Verdict, found.Place, found.Reason = task.OK, found.Salt[0]&1, ""
	return found, true
}

// crying says FAULT, whatever it has found.
func crying(found Appraised) (Appraised, bool) {
	found.Verdict, found.Place, found.Reason = task.Fault, 0, attest.BadSignature
	return found, true
}

// Among the honest nobody pays, and the task is done at once.
func TestPairsAmongTheHonest(t *testing.T) {
	places := map[uint8]bool{}
	for seed := range seeds(10) {
		c := newCluster(t, seed, 10, 13, Embedded, 100)
		c.oneWay = 1
		k := c.settled(t)
		if len(k.Slashes) != 0 || len(k.Passed) != 0 || k.Attempt != 0 {
			c.dump()
			t.Fatalf("seed %d: attempt %d, slashes %v, passed %v", seed, k.Attempt, k.Slashes, k.Passed)
		}
		places[k.View.Pre.Place] = true
	}
	if len(places) != 2 && !testing.Short() {
		t.Errorf("the genuine evidence was always in place %v", places)
	}
}

// Who guesses pays when it is wrong, even if they are the majority; the honest never.
func TestGuessersPay(t *testing.T) {
	for _, honest := range []int{1, 5} {
		paid := 0
		for seed := range seeds(5) {
			c := newCluster(t, seed, 10, 13, Embedded, 100)
			c.oneWay = 1
			for _, p := range c.order[honest:] {
				p.says = guessing
			}
			if !c.run(c.closed) {
				c.dump()
				t.Fatal("not settled")
			}
			for _, s := range c.theCase().Slashes {
				if c.nodes[s.Node].says == nil {
					c.dump()
					t.Errorf("an honest node paid: %v", s)
				}
			}
			paid += len(c.lost(ledger.WrongPick))
		}
		if paid == 0 {
			t.Error("the guessers got away")
		}
	}
}

// One honest verifier that looks takes the task from an enclave that lies, though
// all others say what its executor tells them, and the next ticket's owner does it.
func TestBadEvidenceIsFoundByOne(t *testing.T) {
	found := 0
	// told knows the place from the executor, and looks at nothing.
	told := func(d **cluster) func(Appraised) (Appraised, bool) {
		return func(found Appraised) (Appraised, bool) {
			beta := (*d).nodes[(*d).theCase().View.Executor].vrf.Output(found.Ballot.PairInput())
			found.Verdict, found.Place, found.Reason = task.OK, task.PairPlace(beta), ""
			return found, true
		}
	}
	for seed := range seeds(10) {
		c := newCluster(t, seed, 10, 13, Embedded, 100)
		c.oneWay = 1
		c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
		liar := c.nodes[c.theCase().View.Executor]
		// It has shown evidence before the chain knew it; it lies from the start in the next seed's world.
		d := newCluster(t, seed, 10, 13, Embedded, 100)
		d.oneWay = 1
		for _, p := range d.order {
			if p.id == liar.id {
				p.spoil = func(pl attest.Platform, x attest.Context, ev *attest.Evidence) {
					if x.Round != task.PostRun {
						*ev = pl.Quote(x, ev.Keys, ev.Nonce, task.Hash{66})
					}
				}
			} else if p != d.order[0] {
				p.says = told(&d)
			}
		}
		if liar.id == d.order[0].id {
			continue
		}
		k := d.settled(t)
		if k.Member(d.order[0].id) == nil {
			continue // the honest one drew no seat
		}
		if d.lost(ledger.BadEvidence)[liar.id] == 0 || k.View.Executor == liar.id {
			d.dump()
			t.Fatalf("seed %d: the liar %s got away: %v", seed, liar.id.Short(), k.Slashes)
		}
		if len(d.lost(ledger.FalseOK)) == 0 || d.lost(ledger.FalseOK)[d.order[0].id] != 0 {
			t.Errorf("seed %d: %v", seed, k.Slashes)
		}
		found++
	}
	if found == 0 {
		t.Fatal("no seed had the honest verifier in the committee")
	}
}

// A minority that cries FAULT pays and stops nothing.
func TestFalseAlarmStopsNothing(t *testing.T) {
	c := newCluster(t, 5, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.order[2].says, c.order[7].says = crying, crying
	k := c.settled(t)
	for id := range c.lost(ledger.FalseFault) {
		if c.nodes[id].says == nil {
			t.Errorf("an honest verifier paid: %v", k.Slashes)
		}
	}
	if k.Member(c.order[2].id) != nil && k.View.Executor != c.order[2].id && c.lost(ledger.FalseFault)[c.order[2].id] == 0 {
		t.Error("the crier got away")
	}
}

// Two commitments of one member to one ballot, heard by anyone, cost it its place.
func TestEquivocatorIsAccused(t *testing.T) {
	c := newCluster(t, 2, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	bad := c.nodes[c.theCase().Members[1].Claim.Node]
	for i, to := range c.order {
		for _, digest := range []task.Hash{{byte(i%2) + 1}, {byte(i%2) + 1}, {byte(i+1)%2 + 1}} {
			k := task.Commitment{Ballot: c.theCase().Ballot(), Node: bad.id, Digest: digest}
			k.Signature = task.Sign(bad.key, k.Hash())
			c.send(bad, to, CommitmentHeard{Commitment: k})
		}
	}
	c.settled(t)
	if c.lost(ledger.Equivocation)[bad.id] == 0 {
		c.dump()
		t.Error("not slashed")
	}
	for id := range c.lost(ledger.Equivocation) {
		if id != bad.id {
			t.Errorf("%s was slashed", id.Short())
		}
	}
}

// Verifiers that never speak cannot make an honest executor look silent: it
// shows its evidence to all, and the task gets a fresh committee.
func TestSilentVerifiersDoNotCostTheExecutor(t *testing.T) {
	c := newCluster(t, 6, 12, 13, Embedded, 100)
	c.oneWay = 1
	for _, p := range c.order[:9] {
		p.says = func(found Appraised) (Appraised, bool) { return found, c.theCase().Attempt > 0 }
	}
	k := c.settled(t)
	if k.Attempt == 0 {
		t.Skip("this draw had a quorum of speakers")
	}
	if len(k.Passed) != 0 || len(c.lost(ledger.Absent)) != 0 {
		c.dump()
		t.Errorf("passed %v", k.Passed)
	}
}

// An executor that shows one half of its committee another pair than the other half
// cannot deny it, and no verifier pays.
func TestTwoPairsAreAccused(t *testing.T) {
	c := newCluster(t, 2, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	bad := c.nodes[c.theCase().View.Executor]
	c.run(func() bool { return bad.m.has() })
	for i, to := range c.order {
		if i%2 == 0 {
			s := bad.m.shown
			s.Evidence = [2][]byte{s.Evidence[1], s.Evidence[0]}
			s.Signature = task.Sign(bad.key, s.Pair().Hash())
			c.step(to, EvidenceHeard{From: bad.id, Shown: s})
		}
	}
	c.settled(t)
	if c.lost(ledger.TwoPairs)[bad.id] == 0 {
		c.dump()
		t.Error("not slashed")
	}
	for _, s := range c.theCase().Slashes {
		if s.Node != bad.id {
			t.Errorf("%s paid: %s", s.Node.Short(), s.Cause)
		}
	}
}

// An executor whose two pieces are both good gains nothing by it: who named the
// other one shows it, and does not pay.
func TestTwoGoodPiecesAreFound(t *testing.T) {
	c := newCluster(t, 2, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	bad := c.theCase().View.Executor
	d := newCluster(t, 2, 10, 13, Embedded, 100)
	d.oneWay, d.noDecoy = 1, bad
	d.settled(t)
	if d.lost(ledger.TwoGood)[bad] == 0 {
		d.dump()
		t.Error("not slashed")
	}
	for _, s := range d.theCase().Slashes {
		if s.Node != bad {
			t.Errorf("%s paid: %s", s.Node.Short(), s.Cause)
		}
	}
}

// An executor that keeps back what its verifiers reveal costs them nothing: each
// brings its own word, in time.
func TestHeldBackRevealsComeByThemselves(t *testing.T) {
	c := newCluster(t, 2, 10, 13, Embedded, 100)
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	bad := c.theCase().View.Executor
	d := newCluster(t, 2, 10, 13, Embedded, 100, func(p *ledger.Params) { p.AttestBlocks = 40 })
	d.oneWay, d.hides = 1, bad
	k := d.settled(t)
	if len(d.lost(ledger.NoReveal)) > 0 || len(k.Passed) != 1 || k.Passed[0].Executor != bad || len(k.Passed[0].Pre.Reveals) != len(k.Passed[0].Pre.Commitments) {
		d.dump()
		t.Errorf("slashes %v, passed over %v", k.Slashes, k.Passed)
	}
}

// robbery is a cluster whose first executor leaves as many as it can out of what it
// brings to the chain, so that a quorum is left.
func robbery(t *testing.T, most int) *cluster {
	c := newCluster(t, 4, 10, 13, Embedded, 25)
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	r := c.theCase().Roster()
	d := newCluster(t, 4, 10, 13, Embedded, 25)
	d.oneWay, d.robs, d.robbed, d.runs = 1, r.Executor, map[task.NodeID]bool{}, 1500 // ms, of a wall limit
	spare := r.Judging() - r.Quorum()
	for _, m := range r.Members {
		if r.Judges(m.Node) && m.Seats <= spare && len(d.robbed) < most {
			d.robbed[m.Node] = true
			spare -= m.Seats
		}
	}
	if len(d.robbed) == 0 {
		t.Fatal("a quorum is everybody")
	}
	return d
}

// An executor brings the reveals of a quorum, and leaves those of the others out. Then
// its enclave is out of time, or it gives up, and the turn is over at once: whoever was
// left out has spoken by then, and pays nothing.
func TestRevealsLeftOutOfAGoodRound(t *testing.T) {
	for _, gone := range []bool{false, true} {
		for _, runs := range []float64{1, 40, 1500} { // the turn may end at once, too
			d := robbery(t, 99)
			d.runs, d.slow = runs, map[task.NodeID]bool{d.robs: true}
			if gone {
				d.dies = d.robs
			}
			if !d.run(d.closed) {
				d.dump()
				t.Fatal("not settled")
			}
			k := d.theCase()
			if lost := d.lost(ledger.NoReveal); len(lost) > 0 || len(k.Passed) != 1 || len(k.Passed[0].Pre.Reveals) != len(k.Passed[0].Pre.Commitments) {
				d.dump()
				t.Errorf("given up %t after %.0f ms: honest verifiers paid %v; passed over %v", gone, runs, lost, k.Passed)
			}
		}
	}
}

// A lying executor whose other verifiers are its friends leaves out the one honest
// verifier that has looked, and lets its enclave be out of time: it pays all the same,
// and who has found it out does not.
func TestNoDoubtIsHidden(t *testing.T) {
	d := robbery(t, 1)
	d.slow = map[task.NodeID]bool{d.robs: true}
	for _, p := range d.order {
		if p.id == d.robs {
			p.spoil = func(pl attest.Platform, x attest.Context, ev *attest.Evidence) {
				if x.Round != task.PostRun {
					*ev = pl.Quote(x, ev.Keys, ev.Nonce, task.Hash{66})
				}
			}
		} else if !d.robbed[p.id] {
			p.says = func(found Appraised) (Appraised, bool) {
				if found.Ballot.View == 0 {
					beta := d.nodes[d.robs].vrf.Output(found.Ballot.PairInput())
					found.Verdict, found.Place, found.Reason = task.OK, task.PairPlace(beta), ""
				}
				return found, true
			}
		}
	}
	if !d.run(d.closed) {
		d.dump()
		t.Fatal("not settled")
	}
	for id := range d.robbed {
		if d.lost(ledger.NoReveal)[id] > 0 || d.lost(ledger.BadEvidence)[d.robs] == 0 {
			d.dump()
			t.Errorf("the honest one paid %s, the liar %s", d.lost(ledger.NoReveal)[id], d.lost(ledger.BadEvidence)[d.robs])
		}
	}
}

// An executor that is Alice's friend brings the commitments of a quorum in the last block
// before they are closed, and leaves the others' out: they bring their own, and are paid.
func TestCommitmentsLeftOutAtLast(t *testing.T) {
	d := robbery(t, 99)
	d.atLast, d.runs = true, 10
	k := d.settled(t)
	paid := map[task.NodeID]bool{}
	for _, p := range k.Settlement.Payments {
		paid[p.Node] = paid[p.Node] || p.Why == ledger.WhyVerifier
	}
	for id := range d.robbed {
		if !paid[id] {
			d.dump()
			t.Errorf("%s has looked, committed in time, and gets nothing", id.Short())
		}
	}
}

// A verifier's own commitment, and its own reveal, are said again until the chain has
// them: a transaction may get lost.
func TestAnOwnWordThatIsLostIsSaidAgain(t *testing.T) {
	_, c, words := crowd(t, 4)
	mine := words[0]
	m := New(mine.Node, Embedded)
	m.Restore([]task.Reveal{mine}, nil)
	k := task.Commitment{Ballot: mine.Ballot, Node: mine.Node, Digest: mine.Digest()}
	m.Step(ChainMoved{c})
	m.Step(CommitmentHeard{k})
	up := TimedOut{Timer{Kind: WordTimer}}
	for round := range 3 {
		if _, _, commits, _ := brought(t, m.Step(up)); commits[mine.Node] != 1 {
			t.Fatalf("time %d: its commitment is not on the chain, and it says %v", round, commits)
		}
	}
	closed := *c
	closed.View.Pre.Progress = ledger.Sealed
	closed.View.Pre.Commitments = []task.Commitment{k}
	m.Step(ChainMoved{&closed})
	for round := range 3 {
		if _, _, commits, reveals := brought(t, m.Step(up)); reveals[mine.Node] != 1 || len(commits) > 0 {
			t.Fatalf("time %d: its reveal is not on the chain, and it says %v, %v", round, commits, reveals)
		}
	}
	there := closed
	there.View.Pre.Reveals = []task.Reveal{mine}
	m.Step(ChainMoved{&there})
	if txs, _, _, _ := brought(t, m.Step(up)); txs != 0 {
		t.Errorf("%d transactions more: the chain has all", txs)
	}
}

// What strangers say takes no memory, nor what is about another view or round; and
// reveals, which have no signature, only where they open a commitment.
func TestWordsOfStrangersAreNotKept(t *testing.T) {
	member, stranger := task.NodeID{2}, task.NodeID{9}
	m := New(task.NodeID{1}, Embedded)
	c := &ledger.Case{Phase: ledger.Attesting, Params: ledger.Embedded("test"), View: ledger.View{Executor: member}}
	for _, id := range []task.NodeID{{1}, member, {3}} {
		c.Members = append(c.Members, ledger.Member{Claim: task.Claim{Node: id}, Seats: 1})
	}
	m.Step(ChainMoved{c})
	for view := range uint32(8) {
		b := task.Ballot{Task: c.ID(), View: view}
		shown := task.Showing{Ballot: b, Evidence: [2][]byte{{1}, {2}}}
		m.Step(VoteHeard{task.SignedVote{Vote: task.Vote{Task: c.ID(), View: view, Node: stranger}}})
		m.Step(CommitmentHeard{task.Commitment{Ballot: b, Node: stranger}})
		m.Step(RevealHeard{task.Reveal{Ballot: b, Node: member}})
		m.Step(EvidenceHeard{From: task.NodeID{3}, Shown: shown})
		if view > 0 {
			m.Step(CommitmentHeard{task.Commitment{Ballot: b, Node: member}})
			m.Step(EvidenceHeard{From: member, Shown: shown})
		}
	}
	if len(m.votes) > 0 || len(m.commitments) > 0 || len(m.reveals) > 0 || m.has() {
		t.Errorf("%d votes, %d commitments, %d reveals and a pair (%v) are kept",
			len(m.votes), len(m.commitments), len(m.reveals), m.has())
	}
}

// An executor whose enclave a crash has taken starts no other one once its evidence
// is on the chain: what that would show contradicts it.
func TestNoSecondEnclaveAfterACrash(t *testing.T) {
	self := task.NodeID{1}
	for name, row := range map[string]struct {
		change func(*ledger.Case)
		starts bool
	}{
		"nothing shown":     {func(*ledger.Case) {}, true},
		"evidence is there": {func(c *ledger.Case) { c.View.Pre.Digests[0] = task.Hash{1} }, false},
		"keys are out":      {func(c *ledger.Case) { c.Phase = ledger.Running }, false},
	} {
		c := &ledger.Case{Phase: ledger.Attesting, Params: ledger.Embedded("test"), View: ledger.View{Executor: self}}
		c.Members = []ledger.Member{{Claim: task.Claim{Node: self}, Seats: 1}, {Claim: task.Claim{Node: task.NodeID{2}}, Seats: 1}}
		row.change(c)
		starts := false
		for _, a := range New(self, Embedded).Step(ChainMoved{c}) {
			_, start := a.(StartEnclave)
			starts = starts || start
		}
		if starts != row.starts {
			t.Errorf("%s: starts an enclave: %v", name, starts)
		}
	}
}

// A result goes to the chain close behind the verdicts, and may come there before them:
// then it is refused, and is brought again, once, when the chain waits for one.
func TestAResultThatWasTooEarlyComesAgain(t *testing.T) {
	self := task.NodeID{1}
	at := func(s ledger.Stage, p ledger.Phase, r ledger.Progress) ChainMoved {
		c := &ledger.Case{Phase: p, Stage: s, Params: ledger.Embedded("test"), View: ledger.View{Executor: self}}
		c.View.Pre.Digests[0], c.View.Pre.Progress = task.Hash{1}, r
		c.Members = []ledger.Member{{Claim: task.Claim{Node: self}, Seats: 1}, {Claim: task.Claim{Node: task.NodeID{2}}, Seats: 1}}
		return ChainMoved{c}
	}
	before := at(ledger.Opening, ledger.Attesting, ledger.Sealed)
	waits := at(ledger.Computing, ledger.Running, ledger.Decided)
	has := at(ledger.Questioning, ledger.Reviewing, ledger.Decided)
	ran := Ran{task.SignedResult{Result: task.Result{Node: self, Outcome: task.RunOK}}}
	for name, row := range map[string]struct {
		events []Event
		want   int
	}{
		"in time":                    {[]Event{waits, ran, waits, has}, 1},
		"with the verdicts":          {[]Event{before, ran, before, has, has}, 1},
		"before them":                {[]Event{before, ran, before, waits, waits, has}, 2},
		"and there is no result yet": {[]Event{before, waits, has}, 0},
	} {
		m, brought := New(self, Embedded), 0
		for _, e := range row.events {
			for _, a := range m.Step(e) {
				if said, ok := a.(Submit); ok && said.Body.Result != nil {
					brought++
				}
			}
		}
		if brought != row.want {
			t.Errorf("%s: brought %d times, want %d", name, brought, row.want)
		}
	}
}

// One that wakes after a crash, when its result is due, waits for what it may
// have sent before, and then gives up, once: there is no enclave any more that could
// bring a result.
func TestAfterACrashItGivesUp(t *testing.T) {
	self := task.NodeID{1}
	at := func(s ledger.Stage, p ledger.Phase) *ledger.Case {
		c := &ledger.Case{Phase: p, Stage: s, Params: ledger.Embedded("test"), View: ledger.View{Executor: self}}
		c.View.Pre.Digests[0], c.View.Pre.Progress = task.Hash{1}, ledger.Decided
		c.Members = []ledger.Member{{Claim: task.Claim{Node: self}, Seats: 1}, {Claim: task.Claim{Node: task.NodeID{2}}, Seats: 1}}
		return c
	}
	computing, unlocking := at(ledger.Computing, ledger.Running), at(ledger.Unlocking, ledger.Releasing)
	reviewing := at(ledger.Questioning, ledger.Reviewing)
	up := TimedOut{Timer{Kind: SilenceTimer}}
	for name, row := range map[string]struct {
		events []Event
		want   int
	}{
		"it waits":                        {[]Event{ChainMoved{computing}, ChainMoved{computing}}, 0},
		"and gives up, once":              {[]Event{ChainMoved{computing}, up, up, ChainMoved{computing}}, 1},
		"when the keys are out":           {[]Event{ChainMoved{unlocking}, up}, 0},
		"as soon as they are":             {[]Event{ChainMoved{unlocking}, up, ChainMoved{computing}}, 1},
		"its result was there after all":  {[]Event{ChainMoved{computing}, ChainMoved{reviewing}, up}, 0},
		"an enclave that fails meanwhile": {[]Event{ChainMoved{computing}, Unable{Ballot: computing.Ballot(), Why: task.Lack{Reason: task.CannotRun}}}, 1},
	} {
		m, gaveUp, timer := New(self, Embedded), 0, false
		for _, e := range row.events {
			for _, a := range m.Step(e) {
				if said, ok := a.(Decline); ok {
					gaveUp++
					if d := said.Decline; d.Reason != task.Gone || d.Node != self || d.Task != computing.ID() {
						t.Errorf("%s: %+v", name, d)
					}
				}
				if set, ok := a.(SetTimer); ok {
					timer = timer || set.Timer == up.Timer && set.Blocks == Embedded.Silence
				}
			}
		}
		if gaveUp != row.want || !timer {
			t.Errorf("%s: gave up %d times, has set its timer: %v", name, gaveUp, timer)
		}
	}
}

// Whoever passes a claim on can cut the word *busy* off it. Who has said it then says it
// once more, and gets no turn that it has refused.
func TestBusyThatIsCutOffIsSaidAgain(t *testing.T) {
	c := newCluster(t, 4, 10, 13, Embedded, 25)
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	first := c.theCase().View.Executor

	c = newCluster(t, 4, 10, 13, Embedded, 25)
	c.busy = map[task.NodeID]bool{first: true}
	if !c.run(c.closed) {
		t.Fatal("not settled")
	}
	k := c.theCase()
	if k.Member(first).Claim.Busy != nil {
		t.Fatal("nobody has cut the word off")
	}
	if len(k.Declined) != 1 || k.Declined[0].Decline.Node != first || k.Declined[0].Turn {
		t.Errorf("it has not declined once, out of turn: %+v", k.Declined)
	}
	if k.View.Number != 0 || k.View.Executor == first || k.Settlement.Outcome != ledger.Completed {
		t.Errorf("view %d of %s, %s", k.View.Number, k.View.Executor.Short(), k.Settlement.Outcome)
	}
}
