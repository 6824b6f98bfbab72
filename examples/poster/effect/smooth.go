package effect

// A sum is what is known of some pixels, packed so that all of it is added
// at once: their red, green and blue, and their alpha, luma and its square.
// No window is so large that a field overflows into the next.
type sum struct{ colors, rest uint64 }

const (
	greenAt, blueAt  = 21, 42 // red is at 0
	lumaAt, squareAt = 18, 36 // alpha is at 0
	colorMask        = 1<<21 - 1
	restMask         = 1<<18 - 1
)

// one is the sum of one pixel.
func one(c *[4]byte) sum {
	r, g, b, a := uint64(c[0]), uint64(c[1]), uint64(c[2]), uint64(c[3])
	y := (77*r + 150*g + 29*b) >> 8
	return sum{r | g<<greenAt | b<<blueAt, a | y<<lumaAt | y*y<<squareAt}
}

// A window is the sum of a square of pixels, and what the square counts.
type window struct {
	sum
	weight uint64
}

// evenness is the larger the less n pixels differ.
func (s *sum) evenness(n uint64) uint64 {
	y, yy := s.rest>>lumaAt&restMask, s.rest>>squareAt
	variance := 16 * (n*yy - y*y) / (n * n) // in sixteenths
	w := (1 << 27) / (variance + 128)       // as much as grain has does not matter
	return w * w >> 10
}

// smooth is a Kuwahara filter. Of the four squares that have a pixel in a
// corner, one that reaches over an edge is uneven. So the pixel becomes the
// mean of the four, but the even ones count for far more, and an edge stays
// where and as sharp as it was.
//
// Every square serves four pixels, and is counted once: from the sums of
// columns, which slide down, sums of squares slide to the right. Those are
// kept for radius+1 rows, as long as they are needed.
func (p *picture) smooth(radius int) {
	columns := make([]sum, p.w)
	rows := make([][]window, radius+1) // rows[y%len(rows)] are the squares with bottom row y
	for i := range rows {
		rows[i] = make([]window, p.w+radius)
	}
	for top := -radius; top < p.h; top++ {
		if bottom := top + radius; bottom < p.h {
			row := p.row(bottom)
			for x := range columns {
				s := one((*[4]byte)(row[4*x:]))
				columns[x].colors += s.colors
				columns[x].rest += s.rest
			}
		}
		here := rows[(top+radius)%len(rows)]
		slide(columns, here, radius, min(top+radius, p.h-1)-max(top, 0)+1)
		if top < 0 {
			continue
		}
		row := p.row(top) // is needed no more when the columns have left it
		for x := range columns {
			s := one((*[4]byte)(row[4*x:]))
			columns[x].colors -= s.colors
			columns[x].rest -= s.rest
		}
		above := rows[top%len(rows)]
		mix(row, above, above[radius:], here, here[radius:])
	}
}

// slide sums columns of some height to squares: squares[i] has its right
// side in column i.
func slide(columns []sum, squares []window, radius, height int) {
	var s sum
	for right := range squares {
		left := right - radius
		if right < len(columns) {
			s.colors += columns[right].colors
			s.rest += columns[right].rest
		}
		n := height * (min(right, len(columns)-1) - max(left, 0) + 1)
		squares[right] = window{s, s.evenness(uint64(n))}
		if left >= 0 {
			s.colors -= columns[left].colors
			s.rest -= columns[left].rest
		}
	}
}

// mix sets the colours of a row to the weighted means of four squares each,
// and leaves its alpha.
func mix(row []byte, ss, ts, us, vs []window) {
	for x := range len(row) / 4 {
		c := (*[4]byte)(row[4*x:])
		s, t, u, v := &ss[x], &ts[x], &us[x], &vs[x]
		sw, tw, uw, vw := s.weight, t.weight, u.weight, v.weight
		a := s.rest&restMask*sw + t.rest&restMask*tw + u.rest&restMask*uw + v.rest&restMask*vw
		if a == 0 {
			continue
		}
		r := s.colors&colorMask*sw + t.colors&colorMask*tw + u.colors&colorMask*uw + v.colors&colorMask*vw
		g := s.colors>>greenAt&colorMask*sw + t.colors>>greenAt&colorMask*tw + u.colors>>greenAt&colorMask*uw + v.colors>>greenAt&colorMask*vw
		b := s.colors>>blueAt*sw + t.colors>>blueAt*tw + u.colors>>blueAt*uw + v.colors>>blueAt*vw
		alpha := uint64(c[3])
		c[0], c[1], c[2] = byte((r*alpha+a/2)/a), byte((g*alpha+a/2)/a), byte((b*alpha+a/2)/a)
	}
}
