package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/schema"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) nodeShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show [ID]", Short: "Print a node's stake and record with the cause of each change, or list all nodes",
		Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error { return a.nodeShow(c.Context(), args) },
	}
}

func (a *app) nodeShow(ctx context.Context, ids []string) error {
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	nodes, err := s.Node.Nodes(ctx)
	if err != nil {
		return err
	}
	v, height, err := s.Node.Values(ctx)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return a.nodeList(nodes, v, height)
	}
	i := slices.IndexFunc(nodes, func(n ledger.NodeRecord) bool {
		return len(ids[0]) >= 8 && strings.HasPrefix(n.Node.ID().String(), strings.ToLower(ids[0]))
	})
	if i < 0 {
		return task.Refuse("no-node", "no node %q on %s; give at least the first eight digits of its id", ids[0], s.Chain).WithNext("prytany node show")
	}
	return a.nodeRecord(ctx, s, nodes[i], v, height)
}

func (a *app) nodeList(nodes []ledger.NodeRecord, v ledger.Values, height uint64) error {
	var b strings.Builder
	rows := []nodeRow{}
	for _, n := range nodes {
		id := n.Node.ID()
		out := shutOutOf(n, v, height)
		rows = append(rows, nodeRow{id, n.Bond, n.Counts, n.Lost, n.JailedUntil, n.Renew, n.Lapsed, out})
		fmt.Fprintf(&b, "%s  bond %14s  lost %12s  %s\n", id, n.Bond, n.Lost, counted(n.Counts))
		if out != nil {
			fmt.Fprintf(&b, "  %s\n", out.text(height))
		}
	}
	return a.print(rows, b.String())
}

func (a *app) nodeRecord(ctx context.Context, s *client.Session, n ledger.NodeRecord, v ledger.Values, height uint64) error {
	id := n.Node.ID()
	log, err := s.Node.Log(ctx, task.Hash(id))
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "node %s\n  operator %s\n  at %s\n  TEE %s %s, TCB %d, program %s\n  runs %s on %s\n  bond %s", id, n.Node.Operator, n.Node.Addr, n.Node.TEE.Kind, n.Node.TEE.Identity.Short(), n.Profile.TCB, n.Profile.Measurement.Short(), strings.Join(n.Node.Runtimes, ", "), n.Node.Arch, n.Bond)
	for _, u := range n.Unbonding {
		fmt.Fprintf(&b, ", %s come back at block %d", u.Amount, u.Height)
	}
	h := s.Node.Height()
	if n.JailedUntil > h {
		fmt.Fprintf(&b, "\n  JAILED until block %d, now is %d", n.JailedUntil, h)
	}
	switch {
	case n.Lapsed:
		fmt.Fprintf(&b, "\n  LAPSED: it has not shown its machine in time and draws nothing, now is block %d", h)
	case n.Renew > 0:
		fmt.Fprintf(&b, "\n  shows its machine again by block %d, now is %d", n.Renew, h)
	}
	if !n.Before.IsZero() {
		fmt.Fprintf(&b, "\n  its machine was node %s before, whose record it has taken over", n.Before)
	}
	out := shutOutOf(n, v, height)
	if out != nil {
		fmt.Fprintf(&b, "\n  %s", out.text(height))
	}
	fmt.Fprintf(&b, "\n  false OKs since the last jail: %d\n  lost of its bond: %s\n  record: %s\n", n.Misses, n.Lost, counted(n.Counts))
	changes(&b, log)
	return a.print(nodeShown{n, log, out}, b.String())
}

func (a *app) funcShow(ctx context.Context, name string) error {
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	f, err := s.FindFunction(ctx, name)
	if err != nil {
		return err
	}
	id, m := f.Function.ID(), f.Function.Manifest
	log, err := s.Node.Log(ctx, task.Hash(id))
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "function %s\n  %s %s: %s\n  by %s, royalty %s, free bond %s\n  record: %s\n  %s\n",
		id, m.Name, m.Version, m.Description, f.Function.Owner, m.Royalty, f.Bond, counted(f.Counts), successWords(f))
	params, err := s.Node.Params(ctx)
	if err != nil {
		return err
	}
	b.WriteString("  " + gasWords(m) + "\n")
	shows, all := capacity(m)
	b.WriteString("  " + capacityWords(shows, all, params.MaxViews) + "\n  " + boundWords(m) + "\n")
	fmt.Fprintf(&b, "  takes tasks that machines with %s of the stake, or more, can work for\n", percent(m.Suited()))
	if m.Policy != nil {
		b.WriteString("  " + policyWords(*m.Policy) + "\n")
	}
	for _, w := range m.Weaknesses() {
		fmt.Fprintf(&b, "  weakness %s: %s\n", w, ledger.Weakness(w))
	}
	changes(&b, log)
	ppm, runs := f.Success()
	return a.print(funcShown{f, log, ppm, runs, shows, all}, b.String())
}

