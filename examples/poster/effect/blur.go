package effect

import "image"

// hide blurs a rectangle beyond recognition. It mixes only what is inside,
// so that the surroundings tell nothing about it.
func (p *picture) hide(r image.Rectangle) {
	r = r.Intersect(image.Rect(0, 0, p.w, p.h))
	if r.Empty() {
		return
	}
	rx, ry := max(8, r.Dx()/2), max(8, r.Dy()/2)
	line := make([]byte, 4*max(r.Dx(), r.Dy()))
	for range 3 { // three box blurs come close to a Gaussian one
		for y := r.Min.Y; y < r.Max.Y; y++ {
			boxBlur(p.pix[4*(y*p.w+r.Min.X):], 4, r.Dx(), rx, line)
		}
		for x := r.Min.X; x < r.Max.X; x++ {
			boxBlur(p.pix[4*(r.Min.Y*p.w+x):], 4*p.w, r.Dy(), ry, line)
		}
	}
}

// boxBlur gives each of n pixels, stride bytes apart, the mean of those that
// are at most radius away. It needs room for a copy of them.
func boxBlur(pix []byte, stride, n, radius int, line []byte) {
	for i := range n {
		copy(line[4*i:4*i+4], pix[stride*i:])
	}
	var sum [4]int
	add := func(i, sign int) {
		for c := range sum {
			sum[c] += sign * int(line[4*i+c])
		}
	}
	for i := range min(radius, n) {
		add(i, 1)
	}
	for i := range n {
		if i+radius < n {
			add(i+radius, 1)
		}
		if i-radius-1 >= 0 {
			add(i-radius-1, -1)
		}
		count := min(i+radius, n-1) - max(i-radius, 0) + 1
		for c := range sum {
			pix[stride*i+c] = byte((sum[c] + count/2) / count)
		}
	}
}
