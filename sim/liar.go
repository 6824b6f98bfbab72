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
	guesser     lie = "guesser"      // names a place unread
	alwaysFault lie = "always-fault" // FAULT to everything, unread
	coin        lie = "coin"         // one or the other
	mute        lie = "mute"         // never commits, and brings no result
	hushed      lie = "hushed"       // commits and never reveals
	copycat     lie = "copycat"      // repeats another's commitment as its own
	twoTongues  lie = "equivocator"  // commits to different verdicts before different members
	silent      lie = "silent"       // wins, and never executes
	badEvidence lie = "bad-evidence" // an enclave of its own making
	oldNonces   lie = "old-nonces"   // a quote that answers nobody: made before the draw
	twoGood     lie = "two-good"     // its decoy is good as well
	twoBad      lie = "two-bad"      // neither piece is good, and it does not say which should be
	chooser     lie = "chooser"      // opens the place of its choice
	dirtyExit   lie = "dirty-exit"   // leaves something behind
	twoResults  lie = "two-results"  // signs two results
	stopper     lie = "out-of-time"  // stops its enclave until the run is out of time
	withholder  lie = "withheld-claim"
	accuser     lie = "false-accuser"   // accuses honest executors
	junk        lie = "junk"            // transactions that nobody should believe
	twoFaces    lie = "two-faces"       // shows bad evidence to some verifiers, and good to others
	gang        lie = "gang"            // most of the stake: bad enclaves, and OK to everything
	decliner    lie = "always-declines" // never executes, for one reason or another
	eager       lie = "shows-first"     // shows evidence before it has the files, and which is genuine before all have committed
	skipper     lie = "skipper"         // finds every other executor silent
	leaver      lie = "leaves-out"      // brings words of a quorum, at last, leaves the others' out, and ends its turn
	hoarder     lie = "keeps-back"      // gets the keys by a quorum's words, and brings those to nobody
)

// lies are those of liars who know nothing of each other.
var lies = []lie{twoFaces, guesser, alwaysFault, coin, mute, hushed, copycat, twoTongues, silent, badEvidence, oldNonces, twoGood, twoBad, chooser, dirtyExit, twoResults, stopper, withholder, accuser, junk, decliner, eager, skipper, leaver, hoarder}

type liar struct {
	w     *world
	k     *worker
	kind  lie
	shown map[task.Ballot]task.Showing // what it was shown by others
	said  map[task.Ballot]task.Reveal  // what it has really committed to
	told  map[task.Ballot]bool         // and revealed
	done  map[task.TaskID]int
	heard []task.Commitment
	votes []task.SignedVote // to pass somebody over
}

func (w *world) newLiar(k *worker) *liar {
	return &liar{
		w: w, k: k, kind: lies[w.rand.IntN(len(lies))], shown: map[task.Ballot]task.Showing{},
		said: map[task.Ballot]task.Reveal{}, told: map[task.Ballot]bool{}, done: map[task.TaskID]int{},
	}
}

func (l *liar) tampers() bool {
	return l.kind == badEvidence || l.kind == twoBad || l.kind == chooser || l.kind == gang
}

// lieOf is its word in a round, whatever the evidence says. A gang's executor tells
// its friends which place is the genuine one.
func (l *liar) lieOf(s *session, b task.Ballot) (v task.Verdict, place uint8, lies bool) {
	switch l.kind {
	case guesser:
		return task.OK, uint8(l.w.rand.IntN(2)), true
	case gang:
		if x := l.w.byID[s.s.Case().View.Executor]; x != nil {
			return task.OK, task.PairPlace(x.vrf.Output(b.PairInput())), true
		}
	case alwaysFault:
		return task.Fault, 0, true
	case coin:
		if l.w.rand.IntN(2) == 0 {
			return task.Fault, 0, true
		}
		return task.OK, uint8(l.w.rand.IntN(2)), true
	}
	return 0, 0, false
}

// hear notes what others show and commit to.
func (l *liar) hear(m node.Message) {
	if m.Vote != nil && len(l.votes) < 256 {
		l.votes = append(l.votes, *m.Vote)
	}
	if m.Shown != nil {
		l.shown[m.Shown.Ballot] = *m.Shown
	}
	if m.Commitment != nil && len(l.heard) < 64 {
		l.heard = append(l.heard, *m.Commitment)
	}
}

