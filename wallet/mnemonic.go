package wallet

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	_ "embed"
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
)

// 256 secret bits in 24 words, by BIP-39: 8 bits of a checksum follow the secret, and
// every 11 bits are the number of a word. Nothing but 24 words is a key here, so the
// other lengths of BIP-39 are not read (ADR 0051).
const (
	mnemonicWords = 24
	wordBits      = 11
)

// wordFile is BIP-39's own English list. It is in order, no word begins with another's
// first four letters, and it never changes.
//
//go:embed words.txt
var wordFile string

var words = strings.Fields(wordFile)

// mnemonic is a secret as its words.
func mnemonic(secret [32]byte) string {
	sum := sha256.Sum256(secret[:])
	bits := append(secret[:], sum[0])
	out := make([]string, mnemonicWords)
	for i := range out {
		n := 0
		for j := i * wordBits; j < (i+1)*wordBits; j++ {
			n = n<<1 | int(bits[j/8]>>(7-j%8)&1)
		}
		out[i] = words[n]
	}
	return strings.Join(out, " ")
}

// fromMnemonic is the secret of words, if their checksum is right.
func fromMnemonic(text string) (secret [32]byte, err error) {
	invalid := func(what string, args ...any) error {
		return task.Refuse("mnemonic-invalid", "these are not the words of a key: "+what, args...)
	}
	given := strings.Fields(text)
	if len(given) != mnemonicWords {
		return secret, invalid("they are %d, not %d", len(given), mnemonicWords)
	}
	var bits [33]byte
	for i, w := range given {
		n, found := slices.BinarySearch(words, w)
		if !found {
			return secret, invalid("number %d is not in the list", i+1) // the word itself may be a secret typed in the wrong place
		}
		for j := range wordBits {
			at := i*wordBits + j
			bits[at/8] |= byte(n>>(wordBits-1-j)&1) << (7 - at%8)
		}
	}
	secret = [32]byte(bits[:32])
	if sum := sha256.Sum256(secret[:]); sum[0] != bits[32] {
		return [32]byte{}, invalid("their checksum is wrong; a word is another one, or in another place")
	}
	return secret, nil
}

// mnemonicSeed is what keys derive from: BIP-39's 64 bytes of words and a passphrase.
func mnemonicSeed(text, passphrase string) []byte {
	const rounds = 2048
	seed, err := pbkdf2.Key(sha512.New, text, []byte("mnemonic"+passphrase), rounds, 64)
	if err != nil {
		panic(err) // only for a length that is none, or in FIPS mode for a hash that is not allowed
	}
	return seed
}
