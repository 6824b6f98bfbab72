package sim

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// lie is what a hostile worker does. It has its own keys and the production
// code, and changes what goes out of it.
type lie string

const (
	lazyOK      lie = "lazy-ok"      // OK to everything, unread
	alwaysFault lie = "always-fault" // FAULT to everything, unread
	coin        lie = "coin"         // one or the other
	mute        lie = "mute"         // never commits
	hushed      lie = "hushed"       // commits and never reveals
	copycat     lie = "copycat"      // repeats another's commitment as its own
	twoTongues  lie = "equivocator"  // commits to different verdicts before different members
	silent      lie = "silent"       // wins, and never executes
	badEvidence lie = "bad-evidence" // an enclave of its own making
	oldNonces   lie = "old-nonces"   // a quote that answers nobody: made before the draw
	fakeCanary  lie = "fake-canary"  // bad evidence, and then: it was a canary
	dirtyExit   lie = "dirty-exit"   // leaves something behind
	twoResults  lie = "two-results"  // signs two results
	stopper     lie = "out-of-time"  // stops its enclave until the run is out of time
	withholder  lie = "withheld-claim"
	accuser     lie = "false-accuser"   // accuses honest executors
	junk        lie = "junk"            // transactions that nobody should believe
	twoFaces    lie = "two-faces"       // shows bad evidence to some verifiers, and good to others
	gang        lie = "gang"            // most of the stake: bad enclaves, and OK to everything
	decliner    lie = "always-declines" // never executes, for one reason or another
	eager       lie = "shows-first"     // shows evidence before it has the files
	skipper     lie = "skipper"         // finds every other executor silent
)

// lies are those of liars who know nothing of each other.
var lies = []lie{twoFaces, lazyOK, alwaysFault, coin, mute, hushed, copycat, twoTongues, silent, badEvidence, oldNonces, fakeCanary, dirtyExit, twoResults, stopper, withholder, accuser, junk, decliner, eager, skipper}

type liar struct {
	w     *world
	k     *worker
	kind  lie
	shown map[task.Ballot]task.Showing // what it was shown by others
	said  map[task.Ballot]task.Reveal  // what it has really committed to
	told  map[task.Ballot]bool         // and revealed
	done  map[task.TaskID]int
	heard []task.Commitment
}

func (w *world) newLiar(k *worker) *liar {
	return &liar{
		w: w, k: k, kind: lies[w.rand.IntN(len(lies))], shown: map[task.Ballot]task.Showing{},
		said: map[task.Ballot]task.Reveal{}, told: map[task.Ballot]bool{}, done: map[task.TaskID]int{},
	}
}

func (l *liar) fakesCanary() bool { return l.kind == fakeCanary }
func (l *liar) tampers() bool {
	return l.kind == badEvidence || l.kind == fakeCanary || l.kind == gang
}

// lieOf is its word in a round, whatever the evidence says.
func (l *liar) lieOf() (task.Verdict, bool) {
	switch l.kind {
	case lazyOK, gang:
		return task.OK, true
	case alwaysFault:
		return task.Fault, true
	case coin:
		return task.Verdict(1 + l.w.rand.IntN(2)), true
	}
	return 0, false
}

// hear notes what others show and commit to.
func (l *liar) hear(m node.Message) {
	if m.Shown != nil {
		l.shown[m.Shown.Ballot] = *m.Shown
	}
	if m.Commitment != nil && len(l.heard) < 64 {
		l.heard = append(l.heard, *m.Commitment)
	}
}

// send changes what goes to others.
func (l *liar) send(s *session, to []task.NodeID, m node.Message) {
	switch {
	case m.Commitment != nil && l.kind == twoTongues && len(to) > 1:
		s.send(to[:len(to)/2], m)
		other := *m.Commitment
		other.Digest = task.Hash(l.w.fresh())
		other.Signature = task.Sign(l.k.peer, other.Hash())
		s.send(to[len(to)/2-1:], node.Message{Commitment: &other})
	case m.Commitment != nil:
		if k, ok := l.commitment(s, *m.Commitment); ok {
			s.send(to, node.Message{Commitment: &k})
		}
	case m.Reveal != nil:
		if _, lied := l.said[m.Reveal.Ballot]; lied || l.kind == hushed || l.kind == mute || l.kind == copycat {
			return
		}
		s.send(to, m)
	case m.Shown != nil && l.kind == twoFaces && m.Shown.Ballot.Round == task.PreRun && len(to) > 1:
		s.send(to[:len(to)/2], m)
		s.send(to[len(to)/2:], node.Message{Shown: l.otherFace(s, *m.Shown)})
	default:
		s.send(to, m)
	}
}

