package wallet

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
)

// What is kept opens the result in another process of the same person, and in
// nobody's else; it is sealed on the disk, and gone once it was forgotten.
func TestVaultKeeps(t *testing.T) {
	keys, err := New()
	if err != nil {
		t.Fatal(err)
	}
	v, input := Vault{keys, filepath.Join(t.TempDir(), "tasks")}, task.Blob{CID: "bafy", Size: 1}
	_, s, err := v.Lock([]byte("input"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(input); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(v.Dir, "bafy.age")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	made := s.(*secrets)
	for _, id := range []seal.Identity{made.input, made.result} {
		if bytes.Contains(raw, id.Secret()) || bytes.Contains(raw, []byte(hex.EncodeToString(id.Secret()))) {
			t.Error("a secret is in the file as it is")
		}
	}

	found, err := v.Find(input)
	if err != nil {
		t.Fatal(err)
	}
	result, err := seal.Encrypt(s.Recipient(), []byte("result"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := found.Open(result, 6); err != nil || string(got) != "result" || found.Recipient() != s.Recipient() {
		t.Errorf("%q, %v", got, err)
	}
	enclave, err := seal.NewEnclaveKey()
	if err != nil {
		t.Fatal(err)
	}
	r, err := found.Seal(task.Release{Party: 1}, enclave.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := enclave.Open(r); err != nil || got.File != made.file || got.Recipient != made.Recipient() || !bytes.Equal(got.ID.Secret(), made.input.Secret()) {
		t.Errorf("the enclave got another key: %v", err)
	}

	other, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Vault{other, v.Dir}).Find(input); task.CodeOf(err) != "task-key-damaged" {
		t.Errorf("another's keystore: %v", err)
	}
	if err := os.WriteFile(path, raw[:len(raw)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Find(input); task.CodeOf(err) != "task-key-damaged" {
		t.Errorf("a file that is not whole: %v", err)
	}
	if err := found.Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Find(input); task.CodeOf(err) != "key-gone" {
		t.Errorf("forgotten: %v", err)
	}
	if left, _ := os.ReadDir(v.Dir); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

// Without a place nothing is kept: the demo's secrets are in memory only.
func TestVaultWithoutAPlace(t *testing.T) {
	_, s, err := Vault{}.Lock([]byte("input"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := s.Keep(task.Blob{CID: "bafy"}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir("."); len(left) != 0 {
		t.Errorf("%v were written", left)
	}
	if err := s.Forget(); err != nil {
		t.Error(err)
	}
}
