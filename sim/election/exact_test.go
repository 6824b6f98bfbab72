package election

import (
	"fmt"
	"math"
	"testing"

	"github.com/prytany/prytany/sortition"
)

// The test below makes some 60 comparisons. Each may fail by chance once in
// 60,000 times, so that all hold in 99.9 % of all seeds (Bonferroni).
const (
	perTest = 0.001 / 60
	zAll    = 4.307 // standard errors, two-sided
)

// What is drawn is what is computed: the mean and shape of committees, those too
// small, and those captured.
func TestExactAgreesWithElection(t *testing.T) {
	o := Options{
		Seed: 1, Workers: 2000, Stakes: Pareto, Hostile: []float64{0.20, 0.25, 0.33},
		Seats: []uint32{5, 13, 20, 50, 100}, MinSeats: 4, Draws: 20_000,
	}
	within := func(what string, r Rate, p float64) {
		if fewer, more := tails(r, p); fewer < perTest/2 || more < perTest/2 {
			low, high := r.Band(Z999)
			t.Errorf("%s: %d of %d is %.3g … %.3g, computed is %.4g", what, r.Count, r.Of, low, high, p)
		}
	}
	for _, s := range Run(o).Sizes {
		tau := float64(s.Tau)
		within(fmt.Sprintf("τ %d, too small", s.Tau), s.Small, s.Captures[0].Exact.Small)
		// A Poisson number has variance τ and fourth central moment τ + 3τ².
		n := float64(o.Draws)
		if e := math.Sqrt(tau / n); math.Abs(s.Mean-tau) > zAll*e {
			t.Errorf("τ %d: %.3f seats on average, more than %.3f off", s.Tau, s.Mean, zAll*e)
		}
		if e := math.Sqrt((tau + 2*tau*tau) / n); math.Abs(s.Variance-tau) > zAll*e {
			t.Errorf("τ %d: variance %.3f, more than %.3f off", s.Tau, s.Variance, zAll*e)
		}
		if x, limit := fit(s.Committees, tau); x > limit {
			t.Errorf("τ %d: seats are not Poisson: χ² is %.1f, want at most %.1f", s.Tau, x, limit)
		}
		for _, c := range s.Captures {
			if c.Share > c.Hostile || c.Share < c.Hostile-0.0001 {
				t.Errorf("hostile share is %v, want %v", c.Share, c.Hostile)
			}
			if x, limit := fit(c.Held, tau*c.Share); x > limit {
				t.Errorf("τ %d, %.2f hostile: their seats are not Poisson: χ² is %.1f, want at most %.1f", s.Tau, c.Hostile, x, limit)
			}
			within(fmt.Sprintf("τ %d, %.2f hostile, blocks", s.Tau, c.Hostile), c.Blocks, c.Exact.Blocks)
			within(fmt.Sprintf("τ %d, %.2f hostile, decides", s.Tau, c.Hostile), c.Decides, c.Exact.Decides)
		}
	}
}

// tails are the probabilities of so many or fewer, and of so many or more, if p
// is the probability of each: the exact binomial ones, since no normal band is
// good for one event of 20,000.
func tails(r Rate, p float64) (fewer, more float64) {
	lgamma := func(x uint64) float64 { y, _ := math.Lgamma(float64(x) + 1); return y }
	for k := range r.Of + 1 {
		q := math.Exp(lgamma(r.Of) - lgamma(k) - lgamma(r.Of-k) + float64(k)*math.Log(p) + float64(r.Of-k)*math.Log1p(-p))
		if k <= r.Count {
			fewer += q
		}
		if k >= r.Count {
			more += q
		}
	}
	return fewer, more
}

// fit is the χ² of a histogram against a Poisson distribution, over the bars
// that expect ten or more and one for the rest, and a limit that chance exceeds
// once in some 10^4 tests (Wilson and Hilferty).
func fit(bars []uint64, mean float64) (x, limit float64) {
	var total, restGot, freedom float64
	for _, n := range bars {
		total += float64(n)
	}
	restWant, restGot := total, total
	dist := poisson(mean)
	for k := dist.first; k <= dist.last(); k++ {
		want, got := total*dist.at(k), 0.0
		if int(k) < len(bars) {
			got = float64(bars[k])
		}
		if want >= 10 {
			x += (got - want) * (got - want) / want
			restWant, restGot, freedom = restWant-want, restGot-got, freedom+1
		}
	}
	if restWant > 1 {
		x += (restGot - restWant) * (restGot - restWant) / restWant
	}
	return x, freedom * math.Pow(1-2/(9*freedom)+3.72*math.Sqrt(2/(9*freedom)), 3)
}

// The sums against closed forms: the hostile seats h block if the honest ones
// are at most 2h, and decide if twice the honest ones are fewer than h.
func TestExactSums(t *testing.T) {
	for _, tau := range []uint32{1, 5, 13, 100, 1000} {
		for _, f := range []float64{0, 0.01, 0.2, 0.5, 0.99, 1} {
			for _, least := range []uint32{0, 2, 13} {
				bad, good := poisson(float64(tau)*f), poisson(float64(tau)*(1-f))
				var small, enough, blocks, decides float64
				for n, all := uint32(0), poisson(float64(tau)); n <= all.last(); n++ {
					if n < least {
						small += all.at(n)
					} else {
						enough += all.at(n)
					}
				}
				for h := bad.first; h <= bad.last(); h++ {
					for g := good.first; g <= good.last(); g++ {
						p := bad.at(h) * good.at(g) / enough
						if h+g >= least && h > 0 && g <= 2*h {
							blocks += p
						}
						if h+g >= least && h > 2*g {
							decides += p
						}
					}
				}
				got := Exact(tau, f, least)
				for i, pair := range [][2]float64{{got.Small, small}, {got.Blocks, blocks}, {got.Decides, decides}} {
					if math.Abs(pair[0]-pair[1]) > 1e-10*pair[1]+1e-290 {
						t.Errorf("τ %d, %.2f hostile, at least %d: number %d is %v, want %v", tau, f, least, i, pair[0], pair[1])
					}
				}
			}
		}
	}
	if o := Exact(5, 0.2, 100_000); o != (Odds{Small: o.Small}) || math.Abs(o.Small-1) > 1e-12 {
		t.Errorf("nothing is large enough: %+v", o)
	}
}

// Quorum arithmetic by its definition (spec §6.2).
func TestCaptured(t *testing.T) {
	for n := uint32(1); n < 200; n++ {
		f := (n - 1) / 3
		for h := range n + 1 {
			blocks, decides := captured(h, n)
			if blocks != (n-h < sortition.Quorum(n)) || blocks != (h > f) || decides != (h >= n-f) {
				t.Errorf("%d of %d: blocks %v, decides %v", h, n, blocks, decides)
			}
		}
	}
}
