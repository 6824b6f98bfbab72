package ledger

import (
	"testing"

	"github.com/prytany/prytany/task"
)

// A list comes in parts that end, by number or by length.
func TestListsComeInParts(t *testing.T) {
	s := NewMemStore()
	const n = 10
	key := func(i int) []byte { return join(keyLog, make([]byte, 32), task.U64(uint64(i))) }
	size := len(key(0)) + len(task.Encode(Change{}))
	for i := range n {
		save(s, key(i), Change{Height: uint64(i)})
	}
	r := Read(s)
	for _, row := range []struct {
		w           Window
		first, many int
	}{
		{Whole, 0, n}, {Window{From: 3, Most: 4, Bytes: 1 << 20}, 3, 4}, {Window{From: 8, Most: 4, Bytes: 1 << 20}, 8, 2},
		{Window{Most: n, Bytes: 3 * size}, 0, 3}, {Window{Most: n, Bytes: 1}, 0, 1}, {Window{From: n, Most: n, Bytes: 1 << 20}, n, 0},
	} {
		got := r.Log(task.Hash{}, row.w)
		if len(got) != row.many || row.many > 0 && got[0].Height != uint64(row.first) {
			t.Errorf("%+v: %d from %v", row.w, len(got), got)
		}
	}
}
