package client

import (
	"context"
	"fmt"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// CheckRunnable refuses a function that no worker can run, before money moves. There
// is a race: workers come and go. Then the task ends without a committee.
func (s *Session) CheckRunnable(ctx context.Context, m task.Manifest) error {
	nodes, err := s.Node.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Node.CanRun(m) {
			return nil
		}
	}
	what := m.Runtime
	if m.Arch != "" {
		what += " on " + m.Arch
	}
	return task.Refuse("runtime-unavailable", "none of the %d workers of %s can run a function for %s", len(nodes), s.Chain, what).
		WithMoney("nothing was locked").WithNext("prytany node show   lists the workers")
}

// FindFunction finds by id, by the beginning of one, or by a name that only
// one function has.
func (s *Session) FindFunction(ctx context.Context, name string) (ledger.FunctionRecord, error) {
	list, err := s.Node.Functions(ctx)
	if err != nil {
		return ledger.FunctionRecord{}, err
	}
	known, err := s.Node.Name(ctx, name)
	if err != nil {
		return ledger.FunctionRecord{}, err
	}
	return theFunction(list, known, name, s.Chain)
}

// theFunction is the one of a list that a person means. The state says how many
// have a name, so the node whose list it is cannot hide one to make another pass
// for it (spec §11.6.3).
func theFunction(list []ledger.FunctionRecord, known ledger.Name, name, chain string) (f ledger.FunctionRecord, err error) {
	var found []ledger.FunctionRecord
	named := uint64(0)
	for _, f := range list {
		switch {
		case f.Function.Manifest.Name == name:
			named++
		case len(name) < 8 || !strings.HasPrefix(f.Function.ID().String(), strings.ToLower(name)):
			continue
		}
		found = append(found, f)
	}
	switch {
	case known.Functions > named:
		return f, task.Refuse("unproven", "%d functions on %s are called %q, and the node shows %d", known.Functions, chain, name, named).
			WithMoney("nothing was signed").WithNext("name the function by its id, or ask another node")
	case len(found) == 0:
		return f, task.Refuse("no-function", "no function %q is published on %s", name, chain).WithNext("prytany func list")
	case len(found) > 1:
		return f, task.Refuse("function-ambiguous", "%d functions are called %q; name one by its id", len(found), name).WithNext("prytany func list")
	}
	return found[0], nil
}

// OwnTask finds a task of an account by how its name begins. Code: no-task.
func (s *Session) OwnTask(ctx context.Context, own task.Address, begin string) (id task.TaskID, err error) {
	ids, err := s.Node.Owned(ctx, own)
	if err != nil {
		return id, err
	}
	found := 0
	for _, i := range ids {
		if strings.HasPrefix(i.String(), begin) {
			id, found = i, found+1
		}
	}
	if found != 1 {
		return id, task.Refuse("no-task", "%d of your tasks on %s begin with %s", found, s.Chain, begin).WithNext("prytany task list")
	}
	return id, nil
}

// Market is what the chain says of its room and its machines, as of now.
type Market struct {
	Params ledger.Params
	Values attest.Reference
	Meta   ledger.Meta
	Alike  []ledger.Alike
	Nodes  []ledger.NodeRecord
	Epoch  uint64
}

// ReadMarket reads it.
func (s *Session) ReadMarket(ctx context.Context) (m Market, err error) {
	if m.Params, err = s.Node.Params(ctx); err != nil {
		return m, err
	}
	if m.Values, err = s.Node.Reference(ctx); err != nil {
		return m, err
	}
	if m.Meta, err = s.Node.Meta(ctx); err != nil {
		return m, err
	}
	if m.Alike, err = s.Node.Alike(ctx); err != nil {
		return m, err
	}
	m.Epoch = s.Node.Height() / m.Params.EpochBlocks
	m.Nodes, err = s.Node.Nodes(ctx)
	return m, err
}

// Suited is the share of the stake that a task's policy suits.
func (m Market) Suited(p task.Policy, of task.Manifest) (has, all task.Amount) {
	return ledger.Suited(m.Alike, p, of, m.Values, m.Epoch), m.Meta.TotalStake(m.Epoch)
}

// CheckOperators refuses a share of operators that there are too few for: the executor's own
// make up nothing of a quorum, and each other one no more than its share.
func (m Market) CheckOperators(p task.Policy) error {
	if p.MaxOperatorPPM == 0 {
		return nil
	}
	operators := map[task.Address]bool{}
	for _, n := range m.Nodes {
		if n.StakeAt(m.Epoch) > 0 && n.Profile.Meets(n.Node.TEE, p, m.Values) == nil {
			operators[n.Node.Operator] = true
		}
	}
	need := 1 + (1_000_000+p.MaxOperatorPPM-1)/p.MaxOperatorPPM
	if uint64(len(operators)) >= need {
		return nil
	}
	e := task.Refuse("operators-few", "a quorum of at most %s of one operator, and none of the executor's own, needs %d operators; %d have machines that the task's policy asks for", fmt.Sprintf("%.1f %%", float64(p.MaxOperatorPPM)/1e4), need, len(operators)).
		WithMoney("nothing was locked")
	if n := len(operators); n > 1 {
		return e.WithNext("--max-operator-share %.2f, or more", 1/float64(n-1)+0.005)
	}
	return e.WithNext("leave out --max-operator-share")
}
