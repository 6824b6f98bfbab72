package sortition

import (
	"encoding/binary"
	"math/bits"

	"github.com/prytany/prytany/vrf"
)

// MaxTau is the largest expected committee size, in seats. Above it nobody wins.
const MaxTau = 4096

// Seats says how many seats β wins for a node with stake w out of the eligible
// stake total, in a task that wants tau seats in expectation (spec §5.2): the
// least k with u < F(k), where u is the first 16 bytes of β as a fraction and F
// the Poisson distribution function of mean λ = tau·w/total.
//
// w and total are in base units. Nothing is won with w = 0, total = 0, w > total
// or tau > MaxTau: what cannot be is refused by winning nothing. The result is at
// most 4,959, whatever the arguments.
func Seats(beta vrf.Output, tau uint32, w, total uint64) uint32 {
	if total == 0 || w > total || tau > MaxTau {
		return 0
	}
	u := uint128{binary.BigEndian.Uint64(beta[:8]), binary.BigEndian.Uint64(beta[8:16])}
	mean := lambda(tau, w, total)

	// Most draws end here. e^−λ > 1 − λ, by a margin that no rounding reaches
	// (spec §5.2.5), so u + λ < 1 means u < F(0): no seat. For one node among
	// many this decides all but some λ²/2 of the lost draws without computing e^−λ.
	if mean.hi>>48 == 0 {
		_, c := bits.Add64(u.lo, mean.lo<<16, 0)
		if _, c = bits.Add64(u.hi, mean.hi<<16|mean.lo>>48, c); c == 0 {
			return 0
		}
	}
	return quantile(u, mean)
}

// uint128 is hi·2^64 + lo: a draw in units of 2^−128, or a mean λ in units of
// 2^−112.
type uint128 struct{ hi, lo uint64 }

// lambda is ⌊tau·w·2^112/total⌋ (spec §5.2.1), at most 2^124 for tau ≤ MaxTau and
// w ≤ total, and at least 2^48 if neither is zero.
func lambda(tau uint32, w, total uint64) uint128 {
	hi, lo := bits.Mul64(uint64(tau), w)
	// The numerator is (hi<<48 | lo>>16, lo<<48, 0); its first limb is below
	// total, for tau·w ≤ 2^12·total.
	q1, r := bits.Div64(hi<<48|lo>>16, lo<<48, total)
	q0, _ := bits.Div64(r, 0, total)
	return uint128{q1, q0}
}

// quantile is the rule itself (spec §5.2.4): the terms p(0) = e^−λ and
// p(k) = p(k−1)·λ/k are summed until the sum exceeds the draw. All rounding is
// downwards, so the sum stays below 1; and it comes within 2^−176 of 1, so every
// draw is reached.
func quantile(u, mean uint128) uint32 {
	p := expNeg(mean)
	f := fraction{}.add(p)
	if f.above(u) {
		return 0
	}
	ratio := mean.real()
	for k := uint32(1); ; k++ {
		if p, f = next(p, f, ratio, k); f.above(u) {
			return k
		}
	}
}

// next gives p(k) and F(k) from p(k−1) and F(k−1).
func next(p real, f fraction, ratio real, k uint32) (real, fraction) {
	p = div(mul(p, ratio), k)
	return p, f.add(p)
}

// above says whether f > u, u in units of 2^−128.
func (f fraction) above(u uint128) bool {
	_, b := bits.Sub64(0, f.l, 0)
	_, b = bits.Sub64(u.lo, f.m, b)
	_, b = bits.Sub64(u.hi, f.h, b)
	return b != 0
}

// real is the mean λ > 0 as a real, exactly.
func (l uint128) real() real {
	z := bits.LeadingZeros64(l.hi)
	if l.hi == 0 {
		z = 64 + bits.LeadingZeros64(l.lo)
		l.hi, l.lo = l.lo, 0
	}
	s := uint(z) % 64
	return real{l.hi<<s | l.lo>>(64-s), l.lo << s, 0, int32(z) - 16}
}

// expNeg is e^−λ (spec §5.2.3). The lower word of λ is r < 2^−48, for which three
// terms of the series suffice; each byte of the upper word is one factor from the
// table.
func expNeg(mean uint128) real {
	// 1 − r + r²/2 − r³/6 in units of 2^−192, the last two rounded so that the
	// whole is too small: r is lo·2^−112, and two units pay for all rounding.
	r := mean.lo
	sqHi, sqLo := bits.Mul64(r, r)
	cube, _ := bits.Mul64(sqHi, r)
	l, b := bits.Sub64(sqHi<<31|sqLo>>33, (cube>>16)/6+2, 0)
	m, b := bits.Sub64(sqHi>>33, r<<16, b)
	h, _ := bits.Sub64(0, r>>48, b)
	x := real{h, m, l, 0}

	for i, w := 0, mean.hi; w != 0; i, w = i+1, w>>8 {
		if d := byte(w); d != 0 {
			x = mul(x, expByte[i][d])
		}
	}
	return x
}

// expByte[i][d] is e^−(d·2^(8i−48)), for d > 0, as a product from expBit, lowest
// bit last.
var expByte = func() (t [8][256]real) {
	for i := range t {
		for d := 1; d < 256; d++ {
			b := 8*i + bits.TrailingZeros(uint(d))
			if b >= len(expBit) {
				continue // beyond MaxTau
			}
			t[i][d] = expBit[b]
			if rest := d & (d - 1); rest != 0 {
				t[i][d] = mul(t[i][rest], expBit[b])
			}
		}
	}
	return t
}()
