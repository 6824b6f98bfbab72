package gas

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

var errShort = errors.New("ends in the middle of something")

// A reader takes a binary apart from front to back. The first thing that is
// wrong sticks as err and every later read returns zero, so that a run of
// reads needs one check. It never allocates more than it has bytes for.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.at = len(r.b)
}

func (r *reader) left() int { return len(r.b) - r.at }

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.fail("%w", errShort)
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > r.left() {
		r.fail("%w", errShort)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at : r.at]
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			break
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail("a number is longer than 32 bits")
	return 0
}

// signed reads a signed LEB128 of at most the given bits: 32, 33 or 64.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		c := r.byte()
		if rest := bits - shift; rest < 7 {
			// The bits beyond the number must all repeat its sign, and no byte may follow.
			sign := int8(c<<1) >> rest // 0 or -1 for a well-formed last byte
			if c >= 0x80 || sign != 0 && sign != -1 {
				break
			}
		}
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if unused := 64 - shift - 7; unused > 0 {
				v = v << unused >> unused
			}
			return v
		}
	}
	r.fail("a number is longer than %d bits", bits)
	return 0
}

// count reads the length of a vector whose elements take at least one byte
// each: what cannot be there is refused before anything is allocated for it.
func (r *reader) count(what string, limit int) int {
	n := r.u32()
	if int64(n) > int64(limit) {
		r.fail("%d %s, more than %d", n, what, limit)
		return 0
	}
	if int64(n) > int64(r.left()) {
		r.fail("%w", errShort)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	n := r.u32()
	if n > math.MaxInt32 {
		r.fail("%w", errShort)
		return ""
	}
	b := r.bytes(int(n))
	if !utf8.Valid(b) {
		r.fail("a name is not UTF-8")
		return ""
	}
	return string(b)
}

// index reads an index into a space of n things.
func (r *reader) index(what string, n int) int {
	i := r.u32()
	if r.err == nil && int64(i) >= int64(n) {
		r.fail("%s %d of %d", what, i, n)
	}
	return int(i)
}

// expect reads one byte that can only have one value.
func (r *reader) expect(want byte, what string) {
	if got := r.byte(); r.err == nil && got != want {
		r.fail("%s: %#x, want %#x", what, got, want)
	}
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendSigned(b []byte, v int64) []byte {
	for v < -0x40 || v > 0x3f {
		b = append(b, byte(v)&0x7f|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

// appendSized appends part with its length before it.
func appendSized(b, part []byte) []byte {
	return append(appendU32(b, uint32(len(part))), part...)
}
