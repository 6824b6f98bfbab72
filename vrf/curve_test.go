package vrf

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	fp "github.com/cloudflare/circl/math/fp25519"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// The definitions, in big integers and with divisions.

var modulus = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

func integer(e element) *big.Int {
	slices.Reverse(e[:])
	return new(big.Int).SetBytes(e[:])
}

// reduced is the one form of x mod p below p.
func reduced(x *big.Int) (e element) {
	new(big.Int).Mod(x, modulus).FillBytes(e[:])
	slices.Reverse(e[:])
	return e
}

func mul(factors ...*big.Int) *big.Int {
	product := big.NewInt(1)
	for _, x := range factors {
		product.Mul(product, x).Mod(product, modulus)
	}
	return product
}

func add(terms ...*big.Int) *big.Int {
	sum := new(big.Int)
	for _, x := range terms {
		sum.Add(sum, x)
	}
	return sum.Mod(sum, modulus)
}

// inverse gives 0 for 0.
func inverse(x *big.Int) *big.Int {
	return new(big.Int).Exp(x, new(big.Int).Sub(modulus, big.NewInt(2)), modulus)
}

func same(e element, x *big.Int) bool { return new(big.Int).Mod(integer(e), modulus).Cmp(x) == 0 }

// edges are elements in many forms: around 0, p, 2p, 2^255 and 2^256, with limbs of
// all zeros and all ones, and a few at random.
func edges() (list []element) {
	for n := -40; n <= 40; n++ {
		low := addSmall([32]byte{}, n) // −40 is 2^256 − 40
		list = append(list, low, addSmall(reduced(big.NewInt(-1)), n+1), addSmall([32]byte{31: 0x80}, n))
	}
	for pattern := range 1 << 8 {
		var e element
		for i := range 4 {
			limb := int8(pattern>>(2*i)<<6) >> 6 // 0, 1, −2 or −1
			binary.LittleEndian.PutUint64(e[8*i:], uint64(int64(limb)))
		}
		list = append(list, e)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var e element
		for i := range 4 {
			binary.LittleEndian.PutUint64(e[8*i:], random.Uint64())
		}
		list = append(list, e)
	}
	return list
}

// The field that all else stands on, at its edges, where carries are lost. Every
// operation takes and gives numbers up to 2^256.
func TestField(t *testing.T) {
	list := edges()
	for _, x := range list {
		X := new(big.Int).Mod(integer(x), modulus)
		square, inverted, minus := element{}, element{}, x
		fp.Sqr(&square, &x)
		fp.Inv(&inverted, &x)
		negate(&minus, 1)
		if !same(square, mul(X, X)) || !same(inverted, inverse(X)) || !same(minus, add(new(big.Int).Neg(X))) {
			t.Fatalf("x = %v: x² %v, 1/x %v, −x %v", x, square, inverted, minus)
		}
		if isZero(x) != 1-uint(X.Sign()) || parity(x) != X.Bit(0) {
			t.Fatalf("x = %v: isZero %d, parity %d", x, isZero(x), parity(x))
		}
		m := x
		if fp.Modp(&m); m != reduced(X) {
			t.Fatalf("x = %v: reduced %v", x, m)
		}
		for _, y := range list {
			Y := new(big.Int).Mod(integer(y), modulus)
			var product, sum, difference element
			fp.Mul(&product, &x, &y)
			fp.Add(&sum, &x, &y)
			fp.Sub(&difference, &x, &y)
			a, b := x, y
			fp.AddSub(&a, &b)
			if !same(product, mul(X, Y)) || !same(sum, add(X, Y)) || !same(difference, add(X, new(big.Int).Neg(Y))) || a != sum || b != difference {
				t.Fatalf("x = %v, y = %v: x·y %v, x+y %v, x−y %v, at once %v, %v", x, y, product, sum, difference, a, b)
			}
			if equal := X.Cmp(Y) == 0; equal != (isEqual(&x, &y) == 1) {
				t.Fatalf("x = %v, y = %v: equal is %v", x, y, !equal)
			}
		}
	}
}

