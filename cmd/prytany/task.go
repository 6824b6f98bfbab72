package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
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
	defer s.close()
	ids, err := s.chain.Owned(ctx, task.PublicKey(keys.Account()))
	if err != nil {
		return err
	}
	rows, text := []taskRow{}, strings.Builder{}
	for _, id := range ids {
		c, err := s.chain.Case(ctx, id)
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
	defer s.close()
	id, text := c.ID(), explainCase(c, s.chain.Height())
	if why {
		return a.print(taskWhy{id, c.Phase, c.Parties(), c.Settlement, receipt.Faults(c), text}, text)
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
func (a *app) findTask(ctx context.Context, name string) (*session, *ledger.Case, error) {
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
		id, err = ownTask(ctx, s, own, name)
	}
	var c *ledger.Case
	if err == nil {
		c, err = s.chain.Case(ctx, id)
	}
	if err != nil {
		s.close()
	}
	return s, c, err
}

func ownTask(ctx context.Context, s *session, own task.Address, begin string) (id task.TaskID, err error) {
	ids, err := s.chain.Owned(ctx, own)
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
	defer s.close()
	ctx, stop := s.whileUp(ctx)
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
	defer me.close()
	r, err := me.Resume(c)
	if err != nil {
		return err
	}
	a.say("task %s taken up again; %s", r.ID, c.Phase)
	return a.follow(ctx, s, o, r)
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
	defer s.close()
	if c.Phase != ledger.Closed {
		return task.Refuse("task-open", "task %s is not settled yet, and has no receipt", c.ID()).WithNext("prytany task why %s", c.ID())
	}
	if _, err := os.Lstat(output); err == nil {
		return task.Refuse("receipt-exists", "%s is there already, and is not overwritten", output).WithNext("another --output")
	}
	raw, err := makeReceipt(ctx, s.chain, c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, raw, 0o644); err != nil {
		return err
	}
	a.say("next: prytany verify %s", task.ShellWord(output))
	return a.print(receiptMade{c.ID(), output}, output+"\n")
}

// explainCase says in words what a case waits for, or how it ended.
func explainCase(c *ledger.Case, height uint64) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, d := range c.Declined {
		line("node %s declined to execute at block %d: %s. That costs nothing", d.Decline.Node.Short(), d.Height, explain.Lack(d.Decline.Lack))
	}
	for _, p := range c.Passed {
		line("executor %s was passed over at block %d: %s", p.Executor.Short(), p.Height, explain.Cause(p.Why))
		if p.Result != nil {
			line("  the wall limit, %s, was over: that is the machine's affair. It was paid nothing, lost nothing, and no record changed", wall(c))
		}
	}
	for _, f := range receipt.Faults(c) {
		line("%s, appraised again: %s: %s", faultyWords(f), f.Reason, f.Detail)
	}
	for _, s := range c.Slashes {
		line("node %s lost %s at block %d: %s", s.Node.Short(), s.Amount, s.Height, explain.Cause(s.Cause))
		for _, p := range s.Rewards {
			line("  %s of it to %s, who found it", p.Amount, p.To.Short())
		}
	}
	if s := c.Settlement; s != nil {
		line("settled at block %d: %s", s.Height, s.Outcome)
		line("at fault: %s", explain.Fault(c))
		if e, ok := owner.Ended(c).(*task.Error); ok {
			line("what happened: %s", e.What)
		}
		for _, p := range s.Payments {
			who := p.To.Short()
			if p.Node.IsZero() {
				who = "the " + c.RoleOf(p.Party).String()
			}
			if p.Why == ledger.WhyRoom {
				line("  %s got %s back of what was locked for rent", who, p.Amount)
				continue
			}
			line("  %s got %s as %s", who, p.Amount, p.Why)
		}
		if s.Rent > 0 {
			line("  %s of rent were burned, for the %d blocks that the task was open", s.Rent, s.Height-c.PostedAt)
		}
		for i, kept := range s.Kept {
			if kept > 0 {
				line("  %s went back into the bond of the %s", kept, c.RoleOf(uint8(i)))
			}
		}
		return b.String()
	}
	line("%s: %s", c.Phase, waitsFor(c))
	line("at block %d; this phase ends at block %d at the latest", height, c.Deadline)
	for i, locked := range c.Escrow.Locks {
		if locked > 0 {
			line("in escrow: %s of the %s", locked, c.RoleOf(uint8(i)))
		}
	}
	line("in escrow: %s of the requester for rent", c.Escrow.Room)
	return b.String()
}

// faultyWords name faulty evidence. Why it is faulty is not on the chain.
func faultyWords(f receipt.Fault) string {
	return fmt.Sprintf("the %s evidence of %s was faulty", f.Round, f.Executor.Short())
}

func wall(c *ledger.Case) time.Duration {
	return time.Duration(c.Function.Manifest.Limits.WallMillis) * time.Millisecond
}

func waitsFor(c *ledger.Case) string {
	need := c.Roster().Quorum()
	switch c.Phase {
	case ledger.Posted:
		return "waits for the beacon that seeds the draw"
	case ledger.Electing:
		return fmt.Sprintf("waits for workers that have drawn seats: %d of at least %d so far", c.Roster().Total(), c.Task.MinSeats)
	case ledger.Attesting:
		ok, bad := c.Tally(c.View.Pre.Reveals)
		return fmt.Sprintf("waits for verifiers to judge %s's enclave: %d seats for it, %d against, of %d, a quorum is %d", c.View.Executor.Short(), ok, bad, c.Roster().Judging(), need)
	case ledger.Releasing:
		missing := []string{}
		for i, p := range c.Parties() {
			if p.Releases && !c.Released(uint8(i)) {
				missing = append(missing, "the "+p.Role.String())
			}
		}
		return "waits for the key of " + strings.Join(missing, " and ")
	case ledger.Running:
		return fmt.Sprintf("waits for %s's enclave to run the function", c.View.Executor.Short())
	case ledger.Reviewing:
		return fmt.Sprintf("the result is there; waits for %s to show how its enclave ended", c.View.Executor.Short())
	}
	return ""
}
