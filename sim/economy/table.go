package economy

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// Table is what the experiment shows.
type Table struct {
	Options Options  `json:"options"`
	Rows    []Row    `json:"rows"`
	Time    []Time   `json:"time"`
	Schemes []Scheme `json:"schemes"`
	// Committees that judged an exit, and how many of them lose less by lying
	// together than the cap on the value of a task of as many expected seats.
	Committees uint64 `json:"committees,string"`
	OverCap    uint64 `json:"over_cap,string"`
}

// Row finds what a strategy earns among the honest.
func (t Table) Row(strategy string, fault float64) (Row, bool) {
	for _, r := range t.Rows {
		if r.Rest == econHonest.name && r.Strategy == strategy && r.Fault == fault {
			return r, true
		}
	}
	return Row{}, false
}

// Even is the rate of faults at which a strategy earns what honesty does for a
// seat in a task; not ok if there is none between 0 and 1.
func (t Table) Even(strategy string) (fault float64, ok bool) {
	r, _ := t.Row(strategy, t.Options.Faults[0])
	if r.MoreGood == r.MoreBad {
		return 0, false
	}
	fault = r.MoreGood / (r.MoreGood - r.MoreBad)
	return fault, fault >= 0 && fault <= 1
}

var econColumns = []string{"rest", "strategy", "fault", "income", "band", "gain", "gain_band", "good", "faulty", "more_good", "more_bad", "rounds"}

func (r Row) fields() []string {
	f := func(x float64) string { return strconv.FormatFloat(x, 'f', 4, 64) }
	return []string{
		r.Rest, r.Strategy, f(r.Fault), f(r.Income), f(r.Band), f(r.Gain), f(r.GainBand),
		f(r.Good), f(r.Faulty), f(r.MoreGood), f(r.MoreBad), strconv.FormatUint(r.Rounds, 10),
	}
}

// WriteCSV writes the rows, with a line of names first.
func (t Table) WriteCSV(w io.Writer) error {
	all := [][]string{econColumns}
	for _, r := range t.Rows {
		all = append(all, r.fields())
	}
	return csv.NewWriter(w).WriteAll(all)
}

// WriteJSON writes all of it.
func (t Table) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(t)
}

// WriteText writes tables for people.
func (t Table) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(format string, args ...any) { fmt.Fprintf(out, format+"\t\n", args...) }
	line("φ\tthe rest\tstrategy\tincome per seat and round\tgain\tper seat in a good task\tin one with a bad executor")
	for _, r := range t.Rows {
		rest, gain := r.Rest, "–"
		if r.Strategy != r.Rest {
			gain = fmt.Sprintf("%+.2f ± %.2f", r.Gain, r.GainBand)
		}
		line("%.2f\t%s\t%s\t%+.2f ± %.2f\t%s\t%+.2f\t%+.2f", r.Fault, rest, r.Strategy, r.Income, r.Band, gain, r.Good, r.Faulty)
	}
	out.Flush()
	if len(t.Time) > 0 {
		line("\nφ\tin time\tincome per task and operator\tout of the draw\tnodes jailed\tbonds locked")
	}
	for _, r := range t.Time {
		line("%.2f\t%s\t%+.2f ± %.2f\t%.0f %%\t%d\t%.1f", r.Fault, r.Strategy, r.Income, r.Band, 100*r.Idle, r.Jailed, r.Locked)
	}
	out.Flush()
	if len(t.Schemes) > 0 {
		line("\nscheme\tvalue\tagainst\tpays")
	}
	for _, s := range t.Schemes {
		line("%s\t%+.1f ± %.1f\t%.1f\t%t", s.Name, s.Value, s.Band, s.Limit, s.Pays)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nAll money in units of c. %d of %d committees lose less by lying together than the cap on a task's value.\n", t.OverCap, t.Committees)
	return err
}
