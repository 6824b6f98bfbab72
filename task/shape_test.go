package task

import (
	"bytes"
	"reflect"
	"runtime"
	"testing"
)

// Nobody makes many megabytes, or much work, of few kilobytes: what cannot be
// the encoding of a type is found out before anything is made of it.
func TestSmallBytesStaySmall(t *testing.T) {
	list := func(n int, item ...byte) []byte {
		return append([]byte{0x99, byte(n >> 8), byte(n)}, bytes.Repeat(item, n)...)
	}
	votes := func(item []byte) []byte { // body, skip, votes: of votes
		return append([]byte{0xa1, 4, 0xa1, 10, 0xa1, 4}, item...)
	}
	locks := func(item ...byte) []byte { // votes with locks of votes
		raw := []byte{0x84}
		for range 4 {
			raw = append(append(raw, 0xa1, 3), list(16000/len(item), item...)...)
		}
		return votes(raw)
	}
	for name, raw := range map[string][]byte{
		"nulls": votes(list(16000, 0xf6)), "empty maps": votes(list(16000, 0xa0)), "nulls in locks": locks(0xf6), "empty maps in locks": locks(0xa0),
		"maps of empty locks": locks(0xa1, 3, 0x80), "short signatures": locks(0xa1, 2, 0x40), "arrays for maps": locks(0x80),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := VerifyTx(raw, "test")
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: taken", name)
		}
		if made := after.TotalAlloc - before.TotalAlloc; made > 1<<20 {
			t.Errorf("%s: %d bytes make %d KiB", name, len(raw), made>>10)
		}
	}
}

// Every encoding has the shape of its type, whatever is empty in it; and what
// lacks a field, or has a shorter one, has not.
func TestShape(t *testing.T) {
	type inner struct {
		Name string     `cbor:"2,keyasint"`
		Key  [4]byte    `cbor:"1,keyasint"`
		Last *[2]uint16 `cbor:"24,keyasint,omitempty"`
	}
	type Base struct {
		Deep []inner `cbor:"7,keyasint"`
	}
	type outer struct {
		Base
		Self  []outer         `cbor:"300,keyasint"`
		Bytes []byte          `cbor:"3,keyasint,omitempty"`
		Pairs map[string]bool `cbor:"4,keyasint"`
		Maybe *inner          `cbor:"5,keyasint,omitempty"`
		Next  *outer          `cbor:"6,keyasint,omitempty"`
	}
	v := outer{Base: Base{Deep: []inner{{Name: "n", Last: &[2]uint16{1, 2}}, {}}}, Self: []outer{{}, {Bytes: []byte{1}, Maybe: &inner{}, Next: &outer{}}}, Pairs: map[string]bool{"a": true}}
	s := shapeOf(reflect.TypeFor[outer]())
	for _, x := range []outer{v, {}} {
		if rest, ok := s.fits(Encode(x)); !ok || len(rest) > 0 {
			t.Errorf("%x does not fit, %x follows", Encode(x), rest)
		}
		if _, err := Decode[outer](Encode(x), 1000); err != nil {
			t.Error(err)
		}
	}
	for name, raw := range map[string]string{
		"nothing in it": "\xa0", "null": "\xf6", "a list": "\x80", "only one of three": "\xa1\x07\x80", "null for a list": "\xa3\x04\xa0\x07\xf6\x19\x01\x2c\x80",
		"an unknown key": "\xa4\x04\xa0\x08\x00\x07\x80\x19\x01\x2c\x80", "nothing in another of its kind": "\xa4\x04\xa0\x06\xa0\x07\x80\x19\x01\x2c\x80", "another order": "\xa3\x07\x80\x04\xa0\x19\x01\x2c\x80", "a short key": "\xa3\x04\xa0\x07\x81\xa2\x01\x43abc\x02\x60\x19\x01\x2c\x80",
	} {
		if _, ok := s.fits([]byte(raw)); ok {
			t.Errorf("%s fits", name)
		}
	}
}
