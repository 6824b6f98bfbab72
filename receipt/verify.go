package receipt

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// exam is one verification under way.
type exam struct {
	receipt Receipt
	c       *ledger.Case // the receipt's
	trust   Trust
	values  error // that the case is under other reference values than the file's
	report  Report
}

// finding is what a check says.
type finding struct {
	status Status
	words  string
}

func holds(format string, args ...any) finding {
	return finding{OK, fmt.Sprintf(format, args...)}
}

func fails(format string, args ...any) finding {
	return finding{Failed, fmt.Sprintf(format, args...)}
}

func idle(format string, args ...any) finding {
	return finding{NotApplicable, fmt.Sprintf(format, args...)}
}

// steps are the checks, in the order of the story. Each rests on at most one
// before it: without a committee that holds, say, it cannot be computed whose
// turn it was.
var steps = []struct {
	name, on string
	check    func(*exam) finding
}{
	{"state proof", "", (*exam).stateProof},
	{"task", "", (*exam).task},
	{"course", "task", (*exam).course},
	{"seed", "course", (*exam).seed},
	{"committee", "course", (*exam).committee},
	{"executor", "committee", (*exam).executor},
	{"verdicts", "executor", (*exam).verdicts},
	{"evidence", "executor", (*exam).evidence},
	{"key releases", "executor", (*exam).releases},
	{"result", "executor", (*exam).result},
	{"exit evidence", "executor", (*exam).exitEvidence},
	{"escrow", "task", (*exam).escrow},
	{"slashes", "executor", (*exam).slashes},
	{"settlement", "executor", (*exam).settlement},
	{"history", "course", (*exam).history},
}

// Trust is what the reader of a receipt must have from elsewhere: two questions about
// the chain that it trusts, answered by what it pinned before.
type Trust struct {
	// State says whether proof shows that key had value in a state of the chain, as
	// proof.Check does.
	State func(proof, key, value []byte) error
	// Beacon says whether the chain's group has signed an input: the Verify of its
	// key.
	Beacon func(input task.Hash, s beacon.Signature) error
}

// Verify does every check again, whatever the chain has said (spec §11).
func Verify(r Receipt, trust Trust) Report {
	e := &exam{receipt: r, c: &r.Case, trust: trust}
	c := e.c
	e.values = c.Under(r.Reference)
	e.report = Report{Task: c.ID(), Chain: plain(c.Task.Chain), Function: c.Task.Function, Executor: c.View.Executor, Parties: c.Parties(), Vouched: vouched}
	if c.Settlement != nil {
		e.report.Outcome = c.Settlement.Outcome
	}
	if c.View.Result != nil {
		e.report.Output = c.View.Result.Result.Output
	}
	broken := map[string]bool{}
	for _, s := range steps {
		f := idle("not checked, since %q does not hold", s.on)
		if !broken[s.on] {
			f = s.check(e)
		}
		broken[s.name] = broken[s.on] || f.status == Failed
		e.report.Rows = append(e.report.Rows, Row{s.name, f.status, plain(f.words)})
	}
	return e.report
}

// vouched is what no arithmetic binds, in words. Field by field it stands in
// TestEveryFieldIsBound, which finds what is missing there.
var vouched = []string{
	"Who holds the shares of the beacon's key: that the beacons are the key's was checked.",
	"How many tasks were open when this one was posted, and with it the price of room, up to what the task takes; and how much of the stake its policy suited.",
	"The stakes, each node's and the total: the draw was repeated with these figures. That none is above the total, and all together are not, was checked.",
	"The rules' numbers: they are the genesis's.",
	"That the reference values of good enclaves were in force when the draw was seeded. That they are those which the case names was checked.",
	"Which TEE each node registered, what it showed of its machine then, its address and architecture.",
	"That an executor who was passed over was silent, and that a file did not come to who declined. That the one had its time, that the other signed it, and that evidence was faulty, was checked.",
	"What each node had left to lose, and whether that was enough for another turn: that nobody lost or got more than the rules say was checked.",
	"Slashes in earlier attempts, and for two words that exclude each other: their proofs are not in the file.",
	"Heights, as far as one does not follow from another, and what the history tells of who was waited for.",
	"What is in the sealed keys, which nobody can open any more.",
}

func (e *exam) caveat(format string, args ...any) {
	e.report.Caveats = append(e.report.Caveats, plain(fmt.Sprintf(format, args...)))
}

