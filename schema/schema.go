// Package schema says what may leave a run as a file of JSON, and brings it
// into its one form.
//
// A function reads what is secret, and its output goes to people. A schema in
// its manifest says beforehand, for everybody to read, what that output can be
// at most. It is a strict part of JSON Schema (2020-12): each value is bounded,
// so the number of different outputs is finite and [Schema.Bits] can bound it.
//
// An output that fits is written again, canonically: what a schema does not
// speak of, such as the order of keys, white space, or 1.0 for 1, is gone and
// can say nothing. Checking and writing are one pass, so what is written is
// what was checked.
//
// The chain holds a manifest to [Of], so the package is part of the core: no
// floats, and nothing that depends on a machine.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prytany/prytany/task"
)

// Bounds of schemas and of what is held to them (spec §9.10).
const (
	MaxDepth    = 8       // values within values
	MaxNames    = 256     // properties of an object, or values of an enum
	MaxItems    = 1024    // of an array
	MaxLength   = 1024    // characters of a string
	MaxDocument = 1 << 20 // bytes of an output, as the function writes it
	maxOut      = 4 << 20 // the same, as it is written again
)

// A Schema is what one output may be.
type Schema struct{ root *value }

// value is what one value may be.
type value struct {
	kind     kind
	nullable bool
	fields   map[string]*value // of an object
	names    []string          // of the fields, sorted
	required []string          // likewise
	item     *value            // of an array
	words    []string          // a string is one of these, if there are any
	// least and most bound a number in millionths, an array by its items, and a
	// string by its characters. A number is a multiple of step.
	least, most, step int64
}

type kind string

const (
	object  kind = "object"
	array   kind = "array"
	text    kind = "string"
	integer kind = "integer"
	decimal kind = "number"
	boolean kind = "boolean"
)

// Of reads the schemas of a manifest's outputs, by their names: none, or one for
// each, for what has no schema could carry out what the others keep in.
func Of(m task.Manifest) (map[string]*Schema, error) {
	all := map[string]*Schema{}
	for _, p := range m.Outputs {
		if p.Schema == "" {
			continue
		}
		s, err := Parse([]byte(p.Schema))
		if err != nil {
			return nil, fmt.Errorf("manifest: outputs: %s: schema: %w", p.Name, err)
		}
		all[p.Name] = s
	}
	return all, nil
}

// Parse reads a schema. One that leaves something unbounded is refused, and so
// is a word that this package does not know: what is not looked at holds nothing.
func Parse(raw []byte) (*Schema, error) {
	if len(raw) > task.MaxSchema {
		return nil, fmt.Errorf("%d bytes, more than %d", len(raw), task.MaxSchema)
	}
	d, err := newDocument(raw)
	if err != nil {
		return nil, err
	}
	tree, err := d.tree(0)
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return nil, err
	}
	root, err := parse(tree, "", 0)
	if err != nil {
		return nil, err
	}
	return &Schema{root}, nil
}

// dialect is the one that a schema may say it is written in.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// keywords are all that a schema may have, by the kinds of value that they are for.
var keywords = map[string][]kind{
	"type": nil, "title": nil, "description": nil, "$schema": nil,
	"properties": {object}, "required": {object}, "additionalProperties": {object},
	"items": {array}, "minItems": {array}, "maxItems": {array},
	"enum": {text}, "minLength": {text}, "maxLength": {text},
	"minimum": {integer, decimal}, "maximum": {integer, decimal}, "multipleOf": {integer, decimal},
}

