package receipt

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// debt is a slash that follows from the case (spec §10.4).
type debt struct {
	node    task.NodeID
	cause   ledger.Cause
	view    uint32
	round   task.Round
	height  uint64
	most    task.Amount // less only if no more was at stake
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
		if unkept(c, s) {
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
		same := o.Attempt == s.Attempt && o.View == s.View && o.Round == s.Round
		return o.Node == s.Node && o.Cause == s.Cause && (same || s.Cause == ledger.Equivocation)
	})
	switch {
	case s.Node.IsZero():
		return fmt.Errorf("a slash of nobody")
	case !fits || given > s.Amount/2:
		return fmt.Errorf("of the %s that %s lost, %s were given away: half is to be burned", s.Amount, s.Node.Short(), given)
	case again:
		return fmt.Errorf("node %s was slashed twice for one %s", s.Node.Short(), s.Cause)
	case s.Height < before.Height || s.Attempt < before.Attempt || s.Attempt > c.Attempt || s.Height > c.Settlement.Height+c.Params.DisputeBlocks:
		return fmt.Errorf("the slash of %s in block %d is out of order", s.Node.Short(), s.Height)
	case s.Attempt < c.Attempt && s.Height > c.Began:
		return fmt.Errorf("node %s was slashed in attempt %d after it", s.Node.Short(), s.Attempt)
	}
	return nil
}

// unkept says whether a slash is about what the case does not keep: an earlier
// committee, or a canary of an executor who was passed over after it.
func unkept(c *ledger.Case, s ledger.Slash) bool {
	if s.Attempt < c.Attempt {
		return true
	}
	i := slices.IndexFunc(passed(c), func(p ledger.Pass) bool { return p.View == s.View })
	if i < 0 || s.View == c.View.Number || s.Round != task.PreRun {
		return false
	}
	was := asItWas(c, passed(c)[i])
	return was.View.Canary != nil && was.Judges(s.Node) && (s.Cause == ledger.FalseOK || s.Cause == ledger.NoReveal) &&
		s.Amount <= task.Amount(was.Member(s.Node).Seats)*c.Params.Miss && s.Height <= passed(c)[i].Height
}

// debts are the slashes that follow from the last attempt.
func debts(c *ledger.Case) (all []debt) {
	v, end := &c.View, c.Settlement
	for _, p := range passed(c) {
		was := asItWas(c, p)
		r := was.PreRound()
		switch p.Why {
		case ledger.WasFaulty:
			all = append(all, debt{p.Executor, ledger.BadEvidence, p.View, r, p.Height, anyShare, finders(was, r)})
		case ledger.WasAbsent:
			all = append(all, debt{p.Executor, ledger.Absent, p.View, r, p.Height, c.Params.Absent, nil})
		case ledger.BroughtNothing:
			all = append(all, debt{p.Executor, ledger.Silence, p.View, 0, p.Height, c.Params.Silence, nil})
		}
		all = append(all, words(was, r, p.Height)...)
	}
	if v.Canary != nil {
		all = append(all, words(c, task.PreRun, v.Canary.Height)...)
	}
	if v.Executor.IsZero() || gone(c) {
		return all
	}
	executor := func(cause ledger.Cause, r task.Round, most task.Amount, f []finder) {
		all = append(all, debt{v.Executor, cause, v.Number, r, end.Height, most, f})
	}
	switch end.Outcome {
	case ledger.BadEnclave:
		executor(ledger.BadEvidence, c.PreRound(), anyShare, finders(c, c.PreRound()))
	case ledger.DirtyExit:
		executor(ledger.UncleanExit, task.PostRun, anyShare, finders(c, task.PostRun))
	case ledger.ExitSilent:
		executor(ledger.Silence, task.PostRun, c.Params.Silence, nil)
	}
	all = append(all, words(c, c.PreRound(), end.Height)...)
	return append(all, words(c, task.PostRun, end.Height)...)
}

// words are the debts of those who said something false in a round, or
// nothing after they had committed. at is when the round was over.
func words(c *ledger.Case, r task.Round, at uint64) (all []debt) {
	round, rules := c.Round(r), &c.Params
	if round.ClosedAt == 0 || len(round.Evidence) == 0 {
		return nil
	}
	for _, k := range round.Commitments {
		if !c.Judges(k.Node) {
			continue // the round's own row fails
		}
		seats := task.Amount(c.Member(k.Node).Seats)
		owes := func(cause ledger.Cause, each task.Amount, f []finder) {
			all = append(all, debt{k.Node, cause, c.View.Number, r, at, seats * each, f})
		}
		i := slices.IndexFunc(round.Reveals, func(v task.Reveal) bool { return v.Node == k.Node })
		switch {
		case i < 0 && at < round.ClosedAt+rules.CommitBlocks: // it had time left
		case i < 0 && r == task.PostRun && c.View.Pre.Faulty: // it was not heard any more
		case i < 0 && round.Faulty && round.Other == nil:
			owes(ledger.NoReveal, rules.Miss, witnesses(c, r))
		case i < 0:
			owes(ledger.NoReveal, rules.NoReveal, nil)
		default:
			said := round.Reveals[i]
			switch cause := falsehood(c, r, said); {
			case cause == ledger.FalseFault:
				owes(cause, rules.FalseAlarm, nil)
			case cause == ledger.FalseOK && (round.Faulty || doubts(round)):
				owes(cause, rules.Miss, witnesses(c, r))
			}
		}
	}
	return all
}

