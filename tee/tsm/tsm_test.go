package tsm

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// kernel behaves like configfs: a new directory has its files at once, and
// outblob gives the report when inblob has been written. The two are FIFOs.
func kernel(t *testing.T, provider, generation string, aux []byte, report func(data []byte) []byte) func() (string, error) {
	return func() (string, error) {
		dir, err := os.MkdirTemp(t.TempDir(), "entry")
		if err != nil {
			return "", err
		}
		path := func(name string) string { return filepath.Join(dir, name) }
		for name, b := range map[string][]byte{"provider": []byte(provider + "\n"), "generation": []byte(generation + "\n"), "auxblob": aux} {
			if err := os.WriteFile(path(name), b, 0o600); err != nil {
				return "", err
			}
		}
		for _, name := range []string{"inblob", "outblob"} {
			if err := syscall.Mkfifo(path(name), 0o600); err != nil {
				return "", err
			}
		}
		go func() {
			data, err := os.ReadFile(path("inblob"))
			if err != nil || len(data) != 64 {
				t.Errorf("%d bytes of report data, %v", len(data), err)
			}
			_ = os.WriteFile(path("outblob"), report(data), 0o600)
		}()
		return dir, nil
	}
}

func table(parts map[[16]byte][]byte) []byte {
	head := 24 * (len(parts) + 1)
	var entries, data []byte
	for id, b := range parts {
		entries = append(entries, id[:]...)
		entries = binary.LittleEndian.AppendUint32(entries, uint32(head+len(data)))
		entries = binary.LittleEndian.AppendUint32(entries, uint32(len(b)))
		data = append(data, b...)
	}
	return append(append(entries, make([]byte, 24)...), data...)
}

func TestSNP(t *testing.T) {
	aux := table(map[[16]byte][]byte{guidVCEK: []byte("vcek"), guidASK: []byte("ask"), {1}: []byte("ark")})
	mkdir := kernel(t, providerSNP, "1", aux, func(data []byte) []byte { return append([]byte("report over "), data...) })
	data := task.Hash{1, 2, 3}
	raw, err := Quoter{mkdir: mkdir, Is: attest.SEVSNP}.Quote(data)
	if err != nil {
		t.Fatal(err)
	}
	q, err := task.Decode[attest.SNPQuote](raw, task.MaxEvidence)
	if err != nil || string(q.VCEK) != "vcek" || string(q.ASK) != "ask" {
		t.Fatalf("%+v, %v", q, err)
	}
	if want := append([]byte("report over "), append(data[:], make([]byte, 32)...)...); !bytes.Equal(q.Report, want) {
		t.Errorf("%x, want %x", q.Report, want)
	}
}

func TestTDX(t *testing.T) {
	mkdir := kernel(t, providerTDX, "1", nil, func([]byte) []byte { return []byte("quote") })
	raw, err := Quoter{mkdir: mkdir, Is: attest.TDX, Collateral: &attest.TDXCollateral{Signer: []byte("s")}}.Quote(task.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	if q, err := task.Decode[attest.TDXQuote](raw, task.MaxEvidence); err != nil || string(q.Quote) != "quote" || string(q.Collateral.Signer) != "s" {
		t.Errorf("%+v, %v", q, err)
	}
	if _, err := (Quoter{mkdir: mkdir, Is: attest.TDX}).Quote(task.Hash{1}); task.CodeOf(err) != "collateral-missing" {
		t.Errorf("%v", err)
	}
	if _, err := (Quoter{mkdir: mkdir, Is: attest.SEVSNP}).Quote(task.Hash{1}); task.CodeOf(err) != "tee-other" {
		t.Errorf("%v", err)
	}
}

func TestRefused(t *testing.T) {
	if _, err := (Quoter{Is: attest.TDX}).Quote(task.Hash{}); task.CodeOf(err) != "tee-missing" {
		t.Errorf("%v", err)
	}
	written := kernel(t, providerTDX, "2", nil, func([]byte) []byte { return []byte("quote") })
	if _, err := (Quoter{mkdir: written, Is: attest.TDX, Collateral: &attest.TDXCollateral{}}).Quote(task.Hash{}); err == nil {
		t.Error("a report that somebody else had a hand in")
	}
	for _, aux := range [][]byte{nil, append(append(guidVCEK[:], 0xff, 0xff, 0xff, 0xff), 0xff, 0xff, 0xff, 0xff)} {
		mkdir := kernel(t, providerSNP, "1", aux, func([]byte) []byte { return []byte("r") })
		if _, err := (Quoter{mkdir: mkdir, Is: attest.SEVSNP}).Quote(task.Hash{}); err == nil {
			t.Errorf("certificates out of %x", aux)
		}
	}
}
