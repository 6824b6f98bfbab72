// Package enclave is the inside of the enclave: the one process that ever sees
// Bob's code and Alice's data in the clear (spec §9.1). Package tee is the
// node's end of the pipe to it.
//
// In it are born a sealing key and a signing key ([attest.Keys]); they never
// leave it and die with it. Ciphertext comes in; ciphertext, evidence and a
// signed result go out.
package enclave

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/walls"
	"golang.org/x/sys/unix"
)

// Serve is the enclave process: it answers requests until Exit or the end of
// its input, and returns when it should end. It runs functions by the runtimes
// that it is given, within walls of a profile; nil: there are no walls.
func Serve(r io.Reader, w io.Writer, runtimes Runtimes, within *walls.Profile) error {
	return serve(r, w, runtimes, within, system)
}

func serve(r io.Reader, w io.Writer, runtimes Runtimes, within *walls.Profile, c clock) error {
	e := enclave{runtimes: runtimes, within: within, clock: c}
	for {
		q, err := tee.ReadFrame[tee.Request](r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		a, err := e.answer(q)
		if err != nil {
			a = tee.Response{Error: err.Error()}
		}
		if err := tee.WriteFrame(w, a); err != nil {
			return err
		}
		if q.Exit != nil || q.Compile != nil {
			return nil
		}
	}
}

// Harden keeps what the enclave holds out of core files and debuggers as far as an
// ordinary process can, where there are no walls. It is no protection from the
// machine's owner.
func Harden() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// enclave is the state of one task.
type enclave struct {
	runtimes Runtimes
	within   *walls.Profile
	clock    clock
	begin    *tee.Begin
	quoter   attest.Quoter
	evidence attest.Evidence
	sealKey  seal.EnclaveKey
	signKey  ed25519.PrivateKey
	parties  []task.Party
	opened   []*secret // by party: what each has released
	to       string    // whom the result is encrypted to
	ran      bool
	blamed   bool      // by what ran: a party, for a release that opens nothing
	state    task.Hash // of the writable space, after the run
}

// secret is a party's release, opened.
type secret struct {
	release task.Hash // which one it was
	shown   task.Hash // the evidence that it was sealed to
	id      seal.Identity
	file    task.Hash // SHA-256 of the one file that it is for
	to      string    // whom the result is encrypted to, by the party that names it
	bad     bool      // it could not be opened
}

// decrypt opens the owner's file. blame says that the owner's key opens
// nothing, or is for another file than the owner has named; an error, that the
// node brought another file than was named. A file that the owner's own release
// is for was not made up by the node, so if its name is another than was given,
// or in another shape (spec §1.3), that is the owner's doing too.
func (s *secret) decrypt(file []byte, named task.Blob) (plain []byte, blame bool, err error) {
	brought, locked := task.BlobOf(file) == named, !s.bad && sha256.Sum256(file) == s.file
	switch {
	case !brought && !locked:
		return nil, false, fmt.Errorf("this is not the file %s", named.CID)
	case !brought || !locked:
		return nil, true, nil
	}
	plain, err = s.id.Decrypt(file, task.MaxBlob)
	return plain, err != nil, nil
}

func (e *enclave) answer(q tee.Request) (tee.Response, error) {
	switch {
	case q.Compile != nil && e.begin == nil:
		made, err := compile(context.Background(), q.Compile.Module)
		return tee.Response{Compiled: made}, err
	case q.Begin != nil && e.begin == nil:
		return e.start(q.Begin)
	case q.Release != nil && e.begin != nil && (!e.ran || e.blamed):
		return tee.Response{}, e.take(*q.Release)
	case q.Run != nil && e.begin != nil && (!e.ran || e.blamed):
		return e.run(*q.Run)
	case q.Exit != nil && e.ran:
		return e.exit(*q.Exit)
	}
	return tee.Response{}, errors.New("out of order: begin, releases, run, exit; or compile alone")
}

// start makes the keys and the pre-run evidence.
func (e *enclave) start(b *tee.Begin) (tee.Response, error) {
	if b.Context.Task != b.Task.ID() || b.Context.Function != b.Function.ID() || b.Context.Function != b.Task.Function {
		return tee.Response{}, errors.New("the context is of another task or function")
	}
	if len(b.Task.Data) != 1 {
		return tee.Response{}, fmt.Errorf("a function runs on one input here, and the task has %d", len(b.Task.Data))
	}
	if b.Context.Round != task.PreRun {
		return tee.Response{}, errors.New("the first evidence is that before the run")
	}
	if err := e.runtimes.quotes(b.Platform.Kind); err != nil {
		return tee.Response{}, err
	}
	if err := e.walled(b); err != nil {
		return tee.Response{}, err
	}
	runtime, err := e.runtimes.digest(b.Function.Manifest.Runtime)
	if err != nil {
		return tee.Response{}, err
	}
	if e.quoter, err = b.Platform.Quoter(); err != nil {
		return tee.Response{}, err
	}
	if e.sealKey, err = seal.NewEnclaveKey(); err != nil {
		return tee.Response{}, err
	}
	_, e.signKey, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tee.Response{}, err
	}
	keys := attest.Keys{Seal: attest.SealKey(e.sealKey.Public()), Sign: task.PublicKey(e.signKey)}
	e.begin, e.evidence.Keys, e.evidence.Runtime = b, keys, runtime
	e.parties = task.Parties(b.Task, b.Function)
	e.opened = make([]*secret, len(e.parties))
	return e.quote(b.Nonce, b.Fault)
}

