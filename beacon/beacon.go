// Package beacon is the chain's dice: for each height one value that nobody knows
// before, nobody can choose, and everybody can check (spec chapter 4).
//
// A chain has one group key, and the beacon of a height is the group's signature
// on it. The secret behind the key is shared among the validators' seats, so that
// any T of P shares make the signature and fewer say nothing about it. BLS
// signatures are unique: one key and one height give one value, whoever signs,
// whoever proposes and in whatever round. So there is nothing to grind.
//
// Keys are in G2 of BLS12-381, signatures in G1, hashed to the curve as RFC 9380
// has it, under the tag of the BLS signature scheme's basic form. A share signs as
// a key does; its signature is a part. T parts are put together by Lagrange's
// interpolation at 0:
//
//	part_i = f(i)·H(m),   signature = Σ λᵢ·part_i = f(0)·H(m),   f of degree T − 1
//
// What was checked is another type than what came in: [Signature] and [Key] are
// bytes, and only [Key.Open] and the secret itself make a [Beacon].
//
// The package is pure. Nothing here draws randomness: secrets are derived from
// seeds that come in.
package beacon

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"

	"github.com/cloudflare/circl/ecc/bls12381"

	"github.com/prytany/prytany/task"
)

// Sizes in bytes, of compressed points.
const (
	KeySize       = bls12381.G2SizeCompressed
	SignatureSize = bls12381.G1SizeCompressed
)

// dst separates these hashes to the curve from all other uses of it. It is that of
// the BLS signature scheme with signatures in G1, basic form.
const dst = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"

// Key is a public key, the group's or a share's: a compressed point of G2.
type Key [KeySize]byte

// Signature is a signature or a part of one: a compressed point of G1.
type Signature [SignatureSize]byte

// Input is what the group signs for the block of a height. There is nothing in it
// that a proposer could choose.
func Input(chain string, height uint64) task.Hash {
	return task.H(task.TagBeacon, []byte(chain), task.U64(height))
}

// Value is the beacon itself, once the signature holds.
func (s Signature) Value() task.Hash { return task.H(task.TagBeacon, s[:]) }

// IsZero says whether the signature was never set: it is no point.
func (s Signature) IsZero() bool { return s == Signature{} }

func (s Signature) String() string { return hex.EncodeToString(s[:]) }

// MarshalText writes hex.
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads hex of exactly as many digits as the signature has.
func (s *Signature) UnmarshalText(text []byte) error { return unhex(s[:], text) }

func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Short is the first eight hex digits: for people, never for machines.
func (k Key) Short() string { return hex.EncodeToString(k[:4]) }

// MarshalText writes hex.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads hex of exactly as many digits as the key has.
func (k *Key) UnmarshalText(text []byte) error { return unhex(k[:], text) }

func unhex(to, text []byte) error {
	if len(text) != hex.EncodedLen(len(to)) {
		return fmt.Errorf("want %d hex digits, have %d characters", hex.EncodedLen(len(to)), len(text))
	}
	_, err := hex.Decode(to, text)
	return err
}

// Check says whether the key is a point of the right subgroup, not the neutral one.
func (k Key) Check() error { _, err := k.point(); return err }

func (k Key) point() (*bls12381.G2, error) {
	p := new(bls12381.G2)
	if !finite(k[0]) || p.SetBytes(k[:]) != nil {
		return nil, task.Refuse("beacon-key", "%s… is no public key: not a point of G2's subgroup in its one compressed form", k.Short())
	}
	return p, nil
}

func (s Signature) point() (*bls12381.G1, error) {
	p := new(bls12381.G1)
	if !finite(s[0]) || p.SetBytes(s[:]) != nil {
		return nil, task.Refuse("beacon-malformed", "%x… is no signature: not a point of G1's subgroup in its one compressed form", s[:4])
	}
	return p, nil
}

// finite says whether a point's first byte is that of a compressed one that is not
// at infinity. The library takes other forms too, and reads past the end of a short
// slice that claims to be one of them.
func finite(first byte) bool { return first&0xc0 == 0x80 }

