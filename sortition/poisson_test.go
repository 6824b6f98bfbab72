package sortition

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/prytany/prytany/vrf"
	"pgregory.net/rapid"
)

// means are the λ of the tests, from the least there is to the largest.
var means = []struct {
	tau      uint32
	w, total uint64
}{
	{1, 1, math.MaxUint64},                  // 2^−64
	{13, 1, 10_000_000_000_000_000_000},     // 1.3e−18
	{1, 1, 1_000_000},                       // 1e−6
	{13, 1, 1_000_000},                      // 1.3e−5
	{13, 3, 100_000},                        //
	{13, 1, 1000},                           // 0.013
	{13, 7, 1000},                           //
	{13, 1, 100},                            // 0.13
	{1, 1, 3},                               // a third
	{13, 37, 1000},                          // 0.481
	{1, 999_999_999_999, 1_000_000_000_000}, // just below 1
	{1, 1, 1},                               // 1
	{13, 1, 10},                             // 1.3
	{21, 1_234_567_890_123, 10_000_000_000_000},
	{13, 1, 2},       // 6.5
	{13, 1, 1},       // 13, the whole stake
	{40, 5, 7},       //
	{64, 1, 1},       //
	{100, 999, 1000}, //
	{255, 1, 1},      //
	{256, 1, 1},      //
	{500, 1, 3},      //
	{1024, 1, 1},     // 1024
	{1024, math.MaxUint64 - 1, math.MaxUint64},
	{4096, 2, 3},
	{4096, math.MaxUint64, math.MaxUint64}, // 4096
}

// At every step of the distribution function, one draw below it, on it and above
// it: u = ⌊F(k)·2^128⌋ wins k seats and the next u wins more. The reference has 700
// bits, the steps are 2^−128 apart, so this holds the error of the procedure
// below what a hundred thousand draws can tell.
func TestSeatsAtEveryStep(t *testing.T) {
	draws, last := 0, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
	for _, m := range means {
		mean := lambda(m.tau, m.w, m.total)
		poisson := refCDF(fixedLambda(mean))
		steps := poisson.steps
		check := func(u *big.Int) {
			if u.Sign() < 0 || u.Cmp(last) > 0 {
				return
			}
			draws++
			want := poisson.seats(u)
			if got := Seats(output(fromBig(u)), m.tau, m.w, m.total); got != want {
				t.Errorf("λ = %d·%d/%d, draw %x: %d seats, want %d", m.tau, m.w, m.total, u, got, want)
			}
		}
		check(big.NewInt(0))
		check(big.NewInt(1))
		check(last)
		check(new(big.Int).Rsh(last, 1))
		// All steps where there are few; of thousands, those at both ends (where
		// they crowd) and every seventeenth.
		for k, s := range steps {
			if s.Sign() == 0 || len(steps) > 400 && k > 40 && len(steps)-k > 200 && k%17 != 0 {
				continue
			}
			for d := int64(-1); d <= 2; d++ {
				check(new(big.Int).Add(s, big.NewInt(d)))
			}
		}
	}
	if draws < 10_000 {
		t.Errorf("only %d draws", draws)
	}
	t.Logf("%d draws", draws)
}

// Random draws against the true quantile of the exact ratio, which the rounding
// of λ to 2^−112 must not change; and against the letter of the spec.
func TestSeatsAgainstBothReferences(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 2))
	for i := range 3000 {
		u := uint128{r.Uint64(), r.Uint64()}
		switch i % 4 { // to the tails
		case 1:
			u.hi >>= r.UintN(64)
		case 2:
			u.hi = ^(^u.hi >> r.UintN(64))
		}
		total := r.Uint64()>>r.UintN(60) + 1
		w := 1 + r.Uint64N(total)>>r.UintN(20)
		tau := uint32(1 + r.UintN(1+40*uint(i%3)))
		w = min(w, total)
		got := Seats(output(u), tau, w, total)
		if want := refCDF(refLambda(tau, w, total)).seats(u.big()); got != want {
			t.Fatalf("%x at λ = %d·%d/%d: %d seats, Poisson says %d", u, tau, w, total, got, want)
		}
		if want := dumbSeats(u.big(), tau, w, total); got != want {
			t.Fatalf("%x at λ = %d·%d/%d: %d seats, the spec says %d", u, tau, w, total, got, want)
		}
	}
	for _, m := range means {
		for range 20 {
			u := uint128{r.Uint64(), r.Uint64()}
			got := Seats(output(u), m.tau, m.w, m.total)
			if want := dumbSeats(u.big(), m.tau, m.w, m.total); got != want {
				t.Fatalf("%x at λ = %d·%d/%d: %d seats, the spec says %d", u, m.tau, m.w, m.total, got, want)
			}
		}
	}
}

