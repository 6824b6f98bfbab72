// Package election draws committees of up to a million workers by the real sortition, and
// counts those that a hostile part of the stake captures, beside the exact odds.
package election

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Stakes names how the stake is spread over the workers.
type Stakes string

// Of all three the mean is 100 PRY or some of it; only shares matter.
const (
	Equal   Stakes = "equal"   // 100 PRY each
	Uniform Stakes = "uniform" // anything up to 200 PRY, drawn from the seed
	Pareto  Stakes = "pareto"  // the r-th richest has 1/r of the richest (Zipf; a Pareto tail of index 1)
)

// MaxElectors is how many workers an election may have.
const MaxElectors = 1_000_000

// Options shape the elections of many committees.
type Options struct {
	Seed     uint64
	Workers  int       // 1 … MaxElectors
	Stakes   Stakes    //
	Hostile  []float64 // shares of all stake that are hostile, each 0 … 1, at most 32
	Seats    []uint32  // τ: expected committee sizes, each 1 … sortition.MaxTau
	MinSeats uint32    // a smaller committee is drawn again
	Draws    int       // committees to draw of each size

	// Drawn is called after each committee, from several goroutines; nil for
	// nobody.
	Drawn func() `json:"-"`
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	switch {
	case o.Workers < 1 || o.Workers > MaxElectors:
		return fmt.Errorf("%d workers, want 1 to %d", o.Workers, MaxElectors)
	case o.Stakes != Equal && o.Stakes != Uniform && o.Stakes != Pareto:
		return fmt.Errorf("stakes %q, want %s, %s or %s", o.Stakes, Equal, Uniform, Pareto)
	case len(o.Hostile) > 32:
		return fmt.Errorf("%d hostile shares, want at most 32", len(o.Hostile))
	case o.Draws < 1:
		return fmt.Errorf("%d draws, want at least 1", o.Draws)
	}
	for _, f := range o.Hostile {
		if !(f >= 0 && f <= 1) {
			return fmt.Errorf("a hostile share of %v, want 0 to 1", f)
		}
	}
	for _, tau := range o.Seats {
		if tau < 1 || tau > sortition.MaxTau {
			return fmt.Errorf("%d seats, want 1 to %d", tau, sortition.MaxTau)
		}
	}
	return nil
}

// Result is what came of the elections.
type Result struct {
	Largest float64 `json:"largest_stake"` // share of the richest worker
	Sizes   []Size  `json:"sizes"`         // in the order of the options
}

// Size is what came of all committees of one expected size.
type Size struct {
	Tau        uint32    `json:"tau"`
	Committees Histogram `json:"committees"` // by their seats, from 0
	Mean       float64   `json:"mean"`       // seats
	Variance   float64   `json:"variance"`   // seats²; a Poisson number's is its mean
	Small      Rate      `json:"too_small"`
	Captures   []Capture `json:"captures"` // in the order of the options' shares
}

// Capture is how often one hostile share got a committee of one size into its
// hands. All shares see the same draws, so the captures of one size are not
// independent of each other.
type Capture struct {
	Hostile float64   `json:"hostile"` // share of all stake, as asked for
	Share   float64   `json:"share"`   // as picked: short of it by less than any honest worker's stake
	Held    Histogram `json:"held"`    // committees by their hostile seats, from 0
	Blocks  Rate      `json:"blocks"`  // of the committees that are large enough
	Decides Rate      `json:"decides"` // of the committees that are large enough
	Exact   Odds      `json:"exact"`   // for the share as picked
}

// Histogram counts things by a number of theirs, from 0.
type Histogram []uint64

// MarshalJSON writes decimal strings.
func (h Histogram) MarshalJSON() ([]byte, error) {
	texts := make([]string, len(h))
	for i, n := range h {
		texts[i] = strconv.FormatUint(n, 10)
	}
	return json.Marshal(texts)
}

// Rate is how often something was so.
type Rate struct {
	Count uint64 `json:"count,string"`
	Of    uint64 `json:"of,string"`
}

// Two-sided quantiles of the normal distribution, for Band.
const (
	Z95  = 1.959963984540054  // 95 %
	Z999 = 3.2905267314918945 // 99.9 %
)

