package effect

// A window is what is known of a square of pixels: their number, the sums of
// their channels, of their luma and of its square, and what the square counts.
type window struct {
	r, g, b, a, y, yy uint32
	weight            uint64
}

func (s *window) addPixel(c []byte) {
	y := luma(c)
	s.r += uint32(c[0])
	s.g += uint32(c[1])
	s.b += uint32(c[2])
	s.a += uint32(c[3])
	s.y += y
	s.yy += y * y
}

func (s *window) removePixel(c []byte) {
	y := luma(c)
	s.r -= uint32(c[0])
	s.g -= uint32(c[1])
	s.b -= uint32(c[2])
	s.a -= uint32(c[3])
	s.y -= y
	s.yy -= y * y
}

func (s *window) add(t *window) {
	s.r += t.r
	s.g += t.g
	s.b += t.b
	s.a += t.a
	s.y += t.y
	s.yy += t.yy
}

func (s *window) remove(t *window) {
	s.r -= t.r
	s.g -= t.g
	s.b -= t.b
	s.a -= t.a
	s.y -= t.y
	s.yy -= t.yy
}

// weigh makes a window of n pixels count the more the more even it is.
func (s *window) weigh(n uint64) {
	y, yy := uint64(s.y), uint64(s.yy)
	variance := 16 * (n*yy - y*y) / (n * n) // in sixteenths
	w := (1 << 24) / (variance + 16)
	s.weight = w * w >> 10
}

// smooth is a Kuwahara filter, and divides the colours by alpha. Of the four
// squares that have a pixel in a corner, one that reaches over an edge is
// uneven. So the pixel becomes the mean of the four, but the even ones count
// for far more, and an edge stays where and as sharp as it was.
//
// Every square serves four pixels, and is counted once: from the sums of
// columns, which slide down, sums of squares slide to the right. Those are
// kept for radius+1 rows, as long as they are needed.
func (p *picture) smooth(radius int) {
	columns := make([]window, p.w)
	rows := make([][]window, radius+1) // rows[y%len] are squares with top row y-radius
	for i := range rows {
		rows[i] = make([]window, p.w+radius)
	}
	for top := -radius; top < p.h; top++ {
		if bottom := top + radius; bottom < p.h {
			row := p.row(bottom)
			for x := range columns {
				columns[x].addPixel(row[4*x : 4*x+4])
			}
		}
		here := rows[(top+radius)%len(rows)]
		slide(columns, here, radius, min(top+radius, p.h-1)-max(top, 0)+1)
		if top < 0 {
			continue
		}
		row := p.row(top) // is needed no more when the columns have left it
		for x := range columns {
			columns[x].removePixel(row[4*x : 4*x+4])
		}
		above := rows[top%len(rows)]
		for x := range p.w {
			mix(row[4*x:4*x+4], &above[x], &above[x+radius], &here[x], &here[x+radius])
		}
	}
}

// slide sums columns of some height to squares: squares[i] has its right
// side in column i.
func slide(columns, squares []window, radius, height int) {
	var s window
	for right := range squares {
		left := right - radius
		if right < len(columns) {
			s.add(&columns[right])
		}
		s.weigh(uint64(height * (min(right, len(columns)-1) - max(left, 0) + 1)))
		squares[right] = s
		if left >= 0 {
			s.remove(&columns[left])
		}
	}
}

// mix sets a pixel's colour to the weighted mean of four squares, and leaves
// its alpha.
func mix(c []byte, s, t, u, v *window) {
	a := uint64(s.a)*s.weight + uint64(t.a)*t.weight + uint64(u.a)*u.weight + uint64(v.a)*v.weight
	if a == 0 {
		return
	}
	r := uint64(s.r)*s.weight + uint64(t.r)*t.weight + uint64(u.r)*u.weight + uint64(v.r)*v.weight
	g := uint64(s.g)*s.weight + uint64(t.g)*t.weight + uint64(u.g)*u.weight + uint64(v.g)*v.weight
	b := uint64(s.b)*s.weight + uint64(t.b)*t.weight + uint64(u.b)*u.weight + uint64(v.b)*v.weight
	c[0], c[1], c[2] = byte(255*r/a), byte(255*g/a), byte(255*b/a)
}
