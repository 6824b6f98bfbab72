package client

import (
	"context"
	"crypto/ed25519"
	"log/slog"

	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/faucet"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/peer"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/wallet"
)

// What Alice offers where she says nothing else.
const (
	GasPrice = 50 // base units per million gas: 0.05 PRY for 10⁹ instructions
	Fee      = 2 * task.PRY
	MinSeats = 4
)

// Config says who acts, and from where.
type Config struct {
	// Session is the network. It outlives the client. Needed.
	Session *Session
	// Account signs transactions, and pays for them. Needed.
	Account ed25519.PrivateKey
	// Peer is the host's key: others know the client by it. Needed.
	Peer ed25519.PrivateKey
	// Listen is the multiaddr to listen on. Empty: a free TCP port on loopback.
	Listen string
	// Vault makes the secrets of tasks. The zero value keeps them in memory only: no other
	// process can take up its tasks.
	Vault wallet.Vault
	// Blobs is the directory of encrypted files. Empty: they are in memory.
	Blobs string
	// Trace sees every message. Nil: nobody does.
	Trace func(proto string, msg []byte)
	// Log gets releases, refusals and retries. Nil: nobody does.
	Log *slog.Logger
}

// Client is a person on a network. It may be used from many goroutines.
type Client struct {
	Session *Session
	Peer    *peer.Peer
	Owner   *owner.Client // who decides on the keys to inputs
	account ed25519.PrivateKey
}

// Open opens a person's host and connects it to the network. Code: network-down.
func Open(ctx context.Context, c Config) (*Client, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	host := p2p.Config{Key: c.Peer, Listen: c.Listen, Trace: c.Trace, Log: c.Log}
	p, err := peer.Open(ctx, host, c.Blobs, blob.Space{Bytes: peer.Space, Evict: true}, c.Session.Bootstrap)
	if err != nil {
		return nil, err
	}
	o := &owner.Client{
		Account: c.Account, Endpoint: p.Host.Addr(), Chain: c.Session.Node, Blobs: p.Blobs, Net: p.Host, Vault: c.Vault, Log: c.Log,
		Policy: task.Policy{MinTier: task.TierSimulated},
	}
	p.Host.Handle(task.ProtoRelease, o.AnswerRelease)
	p.Host.Receive(task.ProtoResult, o.HearResult)
	return &Client{Session: c.Session, Peer: p, Owner: o, account: c.Account}, nil
}

// Close ends the client's host. Its tasks go on without it; where a key to an input is
// still waited for, they end as their owner's fault.
func (c *Client) Close() error { return c.Peer.Close() }

// Account is whose tasks and functions the client's are.
func (c *Client) Account() task.Address { return task.PublicKey(c.account) }

// Fund asks the devnet's faucet, if this is one, for an account that has nothing, and
// says what it gave. Codes: network-down, faucet-dry.
func (c *Client) Fund(ctx context.Context) (task.Amount, error) {
	return faucet.Ask(ctx, c.Peer.Host, c.Session.Faucet, c.Session.Node, c.Account())
}

// Post encrypts and stores an input, posts the task and locks the money. If that was cut
// short nobody here knows the task's name.
func (c *Client) Post(ctx context.Context, j owner.Job) (*owner.Run, error) {
	r, err := c.Owner.Post(ctx, j)
	if err == nil {
		return r, nil
	}
	if e := CutShort(ctx, "it is not known whether the task was posted"); e != nil {
		return nil, e.WithMoney("in escrow, if it was posted").
			WithNext("prytany task list; if it is there, prytany task result ID --output FILE takes it up again")
	}
	return nil, err
}

// Resume takes up a task that an earlier process has posted, in whatever phase it is. Its
// secrets are found in the vault. Codes: not-yours, key-gone, task-key-damaged.
func (c *Client) Resume(k *ledger.Case) (*owner.Run, error) {
	if k.Task.Requester != c.Account() {
		return nil, task.Refuse("not-yours", "task %s is another's: only who posted it can open its result", k.ID()).WithNext("prytany task list")
	}
	return c.Owner.Resume(k)
}
