package beacon

import (
	"math/big"

	"github.com/cloudflare/circl/ecc/bls12381"
)

// onCurveOnly says whether compressed bytes are a point of the curve that is not in
// the subgroup. The library refuses those as it refuses what is on no curve; so the
// curve's equation is looked at here, by plain integers.
func onCurveOnly(b []byte) bool {
	if len(b) == SignatureSize {
		return squareG1(b) && new(bls12381.G1).SetBytes(b) != nil
	}
	return squareG2(b) && new(bls12381.G2).SetBytes(b) != nil
}

var prime, _ = new(big.Int).SetString("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16)

func isSquare(n *big.Int) bool { return big.Jacobi(new(big.Int).Mod(n, prime), prime) >= 0 }

// squareG1 says whether x³ + 4 is a square: whether the curve has a point at x.
func squareG1(b []byte) bool {
	x := new(big.Int).SetBytes(append([]byte{b[0] & 0x1f}, b[1:]...))
	n := new(big.Int).Exp(x, big.NewInt(3), prime)
	return isSquare(n.Add(n, big.NewInt(4)))
}

// squareG2 is the same for x³ + 4(1 + i), with an x that is a number of the small
// field: u + vi is a square there if its norm u² + v² is one in the small field.
func squareG2(b []byte) bool {
	x := new(big.Int).SetBytes(b[48:])
	u := new(big.Int).Exp(x, big.NewInt(3), prime)
	u.Add(u, big.NewInt(4))
	norm := new(big.Int).Mul(u, u)
	return isSquare(norm.Add(norm, big.NewInt(16)))
}