// walled holds the walls to what the task needs. Whoever starts this process says
// which ones to build; what they let through would be his choice, too, if it were
// not looked at here (spec §9.1.12).
func (e *enclave) walled(b *tee.Begin) error {
	if e.within == nil {
		if b.Platform.Kind != attest.Simulated {
			return fmt.Errorf("this enclave has no walls, and a function that breaks out would have the machine before it: it quotes by a simulated TEE only, not by %s", b.Platform.Kind)
		}
		return nil
	}
	runtime := b.Function.Manifest.Runtime
	if want := e.runtimes[runtime].Walls; e.within.Kind != want {
		return fmt.Errorf("%s functions want walls for %s; these are for %s", runtime, want, e.within.Kind)
	}
	needs := b.Platform.Needs()
	for _, path := range e.within.Let {
		if !slices.Contains(needs, path) {
			return fmt.Errorf("the walls let %s through, which %s evidence is not made by", path, b.Platform.Kind)
		}
	}
	return nil
}

// quote makes the pre-run evidence over the members' nonce, and a decoy: it is
// quoted like the other, by the same platform, and only an appraisal tells them
// apart (spec §7.6). Its keys are thrown away here.
func (e *enclave) quote(nonce task.Hash, fault uint8) (tee.Response, error) {
	c, runtime := e.begin.Context, e.evidence.Runtime
	genuine, err := attest.Make(e.quoter, c, e.evidence.Keys, nonce, attest.EmptyState, runtime)
	if err != nil {
		return tee.Response{}, err
	}
	thrown, err := seal.NewEnclaveKey()
	if err != nil {
		return tee.Response{}, err
	}
	_, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tee.Response{}, err
	}
	keys := attest.Keys{Seal: attest.SealKey(thrown.Public()), Sign: task.PublicKey(sign)}
	decoy, err := attest.Decoy(e.quoter, c, keys, nonce, runtime, fault)
	if err != nil {
		return tee.Response{}, err
	}
	e.evidence = genuine
	return tee.Response{Evidence: task.Encode(genuine), Decoy: task.Encode(decoy), Seal: e.sealKey.Public()}, nil
}

// take opens a party's release. One that does not open is remembered: it is
// the party's fault, and the result says so.
func (e *enclave) take(r task.Release) error {
	if int(r.Party) >= len(e.parties) || !e.parties[r.Party].Releases {
		return fmt.Errorf("party %d of this task has nothing to release", r.Party)
	}
	o, err := e.sealKey.Open(r)
	e.opened[r.Party] = &secret{release: r.Hash(), shown: r.Evidence, id: o.ID, file: o.File, to: o.Recipient, bad: err != nil}
	return nil
}

