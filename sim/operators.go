package sim

import (
	"math/rand/v2"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// In some worlds an operator has several machines, and Alice's policy limits what those
// of one may have of a quorum (spec §7.5). The dice are their own, so that the other
// worlds live as they did.

// operated says whether this is such a world.
func (w *world) operated() (*rand.Rand, bool) {
	return rand.New(rand.NewPCG(w.seed, 5)), w.seed%5 == 2
}

// affiliate gives the machines to their operators, and so their names.
func (w *world) affiliate() {
	dice, operated := w.operated()
	for i, k := range w.workers {
		if operated && i > 0 && dice.IntN(4) == 0 {
			k.operator = w.workers[dice.IntN(i)].operator
			k.node.Operator = task.PublicKey(k.operator)
		}
		k.id = k.node.ID()
		w.byID[k.id] = k
	}
}

// policy is what Alice asks for.
func (w *world) policy() task.Policy {
	p := task.Policy{MinTier: task.TierSimulated}
	if dice, operated := w.operated(); operated {
		p.MaxOperatorPPM = []uint64{400_000, 500_000, 700_000}[dice.IntN(3)]
	}
	return p
}

// agreed is how many seats of those who named the genuine place count: of each operator
// no more than the policy lets it have of a quorum, and of the executor's none (§7.5).
func agreed(c *ledger.Case) (n uint32) {
	said, all := judges(c)
	ppm := c.Task.Policy.MaxOperatorPPM
	if ppm == 0 {
		return said
	}
	most := uint32(uint64(quorum(all)) * ppm / 1_000_000)
	has := map[task.Address]uint32{c.Member(c.View.Executor).Node.Operator: most}
	for _, m := range c.Members {
		if !mayJudge(c, m.Claim.Node) || named(c, m.Claim.Node) != theGenuine {
			continue
		}
		more := min(m.Seats, most-has[m.Node.Operator])
		has[m.Node.Operator] += more
		n += more
	}
	return n
}
