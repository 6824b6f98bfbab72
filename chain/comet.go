package chain

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/task"
)

const (
	maxBlockBytes = 2 << 20
	maxBlockWork  = 128 << 20 // bytes that applying a block reads (ledger.Block.Work): a fraction of a second
	maxPoolBytes  = 64 << 20
	maxPoolTxs    = 20_000
)

// engineConfig is CometBFT's configuration. An interval below a tenth of a
// second is a network on one machine or one LAN; it gets gossip to match.
func engineConfig(c Config, home string) *config.Config {
	fast := c.Interval < 100*time.Millisecond
	cc := config.DefaultConfig()
	cc.SetRoot(home)
	cc.Moniker = codespace
	cc.DBBackend = string(dbm.GoLevelDBBackend)
	cc.TxIndex.Indexer = "null"

	cc.RPC.ListenAddress = ""
	if c.RPCAddr != "" {
		cc.RPC.ListenAddress = "tcp://" + c.RPCAddr
	}
	cc.RPC.GRPCListenAddress = ""

	cc.P2P.ListenAddress = "tcp://" + c.P2PAddr
	cc.P2P.PersistentPeers = c.peers()
	cc.P2P.PexReactor = false
	cc.P2P.AddrBookStrict = false
	cc.P2P.AllowDuplicateIP = fast || strings.HasPrefix(c.P2PAddr, "127.") // many nodes of one machine
	if c.alone() {
		cc.P2P.MaxNumInboundPeers = 0
	}

	cc.Mempool.Size = maxPoolTxs
	cc.Mempool.CacheSize = 2 * maxPoolTxs
	cc.Mempool.MaxTxBytes = task.MaxTx
	cc.Mempool.MaxTxsBytes = maxPoolBytes

	// The time to make and agree on a block comes on top of TimeoutCommit.
	cc.Consensus.TimeoutCommit = c.Interval - c.Interval/8
	cc.Consensus.SkipTimeoutCommit = false
	cc.Consensus.CreateEmptyBlocks = false
	cc.Consensus.TimeoutPropose = min(max(8*c.Interval, 300*time.Millisecond), 1500*time.Millisecond)
	cc.Consensus.TimeoutProposeDelta = cc.Consensus.TimeoutPropose / 4
	cc.Consensus.TimeoutPrevote = cc.Consensus.TimeoutPropose / 3
	cc.Consensus.TimeoutPrevoteDelta = cc.Consensus.TimeoutPropose / 8
	cc.Consensus.TimeoutPrecommit = cc.Consensus.TimeoutPrevote
	cc.Consensus.TimeoutPrecommitDelta = cc.Consensus.TimeoutPrevoteDelta
	cc.Consensus.PeerGossipSleepDuration = 10 * time.Millisecond
	if fast {
		cc.Consensus.PeerGossipSleepDuration = 2 * time.Millisecond
		cc.P2P.FlushThrottleTimeout = time.Millisecond
	}
	return cc
}

// genesisDoc is the same for all nodes of a chain, or they cannot agree.
func genesisDoc(c Config) *types.GenesisDoc {
	params := types.DefaultConsensusParams()
	params.Block.MaxBytes = maxBlockBytes
	params.Block.MaxGas = maxBlockWork
	// Evidence of a validator's lie counts as long as a bond can be taken.
	params.Evidence.MaxAgeNumBlocks = int64(max(c.Genesis.Params.UnbondBlocks, 100_000))
	if c.Genesis.Beacon.Kind != beacon.Own {
		params.ABCI.VoteExtensionsEnableHeight = 1
	}
	doc := &types.GenesisDoc{
		GenesisTime: c.GenesisTime, ChainID: c.Genesis.Params.Chain, InitialHeight: 1,
		ConsensusParams: params, AppState: appState(c.Genesis),
	}
	for _, v := range c.validators() {
		key := ed25519.PubKey(v.Key[:])
		doc.Validators = append(doc.Validators, types.GenesisValidator{Address: key.Address(), PubKey: key, Power: int64(v.Power)})
	}
	return doc
}

// addressOf is a validator's consensus address.
func addressOf(key task.Key) []byte { return ed25519.PubKey(key[:]).Address() }

// signer signs votes. On disk it remembers the last one before it gives it
// out, so that a restarted validator cannot vote twice (spec §6.2); the key
// itself is never written. In memory the process is all there ever was.
func signer(id Identity, home string, onDisk bool) (types.PrivValidator, error) {
	key := ed25519.PrivKey(id.key())
	if !onDisk {
		return types.NewMockPVWithParams(key, false, false), nil
	}
	path := filepath.Join(home, "data", "last-vote.json")
	pv := privval.NewFilePV(key, filepath.Join(home, "unused"), path)
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return pv, nil
	}
	if err != nil {
		return nil, fmt.Errorf("chain: the record of the last vote: %w", err)
	}
	if err := cmtjson.Unmarshal(raw, &pv.LastSignState); err != nil {
		return nil, fmt.Errorf("chain: the record of the last vote in %s is damaged; without it this validator could vote twice: %w", path, err)
	}
	return pv, nil
}

// databases are all that a node keeps. CometBFT closes its own while parts of
// it still run; so closing them is put off.
type databases struct {
	from func(name string) (dbm.DB, error)
	mu   sync.Mutex
	open []dbm.DB
}

func inMemory(string) (dbm.DB, error) { return dbm.NewMemDB(), nil }

func inDirectory(dir string) func(string) (dbm.DB, error) {
	return func(name string) (dbm.DB, error) { return dbm.NewGoLevelDB(name, dir) }
}

func (d *databases) get(name string) (dbm.DB, error) {
	db, err := d.from(name)
	if err != nil {
		return nil, fmt.Errorf("chain: open database %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, db)
	return keptOpen{db}, nil
}

func (d *databases) provide(c *config.DBContext) (dbm.DB, error) { return d.get(c.ID) }

func (d *databases) close() (first error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, db := range d.open {
		if err := db.Close(); err != nil && first == nil {
			first = err
		}
	}
	d.open = nil
	return first
}

type keptOpen struct{ dbm.DB }

func (keptOpen) Close() error { return nil }

// engineLog writes CometBFT's log through slog, one level lower: what it calls
// information is each step of each round. It is also the only place where
// CometBFT says that it has given up.
type engineLog struct {
	to    *slog.Logger
	alarm func(error) // nil: nobody is told
}

// gaveUp is what CometBFT logs when its consensus stops for good.
const gaveUp = "CONSENSUS FAILURE!!!"

func (l engineLog) Debug(string, ...any)       {}
func (l engineLog) Info(msg string, kv ...any) { l.write(slog.LevelDebug, msg, kv) }
func (l engineLog) Warn(msg string, kv ...any) { l.write(slog.LevelInfo, msg, kv) }

func (l engineLog) Error(msg string, kv ...any) {
	if msg != gaveUp {
		l.write(slog.LevelWarn, msg, kv)
		return
	}
	l.write(slog.LevelError, "consensus has stopped", kv)
	if l.alarm != nil && len(kv) > 1 {
		l.alarm(fmt.Errorf("chain: consensus has stopped: %v", kv[1]))
	}
}

func (l engineLog) With(kv ...any) log.Logger { return engineLog{l.to.With(kv...), l.alarm} }

func (l engineLog) write(level slog.Level, msg string, kv []any) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	kv = slices.Clone(kv)
	for i, v := range kv {
		if s, ok := v.(fmt.Stringer); ok && i%2 == 1 {
			kv[i] = s.String()
		}
	}
	l.to.Log(context.Background(), level, msg, kv...)
}