// policyWords are what an owner asks of enclaves and of those who judge them.
func policyWords(p task.Policy) string {
	parts := []string{fmt.Sprintf("evidence: %s or better", p.MinTier)}
	if len(p.Kinds) > 0 {
		parts = append(parts, "of kind "+strings.Join(p.Kinds, ", "))
	}
	if len(p.Measurements) > 0 {
		parts = append(parts, fmt.Sprintf("of %d programs", len(p.Measurements)))
	}
	if p.MinTCB > 0 {
		parts = append(parts, fmt.Sprintf("TCB %#x or newer", p.MinTCB))
	}
	if p.MaxKindPPM > 0 {
		parts = append(parts, fmt.Sprintf("at most %s of a quorum with one kind of TEE", percent(p.MaxKindPPM)))
	}
	if p.MaxOperatorPPM > 0 {
		parts = append(parts, fmt.Sprintf("at most %s of one operator, and none of the executor's own", percent(p.MaxOperatorPPM)))
	}
	return strings.Join(parts, "; ")
}

// gasWords are what a run with all the function's gas is paid for: what it uses is
// the function's affair, what it costs is Alice's.
func gasWords(m task.Manifest) string {
	least, most := m.ShownGas(m.Limits.Gas, 0), m.Limits.Gas
	costs := func(gas uint64) string {
		if cost, ok := task.GasCost(gas, client.GasPrice); ok {
			return cost.String()
		}
		return "more than there is"
	}
	return fmt.Sprintf("a run is paid for %d to %d gas, at the usual price %s to %s; wall limit %s",
		least, most, costs(least), costs(most), time.Duration(m.Limits.WallMillis)*time.Millisecond)
}

// channel is what one thing that is public of a run can carry.
type channel struct {
	task.Channel
	Bits float64 `json:"bits"`
}

// capacity is what a function's code can say to the chain by one run with all its
// gas (spec §9.8).
func capacity(m task.Manifest) (list []channel, all float64) {
	for _, c := range m.Channels(m.Limits.Gas) {
		bits := math.Log2(float64(c.Values))
		list, all = append(list, channel{c, bits}), all+bits
	}
	return list, all
}

func capacityWords(list []channel, all float64, views uint32) string {
	var parts []string
	for _, c := range list {
		parts = append(parts, fmt.Sprintf("%s %.1f", c.Name, c.Bits))
	}
	return fmt.Sprintf("of Alice's data a run can tell the chain %.1f bits at most (%s), and %.1f more if it is out of time and run again", all, strings.Join(parts, ", "), math.Log2(float64(views)))
}

// boundWords say how much the outputs of a function can say, if that is bounded.
func boundWords(m task.Manifest) string {
	all, err := schema.Of(m)
	if err != nil || len(all) == 0 {
		return "an output of this function can say anything of what it reads"
	}
	bits := uint64(0)
	for _, s := range all {
		bits += s.Bits()
	}
	return fmt.Sprintf("what Alice gets is held to a schema, and says %d bits at most", bits)
}

func counted[K interface {
	cmp.Ordered
	fmt.Stringer
}](counts map[K]uint64) string {
	if len(counts) == 0 {
		return "nothing yet"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return strings.Join(parts, ", ")
}

// changes writes the last lines of a record.
func changes(b *strings.Builder, log []ledger.Change) {
	const most = 40
	if over := len(log) - most; over > 0 {
		fmt.Fprintf(b, "  … %d older changes; --json has all\n", over)
		log = log[over:]
	}
	for _, c := range log {
		about := "task " + c.Task.Short()
		if c.Task.IsZero() {
			about = "the machine  "
		}
		what := c.Cause.String()
		if c.Outcome != 0 { // of a function
			what = c.Outcome.String()
		}
		fmt.Fprintf(b, "  block %-7d %s  %s", c.Height, about, what)
		if c.Lost > 0 {
			fmt.Fprintf(b, ", lost %s", c.Lost)
		}
		b.WriteString("\n")
	}
}

func successWords(f ledger.FunctionRecord) string {
	ppm, runs := f.Success()
	if runs == 0 {
		return "it has no finished runs yet"
	}
	return fmt.Sprintf("%.1f %% of its %d finished runs ended well", float64(ppm)/1e4, runs)
}

// poor is the success rate below which Alice is warned, in parts per million,
// once there are a few runs to judge by.
const (
	poor    = 800_000
	poorMin = 3
)

// trackRecord tells Alice of a function's bad record before she pays, and
// refuses what she does not want.
func (a *app) trackRecord(f ledger.FunctionRecord, least float64) error {
	ppm, runs := f.Success()
	if least > 0 && (runs == 0 || float64(ppm) < least*1e6) {
		return task.Refuse("function-record", "%s; you ask for at least %.1f %%", successWords(f), least*100).
			WithMoney("nothing is locked").WithNext("prytany func show %s, or a lower --min-success", f.Function.ID().Short())
	}
	if runs >= poorMin && ppm < poor {
		a.say("%s %s: prytany func show %s", a.paint(amber, "warning:"), successWords(f), f.Function.ID().Short())
	}
	return nil
}
