package economy

import (
	"fmt"

	"github.com/prytany/prytany/sim/plot"
)

// IncomePlot shows what each strategy gains over honesty among the honest, at
// each rate of faults, with its 95 % band.
func IncomePlot(t Table) plot.Plot {
	p := plot.Plot{Title: "Gain over honesty among the honest, a seat and round", X: "strategy", Y: "units of the cost of one check"}
	for _, fault := range t.Options.Faults {
		s := plot.Series{Name: fmt.Sprintf("faults %.3g %%", 100*fault), Kind: plot.Bars}
		for _, m := range econMinds {
			r, ok := t.Row(m.name, fault)
			if !ok {
				continue
			}
			if len(p.Series) == 0 {
				p.Names = append(p.Names, m.name)
			}
			s.Points = append(s.Points, plot.Point{X: float64(len(s.Points)), Y: r.Gain, Low: r.Gain - r.GainBand, High: r.Gain + r.GainBand})
		}
		p.Series = append(p.Series, s)
	}
	return p
}
