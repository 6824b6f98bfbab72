package picture

import (
	"image"
	"slices"
)

const (
	boatX, boatY          = 272, 268 // the sprite's place in the picture
	boatWidth, boatHeight = 300, 150
	waterline             = 132 // in the sprite

	number                    = "PR-1745"
	numberX, numberY          = 152, 94
	numberWidth, numberHeight = 105, 18

	fine = 4 // subpixels of a sprite's pixel, each way
)

// A sprite is drawn in subpixels, each of them covered or not.
type sprite struct {
	colors  []color
	covered []bool
}

const fineWidth, fineHeight = boatWidth * fine, boatHeight * fine

// A shade gives the color of a subpixel.
type shade func(x, y int) color

func flat(v int) shade { c := hex(v); return func(int, int) color { return c } }

// upright goes from one color at the top to another at the bottom.
func upright(top, bottom, from, to int) shade {
	a, b := hex(from), hex(to)
	return func(_, y int) color { return a.mix(b, clamp((y-top*fine)*one/((bottom-top)*fine))) }
}

// fill paints a polygon.
func (s *sprite) fill(paint shade, corners ...image.Point) {
	for y := range fineHeight {
		var cuts []int
		for i, p := range corners {
			q := corners[(i+1)%len(corners)]
			py, qy := p.Y*fine, q.Y*fine
			if (py <= y) != (qy <= y) {
				cuts = append(cuts, p.X*fine+(q.X-p.X)*fine*(y-py)/(qy-py))
			}
		}
		slices.Sort(cuts)
		for i := 0; i+1 < len(cuts); i += 2 {
			s.span(paint, max(cuts[i], 0), min(cuts[i+1], fineWidth), y)
		}
	}
}

func (s *sprite) span(paint shade, from, to, y int) {
	for x := from; x < to; x++ {
		s.colors[y*fineWidth+x], s.covered[y*fineWidth+x] = paint(x, y), true
	}
}

// rect paints a rectangle whose measures are in subpixels.
func (s *sprite) rect(paint shade, x, y, w, h int) {
	for i := range h {
		s.span(paint, x, x+w, y+i)
	}
}

// pixel is the mean of a pixel's subpixels, and how many there are.
func (s *sprite) pixel(x, y int) (mean color, opacity int) {
	n := 0
	for i := range fine * fine {
		if at := (y*fine+i/fine)*fineWidth + x*fine + i%fine; s.covered[at] {
			mean = mean.add(s.colors[at])
			n++
		}
	}
	if n > 0 {
		mean = color{mean.r / n, mean.g / n, mean.b / n}
	}
	return mean, n * one / (fine * fine)
}

// boat lies on the lake, upright and mirrored.
func (c canvas) boat() {
	s := paintBoat()
	for y := waterline; y < 2*waterline; y++ { // the mirror image, broken up by the ripples
		for x := range boatWidth {
			at := boatY + y
			if at >= height {
				break
			}
			tilt := ripple(boatX+x, at)
			sx, sy := x+tilt*3>>shift, 2*waterline-1-y-(tilt*(8+(y-waterline)/3))>>shift
			if sx < 0 || sx >= boatWidth || sy < 0 || sy >= waterline {
				continue
			}
			p, opacity := s.pixel(sx, sy)
			c.blend(boatX+x, at, p.mix(hex(0x16283a), one*45/100), mul(opacity, one*75/100))
		}
	}
	s.letter(number, numberX, numberY) // only now, for the ripples leave no more than a smudge of it
	for y := range waterline {
		for x := range boatWidth {
			p, opacity := s.pixel(x, y)
			c.blend(boatX+x, boatY+y, p, opacity)
		}
	}
}