// stateProof: exactly this case stands on the chain.
func (e *exam) stateProof() finding {
	if err := e.receipt.checkVersion(); err != nil {
		return fails("%v", err)
	}
	if e.values != nil {
		return fails("%v", e.values)
	}
	key, value := e.receipt.slot()
	if e.trust.State == nil {
		return fails("nobody was given to check it")
	}
	if err := e.trust.State(e.receipt.Proof, key, value); err != nil {
		return fails("that this case stands on the chain is not proven: %v", err)
	}
	return holds("the validators of chain %s signed a state that holds this case, bit for bit, under these reference values", e.c.Task.Chain)
}

// task: what was posted is well-formed, and names this function and chain; and
// the file brings the reference values that the case names.
func (e *exam) task() finding {
	c := e.c
	if e.values != nil {
		return fails("%v", e.values)
	}
	for _, check := range []func() error{c.Params.Check, c.Reference().Check, c.Task.Check, c.Function.Check, func() error { return c.Params.CheckFunction(c.Function) }} {
		if err := check(); err != nil { // each rests on those before it
			return fails("%v", err)
		}
	}
	if err := ledger.CheckParties(c.Task); err != nil {
		return fails("%v", err)
	}
	if err := ledger.CheckRequest(c.Task, c.Function.Manifest); err != nil {
		return fails("%v", err)
	}
	switch id := c.Function.ID(); {
	case c.Task.Function != id:
		return fails("the task is for function %s, the receipt shows %s", c.Task.Function.Short(), id.Short())
	case c.Task.Chain != c.Params.Chain:
		return fails("the task is for chain %q, the rules are of %q", c.Task.Chain, c.Params.Chain)
	}
	for _, w := range c.Function.Manifest.Weaknesses() {
		e.caveat("The requester has accepted a weakness (%s): %s.", w, ledger.Weakness(w))
	}
	return holds("task %s asks for function %s (%s %s) on chain %s; both are well-formed, and fit",
		c.ID().Short(), c.Task.Function.Short(), c.Function.Manifest.Name, c.Function.Manifest.Version, c.Task.Chain)
}

// course: the case is closed, and its heights are such as the rules make them
// (spec §1.5, §4.2, §6.3).
func (e *exam) course() finding {
	c, v, s := e.c, &e.c.View, e.c.Settlement
	if c.Phase != ledger.Closed || c.Stage != ledger.Settled || c.Deadline != 0 || s == nil {
		return fails("the case is not closed: a receipt is of a settled task")
	}
	seats := c.Task.Seats // of the first attempt; the one after too few seats asks for half as many more
	for range min(c.Attempt, task.MaxSeats) {
		if seats < c.Seats {
			seats = ledger.Larger(seats)
		}
	}
	distance := c.Foresight.Kind.Distance()
	began, latest := began(c, v.Number), latest(c, v.Number)
	switch {
	case c.Attempt >= c.Params.MaxAttempts || c.Seats != seats:
		return fails("attempt %d with %d seats expected: the rules allow %d attempts, and this one has %d seats", c.Attempt, c.Seats, c.Params.MaxAttempts, seats)
	case c.SeededAt != c.Began+distance || c.Began < c.PostedAt+uint64(c.Attempt)*(c.Params.ClaimBlocks+distance) || c.Attempt == 0 && c.Began != c.PostedAt:
		return fails("attempt %d was called for in block %d and seeded in block %d; of a task of block %d that cannot be", c.Attempt, c.Began, c.SeededAt, c.PostedAt)
	case c.Epoch != c.SeededAt/c.Params.EpochBlocks:
		return fails("the stakes are of epoch %d, the seed's block %d is not in it", c.Epoch, c.SeededAt)
	case v.Executor.IsZero() && s.Height != c.LastClaims():
		return fails("claims were waited for until block %d, the case ended in %d", c.LastClaims(), s.Height)
	case !v.Executor.IsZero() && (v.StartedAt < began || v.StartedAt > latest):
		return fails("view %d began in block %d and should have in %d to %d", v.Number, v.StartedAt, began, latest)
	case v.Result == nil && !blank(ledger.View{ResultAt: v.ResultAt, ExitNonce: v.ExitNonce, ExitBeacon: v.ExitBeacon, ExitAt: v.ExitAt, Exit: v.Exit, ExitSignature: v.ExitSignature}):
		return fails("there is a review of an exit, but no result before it")
	case v.Late != nil || v.Gone != nil:
		return fails("a word that an enclave ran out of time, or is gone, waits for others' words, and the case is settled")
	case v.Result != nil && (v.ResultAt == 0 || v.ExitNonce.IsZero() && s.Outcome != ledger.ForgedResult && s.Outcome != ledger.BadEnclave):
		return fails("there is a result, but its block or the exit's nonce is missing")
	}
	switch {
	case !ascending(c.PostedAt, c.Began, c.SeededAt, v.StartedAt, v.Pre.ClosedAt, v.Pre.OpenedAt, v.Pre.DecidedAt, v.ResultAt, v.ExitAt, s.Height):
		return fails("the blocks of the phases do not ascend")
	}
	return holds("posted in block %d, settled in block %d, attempt %d; the blocks between are in order", c.PostedAt, s.Height, c.Attempt)
}

