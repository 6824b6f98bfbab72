package enclave

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// noop is the smallest WASI module: a _start that returns.
var noop = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" +
	"\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b")

// stage is an enclave served over pipes, and both owners' secrets.
type stage struct {
	t                   *testing.T
	in                  io.WriteCloser
	out                 io.Reader
	ended               chan error
	alice, bob, results seal.Identity
	begin               tee.Begin
	code, input         []byte
	seal                []byte // of the enclave
}

// plain is a function that does nothing.
var plain = task.Manifest{Runtime: "wasm", Limits: task.Limits{Gas: 1e6, MemoryBytes: 1 << 20, OutputBytes: 1 << 20, WallMillis: 60_000}}

func newStage(t *testing.T) *stage { return newStageOf(t, Standard("")) }

func newStageOf(t *testing.T, runtimes Runtimes) *stage {
	return stageWith(t, runtimes, plain, noop, []byte("picture"), system)
}

// stageOf is a stage for a function of the test's own.
func stageOf(t *testing.T, m task.Manifest, code, input []byte, c clock) *stage {
	return stageWith(t, Standard(""), m, code, input, c)
}

func stageWith(t *testing.T, runtimes Runtimes, m task.Manifest, code, input []byte, c clock) *stage {
	s := &stage{t: t, ended: make(chan error, 1)}
	s.alice, _ = seal.NewIdentity()
	s.bob, _ = seal.NewIdentity()
	s.results, _ = seal.NewIdentity()
	s.code, _ = seal.Encrypt(s.bob.Recipient(), code)
	s.input, _ = seal.Encrypt(s.alice.Recipient(), input)
	f := task.Function{Code: task.BlobOf(s.code), Manifest: m}
	tk := task.Task{Function: f.ID(), Data: []task.Data{{Blob: task.BlobOf(s.input)}}, Recipient: task.NameRecipient(s.results.Recipient()), GasLimit: m.Limits.Gas}
	s.begin = tee.Begin{Task: tk, Function: f, Platform: tee.Platform{Kind: attest.Simulated, Simulated: &tee.Simulated{ChipSeed: [32]byte{1}, Measurement: task.Hash{7}}}, Nonce: task.Hash{5},
		Context: attest.Context{Task: tk.ID(), Function: f.ID(), Node: task.NodeID{3}, Round: task.PreRun}}
	qr, qw := io.Pipe()
	ar, aw := io.Pipe()
	s.in, s.out = qw, ar
	go func() {
		Harden()
		err := serve(qr, aw, runtimes, nil, c)
		_ = aw.CloseWithError(io.EOF)
		s.ended <- err
	}()
	t.Cleanup(func() { _ = qw.Close() })
	return s
}

func (s *stage) ask(q tee.Request) tee.Response {
	s.t.Helper()
	if err := tee.WriteFrame(s.in, q); err != nil {
		s.t.Fatal(err)
	}
	a, err := tee.ReadFrame[tee.Response](s.out)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *stage) start() attest.Evidence {
	s.t.Helper()
	a := s.ask(tee.Request{Begin: &s.begin})
	s.seal = a.Seal
	ev, err := attest.ParseEvidence(a.Evidence)
	if err != nil {
		s.t.Fatalf("%v %s", err, a.Error)
	}
	return ev
}

// The places of the two among the parties of a stage's task.
const (
	alices uint8 = 1
	bobs   uint8 = 2
)

// files are those of the parties.
func (s *stage) files() [][]byte { return [][]byte{nil, s.input, s.code} }

func (s *stage) release(ev attest.Evidence, party uint8, id seal.Identity) {
	s.t.Helper()
	file := s.input
	if party == bobs {
		file = s.code
	}
	o := seal.Opened{ID: id, File: sha256.Sum256(file)}
	if party == alices {
		o.Recipient = s.results.Recipient()
	}
	r, err := seal.Seal(task.Release{Task: s.begin.Context.Task, Party: party, Evidence: ev.Digest()}, s.seal, o)
	if err != nil {
		s.t.Fatal(err)
	}
	if a := s.ask(tee.Request{Release: &r}); a.Error != "" {
		s.t.Fatal(a.Error)
	}
}

// expected is what a verifier knows of the stage's enclave.
func (s *stage) expected() (attest.Expected, task.Policy, attest.Reference) {
	return attest.Expected{
		Context: s.begin.Context, Chip: task.PublicKey(ed25519.NewKeyFromSeed(s.begin.Platform.Simulated.ChipSeed[:])), Kind: string(attest.Simulated),
		Nonce: s.begin.Nonce, State: attest.EmptyState,
	}, task.Policy{MinTier: task.TierSimulated}, attest.Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}}
}

