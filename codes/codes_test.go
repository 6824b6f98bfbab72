package codes

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = ".."

// source is each package of the module, without its tests, by its directory.
func source(t *testing.T) map[string][]*ast.File {
	t.Helper()
	all := map[string][]*ast.File{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || d.IsDir() {
			if err == nil && path != root && (name[0] == '.' || name == "testdata" || name == "tools") {
				return fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		all[filepath.Dir(path)] = append(all[filepath.Dir(path)], f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// constants are the string constants of a package.
func constants(files []*ast.File) map[string]string {
	named := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok {
				for i, name := range v.Names {
					if i < len(v.Values) {
						if s, ok := literal(v.Values[i]); ok {
							named[name.Name] = s
						}
					}
				}
			}
			return true
		})
	}
	return named
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// used are the codes that the source makes errors of, and those that it asks for, each
// with a place. What is made of a variable is left out.
func used(t *testing.T) map[string]string {
	all, found := source(t), map[string]string{}
	named := map[string]map[string]string{}
	for dir, files := range all {
		named[filepath.Base(dir)] = constants(files)
	}
	for dir, files := range all {
		own := constants(files)
		add := func(e ast.Expr) {
			s, ok := literal(e)
			switch e := e.(type) {
			case *ast.Ident:
				s, ok = own[e.Name]
			case *ast.SelectorExpr:
				if p, is := e.X.(*ast.Ident); is {
					s, ok = named[p.Name][e.Sel.Name]
				}
			}
			if ok && s != "" {
				found[s] = dir
			}
		}
		isCode := func(e ast.Expr) bool { // task.CodeOf(err), or a variable of its name
			if c, ok := e.(*ast.CallExpr); ok {
				return calls(c, "CodeOf")
			}
			id, ok := e.(*ast.Ident)
			return ok && id.Name == "code" && filepath.Base(dir) != "vrf"
		}
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if (calls(n, "Refuse") || calls(n, "refuse")) && len(n.Args) > 1 { // refuse: a closure that adds where the money is
						add(n.Args[0])
					}
				case *ast.BinaryExpr:
					if n.Op == token.EQL || n.Op == token.NEQ {
						if isCode(n.X) {
							add(n.Y)
						}
					}
				case *ast.SwitchStmt:
					if n.Tag != nil && isCode(n.Tag) {
						for _, c := range n.Body.List {
							for _, e := range c.(*ast.CaseClause).List {
								add(e)
							}
						}
					}
				}
				return true
			})
		}
	}
	return found
}

func calls(c *ast.CallExpr, name string) bool {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name == name
	case *ast.SelectorExpr:
		return f.Sel.Name == name
	}
	return false
}

// Every code that the source uses is in the table, once.
func TestEveryCodeIsInTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, r := range Table {
		for _, c := range r.Codes {
			if known[c] {
				t.Errorf("%s stands twice", c)
			}
			known[c] = true
		}
		if r.Means == "" || r.Next == "" {
			t.Errorf("%v: nothing is said of it", r.Codes)
		}
	}
	found := used(t)
	if len(found) < 200 {
		t.Fatalf("only %d codes were found in the source: this test could not fail", len(found))
	}
	for c, where := range found {
		if !known[c] {
			t.Errorf("%s, used in %s, is not in the table", c, where)
		}
	}
}

// What a person meets is in the README, in the table's words.
func TestReadmeHasTheTable(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Table {
		line := fmt.Sprintf("| `%s` | %s | %s |\n", strings.Join(r.Codes, "`, `"), r.Means, r.Next)
		if r.Shown != strings.Contains(string(raw), line) {
			t.Errorf("README.md: shown %t, and not so there: %s", r.Shown, line)
		}
	}
	shown := 0
	for _, r := range Table {
		if r.Shown {
			shown++
		}
	}
	_, table, _ := strings.Cut(string(raw), "| code |")
	if rows := strings.Count(table[:max(strings.Index(table, "\n\n"), 0)], "\n|") - 1; rows != shown {
		t.Errorf("README.md has %d rows, the table shows %d", rows, shown)
	}
}

// ours match an error's text: what they read has no code, since it is not ours.
var ours = []string{
	"chain",       // CometBFT's pool, which says by text alone that it has a transaction
	"cmd/prytany", // doctor asks an enclave something too early, and wants that answer
}

// Nothing acts on the text of an error, but for what is not ours.
func TestNothingMatchesText(t *testing.T) {
	pattern := regexp.MustCompile(`strings\.(Contains|HasPrefix|HasSuffix|EqualFold)\(\w+\.Error\(\)|\.Error\(\) [!=]= `)
	found := 0
	for dir := range source(t) {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			n := len(pattern.FindAll(raw, -1))
			found += n
			if rel, _ := filepath.Rel(root, dir); n > 0 && !slices.Contains(ours, rel) {
				t.Errorf("%s acts on the text of an error", path)
			}
		}
	}
	if found != len(ours) {
		t.Errorf("%d places act on the text of an error, %d are known", found, len(ours))
	}
}
