package economy

import (
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// This file is what the coalition's workers do otherwise than the honest: at the
// edges of sessions that know nothing of it.

// word is a verdict on one piece that is not found by looking; unread is false if
// the piece is looked at.
func (s *coalSession) word(c *ledger.Case, want attest.Expected, truth attest.Appraisal) (a attest.Appraisal, unread bool) {
	ok, fault := attest.Appraisal{Verdict: task.OK}, attest.Appraisal{Verdict: task.Fault, Reason: attest.DirtyState}
	friend := s.friendly()
	key := c.Ballot().PairInput()
	nth := s.looks[task.Hash(key)]
	s.looks[task.Hash(key)]++
	switch {
	case friend && s.t.does(devVouch):
		// The genuine piece is where its VRF puts it: the friend tells. What is asked for
		// is one of two pieces; the second time it is the other.
		return s.at(c, nth, ok, fault), true
	case friend && s.t.does(devTold):
		return truth, true
	case !friend && s.t.does(devDoubt), s.t.does(devCry):
		return fault, true
	case s.t.does(devGuess), s.t.does(devHush), s.t.does(devSleep), s.t.does(devCopy):
		return ok, true
	case s.t.does(devOnce) && nth == 1:
		return ok, true
	}
	return a, false
}

// at is OK for the piece in the place that the friend names, and FAULT for the other.
// A session asks for the piece at its own coin first.
func (s *coalSession) at(c *ledger.Case, nth int, ok, fault attest.Appraisal) attest.Appraisal {
	ballot := c.Ballot()
	h := task.H(task.TagSalt, task.Encode(ballot))
	out := s.k.node.vrf.Output(h[:])
	place := out[0]&1 ^ uint8(nth&1)
	if place == s.t.sessions[s.w.index(c.View.Executor)].enclave.place {
		return ok
	}
	return fault
}

// deviant is a friend's word to the others.
func (s *coalSession) deviant(to []task.NodeID, m node.Message) {
	w := s.w
	switch {
	case m.Shown != nil && s.t.does(devTwoPairs):
		other := *m.Shown
		other.Evidence[1-s.enclave.place] = task.Encode(w.platform(w.index(s.k.node.ID())).Quote(
			s.s.Case().Wanted(task.PreRun).Context, s.enclave.keys, task.Hash{}, task.Hash{14}))
		other.Signature = task.Sign(s.k.node.peer, other.Pair().Hash())
		s.t.pairs[m.Shown.Ballot] = [2]task.Pair{m.Shown.Pair(), other.Pair()}
		s.say(to, m)
	case m.Shown != nil && s.t.does(devShowFriends):
		var friends []task.NodeID
		for _, id := range to {
			if w.friend(id) {
				friends = append(friends, id)
			}
		}
		s.say(friends, m)
	case m.Commitment != nil && s.t.does(devSleep):
	case m.Commitment != nil && s.t.does(devCopy):
		w.later(func() { s.copies(to, *m.Commitment) })
	case m.Commitment != nil && s.t.does(devTwoWords):
		o := *m.Commitment
		o.Digest = task.Hash{77}
		o.Signature = task.Sign(s.k.node.peer, o.Hash())
		s.say(to[:len(to)/2], m)
		s.say(to[len(to)/2:], node.Message{Commitment: &o})
	case m.Reveal != nil && (s.t.does(devHush) || s.t.does(devCopy)):
	default:
		s.say(to, m)
	}
}

// copies repeats a stranger's commitment, which is heard by now, under this node's name.
func (s *coalSession) copies(to []task.NodeID, mine task.Commitment) {
	for _, o := range s.t.sessions[:s.w.first] {
		if r := o.journal.reveals; len(r) > 0 && r[len(r)-1].Ballot == mine.Ballot {
			mine.Digest = r[len(r)-1].Digest() // as it was sent
			mine.Signature = task.Sign(s.k.node.peer, mine.Hash())
			break
		}
	}
	s.say(to, node.Message{Commitment: &mine})
}

// bends makes of what an honest worker would bring to the chain what a friend brings;
// false if that is nothing.
func (s *coalSession) bends(b *task.Body) bool {
	w, id := s.w, s.k.node.ID()
	executes := s.s.Case().View.Executor == id
	switch {
	case b.Claims != nil:
		return !s.t.does(devNoClaims)
	case b.Accuse != nil: // not a friend
		return !w.friend(b.Accuse.Accused)
	case b.Commitments != nil:
		var set []task.Commitment
		for _, k := range b.Commitments.All() {
			hidden := executes && s.t.does(devHideCommitments) && !w.friend(k.Node)
			if !hidden && !(k.Node == id && (s.t.does(devSleep) || s.t.does(devCopy))) {
				set = append(set, k)
			}
		}
		b.Commitments = task.PackCommitments(set)
		return len(set) > 0
	case b.Verdicts != nil:
		var said []task.Reveal
		for _, v := range b.Verdicts.All() {
			hidden := executes && s.t.does(devHideReveals) && !w.friend(v.Node)
			if !hidden && !(v.Node == id && (s.t.does(devHush) || s.t.does(devCopy))) {
				said = append(said, v)
			}
		}
		opening := b.Verdicts.Opening
		if s.t.does(devNoOpen) {
			opening = nil
		}
		b.Verdicts = task.PackVerdicts(b.Verdicts.Ballot, said, opening)
		return len(said) > 0 || opening != nil
	case b.Show != nil: // not what a friend has shown, if it is not as it should be
		spoilt := s.t.does(devBadEvidence) || s.t.does(devTwoGood) || s.t.does(devVouch)
		return executes || !w.friend(s.s.Case().View.Executor) || !spoilt
	}
	return true
}

// conspire is what the coalition does of its own accord when a case has moved.
func (w *coalWorld) conspire(t *coalTask) {
	c := t.c
	friend, ballot := w.friend(c.View.Executor), c.Ballot()
	members := w.members(t)
	if c.Phase == ledger.Attesting && !t.voted[ballot] {
		t.voted[ballot] = true
		if t.does(devSkip) && !friend {
			w.skip(t, members)
		}
	}
	if t.does(devUnbond) && c.Phase >= ledger.Attesting && c.Phase < ledger.Closed && !t.unbonded {
		t.unbonded = true
		for _, k := range w.workers[w.first:] {
			if rec, _ := w.read().Node(k.node.ID()); rec.Bond > 0 {
				w.submit(k.operator, true, task.Body{Unbond: &task.Bond{Node: k.node.ID(), Amount: rec.Bond}})
			}
		}
	}
	if t.does(devWithdraw) && c.Phase == ledger.Attesting && c.View.Number == 0 {
		if f, _ := w.read().Function(c.Task.Function); f.Bond > coalLeft {
			w.submit(w.bob, true, task.Body{Withdraw: &task.Withdraw{Function: c.Task.Function, Amount: f.Bond - coalLeft}})
		}
	}
	if t.does(devShowAll) && !friend && c.Stage == ledger.Committing && len(members) > 0 {
		if shown := t.sessions[w.index(c.View.Executor)].enclave.shown; !t.accused[ballot] && shown.Ballot == ballot {
			t.accused[ballot] = true
			w.submit(members[0].k.operator, true, task.Body{Show: &shown})
		}
	}
	if t.does(devAccuseFriends) && friend && !t.accused[ballot] {
		w.accuse(t)
	}
}

// members are the coalition's on the committee, in its order.
func (w *coalWorld) members(t *coalTask) (all []*coalSession) {
	for _, m := range t.c.Members {
		if w.friend(m.Claim.Node) {
			all = append(all, t.sessions[w.index(m.Claim.Node)])
		}
	}
	return all
}

// skip has all friends vote the executor away at once, and brings that to the chain if
// they are a quorum. Sessions that hear of them may join, as they do.
func (w *coalWorld) skip(t *coalTask, members []*coalSession) {
	c := t.c
	var votes []task.SignedVote
	var seats uint32
	var all []task.NodeID
	for _, m := range c.Members {
		all = append(all, m.Claim.Node)
	}
	for _, s := range members {
		v := task.Vote{Task: t.id, Attempt: c.Attempt, View: c.View.Number + 1, Node: s.k.node.ID()}
		signed := task.SignedVote{Vote: v, Signature: task.Sign(s.k.node.peer, v.Hash())}
		votes, seats = append(votes, signed), seats+c.Member(v.Node).Seats
		s.say(all, node.Message{Vote: &signed})
	}
	if seats >= sortition.Quorum(c.Roster().Total()) {
		w.submit(members[0].k.operator, true, task.Body{Skip: &task.Skip{Task: t.id, Attempt: c.Attempt, View: c.View.Number + 1, Votes: votes}})
	}
}

// accuse has the coalition's own executor found out, when that is worth most: when the
// result is there, or the evidence can be judged. Who is to have the reward brings it.
func (w *coalWorld) accuse(t *coalTask) {
	c, ballot := t.c, t.c.Ballot()
	from := w.workers[len(w.workers)-1].operator
	if w.plan.roles()&coalAlice != 0 {
		from = t.owner
	}
	a := task.Accusation{Ballot: ballot, Accused: c.View.Executor}
	pairs, two := t.pairs[ballot]
	switch {
	case two && c.Phase == ledger.Reviewing:
		a.Pairs = pairs[:]
	case !two && c.Phase >= ledger.Attesting && c.Phase < ledger.Closed && c.View.Pre.OpenedAt != 0:
		a.Look = true
	default:
		return
	}
	t.accused[ballot] = true
	w.submit(from, true, task.Body{Accuse: &a})
}
