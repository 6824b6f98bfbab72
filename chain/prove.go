package chain

import (
	"bytes"
	"context"
	"fmt"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/types"

	"github.com/prytany/prytany/chain/proof"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// What proves and what is trusted; package proof explains and checks both, and
// needs no node.
type (
	Proof     = proof.Proof
	Trust     = proof.Trust
	Validator = proof.Validator
)

// CheckProof is proof.Check: whether the key has the value in a state that the
// trusted chain's validators have signed.
func CheckProof(p Proof, trusted Trust, key, value []byte) error {
	return proof.Check(p, trusted, key, value)
}

// Proof gives a case and the proof of its hash: CheckProof accepts it with the
// key ledger.CaseKey(id) and the value CaseValue(case). The proof needs the
// header after the state's, so for a case that still moves Proof waits for the
// next block, about an interval, and the case is by then one block old: it is
// the newest state that can be proven at all.
func (c *Client) Proof(ctx context.Context, id task.TaskID) (*ledger.Case, Proof, error) {
	k, p, err := c.proven(ctx, id)
	return k.kase, p, err
}

func (c *Client) proven(ctx context.Context, id task.TaskID) (kept, Proof, error) {
	r, err := c.query(ctx, abci.RequestQuery{Path: "/case/" + id.String(), Prove: true})
	if err != nil {
		return kept{}, Proof{}, err
	}
	k, err := c.parse(ctx, id, r)
	if err != nil {
		return kept{}, Proof{}, err
	}
	state, err := stateProof(r)
	if err != nil {
		return kept{}, Proof{}, err
	}
	p, err := c.complete(ctx, ledger.CaseKey(id), k.value(), state, uint64(r.Height))
	if err != nil {
		return kept{}, Proof{}, err
	}
	return k, p, nil
}

// record reads what stands under an authenticated key. Of a remote node it wants
// the proof against the pinned chain; a node in this process has computed its
// state itself.
func record[T any](ctx context.Context, c *Client, path string, key []byte) (T, error) {
	if c.trust == nil {
		return ask[T](ctx, c, path, nil)
	}
	var zero T
	r, err := c.query(ctx, abci.RequestQuery{Path: "/store", Data: key, Prove: true})
	if err != nil {
		return zero, err
	}
	state, err := stateProof(r)
	if err != nil {
		return zero, err
	}
	p, err := c.complete(ctx, key, r.Value, state, uint64(r.Height))
	if err != nil {
		return zero, err
	}
	if err := CheckProof(p, *c.trust, key, r.Value); err != nil {
		return zero, refuseProof(err)
	}
	return task.Decode[T](r.Value, maxAnswer)
}

func stateProof(r *abci.ResponseQuery) ([]byte, error) {
	if r.ProofOps == nil || len(r.ProofOps.Ops) != 1 {
		return nil, task.Refuse("unproven", "the node sent an answer without its proof").WithMoney("nothing was signed").WithNext("ask another node")
	}
	return r.ProofOps.Ops[0].Data, nil
}

// refuseProof says for a person that a node's answer is not the pinned chain's.
func refuseProof(err error) error {
	return task.Refuse("unproven", "the node's answer is not what the pinned chain's validators have signed: %v", err).
		WithMoney("nothing was signed").WithNext("ask another node, or correct what the network file trusts")
}

// Proven is a record of a list with the proof that leads to the app hash of the
// state that the list is from.
type Proven[T any] struct {
	Record T      `cbor:"1,keyasint"`
	State  []byte `cbor:"2,keyasint"`
}

// records reads a list. Of a remote node, each record in it is proven; that none
// is left out is the node's word.
func records[T any](ctx context.Context, c *Client, path string, key func(T) []byte) (all []T, err error) {
	if c.trust == nil {
		return askAll[T](ctx, c, path)
	}
	for {
		r, err := c.query(ctx, abci.RequestQuery{Path: path, Data: task.U64(uint64(len(all))), Prove: true})
		if err != nil {
			return nil, err
		}
		part, err := task.Decode[[]Proven[T]](r.Value, maxAnswer)
		if err != nil {
			return nil, fmt.Errorf("chain: the node's answer to %s: %w", path, err)
		}
		if len(part) == 0 {
			return all, nil
		}
		if err := checkPage(ctx, c, uint64(r.Height), part, key); err != nil {
			return nil, err
		}
		for _, v := range part {
			all = append(all, v.Record)
		}
		if len(all) > maxList {
			return nil, fmt.Errorf("chain: the node's list %s has no end", path)
		}
	}
}

// checkPage checks the first record by a signed header, and all others by the app
// hash that the first one leads to.
func checkPage[T any](ctx context.Context, c *Client, height uint64, part []Proven[T], key func(T) []byte) error {
	first := part[0]
	k, value := key(first.Record), task.Encode(first.Record)
	p, err := c.complete(ctx, k, value, first.State, height)
	if err == nil {
		err = CheckProof(p, *c.trust, k, value)
	}
	if err != nil {
		return refuseProof(err)
	}
	root, err := proof.Root(first.State)
	if err != nil {
		return refuseProof(err)
	}
	for _, v := range part[1:] {
		if err := proof.CheckState(root, key(v.Record), task.Encode(v.Record), v.State); err != nil {
			return refuseProof(err)
		}
	}
	return nil
}

// headerWait bounds the wait for the header that carries a state, beyond ten
// intervals. An honest node has it sooner.
const headerWait = 10 * time.Second

// CaseValue is what the chain keeps under ledger.CaseKey for a case.
func CaseValue(c *ledger.Case) []byte { return task.Encode(c.Hash()) }

// complete finds the signed header that carries the app hash to which a state
// proof leads. Usually that is the next block's; but a chain at rest made it
// before it came to this height.
func (c *Client) complete(ctx context.Context, key, value, state []byte, height uint64) (Proof, error) {
	root, err := proof.Root(state)
	if err == nil {
		err = proof.CheckState(root, key, value, state)
	}
	if err != nil {
		return Proof{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, headerWait+10*time.Duration(c.params.IntervalMillis)*time.Millisecond)
	defer cancel()
	for _, h := range []uint64{height, height + 1} {
		if err := c.WaitHeight(ctx, h); err != nil {
			return Proof{}, err
		}
		signed, err := c.signedHeader(ctx, h)
		if err != nil {
			return Proof{}, err
		}
		if !bytes.Equal(signed.AppHash, root) {
			continue
		}
		p := Proof{State: state}
		if p.Header, err = proof.Header(signed); err != nil {
			return Proof{}, err
		}
		p.Validators, err = c.Validators(ctx, h)
		return p, err
	}
	return Proof{}, fmt.Errorf("chain: neither header %d nor %d carries the proven state", height, height+1)
}

func (c *Client) signedHeader(ctx context.Context, height uint64) (types.SignedHeader, error) {
	h := int64(height)
	r, err := c.rpc.Commit(ctx, &h)
	if err != nil {
		return types.SignedHeader{}, fmt.Errorf("chain: header %d: %w", height, err)
	}
	if r == nil || r.Header == nil || r.Commit == nil {
		return types.SignedHeader{}, task.Refuse("no-height", "header %d is not kept here", height)
	}
	return r.SignedHeader, nil
}

// Validators lists those who sign the block of a height, as the node says.
func (c *Client) Validators(ctx context.Context, height uint64) (all []Validator, err error) {
	h, perPage := int64(height), 100
	for page := 1; ; page++ {
		r, err := c.rpc.Validators(ctx, &h, &page, &perPage)
		if err != nil {
			return nil, fmt.Errorf("chain: validators of height %d: %w", height, err)
		}
		part, err := proof.List(r.Validators)
		if err != nil {
			return nil, err
		}
		if all = append(all, part...); len(all) >= r.Total || len(part) == 0 {
			return all, nil
		}
	}
}

// Trust is what this node says the chain is. Pin it only where the node itself
// is trusted, or compare it with a Trust from elsewhere.
func (c *Client) Trust(ctx context.Context) (Trust, error) {
	set, err := c.Validators(ctx, 1)
	if err != nil {
		return Trust{}, err
	}
	g, err := c.Group(ctx)
	if err != nil {
		return Trust{}, err
	}
	return proof.NewTrust(c.params.Chain, set, g.Key)
}

// VerifiedCase gives a case that the trusted validators have signed, whatever
// node answers: a false answer is an error, an old one is not, since a node can
// keep silent about newer blocks. Compare Proof.Height with that of another
// node where it matters. The absence of a case is not proven.
func (c *Client) VerifiedCase(ctx context.Context, trusted Trust, id task.TaskID) (*ledger.Case, Proof, error) {
	k, p, err := c.proven(ctx, id)
	if err != nil {
		return nil, Proof{}, err
	}
	if k.kase.ID() != id {
		return nil, Proof{}, fmt.Errorf("chain: the node answered with another task's case: %w", proof.ErrInvalid)
	}
	if err := CheckProof(p, trusted, ledger.CaseKey(id), k.value()); err != nil {
		return nil, Proof{}, err
	}
	return k.kase, p, nil
}
