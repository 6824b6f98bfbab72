package attest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The reason codes of the specification are those of the code.
func TestCodesAreTheSpecs(t *testing.T) {
	spec, err := os.ReadFile("../spec/07-attestation.md")
	if err != nil {
		t.Fatal(err)
	}
	section := string(spec)
	section = section[strings.Index(section, "## 7.4"):strings.Index(section, "## 7.5")]
	var written []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z-]+) \|`).FindAllStringSubmatch(section, -1) {
		written = append(written, m[1])
	}
	file, err := parser.ParseFile(token.NewFileSet(), "attest.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var coded []string
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST || !g.Lparen.IsValid() {
			continue
		}
		for _, s := range g.Specs {
			if lit, ok := s.(*ast.ValueSpec).Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				code, _ := strconv.Unquote(lit.Value)
				coded = append(coded, code)
			}
		}
	}
	slices.Sort(written)
	slices.Sort(coded)
	if len(coded) < 20 || !slices.Equal(written, coded) {
		t.Errorf("spec §7.4: %v\ncode: %v", written, coded)
	}
}
