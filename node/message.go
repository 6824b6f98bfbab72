package node

import (
	"errors"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Message is what members of a committee send each other: exactly one field is
// set. Votes, commitments and evidence prove their sender themselves, reveals by
// the commitment that they open; signs of life count only from the executor's
// own peer key.
type Message struct {
	Vote       *task.SignedVote `cbor:"1,keyasint,omitempty"`
	Commitment *task.Commitment `cbor:"2,keyasint,omitempty"`
	Reveal     *task.Reveal     `cbor:"3,keyasint,omitempty"`
	Shown      *task.Showing    `cbor:"4,keyasint,omitempty"`
	Alive      *task.Ballot     `cbor:"5,keyasint,omitempty"`
}

// about names the task and the attempt that the message is about; not ok
// unless exactly one field is set.
func (m Message) about() (id task.TaskID, attempt uint32, ok bool) {
	n := 0
	of := func(t task.TaskID, a uint32) { id, attempt, n = t, a, n+1 }
	if m.Vote != nil {
		of(m.Vote.Vote.Task, m.Vote.Vote.Attempt)
	}
	if m.Commitment != nil {
		of(m.Commitment.Ballot.Task, m.Commitment.Ballot.Attempt)
	}
	if m.Reveal != nil {
		of(m.Reveal.Ballot.Task, m.Reveal.Ballot.Attempt)
	}
	if m.Shown != nil {
		of(m.Shown.Ballot.Task, m.Shown.Ballot.Attempt)
	}
	if m.Alive != nil {
		of(m.Alive.Task, m.Alive.Attempt)
	}
	return id, attempt, n == 1
}

// Heard is a verified word of another node. Only Verify and Judge make one.
type Heard struct {
	task    task.TaskID
	attempt uint32
	event   committee.Event
}

// Verify checks that a message is of whom it speaks for. from is the node whose
// connection brought it, zero if nobody is known by that key; peer gives a
// node's registered peer key. It is pure, so many may be checked at once and
// away from the session.
func Verify(from task.NodeID, m Message, peer func(task.NodeID) (task.Key, bool)) (Heard, error) {
	id, attempt, ok := m.about()
	if !ok {
		return Heard{}, errors.New("a message is about one thing")
	}
	event, err := m.verify(from, peer)
	return Heard{id, attempt, event}, err
}

func (m Message) verify(from task.NodeID, peer func(task.NodeID) (task.Key, bool)) (committee.Event, error) {
	switch {
	case m.Vote != nil:
		v, err := committee.VerifyVote(*m.Vote, peer)
		return committee.VoteHeard{Vote: v}, err
	case m.Commitment != nil:
		key, ok := peer(m.Commitment.Node)
		if !ok || !m.Commitment.Signature.Verify(key, m.Commitment.Hash()) {
			return nil, errors.New("the commitment's signature does not hold")
		}
		return committee.CommitmentHeard{Commitment: *m.Commitment}, nil
	case m.Reveal != nil:
		return committee.RevealHeard{Reveal: *m.Reveal}, nil
	case m.Shown != nil:
		b := m.Shown.Ballot
		key, ok := peer(b.Executor)
		switch {
		case b.Round != task.PreRun && b.Round != task.PostRun:
			return nil, errors.New("evidence of no such round")
		case !ok || !m.Shown.Signature.Verify(key, m.Shown.Hash()):
			return nil, errors.New("the executor has not signed this evidence")
		}
		return committee.EvidenceHeard{From: b.Executor, Shown: *m.Shown}, nil
	case from.IsZero():
		return nil, errors.New("the sender is no node that is known here")
	}
	return committee.AliveHeard{View: m.Alive.View, Node: from}, nil
}

// Standing is what a claim from gossip is worth (spec §5.4).
type Standing uint8

// The standings.
const (
	ClaimIgnored Standing = iota // too late, or the chain cannot be asked: nobody's fault
	ClaimEarly                   // ahead of the block that opens its attempt: judge it again then
	ClaimJunk                    // nobody honest would have sent it
	ClaimValid                   // to be heard, and passed on
)

// Judge verifies a claim against the case and the stakes that the chain holds
// now. What it returns is heard only if the claim is valid. Like Verify, it is
// pure but for node, which looks up a registration.
func Judge(c *ledger.Case, k task.Claim, node func(task.NodeID) (ledger.NodeRecord, error)) (Heard, Standing) {
	switch {
	case c.Attempt > k.Attempt || c.Phase > ledger.Electing:
		return Heard{}, ClaimIgnored
	case c.Attempt < k.Attempt || c.Phase < ledger.Electing:
		return Heard{}, ClaimEarly
	}
	rec, err := node(k.Node)
	if err != nil {
		if task.CodeOf(err) != "" {
			return Heard{}, ClaimJunk // the chain has refused: there is no such node
		}
		return Heard{}, ClaimIgnored
	}
	m, err := c.Admit(rec.Node, rec.Profile, rec.StakeAt(c.Epoch), k)
	if err != nil {
		return Heard{}, ClaimJunk
	}
	return Heard{k.Task, k.Attempt, committee.ClaimHeard{Member: committee.MemberOf(c, &m)}}, ClaimValid
}

// Alive is an executor's sign of life. It goes to the members that stand in the
// case, a few times in each Silence timeout, while the executor is at work.
func Alive(c *ledger.Case, view uint32) Message {
	return Message{Alive: &task.Ballot{Task: c.ID(), Attempt: c.Attempt, View: view, Round: task.PreRun}}
}

// Nonces are what an executor's pre-run evidence must answer.
func Nonces(members []committee.Member) []task.Hash {
	var nonces []task.Hash
	for _, k := range members {
		nonces = append(nonces, attest.Nonce(k.Beta, k.Node))
	}
	return nonces
}

// KeyRequest shows an owner the verdicts on this enclave.
func KeyRequest(a committee.RequestKeys, of task.Role) task.KeyRequest {
	return task.KeyRequest{Ballot: a.Ballot, Role: of, Evidence: a.Evidence, Reveals: a.Reveals}
}

// ReadKeyReply reads an owner's answer; a refusal is an error.
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
