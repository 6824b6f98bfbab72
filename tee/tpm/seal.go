package tpm

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// persistentEK is where the TCG's guidance has the RSA endorsement key stay,
// which many a TPM takes a second to make anew.
const persistentEK tpm2.TPMHandle = 0x81010001

// SealingKey derives a key that the TPM gives away only while the program's
// register holds what it holds now: HMAC(K, label), where K is a primary key,
// the TPM's own and the same each time, that a policy binds to the register.
//
// Whoever may use the TPM on this machine, while this program is the measured
// one, gets the same key; so it keeps what it seals from other programs, and not
// from who rules the kernel (spec §12.3.8).
func (q Quoter) SealingKey(label task.Hash) (task.Hash, error) {
	d, err := Open(q.Path)
	if err != nil {
		return task.Hash{}, err
	}
	key, err := d.sealingKey(q.Keys.EK, label)
	return key, errors.Join(err, d.Close())
}

// sealingKey speaks with the TPM that holds an endorsement key, and with no
// other: the session's salt is encrypted to that key, which stands in the
// evidence. So a host that puts something else at the device's path can neither
// choose the answer nor read it.
func (d *Device) sealingKey(ek []byte, label task.Hash) (key task.Hash, err error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek)
	if err != nil {
		return key, err
	}
	at, flush, err := d.endorsementKey(ek)
	if err != nil {
		return key, err
	}
	defer flush()
	session, end, err := tpm2.HMACSession(d.tpm, tpm2.TPMAlgSHA256, 16, tpm2.Salted(at, *public), tpm2.AESEncryption(128, tpm2.EncryptOut))
	if err != nil {
		return key, fmt.Errorf("tpm: a session with the endorsement key: %w", err)
	}
	defer func() { _ = end() }()

	have, err := d.registers(attest.ProgramPCR)
	if err != nil {
		return key, err
	}
	if have[0].IsZero() {
		return key, task.Refuse("tpm-unmeasured", "no program was measured into register %d since the machine was started", attest.ProgramPCR)
	}
	policy, err := programPolicy(have[0])
	if err != nil {
		return key, err
	}
	k, err := d.load(sealTemplate(policy), session)
	if err != nil {
		return key, err
	}
	defer k.flush()
	r, err := tpm2.Hmac{
		Handle: k.auth(tpm2.Policy(tpm2.TPMAlgSHA256, 16, func(t transport.TPM, s tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
			_, err := tpm2.PolicyPCR{PolicySession: s, Pcrs: selection(attest.ProgramPCR)}.Execute(t)
			return err
		})),
		Buffer: tpm2.TPM2BMaxBuffer{Buffer: label[:]}, HashAlg: tpm2.TPMAlgSHA256,
	}.Execute(d.tpm, session)
	if err != nil {
		return key, fmt.Errorf("tpm: derive a key: %w", err)
	}
	if len(r.OutHMAC.Buffer) != len(key) {
		return key, fmt.Errorf("tpm: a key of %d bytes", len(r.OutHMAC.Buffer))
	}
	return task.Hash(r.OutHMAC.Buffer), nil
}

// endorsementKey finds the key where it stays, or makes it again.
func (d *Device) endorsementKey(ek []byte) (at tpm2.TPMHandle, flush func(), err error) {
	if r, err := (tpm2.ReadPublic{ObjectHandle: persistentEK}).Execute(d.tpm); err == nil && string(r.OutPublic.Bytes()) == string(ek) {
		return persistentEK, func() {}, nil
	}
	k, err := d.load(tpm2.RSAEKTemplate)
	if err != nil {
		return 0, nil, err
	}
	return k.handle, k.flush, nil
}

// programPolicy is met while the program's register has a value.
func programPolicy(register task.Hash) ([]byte, error) {
	p, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(register[:])
	err = tpm2.PolicyPCR{PcrDigest: tpm2.TPM2BDigest{Buffer: sum[:]}, Pcrs: selection(attest.ProgramPCR)}.Update(p)
	return p.Hash().Digest, err
}

// sealTemplate is an HMAC key that was made in the TPM, never leaves it, and
// obeys a policy alone: it has no password. A host cannot bring one of its own
// in its place: nothing that was made elsewhere is fixed to a TPM.
func sealTemplate(policy []byte) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, NoDA: true, SignEncrypt: true},
		AuthPolicy:       tpm2.TPM2BDigest{Buffer: policy},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{Scheme: tpm2.TPMTKeyedHashScheme{
			Scheme:  tpm2.TPMAlgHMAC,
			Details: tpm2.NewTPMUSchemeKeyedHash(tpm2.TPMAlgHMAC, &tpm2.TPMSSchemeHMAC{HashAlg: tpm2.TPMAlgSHA256}),
		}}),
	}
}
