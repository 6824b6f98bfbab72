package task

import (
	"fmt"
	"slices"
)

// Words are those of an enumeration, by number: a number is what is hashed and kept,
// its word is what people read and JSON has. A number without a word is not known;
// 0 stands for nothing, and its word is empty.
type Words []string

// Of is a number's word.
func (w Words) Of(n uint8) string {
	if int(n) < len(w) && (n == 0 || w[n] != "") {
		return w[n]
	}
	return fmt.Sprintf("unknown-%d", n)
}

// Has says whether a number is known, and stands for something.
func (w Words) Has(n uint8) bool { return int(n) < len(w) && w[n] != "" }

// Parse is the number of a word.
func (w Words) Parse(text []byte) (uint8, error) {
	i := slices.Index(w, string(text))
	if i < 0 || i > 0 && len(text) == 0 {
		return 0, fmt.Errorf("%.40q is no such word", text)
	}
	return uint8(i), nil
}

// ReadWord is Parse into an enumeration.
func ReadWord[E ~uint8](w Words, into *E, text []byte) error {
	n, err := w.Parse(text)
	*into = E(n)
	return err
}
