package effect

import (
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// generic hides from package draw what type a picture has.
type generic struct{ image.Image }

func random(r image.Rectangle, alpha func(*rand.Rand) uint8) *image.NRGBA {
	rng := rand.New(rand.NewPCG(1, 2))
	img := image.NewNRGBA(r)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			img.SetNRGBA(x, y, color.NRGBA{uint8(rng.Uint32()), uint8(rng.Uint32()), uint8(rng.Uint32()), alpha(rng)})
		}
	}
	return img
}

func opaque(*rand.Rand) uint8 { return 255 }

// rainbow has all hues from left to right, from dark to light.
func rainbow(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := y * 255 / h
			img.SetNRGBA(x, y, color.NRGBA{uint8(x * v / w), uint8((w - x) * v / w), uint8((x * 3 % w) * v / w), 255})
		}
	}
	return img
}

func colors(img *image.NRGBA) int {
	set := map[[4]byte]bool{}
	for i := 0; i < len(img.Pix); i += 4 {
		set[[4]byte(img.Pix[i:])] = true
	}
	return len(set)
}

func tones(img *image.NRGBA) int {
	set := map[uint32]bool{}
	for i := 0; i < len(img.Pix); i += 4 {
		set[luma((*[4]byte)(img.Pix[i:]))] = true
	}
	return len(set)
}

func TestFewColors(t *testing.T) {
	src := rainbow(256, 192)
	before, last := colors(src), 0
	for _, levels := range []int{2, 6, 16} {
		n := colors(Apply(src, Options{Levels: levels}))
		if n > before/20 || n <= last {
			t.Errorf("%d levels: %d colours, of %d, and %d with fewer levels", levels, n, before, last)
		}
		last = n
	}
}

func TestLevelsOfGray(t *testing.T) {
	src := image.NewGray(image.Rect(0, 0, 256, 32))
	for i := range src.Pix {
		src.Pix[i] = uint8(i % 256)
	}
	for _, levels := range []int{2, 3, 6, 32} {
		if n := tones(Apply(src, Options{Levels: levels})); n != levels {
			t.Errorf("%d tones, want %d", n, levels)
		}
	}
}

func TestLevelsFollowTheTones(t *testing.T) {
	// Two tones that equal steps would take for one.
	src := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range src.Pix {
		src.Pix[i] = uint8(140 + i%64/32*8)
	}
	img := Apply(src, Options{Levels: 4})
	if l, r := img.NRGBAAt(10, 32).R, img.NRGBAAt(54, 32).R; l > 141 || r < 147 {
		t.Errorf("tones %d and %d, want 140 and 148", l, r)
	}
}

// TestEdgesSurvive compares smoothing with a box blur of the same reach, on a
// noisy step: the noise must go, and the step must stay.
func TestEdgesSurvive(t *testing.T) {
	const w, h, radius = 64, 64, 4
	rng := rand.New(rand.NewPCG(3, 4))
	noisy := func() *picture {
		p := &picture{pix: make([]byte, 4*w*h), w: w, h: h}
		for i := range w * h {
			v := 60
			if i%w >= w/2 {
				v = 180
			}
			v += rng.IntN(31) - 15
			copy(p.pix[4*i:], []byte{byte(v), byte(v), byte(v), 255})
		}
		return p
	}
	at := func(p *picture, x, y int) float64 { return float64(p.pix[4*(y*w+x)]) }
	measure := func(p *picture) (step, noise float64) {
		for y := 8; y < h-8; y++ {
			step += (at(p, w/2, y) - at(p, w/2-1, y)) / (h - 16)
			for x := 8; x < 24; x++ {
				d := at(p, x, y) - 60
				noise += d * d / (16 * (h - 16))
			}
		}
		return step, noise
	}
	smooth, plain := noisy(), noisy()
	_, noiseBefore := measure(smooth)
	smooth.smooth(radius)
	line := make([]byte, 4*w)
	for y := range h {
		boxBlur(plain.pix[4*y*w:], 4, w, radius, line)
	}
	step, noise := measure(smooth)
	plainStep, _ := measure(plain)
	t.Logf("step of 120: %.0f, with a plain blur %.0f; noise %.1f, was %.1f", step, plainStep, noise, noiseBefore)
	if step < 100 || step < 4*plainStep {
		t.Errorf("the step of 120 has become %.0f, with a plain blur %.0f", step, plainStep)
	}
	if noise > noiseBefore/8 {
		t.Errorf("noise of %.1f has become %.1f", noiseBefore, noise)
	}
}

