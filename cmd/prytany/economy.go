package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"time"

	"github.com/prytany/prytany/sim/economy"
	"github.com/spf13/cobra"
)

func (a *app) economyCommand() *cobra.Command {
	var (
		o          economy.Options
		together   economy.CoalitionOptions
		wall       time.Duration
		coalitions bool
		results    export
	)
	c := &cobra.Command{
		Use:   "economy",
		Short: "Play every deviation of a verifier against honest ones on the real ledger, and count what each earns",
		Long: "Each task is a real case: claims by the real sortition, commitments, reveals, pairs and settlement as\n" +
			"transactions of the real ledger. There is no network, and no time. Money is in units of the cost of one\n" +
			"check, for each seat and round. The table takes a minute on two cores.\n\n" +
			"With --coalitions owners, workers and proposers deviate together, in one hand with up to a third of the\n" +
			"stake. Every worker is the real one, with the real committee's machine. One to three of some sixty\n" +
			"deviations are tried, and the best are measured against the same people who keep to the rules. The same\n" +
			"--seed and --rounds give the same table; --for plays as many rounds as there is time. Exit code 0:\n" +
			"nothing pays that is not known to. 1: something does.",
		Example: "  prytany simulate economy\n  prytany simulate economy --coalitions --for 10m --svg plots",
		Args:    none,
		RunE: func(c *cobra.Command, _ []string) error {
			if coalitions {
				for _, other := range []string{"workers", "deviants", "batches", "long", "faults"} {
					if c.Flags().Changed(other) {
						return usage("--%s is for verifiers who deviate alone, not for --coalitions", other)
					}
				}
				together.Seed, together.Only = o.Seed, o.Only
				if c.Flags().Changed("tasks") {
					together.Tasks = o.Tasks
				}
				return a.into(results, func() error { return a.coalitions(c.Context(), together, wall, results) })
			}
			for _, other := range []string{"rounds", "for", "stakes"} {
				if c.Flags().Changed(other) {
					return usage("--%s is for --coalitions", other)
				}
			}
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
	f.StringSliceVar(&o.Only, "only", nil, "these strategies only, without the schemes; or these deviations")
	f.BoolVar(&coalitions, "coalitions", false, "search for coalitions that gain by breaking rules")
	f.IntVar(&together.Rounds, "rounds", 4, "of the search for coalitions")
	f.DurationVar(&wall, "for", 0, "play as many rounds as end, with the measuring of the finds, in about this time")
	f.Float64SliceVar(&together.Stakes, "stakes", nil, "of coalitions (default: 0.05, 0.15, 0.25 and 0.33)")
	results.flags(c)
	return c
}

func (a *app) economy(ctx context.Context, o economy.Options, x export) error {
	type answer struct {
		table economy.Table
		err   error
	}
	a.say("playing %d tasks on each of %d chains for every strategy", o.Tasks, o.Batches)
	done := make(chan answer, 1)
	go func() {
		t, err := economy.Run(o)
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
		return a.report(x, r.table, text.String(), table, []chart{{"income", economy.IncomePlot(r.table)}})
	}
}

// coalitions searches for plans that pay. It has the clock; the search has none.
func (a *app) coalitions(ctx context.Context, o economy.CoalitionOptions, wall time.Duration, x export) error {
	type answer struct {
		table economy.CoalitionTable
		err   error
	}
	p := a.progress(1<<63-1, "chains")
	start, rounds := time.Now(), 1
	o.Played = p.step
	o.Go = func(played, rest int) bool {
		spent := time.Since(start)
		if ctx.Err() != nil || wall == 0 && rounds >= o.Rounds {
			return false
		}
		rounds++
		return wall == 0 || spent+spent/time.Duration(played)*time.Duration(rest) < wall
	}
	done := make(chan answer, 1)
	go func() {
		t, err := economy.Coalitions(o)
		done <- answer{t, err}
	}()
	select {
	case <-ctx.Done():
		p.end()
		return ctx.Err()
	case r := <-done:
		p.end()
		if r.err != nil {
			return usage("%v", r.err)
		}
		var text bytes.Buffer
		if err := r.table.WriteText(&text); err != nil {
			return err
		}
		err := a.report(x, r.table, text.String(), r.table.Rows(), []chart{{"coalitions", economy.CoalitionPlot(r.table)}})
		if err == nil && len(r.table.Holes()) > 0 {
			return exitCode(1)
		}
		return err
	}
}
