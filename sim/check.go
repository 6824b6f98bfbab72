package sim

import (
	"bytes"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
)

// The invariants. They are written a second time here, plainly, and share as
// little as they can with the code that they watch: a check that calls the
// function it checks would agree with its mistakes.

// facts are what the world knows and no node does.
type facts struct {
	enclaves map[string]*enclave // by the first bytes of their sealing key
	said     map[question]string // what each honest node has said to each question
	stakes   map[task.NodeID][]stakeAt
	settled  map[task.TaskID][]byte
	members  map[attemptKey][]byte
	canaries map[task.NodeID]bool // whose enclave ever had one
}

type question struct {
	node  task.NodeID
	about string
}

type stakeAt struct {
	height uint64
	amount task.Amount
}

type attemptKey struct {
	id      task.TaskID
	attempt uint32
}

func (f *facts) init() {
	f.enclaves, f.said, f.stakes = map[string]*enclave{}, map[question]string{}, map[task.NodeID][]stakeAt{}
	f.settled, f.members, f.canaries = map[task.TaskID][]byte{}, map[attemptKey][]byte{}, map[task.NodeID]bool{}
}

func (f *facts) enclave(e *enclave) {
	f.enclaves[string(e.keys.Seal[:32])] = e
	if e.canary {
		f.canaries[e.s.worker.id] = true
	}
}

func (f *facts) genesis(g ledger.Genesis) {
	for _, n := range g.Nodes {
		f.stakes[n.Node.ID()] = []stakeAt{{0, n.Bond}}
	}
}

// checkBlock runs what must hold after every block.
func (w *world) checkBlock(events []ledger.Event, txs int) {
	if txs > 0 || len(events) > 0 { // else no money can have moved
		w.checkSupply()
	}
	seen := map[task.TaskID]bool{}
	for _, e := range events {
		if seen[e.Task] {
			continue
		}
		seen[e.Task] = true
		if c, ok := w.chain.read().Case(e.Task); ok {
			w.checkSettledOnce(c)
			w.checkCommittee(c)
			w.checkExecutor(c)
			w.checkVerdicts(c)
			w.checkSlashes(c)
		}
	}
	w.noteStakes()
}

// All money there was is all money there is (spec §10.8).
func (w *world) checkSupply() {
	r := w.chain.read()
	if held, supply := r.Held(), r.Meta().Supply; held != supply {
		w.violate("supply is conserved", "block %d: %d held of %d", w.chain.height, held, supply)
	}
}

// A task is settled once, and its settlement pays out what was locked (§10.7).
func (w *world) checkSettledOnce(c *ledger.Case) {
	if c.Settlement == nil {
		return
	}
	raw := task.Encode(*c.Settlement)
	if old, ok := w.facts.settled[c.ID()]; ok && !bytes.Equal(old, raw) {
		w.violate("a task is settled once", "task %s was settled again", c.ID().Short())
	}
	w.facts.settled[c.ID()] = raw
	sum := c.Settlement.Kept + c.Settlement.Burned
	for _, p := range c.Settlement.Payments {
		sum += p.Amount
	}
	if locked := c.Escrow.Alice + c.Escrow.Bob + c.Escrow.Pot; sum != locked {
		w.violate("a settlement pays what was locked", "task %s: %d of %d", c.ID().Short(), sum, locked)
	}
	if c.Phase != ledger.Closed {
		w.violate("a settled task is closed", "task %s is %s", c.ID().Short(), c.Phase)
	}
}

// noteStakes keeps every node's bond at every height, for checkCommittee.
func (w *world) noteStakes() {
	for _, k := range w.workers {
		rec, _ := w.chain.read().Node(k.id)
		all := w.facts.stakes[k.id]
		if all[len(all)-1].amount != rec.Bond {
			w.facts.stakes[k.id] = append(all, stakeAt{w.chain.height, rec.Bond})
		}
	}
}

