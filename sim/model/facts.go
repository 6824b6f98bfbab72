package model

import (
	"fmt"
	"strings"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// note numbers a fact.
func (m *model) note(from int, name string, f fact) int32 {
	f.from, f.name = from, name
	content := ""
	switch e := f.event.(type) {
	case committee.VoteHeard:
		content = string(task.Encode(e.Vote.Vote()))
	case committee.CommitmentHeard:
		content = string(task.Encode(e.Commitment))
	case committee.RevealHeard:
		content = string(task.Encode(e.Reveal))
	case committee.EvidenceHeard:
		content = string(task.Encode(e.Shown))
	case committee.AliveHeard, committee.Appraised, committee.ChainMoved, committee.ClaimHeard, committee.Quoted,
		committee.Ran, committee.TimedOut, committee.Unveiled, committee.Won: // nobody sends these
	}
	if f.kind == tx {
		content = string(task.Encode(f.body))
	}
	if f.kind == keys {
		content = string(f.evidence)
	}
	key := fmt.Sprint(from, f.kind, f.group, name, "\x00", content)
	if i, ok := m.factBy[key]; ok {
		return i
	}
	i := int32(len(m.facts))
	if i >= words*64 {
		panic("model: too many facts; a bound is too wide")
	}
	if f.kind == tx && f.key == 0 {
		f.key = from
	}
	m.facts = append(m.facts, f)
	m.factBy[key] = i
	return i
}

func (m *model) event(e any, what string) int32 {
	key := fmt.Sprintf("%T %+v", e, e)
	if i, ok := m.eventBy[key]; ok {
		return i
	}
	i := int32(len(m.events))
	m.events = append(m.events, eventName{e, what})
	m.eventBy[key] = i
	return i
}

// vote signs a vote once and for all.
func (m *model) vote(from int, v task.Vote, lock []task.SignedVote) int32 {
	return m.voteIn(from, v, lock, 0)
}

func (m *model) voteIn(from int, v task.Vote, lock []task.SignedVote, group int32) int32 {
	key := fmt.Sprint(from, group, v, len(lock))
	for _, p := range lock {
		key += m.cast.name(p.Vote.Node)
	}
	if i, ok := m.votes[key]; ok {
		return i
	}
	s := task.SignedVote{Vote: v, Signature: task.Sign(m.cast.workers[from].peer, v.Hash())}
	name := fmt.Sprintf("says %s of view %d for %s", v.Stage, v.View, m.cast.name(v.Executor))
	if v.Stage == task.NewView {
		s.Lock = lock
		var by []string
		for _, p := range lock {
			by = append(by, m.cast.name(p.Vote.Node))
		}
		name += fmt.Sprintf(" (lock of view %d: %s)", v.LockView, strings.Join(by, " "))
	}
	verified, err := committee.VerifyVote(s, m.cast.peerKey)
	if err != nil {
		panic(err)
	}
	i := m.note(from, name, fact{kind: vote, public: true, event: committee.VoteHeard{Vote: verified}, vote: v, group: group})
	m.votes[key] = i
	return i
}

func (m *model) detail(b task.Body) string {
	switch {
	case b.Commitments != nil:
		var who []string
		for _, k := range b.Commitments.Commitments {
			who = append(who, m.cast.name(k.Node))
		}
		return fmt.Sprintf(" of %s (%s)", strings.Join(who, " "), b.Commitments.Commitments[0].Ballot.Round)
	case b.Verdicts != nil:
		var who []string
		for _, r := range b.Verdicts.Reveals {
			who = append(who, m.cast.name(r.Node)+":"+r.Verdict.String())
		}
		return fmt.Sprintf(" %s (%s)", strings.Join(who, " "), b.Verdicts.Shown.Ballot.Round)
	case b.Accuse != nil:
		return " of " + m.cast.name(b.Accuse.Accused)
	}
	return ""
}

// evidence is made once for each ballot.
func (m *model) evidence(k *ledger.Case, who int, b task.Ballot, spoilt bool) task.Showing {
	key := fmt.Sprint(who, b, spoilt, k.View.ExitNonce)
	s, ok := m.shown[key]
	if !ok {
		s = m.cast.evidence(k, who, b, m.cast.nonces(), spoilt)
		m.shown[key] = s
	}
	return s
}

// truth is an honest appraisal.
func (m *model) truth(a committee.Appraise) (task.Verdict, string) {
	key := string(a.Evidence) + string(task.Encode(a.Ballot))
	t, ok := m.truths[key]
	if !ok {
		k := m.chain[len(m.chain)-1].c
		for _, l := range m.chain { // of a case that stands where the ballot does
			if l.c.View.Number == a.Ballot.View && l.c.PreRound() == a.Ballot.Round || a.Ballot.Round == task.PostRun && !l.c.View.ExitNonce.IsZero() {
				k = l.c
			}
		}
		v := k.Appraise(a.Ballot.Round, a.Evidence)
		t = verdictOf{v.Verdict, v.Reason}
		m.truths[key] = t
	}
	return t.v, t.reason
}