func (s *stage) run() tee.Response {
	return s.ask(tee.Request{Run: &tee.Run{Files: s.files()}})
}

func TestOneTaskInAnEnclave(t *testing.T) {
	s := newStage(t)
	ev := s.start()
	want, policy, ref := s.expected()
	if a := attest.Appraise(ev, want, policy, ref); a.Verdict != task.OK {
		t.Fatalf("%s: %s", a.Reason, a.Detail)
	}
	want.Keys = &ev.Keys
	s.release(ev, alices, s.alice)
	s.release(ev, bobs, s.bob)
	a := s.run()
	if a.Error != "" || a.Result.Result.Outcome != task.RunOK || !a.Result.Signature.Verify(ev.Keys.Sign, a.Result.Result.Hash()) {
		t.Fatalf("%+v", a)
	}
	if a.Result.Result.Evidence != ev.Digest() || a.Result.Result.PostState != attest.EmptyState {
		t.Error("the result is not bound to the evidence, or the space is not empty")
	}
	archive, err := s.results.Decrypt(a.Output, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tee.Unpack(archive); err != nil {
		t.Fatal(err)
	}
	c := s.begin.Context
	c.Round = task.PostRun
	exit, _ := attest.ParseEvidence(s.ask(tee.Request{Exit: &tee.Exit{Context: c, Nonce: task.Hash{9}}}).Evidence)
	want.Context, want.Nonce = c, task.Hash{9}
	if a := attest.Appraise(exit, want, policy, ref); a.Verdict != task.OK {
		t.Errorf("exit: %s: %s", a.Reason, a.Detail)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("the enclave did not end well: %v", err)
	}
}

// A key that opens nothing is its owner's fault, and the signed result says so.
func TestWrongKeys(t *testing.T) {
	for name, c := range map[string]struct {
		alice, bob bool // releases the wrong key
		want       uint8
	}{
		"alice": {alice: true, want: alices},
		"bob":   {bob: true, want: bobs},
		"both":  {alice: true, bob: true, want: alices},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			ev := s.start()
			wrong, _ := seal.NewIdentity()
			a, b := s.alice, s.bob
			if c.alice {
				a = wrong
			}
			if c.bob {
				b = wrong
			}
			s.release(ev, alices, a)
			s.release(ev, bobs, b)
			first := s.run().Result
			if who, used, ok := first.Result.Blames(); !ok || who != c.want || used != first.Result.Keys[c.want] || first.Result.Outcome != task.WrongKey {
				t.Errorf("%s of party %d, want %d", first.Result.Outcome, who, c.want)
			}
			// The owner may have told the chain another: then that is what counts.
			s.release(ev, alices, s.alice)
			s.release(ev, bobs, s.bob)
			second := s.run().Result
			if second.Result.Outcome != task.RunOK || second.Result.Party != 0 || second.Result.Keys[alices] == first.Result.Keys[alices] || second.Result.Keys[bobs] == first.Result.Keys[bobs] {
				t.Errorf("with the right key: %s", second.Result.Outcome)
			}
			if a := s.run(); a.Error == "" {
				t.Error("it ran again after a run that blames nobody")
			}
		})
	}
}

// Where nobody can be given the result, the party that names the recipient is at
// fault; the enclave hears what it told the chain all the same.
func TestNoRecipientIsTriedAgain(t *testing.T) {
	s := newStage(t)
	s.begin.Task.Recipient = task.Hash{1}
	s.begin.Context.Task = s.begin.Task.ID()
	ev := s.start()
	s.release(ev, alices, s.alice)
	s.release(ev, bobs, s.bob)
	first := s.run().Result.Result
	s.release(ev, alices, s.alice)
	second := s.run().Result.Result
	for _, r := range []task.Result{first, second} {
		if who, _, blames := r.Blames(); !blames || who != alices || r.Size != 0 {
			t.Errorf("%+v", r)
		}
	}
	if first.Keys[alices] == second.Keys[alices] || first.Keys[bobs] != second.Keys[bobs] {
		t.Errorf("%s, then %s, for releases %v and %v", first.Outcome, second.Outcome, first.Keys, second.Keys)
	}
}

