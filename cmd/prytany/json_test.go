package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"hash/fnv"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/chain/proof"
	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/sim/economy"
	"github.com/prytany/prytany/task"
)

// printed is what each function that prints something prints with --json.
var printed = map[string]any{
	"attestShow":     []described{},
	"demoTask":       demoFiles{},
	"demoEnd":        demoFiles{},
	"coalitions":     economy.CoalitionTable{},
	"devnet":         devnetUp{},
	"doctor":         []finding{},
	"economy":        economy.Table{},
	"election":       electionReport{},
	"follow":         finished{},
	"funcWithdraw":   funcBond{},
	"funcBuild":      funcBuilt{},
	"funcInit":       funcMade{},
	"funcLock":       locked{},
	"funcList":       []funcRow{},
	"funcPublish":    funcPublished{},
	"funcShow":       funcShown{},
	"funcTest":       tried{},
	"imageBuild":     imageBuilt{},
	"keyPrint":       keyFile{},
	"keyShow":        keyShown{},
	"node":           nodeUp{},
	"nodeList":       []nodeRow{},
	"nodeRecord":     nodeShown{},
	"printVersion":   versionShown{},
	"simulate":       campaign{},
	"taskList":       []taskRow{},
	"taskReceipt":    receiptMade{},
	"taskShow":       []any{ledger.Case{}, taskWhy{}}, // either
	"validatorDraft": drafted{},
	"validatorSign":  drafted{},
	"submitChange":   changeMade{},
	"verify":         receipt.Report{},
	"chainReference": chainValues{},
}

// kept is what is written down, sent or shown elsewhere.
var forms = []any{
	receipt.Receipt{}, task.Tx{}, ledger.Genesis{}, ledger.Event{}, ledger.NodeRecord{}, ledger.FunctionRecord{},
	ledger.Values{}, ledger.Amendment{}, ledger.Meta{}, attest.Evidence{}, attest.Change{}, proof.Proof{}, proof.Trust{},
	chain.Receipt{}, client.Network{}, client.Pin{}, task.Error{},
}

// unsaid are the exported fields that JSON has not, and why.
var unsaid = map[string]string{
	"economy.Options.Parallel":          "changes nothing but the time that it takes",
	"economy.CoalitionOptions.Parallel": "the same",
}

func printedTypes() (all []reflect.Type) {
	for _, name := range slices.Sorted(maps.Keys(printed)) {
		if list, either := printed[name].([]any); either {
			for _, v := range list {
				all = append(all, reflect.TypeOf(v))
			}
			continue
		}
		all = append(all, reflect.TypeOf(printed[name]))
	}
	return all
}

// What is printed must stand in the table above, or its form would not be looked at.
func TestAllThatIsPrintedIsLookedAt(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if s, ok := call.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "print" || s.Sel.Name == "report") && fn.Name.Name != "report" {
					found[fn.Name.Name] = true
				}
				return true
			})
		}
	}
	if len(found) < 25 {
		t.Errorf("only %d functions print something", len(found))
	}
	for name := range found {
		if printed[name] == nil {
			t.Errorf("%s prints something, and the table does not say what", name)
		}
	}
	for name := range printed {
		if !found[name] {
			t.Errorf("the table has %s, which prints nothing", name)
		}
	}
}

var (
	textType = reflect.TypeFor[encoding.TextMarshaler]()
	jsonType = reflect.TypeFor[json.Marshaler]()
	jsonName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
)

// form looks at the JSON form of all that can be reached (spec §1.9).
type form struct {
	complain func(format string, args ...any)
	seen     map[reflect.Type]bool
	unsaid   map[string]bool // met
}

