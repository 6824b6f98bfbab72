package wallet

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/task"
)

func TestKeystoreRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "key.age")
	k, _ := New()
	if err := Save(path, k, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if err := Save(path, k, "other"); task.CodeOf(err) != "key-exists" {
		t.Errorf("overwrote: %v", err)
	}
	got, err := Load(path, "correct horse")
	if err != nil || !got.Account().Equal(k.Account()) {
		t.Fatalf("%v", err)
	}
	if _, err := Load(path, "wrong"); task.CodeOf(err) != "key-locked" {
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
		if _, err := Load(path, "correct horse"); task.CodeOf(err) != "key-damaged" {
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
