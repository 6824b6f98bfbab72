package schema

import (
	"strconv"
	"strings"
)

// one is 1 in millionths, in which all numbers are counted.
const one = 1_000_000

// maxNumber bounds a number: with it, in millionths, an int64 holds the number
// of steps between any two.
const maxNumber = 1_000_000_000_000 * one

// micros reads a JSON number that is one of whole millionths, however it is
// written. Its digits are bounded, and so is the work.
func micros(s string) (int64, bool) {
	if s == "" || len(s) > 64 {
		return 0, false
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	exp := 0
	if exponent != "" {
		n, err := strconv.ParseInt(exponent, 10, 16)
		if err != nil {
			return 0, false
		}
		exp = int(n)
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(digits, "0")
	exp += 6 - len(fraction) + len(digits) - len(trimmed)
	if trimmed == "" {
		return 0, true
	}
	if exp < 0 || len(trimmed)+exp > 19 {
		return 0, false
	}
	n, err := strconv.ParseInt(trimmed+strings.Repeat("0", exp), 10, 64)
	if err != nil || n > maxNumber {
		return 0, false
	}
	if negative {
		n = -n
	}
	return n, true
}

// appendMicros writes a number of millionths in its shortest form.
func appendMicros(out []byte, n int64) []byte {
	if n < 0 {
		out, n = append(out, '-'), -n
	}
	out = strconv.AppendInt(out, n/one, 10)
	if n %= one; n == 0 {
		return out
	}
	digits := strconv.FormatInt(one+n, 10)[1:]
	return append(append(out, '.'), strings.TrimRight(digits, "0")...)
}

// appendText writes a string as RFC 8785 has it: only what must be is escaped.
func appendText(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(s) {
		c := s[i]
		short := strings.IndexByte("\b\t\n\f\r\"\\", c)
		switch {
		case short >= 0:
			out = append(out, '\\', `btnfr"\`[short])
		case c < 0x20:
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
