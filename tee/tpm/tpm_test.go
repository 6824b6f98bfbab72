package tpm

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm/swtpm"
)

var program = task.Hash(sha256.Sum256([]byte("the enclave program")))

// bench is a CA and an activator, as a chain's genesis names them.
type bench struct {
	t         *testing.T
	ca        *swtpm.CA
	dir       string
	activator Activator
	ref       attest.Reference
}

func newBench(t *testing.T) *bench {
	if err := swtpm.Missing(); err != nil {
		t.Skip(err)
	}
	b := &bench{t: t, dir: t.TempDir()}
	var err error
	if b.ca, err = swtpm.OpenCA(filepath.Join(b.dir, "ca")); err != nil {
		t.Fatal(err)
	}
	return b
}

// machine is a software TPM, switched on.
type machine struct {
	*swtpm.TPM
	b     *bench
	state string
}

func (b *bench) machine(name string) *machine {
	m := &machine{b: b, state: filepath.Join(b.dir, name)}
	if err := b.ca.Setup(b.t.Context(), m.state); err != nil {
		b.t.Fatal(err)
	}
	m.on()
	b.t.Cleanup(func() { _ = m.Stop() })
	if b.activator.Key == nil {
		root, err := b.ca.Root()
		if err != nil {
			b.t.Fatal(err)
		}
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
		b.ref = attest.Reference{AllowSimulated: true, Kinds: []attest.Kind{attest.TPM}, Measurements: []task.Hash{program}, TPM: attest.TPMReference{
			Roots: [][]byte{root}, Activators: []task.Key{task.PublicKey(key)}, Threshold: 1,
		}}
		b.activator = Activator{Key: key, Chain: "c", Reference: b.ref}
	}
	return m
}

func (m *machine) on() {
	var err error
	if m.TPM, err = swtpm.Start(m.state); err != nil {
		m.b.t.Fatal(err)
	}
}

// restart is power off and on.
func (m *machine) restart() {
	if err := m.Stop(); err != nil {
		m.b.t.Fatal(err)
	}
	m.on()
}

func (m *machine) with(f func(*Device)) {
	d, err := Open(m.Socket)
	if err != nil {
		m.b.t.Fatal(err)
	}
	defer d.Close()
	f(d)
}

// quoter measures the program and has the TPM introduced.
func (m *machine) quoter() (q Quoter) {
	m.b.t.Helper()
	m.with(func(d *Device) {
		q = Quoter{Path: m.Socket}
		var err error
		if q.Log, err = d.Measure("enclave", program); err != nil {
			m.b.t.Fatal(err)
		}
		if q.Keys, err = d.Keys(nil); err != nil {
			m.b.t.Fatal(err)
		}
		e, err := d.Introduce(q.Keys, m.b.ask)
		if err != nil {
			m.b.t.Fatal(err)
		}
		q.Endorsements = []attest.Endorsement{e}
	})
	return q
}

// ask is the stream to the activator.
func (b *bench) ask(raw []byte) ([]byte, error) {
	return task.Encode(b.activator.Answer(raw, time.Now().Unix())), nil
}

var enclaveKeys = attest.Keys{Sign: task.Key{1}}

func (b *bench) want(q Quoter) attest.Expected {
	return attest.Expected{
		Context: attest.Context{Chain: "c", Task: task.TaskID{1}, Round: task.PreRun}, Kind: string(attest.TPM), Chip: attest.EKIdentity(q.Keys.EK),
		Nonce: task.Hash{5}, State: attest.EmptyState, Now: time.Now().Unix(),
	}
}

func (b *bench) make(q attest.Quoter, w attest.Expected) attest.Evidence {
	b.t.Helper()
	e, err := attest.Make(q, w.Context, enclaveKeys, w.Nonce, attest.EmptyState, task.Hash{})
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *bench) judge(what, reason string, e attest.Evidence, w attest.Expected) {
	b.t.Helper()
	if a := attest.Appraise(e, w, task.Policy{MinTier: task.TierSimulated}, b.ref); a.Reason != reason || (a.Verdict == task.OK) != (reason == "") {
		b.t.Errorf("%s: %s %q (%s), want %q", what, a.Verdict, a.Reason, a.Detail, reason)
	}
}

// A quote of a TPM that has proven itself is good, as simulated evidence, since
// the TPM is software; a replayed one is not.
func TestQuote(t *testing.T) {
	b := newBench(t)
	q := b.machine("a").quoter()
	w := b.want(q)
	e := b.make(q, w)
	b.judge("honest", "", e, w)
	if a := attest.Appraise(e, w, task.Policy{MinTier: task.TierMeasured}, b.ref); a.Reason != attest.TierTooLow {
		t.Errorf("a TPM of software passes for a measured one: %+v", a)
	}
	real := b.ref
	real.AllowSimulated = false
	if a := attest.Appraise(e, w, task.Policy{}, real); a.Reason != attest.SimulatedRefused {
		t.Errorf("a TPM of software on a chain without simulated evidence: %+v", a)
	}
	if err := real.Check(); err == nil {
		t.Error("a genesis names swtpm's CA and no simulated evidence")
	}
	again := w
	again.Nonce = task.Hash{6}
	b.judge("replayed", attest.NonceMissing, e, again)
	e.Nonce = task.Hash{6}
	b.judge("replayed under another nonce", attest.NotBound, e, again)
	if len(e.Quote) > task.MaxEvidence/3 {
		t.Errorf("a quote of %d bytes", len(e.Quote))
	}
	// Many, one after the other, leave the three slots free.
	for range 8 {
		b.judge("again", "", b.make(q, w), w)
	}
}

