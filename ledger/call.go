package ledger

import (
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// This file is how keys come to the enclave when they do not come directly (spec
// §8.4). The chain sees nothing of what owner and executor say to each other. So an
// executor whom a party does not answer calls here, and they answer here: who is
// silent then is seen to be. One that neither calls nor brings a result is the silent
// one itself.

// Called says whether the executor has called for keys.
func (v *View) Called() bool { return len(v.Seal) > 0 }

// CallBy is the last block in which the present executor may call for keys.
func (c *Case) CallBy() uint64 { return c.View.Pre.DecidedAt + c.Params.ReleaseBlocks }

// call takes an executor's call for keys. Nobody else calls: it costs each party a
// transaction.
func (b *Block) call(from task.Address, k task.Call) error {
	c, err := b.open(k.Ballot.Task, k.Ballot.Attempt)
	if err != nil {
		return err
	}
	switch {
	case c.Stage != Computing && c.Stage != Unlocking || k.Ballot != c.Ballot():
		return task.Refuse("call-stale", "no keys are awaited in phase %s, view %d", c.Phase, c.View.Number)
	case c.View.Called():
		return task.Refuse("nothing-new", "the parties were called in block %d", c.View.CalledAt)
	case b.Height > c.CallBy():
		return task.Refuse("call-late", "the executor could call until block %d", c.CallBy())
	case from != c.Member(c.View.Executor).Node.Operator:
		return task.Refuse("call-foreign", "only the executor's operator calls for its keys")
	}
	if err := c.CheckCall(k); err != nil {
		return err
	}
	c.View.CalledAt, c.View.Seal = b.Height, k.Seal
	b.enter(c, Unlocking)
	b.saveCase(c, Fact{Kind: FactCalled, Node: c.View.Executor, Until: c.Deadline})
	return nil
}

// CheckCall says whether a call's key is the one that the evidence names.
func (c *Case) CheckCall(k task.Call) error {
	ev, err := attest.ParseEvidence(c.Genuine())
	if err != nil || len(k.Seal) == 0 || len(k.Seal) > task.MaxSealed || attest.SealKey(k.Seal) != ev.Keys.Seal {
		return task.Refuse("call-malformed", "the key to seal to is not the one that the evidence names")
	}
	return nil
}

// release records a party's sealed key, when an executor has called: from then on
// nobody can say that the party did not release it.
func (b *Block) release(from task.Address, r task.Release) error {
	c, err := b.open(r.Task, r.Attempt)
	if err != nil {
		return err
	}
	parties := c.Parties()
	switch {
	case int(r.Party) >= len(parties) || !parties[r.Party].Releases || !parties[r.Party].SpeaksFor(from):
		return task.Refuse("not-owner", "%s releases nothing for party %d of this task", from.Short(), r.Party)
	case c.Stage != Unlocking || r.View != c.View.Number:
		return task.Refuse("release-stale", "no release is awaited in phase %s, view %d", c.Phase, c.View.Number)
	case r.Evidence != task.H(task.TagEvidence, c.Genuine()):
		return task.Refuse("release-mismatch", "the key is sealed to another enclave than the one that was found good")
	case len(r.Sealed) == 0 || len(r.Sealed) > task.MaxSealed:
		return task.Refuse("release-malformed", "a sealed key has 1 to %d bytes", task.MaxSealed)
	case c.Released(r.Party):
		return task.Refuse("nothing-new", "the %s, party %d, has released already", parties[r.Party].Role, r.Party)
	}
	c.View.Releases = append(c.View.Releases, r)
	b.saveCase(c, Fact{Kind: FactReleased, Role: parties[r.Party].Role, Party: r.Party})
	b.released(c)
	return nil
}

// released starts the run's deadline anew once all parties have released.
func (b *Block) released(c *Case) {
	if _, waits := c.Unreleased(); waits {
		return
	}
	b.enter(c, Computing)
	b.saveCase(c, Fact{Kind: FactRunning, Until: c.Deadline})
}
