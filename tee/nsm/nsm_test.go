package nsm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// The module is asked in its own words, and its document is handed on as it is.
func TestQuote(t *testing.T) {
	data := task.Hash{1, 2, 3}
	q := Quoter{func(raw []byte) ([]byte, error) {
		var r map[string]map[string][]byte
		if err := cbor.Unmarshal(raw, &r); err != nil || !bytes.Equal(r["Attestation"]["user_data"], data[:]) || len(r["Attestation"]) != 3 {
			t.Errorf("asked %x, %v", raw, err)
		}
		return cbor.Marshal(map[string]any{"Attestation": map[string]any{"document": []byte("signed")}})
	}}
	raw, err := q.Quote(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := task.Decode[attest.NitroQuote](raw, task.MaxEvidence); err != nil || string(got.Document) != "signed" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	for name, answer := range map[string]func([]byte) ([]byte, error){
		"no device":   func([]byte) ([]byte, error) { return nil, os.ErrNotExist },
		"an error":    func([]byte) ([]byte, error) { return cbor.Marshal(map[string]any{"Error": "InvalidOperation"}) },
		"no document": func([]byte) ([]byte, error) { return cbor.Marshal(map[string]any{"Attestation": map[string]any{}}) },
		"too much":    func([]byte) ([]byte, error) { return make([]byte, maxResponse+1), nil },
		"rubbish":     func([]byte) ([]byte, error) { return []byte{0xff}, nil },
		"broken":      func([]byte) ([]byte, error) { return nil, errors.New("EIO") },
	} {
		if _, err := (Quoter{answer}).Quote(task.Hash{}); err == nil {
			t.Errorf("%s gave a quote", name)
		}
	}
}

func TestNoDevice(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "nsm")).Quote(task.Hash{}); task.CodeOf(err) != "tee-missing" {
		t.Errorf("%v", err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(plain).Quote(task.Hash{}); task.CodeOf(err) != "tee-missing" { // ENOTTY
		t.Errorf("%v", err)
	}
	if ioctlRaw != 0xC0200A00 { // as the kernel's header gives it
		t.Errorf("%#x", uint(ioctlRaw))
	}
}
