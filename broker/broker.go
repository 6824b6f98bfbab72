// Package broker is Bob's long-running service: it serves the encrypted code of his
// functions, and releases their keys to enclaves that have shown what they are. It never
// sees code in the clear.
//
// A [Deposit] is how code and key come to a broker. What it answers to a request for a
// key is the owner's rule, an [owner.Keeper]'s, whose chain is the broker's own: it
// believes no summary of anybody's.
package broker

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/wallet"
)

// Chain is what a broker needs of the chain.
type Chain interface {
	owner.Chain
	Height() uint64
}

// Blobs fetches encrypted files, and keeps them.
type Blobs interface {
	Get(ctx context.Context, b task.Blob, from string) ([]byte, error)
}

// Config says what a broker is. Each field but Dir is needed.
type Config struct {
	// Chain is what its releases are judged by, and where they are recorded.
	Chain Chain
	// Blobs are its encrypted files, which it serves.
	Blobs Blobs
	// Keys are the broker's own: its account pays for the releases, and the keys that it
	// keeps are sealed by them.
	Keys wallet.Keystore
	// Dir is the directory of the sealed keys. Empty: they are in memory only.
	Dir string
	// Log gets each deposit, each release and each refusal.
	Log *slog.Logger
}

// Broker answers for every function whose code was deposited with it.
type Broker struct {
	config Config
	keeper *owner.Keeper
	turn   chan struct{} // held by the deposit that is being taken

	mu      sync.Mutex
	secrets map[string]kept
}

// kept is the key to one function's code. It is filed under its owner and the
// code's CID: whoever publishes another's code as his own gets no key for it.
type kept struct {
	ID   seal.Identity
	File task.Hash // SHA-256 of the encrypted code
}

func fileName(owner task.Address, cid string) string { return owner.String() + "-" + cid }

// New opens a broker, with the keys that it has kept.
func New(c Config) (*Broker, error) {
	b := &Broker{config: c, turn: make(chan struct{}, 1), secrets: map[string]kept{}}
	if err := b.load(); err != nil {
		return nil, err
	}
	b.keeper = &owner.Keeper{Role: task.CodeOwner, Account: c.Keys.Account(), Chain: c.Chain, Log: c.Log, Policy: task.Policy{MinTier: task.TierSimulated}, Seal: b.seal}
	return b, nil
}

// Account is the broker's: it signs releases, and pays for them.
func (b *Broker) Account() task.Address { return task.PublicKey(b.config.Keys.Account()) }

// AnswerRelease answers executors who ask for a key ([task.ProtoRelease]).
func (b *Broker) AnswerRelease(ctx context.Context, from task.Key, raw []byte) ([]byte, error) {
	return b.keeper.Answer(ctx, from, raw)
}

// AnswerDeposit answers who brings a function ([task.ProtoDeposit]).
func (b *Broker) AnswerDeposit(ctx context.Context, _ task.Key, raw []byte) ([]byte, error) {
	reply := DepositReply{}
	if err := b.deposit(ctx, raw); err != nil {
		reply.Refused = err.Error()
	}
	return task.Encode(reply), nil
}

// Forget loses all keys: the broker is up, and silent.
func (b *Broker) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secrets = map[string]kept{}
}

// Run records releases on the chain until ctx ends. It begins with what owners
// may still be asked for by blocks that came while it was away.
func (b *Broker) Run(ctx context.Context) error {
	p, err := b.config.Chain.Params(ctx)
	if err != nil {
		return err
	}
	from := uint64(1)
	if h := b.config.Chain.Height(); h > p.ReleaseBlocks {
		from = h - p.ReleaseBlocks
	}
	return b.keeper.Follow(ctx, from, func(_ *ledger.Case, p task.Party) bool { return b.has(fileName(p.Account, p.File.CID)) })
}

func (b *Broker) has(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.secrets[name]
	return ok
}

func (b *Broker) seal(c *ledger.Case, r task.Release, enclave []byte) (task.Release, error) {
	p := c.Parties()[r.Party]
	b.mu.Lock()
	k, ok := b.secrets[fileName(p.Account, p.File.CID)]
	b.mu.Unlock()
	if !ok {
		return r, task.Refuse("no-key", "this broker has no key for the file %s", p.File.CID)
	}
	return seal.Seal(r, enclave, seal.Opened{ID: k.ID, File: k.File})
}

// Deposit is what Bob hands to a broker: where his encrypted code is, and the
// identity that opens it, over libp2p's encrypted stream. Signed by Bob.
type Deposit struct {
	Owner     task.Address   `cbor:"1,keyasint"`
	Code      task.Blob      `cbor:"2,keyasint"`
	From      string         `cbor:"3,keyasint"` // Bob's client, which still holds the file
	Identity  []byte         `cbor:"4,keyasint"`
	Signature task.Signature `cbor:"5,keyasint"`
	Image     *task.Blob     `cbor:"6,keyasint,omitempty"` // public, likewise
}

// DepositReply is the answer to it.
type DepositReply struct {
	Refused string `cbor:"1,keyasint"` // why; empty: it was taken
}

// Hash is what Bob signs.
func (d Deposit) Hash() task.Hash {
	d.Signature = task.Signature{}
	return task.H(task.TagDeposit, task.Encode(d))
}

// deposit takes a function's encrypted code and its key into the broker's care.
func (b *Broker) deposit(ctx context.Context, raw []byte) error {
	d, err := task.Decode[Deposit](raw, task.MaxMessage)
	if err != nil {
		return err
	}
	if !d.Signature.Verify(d.Owner, d.Hash()) {
		return task.Refuse("deposit-forged", "the signature of %s does not hold", d.Owner.Short())
	}
	id, err := seal.ParseIdentity(d.Identity)
	if err != nil {
		return err
	}
	select { // one after the other: each holds a file in memory, and anybody may bring one
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	name := fileName(d.Owner, d.Code.CID)
	if b.has(name) {
		return task.Refuse("deposit-known", "there is a key for %s already", d.Code.CID)
	}
	file, err := b.config.Blobs.Get(ctx, d.Code, d.From)
	if err != nil {
		return err
	}
	k := kept{id, sha256.Sum256(file)}
	if d.Image != nil {
		if _, err := b.config.Blobs.Get(ctx, *d.Image, d.From); err != nil {
			return err
		}
	}
	if b.config.Dir != "" {
		if err := b.save(name, k); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secrets[name] = k
	b.config.Log.Info("key deposited", "owner", d.Owner.Short(), "code", d.Code.CID)
	return nil
}

func (b *Broker) save(name string, k kept) error {
	file, err := b.config.Keys.SealSecret(append(k.File[:], k.ID.Secret()...))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.config.Dir, 0o700); err != nil {
		return err
	}
	return disk.WriteNew(filepath.Join(b.config.Dir, name+".age"), file)
}

func (b *Broker) load() error {
	if b.config.Dir == "" {
		return nil
	}
	entries, err := os.ReadDir(b.config.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		file, err := disk.ReadFile(filepath.Join(b.config.Dir, e.Name()), disk.MaxSetting)
		if err != nil {
			return err
		}
		secret, err := b.config.Keys.OpenSecret(file)
		if err != nil {
			return err
		}
		if len(secret) < len(task.Hash{}) {
			return task.Refuse("key-malformed", "%s holds no key", e.Name())
		}
		id, err := seal.ParseIdentity(secret[len(task.Hash{}):])
		if err != nil {
			return err
		}
		b.secrets[strings.TrimSuffix(e.Name(), ".age")] = kept{id, task.Hash(secret[:len(task.Hash{})])}
	}
	return err
}
