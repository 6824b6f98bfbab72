package sortition

import "math/bits"

// real is a positive number of 192 significant bits, (h·2^128 + m·2^64 + l) ·
// 2^(−192−e) with the top bit of h set. Every operation gives the exact result
// rounded down to 192 significant bits, so that its order of steps and nothing
// else decides the outcome (spec §5.2.2): the same on every machine, in every
// language, and always a little too small, never too large.
type real struct {
	h, m, l uint64
	e       int32
}

// mul is a·b rounded down.
func mul(a, b real) real {
	// Row by row, as on paper: r5 … r0 are the limbs of the 384-bit product.
	r3, r2, r1, r0 := row(a, b.l)
	t3, t2, t1, t0 := row(a, b.m)
	var c uint64
	r1, c = bits.Add64(r1, t0, 0)
	r2, c = bits.Add64(r2, t1, c)
	r3, c = bits.Add64(r3, t2, c)
	r4 := t3 + c
	t3, t2, t1, t0 = row(a, b.h)
	r2, c = bits.Add64(r2, t0, 0)
	r3, c = bits.Add64(r3, t1, c)
	r4, c = bits.Add64(r4, t2, c)
	r5 := t3 + c
	_, _ = r1, r0 // these matter by their carries only
	if e := a.e + b.e; r5>>63 != 0 {
		return real{r5, r4, r3, e}
	} else { // the product of two numbers from [½, 1) may lie in [¼, ½)
		return real{r5<<1 | r4>>63, r4<<1 | r3>>63, r3<<1 | r2>>63, e + 1}
	}
}

// row is a's 192 bits times x, in four limbs.
func row(a real, x uint64) (r3, r2, r1, r0 uint64) {
	h0, r0 := bits.Mul64(a.l, x)
	h1, l1 := bits.Mul64(a.m, x)
	h2, l2 := bits.Mul64(a.h, x)
	r1, c := bits.Add64(l1, h0, 0)
	r2, c = bits.Add64(l2, h1, c)
	return h2 + c, r2, r1, r0
}

// div is a/k rounded down, for k ≥ 1.
func div(a real, k uint32) real {
	if k&(k-1) == 0 { // the same, without dividing; 1 and 2 are the usual k
		a.e += int32(bits.TrailingZeros32(k))
		return a
	}
	shift := bits.LeadingZeros64(uint64(k))
	d := uint64(k) << shift // from [2^63, 2^64), so that the quotient has 192 bits
	e := a.e + int32(63-shift)
	n3, n2, n1, n0 := a.h>>1, a.h<<63|a.m>>1, a.m<<63|a.l>>1, a.l<<63
	if a.h < d {
		n3, n2, n1, n0 = a.h, a.m, a.l, 0
		e++
	}
	h, r := bits.Div64(n3, n2, d)
	m, r := bits.Div64(r, n1, d)
	l, _ := bits.Div64(r, n0, d)
	return real{h, m, l, e}
}

// fraction is a number from [0, 1) in multiples of 2^−192.
type fraction struct{ h, m, l uint64 }

// add gives f + a, a < 1 rounded down to a multiple of 2^−192. The caller knows
// that the sum is below 1.
func (f fraction) add(a real) fraction {
	h, m, l := a.h, a.m, a.l
	e := uint(a.e)
	for ; e >= 64; e -= 64 {
		if h|m == 0 {
			return f
		}
		h, m, l = 0, h, m
	}
	l = l>>e | m<<(64-e)
	m = m>>e | h<<(64-e)
	h >>= e
	var c uint64
	f.l, c = bits.Add64(f.l, l, 0)
	f.m, c = bits.Add64(f.m, m, c)
	f.h, _ = bits.Add64(f.h, h, c)
	return f
}
