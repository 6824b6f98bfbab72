package chain

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/types"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

const (
	codeRefused = 1
	codespace   = "prytany"
	eventType   = "prytany.case"

	maxGenesis = 64 << 20 // bytes
)

var errStarting = task.Refuse("chain-starting", "the chain has no block yet").WithNext("try again in a moment")

// app is the ledger as CometBFT sees it. CometBFT calls it from several
// connections at once: consensus (one call at a time) owns the store's
// changes; mempool and queries read the last committed block.
type app struct {
	abci.BaseApplication

	chain  string
	store  *store
	id     Identity
	beacon beacon.Beacon // the last that held; consensus's
	log    *slog.Logger
	seen   *verified
	gate   *gate // opens for every committed height
	recent *recent

	poolMu sync.Mutex
	pooled map[task.Address]ledger.Pooled // since the last commit; the engine checks again what it keeps
	claims map[claimed]bool               // likewise; whether the node says in it that it is busy
	drawn  *drawn
}

func newApp(chain string, s *store, id Identity, log *slog.Logger) *app {
	a := &app{chain: chain, store: s, id: id, log: log, seen: newVerified(chain), gate: newGate(), recent: newRecent(), pooled: map[task.Address]ledger.Pooled{}, claims: map[claimed]bool{}, drawn: newDrawn()}
	a.gate.open(s.Height())
	return a
}

// claimed is a node's claim for one attempt, of which a pool needs one.
type claimed struct {
	task    task.TaskID
	attempt uint32
	node    task.NodeID
}

// Info says where the state stands; CometBFT replays what is missing.
func (a *app) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	hash, height := a.store.root()
	return &abci.ResponseInfo{Data: codespace, AppVersion: 1, LastBlockHeight: int64(height), LastBlockAppHash: hash}, nil
}

// InitChain makes the first state. It is on disk only with the first block, so
// a process killed before that begins anew.
func (a *app) InitChain(_ context.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	g, err := parseAppState(req.AppStateBytes)
	if err != nil {
		return nil, err
	}
	if g.Params.Chain != req.ChainId || req.ChainId != a.chain {
		return nil, fmt.Errorf("genesis: the ledger's chain is %q, the engine's %q, this node's %q", g.Params.Chain, req.ChainId, a.chain)
	}
	if err := checkHolders(g.Beacon, req.Validators); err != nil {
		return nil, err
	}
	if err := ledger.Init(a.store, g); err != nil {
		return nil, err
	}
	return &abci.ResponseInitChain{AppHash: a.store.Hash()}, nil
}

// CheckTx lets into the pool what could be applied next after what the pool holds
// of its sender. A beacon in the pool is nobody's to send.
func (a *app) CheckTx(_ context.Context, req *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	work, err := a.check(req.Tx)
	if err != nil {
		a.seen.forget(req.Tx)
		return &abci.ResponseCheckTx{Code: codeRefused, Codespace: codespace, Log: errorLog(err)}, nil
	}
	return &abci.ResponseCheckTx{GasWanted: work}, nil
}

func (a *app) check(raw []byte) (work int64, err error) {
	tx, err := a.seen.verify(raw)
	if err != nil {
		return 0, err
	}
	if tx.Tx().Free() {
		return 0, a.checkClaim(tx)
	}
	a.poolMu.Lock()
	defer a.poolMu.Unlock()
	from := tx.Tx().From
	return work, a.store.View(func(height uint64, s ledger.Store) error {
		if height == 0 {
			return errStarting
		}
		held, err := ledger.Check(s, height+1, tx, a.pooled[from])
		if err == nil {
			a.pooled[from], work = held, ledger.NewBlock(s, height+1).Work(tx)
		}
		return err
	})
}