// send changes what goes to others.
func (l *liar) send(s *session, to []task.NodeID, m node.Message) {
	if m.Shown != nil {
		l.shown[m.Shown.Ballot] = *m.Shown
	}
	switch {
	case m.Commitment != nil && l.kind == twoTongues:
		s.send(to, m)
		other := *m.Commitment
		other.Digest = task.Hash(l.w.fresh())
		other.Signature = task.Sign(l.k.peer, other.Hash())
		s.send(to, node.Message{Commitment: &other})
	case m.Commitment != nil:
		if k, ok := l.commitment(s, *m.Commitment); ok {
			s.send(to, node.Message{Commitment: &k})
		}
	case m.Reveal != nil:
		if _, lied := l.said[m.Reveal.Ballot]; lied || l.kind == hushed || l.kind == mute || l.kind == copycat {
			return
		}
		s.send(to, m)
	case m.Shown != nil && l.kind == gang && l.w.seed%4 == 0: // nobody honest gets to see it
		s.send(slices.DeleteFunc(slices.Clone(to), func(id task.NodeID) bool { return l.w.byID[id].liar == nil }), m)
	case m.Shown != nil && l.kind == twoFaces && len(to) > 1:
		s.send(to[:len(to)/2], m)
		s.send(to[len(to)/2:], node.Message{Shown: l.otherFace(s, *m.Shown)})
	default:
		s.send(to, m)
	}
}

// otherFace is another pair for the same question, with bad evidence in it, under
// the same signature.
func (l *liar) otherFace(s *session, shown task.Showing) *task.Showing {
	place := task.PairPlace(l.k.vrf.Output(shown.Ballot.PairInput()))
	if ev, err := attest.ParseEvidence(shown.Evidence[place]); err == nil && s.enclave != nil {
		ev = s.enclave.platform().Quote(s.enclave.context, ev.Keys, ev.Nonce, task.H(task.TagState, []byte("mine")))
		l.w.facts.bad[ev.Digest()] = true
		shown.Evidence[place] = task.Encode(ev)
		shown.Signature = task.Sign(l.k.peer, shown.Pair().Hash())
		l.w.facts.pairs[shown.Pair().Hash()] = pairFacts{shown.Pair().Digests, place}
	}
	return &shown
}

// commitment is what it commits to instead.
func (l *liar) commitment(s *session, k task.Commitment) (task.Commitment, bool) {
	switch v, place, lied := l.lieOf(s, k.Ballot); {
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
			pair := s.s.Case().Pair()
			if shown, ok := l.shown[k.Ballot]; ok {
				pair = shown.Pair()
			}
			r := task.Reveal{Ballot: k.Ballot, Node: l.k.id, Verdict: v, Place: place, Pair: pair.Hash(), Salt: task.Hash(l.w.fresh())}
			if v == task.Fault {
				r.Reason = attest.BadSignature
			}
			l.said[k.Ballot] = r
			k.Digest = r.Digest()
		}
		k.Signature = task.Sign(l.k.peer, k.Hash())
	}
	return k, true
}

