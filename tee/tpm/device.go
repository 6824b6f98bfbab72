// Package tpm makes [attest.TPM] evidence with a TPM 2.0: a real one behind
// Linux's resource manager (/dev/tpmrm0), or swtpm behind a Unix socket.
//
// A TPM shows which program was started on a machine. It does not keep the
// memory of that program from the machine's owner: the tier is measured. And a
// software TPM shows nothing at all; its evidence says what it is by its
// certificate.
//
// A TPM cannot say in a quote that the key which signs it lives beside the
// endorsement key that its maker has certified. It can prove it to somebody who
// asks ([Challenge], [Answer]); that activator then says so for everyone
// ([Endorse]; ADR 0017).
package tpm

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// DefaultPath is where Linux gives a TPM to many processes at once.
const DefaultPath = "/dev/tpmrm0"

// Device is an open TPM. It has three slots for keys, so what is loaded is
// flushed again before a method returns. Not for several goroutines.
type Device struct {
	tpm  transport.TPMCloser
	lock *os.File // of a socket, which has no resource manager before it
}

// Open opens a TPM device, or swtpm's socket; of the latter it waits until no
// other process has it.
func Open(path string) (*Device, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, task.Refuse("tpm-missing", "no TPM at %s: %v", path, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		t, err := linuxtpm.Open(path)
		return &Device{tpm: t}, err
	}
	lock, err := os.OpenFile(lockOf(path), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	t, err := linuxudstpm.Open(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Device{t, lock}, nil
}

// Close lets go of the TPM.
func (d *Device) Close() error {
	_ = d.tpm.Close() // a socket is not open between two commands
	if d.lock != nil {
		return d.lock.Close()
	}
	return nil
}

// The endorsement key is the maker's: RSA, by the TCG's template, with its
// certificate at the TCG's place.
const ekCertIndex = 0x01C00002

// akTemplate is a key that signs what the TPM has made and nothing else. As a
// primary key it is the same each time, so nothing of it is stored; it is in
// the endorsement hierarchy, where clock and firmware are quoted in the clear.
var akTemplate = tpm2.TPMTPublic{
	Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
	},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		CurveID: tpm2.TPMECCNistP256,
		Scheme: tpm2.TPMTECCScheme{
			Scheme:  tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
		},
	}),
}

// loaded is a key in one of the three slots.
type loaded struct {
	d      *Device
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public []byte // TPMT_PUBLIC
}

func (d *Device) load(template tpm2.TPMTPublic, sessions ...tpm2.Session) (*loaded, error) {
	r, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(template),
	}.Execute(d.tpm, sessions...)
	if err != nil {
		return nil, fmt.Errorf("tpm: create a key: %w", err)
	}
	return &loaded{d, r.ObjectHandle, r.Name, r.OutPublic.Bytes()}, nil
}

func (k *loaded) flush() { _, _ = tpm2.FlushContext{FlushHandle: k.handle}.Execute(k.d.tpm) }

func (k *loaded) auth(s tpm2.Session) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: k.handle, Name: k.name, Auth: s}
}

// Keys returns what the TPM is known by. chain is the way from its certificate
// to the maker's root, DER, where the certificate is not signed by the root.
func (d *Device) Keys(chain [][]byte) (attest.TPMKeys, error) {
	k := attest.TPMKeys{EKChain: chain}
	for _, part := range []struct {
		template tpm2.TPMTPublic
		to       *[]byte
	}{{tpm2.RSAEKTemplate, &k.EK}, {akTemplate, &k.AK}} {
		key, err := d.load(part.template)
		if err != nil {
			return k, err
		}
		*part.to = key.public
		key.flush()
	}
	cert, err := d.readNV(ekCertIndex)
	if err != nil {
		return k, task.Refuse("tpm-no-certificate", "the TPM holds no certificate of its endorsement key at %#x: %v", ekCertIndex, err)
	}
	if k.EKCert, err = attest.StoredCertificate(cert); err != nil {
		return k, task.Refuse("tpm-no-certificate", "what the TPM holds at %#x is no certificate of an endorsement key: %v", ekCertIndex, err)
	}
	return k, nil
}

// maxNV bounds what is read of an index, in bytes.
const maxNV = 8 << 10