// checkClaim lets a claim into the pool, once for each node and attempt: a proof can
// be made in many ways by whoever has the key. One that says *busy* comes beside one
// that does not, since who passes a claim on can cut that word off. What is in the
// pool already is refused before its proof is looked at, and nobody waits for that.
func (a *app) checkClaim(tx task.VerifiedTx) error {
	won := tx.Tx().Body.Claims.All()
	if len(won) != 1 {
		return ledger.ErrClaimsTogether
	}
	k := won[0]
	of, busy := claimed{k.Task, k.Attempt, k.Node}, k.Busy != nil
	has := func() error {
		if said, ok := a.claims[of]; ok && (said || !busy) {
			return task.Refuse("nothing-new", "the pool has a claim of node %s for this attempt", k.Node.Short())
		}
		return nil
	}
	a.poolMu.Lock()
	err := has()
	a.poolMu.Unlock()
	if err != nil {
		return err
	}
	err = a.store.View(func(height uint64, s ledger.Store) error {
		if height == 0 {
			return errStarting
		}
		return ledger.CheckFree(s, height+1, tx, a.drawn)
	})
	if err != nil {
		return err
	}
	a.poolMu.Lock()
	defer a.poolMu.Unlock()
	if err = has(); err == nil {
		a.claims[of] = busy
	}
	return err
}

// PrepareProposal is this node's turn: the beacon if one is due, then the claims that
// wait, put together, then the pool's other transactions in their order, as far as they fit, without those whose
// nonce or money is not there. Without a beacon that is due, as after a catch-up by
// blocks alone, the proposal is empty: the others refuse it, and the next has its turn.
func (a *app) PrepareProposal(_ context.Context, req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	var txs [][]byte
	room := req.MaxTxBytes
	add := func(raw []byte) bool {
		size := types.ComputeProtoSizeForTxs([]types.Tx{raw})
		if size > room {
			return false
		}
		room -= size
		txs = append(txs, raw)
		return true
	}
	block := ledger.NewBlock(a.store, uint64(req.Height))
	if block.BeaconDue() {
		b, err := a.makeBeacon(block.Height, req.LocalLastCommit.Votes)
		if err != nil {
			a.log.Warn("no beacon for this node's proposal", "height", req.Height, "err", err)
			return &abci.ResponsePrepareProposal{}, nil
		}
		s := b.Signature()
		if !add(append([]byte{beaconMark}, s[:]...)) {
			return nil, errors.New("chain: the block has no room for its beacon")
		}
	}
	for _, c := range a.pack(uint64(req.Height), req.Txs) {
		raw := task.FreeClaims(a.chain, &c)
		if _, err := a.seen.verify(raw); err != nil { // a block with it would be refused, and the next one like it
			a.log.Error("claims that cannot be packed", "height", req.Height, "task", c.Task.Short(), "err", err)
			continue
		}
		if !add(raw) {
			break
		}
	}
	read, senders := ledger.Read(a.store), map[task.Address]ledger.Account{}
	for _, raw := range req.Txs {
		tx, err := a.seen.verify(raw)
		if err != nil || tx.Tx().Free() {
			continue
		}
		t := tx.Tx()
		acct, known := senders[t.From]
		if !known {
			acct = read.Account(t.From)
		}
		cost, ok := block.Cost(tx)
		if t.Nonce != acct.Nonce || !ok || acct.Balance < cost {
			continue
		}
		if !add(raw) {
			break
		}
		acct.Nonce++
		acct.Balance -= cost
		senders[t.From] = acct
	}
	return &abci.ResponsePrepareProposal{Txs: txs}, nil
}

