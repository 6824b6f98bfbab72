// Package vrf is the lottery ticket machine: a hash that only the holder of a
// key can compute and that everybody can check (spec chapter 2).
//
// From its secret key and an input α a node computes an output β of 64 bytes.
// β looks random to everyone else, the node cannot choose it, and there is
// exactly one for each key and α. A proof π shows that a β is the one. The
// scheme is ECVRF-EDWARDS25519-SHA512-ELL2 of RFC 9381, unchanged; on the wire
// one version byte goes before its 80 bytes.
//
// # Two prices
//
// Every worker draws in every task and nearly all of them lose. A loser needs β
// alone, to see that it lost, and stays silent. So [PrivateKey.Output] computes
// β without a proof, for two fifths of what [PrivateKey.Prove] costs: one hash to
// the curve and one multiplication in constant time, where a proof takes three.
//
// # What is valid
//
// One predicate decides, [Verify]: ECVRF_verify of RFC 9381 §5.3 with
// validate_key = TRUE. With B the base point, q its order, Y the public key and
// π = (Γ, c, s), 16 bytes of c and s in little-endian:
//
//	Y and Γ decode as RFC 8032 §5.1.3 demands (y < p, and no −0),  8·Y ≠ 0,  s < q
//	H = encode_to_curve(Y, α)                             (in the subgroup of order q)
//	U = s·B − c·Y,  V = s·H − c·Γ                         (exactly, with no cofactor)
//	c = the first 16 bytes of SHA-512(04 02 Y H Γ U V 00) (points in their encoding)
//	β = SHA-512(04 03 8·Γ 00)
//
// The cofactor 8 therefore enters at two places: a key of small order is
// refused, and β depends on Γ only through 8·Γ (spec §5.4).
//
// It does not enter in U and V, and it could not. They are not sent; they are
// recomputed and hashed, and a hash does not forgive a point of small order. So
// the question of Ed25519, whether an equation between received points holds
// before or only after multiplication by 8, has no counterpart here, and neither
// has its trouble, a batch that accepts what a single check refuses: a batch
// equation needs U and V as given points, and this form of proof has none. To
// verify many proofs is to call Verify on each. Implementations must not move
// the proof to the batch form (Γ, U, V, s) to gain speed: there the owner of a
// key can add points of small order that a check with the cofactor accepts and
// Verify refuses (spec §2.2.4; a test builds such a proof).
//
// # What is unique
//
// β is; π is not. The owner of a key may choose other nonces than the RFC's, and
// may shift Γ by a point of small order and search some eight nonces for a c that
// fits. All those proofs verify and all give the same β, for 8·Γ = x·8·H with the
// one x for which 8·Y = x·8·B. Hence two claims are the same if node and input are
// the same; the bytes of a proof identify nothing, and no rule may hash them to
// get randomness.
package vrf

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/ecvrf"
)

const (
	// Version is the first byte of every proof. It names the suite, so that a
	// later one (threshold, post-quantum) is refused instead of misread.
	Version = 0x01

	// SeedSize is the size of a key's seed, in bytes.
	SeedSize = 32
	// ProofSize is the size of a proof, its version included, in bytes.
	ProofSize = 1 + ecvrf.ProofSize
	// OutputSize is the size of β, in bytes.
	OutputSize = ecvrf.OutputSize
)

// Errors of this package, to be matched with errors.Is.
var (
	ErrVersion = errors.New("vrf: unknown proof version")
	ErrSize    = errors.New("vrf: wrong size")
	ErrKey     = errors.New("vrf: public key is no canonical point or has small order")
	ErrProof   = errors.New("vrf: proof does not verify")
)

// Output is β: 64 bytes, uniform to whoever lacks the secret key. Only those
// returned by Verify, Prove or one's own key mean anything.
type Output [OutputSize]byte

func (o Output) String() string { return hex.EncodeToString(o[:]) }

// MarshalText writes hex.
func (o Output) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads 128 hex digits.
func (o *Output) UnmarshalText(text []byte) error { return unhex(o[:], text) }

// PublicKey is the encoding of Y (RFC 8032 §5.1.2). Having one says nothing of
// its validity: Verify and Validate do.
type PublicKey [ed25519.PublicKeySize]byte

