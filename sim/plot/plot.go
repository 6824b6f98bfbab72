// Package plot draws charts as SVG: lines, steps, dots and bars with their bands, the same
// bytes for the same numbers.
package plot

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

// Plot is a chart, for SVG to draw.
type Plot struct {
	Title string
	X, Y  string // what the axes show, with units
	LogY  bool   // tenfold steps; what is not above 0 is left out
	// Names stand under x = 0, 1, 2, … in place of numbers: for bars that are
	// not along a scale.
	Names  []string
	Series []Series
}

// Series is what one entry of the legend stands for.
type Series struct {
	Name   string
	Kind   Kind
	Points []Point // by ascending X
	Colour int     // 1 … 6; 0 for that of its place in the list
}

// Kind is how a series is drawn, and how the bands of its points are.
type Kind uint8

const (
	Line Kind = iota // straight lines; the bands are one area
	Step             // a value holds until the next x; the bands are one area
	Dots             // a mark each; a band is a whisker
	Bars             // from 0 up, those of several series side by side; a band is a whisker
)

// Point is a value, with its confidence band if High > Low.
type Point struct{ X, Y, Low, High float64 }

// The picture, in pixels; the legend is to the right of the chart.
const (
	plotWidth, plotHeight = 760.0, 420.0
	plotLeft, plotRight   = 76.0, 570.0
	plotTop, plotBottom   = 44.0, 360.0
	plotColours           = 6
)

// plotStyle gives light and dark viewers colours that the other would not see:
// the paper is part of the picture. Colours are told apart by the colour-blind
// (Okabe and Ito), and lines by their dashes too.
const plotStyle = `<style>
text{font:13px system-ui,sans-serif;fill:#222}
.title{font-size:16px;font-weight:600}
.paper{fill:#fff}.grid{stroke:#ddd}.axis{stroke:#222}
.line{fill:none;stroke:currentColor;stroke-width:2}.whisker{fill:none;stroke:currentColor;stroke-width:1.5}
.dot{fill:currentColor}.band{fill:currentColor;opacity:.18}.bar{fill:currentColor;opacity:.75}
.c0{color:#0072b2}.c1{color:#d55e00}.c2{color:#009e73}.c3{color:#aa4499}.c4{color:#b8860b}.c5{color:#555}
.line.c1{stroke-dasharray:7 3}.line.c2{stroke-dasharray:2 3}.line.c3{stroke-dasharray:9 3 2 3}
.line.c4{stroke-dasharray:4 4}.line.c5{stroke-dasharray:12 4}
@media (prefers-color-scheme:dark){
text{fill:#e6e6e6}.paper{fill:#16181d}.grid{stroke:#3a3d44}.axis{stroke:#e6e6e6}.band{opacity:.3}
.c0{color:#56b4e9}.c1{color:#ff8c42}.c2{color:#2fd3a0}.c3{color:#e08fd0}.c4{color:#f0c93d}.c5{color:#aaa}
}
</style>
`

// SVG draws the plot. The same plot is the same bytes.
func (p Plot) SVG() []byte {
	c := canvas{Plot: p}
	c.scale()
	c.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]s" height="%[2]s" viewBox="0 0 %[1]s %[2]s" role="img">`+"\n", px(plotWidth), px(plotHeight))
	c.printf("<title>%s</title>\n%s", html.EscapeString(p.Title), plotStyle)
	c.printf(`<rect class="paper" width="%s" height="%s"/>`+"\n", px(plotWidth), px(plotHeight))
	c.text(plotLeft, 26, "start", "title", p.Title)
	c.axes()
	for i := range p.Series {
		c.series(i)
		c.legend(i)
	}
	c.printf("</svg>\n")
	return c.out.Bytes()
}

// canvas is a plot being drawn.
type canvas struct {
	Plot
	out        bytes.Buffer
	x, y       span
	bars       int     // how many series of bars there are
	barSpacing float64 // of x, from one place of bars to the next
}

// span is what an axis covers, with its ticks. On a logarithmic axis these are
// exponents of ten.
type span struct {
	low, high float64
	ticks     []float64
}

// part is how far v is along the span, 0 … 1.
func (s span) part(v float64) float64 { return (v - s.low) / (s.high - s.low) }

