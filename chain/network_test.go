package chain

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	dbm "github.com/cometbft/cometbft-db"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	coretypes "github.com/cometbft/cometbft/rpc/core/types"
	"github.com/cometbft/cometbft/types"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// network starts validators that reach each other over the loopback interface.
// The nodes are stopped at the end if they still run.
func network(t testing.TB, size int) (nodes []*Node) {
	t.Helper()
	var peers []string
	_, ids := dealt(size)
	for i := range size {
		c := Config{Genesis: genesis(size), Identity: ids[i], Peers: peers, Logger: testLog(t)}
		n, err := Start(patient(t), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Stop() })
		nodes, peers = append(nodes, n), append(peers, n.Peer())
	}
	for _, n := range nodes {
		if err := n.WaitHeight(patient(t), 1); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func TestFourValidatorsAndOneDies(t *testing.T) {
	nodes := network(t, 4)
	c, err := Local(nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	trust, err := nodes[0].config.Trust()
	if err != nil {
		t.Fatal(err)
	}
	submit(t, c, "bob", publish())
	id := jobOf(submit(t, c, "alice", post()))
	if err := nodes[3].Stop(); err != nil {
		t.Error(err)
	}
	submit(t, c, "carol", transfer("bob", 1))
	atRest(t, nodes[0], c)
	k, p, err := c.VerifiedCase(patient(t), trust, id)
	if err != nil || k.Settlement == nil || k.Settlement.Outcome != ledger.NoCommittee {
		t.Fatalf("%+v, %v", k, err)
	}
	flips(t, p, trust, ledger.CaseKey(id), CaseValue(k))

	hash, height := nodes[0].AppHash()
	for i, n := range nodes[:3] {
		if err := n.WaitHeight(patient(t), height); err != nil {
			t.Fatal(err)
		}
		if got, at := n.AppHash(); at == height && !bytes.Equal(got, hash) {
			t.Errorf("node %d has app hash %x at height %d, node 0 has %x", i, got, at, hash)
		}
		conserved(t, n)
	}
}

func TestRestartFromDisk(t *testing.T) {
	config := single(t)
	config.Home = t.TempDir()
	n, err := Start(patient(t), config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Local(n)
	if err != nil {
		t.Fatal(err)
	}
	submit(t, c, "bob", publish())
	id := jobOf(submit(t, c, "alice", post()))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	hash, height := n.app.store.last.tree.Hash(), n.Height()

	n, c = start(t, config)
	v, err := n.app.store.at(height)
	if err != nil || !bytes.Equal(v.tree.Hash(), hash) {
		t.Fatalf("the state of height %d is not what it was: %v", height, err)
	}
	blocks := c.Watch(patient(t), 1)
	// The case goes on where it was, and a watcher can read all of its story.
	posted, closed := 0, false
	for b := range blocks {
		for _, e := range b.Events {
			if e.Phase == ledger.Posted && e.Task == id {
				posted++
			}
			closed = closed || e.Phase == ledger.Closed
		}
		if closed {
			break
		}
	}
	if posted != int(n.config.Genesis.Params.MaxAttempts) {
		t.Errorf("%d attempts were seen", posted)
	}
	atRest(t, n, c)
	conserved(t, n)
	submit(t, c, "alice", transfer("bob", 1))
}

func TestARemoteClientSeesTheSame(t *testing.T) {
	config := single(t)
	config.RPCAddr = "127.0.0.1:0"
	n, near := start(t, config)
	trust, _ := config.Trust()
	far, err := Dial(patient(t), n.RPC(), trust, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	blocks := far.Watch(patient(t), 0)
	submit(t, far, "bob", publish())
	id := jobOf(submit(t, far, "alice", post()))
	if _, err := far.Submit(patient(t), account("alice"), transfer("bob", ^task.Amount(0))); task.CodeOf(err) != "no-money" {
		t.Errorf("a transfer of what is not there: %v", err)
	}
	var seen []ledger.Event
	for b := range blocks {
		seen = append(seen, b.Events...)
		if len(seen) > 0 && seen[len(seen)-1].Phase == ledger.Closed {
			break
		}
	}
	k, _, err := far.VerifiedCase(patient(t), trust, id)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(k.History) {
		t.Errorf("%d events of a case with %d entries", len(seen), len(k.History))
	}
	for i, e := range k.History {
		if i < len(seen) && (seen[i].Fact != e) {
			t.Errorf("event %d is %+v, the case says %+v", i, seen[i], e)
		}
	}
	ctx := patient(t)
	nodes, err := far.Nodes(ctx)
	if err != nil || len(nodes) != workers {
		t.Fatalf("%d workers, %v", len(nodes), err)
	}
	one, err := far.Node(ctx, nodes[0].Node.ID())
	if err != nil || one.Node.VRF != nodes[0].Node.VRF {
		t.Errorf("a worker by name: %v", err)
	}
	if functions, err := far.Functions(ctx); err != nil || len(functions) != 1 {
		t.Errorf("%d functions, %v", len(functions), err)
	}
	if f, err := far.Function(ctx, function().ID()); err != nil || f.Function.Owner != addr("bob") {
		t.Errorf("a function by name: %v", err)
	}
	if _, err := far.Node(ctx, task.NodeID{}); task.CodeOf(err) != "no-node" {
		t.Errorf("no such worker: %v", err)
	}
	if value, err := far.Value(ctx, ledger.CaseKey(id)); err != nil || !bytes.Equal(value, CaseValue(k)) {
		t.Errorf("the case's hash: %v", err)
	}
	if m, err := near.Meta(ctx); err != nil || m.Open != 0 {
		t.Errorf("%d open, %v", m.Open, err)
	}
}

// another is a second client of a node.
func another(t *testing.T, n *Node) *Client {
	t.Helper()
	c, err := Local(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Two clients that use one account at once never lose or double a transfer.
func TestTwoClientsOfOneAccount(t *testing.T) {
	n, c := start(t, single(t))
	other := another(t, n)
	const each = 40
	before, _ := c.Account(patient(t), addr("bob"))
	var wg sync.WaitGroup
	for i := range 2 * each {
		wg.Go(func() {
			client := c
			if i%2 == 0 {
				client = other
			}
			submit(t, client, "alice", transfer("bob", 1))
		})
	}
	wg.Wait()
	after, _ := c.Account(patient(t), addr("bob"))
	if got := after.Balance - before.Balance; got != 2*each {
		t.Errorf("Bob got %d, want %d", got, 2*each)
	}
}

// A transaction that the pool dropped, and that another client of the account wanted
// just so at the same nonce: they are two, and each has its own.
func TestEqualWishesAreTwo(t *testing.T) {
	n, c := start(t, single(t))
	other := another(t, n)
	before, _ := c.Account(patient(t), addr("bob"))
	lost := dropped(t, c, transfer("bob", 1))
	receipt := submit(t, other, "alice", transfer("bob", 1))
	o := <-lost.result
	if o.err != nil || o.TxID == receipt.TxID || o.Nonce == receipt.Nonce {
		t.Errorf("one transaction for two wishes: %+v and %+v", o, receipt)
	}
	after, _ := c.Account(patient(t), addr("bob"))
	if got := after.Balance - before.Balance; got != 2 {
		t.Errorf("Bob got %d, want 2", got)
	}
}

// What another client sent before, and a pool has lost together with that client,
// stops nobody.
func TestAHoleOfAnotherClientIsFilled(t *testing.T) {
	for what, after := range map[string]func(*testing.T, *Client) Receipt{
		"new": func(t *testing.T, c *Client) Receipt { return submit(t, c, "alice", transfer("bob", 2)) },
		"on its way": func(t *testing.T, c *Client) Receipt {
			o := <-dropped(t, c, transfer("bob", 2)).result
			if o.err != nil {
				t.Error(o.err)
			}
			return o.Receipt
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, c := start(t, single(t))
			s := c.sender(account("alice"))
			if err := c.sync(patient(t), s); err != nil {
				t.Fatal(err)
			}
			s.next += 2
			if r := after(t, c); r.Nonce != 2 {
				t.Errorf("behind the hole: %+v", r)
			}
		})
	}
}

// dropped is a transaction of Alice that seems to be on its way: a pool had taken
// it, and was emptied.
func dropped(t *testing.T, c *Client, body task.Body) *pending {
	t.Helper()
	s := c.sender(account("alice"))
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := c.sync(patient(t), s); err != nil {
		t.Fatal(err)
	}
	p, err := c.sign(s, withNonce(body, s.next), s.next, make(chan outcome, 1))
	if err != nil {
		t.Fatal(err)
	}
	c.track(p)
	s.next++
	return p
}

// A transaction that the pool dropped is sent again; the account goes on.
func TestADroppedTransactionIsRevived(t *testing.T) {
	_, c := start(t, single(t))
	lost := dropped(t, c, transfer("bob", 1))
	receipt := submit(t, c, "alice", transfer("bob", 2))
	if o := <-lost.result; o.err != nil || o.Nonce != 0 || receipt.Nonce != 1 {
		t.Errorf("lost: %+v; behind it: %+v", o, receipt)
	}
}

// lossy loses a node's first answer, and by then the block has come and the node
// has forgotten the transaction.
type lossy struct {
	rpcclient.Client
	lost func()
	told bool
}

func (l *lossy) BroadcastTxSync(ctx context.Context, raw types.Tx) (*coretypes.ResultBroadcastTx, error) {
	r, err := l.Client.BroadcastTxSync(ctx, raw)
	if !l.told {
		l.told = true
		l.lost()
		return nil, errors.New("connection reset")
	}
	if err != nil {
		return &coretypes.ResultBroadcastTx{Code: codeRefused, Log: errorLog(task.Refuse("nonce-used", "it is used"))}, nil
	}
	return r, err
}

// A transfer whose first answer was lost is not made again.
func TestALostAnswerDoublesNothing(t *testing.T) {
	n, near := start(t, single(t))
	before, _ := near.Account(patient(t), addr("bob"))
	c := &Client{query: near.query, gate: near.gate, log: near.log}
	c.rpc = &lossy{Client: near.rpc, lost: func() { _ = near.WaitHeight(patient(t), n.Height()+1) }}
	if err := c.start(patient(t), nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if r := submit(t, c, "alice", transfer("bob", 1)); r.Nonce != 0 {
		t.Errorf("%+v", r)
	}
	if r := submit(t, near, "alice", transfer("bob", 1)); r.Nonce != 1 {
		t.Errorf("the next: %+v", r)
	}
	after, _ := near.Account(patient(t), addr("bob"))
	if got := after.Balance - before.Balance; got != 2 {
		t.Errorf("Bob got %d, want 2", got)
	}
}

// What was given up before its turn to be sent again came is not sent again.
func TestWhatWasGivenUpStaysSo(t *testing.T) {
	n, c := start(t, single(t))
	p := dropped(t, c, transfer("bob", 1))
	c.untrack(p)
	c.revive(patient(t), p, n.Height())
	if r := submit(t, c, "bob", transfer("alice", 1)); r.Height == 0 {
		t.Errorf("%+v", r)
	}
	if acct, err := c.Account(patient(t), addr("alice")); err != nil || acct.Nonce != 0 {
		t.Errorf("%+v, %v", acct, err)
	}
}

// A refused transaction with others behind it leaves no hole.
func TestAHoleInTheNoncesIsFilled(t *testing.T) {
	_, c := start(t, single(t))
	bad := job() // its function is not published
	lost := dropped(t, c, task.Body{Post: &bad})
	receipt := submit(t, c, "alice", transfer("bob", 2))
	if o := <-lost.result; task.CodeOf(o.err) != "no-function" || receipt.Nonce != 1 {
		t.Errorf("lost: %+v; behind it: %+v", o, receipt)
	}
}

func TestRefusalsAndEndedContexts(t *testing.T) {
	_, c := start(t, single(t))
	ctx := patient(t)
	if _, err := c.Submit(ctx, account("stranger"), transfer("bob", 1)); task.CodeOf(err) != "no-fee" {
		t.Errorf("a stranger: %v", err)
	}
	if err := c.Send(ctx, account("alice"), post()); task.CodeOf(err) != "no-function" {
		t.Errorf("no such function: %v", err)
	}
	for i := range 3 {
		if r := submit(t, c, "alice", transfer("bob", 1)); r.Nonce != uint64(i) {
			t.Errorf("refusals in the pool used nonces up: %+v", r)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Submit(ended, account("alice"), transfer("bob", 1)); err == nil {
		t.Error("submitted with an ended context")
	}
	submit(t, c, "alice", transfer("bob", 1))
	blocks := c.Watch(ended, 0)
	if _, open := <-blocks; open {
		t.Error("a watch outlives its context")
	}
}

// A validator whose disk is full stops, says so, still answers, and leaves a
// state from which it goes on.
func TestAFullDiskStopsTheNode(t *testing.T) {
	left, dbs := 3, map[string]dbm.DB{} // blocks that the ledger can still write
	from := func(name string) (dbm.DB, error) {
		if dbs[name] == nil {
			dbs[name] = dbm.NewMemDB()
		}
		if name == "ledger" {
			return dying{dbs[name], &left}, nil
		}
		return dbs[name], nil
	}
	config := single(t).complete()
	full := newNode(config, from)
	if err := full.start(patient(t)); err != nil {
		t.Fatal(err)
	}
	c, err := Local(full)
	if err != nil {
		t.Fatal(err)
	}
	submit(t, c, "alice", transfer("bob", 1))
	for full.Err() == nil {
		soon, cancel := context.WithCancel(patient(t))
		go func() { <-full.Failed(); cancel() }()
		_, _ = c.Submit(soon, account("alice"), transfer("bob", 1))
		cancel()
	}
	if full.Height() != 3 {
		t.Errorf("height %d after three writes: %v", full.Height(), full.Err())
	}
	if _, err := c.Account(patient(t), addr("alice")); err != nil {
		t.Errorf("a stopped node does not answer: %v", err)
	}
	if err := errors.Join(c.Close(), full.Stop()); err != nil {
		t.Error(err)
	}

	left = 1 << 30
	again := newNode(config, from)
	if err := again.start(patient(t)); err != nil {
		t.Fatal(err)
	}
	c, err = Local(again)
	if err != nil {
		t.Fatal(err)
	}
	submit(t, c, "alice", transfer("bob", 1))
	conserved(t, again)
	if err := errors.Join(c.Close(), again.Stop()); err != nil {
		t.Error(err)
	}
}
