package wallet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// The vectors that BIP-39 publishes for 24 words; their passphrase is TREZOR.
var mnemonicVectors = []struct{ entropy, words, seed string }{
	{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
		"bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd3097170af7a4d73245cafa9c3cca8d561a7c3de6f5d4a10be8ed2a5e608d68f92fcc8",
	},
	{
		"7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
		"legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title",
		"bc09fca1804f7e69da93c2f2028eb238c227f2e9dda30cd63699232578480a4021b146ad717fbb7e451ce9eb835f43620bf5c514db0f8add49f5d121449d3e87",
	},
	{
		"8080808080808080808080808080808080808080808080808080808080808080",
		"letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
		"c0c519bd0e91a2ed54357d9d1ebef6f5af218a153624cf4f2da911a0ed8f7a09e2ef61af0aca007096df430022f7a2b6fb91661a9589097069720d015e4e982f",
	},
	{
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
		"dd48c104698c30cfe2b6142103248622fb7bb0ff692eebb00089b32d22484e1613912f0a5b694407be899ffd31ed3992c456cdf60f5d4564b8ba3f05a69890ad",
	},
	{
		"3e141609b97933b66a060dcddc71fad1d91677db872031e85f4c015c5e7e8982",
		"dignity pass list indicate nasty swamp pool script soccer toe leaf photo multiply desk host tomato cradle drill spread actor shine dismiss champion exotic",
		"ff7f3184df8696d8bef94b6c03114dbee0ef89ff938712301d27ed8336ca89ef9635da20af07d4175f2bf5f3de130f39c9d9e8dd0472489c19b1a020a940da67",
	},
	{
		"2c85efc7f24ee4573d2b81a6ec66cee209b2dcbd09d8eddc51e0215b0b68e416",
		"clutch control vehicle tonight unusual clog visa ice plunge glimpse recipe series open hour vintage deposit universe tip job dress radar refuse motion taste",
		"fe908f96f46668b2d5b37d82f558c77ed0d69dd0e7e043a5b0511c48c2f1064694a956f86360c93dd04052a8899497ce9e985ebe0c8c52b955e6ae86d4ff4449",
	},
	{
		"4fa1a8bc3e6d80ee1316050e862c1812031493212b7ec3f3bb1b08f168cabeef",
		"exile ask congress lamp submit jacket era scheme attend cousin alcohol catch course end lucky hurt sentence oven short ball bird grab wing top",
		"095ee6f817b4c2cb30a5a797360a81a40ab0f9a4e25ecd672a3f58a0b5ba0687c096a6b14d2c0deb3bdefce4f61d01ae07417d502429352e27695163f7447a8c",
	},
	{
		"15da872c95a13dd738fbf50e427583ad61f18fd99f628c417a61cf8343c90419",
		"beyond stage sleep clip because twist token leaf atom beauty genius food business side grid unable middle armed observe pair crouch tonight away coconut",
		"b15509eaa2d09d3efd3e006ef42151b30367dc6e3aa5e44caba3fe4d3e352e65101fbdb86a96776b91946ff06f8eac594dc6ee1d3e82a42dfe1b40fef6bcc3fd",
	},
}

func TestMnemonicVectors(t *testing.T) {
	for _, v := range mnemonicVectors {
		raw, err := hex.DecodeString(v.entropy)
		if err != nil {
			t.Fatal(err)
		}
		if got := mnemonic([32]byte(raw)); got != v.words {
			t.Errorf("%s: %s", v.entropy, got)
		}
		if got, err := fromMnemonic(v.words); err != nil || !bytes.Equal(got[:], raw) {
			t.Errorf("%s: %x, %v", v.words, got, err)
		}
		if got := hex.EncodeToString(mnemonicSeed(v.words, "TREZOR")); got != v.seed {
			t.Errorf("%s: seed %s", v.words, got)
		}
	}
}

// The list is BIP-39's own, and in order, which looking up rests on.
func TestWordsAreThoseOfTheStandard(t *testing.T) {
	const standard = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	if got := sha256.Sum256([]byte(wordFile)); hex.EncodeToString(got[:]) != standard {
		t.Errorf("the list is %x", got)
	}
	if len(words) != 1<<wordBits || !slices.IsSorted(words) {
		t.Errorf("%d words, in order: %v", len(words), slices.IsSorted(words))
	}
}

// What is wrong with words is said without them: they may be nearly right.
func TestWrongWords(t *testing.T) {
	good := strings.Fields(mnemonicVectors[7].words)
	change := func(f func(w []string) []string) string { return strings.Join(f(slices.Clone(good)), " ") }
	for name, row := range map[string]struct{ text, says string }{
		"none":    {"", "they are 0, not 24"},
		"short":   {change(func(w []string) []string { return w[:23] }), "they are 23, not 24"},
		"12":      {"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", "they are 12, not 24"},
		"long":    {change(func(w []string) []string { return append(w, "about") }), "they are 25, not 24"},
		"unknown": {change(func(w []string) []string { w[4] = "prytany"; return w }), "number 5 is not in the list"},
		"swapped": {change(func(w []string) []string { w[0], w[1] = w[1], w[0]; return w }), "their checksum is wrong"},
		"other":   {change(func(w []string) []string { w[23] = "zoo"; return w }), "their checksum is wrong"},
	} {
		secret, err := fromMnemonic(row.text)
		if task.CodeOf(err) != "mnemonic-invalid" || !strings.Contains(err.Error(), row.says) || secret != [32]byte{} {
			t.Errorf("%s: %x, %v", name, secret, err)
			continue
		}
		for _, w := range good {
			if strings.Contains(err.Error(), " "+w+" ") {
				t.Errorf("%s: %v says a word", name, err)
			}
		}
	}
	if _, err := fromMnemonic("  " + strings.Join(good, "\n ") + "\n"); err != nil {
		t.Errorf("over several lines: %v", err)
	}
}
