package main

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// cast is who does wrong in a demo: the first worker to whom the part falls,
// or an owner. All others, and all else, are as always.
type cast struct {
	role string
	mu   sync.Mutex
	who  task.NodeID
}

// The parts of `demo --with`.
const (
	lyingVerifier = "lying-verifier"
	lazyVerifier  = "lazy-verifier"
	badExecutor   = "bad-executor"
	equivocator   = "equivocator"
	silentAlice   = "silent-alice"
	silentBob     = "silent-bob"
	withholding   = "withholding-alice"
	busyWorker    = "busy-worker"
	skipping      = "skipping-quorum"
)

var parts = map[string]string{
	lyingVerifier: "one verifier says FAULT to evidence that is good",
	lazyVerifier:  "one verifier guesses which evidence is the decoy instead of looking, and is out of luck",
	badExecutor:   "the first executor's enclave shows evidence that its owner has tampered with",
	equivocator:   "one verifier commits to two verdicts in one round",
	silentAlice:   "Alice posts, locks her money, and never releases her key",
	silentBob:     "Bob's broker never releases his key",
	withholding:   "Alice posts, locks her money, and serves her input to nobody",
	busyWorker:    "the first executor's machine is full of other people's tasks",
	skipping:      "all members but the first executor say, as soon as it is drawn, that it is silent",
}

func castFor(role string) (*cast, error) {
	if role == "" {
		return nil, nil
	}
	if _, ok := parts[role]; !ok {
		var names []string
		for p := range parts {
			names = append(names, p)
		}
		slices.Sort(names)
		return nil, usage("--with %q is none of %s", role, strings.Join(names, ", "))
	}
	return &cast{role: role}, nil
}

// is says whether this worker has the part, and gives it to the first who asks.
func (c *cast) is(id task.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.who.IsZero() {
		c.who = id
	}
	return c.who == id
}

// rules are the parameters that make the part play at once.
func (c *cast) rules(p *ledger.Params) {
	if c == nil {
		return
	}
	p.CommitBlocks = 40 // so that a busy machine does not leave out the one that it is about
	switch {
	case c.role == silentAlice || c.role == silentBob:
		p.ReleaseBlocks = 40
	case c.role == withholding: // so that it is over soon
		p.DeclineBlocks = 20
	}
}

// corrupt gives a worker its part.
func (c *cast) corrupt(n node.Config) node.Config {
	if c == nil {
		return n
	}
	id, honest := n.Node.ID(), n.Appraise
	switch c.role {
	case lyingVerifier:
		n.Appraise = func(ev attest.Evidence, want attest.Expected, p task.Policy, r attest.Reference) attest.Appraisal {
			if c.is(id) {
				return attest.Appraisal{Verdict: task.Fault, Reason: attest.DebugEnclave}
			}
			return honest(ev, want, p, r)
		}
	case lazyVerifier:
		n.Appraise = func(ev attest.Evidence, want attest.Expected, p task.Policy, r attest.Reference) attest.Appraisal {
			a := honest(ev, want, p, r)
			if c.is(id) { // who guesses is right as often as not; this one never is, so that there is something to see
				if a.Verdict == task.OK {
					return attest.Appraisal{Verdict: task.Fault, Reason: attest.BadSignature}
				}
				return attest.Appraisal{Verdict: task.OK, Tier: task.TierSimulated}
			}
			return a
		}
	case badExecutor:
		start := n.Enclaves
		n.Enclaves = func(ctx context.Context, f task.Function) (node.Enclave, error) {
			e, err := start(ctx, f)
			return &tampered{Enclave: e}, err
		}
	case equivocator:
		n.Net = twoTongues{n.Net, c, n}
	}
	return n
}

// tampered is an enclave of the first executor, whoever that is. Its owner
// switches it to debug mode, so as to read what is in it, and the quote that
// says so no longer has the chip's signature.
type tampered struct {
	node.Enclave
	first bool
}

func (t *tampered) Begin(k task.Task, f task.Function, c attest.Context, nonce task.Hash, fault uint8) (genuine, decoy, seal []byte, err error) {
	t.first = c.View == 0 && c.Attempt == 0
	genuine, decoy, seal, err = t.Enclave.Begin(k, f, c, nonce, fault)
	genuine, err = t.tamper(genuine, err)
	return genuine, decoy, seal, err
}

func (t *tampered) tamper(raw []byte, err error) ([]byte, error) {
	if err != nil || !t.first {
		return raw, err
	}
	ev, err := attest.ParseEvidence(raw)
	if err != nil {
		return raw, err
	}
	if ev.Kind != attest.Simulated { // a real quote's debug bit is inside what is signed: its last byte will do
		ev.Quote[len(ev.Quote)-1] ^= 1
		return task.Encode(ev), nil
	}
	q, err := task.Decode[attest.SimulatedQuote](ev.Quote, task.MaxEvidence)
	q.Body.Debug = true
	ev.Quote = task.Encode(q)
	return task.Encode(ev), err
}

// twoTongues sends another commitment after each of its own.
type twoTongues struct {
	node.Net
	c *cast
	n node.Config
}

func (t twoTongues) Send(ctx context.Context, addr, proto string, msg []byte) error {
	err := t.Net.Send(ctx, addr, proto, msg)
	m, bad := task.Decode[node.Message](msg, task.MaxMessage)
	if proto != task.ProtoCommittee || bad != nil || m.Commitment == nil || m.Commitment.Node != t.n.Node.ID() || !t.c.is(t.n.Node.ID()) {
		return err
	}
	other := *m.Commitment
	other.Digest[0] ^= 1
	other.Signature = task.Sign(t.n.Peer, other.Hash())
	_ = t.Net.Send(ctx, addr, proto, task.Encode(node.Message{Commitment: &other}))
	return err
}
