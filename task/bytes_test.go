package task

import (
	"bytes"
	"testing"
)

// named has all types that are copied whole; plain is the same to the library.
type named struct {
	Hash Hash              `cbor:"1,keyasint"`
	ID   NodeID            `cbor:"2,keyasint"`
	Key  Key               `cbor:"3,keyasint"`
	Sign Signature         `cbor:"4,keyasint"`
	None *Hash             `cbor:"5,keyasint,omitempty"`
	Some *Signature        `cbor:"6,keyasint,omitempty"`
	List []Hash            `cbor:"7,keyasint"`
	Map  map[string]NodeID `cbor:"8,keyasint"`
}

type plain struct {
	Hash [32]byte            `cbor:"1,keyasint"`
	ID   [32]byte            `cbor:"2,keyasint"`
	Key  [32]byte            `cbor:"3,keyasint"`
	Sign [64]byte            `cbor:"4,keyasint"`
	None *[32]byte           `cbor:"5,keyasint,omitempty"`
	Some *[64]byte           `cbor:"6,keyasint,omitempty"`
	List [][32]byte          `cbor:"7,keyasint"`
	Map  map[string][32]byte `cbor:"8,keyasint"`
}

func bothForms() (named, plain) {
	n := named{Hash: H("x"), ID: NodeID(H("y")), Key: Key(H("z")), Some: &Signature{1, 63: 2}, Map: map[string]NodeID{"a": {1}}}
	p := plain{Hash: n.Hash, ID: n.ID, Key: n.Key, Some: (*[64]byte)(n.Some), Map: map[string][32]byte{"a": {1}}}
	for i := range 40 {
		n.List = append(n.List, H("list", U64(uint64(i))))
		p.List = append(p.List, n.List[i])
	}
	return n, p
}

// TestArraysAreCopiedWhole: to the bytes that the library makes of them, and no
// others are read.
func TestArraysAreCopiedWhole(t *testing.T) {
	n, p := bothForms()
	raw := Encode(n)
	if !bytes.Equal(raw, Encode(p)) {
		t.Fatalf("%x\n%x", raw, Encode(p))
	}
	back, err := Decode[named](raw, len(raw))
	if err != nil || !bytes.Equal(Encode(back), raw) || *back.Some != *n.Some || back.Map["a"] != n.Map["a"] {
		t.Fatalf("%+v, %v", back, err)
	}
	h := Encode(H("x"))
	for what, bad := range map[string][]byte{
		"text":      append([]byte{0x78, 32}, h[2:]...),
		"short":     append([]byte{0x58, 31}, h[3:]...),
		"long":      append(append([]byte{0x58, 33}, h[2:]...), 0),
		"wide head": append([]byte{0x59, 0, 32}, h[2:]...),
		"null":      {0xf6},
		"list":      append([]byte{0x98, 32}, bytes.Repeat([]byte{1}, 32)...),
	} {
		if _, err := Restore[Hash](bad); err == nil && what != "null" {
			t.Errorf("%s: restored", what)
		}
		if v, err := Decode[Hash](bad, 100); err == nil {
			t.Errorf("%s: %v", what, v)
		}
	}
}

// BenchmarkArrays: names, keys and signatures, copied whole and byte by byte.
func BenchmarkArrays(b *testing.B) {
	n, p := bothForms()
	raw := Encode(n)
	b.Run("encode/whole", func(b *testing.B) {
		for b.Loop() {
			Encode(n)
		}
	})
	b.Run("encode/bytes", func(b *testing.B) {
		for b.Loop() {
			Encode(p)
		}
	})
	b.Run("decode/whole", func(b *testing.B) {
		for b.Loop() {
			_, _ = Restore[named](raw)
		}
	})
	b.Run("decode/bytes", func(b *testing.B) {
		for b.Loop() {
			_, _ = Restore[plain](raw)
		}
	})
}
