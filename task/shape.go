package task

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync" //nolint:depguard // a memo of what types look like: the same, whoever fills it
)

// shape is what the encoding of a type must have. Without it some bytes of
// nulls or empty maps would become as many whole structs, and be encoded again
// before they are found out: a stranger's kilobyte would cost a megabyte.
type shape struct {
	kind   shapeKind
	size   uint64 // of exactly so many bytes, or elements
	elem   *shape
	fields []part // in the order of their keys
}

type shapeKind int

const (
	anything shapeKind = iota // what has no more than some words of its own
	bytesOf                   // a byte string of one size
	listOf                    // an array of any size
	arrayOf                   // an array of one size
	record                    // a map from small numbers
)

type part struct {
	key      uint64
	required bool
	of       *shape
}

var shapes sync.Map // of reflect.Type, *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := newShape(t, map[reflect.Type]*shape{})
	shapes.Store(t, s)
	return s
}

func newShape(t reflect.Type, known map[reflect.Type]*shape) *shape {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s := known[t]; s != nil {
		return s
	}
	s := &shape{}
	known[t] = s // before its parts: a type may hold itself
	switch t.Kind() {
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			s.kind, s.elem = listOf, newShape(t.Elem(), known)
		}
	case reflect.Array:
		s.kind, s.size = bytesOf, uint64(t.Len())
		if t.Elem().Kind() != reflect.Uint8 {
			s.kind, s.elem = arrayOf, newShape(t.Elem(), known)
		}
	case reflect.Struct:
		s.kind, s.fields = record, fieldsOf(t, known)
		slices.SortFunc(s.fields, func(a, b part) int { return cmp.Compare(a.key, b.key) })
	}
	return s
}

// fieldsOf are a struct's, with those of the structs that it embeds.
func fieldsOf(t reflect.Type, known map[reflect.Type]*shape) (all []part) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("cbor")
		if f.Anonymous && !tagged {
			all = append(all, fieldsOf(f.Type, known)...)
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		key, err := strconv.ParseUint(name, 10, 64)
		if !tagged || err != nil || !strings.Contains(options, "keyasint") {
			continue
		}
		all = append(all, part{key, !strings.Contains(options, "omit"), newShape(f.Type, known)})
	}
	return all
}

// fits says whether well-formed CBOR has what the shape must have, and returns
// what follows it. It only counts: Unmarshal and Encode decide on the rest.
func (s *shape) fits(b []byte) (rest []byte, ok bool) {
	major, n, body := head(b)
	switch s.kind {
	case bytesOf:
		if major != 2 || n != s.size {
			return nil, false
		}
	case listOf, arrayOf:
		if major != 4 || s.kind == arrayOf && n != s.size {
			return nil, false
		}
		for ok = true; ok && n > 0; n-- {
			body, ok = s.elem.fits(body)
		}
		return body, ok
	case record:
		return s.fitsRecord(major, n, body)
	}
	return skip(b), true
}

func (s *shape) fitsRecord(major byte, pairs uint64, body []byte) (rest []byte, ok bool) {
	if major != 5 {
		return nil, false
	}
	next := s.fields
	for ; pairs > 0; pairs-- {
		kind, key, value := head(body)
		for len(next) > 0 && next[0].key < key && !next[0].required {
			next = next[1:]
		}
		if kind != 0 || len(next) == 0 || next[0].key != key {
			return nil, false
		}
		if body, ok = next[0].of.fits(value); !ok {
			return nil, false
		}
		next = next[1:]
	}
	return body, !slices.ContainsFunc(next, func(f part) bool { return f.required })
}

// head reads the first bytes of a well-formed item (RFC 8949 §3).
func head(b []byte) (major byte, n uint64, body []byte) {
	major, short := b[0]>>5, b[0]&31
	if short < 24 {
		return major, uint64(short), b[1:]
	}
	size := 1 << (short - 24)
	for _, x := range b[1 : 1+size] {
		n = n<<8 | uint64(x)
	}
	return major, n, b[1+size:]
}

// skip is what follows a well-formed item.
func skip(b []byte) []byte {
	major, n, body := head(b)
	switch major {
	case 2, 3:
		return body[n:]
	case 5:
		n *= 2
		fallthrough
	case 4:
		for ; n > 0; n-- {
			body = skip(body)
		}
	case 6:
		return skip(body)
	}
	return body
}
