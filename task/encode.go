package task

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// Errors of Decode. They wrap into messages that say what was decoded.
var (
	ErrTooLarge     = errors.New("over the size limit")
	ErrNotCanonical = errors.New("not deterministic CBOR (RFC 8949 §4.2.1)")
)

var encMode, decMode, ownMode = cborModes()

func cborModes() (enc cbor.EncMode, dec, own cbor.DecMode) {
	eo := cbor.CoreDetEncOptions()
	eo.NilContainers = cbor.NilContainerAsEmpty
	em, err := eo.EncMode()
	if err != nil {
		panic(err)
	}
	o := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 14,
		MaxMapPairs:       1 << 10,
		UTF8:              cbor.UTF8RejectInvalid,
	}
	if dec, err = o.DecMode(); err != nil {
		panic(err)
	}
	o.MaxArrayElements, o.MaxMapPairs = math.MaxInt32, math.MaxInt32
	if own, err = o.DecMode(); err != nil {
		panic(err)
	}
	return em, dec, own
}

// Encode gives the deterministic CBOR of v (spec §1.1). It panics on a type
// that has none, which is a programming error: every type of the protocol has.
func Encode(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("task: no encoding for %T: %v", v, err))
	}
	return b
}

// Decode reads exactly one value of type T from b: deterministic CBOR, no
// unknown or duplicate key, nothing after it, at most limit bytes. The size is
// checked before anything is allocated (spec §1.1).
func Decode[T any](b []byte, limit int) (T, error) {
	var v, zero T
	if len(b) > limit {
		return zero, fmt.Errorf("%T of %d bytes: %w (%d)", v, len(b), ErrTooLarge, limit)
	}
	if err := decMode.Wellformed(b); err != nil {
		return zero, fmt.Errorf("%T: %w: %v", v, ErrNotCanonical, err)
	}
	if _, ok := shapeOf(reflect.TypeFor[T]()).fits(b); !ok {
		return zero, fmt.Errorf("%T: %w: a field is missing, in another place or of another size", v, ErrNotCanonical)
	}
	if err := decMode.Unmarshal(b, &v); err != nil {
		return zero, fmt.Errorf("%T: %w: %v", v, ErrNotCanonical, err)
	}
	if !bytes.Equal(Encode(v), b) {
		return zero, fmt.Errorf("%T: %w", v, ErrNotCanonical)
	}
	return v, nil
}

// Restore reads what this program has encoded itself, such as its state: it may
// be longer than what strangers may send, and its form is not looked at again.
func Restore[T any](b []byte) (T, error) {
	var v T
	err := ownMode.Unmarshal(b, &v)
	return v, err
}

// Names, keys and signatures are most of what there is to encode. The library
// takes arrays byte by byte; these methods copy them whole, to the same bytes.

// MarshalCBOR writes a byte string.
func (h Hash) MarshalCBOR() ([]byte, error) { return byteString(h[:]), nil }

// UnmarshalCBOR reads a byte string of 32 bytes.
func (h *Hash) UnmarshalCBOR(b []byte) error { return readBytes(h[:], b) }

// MarshalCBOR writes a byte string.
func (id ID[T]) MarshalCBOR() ([]byte, error) { return byteString(id[:]), nil }

// UnmarshalCBOR reads a byte string of 32 bytes.
func (id *ID[T]) UnmarshalCBOR(b []byte) error { return readBytes(id[:], b) }

// MarshalCBOR writes a byte string.
func (k Key) MarshalCBOR() ([]byte, error) { return byteString(k[:]), nil }

// UnmarshalCBOR reads a byte string of 32 bytes.
func (k *Key) UnmarshalCBOR(b []byte) error { return readBytes(k[:], b) }

// MarshalCBOR writes a byte string.
func (s Signature) MarshalCBOR() ([]byte, error) { return byteString(s[:]), nil }

// UnmarshalCBOR reads a byte string of 64 bytes.
func (s *Signature) UnmarshalCBOR(b []byte) error { return readBytes(s[:], b) }

// byteString is one of 24 to 255 bytes (RFC 8949 §3.1).
func byteString(b []byte) []byte {
	return append(append(make([]byte, 0, 2+len(b)), 0x58, byte(len(b))), b...)
}

func readBytes(to, b []byte) error {
	if len(b) != 2+len(to) || b[0] != 0x58 || int(b[1]) != len(to) {
		return fmt.Errorf("want a byte string of %d bytes", len(to))
	}
	copy(to, b[2:])
	return nil
}
