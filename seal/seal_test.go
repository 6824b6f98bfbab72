package seal

import (
	"bytes"
	"encoding/hex"
	"fmt"
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