func TestConstants(t *testing.T) {
	i := integer(sqrtM1)
	for _, x := range []struct {
		what      string
		got, want *big.Int
	}{
		{"d·121666", mul(integer(curveD), big.NewInt(121666)), add(big.NewInt(-121665))},
		{"2d", integer(twiceD), add(integer(curveD), integer(curveD))},
		{"√−1 squared", mul(i, i), add(big.NewInt(-1))},
		{"(1+√−1) squared", mul(integer(onePlusI), integer(onePlusI)), add(i, i)},
		{"A", integer(montgomeryA), big.NewInt(486662)},
		{"√−486664 squared", mul(integer(rootM486664), integer(rootM486664)), add(big.NewInt(-486664))},
		{"sign of √−486664", big.NewInt(int64(parity(rootM486664))), new(big.Int)},
	} {
		if x.got.Cmp(x.want) != 0 {
			t.Errorf("%s is %d, want %d", x.what, x.got, x.want)
		}
	}
}

// Square roots: of squares, of what is none, of 0, and of all in one call.
func TestRoots(t *testing.T) {
	list := edges()
	for n := range list {
		var at [3]ratio
		for i := range at {
			at[i].u, at[i].v = list[(n+5*i)%len(list)], list[(3*n+i+1)%len(list)]
		}
		alone := at[0]
		try(&at[0], &at[1], &at[2])
		try(&alone)
		for i, r := range at {
			u, v := integer(r.u), integer(r.v)
			if isZero(r.v) == 1 {
				continue // no denominator of ours is 0
			}
			isSquare := big.Jacobi(mul(u, v), modulus) >= 0
			ok := r.settle() == 1
			if i == 0 && (alone.settle() == 1) != ok || i == 0 && isEqual(&alone.root, &r.root) == 0 {
				t.Fatalf("a root depends on its neighbours")
			}
			if ok != isSquare || ok && !same(r.u, mul(v, integer(r.root), integer(r.root))) {
				t.Fatalf("u = %v, v = %v: a square: %v, root %v", r.u, r.v, ok, r.root)
			}
		}
	}
}

// bigElligator is RFC 9380 §6.7.1 and §6.8.2 as they are written there, and then
// the multiplication by 8 as three additions to itself by the curve's own law.
func bigElligator(r *big.Int) (x, y *big.Int) {
	one, A := big.NewInt(1), big.NewInt(486662)
	g := func(x *big.Int) *big.Int { return add(mul(x, x, x), mul(A, x, x), x) }
	u := mul(new(big.Int).Neg(A), inverse(add(one, mul(big.NewInt(2), r, r))))
	sign := uint(1)
	if big.Jacobi(g(u), modulus) < 0 {
		u, sign = add(new(big.Int).Neg(u), new(big.Int).Neg(A)), 0
	}
	v := new(big.Int).ModSqrt(g(u), modulus)
	if v.Bit(0) != sign {
		v = add(new(big.Int).Neg(v))
	}
	x, y = new(big.Int), one
	if v.Sign() != 0 && add(u, one).Sign() != 0 {
		x = mul(integer(rootM486664), u, inverse(v))
		y = mul(add(u, big.NewInt(-1)), inverse(add(u, one)))
	}
	for range 3 {
		dxy := mul(integer(curveD), x, x, y, y)
		x, y = mul(add(mul(x, y), mul(x, y)), inverse(add(one, dxy))),
			mul(add(mul(y, y), mul(x, x)), inverse(add(one, new(big.Int).Neg(dxy))))
	}
	return x, y
}

// The map to the curve, at every hash that could be special: 0, which has no image
// and goes to the identity; those that would give x = −1, had the curve such a
// point; and all edges.
func TestElligator(t *testing.T) {
	list := edges()
	for _, square := range []*big.Int{
		mul(big.NewInt(486661), inverse(big.NewInt(2))), inverse(mul(big.NewInt(2), big.NewInt(486661))),
		mul(big.NewInt(-1), inverse(big.NewInt(2))), big.NewInt(-1),
	} {
		if r := new(big.Int).ModSqrt(square, modulus); r != nil {
			list = append(list, reduced(r), reduced(new(big.Int).Neg(r)))
		}
	}
	for _, r := range list {
		h := elligator(r)
		try(&h.ratio)
		p := h.point()
		x, y := bigElligator(new(big.Int).Mod(integer(r), modulus))
		want := reduced(y)
		want[31] |= byte(x.Bit(0) << 7)
		if got := encode(&p)[0]; got != want {
			t.Fatalf("%v goes to %x, want %x", r, got, want)
		}
		if isZero(p.Z) == 1 {
			t.Fatalf("%v goes to a point with Z = 0", r)
		}
	}
}

