package task

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Errors of Decode. They wrap into messages that say what was decoded.
var (
	ErrTooLarge     = errors.New("over the size limit")
	ErrNotCanonical = errors.New("not deterministic CBOR (RFC 8949 §4.2.1)")
)

var encMode, decMode = cborModes()

func cborModes() (cbor.EncMode, cbor.DecMode) {
	eo := cbor.CoreDetEncOptions()
	eo.NilContainers = cbor.NilContainerAsEmpty
	em, err := eo.EncMode()
	if err != nil {
		panic(err)
	}
	dm, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 14,
		MaxMapPairs:       1 << 10,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return em, dm
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
	if err := decMode.Unmarshal(b, &v); err != nil {
		return zero, fmt.Errorf("%T: %w: %v", v, ErrNotCanonical, err)
	}
	if !bytes.Equal(Encode(v), b) {
		return zero, fmt.Errorf("%T: %w", v, ErrNotCanonical)
	}
	return v, nil
}
