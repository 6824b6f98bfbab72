package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// report has one of each kind.
const report = `{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "a report", "type": "object", "additionalProperties": false,
 "required": ["auc", "cells", "model"],
 "properties": {
  "auc": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.001},
  "model": {"type": "string", "enum": ["a", "b"]},
  "note": {"type": "string", "maxLength": 4},
  "good": {"type": ["boolean", "null"]},
  "grade": {"type": ["string", "null"], "enum": ["x", null]},
  "cells": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": ["integer", "null"], "minimum": 5, "maximum": 1000}}}}`

func parsed(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCanonical(t *testing.T) {
	s := parsed(t, report)
	const one = `{"auc":0.5,"cells":[5,null],"model":"a"}`
	for _, row := range []struct{ name, in, want, err string }{
		{"as it is", one, one, ""},
		{"order and white space", "\t{\"model\" : \"a\",\r\n\"cells\":[ 5 , null ] , \"auc\":0.5 }\n", one, ""},
		{"numbers in other forms", `{"auc":5.00E-01,"cells":[0.5e1,null],"model":"\u0061"}`, one, ""},
		{"a number of no size", `{"auc":0e99,"cells":[50e-1],"model":"a"}`, `{"auc":0,"cells":[5],"model":"a"}`, ""},
		{"minus zero", `{"auc":-0.0,"cells":[5.0],"model":"a"}`, `{"auc":0,"cells":[5],"model":"a"}`, ""},
		{"escapes", `{"auc":1,"cells":[5],"model":"b","note":"\u00fc\/\n\u0001"}`, `{"auc":1,"cells":[5],"model":"b","note":"ü/\n\u0001"}`, ""},
		{"half a character", `{"auc":1,"cells":[5],"model":"b","note":"\ud800"}`, "{\"auc\":1,\"cells\":[5],\"model\":\"b\",\"note\":\"\ufffd\"}", ""},
		{"null where it may be", `{"auc":1,"cells":[5],"model":"b","good":null,"grade":null}`, `{"auc":1,"cells":[5],"good":null,"grade":null,"model":"b"}`, ""},

		{"a field more", `{"auc":0.5,"cells":[5],"model":"a","patient":"17"}`, "", "the whole: a field"},
		{"a field twice", `{"auc":0.5,"auc":0.5,"cells":[5],"model":"a"}`, "", "twice"},
		{"a field missing", `{"auc":0.5,"cells":[5]}`, "", "model is missing"},
		{"too many digits", `{"auc":0.5001,"cells":[5],"model":"a"}`, "", "auc: not one of the numbers"},
		{"digits beyond all that is counted", `{"auc":0.50000000000000000001,"cells":[5],"model":"a"}`, "", "auc: not one"},
		{"a small cell", `{"auc":0.5,"cells":[5,4],"model":"a"}`, "", "cells/1: not one of the numbers"},
		{"a cell that is no whole", `{"auc":0.5,"cells":[5.5],"model":"a"}`, "", "cells/0: not one"},
		{"too large", `{"auc":1.001,"cells":[5],"model":"a"}`, "", "auc: not one"},
		{"an exponent without end", `{"auc":1e-999999999999999999999,"cells":[5],"model":"a"}`, "", "auc: not one"},
		{"a number as long as a file", `{"auc":0.` + strings.Repeat("0", 1000) + `,"cells":[5],"model":"a"}`, "", "auc: not one"},
		{"too many items", `{"auc":0.5,"cells":[5,5,5,5],"model":"a"}`, "", "more than 3 items"},
		{"too few items", `{"auc":0.5,"cells":[],"model":"a"}`, "", "fewer than 1 items"},
		{"another word", `{"auc":0.5,"cells":[5],"model":"c"}`, "", "model: not one of the strings"},
		{"a long text", `{"auc":0.5,"cells":[5],"model":"a","note":"üüüüü"}`, "", "note: not one"},
		{"null where it may not be", `{"auc":null,"cells":[5],"model":"a"}`, "", "auc: want number"},
		{"another type", `{"auc":"0.5","cells":[5],"model":"a"}`, "", "auc: want number"},
		{"a list for an object", `[]`, "", "want object"},
		{"an object for a list", `{"cells":{},"auc":1,"model":"a"}`, "", "cells: want array"},
		{"something behind", one + "{}", "", "no JSON"},
		{"nothing", "", "", "no JSON"},
		{"no UTF-8", "{\"auc\":0.5,\"cells\":[5],\"model\":\"a\xff\"}", "", "no JSON"},
		{"a byte order mark", "\ufeff" + one, "", "no JSON"},
		{"NaN, as Python writes it", `{"auc":NaN,"cells":[5],"model":"a"}`, "", "no JSON"},
		{"too long", one + strings.Repeat(" ", MaxDocument), "", "bytes, more than"},
		{"nested without end", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "", "want object"},
	} {
		got, err := s.Canonical([]byte(row.in))
		if row.err == "" && (err != nil || string(got) != row.want) || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err) || got != nil) {
			t.Errorf("%s: %s, %v, want %s%s", row.name, got, err, row.want, row.err)
		}
	}
}

