// Package seal keeps secrets: each blob is an age file for one fresh
// identity (spec §2.4), that identity travels to an attested enclave under
// HPKE and nowhere else (spec §8.2), and people's own keys rest in a keystore
// under a passphrase (spec §2.1).
//
// All three are post-quantum hybrids (ML-KEM-768 with X25519): what lies on
// IPFS and on a chain today can be kept by anyone until it can be broken.
// Every file is an ordinary age file, so `age -d` opens it with the identity.
package seal

import (
	"bytes"
	"crypto/hpke"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/prytany/prytany/task"
)

// Identity opens the one blob that was encrypted to it. It never prints itself.
type Identity struct{ id *age.HybridIdentity }

// NewIdentity makes a fresh one.
func NewIdentity() (Identity, error) {
	id, err := age.GenerateHybridIdentity()
	return Identity{id}, err
}

// ParseIdentity reads what Secret returned.
func ParseIdentity(secret []byte) (Identity, error) {
	id, err := age.ParseHybridIdentity(string(secret))
	if err != nil {
		return Identity{}, errors.New("not an age identity") // never the text itself
	}
	return Identity{id}, nil
}

// Secret is the identity in age's own text form: to be sealed or stored
// encrypted, never logged.
func (i Identity) Secret() []byte { return []byte(i.id.String()) }

// Recipient is the public half, in age's text form.
func (i Identity) Recipient() string { return i.id.Recipient().String() }

func (Identity) String() string               { return "seal.Identity(secret)" }
func (Identity) GoString() string             { return "seal.Identity(secret)" }
func (i Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.String()) }

// Encrypt makes an age file for one recipient.
func Encrypt(recipient string, plain []byte) ([]byte, error) {
	r, err := age.ParseHybridRecipient(recipient)
	if err != nil {
		return nil, fmt.Errorf("recipient: %w", err)
	}
	return EncryptTo(r, plain)
}

// EncryptTo makes an age file for one recipient.
func EncryptTo(r age.Recipient, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Decrypt opens an age file of at most limit plaintext bytes.
func (i Identity) Decrypt(file []byte, limit int) ([]byte, error) {
	return DecryptBy(i.id, file, limit)
}

// DecryptBy opens an age file of at most limit plaintext bytes by one identity.
func DecryptBy(id age.Identity, file []byte, limit int) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(file), id)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > limit {
		return nil, fmt.Errorf("over the size limit of %d bytes", limit)
	}
	return plain, nil
}

// The suite of every release: MLKEM768-X25519, HKDF-SHA256, ChaCha20-Poly1305.
var (
	kem  = hpke.MLKEM768X25519()
	kdf  = hpke.HKDFSHA256()
	aead = hpke.ChaCha20Poly1305()
	info = []byte("prytany key release v1")
)

// EnclaveKey is the key that owners seal to. It is born in the enclave and
// dies with it.
type EnclaveKey struct{ k hpke.PrivateKey }

// NewEnclaveKey makes a fresh one.
func NewEnclaveKey() (EnclaveKey, error) {
	k, err := kem.GenerateKey()
	return EnclaveKey{k}, err
}

// Public is what owners seal to, and the evidence names: 1,216 bytes.
func (e EnclaveKey) Public() []byte { return e.k.PublicKey().Bytes() }

// Opened is what an owner releases: a blob identity, the SHA-256 of the one file it
// is for, and of Alice the age recipient of the result (spec §8.2).
type Opened struct {
	ID        Identity
	File      task.Hash
	Recipient string
}

// secret is the same as it is sealed.
type secret struct {
	File      task.Hash `cbor:"1,keyasint"`
	Identity  []byte    `cbor:"2,keyasint"`
	Recipient string    `cbor:"3,keyasint,omitempty"`
}

// Seal fills in the release's sealed key: for the enclave key, bound to the task,
// attempt, view, role and evidence.
func Seal(r task.Release, enclave []byte, o Opened) (task.Release, error) {
	pk, err := kem.NewPublicKey(enclave)
	if err != nil {
		return r, fmt.Errorf("enclave key: %w", err)
	}
	enc, s, err := hpke.NewSender(pk, kdf, aead, info)
	if err != nil {
		return r, err
	}
	ct, err := s.Seal(r.AAD(), task.Encode(secret{o.File, o.ID.Secret(), o.Recipient}))
	if err != nil {
		return r, err
	}
	r.Sealed = append(enc, ct...)
	return r, nil
}

const encSize = 1120 // of MLKEM768-X25519, in bytes

// Open opens a release inside the enclave.
func (e EnclaveKey) Open(r task.Release) (o Opened, err error) {
	if len(r.Sealed) < encSize || len(r.Sealed) > task.MaxSealed {
		return o, fmt.Errorf("sealed key of %d bytes", len(r.Sealed))
	}
	rc, err := hpke.NewRecipient(r.Sealed[:encSize], e.k, kdf, aead, info)
	if err != nil {
		return o, err
	}
	raw, err := rc.Open(r.AAD(), r.Sealed[encSize:])
	if err != nil {
		return o, err
	}
	s, err := task.Decode[secret](raw, task.MaxSealed)
	if err != nil {
		return o, err
	}
	id, err := ParseIdentity(s.Identity)
	return Opened{id, s.File, s.Recipient}, err
}
