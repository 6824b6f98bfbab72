package chain

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Four validators, of whom three or two sign a change: it is accepted, or not, and
// what is accepted can be proven to whoever knows the validators.
func TestValidatorsChangeTheValues(t *testing.T) {
	nodes := network(t, 4)
	c, err := Local(nodes[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	trust, err := nodes[0].config.Trust()
	if err != nil {
		t.Fatal(err)
	}
	v, height, err := c.Values(patient(t))
	if err != nil || v.Number != 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	program := attest.Value{List: "measurement", Data: make([]byte, 32)}
	g := task.Govern{Number: 1, Change: task.Encode(attest.Change{Terms: []attest.Term{{Value: program, From: c.params.Earliest(height) + 1000}}})}
	sign := func(n int) task.Govern {
		g.Signed = nil
		for i := range n {
			key := identity(i).key()
			g.Signed = append(g.Signed, task.Approval{Validator: task.PublicKey(key), Signature: task.Sign(key, g.Hash(testChain))})
		}
		slices.SortFunc(g.Signed, func(a, b task.Approval) int { return slices.Compare(a.Validator[:], b.Validator[:]) })
		return g
	}
	two := sign(2)
	if _, err := c.Submit(patient(t), account("carol"), task.Body{Govern: &two}); task.CodeOf(err) != "approval-weak" {
		t.Fatalf("two of four: %v", err)
	}
	three := sign(3)
	submit(t, c, "carol", task.Body{Govern: &three})
	submit(t, c, "carol", transfer("bob", 1)) // so that there is a header over it
	var a ledger.Amendment
	for _, from := range []*Trust{nil, &trust} { // a node's own, and one of somebody else's
		c.trust = from
		if v, _, err = c.Values(patient(t)); err != nil || v.Number != 1 || len(v.Standing) != 3 {
			t.Errorf("%+v, %v", v, err)
		}
		if a, err = c.Amendment(patient(t), 1); err != nil || a.Power != 3 || a.Total != 4 || !slices.Equal(a.Signed, three.Signed) {
			t.Errorf("%+v, %v", a, err)
		}
		if _, err := c.Amendment(patient(t), 2); err == nil {
			t.Error("a change that nobody made")
		}
	}
	c.trust = &Trust{Chain: testChain, Validators: task.Hash{1}}
	if _, _, err := c.Values(patient(t)); task.CodeOf(err) != "unproven" {
		t.Errorf("proven to whoever trusts others: %v", err)
	}
	for _, n := range nodes {
		if err := n.WaitHeight(patient(t), a.Height); err != nil {
			t.Fatal(err)
		}
	}
}

// A node that answers with other reference values than a case names is found out.
func TestCasesAreJudgedByTheValuesThatTheyName(t *testing.T) {
	_, c := start(t, single(t))
	submit(t, c, "bob", publish())
	id := jobOf(submit(t, c, "alice", post()))
	k, err := c.Case(patient(t), id)
	if err != nil || k.Reference().Hash() != k.Values {
		t.Fatal(err)
	}
	clear(c.cases)
	c.sets[k.Values] = attest.Reference{Measurements: []task.Hash{{66}}}
	if _, err := c.Case(patient(t), id); task.CodeOf(err) != "values-others" {
		t.Errorf("%v", err)
	}
}
