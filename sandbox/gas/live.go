package gas

import "math/bits"

// This file counts, from the end of a function to its front, how many of the values
// that frame.go has recorded live at once.

// A set is one of slots.
type set []uint64

func (s set) has(i int32) bool { return s[i>>6]>>(i&63)&1 != 0 }
func (s set) add(i int32)      { s[i>>6] |= 1 << (i & 63) }
func (s set) drop(i int32)     { s[i>>6] &^= 1 << (i & 63) }

// A life says of each slot what is so at a place: that its value is still
// wanted, that it crosses a call or a place where paths meet, that it was among
// too many.
type life struct{ live, crossed, pressed set }

func newLife(words int) life {
	all := make(set, 3*words)
	return life{all[:words], all[words : 2*words], all[2*words:]}
}

func (l *life) copy(o life) {
	copy(l.live, o.live)
	copy(l.crossed, o.crossed)
	copy(l.pressed, o.pressed)
}

// A walk goes from the end of a function to its front, and counts.
type walk struct {
	*flow
	words    int
	work     *int
	assigned []set // by block: what it sets
	differ   []set // by block: what is another value behind it than on some path to there
	heads    []set // by block: what is wanted where a loop begins
	kept     []life
	others   []life
	depth    int

	life
	long  set     // wanted beyond the next branch or label
	last  []int32 // by slot: where it is wanted last
	n     int     // wanted
	all   bool    // they are all pressed
	bytes int
	grown bool // the walk is to be gone again

	crowd int32   // the last step at which there were too many
	temps []int32 // operands under way: the steps they came with and were taken in
	held  int     // operands that count
	peak  int     // most at once
}

// frame is what the function's frame can take, in bytes; false if that is too
// much to find out.
func (f *flow) frame(regions []uint64, work *int) (int, bool) {
	f.gas(regions)
	w := &walk{flow: f, words: (len(f.kinds) + 63) / 64, work: work, last: make([]int32, len(f.kinds))}
	if w.words*len(f.blocks) > maxFlowWords {
		return 0, false
	}
	w.life, w.long = newLife(w.words), make(set, w.words)
	w.assign()
	if !w.compare() {
		return 0, false
	}
	for w.grown = true; w.grown; {
		if *work > maxFlowWork {
			return 0, false
		}
		w.back()
	}
	size := slotBytes
	if f.wide {
		size = vectorBytes
	}
	saved := vectorBytes * min(max(w.peak, 1), frameSaved)
	return frameFixed + saved + frameCall*f.called + size*(f.temps+w.held+f.area) + w.bytes, true
}

// gas makes uses and sets of what the counter does.
func (f *flow) gas(regions []uint64) {
	used := f.slot(slotGas, 0)
	for i, s := range f.steps {
		if s.what != stepGas {
			continue
		}
		f.steps[i] = step{stepNext, s.height, used}
		if regions[s.arg] == 0 {
			f.steps[i] = step{stepNone, s.height, 0}
		}
	}
}

// assign notes which slots each block sets.
func (w *walk) assign() {
	w.assigned, w.heads = make([]set, len(w.blocks)), make([]set, len(w.blocks))
	all := make(set, w.words*len(w.blocks))
	for i := range w.assigned {
		w.assigned[i] = all[i*w.words : (i+1)*w.words]
	}
	hidden := make(set, w.words)
	for _, s := range w.hidden {
		hidden.add(s)
	}
	unite := func(a, b set) {
		*w.work += w.words
		for i := range a {
			a[i] |= b[i]
		}
	}
	open := []int32{0}
	for _, s := range w.steps {
		top := open[len(open)-1]
		switch s.what {
		case stepSet, stepNext:
			w.assigned[top].add(s.arg)
		case stepCall:
			unite(w.assigned[top], hidden)
		case stepOpen:
			open = append(open, s.arg)
			if w.blocks[s.arg].op == opLoop {
				w.heads[s.arg] = make(set, w.words)
			}
		case stepEnd:
			if open = open[:len(open)-1]; len(open) > 0 {
				unite(w.assigned[open[len(open)-1]], w.assigned[top])
			}
		}
	}
}

// A version is one value of each slot.
type version struct {
	of    []int32
	first int32 // not used yet
	alive bool  // there is a way to here
}

