package committee

import (
	"crypto/ed25519"
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

// Two votes of one member in one view, heard by anyone, cost it its place.
func TestEquivocatorIsAccused(t *testing.T) {
	c := newCluster(t, 2, 10, 13, Embedded, 100)
	c.oneWay = 1
	c.run(func() bool { return len(c.theCase().Members) > 3 })
	bad := c.nodes[c.theCase().Members[1].Claim.Node]
	for i, to := range c.order {
		v := task.Vote{Task: c.id, Attempt: c.theCase().Attempt, View: 0, Stage: task.Commit, Executor: c.order[i%2].id, Node: bad.id}
		s, err := VerifyVote(task.SignedVote{Vote: v, Signature: task.Sign(bad.key, v.Hash())}, func(task.NodeID) (task.Key, bool) { return bad.node.Peer, true })
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c.send(bad, to, VoteHeard{Vote: s})
		}
		w := v
		w.Executor = c.order[(i+1)%2].id
		s, _ = VerifyVote(task.SignedVote{Vote: w, Signature: task.Sign(bad.key, w.Hash())}, func(task.NodeID) (task.Key, bool) { return bad.node.Peer, true })
		c.send(bad, to, VoteHeard{Vote: s})
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
	if len(k.Passed) != 0 || len(c.lost(ledger.Silent)) != 0 {
		c.dump()
		t.Errorf("passed %v", k.Passed)
	}
}

// What a node without a seat signs takes next to no memory, however much of it
// there is; and a lock's proof stands where it belongs, with each node once.
func TestVotesOfStrangersAreNotKept(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	stranger := task.NodeID{7} // registered, no member
	look := func(id task.NodeID) (task.Key, bool) { return task.PublicKey(key), id == stranger }
	m := New(task.NodeID{1}, Embedded)
	c := &ledger.Case{Phase: ledger.Electing, Params: ledger.Embedded("test")}
	m.Step(ChainMoved{c})
	for stage := task.Prepare; stage <= task.PassOver; stage++ {
		for view := range uint32(64) {
			v := task.Vote{Task: c.ID(), View: view, Stage: stage, Node: stranger}
			if stage != task.PassOver {
				v.Executor = task.NodeID{3}
			}
			p := task.SignedVote{Vote: task.Vote{Task: c.ID(), Stage: task.Prepare, Executor: v.Executor, Node: stranger}}
			p.Signature = task.Sign(key, p.Vote.Hash())
			s := task.SignedVote{Vote: v, Signature: task.Sign(key, v.Hash())}
			if ok, err := VerifyVote(s, look); err == nil {
				m.Step(VoteHeard{ok})
			}
			s.Lock = []task.SignedVote{p, p}
			if _, err := VerifyVote(s, look); err == nil {
				t.Errorf("a %s of view %d with a lock that names a node twice is accepted", stage, view)
			}
			s.Lock = s.Lock[:1]
			if ok, err := VerifyVote(s, look); err == nil && stage != task.NewView {
				t.Errorf("a %s of view %d with a lock is accepted", stage, view)
			} else if err == nil {
				m.Step(VoteHeard{ok})
			}
		}
	}
	kept := 0
	for _, views := range m.votes {
		for _, of := range views {
			for _, s := range of {
				kept += 1 + len(s.Lock)
			}
		}
	}
	if most := 2 + int(c.Params.MaxViews); kept > most {
		t.Errorf("%d votes of a node without a seat are kept, want %d at most", kept, most)
	}
}

// Nobody can strip a new-view of the proof of its lock by carrying it faster.
func TestStrippedLockDoesNotCount(t *testing.T) {
	m := New(task.NodeID{1}, Embedded)
	c := &ledger.Case{Phase: ledger.Electing, Params: ledger.Embedded("test")}
	m.Step(ChainMoved{c})
	var proof []task.SignedVote
	for i := range byte(4) {
		id := task.NodeID{i + 1}
		m.members[id] = Member{Node: id, Seats: 1}
		proof = append(proof, task.SignedVote{Vote: task.Vote{Task: c.ID(), Stage: task.Prepare, Executor: task.NodeID{2}, Node: id}})
	}
	whole := task.SignedVote{Vote: task.Vote{Task: c.ID(), View: 1, Stage: task.NewView, Executor: task.NodeID{2}, Node: task.NodeID{3}}, Lock: proof[:3]}
	less := whole
	less.Lock = proof[:1]
	for _, s := range []task.SignedVote{less, whole, less} {
		m.Step(VoteHeard{Verified{s}})
	}
	if l := m.highestLock([]task.SignedVote{m.votes[task.NewView][1][task.NodeID{3}]}); l == nil || l.executor != (task.NodeID{2}) {
		t.Errorf("the lock is %+v", l)
	}
}

// Reveals have no signature: what opens no commitment takes no memory, and keeps
// no room from others.
func TestRevealsOfStrangersAreNotKept(t *testing.T) {
	m := New(task.NodeID{1}, Embedded)
	c := &ledger.Case{Phase: ledger.Electing, Params: ledger.Embedded("test")}
	m.Step(ChainMoved{c})
	m.sorted()
	for i := range 2 * maxRounds {
		v := task.Reveal{Ballot: task.Ballot{Task: c.ID(), Committee: m.set, Round: task.PreRun}}
		v.Ballot.Executor[0], v.Ballot.Executor[1] = byte(i), byte(i>>8)
		m.Step(RevealHeard{v})
		v.Ballot.Committee[0], v.Ballot.Round = byte(i), task.Round(i)
		m.Step(RevealHeard{v})
		m.Step(CommitmentHeard{task.Commitment{Ballot: v.Ballot, Node: task.NodeID{9}}})
		m.Step(EvidenceHeard{From: task.NodeID{9}, Shown: task.Showing{Ballot: v.Ballot}})
	}
	if len(m.rounds) > 1 { // its own
		t.Errorf("%d rounds are kept", len(m.rounds))
	}
}
