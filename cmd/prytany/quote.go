package main

import (
	"context"
	"fmt"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
)

func percent(ppm uint64) string { return fmt.Sprintf("%.1f %%", float64(ppm)/1e4) }

// quote tells Alice what her task will lock and who can work for it, and refuses
// what the chain would. It sets the most that she pays for room, if she has not.
func (a *app) quote(ctx context.Context, s *client.Session, f ledger.FunctionRecord, j *owner.Job) error {
	m, err := s.ReadMarket(ctx)
	if err != nil {
		return err
	}
	of := f.Function.Manifest
	has, all := m.Suited(j.Policy, of)
	if err := ledger.CheckSuited(has, all, of); err != nil && has > 0 { // of what nobody has the chain says more
		return err.WithMoney("nothing was locked")
	}
	if err := m.CheckOperators(j.Policy); err != nil {
		return err
	}
	load := m.Params.Load(m.Meta.Open)
	if j.MaxLoad == 0 {
		j.MaxLoad = 2 * load // a little more may have been posted when it comes to the chain
	}
	gas, ok := task.GasCost(j.GasLimit, j.GasPrice)
	room, ok2 := m.Params.Room(task.Task{Data: []task.Data{{Blob: task.Blob{Size: uint64(len(j.Input))}}}}, f.Function, load)
	sum, ok3 := task.Sum(gas, j.Fee, of.Royalty, room.Locked)
	if !ok || !ok2 || !ok3 {
		return nil // the chain says so
	}
	a.say("the task locks %s: gas up to %s, committee %s, royalty %s, rent up to %s, of which most comes back; the posting costs %s",
		sum, gas, j.Fee, of.Royalty, room.Locked, room.Fee)
	if load > 1 {
		a.say("%s %d of at most %d tasks are open, so room costs %d times the usual price", a.paint(amber, "note:"), m.Meta.Open, m.Params.MaxOpen, load)
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
