package model

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

func (m *model) link(s chainState) int32 {
	p := s.print(m.cast.id)
	if r := ledger.Read(s.store); r.Held() != r.Meta().Supply { // on every way there
		m.broken = fmt.Sprintf("supply is conserved: %d held of %d", r.Held(), r.Meta().Supply)
	}
	if i, ok := m.chainBy[p]; ok {
		return i
	}
	i := int32(len(m.chain))
	m.chain = append(m.chain, &link{state: s, c: s.read(m.cast.id), next: map[string]int32{}})
	m.chainBy[p] = i
	return i
}

// block is the state after a block with these transactions.
func (m *model) block(from int32, txs []int32) int32 {
	var key []byte
	for _, t := range txs {
		key = binary.BigEndian.AppendUint32(key, uint32(t))
	}
	l := m.chain[from]
	if i, ok := l.next[string(key)]; ok {
		return i
	}
	i := m.link(m.cast.block(l.state, m.signed(txs)))
	l.next[string(key)] = i
	return i
}

func (m *model) signed(txs []int32) []signed {
	var list []signed
	for _, t := range txs {
		f := &m.facts[t]
		switch f.key {
		case byAlice:
			list = append(list, signed{m.cast.alice, f.body})
		case byBob:
			list = append(list, signed{m.cast.bob, f.body})
		default:
			list = append(list, signed{m.cast.workers[f.key].op, f.body})
		}
	}
	return list
}

// blockChoices are the contents of the next block that are tried: all that
// waits, in either order of senders; and unless the world is calm also nothing
// and the next of each sender alone, or in a wide search all but that. One
// sender's transactions keep their order, by their nonces.
func (m *model) blockChoices(pool []int32, calm, wide bool) [][]int32 {
	slices.SortStableFunc(pool, func(a, b int32) int {
		f, g := &m.facts[a], &m.facts[b]
		return cmp.Or(cmp.Compare(f.key, g.key), cmp.Compare(rank(f.body), rank(g.body)))
	})
	reversed := slices.Clone(pool)
	slices.SortStableFunc(reversed, func(a, b int32) int { return m.facts[b].key - m.facts[a].key })
	choices := [][]int32{pool}
	if !slices.Equal(pool, reversed) {
		choices = append(choices, reversed)
	}
	if calm {
		return choices
	}
	if len(pool) > 0 {
		choices = append(choices, nil)
	}
	if len(pool) > 1 {
		for i := range pool {
			if m.sc.ledgerOnly || i == 0 || m.facts[pool[i-1]].key != m.facts[pool[i]].key {
				choices = append(choices, pool[i:i+1])
			}
			if wide && len(pool) > 2 && (i+1 == len(pool) || m.facts[pool[i+1]].key != m.facts[pool[i]].key) {
				choices = append(choices, append(slices.Clone(pool[:i]), pool[i+1:]...))
			}
		}
	}
	return choices
}

// rank is the order in which a machine submits.
func rank(b task.Body) int {
	switch {
	case b.Claims != nil:
		return 0
	case b.Show != nil:
		return 1
	case b.Commitments != nil:
		return 2
	case b.Verdicts != nil:
		return 4 + len(b.Verdicts.Words)
	case b.Result != nil:
		return 30
	case b.Exit != nil:
		return 40
	}
	return 50
}