func parse(tree any, at string, depth int) (*value, error) {
	bad := func(format string, args ...any) (*value, error) {
		return nil, &placed{fmt.Errorf("%s: %s", place(at), fmt.Sprintf(format, args...))}
	}
	m, ok := tree.(map[string]any)
	if !ok {
		return bad("a schema is an object")
	}
	if depth >= MaxDepth {
		return bad("more than %d values within values", MaxDepth)
	}
	v := &value{}
	if err := v.readType(m["type"]); err != nil {
		return bad("%v", err)
	}
	for _, word := range sortedKeys(m) {
		kinds, known := keywords[word]
		switch s, isText := m[word].(string); {
		case !known:
			return bad("%q is no word of schemas here", word)
		case kinds != nil && !slices.Contains(kinds, v.kind):
			return bad("%s is not for a value of type %s", word, v.kind)
		case word == "$schema" && (depth > 0 || s != dialect):
			return bad("$schema stands at the beginning alone, and is %s", dialect)
		case (word == "title" || word == "description") && !isText:
			return bad("%s is text", word)
		}
	}
	var err error
	switch v.kind {
	case object:
		err = v.readObject(m, at, depth)
	case array:
		if v.item, err = parse(m["items"], at+"/items", depth+1); err == nil {
			err = v.readCounts(m, "Items", MaxItems)
		}
	case text:
		if _, ok := m["enum"]; ok {
			err = v.readEnum(m)
		} else {
			err = v.readCounts(m, "Length", MaxLength)
		}
	case integer, decimal:
		err = v.readRange(m)
	}
	var below *placed
	if err == nil || errors.As(err, &below) {
		return v, err
	}
	return bad("%v", err)
}

// placed is an error that says where in a schema it is.
type placed struct{ error }

func (v *value) readType(t any) error {
	names, ok := t.([]any)
	if !ok {
		names = []any{t}
	}
	if len(names) == 2 && names[1] == "null" {
		names, v.nullable = names[:1], true
	}
	if len(names) == 1 {
		name, _ := names[0].(string)
		if k := kind(name); slices.Contains([]kind{object, array, text, integer, decimal, boolean}, k) {
			v.kind = k
			return nil
		}
	}
	return errors.New(`type is object, array, string, integer, number or boolean, or one of them and then "null"`)
}

var fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

func (v *value) readObject(m map[string]any, at string, depth int) error {
	if m["additionalProperties"] != false {
		return errors.New("additionalProperties must be false, or anything at all could be added")
	}
	fields, ok := m["properties"].(map[string]any)
	if !ok || len(fields) == 0 || len(fields) > MaxNames {
		return fmt.Errorf("properties are 1 to %d schemas", MaxNames)
	}
	v.fields, v.names = map[string]*value{}, sortedKeys(fields)
	for _, name := range v.names {
		if !fieldName.MatchString(name) {
			return fmt.Errorf("%.80q is no name of letters, digits, dot, dash and underscore", name)
		}
		f, err := parse(fields[name], at+"/"+name, depth+1)
		if err != nil {
			return err
		}
		v.fields[name] = f
	}
	if r, ok := m["required"]; ok {
		if v.required, ok = words(r); !ok {
			return errors.New("required is a list of different names")
		}
	}
	for _, name := range v.required {
		if v.fields[name] == nil {
			return fmt.Errorf("%.80q is required, and no property", name)
		}
	}
	return nil
}

// readCounts reads a minimum, by default 0, and a maximum, which there must be.
func (v *value) readCounts(m map[string]any, of string, limit int64) error {
	most, ok := m["max"+of]
	if !ok {
		return fmt.Errorf("max%s is missing: without it there is no bound", of)
	}
	n, whole := count(most, limit)
	if !whole {
		return fmt.Errorf("max%s is a whole number, at most %d", of, limit)
	}
	v.most = n
	if least, ok := m["min"+of]; ok {
		if v.least, whole = count(least, v.most); !whole {
			return fmt.Errorf("min%s is a whole number, at most max%s", of, of)
		}
	}
	return nil
}

// count reads a whole number that is at most limit.
func count(x any, limit int64) (int64, bool) {
	n, _ := x.(json.Number)
	u, ok := micros(string(n))
	return u / one, ok && u >= 0 && u%one == 0 && u/one <= limit
}

