package task

import (
	"fmt"
	"math/bits"
	"strings"
)

// Amount is money in base units (spec §1.4); 1 PRY is 1,000,000 of them.
// Arithmetic that could wrap returns ok = false instead.
type Amount uint64

// PRY is one whole coin.
const PRY Amount = 1_000_000

// Add returns a + b.
func (a Amount) Add(b Amount) (sum Amount, ok bool) {
	s, carry := bits.Add64(uint64(a), uint64(b), 0)
	return Amount(s), carry == 0
}

// Sub returns a − b; not ok if b is the larger.
func (a Amount) Sub(b Amount) (diff Amount, ok bool) {
	return a - b, a >= b
}

// MulDiv returns ⌊a·num/den⌋ with a 128-bit product; not ok if the quotient
// does not fit or den is zero.
func (a Amount) MulDiv(num, den uint64) (Amount, bool) {
	hi, lo := bits.Mul64(uint64(a), num)
	if hi >= den {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, den)
	return Amount(q), true
}

// Sum adds any number of amounts.
func Sum(amounts ...Amount) (total Amount, ok bool) {
	for _, a := range amounts {
		if total, ok = total.Add(a); !ok {
			return 0, false
		}
	}
	return total, true
}

// String writes the amount in PRY with no trailing zeros, such as "0.25 PRY".
func (a Amount) String() string {
	whole, part := a/PRY, a%PRY
	if part == 0 {
		return fmt.Sprintf("%d PRY", whole)
	}
	return fmt.Sprintf("%d.%s PRY", whole, strings.TrimRight(fmt.Sprintf("%06d", part), "0"))
}

// ParseAmount reads what String writes, the unit being optional. More than
// six decimals, signs and anything over 2⁶⁴−1 base units are errors.
func ParseAmount(s string) (Amount, error) {
	num := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "PRY"))
	whole, part, dotted := strings.Cut(num, ".")
	bad := fmt.Errorf("amount %q: want PRY with up to six decimals, such as 1.5", s)
	if whole == "" || len(part) > 6 || dotted && part == "" {
		return 0, bad
	}
	var v Amount
	for _, c := range whole + part + strings.Repeat("0", 6-len(part)) {
		if c < '0' || c > '9' {
			return 0, bad
		}
		next, ok := v.MulDiv(10, 1)
		if ok {
			next, ok = next.Add(Amount(c - '0'))
		}
		if !ok {
			return 0, fmt.Errorf("amount %q: over 2^64-1 base units", s)
		}
		v = next
	}
	return v, nil
}

// MicroGas is the denominator of a gas price: prices are base units per
// 1,000,000 gas, since one instruction is worth less than one base unit.
const MicroGas = 1_000_000

// GasCost is gas × price, rounded up to a whole base unit.
func GasCost(gas uint64, price Amount) (Amount, bool) {
	hi, lo := bits.Mul64(gas, uint64(price))
	lo, carry := bits.Add64(lo, MicroGas-1, 0)
	if hi += carry; hi >= MicroGas {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, MicroGas)
	return Amount(q), true
}