func (pk PublicKey) String() string { return hex.EncodeToString(pk[:]) }

// MarshalText writes hex.
func (pk PublicKey) MarshalText() ([]byte, error) { return []byte(pk.String()), nil }

// UnmarshalText reads 64 hex digits.
func (pk *PublicKey) UnmarshalText(text []byte) error { return unhex(pk[:], text) }

// Validate is ECVRF_validate_key (RFC 9381 §5.4.5) after strict decoding: the
// check that a registry makes before it takes a key, and the one that Verify
// makes. Its only error is ErrKey.
func (pk PublicKey) Validate() error {
	toY := decode(pk)
	try(&toY.ratio)
	if Y, ok := toY.point(); !ok || Y.isSmallOrder() {
		return ErrKey
	}
	return nil
}

// ParsePublicKey takes 32 bytes that pass Validate. Its errors are ErrSize and
// ErrKey.
func ParsePublicKey(b []byte) (PublicKey, error) {
	if len(b) != len(PublicKey{}) {
		return PublicKey{}, fmt.Errorf("key of %d bytes, want %d: %w", len(b), len(PublicKey{}), ErrSize)
	}
	pk := PublicKey(b)
	if err := pk.Validate(); err != nil {
		return PublicKey{}, err
	}
	return pk, nil
}

// Proof is the version byte and π of RFC 9381: Γ (32 bytes), c (16), s (32).
type Proof [ProofSize]byte

// ParseProof checks version and length, nothing else: a parsed proof is still
// unverified. Its errors are ErrVersion and ErrSize.
func ParseProof(b []byte) (Proof, error) {
	var p Proof
	if len(b) != ProofSize {
		return p, fmt.Errorf("proof of %d bytes, want %d: %w", len(b), ProofSize, ErrSize)
	}
	if b[0] != Version {
		return p, fmt.Errorf("proof version %#02x: %w", b[0], ErrVersion)
	}
	copy(p[:], b)
	return p, nil
}

func (p Proof) String() string { return hex.EncodeToString(p[:]) }

// MarshalText writes hex.
func (p Proof) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads hex and checks as ParseProof does.
func (p *Proof) UnmarshalText(text []byte) error {
	var q Proof
	err := unhex(q[:], text)
	if err == nil {
		q, err = ParseProof(q[:])
	}
	if err == nil {
		*p = q
	}
	return err
}

// Verify is the validity rule of spec §2.2.3 and the only way to accept a proof.
// It gives the β of (pk, alpha), or ErrVersion, ErrKey or ErrProof and the zero
// Output. alpha may have any length. Its running time depends on its arguments,
// all of them public.
func Verify(pk PublicKey, alpha []byte, p Proof) (Output, error) {
	if p[0] != Version {
		return Output{}, fmt.Errorf("proof version %#02x: %w", p[0], ErrVersion)
	}
	beta, ok := verify(pk, alpha, [32]byte(p[1:33]), [16]byte(p[33:49]), [32]byte(p[49:]))
	if !ok {
		// verify says only no; the reason is worth a second look at the key.
		if err := pk.Validate(); err != nil {
			return Output{}, err
		}
		return Output{}, ErrProof
	}
	return beta, nil
}

// verify takes no shortcut that the predicate could see: H, U, V and 8·Γ are the
// points that the rule names, and only the way to them is short. The three square
// roots are found side by side (try), the four inversions are one (encode), the map
// to the curve has none (hashing), and s·B shares the doublings of c·Y (check).
func verify(pk PublicKey, alpha []byte, gamma [32]byte, c [16]byte, s [32]byte) (Output, bool) {
	toY, toGamma, toH := decode(pk), decode(gamma), hash(pk, alpha)
	try(&toY.ratio, &toGamma.ratio, &toH.ratio)
	Y, okY := toY.point()
	G, okGamma := toGamma.point()
	H := toH.point()
	if !okY || Y.isSmallOrder() || !okGamma || !scalar.ScMinimalVartime(s[:]) {
		return Output{}, false
	}
	U, V := check(Y, H, G, c[:], s[:])
	G.timesEight()
	e := encode(&H, &U, &V, &G)
	msg := append(make([]byte, 0, 2+5*32+1), suite, 0x02)
	msg = append(append(append(msg, pk[:]...), e[0][:]...), gamma[:]...)
	msg = append(append(append(msg, e[1][:]...), e[2][:]...), 0x00)
	if digest := sha512.Sum512(msg); [16]byte(digest[:16]) != c {
		return Output{}, false
	}
	return proofToHash(e[3]), true
}