// What was refused is not told: an error is no way out either.
func TestErrorsTellNothing(t *testing.T) {
	s := parsed(t, report)
	for _, in := range []string{
		`{"auc":0.5,"cells":[5],"model":"secret"}`, `{"secret":1}`, `{"auc":0.5123,"cells":[5],"model":"a","secret":{}}`, `{"note":"secret","note":"secret"}`,
	} {
		if _, err := s.Canonical([]byte(in)); err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "5123") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	in := func(s string) string {
		return `{"type":"object","additionalProperties":false,"properties":{"x":` + s + `}}`
	}
	deep := `{"type":"boolean"}`
	for range MaxDepth {
		deep = `{"type":"array","maxItems":1,"items":` + deep + `}`
	}
	for _, row := range []struct{ name, text, err string }{
		{"no JSON", "{", "no JSON"},
		{"no object", "true", "a schema is an object"},
		{"no type", "{}", "type is"},
		{"a type of its own", `{"type":"date"}`, "type is"},
		{"any of several types", `{"type":["string","integer"],"maxLength":3}`, "type is"},
		{"null alone", `{"type":"null"}`, "type is"},
		{"an open object", `{"type":"object","properties":{"x":{"type":"boolean"}}}`, "additionalProperties must be false"},
		{"an object that says it is open", `{"type":"object","additionalProperties":true,"properties":{"x":{"type":"boolean"}}}`, "additionalProperties must be false"},
		{"an object without properties", `{"type":"object","additionalProperties":false}`, "properties are"},
		{"a name with a slash", `{"type":"object","additionalProperties":false,"properties":{"a/b":{"type":"boolean"}}}`, "is no name"},
		{"an unknown word", in(`{"type":"boolean","pattern":"a*"}`), `"pattern" is no word`},
		{"a reference", in(`{"$ref":"#"}`), "type is"},
		{"a reference beside a type", in(`{"type":"boolean","$ref":"#"}`), "is no word"},
		{"a word for another type", in(`{"type":"boolean","maximum":3}`), "maximum is not for a value of type boolean"},
		{"another dialect", `{"$schema":"http://json-schema.org/draft-07/schema#","type":"boolean"}`, "$schema stands"},
		{"a dialect within", in(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"boolean"}`), "$schema stands"},
		{"a title that is no text", in(`{"type":"boolean","title":1}`), "title is text"},
		{"a number without an end", in(`{"type":"number","minimum":0,"multipleOf":1}`), "maximum is a number"},
		{"a number without a beginning", in(`{"type":"number","maximum":0,"multipleOf":1}`), "minimum is a number"},
		{"a number of any precision", in(`{"type":"number","minimum":0,"maximum":1}`), "multipleOf is a number"},
		{"a number too precise", in(`{"type":"number","minimum":0,"maximum":1,"multipleOf":0.0000001}`), "multipleOf is a number"},
		{"a step of nothing", in(`{"type":"number","minimum":0,"maximum":1,"multipleOf":0}`), "multipleOf is above 0"},
		{"an integer in halves", in(`{"type":"integer","minimum":0,"maximum":1,"multipleOf":0.5}`), "multipleOf of an integer"},
		{"an integer too large", in(`{"type":"integer","minimum":0,"maximum":1e13}`), "maximum is a number"},
		{"no number at all", in(`{"type":"integer","minimum":2,"maximum":1}`), "no number is between"},
		{"no number of that step", in(`{"type":"integer","minimum":11,"maximum":19,"multipleOf":10}`), "no number is between"},
		{"a text without an end", in(`{"type":"string"}`), "maxLength is missing"},
		{"a text too long", in(`{"type":"string","maxLength":1025}`), "maxLength is a whole number"},
		{"a text that is longer than it may be", in(`{"type":"string","maxLength":3,"minLength":4}`), "minLength is a whole number"},
		{"an enum and a length", in(`{"type":"string","enum":["a"],"maxLength":1}`), "enum says all"},
		{"an enum of numbers", in(`{"type":"string","enum":[1]}`), "enum is"},
		{"an enum with one twice", in(`{"type":"string","enum":["a","a"]}`), "enum is"},
		{"an empty enum", in(`{"type":"string","enum":[]}`), "enum is"},
		{"an enum without its null", in(`{"type":["string","null"],"enum":["a"]}`), "the last of enum must be null"},
		{"a list without an end", in(`{"type":"array","items":{"type":"boolean"}}`), "maxItems is missing"},
		{"a list of anything", in(`{"type":"array","maxItems":3}`), "x/items: a schema is an object"},
		{"half an item", in(`{"type":"array","maxItems":3.5,"items":{"type":"boolean"}}`), "maxItems is a whole number"},
		{"fewer than no items", in(`{"type":"array","maxItems":3,"minItems":-1,"items":{"type":"boolean"}}`), "minItems is a whole number"},
		{"required and not there", `{"type":"object","additionalProperties":false,"required":["y"],"properties":{"x":{"type":"boolean"}}}`, "is required"},
		{"required twice", `{"type":"object","additionalProperties":false,"required":["x","x"],"properties":{"x":{"type":"boolean"}}}`, "required is a list"},
		{"required of no list", `{"type":"object","additionalProperties":false,"required":"x","properties":{"x":{"type":"boolean"}}}`, "required is a list"},
		{"a word twice", `{"type":"boolean","type":"boolean"}`, "stands twice"},
		{"too deep", deep, "values within values"},
		{"too deep to be read", strings.Repeat(`{"type":`, 100) + "1" + strings.Repeat("}", 100), "nested too deep"},
		{"too long", strings.Repeat(" ", task.MaxSchema) + `{"type":"boolean"}`, "bytes, more than"},
	} {
		if s, err := Parse([]byte(row.text)); err == nil || s != nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: %v, want %s", row.name, err, row.err)
		}
	}
}

func TestBits(t *testing.T) {
	for _, row := range []struct {
		text string
		want uint64
	}{
		{`{"type":"boolean"}`, 1},
		{`{"type":["boolean","null"]}`, 2},
		{`{"type":"integer","minimum":0,"maximum":255}`, 8},
		{`{"type":"integer","minimum":-5,"maximum":5,"multipleOf":10}`, 0}, // 0 alone
		{`{"type":"integer","minimum":-10,"maximum":10,"multipleOf":10}`, 2},
		{`{"type":"number","minimum":0.0005,"maximum":1,"multipleOf":0.001}`, 10},
		{`{"type":"number","minimum":-1e12,"maximum":1e12,"multipleOf":1e-6}`, 61},
		{`{"type":"string","enum":["a","b","c"]}`, 2},
		{`{"type":"string","maxLength":10}`, 214},
		{`{"type":"array","maxItems":3,"items":{"type":"boolean"}}`, 5},
		{`{"type":"array","minItems":3,"maxItems":3,"items":{"type":"boolean"}}`, 3},
		{`{"type":"object","additionalProperties":false,"required":["a"],"properties":{"a":{"type":"boolean"},"b":{"type":"boolean"}}}`, 3},
		{report, 10 + 1 + (4*21 + 3 + 1) + (1 + 1 + 1) + (0 + 1 + 1) + (2 + 3*(10+1))},
	} {
		if got := parsed(t, row.text).Bits(); got != row.want {
			t.Errorf("%s: %d bits, want %d", row.text, got, row.want)
		}
	}
}

// The bound is one: of small schemas all outputs are written down and counted.
func TestBitsBound(t *testing.T) {
	for _, text := range []string{
		`{"type":"array","maxItems":3,"items":{"type":["integer","null"],"minimum":-1,"maximum":1}}`,
		`{"type":"object","additionalProperties":false,"properties":{"a":{"type":"integer","minimum":-1,"maximum":1},"b":{"type":["boolean","null"]}}}`,
		`{"type":"array","minItems":1,"maxItems":2,"items":{"type":"array","maxItems":1,"items":{"type":"integer","minimum":0,"maximum":1}}}`,
	} {
		s := parsed(t, text)
		alphabet := []string{"[", "]", "{", "}", ",", ":", "null", "true", "false", "-1", "0", "1", `"a"`, `"b"`}
		found := map[string]bool{}
		level := []string{""}
		for range 9 {
			var next []string
			for _, begun := range level {
				for _, token := range alphabet {
					text := begun + token
					if !begins(text) {
						continue
					}
					next = append(next, text)
					if out, err := s.Canonical([]byte(text)); err == nil {
						found[string(out)] = true
					}
				}
			}
			level = next
		}
		if most := uint64(1) << s.Bits(); len(found) < 3 || uint64(len(found)) > most {
			t.Errorf("%s: %d outputs, counted as at most %d", text, len(found), most)
		}
	}
}

// begins says whether JSON can begin so.
func begins(text string) bool {
	var x any
	err := json.Unmarshal([]byte(text), &x)
	return err == nil || strings.Contains(err.Error(), "unexpected end")
}

func TestOf(t *testing.T) {
	m := task.Manifest{Outputs: []task.Port{{Name: "a", Schema: report}, {Name: "b"}}}
	if all, err := Of(m); err != nil || len(all) != 1 || all["a"] == nil {
		t.Errorf("%v, %v", all, err)
	}
	m.Outputs[1].Schema = `{"type":"string"}`
	if _, err := Of(m); err == nil || !strings.Contains(err.Error(), "outputs: b: schema: the whole: maxLength is missing") {
		t.Error(err)
	}
}

// reference is the same question put to a library for all of JSON Schema.
func reference(t testing.TB, text, document []byte) bool {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("x.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("x.json")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	return err == nil && s.Validate(value) == nil
}

// moderate says whether a library may count with the numbers in a document
// without end: it does, however large they are.
func moderate(raw []byte) bool {
	for _, w := range strings.FieldsFunc(string(raw), func(r rune) bool { return !strings.ContainsRune("0123456789.eE+-", r) }) {
		if _, exp, _ := strings.Cut(strings.ToLower(w), "e"); len(exp) > 4 {
			return false
		}
	}
	return true
}

// FuzzCanonical holds an output by a stranger to a schema by another one. What
// comes out fits, is its own canonical form, and is the same value to a library
// that knows all of JSON Schema; and what that lets in comes out, unless it is a
// name twice or a number beyond what is counted here.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		report, `{"type":"integer","minimum":-3,"maximum":3}`, `{"type":"number","minimum":0,"maximum":1,"multipleOf":0.25}`,
		`{"type":["string","null"],"enum":["a",null]}`, `{"type":"array","maxItems":2,"items":{"type":"string","maxLength":2}}`,
	} {
		for _, d := range []string{`{"auc":0.5,"cells":[5,null],"model":"a"}`, "1.50e0", "-0", `"a"`, "null", `["\ud83d\ude00","a"]`, `{"a":1,"a":2}`} {
			f.Add([]byte(s), []byte(d))
		}
	}
	f.Fuzz(func(t *testing.T, text, raw []byte) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		_ = s.Bits()
		out, err := s.Canonical(raw)
		if !moderate(raw) || !moderate(text) {
			return
		}
		if err != nil {
			if utf := bytes.ToValidUTF8(raw, nil); len(utf) == len(raw) && len(raw) < 1<<10 && reference(t, text, raw) && !strings.Contains(err.Error(), "twice") {
				t.Fatalf("%s lets %s in, and here it is refused: %v", text, raw, err)
			}
			return
		}
		if !reference(t, text, out) || !reference(t, text, raw) {
			t.Fatalf("%s does not let %s in, and here it became %s", text, raw, out)
		}
		if again, err := s.Canonical(out); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%s is not canonical: %s, %v", out, again, err)
		}
		if a, b := value1(t, raw), value1(t, out); a != b {
			t.Fatalf("%s became %s", a, b)
		}
	})
}

// value1 is a JSON value in words, with exact numbers and sorted keys.
func value1(t *testing.T, raw []byte) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var x any
	if err := d.Decode(&x); err != nil {
		t.Fatal(err)
	}
	var exact func(x any) any
	exact = func(x any) any {
		switch x := x.(type) {
		case json.Number:
			r, _ := new(big.Rat).SetString(string(x))
			return r.RatString()
		case []any:
			for i := range x {
				x[i] = exact(x[i])
			}
		case map[string]any:
			for k := range x {
				x[k] = exact(x[k])
			}
		case string:
			return "text " + x
		}
		return x
	}
	return fmt.Sprintf("%q", exact(x))
}

func TestMicros(t *testing.T) {
	for _, row := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"-0.000e5", 0, true}, {"1", one, true}, {"-1.5", -1_500_000, true}, {"0.000001", 1, true}, {"1e-6", 1, true},
		{"100000000e-14", 1, true}, {"1E+12", maxNumber, true}, {"1000000000000", maxNumber, true}, {"1000000000000.000001", 0, false},
		{"1e13", 0, false}, {"9223372036854.775807", 0, false}, {"9223372036854775808", 0, false}, {"1e-7", 0, false}, {"1e32768", 0, false},
		{"0e32768", 0, false}, {"", 0, false}, {strings.Repeat("1", 65), 0, false},
	} {
		if got, ok := micros(row.text); got != row.want || ok != row.ok {
			t.Errorf("%s: %d, %v", row.text, got, ok)
		}
		if row.ok {
			if back, ok := micros(string(appendMicros(nil, row.want))); back != row.want || !ok {
				t.Errorf("%s: written as %s", row.text, appendMicros(nil, row.want))
			}
		}
	}
}
