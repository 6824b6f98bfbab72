package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Finding is faulty evidence of a case, with the reason. The chain keeps only that it
// is faulty (spec §7.4.3): the reason comes from appraising it again, as
// receipt.Faults does.
type Finding struct {
	Executor task.NodeID `json:"executor"`
	View     uint32      `json:"view"`
	Round    task.Round  `json:"round"`
	Reason   string      `json:"reason"` // code of spec §7.4, or what is wrong with the pair
	Detail   string      `json:"detail"`
}

// Case says what a case waits for at a height, or how it ended and where the money is.
// Each line ends with a newline.
func Case(c *ledger.Case, height uint64, found []Finding) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, d := range c.Declined {
		line("node %s declined to execute at block %d: %s. That costs nothing", d.Decline.Node.Short(), d.Height, Lack(d.Decline.Lack))
	}
	for _, p := range c.Passed {
		line("executor %s was passed over at block %d: %s", p.Executor.Short(), p.Height, Cause(p.Why))
		if p.Result != nil {
			line("  the wall limit, %s, was over: that is the machine's affair. It was paid nothing, lost nothing, and no record changed", wall(c))
		}
	}
	for _, f := range found {
		line("the %s evidence of %s was faulty, appraised again: %s: %s", f.Round, f.Executor.Short(), f.Reason, f.Detail)
	}
	for _, s := range c.Slashes {
		line("node %s lost %s at block %d: %s", s.Node.Short(), s.Amount, s.Height, Cause(s.Cause))
		for _, p := range s.Rewards {
			line("  %s of it to %s, who found it", p.Amount, p.To.Short())
		}
	}
	if s := c.Settlement; s != nil {
		line("settled at block %d: %s", s.Height, s.Outcome)
		line("at fault: %s", Fault(c))
		if e, ok := Ended(c).(*task.Error); ok {
			line("what happened: %s", e.What)
		}
		for _, p := range s.Payments {
			who := p.To.Short()
			if p.Node.IsZero() {
				who = "the " + c.RoleOf(p.Party).String()
			}
			if p.Why == ledger.WhyRoom {
				line("  %s got %s back of what was locked for rent", who, p.Amount)
				continue
			}
			line("  %s got %s as %s", who, p.Amount, p.Why)
		}
		if s.Rent > 0 {
			line("  %s of rent were burned, for the %d blocks that the task was open", s.Rent, s.Height-c.PostedAt)
		}
		for i, kept := range s.Kept {
			if kept > 0 {
				line("  %s went back into the bond of the %s", kept, c.RoleOf(uint8(i)))
			}
		}
		return b.String()
	}
	line("%s: %s", c.Phase, Waits(c))
	line("at block %d; this phase ends at block %d at the latest", height, c.Deadline)
	for i, locked := range c.Escrow.Locks {
		if locked > 0 {
			line("in escrow: %s of the %s", locked, c.RoleOf(uint8(i)))
		}
	}
	line("in escrow: %s of the requester for rent", c.Escrow.Room)
	return b.String()
}

func wall(c *ledger.Case) time.Duration {
	return time.Duration(c.Function.Manifest.Limits.WallMillis) * time.Millisecond
}

// Waits is what an open case waits for. A closed one waits for nothing.
func Waits(c *ledger.Case) string {
	if say, ok := waits[c.Phase]; ok {
		return say(c)
	}
	return ""
}

var waits = map[ledger.Phase]func(*ledger.Case) string{
	ledger.Posted: func(*ledger.Case) string {
		return "waits for the beacon that seeds the draw"
	},
	ledger.Electing: func(c *ledger.Case) string {
		return fmt.Sprintf("waits for workers that have drawn seats: %d of at least %d so far", c.Roster().Total(), c.Task.MinSeats)
	},
	ledger.Attesting: func(c *ledger.Case) string {
		ok, bad := c.Tally(c.View.Pre.Reveals)
		return fmt.Sprintf("waits for verifiers to judge %s's enclave: %d seats for it, %d against, of %d, a quorum is %d",
			c.View.Executor.Short(), ok, bad, c.Roster().Judging(), c.Roster().Quorum())
	},
	ledger.Releasing: func(c *ledger.Case) string {
		missing := []string{}
		for i, p := range c.Parties() {
			if p.Releases && !c.Released(uint8(i)) {
				missing = append(missing, "the "+p.Role.String())
			}
		}
		return "waits for the key of " + strings.Join(missing, " and ")
	},
	ledger.Running: func(c *ledger.Case) string {
		return fmt.Sprintf("waits for %s's enclave to run the function", c.View.Executor.Short())
	},
	ledger.Reviewing: func(c *ledger.Case) string {
		return fmt.Sprintf("the result is there; waits for %s to show how its enclave ended", c.View.Executor.Short())
	},
}

// Ended is a settled case as an error that a person can act on: what happened,
// whose fault it was, and where the money is. Nil if the run ended well.
func Ended(c *ledger.Case) error {
	s := c.Settlement
	if s == nil || s.Outcome == ledger.Completed {
		return nil
	}
	back, locked := c.Returned()
	words := Outcome(s.Outcome)
	if late := slices.DeleteFunc(slices.Clone(c.Passed), func(p ledger.Pass) bool { return p.Result == nil }); s.Outcome == ledger.ExecutorsFailed && len(late) > 0 {
		words += fmt.Sprintf("; %d of %d ran out of the time that the function's wall limit gives them", len(late), len(c.Passed))
	}
	e := task.Refuse("task-"+s.Outcome.String(), "%s", words)
	e.Fault = Fault(c)
	return e.WithMoney("%s came back to the requester, who had %s in escrow", back, locked).
		WithNext("prytany task why %s", c.ID())
}
