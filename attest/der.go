package attest

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// This file reads DER (X.690): the one form of each value, and nothing else. It
// is ours, and so the same in every build: which odd bytes Go's own parsers take
// depends on their release and on settings of the process (ADR 0025).

// oid is an object identifier as it stands in DER, without tag and length.
type oid string

// oidOf writes an identifier.
func oidOf(first, second uint64, arcs ...uint64) oid {
	b := []byte{byte(40*first + second)}
	for _, arc := range arcs {
		at := len(b)
		for b = append(b, byte(arc&0x7f)); arc > 0x7f; {
			arc >>= 7
			b = slices.Insert(b, at, byte(arc&0x7f)|0x80)
		}
	}
	return oid(b)
}

// maxDepth and maxOID are more than any certificate of a vendor needs: nested
// values, and bytes of an identifier.
const (
	maxDepth = 16
	maxOID   = 32
)

// canonical says whether bytes are one DER value, down to its leaves, and nothing
// behind it. What is in octet strings and in values of private forms is not looked at.
func canonical(der []byte) error {
	s := cryptobyte.String(der)
	if err := canonicalNext(&s, 0); err != nil {
		return err
	}
	if !s.Empty() {
		return fmt.Errorf("%d bytes behind it", len(s))
	}
	return nil
}

// canonicalCertificate is canonical for a certificate whose serial number may have
// zeros before it: two makers of TPMs (STMicroelectronics is one) write it in a field of
// fixed size. It is signed with the rest, so nobody else can choose between the two
// forms; and it is read as a number, so both are the same one.
func canonicalCertificate(der []byte) error {
	all := cryptobyte.String(der)
	var whole, tbs cryptobyte.String
	if !all.ReadASN1(&whole, asn1.SEQUENCE) || !all.Empty() || !whole.ReadASN1(&tbs, asn1.SEQUENCE) {
		return canonical(der) // which says what is wrong with it
	}
	for at := 0; !tbs.Empty(); at++ {
		var padded cryptobyte.String
		if at == 1 && tbs.PeekASN1Tag(asn1.INTEGER) { // behind the version; its sign is looked at later
			rest := tbs
			if rest.ReadASN1(&padded, asn1.INTEGER) && len(padded) > 0 && len(padded) <= maxPadded {
				tbs = rest
				continue
			}
		}
		if err := canonicalNext(&tbs, 2); err != nil {
			return err
		}
	}
	for !whole.Empty() {
		if err := canonicalNext(&whole, 1); err != nil {
			return err
		}
	}
	return nil
}

// maxPadded bounds a serial number with the zeros before it, in bytes.
const maxPadded = 32

func canonicalNext(s *cryptobyte.String, depth int) error {
	var body cryptobyte.String
	var tag asn1.Tag
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	if !s.ReadAnyASN1(&body, &tag) {
		return errors.New("a length that is not minimal, indefinite or too long, or a tag of several bytes")
	}
	const class, constructed, context = 0xc0, 0x20, 0x80
	switch {
	case tag == asn1.SEQUENCE || tag == asn1.SET || tag&(class|constructed) == context|constructed:
		for !body.Empty() {
			if err := canonicalNext(&body, depth+1); err != nil {
				return err
			}
		}
	case tag&class == context: // its form is known to who reads it
	case !canonicalLeaf(tag, body):
		return fmt.Errorf("a value of tag %#x that is not in its one form, or of a type that is not used", uint8(tag))
	}
	return nil
}

// Types of strings that the package asn1 does not name.
const visibleString = asn1.Tag(26)

// canonicalLeaf says whether a value of a universal, primitive type is in its one
// form. Types that no vendor uses are in none.
func canonicalLeaf(tag asn1.Tag, b []byte) bool {
	switch tag {
	case asn1.BOOLEAN:
		return len(b) == 1 && (b[0] == 0 || b[0] == 0xff)
	case asn1.INTEGER, asn1.ENUM:
		return len(b) == 1 || len(b) > 1 && !(b[0] == 0 && b[1] < 0x80) && !(b[0] == 0xff && b[1] >= 0x80)
	case asn1.BIT_STRING:
		return len(b) == 1 && b[0] == 0 || len(b) > 1 && b[0] < 8 && b[len(b)-1]&(1<<b[0]-1) == 0
	case asn1.OCTET_STRING:
		return true
	case asn1.NULL:
		return len(b) == 0
	case asn1.OBJECT_IDENTIFIER:
		return canonicalOID(b)
	case asn1.UTCTime, asn1.GeneralizedTime:
		_, ok := timeOf(tag, b)
		return ok
	case asn1.UTF8String, asn1.PrintableString, asn1.IA5String, visibleString:
		return goodText(tag, b)
	}
	return false
}

// canonicalOID wants each number in as few bytes as it needs, and below 2³¹.
func canonicalOID(b []byte) bool {
	if len(b) == 0 || len(b) > maxOID {
		return false
	}
	var n uint64
	begins := true
	for _, x := range b {
		if begins && x == 0x80 || n >= 1<<24 {
			return false
		}
		n, begins = n<<7|uint64(x&0x7f), x < 0x80
		if begins {
			n = 0
		}
	}
	return begins
}

// goodText says whether a string holds only what its type may.
func goodText(tag asn1.Tag, b []byte) bool {
	if tag == asn1.UTF8String {
		return utf8.Valid(b)
	}
	return !slices.ContainsFunc(b, func(c byte) bool {
		switch tag {
		case asn1.IA5String:
			return c >= 0x80
		case visibleString:
			return c < ' ' || c > '~'
		}
		printable := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !printable && !slices.Contains([]byte(" '()+,-./:=?"), c)
	})
}

// timeOf reads a time that exists, to the second and in UTC, as Unix seconds.
func timeOf(tag asn1.Tag, b []byte) (unix int64, ok bool) {
	digits := 14
	if tag == asn1.UTCTime {
		digits = 12
	}
	if len(b) != digits+1 || b[digits] != 'Z' {
		return 0, false
	}
	n := make([]int, 0, 7)
	for i := 0; i < digits; i += 2 {
		tens, ones := b[i]-'0', b[i+1]-'0'
		if tens > 9 || ones > 9 {
			return 0, false
		}
		n = append(n, int(10*tens+ones))
	}
	switch {
	case digits == 14:
		n[1] += 100 * n[0]
		n = n[1:]
	case n[0] < 50:
		n[0] += 2000
	default:
		n[0] += 1900
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	same := t.Year() == n[0] && int(t.Month()) == n[1] && t.Day() == n[2] && t.Hour() == n[3] && t.Minute() == n[4] && t.Second() == n[5]
	return t.Unix(), same
}

// readOID reads an identifier that canonical has seen.
func readOID(s *cryptobyte.String) (id oid, ok bool) {
	var b cryptobyte.String
	ok = s.ReadASN1(&b, asn1.OBJECT_IDENTIFIER)
	return oid(b), ok
}

// readNumber reads an INTEGER from 0 to most, and nothing behind it.
func readNumber(der []byte, most uint64) (n uint64, ok bool) {
	s := cryptobyte.String(der)
	return n, s.ReadASN1Integer(&n) && s.Empty() && n <= most
}
