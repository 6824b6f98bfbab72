package committee

import (
	"bytes"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

func TestOneTaskFromSeedToSettlement(t *testing.T) {
	c := newCluster(t, 1, 10, 13, Embedded, 100)
	c.oneWay = 1
	if !c.run(c.closed) {
		c.dump()
		t.Fatal("not settled")
	}
	k := c.theCase()
	if k.Settlement.Outcome != ledger.Completed || len(k.Passed) != 0 {
		c.dump()
		t.Fatalf("settled as %s, passed over %v", k.Settlement.Outcome, k.Passed)
	}
	for _, m := range k.Members {
		revealed := 0
		for _, r := range [][]task.Reveal{k.View.Pre.Reveals, k.View.Post.Reveals} {
			for _, v := range r {
				if v.Node == m.Claim.Node {
					revealed++
				}
			}
		}
		if m.Claim.Node != k.View.Executor && revealed != 2 {
			t.Errorf("verifier %s revealed %d of 2 verdicts on the chain", m.Claim.Node.Short(), revealed)
		}
	}
}

// lan is what the marks of the agreement are measured with: 20 members of one
// seat and more, 25 ms one way.
var lan = Timeouts{Collect: 26, View: 31, Silence: 2000, Flush: 60}

// agreement returns the virtual milliseconds from the draw until every living
// member knows an executor that is alive.
func agreement(t testing.TB, seed uint64, silent bool) float64 {
	c := newCluster(t, seed, 20, 80, lan, 1000)
	for c.theCase().Phase != ledger.Electing {
		c.run(func() bool { return c.theCase().Phase == ledger.Electing })
	}
	var victim *peer
	var members []*peer
	lowest := task.Hash{255}
	for _, p := range c.order {
		ticket, ok := draw(c, p)
		if !ok {
			continue
		}
		members = append(members, p)
		if bytes.Compare(ticket[:], lowest[:]) < 0 {
			lowest, victim = ticket, p
		}
	}
	if silent {
		// It claims and then falls silent: that is the worst case.
		victim.dead = true
		c.after(1, func() { gossipFor(c, victim) })
	}
	start := c.now + 1 // when the machines hear of the seed
	ok := c.run(func() bool {
		for _, p := range members {
			if e, decided := p.m.Executor(); !p.dead && (!decided || c.nodes[e].dead) {
				return false
			}
		}
		return true
	})
	if !ok {
		c.dump()
		t.Fatalf("seed %d: no agreement", seed)
	}
	return c.now - start
}

// seeds is how many to try: a few where the race detector makes each slow.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 5
	}
	return n
}

func TestAgreementWithinItsMarks(t *testing.T) {
	for seed := range seeds(20) {
		if ms := agreement(t, seed, false); ms > 80 {
			t.Errorf("seed %d: %0.1f ms of virtual time, the mark is 80", seed, ms)
		}
		if ms := agreement(t, seed, true); ms > 140 {
			t.Errorf("seed %d: a silent executor was replaced after %0.1f ms of virtual time, the mark is 140", seed, ms)
		}
	}
}

func BenchmarkAgreement(b *testing.B) {
	for name, silent := range map[string]bool{"all-speak": false, "silent-executor": true} {
		b.Run(name, func(b *testing.B) {
			var sum float64
			for i := range b.N {
				sum += agreement(b, uint64(i), silent)
			}
			b.ReportMetric(sum/float64(b.N), "virtual-ms/op")
		})
	}
}

// Whatever the network does for a while, every task ends, money is conserved
// (the cluster checks it at every block), and an honest executor's task ends well.
func TestTasksEndUnderFaults(t *testing.T) {
	for seed := range seeds(30) {
		c := newCluster(t, seed, 10, 13, Embedded, 100)
		c.oneWay, c.jitter, c.loss = 2, 40, 0.1
		if seed%3 == 0 {
			c.after(float64(150+10*seed), func() { c.order[seed%10].dead = true })
		}
		if !c.run(c.closed) {
			c.dump()
			t.Fatalf("seed %d: not settled", seed)
		}
		if o := c.theCase().Settlement.Outcome; o != ledger.Completed {
			c.dump()
			t.Errorf("seed %d: ended as %s", seed, o)
		}
	}
}