// The constants are what spec §5.2.3 says, to the last bit.
func TestTable(t *testing.T) {
	for b, c := range expBit {
		if want := dumbExpBit(b); !c.dumb().equal(want) {
			t.Errorf("bit %d: %v, want %v", b, c.dumb(), want)
		}
	}
}

// checkReal holds mul, div and add against big integers: every operation is exact
// and then rounded down, bit for bit.
func checkReal(t interface {
	Helper()
	Fatalf(string, ...any)
}, a, b real, k uint32) {
	t.Helper()
	if got, want := mul(a, b).dumb(), a.dumb().times(b.dumb()); !got.equal(want) {
		t.Fatalf("%x · %x = %v, want %v", a, b, got, want)
	}
	if got, want := div(a, k).dumb(), down(a.dumb().n, big.NewInt(int64(k)), a.dumb().s); !got.equal(want) {
		t.Fatalf("%x / %d = %v, want %v", a, k, got, want)
	}
	if a.e < 1 {
		return
	}
	half := fraction{b.h >> 1, b.m, b.l} // below ½, as a is
	s := half.add(a)
	got := real{s.h, s.m, s.l, 0}.dumb().n
	want := real{half.h, half.m, half.l, 0}.dumb().n
	want.Add(want, new(big.Int).Rsh(a.dumb().n, uint(a.e)))
	if got.Cmp(want) != 0 {
		t.Fatalf("%x + %x = %x, want %x", half, a, got, want)
	}
}

func TestRealOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := func() real {
			return real{
				rapid.Uint64Min(1<<63).Draw(t, "h"), rapid.Uint64().Draw(t, "m"), rapid.Uint64().Draw(t, "l"),
				rapid.Int32Range(-13, 6000).Draw(t, "e"),
			}
		}
		checkReal(t, gen(), gen(), rapid.Uint32Min(1).Draw(t, "k"))
	})
	// Where carries run and quotients tip: all limbs from the edges.
	tops := []uint64{1 << 63, 1<<63 + 1, 3 << 62, 5 << 61, math.MaxUint64 - 1, math.MaxUint64}
	limbs := []uint64{0, 1, 1 << 32, 1<<63 - 1, 1 << 63, math.MaxUint64 - 1, math.MaxUint64}
	var edges []real
	for _, h := range tops {
		for _, m := range limbs {
			for _, l := range limbs {
				edges = append(edges, real{h, m, l, int32(len(edges) % 200)})
			}
		}
	}
	ks := []uint32{1, 2, 3, 5, 6, 7, 24, 40, 4095, 4096, math.MaxUint32}
	for i, a := range edges {
		for j, b := range edges {
			checkReal(t, a, b, ks[(i+j)%len(ks)])
		}
	}
}

// The terms and sums that the draw is held against are the spec's, bit for bit.
func TestTerms(t *testing.T) {
	for _, m := range means {
		mean := lambda(m.tau, m.w, m.total)
		p, ratio := expNeg(mean), mean.real()
		f := fraction{}.add(p)
		dp, dratio := dumbExpNeg(mean.big()), down(mean.big(), big.NewInt(1), 112)
		df := new(big.Int).Rsh(dp.n, uint(dp.s-192))
		for k := uint32(1); k < 6*m.tau/5+50; k++ {
			p, f = next(p, f, ratio, k)
			dp = dp.times(dratio)
			dp = down(dp.n, big.NewInt(int64(k)), dp.s)
			df.Add(df, new(big.Int).Rsh(dp.n, uint(dp.s-192)))
			if !p.dumb().equal(dp) || (real{f.h, f.m, f.l, 0}).dumb().n.Cmp(df) != 0 {
				t.Fatalf("λ = %d·%d/%d, k = %d: %x, %x; want %v, %x", m.tau, m.w, m.total, k, p, f, dp, df)
			}
		}
	}
}

