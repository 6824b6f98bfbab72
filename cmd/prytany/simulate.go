package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sim"
	"github.com/prytany/prytany/sim/plot"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) simulateCommand() *cobra.Command {
	var o campaign
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Run whole networks in virtual time, with faults and liars, and check what must hold",
		Long: "Each seed is a world: workers, owners, a chain, a bad network and liars, around the production code.\n" +
			"The same seed gives the same world. Exit code 0: everything held in every world. 1: something did not.",
		Example: "  prytany simulate --seeds 1000\n  prytany simulate --for 10m --svg plots\n  prytany simulate --seed 123\n  prytany simulate election --help",
		Args:    none,
		RunE: func(c *cobra.Command, _ []string) error {
			f := c.Flags()
			if o.replay = f.Changed("seed"); o.replay {
				for _, other := range []string{"seeds", "from", "for"} {
					if f.Changed(other) {
						return usage("--seed replays one seed; --%s is for many", other)
					}
				}
				o.From, o.limit = o.seed, 1
			} else if o.wall > 0 && !f.Changed("seeds") {
				o.limit = 1<<63 - 1
			}
			o.run = sim.Run
			debug.SetGCPercent(400) // worlds are small, and many
			return a.simulate(c.Context(), o)
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.seed, "seed", 0, "replay this one seed, and write all that happens to stdout")
	f.Uint64Var(&o.limit, "seeds", 100, "how many seeds to run (with --for: no limit, unless given)")
	f.Uint64Var(&o.From, "from", 0, "the first seed")
	f.DurationVar(&o.wall, "for", 0, "start no more seeds after this time")
	f.BoolVar(&o.Calm, "calm", false, "no fault of network, disk or machine")
	f.BoolVar(&o.Honest, "honest", false, "no liar")
	f.IntVar(&o.Workers, "workers", 0, "workers of each world, 4 to 64 (default: the seed decides)")
	f.IntVar(&o.Tasks, "tasks", 0, "tasks of each world, 1 to 1000 (default: the seed decides)")
	f.Uint32Var(&o.Seats, "seats", 0, "expected seats on each committee, 2 to 200 (default: the seed decides)")
	f.Float64Var(&o.Hostile, "hostile", 0, "the most of the stake that lies, 0 to 1 (default: a third, in some worlds more)")
	f.StringVar(&o.Lie, "lie", "", "what all liars do: "+strings.Join(sim.Lies(), ", ")+" (default: the seed decides)")
	f.Float64Var(&o.Loss, "loss", 0, "share of messages lost while there are faults, 0 to 1 (default: the seed decides)")
	f.Uint64Var(&o.Delay, "delay", 0, "milliseconds of a message, one way (default: the seed decides)")
	o.export.flags(c)
	c.AddCommand(a.electionCommand(), a.economyCommand())
	return c
}

// campaign is many seeds to run with the same options, and then what came of
// them. Its JSON does not depend on the machine.
type campaign struct {
	seed   uint64
	limit  uint64        // of seeds
	wall   time.Duration // 0: no limit
	replay bool
	export export
	log    io.Writer // the transcript of a replay; nil for none
	run    func(uint64, sim.Options) sim.Result

	From       uint64                      `json:"from,string"`
	Calm       bool                        `json:"calm"`
	Honest     bool                        `json:"honest"`
	Workers    int                         `json:"workers,string"` // 0: the seed decides
	Tasks      int                         `json:"tasks,string"`   // 0: the seed decides, here and above
	Seats      uint32                      `json:"seats,omitempty"`
	Hostile    float64                     `json:"hostile,omitempty"`
	Lie        string                      `json:"lie,omitempty"`
	Loss       float64                     `json:"loss,omitempty"`
	Delay      uint64                      `json:"delay_ms,omitempty,string"`
	Seeds      int                         `json:"seeds,string"` // that ran
	Blocks     uint64                      `json:"blocks,string"`
	Events     uint64                      `json:"events,string"`
	Millis     uint64                      `json:"virtual_ms,string"`
	Outcomes   task.Counts[ledger.Outcome] `json:"outcomes"` // of tasks
	Slashes    task.Counts[ledger.Cause]   `json:"slashes"`
	Latency    latency                     `json:"latency"`
	Trace      task.Hash                   `json:"trace"` // SHA-256 over the traces of all seeds, in order
	Violations []violation                 `json:"violations"`
}

// latency is from posting to settlement, of tasks that ended well, in virtual
// milliseconds.
type latency struct {
	Tasks int    `json:"tasks,string"`
	P50   uint64 `json:"p50_ms,string"`
	P95   uint64 `json:"p95_ms,string"`
}

// violation is a seed in which something did not hold.
type violation struct {
	Seed   uint64 `json:"seed,string"`
	What   string `json:"invariant"`
	Replay string `json:"replay"` // the command that shows it
}