func (d *Device) readNV(index tpm2.TPMHandle) ([]byte, error) {
	p, err := tpm2.NVReadPublic{NVIndex: index}.Execute(d.tpm)
	if err != nil {
		return nil, err
	}
	info, err := p.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	if info.DataSize > maxNV {
		return nil, fmt.Errorf("%d bytes, at most %d are read", info.DataSize, maxNV)
	}
	var all []byte
	for len(all) < int(info.DataSize) {
		r, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: p.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: p.NVName},
			Size:       min(512, info.DataSize-uint16(len(all))), Offset: uint16(len(all)),
		}.Execute(d.tpm)
		if err != nil {
			return nil, err
		}
		if len(r.Data.Buffer) == 0 {
			return nil, fmt.Errorf("it ends after %d bytes", len(all))
		}
		all = append(all, r.Data.Buffer...)
	}
	return all, nil
}

func selection(pcrs ...uint) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...)}}}
}

// registers reads registers of the SHA-256 bank; a TPM gives eight at most at
// once.
func (d *Device) registers(pcrs ...uint) ([]task.Hash, error) {
	var all []task.Hash
	for _, i := range pcrs {
		r, err := tpm2.PCRRead{PCRSelectionIn: selection(i)}.Execute(d.tpm)
		if err != nil {
			return nil, fmt.Errorf("tpm: read register %d: %w", i, err)
		}
		if len(r.PCRValues.Digests) != 1 || len(r.PCRValues.Digests[0].Buffer) != 32 {
			return nil, fmt.Errorf("tpm: register %d has no SHA-256 bank", i)
		}
		all = append(all, task.Hash(r.PCRValues.Digests[0].Buffer))
	}
	return all, nil
}

// Measure extends the program's register with a program, once a boot, and
// returns the log that leads to the register. Another program cannot take its
// place before a reboot.
func (d *Device) Measure(what string, program task.Hash) ([]attest.LogEntry, error) {
	log := []attest.LogEntry{{What: what, Digest: program}}
	want := attest.Extended(task.Hash{}, program)
	have, err := d.registers(attest.ProgramPCR)
	if err != nil {
		return nil, err
	}
	if have[0].IsZero() {
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: attest.ProgramPCR, Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: program[:]}}},
		}.Execute(d.tpm)
		if err != nil {
			return nil, fmt.Errorf("tpm: extend register %d: %w", attest.ProgramPCR, err)
		}
		if have, err = d.registers(attest.ProgramPCR); err != nil {
			return nil, err
		}
	}
	if have[0] != want {
		return nil, task.Refuse("tpm-extended", "register %d holds something else than this program: another was measured since the machine was started", attest.ProgramPCR).
			WithNext("restart the machine")
	}
	return log, nil
}

// quote signs report data with the registers.
func (d *Device) quote(q attest.TPMQuote, reportData task.Hash) ([]byte, error) {
	ak, err := d.load(akTemplate)
	if err != nil {
		return nil, err
	}
	defer ak.flush()
	if q.PCRs, err = d.registers(attest.QuotedPCRs...); err != nil {
		return nil, err
	}
	r, err := tpm2.Quote{
		SignHandle: ak.auth(tpm2.PasswordAuth(nil)), QualifyingData: tpm2.TPM2BData{Buffer: reportData[:]},
		InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: selection(attest.QuotedPCRs...),
	}.Execute(d.tpm)
	if err != nil {
		return nil, fmt.Errorf("tpm: quote: %w", err)
	}
	q.Attest, q.Signature = r.Quoted.Bytes(), tpm2.Marshal(r.Signature)
	return task.Encode(q), nil
}

// Quoter is a TPM that has been introduced: what quotes need beside it.
type Quoter struct {
	Path         string               `cbor:"1,keyasint"`
	Keys         attest.TPMKeys       `cbor:"2,keyasint"`
	Endorsements []attest.Endorsement `cbor:"3,keyasint"`
	Log          []attest.LogEntry    `cbor:"4,keyasint"`
}

// Needs are the files by which the TPM is reached.
func (q Quoter) Needs() []string {
	if _, err := os.Stat(lockOf(q.Path)); err == nil {
		return []string{q.Path, lockOf(q.Path)}
	}
	return []string{q.Path}
}

// lockOf is the file that processes take turns by at a TPM's socket.
func lockOf(socket string) string { return socket + ".lock" }

// Kind is [attest.TPM].
func (Quoter) Kind() attest.Kind { return attest.TPM }

// Quote opens the TPM for one quote: some hundred milliseconds on a real one.
func (q Quoter) Quote(reportData task.Hash) ([]byte, error) {
	d, err := Open(q.Path)
	if err != nil {
		return nil, err
	}
	quote, err := d.quote(attest.TPMQuote{Keys: q.Keys, Endorsements: q.Endorsements, Log: q.Log}, reportData)
	return quote, errors.Join(err, d.Close())
}