// pack puts the claims that wait in the pool together.
func (a *app) pack(height uint64, txs [][]byte) []task.Claims {
	var waiting []task.Claims
	for _, raw := range txs {
		if tx, err := a.seen.verify(raw); err == nil && tx.Tx().Free() {
			waiting = append(waiting, *tx.Tx().Body.Claims)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	b := ledger.NewBlock(a.store, height)
	b.Remember(a.drawn)
	return b.Pack(waiting)
}

// ProcessProposal refuses a block with a missing, wrong or superfluous beacon
// (spec §4.1), and one with a transaction that nobody signed for this chain.
func (a *app) ProcessProposal(_ context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	if err := a.checkProposal(req); err != nil {
		a.log.Warn("proposal refused", "height", req.Height, "proposer", fmt.Sprintf("%X", req.ProposerAddress), "err", err)
		return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

func (a *app) checkProposal(req *abci.RequestProcessProposal) error {
	raw, txs := splitBeacon(req.Txs)
	due, err := a.checkBeacon(uint64(req.Height), raw)
	if err != nil {
		return err
	}
	// This block is thrown away: without End nothing reaches the store.
	block := ledger.NewBlock(a.store, uint64(req.Height))
	block.Remember(a.drawn)
	if err := block.Begin(due, req.Time.Unix()); err != nil {
		return err
	}
	all := make([]task.VerifiedTx, len(txs))
	for i, raw := range txs {
		if all[i], err = a.seen.verify(raw); err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	return block.CheckProposal(all)
}

// FinalizeBlock executes a decided block. A result's Data is the transaction's
// id, so that results alone tell clients what became of theirs. An error stops
// the node: more than two thirds have agreed on what the rules forbid.
func (a *app) FinalizeBlock(_ context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	if uint64(req.Height) != a.store.Height()+1 {
		return nil, fmt.Errorf("chain: block %d does not follow the state of height %d", req.Height, a.store.Height())
	}
	raw, txs := splitBeacon(req.Txs)
	due, err := a.checkBeacon(uint64(req.Height), raw)
	if err != nil {
		return nil, err
	}
	for _, m := range req.Misbehavior {
		a.log.Warn("validator misbehaved", "height", m.Height, "kind", m.Type.String(), "validator", fmt.Sprintf("%X", m.Validator.Address))
	}
	block := ledger.NewBlock(a.store, uint64(req.Height))
	block.Remember(a.drawn)
	if err := block.Begin(due, req.Time.Unix()); err != nil {
		return nil, err
	}
	var results []*abci.ExecTxResult
	if due != nil {
		results = append(results, &abci.ExecTxResult{})
	}
	for _, raw := range txs {
		results = append(results, a.apply(block, raw))
	}
	events := block.End()
	a.recent.put(block.Height, ledger.NewsOf(events))
	return &abci.ResponseFinalizeBlock{TxResults: results, Events: abciEvents(events), AppHash: a.store.Hash()}, nil
}

func (a *app) apply(block *ledger.Block, raw []byte) *abci.ExecTxResult {
	tx, err := a.seen.verify(raw)
	if err != nil {
		return &abci.ExecTxResult{Code: codeRefused, Codespace: codespace, Log: errorLog(err)}
	}
	id := tx.ID()
	if err := block.Apply(tx); err != nil {
		return &abci.ExecTxResult{Code: codeRefused, Codespace: codespace, Data: id[:], Log: errorLog(err)}
	}
	return &abci.ExecTxResult{Data: id[:]}
}

// Commit makes the block durable and visible.
func (a *app) Commit(context.Context, *abci.RequestCommit) (*abci.ResponseCommit, error) {
	a.poolMu.Lock()
	clear(a.claims)
	clear(a.pooled) // the engine holds its pool until it has checked what is left of it again
	a.poolMu.Unlock()
	height := a.store.Commit()
	if err := a.store.Prune(); err != nil {
		a.log.Warn("old states were not pruned", "err", err)
	}
	a.gate.open(height)
	return &abci.ResponseCommit{}, nil
}

// abciEvents lets remote clients subscribe, for instance to
// tm.event='NewBlockEvents' AND prytany.case.task='…'.
func abciEvents(events []ledger.Event) []abci.Event {
	var list []abci.Event
	for _, e := range events {
		x := abci.Event{Type: eventType, Attributes: []abci.EventAttribute{
			{Key: "task", Value: e.Task.String(), Index: true},
			{Key: "phase", Value: e.Phase.String(), Index: true},
			{Key: "kind", Value: e.Kind.String(), Index: true},
			{Key: "fact", Value: base64.StdEncoding.EncodeToString(task.Encode(e.Fact))},
		}}
		if e.Draw != nil {
			x.Attributes = append(x.Attributes, abci.EventAttribute{Key: "draw", Value: base64.StdEncoding.EncodeToString(task.Encode(e.Draw))})
		}
		list = append(list, x)
	}
	return list
}

// ledgerEvents reads what abciEvents wrote.
func ledgerEvents(height uint64, list []abci.Event) ([]ledger.Event, error) {
	var events []ledger.Event
	for _, x := range list {
		if x.Type != eventType {
			continue
		}
		var e ledger.Event
		for _, at := range x.Attributes {
			var err error
			switch at.Key {
			case "task":
				err = e.Task.UnmarshalText([]byte(at.Value))
			case "phase":
				err = e.Phase.UnmarshalText([]byte(at.Value))
			case "fact":
				e.Fact, err = parseFact(at.Value)
			case "draw":
				e.Draw, err = parseDraw(at.Value)
			}
			if err != nil {
				return nil, fmt.Errorf("chain: event at height %d: %w", height, err)
			}
		}
		if e.Height != height {
			return nil, fmt.Errorf("chain: an event of height %d stands at height %d", e.Height, height)
		}
		events = append(events, e)
	}
	return events, nil
}

func parseDraw(text string) (*ledger.Draw, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, err
	}
	d, err := task.Decode[ledger.Draw](raw, maxFact)
	return &d, err
}

// maxFact bounds an encoded fact, in bytes.
const maxFact = 512

func parseFact(text string) (f ledger.Fact, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err == nil {
		f, err = task.Decode[ledger.Fact](raw, maxFact)
	}
	if err == nil {
		err = f.Check()
	}
	return f, err
}

// errorLog is the wire form of a refusal: JSON of a task.Error.
func errorLog(err error) string {
	var e *task.Error
	if !errors.As(err, &e) {
		e = task.Refuse("internal", "%v", err)
	}
	raw, err := json.Marshal(e)
	must(err)
	return string(raw)
}

// errorOf reads what errorLog wrote; nil for code 0.
func errorOf(code uint32, log string) error {
	if code == abci.CodeTypeOK {
		return nil
	}
	e := new(task.Error)
	if err := json.Unmarshal([]byte(log), e); err != nil || e.Code == "" {
		return task.Refuse("node-error", "the node answered code %d: %s", code, log)
	}
	return e
}

// refusal is what a node answered. One in this process speaks for itself.
func (c *Client) refusal(code uint32, log string) error {
	if c.trust == nil {
		return errorOf(code, log)
	}
	return heard(code, log)
}

// heard is a stranger's refusal. Its code and its sentence are kept, in one bounded
// line. What it says of the money, and what it advises, is quoted as its word: no
// person should take them for what this program knows.
func heard(code uint32, log string) error {
	err := errorOf(code, log)
	var e *task.Error
	if !errors.As(err, &e) {
		return err
	}
	what := oneLine(e.What)
	if e.Next != "" {
		what += "; the node advises: " + oneLine(e.Next)
	}
	if len(e.Code) > 40 || strings.Trim(e.Code, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return task.Refuse("node-error", "the node refused: %s", what)
	}
	said := task.Refuse(e.Code, "%s", what)
	if e.Money != "" {
		return said.WithMoney("says the node: %s", oneLine(e.Money))
	}
	return said
}

func oneLine(s string) string {
	const most = 1000
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), most)]
}

// appState puts the ledger's genesis into CometBFT's: canonical CBOR as a JSON
// string in base64.
func appState(g ledger.Genesis) json.RawMessage {
	raw, err := json.Marshal(base64.StdEncoding.EncodeToString(task.Encode(g)))
	must(err)
	return raw
}

func parseAppState(raw []byte) (ledger.Genesis, error) {
	var text []byte
	if err := json.Unmarshal(bytes.TrimSpace(raw), &text); err != nil {
		return ledger.Genesis{}, fmt.Errorf("genesis: app_state is no base64 string: %w", err)
	}
	return task.Decode[ledger.Genesis](text, maxGenesis)
}
