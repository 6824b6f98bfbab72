package client

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/task"
)

// Network is how a process finds a network: no secrets.
type Network struct {
	Chain     string        `json:"chain"`
	RPC       string        `json:"rpc"` // of a node
	Trust     chain.Trust   `json:"trust"`
	Bootstrap []string      `json:"bootstrap"` // addresses of workers
	Broker    task.Endpoint `json:"broker"`
	Faucet    string        `json:"faucet"` // the devnet's, empty on a real network
}

// ParseNetwork reads a network file; path is its name, for the error. Code:
// network-malformed.
func ParseNetwork(path string, raw []byte) (n Network, err error) {
	if err := json.Unmarshal(raw, &n); err != nil {
		return n, task.Refuse("network-malformed", "%s: %v", path, err)
	}
	if n.Chain == "" || n.Chain != n.Trust.Chain || n.Trust.Validators.IsZero() {
		return n, task.Refuse("network-malformed", "%s names chain %.60q and trusts chain %.60q, or no validators: it must pin one chain", path, n.Chain, n.Trust.Chain).
			WithNext("get the file anew from whoever runs the network")
	}
	return n, nil
}

// dialTimeout bounds the dialling of a network's node.
const dialTimeout = 10 * time.Second

// Dial connects to the network's node. A nil logger keeps silent. Codes: wrong-chain,
// unproven, and none where no node answers.
func (n Network) Dial(ctx context.Context, log *slog.Logger) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := chain.Dial(ctx, n.RPC, n.Trust, log)
	if err != nil {
		return nil, err
	}
	return &Session{Network: n, Node: chain.Pinned{Client: c, Trust: n.Trust}}, nil
}

// Session is a connection to a network.
type Session struct {
	Network
	Node chain.Pinned // its chain, by one of its nodes
}

// Close ends a session that was dialled.
func (s *Session) Close() error { return s.Node.Client.Close() }

// ErrSilent is why a context ends that [Session.WhileUp] gave.
var ErrSilent = errors.New("the network has not answered for a while")

// Silence is how long a network may say nothing.
const Silence = 30 * time.Second

// WhileUp is ctx, as long as the session's network answers.
func (s *Session) WhileUp(ctx context.Context) (context.Context, context.CancelFunc) {
	return whileUp(ctx, func(ctx context.Context) error { _, err := s.Node.Meta(ctx); return err }, Silence)
}

// whileUp is ctx, and ends with ErrSilent when the chain has not answered for
// so long.
func whileUp(ctx context.Context, ask func(context.Context) error, most time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		every := time.NewTicker(most / 20)
		defer every.Stop()
		for last := time.Now(); ; {
			once, done := context.WithTimeout(ctx, most/4)
			// A refusal is an answer.
			if err := ask(once); err == nil || task.CodeOf(err) != "" {
				last = time.Now()
			}
			done()
			if time.Since(last) > most {
				cancel(ErrSilent)
			}
			select {
			case <-every.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// CutShort is an error that came of ctx, by a signal or by a network that is
// gone; any other is nil. what says how things stand. Codes: network-down, interrupted.
func CutShort(ctx context.Context, what string) *task.Error {
	switch {
	case ctx.Err() == nil:
		return nil
	case errors.Is(context.Cause(ctx), ErrSilent):
		return task.Refuse("network-down", "the network has not answered for %s; %s", Silence, what)
	}
	return task.Refuse("interrupted", "stopped by a signal; %s", what)
}
