package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// world is four workers of equal stake and one task, of which they are the
// committee. One of them runs a session; the test speaks for the others. The first
// of the list executes.
type world struct {
	t        *testing.T
	workers  []*worker
	c        *ledger.Case
	said     map[string]any // the journal: question to answer
	broken   error          // of the journal
	appraise func(attest.Evidence, attest.Expected, task.Policy, attest.Reference) attest.Appraisal
	trace    []string // what was stored and done, in order
	sent     []Message

	busy      bool           // no enclave is free
	declined  []task.Decline // in the journal too
	submitted []task.Body
	shut      bool // out: no values accept this machine
}

type worker struct {
	id   task.NodeID
	rec  ledger.NodeRecord
	peer ed25519.PrivateKey
	vrf  *vrf.PrivateKey
}

// fits is of machines that the case's values accept.
func (w *world) fits(ref attest.Reference, _ string) error {
	if w.shut {
		return task.Refuse(attest.StaleTCB, "for the test")
	}
	return w.workers[0].rec.Profile.Accepted(w.workers[0].rec.Node.TEE, ref)
}

func newWorld(t *testing.T) *world {
	seed := func(s string) task.Hash { return task.H(task.TagSalt, []byte(s)) }
	key := func(s string) ed25519.PrivateKey { h := seed(s); return ed25519.NewKeyFromSeed(h[:]) }
	w := &world{t: t, said: map[string]any{}, appraise: attest.Appraise}
	w.c = &ledger.Case{
		Task: task.Task{Chain: "test", Seats: 400, Policy: task.Policy{MinTier: 1}}, Params: ledger.Embedded("test"),
		Function: task.Function{Manifest: task.Manifest{Runtime: task.RuntimeWasm}}, Phase: ledger.Electing, Seats: 400, TotalStake: 400, Beacon: beacon.Signature{3},
	}
	ref := attest.Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}}
	w.c.Values = ref.Hash()
	if err := w.c.Under(ref); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		name := fmt.Sprint(i)
		k := &worker{peer: key(name + "p"), vrf: vrf.NewKey(seed(name))}
		k.rec.Stakes, k.rec.Profile = []ledger.Stake{{Amount: 100}}, attest.Platform{Measurement: task.Hash{7}}.Profile()
		k.rec.Node = task.Node{
			Operator: task.PublicKey(key(name + "o")), VRF: task.Key(k.vrf.Public()), Peer: task.PublicKey(k.peer),
			Runtimes: []string{task.RuntimeWasm}, TEE: task.TEE{Kind: string(attest.Simulated)},
		}
		k.id = k.rec.Node.ID()
		w.workers = append(w.workers, k)
		m, err := w.c.Admit(k.rec.Node, k.rec.Profile, 100, w.claim(k))
		if err != nil {
			t.Fatal(err)
		}
		w.c.Members = append(w.c.Members, m)
	}
	first, _ := w.c.Roster().Next(0)
	slices.SortStableFunc(w.workers, func(a, b *worker) int {
		if a.id == first {
			return -1
		}
		if b.id == first {
			return 1
		}
		return 0
	})
	w.c.Phase, w.c.View = ledger.Attesting, ledger.View{Executor: first}
	return w
}

// electing is the case before anybody has claimed anything.
func (w *world) electing() *ledger.Case {
	c := *w.c
	c.Phase, c.View, c.Members = ledger.Electing, ledger.View{}, nil
	return &c
}

func (w *world) claim(k *worker) task.Claim {
	won, _ := sortition.Win(k.vrf, task.Hash(k.id), w.c.Seed(), w.c.Seats, 100, uint64(w.c.TotalStake))
	return task.Claim{Task: w.c.ID(), Attempt: w.c.Attempt, Node: k.id, Proof: task.Proof(won.Proof())}
}

// session opens one worker's session, with what the journal holds.
func (w *world) session(k *worker) *Session {
	s, err := NewSession(SessionConfig{
		Node: k.rec.Node, Peer: k.peer, VRF: k.vrf, Patience: committee.Embedded, Journal: w, Effects: w, Appraise: w.appraise, Fits: w.fits, Log: slog.New(slog.DiscardHandler),
	}, w.c)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) record(id task.NodeID) (ledger.NodeRecord, error) {
	for _, k := range w.workers {
		if k.id == id {
			return k.rec, nil
		}
	}
	return ledger.NodeRecord{}, task.Refuse("no-node", "no node %s", id.Short())
}

