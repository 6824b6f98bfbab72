// Package picture draws what the examples and the demo work on: a photograph
// that nobody took, of a car by a lake at sunset. It has what a photograph
// has to make a filter sweat, grain, gradients, texture and hard edges, and a
// number plate that is nobody's business.
//
// All arithmetic is in integers, so the picture is the same on every machine
// and there is no binary to keep in the repository.
package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
)

// The size of the picture in pixels.
const (
	Width  = 640
	Height = 480
)

// Plate is where the number plate is.
var Plate = image.Rect(418, 402, 486, 424)

// JPEG gives the picture as a camera would.
func JPEG() []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, Render(), &jpeg.Options{Quality: 92}); err != nil {
		panic(err) // not for an image and a buffer like these
	}
	return b.Bytes()
}

// Render draws the picture.
func Render() image.Image {
	out := image.NewNRGBA(image.Rect(0, 0, Width, Height))
	for y := range Height {
		for x := range Width {
			// Four samples for each pixel smooth the edges.
			var sum rgb
			for i := range 4 {
				c := scene(x*unit+(i%2)*unit/2, y*unit+(i/2)*unit/2)
				sum.r, sum.g, sum.b = sum.r+c.r, sum.g+c.g, sum.b+c.b
			}
			grain := (int(hash(x, y, 99))%9 - 4) + (int(hash(x, y, 98))%7 - 3)
			vignette := 256 - ((x-320)*(x-320)+(y-240)*(y-240))/2100
			channel := func(v int) uint8 { return clamp(v/4*vignette/256 + grain/2) }
			out.SetNRGBA(x, y, color.NRGBA{channel(sum.r), channel(sum.g), channel(sum.b), 255})
		}
	}
	return out
}

// Coordinates count in 1/64 of a pixel, shares in 1/256, colours from 0 to 255.
const unit = 64

type rgb struct{ r, g, b int }

// mix goes from a to b as t goes from 0 to 256.
func mix(a, b rgb, t int) rgb {
	t = max(0, min(256, t))
	at := func(a, b int) int { return a + (b-a)*t/256 }
	return rgb{at(a.r, b.r), at(a.g, b.g), at(a.b, b.b)}
}

func (c rgb) light(t int) rgb { return rgb{c.r * t / 256, c.g * t / 256, c.b * t / 256} }

func clamp(v int) uint8 { return uint8(max(0, min(255, v))) }

// ramp goes from 0 to 256 as v goes from a to b.
func ramp(v, a, b int) int { return max(0, min(256, (v-a)*256/(b-a))) }

func hash(x, y, seed int) uint32 {
	h := uint32(x)*0x9e3779b1 ^ uint32(y)*0x85ebca77 ^ uint32(seed)*0xc2b2ae3d
	h ^= h >> 15
	h *= 0x2c1b3c6d
	h ^= h >> 12
	h *= 0x297a2d39
	return h ^ h>>15
}

// noise is smooth, from 0 to 255, with features of the given size.
func noise(x, y, size, seed int) int {
	cell := func(v int) (int, int) {
		i := v / size
		if v < 0 {
			i = (v - size + 1) / size
		}
		f := (v - i*size) * 256 / size
		return i, f * f * (768 - 2*f) / 65536
	}
	ix, fx := cell(x)
	iy, fy := cell(y)
	corner := func(dx, dy int) int { return int(hash(ix+dx, iy+dy, seed) & 255) }
	top := corner(0, 0) + (corner(1, 0)-corner(0, 0))*fx/256
	bottom := corner(0, 1) + (corner(1, 1)-corner(0, 1))*fx/256
	return top + (bottom-top)*fy/256
}

// fractal adds noise of ever smaller features, from 0 to 255.
func fractal(x, y, size, octaves, seed int) int {
	sum, weight, total := 0, 128, 0
	for o := range octaves {
		sum += noise(x, y, max(size, 1), seed+o) * weight
		total += weight
		weight, size = weight/2, size/2
	}
	return sum / max(total, 1)
}

// root is the integer square root.
func root(n int) int {
	r := 0
	for bit := 1 << 20; bit > 0; bit >>= 1 {
		if (r+bit)*(r+bit) <= n {
			r += bit
		}
	}
	return r
}