// Parse reads a signature from untrusted bytes. It is a point then, and of whom is
// not known.
func Parse(raw []byte) (Signature, error) {
	if len(raw) != SignatureSize {
		return Signature{}, task.Refuse("beacon-malformed", "a signature has %d bytes, this has %d", SignatureSize, len(raw))
	}
	s := Signature(raw)
	_, err := s.point()
	return s, err
}

// Verify says whether the signature is this key's on the message:
// e(s, g₂) = e(H(m), key), as one product of two pairings.
func (k Key) Verify(message task.Hash, s Signature) error { return k.verify(message[:], s) }

func (k Key) verify(message []byte, s Signature) error {
	key, err := k.point()
	if err != nil {
		return err
	}
	point, err := s.point()
	if err != nil {
		return err
	}
	product := bls12381.ProdPairFrac(
		[]*bls12381.G1{point, hashed(message)},
		[]*bls12381.G2{bls12381.G2Generator(), key}, []int{1, -1})
	if !product.IsIdentity() {
		return task.Refuse("beacon-forged", "the signature %x… is not that of key %s on this height", s[:4], k.Short())
	}
	return nil
}

func hashed(message []byte) *bls12381.G1 {
	p := new(bls12381.G1)
	p.Hash(message, []byte(dst))
	return p
}

// Beacon is a signature that holds, of one key on one message. The zero value is
// of no key.
type Beacon struct {
	key     Key
	message task.Hash
	sig     Signature
}

// Open makes a beacon of untrusted bytes, if they are the key's signature.
func (k Key) Open(message task.Hash, raw []byte) (Beacon, error) {
	s, err := Parse(raw)
	if err == nil {
		err = k.Verify(message, s)
	}
	if err != nil {
		return Beacon{}, err
	}
	return Beacon{k, message, s}, nil
}

// Of says whether the beacon is this key's on this message.
func (b Beacon) Of(k Key, message task.Hash) bool { return b.key == k && b.message == message }

// Signature is what everybody can check.
func (b Beacon) Signature() Signature { return b.sig }

// Secret is a secret key, the group's or a share of it. Copies share one secret. It
// prints as redacted in every format: it stands behind a function, for fmt calls no
// methods on unexported fields. The zero value is no key: its methods panic.
type Secret struct{ open func() *secret }

type secret struct {
	x   bls12381.Scalar
	key Key
}

const redacted = "beacon.Secret[redacted]"

func (Secret) String() string   { return redacted }
func (Secret) GoString() string { return redacted }

// Format writes the same word for every verb.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue keeps the secret out of structured logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

func newSecret(x bls12381.Scalar) Secret {
	p := new(bls12381.G2)
	p.ScalarMult(&x, bls12381.G2Generator())
	s := &secret{x, Key(p.BytesCompressed())}
	return Secret{func() *secret { return s }}
}

// NewSecret derives a secret key from a seed, of which all its secrecy comes.
func NewSecret(seed [32]byte) Secret { return newSecret(scalar(seed[:], keySalt)) }

// keySalt is what the BLS signature scheme's KeyGen begins with.
const keySalt = "BLS-SIG-KEYGEN-SALT-"

// scalar is KeyGen of the BLS signature scheme: HKDF, as many bytes that the
// remainder has no bias, and again if it is 0.
func scalar(seed []byte, salt string) bls12381.Scalar {
	const size = 48
	var x bls12381.Scalar
	for {
		wide, err := hkdf.Key(sha256.New, append(append([]byte{}, seed...), 0), []byte(salt), "\x00\x30", size)
		if err != nil {
			panic("beacon: " + err.Error()) // fails only if too much is asked for
		}
		if x.SetBytes(wide); x.IsZero() == 0 {
			return x
		}
		again := sha256.Sum256([]byte(salt))
		salt = string(again[:])
	}
}

// Public is the public key.
func (s Secret) Public() Key { return s.open().key }

// Sign gives the one signature of this key on the message.
func (s Secret) Sign(message task.Hash) Signature { return s.sign(message[:]) }

func (s Secret) sign(message []byte) Signature {
	p := hashed(message)
	p.ScalarMult(&s.open().x, p)
	return Signature(p.BytesCompressed())
}

// Beacon signs as Sign does. What a key has signed itself needs no pairing to be
// believed.
func (s Secret) Beacon(message task.Hash) Beacon {
	return Beacon{s.Public(), message, s.Sign(message)}
}
