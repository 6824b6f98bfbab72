package attest

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/prytany/prytany/task"
)

func chip(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
}

// scene is good evidence, all that a verifier expects of it, and the rules. The
// evidence is made by quote, from what the row has changed before.
type scene struct {
	ev       Evidence
	platform Platform
	want     Expected
	policy   task.Policy
	ref      Reference
}

func newScene() *scene {
	s := &scene{platform: Platform{Chip: chip(1), Measurement: task.Hash{7}, TCB: 3}, policy: task.Policy{MinTier: task.TierSimulated}}
	s.ref = Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}, MinTCB: 3}
	s.want = Expected{
		Context: Context{Chain: "c", Task: task.TaskID{1}, Attempt: 1, View: 2, Node: task.NodeID{3}, Round: task.PreRun, Function: task.FunctionID{4}},
		Chip:    task.PublicKey(s.platform.Chip), Kind: string(Simulated), Nonce: task.Hash{5}, State: EmptyState,
	}
	s.ev = Evidence{Keys: Keys{Seal: SealKey([]byte("key")), Sign: task.Key{1}}, Nonce: task.Hash{5}, State: EmptyState}
	return s.quote()
}

// quote makes the quote fit what the evidence says, as an honest enclave would.
func (s *scene) quote() *scene {
	c := s.want.Context
	if s.ev.Round != 0 {
		c.Round = s.ev.Round
	}
	s.ev = s.platform.Quote(c, s.ev.Keys, s.ev.Nonce, s.ev.State)
	return s
}

func (s *scene) appraise() Appraisal { return Appraise(s.ev, s.want, s.policy, s.ref) }

// change alters what was signed.
func (s *scene) change(f func(*SimulatedQuote)) {
	q, err := task.Decode[SimulatedQuote](s.ev.Quote, task.MaxEvidence)
	if err != nil {
		panic(err)
	}
	f(&q)
	s.ev.Quote = task.Encode(q)
}

// Each way in which evidence can be bad has its own reason code (spec §7.4).
func TestAppraise(t *testing.T) {
	for _, row := range []struct {
		name   string
		reason string // "" is OK
		change func(*scene)
	}{
		{"honest", "", func(*scene) {}},
		{"unknown kind", UnknownKind, func(s *scene) { s.ev.Kind = "magic" }},
		{"simulated evidence on a real chain", SimulatedRefused, func(s *scene) { s.ref.AllowSimulated = false }},
		{"tier too low", TierTooLow, func(s *scene) { s.policy.MinTier = task.TierMeasured }},
		{"of the other round", WrongRound, func(s *scene) { s.ev.Round = task.PostRun; s.quote() }},
		{"foreign chip (cuckoo)", ForeignChip, func(s *scene) { s.platform.Chip = chip(9); s.quote() }},
		{"other kind than registered", ForeignChip, func(s *scene) { s.want.Kind = "tpm" }},
		{"kind that the task does not accept", KindNotAsked, func(s *scene) { s.policy.Kinds = []string{"tpm"} }},
		{"kind that the task accepts", "", func(s *scene) { s.policy.Kinds = []string{"tpm", "simulated"} }},
		{"another's signature", BadSignature, func(s *scene) { s.change(func(q *SimulatedQuote) { q.Chip = task.PublicKey(chip(9)) }) }},
		{"quote changed after signing", BadSignature, func(s *scene) { s.change(func(q *SimulatedQuote) { q.Body.TCB++ }) }},
		{"quote that cannot be read", QuoteMalformed, func(s *scene) { s.ev.Quote = s.ev.Quote[1:] }},
		{"no quote", QuoteMalformed, func(s *scene) { s.ev.Quote = nil }},
		{"debug enclave", DebugEnclave, func(s *scene) { s.platform.Debug = true; s.quote() }},
		{"old TCB by the chain's rule", StaleTCB, func(s *scene) { s.platform.TCB = 2; s.quote() }},
		{"old TCB by the task's policy", StaleTCB, func(s *scene) { s.policy.MinTCB = 4 }},
		{"swapped program", WrongMeasurement, func(s *scene) { s.platform.Measurement = task.Hash{8}; s.quote() }},
		{"program not on the task's list", WrongMeasurement, func(s *scene) { s.policy.Measurements = []task.Hash{{8}} }},
		{"program on the task's list only", WrongMeasurement, func(s *scene) {
			s.policy.Measurements, s.platform.Measurement = []task.Hash{{7}, {8}}, task.Hash{8}
			s.quote()
		}},
		{"program on both lists", "", func(s *scene) { s.policy.Measurements = []task.Hash{{7}, {8}} }},
		{"of docker functions, by their program", "", func(s *scene) { s.want.Docker, s.ref.Docker = true, []task.Hash{{7}}; s.ref.Measurements = nil }},
		{"of docker functions, by the other program", WrongMeasurement, func(s *scene) { s.want.Docker, s.ref.Docker = true, []task.Hash{{8}} }},
		{"of other functions, by the program of docker's", WrongMeasurement, func(s *scene) { s.ref.Docker, s.ref.Measurements = []task.Hash{{7}}, nil }},
		{"of docker functions, which no program runs", WrongMeasurement, func(s *scene) {
			s.want.Docker, s.platform.Measurement = true, task.Hash{}
			s.quote()
		}},
		{"keys changed at the exit", KeysChanged, func(s *scene) { k := s.ev.Keys; k.Sign = task.Key{9}; s.want.Keys = &k }},
		{"dirty state", DirtyState, func(s *scene) { s.ev.State = task.Hash{1}; s.quote() }},
		{"replayed: my nonce is not in it", NonceMissing, func(s *scene) { s.want.Nonce = task.Hash{9} }},
		{"nonce said without a quote over it", NotBound, func(s *scene) { s.want.Nonce = task.Hash{9}; s.ev.Nonce = task.Hash{9} }},
		{"relayed: of another task", NotBound, func(s *scene) { s.want.Context.Task = task.TaskID{9} }},
		{"of another attempt", NotBound, func(s *scene) { s.want.Context.Attempt++ }},
		{"of another view", NotBound, func(s *scene) { s.want.Context.View++ }},
		{"of another node", NotBound, func(s *scene) { s.want.Context.Node[0]++ }},
		{"of another chain", NotBound, func(s *scene) { s.want.Context.Chain = "d" }},
		{"of another function", NotBound, func(s *scene) { s.want.Context.Function[0]++ }},
		{"sealing key swapped", NotBound, func(s *scene) { s.ev.Keys.Seal = SealKey([]byte("mine")) }},
		{"signing key swapped", NotBound, func(s *scene) { s.ev.Keys.Sign = task.Key{9} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene()
			row.change(s)
			a := s.appraise()
			if (a.Verdict == task.OK) != (row.reason == "") || a.Reason != row.reason {
				t.Errorf("%s, reason %q (%s); want %q", a.Verdict, a.Reason, a.Detail, row.reason)
			}
			if a.Verdict == task.Fault && a.Detail == "" {
				t.Error("no word of explanation")
			}
		})
	}
}