// scale finds what the axes have to cover.
func (c *canvas) scale() {
	xs, ys := []float64{}, []float64{}
	c.barSpacing = math.Inf(1)
	for _, s := range c.Series {
		for i, p := range s.Points {
			xs = append(xs, p.X)
			if p.Y > 0 || !c.LogY {
				ys = append(ys, p.Y)
			}
			if p.High > p.Low {
				ys = append(ys, p.High)
				if p.Low > 0 || !c.LogY {
					ys = append(ys, p.Low)
				}
			}
			if s.Kind == Bars && i > 0 {
				c.barSpacing = math.Min(c.barSpacing, p.X-s.Points[i-1].X)
			}
		}
		if s.Kind == Bars {
			c.bars++
		}
	}
	if math.IsInf(c.barSpacing, 1) {
		c.barSpacing = 1
	}
	if c.LogY {
		for i := range ys {
			ys[i] = math.Log10(ys[i])
		}
		low, high := extent(ys)
		c.y = span{low: math.Floor(low), high: math.Ceil(high)}
		if c.y.low == c.y.high {
			c.y.low--
		}
		c.y.ticks = ticks(c.y.low, c.y.high, math.Max(1, math.Ceil((c.y.high-c.y.low)/8)))
	} else {
		low, high := extent(append(ys, 0))
		c.y = niceSpan(low, high)
	}
	low, high := extent(xs)
	if c.bars > 0 {
		low, high = low-c.barSpacing/2, high+c.barSpacing/2
	}
	if c.Names != nil {
		c.x = span{low: low, high: high}
		return
	}
	c.x = niceSpan(low, high)
	c.x.low, c.x.high = low, math.Max(high, low+1e-9)
}

// extent is the least and the greatest of v.
func extent(v []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, x := range v {
		low, high = math.Min(low, x), math.Max(high, x)
	}
	if low > high {
		return 0, 1
	}
	return low, high
}

// niceSpan widens a span to ticks of 1, 2 or 5 times a power of ten, some five of them.
func niceSpan(low, high float64) span {
	if high <= low {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(m*step) <= 7 {
			step *= m
			break
		}
	}
	low, high = math.Floor(low/step)*step, math.Ceil(high/step-1e-9)*step
	return span{low, high, ticks(low, high, step)}
}

func ticks(low, high, step float64) (all []float64) {
	for i := 0; low+float64(i)*step <= high+step/1e6; i++ {
		t := low + float64(i)*step
		if math.Abs(t) < step/1e6 {
			t = 0 // what sums of binary fractions leave of it
		}
		all = append(all, t)
	}
	return all
}

func (c *canvas) px(x float64) float64 { return plotLeft + c.x.part(x)*(plotRight-plotLeft) }

// py is where y is, and the bottom for what a logarithmic axis cannot show.
func (c *canvas) py(y float64) float64 {
	if c.LogY {
		if y <= 0 {
			return plotBottom
		}
		y = math.Log10(y)
	}
	return plotBottom - c.y.part(y)*(plotBottom-plotTop)
}

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(&c.out, format, args...) }

func (c *canvas) text(x, y float64, anchor, class, s string) {
	c.printf(`<text x="%s" y="%s" text-anchor="%s" class="%s">%s</text>`+"\n", px(x), px(y), anchor, class, html.EscapeString(s))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.printf(`<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`+"\n", class, px(x1), px(y1), px(x2), px(y2))
}

// axes draws grid, ticks and labels.
func (c *canvas) axes() {
	for _, t := range c.y.ticks {
		label := number(t)
		if c.LogY {
			label = number(math.Pow(10, t))
		}
		y := plotBottom - c.y.part(t)*(plotBottom-plotTop)
		c.line("grid", plotLeft, y, plotRight, y)
		c.text(plotLeft-8, y+4, "end", "tick", label)
	}
	for _, t := range c.x.ticks {
		if t < c.x.low || t > c.x.high {
			continue
		}
		c.line("axis", c.px(t), plotBottom, c.px(t), plotBottom+5)
		c.text(c.px(t), plotBottom+20, "middle", "tick", number(t))
	}
	for i, name := range c.Names {
		c.text(c.px(float64(i)), plotBottom+20, "middle", "tick", name)
	}
	c.line("axis", plotLeft, plotBottom, plotRight, plotBottom)
	c.line("axis", plotLeft, plotTop, plotLeft, plotBottom)
	c.text((plotLeft+plotRight)/2, plotBottom+44, "middle", "label", c.X)
	c.printf(`<text transform="translate(18 %s) rotate(-90)" text-anchor="middle" class="label">%s</text>`+"\n",
		px((plotTop+plotBottom)/2), html.EscapeString(c.Y))
}

