package chain

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/prytany/prytany/chain/proof"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

func TestACaseIsProvenOpenAndClosed(t *testing.T) {
	config := single(t)
	n, c := start(t, config)
	trust, err := config.Trust()
	if err != nil {
		t.Fatal(err)
	}
	if said, err := c.Trust(patient(t)); err != nil || said != trust {
		t.Fatalf("the node says %+v, %v; its configuration %+v", said, err, trust)
	}
	submit(t, c, "bob", publish())
	id := jobOf(submit(t, c, "alice", post()))

	open, p, err := c.VerifiedCase(patient(t), trust, id)
	if err != nil || open.Phase == ledger.Closed {
		t.Fatalf("the open case: %v", err)
	}
	if p.Height() > c.Height() {
		t.Errorf("proven by header %d at height %d", p.Height(), c.Height())
	}
	rest := atRest(t, n, c)
	closed, p, err := c.VerifiedCase(patient(t), trust, id)
	if err != nil || closed.Phase != ledger.Closed {
		t.Fatalf("the closed case: %v", err)
	}
	if p.Height() != rest || c.Height() != rest {
		t.Errorf("the proof of a chain at rest is of height %d, not %d", p.Height(), rest)
	}
	// The old proof still holds, for the old case.
	if err := CheckProof(p, trust, ledger.CaseKey(id), CaseValue(open)); !errors.Is(err, proof.ErrInvalid) {
		t.Errorf("the closed state proves the open case: %v", err)
	}
	if _, _, err := c.VerifiedCase(patient(t), trust, task.TaskID{1}); task.CodeOf(err) != "no-task" {
		t.Errorf("no such case: %v", err)
	}
	for name, other := range map[string]Trust{
		"other chain":      {Chain: "other", Validators: trust.Validators},
		"other validators": {Chain: trust.Chain, Validators: task.Hash{1}},
	} {
		if _, _, err := c.VerifiedCase(patient(t), other, id); !errors.Is(err, proof.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	flips(t, p, trust, ledger.CaseKey(id), CaseValue(closed))
}

// flips expects that no single bit of a proof, key or value can be changed.
func flips(t *testing.T, p Proof, trust Trust, key, value []byte) {
	t.Helper()
	raw := task.Encode(p)
	parsed, err := proof.Parse(raw)
	if err != nil || CheckProof(parsed, trust, key, value) != nil {
		t.Fatalf("a good proof does not survive its encoding: %v", err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << rand.IntN(8)
		if q, err := proof.Parse(bad); err == nil && CheckProof(q, trust, key, value) == nil {
			t.Errorf("byte %d of the proof changed from %x to %x: accepted", i, raw[i], bad[i])
		}
	}
	for i := range raw {
		if q, err := proof.Parse(raw[:i]); err == nil && CheckProof(q, trust, key, value) == nil {
			t.Errorf("cut at %d: accepted", i)
		}
	}
	for i := range key {
		if CheckProof(p, trust, flip(key, i), value) == nil {
			t.Errorf("byte %d of the key: accepted", i)
		}
	}
	for i := range value {
		if CheckProof(p, trust, key, flip(value, i)) == nil {
			t.Errorf("byte %d of the value: accepted", i)
		}
	}
	for name, q := range map[string]Proof{
		"empty":              {},
		"no validators":      {State: p.State, Header: p.Header},
		"validator twice":    {State: p.State, Header: p.Header, Validators: append(p.Validators[:1:1], p.Validators...)},
		"more power":         {State: p.State, Header: p.Header, Validators: []Validator{{Key: p.Validators[0].Key, Power: 1 << 62}}},
		"trailing in header": {State: p.State, Header: append(bytes.Clone(p.Header), 0x18, 0x01), Validators: p.Validators},
		"trailing in state":  {State: append(bytes.Clone(p.State), 0x78, 0x01), Header: p.Header, Validators: p.Validators},
	} {
		if CheckProof(q, trust, key, value) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if CheckProof(p, trust, key, nil) == nil || CheckProof(p, trust, nil, value) == nil {
		t.Error("an empty key or value is accepted")
	}
}

func TestStoreProofsAtAnyKeptHeight(t *testing.T) {
	d := busy(t)
	for range 5 {
		d.block()
	}
	for height := uint64(1); height < uint64(d.next()); height++ {
		v, err := d.app.store.at(height)
		if err != nil {
			t.Fatal(err)
		}
		value, p, err := v.prove(ledger.ParamsKey())
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.CheckState(v.tree.Hash(), ledger.ParamsKey(), value, p); err != nil {
			t.Errorf("height %d: %v", height, err)
		}
		if root, err := proof.Root(p); err != nil || !bytes.Equal(root, v.tree.Hash()) {
			t.Errorf("height %d: the proof leads to %x, %v", height, root, err)
		}
	}
	if _, err := d.app.store.at(uint64(d.next())); task.CodeOf(err) != "no-height" {
		t.Errorf("a height to come: %v", err)
	}
	if _, _, err := d.app.store.last.prove([]byte("a/nothing")); task.CodeOf(err) != "no-key" {
		t.Errorf("a missing key: %v", err)
	}
}

// Whatever a remote node answers, only what the validators signed is believed.
func TestALyingNodeIsFoundOut(t *testing.T) {
	config := single(t)
	n, c := start(t, config)
	trust, _ := config.Trust()
	submit(t, c, "bob", publish())
	id := jobOf(submit(t, c, "alice", post()))
	other := jobOf(submit(t, c, "alice", post()))
	atRest(t, n, c)

	honest := c.query
	answer := func(change func(*ledger.Case, *abci.ResponseQuery)) {
		c.query = func(ctx context.Context, q abci.RequestQuery) (*abci.ResponseQuery, error) {
			r, err := honest(ctx, q)
			if err == nil && q.Prove {
				k, _ := ledger.ParseCase(r.Value)
				change(k, r)
				r.Value = task.Encode(k)
			}
			return r, err
		}
	}
	for name, lie := range map[string]func(*ledger.Case, *abci.ResponseQuery){
		"outcome":        func(k *ledger.Case, _ *abci.ResponseQuery) { k.Settlement.Outcome = ledger.Completed },
		"payment":        func(k *ledger.Case, _ *abci.ResponseQuery) { k.Settlement.Payments[0].Amount++ },
		"another's case": func(k *ledger.Case, _ *abci.ResponseQuery) { o, _ := c.Case(context.Background(), other); *k = *o },
		"no proof":       func(_ *ledger.Case, r *abci.ResponseQuery) { r.ProofOps = nil },
		"broken proof":   func(_ *ledger.Case, r *abci.ResponseQuery) { r.ProofOps.Ops[0].Data[9] ^= 1 },
		"proof of other": func(_ *ledger.Case, r *abci.ResponseQuery) {
			o, _ := honest(context.Background(), abci.RequestQuery{Path: "/case/" + other.String(), Prove: true})
			r.ProofOps = o.ProofOps
		},
	} {
		answer(lie)
		if k, _, err := c.VerifiedCase(patient(t), trust, id); err == nil {
			t.Errorf("%s: believed %+v", name, k.Settlement)
		}
	}
	answer(func(*ledger.Case, *abci.ResponseQuery) {})
	if _, _, err := c.VerifiedCase(patient(t), trust, id); err != nil {
		t.Errorf("the truth: %v", err)
	}
}

func FuzzCheckProof(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, header, state []byte) {
		p := Proof{State: state, Header: header, Validators: validators(1)}
		if CheckProof(p, Trust{Chain: testChain}, []byte("a/x"), []byte("v")) == nil {
			t.Fatal("accepted")
		}
	})
}
