package vrf

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/ecvrf"
	"github.com/oasisprotocol/curve25519-voi/primitives/h2c"
)

// The reference is a library's verification, which has no shortcut. Verify and
// Output are the same functions and only faster.

func refVerify(pk PublicKey, alpha []byte, p Proof) (Output, error) {
	if p[0] != Version {
		return Output{}, ErrVersion
	}
	ok, beta := ecvrf.Verify(pk[:], p[1:], alpha)
	if ok {
		return Output(beta), nil
	}
	if refValidate(pk) != nil {
		return Output{}, ErrKey
	}
	return Output{}, ErrProof
}

func refValidate(pk PublicKey) error {
	if y := refDecode(pk); y == nil || y.IsSmallOrder() {
		return ErrKey
	}
	return nil
}

// refDecode gives nil if the encoding is refused.
func refDecode(b [32]byte) *curve.EdwardsPoint {
	enc := curve.CompressedEdwardsY(b)
	p, err := curve.NewEdwardsPoint().SetCompressedY(&enc)
	if err != nil || !enc.IsCanonicalVartime() {
		return nil
	}
	return p
}

func refHash(pk PublicKey, alpha []byte) *curve.EdwardsPoint {
	h, err := h2c.Edwards25519_XMD_SHA512_ELL2_NU(encodeDST, append(bytes.Clone(pk[:]), alpha...))
	if err != nil {
		panic(err)
	}
	return h
}

func refOutput(k *PrivateKey, alpha []byte) Output {
	h := refHash(k.Public(), alpha)
	return sha512.Sum512(append(append([]byte{suite, 3}, encoded(h.Mul(h, &k.open().x8))...), 0))
}

// refCheck is U and V.
func refCheck(y, h, gamma *curve.EdwardsPoint, c, s *scalar.Scalar) (*curve.EdwardsPoint, *curve.EdwardsPoint) {
	var minus curve.EdwardsPoint
	u := curve.NewEdwardsPoint().DoubleScalarMulBasepointVartime(c, minus.Neg(y), s)
	v := curve.NewEdwardsPoint().MultiscalarMulVartime([]*scalar.Scalar{s, c}, []*curve.EdwardsPoint{h, minus.Neg(gamma)})
	return u, v
}

// number is a number of at most 32 bytes, not reduced.
func number(b []byte) *scalar.Scalar {
	s, err := scalar.NewFromBits(append(bytes.Clone(b), make([]byte, 32-len(b))...))
	if err != nil {
		panic(err)
	}
	return s
}

// mustAgree compares all that the two know of a key, an input and a proof. Proofs
// that are refused for their hash hide in it what went wrong, so it compares H, U,
// V and 8·Γ too, wherever the encodings allow them.
func mustAgree(t *testing.T, pk PublicKey, alpha []byte, p Proof) {
	t.Helper()
	if got, want := pk.Validate(), refValidate(pk); !errors.Is(got, want) {
		t.Fatalf("key %s: Validate says %v, the reference %v", pk, got, want)
	}
	got, gotErr := Verify(pk, alpha, p)
	want, wantErr := refVerify(pk, alpha, p)
	if got != want || !errors.Is(gotErr, wantErr) {
		t.Fatalf("key %s, alpha %x, proof %s: %s, %v, and the reference %s, %v", pk, alpha, p, got, gotErr, want, wantErr)
	}

	toH := hash(pk, alpha)
	try(&toH.ratio)
	h, refH := toH.point(), refHash(pk, alpha)
	mustBe(t, "H", h, refH)
	y, refY := mustDecode(t, pk)
	gamma, refGamma := mustDecode(t, [32]byte(p[1:33]))
	if refY == nil || refGamma == nil || !scalar.ScMinimalVartime(p[49:]) {
		return
	}
	u, v := check(y, h, gamma, p[33:49], p[49:])
	refU, refV := refCheck(refY, refH, refGamma, number(p[33:49]), number(p[49:]))
	mustBe(t, "U", u, refU)
	mustBe(t, "V", v, refV)
	gamma.timesEight()
	mustBe(t, "8·gamma", gamma, refGamma.MulByCofactor(refGamma))
}