func (f *form) walk(at string, t reflect.Type, quoted bool) {
	switch {
	case t.Implements(textType) || reflect.PointerTo(t).Implements(textType):
		if !t.Implements(textType) {
			f.complain("%s: %s has its text by pointer only, and is none in a value", at, t)
		}
		if t.Kind() == reflect.Uint8 {
			f.words(t)
		}
		return
	case t.Implements(jsonType) && t.Kind() != reflect.Struct: // of a struct the fields are looked at all the same
		return
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Uintptr:
		if !quoted {
			f.complain("%s: %s is a JSON number: browsers read 53 bits of it", at, t)
		}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		if t.PkgPath() != "" {
			f.complain("%s: %s is an enumeration, and a number in JSON", at, t)
		}
	case reflect.Bool, reflect.String, reflect.Float64:
	case reflect.Pointer:
		f.walk(at, t.Elem(), quoted)
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 { // else base64
			f.walk(at+"[]", t.Elem(), false)
		}
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			f.complain("%s: %s is a list of numbers", at, t)
		}
		f.walk(at+"[]", t.Elem(), false)
	case reflect.Map:
		f.walk(at+".key", t.Key(), true)
		f.walk(at+"{}", t.Elem(), false)
	case reflect.Struct:
		if f.seen[t] {
			return
		}
		f.seen[t] = true
		names := map[string]bool{}
		for i := range t.NumField() {
			x := t.Field(i)
			tag, tagged := x.Tag.Lookup("json")
			name, options, _ := strings.Cut(tag, ",")
			where := t.String() + "." + x.Name
			switch {
			case !x.IsExported() && !x.Anonymous:
			case tag == "-" && x.Type.Kind() == reflect.Func: // has no form
			case tag == "-":
				if f.unsaid[where] = true; unsaid[where] == "" {
					f.complain("%s is dropped", where)
				}
			case x.Anonymous && !tagged:
				f.walk(at, x.Type, false)
			case !jsonName.MatchString(name) || names[name]:
				f.complain("%s has the name %q in JSON", where, name)
			default:
				names[name] = true
				f.walk(at+"."+name, x.Type, slices.Contains(strings.Split(options, ","), "string"))
			}
		}
	default:
		f.complain("%s: %s has no one form", at, t)
	}
}

var aWord = regexp.MustCompile(`^([a-z]+(-[a-z]+)*|OK|FAULT)$`)

// words says whether each number of an enumeration that is known has one word, and
// each word is read back.
func (f *form) words(t reflect.Type) {
	if f.seen[t] {
		return
	}
	f.seen[t] = true
	known := 0
	for n := 1; n < 256; n++ {
		v, back := reflect.New(t).Elem(), reflect.New(t)
		v.SetUint(uint64(n))
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		into, reads := back.Interface().(encoding.TextUnmarshaler)
		if err != nil || !reads {
			f.complain("%s is written or read by no word: %v", t, err)
			return
		}
		if err := into.UnmarshalText(text); err != nil {
			continue // not known
		}
		if known++; !aWord.Match(text) || back.Elem().Uint() != uint64(n) {
			f.complain("%s: %d is %q, and %d when it is read", t, n, text, back.Elem().Uint())
		}
	}
	if known < 2 {
		f.complain("%s has %d words", t, known)
	}
	if reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte("no-such-word")) == nil {
		f.complain("%s takes any word", t)
	}
}

func TestJSONForm(t *testing.T) {
	f := form{complain: t.Errorf, seen: map[reflect.Type]bool{}, unsaid: map[string]bool{}}
	for _, r := range printedTypes() {
		f.walk(r.String(), r, false)
	}
	for _, v := range forms {
		f.walk(fmt.Sprintf("%T", v), reflect.TypeOf(v), false)
	}
	for name := range unsaid {
		if !f.unsaid[name] {
			t.Errorf("%s is excused, and is not dropped", name)
		}
	}
	for _, want := range []any{task.Role(0), task.Verdict(0), task.Round(0), task.DeclineReason(0), ledger.Stage(0), ledger.Cause(0), task.Task{}, task.Function{}, task.Node{}, task.Policy{}, ledger.Params{}, ledger.Round{}, ledger.Settlement{}, task.Showing{}, task.Accusation{}} {
		if !f.seen[reflect.TypeOf(want)] {
			t.Errorf("%T was not reached", want)
		}
	}
}