// The committee is whom the draw drew: with the stake of a whole epoch before,
// not of now, and fixed once the claims are closed (§3.2, §5.5).
func (w *world) checkCommittee(c *ledger.Case) {
	for _, m := range c.Members {
		epoch := c.SeededAt / w.params.EpochBlocks
		from := uint64(0) // what counted: the bond at the end of the epoch before the last
		if epoch >= 2 {
			from = (epoch - 1) * w.params.EpochBlocks
		}
		var stake task.Amount
		for _, s := range w.facts.stakes[m.Claim.Node] {
			if s.height < from || s.height == 0 {
				stake = s.amount
			}
		}
		if m.Stake > stake {
			w.violate("stake counts from the snapshot", "%s draws with %s, it had %s before block %d", w.name(m.Claim.Node), m.Stake, stake, from)
		}
	}
	if c.Phase >= ledger.Attesting && c.Phase < ledger.Closed {
		raw := task.Encode(c.Members)
		key := attemptKey{c.ID(), c.Attempt}
		if old, ok := w.facts.members[key]; ok && !bytes.Equal(old, raw) {
			w.violate("a committee is fixed", "task %s attempt %d", c.ID().Short(), c.Attempt)
		}
		w.facts.members[key] = raw
	}
}

// The executor owns the lowest ticket of those who were not passed over (§5.3).
func (w *world) checkExecutor(c *ledger.Case) {
	if c.View.Executor.IsZero() || c.Phase < ledger.Attesting {
		return
	}
	type drawn struct {
		hash task.Hash
		node task.NodeID
	}
	var tickets []drawn
	for _, m := range c.Members {
		for j := range m.Seats {
			tickets = append(tickets, drawn{task.H(task.TagTicket, m.Beta[:], task.U64(uint64(j))), m.Claim.Node})
		}
	}
	slices.SortFunc(tickets, func(a, b drawn) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	var order []task.NodeID
	for _, t := range tickets {
		if !slices.Contains(order, t.node) {
			order = append(order, t.node)
		}
	}
	if int(c.View.Number) >= len(order) || order[c.View.Number] != c.View.Executor {
		w.violate("the executor owns the lowest ticket", "task %s view %d: %s", c.ID().Short(), c.View.Number, w.name(c.View.Executor))
	}
}

// quorum is n−f for f = ⌊(n−1)/3⌋ (§6.2).
func quorum(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return n - (n-1)/3
}

// judges counts the seats that judge, and those of them that said a verdict to
// the round's evidence.
func judges(c *ledger.Case, round *ledger.Round, v task.Verdict) (said, all uint32) {
	digest := task.H(task.TagEvidence, round.Evidence)
	for _, m := range c.Members {
		passed := slices.ContainsFunc(c.Passed, func(p ledger.Pass) bool { return p.Executor == m.Claim.Node && p.Attempt == c.Attempt })
		if m.Claim.Node == c.View.Executor || passed {
			continue
		}
		all += m.Seats
		for _, r := range round.Reveals {
			if r.Node == m.Claim.Node && r.Verdict == v && r.Evidence == digest {
				said += m.Seats
			}
		}
	}
	return said, all
}

// Reveals count only once the set is closed, and open what was committed to;
// keys go out only after n−f seats said OK (§7.5, §8.1).
func (w *world) checkVerdicts(c *ledger.Case) {
	for _, round := range []*ledger.Round{&c.View.Pre, &c.View.Post} {
		for _, r := range round.Reveals {
			if round.ClosedAt == 0 {
				w.violate("reveals wait for the commitments", "task %s: %s revealed before", c.ID().Short(), w.name(r.Node))
			}
			if !slices.ContainsFunc(round.Commitments, func(k task.Commitment) bool {
				return k.Node == r.Node && k.Digest == task.H(task.TagCommitment, task.Encode(r))
			}) {
				w.violate("a reveal opens its commitment", "task %s: that of %s does not", c.ID().Short(), w.name(r.Node))
			}
			// An honest verifier says OK only to what answers its own nonce.
			k, m := w.byID[r.Node], c.Member(r.Node)
			ev, err := attest.ParseEvidence(round.Evidence)
			if round == &c.View.Pre && r.Verdict == task.OK && k.liar == nil && err == nil && ev.Digest() == r.Evidence &&
				!slices.Contains(ev.Nonces, attest.Nonce(m.Beta, r.Node)) {
				w.violate("evidence answers the verifier's nonce", "task %s: %s said OK to other evidence", c.ID().Short(), k.name)
			}
		}
	}
	if c.Phase == ledger.Releasing || c.Phase == ledger.Running || c.Phase == ledger.Reviewing {
		if ok, all := judges(c, &c.View.Pre, task.OK); ok < quorum(all) {
			w.violate("keys wait for a quorum", "task %s is %s with %d of %d seats", c.ID().Short(), c.Phase, ok, all)
		}
	}
}

// Nobody honest is slashed for a lie, whatever fails; and for silence only if
// something did fail (§10.4).
func (w *world) checkSlashes(c *ledger.Case) {
	for _, s := range c.Slashes {
		k := w.byID[s.Node]
		if k.liar != nil {
			continue
		}
		quiet := s.Cause == ledger.NoReveal || s.Cause == ledger.Silent ||
			s.Cause == ledger.BadEvidence && k.faulted && w.facts.canaries[k.id] // it could not explain its canary (spec §12.3)
		if !quiet || w.net.heals == 0 {
			w.violate("nobody honest is slashed", "%s lost %s for %s in task %s", k.name, s.Amount, s.Cause, c.ID().Short())
		}
	}
	for _, p := range c.Passed {
		if k := w.byID[p.Executor]; k.liar == nil && p.Slashed > 0 && w.net.heals == 0 && w.o.Honest {
			w.violate("nobody honest is slashed", "%s was passed over in a calm world: %s", k.name, p.Why)
		}
	}
	// And who lied about what the chain has seen to be faulty has paid.
	if c.Phase == ledger.Closed && c.View.Pre.Faulty != "" && len(passedOver(c, c.View.Executor)) == 0 && !w.paid(c, c.View.Executor) {
		w.violate("a liar pays", "task %s: %s showed faulty evidence", c.ID().Short(), w.name(c.View.Executor))
	}
}

func passedOver(c *ledger.Case, id task.NodeID) (all []ledger.Pass) {
	for _, p := range c.Passed {
		if p.Executor == id {
			all = append(all, p)
		}
	}
	return all
}

func (w *world) paid(c *ledger.Case, id task.NodeID) bool {
	return slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool { return s.Node == id })
}