func TestEdgesHaveLines(t *testing.T) {
	src := image.NewGray(image.Rect(0, 0, 40, 40))
	for i := range src.Pix {
		src.Pix[i] = uint8(90 + i%40/20*120)
	}
	img := Apply(src, Options{})
	if line, dark := img.NRGBAAt(19, 20).R, img.NRGBAAt(5, 20).R; line >= dark {
		t.Errorf("the line has tone %d, and its dark side %d", line, dark)
	}
}

func variance(img *image.NRGBA, r image.Rectangle) float64 {
	var n, sum, squares float64
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			v := float64(luma((*[4]byte)(img.Pix[img.PixOffset(x, y):])))
			n, sum, squares = n+1, sum+v, squares+v*v
		}
	}
	return (squares - sum*sum/n) / n
}

// letters are dark strokes on a light ground.
func letters(shift int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, 160, 90))
	draw.Draw(img, img.Rect, image.NewUniform(color.NRGBA{230, 220, 200, 255}), image.Point{}, draw.Src)
	for x := 40 + shift; x < 120; x += 12 {
		draw.Draw(img, image.Rect(x, 35, x+5, 55), image.NewUniform(color.NRGBA{20, 30, 60, 255}), image.Point{}, draw.Src)
	}
	return img
}

func TestBlurHides(t *testing.T) {
	src, r := letters(0), image.Rect(30, 28, 130, 62)
	clear, hidden := Apply(src, Options{}), Apply(src, Options{Blur: []image.Rectangle{r}})
	if v, w := variance(clear, r), variance(hidden, r.Inset(4)); v < 1000 || w > v/50 {
		t.Errorf("the variance of %.0f has become %.0f", v, w)
	}

	// And nothing of it may get out.
	p := &picture{pix: slices.Clone(src.Pix), w: 160, h: 90}
	p.hide(r)
	for y := range 90 {
		for x := range 160 {
			i := 4 * (y*160 + x)
			if !image.Pt(x, y).In(r) && [4]byte(p.pix[i:]) != [4]byte(src.Pix[i:]) {
				t.Fatalf("pixel %d,%d outside the rectangle has changed", x, y)
			}
		}
	}
}

// TestStrokesCannotBeTold: moving the strokes leaves what is seen the same.
func TestStrokesCannotBeTold(t *testing.T) {
	r := image.Rect(30, 28, 130, 62)
	o := Options{Levels: 4, Blur: []image.Rectangle{r}}
	a, b := Apply(letters(0), o), Apply(letters(6), o)
	worst := 0
	for i := range a.Pix {
		worst = max(worst, int(a.Pix[i])-int(b.Pix[i]), int(b.Pix[i])-int(a.Pix[i]))
	}
	if worst > 40 { // the strokes themselves are 190 darker
		t.Errorf("pixels differ by up to %d", worst)
	}
}

func TestBlurOutside(t *testing.T) {
	src := rainbow(40, 30)
	want := Apply(src, Options{})
	got := Apply(src, Options{Blur: []image.Rectangle{image.Rect(40, 0, 50, 10), image.Rect(0, 30, 10, 400), {}}})
	if !slices.Equal(want.Pix, got.Pix) {
		t.Error("a rectangle outside changes the picture")
	}
	Apply(src, Options{Blur: []image.Rectangle{image.Rect(-10, -10, 1<<20, 1<<20), image.Rect(39, 29, 99, 99)}})
}

func TestSizes(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {3, 2}, {2, 3}, {1, 50}, {50, 1}, {5, 5}, {17, 33}, {0, 0}, {0, 4}} {
		for _, radius := range []int{1, 3, 16} {
			src := random(image.Rectangle{Max: size}, opaque)
			img := Apply(src, Options{Radius: radius, Blur: []image.Rectangle{image.Rect(0, 0, 2, 2)}})
			if img.Bounds() != src.Bounds() || len(img.Pix) != 4*size.X*size.Y {
				t.Errorf("%v: bounds %v", size, img.Bounds())
			}
		}
	}
	one := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	one.SetNRGBA(0, 0, color.NRGBA{120, 120, 120, 255})
	if c := Apply(one, Options{}).NRGBAAt(0, 0); c != one.NRGBAAt(0, 0) {
		t.Errorf("a single pixel became %v", c)
	}
}

