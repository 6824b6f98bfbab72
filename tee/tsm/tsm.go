// Package tsm makes SEV-SNP and TDX evidence inside a confidential VM, through
// the kernel's configfs (Linux 6.7, Documentation/ABI/testing/configfs-tsm): a
// directory under /sys/kernel/config/tsm/report takes report data in inblob and
// gives the report in outblob and the provider's name in provider.
//
// It was written against the kernel's documentation and tested with a directory
// that behaves so. It has not been run on hardware.
package tsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// kernelRoot is where the kernel has it.
const kernelRoot = "/sys/kernel/config/tsm/report"

// The providers' names.
const (
	providerSNP = "sev_guest"
	providerTDX = "tdx_guest"
)

// maxBlob bounds what is read of the kernel, in bytes.
const maxBlob = 64 << 10

// Quoter quotes through the kernel of this VM.
type Quoter struct {
	Is         attest.Kind           `cbor:"1,keyasint"`
	Certs      *SNPCerts             `cbor:"2,keyasint,omitempty"` // of SEV-SNP, where the host gives none
	Collateral *attest.TDXCollateral `cbor:"3,keyasint,omitempty"` // of TDX, fetched by the node beforehand

	mkdir func() (string, error) // nil is the kernel's, which fills the new directory
}

// SNPCerts are a chip's certificate and the one that signed it, DER.
type SNPCerts struct {
	VCEK []byte `cbor:"1,keyasint"`
	ASK  []byte `cbor:"2,keyasint"`
}

// Needs are the kernel's files by which reports are made.
func (q Quoter) Needs() []string { return []string{kernelRoot} }

// Kind is SEV-SNP's or TDX's.
func (q Quoter) Kind() attest.Kind { return q.Is }

// Quote asks the kernel for a report over the data, with zeros behind it.
func (q Quoter) Quote(reportData task.Hash) ([]byte, error) {
	mkdir := q.mkdir
	if mkdir == nil {
		mkdir = func() (string, error) { return os.MkdirTemp(kernelRoot, "prytany") }
	}
	r, err := report(mkdir, reportData)
	if err != nil {
		return nil, err
	}
	switch {
	case q.Is == attest.SEVSNP && r.provider == providerSNP:
		certs, err := r.snpCerts(q.Certs)
		if err != nil {
			return nil, err
		}
		return task.Encode(attest.SNPQuote{Report: r.out, VCEK: certs.VCEK, ASK: certs.ASK}), nil
	case q.Is == attest.TDX && r.provider == providerTDX:
		if q.Collateral == nil {
			return nil, task.Refuse("collateral-missing", "Intel's collateral for this platform was not given, and no quote is good without it")
		}
		return task.Encode(attest.TDXQuote{Quote: r.out, Collateral: *q.Collateral}), nil
	}
	return nil, task.Refuse("tee-other", "this VM's reports come from %q, not from %s", r.provider, q.Is)
}

// made is what the kernel gave.
type made struct {
	out, aux []byte
	provider string
}

// report makes one entry, as the kernel wants it: the generation counts writes,
// so a generation of more than one means that somebody else wrote in between.
func report(mkdir func() (string, error), data task.Hash) (m made, err error) {
	dir, err := mkdir()
	if err != nil {
		return m, task.Refuse("tee-missing", "no confidential VM here: %v", err)
	}
	defer os.Remove(dir) // configfs takes its files with it
	if err := os.WriteFile(filepath.Join(dir, "inblob"), append(data[:], make([]byte, 32)...), 0o200); err != nil {
		return m, fmt.Errorf("tsm: %w", err)
	}
	if m.out, err = read(dir, "outblob"); err != nil {
		return m, err
	}
	provider, err := read(dir, "provider")
	if err != nil {
		return m, err
	}
	m.provider = strings.TrimSpace(string(provider))
	m.aux, _ = read(dir, "auxblob") // not every provider has one
	generation, err := read(dir, "generation")
	if err != nil {
		return m, err
	}
	if g := strings.TrimSpace(string(generation)); g != "1" {
		return m, fmt.Errorf("tsm: the report is of generation %s: somebody else wrote to it", g)
	}
	return m, nil
}

func read(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("tsm: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBlob+1))
	if err == nil && len(b) > maxBlob {
		err = fmt.Errorf("tsm: %s: %w", name, task.ErrTooLarge)
	}
	return b, err
}

// The certificates' names in the host's table (GHCB specification, table 9).
var (
	guidVCEK = [16]byte{0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd}
	guidASK  = [16]byte{0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82}
)

// snpCerts takes the chip's certificates from the host's table, or from what
// the node was given.
func (m made) snpCerts(given *SNPCerts) (c SNPCerts, err error) {
	for at := 0; at+24 <= len(m.aux); at += 24 {
		entry := m.aux[at : at+24]
		from, size := binary.LittleEndian.Uint32(entry[16:]), binary.LittleEndian.Uint32(entry[20:])
		if bytes.Equal(entry, make([]byte, 24)) {
			break
		}
		if uint64(from)+uint64(size) > uint64(len(m.aux)) {
			return c, fmt.Errorf("tsm: the host's table of certificates points out of itself")
		}
		switch [16]byte(entry[:16]) {
		case guidVCEK:
			c.VCEK = m.aux[from : from+size]
		case guidASK:
			c.ASK = m.aux[from : from+size]
		}
	}
	if given != nil {
		c = *given
	}
	if len(c.VCEK) == 0 || len(c.ASK) == 0 {
		return c, task.Refuse("certificate-missing", "the host gives no certificate of the chip, and none was given")
	}
	return c, nil
}
