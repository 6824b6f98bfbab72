package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm/swtpm"
	"github.com/prytany/prytany/wallet"
)

// network is a whole network in this process: one validator, some workers, a
// key broker and a faucet. Only their number and their loopback addresses tell
// it from many machines; every part is the one that a real network runs.
type network struct {
	chain    *chain.Node
	client   chainEdge
	params   ledger.Params
	values   attest.Reference // in force when it started
	workers  []*worker
	broker   *service
	keeper   *broker
	faucet   ed25519.PrivateKey
	platform *platform
	tpms     *tpms // the workers', if they have any
	log      *slog.Logger

	cancel  context.CancelFunc
	wg      sync.WaitGroup
	closers []func() error
}

// service is a host with blobs, for an owner or a broker.
type service struct {
	host  *p2p.Host
	blobs *blob.Store
}

func randomSeed() [32]byte {
	var s [32]byte
	if _, err := rand.Read(s[:]); err != nil {
		panic(err)
	}
	return s
}

// secretFile reads 32 secret bytes, or makes them, mode 0600.
func secretFile(path string) ([32]byte, error) {
	raw, err := disk.ReadFile(path, disk.MaxSecret)
	if errors.Is(err, os.ErrNotExist) {
		s := randomSeed()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return s, err
		}
		return s, disk.WriteNew(path, s[:])
	}
	if err == nil && len(raw) != 32 {
		err = task.Refuse("key-malformed", "%s holds %d bytes, not 32", path, len(raw))
	}
	if err != nil {
		return [32]byte{}, err
	}
	return [32]byte(raw), nil
}

// networkOptions say what startNetwork builds.
type networkOptions struct {
	home     string // directory for everything
	workers  int
	tee      string         // kind of evidence; "" is simulated
	rpc      string         // host:port, "" for none
	oci      []string       // runtimes for containers
	grants   []ledger.Grant // balances beside the faucet's
	patience committee.Patience
	params   func(*ledger.Params)
	corrupt  func(node.Config) node.Config    // what a worker does otherwise, in a demo; nil: nothing
	say      func(format string, args ...any) // progress; nil is silent
	trace    func(proto string, msg []byte)   // sees every message of workers and broker
	log      *slog.Logger
	engine   *slog.Logger // the chain engine's; nil is silent
}

// startNetwork starts everything and waits for the first block.
func startNetwork(ctx context.Context, o networkOptions) (n *network, err error) {
	if o.tee == string(attest.TPM) {
		if err := swtpm.Missing(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	n = &network{log: o.log, cancel: cancel}
	defer func() {
		if err != nil {
			_ = n.stop() // err says more
		}
	}()
	if n.platform, err = openPlatform(ctx, o.oci, o.say); err != nil {
		return n, err
	}
	n.closers = append(n.closers, n.platform.close)
	if err := n.platform.choose(ctx, func(task.Hash) bool { return true }); err != nil {
		return n, err
	}
	if err := n.openWorkers(ctx, o); err != nil {
		return n, err
	}
	seed, err := secretFile(filepath.Join(o.home, "faucet.key"))
	if err != nil {
		return n, err
	}
	n.faucet = ed25519.NewKeyFromSeed(seed[:])
	identity, group, err := validatorIdentity(filepath.Join(o.home, "validator"))
	if err != nil {
		return n, err
	}
	if o.tee == string(attest.TPM) {
		if err := n.startTPMs(ctx, o); err != nil {
			return n, err
		}
	}
	config := chain.Config{
		Home: filepath.Join(o.home, "chain"), Identity: identity, RPCAddr: o.rpc, Logger: o.engine,
	}
	fresh := func() (ledger.Genesis, error) { return n.genesis(ctx, o, group) }
	if config.Genesis, err = keptGenesis(filepath.Join(o.home, "genesis.json"), fresh); err != nil {
		return n, err
	}
	n.params = config.Genesis.Params
	if n.chain, err = chain.Start(ctx, config); err != nil {
		return n, fmt.Errorf("start the chain: %w", err)
	}
	n.closers = append(n.closers, n.chain.Stop)
	if err := n.chain.WaitHeight(ctx, 1); err != nil {
		return n, err
	}
	client, err := chain.Local(n.chain)
	if err != nil {
		return n, err
	}
	n.closers = append(n.closers, client.Close)
	trust, err := config.Trust()
	if err != nil {
		return n, err
	}
	n.client = chainEdge{client, trust}
	if err := n.admit(ctx); err != nil {
		return n, err
	}
	if err := n.run(ctx, o); err != nil {
		return n, err
	}
	return n, n.startBroker(ctx, o)
}

// admit holds the programs and TPMs of this process against the reference values
// that are in force, whatever the genesis says of a chain that goes on.
func (n *network) admit(ctx context.Context) (err error) {
	if n.values, err = n.client.Reference(ctx); err != nil {
		return err
	}
	if err := n.platform.known(n.params.Chain, n.values); err != nil {
		return err
	}
	if err := n.endorseAll(n.params.Chain, n.values); err != nil {
		return err
	}
	late, err := n.client.Beacon(ctx)
	if err != nil {
		return err
	}
	for _, w := range n.workers {
		if _, _, err := w.enrol(n.platform.program.Measurement, n.params.Chain, n.values, late); err != nil {
			w.log.Warn("this machine is not accepted, and does not draw", "err", err)
		}
	}
	return nil
}

// validatorIdentity is the one validator's, and the beacon that it makes alone.
func validatorIdentity(dir string) (id chain.Identity, g beacon.Group, err error) {
	c, err := secretFile(filepath.Join(dir, "consensus.key"))
	if err != nil {
		return id, g, err
	}
	s, err := secretFile(filepath.Join(dir, "beacon.key"))
	if err != nil {
		return id, g, err
	}
	id, g = chain.Sole(c, s)
	return id, g, nil
}

// keptGenesis keeps the first genesis of a home: its chain goes on after a restart.
func keptGenesis(path string, fresh func() (ledger.Genesis, error)) (g ledger.Genesis, err error) {
	raw, err := disk.ReadFile(path, disk.MaxSetting)
	if !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = json.Unmarshal(raw, &g)
		}
		return g, err
	}
	if g, err = fresh(); err != nil {
		return g, err
	}
	raw, err = json.MarshalIndent(g, "", "  ")
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	return g, err
}

