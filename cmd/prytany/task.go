package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) taskCommand() *cobra.Command {
	c := &cobra.Command{Use: "task", Short: "Look at tasks: what they wait for, whose fault it was, where the money is"}
	var output string
	fetch := &cobra.Command{
		Use: "receipt ID", Short: "Fetch the receipt of a settled task", Args: exactly(1, "ID"),
		Long: "Fetches the receipt of any settled task from the chain, as often as you like. It has no result in it:\n" +
			"prytany task result brings that, once, to whom it belongs.",
		RunE: func(c *cobra.Command, args []string) error { return a.taskReceipt(c.Context(), args[0], output) },
	}
	fetch.Flags().StringVar(&output, "output", "", "where to write the receipt (needed)")
	var o runOptions
	result := &cobra.Command{
		Use: "result ID", Short: "Take a task of yours up again, and write its result", Args: exactly(1, "ID"),
		Long: "Goes on where a prytany run was cut short, on the machine and from the home that it ran: releases the\n" +
			"key to the input if that is still waited for, waits for the result and writes it, with its receipt.\n" +
			"Once the result is on the disk and the task settled, the key to it is destroyed.",
		RunE: func(c *cobra.Command, args []string) error { return a.taskResult(c.Context(), args[0], o) },
	}
	o.placeFlags(result)
	c.AddCommand(
		result,
		fetch,
		&cobra.Command{Use: "list", Short: "List this user's tasks", Args: none, RunE: func(c *cobra.Command, _ []string) error { return a.taskList(c.Context()) }},
		&cobra.Command{Use: "show ID", Short: "Print all that the chain knows of a task", Args: exactly(1, "ID"), RunE: func(c *cobra.Command, args []string) error { return a.taskShow(c.Context(), args[0], false) }},
		&cobra.Command{Use: "why ID", Short: "Say what a task waits for, or whose fault its end was and where the money is", Args: exactly(1, "ID"), RunE: func(c *cobra.Command, args []string) error { return a.taskShow(c.Context(), args[0], true) }},
	)
	return c
}

func (a *app) taskList(ctx context.Context) error {
	keys, s, err := a.signIn(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	ids, err := s.Node.Owned(ctx, task.PublicKey(keys.Account()))
	if err != nil {
		return err
	}
	rows, text := []taskRow{}, strings.Builder{}
	for _, id := range ids {
		c, err := s.Node.Case(ctx, id)
		if err != nil {
			return err
		}
		r := taskRow{ID: id, Phase: c.Phase}
		if c.Settlement != nil {
			r.Outcome = c.Settlement.Outcome
		}
		rows = append(rows, r)
		fmt.Fprintf(&text, "%s  %-10s %-16s %s\n", id, r.Phase, r.Outcome, c.Function.Manifest.Name)
	}
	return a.print(rows, text.String())
}

func (a *app) taskShow(ctx context.Context, name string, why bool) error {
	s, c, err := a.findTask(ctx, name)
	if err != nil {
		return err
	}
	defer s.Close()
	id, found := c.ID(), receipt.Faults(c)
	text := explain.Case(c, s.Node.Height(), found)
	if why {
		return a.print(taskWhy{id, c.Phase, c.Parties(), c.Settlement, found, text}, text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "task %s\nfunction %s %s (%s)\n", id, c.Function.Manifest.Name, c.Function.Manifest.Version, c.Task.Function.Short())
	for _, h := range c.History {
		fmt.Fprintf(&b, "  block %-6d %s\n", h.Height, explain.Fact(h))
	}
	b.WriteString(text)
	return a.print(c, b.String())
}

// findTask finds a task by its id, or one of this user's by how its id begins.
func (a *app) findTask(ctx context.Context, name string) (*client.Session, *ledger.Case, error) {
	const shortest = 8
	name = strings.ToLower(name)
	var id task.TaskID
	whole := id.UnmarshalText([]byte(name)) == nil
	if !whole && !(len(name) >= shortest && len(name) < 2*len(id) && strings.Trim(name, "0123456789abcdef") == "") {
		return nil, nil, usage("%q is no task id: it has %d hex digits, of which the first %d will do for a task of yours", name, 2*len(id), shortest).
			WithNext("prytany task list")
	}
	var own task.Address
	if !whole {
		keys, err := a.keystore()
		if err != nil {
			return nil, nil, err
		}
		own = task.PublicKey(keys.Account())
	}
	s, err := a.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !whole {
		id, err = s.OwnTask(ctx, own, name)
	}
	var c *ledger.Case
	if err == nil {
		c, err = s.Node.Case(ctx, id)
	}
	if err != nil {
		s.Close()
	}
	return s, c, err
}

// taskResult takes up a task of which a run has lost sight.
func (a *app) taskResult(ctx context.Context, name string, o runOptions) error {
	if o.output == "" {
		return usage("--output is needed: where to write the result").WithNext("prytany task result --help")
	}
	keys, err := a.keystore()
	if err != nil {
		return err
	}
	s, c, err := a.findTask(ctx, name)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop := s.WhileUp(ctx)
	defer stop()
	if c.Task.Requester != task.PublicKey(keys.Account()) {
		return task.Refuse("not-yours", "task %s is another's: only who posted it can open its result", c.ID()).WithNext("prytany task list")
	}
	if err := o.checkPlaces(c.Function.Manifest); err != nil {
		return err
	}
	me, err := a.openAlice(ctx, s, keys, &c.Task)
	if err != nil {
		return err
	}
	defer me.Close()
	r, err := me.Resume(c)
	if err != nil {
		return err
	}
	a.say("task %s taken up again; %s", r.ID, c.Phase)
	return a.follow(ctx, me, o, r)
}

// taskReceipt writes the receipt of a task that is settled.
func (a *app) taskReceipt(ctx context.Context, name, output string) error {
	if output == "" {
		return usage("--output is needed: where to write the receipt").WithNext("prytany task receipt --help")
	}
	s, c, err := a.findTask(ctx, name)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.Phase != ledger.Closed {
		return task.Refuse("task-open", "task %s is not settled yet, and has no receipt", c.ID()).WithNext("prytany task why %s", c.ID())
	}
	if _, err := os.Lstat(output); err == nil {
		return task.Refuse("receipt-exists", "%s is there already, and is not overwritten", output).WithNext("another --output")
	}
	raw, err := client.Receipt(ctx, s.Node, c.ID())
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, raw, 0o644); err != nil {
		return err
	}
	a.say("next: prytany verify %s", task.ShellWord(output))
	return a.print(receiptMade{c.ID(), output}, output+"\n")
}
