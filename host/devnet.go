package host

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
	"github.com/prytany/prytany/broker"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/faucet"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/peer"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm/swtpm"
	"github.com/prytany/prytany/wallet"
)

// Devnet is a whole network in this process: one validator, some workers, a
// key broker and a faucet. Only their number and their loopback addresses tell
// it from many machines; every part is the one that a real network runs.
type Devnet struct {
	Chain      *chain.Node      // the validator
	Client     chain.Pinned     // of the validator's chain
	Params     ledger.Params    // the chain's
	Values     attest.Reference // in force when it started
	Workers    []*Worker
	Broker     *broker.Broker // everybody's, who leaves a key with it
	BrokerPeer *peer.Peer     // at which the faucet answers too

	faucet   faucet.Faucet
	platform *platform
	tpms     *tpms // the workers', if they have any
	log      *slog.Logger

	cancel  context.CancelFunc
	wg      sync.WaitGroup
	closers []func() error
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

// Config says what a devnet is.
type Config struct {
	// Home is the directory of everything, which goes on where it was left. Needed.
	Home string
	// Workers is how many there are. Needed.
	Workers int
	// TEE is the kind of their evidence: attest.Simulated, or attest.TPM for a software TPM
	// each. Empty: simulated.
	TEE attest.Kind
	// Enclaves says by what they start enclaves.
	Enclaves Enclaves
	// RPC is the host:port of the chain's RPC, by which other processes join. Empty: none.
	RPC string
	// Grants are balances at the genesis, beside the faucet's.
	Grants []ledger.Grant
	// Params changes the parameters of a new chain. Nil: those of an embedded one.
	Params func(*ledger.Params)
	// Patience is how long workers wait for each other. Needed.
	Patience committee.Patience
	// Corrupt makes a worker do otherwise than it should, for demos and tests. Nil: none
	// does.
	Corrupt func(node.Config) node.Config
	// Trace sees every message of workers and broker. Nil: nobody does.
	Trace func(proto string, msg []byte)
	// Log is that of all parts but the chain's engine. Needed.
	Log *slog.Logger
	// EngineLog is the chain engine's. Nil: it is silent.
	EngineLog *slog.Logger
}

// Start starts a devnet and waits for its first block. It ends with ctx, or by Stop,
// which waits for its end.
func Start(ctx context.Context, o Config) (n *Devnet, err error) {
	if o.TEE == attest.TPM {
		if err := swtpm.Missing(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	n = &Devnet{log: o.Log, cancel: cancel}
	defer func() {
		if err != nil {
			_ = n.Stop() // err says more
		}
	}()
	if n.platform, err = openPlatform(ctx, o.Enclaves); err != nil {
		return n, err
	}
	n.closers = append(n.closers, n.platform.close)
	if err := n.platform.choose(ctx, func(task.Hash) bool { return true }); err != nil {
		return n, err
	}
	if err := n.openWorkers(ctx, o); err != nil {
		return n, err
	}
	seed, err := secretFile(filepath.Join(o.Home, "faucet.key"))
	if err != nil {
		return n, err
	}
	n.faucet.Key = ed25519.NewKeyFromSeed(seed[:])
	identity, group, err := validatorIdentity(filepath.Join(o.Home, "validator"))
	if err != nil {
		return n, err
	}
	if o.TEE == attest.TPM {
		if err := n.startTPMs(ctx, o); err != nil {
			return n, err
		}
	}
	config := chain.Config{
		Home: filepath.Join(o.Home, "chain"), Identity: identity, RPCAddr: o.RPC, Logger: o.EngineLog,
	}
	fresh := func() (ledger.Genesis, error) { return n.genesis(ctx, o, group) }
	if config.Genesis, err = keptGenesis(filepath.Join(o.Home, "genesis.json"), fresh); err != nil {
		return n, err
	}
	n.Params = config.Genesis.Params
	if n.Chain, err = chain.Start(ctx, config); err != nil {
		return n, fmt.Errorf("start the chain: %w", err)
	}
	n.closers = append(n.closers, n.Chain.Stop)
	if err := n.Chain.WaitHeight(ctx, 1); err != nil {
		return n, err
	}
	client, err := chain.Local(n.Chain)
	if err != nil {
		return n, err
	}
	n.closers = append(n.closers, client.Close)
	trust, err := config.Trust()
	if err != nil {
		return n, err
	}
	n.Client = chain.Pinned{Client: client, Trust: trust}
	n.faucet.Chain = n.Client
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
func (n *Devnet) admit(ctx context.Context) (err error) {
	if n.Values, err = n.Client.Reference(ctx); err != nil {
		return err
	}
	if err := n.platform.known(n.Params.Chain, n.Values); err != nil {
		return err
	}
	if err := n.endorseAll(n.Params.Chain, n.Values); err != nil {
		return err
	}
	late, err := n.Client.Beacon(ctx)
	if err != nil {
		return err
	}
	for _, w := range n.Workers {
		if _, _, err := w.enrol(n.platform.program.Measurement, n.Params.Chain, n.Values, late); err != nil {
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

func (n *Devnet) genesis(ctx context.Context, o Config, own beacon.Group) (ledger.Genesis, error) {
	var nonce [4]byte
	_, _ = rand.Read(nonce[:])
	p := ledger.Embedded(fmt.Sprintf("prytany-dev-%x", nonce))
	ref := attest.Reference{AllowSimulated: true, Measurements: []task.Hash{n.platform.program.Measurement}}
	ref.Runtimes = n.containerRuntimes(ctx, o)
	if n.tpms != nil {
		n.tpms.allow(&ref)
	}
	if o.Params != nil {
		o.Params(&p)
	}
	if d := n.platform.docker; d != nil {
		ref.Docker = []task.Hash{d.Measurement}
	}
	g := ledger.Genesis{
		Params: p, Reference: ref, Beacon: own,
		Accounts: append([]ledger.Grant{{Account: task.PublicKey(n.faucet.Key), Balance: 1_000_000_000 * task.PRY}}, o.Grants...),
	}
	if err := n.endorseAll(p.Chain, ref); err != nil {
		return g, err
	}
	for _, w := range n.Workers {
		_, profile, err := w.enrol(n.platform.program.Measurement, p.Chain, ref, ledger.Beacon{Value: ledger.FirstBeacon(p.Chain)})
		if err != nil {
			return g, fmt.Errorf("worker %s: %w", w.Name, err)
		}
		g.Accounts = append(g.Accounts, ledger.Grant{Account: w.Node.Operator, Balance: 10 * task.PRY})
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: w.Node, Bond: w.bond, Profile: profile})
	}
	return g, nil
}

// containerRuntimes are those that a new chain accepts: the workers', and where
// others may join, all that this machine has.
func (n *Devnet) containerRuntimes(ctx context.Context, o Config) (list []task.Hash) {
	if n.platform.chosen != nil {
		list = append(list, n.platform.chosen.digest)
	}
	if o.RPC == "" {
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
func (n *Devnet) openWorkers(ctx context.Context, o Config) error {
	n.Workers = make([]*Worker, o.Workers)
	runtimes := n.platform.runtimes(ctx, o.TEE)
	errs := make([]error, o.Workers)
	var wg sync.WaitGroup
	for i := range n.Workers {
		wg.Go(func() {
			name := fmt.Sprintf("node%d", i)
			n.Workers[i], errs[i] = openWorker(ctx, filepath.Join(o.Home, name), "", peer.Space, runtimes, o.Trace, o.Log.With("worker", name))
			if errs[i] == nil {
				n.Workers[i].Name, n.Workers[i].bond = name, bondOf(i)
			}
		})
	}
	wg.Wait()
	for _, w := range n.Workers {
		if w != nil {
			n.closers = append(n.closers, w.close)
		}
	}
	return errors.Join(errs...)
}

// run connects the workers and sets them to work.
func (n *Devnet) run(ctx context.Context, o Config) error {
	for i, w := range n.Workers {
		// A ring with chords: everyone is a few hops from everyone.
		for _, j := range []int{i - 1, i - 3, i / 2} {
			if j < 0 || j >= i {
				continue
			}
			if err := w.Peer.Host.Connect(ctx, n.Workers[j].Peer.Host.Addr()); err != nil {
				return err
			}
		}
		w.attach(n.Client, n.platform, n.Params, o.Patience, o.Corrupt)
		var own context.Context
		own, w.cancel = context.WithCancel(ctx)
		n.wg.Go(func() {
			if err := w.Run(own); err != nil && own.Err() == nil {
				n.log.Error("worker stopped", "worker", w.Name, "err", err)
			}
		})
	}
	return nil
}

// startBroker starts the devnet's key broker, which keeps the keys of anyone
// who deposits them, and the faucet beside it.
func (n *Devnet) startBroker(ctx context.Context, o Config) error {
	dir := filepath.Join(o.Home, "broker")
	seed, err := secretFile(filepath.Join(dir, "broker.key"))
	if err != nil {
		return err
	}
	keys := wallet.FromEntropy(seed)
	if n.BrokerPeer, err = peer.Open(ctx, p2p.Config{Key: keys.Peer(), Listen: peer.LastAddress(dir), Trace: o.Trace, Log: o.Log}, filepath.Join(dir, "blobs"), blob.Space{Bytes: peer.Space}, n.Bootstrap()); err != nil {
		return err
	}
	n.closers = append(n.closers, n.BrokerPeer.Close)
	if err := peer.KeepAddress(dir, n.BrokerPeer.Host); err != nil {
		return err
	}
	n.Broker, err = broker.New(broker.Config{
		Chain: n.Client, Blobs: n.BrokerPeer.Blobs, Keys: keys, Dir: filepath.Join(dir, "keys"), Log: o.Log.With("service", "broker"),
	})
	if err != nil {
		return err
	}
	n.BrokerPeer.Host.Handle(task.ProtoRelease, n.Broker.AnswerRelease)
	n.BrokerPeer.Host.Handle(task.ProtoDeposit, n.Broker.AnswerDeposit)
	n.BrokerPeer.Host.Handle(faucet.Proto, n.faucet.Pour)
	if n.tpms != nil {
		activate := n.tpms.activation(n.Params.Chain, n.Values)
		n.BrokerPeer.Host.Handle(protoActivate, func(_ context.Context, _ task.Key, raw []byte) ([]byte, error) { return activate(raw) })
	}
	n.wg.Go(func() {
		if err := n.Broker.Run(ctx); err != nil && ctx.Err() == nil {
			o.Log.Error("broker stopped", "err", err)
		}
	})
	// The broker's account pays the fees of its releases.
	return n.faucet.Grant(ctx, n.Broker.Account(), 10*task.PRY)
}

// Bootstrap are addresses to join the network at.
func (n *Devnet) Bootstrap() []string {
	var addrs []string
	for _, w := range n.Workers[:min(3, len(n.Workers))] {
		addrs = append(addrs, w.Peer.Host.Addr())
	}
	return addrs
}

// BrokerAt is where the key broker is.
func (n *Devnet) BrokerAt() task.Endpoint {
	return task.Endpoint{Addr: n.BrokerPeer.Host.Addr(), Account: n.Broker.Account()}
}

// Stop ends everything, last started first, and waits for it.
func (n *Devnet) Stop() error {
	n.cancel()
	n.wg.Wait()
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}