// The lines of the composition, in pixels.
const (
	horizon = 250
	shore   = 372
	sunX    = 206
	sunY    = 196
)

func scene(x, y int) rgb {
	if c, ok := car(x, y); ok {
		return c
	}
	if c, ok := land(x, y); ok {
		return c
	}
	if y < horizon*unit {
		return above(x, y)
	}
	return water(x, y)
}

// above is everything over the horizon.
func above(x, y int) rgb {
	if c, ok := house(x, y); ok {
		return c
	}
	if c, ok := trees(x, y); ok {
		return c
	}
	c := sky(x, y)
	haze := rgb{226, 158, 122}
	for i, m := range []struct {
		base, height, size, seed int
		rock                     rgb
		far                      int
	}{
		{212, 118, 150, 11, rgb{96, 92, 128}, 150},
		{228, 84, 110, 23, rgb{72, 74, 104}, 96},
		{243, 46, 90, 37, rgb{46, 56, 70}, 48},
	} {
		ridge := m.base*unit - (fractal(x, 0, m.size*unit, 7, m.seed)-84)*m.height*unit/172
		if y < ridge {
			continue
		}
		// Light comes from the left: what falls towards it is bright.
		slope := fractal(x+3*unit, y, 40*unit, 6, m.seed+5) - fractal(x-3*unit, y, 40*unit, 6, m.seed+5)
		rock := m.rock.light(256 + slope*5)
		if i == 0 {
			snow := ramp(150*unit+fractal(x, y, 24*unit, 5, 51)*unit/6-y, 0, 20*unit)
			rock = mix(rock, rgb{236, 214, 214}.light(236+slope*4), snow*220/256)
		}
		c = mix(rock, haze, m.far*ramp(y, ridge, (horizon+30)*unit)/256+m.far/3)
	}
	return c
}

func sky(x, y int) rgb {
	c := mix(rgb{38, 58, 112}, rgb{122, 120, 158}, ramp(y, 0, 130*unit))
	c = mix(c, rgb{240, 168, 118}, ramp(y, 60*unit, 225*unit))
	dx, dy := (x-sunX*unit)/unit, (y-sunY*unit)/unit
	d := root(dx*dx*64 + dy*dy*64) // eighths of a pixel
	c = mix(c, rgb{255, 214, 140}, ramp(8*190-d, 0, 8*190)*ramp(8*190-d, 0, 8*190)/300)
	// Clouds are longer than high, lit from below and dark above.
	cover := fractal(x*2/5+9000, y*3/2, 70*unit, 6, 71)
	thick := ramp(cover, 118, 176) * ramp(215*unit-y, 0, 120*unit) / 256
	lit := ramp(cover-fractal(x*2/5+9000, y*3/2+14*unit, 70*unit, 6, 71), -14, 26)
	cloud := mix(rgb{92, 82, 118}, rgb{255, 176, 132}, lit)
	c = mix(c, cloud, thick*230/256)
	return mix(c, rgb{255, 246, 214}, ramp(8*21-d, 0, 10))
}

// trees are a line of firs on the far side.
func trees(x, y int) (rgb, bool) {
	for i := range 2 {
		width := (9 - 2*i) * unit
		n := x / width
		h := 10 + int(hash(n, i, 61))%14 - 5*i
		if stand := noise(x, 0, 120*unit, 63+i); stand < 96 {
			h -= (96 - stand) / 4
		}
		top := (horizon-h)*unit + 2*i*unit
		middle := n*width + width/2 + int(hash(n, i, 62))%unit
		reach := (y - top) / 3
		reach -= (y / 90 % 3) * reach / 5 // branches
		if h > 2 && y > top && abs(x-middle) < min(reach, width*3/5) {
			return mix(rgb{22, 34, 32}, rgb{60, 54, 50}, ramp(middle-x, -width, width)/2+40*i), true
		}
	}
	if y > horizon*unit-3*unit-fractal(x, 0, 30*unit, 4, 65)*unit/60 {
		return rgb{30, 38, 34}, true
	}
	return rgb{}, false
}

func abs(v int) int { return max(v, -v) }

