package sim

import (
	"crypto/ed25519"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// enclave is an executor's, played: the simulated platform of package attest,
// keys of its own, and a run that takes time. The code in it is honest unless
// its owner lies; then so may be what it shows.
type enclave struct {
	s       *session
	context attest.Context
	box     []byte // the key that owners seal to
	keys    attest.Keys
	sign    ed25519.PrivateKey
	genuine bool // the measured code, untouched
	shown   attest.Evidence
	input   *task.Release
	code    *task.Release
	ran     bool
}

// An executor's work: each piece after the time that it takes.

func (s *session) StartEnclave(c *ledger.Case, a committee.StartEnclave) {
	began := s.starts + 1
	s.starts = began
	unable := func(why task.DeclineReason, party uint8) {
		s.s.Unable(a.Ballot, task.Lack{Reason: why, Party: party})
	}
	var try func()
	try = func() {
		input, code := s.w.alice.serves(s.worker), s.w.bob.serves(s.worker)
		switch {
		case s.starts != began: // it was stopped meanwhile
		case input && code || s.liar != nil && s.liar.kind == eager:
			s.start(c, a)
		case s.w.chain.height < a.GiveUp:
			s.later(60*millisecond, try)
		case input:
			unable(task.NoFile, 2)
		default:
			unable(task.NoFile, 1)
		}
	}
	switch {
	case s.liar != nil && s.liar.kind == silent:
	case s.liar != nil && s.liar.kind == decliner:
		s.later(s.w.between(0, second), func() {
			lacks := []task.Lack{{Reason: task.Busy}, {Reason: task.NoFile, Party: 1}, {Reason: task.NoFile, Party: 2}, {Reason: task.CannotRun}}
			s.s.Unable(a.Ballot, lacks[s.w.rand.IntN(4)])
		})
	case !s.free():
		s.later(s.w.between(0, 300*millisecond), func() { unable(task.Busy, 0) })
	default:
		s.later(s.w.between(5*millisecond, 40*millisecond), try)
	}
}

func (s *session) RequestKeys(a committee.RequestKeys) { s.later(0, func() { s.request(a) }) }

func (s *session) QuoteExit(a committee.QuoteExit) {
	s.later(s.w.between(millisecond, 20*millisecond), func() {
		if e := s.enclave; e.at(a.Ballot) && e.ran {
			ev := e.evidence(task.PostRun, a.Nonce)
			if s.liar != nil {
				ev = s.liar.leave(e, ev)
			}
			s.s.Left(a.Ballot, task.Encode(ev))
		}
	})
}

func (s *session) StopEnclave(committee.StopEnclave) {
	s.enclave = nil
	s.starts++
}

// at says whether the enclave is there, and of a ballot's view.
func (e *enclave) at(b task.Ballot) bool {
	return e != nil && e.context.Attempt == b.Attempt && e.context.View == b.View
}

func (s *session) start(c *ledger.Case, a committee.StartEnclave) {
	e := s.born(c.Expected(task.PreRun, a.Ballot.View, s.node).Context)
	s.enclave = e
	if s.liar != nil {
		e.genuine = !s.liar.tampers()
	}
	s.w.facts.enclave(e)
	s.quote(a.Ballot, c.Wanted(task.PreRun).Nonce)
	s.beat(e)
}

// born makes an enclave with its keys.
func (s *session) born(c attest.Context) *enclave {
	e := &enclave{s: s, context: c, sign: s.w.key(), genuine: true}
	box := s.w.fresh()
	e.box = box[:]
	e.keys = attest.Keys{Seal: attest.SealKey(e.box), Sign: task.PublicKey(e.sign)}
	return e
}

func (e *enclave) platform() attest.Platform {
	return e.s.worker.platform()
}

// evidence is what the enclave shows in a round.
func (e *enclave) evidence(r task.Round, nonce task.Hash) attest.Evidence {
	c := e.context
	c.Round = r
	return e.platform().Quote(c, e.keys, nonce, attest.EmptyState)
}

// quote makes the pair for a ballot, and notes what only the world knows of it.
func (s *session) quote(b task.Ballot, nonce task.Hash) {
	e := s.enclave
	good := e.evidence(task.PreRun, nonce)
	thrown := s.w.fresh()
	decoy := e.platform().Decoy(e.context, attest.Keys{Seal: attest.SealKey(thrown[:]), Sign: task.PublicKey(s.w.key())}, nonce, node.Fault(s.vrf, b))
	genuine := good
	s.w.facts.bad[decoy.Digest()] = true
	if s.liar != nil {
		genuine, decoy = s.liar.spoil(e, good, decoy)
	}
	s.w.facts.bad[genuine.Digest()] = genuine.Digest() != good.Digest()
	e.shown = genuine
	place := task.PairPlace(s.vrf.Output(b.PairInput()))
	p := task.Pair{Ballot: b}
	p.Digests[place], p.Digests[1-place] = genuine.Digest(), decoy.Digest()
	s.w.facts.pairs[p.Hash()] = pairFacts{p.Digests, place}
	s.w.facts.twoGood[b] = !s.w.facts.bad[genuine.Digest()] && !s.w.facts.bad[decoy.Digest()]
	s.s.Quoted(b, task.Encode(genuine), task.Encode(decoy))
}

// beat sends signs of life while the work lasts.
func (s *session) beat(e *enclave) {
	s.later(int64(s.w.patience.Silence*s.w.params.IntervalMillis)*millisecond/4, func() {
		if s.enclave != e {
			return
		}
		var to []task.NodeID
		for _, m := range s.s.Case().Members {
			to = append(to, m.Claim.Node)
		}
		s.send(to, node.Alive(s.s.Case(), e.context.View))
		s.beat(e)
	})
}

// request asks both owners, and calls for what they have not given.
func (s *session) request(a committee.RequestKeys) {
	e := s.enclave
	if !e.at(a.Opening.Pair.Ballot) {
		return
	}
	for _, p := range []*person{s.w.alice, s.w.bob} {
		q := node.KeyRequest(a, p.party, e.box)
		if s.w.chance(s.w.net.loss) {
			continue
		}
		s.later(s.w.net.delay+s.w.between(0, s.w.net.jitter), func() {
			p.ask(q, 20, func(reply task.KeyReply) {
				s.later(s.w.net.delay, func() {
					if reply.Release != nil {
						s.take(*reply.Release)
					}
				})
			})
		})
	}
	s.later(int64(s.w.params.ReleaseBlocks/4*s.w.params.IntervalMillis)*millisecond, func() {
		if s.enclave == e && !e.ran {
			s.s.Unanswered(a.Opening.Pair.Ballot, e.box)
		}
	})
	s.onChain(e)
}

// onChain looks for releases in the case until the enclave has both.
func (s *session) onChain(e *enclave) {
	s.later(60*millisecond, func() {
		if s.enclave != e || e.ran {
			return
		}
		c := s.s.Case()
		if e.at(c.Ballot()) {
			for _, r := range c.View.Releases {
				s.take(r)
			}
		}
		s.onChain(e)
	})
}

// take opens a release if it is sealed to this enclave, and runs when both
// are there.
func (s *session) take(r task.Release) {
	e := s.enclave
	if e == nil || e.ran || r.View != e.context.View || r.Attempt != e.context.Attempt || !strings.HasSuffix(string(r.Sealed), string(e.box)) {
		return
	}
	if r.Party == 1 {
		e.input = &r
	} else {
		e.code = &r
	}
	if e.input == nil || e.code == nil {
		return
	}
	e.ran = true
	if s.w.alice.keepsFrom(s.worker) || s.w.bob.keepsFrom(s.worker) {
		return // it has shown evidence before it had the files
	}
	s.later(s.w.between(10*millisecond, 300*millisecond), func() {
		if s.enclave == e {
			s.result(e)
		}
	})
}

// stopped says whether the host keeps its enclave from running until the wall
// limit is over: a liar always, and an honest machine that is starved sometimes.
func (s *session) stopped() bool {
	if s.liar != nil && (s.liar.kind == stopper || s.liar.kind == leaver && s.w.chance(0.5)) {
		return true
	}
	return s.w.now < s.w.net.heals && s.w.chance(0.05)
}

func (s *session) result(e *enclave) {
	party := uint8(0)
	outcome, used := task.RunOK, uint64(s.w.between(1, 1_000_000))
	for _, j := range s.w.jobs {
		if j.id == s.id {
			outcome = j.outcome
		}
	}
	switch { // nothing ran
	case strings.HasPrefix(string(e.input.Sealed), wrongKey):
		outcome, party = task.WrongKey, 1
	case strings.HasPrefix(string(e.code.Sealed), wrongKey):
		outcome, party = task.WrongKey, 2
	case s.stopped():
		outcome = task.OutOfTime
		s.w.facts.late[turn{s.id, e.context.Attempt, e.context.View}] = s.worker.id
	}
	c, cid := s.s.Case(), "out"
	r := task.Result{
		Task: s.id, Attempt: e.context.Attempt, View: e.context.View, Node: s.worker.id, Outcome: outcome, Gas: c.Function.Manifest.Shown(c.Task, outcome, used), Output: task.Hash{7}, Size: 9,
		PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: e.input.Evidence, Keys: []task.Hash{{}, e.input.Hash(), e.code.Hash()}, Party: party,
	}
	if outcome == task.OutOfTime {
		r.Output, r.Size, cid = task.Hash{}, 0, ""
	}
	signed := task.SignedResult{Result: r, Signature: task.Sign(e.sign, r.Hash()), CID: cid}.PlacedBy(s.worker.peer)
	if _, _, blames := r.Blames(); blames { // the chain holds an owner to what it told the chain
		s.s.Unanswered(c.Ballot(), e.box)
	}
	s.w.say("%s has run task %s: %s", s.name, s.id.Short(), outcome)
	if s.liar != nil {
		s.liar.result(s, e, signed)
	}
	s.s.Ran(signed)
}