// released says which evidence all parties have released to, if they have.
func (e *enclave) released() (to task.Hash, err error) {
	for i, p := range e.parties {
		switch s := e.opened[i]; {
		case !p.Releases:
		case s == nil:
			return to, fmt.Errorf("all releases come before the run; the %s's, of party %d, is missing", p.Role, i)
		case !to.IsZero() && s.shown != to:
			return to, errors.New("the parties have released to different evidence")
		default:
			to = s.shown
		}
	}
	return to, nil
}

// keys are the releases by party, for the result.
func (e *enclave) keys() []task.Hash {
	all := make([]task.Hash, len(e.opened))
	for i, s := range e.opened {
		if s != nil {
			all[i] = s.release
		}
	}
	return all
}

// run decrypts, runs the code on the data, encrypts what came out to the requester,
// and signs the result. If a party's release opens nothing, it runs again with
// another: the party may have told the node another than the chain.
//
// What is shown of the run is coarse, the moment of the answer too (spec §9.8).
func (e *enclave) run(q tee.Run) (tee.Response, error) {
	began := e.clock.now()
	judged, err := e.released() // what was judged, not what was quoted last
	if err != nil {
		return tee.Response{}, err
	}
	res := task.Result{
		Keys: e.keys(),
		Task: e.begin.Context.Task, Attempt: e.begin.Context.Attempt, View: e.begin.Context.View,
		Node: e.begin.Context.Node, Evidence: judged, PreState: e.evidence.State,
	}
	m := e.begin.Function.Manifest
	ran, err := e.execute(q)
	if err != nil {
		return tee.Response{}, err
	}
	e.ran = true
	output, err := e.pack(m, &ran, e.clock.now().Sub(began))
	if err != nil {
		return tee.Response{}, err
	}
	res.Outcome, res.Party, res.Gas = ran.outcome, ran.party, m.Shown(e.begin.Task, ran.outcome, ran.Gas)
	_, _, e.blamed = res.Blames()
	e.state, res.PostState = ran.After, ran.After
	if ran.outcome != task.OutOfTime { // the next executor runs it again, and each would show something
		res.Output, res.Size = task.Hash(sha256.Sum256(output)), uint64(len(output))
	}
	if !e.blamed {
		clear(e.opened)
	}
	signed := task.SignedResult{Result: res, Signature: task.Sign(e.signKey, res.Hash())}
	e.clock.until(began.Add(handOut(m, ran.outcome, e.clock.now().Sub(began))))
	return tee.Response{Result: &signed, Output: output}, nil
}

// handOut is when a result is handed out, after the run began (spec §9.5.7): one that
// is out of time when its time is over, however it came to that.
func handOut(m task.Manifest, o task.Outcome, took time.Duration) time.Duration {
	ms := uint64((took + time.Millisecond - 1) / time.Millisecond)
	return time.Duration(m.ShownMillis(o, ms)) * time.Millisecond
}

// exit proves what is left: the same enclave, an empty writable space, and a
// nonce that nobody knew before the result was signed (spec §9.5).
func (e *enclave) exit(q tee.Exit) (tee.Response, error) {
	c := e.begin.Context
	c.Round = task.PostRun
	if q.Context != c {
		return tee.Response{}, errors.New("the exit is of another context")
	}
	ev, err := attest.Make(e.quoter, c, e.evidence.Keys, q.Nonce, e.state, e.evidence.Runtime)
	return tee.Response{Evidence: task.Encode(ev)}, err
}

// clock is what the enclave knows of time: its kernel's clock, which whoever runs
// the machine can stop or hurry (spec §9.5.7).
type clock struct {
	now   func() time.Time
	until func(time.Time) // waits
}

var system = clock{time.Now, func(t time.Time) { time.Sleep(time.Until(t)) }}