// bonds are unequal on purpose: shares of the draw are shares of the stake.
func bondOf(i int) task.Amount { return task.Amount(100+60*(i%7)+25*i) * task.PRY }

func (n *network) genesis(ctx context.Context, o networkOptions, own beacon.Group) (ledger.Genesis, error) {
	var nonce [4]byte
	_, _ = rand.Read(nonce[:])
	p := ledger.Embedded(fmt.Sprintf("prytany-dev-%x", nonce))
	ref := attest.Reference{AllowSimulated: true, Measurements: []task.Hash{n.platform.program.Measurement}}
	ref.Runtimes = n.containerRuntimes(ctx, o)
	if n.tpms != nil {
		n.tpms.allow(&ref)
	}
	if o.params != nil {
		o.params(&p)
	}
	if d := n.platform.docker; d != nil {
		ref.Docker = []task.Hash{d.Measurement}
	}
	g := ledger.Genesis{
		Params: p, Reference: ref, Beacon: own,
		Accounts: append([]ledger.Grant{{Account: task.PublicKey(n.faucet), Balance: 1_000_000_000 * task.PRY}}, o.grants...),
	}
	if err := n.endorseAll(p.Chain, ref); err != nil {
		return g, err
	}
	for _, w := range n.workers {
		_, profile, err := w.enrol(n.platform.program.Measurement, p.Chain, ref, ledger.Beacon{Value: ledger.FirstBeacon(p.Chain)})
		if err != nil {
			return g, fmt.Errorf("worker %s: %w", w.name, err)
		}
		g.Accounts = append(g.Accounts, ledger.Grant{Account: w.node.Operator, Balance: 10 * task.PRY})
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: w.node, Bond: w.bond, Profile: profile})
	}
	return g, nil
}

// containerRuntimes are those that a new chain accepts: the workers', and where
// others may join, all that this machine has.
func (n *network) containerRuntimes(ctx context.Context, o networkOptions) (list []task.Hash) {
	if n.platform.chosen != nil {
		list = append(list, n.platform.chosen.digest)
	}
	if o.rpc == "" {
		return list
	}
	for _, s := range container.Probe(ctx) {
		if s.Available && !slices.Contains(list, s.Digest) {
			list = append(list, s.Digest)
		}
	}
	return list
}

// openWorkers opens all hosts at once: the genesis needs their addresses.
func (n *network) openWorkers(ctx context.Context, o networkOptions) error {
	n.workers = make([]*worker, o.workers)
	runtimes := n.platform.runtimes(ctx, o.tee)
	errs := make([]error, o.workers)
	var wg sync.WaitGroup
	for i := range n.workers {
		wg.Go(func() {
			name := fmt.Sprintf("node%d", i)
			n.workers[i], errs[i] = openWorker(ctx, filepath.Join(o.home, name), "", blobSpace, runtimes, o.trace, o.log.With("worker", name))
			if errs[i] == nil {
				n.workers[i].name, n.workers[i].bond = name, bondOf(i)
			}
		})
	}
	wg.Wait()
	for _, w := range n.workers {
		if w != nil {
			n.closers = append(n.closers, w.close)
		}
	}
	return errors.Join(errs...)
}