// e^−λ is the letter of the spec, and is below the truth by less than 2^−184 of it.
func TestExpNeg(t *testing.T) {
	one := func(t testing.TB, mean uint128) {
		x := expNeg(mean).dumb()
		if want := dumbExpNeg(mean.big()); !x.equal(want) {
			t.Fatalf("λ = %v: %v, want %v", mean, x, want)
		}
		truth := refExpNeg(fixedLambda(mean))
		gap := refFloat().SetMantExp(refFloat().SetInt(x.n), -x.s)
		gap.Sub(truth, gap)
		gap.Quo(gap, truth)
		if gap.Sign() <= 0 || gap.MantExp(nil) > -184 {
			t.Fatalf("λ = %v: too small by %v of itself", mean, gap)
		}
	}
	for _, m := range means {
		one(t, lambda(m.tau, m.w, m.total))
	}
	one(t, uint128{1<<60 - 1, math.MaxUint64}) // every bit below 4096
	one(t, uint128{0, math.MaxUint64})
	one(t, uint128{1, 0})
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		one(t, uint128{r.Uint64() >> (4 + r.UintN(60)), r.Uint64() | 1<<48})
	}
}

func TestNothingIsWonByWhatCannotBe(t *testing.T) {
	all := output(uint128{math.MaxUint64, math.MaxUint64})
	for _, x := range []struct {
		tau      uint32
		w, total uint64
	}{
		{13, 0, 0}, {13, 0, 10}, {13, 10, 0}, {13, 11, 10}, {0, 1, 1}, {MaxTau + 1, 1, 1},
		{math.MaxUint32, 1, 1}, {math.MaxUint32, math.MaxUint64, math.MaxUint64}, {13, math.MaxUint64, math.MaxUint64 - 1},
	} {
		if got := Seats(all, x.tau, x.w, x.total); got != 0 {
			t.Errorf("%+v: %d seats", x, got)
		}
	}
	if got := Seats(all, MaxTau, 1, 1); got != 4959 {
		t.Errorf("the highest draw at the largest λ wins %d seats", got)
	}
}

// Only the first 16 bytes of β count.
func TestDrawIsSixteenBytes(t *testing.T) {
	beta := output(uint128{math.MaxUint64 / 3, 12345})
	want := Seats(beta, 13, 1, 1)
	for i := 16; i < len(beta); i++ {
		beta[i] = 0xff
	}
	if got := Seats(beta, 13, 1, 1); got != want {
		t.Errorf("%d seats, before %d", got, want)
	}
}

func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := uint128{rapid.Uint64().Draw(t, "u.hi"), rapid.Uint64().Draw(t, "u.lo")}
		v := uint128{rapid.Uint64Min(u.hi).Draw(t, "v.hi"), math.MaxUint64}
		total := rapid.Uint64Min(1).Draw(t, "total")
		w := rapid.Uint64Max(total).Draw(t, "w")
		more := rapid.Uint64Range(w, total).Draw(t, "more")
		tau := rapid.Uint32Range(1, 200).Draw(t, "tau")
		base := Seats(output(u), tau, w, total)
		if got := Seats(output(v), tau, w, total); got < base {
			t.Fatalf("a higher draw: %d, then %d", base, got)
		}
		if got := Seats(output(u), tau, more, total); got < base {
			t.Fatalf("more stake: %d, then %d", base, got)
		}
		if got := Seats(output(u), tau+1, w, total); got < base {
			t.Fatalf("a larger committee: %d, then %d", base, got)
		}
		if got := Seats(output(u), tau, w, rapid.Uint64Range(w, total).Draw(t, "less")); w > 0 && got < base {
			t.Fatalf("a larger share: %d, then %d", base, got)
		}
	})
}

// ---- fairness ----

// betas draws outputs from a fixed seed.
func betas(seed byte) func() vrf.Output {
	r := rand.NewChaCha8([32]byte{seed})
	return func() (beta vrf.Output) {
		r.Read(beta[:])
		return beta
	}
}

