package election

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/sim/plot"
)

// CommitteePlot shows how many seats the committees of one size had, and how
// many of them the largest hostile share, beside the exact distributions.
func CommitteePlot(s Size) plot.Plot {
	p := plot.Plot{Title: fmt.Sprintf("Seats of committees, %d expected", s.Tau), X: "seats", Y: "share of committees"}
	add := func(name string, bars []uint64, mean float64) {
		var total uint64
		for _, n := range bars {
			total += n
		}
		drawn := make([]plot.Point, len(bars))
		for k, n := range bars {
			r := Rate{n, total}
			low, high := r.Band(Z95)
			drawn[k] = plot.Point{X: float64(k), Y: r.Value(), Low: low, High: high}
		}
		colour := 1 + len(p.Series)/2
		p.Series = append(p.Series, plot.Series{Name: name + ", drawn", Kind: plot.Bars, Points: drawn, Colour: colour}, plot.Series{Name: name + ", exact", Kind: plot.Line, Points: poissonPoints(mean, len(bars)), Colour: colour})
	}
	add("all", s.Committees, float64(s.Tau))
	if len(s.Captures) > 0 {
		c := slices.MaxFunc(s.Captures, func(a, b Capture) int { return int(1e9 * (a.Hostile - b.Hostile)) })
		add(fmt.Sprintf("hostile %s", plot.Percent(c.Hostile)), c.Held, float64(s.Tau)*c.Share)
	}
	return p
}

func poissonPoints(mean float64, n int) []plot.Point {
	d, points := poisson(mean), make([]plot.Point, n)
	for k := range points {
		points[k] = plot.Point{X: float64(k), Y: d.at(uint32(k))}
	}
	return points
}

// CapturePlot shows for each hostile share how likely it captures a committee
// of at least least seats, over the expected size: exact as lines, drawn as dots
// with their 95 % bands. decides says which kind of capture.
func CapturePlot(sizes []Size, least uint32, decides bool) plot.Plot {
	what := "can block a quorum"
	if decides {
		what = "are a quorum alone"
	}
	p := plot.Plot{Title: "How often the hostile seats " + what, X: "expected seats τ", Y: "share of committees", LogY: true}
	if len(sizes) == 0 {
		return p
	}
	low := slices.MinFunc(sizes, func(a, b Size) int { return int(a.Tau) - int(b.Tau) }).Tau
	high := slices.MaxFunc(sizes, func(a, b Size) int { return int(a.Tau) - int(b.Tau) }).Tau
	for i, c := range sizes[0].Captures {
		var exact, drawn []plot.Point
		for tau := low; tau <= high; tau += 1 + (high-low)/100 {
			exact = append(exact, plot.Point{X: float64(tau), Y: pickOdds(Exact(tau, c.Share, least), decides)})
		}
		for _, s := range sizes {
			r := s.Captures[i].Blocks
			if decides {
				r = s.Captures[i].Decides
			}
			from, to := r.Band(Z95)
			drawn = append(drawn, plot.Point{X: float64(s.Tau), Y: r.Value(), Low: from, High: to})
		}
		name := plot.Percent(c.Hostile)
		p.Series = append(p.Series,
			plot.Series{Name: name + ", exact", Kind: plot.Line, Points: exact, Colour: i + 1},
			plot.Series{Name: name + ", drawn", Kind: plot.Dots, Points: drawn, Colour: i + 1})
	}
	return p
}

func pickOdds(o Odds, decides bool) float64 {
	if decides {
		return o.Decides
	}
	return o.Blocks
}
