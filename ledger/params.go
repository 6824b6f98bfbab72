package ledger

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Params are the rules' numbers, fixed at genesis. Deadlines are in blocks
// (spec §1.5), amounts in base units, shares in parts per million.
type Params struct {
	Chain          string      `cbor:"1,keyasint" json:"chain"`
	IntervalMillis uint64      `cbor:"2,keyasint" json:"interval_ms,string"` // nominal time between blocks while a task is open
	EpochBlocks    uint64      `cbor:"3,keyasint" json:"epoch_blocks,string"`
	UnbondBlocks   uint64      `cbor:"4,keyasint" json:"unbond_blocks,string"`
	ClaimBlocks    uint64      `cbor:"5,keyasint" json:"claim_blocks,string"`   // claims stay open this long after the seed, and up to lastClaims times as long if few have come
	CommitBlocks   uint64      `cbor:"6,keyasint" json:"commit_blocks,string"`  // a quorum closes a commit set after this, from the view's start or from a later quorum; all close it at once
	AttestBlocks   uint64      `cbor:"7,keyasint" json:"attest_blocks,string"`  // an executor without a verdict by then is passed over
	ReleaseBlocks  uint64      `cbor:"8,keyasint" json:"release_blocks,string"` // owners have this long after the verdict
	RunGraceBlocks uint64      `cbor:"9,keyasint" json:"run_grace_blocks,string"`
	ReviewBlocks   uint64      `cbor:"10,keyasint" json:"review_blocks,string"`
	MaxAttempts    uint32      `cbor:"11,keyasint" json:"max_attempts"`
	MaxViews       uint32      `cbor:"12,keyasint" json:"max_views"`
	MaxOpen        uint64      `cbor:"13,keyasint" json:"max_open,string"`
	MinBond        task.Amount `cbor:"14,keyasint" json:"min_bond"` // of a node
	TxFee          task.Amount `cbor:"15,keyasint" json:"tx_fee"`   // for each KiB of a transaction, and for each byte of a function
	PostingFee     task.Amount `cbor:"16,keyasint" json:"posting_fee"`
	FixedPPM       uint64      `cbor:"17,keyasint" json:"fixed_ppm,string"`      // an executor's part of the gas money when an owner does not show up
	DeclineBlocks  uint64      `cbor:"18,keyasint" json:"decline_blocks,string"` // an executor may decline this long after its turn began, and as long as its files may take
	NoticeBlocks   uint64      `cbor:"19,keyasint" json:"notice_blocks,string"`  // a change of reference values changes nothing before
	Economics
	// What every honest machine can do at the least, in a millisecond: run so much
	// gas, and get so many bytes of code ready (spec §3.5.2).
	GasFloor  uint64 `cbor:"36,keyasint" json:"gas_floor,string"`
	CodeFloor uint64 `cbor:"37,keyasint" json:"code_floor,string"`
	// FetchFloor is how many bytes of a task's files it can fetch in a millisecond.
	FetchFloor uint64 `cbor:"40,keyasint" json:"fetch_floor,string"`
	// SkipBlocks is how long a turn lasts before a quorum's word can end it.
	SkipBlocks uint64 `cbor:"41,keyasint" json:"skip_blocks,string"`
	// Rent is the usual price of a block in which a task is open (spec §10.1).
	Rent task.Amount `cbor:"42,keyasint" json:"rent"`
	// A registration's quote is over a beacon of the last FreshBlocks, and is
	// renewed within RenewBlocks (spec §3.1).
	FreshBlocks uint64 `cbor:"43,keyasint" json:"fresh_blocks,string"`
	RenewBlocks uint64 `cbor:"44,keyasint" json:"renew_blocks,string"`
}

const million = 1_000_000

// Embedded are the parameters of a network in one process: 25 ms blocks.
func Embedded(chain string) Params {
	return Params{
		Chain: chain, IntervalMillis: 25, EpochBlocks: 40, UnbondBlocks: 200_000,
		ClaimBlocks: 1, CommitBlocks: 6, AttestBlocks: 120, ReleaseBlocks: 200, RunGraceBlocks: 200, ReviewBlocks: 200,
		MaxAttempts: 5, MaxViews: 5, MaxOpen: 1024, NoticeBlocks: 80,
		MinBond: 100 * task.PRY, TxFee: 100, PostingFee: 40_000,
		FixedPPM: 100_000, DeclineBlocks: 40, SkipBlocks: 60,
		Economics: Default(20_000), GasFloor: 100_000, CodeFloor: 500, FetchFloor: 20_000,
		Rent: 2, FreshBlocks: 400, RenewBlocks: 40_000,
	}
}