// Over a million draws every node gets seats in proportion to its stake: each
// within five standard errors, and all together by a χ² that exceeds the bound
// one time in a hundred thousand.
func TestSeatsFollowStake(t *testing.T) {
	stakes := []uint64{1, 2, 3, 5, 8, 13, 100, 250, 618, 1000}
	var total uint64
	for _, w := range stakes {
		total += w
	}
	const tau, rounds = 13, 100_000
	draw, chi := betas(1), 0.0
	won := make([]float64, len(stakes))
	for range rounds {
		for i, w := range stakes {
			won[i] += float64(Seats(draw(), tau, w, total))
		}
	}
	for i, w := range stakes {
		want := rounds * tau * float64(w) / float64(total)
		z := (won[i] - want) / math.Sqrt(want) // a Poisson sum's variance is its mean
		chi += z * z
		if math.Abs(z) > 5 {
			t.Errorf("stake %d: %.0f seats, expected %.0f: %.1f standard errors", w, won[i], want, z)
		}
	}
	if chi > 41.3 { // χ² with 10 degrees of freedom, p = 1e−5
		t.Errorf("χ² = %.1f", chi)
	}
}

// A stake on one key and the same stake cut into eight unequal ones win seats by
// the same distribution, not only the same mean (spec §3.4): both histograms
// against the Poisson terms, and against each other.
func TestSplittingGainsNothing(t *testing.T) {
	parts := []uint64{1, 1, 2, 10, 20, 66, 100, 100} // 300 of 3000: λ = 1.3
	const tau, total, whole, rounds, bins = 13, 3000, 300, 125_000, 8
	draw := betas(2)
	var one, split [bins]float64
	for range rounds {
		one[min(Seats(draw(), tau, whole, total), bins-1)]++
		var s uint32
		for _, w := range parts {
			s += Seats(draw(), tau, w, total)
		}
		split[min(s, bins-1)]++
	}
	p, rest := math.Exp(-1.3), 1.0
	var chiOne, chiSplit, chiBoth float64
	for k := range bins {
		if k == bins-1 {
			p = rest
		}
		want := p * rounds
		chiOne += (one[k] - want) * (one[k] - want) / want
		chiSplit += (split[k] - want) * (split[k] - want) / want
		chiBoth += (one[k] - split[k]) * (one[k] - split[k]) / (one[k] + split[k])
		rest -= p
		p *= 1.3 / float64(k+1)
	}
	for name, chi := range map[string]float64{"one key": chiOne, "split": chiSplit, "one against split": chiBoth} {
		if chi > 35.3 { // χ² with 7 degrees of freedom, p = 1e−5
			t.Errorf("%s: χ² = %.1f\none   %v\nsplit %v", name, chi, one, split)
		}
	}
}

func FuzzSeats(f *testing.F) {
	for _, m := range means {
		f.Add(uint64(1)<<63, uint64(0), m.tau, m.w, m.total)
		f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64), m.tau, m.w, m.total)
	}
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64-1), uint32(2), uint64(1), uint64(math.MaxUint64)) // on a step
	f.Fuzz(func(t *testing.T, hi, lo uint64, tau uint32, w, total uint64) {
		got := Seats(output(uint128{hi, lo}), tau, w, total)
		if w == 0 || total == 0 || w > total || tau == 0 || tau > MaxTau {
			if got != 0 {
				t.Fatalf("%d seats for nothing", got)
			}
			return
		}
		u := uint128{hi, lo}.big()
		if want := dumbSeats(u, tau, w, total); got != want {
			t.Fatalf("%d seats, the spec says %d", got, want)
		}
		// Where the draw lies on a step to within the rule's rounding, the rule
		// decides: it rounds F down, so it may say one more (spec §5.2.6).
		c := refCDF(fixedLambda(lambda(tau, w, total)))
		if want := c.seats(u); got != want && (got != want+1 || u.Cmp(c.steps[want]) != 0) {
			t.Fatalf("%d seats, Poisson says %d", got, want)
		}
	})
}

func BenchmarkSeats(b *testing.B) {
	draw := betas(3)
	set := make([]vrf.Output, 1<<14) // too many for a branch predictor to learn
	for i := range set {
		set[i] = draw()
	}
	for _, m := range []struct {
		lambda   string
		tau      uint32
		w, total uint64
	}{
		{"0.00013", 13, 1, 100_000}, {"0.013", 13, 1, 1000}, {"0.13", 13, 10, 1000},
		{"0.48", 13, 37, 1000}, {"1.3", 13, 100, 1000}, {"13", 13, 1000, 1000}, {"1024", 1024, 1, 1},
	} {
		b.Run(fmt.Sprintf("lambda=%s", m.lambda), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				Seats(set[i%len(set)], m.tau, m.w, m.total)
			}
		})
	}
}