func blank(v ledger.View) bool { return bytes.Equal(task.Encode(v), task.Encode(ledger.View{})) }

// ascending leaves out what did not happen, whose height is 0.
func ascending(heights ...uint64) bool {
	return slices.IsSorted(slices.DeleteFunc(heights, func(h uint64) bool { return h == 0 }))
}

// seed: the draw's seed and the exit's nonce are made of the beacons that the chain's
// group has signed for their blocks, and could not be chosen (spec §4.2, §4.3).
func (e *exam) seed() finding {
	c, v := e.c, &e.c.View
	if e.trust.Beacon == nil {
		return fails("nobody was given to check it")
	}
	if err := c.Foresight.Check(); err != nil {
		return fails("%v", err)
	}
	check := func(height uint64, s beacon.Signature) error {
		if err := e.trust.Beacon(beacon.Input(c.Params.Chain, height), s); err != nil {
			return fmt.Errorf("what stands as the beacon of block %d is none: %w", height, err)
		}
		return nil
	}
	if err := check(c.SeededAt, c.Beacon); err != nil {
		return fails("%v", err)
	}
	if c.Foresight.Alone() {
		e.caveat("Validator %s alone knew the beacons in advance: it could keep a task back until the draw suited it.", c.Foresight.Holder.Short())
	}
	if v.ExitNonce.IsZero() {
		if v.ExitAt != 0 || !v.ExitBeacon.IsZero() {
			return fails("there is a beacon for an exit's nonce, and no nonce")
		}
		return holds("%s. The seed is of the beacon of block %d, which the group's key has signed", c.Foresight, c.SeededAt)
	}
	if err := check(v.ExitAt, v.ExitBeacon); err != nil {
		return fails("%v", err)
	}
	switch {
	case v.ExitAt != v.ResultAt+c.Foresight.Kind.Distance():
		return fails("the result is of block %d, the exit's nonce of the beacon of block %d", v.ResultAt, v.ExitAt)
	case v.ExitNonce != attest.ExitNonce(v.Result.Result.Hash(), v.ExitBeacon.Value()):
		return fails("the exit's nonce is not made of the result and the beacon of block %d", v.ExitAt)
	}
	return holds("%s. The seed is of the beacon of block %d, the exit's nonce of that of block %d; the group's key has signed both", c.Foresight, c.SeededAt, v.ExitAt)
}

// committee: every member won its seats, in a draw that anyone can repeat
// (spec §5.4).
func (e *exam) committee() finding {
	c := e.c
	nodes, chips := map[task.NodeID]bool{}, map[task.Key]bool{}
	var stake task.Amount
	for _, m := range c.Members {
		id := m.Claim.Node
		var fits bool
		if stake, fits = stake.Add(m.Stake); !fits || stake > c.TotalStake {
			return fails("up to node %s, members stake %s of a total of %s", id.Short(), stake, c.TotalStake)
		}
		if nodes[id] || chips[m.Node.TEE.Identity] {
			return fails("node %s, or its TEE, is there twice", id.Short())
		}
		nodes[id], chips[m.Node.TEE.Identity] = true, true
		if err := drawn(c, m); err != nil {
			return fails("%v", err)
		}
	}
	n, enough := c.Roster().Total(), c.Enough()
	switch {
	case c.View.Executor.IsZero() && enough:
		return fails("the chain saw no committee; but %d nodes with %d seats are one", len(c.Members), n)
	case c.View.Executor.IsZero():
		return holds("in the last of %d attempts %d nodes with %d seats proved by VRF that they were drawn: too few, the task wants %d seats and two nodes",
			c.Attempt+1, len(c.Members), n, c.Task.MinSeats)
	case !enough:
		return fails("%d nodes with %d seats; the task wants %d seats, all but one in other hands than the executor's", len(c.Members), n, c.Task.MinSeats)
	}
	return holds("%d nodes with %d seats proved by VRF that they were drawn; %d were expected, %d needed", len(c.Members), n, c.Seats, c.Task.MinSeats)
}

