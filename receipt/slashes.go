package receipt

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// This file says who owes what, anew: it derives every debt from the finished case,
// and calls nothing of the ledger that slashes, prices or rewards. That the rules stand
// twice is on purpose. One who made them wrong in the ledger, or changed them there,
// would be repeated by a receipt that called them (spec §11.3.6, ADR 0042). What
// the two share is reading: the roster, a reveal's word, what is wrong with a pair.

// debt is a slash that follows from the case (spec §10.4).
type debt struct {
	node    task.NodeID
	cause   ledger.Cause
	view    uint32
	height  uint64
	most    task.Amount // less only if no more was at stake
	first   task.Amount // of it is burned before anybody shares
	finders []finder
}

// finder is whoever shares in a reward.
type finder struct {
	node    task.NodeID // zero for an accuser
	account task.Address
	weight  uint64
}

// anyShare is for a share of a bond: the case does not say how much that was.
const anyShare = ^task.Amount(0)

// slashes: who had to pay has paid, once, what the rules say at most; nobody
// else has; and half at least was burned. That is so for the last committee: of
// earlier ones the case keeps too little.
func (e *exam) slashes() finding {
	c := e.c
	due := debts(c)
	var lost task.Amount
	for i, s := range c.Slashes {
		if err := plausible(c, i); err != nil {
			return fails("%v", err)
		}
		lost += s.Amount
		if s.Attempt < c.Attempt { // of an earlier committee the case keeps too little
			continue
		}
		var err error
		shown := true
		if j := slices.IndexFunc(due, func(d debt) bool { return d.matches(s) }); j >= 0 {
			err = due[j].paid(s)
			due = slices.Delete(due, j, j+1)
		} else {
			shown, err = late(c, s)
		}
		if err != nil {
			return fails("node %s, slashed for %s: %v", s.Node.Short(), s.Cause, err)
		}
		if !shown {
			e.caveat("Node %s was slashed for %s on an accusation whose proof is not in this file.", s.Node.Short(), s.Cause)
		}
	}
	switch {
	case len(due) > 0:
		return fails("%s of node %s cost it nothing", due[0].cause, due[0].node.Short())
	case len(c.Slashes) == 0:
		return idle("nobody was slashed")
	}
	return holds("%d times a node paid, %s in all; of the last committee all who had to, and nobody else", len(c.Slashes), lost)
}

// plausible is what can be said of any slash, also of an earlier attempt's.
func plausible(c *ledger.Case, i int) error {
	s := c.Slashes[i]
	before := ledger.Slash{Height: c.PostedAt}
	if i > 0 {
		before = c.Slashes[i-1]
	}
	given, fits := total(s.Rewards)
	again := slices.ContainsFunc(c.Slashes[:i], func(o ledger.Slash) bool {
		same := o.Attempt == s.Attempt && o.View == s.View
		return o.Node == s.Node && o.Cause == s.Cause && (same || s.Cause == ledger.Equivocation)
	})
	switch {
	case s.Node.IsZero():
		return fmt.Errorf("a slash of nobody")
	case !fits || given > s.Amount/2:
		return fmt.Errorf("of the %s that %s lost, %s were given away: half is to be burned", s.Amount, s.Node.Short(), given)
	case s.Owed > s.Amount:
		return fmt.Errorf("of the %s that %s lost, %s are said to be burned first", s.Amount, s.Node.Short(), s.Owed)
	case again:
		return fmt.Errorf("node %s was slashed twice for one %s", s.Node.Short(), s.Cause)
	case s.Height < before.Height || s.Attempt < before.Attempt || s.Attempt > c.Attempt || s.Height > c.Settlement.Height+c.Params.DisputeBlocks:
		return fmt.Errorf("the slash of %s in block %d is out of order", s.Node.Short(), s.Height)
	case s.Attempt < c.Attempt && s.Height > c.Began:
		return fmt.Errorf("node %s was slashed in attempt %d after it", s.Node.Short(), s.Attempt)
	}
	return nil
}

