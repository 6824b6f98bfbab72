package committee

import (
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
		for _, v := range k.View.Pre.Reveals {
			if v.Node == m.Claim.Node {
				revealed++
			}
		}
		if m.Claim.Node != k.View.Executor && revealed != 1 {
			t.Errorf("verifier %s revealed %d verdicts on the chain", m.Claim.Node.Short(), revealed)
		}
	}
}

// seeds is how many to try: a few where the race detector makes each slow.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 5
	}
	return n
}

// BenchmarkElection is the virtual time from the seed until every member knows the
// executor: claims are open for the embedded chain's blocks of 25 ms, and the
// network is 25 ms wide.
func BenchmarkElection(b *testing.B) {
	var sum float64
	for seed := range uint64(b.N) {
		c := newCluster(b, seed, 20, 80, Embedded, 25)
		c.run(func() bool { return c.theCase().Phase == ledger.Electing })
		start := c.now
		c.run(func() bool {
			k := c.theCase()
			for _, m := range k.Members {
				if c.nodes[m.Claim.Node].c.Phase < ledger.Attesting {
					return false
				}
			}
			return k.Phase >= ledger.Attesting
		})
		sum += c.now - start
	}
	b.ReportMetric(sum/float64(b.N), "virtual-ms/op")
}

// Whatever the network does for a while, every task ends, money is conserved
// (the cluster checks it at every block), and an honest executor's task ends well.
func TestTasksEndUnderFaults(t *testing.T) {
	for seed := range seeds(30) {
		c := newCluster(t, seed, 10, 13, Embedded, 100)
		c.oneWay, c.jitter, c.loss = 2, 40, 0.1
		if seed%3 == 0 {
			c.after(float64(120+5*seed), func() { c.order[seed%10].dead = true })
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

// Its enclave dies while it runs: it says so, and the next one's turn comes long before
// the run's time would be over.
func TestWhoLosesItsEnclaveGivesUp(t *testing.T) {
	c := newCluster(t, 4, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.run(func() bool { return c.theCase().Phase == ledger.Attesting })
	c.dies = c.theCase().View.Executor
	c.run(func() bool { return c.theCase().Stage == ledger.Computing })
	due := c.theCase().Deadline
	if !c.run(c.closed) {
		c.dump()
		t.Fatal("not settled")
	}
	k := c.theCase()
	if len(k.Passed) != 1 || k.Passed[0].Why != ledger.GaveUp || k.Passed[0].Executor != c.dies || k.Settlement.Height >= due || k.Settlement.Outcome != ledger.Completed {
		c.dump()
		t.Errorf("settled as %s in block %d, passed over %v", k.Settlement.Outcome, k.Settlement.Height, k.Passed)
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
			want = ledger.AllOutOfTime
		}
		if k.Settlement.Outcome != want || k.Passed[0].Executor != first || !all && (len(k.Passed) != 1 || k.View.Executor == first) || len(k.Slashes) > 0 {
			c.dump()
			t.Errorf("settled as %s, passed over %v", k.Settlement.Outcome, k.Passed)
		}
		for _, p := range k.Passed {
			if p.Why != ledger.RanOutOfTime {
				t.Errorf("passed over: %s", p.Why)
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
			forged := task.Reveal{Ballot: c.theCase().Ballot(), Node: m.Claim.Node, Verdict: task.Fault, Reason: "x"}
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

// Messages that overtake each other, and the blocks that they are about, cost
// nobody its turn.
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
	if k := c.theCase(); k.Settlement.Outcome != ledger.DataOwnerSilent || len(k.Passed) != 0 {
		c.dump()
		t.Errorf("settled as %s, passed over %d", k.Settlement.Outcome, len(k.Passed))
	}
}