// run connects the workers and sets them to work.
func (n *network) run(ctx context.Context, o networkOptions) error {
	for i, w := range n.workers {
		// A ring with chords: everyone is a few hops from everyone.
		for _, j := range []int{i - 1, i - 3, i / 2} {
			if j < 0 || j >= i {
				continue
			}
			if err := w.host.Connect(ctx, n.workers[j].host.Addr()); err != nil {
				return err
			}
		}
		w.attach(n.client, n.platform, n.params, o.patience, o.corrupt)
		var own context.Context
		own, w.cancel = context.WithCancel(ctx)
		n.wg.Go(func() {
			if err := w.Run(own); err != nil && own.Err() == nil {
				n.log.Error("worker stopped", "worker", w.name, "err", err)
			}
		})
	}
	return nil
}

// blobSpace is what encrypted files may take of a directory, in bytes, if nothing
// else is said. With a broker they are Bob's code, which nothing may push out.
const blobSpace = 10 << 30

// openService opens a host and blobs for an owner or a broker.
func openService(ctx context.Context, c p2p.Config, dir string, space blob.Space, near []string) (*service, error) {
	host, err := p2p.New(c)
	if err != nil {
		return nil, err
	}
	blobs, err := blob.Open(ctx, host.Libp2p(), dir, space)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	s := &service{host, blobs}
	for _, addr := range near {
		if err := host.Connect(ctx, addr); err != nil {
			_ = s.close()
			return nil, task.Refuse("network-down", "a worker of the network does not answer: %v", err).WithNext("prytany devnet   (in another terminal)")
		}
	}
	return s, nil
}

func (s *service) close() error { return errors.Join(s.blobs.Close(), s.host.Close()) }

// startBroker starts the devnet's key broker, which keeps the keys of anyone
// who deposits them, and the faucet beside it.
func (n *network) startBroker(ctx context.Context, o networkOptions) error {
	dir := filepath.Join(o.home, "broker")
	seed, err := secretFile(filepath.Join(dir, "broker.key"))
	if err != nil {
		return err
	}
	keys := wallet.FromEntropy(seed)
	if n.broker, err = openService(ctx, p2p.Config{Key: keys.Peer(), Listen: lastAddress(dir), Trace: o.trace, Log: o.log}, filepath.Join(dir, "blobs"), blob.Space{Bytes: blobSpace}, n.bootstrap()); err != nil {
		return err
	}
	n.closers = append(n.closers, n.broker.close)
	if err := keepAddress(dir, n.broker.host); err != nil {
		return err
	}
	if n.keeper, err = startBroker(n.broker.host, n.client, n.broker.blobs, keys, filepath.Join(dir, "keys"), o.log.With("service", "broker")); err != nil {
		return err
	}
	n.broker.host.Handle(protoFaucet, n.pour)
	if n.tpms != nil {
		activate := n.tpms.activation(n.params.Chain, n.values)
		n.broker.host.Handle(protoActivate, func(_ context.Context, _ task.Key, raw []byte) ([]byte, error) { return activate(raw) })
	}
	n.wg.Go(func() {
		if err := n.keeper.run(ctx); err != nil && ctx.Err() == nil {
			o.log.Error("broker stopped", "err", err)
		}
	})
	// The broker's account pays the fees of its releases.
	return n.grant(ctx, task.PublicKey(keys.Account()), 10*task.PRY)
}

const protoFaucet = "/prytany/devnet-faucet/1"

// faucetGift is what the devnet's faucet gives to an account that has less.
const faucetGift = 1000 * task.PRY

// pour answers the faucet's protocol: an account's address, and then nothing
// or the reason why not.
func (n *network) pour(ctx context.Context, _ task.Key, raw []byte) ([]byte, error) {
	if len(raw) != 32 {
		return []byte("want an address of 32 bytes"), nil
	}
	to := task.Address(raw)
	have, err := n.client.Account(ctx, to)
	if err != nil {
		return []byte(text(err)), nil
	}
	if have.Balance >= faucetGift {
		return fmt.Appendf(nil, "the account holds %s already", have.Balance), nil
	}
	return []byte(text(n.grant(ctx, to, faucetGift))), nil
}

func (n *network) grant(ctx context.Context, to task.Address, a task.Amount) error {
	_, err := n.client.Submit(ctx, n.faucet, task.Body{Transfer: &task.Transfer{To: to, Amount: a}})
	return err
}

// bootstrap are addresses to join the network at.
func (n *network) bootstrap() []string {
	var addrs []string
	for _, w := range n.workers[:min(3, len(n.workers))] {
		addrs = append(addrs, w.host.Addr())
	}
	return addrs
}

// stop ends everything, last started first, and waits for it.
func (n *network) stop() error {
	n.cancel()
	n.wg.Wait()
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}
