package vrf

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/ecvrf"
)

var update = flag.Bool("update", false, "write the edge cases of the vector file anew")

const vectorFile = "../spec/vectors/vrf.json"

// hexBytes is hex in the vector file.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

type edge struct {
	Name  string    `json:"name"`
	Key   PublicKey `json:"key"`
	Alpha hexBytes  `json:"alpha"`
	Pi    hexBytes  `json:"pi"`
	Valid bool      `json:"valid"`
	Beta  *Output   `json:"beta,omitempty"`
}

type vectors struct {
	What    string `json:"what"`
	Vectors []struct {
		Name   string    `json:"name"`
		Secret hexBytes  `json:"secret"`
		Key    PublicKey `json:"key"`
		Alpha  hexBytes  `json:"alpha"`
		Pi     hexBytes  `json:"pi"`
		Beta   Output    `json:"beta"`
	} `json:"vectors"`
	InvalidKeys []struct {
		Why string   `json:"why"`
		Key hexBytes `json:"key"`
	} `json:"invalid_keys"`
	Edge []edge `json:"edge"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// key gives the n-th test key.
func key(n int) *PrivateKey {
	var seed [SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], uint64(n))
	return NewKey(seed)
}

func TestRFC9381(t *testing.T) {
	v := readVectors(t)
	if len(v.Vectors) != 3 {
		t.Fatalf("have %d vectors, RFC 9381 Appendix B.4 has 3", len(v.Vectors))
	}
	for _, x := range v.Vectors {
		k := NewKey([SeedSize]byte(x.Secret))
		if k.Public() != x.Key {
			t.Errorf("%s: key %s", x.Name, k.Public())
		}
		p, beta := k.Prove(x.Alpha)
		if p[0] != Version || !bytes.Equal(p[1:], x.Pi) {
			t.Errorf("%s: proof %s", x.Name, p)
		}
		if beta != x.Beta || k.Output(x.Alpha) != x.Beta {
			t.Errorf("%s: beta %s and %s", x.Name, beta, k.Output(x.Alpha))
		}
		if got, err := Verify(x.Key, x.Alpha, p); err != nil || got != x.Beta {
			t.Errorf("%s: verified to %s, %v", x.Name, got, err)
		}
	}
}

// The loser's path and the winner's path give one β.
func TestOutputEqualsProve(t *testing.T) {
	for i := range 1000 {
		k := key(i % 37)
		alpha := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, i%150)
		p, beta := k.Prove(alpha)
		if got := k.Output(alpha); got != beta {
			t.Fatalf("input %d: Output gives %s, Prove %s", i, got, beta)
		}
		if got, err := Verify(k.Public(), alpha, p); err != nil || got != beta {
			t.Fatalf("input %d: Verify gives %s, %v, Prove %s", i, got, err, beta)
		}
	}
}

func TestEveryBitCounts(t *testing.T) {
	k := key(1)
	pk, alpha := k.Public(), []byte("thirty-two bytes of input, say..")
	p, _ := k.Prove(alpha)
	refused := func(what string, bit int, pk PublicKey, alpha []byte, p Proof) {
		if out, err := Verify(pk, alpha, p); err == nil || out != (Output{}) {
			t.Errorf("bit %d of %s flipped: still valid, or an output beside the error", bit, what)
		}
	}
	for i := range 8 * len(p) {
		q := p
		q[i/8] ^= 1 << (i % 8)
		refused("the proof", i, pk, alpha, q)
	}
	for i := range 8 * len(alpha) {
		a := bytes.Clone(alpha)
		a[i/8] ^= 1 << (i % 8)
		refused("alpha", i, pk, a, p)
	}
	for i := range 8 * len(pk) {
		q := pk
		q[i/8] ^= 1 << (i % 8)
		refused("the key", i, q, alpha, p)
	}
}

func TestInvalidKeys(t *testing.T) {
	v := readVectors(t)
	alpha := []byte("alpha")
	p, _ := key(1).Prove(alpha)
	for _, x := range v.InvalidKeys {
		pk := PublicKey(x.Key)
		if err := pk.Validate(); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %s: Validate says %v", x.Why, pk, err)
		}
		if out, err := ParsePublicKey(pk[:]); !errors.Is(err, ErrKey) || out != (PublicKey{}) {
			t.Errorf("%s: %s: ParsePublicKey gives %s, %v", x.Why, pk, out, err)
		}
		if _, err := Verify(pk, alpha, p); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %s: Verify says %v", x.Why, pk, err)
		}
	}
	for i := range 20 {
		pk := key(i).Public()
		if got, err := ParsePublicKey(pk[:]); err != nil || got != pk {
			t.Errorf("honest key %d: %s, %v", i, got, err)
		}
		if _, err := ParsePublicKey(pk[:31]); !errors.Is(err, ErrSize) {
			t.Errorf("31 bytes: %v", err)
		}
	}
}

// Γ and s must be canonical, or there would be two byte strings for one proof.
func TestNonCanonicalProof(t *testing.T) {
	k := key(1)
	alpha := []byte("alpha")
	p, _ := k.Prove(alpha)
	for _, x := range readVectors(t).InvalidKeys {
		q := p
		copy(q[1:33], x.Key)
		if _, err := Verify(k.Public(), alpha, q); !errors.Is(err, ErrProof) {
			t.Errorf("gamma %s: %v", x.Why, err)
		}
	}
	// s + q is the same scalar and fits into 32 bytes.
	q, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	r, carry := p, 0
	for i := range q {
		carry += int(p[49+i]) + int(q[i])
		r[49+i] = byte(carry)
		carry >>= 8
	}
	if _, err := Verify(k.Public(), alpha, r); !errors.Is(err, ErrProof) {
		t.Errorf("s + q: %v", err)
	}
}

func TestVersionAndSize(t *testing.T) {
	k := key(1)
	p, _ := k.Prove(nil)
	for v := range 256 {
		q := p
		q[0] = byte(v)
		_, errParse := ParseProof(q[:])
		_, errVerify := Verify(k.Public(), nil, q)
		if v == Version {
			if errParse != nil || errVerify != nil {
				t.Errorf("version 1: %v, %v", errParse, errVerify)
			}
		} else if !errors.Is(errParse, ErrVersion) || !errors.Is(errVerify, ErrVersion) {
			t.Errorf("version %d: %v, %v", v, errParse, errVerify)
		}
	}
	for _, n := range []int{0, 1, 80, 82, 162} {
		if _, err := ParseProof(append(p[:], p[:]...)[:n]); !errors.Is(err, ErrSize) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	q, err := ParseProof(p[:])
	if err != nil || q != p {
		t.Errorf("ParseProof: %s, %v", q, err)
	}
	// The old challenge without Y (drafts before 11) is another version's proof.
	old := Proof{Version}
	copy(old[1:], ecvrf.Prove_v10(k.open().key, nil))
	if _, err := Verify(k.Public(), nil, old); !errors.Is(err, ErrProof) {
		t.Errorf("draft 10 proof: %v", err)
	}
}

func TestText(t *testing.T) {
	type all struct {
		P Proof
		O Output
		K PublicKey
	}
	k := key(1)
	p, o := k.Prove(nil)
	in := all{p, o, k.Public()}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out all
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Fatalf("%s: %v", b, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 161), strings.Repeat("g", 64), strings.Repeat("0", 162)} {
		before := out
		if out.K.UnmarshalText([]byte(bad)) == nil || out.P.UnmarshalText([]byte(bad)) == nil || out.O.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is taken", bad)
		}
		if out != before {
			t.Errorf("%q changes the value that it fails to fill", bad)
		}
	}
}

func TestPrivateKeyNeverPrints(t *testing.T) {
	var seed [SeedSize]byte
	copy(seed[:], "a secret seed of thirty-two byte")
	k := NewKey(seed)
	holder := struct {
		p *PrivateKey
		v PrivateKey
		P *PrivateKey
		V PrivateKey
	}{k, *k, k, *k}
	var out bytes.Buffer
	for _, v := range []any{k, *k, holder, &holder, []any{k}, map[string]any{"k": *k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("key", "k", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "k", v)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d", "%5.3f"} {
		for _, v := range []any{k, *k} {
			if got := fmt.Sprintf(verb, v); got != redacted {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
	if k.String() != redacted || k.GoString() != redacted || k.LogValue().String() != redacted {
		t.Errorf("%s, %#v, %s", k.String(), k.GoString(), k.LogValue())
	}
	got := strings.ToLower(out.String())
	x8, _ := k.open().x8.MarshalBinary()
	for _, b := range [][]byte{seed[:], x8} {
		for _, form := range []string{string(b[:6]), hex.EncodeToString(b[:6]), strings.Trim(fmt.Sprint(b[:6]), "[]")} {
			if strings.Contains(got, strings.ToLower(form)) {
				t.Errorf("the secret shows as %q", form)
			}
		}
	}
}

func FuzzParseProof(f *testing.F) {
	p, _ := key(1).Prove(nil)
	f.Add(p[:])
	f.Add(p[1:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if (err == nil) != (len(b) == ProofSize && b[0] == Version) {
			t.Fatalf("%x: %v", b, err)
		}
		if err == nil && !bytes.Equal(p[:], b) {
			t.Fatalf("%x became %s", b, p)
		}
	})
}

// Nothing makes Verify panic, and nobody without the key finds a second β.
func FuzzVerify(f *testing.F) {
	k := key(1)
	pk := k.Public()
	p, _ := k.Prove([]byte("alpha"))
	f.Add(pk[:], []byte("alpha"), p[1:])
	for _, x := range readVectors(f).InvalidKeys {
		f.Add([]byte(x.Key), []byte("alpha"), p[1:])
		f.Add(pk[:], []byte("alpha"), append(bytes.Clone(x.Key), p[33:]...))
	}
	f.Fuzz(func(t *testing.T, key, alpha, pi []byte) {
		q, pk2 := Proof{Version}, PublicKey{}
		copy(q[1:], pi)
		copy(pk2[:], key)
		out, err := Verify(pk2, alpha, q)
		if err != nil {
			if out != (Output{}) {
				t.Fatal("an output beside an error")
			}
			return
		}
		if pk2.Validate() != nil {
			t.Fatal("a valid proof of an invalid key")
		}
		if pk2 == pk && out != k.Output(alpha) {
			t.Fatal("a second output")
		}
	})
}

func BenchmarkOutput(b *testing.B) {
	k, alpha := key(1), make([]byte, 32)
	for b.Loop() {
		k.Output(alpha)
	}
}

func BenchmarkProve(b *testing.B) {
	k, alpha := key(1), make([]byte, 32)
	for b.Loop() {
		k.Prove(alpha)
	}
}

func BenchmarkVerify(b *testing.B) {
	k, alpha := key(1), make([]byte, 32)
	pk := k.Public()
	p, _ := k.Prove(alpha)
	for b.Loop() {
		if _, err := Verify(pk, alpha, p); err != nil {
			b.Fatal(err)
		}
	}
}