// house stands among the trees, with a light on.
func house(x, y int) (rgb, bool) {
	px, py := x-96*unit, y-(horizon-22)*unit // from its middle and its eaves
	inside := func(x0, y0, x1, y1 int) bool { return px >= x0*unit && px < x1*unit && py >= y0*unit && py < y1*unit }
	switch {
	case inside(10, -26, 14, -14):
		return rgb{84, 60, 56}, true // chimney
	case py < 0 && py > -15*unit && abs(px) < 25*unit+py*11/10:
		return mix(rgb{110, 52, 44}, rgb{74, 36, 36}, ramp(px, -20*unit, 20*unit)+(py/50%2)*24), true
	case !inside(-19, 0, 19, 21):
		return rgb{}, false
	case inside(-13, 5, -5, 12), inside(6, 5, 13, 12):
		if (px+9*unit)/20 == 0 || abs(py-8*unit-unit/2) < 20 {
			return rgb{70, 46, 40}, true
		}
		return rgb{255, 214, 128}, true
	case inside(-3, 8, 4, 21):
		return rgb{66, 40, 36}, true
	}
	return mix(rgb{226, 190, 160}, rgb{128, 104, 108}, ramp(px, -19*unit, 19*unit)-(py/100%2)*14), true
}

// water mirrors what is above it, the less the steeper one looks.
func water(x, y int) rgb {
	depth := y - horizon*unit
	wave := fractal(x/3, y*4, 26*unit, 5, 81) - 128
	swell := depth * wave / 900
	mirrored := above(x+swell/3, horizon*unit-1-depth*9/10-abs(swell))
	c := mix(mirrored, rgb{30, 52, 74}, 64+ramp(depth, 0, 150*unit)*120/256)
	if wave > 34 {
		c = mix(c, rgb{250, 206, 168}, (wave-34)*3)
	}
	// The sun lies on the waves below it.
	path := ramp(30*unit+depth/4-abs(x-sunX*unit+swell*2), 0, 40*unit)
	sparkle := ramp(wave, 2, 30)
	c = mix(c, rgb{255, 224, 168}, path*sparkle*200/65536)
	mist := ramp(16*unit-depth, 0, 16*unit)
	return mix(c, rgb{236, 190, 160}, mist*90/256)
}

// land is the near shore: grass, and a road along it.
func land(x, y int) (rgb, bool) {
	edge := shore*unit + (fractal(x, 0, 90*unit, 5, 91)-128)*unit/7 - x/28
	blade := (int(hash(x/40, 7, 92))%11 + int(hash(x/24, 9, 93))%7) * unit / 2
	if y < edge-blade {
		return rgb{}, false
	}
	road := 424*unit + (x-320*unit)/40
	if y > road {
		return asphalt(x, y, road), true
	}
	tuft := fractal(x*2, y/2, 12*unit, 5, 94)
	c := mix(rgb{40, 52, 28}, rgb{138, 126, 58}, ramp(tuft, 70, 190))
	c = mix(c, rgb{214, 160, 84}, ramp(edge+10*unit-y, 0, 26*unit)*ramp(tuft, 110, 180)/512)
	if flower := hash(x/70, y/70, 95); flower%61 == 0 {
		c = [...]rgb{{214, 62, 58}, {240, 214, 96}, {228, 226, 240}}[flower/61%3]
	}
	return c.light(236), true
}

func asphalt(x, y, road int) rgb {
	stone := int(hash(x/36, y/30, 96))%28 - 14
	c := rgb{86 + stone, 80 + stone, 84 + stone}
	c = mix(c, rgb{150, 118, 96}, ramp(road+22*unit-y, 0, 22*unit)/3)
	if line := y - road; line > 5*unit && line < 8*unit {
		c = mix(c, rgb{222, 212, 196}, 200)
	}
	if line := y - road; line > 40*unit && line < 44*unit && (x/unit+20)%90 < 52 {
		c = mix(c, rgb{226, 216, 200}, 180)
	}
	// The shadow of the car falls to the right, away from the sun.
	dx, dy := (x-470*unit)/unit, (y-441*unit)/unit
	return mix(c, rgb{26, 24, 32}, ramp(100*100-dx*dx-dy*dy*90, 0, 5200)*210/256)
}

