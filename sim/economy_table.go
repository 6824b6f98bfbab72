package sim

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// EconomyTable is what the experiment shows.
type EconomyTable struct {
	Options EconomyOptions  `json:"options"`
	Rows    []EconomyRow    `json:"rows"`
	Schemes []EconomyScheme `json:"schemes"`
	// Committees that judged an exit, and how many of them would lose less by
	// lying together than the cap on their task's value.
	Committees uint64 `json:"committees"`
	OverCap    uint64 `json:"over_cap"`
}

// EconomyScheme is a plan of more than one account.
type EconomyScheme struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"` // in units of c
	Band   float64 `json:"band"`
	Limit  float64 `json:"limit"` // what Value must stay below, or above
	Honest bool    `json:"honest"`
	What   string  `json:"what"`
}

// Row finds a row.
func (t EconomyTable) Row(rest, strategy string, fault float64) (EconomyRow, bool) {
	for _, r := range t.Rows {
		if r.Rest == rest && r.Strategy == strategy && r.Fault == fault {
			return r, true
		}
	}
	return EconomyRow{}, false
}

var econColumns = []string{"rest", "strategy", "fault", "income", "band", "gain", "gain_band", "time", "time_band", "idle", "rounds", "jailed", "locked"}

func (r EconomyRow) fields() []string {
	f := func(x float64) string { return strconv.FormatFloat(x, 'f', 4, 64) }
	return []string{
		r.Rest, r.Strategy, f(r.Fault), f(r.Income), f(r.Band), f(r.Gain), f(r.GainBand), f(r.Time), f(r.TimeBand), f(r.Idle),
		strconv.FormatUint(r.Rounds, 10), strconv.FormatUint(r.Jailed, 10), f(r.Locked),
	}
}

// WriteCSV writes the rows, with a line of names first.
func (t EconomyTable) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	all := [][]string{econColumns}
	for _, r := range t.Rows {
		all = append(all, r.fields())
	}
	return out.WriteAll(all)
}

// WriteJSON writes all of it.
func (t EconomyTable) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(t)
}

// WriteText writes a table for people.
func (t EconomyTable) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "φ\trest\tstrategy\tincome per seat and round\tgain over the rest\tincome per task\tidle\tjailed\tlocked\t")
	for _, r := range t.Rows {
		gain := "–"
		if r.Gain != 0 || r.GainBand != 0 {
			gain = fmt.Sprintf("%+.2f ± %.2f", r.Gain, r.GainBand)
		}
		fmt.Fprintf(out, "%.2f\t%s\t%s\t%+.2f ± %.2f\t%s\t%+.2f ± %.2f\t%.0f %%\t%d\t%.1f\t\n",
			r.Fault, r.Rest, r.Strategy, r.Income, r.Band, gain, r.Time, r.TimeBand, 100*r.Idle, r.Jailed, r.Locked)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, s := range t.Schemes {
		verdict := "does not pay"
		if !s.Honest {
			verdict = "PAYS"
		}
		if _, err := fmt.Fprintf(w, "%s: %+.1f ± %.1f c, limit %.1f c: %s. %s\n", s.Name, s.Value, s.Band, s.Limit, verdict, s.What); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d of %d committees lose less by lying together than the cap on a task's value.\n", t.OverCap, t.Committees)
	return err
}