// checkRelease: a key goes only to the untouched enclave of whoever executes,
// of which good evidence is on the chain or in the owner's hands (§8.1).
func (w *world) checkRelease(p *person, c *ledger.Case, box []byte) {
	e := w.facts.enclaves[string(box[:32])]
	switch {
	case e == nil:
		w.violate("keys go to attested enclaves", "%s sealed a key to no enclave that there is", p.name)
	case !e.genuine:
		w.violate("keys go to attested enclaves", "%s sealed a key to the tampered enclave of %s", p.name, e.s.name)
	case e.canary:
		w.violate("no key on a canary", "%s sealed a key to the enclave of %s", p.name, e.s.name)
	case e.s.worker.id != c.View.Executor || e.context.View != c.View.Number || e.context.Attempt != c.Attempt:
		w.violate("keys go to the executor", "%s sealed a key to %s; %s executes", p.name, e.s.name, w.name(c.View.Executor))
	}
}

// checkSaid: an honest node never says two things to one question, whatever
// crashes (§6.5.4).
func (w *world) checkSaid(k *worker, m node.Message) {
	if k.liar != nil {
		return
	}
	var about, what string
	switch {
	case m.Vote != nil:
		v := m.Vote.Vote
		about, what = string(task.Encode([]any{"vote", v.Task, v.Attempt, v.View, v.Stage})), string(task.Encode(v))
	case m.Commitment != nil:
		about, what = string(task.Encode([]any{"commitment", m.Commitment.Ballot})), string(m.Commitment.Digest[:])
	default:
		return
	}
	q := question{k.id, about}
	if old, ok := w.facts.said[q]; ok && old != what {
		w.violate("an honest node says one thing", "%s said two: %s", k.name, describe(m))
	}
	w.facts.said[q] = what
}

// checkReceipt: every closed case verifies offline (§11).
func (w *world) checkReceipt(c *ledger.Case) {
	report := receipt.Verify(receipt.New(c, []byte("proof")), func(_, _, _ []byte) error { return nil })
	for _, row := range report.Rows {
		if row.Status == receipt.Failed {
			w.violate("receipts verify", "task %s: %s: %s", c.ID().Short(), row.Name, row.Words)
		}
	}
}

// checkDeadlines: every task ends, and one that was posted when all was well
// ends well unless somebody lied about it (§6.2).
func (w *world) checkDeadlines() {
	for _, j := range w.jobs {
		c, ok := w.chain.read().Case(j.id)
		switch {
		case w.violation != "":
		case !ok:
			w.violate("every task ends", "task %s was never posted", j.id.Short())
		case c.Phase != ledger.Closed:
			w.violate("every task ends", "task %s is %s in attempt %d, view %d", j.id.Short(), c.Phase, c.Attempt, c.View.Number)
		case j.calm && w.o.Honest && c.Settlement.Fault != ledger.Nobody && j.outcome == task.RunOK:
			w.violate("honest work ends well", "task %s: %s", j.id.Short(), c.Settlement.Outcome)
		}
	}
}
