// Package effect makes a poster of a photograph. It hides the rectangles it
// is told to, smooths the rest like a painter who keeps to the outlines,
// reduces it to a few tones, and inks the edges.
//
// There is no floating point in it: a build for WebAssembly and one for any
// processor give the same picture, bit for bit. Each step takes a time per
// pixel that does not depend on the radius, and all work on one copy of the
// picture, so that a large one fits into the little memory of a sandbox.
package effect

import (
	"image"
	"image/draw"
)

// Apply gives the poster of src, with the same bounds.
func Apply(src image.Image, o Options) *image.NRGBA {
	o = o.complete()
	b := src.Bounds()
	// Package draw is fast for RGBA, and premultiplied colours are what can
	// be averaged.
	premultiplied := image.NewRGBA(b)
	draw.Draw(premultiplied, b, src, b.Min, draw.Src)
	p := &picture{pix: premultiplied.Pix, w: b.Dx(), h: b.Dy()}
	if p.w > 0 && p.h > 0 {
		for _, r := range o.Blur { // first, so that nothing can seep out
			p.hide(r)
		}
		p.smooth((o.Radius + 1) / 2)
		lines := p.outline() // while there is still detail
		p.smooth(o.Radius)
		p.unmultiply()
		p.posterize(o.Levels)
		p.shade(lines)
	}
	return &image.NRGBA{Pix: p.pix, Stride: premultiplied.Stride, Rect: b}
}

// A picture has rows of w pixels with 4 bytes each. Its colours are
// premultiplied by alpha until unmultiply.
type picture struct {
	pix  []byte
	w, h int
}

// at is pixel number i.
func (p *picture) at(i int) *[4]byte { return (*[4]byte)(p.pix[4*i:]) }

func (p *picture) row(y int) []byte { return p.pix[4*y*p.w:][:4*p.w] }

// unmultiply divides the colours by alpha.
func (p *picture) unmultiply() {
	for i := 0; i < len(p.pix); i += 4 {
		if a := int(p.pix[i+3]); a > 0 && a < 255 {
			for c := range 3 {
				p.pix[i+c] = byte((int(p.pix[i+c])*255 + a/2) / a)
			}
		}
	}
}

// luma is how bright a colour looks, 0 to 255.
func luma(c *[4]byte) uint32 {
	return (77*uint32(c[0]) + 150*uint32(c[1]) + 29*uint32(c[2])) >> 8
}
