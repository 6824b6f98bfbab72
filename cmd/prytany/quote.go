package main

import (
	"context"
	"fmt"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
)

// market is what the chain says of its room and its machines, as of now.
type market struct {
	params ledger.Params
	values attest.Reference
	meta   ledger.Meta
	alike  []ledger.Alike
	nodes  []ledger.NodeRecord
	epoch  uint64
}

func readMarket(ctx context.Context, s *session) (m market, err error) {
	if m.params, err = s.chain.Params(ctx); err != nil {
		return m, err
	}
	if m.values, err = s.chain.Reference(ctx); err != nil {
		return m, err
	}
	if m.meta, err = s.chain.Meta(ctx); err != nil {
		return m, err
	}
	if m.alike, err = s.chain.Alike(ctx); err != nil {
		return m, err
	}
	m.epoch = s.chain.Height() / m.params.EpochBlocks
	m.nodes, err = s.chain.Nodes(ctx)
	return m, err
}

// suited is the share of the stake that a task's policy suits.
func (m market) suited(p task.Policy, of task.Manifest) (has, all task.Amount) {
	return ledger.Suited(m.alike, p, of, m.values, m.epoch), m.meta.TotalStake(m.epoch)
}

// hands refuses a share of operators that there are too few for: the executor's own
// make up nothing of a quorum, and each other one no more than its share.
func (m market) hands(p task.Policy) error {
	if p.MaxOperatorPPM == 0 {
		return nil
	}
	operators := map[task.Address]bool{}
	for _, n := range m.nodes {
		if n.StakeAt(m.epoch) > 0 && n.Profile.Meets(n.Node.TEE, p, m.values) == nil {
			operators[n.Node.Operator] = true
		}
	}
	need := 1 + (1_000_000+p.MaxOperatorPPM-1)/p.MaxOperatorPPM
	if uint64(len(operators)) >= need {
		return nil
	}
	e := task.Refuse("operators-few", "a quorum of at most %s of one operator, and none of the executor's own, needs %d operators; %d have machines that the task's policy asks for", percent(p.MaxOperatorPPM), need, len(operators)).
		WithMoney("nothing was locked")
	if n := len(operators); n > 1 {
		return e.WithNext("--max-operator-share %.2f, or more", 1/float64(n-1)+0.005)
	}
	return e.WithNext("leave out --max-operator-share")
}

func percent(ppm uint64) string { return fmt.Sprintf("%.1f %%", float64(ppm)/1e4) }

// quote tells Alice what her task will lock and who can work for it, and refuses
// what the chain would. It sets the most that she pays for room, if she has not.
func (a *app) quote(ctx context.Context, s *session, f ledger.FunctionRecord, j *owner.Job) error {
	m, err := readMarket(ctx, s)
	if err != nil {
		return err
	}
	of := f.Function.Manifest
	has, all := m.suited(j.Policy, of)
	if err := ledger.CheckSuited(has, all, of); err != nil && has > 0 { // of what nobody has the chain says more
		return err.WithMoney("nothing was locked")
	}
	if err := m.hands(j.Policy); err != nil {
		return err
	}
	load := m.params.Load(m.meta.Open)
	if j.MaxLoad == 0 {
		j.MaxLoad = 2 * load // a little more may have been posted when it comes to the chain
	}
	gas, ok := task.GasCost(j.GasLimit, j.GasPrice)
	room, ok2 := m.params.Room(task.Task{Data: []task.Data{{Blob: task.Blob{Size: uint64(len(j.Input))}}}}, f.Function, load)
	sum, ok3 := task.Sum(gas, j.Fee, of.Royalty, room.Locked)
	if !ok || !ok2 || !ok3 {
		return nil // the chain says so
	}
	a.say("the task locks %s: gas up to %s, committee %s, royalty %s, rent up to %s, of which most comes back; the posting costs %s",
		sum, gas, j.Fee, of.Royalty, room.Locked, room.Fee)
	if load > 1 {
		a.say("%s %d of at most %d tasks are open, so room costs %d times the usual price", a.paint(amber, "note:"), m.meta.Open, m.params.MaxOpen, load)
	}
	if all > 0 {
		share, _ := has.MulDiv(1_000_000, uint64(all))
		text := fmt.Sprintf("machines with %s of the stake can work for it", percent(uint64(share)))
		if share < task.DefaultSuited {
			text = a.paint(amber, "warning:") + " only " + text + ": its owners may all be one"
		}
		a.say("%s", text)
	}
	return nil
}
