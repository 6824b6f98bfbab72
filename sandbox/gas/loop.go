package gas

import "slices"

// This file saves charges and checks, and leaves every sum as it is.

// A loop is one whose end may have been read or not.
type loop struct {
	entry int   // the region before it
	head  int   // the region it begins with
	backs []int // regions that end in going back
	maybe bool  // some region may go back or may not
	forks int   // how many there were before it

	// Where the head does nothing but jump by a table, as in all code of the
	// Go compiler, for which a function is a loop around a switch:
	selector int   // the local that selects
	cases    []int // the frames that it selects from, or -1; empty in other loops
}

// A fork is a region that goes on in one of two others.
type fork struct{ base, one, other int }

func (l *loop) goBack(region int, always bool) {
	l.maybe = l.maybe || !always
	l.backs = append(l.backs, region)
}

// settle moves the cost of the head to the regions that lead there, unless
// one of them may lead elsewhere: that is one charge less each time round.
func (b *body) settle(l *loop) {
	if l.maybe || slices.Contains(l.backs, l.head) {
		return
	}
	move := func() {
		cost := b.regions[l.head]
		b.regions[l.head] = 0
		b.regions[l.entry] += cost
		for _, back := range l.backs {
			b.regions[back] += cost
		}
	}
	move()
	b.unfork(l.forks)
	move()
}

// unfork moves what both arms of a fork cost into the region before, which
// leaves one of them nothing to charge. Inner forks come first.
func (b *body) unfork(from int) {
	forks := b.forks[from:]
	slices.SortFunc(forks, func(x, y fork) int { return y.base - x.base })
	for _, f := range forks {
		common := min(b.regions[f.one], b.regions[f.other])
		b.regions[f.base] += common
		b.regions[f.one] -= common
		b.regions[f.other] -= common
	}
	b.forks = b.forks[:from]
}

// watch follows the head of a loop: blocks, and what a table is to select by.
func (b *body) watch(op byte) {
	if op != opBlock && op != opLocalGet && op != opBrTable {
		b.opening = 0
	}
}

// dispatch notes which frames the head of a loop leads to, where it is but
// blocks and a table.
func (b *body) dispatch() {
	if b.opening == 0 || b.last[1].op != opLocalGet {
		return
	}
	id := b.frames[b.opening].loop
	l := &b.loops[id-1]
	l.selector = b.last[1].arg
	for _, t := range b.targets {
		if t <= b.opening {
			t = -1
		}
		l.cases = append(l.cases, t)
	}
	for i := range b.frames[b.opening:] {
		b.frames[b.opening+i].loop = id
	}
}

// checkBefore has the limit checked before a branch to a loop. It can do
// without where the branch leads to a case that comes further on: only a way
// back can be gone for ever.
func (b *body) checkBefore(at, to int) {
	target := b.frames[to]
	if target.op != opLoop || target.loop == 0 {
		return
	}
	l := &b.loops[target.loop-1]
	if n := len(l.cases); n > 0 && b.last[0].op == opI32Const && b.last[1] == (operation{opLocalSet, l.selector}) {
		c := n - 1
		if k := b.last[0].arg; k >= 0 && k < n {
			c = k
		}
		if f := l.cases[c]; f >= 0 && f < len(b.frames) && b.frames[f].loop == target.loop {
			return
		}
	}
	b.edit(checkBack, at, 0, target.loop-1)
}
