package sim

import (
	"flag"
	"runtime"
	"sync"
	"testing"

	"github.com/prytany/prytany/ledger"
)

var many = flag.Uint64("seeds", 60, "how many worlds to play")

// each plays many seeds on all cores and calls do with every result, in order.
func each(from, n uint64, o Options, do func(Result)) {
	if testing.Short() {
		n = min(n, 8) // each takes a second beside the race detector
	}
	results := make([]Result, n)
	var wg sync.WaitGroup
	for k := range uint64(runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := k; i < n; i += uint64(runtime.GOMAXPROCS(0)) {
				results[i] = Run(from+i, o)
			}
		})
	}
	wg.Wait()
	for _, r := range results {
		do(r)
	}
}

// No invariant is violated, whatever fails and whoever lies.
func TestSeeds(t *testing.T) {
	each(0, *many, Options{}, func(r Result) {
		if r.Violation != "" {
			t.Errorf("seed %d: %s", r.Seed, r.Violation)
		}
	})
}

// Where nothing fails and nobody lies, every task ends as its run did, and
// nobody pays for anything.
func TestCalmAndHonest(t *testing.T) {
	each(0, *many/2, Options{Calm: true, Honest: true}, func(r Result) {
		if r.Violation != "" || len(r.Slashes) != 0 {
			t.Errorf("seed %d: %s, slashes %v", r.Seed, r.Violation, r.Slashes)
		}
		for o := range r.Outcomes {
			if o != ledger.Completed && o != ledger.FunctionFailed && o != ledger.NoCommittee {
				t.Errorf("seed %d: %v", r.Seed, r.Outcomes)
			}
		}
	})
}

// One seed is one trace, hash for hash, however many seeds run at once.
func TestOneSeedIsOneTrace(t *testing.T) {
	var first []Result
	each(0, *many, Options{}, func(r Result) { first = append(first, r) })
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	each(0, *many, Options{}, func(r Result) {
		if was := first[r.Seed]; r.Trace != was.Trace || r.Events != was.Events {
			t.Errorf("seed %d: %s after %d events, then %s after %d", r.Seed, was.Trace, was.Events, r.Trace, r.Events)
		}
	})
}

func BenchmarkWorld(b *testing.B) {
	for i := range b.N {
		Run(uint64(i), Options{})
	}
}
