package effect

// posterize reduces the picture to some levels of brightness with few hues
// each.
func (p *picture) posterize(levels int) {
	lumas := p.lumas()
	var histogram [256]int64
	for i, y := range lumas {
		if p.at(i)[3] > 0 {
			histogram[y]++
		}
	}
	level := quantize(&histogram, levels)
	inks := make([]ink, levels<<(2*hueBits))
	cells := make([]uint16, len(lumas))
	for i, y := range lumas {
		c := p.at(i)
		cells[i] = cell(c, int(y), int(level[y]))
		inks[cells[i]].add(c)
	}
	for i := range inks {
		inks[i].settle()
	}
	for i, cell := range cells {
		t := &inks[cell]
		c := p.at(i)
		c[0], c[1], c[2] = byte(t.r), byte(t.g), byte(t.b)
	}
}

// quantize finds the levels that are nearest to the picture's own tones: a
// k-means of its histogram, which takes the place of equal steps, since these
// would waste levels on tones that hardly occur.
func quantize(histogram *[256]int64, levels int) (level [256]byte) {
	darkest, lightest := 0, 255
	for darkest < lightest && histogram[darkest] == 0 {
		darkest++
	}
	for lightest > darkest && histogram[lightest] == 0 {
		lightest--
	}
	centers := make([]int, levels)
	for i := range centers {
		centers[i] = darkest + (2*i+1)*(lightest-darkest)/(2*levels)
	}
	for range 16 {
		sums, counts := make([]int64, levels), make([]int64, levels)
		k := 0
		for y, n := range histogram {
			for k+1 < levels && centers[k]+centers[k+1] < 2*y {
				k++
			}
			level[y] = byte(k)
			sums[k] += int64(y) * n
			counts[k] += n
		}
		for i := range centers {
			if counts[i] > 0 {
				centers[i] = int(sums[i] / counts[i])
			}
		}
	}
	return level
}

// hueBits are left of each of the two colour differences.
const hueBits = 4

// cell is the number of the ink for a colour with a luma on a level.
func cell(c *[4]byte, luma, level int) uint16 {
	const shift, half = 9 - hueBits, 1 << (8 - hueBits) // differences have 9 bits
	blue := (int(c[2]) - luma + 256 + half) >> shift & (1<<hueBits - 1)
	red := (int(c[0]) - luma + 256 + half) >> shift & (1<<hueBits - 1)
	return uint16((level<<hueBits|blue)<<hueBits | red)
}

// An ink is the mean of the colours it stands for.
type ink struct{ r, g, b, n int64 }

func (t *ink) add(c *[4]byte) {
	t.r += int64(c[0])
	t.g += int64(c[1])
	t.b += int64(c[2])
	t.n++
}

// settle makes the sums a colour, and that somewhat more vivid.
func (t *ink) settle() {
	if t.n == 0 {
		return
	}
	c := &[4]byte{byte(t.r / t.n), byte(t.g / t.n), byte(t.b / t.n)}
	y := int64(luma(c))
	for i, v := range []*int64{&t.r, &t.g, &t.b} {
		*v = min(max(y+(int64(c[i])-y)*5/4, 0), 255)
	}
}

// outline finds the edges: for every pixel, how dark a line to draw there.
func (p *picture) outline() []byte {
	lumas := p.lumas()
	lines := make([]byte, len(lumas))
	for y := range p.h {
		up, mid, down := lumas[max(y-1, 0)*p.w:][:p.w], lumas[y*p.w:][:p.w], lumas[min(y+1, p.h-1)*p.w:][:p.w]
		for x := range p.w {
			l, r := max(x-1, 0), min(x+1, p.w-1)
			dx := int(up[r]) + 2*int(mid[r]) + int(down[r]) - int(up[l]) - 2*int(mid[l]) - int(down[l])
			dy := int(down[l]) + 2*int(down[x]) + int(down[r]) - int(up[l]) - 2*int(up[x]) - int(up[r])
			slope := max(dx, -dx) + max(dy, -dy)
			lines[y*p.w+x] = byte(min(max(slope-64, 0), 160) &^ 31) // few shades, that few colours come of it
		}
	}
	return lines
}

// shade draws the lines.
func (p *picture) shade(lines []byte) {
	for i, ink := range lines {
		if ink > 0 {
			c, light := p.at(i), 256-uint32(ink)
			c[0], c[1], c[2] = byte(uint32(c[0])*light>>8), byte(uint32(c[1])*light>>8), byte(uint32(c[2])*light>>8)
		}
	}
}

// lumas are those of all pixels.
func (p *picture) lumas() []byte {
	lumas := make([]byte, p.w*p.h)
	for i := range lumas {
		lumas[i] = byte(luma(p.at(i)))
	}
	return lumas
}
