package sim

import (
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// checkSaid: an honest node never says two things to one question, whatever
// crashes: so what it says is on its disk before anybody hears it (§6.5). And it
// tells its verdict to nobody as long as the set of commitments is open (§7.5).
func (w *world) checkSaid(k *worker, m node.Message) {
	if k.liar != nil {
		return
	}
	var about, what string
	var stored bool
	switch {
	case m.Vote != nil:
		v := m.Vote.Vote
		w.facts.gone[goneKey{attemptNode{v.Task, v.Attempt, k.id}, v.View}] = true
		return
	case m.Commitment != nil:
		about, what = string(task.Encode([]any{"commitment", m.Commitment.Ballot})), string(m.Commitment.Digest[:])
		r := k.disk.records[m.Commitment.Ballot.Task]
		stored = r != nil && slices.ContainsFunc(r.reveals, func(v task.Reveal) bool {
			return task.H(task.TagCommitment, task.Encode(v)) == m.Commitment.Digest
		})
	case m.Reveal != nil:
		b := m.Reveal.Ballot
		if c, ok := w.chain.at(b.Task); ok && c.Phase != ledger.Closed && c.Ballot() == b && c.View.Pre.ClosedAt == 0 {
			w.violate("reveals wait for the commitments", "%s says its verdict while others may still commit to theirs", k.name)
		}
		return
	default:
		return
	}
	q := question{k.id, about}
	if old, ok := w.facts.said[q]; ok && old != what {
		w.violate("an honest node says one thing", "%s said two: %s", k.name, describe(m))
	}
	w.facts.said[q] = what
	if !stored {
		w.violate("a word is stored before it is said", "%s said what its disk does not hold: %s", k.name, describe(m))
	}
}

// checkAsked: the journal is the last line; an honest node remembers what it
// has said, and does not ask to store something else.
func (w *world) checkAsked(k *worker) {
	if k.liar == nil {
		w.violate("a node remembers its words", "%s wanted to say a second thing", k.name)
	}
}
