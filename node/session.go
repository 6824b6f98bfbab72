package node

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Effects is what a session does to the world. It calls them one at a time, in
// the order in which they must happen. None waits for what it causes, and
// none calls the session back before it returns.
type Effects interface {
	// Record is this node's own, as the chain now holds it.
	Record() (ledger.NodeRecord, error)
	// Send brings a message to each of some members, or does not.
	Send(to []task.NodeID, m Message)
	// Submit sends a transaction to the chain, after those before it.
	Submit(b task.Body)
	// SetTimer asks for TimedOut when so many more blocks have passed; a newer timer
	// of the same kind replaces one that still runs.
	SetTimer(t committee.SetTimer)

	// Free says whether this machine can take on one more enclave.
	Free() bool

	// An executor's work; StartEnclave is for the case as it stands then. The
	// answers are Session's Quoted, Ran, Left and Unable.
	StartEnclave(c *ledger.Case, a committee.StartEnclave)
	RequestKeys(a committee.RequestKeys)
	QuoteExit(a committee.QuoteExit)
	StopEnclave(a committee.StopEnclave)
}

// SessionConfig is a session's keys and surroundings; all are needed.
type SessionConfig struct {
	Node     task.Node
	Peer     ed25519.PrivateKey // signs what it says
	VRF      *vrf.PrivateKey
	Patience committee.Patience
	Journal  Journal
	Effects  Effects
	Appraise Appraise
	Fits     Fits
	Log      *slog.Logger
}

// Appraise judges evidence. Everyone honest uses [attest.Appraise]; a demo or a
// simulation of liars has others.
type Appraise func(attest.Evidence, attest.Expected, task.Policy, attest.Reference) attest.Appraisal

// Fits says whether evidence of this machine is good under reference values, for
// functions of a runtime; nil if so. Values change, and who has won seats under
// some that do not accept it would show evidence that is faulty, and pay for that
// (spec §7.9.6).
type Fits func(ref attest.Reference, runtime string) error

// Session is one task at one worker: it does what the committee's machine asks,
// and keeps the order of storing, signing, counting and sending. It has no
// clock, goroutine or randomness of its own: the same inputs give the same
// effects. Not safe for concurrent use.
type Session struct {
	cfg     SessionConfig
	self    task.NodeID
	task    task.TaskID
	c       *ledger.Case // as the chain last told
	machine *committee.Machine
	done    bool
}

// NewSession makes a session with all that this node has said in the task
// before. It is an error if that cannot be read: then the node must stay silent,
// since it might contradict itself. The session does nothing before Chain.
func NewSession(cfg SessionConfig, c *ledger.Case) (*Session, error) {
	s := &Session{cfg: cfg, self: cfg.Node.ID(), task: c.ID(), c: c}
	reveals, declines, err := cfg.Journal.Load(s.task)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	s.machine = committee.New(s.self, cfg.Patience)
	s.machine.Restore(reveals, declines)
	return s, nil
}

// Done says that the task is settled: no input has an effect any more.
func (s *Session) Done() bool { return s.done }

// Case is the case as the session last heard of it.
func (s *Session) Case() *ledger.Case { return s.c }

// Chain takes the case as the chain now holds it.
func (s *Session) Chain(c *ledger.Case) {
	s.c = c
	s.step(committee.ChainMoved{Case: c})
}

// Hear takes what another node said. What is about another attempt is dropped:
// evidence, for one, would be judged by the wrong seed.
func (s *Session) Hear(h Heard) {
	if h.at.task == s.task && h.at.attempt == s.c.Attempt {
		s.step(h.event)
	}
}

// TimedOut says that a timer is up.
func (s *Session) TimedOut(t committee.Timer) { s.step(committee.TimedOut{Timer: t}) }

// Quoted brings the evidence that this node's enclave has made for a ballot, and the
// decoy beside it. An enclave may answer when the chain has gone on to another
// attempt: shown then, its evidence would be found faulty. An enclave that was
// started after a crash has other keys than the one before it, whose pair may have
// been shown: then this node is silent, since two pairs are a lie.
func (s *Session) Quoted(b task.Ballot, genuine, decoy []byte) {
	if b.Attempt != s.c.Attempt {
		return
	}
	proof, beta := s.cfg.VRF.Prove(b.PairInput())
	place := task.PairPlace(beta)
	shown := task.Showing{Ballot: b}
	shown.Evidence[place], shown.Evidence[1-place] = genuine, decoy
	shown.Signature = task.Sign(s.cfg.Peer, shown.Pair().Hash())
	if err := s.cfg.Journal.Pair(shown.Pair()); err != nil {
		s.warn("evidence not stored, so not shown", err)
		return
	}
	s.step(committee.Quoted{Shown: shown, Place: place, Opening: task.Opening{Pair: shown.Pair(), Proof: task.Proof(proof), Evidence: genuine}})
}