func (a *app) simulate(ctx context.Context, o campaign) error {
	switch {
	case o.Workers != 0 && (o.Workers < 4 || o.Workers > 64):
		return usage("--workers is %d, want 4 to 64", o.Workers)
	case o.Tasks < 0 || o.Tasks > 1000:
		return usage("--tasks is %d, want 1 to 1000", o.Tasks)
	case o.limit == 0 || o.wall < 0:
		return usage("no seed to run").WithNext("prytany simulate --seeds 100")
	}
	if err := o.options().Check(); err != nil {
		return usage("%v", err).WithNext("prytany simulate --help")
	}
	return a.into(o.export, func() error {
		transcript := bufio.NewWriter(a.out)
		if o.replay && !a.json && !o.export.csv {
			o.log = transcript
		}
		results := o.play(ctx, a.progress(o.limit, "seeds"))
		if err := transcript.Flush(); err != nil {
			return err
		}
		o.sum(results)
		var all []uint64
		for _, r := range results {
			all = append(all, r.Latency...)
		}
		rows := o.rows()
		text := textTable(rows) + o.complaints()
		if o.log != nil {
			text = "\n" + text
		}
		err := a.report(o.export, o, text, append([][]string{{"what", "value"}}, rows...),
			[]chart{{"latency", sim.LatencyPlot(all)}})
		if err == nil && len(o.Violations) > 0 {
			return exitCode(1)
		}
		return err
	})
}

func (o *campaign) options() sim.Options {
	return sim.Options{
		Calm: o.Calm, Honest: o.Honest, Workers: o.Workers, Tasks: o.Tasks, Seats: o.Seats, Hostile: o.Hostile,
		Lie: o.Lie, Loss: o.Loss, Delay: o.Delay, Log: o.log,
	}
}

// play runs the seeds on all cores, and gives the results in the order of the
// seeds: whenever it ends, they are all from the first to some last one.
func (o *campaign) play(ctx context.Context, p *progress) (results []sim.Result) {
	defer p.end()
	if o.wall > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.wall)
		defer cancel()
	}
	var (
		mu   sync.Mutex
		done sync.WaitGroup
	)
	// The first seed always runs: a time too short for one says nothing.
	next := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		i = len(results)
		if uint64(i) >= o.limit || i > 0 && ctx.Err() != nil {
			return 0, false
		}
		results = append(results, sim.Result{})
		return i, true
	}
	for range min(uint64(runtime.GOMAXPROCS(0)), o.limit) {
		done.Go(func() {
			for i, ok := next(); ok; i, ok = next() {
				r := o.run(o.From+uint64(i), o.options())
				mu.Lock()
				results[i] = r
				mu.Unlock()
				p.step()
			}
		})
	}
	done.Wait()
	return results
}

// sum adds the results up.
func (o *campaign) sum(results []sim.Result) {
	o.Seeds, o.Outcomes, o.Slashes, o.Violations = len(results), map[ledger.Outcome]uint64{}, map[ledger.Cause]uint64{}, []violation{}
	var all []uint64
	trace := sha256.New()
	for _, r := range results {
		o.Blocks, o.Events, o.Millis = o.Blocks+r.Blocks, o.Events+r.Events, o.Millis+r.Millis
		for k, n := range r.Outcomes {
			o.Outcomes[k] += n
		}
		for k, n := range r.Slashes {
			o.Slashes[k] += n
		}
		all = append(all, r.Latency...)
		trace.Write(r.Trace[:])
		if r.Violation != "" {
			o.Violations = append(o.Violations, violation{r.Seed, r.Violation, o.command(r.Seed)})
		}
	}
	slices.Sort(all)
	o.Latency = latency{len(all), percentile(all, 50), percentile(all, 95)}
	o.Trace = task.Hash(trace.Sum(nil))
}

// percentile is the least of the sorted values that p per cent do not exceed;
// 0 if there are none.
func percentile(sorted []uint64, p int) uint64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// command is what replays a seed of this campaign.
func (o *campaign) command(seed uint64) string {
	s := fmt.Sprintf("prytany simulate --seed %d", seed)
	if o.Calm {
		s += " --calm"
	}
	if o.Honest {
		s += " --honest"
	}
	if o.Workers != 0 {
		s += fmt.Sprintf(" --workers %d", o.Workers)
	}
	if o.Tasks != 0 {
		s += fmt.Sprintf(" --tasks %d", o.Tasks)
	}
	if o.Seats != 0 {
		s += fmt.Sprintf(" --seats %d", o.Seats)
	}
	if o.Lie != "" {
		s += " --lie " + o.Lie
	}
	for _, share := range []struct {
		flag  string
		value float64
	}{{"hostile", o.Hostile}, {"loss", o.Loss}} {
		if share.value != 0 {
			s += fmt.Sprintf(" --%s %v", share.flag, share.value)
		}
	}
	if o.Delay != 0 {
		s += fmt.Sprintf(" --delay %d", o.Delay)
	}
	return s
}