// drawn is the claim's validity, computed again.
func drawn(c *ledger.Case, m ledger.Member) error {
	id := m.Claim.Node
	if err := m.Node.Check(); err != nil {
		return fmt.Errorf("node %s: %w", id.Short(), err)
	}
	if m.Node.ID() != id || m.Claim.Task != c.ID() || m.Claim.Attempt != c.Attempt {
		return fmt.Errorf("the claim of %s is of another node, task or attempt", id.Short())
	}
	again, err := c.Admit(m.Node, m.Profile, m.Stake, m.Claim)
	switch {
	case err != nil:
		return fmt.Errorf("node %s was not drawn: %w", id.Short(), err)
	case again.Seats != m.Seats || again.Beta != m.Beta:
		return fmt.Errorf("node %s drew %d seats; the receipt gives it %d, or another draw", id.Short(), again.Seats, m.Seats)
	}
	return nil
}

// executor: it was the turn of whom the chain names, and of those before, and
// what was said of their evidence is as it had to be (spec §5.3, §6.4).
func (e *exam) executor() finding {
	c, v := e.c, &e.c.View
	if err := inOrder(c); err != nil {
		return fails("%v", err)
	}
	if v.Executor.IsZero() {
		rest := *v
		if !blank(rest) || len(passed(c)) > 0 || slices.ContainsFunc(c.Declined, func(d ledger.Declined) bool { return d.From > 0 }) {
			return fails("there is work of an executor, but none is named")
		}
		return idle("no committee, so nobody executed")
	}
	// An executor who failed last is in the list too.
	if n := uint32(len(turns(c))); n != v.Number && n != v.Number+1 || v.Number >= ledger.MaxTurns || uint32(len(passed(c))) > c.Params.MaxViews {
		return fails("view %d after %d turns, in %d of which the executor was passed over", v.Number, n, len(passed(c)))
	}
	after, r := c.SeededAt+c.Params.ClaimBlocks, c.Roster()
	var before []string
	for i, t := range turns(c) {
		if id, ok := r.Next(uint32(i)); !ok || t.view != uint32(i) || id != t.who || !ascending(after, t.closed, t.ended, c.Settlement.Height) {
			return fails("%s is said to have had its turn in view %d, until block %d; that was not its turn", t.who.Short(), t.view, t.ended)
		}
		after = t.ended
		before = append(before, fmt.Sprintf("%s (%s)", t.who.Short(), t.why))
	}
	for _, p := range passed(c) {
		if err := passedRightly(c, p); err != nil {
			return fails("%s, passed over in view %d: %v", p.Executor.Short(), p.View, err)
		}
	}
	if id, ok := r.Next(v.Number); !ok || id != v.Executor {
		return fails("%s executed, but the turn was %s's", v.Executor.Short(), id.Short())
	}
	if len(before) > 0 {
		return holds("%s had the ticket of view %d; before it, says the chain: %s", v.Executor.Short(), v.Number, strings.Join(before, ", "))
	}
	return holds("%s held the lowest ticket", v.Executor.Short())
}

