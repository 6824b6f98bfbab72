package picture

// A number with a fraction is an integer that counts 1/65536, so that the
// picture is the same on every 64-bit processor.
const (
	shift = 16
	one   = 1 << shift
)

func clamp(v int) int { return min(max(v, 0), one) }

func mul(a, b int) int { return a * b >> shift }

// mix goes from a to b as t goes from 0 to one.
func mix(a, b, t int) int { return a + mul(b-a, t) }

// step rises smoothly from 0 to one as v goes from a to b.
func step(a, b, v int) int {
	t := clamp((v - a) << shift / (b - a))
	return mul(mul(t, t), 3*one-2*t)
}

// hash gives 32 bits that look random.
func hash(x, y, seed int) uint32 {
	h := uint32(x)*0x9e3779b1 ^ uint32(y)*0x85ebca6b ^ uint32(seed)*0xc2b2ae35
	h = (h ^ h>>15) * 0x2c1b3c6d
	h = (h ^ h>>12) * 0x297a2d39
	return h ^ h>>15
}

// noise is smooth and random, 0 to one, with features of about the size one.
func noise(x, y, seed int) int {
	i, j := x>>shift, y>>shift
	at := func(i, j int) int { return int(hash(i, j, seed) >> (32 - shift)) }
	u, v := step(0, one, x&(one-1)), step(0, one, y&(one-1))
	return mix(mix(at(i, j), at(i+1, j), u), mix(at(i, j+1), at(i+1, j+1), u), v)
}

// fractal sums octaves of noise, each of half the size and height. Each is
// turned against the one before it, which hides the grid they are made on.
func fractal(x, y, octaves, seed int) int {
	sum, height := 0, one/2
	for k := range octaves {
		sum += mul(noise(x, y, seed+k), height)
		x, y = (8*x-6*y)/5, (6*x+8*y)/5
		height /= 2
	}
	return sum
}

// A color has channels from 0 to one.
type color struct{ r, g, b int }

func hex(v int) color {
	channel := func(v int) int { return (v & 255) * one / 255 }
	return color{channel(v >> 16), channel(v >> 8), channel(v)}
}

func (c color) mix(d color, t int) color {
	return color{mix(c.r, d.r, t), mix(c.g, d.g, t), mix(c.b, d.b, t)}
}

func (c color) scale(t int) color { return color{mul(c.r, t), mul(c.g, t), mul(c.b, t)} }

func (c color) add(d color) color { return color{c.r + d.r, c.g + d.g, c.b + d.b} }

// A gradient has its colors at growing positions.
type gradient []struct {
	at int
	color
}

func (g gradient) color(at int) color {
	for i := 1; i < len(g); i++ {
		if at < g[i].at {
			return g[i-1].color.mix(g[i].color, clamp((at-g[i-1].at)<<shift/(g[i].at-g[i-1].at)))
		}
	}
	return g[len(g)-1].color
}
