package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"

	"github.com/prytany/prytany/sim"
	"github.com/spf13/cobra"
)

func (a *app) economyCommand() *cobra.Command {
	var (
		o       sim.EconomyOptions
		results export
	)
	c := &cobra.Command{
		Use:   "economy",
		Short: "Play every deviation of a verifier against honest ones on the real ledger, and count what each earns",
		Long: "Each task is a real case: claims by the real sortition, commitments, reveals, pairs and settlement as\n" +
			"transactions of the real ledger. There is no network, and no time. Money is in units of the cost of one\n" +
			"check, for each seat and round. The table takes a minute on two cores.",
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.into(results, func() error { return a.economy(c.Context(), o, results) })
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.Seed, "seed", 0, "what all comes from")
	f.IntVar(&o.Workers, "workers", 20, "workers of equal stake, at least 8")
	f.IntVar(&o.Deviants, "deviants", 2, "how many of them deviate")
	f.IntVar(&o.Tasks, "tasks", 12, "tasks on each chain")
	f.IntVar(&o.Batches, "batches", 10, "chains for each strategy")
	f.IntVar(&o.Long, "long", 160, "tasks on the chains that show what a jail costs in time, -1 for none")
	f.Float64SliceVar(&o.Faults, "faults", nil, "shares of bad executors (default: 0, 0.2, 0.5 and 0.8)")
	f.StringSliceVar(&o.Only, "only", nil, "these strategies only, without the schemes")
	results.flags(c)
	return c
}

func (a *app) economy(ctx context.Context, o sim.EconomyOptions, x export) error {
	type answer struct {
		table sim.EconomyTable
		err   error
	}
	a.say("playing %d tasks on each of %d chains for every strategy", o.Tasks, o.Batches)
	done := make(chan answer, 1)
	go func() {
		t, err := sim.Economy(o)
		done <- answer{t, err}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r := <-done:
		if r.err != nil {
			return usage("%v", r.err)
		}
		var text, rows bytes.Buffer
		if err := r.table.WriteText(&text); err != nil {
			return err
		}
		if err := r.table.WriteCSV(&rows); err != nil {
			return err
		}
		table, err := csv.NewReader(&rows).ReadAll()
		if err != nil {
			return fmt.Errorf("the table cannot be read back: %w", err)
		}
		return a.report(x, r.table, text.String(), table, []chart{{"income", sim.IncomePlot(r.table)}})
	}
}