// otherFace is bad evidence for the same question, under the same signature.
func (l *liar) otherFace(s *session, shown task.Showing) *task.Showing {
	if ev, err := attest.ParseEvidence(shown.Evidence); err == nil && s.enclave != nil {
		ev = s.enclave.platform().Quote(s.enclave.context, ev.Keys, ev.Nonces, task.H(task.TagState, []byte("mine")))
		l.w.facts.bad[ev.Digest()] = true
		shown.Evidence = task.Encode(ev)
		shown.Signature = task.Sign(l.k.peer, shown.Hash())
	}
	return &shown
}

// excuse is another enclave than the one it has shown: one that drew a canary.
func (l *liar) excuse(e *enclave) *enclave {
	for range 100 {
		if o := e.s.born(e.context); o.due {
			return o
		}
	}
	return e
}

// commitment is what it commits to instead.
func (l *liar) commitment(s *session, k task.Commitment) (task.Commitment, bool) {
	switch v, lied := l.lieOf(); {
	case l.kind == mute:
		return k, false
	case l.kind == copycat:
		for _, o := range l.heard {
			if o.Ballot == k.Ballot && o.Node != k.Node {
				k.Digest = o.Digest
				k.Signature = task.Sign(l.k.peer, k.Hash())
				return k, true
			}
		}
		return k, false
	case lied:
		if r, ok := l.said[k.Ballot]; ok {
			k.Digest = r.Digest()
		} else {
			shown, ok := l.shown[k.Ballot]
			if !ok {
				shown = s.s.Case().Shown(k.Ballot.Round)
			}
			r := task.Reveal{Ballot: k.Ballot, Node: l.k.id, Verdict: v, Evidence: task.H(task.TagEvidence, shown.Evidence), Salt: task.Hash(l.w.fresh())}
			if v == task.Fault {
				r.Reason = attest.BadSignature
			}
			l.said[k.Ballot], l.shown[k.Ballot] = r, shown
			k.Digest = r.Digest()
		}
		k.Signature = task.Sign(l.k.peer, k.Hash())
	}
	return k, true
}

// submit changes what goes to the chain; false leaves it out.
func (l *liar) submit(s *session, b task.Body) (task.Body, bool) {
	switch {
	case b.Claims != nil && l.kind == withholder:
		return b, false
	case b.Commitments != nil:
		var set []task.Commitment
		for _, k := range b.Commitments.Commitments {
			if k.Node != l.k.id {
				set = append(set, k)
			} else if k, ok := l.commitment(s, k); ok {
				set = append(set, k)
			}
		}
		return task.Body{Commitments: &task.Commitments{Commitments: set}}, len(set) > 0
	case b.Verdicts != nil:
		v := *b.Verdicts
		v.Reveals = nil
		for _, r := range b.Verdicts.Reveals {
			if _, lied := l.said[r.Ballot]; r.Node != l.k.id || !lied && l.kind != hushed {
				v.Reveals = append(v.Reveals, r)
			}
		}
		return task.Body{Verdicts: &v}, len(v.Reveals) > 0
	}
	return b, true
}

// moved is its own look at a case: it reveals its lies, accuses, and throws
// junk at the chain.
func (l *liar) moved(s *session, c *ledger.Case) {
	if c.Phase == ledger.Closed || c.Phase < ledger.Attesting {
		return
	}
	for _, r := range []task.Round{c.PreRound(), task.PostRun} {
		b := c.Ballot(r)
		v, ok := l.said[b]
		if ok && !l.told[b] && c.CheckReveal(v) == nil {
			l.told[b] = true
			var to []task.NodeID
			for _, m := range c.Members {
				to = append(to, m.Claim.Node)
			}
			s.send(to, node.Message{Reveal: &v})
			s.submit(task.Body{Verdicts: &task.Verdicts{Shown: l.shown[b], Reveals: []task.Reveal{v}}})
		}
	}
	if n := l.done[s.id]; l.kind == skipper && c.Phase == ledger.Attesting && c.View.Executor != l.k.id && n <= int(c.View.Number) {
		l.done[s.id] = int(c.View.Number) + 1
		v := task.SignedVote{Vote: task.Vote{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number + 1, Node: l.k.id}}
		v.Signature = task.Sign(l.k.peer, v.Vote.Hash())
		var to []task.NodeID
		for _, m := range c.Members {
			to = append(to, m.Claim.Node)
		}
		s.send(to, node.Message{Vote: &v})
	}
	if n := l.done[s.id]; n < 6 && (l.kind == accuser || l.kind == junk) {
		l.done[s.id]++
		for _, b := range l.nuisance(c) {
			s.submit(b)
		}
	}
}

