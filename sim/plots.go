package sim

import (
	"fmt"
	"slices"
)

// CommitteePlot shows how many seats the committees of one size had, and how
// many of them the largest hostile share, beside the exact distributions.
func CommitteePlot(s Size) Plot {
	p := Plot{Title: fmt.Sprintf("Seats of committees, %d expected", s.Tau), X: "seats", Y: "share of committees"}
	add := func(name string, bars []uint64, mean float64) {
		var total uint64
		for _, n := range bars {
			total += n
		}
		drawn := make([]Point, len(bars))
		for k, n := range bars {
			r := Rate{n, total}
			low, high := r.Band(Z95)
			drawn[k] = Point{float64(k), r.Value(), low, high}
		}
		colour := 1 + len(p.Series)/2
		p.Series = append(p.Series, Series{name + ", drawn", Bars, drawn, colour}, Series{name + ", exact", Line, poissonPoints(mean, len(bars)), colour})
	}
	add("all", s.Committees, float64(s.Tau))
	if len(s.Captures) > 0 {
		c := slices.MaxFunc(s.Captures, func(a, b Capture) int { return int(1e9 * (a.Hostile - b.Hostile)) })
		add(fmt.Sprintf("hostile %s", percent(c.Hostile)), c.Held, float64(s.Tau)*c.Share)
	}
	return p
}

func poissonPoints(mean float64, n int) []Point {
	d, points := poisson(mean), make([]Point, n)
	for k := range points {
		points[k] = Point{X: float64(k), Y: d.at(uint32(k))}
	}
	return points
}

// CapturePlot shows for each hostile share how likely it captures a committee
// of at least least seats, over the expected size: exact as lines, drawn as dots
// with their 95 % bands. decides says which kind of capture.
func CapturePlot(sizes []Size, least uint32, decides bool) Plot {
	what := "can block a quorum"
	if decides {
		what = "are a quorum alone"
	}
	p := Plot{Title: "How often the hostile seats " + what, X: "expected seats τ", Y: "share of committees", LogY: true}
	if len(sizes) == 0 {
		return p
	}
	low := slices.MinFunc(sizes, func(a, b Size) int { return int(a.Tau) - int(b.Tau) }).Tau
	high := slices.MaxFunc(sizes, func(a, b Size) int { return int(a.Tau) - int(b.Tau) }).Tau
	for i, c := range sizes[0].Captures {
		var exact, drawn []Point
		for tau := low; tau <= high; tau += 1 + (high-low)/100 {
			exact = append(exact, Point{X: float64(tau), Y: pickOdds(Exact(tau, c.Share, least), decides)})
		}
		for _, s := range sizes {
			r := s.Captures[i].Blocks
			if decides {
				r = s.Captures[i].Decides
			}
			from, to := r.Band(Z95)
			drawn = append(drawn, Point{float64(s.Tau), r.Value(), from, to})
		}
		p.Series = append(p.Series, Series{percent(c.Hostile) + ", exact", Line, exact, i + 1}, Series{percent(c.Hostile) + ", drawn", Dots, drawn, i + 1})
	}
	return p
}

func pickOdds(o Odds, decides bool) float64 {
	if decides {
		return o.Decides
	}
	return o.Blocks
}

func percent(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }

// LatencyPlot shows how many of the tasks were settled within a time, in
// virtual milliseconds after their posting.
func LatencyPlot(millis []uint64) Plot {
	sorted := slices.Sorted(slices.Values(millis))
	points := []Point{{}}
	for i, ms := range sorted {
		points = append(points, Point{X: float64(ms), Y: float64(i+1) / float64(len(sorted))})
	}
	return Plot{
		Title: "From posting to settlement, tasks that ended well", X: "virtual milliseconds", Y: "share of tasks settled by then",
		Series: []Series{{Name: fmt.Sprintf("%d tasks", len(sorted)), Kind: Step, Points: points}},
	}
}

// IncomePlot shows what each strategy gains over honesty among the honest, at
// each rate of faults, with its 95 % band.
func IncomePlot(t EconomyTable) Plot {
	p := Plot{Title: "Gain over honesty among the honest, a seat and round", X: "strategy", Y: "units of the cost of one check"}
	for _, fault := range t.Options.Faults {
		s := Series{Name: fmt.Sprintf("faults %.3g %%", 100*fault), Kind: Bars}
		for _, m := range econMinds {
			r, ok := t.Row(m.name, fault)
			if !ok {
				continue
			}
			if len(p.Series) == 0 {
				p.Names = append(p.Names, m.name)
			}
			s.Points = append(s.Points, Point{X: float64(len(s.Points)), Y: r.Gain, Low: r.Gain - r.GainBand, High: r.Gain + r.GainBand})
		}
		p.Series = append(p.Series, s)
	}
	return p
}
