package chain

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	dbm "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// driver calls an app as CometBFT would, with validator 0 proposing all blocks.
type driver struct {
	t   testing.TB
	app *app
}

func drive(t testing.TB, db dbm.DB) *driver {
	t.Helper()
	s, err := openStore(db)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{t, newApp(testChain, s, identity(0), slog.New(slog.DiscardHandler))}
	if s.Height() == 0 {
		d.init(genesis(1))
	}
	return d
}

func (d *driver) init(g ledger.Genesis) {
	d.t.Helper()
	doc := genesisDoc(Config{Genesis: g, Identity: identity(0)}.complete())
	var engine []abci.ValidatorUpdate
	for _, v := range doc.Validators {
		engine = append(engine, abci.UpdateValidator(v.PubKey.Bytes(), v.Power, "ed25519"))
	}
	if _, err := d.app.InitChain(context.Background(), &abci.RequestInitChain{ChainId: testChain, AppStateBytes: doc.AppState, Validators: engine}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) next() int64 { return int64(d.app.store.Height()) + 1 }

func proposer() []byte { return addressOf(identity(0).Key()) }

func (d *driver) check(raw []byte) error {
	r, err := d.app.CheckTx(context.Background(), &abci.RequestCheckTx{Tx: raw})
	if err != nil {
		d.t.Fatal(err)
	}
	return errorOf(r.Code, r.Log)
}

func (d *driver) propose(pool ...[]byte) [][]byte {
	d.t.Helper()
	r, err := d.app.PrepareProposal(context.Background(), &abci.RequestPrepareProposal{
		MaxTxBytes: maxBlockBytes, Txs: pool, Height: d.next(), ProposerAddress: proposer(),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return r.Txs
}

func (d *driver) accepts(txs [][]byte) bool {
	r, err := d.app.ProcessProposal(context.Background(), &abci.RequestProcessProposal{Txs: txs, Height: d.next(), ProposerAddress: proposer()})
	if err != nil {
		d.t.Fatal(err)
	}
	return r.Status == abci.ResponseProcessProposal_ACCEPT
}

func (d *driver) finalize(txs [][]byte) *abci.ResponseFinalizeBlock {
	d.t.Helper()
	r, err := d.app.FinalizeBlock(context.Background(), &abci.RequestFinalizeBlock{Txs: txs, Height: d.next(), ProposerAddress: proposer()})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *driver) commit() {
	if _, err := d.app.Commit(context.Background(), nil); err != nil {
		d.t.Fatal(err)
	}
}

// block makes one block out of a pool and returns its transactions and hash.
func (d *driver) block(pool ...[]byte) (txs [][]byte, appHash []byte) {
	d.t.Helper()
	txs = d.propose(pool...)
	if !d.accepts(txs) {
		d.t.Fatalf("block %d: the app refuses its own proposal", d.next())
	}
	r := d.finalize(txs)
	for _, res := range r.TxResults {
		if err := errorOf(res.Code, res.Log); err != nil {
			d.t.Fatalf("block %d: %v", d.next(), err)
		}
	}
	d.commit()
	return txs, r.AppHash
}

func signed(who string, nonce uint64, body task.Body) []byte {
	return task.SignTx(account(who), task.Tx{Chain: testChain, Nonce: nonce, Body: withNonce(body, nonce)})
}

// busy is an app with a task open, so that a beacon is due.
func busy(t testing.TB) *driver {
	d := drive(t, dbm.NewMemDB())
	d.block()
	d.block(signed("bob", 0, publish()))
	d.block(signed("alice", 0, post()))
	return d
}

func TestProposalsNeedTheirBeacon(t *testing.T) {
	d := busy(t)
	good := d.propose(signed("alice", 1, transfer("bob", 1)))
	if len(good) != 2 || !d.accepts(good) {
		t.Fatalf("a good proposal of %d transactions is refused", len(good))
	}
	marked := func(s beacon.Signature) []byte { return append([]byte{beaconMark}, s[:]...) }
	height := uint64(d.next())
	stranger := marked(identity(1).Shares[0].Sign(beacon.Input(testChain, height)))
	stale := marked(identity(0).Shares[0].Sign(beacon.Input(testChain, height-1)))
	infinity := append([]byte{beaconMark, 0xc0}, make([]byte, 47)...)
	for name, txs := range map[string][][]byte{
		"missing":                         good[1:],
		"empty block":                     {},
		"another's":                       {stranger, good[1]},
		"another height's":                {stale, good[1]},
		"negative":                        {flipBits(good[0], 1, 0x20), good[1]},
		"flipped":                         {flip(good[0], 40), good[1]},
		"infinity":                        {infinity, good[1]},
		"infinity, short":                 {{beaconMark, 0x40}, good[1]},
		"cut":                             {good[0][:48], good[1]},
		"longer":                          {append(bytes.Clone(good[0]), 0), good[1]},
		"twice":                           {good[0], good[0], good[1]},
		"not first":                       {good[1], good[0]},
		"mark alone":                      {{beaconMark}},
		"empty tx":                        {good[0], {}},
		"junk tx":                         {good[0], []byte("junk")},
		"claims of nobody's, for no task": {good[0], task.FreeClaims(testChain, &task.Claims{Task: task.TaskID{9}, Won: []task.Won{{}}}), good[1]},
		"claims of nobody's, without any": {good[0], task.FreeClaims(testChain, &task.Claims{}), good[1]},
		"forged tx":                       {good[0], flip(good[1], len(good[1])-1)},
	} {
		if d.accepts(txs) {
			t.Errorf("%s: accepted", name)
		}
	}
	if !d.accepts(good) {
		t.Error("refusing bad proposals has changed the state")
	}
	for range 200 { // until no task is open
		if len(d.propose()) == 0 {
			break
		}
		d.block()
	}
	if d.accepts(good[:1]) {
		t.Error("a superfluous beacon is accepted")
	}
	if !d.accepts(nil) {
		t.Error("a chain at rest wants a beacon")
	}
}

func flip(b []byte, i int) []byte { return flipBits(b, i, 1) }

func flipBits(b []byte, i int, mask byte) []byte {
	c := bytes.Clone(b)
	c[i] ^= mask
	return c
}

// A height has one beacon, whoever proposes.
func TestABeaconIsItsHeightsWhoeverProposes(t *testing.T) {
	d := busy(t)
	txs := d.propose()
	for i := range 2 {
		r, err := d.app.ProcessProposal(context.Background(), &abci.RequestProcessProposal{
			Txs: txs, Height: d.next(), ProposerAddress: addressOf(identity(i).Key()),
		})
		if err != nil || r.Status != abci.ResponseProcessProposal_ACCEPT {
			t.Errorf("refused of proposer %d: %v", i, err)
		}
	}
	first := txs[0]
	d.block()
	if txs = d.propose(); bytes.Equal(txs[0], first) || d.accepts([][]byte{first}) {
		t.Error("two heights have one beacon")
	}
}

func TestThePoolRefusesJunk(t *testing.T) {
	d := drive(t, dbm.NewMemDB())
	good := signed("alice", 0, transfer("bob", 1))
	if err := d.check(good); task.CodeOf(err) != "chain-starting" {
		t.Errorf("before the first block: %v", err)
	}
	d.block()
	d.block(signed("bob", 0, publish()))
	due := identity(0).Shares[0].Sign(beacon.Input(testChain, uint64(d.next())))
	poor := job()
	poor.GasPrice = 1 << 40
	big := job()
	big.Args = make([]string, 64)
	for i := range big.Args {
		big.Args[i] = string(bytes.Repeat([]byte("x"), 2000))
	}
	long := signed("alice", 0, transfer("bob", 1))
	long[0] = 0xbf // an indefinite map
	for name, c := range map[string]struct {
		raw  []byte
		code string
	}{
		"empty":          {nil, "tx-malformed"},
		"junk":           {[]byte("junk"), "tx-malformed"},
		"beacon":         {append([]byte{beaconMark}, due[:]...), "tx-malformed"},
		"trailing byte":  {append(bytes.Clone(good), 0), "tx-malformed"},
		"cut":            {good[:len(good)-1], "tx-malformed"},
		"not canonical":  {append(long, 0xff), "tx-malformed"},
		"signature":      {flip(good, len(good)-1), "tx-bad-signature"},
		"other chain":    {task.SignTx(account("alice"), task.Tx{Chain: "other", Body: transfer("bob", 1)}), "tx-wrong-chain"},
		"nothing to do":  {signed("alice", 0, task.Body{}), "tx-malformed"},
		"two things":     {signed("alice", 0, task.Body{Transfer: &task.Transfer{}, Bond: &task.Bond{}}), "tx-malformed"},
		"used nonce":     {signed("bob", 0, transfer("alice", 1)), "nonce-used"},
		"far nonce":      {signed("alice", 10_000, transfer("bob", 1)), "nonce-far"},
		"no money":       {signed("stranger", 0, transfer("bob", 1)), "no-fee"},
		"escrow too low": {signed("alice", 0, task.Body{Post: &poor}), "escrow-low"},
		"oversize":       {signed("alice", 0, task.Body{Post: &big}), "tx-malformed"},
		"no such code":   {signed("carol", 0, post()), "task-mismatch"},
	} {
		if err := d.check(c.raw); task.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

// What waits in the pool follows on what the chain has, without a gap, and can
// all be paid: so nothing waits there for ever, and nothing is put before the
// others that takes up blocks and pays for none.
func TestThePoolHoldsWhatCanPay(t *testing.T) {
	d := drive(t, dbm.NewMemDB())
	d.block()
	all := ledger.Read(d.app.store).Account(addr("alice")).Balance
	for _, c := range []struct {
		name, code string
		raw        []byte
	}{
		{"a gap", "nonce-far", signed("alice", 1, transfer("bob", 1))},
		{"the first", "", signed("alice", 0, transfer("bob", 1))},
		{"another first", "nonce-pooled", signed("alice", 0, transfer("bob", 2))},
		{"the second", "", signed("alice", 1, transfer("bob", all-task.PRY))},
		{"more than is left", "no-money", signed("alice", 2, transfer("bob", task.PRY))},
		{"what is left", "", signed("alice", 2, transfer("bob", task.PRY/2))},
		{"a gap behind them", "nonce-far", signed("alice", 4, transfer("bob", 0))},
		{"of somebody else", "", signed("carol", 0, transfer("bob", 1))},
	} {
		if err := d.check(c.raw); task.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
	d.block(signed("alice", 0, transfer("bob", 1)))
	for _, c := range []struct {
		name, code string
		raw        []byte
	}{
		{"used", "nonce-used", signed("alice", 0, transfer("bob", 1))},
		{"a gap, of what the engine has dropped", "nonce-far", signed("alice", 2, transfer("bob", task.PRY/2))},
		{"the second again", "", signed("alice", 1, transfer("bob", all-task.PRY))},
		{"what is left again", "", signed("alice", 2, transfer("bob", task.PRY/2))},
	} {
		if err := d.check(c.raw); task.CodeOf(err) != c.code {
			t.Errorf("after a block, %s: %v, want %q", c.name, err, c.code)
		}
	}
}

// One account that leaves a gap and fills the pool behind it, for nothing, is
// not even taken; the others are.
func TestAGapStopsNobody(t *testing.T) {
	_, c := start(t, single(t))
	for i := range 40 {
		junk := task.Body{Verdicts: task.PackVerdicts(task.Ballot{}, nil, &task.Opening{Evidence: make([]byte, 60_000)})}
		if err := c.broadcast(patient(t), task.SignTx(account("carol"), task.Tx{Chain: testChain, Nonce: uint64(i + 1), Body: junk})); task.CodeOf(err) != "nonce-far" {
			t.Fatalf("junk %d: %v", i, err)
		}
	}
	submit(t, c, "alice", transfer("bob", 1))
}

// A pool in any order gives a block in which every transaction applies.
func TestProposalsHoldWhatCanApply(t *testing.T) {
	d := drive(t, dbm.NewMemDB())
	d.block()
	a := func(nonce uint64) []byte { return signed("alice", nonce, transfer("bob", 1)) }
	b := func(nonce uint64) []byte { return signed("bob", nonce, transfer("alice", 1)) }
	pool := [][]byte{a(1), b(0), a(0), []byte("junk"), a(2), b(2), a(1), b(1), signed("stranger", 0, transfer("bob", 1))}
	txs, _ := d.block(pool...)
	want := [][]byte{b(0), a(0), a(1), b(1)}
	if len(txs) != len(want) {
		t.Fatalf("%d transactions, want %d", len(txs), len(want))
	}
	for i := range want {
		if !bytes.Equal(txs[i], want[i]) {
			t.Errorf("transaction %d is another", i)
		}
	}
	small, err := d.app.PrepareProposal(context.Background(), &abci.RequestPrepareProposal{
		MaxTxBytes: int64(len(a(2))) + 10, Txs: [][]byte{a(2), a(3)}, Height: d.next(), ProposerAddress: proposer(),
	})
	if err != nil || len(small.Txs) != 1 {
		t.Errorf("%d transactions in a small block, %v", len(small.Txs), err)
	}
}

// Whatever another proposer puts into a block, it is executed to the end, and
// who sent it without right only loses what the rules say.
func TestRefusedTransactionsStandInTheBlockWithTheirReason(t *testing.T) {
	d := drive(t, dbm.NewMemDB())
	d.block()
	txs := [][]byte{
		signed("alice", 7, transfer("bob", 1)), signed("stranger", 0, transfer("bob", 1)),
		signed("alice", 0, transfer("bob", ^task.Amount(0))), signed("alice", 1, transfer("bob", 1)),
	}
	if !d.accepts(txs) {
		t.Fatal("well-formed transactions are refused")
	}
	r := d.finalize(txs)
	for i, code := range []string{"nonce-wrong", "no-fee", "no-money", ""} {
		res := r.TxResults[i]
		if got := task.CodeOf(errorOf(res.Code, res.Log)); got != code {
			t.Errorf("transaction %d: %q, want %q", i, got, code)
		}
		if id := task.H(task.TagTransaction, txs[i]); !bytes.Equal(res.Data, id[:]) {
			t.Errorf("transaction %d: its result does not name it", i)
		}
	}
}

func TestGenesisIsChecked(t *testing.T) {
	s, err := openStore(dbm.NewMemDB())
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(testChain, s, identity(0), slog.New(slog.DiscardHandler))
	key := identity(1).Key()
	engine := []abci.ValidatorUpdate{abci.UpdateValidator(key[:], 1, "ed25519")}
	mine, both := identity(0).Key(), genesis(2)
	strong := []abci.ValidatorUpdate{abci.UpdateValidator(mine[:], 10, "ed25519")}
	for name, req := range map[string]*abci.RequestInitChain{
		"no state":     {ChainId: testChain, AppStateBytes: []byte(`{}`)},
		"not cbor":     {ChainId: testChain, AppStateBytes: []byte(`"aGVsbG8="`)},
		"other chain":  {ChainId: "other", AppStateBytes: appState(genesis(1))},
		"no share":     {ChainId: testChain, AppStateBytes: appState(genesis(1)), Validators: engine},
		"power 10":     {ChainId: testChain, AppStateBytes: appState(genesis(1)), Validators: strong},
		"one of two":   {ChainId: testChain, AppStateBytes: appState(both), Validators: engine},
		"no beacon":    {ChainId: testChain, AppStateBytes: appState(ledger.Genesis{Params: both.Params, Reference: both.Reference})},
		"bad interval": {ChainId: testChain, AppStateBytes: appState(ledger.Genesis{Params: ledger.Params{Chain: testChain}})},
	} {
		if _, err := a.InitChain(context.Background(), req); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