func (c *canvas) colour(i int) int {
	if n := c.Series[i].Colour; n > 0 {
		i = n - 1
	}
	return i % plotColours
}

// series draws the i-th one.
func (c *canvas) series(i int) {
	s, colour := c.Series[i], c.colour(i)
	shown := make([]Point, 0, len(s.Points))
	for _, p := range s.Points {
		if !c.LogY || p.Y > 0 || p.High > p.Low && p.High > 0 {
			shown = append(shown, p)
		}
	}
	switch s.Kind {
	case Line:
		c.path(shown, colour)
	case Step:
		c.path(corners(shown), colour)
	case Dots:
		for _, p := range shown {
			c.whisker(c.px(p.X), p, colour)
			if p.Y > 0 || !c.LogY {
				c.printf(`<circle class="dot c%d" cx="%s" cy="%s" r="4"/>`+"\n", colour, px(c.px(p.X)), px(c.py(p.Y)))
			}
		}
	case Bars:
		nth := 0
		for _, before := range c.Series[:i] {
			if before.Kind == Bars {
				nth++
			}
		}
		pitch := c.px(c.barSpacing) - c.px(0)
		width := 0.84 * pitch / float64(c.bars)
		zero := plotBottom
		if !c.LogY {
			zero = c.py(0)
		}
		for _, p := range shown {
			x, y := c.px(p.X)-0.42*pitch+float64(nth)*width, c.py(p.Y)
			c.printf(`<rect class="bar c%d" x="%s" y="%s" width="%s" height="%s"/>`+"\n",
				colour, px(x), px(math.Min(y, zero)), px(width), px(math.Abs(zero-y)))
			c.whisker(x+width/2, p, colour)
		}
	}
}

// whisker draws the band of one point.
func (c *canvas) whisker(x float64, p Point, colour int) {
	if p.High <= p.Low {
		return
	}
	low, high := c.py(p.Low), c.py(p.High)
	c.printf(`<path class="whisker c%d" d="M%s %sV%sM%s %sH%sM%s %sH%s"/>`+"\n", colour,
		px(x), px(low), px(high), px(x-4), px(high), px(x+4), px(x-4), px(low), px(x+4))
}

// path draws a line, and the area of its bands under it.
func (c *canvas) path(points []Point, colour int) {
	var line, upper, lower []byte
	banded := false
	for _, p := range points {
		low, high := p.Y, p.Y
		if p.High > p.Low {
			low, high, banded = p.Low, p.High, true
		}
		at := func(y float64) string { return px(c.px(p.X)) + " " + px(c.py(y)) + " " }
		line = append(line, at(p.Y)...)
		upper = append(upper, at(high)...)
		lower = append([]byte(at(low)), lower...) // back again
	}
	if banded {
		c.printf(`<polygon class="band c%d" points="%s%s"/>`+"\n", colour, upper, bytes.TrimSpace(lower))
	}
	c.printf(`<polyline class="line c%d" points="%s"/>`+"\n", colour, bytes.TrimSpace(line))
}

// corners adds to each point one where its value ends.
func corners(points []Point) (all []Point) {
	for i, p := range points {
		if i > 0 {
			end := points[i-1]
			end.X = p.X
			all = append(all, end)
		}
		all = append(all, p)
	}
	return all
}

// legend draws the i-th entry.
func (c *canvas) legend(i int) {
	const x = plotRight + 14
	s, y, colour := c.Series[i], plotTop+8+20*float64(i), c.colour(i)
	switch s.Kind {
	case Line, Step:
		c.printf(`<path class="line c%d" d="M%s %sh22"/>`+"\n", colour, px(x), px(y))
	case Dots:
		c.printf(`<circle class="dot c%d" cx="%s" cy="%s" r="4"/>`+"\n", colour, px(x+11), px(y))
	case Bars:
		c.printf(`<rect class="bar c%d" x="%s" y="%s" width="22" height="10"/>`+"\n", colour, px(x), px(y-5))
	}
	c.text(x+30, y+4, "start", "key", s.Name)
}

// px writes a coordinate, to a hundredth of a pixel.
func px(v float64) string {
	v = math.Round(v*100) / 100
	if v == 0 {
		v = 0 // not −0
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// number writes a tick, to six digits.
func number(v float64) string {
	if a := math.Abs(v); v == 0 || a >= 1e-3 && a < 1e6 {
		return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// Percent writes a share for a title or a legend.
func Percent(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }
