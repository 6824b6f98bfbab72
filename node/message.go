package node

import (
	"errors"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Message is what members of a committee send each other: exactly one field is
// set. Votes and commitments prove their sender themselves, reveals by the
// commitment that they open; evidence and signs of life count only from the
// executor's own peer key.
type Message struct {
	Vote       *task.SignedVote `cbor:"1,keyasint,omitempty"`
	Commitment *task.Commitment `cbor:"2,keyasint,omitempty"`
	Reveal     *task.Reveal     `cbor:"3,keyasint,omitempty"`
	Shown      *task.Showing    `cbor:"4,keyasint,omitempty"`
	Alive      *task.Ballot     `cbor:"5,keyasint,omitempty"`
}

// moment is a view of an attempt at a task.
type moment struct {
	task          task.TaskID
	attempt, view uint32
}

func momentOf(b task.Ballot) moment { return moment{b.Task, b.Attempt, b.View} }

// about is when the message was said; not ok unless exactly one field is set.
func (m Message) about() (at moment, ok bool) {
	n := 0
	of := func(when moment) { at, n = when, n+1 }
	if m.Vote != nil {
		v := m.Vote.Vote
		of(moment{v.Task, v.Attempt, v.View - min(v.View, 1)}) // it names the next view
	}
	if m.Commitment != nil {
		of(momentOf(m.Commitment.Ballot))
	}
	if m.Reveal != nil {
		of(momentOf(m.Reveal.Ballot))
	}
	if m.Shown != nil {
		of(momentOf(m.Shown.Ballot))
	}
	if m.Alive != nil {
		of(momentOf(*m.Alive))
	}
	return at, n == 1
}

// early says whether a moment is ahead of a case: its sender has seen a block that
// names an executor whom this node does not know yet.
func (at moment) early(c *ledger.Case) bool {
	return at.attempt > c.Attempt || at.attempt == c.Attempt && (c.Phase < ledger.Attesting || at.view > c.View.Number)
}

// Heard is a verified word of another node. Only Verify makes one.
type Heard struct {
	at    moment
	event committee.Event
}

// Early says whether a word is ahead of the case as its session knows it. It has
// to be kept back until the chain has come there.
func (h Heard) Early(c *ledger.Case) bool { return h.at.early(c) }

// Verify checks that a message is of whom it speaks for. from is the node whose
// connection brought it, zero if nobody is known by that key; peer gives a
// node's registered peer key. It is pure, so many may be checked at once and
// away from the session.
func Verify(from task.NodeID, m Message, peer func(task.NodeID) (task.Key, bool)) (Heard, error) {
	at, ok := m.about()
	if !ok {
		return Heard{}, errors.New("a message is about one thing")
	}
	event, err := m.verify(from, peer)
	return Heard{at, event}, err
}

func (m Message) verify(from task.NodeID, peer func(task.NodeID) (task.Key, bool)) (committee.Event, error) {
	switch {
	case m.Vote != nil:
		key, ok := peer(m.Vote.Vote.Node)
		if !ok || !m.Vote.Signature.Verify(key, m.Vote.Vote.Hash()) {
			return nil, errors.New("the vote's signature does not hold")
		}
		return committee.VoteHeard{Vote: *m.Vote}, nil
	case m.Commitment != nil:
		key, ok := peer(m.Commitment.Node)
		if !ok || !m.Commitment.Signature.Verify(key, m.Commitment.Hash()) {
			return nil, errors.New("the commitment's signature does not hold")
		}
		return committee.CommitmentHeard{Commitment: *m.Commitment}, nil
	case m.Reveal != nil:
		return committee.RevealHeard{Reveal: *m.Reveal}, nil
	case from.IsZero():
		return nil, errors.New("the sender is no node that is known here")
	case m.Shown != nil:
		if key, ok := peer(from); !ok || !m.Shown.Signature.Verify(key, m.Shown.Pair().Hash()) {
			return nil, errors.New("the sender has not signed this evidence")
		}
		return committee.EvidenceHeard{From: from, Shown: *m.Shown}, nil
	}
	return committee.AliveHeard{Attempt: m.Alive.Attempt, View: m.Alive.View, Node: from}, nil
}

// Alive is an executor's sign of life. It goes to the members that stand in the
// case, a few times in each Silence timeout, while the executor is at work.
func Alive(c *ledger.Case, view uint32) Message {
	return Message{Alive: &task.Ballot{Task: c.ID(), Attempt: c.Attempt, View: view}}
}

// KeyRequest shows a party this enclave's evidence, the verdicts on it, and the key
// to seal to.
func KeyRequest(a committee.RequestKeys, of uint8, seal []byte) task.KeyRequest {
	return task.KeyRequest{Party: of, Opening: a.Opening, Reveals: a.Reveals, Seal: seal}
}

// ReadKeyReply reads a party's answer; a refusal is an error.
func ReadKeyReply(raw []byte) (task.Release, error) {
	reply, err := task.Decode[task.KeyReply](raw, task.MaxMessage)
	switch {
	case err != nil:
		return task.Release{}, err
	case reply.Release == nil:
		return task.Release{}, errors.New("refused: " + reply.Refused)
	}
	return *reply.Release, nil
}