// nuisance is what an honest chain must shrug off.
func (l *liar) nuisance(c *ledger.Case) (all []task.Body) {
	round := c.PreRound()
	shown := c.Shown(round)
	if l.kind == accuser {
		if len(shown.Evidence) > 0 {
			all = append(all, task.Body{Accuse: &task.Accusation{Ballot: shown.Ballot, Accused: c.View.Executor, Shown: &shown}})
		}
		victim := l.w.workers[l.w.rand.IntN(len(l.w.workers))]
		k := task.Commitment{Ballot: c.Ballot(task.PreRun), Node: victim.id, Digest: task.Hash{1}}
		o := k
		o.Digest = task.Hash{2}
		k.Signature, o.Signature = task.Sign(l.k.peer, k.Hash()), task.Sign(l.k.peer, o.Hash())
		return append(all, task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: c.ID()}, Accused: victim.id, Commitments: []task.Commitment{k, o}}})
	}
	digest := task.H(task.TagEvidence, c.View.Pre.Evidence)
	gone := task.SignedVote{Vote: task.Vote{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number + 1, Node: l.k.id}}
	gone.Signature = task.Sign(l.k.peer, gone.Vote.Hash())
	forged := task.Result{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number, Node: c.View.Executor, Outcome: task.RunOK, Gas: 5, PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: digest}
	all = append(all,
		task.Body{Result: &task.SignedResult{Result: forged, Signature: task.Sign(l.k.peer, forged.Hash()), CID: "forged"}},
		task.Body{Release: &task.Release{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number, Role: task.Alice, Evidence: digest, Sealed: []byte("junk")}},
		task.Body{Skip: &task.Skip{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number + 1, Votes: slices.Repeat([]task.SignedVote{gone}, 12)}},
		task.Body{Claims: &task.Claims{Claims: []task.Claim{{Task: c.ID(), Attempt: c.Attempt, Node: l.k.id, Proof: [81]byte{1}}}}},
	)
	// Another's verdict, made up: it opens no commitment.
	if len(c.Members) > 0 && len(shown.Evidence) > 0 {
		m := c.Members[l.w.rand.IntN(len(c.Members))]
		made := task.Reveal{Ballot: shown.Ballot, Node: m.Claim.Node, Verdict: task.Fault, Reason: "made-up", Evidence: task.H(task.TagEvidence, shown.Evidence)}
		all = append(all, task.Body{Verdicts: &task.Verdicts{Shown: shown, Reveals: []task.Reveal{made}}})
	}
	if c.View.Result != nil { // again, as if it had not been taken
		all = append(all, task.Body{Result: c.View.Result})
	}
	return all
}

// spoil is what its enclave shows instead.
func (l *liar) spoil(e *enclave, r task.Round, ev attest.Evidence) attest.Evidence {
	c := e.context
	c.Round = r
	switch {
	case l.tampers() && r != task.PostRun:
		return e.platform().Quote(c, e.keys, ev.Nonces, task.H(task.TagState, []byte("mine")))
	case l.kind == oldNonces && r != task.PostRun:
		// It lists the nonces that are asked for, under a quote that was made
		// before anybody knew them.
		old := e.platform().Quote(c, e.keys, nil, attest.EmptyState)
		if l.w.chance(0.5) {
			old.Nonces = ev.Nonces
		}
		return old
	case l.kind == dirtyExit && r == task.PostRun && l.w.chance(0.5): // another enclave, which has seen nothing
		return e.platform().Quote(c, e.s.born(e.context).keys, ev.Nonces, attest.EmptyState)
	case l.kind == dirtyExit && r == task.PostRun:
		return e.platform().Quote(c, e.keys, ev.Nonces, task.H(task.TagState, []byte("left behind")))
	}
	return ev
}

// result is what else its enclave signs.
func (l *liar) result(s *session, e *enclave, signed task.SignedResult) {
	if l.kind != twoResults {
		return
	}
	second := signed
	second.Result.Gas++
	second.Signature = task.Sign(e.sign, second.Result.Hash())
	l.w.say("%s signs a second result", l.k.name)
	// Somebody gets hold of it, and brings it to the chain.
	l.w.after(l.w.between(50*millisecond, 800*millisecond), func() {
		l.w.chain.submit(pooled{key: l.w.alice.key, who: "alice", body: task.Body{Accuse: &task.Accusation{
			Ballot: task.Ballot{Task: s.id, Attempt: e.context.Attempt, View: e.context.View}, Accused: l.k.id, Result: &second,
		}}})
	})
}

func (l *liar) String() string { return fmt.Sprintf("%s (%s)", l.k.name, l.kind) }
