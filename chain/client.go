package chain

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	"github.com/cometbft/cometbft/rpc/client/local"
	jsonrpc "github.com/cometbft/cometbft/rpc/jsonrpc/client"
	"github.com/cometbft/cometbft/types"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// pollEvery is how often a client asks a remote node for its height when no
// event tells it.
const pollEvery = 500 * time.Millisecond

// callTimeout bounds one call to a remote node.
const callTimeout = 10 * time.Second

// Client reads, submits to, watches and proves a chain through one node. It may
// be used from many goroutines. Close ends it.
type Client struct {
	rpc    rpcclient.Client
	query  func(context.Context, abci.RequestQuery) (*abci.ResponseQuery, error)
	gate   *gate // heights that the node has committed
	params ledger.Params
	trust  *Trust // whose signatures a remote node's answers need; nil: a node in this process
	log    *slog.Logger

	cancel context.CancelFunc
	done   sync.WaitGroup
	closer func() error // nil: nothing to close

	mu      sync.Mutex
	senders map[task.Address]*sender
	waiting map[task.TxID]*pending
	sets    map[task.Hash]attest.Reference // by which cases are judged
	cases   map[task.TaskID]kept           // as last seen

	caseBytes int // of all cases
	blocks    *shared[uint64, done]
	asked     *shared[moment, kept]
	news      *shared[uint64, []BlockNews]
}

// Local is a client of a node in this process: queries read the committed
// state directly. The node must have committed a block.
func Local(n *Node) (*Client, error) {
	c := &Client{rpc: local.New(n.engine), gate: n.app.gate, log: n.config.Logger}
	c.query = func(ctx context.Context, q abci.RequestQuery) (*abci.ResponseQuery, error) {
		r, err := n.app.Query(ctx, &q)
		if err != nil {
			return nil, err
		}
		return r, errorOf(r.Code, r.Log)
	}
	return c, c.start(context.Background(), nil)
}

// Dial is a client of a remote node's RPC, such as http://127.0.0.1:26657, that must
// be a node of the trusted chain: its parameters, nodes, functions and names count
// with proofs against that chain's validators only (spec §11.2), or
// whoever answers could choose the chain that one signs for. The context bounds
// the dialling alone, whatever the peer does or leaves undone. A nil logger keeps
// silent. Codes: wrong-chain, unproven.
func Dial(ctx context.Context, url string, trusted Trust, logger *slog.Logger) (*Client, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	transport, err := jsonrpc.DefaultHTTPClient(url)
	if err != nil {
		return nil, fmt.Errorf("chain: %s: %w", url, err)
	}
	transport.Timeout = callTimeout
	rpc, err := rpchttp.NewWithClient(url, "/websocket", transport)
	if err != nil {
		return nil, fmt.Errorf("chain: %s: %w", url, err)
	}
	rpc.SetLogger(engineLog{to: logger})
	if err := shakeHands(ctx, rpc); err != nil {
		return nil, fmt.Errorf("chain: no connection to %s: %w", url, err)
	}
	c := &Client{rpc: rpc, gate: newGate(), trust: &trusted, log: logger, closer: func() error {
		err := rpc.Stop()
		transport.CloseIdleConnections()
		return err
	}}
	if err := sameChain(ctx, rpc, url, trusted); err != nil {
		_ = c.closer()
		return nil, err
	}
	c.query = func(ctx context.Context, q abci.RequestQuery) (*abci.ResponseQuery, error) {
		r, err := rpc.ABCIQueryWithOptions(ctx, q.Path, q.Data, rpcclient.ABCIQueryOptions{Height: q.Height, Prove: q.Prove})
		if err != nil {
			return nil, err
		}
		return &r.Response, heard(r.Response.Code, r.Response.Log)
	}
	if err := c.start(ctx, c.followRemote); err != nil {
		return nil, err
	}
	return c, nil
}

// sameChain says early, and in plain words, that a node is of another chain. A
// node that lies about it is found out by the proof of its parameters.
func sameChain(ctx context.Context, rpc *rpchttp.HTTP, url string, trusted Trust) error {
	h, err := rpc.Status(ctx)
	if err != nil {
		return fmt.Errorf("chain: %s does not say which chain it is of: %w", url, err)
	}
	if h.NodeInfo.Network != trusted.Chain {
		return task.Refuse("wrong-chain", "the node at %s is of chain %.60q; pinned is %q", url, h.NodeInfo.Network, trusted.Chain).
			WithMoney("nothing was signed").WithNext("correct the network file: its address, or what it trusts")
	}
	return nil
}