// Check refuses parameters under which some rule could not hold.
func (p Params) Check() error {
	for _, n := range []struct {
		name  string
		value uint64
	}{
		{"interval_ms", p.IntervalMillis}, {"epoch_blocks", p.EpochBlocks}, {"claim_blocks", p.ClaimBlocks},
		{"commit_blocks", p.CommitBlocks}, {"attest_blocks", p.AttestBlocks}, {"release_blocks", p.ReleaseBlocks},
		{"run_grace_blocks", p.RunGraceBlocks}, {"review_blocks", p.ReviewBlocks}, {"max_attempts", uint64(p.MaxAttempts)},
		{"max_views", uint64(p.MaxViews)}, {"max_open", p.MaxOpen}, {"min_bond", uint64(p.MinBond)},
		{"gas_floor", p.GasFloor}, {"code_floor", p.CodeFloor}, {"fetch_floor", p.FetchFloor},
		{"decline_blocks", p.DeclineBlocks}, {"skip_blocks", p.SkipBlocks},
		{"fresh_blocks", p.FreshBlocks}, {"renew_blocks", p.RenewBlocks}, {"notice_blocks", p.NoticeBlocks},
	} {
		if n.value == 0 || n.value > 1<<40 {
			return fmt.Errorf("genesis: %s is %d, want 1 to 2^40", n.name, n.value)
		}
	}
	if p.Chain == "" || len(p.Chain) > 48 {
		return fmt.Errorf("genesis: chain id missing or over 48 bytes")
	}
	if p.MaxAttempts > 1024 || p.MaxViews > 1024 {
		return fmt.Errorf("genesis: max_attempts or max_views is over 1024")
	}
	if p.Rent > 1<<40 || p.PostingFee > 1<<40 {
		return fmt.Errorf("genesis: rent or posting_fee is over 2^40 base units")
	}
	if p.RenewBlocks <= p.FreshBlocks {
		return fmt.Errorf("genesis: renew_blocks %d must be longer than fresh_blocks, %d: or no quote would be fresh when it is due", p.RenewBlocks, p.FreshBlocks)
	}
	if p.FixedPPM > million {
		return fmt.Errorf("genesis: a share is over a million parts per million")
	}
	if p.SkipBlocks < p.DeclineBlocks {
		return fmt.Errorf("genesis: skip_blocks %d must be at least decline_blocks, %d: nobody is passed over while it may decline", p.SkipBlocks, p.DeclineBlocks)
	}
	if least := min(p.ReleaseBlocks, p.RunGraceBlocks, p.ReviewBlocks); p.CommitBlocks > least {
		return fmt.Errorf("genesis: commit_blocks %d must be no more than release_blocks, run_grace_blocks and review_blocks, the least of which is %d: no turn ends before words about its enclave are due", p.CommitBlocks, least)
	}
	if p.UnbondBlocks > 1<<62 {
		return fmt.Errorf("genesis: unbond_blocks is over 2^62: heights would wrap")
	}
	if longest := p.window(0, 0); p.UnbondBlocks <= longest {
		return fmt.Errorf("genesis: unbond_blocks %d must be longer than the longest dispute window, %d (spec §3.3)", p.UnbondBlocks, longest)
	}
	if p.NoticeBlocks < 2*p.EpochBlocks {
		return fmt.Errorf("genesis: notice_blocks %d must be two epochs, %d, or more: nodes look once an epoch at what will shut them out (spec §7.9)", p.NoticeBlocks, 2*p.EpochBlocks)
	}
	return p.Economics.check(p)
}

// Fee is what a transaction of so many bytes costs: for each KiB begun.
func (p Params) Fee(size int) task.Amount { return p.TxFee * task.Amount(1+size/1024) }

// Deposit is the least bond of a function: its manifest stays in the state, and is
// paid for by the byte.
func (p Params) Deposit(f task.Function) task.Amount {
	return p.TxFee * task.Amount(len(task.Encode(f)))
}

// window is the longest that a node can owe something, from its unbonding on, if
// a run may last so many blocks and its files come in so many: two epochs in which
// it still draws, the turns that are declined, every view, then the review and the
// dispute.
func (p Params) window(run, fetch uint64) uint64 {
	return activationEpochs*p.EpochBlocks + p.attempt(run, fetch) + p.ReviewBlocks + p.DisputeBlocks
}

// lastCommits is how many blocks commitments are open after those of a first quorum,
// whenever it came: enough to see it, and to bring one's own.
func (p Params) lastCommits() uint64 { return p.CommitBlocks/2 + 1 }

// fetch is how many blocks the files of a task may take to come.
func (p Params) fetch(bytes uint64) uint64 { return p.Blocks(ceil(bytes, p.FetchFloor)) }

// CheckFunction refuses a function that would be run in too little time, or in
// too much (spec §3.5). Too little: an honest machine at the floors must always
// come to the gas limit before the wall limit, which is the machine's affair and
// pays nobody (ADR 0030). Too much: a bond must outlast what it answers for.
func (p Params) CheckFunction(f task.Function) error {
	l, size := f.Manifest.Limits, f.Size()
	need, wraps := bits.Add64(ceil(l.Gas, p.GasFloor), ceil(size, p.CodeFloor), 0)
	if wraps > 0 || l.WallMillis < need {
		return task.Refuse("wall-short", "%d gas and %d bytes of code can take an honest machine %d ms; the wall limit is %d ms, and executors would work for nothing", l.Gas, size, need, l.WallMillis).
			WithNext("raise limits.wall to %dms, or lower limits.gas", need)
	}
	wall := p.Blocks(f.Manifest.LateMillis())
	if window := p.window(wall, p.fetch(size+task.MaxBlob)); window >= p.UnbondBlocks {
		return task.Refuse("wall-too-long", "a run of %d blocks, tried by %d executors, and its disputes take %d blocks; a bond is held for %d", wall, p.MaxViews, window, p.UnbondBlocks).
			WithNext("shorten limits.wall")
	}
	return nil
}

