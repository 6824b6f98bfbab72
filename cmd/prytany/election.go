package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/sim/election"
	"github.com/spf13/cobra"
)

func (a *app) electionCommand() *cobra.Command {
	var (
		o       election.Options
		stakes  string
		seats   []uint
		results export
	)
	c := &cobra.Command{
		Use:   "election",
		Short: "Draw committees of up to a million workers, and count those that a hostile part of the stake captures",
		Long: "Seats are drawn by the real sortition, once for each worker and committee. The draws come from a seeded\n" +
			"generator and not from VRFs: a million VRFs would take a minute for each committee.\n" +
			"A committee of n seats is blocked by more than ⌊(n−1)/3⌋ hostile ones and decided by n−⌊(n−1)/3⌋.\n" +
			"Beside each rate stand its 95 % band and the exact probability.",
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Stakes, o.Seats = election.Stakes(stakes), nil
			for _, n := range seats {
				o.Seats = append(o.Seats, uint32(min(n, 1<<32-1)))
			}
			if err := o.Check(); err != nil {
				return usage("%v", err).WithNext("%s --help", c.CommandPath())
			}
			return a.into(results, func() error { return a.election(c.Context(), o, results) })
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.Seed, "seed", 0, "what all draws come from")
	f.IntVar(&o.Workers, "workers", 10_000, "how many workers, up to 1,000,000")
	f.StringVar(&stakes, "stakes", string(election.Pareto), "how stake is spread: equal, uniform or pareto (the r-th richest has 1/r of the richest)")
	f.Float64SliceVar(&o.Hostile, "hostile", []float64{0.2, 0.25, 0.33}, "shares of the stake that are hostile, 0 to 1")
	f.UintSliceVar(&seats, "seats", []uint{5, 13, 20, 50, 100}, "expected committee sizes, 1 to 4096")
	f.Uint32Var(&o.MinSeats, "min-seats", client.MinSeats, "fewer seats are drawn again")
	f.IntVar(&o.Draws, "draws", 1000, "committees of each size")
	results.flags(c)
	return c
}

// electionReport is what came of the elections, with what was asked.
type electionReport struct {
	Seed     uint64          `json:"seed,string"`
	Workers  int             `json:"workers,string"`
	Stakes   election.Stakes `json:"stakes"`
	MinSeats uint32          `json:"min_seats"`
	Draws    int             `json:"draws,string"`
	election.Result
}

func (a *app) election(ctx context.Context, o election.Options, x export) error {
	p := a.progress(uint64(o.Draws)*uint64(len(o.Seats)), "committees")
	o.Drawn = p.step
	done := make(chan election.Result, 1)
	go func() { done <- election.Run(o) }()
	var r electionReport
	select {
	case <-ctx.Done():
		p.end()
		return ctx.Err()
	case result := <-done:
		p.end()
		r = electionReport{o.Seed, o.Workers, o.Stakes, o.MinSeats, o.Draws, result}
	}
	charts := []chart{
		{"blocked", election.CapturePlot(r.Sizes, o.MinSeats, false)},
		{"decided", election.CapturePlot(r.Sizes, o.MinSeats, true)},
	}
	for _, s := range r.Sizes {
		charts = append(charts, chart{fmt.Sprintf("committee-%d", s.Tau), election.CommitteePlot(s)})
	}
	return a.report(x, r, r.text(), r.table(), charts)
}

// text is the result for people.
func (r electionReport) text() string {
	sizes := [][]string{{"expected", "mean", "variance", fmt.Sprintf("under %d seats [95 %%]", r.MinSeats), "exact"}}
	captures := [][]string{{"expected", "hostile", "blocked [95 %]", "exact", "decided [95 %]", "exact"}}
	for _, s := range r.Sizes {
		exact := election.Exact(s.Tau, 0, r.MinSeats)
		sizes = append(sizes, []string{fmt.Sprint(s.Tau), fmt.Sprintf("%.2f", s.Mean), fmt.Sprintf("%.2f", s.Variance), rate(s.Small), digits(exact.Small)})
		for _, c := range s.Captures {
			captures = append(captures, []string{
				fmt.Sprint(s.Tau), fmt.Sprintf("%.2f %%", 100*c.Share),
				rate(c.Blocks), digits(c.Exact.Blocks), rate(c.Decides), digits(c.Exact.Decides),
			})
		}
	}
	return fmt.Sprintf("%d workers, %s stakes, the richest with %.3g %% of all; %d committees of each size, seed %d\n"+
		"Draws are from a seeded generator and not from VRFs. Captures are shares of the committees with at least %d seats.\n\n%s\n%s",
		r.Workers, r.Stakes, 100*r.Largest, r.Draws, r.Seed, r.MinSeats, textTable(sizes), textTable(captures))
}

// rate writes a rate with its band.
func rate(r election.Rate) string {
	low, high := r.Band(election.Z95)
	return fmt.Sprintf("%s [%s, %s]", digits(r.Value()), digits(low), digits(high))
}

// digits writes a probability to three digits.
func digits(p float64) string { return strconv.FormatFloat(p, 'g', 3, 64) }

// table is the result for programs: a row for each size and share.
func (r electionReport) table() [][]string {
	rows := [][]string{{
		"seats", "draws", "mean", "variance", "hostile", "share",
		"too_small", "too_small_low", "too_small_high", "too_small_exact",
		"blocks", "blocks_low", "blocks_high", "blocks_exact",
		"decides", "decides_low", "decides_high", "decides_exact",
	}}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	for _, s := range r.Sizes {
		for _, c := range s.Captures {
			row := []string{fmt.Sprint(s.Tau), fmt.Sprint(r.Draws), number(s.Mean), number(s.Variance), number(c.Hostile), number(c.Share)}
			for _, x := range []struct {
				drawn election.Rate
				exact float64
			}{{s.Small, c.Exact.Small}, {c.Blocks, c.Exact.Blocks}, {c.Decides, c.Exact.Decides}} {
				low, high := x.drawn.Band(election.Z95)
				row = append(row, number(x.drawn.Value()), number(low), number(high), number(x.exact))
			}
			rows = append(rows, row)
		}
	}
	return rows
}
