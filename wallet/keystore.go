// Package wallet holds what is a person's own: the account's key, in a file under a
// passphrase and in 24 words, and the secrets of tasks under way.
package wallet

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
)

// Keystore is a person's secret: the entropy of a BIP-39 mnemonic, from which
// all of their keys derive (SLIP-10), in an age file under a passphrase.
type Keystore struct{ entropy [32]byte }

// New makes a fresh secret of 256 bits.
func New() (k Keystore, err error) {
	_, err = rand.Read(k.entropy[:])
	return k, err
}

// FromEntropy makes a keystore of 32 secret bytes, such as a service's own.
func FromEntropy(e [32]byte) Keystore { return Keystore{e} }

// FromMnemonic restores a secret from its 24 words.
func FromMnemonic(words string) (Keystore, error) {
	e, err := fromMnemonic(words)
	return Keystore{e}, err
}

// Mnemonic is the secret as 24 words, for paper.
func (k Keystore) Mnemonic() string { return mnemonic(k.entropy) }

func (Keystore) String() string   { return "wallet.Keystore(secret)" }
func (Keystore) GoString() string { return "wallet.Keystore(secret)" }

// Purposes of derived keys: the last step of m/44'/7779'/purpose'.
const (
	purposeAccount = 0
	purposeBlobs   = 1
	purposePeer    = 2
)

// Account is the key that pays and signs transactions (spec §2.1).
func (k Keystore) Account() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(k.derive(purposeAccount))
}

// Peer is the libp2p identity of this person's client or broker.
func (k Keystore) Peer() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(k.derive(purposePeer))
}

// SealSecret encrypts a small secret to this keystore, for rest on a disk.
func (k Keystore) SealSecret(secret []byte) ([]byte, error) {
	r, err := age.NewScryptRecipient(k.wrapping())
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(1) // what is stretched is a 256-bit key already
	return seal.EncryptTo(r, secret)
}

// OpenSecret opens what SealSecret made.
func (k Keystore) OpenSecret(file []byte) ([]byte, error) {
	id, err := age.NewScryptIdentity(k.wrapping())
	if err != nil {
		return nil, err
	}
	return seal.DecryptBy(id, file, 64<<10)
}

func (k Keystore) wrapping() string { return fmt.Sprintf("%x", k.derive(purposeBlobs)) }

// derive is SLIP-10 for Ed25519, hardened at every step.
func (k Keystore) derive(purpose uint32) []byte {
	seed := mnemonicSeed(k.Mnemonic(), "")
	node := hmac512([]byte("ed25519 seed"), seed)
	for _, i := range []uint32{44, 7779, purpose} {
		node = hmac512(node[32:], append(append([]byte{0}, node[:32]...), binary.BigEndian.AppendUint32(nil, i|1<<31)...))
	}
	return node[:32]
}

func hmac512(key, data []byte) []byte {
	h := hmac.New(sha512.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// scryptWork is log₂ of scrypt's N: about a second, 256 MiB at 18.
const scryptWork = 16

// Save writes the secret encrypted under the passphrase, mode 0600. It
// never overwrites a file.
func Save(path string, k Keystore, passphrase string) error {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return fmt.Errorf("passphrase: %w", err)
	}
	r.SetWorkFactor(scryptWork)
	file, err := seal.EncryptTo(r, k.entropy[:])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return disk.WriteNew(path, file)
}

// maxKeyFile bounds a keystore file, in bytes.
const maxKeyFile = 64 << 10

// Load opens a keystore file.
func Load(path, passphrase string) (Keystore, error) {
	k, _, err := load(path, passphrase)
	return k, err
}

// Copy copies a keystore file, if it opens with the passphrase, and returns what is in
// it. It never overwrites a file.
func Copy(from, to, passphrase string) (Keystore, error) {
	k, file, err := load(from, passphrase)
	if err != nil {
		return k, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return k, err
	}
	return k, disk.WriteNew(to, file)
}

func load(path, passphrase string) (k Keystore, file []byte, err error) {
	damaged := func(what string) error {
		return task.Refuse("key-damaged", "%s %s: it is no key file, or not whole", path, what).WithNext("prytany key restore   makes it again from its 24 words, once this file is out of the way")
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil, task.Refuse("key-missing", "there is no key at %s", path).WithNext("prytany key new")
	}
	if err != nil {
		return k, nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxKeyFile {
		return k, nil, damaged("cannot be read")
	}
	if file, err = os.ReadFile(path); err != nil {
		return k, nil, err
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return k, nil, fmt.Errorf("passphrase: %w", err)
	}
	id.SetMaxWorkFactor(22)
	entropy, err := seal.DecryptBy(id, file, 64)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return k, nil, task.Refuse("key-locked", "%s does not open with this passphrase", path)
	}
	if err != nil || len(entropy) != 32 {
		return k, nil, damaged("does not open")
	}
	return Keystore{[32]byte(entropy)}, file, nil
}