// car is seen from behind.
func car(x, y int) (rgb, bool) {
	const middle, top = 452, 318
	px, py := x-middle*unit, y-top*unit
	side := abs(px)
	body := func(y0, y1, w0, w1, round int) bool { // a rounded trapezium
		if py < y0*unit || py > y1*unit {
			return false
		}
		w := w0*unit + (w1-w0)*(py-y0*unit)/(y1-y0)
		r := round * unit
		ex, ey := side-(w-r), max(y0*unit+r-py, py-(y1*unit-r))
		return side <= w && (ex <= 0 || ey <= 0 || ex*ex+ey*ey <= r*r)
	}
	paint := mix(rgb{196, 58, 46}, rgb{92, 22, 30}, ramp(px, -70*unit, 80*unit))
	paint = mix(paint, rgb{255, 190, 150}, ramp(6*unit-abs(py-44*unit), 0, 6*unit)*ramp(-px, -60*unit, 70*unit)/420)
	switch {
	case body(82, 106, 34, 34, 1) && py > 88*unit && py < 103*unit && onPlate(px, py):
		return plate(px-(-34)*unit, py-84*unit)
	case body(84, 106, 34, 34, 2):
		return plate(px+34*unit, py-84*unit)
	case body(6, 40, 38, 54, 9): // rear window
		glass := mix(rgb{48, 56, 78}, rgb{150, 126, 128}, ramp(40*unit-py, 0, 34*unit)*ramp(30*unit-px, 0, 90*unit)/256)
		if body(22, 40, 18, 20, 6) && side > 3*unit || (side-22*unit)*(side-22*unit)+(py-27*unit)*(py-27*unit) < 8*8*unit*unit {
			glass = glass.light(150) // headrests
		}
		return glass, true
	case body(0, 46, 44, 64, 12): // cabin
		return paint.light(ramp(py, -30*unit, 16*unit)), true
	case body(56, 76, 82, 82, 5) && side > 56*unit: // lights
		lamp := rgb{214, 26, 26}
		if py > 68*unit {
			lamp = rgb{240, 150, 60}
		}
		glow := ramp(11*unit-root((side-68*unit)/8*((side-68*unit)/8)+(py-64*unit)/8*((py-64*unit)/8))*8, 0, 11*unit)
		return mix(lamp, rgb{255, 224, 190}, glow*150/256+(px/110%2)*16), true
	case body(40, 82, 76, 86, 14): // boot
		shade := 256 - ramp(py, 56*unit, 84*unit)*50/256
		if abs(py-50*unit) < 20 && side < 60*unit {
			shade = 150
		}
		return paint.light(shade), true
	case body(78, 112, 88, 84, 10): // bumper
		return mix(paint.light(190), rgb{44, 40, 46}, ramp(py, 98*unit, 101*unit)), true
	case body(92, 128, 82, 80, 8) && side > 54*unit: // tyres
		tread := (py / 70 % 2) * 10
		return rgb{30 + tread, 28 + tread, 32 + tread}, true
	case body(108, 118, 60, 58, 3):
		return rgb{22, 20, 26}, true
	case body(14, 40, 66, 76, 6) && py > 28*unit && side > 64*unit: // mirrors
		return paint.light(200), true
	}
	return rgb{}, false
}

func onPlate(int, int) bool { return false }

// plate is 68 by 22 pixels, with seven letters and digits on it.
func plate(x, y int) (rgb, bool) {
	const text = "PRY-431"
	if x < unit*3/2 || x > 68*unit-unit*3/2 || y < unit*3/2 || y > 22*unit-unit*3/2 {
		return rgb{48, 46, 52}, true
	}
	cx, cy := (x-5*unit)*10/(14*unit), (y-4*unit)*10/(20*unit) // dots of the letters
	if x >= 5*unit && y >= 4*unit && cy < 7 && cx/6 < len(text) && cx%6 < 5 {
		if letters[text[cx/6]][cy]>>(4-cx%6)&1 == 1 {
			return rgb{30, 30, 44}, true
		}
	}
	return rgb{236, 232, 220}, true
}

// letters are five dots wide and seven high.
var letters = map[byte][7]uint8{
	'P': {0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000},
	'R': {0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001},
	'Y': {0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100},
	'-': {0, 0, 0, 0b01110, 0, 0, 0},
	'4': {0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010},
	'3': {0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110},
	'1': {0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110},
}
