package seal

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/task"
)

func TestBlobOpensForItsIdentityOnly(t *testing.T) {
	a, _ := NewIdentity()
	b, _ := NewIdentity()
	file, err := Encrypt(a.Recipient(), []byte("picture"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Decrypt(file, 7); err != nil || string(got) != "picture" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := a.Decrypt(file, 6); err == nil {
		t.Error("a file over the limit was opened")
	}
	if _, err := b.Decrypt(file, 7); err == nil {
		t.Error("another identity opened the file")
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if _, err := a.Decrypt(bad, 7); err == nil {
			t.Fatalf("byte %d changed and the file still opened", i)
		}
	}
}

func TestReleaseIsBoundToAllItWasMadeFor(t *testing.T) {
	enclave, _ := NewEnclaveKey()
	other, _ := NewEnclaveKey()
	secret, _ := NewIdentity()
	r, err := Seal(task.Release{Attempt: 1, View: 2, Party: 1, Evidence: task.Hash{3}}, enclave.Public(), Opened{secret, task.Hash{7}, "age1"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := enclave.Open(r); err != nil || got.File != (task.Hash{7}) || got.Recipient != "age1" || !bytes.Equal(got.ID.Secret(), secret.Secret()) {
		t.Fatalf("the enclave cannot open its release: %v", err)
	}
	if _, err := other.Open(r); err == nil {
		t.Error("another enclave opened it")
	}
	for name, change := range map[string]func(*task.Release){
		"task":     func(r *task.Release) { r.Task[0] ^= 1 },
		"attempt":  func(r *task.Release) { r.Attempt++ },
		"view":     func(r *task.Release) { r.View++ },
		"party":    func(r *task.Release) { r.Party = 2 },
		"evidence": func(r *task.Release) { r.Evidence[0] ^= 1 },
		"sealed":   func(r *task.Release) { r.Sealed = bytes.Clone(r.Sealed); r.Sealed[len(r.Sealed)-1] ^= 1 },
		"short":    func(r *task.Release) { r.Sealed = r.Sealed[:100] },
	} {
		bad := r
		change(&bad)
		if _, err := enclave.Open(bad); err == nil {
			t.Errorf("opened with another %s", name)
		}
	}
}

func TestIdentityNeverPrints(t *testing.T) {
	id, _ := NewIdentity()
	for _, s := range []string{fmt.Sprint(id), fmt.Sprintf("%v %+v %#v %s %q %x", id, id, id, id, id, id)} {
		if bytes.Contains([]byte(s), []byte("SECRET")) || bytes.Contains([]byte(s), []byte(hex.EncodeToString(id.Secret()))) {
			t.Errorf("printed itself: %s", s)
		}
	}
}

func TestKeystoreRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "key.age")
	k, _ := NewKeystore()
	if err := SaveKeystore(path, k, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if err := SaveKeystore(path, k, "other"); task.CodeOf(err) != "key-exists" {
		t.Errorf("overwrote: %v", err)
	}
	got, err := LoadKeystore(path, "correct horse")
	if err != nil || !got.Account().Equal(k.Account()) {
		t.Fatalf("%v", err)
	}
	if _, err := LoadKeystore(path, "wrong"); task.CodeOf(err) != "key-locked" {
		t.Errorf("wrong passphrase: %v", err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{nil, file[:len(file)/2], file[:len(file)-1], make([]byte, maxKeyFile+1)} {
		if err := os.WriteFile(path, part, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeystore(path, "correct horse"); task.CodeOf(err) != "key-damaged" {
			t.Errorf("%d bytes of a key file: %v", len(part), err)
		}
	}
	again, err := FromMnemonic(k.Mnemonic())
	if err != nil || !again.Account().Equal(k.Account()) || again.Account().Equal(again.Peer()) {
		t.Error("the mnemonic does not restore the key")
	}
}

// SLIP-10 test vector 1 for Ed25519: chain m/0'/1' would need other steps; the
// master key of the same seed checks the derivation's first half.
func TestSlip10Master(t *testing.T) {
	seed, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f")
	if got := hex.EncodeToString(hmac512([]byte("ed25519 seed"), seed)[:32]); got != "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7" {
		t.Errorf("master key %s", got)
	}
}
