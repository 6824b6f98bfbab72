package picture

var evening = gradient{
	{0, hex(0x22305e)}, {80, hex(0x4b5590)}, {150, hex(0xa9749a)},
	{205, hex(0xee9a72)}, {250, hex(0xffcf8f)}, {horizon, hex(0xffdca6)},
}

// sky has the sun low over the mountains, and clouds that it lights from below.
func (c canvas) sky() {
	for y := range horizon {
		for x := range width {
			dx, dy := x-sunX, y-sunY
			d := dx*dx + dy*dy
			p := evening.color(y)
			glow := one * 4200 / (4200 + d)
			p = p.mix(hex(0xffe0a0), mul(glow, one*85/100))
			p = p.mix(hex(0xfffbe8), step(19*19, 15*15, d))

			cloud := clouds(x, y)
			cover := step(one*44/100, one*70/100, cloud)
			lit := clamp(one/2 + 4*(cloud-clouds(x+(sunX-x)/28, y+8)))
			tint := hex(0x6a5a86).mix(hex(0xffb48a), lit).mix(hex(0xffe3b8), mul(glow, lit))
			c[y*width+x] = p.mix(tint, mul(cover, one*82/100-glow*6/10))
		}
	}
}

// clouds gather in flat banks, the flatter the closer to the horizon.
func clouds(x, y int) int {
	far := one * 60 / (y + 70)
	u, v := mul(x*one/150, far+one/2), mul(y*one/26, far+one/3)
	bend := fractal(u/2, v/2, 2, 7)
	return fractal(u+2*bend, v+bend/2, 5, 11)
}

// mountains stand in ranges, each nearer one lower and darker, with mist
// between them.
func (c canvas) mountains() {
	for i, m := range []struct {
		top, rise, length int // mean height and relief in pixels, length of a mountain
		rock, mist        color
	}{
		{206, 84, 150, hex(0xb98597), hex(0xf6bf95)},
		{224, 76, 105, hex(0x8b6a8c), hex(0xe3a794)},
		{244, 58, 80, hex(0x594f78), hex(0xb98a96)},
		{261, 30, 60, hex(0x2b3150), hex(0x5a5275)},
	} {
		for x := range width {
			ridge := m.top<<shift + (fractal(x*one/m.length, i*9*one, 6, 30+i)-one/2)*m.rise*-2
			if i == 3 { // near enough to see the tops of its trees
				ridge -= 6 * mul(noise(x*one/3, 0, 50), noise(x*one/9, 0, 51))
			}
			for y := max(ridge>>shift, 0); y < horizon; y++ {
				depth := y<<shift - ridge
				relief := fractal(x*one/22+depth/60, y*one/30, 3, 40+i)
				p := m.rock.scale(one*80/100 + relief*2/5)
				p = p.mix(m.mist, step(0, (horizon<<shift-ridge)*9/8, depth))
				c.blend(x, y, p, clamp(depth+one))
			}
		}
	}
}

// lake mirrors what is above it in ripples that grow towards the viewer.
func (c canvas) lake() {
	for y := horizon; y < height; y++ {
		near := y - horizon
		deep := hex(0x1c3450).mix(hex(0x10202f), near*one/(height-horizon))
		for x := range width {
			tilt := ripple(x, y)
			sy := min(max(horizon-1-near*8/10-(tilt*(near+3))>>(shift+2), 0), horizon-1)
			sx := min(max(x+tilt*(near+10)>>(shift+5), 0), width-1)
			p := c[sy*width+sx].mix(deep, one*28/100+near*one*30/100/(height-horizon))
			dx := x - sunX
			if path := one * (60 + 6*near) / (60 + 6*near + dx*dx); tilt > one/6 {
				p = p.mix(hex(0xffe2b0), mul(path, clamp((tilt-one/6)*3)))
			}
			c[y*width+x] = p
		}
	}
	for x := range width { // a bright seam of mist on the far shore
		for y := horizon - 7; y < horizon+5; y++ {
			d := max(y-horizon, horizon-y)
			c.blend(x, y, hex(0xe8b49c), mul(one*45/100, one-d*one/8))
		}
	}
}

// ripple is the slope of the water, around 0. Seen flatly, ripples are wide
// and low, and smaller farther away.
func ripple(x, y int) int {
	near := y - horizon + 5
	across, along := (x-width/2)*one*4/(near+24), 3200*one/near
	return noise(across, along, 60) + noise(across*3, along*2, 61)/2 - one*3/4
}

// shore is the bank that the picture was taken from, with its firs.
func (c canvas) shore() {
	for x := range width {
		edge := bank(x)
		for y := max(edge>>shift, 0); y < height; y++ {
			depth := y<<shift - edge
			grass := noise(x*one/2, y*one/9, 70)
			p := hex(0x0d1714).mix(hex(0x39422a), mul(grass, step(40*one, 0, depth)))
			c.blend(x, y, p, clamp(depth+grass))
		}
	}
	for i, t := range []struct{ x, top, foot, spread int }{
		{132, 254, 462, 62}, {608, 318, 462, 48}, {634, 214, 470, 84}, {8, 130, 440, 100}, {92, 176, 456, 88}, {48, 48, 470, 128},
	} {
		c.fir(t.x, t.top, t.foot, t.spread, i)
	}
}

// bank is the height of the shore, and how the grass on it ends.
func bank(x int) int {
	left, right := max(230-x, 0), max(x-500, 0)
	y := (488 - left*left/340 - right*right/210) << shift
	return y - mul(noise(x*one/40, 0, 71), 14*one) - mul(noise(x*one/2, 0, 72), 9*one)
}

// fir has branches in tiers, ragged, with the light of the sun on one side.
func (c canvas) fir(x0, top, foot, spread, seed int) {
	for y := max(top, 0); y < min(foot, height); y++ {
		down := (y - top) * one / (foot - top)
		tiers := (y-top)*one/14 + noise(y*one/20, 0, 79+seed)/2
		half := mul(spread*one/2, mul(down, one*62/100+(tiers&(one-1))*38/100)) + one*3/2
		for x := max(x0-spread, 0); x < min(x0+spread, width); x++ {
			off := (x - x0) * one
			aside := max(off, -off)
			ragged := fractal(x*one/5, y*one/3-aside/5, 2, 80+seed) // branches hang down
			inside := mul(half, one*45/100+ragged) - aside
			if inside <= -one {
				continue
			}
			p := hex(0x0c1719).mix(hex(0x3a5140), mul(ragged, ragged)*2)
			p = p.mix(hex(0x9a683f), mul(step(7*one, 0, inside), step(-half, half, mul(off, c.sunward(x0)))))
			c.blend(x, y, p, clamp(inside+one))
		}
	}
}

// sunward is one to the left of the sun, and minus one to its right.
func (c canvas) sunward(x int) int {
	if x < sunX {
		return one
	}
	return -one
}
