package beacon

import (
	"encoding/binary"
	"fmt"

	"github.com/cloudflare/circl/ecc/bls12381"

	"github.com/prytany/prytany/task"
)

// MaxSeats bounds a set, and with it what a commit carries.
const MaxSeats = 100

// Threshold is how many of so many seats' parts make a signature: more than two
// thirds, as many as agree on a block. So who can know a beacon in advance can also
// fork the chain, and nobody else can.
func Threshold(seats int) int { return 2*seats/3 + 1 }

// Kind says how the shares came about.
type Kind uint8

// The kinds.
const (
	// Own: one validator holds the only share, which is the secret. It knows every
	// beacon in advance, and says so.
	Own Kind = 1
	// Dealt: one dealer made all shares and knew the secret. For tests.
	Dealt Kind = 2
)

var kindWords = task.Words{"", "own", "dealt"}

func (k Kind) String() string { return kindWords.Of(uint8(k)) }

// Distance is how many blocks after a task's own the beacon comes that seeds it.
//
// Among several it is two. The first parts for block h come with precommits of block
// h − 1. Were a task of block k seeded by the beacon of k + 1, those parts would be
// given while k is being decided, in whatever round and for whatever proposal: then
// less than a third can know the beacon while two blocks k are still possible. A
// precommit of k + 1 is given only when k is final.
//
// A sole validator knows all beacons before all blocks, so no distance keeps it from
// choosing, and one block more would only cost time.
func (k Kind) Distance() uint64 {
	if k == Own {
		return 1
	}
	return 2
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(text []byte) error { return task.ReadWord(kindWords, k, text) }

// Group is a chain's key, which never changes, and who holds its shares now.
type Group struct {
	Kind Kind `cbor:"1,keyasint" json:"kind"`
	Key  Key  `cbor:"2,keyasint" json:"key"`
	Set  Set  `cbor:"3,keyasint" json:"set"`
}

// Set is those who hold shares from some height on. A handover, which is not built,
// gives the next set other shares of the same secret.
type Set struct {
	ID      uint64   `cbor:"1,keyasint" json:"id,string"`   // 0 is the genesis's
	From    uint64   `cbor:"2,keyasint" json:"from,string"` // the first height that it makes a beacon for
	Holders []Holder `cbor:"3,keyasint" json:"holders"`
}

// Holder is a validator, with the public keys of its seats' shares. Seats are
// counted through all holders, from 0. A holder's power is the number of its seats.
type Holder struct {
	Validator task.Key `cbor:"1,keyasint" json:"validator"` // by which it signs blocks
	Shares    []Key    `cbor:"2,keyasint" json:"shares"`
}

// Seats is how many there are.
func (s Set) Seats() (n int) {
	for _, h := range s.Holders {
		n += len(h.Shares)
	}
	return n
}

// Holder finds a validator's entry, and the number of its first seat.
func (s Set) Holder(validator task.Key) (h Holder, first uint32, ok bool) {
	for _, h := range s.Holders {
		if h.Validator == validator {
			return h, first, true
		}
		first += uint32(len(h.Shares))
	}
	return Holder{}, 0, false
}

// OwnGroup is the group of a sole validator: one seat, whose share is the secret.
func OwnGroup(validator task.Key, secret Secret) Group {
	return Group{Kind: Own, Key: secret.Public(), Set: Set{Holders: []Holder{{validator, []Key{secret.Public()}}}}}
}

// DealtGroup shares a secret that is derived from a seed among validators, one seat
// each, and gives the shares in their order. Who knows the seed knows all.
func DealtGroup(seed [32]byte, validators ...task.Key) (Group, []Secret) {
	shares := deal(seed, len(validators))
	g := Group{Kind: Dealt, Key: NewSecret(seed).Public()}
	for i, v := range validators {
		g.Set.Holders = append(g.Set.Holders, Holder{v, []Key{shares[i].Public()}})
	}
	return g, shares
}

// deal gives a share for each seat: the values at 1, 2, … of a polynomial of degree
// T − 1 whose value at 0 is the secret of the seed.
func deal(seed [32]byte, seats int) (shares []Secret) {
	f := []bls12381.Scalar{scalar(seed[:], keySalt)}
	for i := 1; i < Threshold(seats); i++ {
		f = append(f, scalar(binary.BigEndian.AppendUint32(seed[:], uint32(i)), keySalt))
	}
	for seat := range seats {
		var y bls12381.Scalar
		x := place(uint32(seat))
		for i := len(f) - 1; i >= 0; i-- { // Horner
			y.Mul(&y, &x)
			y.Add(&y, &f[i])
		}
		shares = append(shares, newSecret(y))
	}
	return shares
}

// place is where the polynomial has a seat's share. At 0 it has the secret.
func place(seat uint32) (x bls12381.Scalar) {
	x.SetUint64(uint64(seat) + 1)
	return x
}

// weights are Lagrange's: what the values at the seats' places count for in the
// value at x. The seats are different.
func weights(seats []uint32, at bls12381.Scalar) []bls12381.Scalar {
	list := make([]bls12381.Scalar, len(seats))
	for i := range seats {
		var above, below bls12381.Scalar
		above.SetOne()
		below.SetOne()
		xi := place(seats[i])
		for j := range seats {
			if i == j {
				continue
			}
			var d bls12381.Scalar
			xj := place(seats[j])
			d.Sub(&at, &xj)
			above.Mul(&above, &d)
			d.Sub(&xi, &xj)
			below.Mul(&below, &d)
		}
		below.Inv(&below)
		list[i].Mul(&above, &below)
	}
	return list
}

// Check refuses a group under which no beacon could be made, or one by others than
// it says: its shares are points of one polynomial of the right degree, and the
// group's key is where that meets 0.
func (g Group) Check() error {
	seats := g.Set.Seats()
	switch {
	case g.Kind != Own && g.Kind != Dealt:
		return fmt.Errorf("beacon: kind %d is not known", g.Kind)
	case seats == 0 || seats > MaxSeats:
		return fmt.Errorf("beacon: %d seats, want 1 to %d", seats, MaxSeats)
	case g.Kind == Own && seats != 1:
		return fmt.Errorf("beacon: of kind own there is one validator with one seat, not %d", seats)
	}
	if err := g.Key.Check(); err != nil {
		return err
	}
	var keys []*bls12381.G2
	seen := map[task.Key]bool{}
	for _, h := range g.Set.Holders {
		if len(h.Shares) == 0 || seen[h.Validator] {
			return fmt.Errorf("beacon: validator %s is listed twice or has no seat", h.Validator.Short())
		}
		seen[h.Validator] = true
		for _, k := range h.Shares {
			p, err := k.point()
			if err != nil {
				return err
			}
			keys = append(keys, p)
		}
	}
	var first []uint32
	for i := range Threshold(seats) {
		first = append(first, uint32(i))
	}
	at := func(x bls12381.Scalar) Key {
		sum := new(bls12381.G2)
		sum.SetIdentity()
		for i, w := range weights(first, x) {
			var p bls12381.G2
			p.ScalarMult(&w, keys[i])
			sum.Add(sum, &p)
		}
		return Key(sum.BytesCompressed())
	}
	if at(bls12381.Scalar{}) != g.Key {
		return fmt.Errorf("beacon: the shares' keys do not make the group's")
	}
	for i := len(first); i < seats; i++ {
		if at(place(uint32(i))) != Key(keys[i].BytesCompressed()) {
			return fmt.Errorf("beacon: the key of seat %d is not on the others' polynomial", i)
		}
	}
	return nil
}

// Part is one seat's signature.
type Part struct {
	Seat      uint32
	Signature Signature
}

// Combine puts the first need parts of different seats together. Whether they were
// good is not looked at: the result is the group's signature if they all were, and
// is to be checked under its key.
func Combine(need int, parts []Part) (Signature, error) {
	var seats []uint32
	var points []*bls12381.G1
	seen := map[uint32]bool{}
	for _, part := range parts {
		if len(seats) == need {
			break
		}
		p, err := part.Signature.point()
		if err != nil || seen[part.Seat] {
			continue
		}
		seen[part.Seat] = true
		seats, points = append(seats, part.Seat), append(points, p)
	}
	if len(seats) < need || need < 1 {
		return Signature{}, task.Refuse("beacon-missing", "parts of %d seats, a beacon takes %d", len(seats), need)
	}
	sum := new(bls12381.G1)
	sum.SetIdentity()
	for i, w := range weights(seats, bls12381.Scalar{}) {
		var p bls12381.G1
		p.ScalarMult(&w, points[i])
		sum.Add(sum, &p)
	}
	return Signature(sum.BytesCompressed()), nil
}

// Recover makes the beacon of parts of which some may be noise. Good ones, which is
// nearly always, take one check: only if what they make does not hold is each part
// checked by itself.
func (g Group) Recover(message task.Hash, parts []Part) (Beacon, error) {
	need := Threshold(g.Set.Seats())
	s, err := Combine(need, parts)
	if err == nil && g.Key.Verify(message, s) == nil {
		return Beacon{g.Key, message, s}, nil
	}
	var keys []Key
	for _, h := range g.Set.Holders {
		keys = append(keys, h.Shares...)
	}
	var good []Part
	for _, p := range parts {
		if int(p.Seat) < len(keys) && keys[p.Seat].Verify(message, p.Signature) == nil {
			good = append(good, p)
		}
	}
	if s, err = Combine(need, good); err != nil {
		return Beacon{}, err
	}
	return g.Key.Open(message, s[:])
}

// Foresight says who could have known a beacon before it was due.
type Foresight struct {
	Kind   Kind     `cbor:"1,keyasint" json:"kind"`
	Need   uint32   `cbor:"2,keyasint" json:"need"`  // T: so many seats' parts make a beacon
	Seats  uint32   `cbor:"3,keyasint" json:"seats"` // P
	Most   uint32   `cbor:"4,keyasint" json:"most"`  // the largest holder's
	Holder task.Key `cbor:"5,keyasint" json:"holder"`
}

// Foresight of the group's present set; of several largest holders, the first.
func (g Group) Foresight() Foresight {
	n := g.Set.Seats()
	f := Foresight{Kind: g.Kind, Need: uint32(Threshold(n)), Seats: uint32(n)}
	for _, h := range g.Set.Holders {
		if n := uint32(len(h.Shares)); n > f.Most {
			f.Most, f.Holder = n, h.Validator
		}
	}
	return f
}

// Check says whether the numbers fit each other.
func (f Foresight) Check() error {
	if f.Kind != Own && f.Kind != Dealt || f.Seats < 1 || f.Seats > MaxSeats || f.Need != uint32(Threshold(int(f.Seats))) ||
		f.Most < 1 || f.Most > f.Seats || f.Kind == Own && f.Seats != 1 || f.Holder == (task.Key{}) {
		return fmt.Errorf("beacon: kind %s, %d of %d seats, the largest holder with %d: that cannot be", f.Kind, f.Need, f.Seats, f.Most)
	}
	return nil
}

// Alone says whether one validator could know every beacon by itself.
func (f Foresight) Alone() bool { return f.Most >= f.Need }

func (f Foresight) String() string {
	s := fmt.Sprintf("beacon: %d of %d seats; the largest holder has %d", f.Need, f.Seats, f.Most)
	switch {
	case f.Alone():
		s += "; known in advance to validator " + f.Holder.Short()
	case f.Kind == Dealt:
		s += "; known in advance to who dealt the shares"
	}
	return s
}
