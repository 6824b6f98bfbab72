package vrf

import (
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"slices"

	fp "github.com/cloudflare/circl/math/fp25519"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// This file is the arithmetic of edwards25519 that Verify and Output need. It is
// here because their shortcuts need coordinates, and the curve's libraries hide
// theirs. The field is circl's. The formulas are complete: they hold for any two
// points of the curve, equal ones and those of small order included, and no Z of a
// result is zero (Hisil, Wong, Carter, Dawson 2008, §3). Tests hold all of it
// against another library and against the definitions in big integers.

// element is an integer mod p = 2^255 − 19, in any of its forms below 2^256.
type element = fp.Elt

var (
	one    = element{1}
	curveD = constant("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3")
	twiceD = constant("2406d9dc56dffce7198e80f2eef3d13000e0149a8283b156ebd69b9426b2f159")
	sqrtM1 = constant("2b8324804fc1df0b2b4d00993dfbd7a72f431806ad2fe478c4ee1b274a0ea0b0")
)

// constant reads an element as people write it, the highest digit first.
func constant(digits string) element {
	b, err := hex.DecodeString(digits)
	if err != nil {
		panic("vrf: " + err.Error())
	}
	slices.Reverse(b)
	return element(b)
}

// isZero is 1 for zero and 0 otherwise, in constant time.
func isZero(x element) uint {
	fp.Modp(&x)
	var bits uint64
	for i := 0; i < len(x); i += 8 {
		bits |= binary.LittleEndian.Uint64(x[i:])
	}
	return uint(1 ^ (bits|-bits)>>63)
}

func isEqual(x, y *element) uint {
	var diff element
	fp.Sub(&diff, x, y)
	return isZero(diff)
}

// parity is the lowest bit of x reduced, which RFC 8032 calls the sign.
func parity(x element) uint {
	fp.Modp(&x)
	return uint(x[0] & 1)
}

// negate sets x = −x if bit is 1, in constant time.
func negate(x *element, bit uint) {
	var minus element
	fp.Neg(&minus, x)
	fp.Cmov(x, &minus, bit)
}

// ratio is u/v, and what is known of its square root.
type ratio struct{ u, v, root element }

// try sets root = u·v³·(u·v⁷)^((p−5)/8) in each of at most three ratios. Then
// v·root² is u or −u if u/v is a square, and √−1·u or −√−1·u if not. The power is
// 252 squarings that wait for each other; other powers at its side fill the time
// while it waits, so that three cost less than two one by one.
func try(ratios ...*ratio) {
	type side = [3]element
	n := len(ratios)
	join := func(x side, k int, y side) side { // x^(2^k)·y
		for range k {
			for i := range n {
				fp.Sqr(&x[i], &x[i])
			}
		}
		for i := range n {
			fp.Mul(&x[i], &x[i], &y[i])
		}
		return x
	}
	var x1 side
	for i, r := range ratios {
		var v2, v4 element
		fp.Sqr(&v2, &r.v)
		fp.Sqr(&v4, &v2)
		fp.Mul(&r.root, &r.u, &r.v)
		fp.Mul(&r.root, &r.root, &v2)
		fp.Mul(&x1[i], &r.root, &v4) // u·v⁷
	}
	// xk is x1^(2^k − 1), and (p−5)/8 = 4·(2^250 − 1) + 1.
	x2 := join(x1, 1, x1)
	x3 := join(x2, 1, x1)
	x5 := join(x3, 2, x2)
	x10 := join(x5, 5, x5)
	x20 := join(x10, 10, x10)
	x40 := join(x20, 20, x20)
	x50 := join(x40, 10, x10)
	x100 := join(x50, 50, x50)
	x200 := join(x100, 100, x100)
	x250 := join(x200, 50, x50)
	power := join(x250, 2, x1)
	for i, r := range ratios {
		fp.Mul(&r.root, &r.root, &power[i])
	}
}

// settle makes of a tried root the root of u/v, or gives 0 if there is none.
func (r *ratio) settle() uint {
	var check, minus, other element
	fp.Sqr(&check, &r.root)
	fp.Mul(&check, &check, &r.v)
	fp.Neg(&minus, &r.u)
	fp.Mul(&other, &r.root, &sqrtM1)
	flip := isEqual(&check, &minus)
	fp.Cmov(&r.root, &other, flip)
	return isEqual(&check, &r.u) | flip
}

// point is a point of −x² + y² = 1 + d·x²·y²: x = X/Z, y = Y/Z, x·y = A·B/Z.
// A·B is the T of the books; it is multiplied out only when an addition needs it.
type point struct{ X, Y, Z, A, B element }

// addend is a point made ready to be added: Y+X, Y−X, 2Z, 2d·T.
type addend [4]element

const yPlusX, yMinusX, twoZ, twoDT = 0, 1, 2, 3

var identity = point{Y: one, Z: one, B: one}

// Independent products stand together in double and add, so that the processor can
// work on several at once.

func (p *point) double() {
	var f, g element
	fp.Add(&p.A, &p.X, &p.Y)
	fp.Sqr(&f, &p.Z)
	fp.Sqr(&g, &p.X)
	fp.Sqr(&p.B, &p.Y)
	fp.Sqr(&p.A, &p.A)
	fp.Add(&f, &f, &f)
	fp.AddSub(&p.B, &g)      // B = Y²+X², g = Y²−X²
	fp.Sub(&f, &f, &g)       // f = 2·Z²−g
	fp.Sub(&p.A, &p.A, &p.B) // A = 2·X·Y
	fp.Mul(&p.Y, &g, &p.B)
	fp.Mul(&p.Z, &f, &g)
	fp.Mul(&p.X, &p.A, &f)
}

func (p *point) timesEight() {
	for range 3 {
		p.double()
	}
}

// add sets p = p + q, or p − q if sign is 1. What −q changes is which of two
// numbers comes first, so it costs nothing; but the order shows in the addresses,
// so sign must be no secret.
func (p *point) add(q *addend, sign uint) {
	var fg [2]element
	f, g := &fg[sign], &fg[sign^1]
	fp.Mul(&fg[0], &p.A, &p.B)
	fp.Sub(&p.A, &p.Y, &p.X)
	fp.Add(&p.B, &p.Y, &p.X)
	fp.Mul(&fg[1], &p.Z, &q[twoZ])
	fp.Mul(&p.A, &p.A, &q[yMinusX^sign])
	fp.Mul(&p.B, &p.B, &q[yPlusX^sign])
	fp.Mul(&fg[0], &fg[0], &q[twoDT])
	fp.AddSub(&p.B, &p.A)
	fp.AddSub(&fg[1], &fg[0])
	fp.Mul(&p.Y, g, &p.B)
	fp.Mul(&p.Z, f, g)
	fp.Mul(&p.X, &p.A, f)
}

// set makes q of p.
func (q *addend) set(p *point) {
	fp.Add(&q[yPlusX], &p.Y, &p.X)
	fp.Sub(&q[yMinusX], &p.Y, &p.X)
	fp.Add(&q[twoZ], &p.Z, &p.Z)
	fp.Mul(&q[twoDT], &p.A, &p.B)
	fp.Mul(&q[twoDT], &q[twoDT], &twiceD)
}

// negate makes q its inverse if bit is 1, in constant time.
func (q *addend) negate(bit uint) {
	fp.Cswap(&q[yPlusX], &q[yMinusX], bit)
	negate(&q[twoDT], bit)
}

func (p *point) negate() {
	negate(&p.X, 1)
	negate(&p.A, 1)
}

// isSmallOrder says whether 8·p is the identity.
func (p point) isSmallOrder() bool {
	p.timesEight()
	return isZero(p.X)&isEqual(&p.Y, &p.Z) == 1
}

// encode writes the encodings of RFC 8032 §5.1.2 of at most four points. One
// inversion, of the product of all Z, serves them all; none of them is zero.
func encode(points ...*point) (encodings [4][32]byte) {
	var before [4]element // the product of the Z of the points before
	product := one
	for i, p := range points {
		before[i] = product
		fp.Mul(&product, &product, &p.Z)
	}
	var inverse element
	fp.Inv(&inverse, &product)
	for i, p := range slices.Backward(points) {
		var x, y, z element
		fp.Mul(&z, &inverse, &before[i])
		fp.Mul(&inverse, &inverse, &p.Z)
		fp.Mul(&x, &p.X, &z)
		fp.Mul(&y, &p.Y, &z)
		fp.Modp(&y)
		y[31] |= byte(parity(x) << 7)
		encodings[i] = y
	}
	return encodings
}

// decoding is a string on its way to a point, stopped before the root that makes
// x of y, so that several roots can be tried together: x² = (y²−1)/(d·y²+1).
type decoding struct {
	ratio
	y         element
	sign      uint
	canonical bool
}

// decode is the first half of the strict decoding of RFC 8032 §5.1.3.
func decode(b [32]byte) (c decoding) {
	c.sign = uint(b[31] >> 7)
	b[31] &= 0x7f
	c.y = b
	fp.Modp(&c.y)
	c.canonical = c.y == b
	fp.Sqr(&c.u, &c.y)
	fp.Mul(&c.v, &c.u, &curveD)
	fp.Sub(&c.u, &c.u, &one)
	fp.Add(&c.v, &c.v, &one)
	return c
}

// point is the second half, after try. It refuses y ≥ p, a y without x, and the
// sign bit at x = 0.
func (c *decoding) point() (p point, ok bool) {
	if c.settle() == 0 || !c.canonical || isZero(c.root)&c.sign == 1 {
		return point{}, false
	}
	negate(&c.root, parity(c.root)^c.sign)
	return point{X: c.root, Y: c.y, Z: one, A: c.root, B: c.y}, true
}

// hashing is encode_to_curve of RFC 9381 §5.4.1.2, stopped before its root. It
// runs in constant time, since an α can be secret.
type hashing struct {
	ratio           // g(x)
	r, t, x element // the hashed r; t = 2r²; the candidate x as a fraction of w
	w       element // 1 + t, which is never 0: −1/2 is no square
}

var (
	montgomeryA = element{0x06, 0x6d, 0x07} // 486662
	rootM486664 = constant("0f26edf460a006bbd27b08dc03fc4f7ec5a1d3d14b7d1a82cc6e04aaff457e06")
	// onePlusI is 1+√−1, of which the square is 2·√−1.
	onePlusI = constant("2b8324804fc1df0b2b4d00993dfbd7a72f431806ad2fe478c4ee1b274a0ea0b1")
)

// hash is expand_message_xmd and hash_to_field of RFC 9380 §5, and the first half
// of the map.
func hash(pk PublicKey, alpha []byte) hashing {
	const size = 48
	msg := make([]byte, sha512.BlockSize, sha512.BlockSize+len(pk)+len(alpha)+3+len(encodeDST)+1)
	msg = append(append(msg, pk[:]...), alpha...)
	msg = append(append(msg, 0, size, 0), encodeDST...)
	first := sha512.Sum512(append(msg, byte(len(encodeDST))))
	msg = append(append(msg[:0], first[:]...), 1)
	msg = append(append(msg, encodeDST...), byte(len(encodeDST)))
	second := sha512.Sum512(msg)
	slices.Reverse(second[:size])

	var r, high element
	copy(r[:], second[:])
	copy(high[:], second[len(r):size])
	fp.Mul(&high, &high, &element{38}) // 2^256 = 38
	fp.Add(&r, &r, &high)
	return elligator(r)
}

// elligator begins the map Elligator 2 of RFC 9380 §6.7.1 with Z = 2: r goes to
// the x of two, −A/(1+2r²) or 2r² times that, for which g(x) = x³ + A·x² + x is a
// square. It prepares the first; one root will serve both.
func elligator(r element) (h hashing) {
	h.r = r
	fp.Sqr(&h.t, &r)
	fp.Add(&h.t, &h.t, &h.t)
	fp.Add(&h.w, &h.t, &one)
	fp.Neg(&h.x, &montgomeryA)
	// g(−A/w) = −A·(w² − A²·t) / w³
	var w2, a2t element
	fp.Sqr(&w2, &h.w)
	fp.Mul(&h.v, &w2, &h.w)
	fp.Sqr(&a2t, &montgomeryA)
	fp.Mul(&a2t, &a2t, &h.t)
	fp.Sub(&h.u, &w2, &a2t)
	fp.Mul(&h.u, &h.u, &h.x)
	return h
}

// point is the second half, after try: the map's end, without a division, to the
// twisted Edwards curve (RFC 9380 §6.8.2), and the multiplication by 8.
func (h *hashing) point() (p point) {
	square := h.settle()
	// g(x·t) = g(x)·t, and if v·root² = ±√−1·u, then root·r·(1+√−1) is to g(x·t)
	// what try left to settle.
	var root, x, u element
	fp.Mul(&root, &h.root, &h.r)
	fp.Mul(&root, &root, &onePlusI)
	fp.Mul(&x, &h.x, &h.t)
	fp.Mul(&u, &h.u, &h.t)
	fp.Cmov(&h.root, &root, 1^square)
	fp.Cmov(&h.x, &x, 1^square)
	fp.Cmov(&h.u, &u, 1^square)
	h.settle()
	negate(&h.root, parity(h.root)^square)

	// (x/w, y) goes to (√−486664·x/(w·y), (x−w)/(x+w)), and to the identity if a
	// denominator is 0.
	var f, g element
	fp.Mul(&p.A, &h.x, &rootM486664)
	fp.Sub(&p.B, &h.x, &h.w)
	fp.Add(&f, &h.x, &h.w)
	fp.Mul(&g, &h.w, &h.root)
	fp.Mul(&p.X, &p.A, &f)
	fp.Mul(&p.Y, &p.B, &g)
	fp.Mul(&p.Z, &f, &g)
	undefined := isZero(p.Z)
	fp.Cmov(&p.X, &identity.X, undefined)
	fp.Cmov(&p.Y, &identity.Y, undefined)
	fp.Cmov(&p.Z, &identity.Z, undefined)
	fp.Cmov(&p.A, &identity.A, undefined)
	fp.Cmov(&p.B, &identity.B, undefined)
	p.timesEight()
	return p
}

// odds fills the table with p, 3p, 5p …
func (p point) odds(table []addend) {
	var step addend
	twice := p
	twice.double()
	step.set(&twice)
	table[0].set(&p)
	for i := range table[1:] {
		p.add(&step, 0)
		table[i+1].set(&p)
	}
}

// digits is the non-adjacent form of a little-endian number below 2^255: its
// digits are 0 or odd, below 2^(width−1) in size, and few are not 0.
func digits(b []byte, width uint) [256]int8 {
	var wide [32]byte
	copy(wide[:], b)
	x, err := scalar.NewFromBits(wide[:])
	if err != nil {
		panic("vrf: " + err.Error()) // 32 bytes below 2^255 always fit
	}
	return x.NonAdjacentForm(width)
}

// addDigit adds digit·q, of whose odd multiples the table is. Not in constant time.
func (p *point) addDigit(table []addend, digit int8) {
	if digit != 0 {
		minus := digit >> 7 // −1 or 0
		p.add(&table[((digit^minus)-minus)/2], uint(minus&1))
	}
}

// baseOdds has the odd multiples of B and of 2^128·B. They are known before, so
// that s·B = (s mod 2^128)·B + ⌊s/2^128⌋·(2^128·B) needs no more doublings than
// the 128 bits of c do.
var baseOdds = func() (tables [2][64]addend) {
	c := decode(constant("6666666666666666666666666666666666666666666666666666666666666658"))
	try(&c.ratio)
	b, _ := c.point()
	b.odds(tables[0][:])
	for range 128 {
		b.double()
	}
	b.odds(tables[1][:])
	return tables
}()

// check gives U = s·B − c·Y and V = s·H − c·Γ. Not in constant time.
func check(y, h, gamma point, c, s []byte) (u, v point) {
	var ys, hs, gammas [8]addend
	y.negate()
	gamma.negate()
	y.odds(ys[:])
	h.odds(hs[:])
	gamma.odds(gammas[:])
	cs, ss, low, high := digits(c, 5), digits(s, 5), digits(s[:16], 8), digits(s[16:], 8)
	u, v = identity, identity
	for i := 253; i >= 0; i-- { // s < 2^253
		v.double()
		v.addDigit(hs[:], ss[i])
		if i > 128 {
			continue
		}
		v.addDigit(gammas[:], cs[i])
		u.double()
		u.addDigit(ys[:], cs[i])
		u.addDigit(baseOdds[0][:], low[i])
		u.addDigit(baseOdds[1][:], high[i])
	}
	return u, v
}

// times gives x·p for x below 2^253, in constant time: each digit of radix 16
// reads the whole table of 0, p … 8p, and is added even if it is 0.
func (p point) times(x *scalar.Scalar) point {
	var table [9]addend
	table[0].set(&identity)
	table[1].set(&p)
	for i := 2; i < len(table); i++ {
		p.add(&table[1], 0)
		table[i].set(&p)
	}
	digits := x.ToRadix16()
	sum := identity
	var q addend
	for i := len(digits) - 1; ; i-- {
		sign := digits[i] >> 7 // −1 or 0
		q.pick(&table, uint64((digits[i]^sign)-sign))
		q.negate(uint(sign & 1))
		sum.add(&q, 0)
		if i == 0 {
			return sum
		}
		for range 4 {
			sum.double()
		}
	}
}

// pick sets q = table[i], in constant time.
func (q *addend) pick(table *[9]addend, i uint64) {
	var masks [9]uint64 // all ones at i, else 0
	for j := range masks {
		masks[j] = -(((i ^ uint64(j)) - 1) >> 63)
	}
	le := binary.LittleEndian
	for k := range q {
		var w0, w1, w2, w3 uint64
		for j, mask := range masks {
			e := &table[j][k]
			w0 |= le.Uint64(e[0:]) & mask
			w1 |= le.Uint64(e[8:]) & mask
			w2 |= le.Uint64(e[16:]) & mask
			w3 |= le.Uint64(e[24:]) & mask
		}
		le.PutUint64(q[k][0:], w0)
		le.PutUint64(q[k][8:], w1)
		le.PutUint64(q[k][16:], w2)
		le.PutUint64(q[k][24:], w3)
	}
}
