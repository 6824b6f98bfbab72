package receipt

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/ledger"
)

// history: it tells what the case holds.
func (e *exam) history() finding {
	if err := told(e.c); err != nil {
		return fails("%v", err)
	}
	return holds("%d facts in the order of their blocks; what else stands in the case is told so", len(e.c.History))
}

// told holds the history against the case: each fact has the form of its kind, their
// blocks ascend, and what stands in the case as well is told in the same order, once
// (spec §11.3.5). The rest, such as how many seats had committed in between, is the
// chain's word.
func told(c *ledger.Case) error {
	if len(c.History) > ledger.MaxHistory {
		return fmt.Errorf("the history has %d facts, a case keeps %d", len(c.History), ledger.MaxHistory)
	}
	heights := []uint64{c.PostedAt}
	for _, f := range c.History {
		if err := f.Check(); err != nil {
			return err
		}
		heights = append(heights, f.Height)
	}
	if !slices.IsSorted(heights) {
		return fmt.Errorf("the history's blocks do not ascend")
	}
	last := 0 // where the last attempt begins
	for i, f := range c.History {
		if f.Kind == ledger.FactSeeded {
			last = i
		}
	}
	full := len(c.History) == ledger.MaxHistory
	for _, part := range []struct {
		kind  ledger.Kind
		from  int
		facts []ledger.Fact
	}{
		{ledger.FactPosted, 0, []ledger.Fact{{Height: c.PostedAt, Amount: c.Escrow.Of(0), Bond: c.Escrow.Of(uint8(len(c.Parties()) - 1))}}},
		{ledger.FactSeeded, last, []ledger.Fact{{Height: c.SeededAt, Number: c.Attempt, Of: c.Seats, Until: c.SeededAt + c.Params.ClaimBlocks}}},
		{ledger.FactPassed, 0, passes(c)},
		{ledger.FactDeclined, last, declines(c)},
		{ledger.FactSlashed, 0, slashed(c)},
		{ledger.FactResult, 0, result(c)},
		{ledger.FactSettled, 0, []ledger.Fact{c.SettledAs()}},
	} {
		said := slices.DeleteFunc(slices.Clone(c.History[min(part.from, len(c.History)):]), func(f ledger.Fact) bool { return f.Kind != part.kind })
		for i := range part.facts {
			part.facts[i].Kind = part.kind
		}
		if full && len(said) < len(part.facts) { // the rest came when there was no room
			part.facts = part.facts[:len(said)]
		}
		if !slices.Equal(said, part.facts) {
			return fmt.Errorf("the history tells of %d facts of the kind %s, and the case of %d, or of others", len(said), part.kind, len(part.facts))
		}
	}
	return nil
}

func passes(c *ledger.Case) (all []ledger.Fact) {
	for _, p := range c.Passed {
		all = append(all, ledger.Fact{Height: p.Height, Node: p.Executor, Number: p.View, Cause: p.Why})
	}
	return all
}

func declines(c *ledger.Case) (all []ledger.Fact) {
	for _, d := range c.Declined {
		all = append(all, ledger.Fact{Height: d.Height, Node: d.Decline.Node, Reason: d.Decline.Reason, Party: d.Decline.Party})
	}
	return all
}

func slashed(c *ledger.Case) (all []ledger.Fact) {
	for _, s := range c.Slashes {
		all = append(all, ledger.Fact{Height: s.Height, Node: s.Node, Amount: s.Amount, Cause: s.Cause})
	}
	return all
}

func result(c *ledger.Case) (all []ledger.Fact) {
	if s := c.View.Result; s != nil {
		all = append(all, ledger.Fact{Height: c.View.ResultAt, Gas: s.Result.Gas, Ran: s.Result.Outcome})
	}
	return all
}
