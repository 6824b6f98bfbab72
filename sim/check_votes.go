package sim

import (
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// checkSaid: an honest node never says two things to one question, whatever
// crashes (§6.5.4).
func (w *world) checkSaid(k *worker, m node.Message) {
	if k.liar != nil {
		return
	}
	var about, what string
	switch {
	case m.Vote != nil:
		v := m.Vote.Vote
		about, what = string(task.Encode([]any{"vote", v.Task, v.Attempt, v.View, v.Stage})), string(task.Encode(v))
	case m.Commitment != nil:
		about, what = string(task.Encode([]any{"commitment", m.Commitment.Ballot})), string(m.Commitment.Digest[:])
	default:
		return
	}
	q := question{k.id, about}
	if old, ok := w.facts.said[q]; ok && old != what {
		w.violate("an honest node says one thing", "%s said two: %s", k.name, describe(m))
	}
	w.facts.said[q] = what
}
