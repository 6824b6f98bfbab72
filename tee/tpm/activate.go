package tpm

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// Activator is somebody whom a chain's genesis trusts to say that a quoting key
// is in the TPM with a certified endorsement key. It keeps nothing between a
// challenge and its answer.
type Activator struct {
	Key       ed25519.PrivateKey
	Chain     string
	Reference attest.Reference
}

// Question asks a TPM for a proof: only the TPM that holds the endorsement key
// can read the credential, and it does so only if it holds the quoting key.
type Question struct {
	Nonce      [32]byte `cbor:"1,keyasint"`
	Credential []byte   `cbor:"2,keyasint"` // TPMS_ID_OBJECT
	Secret     []byte   `cbor:"3,keyasint"` // encrypted to the endorsement key
}

// Proof is the answer: what the credential held.
type Proof struct {
	Keys  attest.TPMKeys `cbor:"1,keyasint"`
	Nonce [32]byte       `cbor:"2,keyasint"`
	Value []byte         `cbor:"3,keyasint"`
}

// Request is what a node sends to an activator: its keys, and then the proof.
type Request struct {
	Keys  *attest.TPMKeys `cbor:"1,keyasint,omitempty"`
	Proof *Proof          `cbor:"2,keyasint,omitempty"`
}

// Reply is what the activator sends back.
type Reply struct {
	Question    *Question           `cbor:"1,keyasint,omitempty"`
	Endorsement *attest.Endorsement `cbor:"2,keyasint,omitempty"`
	Refused     string              `cbor:"3,keyasint,omitempty"`
}

// Answer serves one request at a time (Unix seconds), whatever it holds.
func (a Activator) Answer(raw []byte, now int64) Reply {
	q, err := task.Decode[Request](raw, task.MaxEvidence)
	switch {
	case err != nil:
		return Reply{Refused: err.Error()}
	case q.Keys != nil:
		question, err := a.Challenge(*q.Keys, now)
		if err != nil {
			return Reply{Refused: err.Error()}
		}
		return Reply{Question: &question}
	case q.Proof != nil:
		e, err := a.Endorse(*q.Proof, now)
		if err != nil {
			return Reply{Refused: err.Error()}
		}
		return Reply{Endorsement: &e}
	}
	return Reply{Refused: "neither keys nor a proof"}
}

// Challenge checks a TPM's keys and certificate, and makes the question.
func (a Activator) Challenge(k attest.TPMKeys, now int64) (Question, error) {
	var q Question
	if _, _, refused := k.Check(now, a.Reference); refused != nil {
		return q, refused
	}
	ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](k.EK)
	if err != nil {
		return q, err
	}
	to, err := tpm2.ImportEncapsulationKey(ek)
	if err != nil {
		return q, err
	}
	if _, err := rand.Read(q.Nonce[:]); err != nil {
		return q, err
	}
	q.Credential, q.Secret, err = tpm2.CreateCredential(rand.Reader, to, attest.KeyName(k.AK), a.value(k, q.Nonce))
	return q, err
}

// Endorse says that the TPM has proven itself.
func (a Activator) Endorse(p Proof, now int64) (attest.Endorsement, error) {
	if _, _, refused := p.Keys.Check(now, a.Reference); refused != nil {
		return attest.Endorsement{}, refused
	}
	if !hmac.Equal(p.Value, a.value(p.Keys, p.Nonce)) {
		return attest.Endorsement{}, task.Refuse("activation-failed", "the TPM with this endorsement key does not hold the quoting key")
	}
	h := attest.Activation(a.Chain, attest.EKIdentity(p.Keys.EK), attest.KeyName(p.Keys.AK))
	return attest.Endorsement{Activator: task.PublicKey(a.Key), Signature: task.Sign(a.Key, h)}, nil
}

// value is a credential's content, which nobody but the activator can know
// without opening it.
func (a Activator) value(k attest.TPMKeys, nonce [32]byte) []byte {
	key, err := hkdf.Key(sha256.New, a.Key.Seed(), nil, "prytany activation", sha256.Size)
	if err != nil {
		panic(err) // only for lengths that no hash can give
	}
	m := hmac.New(sha256.New, key)
	h := task.H(task.TagActivation, []byte(a.Chain), k.EK, k.AK, nonce[:])
	m.Write(h[:])
	return m.Sum(nil)
}

// Prove answers an activator's question.
func (d *Device) Prove(k attest.TPMKeys, q Question) (Proof, error) {
	p := Proof{Keys: k, Nonce: q.Nonce}
	ak, err := d.load(akTemplate)
	if err != nil {
		return p, err
	}
	defer ak.flush()
	ek, err := d.load(tpm2.RSAEKTemplate)
	if err != nil {
		return p, err
	}
	defer ek.flush()
	owner := func(t transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{
			AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			PolicySession: session, NonceTPM: nonce,
		}.Execute(t)
		return err
	}
	r, err := tpm2.ActivateCredential{
		ActivateHandle: ak.auth(tpm2.PasswordAuth(nil)),
		KeyHandle:      ek.auth(tpm2.Policy(tpm2.TPMAlgSHA256, 16, owner)),
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: q.Credential},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: q.Secret},
	}.Execute(d.tpm)
	if err != nil {
		return p, task.Refuse("activation-failed", "the TPM does not open the credential: %v", err)
	}
	p.Value = r.CertInfo.Buffer
	return p, nil
}

// Introduce has a TPM prove itself to an activator, whom ask reaches, and
// returns the activator's word.
func (d *Device) Introduce(k attest.TPMKeys, ask func([]byte) ([]byte, error)) (attest.Endorsement, error) {
	exchange := func(q Request) (Reply, error) {
		raw, err := ask(task.Encode(q))
		if err != nil {
			return Reply{}, err
		}
		r, err := task.Decode[Reply](raw, task.MaxEvidence)
		if err == nil && r.Refused != "" {
			err = task.Refuse("activation-refused", "the activator says: %s", r.Refused)
		}
		return r, err
	}
	r, err := exchange(Request{Keys: &k})
	if err != nil {
		return attest.Endorsement{}, err
	}
	if r.Question == nil {
		return attest.Endorsement{}, errors.New("tpm: the activator asks nothing")
	}
	p, err := d.Prove(k, *r.Question)
	if err != nil {
		return attest.Endorsement{}, err
	}
	if r, err = exchange(Request{Proof: &p}); err != nil {
		return attest.Endorsement{}, err
	}
	if r.Endorsement == nil {
		return attest.Endorsement{}, fmt.Errorf("tpm: the activator says nothing")
	}
	return *r.Endorsement, nil
}
