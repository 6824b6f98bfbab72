package vrf

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/h2c"
)

// crooked is the owner of a key who departs from the RFC wherever points of
// small order let him: his public key is Y = x·B + keyShift, his Γ is
// x·H + gammaShift.
type crooked struct {
	x                    *scalar.Scalar
	keyShift, gammaShift *curve.EdwardsPoint
	pk                   PublicKey
}

func newCrooked(keyShift, gammaShift int) *crooked {
	x := scalar.New().Invert(scalar.NewFromUint64(8)) // the key keeps 8x only
	return crookedWith(x.Mul(x, &key(99).open().x8), keyShift, gammaShift)
}

func crookedWith(x *scalar.Scalar, keyShift, gammaShift int) *crooked {
	c := &crooked{x: x, keyShift: curve.EIGHT_TORSION[keyShift], gammaShift: curve.EIGHT_TORSION[gammaShift]}
	var y curve.EdwardsPoint
	y.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, c.x)
	c.pk = PublicKey(encoded(y.Add(&y, c.keyShift)))
	return c
}

func encoded(p *curve.EdwardsPoint) []byte {
	var e curve.CompressedEdwardsY
	return bytes.Clone(e.SetEdwardsPoint(p)[:])
}

// times is n·p for the small n that matter to a point of small order.
func times(n uint64, p *curve.EdwardsPoint) *curve.EdwardsPoint {
	return curve.NewEdwardsPoint().Mul(p, scalar.NewFromUint64(n))
}

// prove searches nonces until the small-order parts fit. With U = k·B − r·shift
// and V likewise, hashed to c, the verifier finds the same U and V if c ≡ r
// mod 8. If fit is false it takes a c that does not fit, with r = 0: the batch
// form (Γ, U, V, s) of that proof satisfies both equations times 8.
func (c *crooked) prove(alpha []byte, fit bool) Proof {
	H, err := h2c.Edwards25519_XMD_SHA512_ELL2_NU(encodeDST, append(bytes.Clone(c.pk[:]), alpha...))
	if err != nil {
		panic(err)
	}
	gamma := curve.NewEdwardsPoint().Mul(H, c.x)
	gamma.Add(gamma, c.gammaShift)
	for n := uint64(1); ; n++ {
		seed := sha512.Sum512(binary.BigEndian.AppendUint64([]byte("nonce"), n))
		k, err := scalar.NewFromBytesModOrderWide(seed[:])
		if err != nil {
			panic(err)
		}
		for r := uint64(0); r < 8; r++ {
			U := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, k)
			V := curve.NewEdwardsPoint().Mul(H, k)
			U.Sub(U, times(r, c.keyShift))
			V.Sub(V, times(r, c.gammaShift))
			h := sha512.New()
			for _, b := range [][]byte{{suite, 2}, c.pk[:], encoded(H), encoded(gamma), encoded(U), encoded(V), {0}} {
				h.Write(b)
			}
			var cb [32]byte
			copy(cb[:16], h.Sum(nil))
			if fits := uint64(cb[0]%8) == r; fits != fit {
				if !fit {
					break
				}
				continue
			}
			ch, err := scalar.NewFromBits(cb[:])
			if err != nil {
				panic(err)
			}
			s := scalar.New().Mul(ch, c.x)
			s.Add(s, k)
			p := Proof{Version}
			copy(p[1:], encoded(gamma))
			copy(p[33:], cb[:16])
			if err := s.ToBytes(p[49:]); err != nil {
				panic(err)
			}
			if !fit {
				c.mustHoldTimes8(ch, s, H, gamma, U, V)
			}
			return p
		}
	}
}

