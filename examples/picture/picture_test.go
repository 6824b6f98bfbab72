package picture

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image/jpeg"
	"testing"
)

const golden = "11c9db9fa64aaa90a7310e495b6838da52d7885a16f315366252d12ec4be04f9"

func TestRender(t *testing.T) {
	img := Render()
	if img.Bounds().Dx() != width || img.Bounds().Dy() != height || !img.Opaque() {
		t.Errorf("bounds %v", img.Bounds())
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(img.Pix)); got != golden {
		t.Errorf("the pixels hash to %s, want %s", got, golden)
	}
}

func TestJPEG(t *testing.T) {
	a := JPEG()
	if !bytes.Equal(a, JPEG()) {
		t.Error("not the same file twice")
	}
	got, err := jpeg.Decode(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	want, sum := Render(), 0
	for y := range height {
		for x := range width {
			r, g, b, _ := got.At(x, y).RGBA()
			c := want.NRGBAAt(x, y)
			for _, d := range []int{int(r>>8) - int(c.R), int(g>>8) - int(c.G), int(b>>8) - int(c.B)} {
				sum += max(d, -d)
			}
		}
	}
	if mean := sum / (3 * width * height); mean > 5 {
		t.Errorf("the file is off by %d on average", mean)
	}
}

// TestNumber: the rectangle has the dark letters and the light ground they are on.
func TestNumber(t *testing.T) {
	img := Render()
	dark, light := 0, 0
	for y := Number.Min.Y; y < Number.Max.Y; y++ {
		for x := Number.Min.X; x < Number.Max.X; x++ {
			switch c := img.NRGBAAt(x, y); {
			case c.R < 80:
				dark++
			case c.R > 130:
				light++
			}
		}
	}
	if all := Number.Dx() * Number.Dy(); dark < all/10 || light < all/2 {
		t.Errorf("%d dark and %d light pixels of %d", dark, light, all)
	}
}

func BenchmarkRender(b *testing.B) {
	for b.Loop() {
		Render()
	}
}
