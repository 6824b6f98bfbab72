package effect

// posterize reduces the picture to some levels of brightness with few hues
// each, and draws dark lines along edges.
func (p *picture) posterize(levels int) {
	lumas := make([]byte, p.w*p.h)
	var histogram [256]int
	for i := range lumas {
		lumas[i] = byte(luma(p.pix[4*i : 4*i+4]))
		if p.pix[4*i+3] > 0 {
			histogram[lumas[i]]++
		}
	}
	level := quantize(&histogram, levels)
	inks := make([]ink, levels<<(2*hueBits))
	for i, y := range lumas {
		c := p.pix[4*i : 4*i+4]
		inks[cell(c, int(y), int(level[y]))].add(c)
	}
	for i := range inks {
		inks[i].settle()
	}
	for y := range p.h {
		for x := range p.w {
			i := y*p.w + x
			c := p.pix[4*i : 4*i+4]
			t := &inks[cell(c, int(lumas[i]), int(level[lumas[i]]))]
			light := 256 - edge(lumas, p.w, p.h, x, y)
			c[0], c[1], c[2] = byte(t.r*light>>8), byte(t.g*light>>8), byte(t.b*light>>8)
		}
	}
}

// quantize finds the levels that are nearest to the picture's own tones: a
// k-means of its histogram, which takes the place of equal steps, since these
// would waste levels on tones that hardly occur.
func quantize(histogram *[256]int, levels int) (level [256]byte) {
	centers := make([]int, levels)
	for i := range centers {
		centers[i] = (2*i + 1) * 255 / (2 * levels)
	}
	for range 16 {
		sums, counts := make([]int, levels), make([]int, levels)
		k := 0
		for y, n := range histogram {
			for k+1 < levels && centers[k]+centers[k+1] < 2*y {
				k++
			}
			level[y] = byte(k)
			sums[k] += y * n
			counts[k] += n
		}
		for i := range centers {
			if counts[i] > 0 {
				centers[i] = sums[i] / counts[i]
			}
		}
	}
	return level
}

// hueBits are left of each of the two colour differences.
const hueBits = 4

// cell is the number of the ink for a colour with a luma on a level.
func cell(c []byte, luma, level int) int {
	const shift, half = 9 - hueBits, 1 << (8 - hueBits) // differences have 9 bits
	blue := (int(c[2]) - luma + 256 + half) >> shift & (1<<hueBits - 1)
	red := (int(c[0]) - luma + 256 + half) >> shift & (1<<hueBits - 1)
	return (level<<hueBits|blue)<<hueBits | red
}

// An ink is the mean of the colours it stands for.
type ink struct{ r, g, b, n int }

func (t *ink) add(c []byte) {
	t.r += int(c[0])
	t.g += int(c[1])
	t.b += int(c[2])
	t.n++
}

// settle makes the sums a colour, and that somewhat more vivid.
func (t *ink) settle() {
	if t.n == 0 {
		return
	}
	c := []byte{byte(t.r / t.n), byte(t.g / t.n), byte(t.b / t.n)}
	y := int(luma(c))
	for i, v := range []*int{&t.r, &t.g, &t.b} {
		*v = min(max(y+(int(c[i])-y)*5/4, 0), 255)
	}
}

// edge is how much ink an edge line leaves at a place, 0 to 255.
func edge(lumas []byte, w, h, x, y int) int {
	left, right := max(x-1, 0), min(x+1, w-1)
	up, mid, down := lumas[max(y-1, 0)*w:][:w], lumas[y*w:][:w], lumas[min(y+1, h-1)*w:][:w]
	dx := int(up[right]) + 2*int(mid[right]) + int(down[right]) - int(up[left]) - 2*int(mid[left]) - int(down[left])
	dy := int(down[left]) + 2*int(down[x]) + int(down[right]) - int(up[left]) - 2*int(up[x]) - int(up[right])
	slope := max(dx, -dx) + max(dy, -dy)
	return min(max(slope-60, 0), 160)
}
