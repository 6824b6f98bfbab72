package sim

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/sim/plot"
)

// LatencyPlot shows how many of the tasks were settled within a time, in
// virtual milliseconds after their posting.
func LatencyPlot(millis []uint64) plot.Plot {
	sorted := slices.Sorted(slices.Values(millis))
	points := []plot.Point{{}}
	for i, ms := range sorted {
		points = append(points, plot.Point{X: float64(ms), Y: float64(i+1) / float64(len(sorted))})
	}
	return plot.Plot{
		Title: "From posting to settlement, tasks that ended well", X: "virtual milliseconds", Y: "share of tasks settled by then",
		Series: []plot.Series{{Name: fmt.Sprintf("%d tasks", len(sorted)), Kind: plot.Step, Points: points}},
	}
}