// inOrder: the views of each attempt count up from 0, and those of earlier
// attempts were over when the last one began.
func inOrder(c *ledger.Case) error {
	before := ledger.Pass{Height: c.PostedAt}
	for i, p := range c.Passed {
		again := i > 0 && p.Attempt == before.Attempt && p.View <= before.View
		if again || p.Attempt < before.Attempt || p.Attempt > c.Attempt || p.Height < before.Height || p.Attempt < c.Attempt && p.Height > c.Began {
			return fmt.Errorf("%s is said to have been passed over in attempt %d, view %d, block %d; that is out of order", p.Executor.Short(), p.Attempt, p.View, p.Height)
		}
		before = p
	}
	nodes, r := map[task.NodeID]bool{}, c.Roster()
	for _, d := range c.Declined {
		m, in := r.Member(d.Decline.Node)
		switch {
		case !in || nodes[d.Decline.Node] || len(m.Tickets()) == 0 || d.Decline.Task != c.ID() || d.Decline.Attempt != c.Attempt:
			return fmt.Errorf("%s is said to have declined twice, or what was not its to decline", d.Decline.Node.Short())
		case d.Decline.Reason != task.Pledged && d.Decline.Check(c.Member(d.Decline.Node).Node.Peer) != nil:
			return fmt.Errorf("%s has not signed its decline", d.Decline.Node.Short())
		case d.Turn != (d.From > 0 && r.At(d.From-1).Executor == d.Decline.Node):
			return fmt.Errorf("%s is said to have declined in its turn, or out of it, and did not", d.Decline.Node.Short())
		case d.Height < c.SeededAt || d.Height > c.Settlement.Height || d.From > c.View.Number+1 || d.From > 0 && d.Height < began(c, d.From-1) || !d.Turn && d.Height > over(c, d.From):
			return fmt.Errorf("the decline of %s in block %d is out of order", d.Decline.Node.Short(), d.Height)
		case d.Turn && d.Height > latest(c, d.From-1)+c.DeclineTime():
			return fmt.Errorf("%s declined in block %d; its time for that was over", d.Decline.Node.Short(), d.Height)
		case d.Decline.Reason == task.Pledged && (!d.Turn || d.Height > latest(c, d.From-1) || d.Decline.Party != 0 || d.Decline.Signature != task.Signature{}):
			return fmt.Errorf("%s is said to have too little at stake for its turn, and not when that began, or by itself", d.Decline.Node.Short())
		}
		nodes[d.Decline.Node] = true
	}
	return nil
}

// turn is one of the last attempt's that is over.
type turn struct {
	view          uint32
	who           task.NodeID
	why           string
	closed, ended uint64 // blocks; closed is 0 unless its commitments were
}

// turns are those that are over, in the order of their views: an executor declined
// or was passed over.
func turns(c *ledger.Case) (all []turn) {
	for _, p := range passed(c) {
		all = append(all, turn{p.View, p.Executor, explain.Cause(p.Why), p.Pre.ClosedAt, p.Height})
	}
	for _, d := range c.Declined {
		if d.Turn && d.From > 0 {
			all = append(all, turn{d.From - 1, d.Decline.Node, "declined: " + explain.Lack(d.Decline.Lack), 0, d.Height})
		}
	}
	slices.SortStableFunc(all, func(a, b turn) int { return cmp.Compare(a.view, b.view) })
	return all
}

// began is the block in which a view began: when the one before was over. Claims
// closed at the end of one of some blocks: began is the first, latest the last.
func began(c *ledger.Case, view uint32) uint64 {
	for _, t := range turns(c) {
		if t.view+1 == view {
			return t.ended
		}
	}
	return c.SeededAt + c.Params.ClaimBlocks
}

func latest(c *ledger.Case, view uint32) uint64 {
	if view == 0 {
		return c.LastClaims()
	}
	return began(c, view)
}

// over is the last block of what came before a view: of the election, or of the
// view before it.
func over(c *ledger.Case, view uint32) uint64 {
	if view == 0 || slices.ContainsFunc(turns(c), func(t turn) bool { return t.view+1 == view }) {
		return latest(c, view)
	}
	return c.Settlement.Height
}

// passed are the executors that the last committee passed over.
func passed(c *ledger.Case) (all []ledger.Pass) {
	for _, p := range c.Passed {
		if p.Attempt == c.Attempt {
			all = append(all, p)
		}
	}
	return all
}

// gone says whether the executor of the last view declined or was passed over too.
func gone(c *ledger.Case) bool { return len(turns(c)) > int(c.View.Number) }

// asItWas is the case when an executor of the last committee was passed over.
func asItWas(c *ledger.Case, p ledger.Pass) *ledger.Case {
	was := *c
	was.View = ledger.View{Number: p.View, Executor: p.Executor, StartedAt: began(c, p.View), Pre: p.Pre}
	return &was
}