func (v *value) readEnum(m map[string]any) error {
	if m["minLength"] != nil || m["maxLength"] != nil {
		return errors.New("enum says all that there is to say of a length")
	}
	list, _ := m["enum"].([]any)
	if v.nullable { // in JSON Schema, null too must be among them to be allowed
		if len(list) == 0 || list[len(list)-1] != nil {
			return errors.New("type allows null, so the last of enum must be null")
		}
		list = list[:len(list)-1]
	}
	var ok bool
	if v.words, ok = words(list); !ok || len(v.words) == 0 || len(v.words) > MaxNames {
		return fmt.Errorf("enum is 1 to %d different strings", MaxNames)
	}
	for _, w := range v.words {
		if utf8.RuneCountInString(w) > MaxLength {
			return fmt.Errorf("enum has a string of more than %d characters", MaxLength)
		}
	}
	return nil
}

// words reads a list of different strings, and sorts it.
func words(x any) (all []string, ok bool) {
	list, ok := x.([]any)
	for _, e := range list {
		s, is := e.(string)
		all, ok = append(all, s), ok && is
	}
	slices.Sort(all)
	return all, ok && len(slices.Compact(slices.Clone(all))) == len(all)
}

func (v *value) readRange(m map[string]any) error {
	read := func(word string, to *int64) error {
		n, _ := m[word].(json.Number)
		u, ok := micros(string(n))
		if !ok {
			return fmt.Errorf("%s is a number from -10^12 to 10^12 with at most six decimals, and must be there", word)
		}
		*to = u
		return nil
	}
	v.step = one
	if _, ok := m["multipleOf"]; ok || v.kind == decimal {
		if err := read("multipleOf", &v.step); err != nil {
			return err
		}
	}
	switch err := errors.Join(read("minimum", &v.least), read("maximum", &v.most)); {
	case err != nil:
		return err
	case v.step <= 0:
		return errors.New("multipleOf is above 0")
	case v.kind == integer && v.step%one != 0:
		return errors.New("multipleOf of an integer is one itself")
	case v.steps() < 1:
		return errors.New("no number is between minimum and maximum")
	}
	return nil
}