func TestOriginAndType(t *testing.T) {
	at0 := random(image.Rect(0, 0, 31, 23), opaque)
	far := random(image.Rect(-7, 100, 24, 123), opaque)
	o := Options{Blur: []image.Rectangle{image.Rect(3, 4, 20, 15)}}
	a, b := Apply(at0, o), Apply(far, o)
	if b.Bounds() != far.Bounds() || !slices.Equal(a.Pix, b.Pix) {
		t.Error("the origin matters")
	}
	big := random(image.Rect(0, 0, 60, 60), opaque)
	part := big.SubImage(image.Rect(11, 13, 40, 50))
	if b := Apply(part, o); b.Bounds() != part.Bounds() || !slices.Equal(b.Pix, Apply(generic{part}, o).Pix) {
		t.Error("a part of a picture is not the same as its pixels")
	}
}

func TestSourceIsKept(t *testing.T) {
	src := random(image.Rect(0, 0, 20, 20), opaque)
	rgba := image.NewRGBA(src.Rect)
	draw.Draw(rgba, src.Rect, src, image.Point{}, draw.Src)
	want := slices.Clone(rgba.Pix)
	Apply(rgba, Options{Blur: []image.Rectangle{src.Rect}})
	if !slices.Equal(rgba.Pix, want) {
		t.Error("the source was changed")
	}
}

func TestAlpha(t *testing.T) {
	src := random(image.Rect(0, 0, 40, 40), func(r *rand.Rand) uint8 { return uint8(r.Uint32()) })
	img := Apply(src, Options{})
	for i := 3; i < len(src.Pix); i += 4 {
		if img.Pix[i] != src.Pix[i] {
			t.Fatalf("alpha %d became %d", src.Pix[i], img.Pix[i])
		}
	}
	// What cannot be seen must not colour what can: red, under nothing.
	for y := range 40 {
		for x := range 40 {
			c := color.NRGBA{100, 100, 100, 255}
			if x < 20 {
				c = color.NRGBA{255, 0, 0, 0}
			}
			src.SetNRGBA(x, y, c)
		}
	}
	if c := Apply(src, Options{}).NRGBAAt(24, 20); c.R != c.G || c.G != c.B {
		t.Errorf("gray beside nothing became %v", c)
	}
	// A colour stays what it is under a veil.
	draw.Draw(src, src.Rect, image.NewUniform(color.NRGBA{200, 100, 50, 128}), image.Point{}, draw.Src)
	solid := image.NewUniform(color.NRGBA{200, 100, 50, 255})
	opaque := image.NewNRGBA(src.Rect)
	draw.Draw(opaque, src.Rect, solid, image.Point{}, draw.Src)
	a, b := Apply(src, Options{}).NRGBAAt(9, 9), Apply(opaque, Options{}).NRGBAAt(9, 9)
	for _, d := range []int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B)} {
		if d < -6 || d > 6 {
			t.Errorf("%v is not like %v", a, b)
		}
	}
}

func TestOptionsAreBounded(t *testing.T) {
	src := random(image.Rect(0, 0, 9, 9), opaque)
	for _, c := range []struct{ wild, tame Options }{
		{Options{}, Options{Levels: DefaultLevels, Radius: DefaultRadius}},
		{Options{Levels: -1, Radius: -1}, Options{Levels: MinLevels, Radius: MinRadius}},
		{Options{Levels: 1 << 40, Radius: 1 << 40}, Options{Levels: MaxLevels, Radius: MaxRadius}},
	} {
		if !slices.Equal(Apply(src, c.wild).Pix, Apply(src, c.tame).Pix) {
			t.Errorf("%+v is not %+v", c.wild, c.tame)
		}
	}
	if o, err := ParseArgs(nil); err != nil || !reflect.DeepEqual(o, Options{}.complete()) {
		t.Errorf("no arguments give %+v, %v", o, err)
	}
}

func BenchmarkApply(b *testing.B) {
	src := rainbow(640, 480)
	for b.Loop() {
		Apply(src, Options{Blur: []image.Rectangle{image.Rect(400, 300, 520, 330)}})
	}
}
