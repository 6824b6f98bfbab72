package sortition

import (
	"encoding/binary"
	"math/big"

	"github.com/prytany/prytany/vrf"
)

// Two independent opinions stand against the code. The true one knows nothing of
// the procedure and computes the Poisson distribution to more than 512 bits. The
// dumb one follows spec §5.2 word by word in big integers.

// ---- the true Poisson distribution ----

const refBits = 700

func refFloat() *big.Float { return new(big.Float).SetPrec(refBits) }

// refExpNeg is e^−x for 0 ≤ x < 2^13, right to well over 512 bits: the series at
// x/2^40, squared forty times.
func refExpNeg(x *big.Float) *big.Float {
	const halvings = 40
	y := refFloat().SetMantExp(x, -halvings)
	y.Neg(y)
	sum, term := refFloat().SetInt64(1), refFloat().SetInt64(1)
	for k := int64(1); k < 40; k++ { // (2^−27)^40 / 40! < 2^−1200
		term.Mul(term, y)
		term.Quo(term, refFloat().SetInt64(k))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum
}

// cdf is the distribution function for comparison with draws.
type cdf struct {
	steps []*big.Int // ⌊F(k)·2^128⌋ for k = 0, 1, … until that is 2^128 − 1
	first uint32     // the least k with p(k) ≥ 2^−192
}

func refCDF(lambda *big.Float) (c cdf) {
	last := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
	p := refExpNeg(lambda)
	f := refFloat().Set(p)
	for k := int64(0); ; k++ {
		if k > 0 {
			p.Mul(p, lambda)
			p.Quo(p, refFloat().SetInt64(k))
			f.Add(f, p)
		}
		if f.MantExp(nil) <= -128 && p.MantExp(nil) <= -192 { // p < 2^−192
			c.first = uint32(k) + 1
		}
		n, _ := refFloat().SetMantExp(f, 128).Int(nil)
		c.steps = append(c.steps, n)
		if n.Cmp(last) >= 0 {
			return c
		}
	}
}

// seats is the least k with u < F(k). F(k)·2^128 is no integer, so u may be
// compared with its floor. The draw 0 is below every F(k), also where that is
// 2^−5909; the protocol's sum has 192 bits and rises with the first term that
// shows there (spec §5.2.4).
func (c cdf) seats(u *big.Int) uint32 {
	if u.Sign() == 0 {
		return c.first
	}
	k := uint32(0)
	for u.Cmp(c.steps[k]) > 0 {
		k++
	}
	return k
}

// refLambda is tau·w/total, rounded to refBits only.
func refLambda(tau uint32, w, total uint64) *big.Float {
	n := refFloat().SetUint64(w)
	n.Mul(n, refFloat().SetUint64(uint64(tau)))
	return n.Quo(n, refFloat().SetUint64(total))
}

// fixedLambda is λ as the protocol rounds it.
func fixedLambda(l uint128) *big.Float {
	return refFloat().SetMantExp(refFloat().SetInt(l.big()), -112)
}

func (l uint128) big() *big.Int {
	n := new(big.Int).SetUint64(l.hi)
	return n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(l.lo))
}

func fromBig(n *big.Int) uint128 {
	var b [16]byte
	n.FillBytes(b[:])
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// output is a β that starts with u.
func output(u uint128) (beta vrf.Output) {
	binary.BigEndian.PutUint64(beta[:8], u.hi)
	binary.BigEndian.PutUint64(beta[8:16], u.lo)
	return beta
}

// ---- the letter of spec §5.2 ----

// dumb is n·2^−s, n of 192 bits.
type dumb struct {
	n *big.Int
	s int
}

// down is ⌊n/d·2^−s⌋₁₉₂.
func down(n, d *big.Int, s int) dumb {
	const plenty = 400 // 192 or more bits of quotient for all numbers here
	q := new(big.Int).Lsh(n, plenty)
	q.Quo(q, d)
	extra := q.BitLen() - 192
	return dumb{q.Rsh(q, uint(extra)), s + plenty - extra}
}

func (a dumb) times(b dumb) dumb {
	return down(new(big.Int).Mul(a.n, b.n), big.NewInt(1), a.s+b.s)
}

// dumbExpBit is ⌊e^−2^(b−48)⌋₁₉₂.
func dumbExpBit(b int) dumb {
	x := refFloat().SetMantExp(refFloat().SetInt64(1), b-48)
	m := refFloat()
	e := refExpNeg(x).MantExp(m)
	n, _ := m.SetMantExp(m, 192).Int(nil)
	return dumb{n, 192 - e}
}

func dumbExpNeg(l *big.Int) dumb {
	hi, r := new(big.Int), new(big.Int)
	hi.DivMod(l, new(big.Int).Lsh(big.NewInt(1), 64), r)
	// 2^192 − r·2^80 + ⌊r²/2^33⌋ − ⌊c/6⌋ − 2, c = ⌊⌊r²/2^64⌋·r/2^80⌋
	n := new(big.Int).Lsh(big.NewInt(1), 192)
	n.Sub(n, new(big.Int).Lsh(r, 80))
	sq := new(big.Int).Mul(r, r)
	n.Add(n, new(big.Int).Rsh(sq, 33))
	c := new(big.Int).Rsh(sq, 64)
	c.Rsh(c.Mul(c, r), 80)
	n.Sub(n, c.Quo(c, big.NewInt(6)))
	n.Sub(n, big.NewInt(2))
	x := dumb{n, 192}
	for i := range 8 {
		var t *dumb
		for j := 7; j >= 0; j-- {
			if hi.Bit(8*i+j) == 0 {
				continue
			}
			if f := dumbExpBit(8*i + j); t == nil {
				t = &f
			} else {
				*t = t.times(f)
			}
		}
		if t != nil {
			x = x.times(*t)
		}
	}
	return x
}

// dumbSeats is the whole of spec §5.2 without the shortcut.
func dumbSeats(u *big.Int, tau uint32, w, total uint64) uint32 {
	l := new(big.Int).Mul(new(big.Int).SetUint64(w), big.NewInt(int64(tau)))
	l.Lsh(l, 112)
	l.Quo(l, new(big.Int).SetUint64(total))
	if l.Sign() == 0 {
		return 0
	}
	p := dumbExpNeg(l)
	sum := new(big.Int)
	draw := new(big.Int).Lsh(u, 64)
	ratio := down(l, big.NewInt(1), 112)
	for k := uint32(0); ; k++ {
		if k > 0 {
			p = p.times(ratio)
			p = down(p.n, big.NewInt(int64(k)), p.s)
		}
		sum.Add(sum, new(big.Int).Rsh(p.n, uint(p.s-192)))
		if draw.Cmp(sum) < 0 {
			return k
		}
	}
}

func (a real) dumb() dumb {
	n := new(big.Int).SetUint64(a.h)
	n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(a.m))
	n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(a.l))
	return dumb{n, 192 + int(a.e)}
}

func (a dumb) equal(b dumb) bool { return a.s == b.s && a.n.Cmp(b.n) == 0 }
