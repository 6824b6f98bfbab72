package beacon

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/ecc/bls12381"

	"github.com/prytany/prytany/task"
)

var update = flag.Bool("update", false, "write the vector file anew")

func validator(i int) task.Key { return task.Key{byte(i + 1)} }

func dealt(n int) (Group, []Secret) {
	var all []task.Key
	for i := range n {
		all = append(all, validator(i))
	}
	return DealtGroup([32]byte{7}, all...)
}

func parts(shares []Secret, m task.Hash) (list []Part) {
	for i, s := range shares {
		list = append(list, Part{uint32(i), s.Sign(m)})
	}
	return list
}

func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What others have published: the RFC's hashes to the curve, signatures of the
// scheme's authors, and rounds of a threshold beacon that is in use.
func TestPublishedVectors(t *testing.T) {
	var v struct {
		Curve struct {
			DST     string `json:"dst"`
			Vectors []struct{ Message, X, Y string }
		} `json:"hash_to_curve"`
		Signatures struct {
			Vectors []struct{ Message, Seed, Signature string }
		}
		Beacons struct {
			Key     Key
			Vectors []struct {
				Round     uint64
				Signature Signature
			}
		}
	}
	raw, err := os.ReadFile("testdata/published.json")
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil || len(v.Curve.Vectors) != 5 || len(v.Signatures.Vectors) != 4 || len(v.Beacons.Vectors) == 0 {
		t.Fatalf("%d, %d and %d vectors: %v", len(v.Curve.Vectors), len(v.Signatures.Vectors), len(v.Beacons.Vectors), err)
	}
	for _, x := range v.Curve.Vectors {
		var p bls12381.G1
		p.Hash([]byte(x.Message), []byte(v.Curve.DST))
		if got := hex.EncodeToString(p.Bytes()); got != x.X+x.Y {
			t.Errorf("%.20q is hashed to %s", x.Message, got)
		}
	}
	for i, x := range v.Signatures.Vectors {
		key := newSecret(scalar(unhexed(t, x.Seed), keySalt))
		message := unhexed(t, x.Message)
		s := key.sign(message)
		if s.String() != x.Signature {
			t.Errorf("signature %d is %s", i, s)
		}
		if err := key.Public().verify(message, s); err != nil {
			t.Errorf("signature %d: %v", i, err)
		}
	}
	for _, x := range v.Beacons.Vectors {
		m := sha256.Sum256(binary.BigEndian.AppendUint64(nil, x.Round))
		if err := v.Beacons.Key.Verify(m, x.Signature); err != nil {
			t.Errorf("round %d: %v", x.Round, err)
		}
		if v.Beacons.Key.Verify(task.Hash{1}, x.Signature) == nil {
			t.Errorf("round %d holds for another message", x.Round)
		}
	}
}

// Any T parts make the one signature that the secret makes; T − 1 make another.
func TestAnyThresholdOfPartsMakesTheOneSignature(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 7} {
		g, shares := dealt(n)
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
		need := Threshold(n)
		m := Input("test", uint64(n))
		want := NewSecret([32]byte{7}).Sign(m)
		all := parts(shares, m)
		for first := range n {
			turned := slices.Concat(all[first:], all[:first])
			if s, err := Combine(need, turned); err != nil || s != want {
				t.Fatalf("%d of %d from seat %d on: %s, %v", need, n, first, s, err)
			}
		}
		if err := g.Key.Verify(m, want); err != nil {
			t.Error(err)
		}
		if _, err := Combine(need, all[:need-1]); task.CodeOf(err) != "beacon-missing" {
			t.Errorf("%d parts of %d: %v", need-1, need, err)
		}
		if need > 1 {
			if s, err := Combine(need-1, all[:need-1]); err != nil || g.Key.Verify(m, s) == nil {
				t.Errorf("%d parts made the beacon of a threshold of %d, %v", need-1, need, err)
			}
			if _, err := Combine(need, slices.Concat(all[:need-1], all[:1])); task.CodeOf(err) != "beacon-missing" {
				t.Errorf("one part counted twice: %v", err)
			}
		}
	}
}

// A threshold is more than two thirds, as for a block; and less than all may be
// silent, as for a block.
func TestThresholdIsThatOfBlocks(t *testing.T) {
	for n := 1; n <= MaxSeats; n++ {
		need := Threshold(n)
		if 3*need <= 2*n || 3*(need-1) > 2*n {
			t.Errorf("%d of %d", need, n)
		}
	}
}