// steps is how many numbers are allowed.
func (v *value) steps() int64 {
	floor := func(a int64) int64 {
		q := a / v.step
		if a%v.step < 0 {
			q--
		}
		return q
	}
	return floor(v.most) + floor(-v.least) + 1
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func place(at string) string {
	if at == "" {
		return "the whole"
	}
	return strings.TrimPrefix(at, "/")
}

// maxBits is where counting ends: more than any schema needs.
const maxBits = 1 << 40

// Bits is how much an output can say at most, in bits: not less than the logarithm
// of the number of outputs that fit.
func (s *Schema) Bits() uint64 { return s.root.bits() }

func (v *value) bits() (n uint64) {
	switch v.kind {
	case object:
		for _, name := range v.names {
			n += v.fields[name].bits()
			if !slices.Contains(v.required, name) {
				n++
			}
		}
	case array:
		n = log2(uint64(v.most-v.least+1)) + uint64(v.most)*v.item.bits()
	case text:
		if n = log2(uint64(len(v.words))); len(v.words) == 0 {
			n = log2(uint64(v.most-v.least+1)) + uint64(v.most)*21 // of a character's number
		}
	case integer, decimal:
		n = log2(uint64(v.steps()))
	case boolean:
		n = 1
	}
	if v.nullable {
		n++
	}
	return min(n, maxBits)
}

// log2 is the logarithm of n, at least 1, rounded up.
func log2(n uint64) uint64 { return uint64(bits.Len64(n - 1)) }

// Canonical holds an output to its schema and returns its one form (RFC 8785):
// keys sorted, no white space, the shortest numbers and strings. An error says
// where the output does not fit, and nothing of what it says there.
func (s *Schema) Canonical(raw []byte) ([]byte, error) {
	if len(raw) > MaxDocument {
		return nil, fmt.Errorf("%d bytes, more than %d", len(raw), MaxDocument)
	}
	d, err := newDocument(raw)
	if err != nil {
		return nil, err
	}
	out, err := s.root.write(d, nil, "")
	if err == nil {
		err = d.end()
	}
	if err != nil {
		clear(out)
		return nil, err
	}
	return out, nil
}

// write appends the next value of a document, if it fits.
func (v *value) write(d *document, out []byte, at string) ([]byte, error) {
	bad := func(what string) ([]byte, error) { return out, fmt.Errorf("%s: %s", place(at), what) }
	if len(out) > maxOut {
		return bad("too long")
	}
	token, err := d.Token()
	if err != nil {
		return bad("no JSON")
	}
	switch t := token.(type) {
	case nil:
		if v.nullable {
			return append(out, "null"...), nil
		}
	case bool:
		if v.kind == boolean {
			return fmt.Appendf(out, "%t", t), nil
		}
	case string:
		if v.kind == text {
			if !v.allows(t) {
				return bad("not one of the strings that it may be")
			}
			return appendText(out, t), nil
		}
	case json.Number:
		if v.kind == integer || v.kind == decimal {
			u, ok := micros(string(t))
			if !ok || u < v.least || u > v.most || u%v.step != 0 {
				return bad("not one of the numbers that it may be")
			}
			return appendMicros(out, u), nil
		}
	case json.Delim:
		if t == '{' && v.kind == object {
			return v.writeObject(d, out, at)
		}
		if t == '[' && v.kind == array {
			return v.writeArray(d, out, at)
		}
	}
	return bad("want " + string(v.kind))
}

func (v *value) allows(s string) bool {
	if len(v.words) > 0 {
		return slices.Contains(v.words, s)
	}
	n := int64(utf8.RuneCountInString(s))
	return n >= v.least && n <= v.most
}

func (v *value) writeObject(d *document, out []byte, at string) ([]byte, error) {
	fields := map[string][]byte{}
	for d.More() {
		name, err := d.name()
		if err != nil {
			return out, err
		}
		f, twice := v.fields[name], fields[name] != nil
		if f == nil || twice {
			return out, fmt.Errorf("%s: a field that it may not have, or twice", place(at))
		}
		if fields[name], err = f.write(d, nil, at+"/"+name); err != nil {
			return out, err
		}
	}
	for _, name := range v.required {
		if fields[name] == nil {
			return out, fmt.Errorf("%s: %s is missing", place(at), name)
		}
	}
	out = append(out, '{')
	for _, name := range v.names {
		if fields[name] == nil {
			continue
		}
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(append(appendText(out, name), ':'), fields[name]...)
		clear(fields[name])
	}
	return append(out, '}'), d.close()
}

func (v *value) writeArray(d *document, out []byte, at string) (_ []byte, err error) {
	out = append(out, '[')
	n := int64(0)
	for ; d.More(); n++ {
		if n == v.most {
			return out, fmt.Errorf("%s: more than %d items", place(at), v.most)
		}
		if n > 0 {
			out = append(out, ',')
		}
		if out, err = v.item.write(d, out, fmt.Sprintf("%s/%d", at, n)); err != nil {
			return out, err
		}
	}
	if n < v.least {
		return out, fmt.Errorf("%s: fewer than %d items", place(at), v.least)
	}
	return append(out, ']'), d.close()
}

// A document is JSON that is read token by token. It is valid UTF-8 and valid
// JSON as a whole; tokens are never numbers of the machine's.
type document struct{ *json.Decoder }

func newDocument(raw []byte) (*document, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errors.New("no JSON")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return &document{d}, nil
}

func (d *document) name() (string, error) {
	t, err := d.Token()
	name, ok := t.(string)
	if err == nil && !ok {
		err = errors.New("no JSON")
	}
	return name, err
}

func (d *document) close() error {
	_, err := d.Token()
	return err
}

func (d *document) end() error {
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something comes behind the value")
	}
	return nil
}

// tree reads a whole value, in which no name stands twice.
func (d *document) tree(depth int) (any, error) {
	t, err := d.Token()
	if err != nil || t != json.Delim('{') && t != json.Delim('[') {
		return t, err
	}
	if depth > 4*MaxDepth {
		return nil, errors.New("nested too deep")
	}
	if t == json.Delim('[') {
		list := []any{}
		for d.More() {
			x, err := d.tree(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, d.close()
	}
	m := map[string]any{}
	for d.More() {
		name, err := d.name()
		if err != nil {
			return nil, err
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%.80q stands twice", name)
		}
		if m[name], err = d.tree(depth + 1); err != nil {
			return nil, err
		}
	}
	return m, d.close()
}
