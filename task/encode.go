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