// Value is the rate itself, 0 … 1.
func (r Rate) Value() float64 { return float64(r.Count) / math.Max(1, float64(r.Of)) }

// Band is Wilson's confidence interval for the probability behind the rate: z
// standard errors to both sides. Unlike the textbook's it says something if the
// count is 0; for a count of 1 or 2 its lower end is too high more often than z
// promises.
func (r Rate) Band(z float64) (low, high float64) {
	if r.Of == 0 {
		return 0, 1
	}
	n, p := float64(r.Of), r.Value()
	mid := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	if r.Count > 0 {
		low = math.Max(0, mid-half)
	}
	if high = 1; r.Count < r.Of {
		high = math.Min(1, mid+half)
	}
	return low, high
}

// Run draws committees as the protocol does and counts in whose hands they
// come. Every worker draws for every committee, and [sortition.Seats], which
// workers and chain run, says how many seats the draw wins.
//
// THE DRAWS THEMSELVES ARE NOT VRF OUTPUTS. β comes from a seeded generator
// (PCG), not from a VRF with a proof: a million evaluations would take a
// minute for each committee. To the sortition β is 16 uniform bytes either way.
//
// The hostile workers are picked at random until they hold their share of the
// stake, once for all draws. The committees are drawn on all cores, each from a
// seed of its own, and what is kept of them are counts: so the result depends on
// the options alone. The options must pass Check.
func Run(o Options) Result {
	e := newElectorate(o)
	r := Result{Largest: float64(e.largest) / float64(e.total)}
	for _, tau := range o.Seats {
		r.Sizes = append(r.Sizes, e.size(tau))
	}
	return r
}

// electorate is all workers with their stakes.
type electorate struct {
	o       Options
	stakes  []uint64 // base units
	total   uint64
	largest uint64
	sides   []uint32  // by worker: bit i is set if it is of the i-th hostile share
	shares  []float64 // of the stake, as picked
}

func newElectorate(o Options) *electorate {
	e := &electorate{o: o, stakes: make([]uint64, o.Workers), sides: make([]uint32, o.Workers)}
	r := rand.New(source(o.Seed, "stakes"))
	for i := range e.stakes {
		switch o.Stakes {
		case Equal:
			e.stakes[i] = uint64(100 * task.PRY)
		case Uniform:
			e.stakes[i] = 1 + r.Uint64N(uint64(200*task.PRY))
		case Pareto:
			e.stakes[i] = uint64(o.Workers) * uint64(task.PRY) / uint64(i+1)
		}
		e.total += e.stakes[i]
		e.largest = max(e.largest, e.stakes[i])
	}
	for i, f := range o.Hostile {
		held := e.pick(uint32(1)<<i, uint64(f*float64(e.total)), rand.New(source(o.Seed, "hostile", uint64(i))))
		e.shares = append(e.shares, float64(held)/float64(e.total))
	}
	return e
}

// pick marks workers in random order, each whose stake still fits into want, and
// says how much they hold.
func (e *electorate) pick(side uint32, want uint64, r *rand.Rand) (held uint64) {
	for _, i := range r.Perm(len(e.stakes)) {
		if s := e.stakes[i]; s <= want-held {
			held += s
			e.sides[i] |= side
		}
	}
	return held
}

// source is the generator of one purpose. PCG, as a million draws take half the
// time of ChaCha8's; the hash makes it start anywhere in its cycle of 2^128.
func source(seed uint64, purpose string, parts ...uint64) *rand.PCG {
	b := binary.BigEndian.AppendUint64([]byte("prytany simulate election "+purpose), seed)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, p)
	}
	h := sha256.Sum256(b)
	return rand.NewPCG(binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:]))
}

// size draws all committees of one expected size.
func (e *electorate) size(tau uint32) Size {
	var (
		all  = newTally(len(e.shares))
		next atomic.Int64
		done sync.WaitGroup
		mu   sync.Mutex
		lost = e.bounds(tau)
	)
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			mine := newTally(len(e.shares))
			for {
				i := next.Add(1) - 1
				if i >= int64(e.o.Draws) {
					break
				}
				mine.count(e.draw(tau, uint64(i), lost), e.o.MinSeats)
				if e.o.Drawn != nil {
					e.o.Drawn()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(mine)
		})
	}
	done.Wait()
	return e.summary(tau, all)
}

