package task

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTagsAreSortedAndPrefixFree(t *testing.T) {
	src, err := os.ReadFile("hash.go")
	if err != nil {
		t.Fatal(err)
	}
	var idents, tags []string
	for _, m := range regexp.MustCompile(`(?m)^\t(Tag\w+)\s+Tag = "([a-z-]+)"`).FindAllStringSubmatch(string(src), -1) {
		idents, tags = append(idents, m[1]), append(tags, m[2])
	}
	if len(tags) < 10 {
		t.Fatalf("found only %d tags", len(tags))
	}
	if !sort.StringsAreSorted(idents) {
		t.Error("the tag list is not sorted")
	}
	spec, err := os.ReadFile("../spec/01-encoding.md")
	if line := "`" + strings.Join(tags, "` `") + "`\n"; err != nil || !strings.Contains(string(spec), line) {
		t.Errorf("spec §1.2 has another list than %s", line)
	}
	for i, a := range tags {
		for j, b := range tags {
			if i != j && strings.HasPrefix(a, b) {
				t.Errorf("tag %q has the prefix %q", a, b)
			}
		}
	}
}

func TestHSeparatesItsArguments(t *testing.T) {
	seen := map[Hash]string{}
	for name, h := range map[string]Hash{
		"ab":        H(TagSeed, []byte("ab")),
		"a,b":       H(TagSeed, []byte("a"), []byte("b")),
		"ab,":       H(TagSeed, []byte("ab"), nil),
		"other tag": H(TagTask, []byte("ab")),
		"none":      H(TagSeed),
	} {
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[h] = name
	}
}

// examples is one well-formed value of every kind that crosses a wire.
func examples() map[string][]byte {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	return map[string][]byte{
		"claim":      Encode(Claim{Attempt: 3}),
		"vote":       Encode(SignedVote{Vote: Vote{View: 1}}),
		"commitment": Encode(Commitment{}),
		"reveal":     Encode(Reveal{Reason: "x"}),
		"result":     Encode(SignedResult{}),
		"tx":         SignTx(key, Tx{Chain: "c", Nonce: 7, Body: Body{Transfer: &Transfer{Amount: 5}}}),
	}
}

func decodeAs(kind string, b []byte) error {
	var err error
	switch kind {
	case "claim":
		_, err = Decode[Claim](b, MaxMessage)
	case "vote":
		_, err = Decode[SignedVote](b, MaxMessage)
	case "commitment":
		_, err = Decode[Commitment](b, MaxMessage)
	case "reveal":
		_, err = Decode[Reveal](b, MaxMessage)
	case "result":
		_, err = Decode[SignedResult](b, MaxMessage)
	case "tx":
		_, err = VerifyTx(b, "c")
	}
	return err
}

func TestDecodersAreStrict(t *testing.T) {
	for kind, good := range examples() {
		if err := decodeAs(kind, good); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for i := range good {
			if decodeAs(kind, good[:i]) == nil {
				t.Errorf("%s: truncated at %d was accepted", kind, i)
			}
		}
		for name, b := range map[string][]byte{
			"trailing byte": append(bytes.Clone(good), 0),
			"nil":           {0xf6},
			"indefinite":    append(append([]byte{0xbf}, good[1:]...), 0xff),
			"long map head": append([]byte{0xb8, good[0] & 0x1f}, good[1:]...),
			"unknown key":   append(append([]byte{good[0] + 1}, good[1:]...), 0x18, 0x63, 0),
			"duplicate key": append(append([]byte{good[0] + 1}, good[1:]...), 0x01, 0),
			"too large":     append(bytes.Clone(good), make([]byte, MaxMessage)...),
		} {
			if decodeAs(kind, b) == nil {
				t.Errorf("%s: %s was accepted", kind, name)
			}
		}
	}
	if _, err := Decode[Claim](make([]byte, 10), 9); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversize: %v", err)
	}
}

func TestArraysOfTheWrongLengthAreRefused(t *testing.T) {
	type loose struct {
		H []byte `cbor:"1,keyasint"`
	}
	type exact struct {
		H Hash `cbor:"1,keyasint"`
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := Decode[exact](Encode(loose{make([]byte, n)}), 100); err == nil {
			t.Errorf("a hash of %d bytes was accepted", n)
		}
	}
}

func TestTxSignatureCoversEveryBit(t *testing.T) {
	raw := examples()["tx"]
	for i := range raw {
		for bit := range 8 {
			b := bytes.Clone(raw)
			b[i] ^= 1 << bit
			if _, err := VerifyTx(b, "c"); err == nil {
				t.Fatalf("byte %d bit %d flipped and still accepted", i, bit)
			}
		}
	}
	if _, err := VerifyTx(raw, "d"); CodeOf(err) != "tx-wrong-chain" {
		t.Errorf("other chain: %v", err)
	}
}

func TestAmountText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Amount(rapid.Uint64().Draw(t, "a"))
		if b, err := ParseAmount(a.String()); err != nil || b != a {
			t.Fatalf("%d → %q → %d, %v", a, a, b, err)
		}
	})
	for _, s := range []string{"", ".", "1.", ".5", "-1", "1.0000001", "18446744073709.551616", "1 PRX", "1e3"} {
		if v, err := ParseAmount(s); err == nil {
			t.Errorf("%q was read as %d", s, v)
		}
	}
}

