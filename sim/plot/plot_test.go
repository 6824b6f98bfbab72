package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"strings"
	"testing"
)

var updatePlot = flag.Bool("update-plot", false, "write testdata/plot.svg anew")

// everyKind has all that a plot can have.
func everyKind() Plot {
	return Plot{
		Title: "Odds <of> capture & \"more\"", X: "expected seats τ", Y: "probability", LogY: true,
		Series: []Series{
			{"a line", Line, []Point{{5, 0.3, 0.2, 0.4}, {50, 0.01, 0, 0.02}, {100, 0, 0, 0}}, 0},
			{"steps", Step, []Point{{5, 0.1, 0, 0}, {50, 0.05, 0, 0}, {100, 0.001, 0, 0}}, 0},
			{"dots", Dots, []Point{{5, 0.31, 0.25, 0.35}, {50, 0, 0, 0.004}}, 1},
			{"bars", Bars, []Point{{10, 0.2, 0.1, 0.3}, {20, 0.02, 0, 0}}, 0},
		},
	}
}

func TestPlotGolden(t *testing.T) {
	got := everyKind().SVG()
	const file = "testdata/plot.svg"
	if *updatePlot {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code draws; look, then run with -update-plot", file)
	}
}

// texts parses an SVG as XML and gives what stands in its text elements. It
// fails if a coordinate is not a number inside the picture.
func texts(t *testing.T, svg []byte) string {
	t.Helper()
	var all strings.Builder
	d, inText := xml.NewDecoder(bytes.NewReader(svg)), false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := tok.(type) {
		case xml.StartElement:
			inText = x.Name.Local == "text"
			for _, a := range x.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || strings.Contains(a.Value, "%!") {
					t.Errorf("<%s %s=%q>", x.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			if inText {
				all.Write(x)
			}
		case xml.EndElement:
			if inText {
				all.WriteString("\n")
			}
			inText = false
		}
	}
}

func TestPlotSaysWhatItShows(t *testing.T) {
	p := everyKind()
	if !bytes.Equal(p.SVG(), everyKind().SVG()) {
		t.Error("the same plot has different bytes")
	}
	got := texts(t, p.SVG())
	for _, want := range []string{p.Title, p.X, p.Y, "a line", "steps", "dots", "bars", "\n0.1\n", "\n0.001\n", "\n40\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	p = Plot{Title: "income", Y: "PRY", Names: []string{"Alice", "Bob"}, Series: []Series{
		{"before", Bars, []Point{{0, -3, 0, 0}, {1, 2, 1, 3}}, 0}, {"after", Bars, []Point{{0, 1, 0, 0}, {1, 2, 0, 0}}, 0},
	}}
	got = texts(t, p.SVG())
	for _, want := range []string{"\nAlice\n", "\nBob\n", "before", "after", "\n-2\n", "\n2\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
}

func TestPlotOfSmallNumbers(t *testing.T) {
	points := []Point{{X: 0, Y: 1e-18}, {X: 1, Y: 1e-3}}
	if got := texts(t, Plot{LogY: true, Series: []Series{{"s", Line, points, 0}}}.SVG()); !strings.Contains(got, "\n1e-16\n") {
		t.Errorf("a tick has lost its number: %s", got)
	}
	if got := texts(t, Plot{Series: []Series{{"s", Line, []Point{{X: -0.3, Y: 1e-15}, {X: 0.3}}, 0}}}.SVG()); !strings.Contains(got, "\n0\n") || !strings.Contains(got, "\n1e-15\n") {
		t.Errorf("a tick has lost its number: %s", got)
	}
}

// Nothing to show, one point, one value, the very large and the very small.
func TestPlotOfLittle(t *testing.T) {
	for _, points := range [][]Point{nil, {{}}, {{X: 1, Y: 5}}, {{X: 1, Y: 5}, {X: 2, Y: 5}}, {{X: 1, Y: 1e300}, {X: 1e-300, Y: 1e-300}}, {{X: 3, Y: -1}}} {
		for _, kind := range []Kind{Line, Step, Dots, Bars} {
			for _, log := range []bool{false, true} {
				texts(t, Plot{LogY: log, Series: []Series{{"s", kind, points, 0}}}.SVG())
			}
		}
	}
}

func TestPlotTicks(t *testing.T) {
	for _, x := range []struct{ low, high float64 }{{0, 1}, {0, 0.3}, {0, 100}, {-7, 13}, {0, 123456}, {99, 101}, {0, 1e-6}, {5, 5}} {
		s := niceSpan(x.low, x.high)
		if n := len(s.ticks); n < 3 || n > 10 || s.low > x.low || s.high < x.high || math.Abs(s.ticks[n-1]-s.high) > 1e-9*s.high {
			t.Errorf("%v … %v: %+v", x.low, x.high, s)
		}
	}
}
