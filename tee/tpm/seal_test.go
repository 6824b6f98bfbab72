package tpm

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// A TPM derives the same key for the same program after a restart, and another
// for everything else.
func TestSealingKey(t *testing.T) {
	b := newBench(t)
	m, other := b.machine("a"), b.machine("b")
	q := m.quoter()
	derive := func(q Quoter, label task.Hash) task.Hash {
		t.Helper()
		key, err := q.SealingKey(label)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	want := derive(q, task.Hash{1})
	if want.IsZero() || derive(q, task.Hash{1}) != want {
		t.Error("not the same key twice")
	}
	if derive(q, task.Hash{2}) == want || derive(other.quoter(), task.Hash{1}) == want {
		t.Error("the key of another label or TPM is the same")
	}
	m.restart()
	if again := m.quoter(); derive(again, task.Hash{1}) != want {
		t.Error("another key after a restart")
	}
	m.restart() // and nothing is measured
	q.Path = m.Socket
	if _, err := q.SealingKey(task.Hash{1}); task.CodeOf(err) != "tpm-unmeasured" {
		t.Errorf("before a program was measured: %v", err)
	}
	m.with(func(d *Device) {
		if _, err := d.Measure("other", task.Hash{99}); err != nil {
			t.Fatal(err)
		}
	})
	if derive(q, task.Hash{1}) == want {
		t.Error("another program has the same key")
	}
	// The host makes the right key's object, which anybody can, and uses it while
	// another program is in the register.
	m.with(func(d *Device) {
		policy, err := programPolicy(attest.Extended(task.Hash{}, program))
		if err != nil {
			t.Fatal(err)
		}
		k, err := d.load(sealTemplate(policy))
		if err != nil {
			t.Fatal(err)
		}
		defer k.flush()
		label := task.Hash{1}
		for name, auth := range map[string]tpm2.Session{
			"without a policy": tpm2.PasswordAuth(nil),
			"by the register's present value": tpm2.Policy(tpm2.TPMAlgSHA256, 16, func(t transport.TPM, s tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
				_, err := tpm2.PolicyPCR{PolicySession: s, Pcrs: selection(attest.ProgramPCR)}.Execute(t)
				return err
			}),
		} {
			r, err := tpm2.Hmac{Handle: k.auth(auth), Buffer: tpm2.TPM2BMaxBuffer{Buffer: label[:]}, HashAlg: tpm2.TPMAlgSHA256}.Execute(d.tpm)
			if err == nil {
				t.Errorf("%s the host got a key, which is the program's: %t", name, task.Hash(r.OutHMAC.Buffer) == want)
			}
		}
	})
}

// A host cannot have one TPM quote and another derive the key, nor answer in a
// TPM's place.
func TestSealingKeyIsOfTheTPMThatQuotes(t *testing.T) {
	b := newBench(t)
	q, other := b.machine("a").quoter(), b.machine("b").quoter()
	mixed := other
	mixed.Keys = q.Keys // as they stand in the evidence
	if key, err := mixed.SealingKey(task.Hash{1}); err == nil {
		t.Errorf("another TPM derived a key: %s", key)
	}
	// It passes all on, and then changes the result.
	between := q
	between.Path = filepath.Join(t.TempDir(), "between.sock")
	l, err := net.Listen("unix", between.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var spoil atomic.Bool
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", q.Path)
			if err == nil {
				_ = relay(from, to, spoil.Load()) // who asked finds out
				to.Close()
			}
			from.Close()
		}
	}()
	real, err := q.SealingKey(task.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	if key, err := between.SealingKey(task.Hash{1}); err != nil || key != real {
		t.Fatalf("passed on as it is: %s, %v", key, err)
	}
	spoil.Store(true)
	if key, err := between.SealingKey(task.Hash{1}); err == nil {
		t.Errorf("an answer was changed on the way, and made a key: %s", key)
	}
}

// relay passes commands and answers on; of an answer to TPM2_HMAC it may
// change a bit of the result.
func relay(from, to net.Conn, spoil bool) error {
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return err
		}
		derives := n > 10 && buf[8] == byte(tpm2.TPMCCHMAC>>8) && buf[9] == byte(tpm2.TPMCCHMAC&0xff)
		if _, err := to.Write(buf[:n]); err != nil {
			return err
		}
		if n, err = to.Read(buf); err != nil {
			return err
		}
		if spoil && derives && n > 20 { // header, size of the parameters, size of the result, result
			buf[16] ^= 1
		}
		if _, err := from.Write(buf[:n]); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}