// rows are the table of the campaign.
func (o *campaign) rows() [][]string {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	rows := [][]string{
		{"first seed", number(o.From)},
		{"seeds", number(uint64(o.Seeds))},
		{"blocks", number(o.Blocks)},
		{"events", number(o.Events)},
		{"virtual ms", number(o.Millis)},
	}
	rows = append(rows, counts("tasks", o.Outcomes)...)
	rows = append(rows, counts("slashes", o.Slashes)...)
	return append(rows, [][]string{
		{"latency p50 ms", number(o.Latency.P50)},
		{"latency p95 ms", number(o.Latency.P95)},
		{"trace", o.Trace.String()},
		{"violations", strconv.Itoa(len(o.Violations))},
	}...)
}

// counts are rows of a total and its parts.
func counts[K interface {
	comparable
	fmt.Stringer
}](name string, of map[K]uint64) [][]string {
	var parts [][]string
	var total uint64
	for k, n := range of {
		parts = append(parts, []string{name + " " + k.String(), strconv.FormatUint(n, 10)})
		total += n
	}
	slices.SortFunc(parts, func(a, b []string) int { return slices.Compare(a, b) })
	return append([][]string{{name, strconv.FormatUint(total, 10)}}, parts...)
}

// complaints say in words what did not hold.
func (o *campaign) complaints() string {
	var b bytes.Buffer
	for _, v := range o.Violations {
		fmt.Fprintf(&b, "\nseed %d violates: %s\n  replay: %s\n", v.Seed, v.What, v.Replay)
	}
	return b.String()
}

// export is where and how a simulation's result goes.
type export struct {
	csv      bool
	svg, out string
}

func (x *export) flags(c *cobra.Command) {
	c.Flags().BoolVar(&x.csv, "csv", false, "write the table as CSV")
	c.Flags().StringVar(&x.svg, "svg", "", "write plots into this directory")
	c.Flags().StringVar(&x.out, "out", "", "write the result to this file in place of stdout")
}

// chart is a plot and the name of its file.
type chart struct {
	name string
	plot plot.Plot
}

// into calls do with stdout going where x says.
func (a *app) into(x export, do func() error) error {
	if a.json && x.csv {
		return usage("--json and --csv exclude each other")
	}
	if x.out == "" {
		return do()
	}
	f, err := os.Create(x.out)
	if err != nil {
		return task.Refuse("could-not", "%v", err)
	}
	stdout := a.out
	a.out = f
	defer func() { a.out = stdout }()
	return errors.Join(do(), f.Close())
}

// report writes a result as JSON, CSV or text, and its plots.
func (a *app) report(x export, v any, text string, table [][]string, charts []chart) error {
	if x.svg != "" {
		if err := os.MkdirAll(x.svg, 0o755); err != nil {
			return task.Refuse("could-not", "%v", err)
		}
		for _, c := range charts {
			file := filepath.Join(x.svg, c.name+".svg")
			if err := os.WriteFile(file, c.plot.SVG(), 0o644); err != nil {
				return task.Refuse("could-not", "%v", err)
			}
			a.say("wrote %s", file)
		}
	}
	if x.csv {
		return csv.NewWriter(a.out).WriteAll(table)
	}
	return a.print(v, text)
}

// textTable aligns the columns.
func textTable(rows [][]string) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // into memory
	return b.String()
}

// progress is a bar on a terminal, for what takes longer than a second.
type progress struct {
	mu          sync.Mutex
	done, total uint64
	stop        func() // nil if nothing is shown
}

func (a *app) progress(total uint64, what string) *progress {
	p := &progress{total: total}
	f, ok := a.err.(*os.File)
	if a.quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	p.stop = func() { close(quit); <-ended }
	start := time.Now()
	go func() {
		defer close(ended)
		defer fmt.Fprint(a.err, "\r\x1b[K")
		for wait := time.Second; ; wait = time.Second / 5 {
			select {
			case <-quit:
				return
			case <-time.After(wait):
				fmt.Fprintf(a.err, "\r\x1b[K%s %s", p.bar(), a.paint(dim, what+", "+time.Since(start).Round(time.Second).String()))
			}
		}
	}()
	return p
}

// step counts one more as done. It may be called from many goroutines.
func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
}

func (p *progress) end() {
	if p.stop != nil {
		p.stop()
	}
}

// bar is how far it is, if that is known.
func (p *progress) bar() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total > 1<<62 { // as long as the time lasts
		return strconv.FormatUint(p.done, 10)
	}
	const width = 24
	full := int(p.done * width / max(1, p.total))
	return fmt.Sprintf("[%s%s] %d of %d", bytes.Repeat([]byte("#"), full), bytes.Repeat([]byte("."), width-full), p.done, p.total)
}
