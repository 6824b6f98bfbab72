package seal

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"filippo.io/age"
	"github.com/prytany/prytany/task"
	"github.com/tyler-smith/go-bip39"
)

// Keystore is a person's secret: the entropy of a BIP-39 mnemonic, from which
// all of their keys derive (SLIP-10), in an age file under a passphrase.
type Keystore struct{ entropy []byte }

// NewKeystore makes a fresh secret of 256 bits.
func NewKeystore() (Keystore, error) {
	e, err := bip39.NewEntropy(256)
	return Keystore{e}, err
}

// FromEntropy makes a keystore of 32 secret bytes, such as a service's own.
func FromEntropy(e [32]byte) Keystore { return Keystore{e[:]} }

// FromMnemonic restores a secret from its 24 words.
func FromMnemonic(words string) (Keystore, error) {
	e, err := bip39.EntropyFromMnemonic(words)
	if err != nil {
		return Keystore{}, task.Refuse("mnemonic-invalid", "these are not the words of a key: wrong count, unknown word or wrong checksum")
	}
	return Keystore{e}, nil
}

// Mnemonic is the secret as 24 words, for paper.
func (k Keystore) Mnemonic() string {
	words, _ := bip39.NewMnemonic(k.entropy)
	return words
}

func (Keystore) String() string   { return "seal.Keystore(secret)" }
func (Keystore) GoString() string { return "seal.Keystore(secret)" }

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
	return encrypt(r, secret)
}

// OpenSecret opens what SealSecret made.
func (k Keystore) OpenSecret(file []byte) ([]byte, error) {
	id, err := age.NewScryptIdentity(k.wrapping())
	if err != nil {
		return nil, err
	}
	return decrypt(id, file, 64<<10)
}

func (k Keystore) wrapping() string { return fmt.Sprintf("%x", k.derive(purposeBlobs)) }

// derive is SLIP-10 for Ed25519, hardened at every step.
func (k Keystore) derive(purpose uint32) []byte {
	seed := bip39.NewSeed(k.Mnemonic(), "")
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

// SaveKeystore writes the secret encrypted under the passphrase, mode 0600. It
// never overwrites a file.
func SaveKeystore(path string, k Keystore, passphrase string) error {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return fmt.Errorf("passphrase: %w", err)
	}
	r.SetWorkFactor(scryptWork)
	file, err := encrypt(r, k.entropy)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return WriteFileNew(path, file)
}

// WriteFileNew writes a secret file durably, mode 0600, and refuses to replace one.
func WriteFileNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return task.Refuse("key-exists", "%s exists already and is not overwritten", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close(), SyncDir(filepath.Dir(path)))
}

// SyncDir makes what was done in a directory outlast a power cut.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) { // not every file system has a word for it
		err = nil
	}
	return errors.Join(err, d.Close())
}

// maxKeyFile bounds a keystore file, in bytes.
const maxKeyFile = 64 << 10

// LoadKeystore opens a keystore file.
func LoadKeystore(path, passphrase string) (Keystore, error) {
	damaged := func(what string) error {
		return task.Refuse("key-damaged", "%s %s: it is no key file, or not whole", path, what).WithNext("prytany key restore   makes it again from its 24 words, once this file is out of the way")
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Keystore{}, task.Refuse("key-missing", "there is no key at %s", path).WithNext("prytany key new")
	}
	if err != nil {
		return Keystore{}, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxKeyFile {
		return Keystore{}, damaged("cannot be read")
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return Keystore{}, err
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return Keystore{}, fmt.Errorf("passphrase: %w", err)
	}
	id.SetMaxWorkFactor(22)
	entropy, err := decrypt(id, file, 64)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return Keystore{}, task.Refuse("key-locked", "%s does not open with this passphrase", path)
	}
	if err != nil || len(entropy) != 32 {
		return Keystore{}, damaged("does not open")
	}
	return Keystore{entropy}, nil
}