// shakeHands opens the websocket. Its handshake knows no context, and waits for a
// peer that never answers: it is left behind when the context ends.
func shakeHands(ctx context.Context, rpc *rpchttp.HTTP) error {
	done := make(chan error, 1)
	go func() { done <- rpc.Start() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		go func() {
			if <-done == nil {
				_ = rpc.Stop()
			}
		}()
		return ctx.Err()
	}
}

func (c *Client) start(ctx context.Context, heights func(context.Context)) (err error) {
	c.senders, c.waiting, c.sets = map[task.Address]*sender{}, map[task.TxID]*pending{}, map[task.Hash]attest.Reference{}
	var life context.Context
	life, c.cancel = context.WithCancel(context.Background())
	c.cases, c.blocks, c.asked = map[task.TaskID]kept{}, newShared[uint64, done](life, maxBlocks), newShared[moment, kept](life, 0)
	c.news = newShared[uint64, []BlockNews](life, 0)
	if heights != nil {
		c.done.Go(func() { heights(life) })
		if _, err = c.gate.wait(ctx, 1); err != nil {
			_ = c.Close()
			return fmt.Errorf("chain: the node has no block yet: %w", err)
		}
	}
	if c.params, err = c.Params(ctx); err != nil {
		_ = c.Close()
		return err
	}
	c.done.Go(func() { c.settle(life) })
	return nil
}

// Close ends the client. What was sent stays sent, but is no longer looked after.
func (c *Client) Close() error {
	c.cancel()
	c.done.Wait()
	c.blocks.wait()
	c.asked.wait()
	c.news.wait()
	if c.closer != nil {
		return c.closer()
	}
	return nil
}

// Height is that of the last block that the client knows to be committed.
func (c *Client) Height() uint64 { h, _ := c.gate.wait(context.Background(), 0); return h }

// WaitHeight waits until a block of at least this height is committed. Its only
// error is the context's.
func (c *Client) WaitHeight(ctx context.Context, height uint64) error {
	_, err := c.gate.wait(ctx, height)
	return err
}

// followRemote opens the gate as a remote node goes on: at each header that it
// announces, and by asking, since announcements get lost.
func (c *Client) followRemote(ctx context.Context) {
	events, err := c.rpc.Subscribe(ctx, codespace, types.EventQueryNewBlockHeader.String(), 64)
	if err != nil {
		c.log.Info("no events from the node; asking it instead", "err", err)
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		// An announced block is still being executed; the app's own height is
		// that of the state which queries read.
		if info, err := c.rpc.ABCIInfo(ctx); err == nil {
			c.gate.open(uint64(info.Response.LastBlockHeight))
		}
		select {
		case _, open := <-events:
			if !open {
				events = nil
			}
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Block is one committed block as a watcher sees it.
type Block struct {
	Height uint64         `json:"height,string"`
	Events []ledger.Event `json:"events"` // in the order in which they happened; most blocks have none
}

// Watch delivers every committed block from a height on, or with 0 from now on,
// in order and without a gap, until the context ends; then it closes the
// channel. A slow reader slows down nobody else: its blocks are read from the
// node's history when it is ready for them. A node that is out of reach, or
// does not have the height yet, is waited for.
func (c *Client) Watch(ctx context.Context, height uint64) <-chan Block {
	if height == 0 {
		height = c.Height() + 1
	}
	out := make(chan Block)
	go func() {
		defer close(out)
		for ; ; height++ {
			if _, err := c.gate.wait(ctx, height); err != nil {
				return
			}
			_, events, err := c.results(ctx, height)
			if err != nil {
				return
			}
			select {
			case out <- Block{Height: height, Events: events}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// results is what a committed block did, read once for everyone. The only error is
// the context's, or that the client is closed.
func (c *Client) results(ctx context.Context, height uint64) ([]*abci.ExecTxResult, []ledger.Event, error) {
	d, err := c.blocks.get(ctx, height, func(ctx context.Context) (done, error) { return c.readBlock(ctx, height) })
	return d.txs, d.events, err
}

// readBlock tries until it can.
func (c *Client) readBlock(ctx context.Context, height uint64) (done, error) {
	h := int64(height)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		r, err := c.rpc.BlockResults(ctx, &h)
		if err == nil {
			var events []ledger.Event
			if events, err = ledgerEvents(height, r.FinalizeBlockEvents); err == nil {
				return done{r.TxsResults, events}, nil
			}
		}
		if wait > 500*time.Millisecond {
			c.log.Warn("a block's results cannot be read; trying again", "height", height, "err", err)
		}
		if err := pause(ctx, wait); err != nil {
			return done{}, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
