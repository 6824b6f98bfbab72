package attest

import (
	"bytes"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// full is a reference with something in every field.
func full(t testing.TB) Reference {
	root := (*authority)(nil).issue(elliptic.P256(), "maker", true).cert.Raw
	r := Reference{
		AllowSimulated: true, Measurements: []task.Hash{{1}, {2}}, MinTCB: 3, Kinds: []Kind{Nitro, SEVSNP, TDX, TPM}, Revoked: []task.Hash{{4}},
		TPM:    TPMReference{Roots: [][]byte{root}, Activators: []task.Key{{5}, {6}}, Threshold: 2, PCRs: []PCRValue{{Index: 0, Value: task.Hash{7}}, {Index: 7, Value: task.Hash{8}}}, MinFirmware: 9},
		SNP:    SNPReference{Roots: [][]byte{root}, Products: []string{"Genoa", "Turin"}, MinTCB: []SNPFloor{{"Genoa", 10}, {"Turin", 11}}},
		TDX:    TDXReference{Roots: [][]byte{root}, MinEvaluation: 12, MaxAgeSeconds: 13, Statuses: []string{"SWHardeningNeeded"}},
		Nitro:  NitroReference{Roots: [][]byte{root}},
		Docker: []task.Hash{{14}}, Runtimes: []task.Hash{{15}, {16}},
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

// Every field of a reference is made of values, and comes back from them in any
// order. A new field without a list is found here.
func TestReferencesAreMadeOfValues(t *testing.T) {
	r := full(t)
	for todo := []reflect.Value{reflect.ValueOf(r)}; len(todo) > 0; {
		v := todo[0]
		todo = todo[1:]
		for i := range v.NumField() {
			if f := v.Field(i); f.IsZero() {
				t.Fatalf("the test's reference has no %s", v.Type().Field(i).Name)
			} else if f.Kind() == reflect.Struct {
				todo = append(todo, f)
			}
		}
	}
	values := r.Values()
	lists := map[List]bool{}
	for _, v := range values {
		lists[v.List] = true
		if err := v.Check(); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		var back Value
		if err := back.UnmarshalText([]byte(v.String())); err != nil || !back.Equal(v) {
			t.Errorf("%.60s reads back as %.60s: %v", v, back, err)
		}
	}
	if len(lists) != len(Lists()) {
		t.Errorf("%d of %d lists are in the test's reference", len(lists), len(Lists()))
	}
	inOrder := slices.Clone(values)
	for range 20 {
		rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		back := ReferenceOf(values)
		if back.Hash() != ReferenceOf(inOrder).Hash() || !slices.EqualFunc(back.Values(), inOrder, Value.Equal) {
			t.Fatal("another order makes another reference")
		}
	}
}

// While an old and a new value are both in force, what either accepts is accepted.
func TestOverlapsAcceptBoth(t *testing.T) {
	r := ReferenceOf([]Value{
		{List: "simulated"}, {List: "simulated-floor", Number: 9}, {List: "simulated-floor", Number: 8},
		{List: "tpm-floor", Number: 5}, {List: "tpm-floor", Number: 0}, {List: "tdx-age", Number: 10}, {List: "tdx-age", Number: 20},
		{List: "sev-snp-floor", Name: "Genoa", Number: 0x0100}, {List: "sev-snp-floor", Name: "Genoa", Number: 0x0002},
	})
	if r.MinTCB != 8 || r.TPM.MinFirmware != 0 || r.TDX.MaxAgeSeconds != 20 {
		t.Errorf("%+v", r)
	}
	for tcb, want := range map[uint64]bool{0x0100: true, 0x0003: true, 0x0001: false} {
		if _, ok := r.SNP.reached("Genoa", tcb); ok != want {
			t.Errorf("TCB %#x: %t", tcb, ok)
		}
	}
	if _, ok := r.SNP.reached("Turin", 0); !ok {
		t.Error("a floor of another product line counts")
	}
}

// What one set of values may not follow another by.
func TestFollows(t *testing.T) {
	real := full(t)
	real.AllowSimulated, real.Docker, real.MinTCB = false, nil, 0
	bare := Reference{AllowSimulated: true, Measurements: []task.Hash{{1}}}
	for name, row := range map[string]struct {
		before Reference
		change func(*Reference)
		says   string
	}{
		"the same":               {real, func(*Reference) {}, ""},
		"another program":        {bare, func(r *Reference) { r.Measurements = []task.Hash{{2}} }, ""},
		"no program":             {bare, func(r *Reference) { r.Measurements = nil }, "no program"},
		"no kind":                {bare, func(r *Reference) { r.AllowSimulated = false }, "no kind"},
		"simulated evidence":     {real, func(r *Reference) { r.AllowSimulated = true }, "never will"},
		"an end to it":           {full(t), func(r *Reference) { r.AllowSimulated, r.Docker = false, nil }, ""},
		"too few activators":     {real, func(r *Reference) { r.TPM.Activators = r.TPM.Activators[:1] }, "threshold"},
		"a higher floor":         {real, func(r *Reference) { r.TPM.MinFirmware++ }, ""},
		"no floor":               {real, func(r *Reference) { r.TPM.MinFirmware = 0 }, "tpm-floor:9 ends"},
		"no floor of one line":   {real, func(r *Reference) { r.SNP.MinTCB = r.SNP.MinTCB[1:] }, "sev-snp-floor:Genoa=10 ends"},
		"no register":            {real, func(r *Reference) { r.TPM.PCRs = r.TPM.PCRs[1:] }, "tpm-register:0="},
		"no product":             {real, func(r *Reference) { r.SNP.Products = nil }, "no product line"},
		"the vendor's roots":     {real, func(r *Reference) { r.TDX.Roots = nil }, "vendor's roots"},
		"fewer products":         {real, func(r *Reference) { r.SNP.Products = r.SNP.Products[:1] }, ""},
		"a kind less":            {real, func(r *Reference) { r.Kinds = r.Kinds[1:] }, ""},
		"a kind with own roots":  {Reference{Kinds: []Kind{Nitro}, Measurements: []task.Hash{{1}}}, func(r *Reference) { r.Kinds, r.TDX.Roots = append(r.Kinds, TDX), real.TDX.Roots }, ""},
		"a revocation, and back": {real, func(r *Reference) { r.Revoked = nil }, ""},
	} {
		after := ReferenceOf(row.before.Values()) // a copy
		row.change(&after)
		err := Follows(row.before.Values(), after.Values())
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %q", name, err, row.says)
		}
	}
}

// A machine's profile is refused by the values that would refuse its evidence.
func TestProfilesAreAccepted(t *testing.T) {
	ref := full(t)
	program := task.Hash{1}
	for name, row := range map[string]struct {
		kind Kind
		p    Profile
		code string
	}{
		"simulated":              {Simulated, Profile{Tier: 1, Measurement: program, TCB: 3}, ""},
		"simulated, old":         {Simulated, Profile{Tier: 1, Measurement: program, TCB: 2}, StaleTCB},
		"another program":        {Simulated, Profile{Tier: 1, Measurement: task.Hash{3}, TCB: 3}, WrongMeasurement},
		"TPM":                    {TPM, Profile{Tier: 2, Measurement: program, TCB: 9}, ""},
		"TPM, old":               {TPM, Profile{Tier: 2, Measurement: program, TCB: 8}, StaleTCB},
		"Genoa":                  {SEVSNP, Profile{Tier: 3, Measurement: program, TCB: 10, Product: "Genoa"}, ""},
		"Genoa, old":             {SEVSNP, Profile{Tier: 3, Measurement: program, TCB: 9, Product: "Genoa"}, StaleTCB},
		"Milan":                  {SEVSNP, Profile{Tier: 3, Measurement: program, TCB: 99, Product: "Milan"}, WrongProduct},
		"TDX":                    {TDX, Profile{Tier: 3, Measurement: program, TCB: 12}, ""},
		"TDX, old":               {TDX, Profile{Tier: 3, Measurement: program, TCB: 11}, StaleTCB},
		"a kind that is no kind": {"sgx", Profile{Tier: 3, Measurement: program}, KindRefused},
	} {
		if err := row.p.Accepted(task.TEE{Kind: string(row.kind)}, ref); task.CodeOf(err) != row.code {
			t.Errorf("%s: %v, want %q", name, err, row.code)
		}
	}
	ref.AllowSimulated = false
	if err := (Profile{Tier: 1, Measurement: program, TCB: 9}).Accepted(task.TEE{Kind: string(TPM)}, ref); task.CodeOf(err) != SimulatedRefused {
		t.Errorf("a TPM of software: %v", err)
	}
}

// Malformed values and changes are refused, whoever sends them.
func TestChangesHaveOneForm(t *testing.T) {
	hash := bytes.Repeat([]byte{1}, 32)
	value := func(v Value) Change { return Change{[]Term{{Value: v, From: 5}}} }
	many := Change{}
	for i := range maxTerms + 1 {
		many.Terms = append(many.Terms, Term{Value: Value{List: "simulated-floor", Number: uint64(i)}, From: 5})
	}
	for name, row := range map[string]struct {
		c  Change
		ok bool
	}{
		"one":               {value(Value{List: "measurement", Data: hash}), true},
		"of 64":             {Change{many.Terms[1:]}, true},
		"of none":           {Change{}, false},
		"of 65":             {many, false},
		"no list":           {value(Value{List: "nonsense"}), false},
		"short":             {value(Value{List: "measurement", Data: hash[1:]}), false},
		"with a name":       {value(Value{List: "measurement", Name: "x", Data: hash}), false},
		"with a number":     {value(Value{List: "measurement", Number: 1, Data: hash}), false},
		"without a name":    {value(Value{List: "kind"}), false},
		"a name with '='":   {value(Value{List: "sev-snp-floor", Name: "a=b", Number: 1}), false},
		"a name with ESC":   {value(Value{List: "tdx-status", Name: "a\x1b[2J"}), false},
		"a large root":      {value(Value{List: "tpm-root", Data: make([]byte, maxRoot+1)}), false},
		"no root":           {value(Value{List: "tpm-root"}), false},
		"a large register":  {value(Value{List: "tpm-register", Number: 1 << 32, Data: hash}), false},
		"twice":             {Change{[]Term{{Value: Value{List: "simulated"}, From: 5}, {Value: Value{List: "simulated"}, From: 6}}}, false},
		"ended beforehand":  {Change{[]Term{{Value: Value{List: "simulated"}, From: 5, Until: 4}}}, false},
		"at the end of all": {Change{[]Term{{Value: Value{List: "simulated"}, From: 1 << 61}}}, false},
	} {
		if _, err := ParseChange(task.Encode(row.c)); (err == nil) != row.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseChange(f *testing.F) {
	f.Add(task.Encode(Change{[]Term{{Value: Value{List: "simulated-floor", Number: 9}, From: 5, Until: 7}}}))
	for _, v := range full(f).Values() {
		f.Add(task.Encode(Change{[]Term{{Value: v, From: 1}}}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseChange(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(task.Encode(c), raw) {
			t.Fatal("a second encoding of one change")
		}
		var values []Value
		for _, x := range c.Terms {
			values = append(values, x.Value)
			var back Value
			if err := back.UnmarshalText([]byte(x.Value.String())); err != nil || !back.Equal(x.Value) {
				t.Fatalf("%s reads back as %s: %v", x.Value, back, err)
			}
		}
		_ = Follows(nil, values)
		if r := ReferenceOf(values); r.Check() == nil && ReferenceOf(r.Values()).Hash() != r.Hash() {
			t.Fatal("a reference that is not made of its values")
		}
	})
}

func FuzzValueText(f *testing.F) {
	for _, v := range full(f).Values() {
		f.Add(v.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v, back Value
		if v.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(v.String())); err != nil || !back.Equal(v) {
			t.Fatalf("%q is %q, and that is %q: %v", text, v, back, err)
		}
	})
}

var update = flag.Bool("update", false, "write the vector file anew")

// The vectors pin what validators sign, and how a set of values is named.
func TestVectorsOfValues(t *testing.T) {
	const file = "../spec/vectors/reference.json"
	hash := bytes.Repeat([]byte{1}, 32)
	c := Change{[]Term{
		{Value: Value{List: "simulated-floor", Number: 9}, From: 210}, {Value: Value{List: "simulated-floor", Number: 8}, From: 0, Until: 220},
		{Value: Value{List: "measurement", Data: hash}, From: 210}, {Value: Value{List: "sev-snp-floor", Name: "Genoa", Number: 10}, From: 210},
	}}
	var values []Value
	for _, x := range c.Terms {
		values = append(values, x.Value)
	}
	ref := ReferenceOf(values)
	g := task.Govern{Number: 3, Change: task.Encode(c)}
	type vector struct {
		What  string `json:"what"`
		Bytes string `json:"bytes"`
		Hash  string `json:"hash"`
	}
	fresh, err := json.MarshalIndent([]vector{
		{"change 3 of chain c, what validators sign", hex.EncodeToString(g.Change), g.Hash("c").String()},
		{"the reference that its values make, its name", hex.EncodeToString(task.Encode(ref)), ref.Hash().String()},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fresh = append(fresh, '\n')
	if *update {
		if err := os.WriteFile(file, fresh, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(file); err != nil || !slices.Equal(kept, fresh) {
		t.Errorf("the encoding has changed: %v", err)
	}
}