// Beside its evidence the enclave shows a decoy, faulty for everyone who looks, under
// keys of its own that open nothing: what is sealed to them is lost.
func TestDecoy(t *testing.T) {
	var s *stage
	var ev attest.Evidence
	for fault := range uint8(8) {
		s = newStage(t)
		want, policy, ref := s.expected()
		s.begin.Fault = fault
		a := s.ask(tee.Request{Begin: &s.begin})
		s.seal = a.Seal
		genuine, err := attest.ParseEvidence(a.Evidence)
		if err != nil {
			t.Fatal(err, a.Error)
		}
		decoy, err := attest.ParseEvidence(a.Decoy)
		if err != nil {
			t.Fatal(err)
		}
		ev = genuine
		if a := attest.Appraise(genuine, want, policy, ref); a.Verdict != task.OK {
			t.Fatalf("genuine evidence: %s: %s", a.Reason, a.Detail)
		}
		if a := attest.Appraise(decoy, want, policy, ref); a.Verdict != task.Fault {
			t.Errorf("decoy %d: nobody can see that it is one", fault)
		}
		if k := genuine.Keys; k.Sign == decoy.Keys.Sign || k.Seal == decoy.Keys.Seal {
			t.Errorf("decoy %d has keys that are used", fault)
		}
	}
	lost, err := seal.NewEnclaveKey()
	if err != nil {
		t.Fatal(err)
	}
	r, err := seal.Seal(task.Release{Task: s.begin.Context.Task, Party: alices, Evidence: ev.Digest()}, lost.Public(), seal.Opened{ID: s.alice, File: sha256.Sum256(s.input)})
	if err != nil {
		t.Fatal(err)
	}
	s.ask(tee.Request{Release: &r})
	s.release(ev, bobs, s.bob)
	if a := s.run(); a.Result == nil || a.Result.Result.Outcome != task.WrongKey || a.Result.Result.Party != alices {
		t.Fatalf("a key that was sealed to another enclave: %+v", a)
	}
}

// The node cannot make the enclave do things out of order, or for another task.
func TestOutOfOrder(t *testing.T) {
	s := newStage(t)
	exit := tee.Request{Exit: &tee.Exit{Context: s.begin.Context}}
	for name, q := range map[string]tee.Request{
		"nothing": {}, "run before begin": {Run: &tee.Run{}}, "release before begin": {Release: &task.Release{}},
	} {
		if a := s.ask(q); a.Error == "" {
			t.Errorf("%s was answered", name)
		}
	}
	foreign := s.begin
	foreign.Context.Task[0]++
	if a := s.ask(tee.Request{Begin: &foreign}); a.Error == "" {
		t.Error("began for another task than it was given")
	}
	early := s.begin
	early.Context.Round = task.PostRun
	if a := s.ask(tee.Request{Begin: &early}); a.Error == "" {
		t.Error("began with the exit evidence")
	}
	s.start()
	if a := s.ask(tee.Request{Begin: &s.begin}); a.Error == "" {
		t.Error("began twice")
	}
	if a := s.run(); a.Error == "" {
		t.Error("ran without keys")
	}
	if a := s.ask(exit); a.Error == "" {
		t.Error("left before it ran")
	}
}

// A node that brings other files, or rubbish, gets no result, and cannot make
// it look like the owner's fault.
func TestSwappedFilesBlameNobody(t *testing.T) {
	s := newStage(t)
	ev := s.start()
	s.release(ev, alices, s.alice)
	s.release(ev, bobs, s.bob)
	good := s.input
	for _, bad := range [][]byte{nil, []byte("rubbish"), s.code} {
		s.input = bad
		if a := s.run(); a.Error == "" || a.Result != nil {
			t.Errorf("a swapped file gave %+v", a)
		}
	}
	s.input = good
	if a := s.run(); a.Error != "" {
		t.Error(a.Error)
	}
}

// What lets somebody outside see the plaintext makes the whole program one for
// simulated evidence, whatever it is asked to run; and a program has the runtimes
// that it has.
func TestRuntimesOfTheSimulatedTier(t *testing.T) {
	open := func(context.Context, task.Manifest) (Runner, func(), error) {
		return nil, nil, errors.New("never opened")
	}
	weak := Runtimes{task.RuntimeDocker: {Simulated: true, Open: open}, task.RuntimeWasm: {Open: open}}
	for _, kind := range []attest.Kind{attest.TPM, attest.SEVSNP, attest.TDX, attest.Nitro, attest.Simulated} {
		s := newStage(t)
		s.begin.Platform.Kind = kind
		e := enclave{runtimes: weak}
		_, err := e.start(&s.begin)
		if refused := err != nil && strings.Contains(err.Error(), "simulated TEE only"); refused != (kind != attest.Simulated) {
			t.Errorf("%s: %v", kind, err)
		}
		if e.begin != nil && kind != attest.Simulated {
			t.Errorf("%s: it has begun", kind)
		}
		if err := Standard("").quotes(kind); err != nil {
			t.Errorf("%s, without docker: %v", kind, err)
		}
	}
	if _, _, err := Standard("").open(t.Context(), task.Manifest{Runtime: task.RuntimeDocker}, nil); err == nil || !strings.Contains(err.Error(), "no runtime") {
		t.Errorf("docker in the standard program: %v", err)
	}
}