// Fault is what is to be wrong with the decoy for a ballot.
func Fault(key *vrf.PrivateKey, b task.Ballot) uint8 {
	return attest.DecoyFault(key.Output(b.PairInput()))
}

// Left brings the evidence of how this node's enclave has ended.
func (s *Session) Left(b task.Ballot, evidence []byte) {
	e := task.Exit{Ballot: b, Evidence: evidence}
	e.Signature = task.Sign(s.cfg.Peer, e.Hash())
	if b.Attempt == s.c.Attempt {
		s.step(committee.Left{Exit: e})
	}
}

// Ran brings the enclave's result, with this node's word for where its output is.
func (s *Session) Ran(r task.SignedResult) {
	if r.Result.Attempt == s.c.Attempt {
		s.step(committee.Ran{Result: r})
	}
}

// Unanswered says that an owner has given this node's enclave no key, or one that
// opens nothing. seal is the enclave's.
func (s *Session) Unanswered(b task.Ballot, seal []byte) {
	s.step(committee.Unanswered{Call: task.Call{Ballot: b, Seal: seal}})
}

// Unable says that this node cannot execute in a view, and why.
func (s *Session) Unable(b task.Ballot, why task.Lack) {
	if b.Attempt == s.c.Attempt {
		s.step(committee.Unable{Ballot: b, Why: why})
	}
}

// step runs the machine, also in the middle of its own actions: with this
// node's own words.
func (s *Session) step(e committee.Event) {
	if s.done {
		return
	}
	for _, a := range s.machine.Step(e) {
		s.perform(a)
	}
}

func (s *Session) perform(a committee.Action) {
	switch a := a.(type) {
	case committee.Draw:
		s.draw(a.Case)
	case committee.Cast:
		s.cast(a)
	case committee.CommitVerdict:
		s.commit(a.Reveal)
	case committee.SendReveal:
		s.step(committee.RevealHeard{Reveal: a.Reveal})
		s.tell(Message{Reveal: &a.Reveal})
	case committee.SendEvidence:
		s.send(Message{Shown: &a.Shown})
	case committee.Appraise:
		s.appraise(a)
	case committee.StartEnclave:
		if err := s.fits(s.c); err != nil { // another program or runtime since the draw
			s.warn("no enclave is started", err)
			s.Unable(a.Ballot, task.Lack{Reason: task.CannotRun})
			return
		}
		s.cfg.Effects.StartEnclave(s.c, a)
	case committee.RequestKeys:
		s.cfg.Effects.RequestKeys(a)
	case committee.QuoteExit:
		s.cfg.Effects.QuoteExit(a)
	case committee.StopEnclave:
		s.cfg.Effects.StopEnclave(a)
	case committee.Decline:
		s.decline(a.Decline)
	case committee.Submit:
		s.cfg.Effects.Submit(a.Body)
	case committee.SetTimer:
		s.cfg.Effects.SetTimer(a)
	case committee.Finish:
		s.done = true
		if err := s.cfg.Journal.Forget(s.task); err != nil {
			s.warn("settled task not forgotten", err)
		}
	}
}

func (s *Session) warn(what string, err error) {
	s.cfg.Log.Warn(what, "task", s.task.Short(), "node", s.self.Short(), "err", err)
}

// draw evaluates this node's VRF. A loser computes β alone and stays silent.
func (s *Session) draw(c *ledger.Case) {
	rec, err := s.cfg.Effects.Record()
	if err != nil {
		s.warn("no draw without knowing the stake", err)
		return
	}
	if c.Suits(rec.Node, rec.Profile) != nil || s.fits(c) != nil {
		return
	}
	claim, won := sortition.Win(s.cfg.VRF, task.Hash(s.self), c.Seed(), c.Seats, uint64(rec.StakeAt(c.Epoch)), uint64(c.TotalStake))
	if !won {
		return
	}
	k := task.Claim{Task: s.task, Attempt: c.Attempt, Node: s.self, Proof: task.Proof(claim.Proof())}
	if !s.cfg.Effects.Free() {
		busy := task.Decline{Task: s.task, Attempt: c.Attempt, Node: s.self, Lack: task.Lack{Reason: task.Busy}}.SignedBy(s.cfg.Peer)
		k.Busy = &busy.Signature
	}
	s.step(committee.Won{Claim: k})
}

