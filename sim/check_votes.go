package sim

import (
	"slices"

	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// checkSaid: an honest node never says two things to one question, whatever
// crashes: so what it says is on its disk before anybody hears it (§6.5.4).
func (w *world) checkSaid(k *worker, m node.Message) {
	if k.liar != nil {
		return
	}
	var about, what string
	var stored bool
	switch {
	case m.Vote != nil:
		v := m.Vote.Vote
		about, what = string(task.Encode([]any{"vote", v.Task, v.Attempt, v.View, v.Stage})), string(task.Encode(v))
		r := k.disk.records[v.Task]
		stored = r != nil && r.votes[voteKey{v.Attempt, v.View, v.Stage}].Vote == v
		w.checkLeft(k, v)
	case m.Commitment != nil:
		about, what = string(task.Encode([]any{"commitment", m.Commitment.Ballot})), string(m.Commitment.Digest[:])
		r := k.disk.records[m.Commitment.Ballot.Task]
		stored = r != nil && slices.ContainsFunc(r.reveals, func(v task.Reveal) bool {
			return task.H(task.TagCommitment, task.Encode(v)) == m.Commitment.Digest
		})
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

// checkLeft: who has gone on from a view is silent in it, in a later life too:
// or two executors could be decided (§6.2).
func (w *world) checkLeft(k *worker, v task.Vote) {
	key := attemptNode{v.Task, v.Attempt, k.id}
	if v.Stage == task.PassOver {
		w.facts.gone[goneKey{key, v.View}] = true
	} else if v.Stage == task.NewView {
		w.facts.left[key] = max(w.facts.left[key], v.View)
	} else if v.View < w.facts.left[key] {
		w.violate("who has left a view is silent in it", "%s says %s in view %d and had gone to %d", k.name, v.Stage, v.View, w.facts.left[key])
	}
}

// checkAsked: the journal is the last line; an honest node remembers what it
// has said, and does not ask to store something else.
func (w *world) checkAsked(k *worker) {
	if k.liar == nil {
		w.violate("a node remembers its words", "%s wanted to say a second thing", k.name)
	}
}
