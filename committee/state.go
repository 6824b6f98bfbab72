package committee

import (
	"maps"

	"github.com/prytany/prytany/task"
)

// Clone is another machine in the same state. Steps of the one do not show in the other:
// maps are its own, and all else that a machine points to it replaces and never changes.
func (m *Machine) Clone() *Machine {
	c := *m
	c.out = nil
	c.said, c.accused, c.unable = maps.Clone(m.said), maps.Clone(m.accused), maps.Clone(m.unable)
	c.votes = maps.Clone(m.votes)
	c.commitments, c.reveals = maps.Clone(m.commitments), maps.Clone(m.reveals)
	c.valid, c.sent = maps.Clone(m.valid), maps.Clone(m.sent)
	return &c
}

// Fingerprint names a state: machines of one patience that have seen the same case act
// alike if their fingerprints are equal. The case itself is not in it, for it is the
// chain's, and large; whoever compares states of different cases adds its hash.
func (m *Machine) Fingerprint() task.Hash {
	return task.H(task.TagState, task.Encode([]any{
		m.self, m.id, m.said, m.drawn, m.saidBusy, m.accused, m.unable, m.enclave,
		// turn
		m.begun, m.view, m.alive, m.voted, m.skipSent, m.votes,
		m.call, m.called, m.leaving, m.result, m.hasty, m.declined, m.lost, m.gaveUp,
		// round
		m.shown, m.pair, m.second, m.opening, m.place, m.asked, m.mine, m.revealed,
		m.commitments, m.reveals, m.valid, m.keysAsked, m.watched, m.sent, m.opened, m.told, m.late, m.stuck,
	}))
}