func TestNoiseAmongTheParts(t *testing.T) {
	g, shares := dealt(4)
	m := Input("test", 9)
	good := parts(shares, m)
	want := NewSecret([32]byte{7}).Sign(m)
	noise := good[0].Signature
	noise[20] ^= 1
	for name, x := range map[string]struct {
		parts []Part
		ok    bool
	}{
		"none":                       {good, true},
		"no point":                   {append([]Part{{0, noise}}, good[1:]...), true},
		"zero":                       {append([]Part{{0, Signature{}}}, good[1:]...), true},
		"another height's":           {append([]Part{{0, shares[0].Sign(Input("test", 8))}}, good[1:]...), true},
		"another seat's":             {append([]Part{{0, good[1].Signature}}, good[1:]...), true},
		"of a seat there is not":     {append([]Part{{1 << 20, good[0].Signature}}, good[1:]...), true},
		"noise, then the real one":   {append([]Part{{0, good[1].Signature}}, good[0], good[1], good[2]), true},
		"one is noise of just three": {[]Part{{0, good[1].Signature}, good[1], good[2]}, false},
		"just two":                   {good[:2], false},
		"nothing":                    {nil, false},
	} {
		b, err := g.Recover(m, x.parts)
		if x.ok != (err == nil) || x.ok && (b.Signature() != want || !b.Of(g.Key, m)) {
			t.Errorf("%s: %s, %v", name, b.Signature(), err)
		}
		if !x.ok && task.CodeOf(err) != "beacon-missing" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever can make a point has many ways to write one; one is taken.
func TestDecodersAreStrict(t *testing.T) {
	secret := NewSecret([32]byte{1})
	m := Input("test", 1)
	good, key := secret.Sign(m), secret.Public()
	if s, err := Parse(good[:]); err != nil || s != good || key.Check() != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte{0xff}, 48) // x above the field's prime
	p[0] = 0x9f
	order, _ := hex.DecodeString("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab")
	order[0] |= 0x80 // x = p, which is 0 written another way
	outside := func(size int) []byte {
		for x := byte(0); ; x++ {
			b := make([]byte, size)
			b[0], b[size-1] = 0x80, x
			if onCurveOnly(b) {
				return b
			}
		}
	}
	flip := func(b []byte, mask byte) []byte { b = bytes.Clone(b); b[0] ^= mask; return b }
	infinity := func(first byte, size int) []byte { b := make([]byte, size); b[0] = first; return b }
	for name, raw := range map[string][]byte{
		"empty": {}, "short": good[:47], "long": append(bytes.Clone(good[:]), 0), "key": key[:],
		"zero": make([]byte, 48), "infinity": infinity(0xc0, 48), "infinity with sign": infinity(0xe0, 48),
		"infinity, not compressed": infinity(0x40, 48), "not compressed": flip(good[:], 0x80), "all flags": flip(good[:], 0x60),
		"above p": p, "p": order, "outside the subgroup": outside(48),
	} {
		if _, err := Parse(raw); task.CodeOf(err) != "beacon-malformed" {
			t.Errorf("signature, %s: %v", name, err)
		}
		if _, err := key.Open(m, raw); task.CodeOf(err) != "beacon-malformed" {
			t.Errorf("beacon, %s: %v", name, err)
		}
	}
	for name, raw := range map[string][]byte{
		"zero": make([]byte, 96), "infinity": infinity(0xc0, 96), "infinity, not compressed": infinity(0x40, 96),
		"not compressed": flip(key[:], 0x80), "all flags": flip(key[:], 0x60), "outside the subgroup": outside(96),
	} {
		if k := Key(raw); task.CodeOf(k.Check()) != "beacon-key" || k.Verify(m, good) == nil {
			t.Errorf("key, %s: %v", name, k.Check())
		}
	}
	// The same point with the other sign is one too, and nobody's signature here.
	if _, err := key.Open(m, flip(good[:], 0x20)); task.CodeOf(err) != "beacon-forged" {
		t.Errorf("the negative: %v", err)
	}
}

func TestABeaconIsOfOneKeyAndMessage(t *testing.T) {
	a, b := NewSecret([32]byte{1}), NewSecret([32]byte{2})
	m, other := Input("test", 1), Input("test", 2)
	made := a.Beacon(m)
	raw := made.Signature()
	opened, err := a.Public().Open(m, raw[:])
	if err != nil || opened != made {
		t.Fatalf("%v", err)
	}
	for name, x := range map[string]struct {
		key     Key
		message task.Hash
	}{"another message": {a.Public(), other}, "another key": {b.Public(), m}, "both": {b.Public(), other}} {
		if made.Of(x.key, x.message) {
			t.Errorf("it is of %s", name)
		}
		if _, err := x.key.Open(x.message, raw[:]); task.CodeOf(err) != "beacon-forged" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if (Beacon{}).Of(a.Public(), m) || !made.Of(a.Public(), m) {
		t.Error("Of tells nothing")
	}
	if Input("test", 1) == Input("tes", 1) || Input("test", 1) == Input("test", 2) {
		t.Error("the input is not of chain and height")
	}
}

func TestGroupsAreChecked(t *testing.T) {
	fresh := func() Group { g, _ := dealt(4); return g }
	own := OwnGroup(validator(0), NewSecret([32]byte{1}))
	if err := own.Check(); err != nil {
		t.Error(err)
	}
	stranger := NewSecret([32]byte{9}).Public()
	for name, change := range map[string]func(*Group){
		"no kind":               func(g *Group) { g.Kind = 0 },
		"another kind":          func(g *Group) { g.Kind = 3 },
		"own of four":           func(g *Group) { g.Kind = Own },
		"nobody":                func(g *Group) { g.Set.Holders = nil },
		"another key":           func(g *Group) { g.Key = stranger },
		"no key":                func(g *Group) { g.Key = Key{} },
		"a share of nothing":    func(g *Group) { g.Set.Holders[3].Shares[0] = Key{} },
		"a stranger's share":    func(g *Group) { g.Set.Holders[3].Shares[0] = stranger },
		"a stranger's share, 0": func(g *Group) { g.Set.Holders[0].Shares[0] = stranger },
		"swapped":               func(g *Group) { h := g.Set.Holders; h[0].Shares, h[1].Shares = h[1].Shares, h[0].Shares },
		"twice":                 func(g *Group) { g.Set.Holders[1].Validator = g.Set.Holders[0].Validator },
		"no seat":               func(g *Group) { g.Set.Holders = append(g.Set.Holders, Holder{Validator: validator(9)}) },
		"too many": func(g *Group) {
			for range MaxSeats {
				g.Set.Holders[0].Shares = append(g.Set.Holders[0].Shares, g.Key)
			}
		},
	} {
		g := fresh()
		change(&g)
		if g.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if g := fresh(); g.Check() != nil {
		t.Error("a good one is refused")
	}
}

// Two seats of one holder count as two, and its power says so.
func TestHoldersOfSeveralSeats(t *testing.T) {
	g, shares := dealt(4)
	h := g.Set.Holders
	g.Set.Holders = []Holder{{h[0].Validator, []Key{h[0].Shares[0], h[1].Shares[0], h[2].Shares[0]}}, {h[3].Validator, h[3].Shares}}
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	m := Input("test", 3)
	if b, err := g.Recover(m, parts(shares, m)[1:]); err != nil || b.Signature() != NewSecret([32]byte{7}).Sign(m) {
		t.Error(err)
	}
	if _, first, ok := g.Set.Holder(h[3].Validator); !ok || first != 3 {
		t.Errorf("its first seat is %d, %t", first, ok)
	}
	if _, _, ok := g.Set.Holder(h[2].Validator); ok {
		t.Error("who holds nothing is found")
	}
	f := g.Foresight()
	if f.Check() != nil || !f.Alone() || f.Most != 3 || f.Holder != h[0].Validator {
		t.Errorf("%+v", f)
	}
}

func TestForesightSaysWho(t *testing.T) {
	g, _ := dealt(4)
	own := OwnGroup(validator(0), NewSecret([32]byte{1}))
	for _, x := range []struct {
		f    Foresight
		want string
	}{
		{g.Foresight(), "beacon: 3 of 4 seats; the largest holder has 1; known in advance to who dealt the shares"},
		{own.Foresight(), "beacon: 1 of 1 seats; the largest holder has 1; known in advance to validator 01000000"},
	} {
		if x.f.String() != x.want || x.f.Check() != nil {
			t.Errorf("%s, %v", x.f, x.f.Check())
		}
	}
	good := g.Foresight()
	for name, change := range map[string]func(*Foresight){
		"kind": func(f *Foresight) { f.Kind = 7 }, "need": func(f *Foresight) { f.Need = 2 }, "seats": func(f *Foresight) { f.Seats = 5 },
		"most": func(f *Foresight) { f.Most = 5 }, "nobody": func(f *Foresight) { f.Most = 0 }, "own": func(f *Foresight) { f.Kind = Own },
		"holder": func(f *Foresight) { f.Holder = task.Key{} },
	} {
		f := good
		change(&f)
		if f.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	k := NewSecret([32]byte(bytes.Repeat([]byte("seed"), 8)))
	x, _ := k.open().x.MarshalBinary()
	holder := struct {
		v Secret
		V *Secret
	}{k, &k}
	var out bytes.Buffer
	for _, v := range []any{k, &k, holder, &holder, []any{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "k", v)
	}
	for _, form := range []string{string(x[:6]), hex.EncodeToString(x[:6]), strings.Trim(fmt.Sprint(x[:6]), "[]")} {
		if strings.Contains(strings.ToLower(out.String()), form) {
			t.Errorf("the secret shows as %q", form)
		}
	}
	if k.String() != redacted || k.GoString() != redacted || k.LogValue().String() != redacted {
		t.Error("not redacted")
	}
}

// vectorSet is spec/vectors/beacon.json.
type vectorSet struct {
	What   string         `json:"what"`
	Groups []groupVector  `json:"groups"`
	Height []heightVector `json:"heights"`
}

type groupVector struct {
	Seed  task.Hash `json:"seed"`
	Group Group     `json:"group"`
}

type heightVector struct {
	Chain     string      `json:"chain"`
	Height    uint64      `json:"height"`
	Input     task.Hash   `json:"input"`
	Parts     []Signature `json:"parts"` // by the seats of the group of four
	Signature Signature   `json:"signature"`
	Value     task.Hash   `json:"value"`
}

func TestVectors(t *testing.T) {
	g, shares := dealt(4)
	v := vectorSet{What: "The beacon, spec chapter 4. groups: dealt from a seed to validators 0100…, 0200…; heights: of the group of four. Any three parts make the signature."}
	v.Groups = []groupVector{{task.Hash{7}, g}}
	for _, h := range []uint64{1, 2, 1 << 40} {
		m := Input("prytany-test", h)
		x := heightVector{Chain: "prytany-test", Height: h, Input: m}
		for _, s := range shares {
			x.Parts = append(x.Parts, s.Sign(m))
		}
		x.Signature, _ = Combine(3, parts(shares, m))
		x.Value = x.Signature.Value()
		v.Height = append(v.Height, x)
	}
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, '\n')
	const path = "../spec/vectors/beacon.json"
	if *update {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(kept, raw) {
		t.Errorf("%s says something else (%v); if that is meant: -update", path, err)
	}
	var again vectorSet
	if err := json.Unmarshal(kept, &again); err != nil || again.Groups[0].Group.Check() != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	good := NewSecret([32]byte{1}).Sign(task.Hash{})
	f.Add(good[:])
	f.Add([]byte{0x40})
	f.Add(append([]byte{0x40}, make([]byte, 47)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Parse(raw)
		if err != nil {
			return
		}
		p, _ := s.point()
		if !bytes.Equal(p.BytesCompressed(), raw) || p.IsIdentity() {
			t.Errorf("%x is taken, and written another way", raw)
		}
	})
}

func FuzzKey(f *testing.F) {
	good := NewSecret([32]byte{1}).Public()
	f.Add(good[:])
	f.Add(append([]byte{0x40}, make([]byte, 95)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) != KeySize {
			return
		}
		k := Key(raw)
		p, err := k.point()
		if err == nil && (!bytes.Equal(p.BytesCompressed(), raw) || p.IsIdentity()) {
			t.Errorf("%x is taken, and written another way", raw)
		}
	})
}

func BenchmarkBeacon(b *testing.B) {
	for _, n := range []int{4, 50} {
		g, shares := dealt(n)
		m := Input("test", 1)
		all := parts(shares, m)
		b.Run(fmt.Sprint("sign/", n), func(b *testing.B) {
			for b.Loop() {
				_ = shares[0].Sign(m)
			}
		})
		b.Run(fmt.Sprint("recover and verify/", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := g.Recover(m, all); err != nil {
					b.Fatal(err)
				}
			}
		})
		s, _ := Combine(Threshold(n), all)
		b.Run(fmt.Sprint("verify/", n), func(b *testing.B) {
			for b.Loop() {
				if g.Key.Verify(m, s) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