func (w *world) verify(from task.NodeID, m Message) (Heard, error) {
	return Verify(from, m, func(id task.NodeID) (task.Key, bool) {
		rec, err := w.record(id)
		return rec.Node.Peer, err == nil
	})
}

func (w *world) tell(s *Session, from task.NodeID, m Message) {
	w.t.Helper()
	h, err := w.verify(from, m)
	if err != nil {
		w.t.Fatal(err)
	}
	s.Hear(h)
}

func (w *world) vote(k *worker) Message {
	v := task.Vote{Task: w.c.ID(), Attempt: w.c.Attempt, View: w.c.View.Number + 1, Node: k.id}
	return Message{Vote: &task.SignedVote{Vote: v, Signature: task.Sign(k.peer, v.Hash())}}
}

var silence = committee.Timer{Kind: committee.SilenceTimer}

// elected brings a session to the point where the first worker executes.
func (w *world) elected(k *worker) *Session {
	s := w.session(k)
	s.Chain(w.c)
	return s
}

// ---- the journal, with the rules of store.Journal ----

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) put(question string, answer any) error {
	if w.broken != nil {
		return w.broken
	}
	if old, ok := w.said[question]; ok && old != answer {
		return errors.New("another answer is on record")
	}
	w.said[question] = answer
	w.note("store %s", question)
	return nil
}

func (w *world) Reveal(r task.Reveal) error {
	return w.put(fmt.Sprintf("verdict %d/%d", r.Ballot.Attempt, r.Ballot.View), r)
}

func (w *world) Pair(p task.Pair) error {
	return w.put(fmt.Sprintf("pair %d/%d", p.Ballot.Attempt, p.Ballot.View), p)
}

func (w *world) Decline(d task.Decline) error {
	if w.broken != nil {
		return w.broken
	}
	w.declined = append(w.declined, d)
	w.note("store decline %d", d.Attempt)
	return nil
}

func (w *world) Load(task.TaskID) (reveals []task.Reveal, declines []task.Decline, err error) {
	for _, r := range w.said {
		if r, ok := r.(task.Reveal); ok {
			reveals = append(reveals, r)
		}
	}
	return reveals, w.declined, w.broken
}

func (w *world) Forget(task.TaskID) error {
	w.note("forget")
	clear(w.said)
	return nil
}

// ---- the effects ----

func (w *world) Record() (ledger.NodeRecord, error) { return w.workers[0].rec, nil } // all are alike
func (w *world) Free() bool                         { return !w.busy }
func (w *world) Submit(b task.Body) {
	w.submitted = append(w.submitted, b)
	w.note("submit %s", b.Kind())
}
func (w *world) SetTimer(a committee.SetTimer) { w.note("timer %d", a.Timer.Kind) }

func (w *world) StartEnclave(c *ledger.Case, _ committee.StartEnclave) { w.note("start %d", c.Attempt) }
func (w *world) RequestKeys(committee.RequestKeys)                     { w.note("keys") }
func (w *world) QuoteExit(committee.QuoteExit)                         { w.note("exit") }
func (w *world) StopEnclave(committee.StopEnclave)                     { w.note("stop") }

func (w *world) Send(to []task.NodeID, m Message) {
	w.sent = append(w.sent, m)
	switch {
	case m.Vote != nil:
		w.note("send vote %d/%d to %d", m.Vote.Vote.Attempt, m.Vote.Vote.View, len(to))
	case m.Commitment != nil:
		w.note("send commitment %d/%d to %d", m.Commitment.Ballot.Attempt, m.Commitment.Ballot.View, len(to))
	default:
		w.note("send another to %d", len(to))
	}
}

// words are what was stored and sent, in order.
func (w *world) words() (list []string) {
	for _, l := range w.trace {
		if strings.HasPrefix(l, "store") || strings.HasPrefix(l, "send") {
			list = append(list, l)
		}
	}
	return list
}

// ---- the tests ----