// The walk must find what it is there for.
func TestJSONFormFinds(t *testing.T) {
	type number uint8
	for what, v := range map[string]any{
		"is a JSON number": struct {
			A struct {
				B []uint64 `json:"b"`
			} `json:"a"`
		}{},
		"is an enumeration": struct {
			A map[string]number `json:"a"`
		}{},
		"is a list of": struct {
			A *[64]byte `json:"a"`
		}{},
		"is dropped": struct {
			A string `json:"-"`
		}{},
		"has the name": struct{ A string }{},
		"has no one form": struct {
			A any `json:"a"`
		}{},
		"has its text by po": struct {
			A byPointer `json:"a"`
		}{},
	} {
		var said []string
		f := form{complain: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }, seen: map[reflect.Type]bool{}, unsaid: map[string]bool{}}
		f.walk("x", reflect.TypeOf(v), false)
		if len(said) != 1 || !strings.Contains(said[0], what) {
			t.Errorf("%s: %q", what, said)
		}
	}
}

type byPointer struct{}

func (*byPointer) MarshalText() ([]byte, error) { return nil, nil }

// fill gives every field a value of its own, made of its place, so that a new field
// changes no other: numbers as large as they can be, one element to each list.
func fill(v reflect.Value, at string) {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(at))
	n := 1 + uint64(sum.Sum32()%60_000)
	if v.CanAddr() {
		switch x := v.Addr().Interface().(type) {
		case *attest.Value:
			*x = attest.Value{List: "sev-snp-floor", Name: "Genoa", Number: math.MaxUint64 - n}
			return
		case *task.Error:
			*x = task.Error{Code: "some-code", What: "what happened"}
			return
		}
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprint("text ", n))
	case reflect.Float64:
		v.SetFloat(float64(n) / 4)
	case reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint:
		v.SetUint(math.MaxUint64 - n)
		if bits := v.Type().Bits(); bits < 64 {
			v.SetUint(1<<bits - n)
		}
	case reflect.Uint8:
		v.SetUint(1) // known, if it is of an enumeration
	case reflect.Int64, reflect.Int:
		v.SetInt(math.MaxInt64 - int64(n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), at)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), at+"[]")
	case reflect.Array:
		for i := range v.Len() {
			if fill(v.Index(i), fmt.Sprint(at, i)); v.Index(i).Kind() == reflect.Uint8 {
				v.Index(i).SetUint((n + uint64(i)) & 0xff)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, at+".key")
		fill(elem, at+"{}")
		v.SetMapIndex(key, elem)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), at+"."+v.Type().Field(i).Name)
			}
		}
	}
}

func filled(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	fill(v.Elem(), t.Name())
	return v
}

// What has canonical bytes has them again after a way through JSON, and through the
// numbers of a browser: so JSON holds all that is hashed and signed.
func TestJSONHoldsWhatVerifiersNeed(t *testing.T) {
	for _, v := range append(slices.Clone(forms), ledger.Case{}, nodeShown{}.Node, attest.Reference{}) {
		typ := reflect.TypeOf(v)
		if first, _ := typ.FieldByName(typ.Field(0).Name); first.Tag.Get("cbor") == "" {
			continue
		}
		want := filled(typ)
		raw, err := json.Marshal(want.Interface())
		if err != nil {
			t.Fatal(err)
		}
		var browser any
		if err := json.Unmarshal(raw, &browser); err != nil {
			t.Fatal(err)
		}
		if raw, err = json.Marshal(browser); err != nil {
			t.Fatal(err)
		}
		have := reflect.New(typ)
		if err := json.Unmarshal(raw, have.Interface()); err != nil {
			t.Errorf("%s: %v\n%.2000s", typ, err, raw)
			continue
		}
		if !bytes.Equal(task.Encode(want.Interface()), task.Encode(have.Interface())) {
			t.Errorf("%s is another one after JSON: %.4000s", typ, raw)
		}
	}
}

// The form of what is printed, with a value in every field.
func TestJSONGolden(t *testing.T) {
	all := map[string]any{}
	for _, typ := range printedTypes() {
		all[strings.NewReplacer("main.", "", "[]", "list of ").Replace(typ.String())] = filled(typ).Interface()
	}
	have, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	have = append(have, '\n')
	file := filepath.Join("testdata", "json.golden")
	if *updateGolden {
		if err := os.WriteFile(file, have, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what commands print; look, then run with -update-golden", file)
	}
}