// passedRightly holds what was said of an executor against the reason why it
// was passed over. Silence itself nobody can show; that it had its time, and what
// the chain knew of it then, are in the case.
func passedRightly(c *ledger.Case, p ledger.Pass) error {
	was := asItWas(c, p)
	if err := spoken(was); err != nil {
		return err
	}
	if err := paired(was); err != nil {
		return err
	}
	nothing := !p.Pre.HasPair()
	switch {
	case !ascending(was.View.StartedAt, p.Pre.ClosedAt, p.Pre.OpenedAt, p.Pre.DecidedAt, p.Height):
		return fmt.Errorf("the blocks of its round do not ascend")
	case p.Pre.Faulty != (p.Why == ledger.WasFaulty):
		return fmt.Errorf("faulty evidence is the only reason where it is one: it says %s", p.Why)
	case p.Why == ledger.WasAbsent && (!nothing || p.Height < was.AttestBy()):
		return fmt.Errorf("it had shown evidence, or its time for that was not over in block %d", p.Height)
	case p.Why == ledger.FoundSilent && (!nothing || p.Pre.Progress >= ledger.Sealed || p.Height < was.SkipFrom()):
		return fmt.Errorf("its committee cannot pass it over, with its evidence there or before block %d", was.SkipFrom())
	case p.Why == ledger.DidNotOpen && (nothing || p.Pre.Progress >= ledger.Opened || p.Pre.Progress < ledger.Sealed || p.Height < was.AttestBy()):
		return fmt.Errorf("it had opened its pair, or its time for that was not over in block %d", p.Height)
	case p.Why == ledger.BroughtNothing && (p.Pre.Progress < ledger.Decided || p.Height < was.View.StartedAt+c.Params.Blocks(c.Function.Manifest.LateMillis())+c.Params.RunGraceBlocks):
		return fmt.Errorf("it was not found good, or its time to run was not over in block %d", p.Height)
	case !slices.Contains(reasons, p.Why):
		return fmt.Errorf("%s is no reason to pass anybody over", p.Why)
	case p.View == c.View.Number && !bytes.Equal(task.Encode(p.Pre), task.Encode(c.View.Pre)):
		return fmt.Errorf("two different records of its round")
	}
	if err := gaveUp(was, p); err != nil {
		return err
	}
	return outOfTime(was, p)
}

// reasons are those for which an executor may be passed over.
var reasons = []ledger.Cause{ledger.WasFaulty, ledger.WasAbsent, ledger.FoundSilent, ledger.DidNotOpen, ledger.BroughtNothing, ledger.RanOutOfTime, ledger.GaveUp}

// gaveUp: who is said to have given up has said so, after it was found good; nobody
// else can say it, since it costs as much as silence (spec §6.4.9).
func gaveUp(was *ledger.Case, p ledger.Pass) error {
	switch said := p.Why == ledger.GaveUp; {
	case said != (p.Gone != nil):
		return fmt.Errorf("that an executor gave up is said by the chain alone, or by the executor alone")
	case !said:
		return nil
	case p.Gone.Task != was.ID() || p.Gone.Attempt != p.Attempt || p.Gone.Node != p.Executor || p.Gone.Reason != task.Gone || p.Pre.Progress < ledger.Decided:
		return fmt.Errorf("it had to be found good, and to give up this task itself")
	}
	return p.Gone.Check(was.Member(p.Executor).Node.Peer)
}

// outOfTime: who is said to have run out of time has its enclave's word for it,
// and paid nothing (spec §6.4.8).
func outOfTime(was *ledger.Case, p ledger.Pass) error {
	switch said := p.Why == ledger.RanOutOfTime; {
	case said != (p.Result != nil):
		return fmt.Errorf("that an enclave ran out of time is said by the chain alone, or by the enclave alone")
	case !said:
		return nil
	case p.Result.Result.Outcome != task.OutOfTime || p.Pre.Faulty || p.Pre.Progress < ledger.Decided:
		return fmt.Errorf("its enclave, which had to be found good, is said to have run out of time")
	}
	return was.CheckResult(*p.Result)
}

// releases: the parties' keys went to this view's enclave (spec §8.2). What is
// in them nobody can see here; that there is none is no fault unless the executor has
// called, since parties hand their keys to it directly.
func (e *exam) releases() finding {
	c, v := e.c, &e.c.View
	digest := task.H(task.TagEvidence, c.Genuine())
	parties := c.Parties()
	var who []string
	switch called := v.Called(); {
	case !called && (len(v.Releases) > 0 || v.CalledAt != 0):
		return fails("there is a release, or a block of a call, and nobody called for keys")
	case called && (v.Pre.DecidedAt == 0 || v.CalledAt < v.Pre.DecidedAt || v.CalledAt > c.CallBy()):
		return fails("the owners were called in block %d; their time for that began when the enclave was found good, in block %d, and ended with block %d", v.CalledAt, v.Pre.DecidedAt, c.CallBy())
	case called:
		if err := c.CheckCall(task.Call{Ballot: c.Ballot(), Seal: v.Seal}); err != nil {
			return fails("%v", err)
		}
	}
	for i, r := range v.Releases {
		twice := slices.ContainsFunc(v.Releases[:i], func(o task.Release) bool { return o.Party == r.Party })
		switch {
		case int(r.Party) >= len(parties) || !parties[r.Party].Releases:
			return fails("party %d has released, and the task has no key of it", r.Party)
		case twice || len(r.Sealed) == 0 || len(r.Sealed) > task.MaxSealed:
			return fails("a release of party %d is malformed or stands twice", r.Party)
		case r.Task != c.ID() || r.Attempt != c.Attempt || r.View != v.Number || r.Evidence != digest:
			return fails("party %d released the key for another view or to another enclave", r.Party)
		}
		who = append(who, "the "+parties[r.Party].Role.String())
	}
	switch {
	case len(who) > 0:
		return holds("sealed to the attested enclave: the key of %s", strings.Join(who, " and "))
	case v.Result != nil:
		return idle("no release is on the chain; the parties gave their keys to the executor directly")
	}
	return idle("no key was released")
}