// some are points of every kind, in our form and in the library's: all of small
// order, and sums of them with multiples of B that meet one another as equals,
// opposites and doubles.
func some(t *testing.T) (ours []point, refs []*curve.EdwardsPoint) {
	for _, n := range []int64{0, 1, 2, 3, -1, -2, 1 << 40} {
		for _, torsion := range curve.EIGHT_TORSION {
			x := scalar.NewFromUint64(uint64(max(n, -n)))
			if n < 0 {
				x.Neg(x)
			}
			ref := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, x)
			ref.Add(ref, torsion)
			p, _ := mustDecode(t, [32]byte(encoded(ref)))
			ours, refs = append(ours, p), append(refs, ref)
		}
	}
	return ours, refs
}

// The formulas have no exception, with Z = 1 and with other Z.
func TestPoints(t *testing.T) {
	ours, refs := some(t)
	for i, p := range ours {
		twice := p
		twice.double()
		mustBe(t, "2p", twice, curve.NewEdwardsPoint().Add(refs[i], refs[i]))
		minus := p
		minus.negate()
		mustBe(t, "−p", minus, curve.NewEdwardsPoint().Neg(refs[i]))
		eight := p
		eight.timesEight()
		mustBe(t, "8p", eight, curve.NewEdwardsPoint().MulByCofactor(refs[i]))
		if p.isSmallOrder() != refs[i].IsSmallOrder() {
			t.Fatalf("point %d: small order is %v", i, p.isSmallOrder())
		}
		for j, q := range ours {
			var sum, other curve.EdwardsPoint
			sum.Add(refs[i], refs[j])
			var ready, again addend
			ready.set(&q)
			r := p
			r.add(&ready, 0)
			mustBe(t, "p+q", r, &sum)
			again.set(&r) // whose Z is not 1
			r = q
			r.add(&again, 0)
			r.double()
			sum.Add(&sum, refs[j])
			other.Add(&sum, &sum)
			mustBe(t, "2(p+2q)", r, &other)
			r.add(&ready, 1)
			mustBe(t, "2(p+2q)−q", r, other.Sub(&other, refs[j]))
			ready.negate(1)
			r.add(&ready, 0)
			mustBe(t, "2(p+2q)−2q", r, other.Sub(&other, refs[j]))
			ready.negate(0)
			r.add(&ready, 1)
			mustBe(t, "2(p+2q)−q again", r, other.Add(&other, refs[j]))
		}
	}
	// One inversion for four.
	for i := 0; i+4 <= len(ours); i += 4 {
		quad := ours[i : i+4]
		for j := range quad {
			quad[j].double()
		}
		got := encode(&quad[0], &quad[1], &quad[2], &quad[3])
		for j := range quad {
			refs[i+j].Add(refs[i+j], refs[i+j])
			if !bytes.Equal(got[j][:], encoded(refs[i+j])) {
				t.Fatalf("point %d of four is %x, want %x", j, got[j], encoded(refs[i+j]))
			}
		}
	}
}

// Every digit of radix 16 occurs, in every place that an x below q allows.
func TestTimes(t *testing.T) {
	ours, refs := some(t)
	random := rand.New(rand.NewPCG(3, 4))
	for i, p := range ours {
		for n := range 12 {
			var b [32]byte
			for j := range b {
				b[j] = byte(random.Uint32())
				if n < 4 { // runs of one digit
					b[j] = [4]byte{0x00, 0x77, 0x88, 0xff}[n]
				}
			}
			b[31] &= 0x0f // below 2^252, so that the library reduces nothing
			x := number(b[:])
			mustBe(t, "x·p", p.times(x), curve.NewEdwardsPoint().Mul(refs[i], x))
		}
	}
}
