package main

import (
	"fmt"

	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) funcWithdrawCommand() *cobra.Command {
	return &cobra.Command{
		Use: "withdraw FUNCTION PRY", Short: "Take back what no open task locks of your function's bond", Args: exactly(2, "FUNCTION PRY"),
		RunE: func(c *cobra.Command, args []string) error { return a.funcWithdraw(c, args[0], args[1]) },
	}
}

func (a *app) funcWithdraw(c *cobra.Command, name, text string) error {
	ctx := c.Context()
	amount, err := task.ParseAmount(text)
	if err != nil {
		return usage("%q is no amount of PRY such as 12.5", text)
	}
	keys, s, err := a.signIn(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	f, err := s.FindFunction(ctx, name)
	if err != nil {
		return err
	}
	id := f.Function.ID()
	if _, err := s.Node.Submit(ctx, keys.Account(), task.Body{Withdraw: &task.Withdraw{Function: id, Amount: amount}}); err != nil {
		return err
	}
	if f, err = s.Node.Function(ctx, id); err != nil {
		return err
	}
	a.say("%s of the bond of %s are back in its owner's account", amount, id.Short())
	return a.print(funcBond{id, f.Bond}, fmt.Sprintln(f.Bond))
}