// Another machine's TPM does not stand in for the registered one (cuckoo), nor
// does its key for this one's.
func TestForeignTPM(t *testing.T) {
	b := newBench(t)
	q, other := b.machine("a").quoter(), b.machine("b").quoter()
	w := b.want(q)
	b.judge("other TPM", attest.ForeignChip, b.make(other, w), w)
	mixed := other // its key, under this one's endorsement key
	mixed.Keys.EK, mixed.Keys.EKCert = q.Keys.EK, q.Keys.EKCert
	b.judge("AK of another TPM", attest.NotActivated, b.make(mixed, w), w)
	mixed.Endorsements = q.Endorsements
	b.judge("AK of another TPM under this one's endorsement", attest.NotActivated, b.make(mixed, w), w)
	cert := q
	cert.Keys.EKCert = other.Keys.EKCert
	b.judge("certificate of another TPM", attest.EndorsementMismatch, b.make(cert, w), w)
}

// A TPM that holds the endorsement key but not the quoting key, or the other
// way round, cannot answer.
func TestActivationNeedsBothKeys(t *testing.T) {
	b := newBench(t)
	m, n := b.machine("a"), b.machine("b")
	q, other := m.quoter(), n.quoter()
	mixed := q.Keys
	mixed.AK = other.Keys.AK
	for _, at := range []*machine{m, n} {
		at.with(func(d *Device) {
			if _, err := d.Introduce(mixed, b.ask); err == nil {
				t.Error("the keys of two TPMs were endorsed as one's")
			}
		})
	}
	p := Proof{Keys: q.Keys, Value: make([]byte, 32)}
	if _, err := b.activator.Endorse(p, time.Now().Unix()); task.CodeOf(err) != "activation-failed" {
		t.Errorf("a made-up proof: %v", err)
	}
	stranger := b.activator
	stranger.Reference.TPM.Roots = nil
	if _, err := stranger.Challenge(q.Keys, time.Now().Unix()); task.CodeOf(err) != attest.UntrustedChain {
		t.Errorf("a TPM of nobody's: %v", err)
	}
	if r := b.activator.Answer([]byte{0xff}, 0); r.Refused == "" {
		t.Error("rubbish was answered")
	}
}

// What is measured stays until a restart: another program, or one measured
// twice, is another measurement, and a register that can be reset is not
// relied on.
func TestProgramRegister(t *testing.T) {
	b := newBench(t)
	m := b.machine("a")
	q := m.quoter()
	w := b.want(q)
	m.with(func(d *Device) {
		if _, err := d.Measure("again", program); err != nil {
			t.Errorf("the same program again: %v", err)
		}
		if _, err := d.Measure("other", task.Hash{1}); task.CodeOf(err) != "tpm-extended" {
			t.Errorf("another program: %v", err)
		}
		for _, pcr := range []tpm2.TPMHandle{16, 23} { // debug registers: anybody may extend and reset them
			extend(t, d, pcr)
		}
	})
	b.judge("registers that can be reset", "", b.make(q, w), w)
	m.with(func(d *Device) { extend(t, d, attest.ProgramPCR) })
	b.judge("extended, and not said so", attest.LogMismatch, b.make(q, w), w)
	q.Log = append(q.Log, attest.LogEntry{What: "something", Digest: task.Hash{9}})
	b.judge("extended, and said so", attest.WrongMeasurement, b.make(q, w), w)
	m.with(func(d *Device) {
		if _, err := (tpm2.PCRReset{PCRHandle: tpm2.AuthHandle{Handle: attest.ProgramPCR, Auth: tpm2.PasswordAuth(nil)}}).Execute(d.tpm); err == nil {
			t.Error("the program's register was reset")
		}
	})
}

func extend(t *testing.T, d *Device, pcr tpm2.TPMHandle) {
	digest := task.Hash{9}
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: pcr, Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]}}},
	}.Execute(d.tpm)
	if err != nil {
		t.Fatal(err)
	}
}

// A machine that was restarted between the two rounds is found out, and has the
// same identity.
func TestRestart(t *testing.T) {
	b := newBench(t)
	m := b.machine("a")
	q := m.quoter()
	w := b.want(q)
	pre := b.make(q, w)
	b.judge("before the run", "", pre, w)
	exit := w
	exit.Keys, exit.Boots = &enclaveKeys, pre.Boots()
	if exit.Boots == nil {
		t.Fatal("no count of boots")
	}
	b.judge("exit without a restart", "", b.make(q, exit), exit)
	m.restart()
	again := m.quoter()
	if attest.EKIdentity(again.Keys.EK) != w.Chip || !bytes.Equal(again.Keys.AK, q.Keys.AK) {
		t.Error("a TPM's keys changed by a restart")
	}
	again.Endorsements = q.Endorsements // an activation is for ever
	b.judge("exit after a restart", attest.Restarted, b.make(again, exit), exit)
	b.judge("the next task", "", b.make(again, w), w)
}

// A decoy on a TPM is faulty for all who look.
func TestDecoyOnATPM(t *testing.T) {
	b := newBench(t)
	q := b.machine("a").quoter()
	w := b.want(q)
	for fault, reason := range map[uint8]string{0: attest.DirtyState, 1: attest.NonceMissing, 2: attest.NotBound, 3: attest.NotBound, 4: attest.BadSignature} {
		e, err := attest.Decoy(q, w.Context, enclaveKeys, w.Nonce, task.Hash{}, fault)
		if err != nil {
			t.Fatal(err)
		}
		b.judge("decoy", reason, e, w)
	}
}
