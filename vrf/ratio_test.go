package vrf

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkRatio measures Verify and Output beside the library in one
// run, in turns, and compares the middle times, so that what else the machine does
// counts little. output/prove is the loser's price against the winner's.
func BenchmarkRatio(b *testing.B) {
	k, alpha := key(1), make([]byte, 32)
	pk := k.Public()
	p, _ := k.Prove(alpha)
	ways := []func(){
		func() { _, _ = Verify(pk, alpha, p) },
		func() { _, _ = refVerify(pk, alpha, p) },
		func() { k.Output(alpha) },
		func() { refOutput(k, alpha) },
		func() { k.Prove(alpha) },
	}
	times := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, way := range ways {
			start := time.Now()
			way()
			times[i] = append(times[i], time.Since(start))
		}
	}
	middle := make([]float64, len(ways))
	for i := range times {
		slices.Sort(times[i])
		middle[i] = float64(times[i][len(times[i])/2])
	}
	b.ReportMetric(middle[0]/middle[1], "verify/library")
	b.ReportMetric(middle[2]/middle[3], "output/library")
	b.ReportMetric(middle[2]/middle[4], "output/prove")
	b.ReportMetric(middle[0]/1000, "verify-µs")
	b.ReportMetric(middle[2]/1000, "output-µs")
}
