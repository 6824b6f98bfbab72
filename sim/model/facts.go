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
		content = string(task.Encode(e.Vote))
	case committee.CommitmentHeard:
		content = string(task.Encode(e.Commitment))
	case committee.RevealHeard:
		content = string(task.Encode(e.Reveal))
	case committee.EvidenceHeard:
		content = string(task.Encode(e.Shown))
	case committee.AliveHeard, committee.Appraised, committee.ChainMoved, committee.Quoted,
		committee.Ran, committee.TimedOut, committee.Unveiled, committee.Won: // nobody sends these
	}
	if f.kind == tx {
		content = string(task.Encode(f.body))
	}
	if f.kind == keys {
		content = string(f.evidence)
	}
	key := fmt.Sprint(from, f.kind, name, "\x00", content)
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
func (m *model) vote(from int, v task.Vote) int32 {
	s := task.SignedVote{Vote: v, Signature: task.Sign(m.cast.workers[from].peer, v.Hash())}
	return m.note(from, fmt.Sprintf("says pass-over to view %d", v.View), fact{kind: vote, public: true, event: committee.VoteHeard{Vote: s}, vote: v})
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

// truth is an honest appraisal, by the case as its verifier knows it.
func (m *model) truth(k *ledger.Case, a committee.Appraise) (task.Verdict, string) {
	key := string(a.Evidence) + string(task.Encode([]any{a.Ballot, k.View.ExitNonce}))
	t, ok := m.truths[key]
	if !ok {
		v := k.Appraise(a.Ballot.Round, a.Evidence)
		t = verdictOf{v.Verdict, v.Reason}
		m.truths[key] = t
	}
	return t.v, t.reason
}