// The executor dies while it runs: the next ticket's owner does the work.
func TestKilledExecutorIsReplaced(t *testing.T) {
	c := newCluster(t, 4, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	first := c.theCase().View.Executor
	c.nodes[first].dead = true
	if !c.run(c.closed) {
		c.dump()
		t.Fatal("not settled")
	}
	k := c.theCase()
	if k.Settlement.Outcome != ledger.Completed || len(k.Passed) != 1 || k.Passed[0].Executor != first || k.View.Executor == first {
		c.dump()
		t.Errorf("settled as %s, passed over %v", k.Settlement.Outcome, k.Passed)
	}
}

// The first executor's enclave is out of time: the next one's turn comes at once,
// and the first pays nothing. If all are, the task ends without a result.
func TestOutOfTimeIsTheNextOnesTurn(t *testing.T) {
	for _, all := range []bool{false, true} {
		c := newCluster(t, 4, 10, 13, Embedded, 100)
		c.oneWay = 1
		c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
		first := c.theCase().View.Executor
		c.slow = map[task.NodeID]bool{first: true}
		for _, p := range c.order {
			c.slow[p.id] = all || p.id == first
		}
		if !c.run(c.closed) {
			c.dump()
			t.Fatal("not settled")
		}
		k := c.theCase()
		want := ledger.Completed
		if all {
			want = ledger.ExecutorsFailed
		}
		if k.Settlement.Outcome != want || k.Passed[0].Executor != first || !all && (len(k.Passed) != 1 || k.View.Executor == first) || len(k.Slashes) > 0 {
			c.dump()
			t.Errorf("settled as %s, passed over %v", k.Settlement.Outcome, k.Passed)
		}
		for _, p := range k.Passed {
			if p.Why != ledger.RanOutOfTime || p.Slashed > 0 {
				t.Errorf("passed over: %s, slashed %s", p.Why, p.Slashed)
			}
		}
	}
}

// Reveals are unsigned: what opens no commitment is nobody's word, whoever
// sends it and however early.
func TestForgedRevealsAreIgnored(t *testing.T) {
	c := newCluster(t, 7, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	for _, p := range c.order {
		for _, m := range c.theCase().Members {
			forged := task.Reveal{Ballot: c.theCase().Ballot(task.PreRun), Node: m.Claim.Node, Verdict: task.Fault, Reason: "x"}
			c.step(p, RevealHeard{Reveal: forged})
		}
	}
	if !c.run(c.closed) {
		c.dump()
		t.Fatal("not settled")
	}
	if k := c.theCase(); k.Settlement.Outcome != ledger.Completed || len(k.Passed) != 0 {
		c.dump()
		t.Errorf("settled as %s, passed over %v", k.Settlement.Outcome, k.Passed)
	}
}

// Messages that overtake each other cost nobody its turn: evidence that was
// made anew for late members can arrive before what it replaces.
func TestReorderingCostsNobodyItsTurn(t *testing.T) {
	for seed := range seeds(60) {
		c := newCluster(t, seed, 10, 20, Embedded, 25) // of 13 seats some draws are too few
		c.oneWay, c.jitter = 1, 30
		k := c.settled(t)
		if len(k.Passed) != 0 || k.Attempt != 0 || c.now > 1000 {
			c.dump()
			t.Fatalf("seed %d: settled after %.0f ms, attempt %d, passed over %v", seed, c.now, k.Attempt, len(k.Passed))
		}
	}
}

// Members that go on to another view while the claims are still open come back
// when the chain names the first one's executor: to the same enclave, since what
// another would show contradicts what was shown, and one of both may be a canary.
func TestReturnToAViewFindsItsEnclave(t *testing.T) {
	for seed := range seeds(60) {
		c := newCluster(t, seed, 10, 13, Embedded, 400)
		c.oneWay, c.jitter, c.loss = 2, 150, 0.1
		if !c.run(c.closed) {
			c.dump()
			t.Fatalf("seed %d: not settled", seed)
		}
		if lost := c.lost(ledger.BadEvidence); len(lost) != 0 {
			c.dump()
			t.Fatalf("seed %d: honest executors were slashed: %v", seed, lost)
		}
	}
}

// The enclave says at once that a key opens nothing; the chain takes that only
// when it has the key's release. The machine waits for it.
func TestBlameWaitsForTheRelease(t *testing.T) {
	c := newCluster(t, 1, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.blame = true
	if !c.run(c.closed) {
		c.dump()
		t.Fatal("not settled")
	}
	if k := c.theCase(); k.Settlement.Outcome != ledger.AliceSilent || len(k.Passed) != 0 {
		c.dump()
		t.Errorf("settled as %s, passed over %d", k.Settlement.Outcome, len(k.Passed))
	}
}
