package chain

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	dbm "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/types"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// four drives the app of validator 0 of four, with a task open.
func four(t testing.TB) (*driver, []Identity) {
	t.Helper()
	s, err := openStore(dbm.NewMemDB())
	if err != nil {
		t.Fatal(err)
	}
	_, ids := dealt(4)
	d := &driver{t, newApp(testChain, s, ids[0], slog.New(slog.DiscardHandler))}
	d.init(genesis(4))
	d.plain()
	d.plain(signed("bob", 0, publish()))
	d.plain(signed("alice", 0, post()))
	return d, ids
}

// plain makes a block that needs no beacon.
func (d *driver) plain(txs ...[]byte) {
	d.t.Helper()
	d.finalize(txs)
	d.commit()
}

// extension is a validator's, of the block before the next one.
func extension(t testing.TB, id Identity, height int64) []byte {
	t.Helper()
	s, err := openStore(dbm.NewMemDB())
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(testChain, s, id, slog.New(slog.DiscardHandler))
	r, err := a.ExtendVote(context.Background(), &abci.RequestExtendVote{Height: height, Hash: []byte("some block")})
	if err != nil {
		t.Fatal(err)
	}
	return r.VoteExtension
}

func vote(id Identity, extension []byte) abci.ExtendedVoteInfo {
	return abci.ExtendedVoteInfo{Validator: abci.Validator{Address: addressOf(id.Key()), Power: 1}, VoteExtension: extension}
}