func mustDecode(t *testing.T, b [32]byte) (point, *curve.EdwardsPoint) {
	t.Helper()
	ref := refDecode(b)
	c := decode(b)
	try(&c.ratio)
	p, ok := c.point()
	if ok != (ref != nil) {
		t.Fatalf("%x decodes: %v, by the reference: %v", b, ok, ref != nil)
	}
	if ok {
		mustBe(t, "a decoded point", p, ref)
	}
	return p, ref
}

func mustBe(t *testing.T, what string, p point, ref *curve.EdwardsPoint) {
	t.Helper()
	if got := encode(&p)[0]; !bytes.Equal(got[:], encoded(ref)) {
		t.Fatalf("%s is %x, by the reference %x", what, got, encoded(ref))
	}
}

// oddities are encodings at the edges of decoding: every small y and every y
// around p and 2^255, with both signs, and all points of small order.
func oddities() (list [][32]byte) {
	for sign := range byte(2) {
		for n := range 40 {
			low, high := [32]byte{byte(n)}, [32]byte{}
			for i := range high {
				high[i] = 0xff
			}
			high[0] -= byte(n)
			low[31], high[31] = sign<<7, 0x7f|sign<<7
			list = append(list, low, high)
		}
		for _, t := range curve.EIGHT_TORSION {
			e := [32]byte(encoded(t))
			e[31] ^= sign << 7
			list = append(list, e)
		}
	}
	return list
}

// Every odd encoding, as a key and as Γ, gets the library's verdict.
func TestOdditiesAgainstReference(t *testing.T) {
	k := key(1)
	p, _ := k.Prove([]byte("alpha"))
	for _, x := range oddities() {
		mustAgree(t, x, []byte("alpha"), p)
		q := p
		copy(q[1:], x[:])
		mustAgree(t, k.Public(), []byte("alpha"), q)
	}
	for _, x := range readVectors(t).Edge {
		q := Proof{Version}
		copy(q[1:], x.Pi)
		mustAgree(t, x.Key, x.Alpha, q)
	}
}

// The scalars at the edges, s ≥ q among them, with each pair of points of small
// order beside Y and Γ.
func TestScalarsAgainstReference(t *testing.T) {
	order := encodedScalar(scalar.New().Sub(scalar.New(), scalar.NewFromUint64(1))) // q − 1
	var list [][32]byte
	for _, n := range []int{0, 4, 5, 8, 64, 124, 127, 128, 129, 192, 251, 252, 253, 255} {
		var x [32]byte
		x[n/8] = 1 << (n % 8)
		list = append(list, addSmall(x, -1), x, addSmall(x, 1))
	}
	for n := -2; n < 3; n++ {
		list = append(list, addSmall(order, n))
	}
	for i := range byte(20) {
		list = append(list, [32]byte(sha512.New512_256().Sum([]byte{i})[1:]))
	}
	for keyShift := range 8 {
		c := newCrooked(keyShift, 3*keyShift%8)
		p := c.prove([]byte("alpha"), true)
		for i, s := range list {
			copy(p[49:], s[:])
			mustAgree(t, c.pk, []byte("alpha"), p)
			copy(p[33:49], list[(7*i+keyShift)%len(list)][:])
			mustAgree(t, c.pk, []byte("alpha"), p)
		}
	}
}

// addSmall is x + n mod 2^256.
func addSmall(x [32]byte, n int) [32]byte {
	for i := range x {
		n += int(x[i])
		x[i] = byte(n)
		n >>= 8
	}
	return x
}

func encodedScalar(s *scalar.Scalar) (b [32]byte) {
	if err := s.ToBytes(b[:]); err != nil {
		panic(err)
	}
	return b
}

// Each flipped bit of a key or a proof gets the library's verdict, and its H, U
// and V.
func TestFlipsAgainstReference(t *testing.T) {
	c := newCrooked(5, 6)
	alpha := []byte("alpha")
	p := c.prove(alpha, true)
	mustAgree(t, c.pk, alpha, p)
	for i := range 8 * len(p) {
		q := p
		q[i/8] ^= 1 << (i % 8)
		mustAgree(t, c.pk, alpha, q)
	}
	for i := range 8 * len(c.pk) {
		pk := c.pk
		pk[i/8] ^= 1 << (i % 8)
		mustAgree(t, pk, alpha, p)
	}
}