func ceil(a, b uint64) uint64 { return a/b + min(1, a%b) }

// Blocks turns milliseconds into heights by the nominal interval, rounded up.
func (p Params) Blocks(millis uint64) uint64 {
	return (millis + p.IntervalMillis - 1) / p.IntervalMillis
}

// Genesis is the first state of a chain.
type Genesis struct {
	Params   Params       `cbor:"1,keyasint" json:"params"`
	Accounts []Grant      `cbor:"2,keyasint" json:"accounts"`
	Nodes    []FirstNode  `cbor:"3,keyasint" json:"nodes"`
	Beacon   beacon.Group `cbor:"4,keyasint" json:"beacon"`
	// Reference are the first reference values; the beacon's validators change them.
	Reference attest.Reference `cbor:"5,keyasint" json:"reference"`
}

// Grant gives an account its first balance.
type Grant struct {
	Account task.Address `cbor:"1,keyasint" json:"account"`
	Balance task.Amount  `cbor:"2,keyasint" json:"balance"`
}

// FirstNode is a worker whose stake counts from the first block. The genesis
// vouches for its machine.
type FirstNode struct {
	Node    task.Node      `cbor:"1,keyasint" json:"node"`
	Bond    task.Amount    `cbor:"2,keyasint" json:"bond"`
	Profile attest.Profile `cbor:"3,keyasint" json:"profile"`
}

// Check refuses a genesis under which some rule could not hold.
func (g Genesis) Check() error {
	if err := g.Params.Check(); err != nil {
		return err
	}
	if err := errors.Join(g.Reference.Check(), g.Beacon.Check()); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	if d := g.Beacon.Kind.Distance(); g.Params.ReviewBlocks < d {
		return fmt.Errorf("genesis: review_blocks %d must be %d or more: the beacon that asks for the exit comes so long after the result", g.Params.ReviewBlocks, d)
	}
	return nil
}

// Init writes the first state. It is called once, on an empty store.
func Init(s Store, g Genesis) error {
	if err := g.Check(); err != nil {
		return err
	}
	o := newOverlay(s)
	b, meta := &Block{Params: g.Params, state: o}, Meta{}
	total := func(a task.Amount) error {
		var ok bool
		if meta.Supply, ok = meta.Supply.Add(a); !ok {
			return fmt.Errorf("genesis: supply is over 2^64-1 base units")
		}
		return nil
	}
	for _, a := range g.Accounts {
		key := join(keyAccount, a.Account[:])
		if o.Get(key) != nil {
			return fmt.Errorf("genesis: account %s stands twice", a.Account.Short())
		}
		save(o, key, Account{Balance: a.Balance})
		if err := total(a.Balance); err != nil {
			return err
		}
	}
	for _, f := range g.Nodes {
		id := f.Node.ID()
		if err := f.Node.Check(); err != nil {
			return fmt.Errorf("genesis: node %s: %w", id.Short(), err)
		}
		if f.Bond < g.Params.MinBond || o.Get(join(keyNode, id[:])) != nil {
			return fmt.Errorf("genesis: node %s stands twice or bonds less than %s", id.Short(), g.Params.MinBond)
		}
		chip := join(keyChip, f.Node.TEE.Identity[:])
		if o.Get(chip) != nil {
			return fmt.Errorf("genesis: the TEE of node %s stands twice: one TEE, one node", id.Short())
		}
		if err := vrf.PublicKey(f.Node.VRF).Validate(); err != nil {
			return fmt.Errorf("genesis: node %s: VRF key: %w", id.Short(), err)
		}
		o.Set(chip, id[:])
		n := NodeRecord{Node: f.Node, Bond: f.Bond, Stakes: []Stake{{Epoch: 0, Amount: f.Bond}}}
		b.classify(&n, f.Profile)
		b.shown(&n)
		save(o, join(keyNode, id[:]), n)
		if err := total(f.Bond); err != nil {
			return err
		}
		meta.Stakes.add(0, 0, f.Bond, 0)
	}
	save(o, []byte(keyGroup), g.Beacon)
	save(o, []byte(keyParams), g.Params)
	save(o, []byte(keyValues), first(g.Reference))
	(&Block{state: o, sets: map[task.Hash]attest.Reference{}}).adopt(first(g.Reference))
	save(o, []byte(keyMeta), meta)
	beacon := FirstBeacon(g.Params.Chain)
	o.Set(join(keyRecent, task.U64(0)), beacon[:])
	o.Flush()
	return nil
}
