// Package chain runs the ledger on CometBFT and talks to it.
//
// # What a node is
//
// A [Node] is one CometBFT node with the ledger inside it. CometBFT orders
// transactions and gets a block signed by more than two thirds of the
// validators; package ledger, which knows none of this, says what the block
// does. The adapter between them (ABCI) is the same for the one validator that
// an embedded network has and for many on many machines: what differs stands
// in [Config].
//
// # The beacon
//
// While a task is open every block begins with a beacon transaction: the
// validators' group signature on chain and height (spec §4.1). Each gives its
// parts of it as the extension of its precommit of the block before, and the
// proposer puts them together. Nobody has a choice in it, and the others refuse a
// block whose beacon is missing, wrong or superfluous before they vote. A sole
// validator has the whole secret, signs with it, and extends no votes. The beacon moves the app
// hash, and a moving app hash is what makes CometBFT produce blocks; so the
// chain ticks at its nominal interval while a task is open and rests, without
// a block, when none is (spec §1.5). A transaction wakes it at once.
//
// # State
//
// Authenticated keys live in a Merkle tree (iavl) whose root is the app hash;
// the rest lies beside it. All that a block changes reaches the disk in one
// batch, so there is no write at which a killed process leaves half a block.
//
// # Clients
//
// A [Client] reads, submits, watches and proves. It works the same over a node
// in this process ([Local]) and over a remote one's RPC ([Dial]), and assumes
// of a remote node only that it answers: [Client.VerifiedCase] believes no
// answer that the pinned validators have not signed.
//
//   - Submitting never does a thing twice. A body is signed with a second nonce
//     only after the chain has shown that the first was used by something else.
//   - Watching never loses a block: each watcher goes through the heights one by
//     one at its own speed.
//   - A proof of the state after block h needs header h+1, since that carries
//     its app hash. CometBFT always makes that block before it rests.
package chain

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/config"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/types"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/chain/proof"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Config says what a node is.
type Config struct {
	// Home is the directory of the node's data. Empty: all is kept in memory
	// and gone with the process.
	Home string
	// Genesis is the ledger's first state; its Params name the chain, and who
	// holds the beacon's shares validates. All nodes of a chain have the same one.
	Genesis ledger.Genesis
	// GenesisTime is the time of the first block, the same for all nodes. Zero:
	// the start of 2025.
	GenesisTime time.Time
	// Identity holds the node's keys.
	Identity Identity
	// P2PAddr is the host:port where other nodes connect; port 0 picks a free
	// one. Empty: a free port on the loopback interface, and a sole validator
	// takes no connections.
	P2PAddr string
	// Peers are other nodes to stay connected with, as id@host:port.
	Peers []string
	// RPCAddr is the host:port of CometBFT's RPC, for Dial. Empty: none. It has
	// no authentication: keep it on the loopback interface or behind a proxy.
	RPCAddr string
	// Interval is the time between blocks while a task is open. Zero: the
	// nominal one of the genesis.
	Interval time.Duration
	// Logger gets the node's log. Nil: nobody does.
	Logger *slog.Logger
}

// Identity is a node's secrets. It never prints itself.
type Identity struct {
	Consensus [32]byte        // seed of the Ed25519 key that signs blocks
	Shares    []beacon.Secret // of the beacon's, one for each seat; none if it is no validator
}

const redacted = "chain.Identity(secret)"

func (Identity) String() string               { return redacted }
func (Identity) GoString() string             { return redacted }
func (Identity) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (Identity) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Identity) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (id Identity) key() ed25519.PrivateKey   { return ed25519.NewKeyFromSeed(id.Consensus[:]) }
func (id Identity) nodeKey() *p2p.NodeKey {
	seed, err := hkdf.Expand(sha256.New, id.Consensus[:], "prytany peer-to-peer identity of a chain node", 32)
	must(err)
	return &p2p.NodeKey{PrivKey: cmted25519.PrivKey(ed25519.NewKeyFromSeed(seed))}
}

// Key is the public key that signs blocks.
func (id Identity) Key() task.Key { return task.PublicKey(id.key()) }

// Sole makes the identity of a chain's only validator, and the beacon that stands in
// the genesis: its one share is the whole secret.
func Sole(consensus, secret [32]byte) (Identity, beacon.Group) {
	id := Identity{Consensus: consensus, Shares: []beacon.Secret{beacon.NewSecret(secret)}}
	return id, beacon.OwnGroup(id.Key(), id.Shares[0])
}

// genesisTime is any moment before the first block.
var genesisTime = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// validators are those of the genesis: a seat is a vote.
func (c Config) validators() (list []proof.Validator) {
	for _, h := range c.Genesis.Beacon.Set.Holders {
		list = append(list, proof.Validator{Key: h.Validator, Power: uint64(len(h.Shares))})
	}
	return list
}

func (c Config) alone() bool {
	all := c.validators()
	return len(all) == 1 && all[0].Key == c.Identity.Key()
}

func (c Config) peers() string { return strings.Join(c.Peers, ",") }

// Trust is what clients of this chain pin.
func (c Config) Trust() (proof.Trust, error) {
	return proof.NewTrust(c.Genesis.Params.Chain, c.validators(), c.Genesis.Beacon.Key)
}

