package election

import (
	"math"

	"github.com/prytany/prytany/sortition"
)

// Odds are probabilities of a committee's makeup.
type Odds struct {
	Small   float64 `json:"too_small"` // fewer seats than the minimum: it is drawn again
	Blocks  float64 `json:"blocks"`    // of those large enough: without the hostile seats there is no quorum
	Decides float64 `json:"decides"`   // of those large enough: the hostile seats are a quorum
}

// captured says what hostile of n seats can do. Above ⌊(n−1)/3⌋ they can
// withhold every quorum, or be in two that exclude each other (blocks); from
// n − ⌊(n−1)/3⌋ they are one (decides).
func captured(hostile, n uint32) (blocks, decides bool) {
	q := sortition.Quorum(n)
	return hostile > n-q, hostile >= q
}

// Exact computes the odds of a committee of tau expected seats, of which the
// part share of all stake (0 … 1) is hostile, when fewer than least seats are
// drawn again.
//
// Sums of Poisson numbers are Poisson (spec §5.2), so the hostile and the honest
// seats are two independent Poisson numbers of means share·τ and (1−share)·τ,
// whoever holds the stakes. The joint distribution is summed term by term.
//
// No term is negative, so nothing cancels and the error is relative. A term is
// e to a sum of three numbers of size s ≤ k·ln λ, each right to 2^−52 of itself:
// 6·10^−16·s, which is below 10^−12 for τ ≤ 100 and below 10^−10 for τ ≤ 4096.
// The two sums of at most 10^4 terms add less than 10^−11 at worst and 10^−14
// commonly. Terms below e^−700 are left out, 10^−297 in all.
func Exact(tau uint32, share float64, least uint32) Odds {
	bad, good := poisson(float64(tau)*share), poisson(float64(tau)*(1-share))
	var small, enough, blocks, decides float64
	for n := bad.first + good.first; n <= bad.last()+good.last(); n++ {
		var all, b, d float64 // of committees with n seats
		for h := max(bad.first, n-min(n, good.last())); h <= min(n, bad.last()); h++ {
			p := bad.at(h) * good.at(n-h)
			all += p
			if is, are := captured(h, n); are {
				b, d = b+p, d+p
			} else if is {
				b += p
			}
		}
		if n < least {
			small += all
			continue
		}
		enough, blocks, decides = enough+all, blocks+b, decides+d
	}
	if enough == 0 {
		return Odds{Small: small}
	}
	return Odds{small, blocks / enough, decides / enough}
}

// pmf is a Poisson distribution where it is not next to nothing.
type pmf struct {
	first uint32
	p     []float64
}

// poisson tabulates the probabilities of a Poisson number of that mean.
func poisson(mean float64) (d pmf) {
	if mean <= 0 {
		return pmf{p: []float64{1}}
	}
	for k := uint32(0); ; k++ {
		gamma, _ := math.Lgamma(float64(k) + 1)
		log := float64(k)*math.Log(mean) - mean - gamma
		switch {
		case log >= -700:
			d.p = append(d.p, math.Exp(log))
		case float64(k) > mean:
			return d
		default:
			d.first = k + 1
		}
	}
}

func (d pmf) last() uint32 { return d.first + uint32(len(d.p)) - 1 }

// at is the probability of k.
func (d pmf) at(k uint32) float64 {
	if k < d.first || k > d.last() {
		return 0
	}
	return d.p[k-d.first]
}