// debts are the slashes that follow from the last attempt.
func debts(c *ledger.Case) (all []debt) {
	v, end := &c.View, c.Settlement
	for _, p := range passed(c) {
		was := asItWas(c, p)
		switch p.Why {
		case ledger.WasFaulty:
			all = append(all, debt{p.Executor, wrong(was), p.View, p.Height, anyShare, forfeit(was), finders(was)})
		case ledger.WasAbsent:
			if p.Pre.Progress >= ledger.Sealed { // it could not decline any more
				break
			}
			all = append(all, debt{p.Executor, ledger.Absent, p.View, p.Height, c.Params.Absent, 0, nil})
		case ledger.BroughtNothing, ledger.GaveUp:
			all = append(all, debt{p.Executor, ledger.Silence, p.View, p.Height, max(c.Params.Silence, c.Escrow.Of(0)), 0, nil})
		case ledger.DidNotOpen:
			all = append(all, debt{p.Executor, ledger.Silence, p.View, p.Height, c.Params.Silence, 0, nil})
		}
		all = append(all, words(was, p.Height)...)
	}
	if v.Executor.IsZero() || gone(c) {
		return all
	}
	executor := func(cause ledger.Cause, most task.Amount, f []finder) {
		all = append(all, debt{v.Executor, cause, v.Number, end.Height, most, forfeit(c), f})
	}
	switch end.Outcome {
	case ledger.BadEnclave:
		executor(wrong(c), anyShare, finders(c))
	case ledger.DirtyExit:
		executor(ledger.UncleanExit, anyShare, nil)
	case ledger.ExitSilent:
		executor(ledger.Silence, max(c.Params.Silence, c.Escrow.Of(0)), nil)
	}
	return append(all, words(c, end.Height)...)
}

// words are the debts of those who said something false in a round, or
// nothing after they had committed. at is when the round was over.
func words(c *ledger.Case, at uint64) (all []debt) {
	round, rules, says, r := &c.View.Pre, &c.Params, c.Words(), c.Roster()
	if round.Progress < ledger.Sealed {
		return nil
	}
	cause := ledger.Cause(0)
	if round.Faulty {
		cause = wrong(c)
	}
	for _, k := range round.Commitments {
		if !r.Judges(k.Node) {
			continue // the round's own row fails
		}
		seats := task.Amount(r.Seats(k.Node))
		owes := func(cause ledger.Cause, each task.Amount) {
			all = append(all, debt{k.Node, cause, c.View.Number, at, seats * each, 0, nil})
		}
		i := slices.IndexFunc(round.Reveals, func(v task.Reveal) bool { return v.Node == k.Node })
		if i < 0 {
			if at >= round.ClosedAt+rules.CommitBlocks { // else it had time left
				owes(ledger.NoReveal, rules.NoReveal)
			}
			continue
		}
		said := round.Reveals[i]
		switch word := says(said); {
		case word == ledger.Elsewhere, cause == ledger.TwoGood, cause == ledger.TwoPairs, cause == 0 && round.Progress < ledger.Opened:
		case cause == ledger.BadEvidence && word == ledger.ForGenuine:
			owes(ledger.FalseOK, falseOK(c))
		case cause == ledger.BadEvidence || word == ledger.ForGenuine: // right
		case said.Verdict == task.OK && (len(round.Evidence[0]) == 0 || len(round.Evidence[1]) == 0) && at < round.OpenedAt+rules.CommitBlocks: // it had time left to show the other
		case said.Verdict == task.OK:
			owes(ledger.WrongPick, rules.WrongPick)
		default:
			owes(ledger.FalseFault, rules.FalseAlarm)
		}
	}
	return all
}

// forfeit is what is burned first of what an executor loses whose turn a lie ends, if
// it may have had keys, which the commitments' closing allows: what Alice gets back by
// that, or more.
func forfeit(c *ledger.Case) task.Amount {
	if c.View.Pre.ClosedAt == 0 {
		return 0
	}
	return max(c.Params.Silence, c.Escrow.Of(0))
}

// falseOK is the price of a seat's OK for evidence that is faulty.
func falseOK(c *ledger.Case) task.Amount {
	if c.View.Pre.Progress >= ledger.Decided {
		return c.Params.Miss
	}
	return c.Params.WrongPick
}

