package function

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// maxDocument bounds a YAML or JSON file, in bytes.
const maxDocument = 64 << 10

// document is a YAML or JSON file, read with the place of each value in it.
type document struct {
	value  any
	places map[string]place // by JSON pointer; a mapping's key has that of its value, with a # before
}

var errEmpty = errors.New("line 1, column 1: the file says nothing")

type place struct{ line, column int }

func (p place) String() string { return fmt.Sprintf("line %d, column %d", p.line, p.column) }

// parseDocument reads one document. Anchors, aliases and tags are refused: a
// short file must not be a long one.
func parseDocument(raw []byte) (*document, error) {
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("%d bytes, more than %d", len(raw), maxDocument)
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // some editors begin with it
	t := bytes.TrimSpace(raw)
	if len(t) == 0 {
		return nil, errEmpty
	}
	if t[0] == '{' {
		raw = bytes.ReplaceAll(raw, []byte("\t"), []byte(" ")) // JSON may be indented by tabs, YAML may not
	}
	f, err := parser.ParseBytes(raw, 0)
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
		p := at.GetToken().Position
		return nil, fmt.Errorf("%s: %s", place{p.Line, p.Column}, at.GetMessage())
	}
	if err != nil {
		return nil, err
	}
	if len(f.Docs) != 1 {
		return nil, fmt.Errorf("line 1, column 1: want one document, have %d", len(f.Docs))
	}
	if f.Docs[0].Body == nil {
		return nil, errEmpty
	}
	d := &document{places: map[string]place{}}
	d.value, err = d.read(f.Docs[0].Body, "", 0)
	return d, err
}

func placeOf(n ast.Node) place {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return place{t.Position.Line, t.Position.Column}
	}
	return place{1, 1}
}

// read turns a node into what encoding/json would give, numbers as they are
// written.
func (d *document) read(n ast.Node, at string, depth int) (any, error) {
	if _, known := d.places[at]; !known {
		d.places[at] = placeOf(n)
	}
	if depth > 32 {
		return nil, fmt.Errorf("%s: nested too deep", placeOf(n))
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return d.mapping(n.Values, at, depth)
	case *ast.MappingValueNode:
		return d.mapping([]*ast.MappingValueNode{n}, at, depth)
	case *ast.SequenceNode:
		list := []any{}
		for i, v := range n.Values {
			x, err := d.read(v, at+"/"+strconv.Itoa(i), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.NullNode:
		return nil, nil
	case *ast.IntegerNode, *ast.FloatNode:
		return number(n.GetToken().Value), nil
	}
	return nil, fmt.Errorf("%s: a %s has no place here", placeOf(n), strings.ToLower(n.Type().String()))
}

func (d *document) mapping(values []*ast.MappingValueNode, at string, depth int) (any, error) {
	m := map[string]any{}
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			return nil, fmt.Errorf("%s: a key is a word", placeOf(v.Key))
		}
		to := at + "/" + key.Value
		if _, twice := m[key.Value]; twice {
			return nil, fmt.Errorf("%s: %s stands twice", placeOf(v.Key), key.Value)
		}
		d.places["#"+to] = placeOf(v.Key)
		x, err := d.read(v.Value, to, depth+1)
		if err != nil {
			return nil, err
		}
		m[key.Value] = x
	}
	return m, nil
}

// number is one as it was written: what is money is never rounded.
type number string

// plain gives a value with its numbers as float64, for a schema, or as they
// were written, as strings.
func plain(v any, asText bool) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[k] = plain(x, asText)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = plain(x, asText)
		}
		return list
	case number:
		f, err := strconv.ParseFloat(strings.ReplaceAll(string(v), "_", ""), 64)
		if asText || err != nil {
			return string(v)
		}
		return f
	}
	return v
}

// validate holds a document to a schema. The error has a line for each place.
func (d *document) validate(schema *jsonschema.Schema) error {
	err := schema.Validate(plain(d.value, false))
	var bad *jsonschema.ValidationError
	if !errors.As(err, &bad) {
		return err
	}
	var lines []string
	d.explain(bad, &lines)
	return errors.New(strings.Join(lines, "\n"))
}

var english = message.NewPrinter(language.English)

func (d *document) explain(e *jsonschema.ValidationError, lines *[]string) {
	for _, c := range e.Causes {
		d.explain(c, lines)
	}
	if len(e.Causes) > 0 {
		return
	}
	at := ""
	if len(e.InstanceLocation) > 0 {
		at = "/" + strings.Join(e.InstanceLocation, "/")
	}
	if k, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		for _, name := range k.Properties {
			*lines = append(*lines, fmt.Sprintf("%s: there is no field %q", d.places["#"+at+"/"+name], dotted(at+"/"+name)))
		}
		return
	}
	p := d.places[at]
	if key, ok := d.places["#"+at]; ok {
		if _, missing := e.ErrorKind.(*kind.Required); missing {
			p = key
		}
	}
	*lines = append(*lines, fmt.Sprintf("%s: %s: %s", p, dotted(at), e.ErrorKind.LocalizedString(english)))
}

// dotted is a JSON pointer as people write it.
func dotted(pointer string) string {
	if pointer == "" {
		return "the file"
	}
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
}

// where is the place of a value, for errors that no schema finds.
func (d *document) where(field string) string {
	if p, ok := d.places["/"+strings.ReplaceAll(field, ".", "/")]; ok {
		return p.String() + ": " + field
	}
	return field
}
