package node

import (
	"bytes"
	"testing"

	"github.com/prytany/prytany/task"
)

func TestMessageIsAboutOneThing(t *testing.T) {
	id := task.TaskID{1}
	b := task.Ballot{Task: id}
	for name, m := range map[string]Message{
		"vote":       {Vote: &task.SignedVote{Vote: task.Vote{Task: id}}},
		"commitment": {Commitment: &task.Commitment{Ballot: b}},
		"reveal":     {Reveal: &task.Reveal{Ballot: b}},
		"evidence":   {Shown: &task.Showing{Ballot: b}},
		"alive":      {Alive: &b},
	} {
		if at, ok := m.about(); !ok || at.task != id {
			t.Errorf("%s: %v, %v", name, at, ok)
		}
	}
	for name, m := range map[string]Message{"nothing": {}, "two things": {Alive: &b, Reveal: &task.Reveal{Ballot: b}}} {
		if _, ok := m.about(); ok {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(task.Encode(Message{Alive: &task.Ballot{}}))
	f.Add(task.Encode(Message{Vote: &task.SignedVote{}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := task.Decode[Message](raw, task.MaxMessage)
		if err == nil && !bytes.Equal(task.Encode(m), raw) {
			t.Fatal("accepted bytes that are not its encoding")
		}
	})
}