func (d *driver) proposeWith(votes ...abci.ExtendedVoteInfo) [][]byte {
	d.t.Helper()
	r, err := d.app.PrepareProposal(context.Background(), &abci.RequestPrepareProposal{
		MaxTxBytes: maxBlockBytes, Height: d.next(), ProposerAddress: proposer(), LocalLastCommit: abci.ExtendedCommitInfo{Votes: votes},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return r.Txs
}

// The proposer makes the beacon of any three parts, whatever else came with the
// commit. The engine lets late precommits in with any extension.
func TestTheProposerMakesTheBeaconOfTheCommit(t *testing.T) {
	d, ids := four(t)
	last := d.next() - 1
	var good []abci.ExtendedVoteInfo
	for _, id := range ids {
		good = append(good, vote(id, extension(t, id, last)))
	}
	want := beacon.NewSecret(seedOf("dealer")).Sign(beacon.Input(testChain, uint64(d.next())))
	stale := extension(t, ids[1], last-1)
	with := func(i int, v abci.ExtendedVoteInfo) []abci.ExtendedVoteInfo {
		l := slices.Clone(good)
		l[i] = v
		return l
	}
	for name, c := range map[string]struct {
		votes []abci.ExtendedVoteInfo
		made  bool
	}{
		"all":                       {good, true},
		"one absent":                {with(2, vote(ids[2], nil)), true},
		"one is another height's":   {with(1, vote(ids[1], stale)), true},
		"one is another's":          {with(0, vote(ids[0], good[1].VoteExtension)), true},
		"one is no point":           {with(0, vote(ids[0], bytes.Repeat([]byte{0x40}, 48))), true},
		"one is too long":           {with(0, vote(ids[0], append(bytes.Clone(good[0].VoteExtension), 1))), true},
		"one is a stranger's":       {with(3, vote(identity(9), good[3].VoteExtension)), true},
		"one stale, one absent":     {with(1, vote(ids[1], stale))[:3], false},
		"two":                       {good[1:3], false},
		"two, one of them twice":    {append(slices.Clone(good[1:3]), good[1]), false},
		"none, as after a catch-up": {nil, false},
	} {
		d.app.beacon = beacon.Beacon{}
		txs := d.proposeWith(c.votes...)
		d.app.beacon = beacon.Beacon{} // who judges has not made it
		switch {
		case !c.made && (len(txs) != 0 || d.accepts(txs)):
			t.Errorf("%s: a proposal of %d transactions, accepted %t", name, len(txs), d.accepts(txs))
		case c.made && (len(txs) != 1 || !bytes.Equal(txs[0][1:], want[:]) || !d.accepts(txs)):
			t.Errorf("%s: %d transactions, or another beacon", name, len(txs))
		}
	}
}

// A precommit is taken only with all of its parts of the next block's beacon.
func TestPrecommitsNeedTheirParts(t *testing.T) {
	d, ids := four(t)
	h := d.next()
	good := extension(t, ids[1], h)
	if again := extension(t, ids[1], h); len(good) != beacon.SignatureSize || !bytes.Equal(good, again) {
		t.Fatal("a part depends on more than the height")
	}
	takes := func(id Identity, raw []byte) bool {
		r, err := d.app.VerifyVoteExtension(context.Background(), &abci.RequestVerifyVoteExtension{
			Hash: []byte("another block"), ValidatorAddress: addressOf(id.Key()), Height: h, VoteExtension: raw,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r.Status == abci.ResponseVerifyVoteExtension_ACCEPT
	}
	if !takes(ids[1], good) {
		t.Fatal("a good one is refused")
	}
	for name, raw := range map[string][]byte{
		"none": nil, "cut": good[:47], "two": append(bytes.Clone(good), good...), "flipped": flip(good, 20),
		"negative": flipBits(good, 0, 0x20), "the last height's": extension(t, ids[1], h-1), "the next one's": extension(t, ids[1], h+1),
		"another's": extension(t, ids[2], h), "infinity": append([]byte{0xc0}, make([]byte, 47)...), "short infinity": append([]byte{0x40}, make([]byte, 47)...),
	} {
		if takes(ids[1], raw) {
			t.Errorf("%s: taken", name)
		}
	}
	if takes(identity(9), good) {
		t.Error("a stranger's is taken")
	}
}

// noisy is a validator that signs as all do, and gives noise for parts.
func noisy(t *testing.T, c Config) *Node {
	t.Helper()
	c.Identity.Shares = []beacon.Secret{beacon.NewSecret(seedOf("noise"))}
	if _, err := Start(patient(t), c); err == nil || !strings.Contains(err.Error(), "share") {
		t.Fatalf("a node starts with another's share: %v", err)
	}
	n := newNode(c.complete(), inMemory)
	if err := n.start(patient(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop() })
	return n
}

// Four validators, one of which gives noise for its parts, and then dies: blocks and
// beacons go on, and are the same for all.
func TestBeaconsOfFourValidators(t *testing.T) {
	group, ids := dealt(4)
	var nodes []*Node
	var peers []string
	for i := range 4 {
		c := Config{Genesis: genesis(4), Identity: ids[i], Peers: peers, Logger: testLog(t)}
		n := (*Node)(nil)
		if i == 3 {
			n = noisy(t, c)
		} else {
			var err error
			if n, err = Start(patient(t), c); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = n.Stop() })
		}
		nodes, peers = append(nodes, n), append(peers, n.Peer())
	}
	for _, n := range nodes {
		if err := n.WaitHeight(patient(t), 1); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Local(nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	submit(t, c, "bob", publish())
	first := jobOf(submit(t, c, "alice", post()))
	atRest(t, nodes[0], c)
	if err := nodes[3].Stop(); err != nil {
		t.Error(err)
	}
	second := jobOf(submit(t, c, "alice", post()))
	rest := atRest(t, nodes[0], c)

	secret := beacon.NewSecret(seedOf("dealer"))
	beacons := map[uint64]types.Tx{}
	for i, n := range nodes[:3] {
		if err := n.WaitHeight(patient(t), rest); err != nil {
			t.Fatal(err)
		}
		for h := uint64(1); h <= rest; h++ {
			block := n.engine.BlockStore().LoadBlock(int64(h))
			if raw, _ := splitBeacon(block.Txs.ToSliceOfBytes()); raw != nil {
				if want := secret.Sign(beacon.Input(testChain, h)); !bytes.Equal(raw, want[:]) {
					t.Errorf("node %d: block %d has another beacon", i, h)
				}
				beacons[h] = block.Txs[0]
			}
		}
	}
	if len(beacons) < 20 {
		t.Errorf("%d beacons only", len(beacons))
	}
	for _, id := range []task.TaskID{first, second} {
		k, _, err := c.Proof(patient(t), id)
		if err != nil {
			t.Fatal(err)
		}
		if k.Settlement == nil || k.Settlement.Outcome != ledger.NoCommittee || k.SeededAt != k.Began+2 {
			t.Errorf("seeded in block %d, called for in %d: %+v", k.SeededAt, k.Began, k.Settlement)
		}
		if err := group.Key.Verify(beacon.Input(testChain, k.SeededAt), k.Beacon); err != nil {
			t.Error(err)
		}
	}
}