// submit changes what goes to the chain; false leaves it out.
func (l *liar) submit(s *session, b task.Body) (task.Body, bool) {
	switch {
	case b.Claims != nil && l.kind == withholder, b.Result != nil && l.kind == mute:
		return b, false
	case l.kind == hoarder && s.s.Case().View.Executor == l.k.id && (b.Verdicts != nil || b.Result != nil):
		return b, false
	case l.kind == leaver && s.s.Case().View.Executor == l.k.id && b.Commitments != nil:
		c := s.s.Case()
		set := leaveOut(l, c, b.Commitments.All(), func(k task.Commitment) task.NodeID { return k.Node })
		if blocks := int64(c.Deadline) - int64(l.w.chain.height) - 1; len(set) > 0 { // in the last block
			s.later(max(blocks, 0)*int64(l.w.params.IntervalMillis)*millisecond, func() {
				s.submit(task.Body{Commitments: task.PackCommitments(set)})
			})
		}
		return b, false
	case l.kind == leaver && s.s.Case().View.Executor == l.k.id && b.Verdicts != nil:
		set := leaveOut(l, s.s.Case(), b.Verdicts.All(), func(v task.Reveal) task.NodeID { return v.Node })
		return task.Body{Verdicts: task.PackVerdicts(b.Verdicts.Ballot, set, b.Verdicts.Opening)}, len(set) > 0 || b.Verdicts.Opening != nil
	case b.Commitments != nil:
		var set []task.Commitment
		for _, k := range b.Commitments.All() {
			if k.Node != l.k.id {
				set = append(set, k)
			} else if k, ok := l.commitment(s, k); ok {
				set = append(set, k)
			}
		}
		return task.Body{Commitments: task.PackCommitments(set)}, len(set) > 0
	case b.Verdicts != nil:
		var said []task.Reveal
		for _, r := range b.Verdicts.All() {
			if _, lied := l.said[r.Ballot]; r.Node != l.k.id || !lied && l.kind != hushed {
				said = append(said, r)
			}
		}
		v := task.PackVerdicts(b.Verdicts.Ballot, said, b.Verdicts.Opening)
		if v.Opening != nil && l.kind == twoBad {
			v.Opening = nil
		}
		if v.Opening != nil && l.kind == chooser {
			v.Opening = l.choose(*v.Opening)
		}
		return task.Body{Verdicts: v}, len(said) > 0 || v.Opening != nil
	}
	return b, true
}

// leaveOut is of some words those of a quorum, and of as few honest members as that
// takes.
func leaveOut[W any](l *liar, c *ledger.Case, all []W, by func(W) task.NodeID) []W {
	r := c.Roster()
	spare := r.Judging() - r.Quorum()
	return slices.DeleteFunc(all, func(word W) bool {
		id := by(word)
		k, seats := l.w.byID[id], r.Seats(id)
		if k == nil || k.liar != nil || seats > spare {
			return false
		}
		spare -= seats
		return true
	})
}

// moved is its own look at a case: it reveals its lies, accuses, and throws
// junk at the chain.
func (l *liar) moved(s *session, c *ledger.Case) {
	if c.Phase == ledger.Closed || c.Phase < ledger.Attesting {
		return
	}
	if shown, ok := l.shown[c.Ballot()]; ok && l.kind == eager && c.View.Executor == l.k.id && c.View.Pre.OpenedAt == 0 {
		proof, beta := l.k.vrf.Prove(shown.Ballot.PairInput())
		o := task.Opening{Pair: shown.Pair(), Proof: [81]byte(proof), Evidence: shown.Evidence[task.PairPlace(beta)]}
		s.submit(task.Body{Verdicts: task.PackVerdicts(shown.Ballot, nil, &o)}) // so that nobody has to look
	}
	if b := c.Ballot(); !l.told[b] {
		if v, ok := l.said[b]; ok && c.CheckReveal(v) == nil {
			l.told[b] = true
			var to []task.NodeID
			for _, m := range c.Members {
				to = append(to, m.Claim.Node)
			}
			s.send(to, node.Message{Reveal: &v})
			s.submit(task.Body{Verdicts: task.PackVerdicts(b, []task.Reveal{v}, nil)})
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
		s.later(int64((l.w.params.SkipBlocks+2)*l.w.params.IntervalMillis)*millisecond, func() { // its own word, many times
			s.submit(task.Body{Skip: &task.Skip{Task: c.ID(), Attempt: c.Attempt, View: v.Vote.View, Votes: append(slices.Repeat([]task.SignedVote{v}, 12), l.votes...)}})
		})
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
	if l.kind == accuser {
		all = append(all, task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: c.View.Executor, Look: true}})
		if shown, ok := l.shown[c.Ballot()]; ok {
			all = append(all, task.Body{Show: &shown}, task.Body{Accuse: &task.Accusation{Ballot: shown.Ballot, Accused: c.View.Executor, Shown: &shown}})
		}
		victim := l.w.workers[l.w.rand.IntN(len(l.w.workers))]
		k := task.Commitment{Ballot: c.Ballot(), Node: victim.id, Digest: task.Hash{1}}
		o := k
		o.Digest = task.Hash{2}
		k.Signature, o.Signature = task.Sign(l.k.peer, k.Hash()), task.Sign(l.k.peer, o.Hash())
		return append(all, task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: c.ID()}, Accused: victim.id, Commitments: []task.Commitment{k, o}}})
	}
	digest := task.H(task.TagEvidence, c.Genuine())
	gone := task.SignedVote{Vote: task.Vote{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number + 1, Node: l.k.id}}
	gone.Signature = task.Sign(l.k.peer, gone.Vote.Hash())
	forged := task.Result{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number, Node: c.View.Executor, Outcome: task.RunOK, Gas: 5, PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: digest, Keys: make([]task.Hash, 3)}
	all = append(all,
		task.Body{Result: &task.SignedResult{Result: forged, Signature: task.Sign(l.k.peer, forged.Hash()), CID: "forged"}},
		task.Body{Release: &task.Release{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number, Party: 1, Evidence: digest, Sealed: []byte("junk")}},
		task.Body{Skip: &task.Skip{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number + 1, Votes: slices.Repeat([]task.SignedVote{gone}, 12)}},
		task.Body{Claims: task.PackClaims([]task.Claim{{Task: c.ID(), Attempt: c.Attempt, Node: l.k.id, Proof: task.Proof{1}}})},
	)
	// Another's verdict, made up: it opens no commitment.
	if len(c.Members) > 0 {
		m := c.Members[l.w.rand.IntN(len(c.Members))]
		made := task.Reveal{Ballot: c.Ballot(), Node: m.Claim.Node, Verdict: task.Fault, Reason: "made-up", Pair: c.Pair().Hash()}
		exit := task.Exit{Ballot: c.Ballot(), Evidence: []byte("made up")}
		exit.Signature = task.Sign(l.k.peer, exit.Hash())
		all = append(all, task.Body{Verdicts: task.PackVerdicts(c.Ballot(), []task.Reveal{made}, nil)}, task.Body{Exit: &exit})
	}
	if c.View.Result != nil { // again, as if it had not been taken
		all = append(all, task.Body{Result: c.View.Result})
	}
	return all
}

