package model

import (
	"math/bits"
	"slices"
)

// macro is a step that others can see, after inputs that nobody can.
type macro struct {
	ins []input
	to  int32
	out []int32
}

type macroKey struct {
	at    int32
	said  facts
	chain int32
}

// next lists the steps of a member that others can see, each with the fewest
// inputs before it that make it what it is.
func (k *member) next(w *world) []macro {
	key := macroKey{at: w.at[k.self], chain: w.chain}
	m, at := k.m, k.states[w.at[k.self]]
	if at.done {
		return nil
	}
	var ins []input
	if m.sc.chain && at.seen != w.chain {
		ins = append(ins, input{see, w.chain})
	}
	for _, i := range w.said.all() {
		f := &m.facts[i]
		if !f.public || f.from == k.self || f.kind == vote && f.vote.View > m.sc.maxView || m.sc.deaf != nil && m.sc.deaf(m, k.self, f) {
			continue
		}
		// A vote that changes nothing now has been heard, or is of the past.
		if in := (input{hear, i}); f.kind != vote || k.open(w.at[k.self], in) && k.step(w.at[k.self], in).to != w.at[k.self] {
			ins = append(ins, in)
			key.said.add(i)
		}
	}
	for _, e := range at.pending {
		ins = append(ins, input{fire, e})
	}
	if list, ok := k.macros[key]; ok {
		return list
	}
	if len(ins) > 64 {
		panic("model: too many inputs")
	}
	type node struct {
		set uint64
		at  int32
	}
	reached := map[uint64]int32{0: w.at[k.self]}
	queue := []node{{0, w.at[k.self]}}
	var list []macro
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for j, in := range ins {
			if n.set&(1<<j) != 0 || !k.open(n.at, in) {
				continue
			}
			st := k.step(n.at, in)
			if st.to == n.at && len(st.out) == 0 {
				continue
			}
			if in.kind != see && k.passive(n.at, st) {
				if bits.OnesCount64(n.set) >= m.sc.silent {
					continue
				}
				set := n.set | 1<<j
				if old, ok := reached[set]; ok && old == st.to {
					continue
				}
				reached[set] = st.to
				queue = append(queue, node{set, st.to})
				continue
			}
			if k.deferrable(reached, n.set, ins, in, st) {
				continue
			}
			mac := macro{to: st.to, out: st.out}
			for b := range ins {
				if n.set&(1<<b) != 0 {
					mac.ins = append(mac.ins, ins[b])
				}
			}
			mac.ins = append(mac.ins, in)
			list = append(list, mac)
		}
	}
	k.macros[key] = list
	return list
}

// open says whether an input can happen in a state.
func (k *member) open(at int32, in input) bool {
	s := k.states[at]
	switch in.kind {
	case fire:
		return slices.Contains(s.pending, in.n)
	}
	return true
}

// deferrable says whether one of the inputs before a step could as well have
// come after it: to the same state, with the same said in all. What is said
// stays said, so saying it in two steps leads to the same world.
func (k *member) deferrable(reached map[uint64]int32, set uint64, ins []input, last input, st step) bool {
	for j, in := range ins {
		if set&(1<<j) == 0 {
			continue
		}
		without, ok := reached[set&^(1<<j)]
		if !ok || !k.open(without, last) {
			continue
		}
		first := k.step(without, last)
		if !k.open(first.to, in) {
			continue
		}
		if k.passive(without, first) && j < slices.Index(ins, last) {
			continue // the same inputs in another order: one of them is enough
		}
		second := k.step(first.to, in)
		said := slices.Concat(first.out, second.out)
		slices.Sort(said)
		if second.to == st.to && slices.Equal(slices.Compact(said), st.out) {
			return true
		}
	}
	return false
}
