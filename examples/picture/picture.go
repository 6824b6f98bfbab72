// Package picture draws the picture that the demo's Alice has taken: a boat
// on a lake in the evening, whose number is nobody's business.
//
// It is made of noise, gradients and polygons, so that the demo needs no file
// and no one's rights, and comes out the same everywhere.
package picture

import (
	"bytes"
	"image"
	"image/jpeg"
)

const (
	width, height = 640, 480
	horizon       = 272
	sunX, sunY    = 258, 181
)

// Number is where in the picture the boat's number stands.
var Number = image.Rect(boatX+numberX-6, boatY+numberY-5, boatX+numberX+numberWidth+6, boatY+numberY+numberHeight+5)

// Render draws the picture.
func Render() *image.NRGBA {
	c := make(canvas, width*height)
	c.sky()
	c.mountains()
	c.lake()
	c.boat()
	c.shore()
	return c.develop()
}

// JPEG is the picture as a file.
func JPEG() []byte {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, Render(), &jpeg.Options{Quality: 90}); err != nil {
		panic(err) // a buffer takes everything
	}
	return buf.Bytes()
}

// A canvas has the colors of all pixels, row by row.
type canvas []color

// blend lays a color over a pixel.
func (c canvas) blend(x, y int, over color, opacity int) {
	p := &c[y*width+x]
	*p = p.mix(over, opacity)
}

// develop gives the picture the marks of a camera: dim corners and grain.
func (c canvas) develop() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i, p := range c {
		x, y := i%width, i/width
		dx, dy := x-width/2, y-height/2
		p = p.scale(one - (dx*dx+dy*dy)*one*38/100/(width*width/4+height*height/4))
		h := hash(x, y, 99)
		grain := (int(h&255) + int(h>>8&255) - 255) * 7
		for k, v := range []int{p.r, p.g, p.b} {
			img.Pix[4*i+k] = byte(clamp(v+grain) * 255 >> shift)
		}
		img.Pix[4*i+3] = 255
	}
	return img
}