// proofToHash is ECVRF_proof_to_hash from the encoding of 8·Γ on (RFC 9381 §5.2).
func proofToHash(gamma8 [32]byte) Output {
	msg := [2 + len(gamma8) + 1]byte{suite, 0x03}
	copy(msg[2:], gamma8[:])
	return sha512.Sum512(msg[:])
}

// PrivateKey evaluates the function. Copies share one secret. It prints as
// redacted in every format. The secret stands behind a function, for fmt calls no
// methods on unexported fields: a struct that holds a key there would print all
// that a pointer leads to, and so prints an address. The zero value is no key: its
// methods panic. Several goroutines may use one key.
type PrivateKey struct{ open func() *secret }

type secret struct {
	key ed25519.PrivateKey // seed ‖ public key
	pk  PublicKey
	x8  scalar.Scalar // 8x mod q: H has order q, so x8·H is 8·Γ in one multiplication
}

// NewKey derives the key pair of a seed as RFC 8032 §5.1.5 does. The seed is all
// of the secret: 32 bytes from a cryptographic random source, used for no other
// key (spec §2.2.1).
func NewKey(seed [SeedSize]byte) *PrivateKey {
	s := &secret{key: ed25519.NewKeyFromSeed(seed[:])}
	s.pk = PublicKey(s.key[SeedSize:])
	h := sha512.Sum512(seed[:])
	h[0] &= 248
	h[31] &= 127
	h[31] |= 64
	x, err := scalar.NewFromBits(h[:32])
	if err != nil {
		panic("vrf: " + err.Error()) // 32 bytes below 2^255 always fit
	}
	s.x8.Mul(x, scalar.NewFromUint64(8))
	return &PrivateKey{func() *secret { return s }}
}

// Public gives the public key.
func (k PrivateKey) Public() PublicKey { return k.open().pk }

// Output computes β without a proof: hash to the curve, one multiplication in
// constant time, one hash. It equals the Output of Prove.
func (k PrivateKey) Output(alpha []byte) Output {
	s := k.open()
	toH := hash(s.pk, alpha)
	try(&toH.ratio)
	gamma8 := toH.point().times(&s.x8) // 8·Γ is 8x·H
	return proofToHash(encode(&gamma8)[0])
}

// Prove computes β and the proof of it. The nonce is derived from key and input
// (RFC 9381 §5.4.2.2), so the same call gives the same proof.
func (k PrivateKey) Prove(alpha []byte) (Proof, Output) {
	p := Proof{Version}
	copy(p[1:], ecvrf.Prove(k.open().key, alpha))
	beta, err := ecvrf.ProofToHash(p[1:])
	if err != nil {
		panic("vrf: " + err.Error()) // our own proof decodes
	}
	return p, Output(beta)
}

const redacted = "vrf.PrivateKey[redacted]"

func (PrivateKey) String() string   { return redacted }
func (PrivateKey) GoString() string { return redacted }

// Format writes the same word for every verb, %x and %d included.
func (PrivateKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue keeps the key out of structured logs.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

const suite = 0x04 // suite_string of ECVRF-EDWARDS25519-SHA512-ELL2 (RFC 9381 §5.5)

// encodeDST is "ECVRF_" ‖ h2c_suite_ID_string ‖ suite_string (RFC 9381 §5.4.1.2).
var encodeDST = append([]byte("ECVRF_edwards25519_XMD:SHA-512_ELL2_NU_"), suite)

// unhex fills dst from exactly as many hex digits as it takes.
func unhex(dst, text []byte) error {
	if len(text) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%d characters, want %d hex digits: %w", len(text), hex.EncodedLen(len(dst)), ErrSize)
	}
	b, err := hex.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("vrf: %w", err)
	}
	copy(dst, b)
	return nil
}