// doubts says whether anyone said FAULT: then the chain holds every word against
// the evidence.
func doubts(round *ledger.Round) bool {
	return slices.ContainsFunc(round.Reveals, func(v task.Reveal) bool { return v.Verdict == task.Fault })
}

// falsehood is what is false about a verdict on the round's evidence. One on
// other evidence is neither true nor false here.
func falsehood(c *ledger.Case, r task.Round, v task.Reveal) ledger.Cause {
	evidence := c.Round(r).Evidence
	if v.Evidence != task.H(task.TagEvidence, evidence) {
		return ""
	}
	switch truth := c.Appraise(r, evidence); {
	case truth.Verdict == v.Verdict:
		return ""
	case v.Verdict == task.OK:
		return ledger.FalseOK
	}
	return ledger.FalseFault
}

func (d debt) matches(s ledger.Slash) bool {
	return d.node == s.Node && d.cause == s.Cause && d.view == s.View && d.round == s.Round && d.height == s.Height
}

// paid says whether a slash is what the debt asks for.
func (d debt) paid(s ledger.Slash) error {
	switch {
	case s.Amount > d.most:
		return fmt.Errorf("it lost %s, the rules ask for %s", s.Amount, d.most)
	case !slices.Equal(s.Rewards, shared(s.Amount/2, d.finders, ledger.WhyFinder)):
		return fmt.Errorf("the reward did not go to those who found it, by their seats")
	}
	return nil
}

// late judges a slash that no round asks for. It is for an accusation, whose
// proof the case keeps only if it is about evidence that is there: shown says so.
func late(c *ledger.Case, s ledger.Slash) (shown bool, err error) {
	last := s.View == c.View.Number && s.Height >= c.Settlement.Height
	executor := last && s.Node == c.View.Executor
	most, allowed := anyShare, false
	switch s.Cause {
	case ledger.Equivocation:
		allowed = s.Round == 0
	case ledger.TwoResults:
		allowed = executor && s.Round == 0 && c.View.Result != nil
	case ledger.BadEvidence, ledger.UncleanExit:
		round, exit := c.Round(s.Round), s.Cause == ledger.UncleanExit
		allowed = executor && (exit && s.Round == task.PostRun || !exit && s.Round == c.PreRound()) && !round.Faulty
		shown = allowed && len(round.Evidence) > 0 && c.Appraise(s.Round, round.Evidence).Verdict == task.Fault
	case ledger.FalseOK, ledger.FalseFault:
		if last && c.Judges(s.Node) && (s.Round == c.PreRound() || s.Round == task.PostRun) {
			shown, allowed, most = lateWord(c, s)
		}
	}
	var accuser finder // whoever it was
	if len(s.Rewards) > 0 {
		accuser = finder{account: s.Rewards[0].To, weight: 1}
	}
	if !allowed {
		return false, fmt.Errorf("nothing in the receipt asks for it")
	}
	return shown, debt{most: most, finders: []finder{accuser}}.paid(s)
}

// lateWord is about a verdict that an accusation says was false: of evidence
// in the case, which shows it, or of other evidence, which only the chain saw.
func lateWord(c *ledger.Case, s ledger.Slash) (shown, allowed bool, most task.Amount) {
	round := c.Round(s.Round)
	i := slices.IndexFunc(round.Reveals, func(v task.Reveal) bool { return v.Node == s.Node })
	if i < 0 {
		return false, false, 0
	}
	said, each, word := round.Reveals[i], c.Params.Miss, task.OK
	if s.Cause == ledger.FalseFault {
		each, word = c.Params.FalseAlarm, task.Fault
	}
	cause := falsehood(c, s.Round, said)
	shown = cause == s.Cause
	elsewhere := said.Evidence != task.H(task.TagEvidence, round.Evidence)
	return shown, shown || elsewhere && said.Verdict == word, task.Amount(c.Member(s.Node).Seats) * each
}

// finders are the verifiers whose FAULT about a round's evidence was right, if
// it is faulty, and whoever accused it on the chain.
func finders(c *ledger.Case, r task.Round) (all []finder) {
	round := c.Round(r)
	all = witnesses(c, r)
	if round.Accuser != (task.Address{}) {
		all = append(all, finder{account: round.Accuser, weight: 1})
	}
	return all
}

// witnesses are the finders who had committed to their FAULT.
func witnesses(c *ledger.Case, r task.Round) (all []finder) {
	digest := task.H(task.TagEvidence, accused(c.Round(r)))
	for _, v := range c.Round(r).Reveals {
		if c.Judges(v.Node) && v.Verdict == task.Fault && v.Evidence == digest {
			m := c.Member(v.Node)
			all = append(all, finder{v.Node, m.Node.Operator, uint64(m.Seats)})
		}
	}
	return all
}

// accused is the evidence that a round's fault is about.
func accused(r *ledger.Round) []byte {
	if r.Other != nil {
		return r.Other.Evidence
	}
	return r.Evidence
}

// shared is money by weight. What does not divide is not paid.
func shared(money task.Amount, among []finder, why string) (paid []ledger.Payment) {
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

// bonusShared says whether a canary's bonus is some sum within the rules, shared by
// those who said FAULT. How much the pool held is not in the case.
func bonusShared(c *ledger.Case) bool {
	paid, among := c.View.Canary.Bonus, witnesses(c, task.PreRun)
	got, fits := total(paid)
	for lost := range task.Amount(len(among) + 1) { // less than a unit for each is left over
		money, ok := got.Add(lost)
		if fits && ok && money <= c.Params.Bonus && slices.Equal(paid, shared(money, among, ledger.WhyCanary)) {
			return true
		}
	}
	return false
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
