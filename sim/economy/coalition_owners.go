package economy

import (
	"crypto/ed25519"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// This file is what Alice and Bob do in a coalition's world: whom they serve, whose
// call they answer, and whom they accuse.

// serves says whether an owner's file comes to a worker.
func (w *coalWorld) serves(t *coalTask, role task.Role, mate bool) bool {
	if role == task.DataOwner {
		return !t.does(devNoInput) && (mate || !t.does(devInputFriends)) && !(t.does(devEnough) && t.has)
	}
	return !t.does(devNoCode) && (mate || !t.does(devCodeFriends))
}

// wrongKey is what is sealed to the right enclave, and opens nothing.
const wrongKey = "not the key of "

// coalOwner is an owner's way with keys, in the present view of a task.
type coalOwner struct {
	party   uint8 // its place among the task's
	key     ed25519.PrivateKey
	ours    bool
	bad     bool // the evidence is, and this is no friend's
	silent  bool
	wrong   bool // the key opens nothing
	late    bool
	accuses bool
}

// ownersOf are both. They look themselves, as far as they keep to the rules.
func (w *coalWorld) ownersOf(t *coalTask) []coalOwner {
	c := t.c
	friend := w.friend(c.View.Executor)
	alice, bob := w.plan.roles()&coalAlice != 0, w.plan.roles()&coalBob != 0
	bad := w.found(c, c.Genuine()).Verdict != task.OK
	return []coalOwner{
		{1, t.owner, alice, bad && !(friend && alice), t.does(devAliceSilent) || t.does(devAliceKeeps) && !friend || t.does(devEnough) && t.has,
			t.does(devAliceWrongKey), t.does(devAliceLate), t.does(devAliceAccuses) && !friend},
		{2, w.bob, bob, bad && !(friend && bob), t.does(devBobSilent) || t.does(devBobKeeps) && !friend,
			t.does(devBobWrongKey), false, t.does(devBobAccuses) && !friend},
	}
}

// gives says whether an owner answers the executor directly.
func (o coalOwner) gives() bool { return !o.bad && !o.silent && !o.wrong && !o.late }

// owners answer on the chain where they are called, as far as they keep to the rules.
// Where the evidence is faulty they accuse.
func (w *coalWorld) owners(t *coalTask) {
	c := t.c
	if c.Stage != ledger.Unlocking && c.Stage != ledger.Computing {
		return
	}
	ballot := c.Ballot()
	for _, o := range w.ownersOf(t) {
		if (o.bad || o.accuses) && !t.accused[ballot] {
			t.accused[ballot] = true
			w.submit(o.key, o.ours, task.Body{Accuse: &task.Accusation{Ballot: ballot, Accused: c.View.Executor, Look: true}})
		}
		if waits := o.late && w.height+1 < c.Deadline; c.Stage != ledger.Unlocking || o.bad || o.silent || waits || c.Released(o.party) || w.sends(o.key) {
			continue
		}
		sealed := "key"
		if o.wrong {
			sealed = wrongKey
		}
		w.submit(o.key, o.ours, task.Body{Release: &task.Release{
			Task: t.id, Attempt: c.Attempt, View: c.View.Number, Party: o.party,
			Evidence: task.H(task.TagEvidence, c.Genuine()), Sealed: []byte(sealed),
		}})
	}
}

// sends says whether a release of an account waits for its block.
func (w *coalWorld) sends(key ed25519.PrivateKey) bool {
	return slices.ContainsFunc(w.pool, func(tx coalTx) bool { return tx.body.Release != nil && tx.key.Equal(key) })
}

// found is the appraisal that a piece of evidence deserves.
func (w *coalWorld) found(c *ledger.Case, evidence []byte) attest.Appraisal {
	id := task.H(task.TagEvidence, evidence)
	a, ok := w.looked[id]
	if !ok {
		a = c.Appraise(task.PreRun, evidence)
		w.looked[id] = a
	}
	return a
}
