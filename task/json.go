package task

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
)

// The JSON form of everything (spec §1.9) is what encoding/json makes of the fields'
// tags. Integers of 64 bits are tagged `,string`, since a reader in a browser has 53
// bits only; here is what no tag can say.

// MarshalText writes the amount in base units.
func (a Amount) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(a), 10), nil }

// UnmarshalText reads base units, in decimal.
func (a *Amount) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	*a = Amount(n)
	return err
}

// MarshalText writes hex.
func (s Signature) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads 128 hex digits.
func (s *Signature) UnmarshalText(text []byte) error { return readHex(s[:], text) }

// Proof is a VRF's (spec §2.2), as it travels.
type Proof [81]byte

// MarshalText writes hex.
func (p Proof) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, p[:]), nil }

// UnmarshalText reads 162 hex digits.
func (p *Proof) UnmarshalText(text []byte) error { return readHex(p[:], text) }

func readHex(into, text []byte) error {
	if len(text) != 2*len(into) {
		return fmt.Errorf("want %d hex digits, have %d characters", 2*len(into), len(text))
	}
	_, err := hex.Decode(into, text)
	return err
}

// Counts are how often each of some things was seen.
type Counts[K comparable] map[K]uint64

// MarshalJSON writes decimal strings.
func (c Counts[K]) MarshalJSON() ([]byte, error) {
	texts := make(map[K]string, len(c))
	for k, n := range c {
		texts[k] = strconv.FormatUint(n, 10)
	}
	return json.Marshal(texts)
}

// UnmarshalJSON reads them.
func (c *Counts[K]) UnmarshalJSON(raw []byte) error {
	var texts map[K]string
	if err := json.Unmarshal(raw, &texts); err != nil {
		return err
	}
	*c = make(Counts[K], len(texts))
	for k, text := range texts {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		(*c)[k] = n
	}
	return nil
}
