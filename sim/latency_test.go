package sim

import (
	"fmt"
	"slices"
	"testing"
)

// BenchmarkWait is what Alice waits for in virtual time, from the posting of a task
// to its result on the chain, among honest people 25 ms apart.
func BenchmarkWait(b *testing.B) {
	for _, interval := range []uint64{25, 100, 250} {
		b.Run(fmt.Sprint("interval-", interval), func(b *testing.B) {
			var waits []uint64
			var enclaves, tasks uint64
			for seed := range uint64(b.N) {
				r := Run(seed, Options{Calm: true, Honest: true, Workers: 10, Tasks: 3, Seats: 16, Delay: 25, Interval: interval})
				if r.Violation != "" {
					b.Fatalf("seed %d: %s", seed, r.Violation)
				}
				waits, enclaves, tasks = append(waits, r.Waited...), enclaves+r.Enclaves, tasks+3
			}
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2]), "p50-virtual-ms")
			b.ReportMetric(float64(waits[len(waits)*95/100]), "p95-virtual-ms")
			b.ReportMetric(float64(enclaves)/float64(tasks), "enclaves/task")
		})
	}
}