func paintBoat() *sprite {
	s := &sprite{make([]color, fineWidth*fineHeight), make([]bool, fineWidth*fineHeight)}
	pt := image.Pt

	s.fill(flat(0x3a2f33), pt(118, 4), pt(121, 4), pt(122, 60), pt(118, 60)) // mast
	s.fill(flat(0xd24a34), pt(121, 5), pt(146, 10), pt(121, 18))             // pennant
	s.fill(flat(0x4a3b3e), pt(119, 14), pt(34, 82), pt(33, 82), pt(119, 12)) // stays
	s.fill(flat(0x4a3b3e), pt(120, 12), pt(280, 68), pt(280, 69), pt(120, 14))

	s.fill(upright(46, 88, 0xf3e3cd, 0xc9b09c), pt(84, 46), pt(166, 46), pt(180, 88), pt(82, 88)) // cabin
	s.fill(upright(38, 48, 0xb4482f, 0x7e2f26), pt(76, 44), pt(82, 38), pt(168, 38), pt(178, 46), pt(176, 49), pt(76, 49))
	glass := upright(54, 72, 0x27405c, 0xd08a66)
	s.fill(glass, pt(91, 55), pt(110, 55), pt(110, 72), pt(91, 72))
	s.fill(glass, pt(117, 55), pt(136, 55), pt(136, 72), pt(117, 72))
	s.fill(glass, pt(143, 55), pt(161, 55), pt(167, 72), pt(143, 72))

	s.fill(upright(78, 132, 0xefe4d2, 0xa8978c), // hull
		pt(14, 84), pt(60, 87), pt(120, 87), pt(180, 84), pt(230, 78), pt(268, 71), pt(286, 66),
		pt(280, 84), pt(270, 104), pt(258, 122), pt(250, 132), pt(24, 132), pt(18, 116), pt(14, 98))
	s.fill(flat(0x243a5e), // gunwale
		pt(12, 81), pt(60, 84), pt(120, 84), pt(180, 81), pt(230, 75), pt(268, 68), pt(290, 62),
		pt(287, 68), pt(268, 75), pt(230, 82), pt(180, 88), pt(120, 91), pt(60, 91), pt(13, 88))
	s.fill(upright(120, 132, 0x9c3328, 0x5e1f1f), // below the waterline
		pt(20, 120), pt(120, 123), pt(200, 122), pt(260, 119), pt(250, 132), pt(24, 132))

	for _, y := range []int{100, 109} { // planks
		s.fill(flat(0xb9ab9c), pt(15, y), pt(120, y+3), pt(200, y+2), pt(278, y-12), pt(200, y+3), pt(120, y+4))
	}
	s.angler()
	return s
}

// angler stands in the stern.
func (s *sprite) angler() {
	pt := image.Pt
	s.fill(flat(0x2c3550), pt(42, 68), pt(55, 68), pt(56, 84), pt(50, 84), pt(49, 73), pt(47, 84), pt(41, 84))
	s.fill(upright(48, 70, 0xe0a83c, 0xb0752c), pt(44, 49), pt(53, 49), pt(57, 54), pt(56, 70), pt(41, 70), pt(40, 54))
	s.fill(flat(0xc98d2e), pt(41, 53), pt(45, 54), pt(40, 62), pt(31, 58), pt(32, 56), pt(38, 58)) // arm
	s.fill(flat(0xd8a184), pt(45, 41), pt(52, 41), pt(52, 47), pt(50, 50), pt(46, 50), pt(44, 47)) // head
	s.fill(flat(0x33405c), pt(42, 42), pt(45, 37), pt(52, 37), pt(54, 42))                         // hat
	s.fill(flat(0x2b2226), pt(33, 58), pt(1, 20), pt(2, 20), pt(34, 57))                           // rod
}

// font has the letters of the number, 5×7, a row in 5 bits.
var font = map[rune][7]byte{
	'P': {0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000},
	'R': {0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001},
	'-': {0, 0, 0, 0b11111, 0, 0, 0},
	'1': {0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110},
	'7': {0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000},
	'4': {0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010},
	'5': {0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110},
}

// letter writes with dots of 2½ pixels.
func (s *sprite) letter(text string, x, y int) {
	const dot = fine * 5 / 2
	for i, r := range text {
		for row, bits := range font[r] {
			for column := range 5 {
				if bits>>(4-column)&1 == 1 {
					s.rect(flat(0x1d2b4a), x*fine+(6*i+column)*dot, y*fine+row*dot, dot, dot)
				}
			}
		}
	}
}
