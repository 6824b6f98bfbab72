package economy

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/prytany/prytany/sim/plot"
)

// WriteJSON writes all of it.
func (t CoalitionTable) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(t)
}

// WriteText writes tables for people, and says first whether anything pays.
func (t CoalitionTable) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%d plans of %d deviations, on %d chains with %d tasks, in %d rounds.\n\n", t.Plans, devCount, t.Chains, t.Tasks, t.Options.Rounds)
	if holes := t.Holes(); len(holes) > 0 {
		for _, f := range holes {
			fmt.Fprintf(w, "THIS PAYS: %s, by %s with %s of the stake: %+.2f ± %.2f c a task, %+.2f ± %.2f of it beyond what is known. Who loses: %s.\n",
				strings.Join(f.Deviations, " + "), strings.Join(f.Coalition, ", "), plot.Percent(f.Stake), f.Gain, f.Band, f.Beyond, f.BeyondBand, f.losers())
		}
	} else {
		fmt.Fprintf(w, "Nothing gains more than noise and %.2f c a task but what is known to, and that no more than it can.\n", t.Floor)
	}
	for _, l := range []struct {
		title string
		finds []CoalitionFind
	}{
		{"the best finds", t.Best},
		{"known to pay (spec)", t.Known},
		{"what costs others most for each c of one's own", t.Grief},
	} {
		if err := coalText(w, l.title, l.finds); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nMoney in units of c, a task, against the same people who keep to the rules on the same chains; ± is a 95 %% interval.\n")
	return err
}

func coalText(w io.Writer, title string, finds []CoalitionFind) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\n%s\tcoalition\tstake\tmarket\tgain\tmore than known\tothers lose\ta c of its own\twho\tburned\tblocks\n", title)
	for _, f := range finds {
		factor := "free"
		if f.Factor > 0 && f.Gain < -0.01 {
			factor = fmt.Sprintf("%.1f", f.Factor)
		}
		if f.Loss < 0.01 {
			factor = "–"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%+.2f ± %.2f\t%+.2f ± %.2f\t%.1f ± %.1f\t%s\t%s\t%+.1f\t%+.1f\n", strings.Join(f.Deviations, " + "), strings.Join(f.Coalition, ", "),
			plot.Percent(f.Stake), f.Market, f.Gain, f.Band, f.Beyond, f.BeyondBand, f.Loss, f.LossBand, factor, f.losers(), f.Burned, f.Blocks)
	}
	return out.Flush()
}

// losers are those who lose, most first.
func (f CoalitionFind) losers() string {
	var all []string
	names := slices.Sorted(maps.Keys(f.Others))
	slices.SortStableFunc(names, func(a, b string) int { return coalOrder(-f.Others[a], -f.Others[b]) })
	for _, name := range names {
		if lost := -f.Others[name]; lost >= 0.05 {
			all = append(all, fmt.Sprintf("%s %.1f", name, lost))
		}
	}
	if all == nil {
		return "nobody"
	}
	return strings.Join(all, ", ")
}

// Rows are the finds as a table, with a line of names first.
func (t CoalitionTable) Rows() [][]string {
	all := [][]string{{"list", "deviations", "coalition", "stake", "market", "gain", "band", "beyond", "beyond_band", "pays", "loss", "loss_band", "factor", "burned", "blocks", "jailed"}}
	n := func(x float64) string { return strconv.FormatFloat(x, 'f', 4, 64) }
	for _, l := range []struct {
		name  string
		finds []CoalitionFind
	}{{"best", t.Best}, {"known", t.Known}, {"grief", t.Grief}} {
		for _, f := range l.finds {
			all = append(all, []string{
				l.name, strings.Join(f.Deviations, "+"), strings.Join(f.Coalition, "+"), n(f.Stake), f.Market, n(f.Gain), n(f.Band), n(f.Beyond), n(f.BeyondBand),
				strconv.FormatBool(f.Pays), n(f.Loss), n(f.LossBand), n(f.Factor), n(f.Burned), n(f.Blocks), n(f.Jailed),
			})
		}
	}
	return all
}

// CoalitionPlot shows what the best finds, and what is known to pay, gain over
// honesty, each with its 95 % band. Bars stand by number, as the tables list them.
func CoalitionPlot(t CoalitionTable) plot.Plot {
	p := plot.Plot{Title: "What coalitions gain over honesty, a task", X: "finds, then what is known to pay, in the order of the table", Y: "units of the cost of one check"}
	all, beyond := plot.Series{Name: "in all", Kind: plot.Bars}, plot.Series{Name: "more than is known", Kind: plot.Bars}
	for _, f := range slices.Concat(t.Best, t.Known) {
		x := float64(len(p.Names))
		p.Names = append(p.Names, strconv.Itoa(len(p.Names)+1))
		all.Points = append(all.Points, plot.Point{X: x, Y: f.Gain, Low: f.Gain - f.Band, High: f.Gain + f.Band})
		beyond.Points = append(beyond.Points, plot.Point{X: x, Y: f.Beyond, Low: f.Beyond - f.BeyondBand, High: f.Beyond + f.BeyondBand})
	}
	p.Series = []plot.Series{all, beyond}
	return p
}
