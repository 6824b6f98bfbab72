// Command graph draws which folders import which, into ARCHITECTURE.md.
//
//	go run ./tools/graph
//
// Folders and their rings come from the table there: a row is a box, and its ring says in
// which frame the box stands. What a box reaches by way of another gets no arrow of its
// own, so that the picture can be read. Imports of tests are left out. A folder that is in
// no row, and an import from a lower ring to a higher one, are errors: the table says all,
// or the picture is wrong.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	module = "github.com/prytany/prytany"
	page   = "ARCHITECTURE.md"

	begin = "<!-- From here to the end of the picture: go run ./tools/graph -->\n"
	end   = "<!-- The end of the picture -->\n"
)

func main() {
	if err := draw("."); err != nil {
		fmt.Fprintln(os.Stderr, "graph:", err)
		os.Exit(1)
	}
}

func draw(root string) error {
	file := filepath.Join(root, page)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	drawn, err := redrawn(os.DirFS(root), string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(drawn), 0o644)
}

// redrawn is the page with the picture of the tree.
func redrawn(tree fs.FS, text string) (string, error) {
	before, rest, ok := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return "", fmt.Errorf("%s has no place for the picture, between %q and %q", page, begin, end)
	}
	imports, err := importsOf(tree)
	if err != nil {
		return "", err
	}
	boxes := boxesOf(text)
	g, err := among(boxes, imports)
	if err != nil {
		return "", err
	}
	return before + begin + "\n```mermaid\n" + mermaid(boxes, reduced(g)) + "```\n\n" + end + after, nil
}

// A box is a row of the table.
type box struct {
	folders []string
	ring    string
}

func (b box) name() string { return strings.Join(b.folders, ", ") }

// rank is how far out a ring is. What is in none may be imported by all.
func (b box) rank() int { return max(0, slices.Index(rings, b.ring)) }

// rings are the words of the table's second column, from the inside. Roles and edges are
// one ring.
var rings = []string{"core", "edge", "service", "cmd"}

var (
	row    = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| ([^|]*) \\|")
	quoted = regexp.MustCompile("`([^`]*)`")
)

// boxesOf reads the table.
func boxesOf(text string) (boxes []box) {
	for _, r := range row.FindAllStringSubmatch(text, -1) {
		b := box{ring: strings.ReplaceAll(r[2], "role", "edge")}
		for _, f := range quoted.FindAllStringSubmatch(r[1], -1) {
			b.folders = append(b.folders, f[1])
		}
		boxes = append(boxes, b)
	}
	return boxes
}

// importsOf is what each folder of the tree with a Go file in it imports of the module.
func importsOf(tree fs.FS) (map[string]map[string]bool, error) {
	all := map[string]map[string]bool{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if all[dir] == nil {
			all[dir] = map[string]bool{}
		}
		for _, i := range f.Imports {
			to, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(to, module+"/"); ok {
				all[dir][rest] = true
			}
		}
		return nil
	})
	return all, err
}

// A graph has, for each box by its place, the places of those that it imports.
type graph []map[int]bool

// among are the imports between boxes.
func among(boxes []box, imports map[string]map[string]bool) (graph, error) {
	g := make(graph, len(boxes))
	for i := range g {
		g[i] = map[int]bool{}
	}
	var wrong []error
	at := func(folder string) int {
		place, longest := -1, -1
		for i, b := range boxes {
			for _, f := range b.folders {
				if (folder == f || strings.HasPrefix(folder, f+"/")) && len(f) > longest {
					place, longest = i, len(f)
				}
			}
		}
		return place
	}
	for _, from := range slices.Sorted(maps.Keys(imports)) {
		f := at(from)
		if f < 0 {
			wrong = append(wrong, fmt.Errorf("%s is in no row of the table of %s", from, page))
			continue
		}
		for _, to := range slices.Sorted(maps.Keys(imports[from])) {
			t := at(to)
			switch {
			case t < 0: // said for the folder itself
			case boxes[t].rank() > boxes[f].rank():
				wrong = append(wrong, fmt.Errorf("%s, of ring %s, imports %s, of ring %s", from, boxes[f].ring, to, boxes[t].ring))
			case t != f:
				g[f][t] = true
			}
		}
	}
	for i := range g {
		if g.reaches(i, i) {
			wrong = append(wrong, fmt.Errorf("%s imports itself by way of others: its row must be two", boxes[i].name()))
		}
	}
	return g, errors.Join(wrong...)
}

// reaches says whether a way of one arrow or more leads from a box to another.
func (g graph) reaches(from, to int) bool {
	seen := make([]bool, len(g))
	var walk func(int) bool
	walk = func(i int) bool {
		for n := range g[i] {
			if n == to || !seen[n] && func() bool { seen[n] = true; return walk(n) }() {
				return true
			}
		}
		return false
	}
	return walk(from)
}

// reduced leaves out an arrow where a longer way leads to the same box.
func reduced(g graph) graph {
	less := make(graph, len(g))
	for i := range g {
		less[i] = map[int]bool{}
		for to := range g[i] {
			longer := false
			for by := range g[i] {
				longer = longer || by != to && g.reaches(by, to)
			}
			if !longer {
				less[i][to] = true
			}
		}
	}
	return less
}

// mermaid is the picture, in the language that forges draw. The outer rings are on top.
func mermaid(boxes []box, g graph) string {
	drawn := make([]bool, len(boxes))
	for i := range g {
		drawn[i] = drawn[i] || len(g[i]) > 0
		for to := range g[i] {
			drawn[to] = true
		}
	}
	var b strings.Builder
	b.WriteString("flowchart TB\n")
	titles := map[string]string{"cmd": "cmd", "service": "services", "edge": "roles and edges", "core": "core"}
	frames := append(slices.Clone(rings), "")
	slices.Reverse(frames)
	for _, ring := range frames {
		in := func(x box) bool { return x.ring == ring || ring == "" && !slices.Contains(rings, x.ring) }
		if ring != "" {
			fmt.Fprintf(&b, "  subgraph %s [%s]\n", ring, titles[ring])
		}
		for i, x := range boxes {
			if drawn[i] && in(x) {
				fmt.Fprintf(&b, "    %s[\"%s\"]\n", id(x), strings.Join(x.folders, "<br>"))
			}
		}
		if ring != "" {
			b.WriteString("  end\n")
		}
	}
	for i := range g {
		to := slices.SortedFunc(maps.Keys(g[i]), func(x, y int) int { return cmp.Compare(boxes[x].name(), boxes[y].name()) })
		for _, t := range to {
			fmt.Fprintf(&b, "  %s --> %s\n", id(boxes[i]), id(boxes[t]))
		}
	}
	return b.String()
}

// id is a box's name for arrows.
func id(b box) string { return "p_" + strings.NewReplacer("/", "_", "-", "_").Replace(b.folders[0]) }
