package node

import "github.com/prytany/prytany/task"

// Message is what members of a committee send each other: exactly one field is
// set. Votes and commitments prove their sender themselves, reveals by the commitment that they open; evidence
// and signs of life count only from the executor's own peer key.
type Message struct {
	Vote       *task.SignedVote `cbor:"1,keyasint,omitempty"`
	Commitment *task.Commitment `cbor:"2,keyasint,omitempty"`
	Reveal     *task.Reveal     `cbor:"3,keyasint,omitempty"`
	Evidence   *Evidence        `cbor:"4,keyasint,omitempty"`
	Alive      *task.Ballot     `cbor:"5,keyasint,omitempty"`
}

// Evidence is the executor's, for one ballot.
type Evidence struct {
	Ballot   task.Ballot `cbor:"1,keyasint"`
	Evidence []byte      `cbor:"2,keyasint"`
}

// task names the task that the message is about; not ok unless exactly one
// field is set.
func (m Message) task() (id task.TaskID, ok bool) {
	n := 0
	if m.Vote != nil {
		id, n = m.Vote.Vote.Task, n+1
	}
	if m.Commitment != nil {
		id, n = m.Commitment.Ballot.Task, n+1
	}
	if m.Reveal != nil {
		id, n = m.Reveal.Ballot.Task, n+1
	}
	if m.Evidence != nil {
		id, n = m.Evidence.Ballot.Task, n+1
	}
	if m.Alive != nil {
		id, n = m.Alive.Task, n+1
	}
	return id, n == 1
}