// compare goes through the function from the front and finds out where paths
// with different values meet.
func (w *walk) compare() bool {
	w.differ = make([]set, len(w.blocks))
	v := version{of: make([]int32, len(w.kinds)), first: 1, alive: true}
	type open struct {
		block     int32
		at, other []int32 // the values on the first path to the label, and of the other arm
	}
	levels := []open{{}}
	var spare [][]int32
	keep := func() (k []int32) {
		*w.work += len(v.of) / 8
		if n := len(spare); n > 0 {
			k, spare = spare[n-1], spare[:n-1]
			copy(k, v.of)
			return k
		}
		return append(k, v.of...)
	}
	renew := func(s set) {
		w.each(s, func(slot int32) {
			v.of[slot] = v.first
			v.first++
		})
	}
	reach := func(o *open, of []int32) {
		b := o.block
		if w.blocks[b].op == opLoop {
			return
		}
		*w.work += len(of) / 8
		if o.at == nil {
			was := v.of
			v.of = of
			o.at = keep()
			v.of = was
			return
		}
		for slot, n := range of {
			if o.at[slot] != n {
				if w.differ[b] == nil {
					w.differ[b] = make(set, w.words)
				}
				w.differ[b].add(int32(slot))
			}
		}
	}
	hidden := make(set, w.words)
	for _, slot := range w.hidden {
		hidden.add(slot)
	}
	for _, s := range w.steps {
		if *w.work > maxFlowWork {
			return false
		}
		top := &levels[len(levels)-1]
		switch s.what {
		case stepSet, stepNext:
			v.of[s.arg] = v.first
			v.first++
		case stepCall:
			renew(hidden)
		case stepOpen:
			o := open{block: s.arg}
			if op := w.blocks[s.arg].op; op == opIf && v.alive {
				o.other = keep()
			} else if op == opLoop {
				renew(w.assigned[s.arg])
			}
			levels = append(levels, o)
		case stepElse:
			if v.alive {
				reach(top, v.of)
			}
			if v.alive = top.other != nil; v.alive {
				copy(v.of, top.other)
			}
		case stepTo, stepGo:
			for i := range levels {
				if o := &levels[len(levels)-1-i]; o.block == s.arg {
					reach(o, v.of)
					break
				}
			}
			v.alive = v.alive && s.what == stepTo
		case stepStop:
			v.alive = false
		case stepEnd:
			b := &w.blocks[s.arg]
			if v.alive {
				reach(top, v.of)
			}
			if b.op == opIf && !b.split && top.other != nil {
				reach(top, top.other)
			}
			if b.op != opLoop {
				if v.alive = top.at != nil; v.alive {
					copy(v.of, top.at)
				}
			}
			if w.differ[s.arg] != nil {
				renew(w.differ[s.arg])
			}
			for _, k := range [][]int32{top.at, top.other} {
				if k != nil {
					spare = append(spare, k)
				}
			}
			levels = levels[:len(levels)-1]
		}
	}
	return true
}

func (w *walk) back() {
	w.bytes, w.grown, w.depth, w.held = 0, false, 0, 0
	w.crowd = int32(len(w.steps))
	w.clear()
	for i := len(w.steps) - 1; i >= 0; i-- {
		s, at := w.steps[i], int32(i)
		crowd := w.n + int(s.height)
		w.peak = max(w.peak, crowd)
		if crowd <= enough {
			w.all = false
		} else {
			w.crowd = at
			if !w.all {
				w.press()
			}
		}
		for n := len(w.temps); n > 0 && w.temps[n-2] >= at; n = len(w.temps) {
			if w.crowd <= w.temps[n-1] {
				w.held++
			}
			w.temps = w.temps[:n-2]
		}
		switch s.what {
		case stepUse:
			if !w.live.has(s.arg) {
				w.n++
				w.begin(s.arg, at)
			}
			if w.all {
				w.pressed.add(s.arg)
			}
		case stepSet:
			if w.live.has(s.arg) {
				w.end(s.arg, at)
				w.live.drop(s.arg)
				w.n--
			}
		case stepNext:
			if w.live.has(s.arg) {
				w.end(s.arg, at)
			} else {
				w.n++
			}
			w.begin(s.arg, at)
		case stepCall:
			w.call(at)
		case stepEnd:
			w.atEnd(s.arg, at)
		case stepElse:
			w.others[w.depth-1].copy(w.life)
			w.take(w.kept[w.depth-1])
		case stepOpen:
			w.atOpen(s.arg, at)
		case stepTo:
			w.join(w.label(s.arg))
		case stepGo:
			w.take(w.label(s.arg))
		case stepStop:
			w.clear()
		case stepTemp:
			w.temps = append(w.temps, s.arg, at)
		}
	}
	w.each(w.live, func(slot int32) { w.end(slot, -1) })
}