// A proof whose U and V are right and whose c is the hash of them but for one bit:
// the owner of a key can make it, for s = k + c·x holds for any c.
func TestWholeChallengeCounts(t *testing.T) {
	c := newCrooked(0, 0)
	alpha := []byte("alpha")
	p := c.prove(alpha, true)
	for i := range 8 * 16 {
		q := p
		q[33+i/8] ^= 1 << (i % 8)
		s := number(q[33:49])
		s.Sub(s, number(p[33:49])).Mul(s, c.x).Add(s, number(p[49:]))
		e := encodedScalar(s)
		copy(q[49:], e[:])
		if _, err := Verify(c.pk, alpha, q); !errors.Is(err, ErrProof) {
			t.Errorf("bit %d of c is not compared: %v", i, err)
		}
		mustAgree(t, c.pk, alpha, q)
	}
}

// Were a Γ that is no point taken for (0, 0, 0), the one inversion would be that of
// zero and all encodings zero, and anyone could compute the c of it.
func TestNoPointIsNoZero(t *testing.T) {
	pk, alpha := key(1).Public(), []byte("alpha")
	refused := 0
	for _, gamma := range oddities() {
		if refDecode(gamma) != nil {
			continue
		}
		refused++
		msg := slices.Concat([]byte{suite, 2}, pk[:], make([]byte, 32), gamma[:], make([]byte, 65))
		digest := sha512.Sum512(msg)
		p := Proof{Version}
		copy(p[1:], gamma[:])
		copy(p[33:], digest[:16])
		if _, err := Verify(pk, alpha, p); !errors.Is(err, ErrProof) {
			t.Errorf("gamma %x: %v", gamma, err)
		}
	}
	if refused < 40 {
		t.Fatalf("only %d strings are no points: the test tests little", refused)
	}
}

func TestOutputAgainstReference(t *testing.T) {
	for i := range 300 {
		k, alpha := key(i), bytes.Repeat([]byte{byte(i)}, i)
		if got, want := k.Output(alpha), refOutput(k, alpha); got != want {
			t.Fatalf("key %d: %s, by the reference %s", i, got, want)
		}
	}
}

// FuzzVerifyAgainstReference starts from a proof that is valid, by a key and with a
// Γ that may have parts of small order, and changes it: single bytes of key and
// proof, and s by a multiple of q. Whatever comes out, Verify and the library give
// one verdict and one output.
func FuzzVerifyAgainstReference(f *testing.F) {
	f.Add(uint8(0), uint8(0), true, uint8(0), []byte("alpha"), []byte{})
	f.Add(uint8(1), uint8(3), true, uint8(0), []byte("alpha"), []byte{})
	f.Add(uint8(4), uint8(4), false, uint8(0), []byte(""), []byte{})
	f.Add(uint8(0), uint8(7), true, uint8(1), []byte("alpha"), []byte{})
	f.Add(uint8(2), uint8(0), true, uint8(15), []byte("alpha"), []byte{31, 0x80, 64, 0x80})
	for i, x := range oddities() { // each in place of the key or of Γ
		p, pk := newCrooked(0, 0).prove([]byte("alpha"), true), newCrooked(0, 0).pk
		old, at := pk[:], 0
		if i%2 == 1 {
			old, at = p[1:33], 33
		}
		var changes []byte
		for j := range x {
			changes = append(changes, byte(at+j), x[j]^old[j])
		}
		f.Add(uint8(0), uint8(0), true, uint8(0), []byte("alpha"), changes)
	}
	q := addSmall(encodedScalar(scalar.New().Sub(scalar.New(), scalar.NewFromUint64(1))), 1)
	f.Fuzz(func(t *testing.T, keyShift, gammaShift uint8, fit bool, orders uint8, alpha, changes []byte) {
		c := newCrooked(int(keyShift%8), int(gammaShift%8))
		fit = fit || c.gammaShift == curve.EIGHT_TORSION[0] && c.keyShift == curve.EIGHT_TORSION[0]
		p, pk := c.prove(alpha, fit), c.pk
		for range orders % 16 { // s + 15q is still below 2^256
			carry := 0
			for i := range q {
				carry += int(p[49+i]) + int(q[i])
				p[49+i] = byte(carry)
				carry >>= 8
			}
		}
		for len(changes) >= 2 {
			at, change := int(changes[0])%(len(pk)+len(p)), changes[1]
			if at < len(pk) {
				pk[at] ^= change
			} else {
				p[at-len(pk)] ^= change
			}
			changes = changes[2:]
		}
		mustAgree(t, pk, alpha, p)
	})
}
