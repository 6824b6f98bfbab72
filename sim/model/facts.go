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
		committee.Left, committee.Ran, committee.TimedOut, committee.Unable, committee.Unanswered, committee.Won: // nobody sends these
	}
	if f.kind == tx {
		content = string(task.Encode(f.body))
	}
	if f.kind == keys {
		content = string(task.Encode(f.opening))
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
		for _, k := range b.Commitments.All() {
			who = append(who, m.cast.name(k.Node))
		}
		return " of " + strings.Join(who, " ")
	case b.Verdicts != nil:
		var who []string
		for _, r := range b.Verdicts.All() {
			who = append(who, fmt.Sprintf("%s:%s%d", m.cast.name(r.Node), r.Verdict, r.Place))
		}
		if b.Verdicts.Opening != nil {
			who = append(who, "with the opening")
		}
		return " " + strings.Join(who, " ")
	case b.Accuse != nil:
		return " of " + m.cast.name(b.Accuse.Accused)
	}
	return ""
}

// pair is made once for each ballot.
func (m *model) pair(k *ledger.Case, who int, b task.Ballot, spoilt bool) committee.Quoted {
	key := fmt.Sprint(who, b, spoilt)
	q, ok := m.shown[key]
	if !ok {
		q = m.cast.pair(k, who, b, spoilt)
		m.shown[key] = q
	}
	return q
}

// truth is what an honest node finds of a pair, by the case as it knows it.
func (m *model) truth(k *ledger.Case, a committee.Appraise) committee.Appraised {
	found := committee.Appraised{Ballot: a.Shown.Ballot, Pair: a.Shown.Pair().Hash()}
	t, ok := m.truths[found.Pair]
	if !ok {
		t = verdictOf{v: task.Fault}
		for place := range uint8(2) {
			v := k.Appraise(task.PreRun, a.Shown.Evidence[place])
			if v.Verdict == task.OK {
				t = verdictOf{v: task.OK, place: place}
			} else if t.v == task.Fault {
				t.reason = v.Reason
			}
		}
		m.truths[found.Pair] = t
	}
	found.Verdict, found.Place, found.Reason = t.v, t.place, t.reason
	return found
}