// result: the attested enclave has signed it (spec §9.5).
func (e *exam) result() finding {
	c, s := e.c, e.c.View.Result
	if s == nil {
		return idle("the task ended without a result")
	}
	if err := c.CheckResult(*s); err != nil {
		return fails("%v", err)
	}
	r := s.Result
	return holds("the enclave signed: %s, %d of %d gas, output of %d bytes with SHA-256 %s", r.Outcome, r.Gas, c.Task.GasLimit, r.Size, r.Output)
}

// escrow: what was locked is what the rules say (spec §10.1).
func (e *exam) escrow() finding {
	c := e.c
	gas, ok := task.GasCost(c.Task.GasLimit, c.Task.GasPrice)
	work, ok2 := task.Sum(gas, c.Task.Fee, c.Function.Manifest.Royalty)
	fixed, ok3 := gas.MulDiv(c.Params.FixedPPM, 1_000_000)
	promise, ok4 := fixed.Add(c.Task.Fee)
	if !ok || !ok2 || !ok3 || !ok4 {
		return fails("the task's amounts are over 2^64-1 base units")
	}
	if least, fits := c.Params.SeatFee.MulDiv(uint64(c.Task.Seats), 1); !fits || c.Task.Fee < least || work-c.Task.Fee > c.Params.Cap(c.Task.Seats) {
		return fails("%d seats must get at least %s, and cannot answer for gas and royalty of %s", c.Task.Seats, least, work-c.Task.Fee)
	}
	if work > c.Params.MinBond {
		return fails("%s are more than an executor of the least bond, %s, answers for", work, c.Params.MinBond)
	}
	if err := c.CheckRoom(); err != nil {
		return fails("%v", err)
	}
	room := c.Escrow.Room
	if want := []task.Amount{work, 0, promise}; !slices.Equal(c.Escrow.Locks, want) { // the data are the requester's own
		return fails("locked were, by party, %v; the rules ask for %v", c.Escrow.Locks, want)
	}
	return holds("locked: %s", amounts(named{work, "of the requester"}, named{room, "of the requester for room"}, named{promise, "of the code owner's bond"}))
}

// settlement: the end follows from the case, the payments follow from the end,
// and they are all there was (spec §10.2).
func (e *exam) settlement() finding {
	c, s := e.c, *e.c.Settlement
	end, err := ending(c)
	if err != nil {
		return fails("%v", err)
	}
	if s.Outcome != end.Outcome {
		return fails("the chain says %s, the case says %s", s.Outcome, end.Outcome)
	}
	again := ledger.Settle(c, end, s.Height)
	if !bytes.Equal(task.Encode(again), task.Encode(s)) {
		return fails("the settlement, repeated, pays otherwise or faults another")
	}
	paid := map[ledger.Due]task.Amount{}
	for _, p := range s.Payments {
		paid[p.Why] += p.Amount // each in total at most what was paid in all
	}
	spent, ok := total(s.Payments)
	kept, ok4 := task.Sum(s.Kept...)
	all, ok2 := task.Sum(spent, kept, s.Burned, s.Rent)
	if locked, ok3 := c.Escrow.Sum(); !ok4 || !ok || !ok2 || !ok3 || locked != all {
		return fails("%s were locked, %s were paid or kept", locked, all)
	}
	return holds("%s, at fault: %s. Paid: %s. To the last unit what was locked: %s", s.Outcome, explain.Fault(c), amounts(
		named{paid[ledger.WhyExecutor], "to the executor"}, named{paid[ledger.WhyVerifier], "to verifiers"},
		named{paid[ledger.WhyRoyalty], "to the code owner"}, named{paid[ledger.WhyRefund], "back to the requester"}, named{paid[ledger.WhyRoom], "back to the requester of the rent"}, named{s.Rent, "rent, burned"}, named{kept, "back into the code owner's bond"}, named{s.Burned, "burned"}), all)
}

