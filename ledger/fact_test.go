package ledger

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// The table of spec §6.1.1 has every kind with its number, word and fields, and no
// other; §6.1.2 has the numbers of the other words.
func TestSpecSaysTheFacts(t *testing.T) {
	raw, err := os.ReadFile("../spec/06-committee.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "### 6.1.1 ")
	facts, rest, _ := strings.Cut(rest, "### 6.1.2 ")
	words, _, _ := strings.Cut(rest, "## 6.2 ")

	listed, _, _ := strings.Cut(facts[strings.Index(facts, "The fields: ")+len("The fields: "):], ".\n")
	names := strings.Split(listed, ", ")
	for i, f := range reflect.VisibleFields(reflect.TypeFor[Fact]())[2:] {
		if want := strconv.Itoa(i+3) + " " + strings.ToLower(f.Name); names[i] != want || !strings.HasPrefix(f.Tag.Get("cbor"), strconv.Itoa(i+3)+",") {
			t.Errorf("field %s: the spec has %q", want, names[i])
		}
		_, names[i], _ = strings.Cut(names[i], " ")
	}
	said := map[Kind]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| ([a-z-]+) \|(.*?)\| `).FindAllStringSubmatch(facts, -1) {
		n, _ := strconv.Atoi(row[1])
		kind := Kind(n)
		said[kind] = true
		if kind.String() != row[2] {
			t.Errorf("kind %d is %s; the spec says %s", n, kind, row[2])
		}
		var uses has
		for _, name := range strings.FieldsFunc(row[3], func(r rune) bool { return r == ',' || r == ' ' }) {
			uses |= 1 << slices.Index(names, name)
		}
		if uses != fieldsOf[kind] {
			t.Errorf("kind %s: the spec says%s", kind, row[3])
		}
	}
	if len(said) != len(fieldsOf) || len(said) < 20 {
		t.Errorf("%d kinds in the spec, %d in the code", len(said), len(fieldsOf))
	}
	for k := range 256 {
		if _, ok := fieldsOf[Kind(k)]; ok != kindWords.Has(uint8(k)) {
			t.Errorf("kind %d: fields %t, a word %t", k, ok, !ok)
		}
	}
	for begin, table := range map[string]task.Words{
		"Cause: ": causeWords, "Outcome of a case (§10.2): ": outcomeWords, "At fault: ": culpritWords, "What a payment is for: ": dueWords,
	} {
		_, line, _ := strings.Cut(words, begin)
		line, _, _ = strings.Cut(line, ".")
		var want []string
		for n := range len(table) {
			if table.Has(uint8(n)) {
				want = append(want, strconv.Itoa(n)+" `"+table.Of(uint8(n))+"`")
			}
		}
		if line != strings.Join(want, ", ") {
			t.Errorf("%sthe spec says %s\nthe code %s", begin, line, strings.Join(want, ", "))
		}
	}
}

// A fact has the fields of its kind, and no others; it reads back only in its one
// encoding.
func TestFactsHaveTheirKindsFields(t *testing.T) {
	if err := (Fact{}).Check(); task.CodeOf(err) != "fact-malformed" {
		t.Error("a fact of nothing")
	}
	for kind, may := range fieldsOf {
		whole := Fact{Height: 1, Kind: kind}
		for i := range 16 {
			f := Fact{Height: 1, Kind: kind}
			for _, x := range []*Fact{&f, &whole} {
				switch v := reflect.ValueOf(x).Elem().Field(2 + i); {
				case x == &whole && may&(1<<i) == 0:
				case v.Kind() == reflect.Array:
					v.Set(reflect.ValueOf(task.NodeID{1}))
				default:
					v.SetUint(1)
				}
			}
			if err := f.Check(); (err == nil) != (may&(1<<i) != 0) {
				t.Errorf("%s with field %d: %v", kind, 3+i, err)
			}
		}
		got, err := task.Decode[Fact](task.Encode(whole), 512)
		if err != nil || got != whole || whole.Check() != nil {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
	for _, f := range []Fact{
		{Kind: FactReleased, Role: 4}, {Kind: FactResult, Ran: 5}, {Kind: FactDeclined, Reason: task.Gone}, {Kind: FactSettled, Outcome: ShortOfGas},
		{Kind: FactPassed, Cause: 19}, {Kind: FactSlashed, Cause: 200}, {Kind: 28}, {Kind: 255},
	} {
		if f.Check() == nil {
			t.Errorf("%+v stands for something", f)
		}
	}
	if n := len(task.Encode(Fact{Height: 1 << 20, Kind: FactRunning, Until: 1 << 20})); n > 16 {
		t.Errorf("%d bytes for two heights and a kind", n)
	}
	zero := []byte{0xa3, 1, 1, 2, 18, 10, 0} // a field that is 0 is left out
	if _, err := task.Decode[Fact](zero, 512); err == nil {
		t.Error("two encodings of one fact")
	}
}

// No record of the ledger has a text of its own making: what nodes agree on is numbers
// and names. The texts here are others': signed by who wrote them, or the genesis's.
func TestTheStateHasNoProse(t *testing.T) {
	others := map[string]bool{"Params.Chain": true, "Alike.Kind": true}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(x reflect.Type) {
		if seen[x] {
			return
		}
		seen[x] = true
		switch x.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(x.Elem())
		case reflect.Map:
			walk(x.Key())
			walk(x.Elem())
		case reflect.Struct:
			for _, f := range reflect.VisibleFields(x) {
				mine := x.PkgPath() == reflect.TypeFor[Case]().PkgPath()
				if name := x.Name() + "." + f.Name; mine && f.Type.Kind() == reflect.String && !others[name] {
					t.Errorf("%s is text", name)
				}
				if f.IsExported() {
					walk(f.Type)
				}
			}
		}
	}
	for _, v := range []any{Case{}, NodeRecord{}, FunctionRecord{}, Account{}, Name{}, Change{}, Meta{}, Event{}, Alike{}, Amendment{}, Room{}, attest.Reference{}} {
		walk(reflect.TypeOf(v))
	}
	if !seen[reflect.TypeFor[Fact]()] || !seen[reflect.TypeFor[Payment]()] {
		t.Error("the walk found too little")
	}
}