// begin is the last use of a value, seen from behind the first.
func (w *walk) begin(slot, at int32) {
	w.live.add(slot)
	w.crossed.drop(slot)
	w.pressed.drop(slot)
	w.long.drop(slot)
	w.last[slot] = at
}

// end is where a value comes from.
func (w *walk) end(slot, at int32) {
	if w.crossed.has(slot) || w.pressed.has(slot) && (w.long.has(slot) || w.last[slot]-at > brief) {
		w.bytes += slotBytes
		if w.kinds[slot] == typeV128 {
			w.bytes += vectorBytes - slotBytes
		}
	}
}

func (w *walk) each(s set, do func(slot int32)) {
	*w.work += w.words
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			do(int32(i<<6 + bits.TrailingZeros64(word)))
		}
	}
}

func (w *walk) press() {
	*w.work += w.words
	w.all = true
	for i, word := range w.live {
		w.pressed[i] |= word
	}
}

// call gives what the engine keeps of memory and globals new values, and has all
// others live on in the frame.
func (w *walk) call(at int32) {
	for _, slot := range w.hidden {
		if w.live.has(slot) {
			w.end(slot, at)
			w.live.drop(slot)
			w.n--
		}
	}
	*w.work += w.words + len(w.hidden)
	for i, word := range w.live {
		w.crossed[i] |= word
	}
}

// meet is a place where paths meet: what one of them may have set is another
// value behind it than before.
func (w *walk) meet(differ set, at int32) {
	*w.work += 2 * w.words
	for i, word := range w.live {
		w.crossed[i] |= word
	}
	for i, word := range differ {
		for word &= w.live[i]; word != 0; word &= word - 1 {
			slot := int32(i<<6 + bits.TrailingZeros64(word))
			w.end(slot, at)
			w.begin(slot, at)
		}
	}
	w.far()
}

// far says that what is wanted here is so for long.
func (w *walk) far() {
	*w.work += w.words
	copy(w.long, w.live)
	w.all = false
}

func (w *walk) atEnd(n, at int32) {
	b := &w.blocks[n]
	if b.meets && b.op != opLoop {
		w.meet(w.differ[n], at)
	} else {
		w.far()
	}
	if w.depth == len(w.kept) {
		w.kept, w.others = append(w.kept, newLife(w.words)), append(w.others, newLife(w.words))
	}
	k := &w.kept[w.depth]
	b.level = w.depth
	w.depth++
	*w.work += 3 * w.words
	if b.op != opLoop {
		k.copy(w.life)
		return
	}
	// What a loop wants where it begins, it wants wherever it goes back to there;
	// and what it does not set lives all through it.
	for i, word := range w.heads[n] {
		k.live[i], k.crossed[i], k.pressed[i] = word, 0, 0
	}
}

func (w *walk) atOpen(n, at int32) {
	w.depth--
	switch b := &w.blocks[n]; {
	case b.op == opIf && b.split:
		w.join(w.others[w.depth])
	case b.op == opIf:
		w.join(w.kept[w.depth])
	case b.op == opLoop && b.meets:
		w.meet(w.assigned[n], at)
		head := w.heads[n]
		for i, word := range w.live {
			w.grown = w.grown || word&^head[i] != 0
			head[i] |= word
		}
	default:
		w.far()
	}
}

// label is what is wanted at the label of an open block.
func (w *walk) label(n int32) life {
	return w.kept[w.blocks[n].level]
}

func (w *walk) clear() {
	*w.work += w.words
	clear(w.live)
	w.n, w.all = 0, false
}

func (w *walk) take(o life) {
	*w.work += 3 * w.words
	w.life.copy(o)
	w.count()
}

func (w *walk) join(o life) {
	*w.work += 3 * w.words
	for i, word := range w.live {
		// Flags of what was not wanted mean nothing.
		w.crossed[i] = w.crossed[i]&word | o.crossed[i]&o.live[i]
		w.pressed[i] = w.pressed[i]&word | o.pressed[i]&o.live[i]
		w.live[i] = word | o.live[i]
	}
	w.count()
}

func (w *walk) count() {
	w.n = 0
	for _, word := range w.live {
		w.n += bits.OnesCount64(word)
	}
	w.far()
}