// bounds gives for each worker a number that its draw loses below: if the first
// 8 bytes of β are less, [sortition.Seats] gives no seat. It is a coarser form
// of the shortcut of spec §5.2.5, u + λ < 1, in 64 bits: with c > λ·2^64, a draw
// whose first word is below 2^64 − c is so even if its other bits are all set.
func (e *electorate) bounds(tau uint32) []uint64 {
	all := make([]uint64, len(e.stakes))
	for i, w := range e.stakes {
		// From λ = 1 the bound is 0, and nothing is cut short.
		if mean := uint64(tau) * w; mean < e.total { // both below 2^60
			q, _ := bits.Div64(mean, 0, e.total) // ⌊λ·2^64⌋, so c = q + 1
			all[i] = ^q
		}
	}
	return all
}

// draw elects the i-th committee, and gives the seats of all, then those of each
// hostile share.
func (e *electorate) draw(tau uint32, i uint64, lost []uint64) []uint32 {
	r := source(e.o.Seed, "draw", uint64(tau), i)
	seats := make([]uint32, 1+len(e.shares))
	var beta vrf.Output
	for k, bound := range lost {
		u := r.Uint64()
		if u < bound {
			continue
		}
		binary.BigEndian.PutUint64(beta[:8], u)
		binary.BigEndian.PutUint64(beta[8:16], r.Uint64())
		n := sortition.Seats(beta, tau, e.stakes[k], e.total)
		seats[0] += n
		for side := e.sides[k]; side != 0; side &= side - 1 {
			seats[1+bits.TrailingZeros32(side)] += n
		}
	}
	return seats
}

// tally counts committees: of each number of seats, and for each hostile share
// of each number of hostile seats and of what they can do.
type tally struct {
	seats           []uint64
	held            [][]uint64
	blocks, decides []uint64
}

func newTally(shares int) *tally {
	return &tally{held: make([][]uint64, shares), blocks: make([]uint64, shares), decides: make([]uint64, shares)}
}

// count takes one committee in, as draw gives it.
func (t *tally) count(seats []uint32, least uint32) {
	n := seats[0]
	t.seats = plus(t.seats, n, 1)
	for i, h := range seats[1:] {
		t.held[i] = plus(t.held[i], h, 1)
		if n < least {
			continue
		}
		blocks, decides := captured(h, n)
		if blocks {
			t.blocks[i]++
		}
		if decides {
			t.decides[i]++
		}
	}
}

// plus adds to a histogram's bar k.
func plus(bars []uint64, k uint32, n uint64) []uint64 {
	for uint32(len(bars)) <= k {
		bars = append(bars, 0)
	}
	bars[k] += n
	return bars
}

func (t *tally) add(o *tally) {
	for k, n := range o.seats {
		t.seats = plus(t.seats, uint32(k), n)
	}
	for i := range t.held {
		for k, n := range o.held[i] {
			t.held[i] = plus(t.held[i], uint32(k), n)
		}
		t.blocks[i] += o.blocks[i]
		t.decides[i] += o.decides[i]
	}
}

func (e *electorate) summary(tau uint32, t *tally) Size {
	s := Size{Tau: tau, Committees: t.seats, Small: Rate{Of: uint64(e.o.Draws)}}
	var sum, squares float64
	for k, n := range t.seats {
		sum += float64(k) * float64(n)
		squares += float64(k) * float64(k) * float64(n)
		if uint32(k) < e.o.MinSeats {
			s.Small.Count += n
		}
	}
	draws := float64(e.o.Draws)
	s.Mean = sum / draws
	s.Variance = squares/draws - s.Mean*s.Mean
	enough := s.Small.Of - s.Small.Count
	for i, share := range e.shares {
		s.Captures = append(s.Captures, Capture{
			Hostile: e.o.Hostile[i], Share: share, Held: t.held[i],
			Blocks: Rate{t.blocks[i], enough}, Decides: Rate{t.decides[i], enough},
			Exact: Exact(tau, share, e.o.MinSeats),
		})
	}
	return s
}
