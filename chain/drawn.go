package chain

import (
	"sync"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// mostDrawn is how many verified claims are remembered.
const mostDrawn = 1 << 12

// drawn remembers claims that were verified, for the pool, the proposals and the
// blocks of one validator, which come in goroutines of their own. It is a
// ledger.Seen.
type drawn struct {
	mu   sync.Mutex
	said map[task.Hash]ledger.Member
}

func newDrawn() *drawn { return &drawn{said: map[task.Hash]ledger.Member{}} }

// Get is what was said of a claim.
func (d *drawn) Get(asked task.Hash) (ledger.Member, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.said[asked]
	return m, ok
}

// Put remembers what was said. When too much is remembered, all is forgotten.
func (d *drawn) Put(asked task.Hash, said ledger.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.said) >= mostDrawn {
		clear(d.said)
	}
	d.said[asked] = said
}