func (c Config) complete() Config {
	if c.GenesisTime.IsZero() {
		c.GenesisTime = genesisTime
	}
	if c.Interval == 0 {
		c.Interval = time.Duration(c.Genesis.Params.IntervalMillis) * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.P2PAddr == "" {
		c.P2PAddr = "127.0.0.1:0"
	}
	return c
}

// Node is a running node of the chain.
type Node struct {
	config  Config
	app     *app
	engine  *node.Node
	dbs     *databases
	scratch string // directory to remove at the end
	stopped bool

	failing sync.Once
	failed  chan struct{}
	failure error
}

func (n *Node) fail(err error) {
	n.failing.Do(func() {
		n.failure = err
		close(n.failed)
	})
}

// Failed is closed when the node cannot go on, for instance because its disk is
// full or the validators have agreed on a block that the rules forbid. It still
// answers queries; only a new start helps. Err says why.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Err is why the node failed, nil as long as it has not.
func (n *Node) Err() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

// Start starts a node. That of a sole validator has made its first block when
// Start returns; others may still be looking for their peers. The context
// bounds the start alone: Stop ends the node.
func Start(ctx context.Context, c Config) (*Node, error) {
	c = c.complete()
	if err := errors.Join(c.Genesis.Check(), c.checkShares()); err != nil {
		return nil, err
	}
	from := inMemory
	if c.Home != "" {
		from = inDirectory(filepath.Join(c.Home, "data"))
	}
	n := newNode(c, from)
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

func newNode(c Config, from func(name string) (dbm.DB, error)) *Node {
	return &Node{config: c, dbs: &databases{from: from}, failed: make(chan struct{})}
}

func (n *Node) start(ctx context.Context) error {
	home, err := n.prepare()
	if err != nil {
		return err
	}
	db, err := n.dbs.get("ledger")
	if err != nil {
		return err
	}
	s, err := openStore(db)
	if err != nil {
		return err
	}
	n.app = newApp(n.config.Genesis.Params.Chain, s, n.config.Identity, n.config.Logger)
	pv, err := signer(n.config.Identity, home, n.config.Home != "")
	if err != nil {
		return err
	}
	cc := engineConfig(n.config, home)
	engine, err := node.NewNodeWithContext(ctx, cc, pv, n.config.Identity.nodeKey(), proxy.NewConnSyncLocalClientCreator(n.app),
		func() (*types.GenesisDoc, error) { doc := genesisDoc(n.config); return doc, doc.ValidateAndComplete() },
		config.DBProvider(n.dbs.provide), node.DefaultMetricsProvider(cc.Instrumentation), engineLog{n.config.Logger, n.fail})
	if err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	n.engine = engine
	if err := engine.Start(); err != nil {
		return fmt.Errorf("chain: start: %w", err)
	}
	if n.config.alone() {
		_, err = n.app.gate.wait(ctx, 1)
	}
	return err
}

// prepare makes the directories, and finds the ports that were left open.
func (n *Node) prepare() (home string, err error) {
	if home = n.config.Home; home == "" {
		// CometBFT keeps its log of votes in a file in any case.
		if home, err = os.MkdirTemp("", "prytany-chain-"); err != nil {
			return "", err
		}
		n.scratch = home
	}
	for _, dir := range []string{"data", "config"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			return "", err
		}
	}
	for _, addr := range []*string{&n.config.P2PAddr, &n.config.RPCAddr} {
		if *addr, err = freePort(*addr); err != nil {
			return "", err
		}
	}
	return home, nil
}

// freePort replaces port 0, which CometBFT would announce as it is.
func freePort(addr string) (string, error) {
	if !strings.HasSuffix(addr, ":0") {
		return addr, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Peer is where others connect: an entry for their Config.Peers.
func (n *Node) Peer() string {
	return p2p.IDAddressString(n.config.Identity.nodeKey().ID(), n.config.P2PAddr)
}

// RPC is the URL for Dial, empty if the node has none.
func (n *Node) RPC() string {
	if n.config.RPCAddr == "" {
		return ""
	}
	return "http://" + n.config.RPCAddr
}

// Height is that of the last committed block.
func (n *Node) Height() uint64 { h, _ := n.app.gate.wait(context.Background(), 0); return h }

// WaitHeight waits until a block of at least this height is committed. Its
// only error is the context's.
func (n *Node) WaitHeight(ctx context.Context, height uint64) error {
	_, err := n.app.gate.wait(ctx, height)
	return err
}

// AppHash is the root of the state after the last committed block, and its
// height.
func (n *Node) AppHash() (hash []byte, height uint64) { return n.app.store.root() }

// Read lets f read the last committed state. The next block waits for f.
func (n *Node) Read(f func(height uint64, r ledger.Reader) error) error {
	return n.app.store.View(func(height uint64, s ledger.Store) error { return f(height, ledger.Read(s)) })
}

// Stop ends the node and closes its data. Calling it again does nothing.
func (n *Node) Stop() error {
	if n.stopped {
		return nil
	}
	n.stopped = true
	var errs []error
	if n.engine != nil && n.engine.IsRunning() {
		errs = append(errs, n.engine.Stop())
		n.engine.Wait()
		errs = append(errs, n.engine.ProxyApp().Stop()) // which the engine forgets
	}
	errs = append(errs, n.dbs.close())
	if n.scratch != "" {
		errs = append(errs, os.RemoveAll(n.scratch))
	}
	return errors.Join(errs...)
}