// A winner sends its claim to the chain, and to nobody else; once.
func TestAWinnerClaims(t *testing.T) {
	w := newWorld(t)
	s := w.session(w.workers[0])
	s.Chain(w.electing())
	s.Chain(w.electing())
	if want := []string{"submit claims"}; !slices.Equal(w.trace, want) {
		t.Fatalf("%q, want %q", w.trace, want)
	}
	// In another life it sees that its claim is there.
	claimed := w.electing()
	claimed.Members = w.c.Members
	w.session(w.workers[0]).Chain(claimed)
	if len(w.trace) != 1 {
		t.Errorf("%q", w.trace)
	}
}

func TestStoredThenCountedThenSent(t *testing.T) {
	w := newWorld(t)
	s := w.session(w.workers[3])
	s.Chain(w.c)
	w.tell(s, w.workers[0].id, w.junkEvidence())
	s.TimedOut(committee.Timer{Kind: committee.StallTimer})
	want := []string{"store verdict 0/0", "send commitment 0/0 to 1"}
	if got := w.words(); !slices.Equal(got, want) || !slices.Contains(w.trace, "submit commitments") {
		t.Fatalf("said\n%q, want\n%q", got, want)
	}
	for _, m := range w.sent {
		if _, err := w.verify(w.workers[3].id, m); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

// An executor without a sign of life is passed over by the word of a quorum; one
// member's word makes nobody join.
func TestASilentExecutorIsPassedOver(t *testing.T) {
	w := newWorld(t)
	s := w.elected(w.workers[1])
	s.TimedOut(silence)
	if got, want := w.words(), []string{"send vote 0/1 to 3"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	w.tell(s, task.NodeID{}, w.vote(w.workers[2]))
	w.tell(s, task.NodeID{}, w.vote(w.workers[3]))
	skips := 0
	for _, l := range w.trace {
		if l == "submit skip" {
			skips++
		}
	}
	if skips != 1 {
		t.Errorf("%q", w.trace)
	}
	w.trace, w.sent = nil, nil
	alive := w.elected(w.workers[1])
	w.tell(alive, w.workers[0].id, Alive(w.c, 0))
	alive.TimedOut(silence)
	if len(w.sent) != 0 {
		t.Errorf("%q", w.words())
	}
}

func TestSameInputsSameEffects(t *testing.T) {
	a, b := newWorld(t), newWorld(t)
	for _, w := range []*world{a, b} {
		s := w.elected(w.workers[1])
		w.tell(s, w.workers[0].id, w.junkEvidence())
		s.TimedOut(committee.Timer{Kind: committee.FlushTimer})
	}
	if !slices.Equal(a.trace, b.trace) || string(task.Encode(a.sent)) != string(task.Encode(b.sent)) {
		t.Fatalf("%q\n%q", a.trace, b.trace)
	}
}

func TestWhatIsNotStoredIsNotSaid(t *testing.T) {
	w := newWorld(t)
	s := w.session(w.workers[1])
	s.Chain(w.c)
	w.broken = errors.New("the disk is full")
	w.tell(s, w.workers[0].id, w.junkEvidence())
	if len(w.sent) != 0 {
		t.Fatalf("said: %q", w.words())
	}
	if _, err := NewSession(SessionConfig{Node: w.workers[1].rec.Node, Journal: w}, w.c); err == nil {
		t.Fatal("a session without its record was opened")
	}
}

// What was shown to it after a crash is not what was shown before: it stays with
// its word.
func TestAfterACrashItSaysNothingElse(t *testing.T) {
	for name, behind := range map[string]bool{"restored": false, "chain behind the journal": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tell(w.elected(w.workers[1]), w.workers[0].id, w.junkEvidence())
			first := w.sent[len(w.sent)-1].Commitment
			now := w.c
			if behind { // opened in one attempt, moved to the one that it has spoken in
				w.c = w.electing()
				w.c.Attempt = 7
			}
			s := w.session(w.workers[1])
			w.c = now
			s.Chain(now)
			other := w.junkEvidence()
			other.Shown.Evidence[1] = []byte("other junk")
			other.Shown.Signature = task.Sign(w.workers[0].peer, other.Shown.Pair().Hash())
			w.tell(s, w.workers[0].id, other)
			for _, m := range w.sent {
				if m.Commitment != nil && m.Commitment.Digest != first.Digest {
					t.Fatalf("said something else: %q", w.words())
				}
			}
		})
	}
}

// junkEvidence is a pair of no evidence at all, signed by the first worker: a verdict of
// FAULT is certain.
func (w *world) junkEvidence() Message { return w.evidence(w.c.Attempt) }

func (w *world) evidence(attempt uint32) Message {
	junk := [2][]byte{[]byte("junk"), []byte("more junk")}
	m := Message{Shown: &task.Showing{Evidence: junk, Ballot: task.Ballot{Task: w.c.ID(), Attempt: attempt}}}
	m.Shown.Signature = task.Sign(w.workers[0].peer, m.Shown.Pair().Hash())
	return m
}

func TestVerdictIsTheSameAfterACrash(t *testing.T) {
	w := newWorld(t)
	verdict := func(k *worker) task.Reveal {
		clear(w.said)
		w.trace = nil
		w.tell(w.elected(k), w.workers[0].id, w.junkEvidence())
		r, ok := w.said["verdict 0/0"].(task.Reveal)
		if got := w.words(); !ok || !slices.Equal(got[len(got)-2:], []string{"store verdict 0/0", "send commitment 0/0 to 1"}) {
			t.Fatalf("no verdict, or not in order: %q", got)
		}
		return r
	}
	// The journal was lost in between: the salt comes from the key alone.
	first := verdict(w.workers[1])
	if first.Verdict != task.Fault || first.Reason != attest.EvidenceMalformed || first.Salt.IsZero() {
		t.Fatalf("%+v", first)
	}
	if second := verdict(w.workers[1]); first != second {
		t.Errorf("%+v, then %+v", first, second)
	}
	other := verdict(w.workers[2])
	if other.Salt == first.Salt {
		t.Error("two nodes have one salt")
	}
	// With the journal it does not judge again, and says what it had said: nobody
	// may have heard it.
	before := len(w.sent)
	s := w.elected(w.workers[2])
	w.tell(s, w.workers[0].id, w.junkEvidence())
	for _, m := range w.sent[before:] {
		if m.Commitment != nil && m.Commitment.Digest != other.Digest() {
			t.Error("committed to something else")
		}
	}
}

// A word about an executor whom this node does not know yet is kept back.
func TestEarlyWords(t *testing.T) {
	w := newWorld(t)
	now := func(f func(*ledger.Case)) *ledger.Case { c := *w.c; f(&c); return &c }
	for name, row := range map[string]struct {
		c     *ledger.Case
		early bool
	}{
		"of the present view": {w.c, false},
		"claims are open":     {w.electing(), true},
		"of an old attempt":   {now(func(c *ledger.Case) { c.Attempt = 1 }), false},
		"of an old view":      {now(func(c *ledger.Case) { c.View.Number = 1 }), false},
	} {
		for _, m := range []Message{w.junkEvidence(), w.vote(w.workers[1])} {
			if h, err := w.verify(w.workers[0].id, m); err != nil || h.Early(row.c) != row.early {
				t.Errorf("%s: %v, %v", name, h.Early(row.c), err)
			}
		}
	}
	next := Message{Shown: &task.Showing{Ballot: task.Ballot{Task: w.c.ID(), View: 1}}}
	if at, _ := next.about(); !at.early(w.c) {
		t.Error("evidence of the next view is not early")
	}
}

func TestForgedWordsAreRefused(t *testing.T) {
	w := newWorld(t)
	b := task.Ballot{Task: w.c.ID()}
	forged := w.vote(w.workers[2])
	forged.Vote.Vote.Node = w.workers[3].id
	commitment := task.Commitment{Ballot: b, Node: w.workers[3].id}
	commitment.Signature = task.Sign(w.workers[2].peer, commitment.Hash())
	unsigned := w.junkEvidence()
	unsigned.Shown.Signature[0]++
	for name, c := range map[string]struct {
		from task.NodeID
		m    Message
	}{
		"vote":                {w.workers[3].id, forged},
		"commitment":          {w.workers[3].id, Message{Commitment: &commitment}},
		"evidence of another": {w.workers[0].id, unsigned},
		"alive of nobody":     {task.NodeID{}, Message{Alive: &b}},
		"two things":          {w.workers[0].id, Message{Alive: &b, Vote: forged.Vote}},
	} {
		if _, err := w.verify(c.from, c.m); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Evidence of an earlier attempt answers another seed. Judged now, an honest
// executor would be found faulty for being late.
func TestEarlierAttemptIsNotHeard(t *testing.T) {
	w := newWorld(t)
	late := w.evidence(9)
	s := w.elected(w.workers[1])
	w.tell(s, w.workers[0].id, late)
	if _, judged := w.said["verdict 0/0"]; judged {
		t.Error("judged evidence of another attempt")
	}
	w = newWorld(t) // with a journal of its own
	exec := w.elected(w.workers[0])
	before := len(w.sent)
	exec.Quoted(late.Shown.Ballot, []byte("late"), []byte("decoy"))
	exec.Ran(task.SignedResult{Result: task.Result{Attempt: 9}})
	if len(w.sent) != before || slices.Contains(w.trace, "submit result") {
		t.Error("an enclave of another attempt was listened to")
	}
	if !slices.Contains(w.trace, "start 0") {
		t.Errorf("no enclave: %q", w.trace)
	}
	b := w.junkEvidence().Shown.Ballot
	exec.Quoted(b, []byte("now"), []byte("decoy"))
	genuine := task.PairPlace(w.workers[0].vrf.Output(b.PairInput()))
	if m := w.sent[len(w.sent)-1]; m.Shown == nil || string(m.Shown.Evidence[genuine]) != "now" || string(m.Shown.Evidence[1-genuine]) != "decoy" {
		t.Errorf("%+v", m)
	}
	if last := w.trace[len(w.trace)-3:]; !slices.Contains(last, "store pair 0/0") || w.trace[len(w.trace)-1] != "send another to 3" && !slices.Contains(last, "send another to 3") {
		t.Errorf("not stored, then sent: %q", last)
	}
}

// An executor that crashes after it has shown its pair has another enclave, with
// other evidence: it shows none of that, or it would contradict itself.
func TestAfterACrashItShowsNothingElse(t *testing.T) {
	w := newWorld(t)
	b := w.junkEvidence().Shown.Ballot
	w.elected(w.workers[0]).Quoted(b, []byte("genuine"), []byte("decoy"))
	before := len(w.sent)
	w.elected(w.workers[0]).Quoted(b, []byte("another"), []byte("decoy"))
	if before == 0 || len(w.sent) != before {
		t.Errorf("%d, then %d messages", before, len(w.sent))
	}
}

// A verifier looks at the piece that its coin names, and at the other one only if
// that is faulty. Coins differ: nobody can tell who looks where.
func TestTheCoinSaysWhereToLookFirst(t *testing.T) {
	first := map[string]int{}
	for i := range 3 {
		for attempt := range uint32(8) {
			w := newWorld(t)
			w.c.Attempt = attempt
			m := w.evidence(attempt)
			for place := range m.Shown.Evidence {
				m.Shown.Evidence[place] = task.Encode(attest.Evidence{Kind: attest.Simulated, State: task.Hash{byte(place) + 1}})
			}
			m.Shown.Signature = task.Sign(w.workers[0].peer, m.Shown.Pair().Hash())
			for good, looks := range []int{1, 2} {
				clear(w.said)
				var looked []byte
				w.appraise = func(ev attest.Evidence, _ attest.Expected, _ task.Policy, _ attest.Reference) attest.Appraisal {
					looked = append(looked, ev.State[0]-1)
					if len(looked) > good {
						return attest.Appraisal{Verdict: task.OK}
					}
					return attest.Appraisal{Verdict: task.Fault, Reason: attest.BadSignature}
				}
				w.tell(w.elected(w.workers[i+1]), w.workers[0].id, m)
				r, ok := w.said[fmt.Sprintf("verdict %d/0", attempt)].(task.Reveal)
				if !ok || len(looked) != looks || r.Verdict != task.OK || r.Place != looked[looks-1] || looks == 2 && looked[0] == looked[1] {
					t.Fatalf("looked at %v, says %+v", looked, r)
				}
				if looks == 1 {
					first[fmt.Sprint(looked)]++
				}
			}
		}
	}
	if len(first) != 2 || first["[0]"] < 4 || first["[1]"] < 4 {
		t.Errorf("first looks: %v", first)
	}
}

func TestSettledTaskIsOver(t *testing.T) {
	w := newWorld(t)
	s := w.elected(w.workers[1])
	closed := *w.c
	closed.Phase = ledger.Closed
	s.Chain(&closed)
	if !s.Done() || w.trace[len(w.trace)-1] != "forget" {
		t.Fatalf("%q", w.trace)
	}
	before := len(w.trace)
	s.Chain(w.c)
	s.TimedOut(silence)
	if len(w.trace) != before {
		t.Errorf("more: %q", w.trace[before:])
	}
}

// A decline is stored before it is sent, and said again after a crash: nothing is
// begun that this node has given up.
func TestADeclineIsStoredFirst(t *testing.T) {
	w := newWorld(t)
	c := w.c
	s := w.session(w.workers[0])
	s.Chain(c)
	w.trace = nil
	s.Unable(c.Ballot(), task.Lack{Reason: task.NoFile, Party: 1})
	want := []string{"stop", "store decline 0", "submit decline"}
	if !slices.Equal(w.trace, want) {
		t.Errorf("%v, want %v", w.trace, want)
	}
	d := w.submitted[len(w.submitted)-1].Decline
	if err := d.Check(w.workers[0].rec.Node.Peer); err != nil || (d.Lack != task.Lack{Reason: task.NoFile, Party: 1}) {
		t.Errorf("%+v, %v", d, err)
	}
	again := w.session(w.workers[0])
	w.trace = nil
	again.Chain(c)
	if slices.Contains(w.trace, "start 0") || !slices.Contains(w.trace, "submit decline") {
		t.Errorf("after a crash: %v", w.trace)
	}
	// What cannot be stored is not said.
	w = newWorld(t)
	s = w.session(w.workers[0])
	s.Chain(c)
	w.broken, w.trace = errors.New("disk full"), nil
	s.Unable(c.Ballot(), task.Lack{Reason: task.Busy})
	if slices.Contains(w.trace, "submit decline") {
		t.Errorf("%v", w.trace)
	}
}

// From its evidence on the chain on there is nothing to decline.
func TestNothingIsDeclinedAfterEvidence(t *testing.T) {
	w := newWorld(t)
	c := *w.c
	c.View.Pre.Digests[0] = task.Hash{1}
	s := w.session(w.workers[0])
	s.Chain(&c)
	s.Unable(c.Ballot(), task.Lack{Reason: task.CannotRun})
	if slices.Contains(w.trace, "submit decline") {
		t.Errorf("%v", w.trace)
	}
}

// A run whose enclave is gone is given up, on the chain and under this node's
// signature: also when it had declined before, too late.
func TestALostEnclaveIsGivenUp(t *testing.T) {
	w := newWorld(t)
	s := w.session(w.workers[0])
	s.Chain(w.c)
	s.Unable(w.c.Ballot(), task.Lack{Reason: task.CannotRun})
	running := *w.c
	running.Phase, running.Stage = ledger.Running, ledger.Computing
	running.View.Pre.Digests[0] = task.Hash{1}
	w.trace = nil
	s.Chain(&running)
	if want := []string{"store decline 0", "submit decline"}; !slices.Equal(w.trace, want) {
		t.Errorf("%v, want %v", w.trace, want)
	}
	d := w.submitted[len(w.submitted)-1].Decline
	if err := d.Check(w.workers[0].rec.Node.Peer); err != nil || d.Reason != task.Gone {
		t.Errorf("%+v, %v", d, err)
	}
}

// A worker without a free enclave says so with its claim, under its signature.
func TestABusyClaimSaysSo(t *testing.T) {
	for _, busy := range []bool{false, true} {
		w := newWorld(t)
		k := w.workers[0]
		w.busy = busy
		c := w.electing()
		w.session(k).Chain(c)
		claim := w.submitted[0].Claims.All()[0]
		m, err := c.Admit(k.rec.Node, k.rec.Profile, 100, claim)
		c.Members = []ledger.Member{m}
		if err != nil || (claim.Busy != nil) != busy || (len(c.Roster().Order()) == 0) != busy {
			t.Errorf("busy %t: %+v, %v", busy, claim, err)
		}
	}
}
