package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/wallet"
)

// broker is Bob's long-running service: it serves the encrypted code of his
// functions and releases their keys to attested enclaves. It never sees code
// in the clear. On disk its keys rest under the broker's own keystore.
type broker struct {
	keeper *owner.Keeper
	chain  chainEdge
	keys   wallet.Keystore
	dir    string // of the sealed identities; "" keeps them in memory
	log    *slog.Logger
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

// startBroker opens the broker on a host: it answers for every function whose
// code was deposited with it.
func startBroker(host *p2p.Host, chain chainEdge, blobs *blob.Store, keys wallet.Keystore, dir string, log *slog.Logger) (*broker, error) {
	b := &broker{chain: chain, keys: keys, dir: dir, log: log, turn: make(chan struct{}, 1), secrets: map[string]kept{}}
	if err := b.load(); err != nil {
		return nil, err
	}
	b.keeper = &owner.Keeper{Role: task.CodeOwner, Account: keys.Account(), Chain: chain, Log: log, Policy: task.Policy{MinTier: task.TierSimulated}, Seal: b.seal}
	host.Handle(task.ProtoRelease, b.keeper.Answer)
	host.Handle(task.ProtoDeposit, func(ctx context.Context, _ task.Key, raw []byte) ([]byte, error) {
		return task.Encode(depositReply{Refused: text(b.deposit(ctx, blobs, raw))}), nil
	})
	return b, nil
}

// forget loses all keys: the broker is up, and silent.
func (b *broker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secrets = map[string]kept{}
}

// run records releases on the chain until ctx ends. It begins with what owners
// may still be asked for by blocks that came while it was away.
func (b *broker) run(ctx context.Context) error {
	p, err := b.chain.Params(ctx)
	if err != nil {
		return err
	}
	from := uint64(1)
	if h := b.chain.Height(); h > p.ReleaseBlocks {
		from = h - p.ReleaseBlocks
	}
	return b.keeper.Follow(ctx, from, func(_ *ledger.Case, p task.Party) bool { return b.has(fileName(p.Account, p.File.CID)) })
}

func (b *broker) has(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.secrets[name]
	return ok
}

func (b *broker) seal(c *ledger.Case, r task.Release, enclave []byte) (task.Release, error) {
	p := c.Parties()[r.Party]
	b.mu.Lock()
	k, ok := b.secrets[fileName(p.Account, p.File.CID)]
	b.mu.Unlock()
	if !ok {
		return r, task.Refuse("no-key", "this broker has no key for the file %s", p.File.CID)
	}
	return seal.Seal(r, enclave, seal.Opened{ID: k.ID, File: k.File})
}

// deposit is what Bob hands to a broker: where his encrypted code is, and the
// identity that opens it, over libp2p's encrypted stream. Signed by Bob.
type deposit struct {
	Owner     task.Address   `cbor:"1,keyasint"`
	Code      task.Blob      `cbor:"2,keyasint"`
	From      string         `cbor:"3,keyasint"` // Bob's client, which still holds the file
	Identity  []byte         `cbor:"4,keyasint"`
	Signature task.Signature `cbor:"5,keyasint"`
	Image     *task.Blob     `cbor:"6,keyasint,omitempty"` // public, likewise
}

type depositReply struct {
	Refused string `cbor:"1,keyasint"`
}

func (d deposit) hash() task.Hash {
	d.Signature = task.Signature{}
	return task.H(task.TagDeposit, task.Encode(d))
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// deposit takes a function's encrypted code and its key into the broker's care.
func (b *broker) deposit(ctx context.Context, blobs *blob.Store, raw []byte) error {
	d, err := task.Decode[deposit](raw, task.MaxMessage)
	if err != nil {
		return err
	}
	if !d.Signature.Verify(d.Owner, d.hash()) {
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
	file, err := blobs.Get(ctx, d.Code, d.From)
	if err != nil {
		return err
	}
	k := kept{id, sha256.Sum256(file)}
	if d.Image != nil {
		if _, err := blobs.Get(ctx, *d.Image, d.From); err != nil {
			return err
		}
	}
	if b.dir != "" {
		if err := b.save(name, k); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secrets[name] = k
	b.log.Info("key deposited", "owner", d.Owner.Short(), "code", d.Code.CID)
	return nil
}

func (b *broker) save(name string, k kept) error {
	file, err := b.keys.SealSecret(append(k.File[:], k.ID.Secret()...))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	return disk.WriteNew(filepath.Join(b.dir, name+".age"), file)
}

func (b *broker) load() error {
	if b.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		file, err := disk.ReadFile(filepath.Join(b.dir, e.Name()), disk.MaxSetting)
		if err != nil {
			return err
		}
		secret, err := b.keys.OpenSecret(file)
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

// publication is a function on its way to the chain.
type publication struct {
	function.Source
	broker task.Endpoint
	bond   task.Amount
}

// publish encrypts the code, leaves it and its key with the broker, the image
// as it is, and registers the function.
func publish(ctx context.Context, host *p2p.Host, c chainEdge, blobs *blob.Store, account ed25519.PrivateKey, p publication) (task.Function, error) {
	id, err := seal.NewIdentity()
	if err != nil {
		return task.Function{}, err
	}
	file, err := seal.Encrypt(id.Recipient(), p.Code)
	if err != nil {
		return task.Function{}, err
	}
	code, err := blobs.Put(ctx, file)
	if err != nil {
		return task.Function{}, err
	}
	f := task.Function{Owner: task.PublicKey(account), Manifest: p.Manifest, Code: code, Broker: p.broker}
	var image *task.Blob
	if p.Manifest.Image != nil {
		blob, err := blobs.Put(ctx, p.Image)
		if err != nil {
			return f, err
		}
		image = &blob
		f.Manifest.Image = &task.Image{Digest: p.Manifest.Image.Digest, Blob: blob}
	}
	if err := f.Check(); err != nil {
		return f, task.Refuse("manifest-invalid", "%v", err)
	}
	d := deposit{Owner: f.Owner, Code: code, From: host.Addr(), Identity: id.Secret(), Image: image}
	d.Signature = task.Sign(account, d.hash())
	raw, err := host.Request(ctx, p.broker.Addr, task.ProtoDeposit, task.Encode(d))
	if err != nil {
		return f, task.Refuse("broker-unreachable", "the key broker at %s does not answer: %v", p.broker.Addr, err)
	}
	reply, err := task.Decode[depositReply](raw, task.MaxMessage)
	if err != nil {
		return f, err
	}
	if reply.Refused != "" {
		return f, task.Refuse("broker-refused", "the key broker refused the function: %s", reply.Refused)
	}
	_, err = c.Submit(ctx, account, task.Body{Publish: &task.Publish{Function: f, Bond: p.bond}})
	return f, err
}
