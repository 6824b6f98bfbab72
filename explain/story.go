package explain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Names are what the accounts and nodes of a case are called where a reader knows
// them. Who has no name is called by a short id.
type Names struct {
	Accounts map[task.Address]string
	Nodes    map[task.NodeID]string
}

func (n Names) account(a task.Address) string { return cmp.Or(n.Accounts[a], a.Short()) }
func (n Names) node(id task.NodeID) string    { return cmp.Or(n.Nodes[id], id.Short()) }

// Fault is who is at fault for how a case ended, by name.
func (n Names) Fault(c *ledger.Case) string {
	var who []string
	for _, i := range c.Settlement.Fault.Parties {
		who = append(who, n.account(c.Parties()[i].Account))
	}
	if len(who) == 0 {
		return Fault(c)
	}
	return strings.Join(who, " or ")
}

// Payments says who was paid what at the end of a case, a line for each payment.
func (n Names) Payments(c *ledger.Case) (lines []string) {
	paid := slices.Clone(c.Settlement.Payments) // the case is everybody's
	slices.SortStableFunc(paid, func(a, b ledger.Payment) int { return cmp.Compare(a.Why, b.Why) })
	for _, p := range paid {
		lines = append(lines, fmt.Sprintf("%-8s %14s  %s", n.account(p.To), p.Amount, p.Why))
	}
	return lines
}

// Story says who paid whom at the end of a case, and why.
func (n Names) Story(c *ledger.Case, found []Finding) (lines []string) {
	tell := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	bob := n.account(c.Function.Owner)
	for _, f := range found {
		tell("the %s evidence of %s, looked at again: %s: %s", f.Round, n.node(f.Executor), f.Reason, f.Detail)
	}
	for _, d := range c.Declined {
		tell("%s declined to execute, which costs nothing: %s", n.node(d.Decline.Node), Lack(d.Decline.Lack))
	}
	for _, p := range c.Passed {
		tell("%s lost its turn: %s", n.node(p.Executor), Cause(p.Why))
		if p.Result != nil {
			tell("  and nothing else: time is the machine's affair")
		}
	}
	for _, s := range c.Slashes {
		rest := s.Amount
		tell("%s lost %s of its bond: %s", n.node(s.Node), s.Amount, Cause(s.Cause))
		for _, p := range s.Rewards {
			rest -= p.Amount
			tell("  %s of that to %s, who found it", p.Amount, n.account(p.To))
		}
		tell("  %s of that burned", rest)
	}
	for _, p := range c.Settlement.Payments {
		payer := n.account(c.Task.Requester) + " paid"
		if p.Why == ledger.WhyRefund || p.Why == ledger.WhyRoom {
			payer = "the escrow gave back to"
		} else if c.Settlement.Outcome == ledger.CodeOwnerSilent {
			payer = bob + "'s bond paid"
		}
		tell("%s %s %s: %s", payer, n.account(p.To), p.Amount, Due(p.Why))
	}
	if s := c.Settlement; s.Burned > 0 {
		tell("%s of what %s had locked were burned: nobody gains by a file that does not come", s.Burned, n.Fault(c))
	}
	if kept := c.Settlement.Kept; kept[len(kept)-1] > 0 {
		tell("%s went back into the bond of %s's function", kept[len(kept)-1], bob)
	}
	return lines
}

// Draw is how one node fared in the draw of a case. Only who has a node's key to the
// draw can tell how a node fared that won nothing.
type Draw struct {
	Stake     float64 // its share of all stake
	Value     float64 // what it drew, from 0 to 1
	Threshold float64 // it wins seats above this
	Seats     uint32
	Executor  bool   // it has the turn
	Words     string // what it won, and what came of that
}

// Drawn is the draw of the node whose VRF has this output on the case's seed.
func Drawn(c *ledger.Case, id task.NodeID, stake task.Amount, beta vrf.Output) Draw {
	rank := uint32(0) // of its lowest ticket; none has 0
	for i, t := range c.Roster().Order() {
		if task.NodeID(t.Node) == id {
			rank = uint32(i) + 1
			break
		}
	}
	share := float64(stake) / float64(c.TotalStake)
	d := Draw{
		Stake:     share,
		Value:     float64(beta[0])/256 + float64(beta[1])/65536 + float64(beta[2])/(1<<24),
		Threshold: math.Exp(-float64(c.Seats) * share),
		Seats:     sortition.Seats(beta, c.Seats, uint64(stake), uint64(c.TotalStake)),
		Executor:  c.View.Executor == id,
	}
	seats := fmt.Sprintf("%d seats", d.Seats)
	if d.Seats == 1 {
		seats = "1 seat"
	}
	switch {
	case d.Seats == 0:
		d.Words = "no seat"
	case rank > 0:
		d.Words = fmt.Sprintf("%s, lowest ticket is number %d of %d", seats, rank, c.Roster().Total())
	case c.Member(id) != nil:
		d.Words = fmt.Sprintf("%s; it verifies, and has no %s to execute", seats, c.Function.Manifest.Runtime)
	default:
		d.Words = seats + ", but its claim came too late"
	}
	if d.Executor {
		d.Words += ": the executor"
	}
	return d
}
