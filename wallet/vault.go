package wallet

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
)

// Vault makes the secrets of Alice's tasks. It keeps them in dir, each in a file
// sealed by her keystore, until the result is delivered; without a dir they are
// in memory only.
type Vault struct {
	Keys Keystore
	Dir  string // empty: in memory only
}

// secrets are those of one task.
type secrets struct {
	Vault
	name          string // of the file; "" if there is none
	file          task.Hash
	input, result seal.Identity
}

// keptSecrets is what is in the file.
type keptSecrets struct {
	File   task.Hash `cbor:"1,keyasint"` // SHA-256 of the encrypted input
	Input  []byte    `cbor:"2,keyasint"`
	Result []byte    `cbor:"3,keyasint"`
}

// Lock encrypts an input to a fresh identity.
func (v Vault) Lock(input []byte) ([]byte, owner.Secrets, error) {
	s := &secrets{Vault: v}
	var err error
	if s.input, err = seal.NewIdentity(); err != nil {
		return nil, nil, err
	}
	if s.result, err = seal.NewIdentity(); err != nil {
		return nil, nil, err
	}
	file, err := seal.Encrypt(s.input.Recipient(), input)
	s.file = sha256.Sum256(file)
	return file, s, err
}

// Find reads what Keep has written.
func (v Vault) Find(input task.Blob) (owner.Secrets, error) {
	s := &secrets{Vault: v, name: input.CID + ".age"}
	raw, err := disk.ReadFile(filepath.Join(v.Dir, s.name), disk.MaxSetting)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, task.Refuse("key-gone", "the key to the result is not in %s: the result was delivered and the key destroyed, or the task was posted from elsewhere", v.Dir).
			WithNext("--home DIR, if it was posted from there")
	}
	if err == nil {
		raw, err = v.Keys.OpenSecret(raw)
	}
	var k keptSecrets
	if err == nil {
		k, err = task.Decode[keptSecrets](raw, disk.MaxSetting)
	}
	if err == nil {
		s.file = k.File
		s.input, err = seal.ParseIdentity(k.Input)
	}
	if err == nil {
		s.result, err = seal.ParseIdentity(k.Result)
	}
	if err != nil {
		return nil, task.Refuse("task-key-damaged", "%s does not open with this user's key: %v", filepath.Join(v.Dir, s.name), err).
			WithNext("put it back from a backup; the 24 words alone do not bring it")
	}
	return s, nil
}

// Keep makes them outlast this process.
func (s *secrets) Keep(input task.Blob) error {
	if s.Dir == "" {
		return nil
	}
	raw, err := s.Keys.SealSecret(task.Encode(keptSecrets{s.file, s.input.Secret(), s.result.Secret()}))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	s.name = input.CID + ".age"
	return disk.WriteNew(filepath.Join(s.Dir, s.name), raw)
}

// Forget destroys what was kept, if another process has not.
func (s *secrets) Forget() error {
	if s.name == "" {
		return nil
	}
	if err := os.Remove(filepath.Join(s.Dir, s.name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *secrets) Recipient() string { return s.result.Recipient() }

func (s *secrets) Seal(r task.Release, enclave []byte) (task.Release, error) {
	return seal.Seal(r, enclave, seal.Opened{ID: s.input, File: s.file, Recipient: s.Recipient()})
}

func (s *secrets) Open(result []byte, limit int) ([]byte, error) {
	return s.result.Decrypt(result, limit)
}