// choose opens the other place, with what is there.
func (l *liar) choose(o task.Opening) *task.Opening {
	for _, s := range l.k.sessions {
		if shown, ok := l.shown[o.Pair.Ballot]; ok && s.enclave.at(o.Pair.Ballot) {
			place := task.PairPlace(l.k.vrf.Output(o.Pair.Ballot.PairInput()))
			o.Evidence = shown.Evidence[1-place]
		}
	}
	return &o
}

// spoil is what its enclave shows instead: the genuine piece and the decoy.
func (l *liar) spoil(e *enclave, good, decoy attest.Evidence) (attest.Evidence, attest.Evidence) {
	c := e.context
	mine := e.platform().Quote(c, e.keys, good.Nonce, task.H(task.TagState, []byte("mine")))
	switch l.kind {
	case twoGood:
		twin := e.s.born(c)
		l.w.facts.enclave(twin)
		second := e.platform().Quote(c, twin.keys, good.Nonce, attest.EmptyState)
		l.w.facts.bad[second.Digest()] = false
		return good, second
	case chooser: // what is good is in the place that the VRF has not named
		l.w.facts.bad[mine.Digest()] = true
		l.w.facts.bad[good.Digest()] = false
		return mine, good
	case badEvidence, twoBad, gang:
		return mine, decoy
	case oldNonces:
		// It says that it answers what is asked for, under a quote that was made
		// before anybody knew that.
		old := e.platform().Quote(c, e.keys, task.Hash{}, attest.EmptyState)
		if l.w.chance(0.5) {
			old.Nonce = good.Nonce
		}
		return old, decoy
	}
	return good, decoy
}

// leave is what its enclave shows at the exit.
func (l *liar) leave(e *enclave, ev attest.Evidence) attest.Evidence {
	if l.kind != dirtyExit {
		return ev
	}
	c := e.context
	c.Round = task.PostRun
	if l.w.chance(0.5) { // another enclave, which has seen nothing
		ev = e.platform().Quote(c, e.s.born(e.context).keys, ev.Nonce, attest.EmptyState)
	} else {
		ev = e.platform().Quote(c, e.keys, ev.Nonce, task.H(task.TagState, []byte("left behind")))
	}
	l.w.facts.bad[ev.Digest()] = true
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
