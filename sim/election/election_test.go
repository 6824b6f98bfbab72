package election

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/vrf"
)

func smallElection() Options {
	return Options{Seed: 7, Workers: 300, Stakes: Pareto, Hostile: []float64{0.2, 0.33}, Seats: []uint32{1, 13, 100}, MinSeats: 4, Draws: 300}
}

// The options decide to the last bit, however many cores there are.
func TestElectionIsDeterministic(t *testing.T) {
	run := func() string {
		raw, err := json.Marshal(Run(smallElection()))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	first := run()
	for _, cores := range []int{1, 2, 7} {
		old := runtime.GOMAXPROCS(cores)
		got := run()
		runtime.GOMAXPROCS(old)
		if got != first {
			t.Errorf("with %d cores: %s\nwant %s", cores, got, first)
		}
	}
	other := smallElection()
	other.Seed++
	if raw, _ := json.Marshal(Run(other)); string(raw) == first {
		t.Error("another seed gives the same")
	}
}

// A draw that is cut short is one that the real code gives no seat: at the bound
// itself with the greatest remaining bits, for all kinds of means.
func TestElectionShortcut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	near := 0
	for range 200_000 {
		total := 1 + r.Uint64()>>(1+r.IntN(60))
		e := electorate{stakes: []uint64{r.Uint64N(total) >> r.IntN(20)}, total: total}
		tau := 1 + uint32(r.IntN(sortition.MaxTau))>>r.IntN(12)
		if total > 1<<51 { // tau·w has to fit, as it does for any electorate
			continue
		}
		bound := e.bounds(tau)[0]
		if bound == 0 {
			continue
		}
		var beta vrf.Output
		binary.BigEndian.PutUint64(beta[:8], bound-1)
		binary.BigEndian.PutUint64(beta[8:16], math.MaxUint64)
		if n := sortition.Seats(beta, tau, e.stakes[0], total); n != 0 {
			t.Fatalf("τ %d, stake %d of %d: a draw below the bound wins %d seats", tau, e.stakes[0], total, n)
		}
		near++
	}
	if near < 10_000 {
		t.Errorf("only %d bounds were tried", near)
	}
}

// With the shortcut and without, every committee is the same.
func TestElectionIsSortition(t *testing.T) {
	for _, stakes := range []Stakes{Equal, Uniform, Pareto} {
		o := smallElection()
		o.Stakes = stakes
		e := newElectorate(o)
		for _, tau := range o.Seats {
			bounds := e.bounds(tau)
			for i := range uint64(50) {
				r := source(o.Seed, "draw", uint64(tau), i)
				want := make([]uint32, 3)
				for k, w := range e.stakes {
					u := r.Uint64()
					var beta vrf.Output
					binary.BigEndian.PutUint64(beta[:8], u)
					// A draw below the bound has no more bits: the real code
					// must give no seat for the least and the greatest.
					if u < bounds[k] {
						low := sortition.Seats(beta, tau, w, e.total)
						binary.BigEndian.PutUint64(beta[8:16], math.MaxUint64)
						if high := sortition.Seats(beta, tau, w, e.total); low+high != 0 {
							t.Fatalf("%s stakes, τ %d: a draw cut short wins %d or %d seats", stakes, tau, low, high)
						}
						continue
					}
					binary.BigEndian.PutUint64(beta[8:16], r.Uint64())
					n := sortition.Seats(beta, tau, w, e.total)
					want[0] += n
					for side := range 2 {
						if e.sides[k]>>side&1 == 1 {
							want[1+side] += n
						}
					}
				}
				if got := e.draw(tau, i, bounds); got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
					t.Fatalf("%s stakes, τ %d, draw %d: %v, want %v", stakes, tau, i, got, want)
				}
			}
		}
	}
}

func TestElectionHostileShare(t *testing.T) {
	for _, stakes := range []Stakes{Equal, Uniform, Pareto} {
		o := smallElection()
		o.Stakes, o.Hostile = stakes, []float64{0, 0.001, 0.2, 1.0 / 3, 0.5, 1}
		e := newElectorate(o)
		for i, f := range o.Hostile {
			var held, least uint64 = 0, math.MaxUint64
			for k, w := range e.stakes {
				if e.sides[k]>>i&1 == 1 {
					held += w
				} else {
					least = min(least, w)
				}
			}
			if got := float64(held) / float64(e.total); got != e.shares[i] || got > f || f == 1 && got != 1 {
				t.Errorf("%s stakes: hostile %v is %v, said to be %v", stakes, f, got, e.shares[i])
			}
			if missing := uint64(f*float64(e.total)) - held; missing >= least {
				t.Errorf("%s stakes: hostile %v lacks %d, and a worker of %d is honest", stakes, f, missing, least)
			}
		}
	}
}

func TestElectionRefuses(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no workers":       func(o *Options) { o.Workers = 0 },
		"too many workers": func(o *Options) { o.Workers = MaxElectors + 1 },
		"unknown stakes":   func(o *Options) { o.Stakes = "fair" },
		"all and more":     func(o *Options) { o.Hostile = []float64{1.1} },
		"not a number":     func(o *Options) { o.Hostile = []float64{math.NaN()} },
		"33 shares":        func(o *Options) { o.Hostile = make([]float64, 33) },
		"no seats":         func(o *Options) { o.Seats = []uint32{0} },
		"too many seats":   func(o *Options) { o.Seats = []uint32{sortition.MaxTau + 1} },
		"no draws":         func(o *Options) { o.Draws = 0 },
	} {
		o := smallElection()
		change(&o)
		if o.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if err := smallElection().Check(); err != nil {
		t.Error(err)
	}
}

// Wilson's interval, against values from the literature (Newcombe 1998, table I).
func TestRateBand(t *testing.T) {
	for _, x := range []struct {
		r         Rate
		low, high float64
	}{
		{Rate{81, 263}, 0.2553, 0.3662},
		{Rate{15, 148}, 0.0624, 0.1605},
		{Rate{0, 20}, 0, 0.1611},
		{Rate{1, 29}, 0.0061, 0.1718},
		{Rate{20, 20}, 0.8389, 1},
		{Rate{}, 0, 1},
	} {
		if low, high := x.r.Band(Z95); math.Abs(low-x.low) > 6e-5 || math.Abs(high-x.high) > 6e-5 {
			t.Errorf("%d of %d: %.4f … %.4f, want %.4f … %.4f", x.r.Count, x.r.Of, low, high, x.low, x.high)
		}
	}
}

// One committee of a million workers.
func BenchmarkElection(b *testing.B) {
	e := newElectorate(Options{Workers: MaxElectors, Stakes: Pareto, Hostile: []float64{0.2, 0.25, 0.33}})
	bounds := e.bounds(13)
	for i := range uint64(b.N) {
		e.draw(13, i, bounds)
	}
}
