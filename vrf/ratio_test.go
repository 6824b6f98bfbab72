package vrf

import (
	"testing"
	"time"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/ecvrf"
)

// BenchmarkRatio measures the loser's price against the winner's in one run, in
// alternation, so that a busy machine slows both. output/pi compares with the
// making of π alone, as the library does it, without the β that Prove adds.
func BenchmarkRatio(b *testing.B) {
	k, alpha := key(1), make([]byte, 32)
	var output, prove, pi time.Duration
	for b.Loop() {
		t0 := time.Now()
		k.Output(alpha)
		t1 := time.Now()
		k.Prove(alpha)
		t2 := time.Now()
		ecvrf.Prove(k.open().key, alpha)
		t3 := time.Now()
		output, prove, pi = output+t1.Sub(t0), prove+t2.Sub(t1), pi+t3.Sub(t2)
	}
	b.ReportMetric(float64(output)/float64(prove), "output/prove")
	b.ReportMetric(float64(output)/float64(pi), "output/pi")
}
