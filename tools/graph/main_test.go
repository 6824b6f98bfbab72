package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// The picture is that of the tree.
func TestPictureIsCurrent(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("../..", page))
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := redrawn(os.DirFS("../.."), string(text))
	if err != nil {
		t.Fatal(err)
	}
	if drawn != string(text) {
		t.Errorf("%s has an old picture: go run ./tools/graph", page)
	}
	if n := strings.Count(drawn, " --> p_"); n < 20 {
		t.Errorf("only %d arrows", n)
	}
}

const small = "| folder | ring | what |\n|---|---|---|\n" +
	"| `a` | core | x |\n| `b`, `c` | edge | x |\n| `r` | role | x |\n| `s` | service | x |\n| `cmd/p` | cmd | x |\n| `docs` | – | x |\n" +
	begin + "old\n" + end + "rest\n"

func source(imports ...string) *fstest.MapFile {
	text := "package x\n"
	for _, i := range imports {
		text += "import _ \"" + i + "\"\n"
	}
	return &fstest.MapFile{Data: []byte(text)}
}

func ours(folder string) string { return module + "/" + folder }

func TestPictureOfASmallTree(t *testing.T) {
	tree := fstest.MapFS{
		"a/a.go":           source("fmt"),
		"a/testdata/x.go":  source(ours("cmd/p")),
		"b/b.go":           source(ours("a"), "example.org/other/s"),
		"c/inner/c.go":     source(ours("b")),
		"r/r.go":           source(ours("a")),
		"s/s.go":           source(ours("b"), ours("a")),
		"s/s_test.go":      source(ours("cmd/p")),
		"cmd/p/main.go":    source(ours("s"), ours("r"), ours("a")),
		"cmd/p/windows.go": source(ours("c")),
	}
	got, err := redrawn(tree, small)
	if err != nil {
		t.Fatal(err)
	}
	want := "flowchart TB\n" +
		"  subgraph cmd [cmd]\n    p_cmd_p[\"cmd/p\"]\n  end\n" +
		"  subgraph service [services]\n    p_s[\"s\"]\n  end\n" +
		"  subgraph edge [roles and edges]\n    p_b[\"b<br>c\"]\n    p_r[\"r\"]\n  end\n" +
		"  subgraph core [core]\n    p_a[\"a\"]\n  end\n" +
		"  p_b --> p_a\n  p_r --> p_a\n  p_s --> p_b\n  p_cmd_p --> p_r\n  p_cmd_p --> p_s\n"
	if i := strings.Index(got, "flowchart"); i < 0 || !strings.HasPrefix(got[i:], want+"```\n\n"+end+"rest\n") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again, err := redrawn(tree, got); err != nil || again != got {
		t.Errorf("drawn again it differs: %v", err)
	}
}

func TestWhatCannotBeDrawnIsSaid(t *testing.T) {
	for want, tree := range map[string]fstest.MapFS{
		"new is in no row":                        {"new/n.go": source()},
		"a, of ring core, imports s, of ring ser": {"a/a.go": source(ours("s")), "s/s.go": source()},
		"b, of ring edge, imports cmd/p":          {"b/b.go": source(ours("cmd/p")), "cmd/p/p.go": source()},
		"b, c imports itself by way of others":    {"b/b.go": source(ours("r")), "r/r.go": source(ours("c")), "c/c.go": source()},
	} {
		if _, err := redrawn(tree, small); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := redrawn(fstest.MapFS{}, "a page"); err == nil {
		t.Error("a page without a place")
	}
}

// Less arrows lead to the same boxes, and none can be spared.
func TestReducedReachesTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		g := make(graph, 9)
		for i := range g {
			g[i] = map[int]bool{}
			for to := range i {
				if r.IntN(3) == 0 {
					g[i][to] = true
				}
			}
		}
		same := func(a, b graph) bool {
			for i := range a {
				for to := range a {
					if a.reaches(i, to) != b.reaches(i, to) {
						return false
					}
				}
			}
			return true
		}
		less := reduced(g)
		if !same(g, less) {
			t.Fatalf("%v became %v", g, less)
		}
		for i := range less {
			for to := range less[i] {
				delete(less[i], to)
				if same(g, less) {
					t.Fatalf("%v: %d to %d can be spared", g, i, to)
				}
				less[i][to] = true
			}
		}
	}
}