func TestGasCostRoundsUpAndNeverWraps(t *testing.T) {
	for _, c := range []struct {
		gas   uint64
		price Amount
		want  Amount
		ok    bool
	}{
		{0, 5, 0, true}, {1, 1, 1, true}, {1_000_000, 1, 1, true}, {1_000_001, 1, 2, true},
		{1 << 63, 2_000_000, 0, false}, {^uint64(0), 1_000_000, Amount(^uint64(0)), true},
		{^uint64(0), ^Amount(0), 0, false},
	} {
		if got, ok := GasCost(c.gas, c.price); got != c.want || ok != c.ok {
			t.Errorf("GasCost(%d, %d) = %d, %v; want %d, %v", c.gas, c.price, got, ok, c.want, c.ok)
		}
	}
}

func FuzzVerifyTx(f *testing.F) {
	for _, b := range examples() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := VerifyTx(b, "c")
		if err == nil && !bytes.Equal(Encode(v.Tx()), b) {
			t.Fatal("accepted bytes that are not its encoding")
		}
		if tx, err := Decode[Tx](b, MaxTx); err == nil && tx.hash() != hashOf(b) {
			t.Fatal("what is signed is not what is verified")
		}
	})
}

func FuzzDecodeMessages(f *testing.F) {
	for _, b := range examples() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for kind := range examples() {
			_ = decodeAs(kind, b)
		}
	})
}

// TestTextOfTheStateIsPrintable: what anyone can have the chain hold and readers see.
func TestTextOfTheStateIsPrintable(t *testing.T) {
	good := Node{Operator: Key{1}, VRF: Key{2}, Peer: Key{3}, Addr: "/ip4/127.0.0.1/tcp/1", Arch: "amd64", Runtimes: []string{RuntimeWasm}, TEE: TEE{Kind: "simulated"}}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x1b[2J", "\n", "\u202e", "\u009b", "\xff"} {
		addr, arch, kind := good, good, good
		addr.Addr, arch.Arch, kind.TEE.Kind = bad, bad, bad
		for what, n := range map[string]Node{"address": addr, "architecture": arch, "kind": kind} {
			if n.Check() == nil {
				t.Errorf("%s %q", what, bad)
			}
		}
		if (Blob{CID: bad, Size: 1}).check("x") == nil || (Endpoint{Addr: bad}).named() || (Policy{MinTier: TierSimulated, Kinds: []string{bad}}).check() == nil {
			t.Errorf("CID, endpoint or kind %q", bad)
		}
	}
}

// Nobody's transaction is a set of claims, and nothing else: whatever needs a sender
// would be anybody's who knows a key that signs everything.
func TestOnlyClaimsNeedNoSender(t *testing.T) {
	claims := &Claims{Task: TaskID{1}, Won: []Won{{Node: NodeID{2}}}}
	if tx, err := VerifyTx(FreeClaims("c", claims), "c"); err != nil || !tx.Tx().Free() {
		t.Errorf("%v", err)
	}
	for name, tx := range map[string]Tx{
		"money":                      {Body: Body{Transfer: &Transfer{To: Address{1}, Amount: 5}}},
		"a nonce":                    {Nonce: 1, Body: Body{Claims: claims}},
		"a salt":                     {Salt: 1, Body: Body{Claims: claims}},
		"a signature":                {Signature: Signature{1}, Body: Body{Claims: claims}},
		"no signature, but a sender": {From: Address{1}, Body: Body{Claims: claims}},
	} {
		tx.Chain = "c"
		if _, err := VerifyTx(Encode(tx), "c"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := VerifyTx(FreeClaims("d", claims), "c"); CodeOf(err) != "tx-wrong-chain" {
		t.Errorf("another chain's: %v", err)
	}
}

// If one output has a schema, nothing goes out beside those that have.
func TestSchemasCoverAllThatGoesOut(t *testing.T) {
	const schema = `{"type":"boolean"}`
	for _, row := range []struct {
		name string
		m    Manifest
		says string
	}{
		{"none", Manifest{Outputs: []Port{{Name: "a"}}, Log: true}, ""},
		{"all", Manifest{Outputs: []Port{{Name: "a", Schema: schema}, {Name: "b", Schema: schema}}}, ""},
		{"the first alone", Manifest{Outputs: []Port{{Name: "a", Schema: schema}, {Name: "b"}}}, "b could carry out"},
		{"the second alone", Manifest{Outputs: []Port{{Name: "a"}, {Name: "b", Schema: schema}}}, "b could carry out"},
		{"a log beside it", Manifest{Outputs: []Port{{Name: "a", Schema: schema}}, Log: true}, "there is no log"},
		{"of an input", Manifest{Inputs: []Port{{Name: "a", Schema: schema}}}, "only outputs"},
		{"too long", Manifest{Outputs: []Port{{Name: "a", Schema: strings.Repeat(" ", MaxSchema+1)}}}, "too long"},
		{"two lines", Manifest{Outputs: []Port{{Name: "a", Schema: schema + "\n"}}}, "not printable"},
	} {
		row.m.Name, row.m.Runtime, row.m.Limits = "f", RuntimeWasm, Limits{Gas: 1, MemoryBytes: 1, OutputBytes: 1, WallMillis: 1}
		if err := row.m.Check(); (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