func (d debt) matches(s ledger.Slash) bool {
	return d.node == s.Node && d.cause == s.Cause && d.view == s.View && d.height == s.Height
}

// paid says whether a slash is what the debt asks for.
func (d debt) paid(s ledger.Slash) error {
	switch {
	case s.Amount > d.most:
		return fmt.Errorf("it lost %s, the rules ask for %s", s.Amount, d.most)
	case len(d.finders) == 0 && s.Owed > 0:
		return fmt.Errorf("%s are said to be burned before anybody shares, and nobody does", s.Owed)
	case !slices.Equal(s.Rewards, shared(min(s.Amount/2, s.Amount-min(s.Amount, max(d.first, s.Owed))), d.finders, ledger.WhyFinder)):
		return fmt.Errorf("the reward did not go to those who found it, by their seats")
	}
	return nil
}

// late judges a slash that no round asks for. It is for an accusation, whose
// proof the case keeps only if it is about evidence that is there: shown says so.
func late(c *ledger.Case, s ledger.Slash) (shown bool, err error) {
	last := s.View == c.View.Number && s.Height >= c.Settlement.Height
	executor := last && s.Node == c.View.Executor
	most, first, allowed, among := anyShare, task.Amount(0), false, []finder(nil)
	switch s.Cause {
	case ledger.Equivocation:
		allowed = true
	case ledger.TwoResults:
		allowed = executor && c.View.Result != nil
		if c.Settlement.Outcome == ledger.ForgedResult { // by this
			first = forfeit(c)
		}
	case ledger.BadEvidence, ledger.TwoGood, ledger.TwoPairs:
		allowed, among = executor && !c.View.Pre.Faulty, against(c)
		shown = allowed && wrong(c) == s.Cause
	case ledger.FalseOK:
		i := slices.IndexFunc(c.View.Pre.Reveals, func(v task.Reveal) bool { return v.Node == s.Node })
		if allowed = last && !c.View.Pre.Faulty && i >= 0 && c.Words()(c.View.Pre.Reveals[i]) == ledger.ForGenuine; allowed {
			most = task.Amount(c.Member(s.Node).Seats) * falseOK(c)
			shown = wrong(c) == ledger.BadEvidence
		}
	}
	if !allowed {
		return false, fmt.Errorf("nothing in the receipt asks for it")
	}
	if s.Cause != ledger.FalseOK { // the accuser, whoever it was, comes last
		accuser := finder{weight: 1}
		if n := len(s.Rewards); n > 0 {
			accuser.account = s.Rewards[n-1].To
		}
		among = append(among, accuser)
	}
	return shown, debt{most: most, first: first, finders: among}.paid(s)
}

// finders are the verifiers who did not name the genuine place, and whoever accused
// the executor on the chain.
func finders(c *ledger.Case) (all []finder) {
	all = against(c)
	if accuser := c.View.Pre.Accuser; accuser != (task.Address{}) {
		all = append(all, finder{account: accuser, weight: 1})
	}
	return all
}

// against are the verifiers who named the other place, or said FAULT.
func against(c *ledger.Case) (all []finder) {
	says := c.Words()
	for _, v := range c.View.Pre.Reveals {
		if says(v) == ledger.Against {
			m := c.Member(v.Node)
			all = append(all, finder{v.Node, m.Node.Operator, uint64(m.Seats)})
		}
	}
	return all
}

// shared is money by weight. What does not divide is not paid.
func shared(money task.Amount, among []finder, why ledger.Due) (paid []ledger.Payment) {
	var all uint64
	for _, f := range among {
		all += f.weight
	}
	for _, f := range among {
		if part, _ := money.MulDiv(f.weight, all); part > 0 {
			paid = append(paid, ledger.Payment{To: f.account, Node: f.node, Amount: part, Why: why})
		}
	}
	return paid
}

func total(payments []ledger.Payment) (task.Amount, bool) {
	var sum task.Amount
	for _, p := range payments {
		next, fits := sum.Add(p.Amount)
		if !fits {
			return 0, false
		}
		sum = next
	}
	return sum, true
}