// runs is how an enclave's outcome ends a case (spec §10.2).
var runs = map[task.Outcome]ledger.Outcome{
	task.RunOK:     ledger.Completed,
	task.RunFailed: ledger.FunctionFailed,
}

// because is an end that is no party's fault.
func because(o ledger.Outcome) ledger.End { return ledger.End{Outcome: o} }

// abandoned is how a case ends with the last executor's turn.
func abandoned(c *ledger.Case) (none ledger.End, _ error) {
	withheld, blamed := c.Withheld()
	id, more := c.Roster().Turn(c.View.Number + 1)
	last := turns(c)[c.View.Number]
	switch {
	case c.View.Result != nil || last.ended != c.Settlement.Height:
		return none, fmt.Errorf("the last executor's turn was over, but that did not end the case")
	case blamed:
		return withheld, nil
	case more:
		return none, fmt.Errorf("the last executor's turn was over, but %s was not asked", id.Short())
	case c.Spent() && c.Attempt+1 < c.Params.MaxAttempts:
		return none, fmt.Errorf("nobody would execute after %d attempts, but %d are due", c.Attempt+1, c.Params.MaxAttempts)
	case c.Spent():
		return because(ledger.NoCommittee), nil
	}
	return because(c.Failure()), nil
}

// ending is how the case must end, by what is in it.
func ending(c *ledger.Case) (none ledger.End, _ error) {
	v, end := &c.View, c.Settlement
	lastAttempt := c.Attempt+1 == c.Params.MaxAttempts
	switch {
	case v.Executor.IsZero() && lastAttempt:
		return because(ledger.NoCommittee), nil
	case v.Executor.IsZero():
		return none, fmt.Errorf("no committee after %d attempts, but %d are due", c.Attempt+1, c.Params.MaxAttempts)
	case gone(c):
		return abandoned(c)
	case v.Result == nil && v.Pre.Faulty:
		return none, fmt.Errorf("the evidence was found faulty, yet its executor was not passed over")
	case v.Result == nil && v.Pre.Progress < ledger.Decided:
		// Silent or doubting without proof: as good as no committee.
		if v.Pre.Progress < ledger.Opened || c.Appraise(task.PreRun, c.Genuine()).Verdict != task.OK {
			return none, fmt.Errorf("the executor showed nothing that is good, yet it was not passed over")
		}
		if !lastAttempt {
			return none, fmt.Errorf("the committee decided nothing after %d attempts, but %d are due", c.Attempt+1, c.Params.MaxAttempts)
		}
		return because(ledger.NoCommittee), nil
	case v.Result == nil && !v.Called():
		return none, fmt.Errorf("the executor neither called for keys nor brought a result, yet it was not passed over")
	case v.Result == nil && end.Height-v.CalledAt < c.Params.ReleaseBlocks:
		return none, fmt.Errorf("parties have %d blocks for their keys, and were called in block %d", c.Params.ReleaseBlocks, v.CalledAt)
	case v.Result == nil:
		if party, waits := c.Unreleased(); waits {
			return c.Silent(party), nil
		}
		return none, fmt.Errorf("all keys were released and there is no result, yet nobody was passed over")
	case end.Outcome == ledger.ForgedResult && slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool { return s.Cause == ledger.TwoResults && s.Height == end.Height }):
		return because(ledger.ForgedResult), nil // in the same block it may also have come just after another end
	case v.Pre.Faulty:
		return because(ledger.BadEnclave), nil
	case len(v.Exit) == 0:
		return because(ledger.ExitSilent), nil
	case c.Appraise(task.PostRun, v.Exit).Verdict == task.Fault:
		return because(ledger.DirtyExit), nil
	}
	if r := v.Result.Result; r.Outcome == task.WrongKey {
		if c.RoleOf(r.Party) == 0 {
			return none, fmt.Errorf("the result blames party %d, and the task has none", r.Party)
		}
		return c.Silent(r.Party), nil
	}
	return because(runs[v.Result.Result.Outcome]), nil
}