// decline gives up this node's turn: on stable storage first, so that after a
// crash it says so again and begins nothing that it cannot end.
func (s *Session) decline(d task.Decline) {
	if err := s.cfg.Journal.Decline(d); err != nil {
		s.cfg.Log.Error("decline not stored, so not sent", "task", s.task.Short(), "err", err)
		return
	}
	s.cfg.Log.Info("declines to execute", "task", s.task.Short(), "node", s.self.Short(), "why", d.Reason.String())
	d = d.SignedBy(s.cfg.Peer)
	s.cfg.Effects.Submit(task.Body{Decline: &d})
}

// fits says whether this machine may execute in a case: under the values that were
// in force when its attempt was seeded, whatever has changed since.
func (s *Session) fits(c *ledger.Case) error {
	return s.cfg.Fits(c.Reference(), c.Function.Manifest.Runtime)
}

// cast gives a vote. There is nothing else that it could say to this question, so
// it needs no journal.
func (s *Session) cast(a committee.Cast) {
	v := task.SignedVote{Vote: a.Vote, Signature: task.Sign(s.cfg.Peer, a.Vote.Hash())}
	s.step(committee.VoteHeard{Vote: v})
	s.send(Message{Vote: &v})
}

// commit binds this node to a verdict: on stable storage first, then signed, then
// counted, then sent (spec §6.5).
func (s *Session) commit(r task.Reveal) {
	if err := s.cfg.Journal.Reveal(r); err != nil {
		s.cfg.Log.Error("verdict not stored, so not committed to", "task", s.task.Short(), "err", err)
		return
	}
	k := task.Commitment{Ballot: r.Ballot, Node: s.self, Digest: r.Digest()}
	k.Signature = task.Sign(s.cfg.Peer, k.Hash())
	s.step(committee.CommitmentHeard{Commitment: k})
	s.tell(Message{Commitment: &k})
}

// tell brings a message to the executor, who carries it to the chain. A member that it
// leaves out goes by itself (committee).
func (s *Session) tell(m Message) {
	s.cfg.Effects.Send([]task.NodeID{s.c.View.Executor}, m)
}

// send brings a message to every other member.
func (s *Session) send(m Message) {
	var to []task.NodeID
	for i := range s.c.Members {
		if id := s.c.Members[i].Claim.Node; id != s.self {
			to = append(to, id)
		}
	}
	s.cfg.Effects.Send(to, m)
}

// appraise judges the executor's pair: it looks at the piece that its own coin
// names, and at the other only if that is faulty. Either must answer the nonce of
// every member, or it answers a committee of the executor's choice.
func (s *Session) appraise(a committee.Appraise) {
	b := a.Shown.Ballot
	found := committee.Appraised{Ballot: b, Pair: a.Shown.Pair().Hash(), Verdict: task.OK}
	found.Salt, found.Place = s.secrets(b)
	want := s.c.Wanted(task.PreRun)
	first := s.look(a.Shown.Evidence[found.Place], want)
	if first.Verdict == task.Fault {
		found.Place = 1 - found.Place
		if other := s.look(a.Shown.Evidence[found.Place], want); other.Verdict == task.Fault {
			found.Verdict, found.Place, found.Reason = task.Fault, 0, first.Reason
			s.cfg.Log.Warn("both pieces of evidence are faulty", "task", s.task.Short(), "executor", s.c.View.Executor.Short(),
				"reason", first.Reason, "detail", first.Detail, "other reason", other.Reason, "other detail", other.Detail)
		}
	}
	s.step(found)
}

func (s *Session) look(evidence []byte, want attest.Expected) attest.Appraisal {
	ev, err := attest.ParseEvidence(evidence)
	if err != nil {
		return attest.Appraisal{Verdict: task.Fault, Reason: attest.EvidenceMalformed, Detail: err.Error()}
	}
	return s.cfg.Appraise(ev, want, s.c.Task.Policy, s.c.Reference())
}

// secrets are this node's own for one commitment, the salt and the coin that says
// where it looks first: the same after a crash, and unknown to anyone without its
// VRF key. The salt, which is revealed, does not tell the coin.
func (s *Session) secrets(b task.Ballot) (salt task.Hash, coin uint8) {
	h := task.H(task.TagSalt, task.Encode(b))
	out := s.cfg.VRF.Output(h[:])
	return task.H(task.TagSalt, out[:]), out[0] & 1
}