func TestNoncesBelongToTheirNodes(t *testing.T) {
	if Nonce([64]byte{1}, task.NodeID{1}) == Nonce([64]byte{1}, task.NodeID{2}) || Nonce([64]byte{1}, task.NodeID{1}) == Nonce([64]byte{2}, task.NodeID{1}) {
		t.Error("two verifiers share a nonce")
	}
	if ExitNonce(task.Hash{1}, task.Hash{2}) == ExitNonce(task.Hash{1}, task.Hash{3}) {
		t.Error("the exit nonce does not depend on the beacon")
	}
	if NonceRoot([]task.Hash{{1}, {2}}) == NonceRoot([]task.Hash{{2}, {1}}) {
		t.Error("the root does not depend on the order")
	}
}

// Every bit of accepted evidence counts.
func TestEvidenceIsBoundBitByBit(t *testing.T) {
	s := newScene()
	raw := task.Encode(s.ev)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		ev, err := ParseEvidence(bad)
		if err != nil {
			continue
		}
		s.ev = ev
		if a := s.appraise(); a.Verdict == task.OK {
			t.Fatalf("byte %d changed and still OK", i)
		}
	}
}

func FuzzParseEvidence(f *testing.F) {
	f.Add(task.Encode(newScene().ev))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := ParseEvidence(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(task.Encode(ev), raw) {
			t.Fatal("accepted bytes that are not its encoding")
		}
		s := newScene()
		s.want.Context.Task = task.TaskID{0xff} // nothing is bound to this
		if Appraise(ev, s.want, s.policy, s.ref).Verdict == task.OK {
			t.Fatal("evidence of something else was found good")
		}
	})
}

// Every decoy is faulty for who looks, has a quote of its own, and is of the size of
// genuine evidence; half of them have nothing wrong but a signature.
func TestDecoys(t *testing.T) {
	reasons := map[string]int{}
	for fault := range uint8(8) {
		s := newScene()
		size := len(task.Encode(s.ev))
		keys := Keys{Seal: SealKey([]byte("thrown away")), Sign: task.Key{7}}
		decoy := s.platform.Decoy(s.want.Context, keys, s.ev.Nonce, fault)
		genuine := s.ev
		s.ev = decoy
		a := s.appraise()
		if a.Verdict != task.Fault {
			t.Errorf("decoy %d: nobody can see that it is one", fault)
		}
		reasons[a.Reason]++
		if decoy.Kind != genuine.Kind || decoy.Round != genuine.Round || bytes.Equal(decoy.Quote, genuine.Quote) {
			t.Errorf("decoy %d does not look like the other: %+v", fault, decoy)
		}
		if got := len(task.Encode(decoy)); got < size-64 || got > size+64 {
			t.Errorf("decoy %d has %d bytes, the genuine evidence %d", fault, got, size)
		}
	}
	if reasons[BadSignature] != 4 || len(reasons) < 4 {
		t.Errorf("%v", reasons)
	}
	for b := range 256 {
		if f := DecoyFault([64]byte{0, byte(b)}); f > 7 {
			t.Fatal(f)
		}
	}
}

// A parser that does panic refuses the quote, in everybody's Claims.
func TestParserThatPanics(t *testing.T) {
	r := newRig(t, Nitro)
	honest := kinds[Nitro]
	defer func() { kinds[Nitro] = honest }()
	broken := honest
	broken.verify = func(quote []byte, _ Expected, _ Reference) (Claims, *task.Error) {
		return Claims{Chip: task.Key{1}}, task.Refuse(QuoteMalformed, "%v", quote[len(quote):][0])
	}
	kinds[Nitro] = broken
	if a := r.appraise(); a.Verdict != task.Fault || a.Reason != QuoteMalformed || a.Claims != (Claims{}) {
		t.Errorf("%s %q, claims %v", a.Verdict, a.Reason, a.Claims)
	}
	if _, err := r.ev.Claims(r.want, r.ref); task.CodeOf(err) != QuoteMalformed {
		t.Errorf("Claims: %v", err)
	}
}