// mustHoldTimes8 checks the cofactored equations of the batch form:
// 8·(s·B − c·Y − U) = 0 and 8·(s·H − c·Γ − V) = 0.
func (c *crooked) mustHoldTimes8(ch, s *scalar.Scalar, H, gamma, U, V *curve.EdwardsPoint) {
	var y curve.EdwardsPoint
	enc := curve.CompressedEdwardsY(c.pk)
	if _, err := y.SetCompressedY(&enc); err != nil {
		panic(err)
	}
	for _, e := range [][3]*curve.EdwardsPoint{{curve.ED25519_BASEPOINT_POINT, &y, U}, {H, gamma, V}} {
		var sum, part curve.EdwardsPoint
		sum.Mul(e[0], s)
		sum.Sub(&sum, part.Mul(e[1], ch))
		sum.Sub(&sum, e[2])
		if !sum.IsSmallOrder() {
			panic("the batch form does not hold: the test tests nothing")
		}
	}
}

// One β for each key and input, whatever the owner does with the points of small
// order; and the proof that only a check with the cofactor would accept is
// refused (spec §2.2.4).
func TestOneOutputDespiteSmallOrder(t *testing.T) {
	var edges []edge
	add := func(name string, c *crooked, alpha []byte, p Proof) Output {
		beta, err := Verify(c.pk, alpha, p)
		e := edge{Name: name, Key: c.pk, Alpha: alpha, Pi: p[1:], Valid: err == nil}
		if err == nil {
			e.Beta = &beta
		}
		edges = append(edges, e)
		return beta
	}
	alpha := []byte("alpha")
	for keyShift := range 8 {
		straight := newCrooked(keyShift, 0)
		if err := straight.pk.Validate(); err != nil {
			t.Fatalf("key of mixed order: %v", err)
		}
		want, err := Verify(straight.pk, alpha, straight.prove(alpha, true))
		if err != nil {
			t.Fatalf("key shifted by %d: %v", keyShift, err)
		}
		if keyShift == 0 && want != key(99).Output(alpha) {
			t.Fatal("the crooked prover is not even right when straight")
		}
		for gammaShift := 1; gammaShift < 8; gammaShift++ {
			c := newCrooked(keyShift, gammaShift)
			beta, err := Verify(c.pk, alpha, c.prove(alpha, true))
			if err != nil {
				t.Fatalf("shifts %d, %d: %v", keyShift, gammaShift, err)
			}
			if beta != want {
				t.Fatalf("shifts %d, %d: a second beta for one key and input", keyShift, gammaShift)
			}
		}
	}
	c := newCrooked(0, 1)
	add("gamma shifted by a point of order 8, c fits: valid, same beta as unshifted", c, alpha, c.prove(alpha, true))
	if add("gamma shifted by a point of order 8, c does not fit: valid only in batch form", c, alpha, c.prove(alpha, false)) != (Output{}) {
		t.Error("a proof that holds only with the cofactor is accepted")
	}
	c = newCrooked(1, 0)
	add("key of mixed order, c fits: valid", c, alpha, c.prove(alpha, true))
	c = newCrooked(1, 3)
	add("key of mixed order, gamma shifted, c fits: valid, same beta as the one before", c, alpha, c.prove(alpha, true))
	c = newCrooked(1, 0)
	if add("key of mixed order, c does not fit: valid only in batch form", c, alpha, c.prove(alpha, false)) != (Output{}) {
		t.Error("a proof that holds only with the cofactor is accepted")
	}

	v := readVectors(t)
	if *update {
		v.Edge = edges
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(v.Edge, edges) {
		t.Errorf("the edge cases differ from %s; look, then run with -update", vectorFile)
	}
}

// A key of small order has x = 0, and its owner proves β = SHA-512(04 03 0 00)
// for every input: nothing but validate_key stands against these proofs.
func TestSmallOrderKeyProvesNothing(t *testing.T) {
	for i := range 8 {
		c := crookedWith(scalar.New(), i, 0)
		if _, err := Verify(c.pk, []byte("alpha"), c.prove([]byte("alpha"), true)); !errors.Is(err, ErrKey) {
			t.Errorf("key %s: %v", c.pk, err)
		}
	}
}
