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

// Every first evidence is a canary: honest verifiers see it, nobody pays, and
// the task is done in earnest.
func TestCanaryAmongTheHonest(t *testing.T) {
	for seed := range seeds(10) {
		c := newCluster(t, seed, 10, 13, Embedded, 100, canaries)
		c.oneWay = 1
		k := c.settled(t)
		if k.View.Canary == nil || len(k.Slashes) != 0 || len(k.Passed) != 0 {
			c.dump()
			t.Fatalf("seed %d: canary %v, slashes %v, passed %v", seed, k.View.Canary != nil, k.Slashes, k.Passed)
		}
	}
}

func canaries(p *ledger.Params) { p.CanaryPPM, p.PostingFee = 1_000_000, 40*p.CheckCost }

func lazy(Appraise) (task.Verdict, bool) { return task.OK, true }

func crying(Appraise) (task.Verdict, bool) { return task.Fault, true }

// A canary catches those who do not look, even if they are the majority.
func TestCanaryCatchesTheLazy(t *testing.T) {
	for _, honest := range []int{1, 5} {
		c := newCluster(t, 3, 10, 13, Embedded, 100, canaries)
		c.oneWay = 1
		for _, p := range c.order[honest:] {
			p.lazy = lazy
		}
		k := c.settled(t)
		for id := range c.lost(ledger.FalseOK) {
			if c.nodes[id].lazy == nil {
				t.Errorf("an honest verifier paid: %v", k.Slashes)
			}
		}
		if len(c.lost(ledger.FalseOK)) == 0 {
			t.Error("the lazy got away")
		}
	}
}

// One honest verifier that looks takes the task from an enclave that lies, and
// the next ticket's owner does it.
func TestBadEvidenceIsFoundByOne(t *testing.T) {
	found := 0
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
						*ev = pl.Quote(x, ev.Keys, ev.Nonces, task.Hash{66})
					}
				}
			} else if p != d.order[0] {
				p.lazy = lazy
			}
		}
		if liar.id == d.order[0].id || d.order[0].lazy != nil {
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
	c.order[2].lazy, c.order[7].lazy = crying, crying
	k := c.settled(t)
	for id := range c.lost(ledger.FalseFault) {
		if c.nodes[id].lazy == nil {
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
			k := task.Commitment{Ballot: c.theCase().Ballot(task.PreRun), Node: bad.id, Digest: digest}
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
		p.lazy = func(a Appraise) (task.Verdict, bool) { return task.OK, c.theCase().Attempt > 0 }
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
		for r := range task.Round(9) {
			b := task.Ballot{Task: c.ID(), View: view, Round: r}
			m.Step(VoteHeard{task.SignedVote{Vote: task.Vote{Task: c.ID(), View: view, Node: stranger}}})
			m.Step(CommitmentHeard{task.Commitment{Ballot: b, Node: stranger}})
			m.Step(RevealHeard{task.Reveal{Ballot: b, Node: member}})
			m.Step(EvidenceHeard{From: task.NodeID{3}, Shown: task.Showing{Ballot: b, Evidence: []byte{1}}})
			if view > 0 || r == 0 || r > task.Recheck {
				m.Step(CommitmentHeard{task.Commitment{Ballot: b, Node: member}})
				m.Step(EvidenceHeard{From: member, Shown: task.Showing{Ballot: b, Evidence: []byte{1}}})
			}
		}
	}
	if len(m.votes) > 0 || len(m.rounds) > 3 {
		t.Errorf("%d votes and %d rounds are kept", len(m.votes), len(m.rounds))
	}
	for which, r := range m.rounds {
		if len(r.commitments) > 0 || len(r.reveals) > 0 || len(r.shown.Evidence) > 0 {
			t.Errorf("%s: %d commitments, %d reveals, evidence of %d bytes", which, len(r.commitments), len(r.reveals), len(r.shown.Evidence))
		}
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
		"evidence is there": {func(c *ledger.Case) { c.View.Pre.Evidence = []byte{1} }, false},
		"after a canary":    {func(c *ledger.Case) { c.View.Canary = &ledger.PastCanary{} }, false},
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
