package ledger

import (
	"bytes"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// This file is the rounds of verdicts: commitments, reveals, what the chain
// makes of them, and canaries (spec §7.5, §7.6).
//
// Verifiers do the looking. The chain itself appraises only where that decides
// something: when somebody says FAULT, when a committee comes to no decision,
// when an executor calls its evidence a canary, and on an accusation. What it
// then computes beats any number of words.

// commitments takes the new ones of a set.
func (b *Block) commitments(set []task.Commitment) error {
	if len(set) == 0 {
		return task.Refuse("nothing-new", "no commitment in the set")
	}
	ballot := set[0].Ballot
	c, err := b.open(ballot.Task, ballot.Attempt)
	if err != nil {
		return err
	}
	r := ballot.Round
	due := r == c.PreRound() && c.Phase == Attesting || r == task.PostRun && c.exitDue()
	if !due || ballot.View != c.View.Number {
		return task.Refuse("ballot-stale", "no such commitments are awaited in phase %s, view %d", c.Phase, c.View.Number)
	}
	round := c.Round(r)
	if round.ClosedAt != 0 {
		return task.Refuse("commits-closed", "the %s commitments are closed", r)
	}
	added := 0
	seen := once{}
	for _, k := range set {
		m := c.Member(k.Node)
		known := slices.ContainsFunc(round.Commitments, func(o task.Commitment) bool { return o.Node == k.Node })
		if k.Ballot != ballot || m == nil || known || !c.Judges(k.Node) || !seen.first(k.Node) || !k.Signature.Verify(m.Node.Peer, k.Hash()) {
			continue
		}
		round.Commitments = append(round.Commitments, k)
		added++
	}
	if added == 0 {
		return task.Refuse("nothing-new", "no new valid commitment among %d", len(set))
	}
	was, seats := c.Deadline, c.committedSeats(r)
	if seats >= sortition.Quorum(c.JudgeSeats()) { // stragglers of a late quorum have no longer than those of an early one
		c.Deadline = min(c.Deadline, b.Height+b.Params.CommitBlocks)
	}
	b.saveCase(c, was, "%s commitments: %d new, %d so far", r, added, len(round.Commitments))
	if seats == c.JudgeSeats() {
		b.closeCommits(c, r)
	}
	return nil
}

// closeCommits closes a commit set: from here on reveals count, and a copied
// verdict is worth nothing (spec §7.5).
func (b *Block) closeCommits(c *Case, r task.Round) {
	was := c.Deadline
	c.Round(r).ClosedAt = b.Height
	c.Deadline = max(c.roundEnd(r), b.Height+b.Params.CommitBlocks)
	b.saveCase(c, was, "%s commitments are closed: %d of %d seats", r, c.committedSeats(r), c.JudgeSeats())
}

// roundEnd is the height by which a round must have come to something.
func (c *Case) roundEnd(r task.Round) uint64 {
	switch {
	case r == task.PostRun:
		return c.View.ResultAt + c.Params.ReviewBlocks
	case c.View.Canary != nil:
		return c.View.Canary.Height + c.Params.AttestBlocks
	}
	return c.AttestBy()
}

// show records the evidence of an executor whose committee does not answer:
// from then on the silence is not its own.
func (b *Block) show(s task.Showing) error {
	c, r, err := b.openRound(s.Ballot)
	if err != nil {
		return err
	}
	if err := c.CheckShowing(s); err != nil {
		return err
	}
	if len(c.Round(r).Evidence) > 0 {
		return task.Refuse("nothing-new", "the %s evidence is on the chain", r)
	}
	was := c.Deadline
	c.put(s)
	c.Deadline = max(c.Deadline, b.Height+b.Params.CommitBlocks)
	b.saveCase(c, was, "the executor shows its %s evidence to all", r)
	return nil
}

// put makes shown evidence the round's.
func (c *Case) put(s task.Showing) {
	round := c.Round(s.Ballot.Round)
	round.Evidence, round.Signature = s.Evidence, s.Signature
}

// openRound finds the case of a ballot whose round can still be spoken in.
func (b *Block) openRound(ballot task.Ballot) (*Case, task.Round, error) {
	c, err := b.open(ballot.Task, ballot.Attempt)
	if err != nil {
		return nil, 0, err
	}
	due := ballot.Round == c.PreRound() && c.Phase >= Attesting || ballot.Round == task.PostRun && c.exitDue()
	if !due || ballot != c.Ballot(ballot.Round) {
		return nil, 0, task.Refuse("ballot-stale", "nothing of the %s round is awaited in phase %s, view %d", ballot.Round, c.Phase, c.View.Number)
	}
	return c, ballot.Round, nil
}

// exitDue says whether the exit is judged: once its nonce is there, for before
// that its evidence could have been made at any time; and as long as no fault
// of the enclave itself makes it idle.
func (c *Case) exitDue() bool {
	return c.Phase == Reviewing && !c.View.ExitNonce.IsZero() && !c.View.Pre.Faulty
}

// verdicts takes the new reveals of a set, each of which must open a
// commitment, and acts as soon as enough have spoken.
func (b *Block) verdicts(t task.Verdicts) error {
	c, r, err := b.openRound(t.Shown.Ballot)
	if err != nil {
		return err
	}
	if err := c.CheckShowing(t.Shown); err != nil {
		return err
	}
	round := c.Round(r)
	if r == task.PreRun && round.Faulty && round.Other == nil && !bytes.Equal(t.Shown.Evidence, round.Evidence) {
		b.shownTwice(c, t.Shown)
	}
	all := slices.Clone(round.Reveals)
	for _, v := range t.Reveals {
		known := slices.ContainsFunc(all, func(o task.Reveal) bool { return o.Node == v.Node })
		if !known && v.Ballot == t.Shown.Ballot && c.CheckReveal(v) == nil {
			all = append(all, v)
		}
	}
	// An executor may sign evidence anew for members that came late: the one of
	// which most seats speak is the round's, until it is decided.
	better := c.speaking(all, t.Shown.Evidence) > c.speaking(all, round.Evidence) && !c.decided(r)
	if len(all) == len(round.Reveals) && !better {
		return task.Refuse("nothing-new", "no new valid reveal among %d", len(t.Reveals))
	}
	if better {
		c.put(t.Shown)
	}
	round.Reveals = all
	ok, bad := c.Tally(r, all)
	need := sortition.Quorum(c.JudgeSeats())
	b.saveCase(c, c.Deadline, "%s verdicts: OK %d, FAULT %d of %d seats, a quorum is %d", r, ok, bad, c.JudgeSeats(), need)
	b.lookAgain(c, r)
	switch {
	case round.Faulty:
		b.lastWords(c, r)
	case r == task.PostRun && c.allRevealed(r) && len(round.Evidence) > 0:
		b.endReview(c)
	case r != task.PostRun && ok >= need && c.Phase == Attesting:
		was := c.Deadline
		c.Phase, c.Deadline = Releasing, b.Height+b.Params.ReleaseBlocks
		b.saveCase(c, was, "the enclave is found good: owners may release their keys until block %d", c.Deadline)
		b.released(c)
	case r != task.PostRun && c.allRevealed(r) && c.Phase == Attesting && b.appraise(c, r, round.Evidence) == task.OK:
		b.redraw(c) // all have spoken, and too few for evidence that is good
	}
	return nil
}

// shownTwice is an executor whose verifiers judged other evidence than what it is
// accused of: it has signed both for one ballot, so nothing is explained as a
// canary any more.
func (b *Block) shownTwice(c *Case, judged task.Showing) {
	round := c.Round(task.PreRun)
	accused := c.Shown(task.PreRun)
	round.Other = &accused
	c.put(judged)
	c.View.Opening = nil
	b.saveCase(c, c.Deadline, "the executor has shown two pieces of evidence for one ballot")
}

// lookAgain lets the chain appraise a round's evidence once somebody says
// FAULT to it. One verifier is enough: proof beats any number of OKs
// (spec §10.4). At the exit, where no canary keeps verifiers awake, it always
// looks.
func (b *Block) lookAgain(c *Case, r task.Round) {
	round := c.Round(r)
	digest := task.H(task.TagEvidence, round.Evidence)
	doubted := r == task.PostRun || slices.ContainsFunc(round.Reveals, func(v task.Reveal) bool {
		return v.Verdict == task.Fault && v.Evidence == digest && c.Judges(v.Node)
	})
	if !round.Faulty && doubted && len(round.Evidence) > 0 {
		if b.appraise(c, r, round.Evidence) == task.Fault {
			b.foundFaulty(c, r)
		}
	}
}

// foundFaulty notes that a round's evidence is faulty. All who committed in it
// get the time to say what they had committed to, and its executor the time to
// show that it was a canary: as long as anyone has to be found good, since an
// honest one may be cut off for a while.
func (b *Block) foundFaulty(c *Case, r task.Round) {
	round, was := c.Round(r), c.Deadline
	round.Faulty = true
	c.Deadline = max(round.ClosedAt, b.Height) + b.Params.CommitBlocks
	if r == task.PreRun && b.Params.CanaryPPM > 0 {
		c.Deadline = max(c.Deadline, c.roundEnd(r))
	}
	b.saveCase(c, was, "the chain finds the %s evidence faulty itself; last words and an explanation are due by block %d", r, c.Deadline)
}

// lastWords ends a faulty round before its time when everyone has spoken and
// nothing more can come.
func (b *Block) lastWords(c *Case, r task.Round) {
	explained := r != task.PreRun || b.Params.CanaryPPM == 0 || c.View.Opening != nil
	if c.allRevealed(r) && explained && (r != task.PostRun || !c.View.Pre.Faulty) {
		b.endFaulty(c, r)
	}
}

// endFaulty decides a round whose evidence is faulty.
func (b *Block) endFaulty(c *Case, r task.Round) {
	switch {
	case r == task.PostRun:
		b.condemn(c, r, UncleanExit)
		b.settle(c, DirtyExit)
	case c.View.Opening != nil:
		b.endCanary(c)
	case c.Phase == Reviewing:
		b.condemn(c, r, BadEvidence)
		b.settle(c, BadEnclave)
	default:
		b.condemn(c, r, BadEvidence)
		b.passOver(c, Pass{Why: WasFaulty})
	}
}

// condemn slashes an executor for what it has signed, for the good of those
// who found it, and sends it away: a TEE that lies once is not asked again.
func (b *Block) condemn(c *Case, r task.Round, cause Cause) {
	id := c.View.Executor
	want, _ := b.atStake(id).MulDiv(b.Params.BadEvidencePPM, million)
	b.slash(c, id, r, cause, want, c.finders(r))
	b.jail(id, c.ID())
}

// faulty is the evidence that Faulty is about: the round's, or other that the
// executor has signed and somebody else was shown.
func (c *Case) faulty(r task.Round) []byte {
	if round := c.Round(r); round.Other != nil {
		return round.Other.Evidence
	}
	return c.Round(r).Evidence
}

// witnesses are the verifiers whose FAULT was right: they had committed to it
// when nobody knew what the others would say.
func (c *Case) witnesses(r task.Round) (all []share) {
	round := c.Round(r)
	digest := task.H(task.TagEvidence, c.faulty(r))
	for _, v := range round.Reveals {
		if c.Judges(v.Node) && v.Verdict == task.Fault && v.Evidence == digest {
			all = append(all, c.share(v.Node))
		}
	}
	return all
}

// finders are the witnesses and whoever accused the executor on the chain. An
// accuser may be the liar's friend: so it shares in what the executor loses,
// and never in what verifiers lose or in a canary's bonus.
func (c *Case) finders(r task.Round) []share {
	all := c.witnesses(r)
	if accuser := c.Round(r).Accuser; accuser != (task.Address{}) {
		all = append(all, share{account: accuser, weight: 1})
	}
	return all
}

// canary takes an executor's proof that its faulty evidence was a canary. The
// genuine evidence must come with it, by the same enclave, and the chain
// appraises that: or any liar could call itself a canary.
func (b *Block) canary(t task.Canary) error {
	c, r, err := b.openRound(t.Shown.Ballot)
	if err != nil {
		return err
	}
	round := c.Round(r)
	switch {
	case r != task.PreRun || c.Phase > Running: // a canary takes no key, so it has no result
		return task.Refuse("ballot-stale", "no canary is awaited in the %s round, phase %s", r, c.Phase)
	case round.ClosedAt == 0:
		return task.Refuse("commits-open", "a canary is revealed after the commitments are closed")
	case c.View.Opening != nil:
		return task.Refuse("nothing-new", "the canary is revealed")
	}
	if err := c.CheckShowing(t.Shown); err != nil {
		return err
	}
	if len(round.Evidence) == 0 {
		c.put(t.Shown)
	}
	if err := c.CheckCanary(t); err != nil {
		return err
	}
	was := c.Deadline
	c.View.Opening = &t
	round.Faulty = true // CheckCanary has appraised it
	c.Phase, c.Deadline = Attesting, max(round.ClosedAt+b.Params.CommitBlocks, b.Height+1)
	b.saveCase(c, was, "the executor shows that its evidence was a canary; last words are due by block %d", c.Deadline)
	b.lastWords(c, r)
	return nil
}

// CheckCanary says whether the pre-run evidence on the chain was faulty because
// the enclave's VRF said so (spec §7.6). That explains the one piece of evidence
// that an executor shows for a ballot. Of two it could keep one back, and explain
// whichever suits it.
func (c *Case) CheckCanary(t task.Canary) error {
	m := c.Member(c.View.Executor)
	if m == nil {
		return task.Refuse("ballot-stale", "nobody executes")
	}
	if c.Round(task.PreRun).Other != nil {
		return task.Refuse("canary-false", "the executor has shown other evidence for the same ballot")
	}
	shown, err := attest.ParseEvidence(c.faulty(task.PreRun))
	if err != nil {
		return task.Refuse("canary-false", "the evidence cannot be read, so no enclave made it")
	}
	if a := c.Appraise(task.PreRun, c.faulty(task.PreRun)); a.Verdict == task.OK {
		return task.Refuse("canary-false", "the evidence is good: there is nothing to explain")
	}
	genuine, err := attest.ParseEvidence(t.Genuine.Evidence)
	if err != nil || t.Genuine.Ballot.Round != task.Recheck || !t.Genuine.Signature.Verify(m.Node.Peer, t.Genuine.Hash()) {
		return task.Refuse("canary-false", "the genuine evidence is missing, or not signed by the executor for the second round")
	}
	if b := c.Ballot(task.Recheck); t.Genuine.Ballot != b {
		return task.Refuse("ballot-stale", "the genuine evidence is for another view, attempt or task")
	}
	if a := c.Appraise(task.Recheck, t.Genuine.Evidence); a.Verdict == task.Fault {
		return task.Refuse("canary-false", "the evidence that should be genuine is faulty: %s", a.Detail)
	}
	if !genuine.Keys.Equal(shown.Keys) {
		return task.Refuse("canary-false", "the genuine evidence is of another enclave")
	}
	want := c.Expected(task.PreRun, c.View.Number, m.Node)
	beta, err := vrf.Verify(vrf.PublicKey(genuine.Keys.VRF), attest.CanaryInput(want.Context), vrf.Proof(t.Proof))
	if err != nil || !attest.CanaryDue(beta, c.Params.CanaryPPM) {
		return task.Refuse("canary-false", "the enclave's VRF did not ask for a canary")
	}
	return nil
}

// endCanary pays those who saw the fault, takes from those who did not look,
// and begins the round in earnest, with the genuine evidence.
func (b *Block) endCanary(c *Case) {
	was := c.Deadline
	past := &PastCanary{Proof: c.View.Opening.Proof, Height: b.Height}
	if saw := c.witnesses(task.PreRun); len(saw) > 0 {
		past.Bonus = b.reward(c, min(b.Params.Bonus, b.meta.Pool), saw, WhyCanary)
		b.meta.Pool -= total(past.Bonus)
	}
	b.endRound(c, task.PreRun)
	genuine := c.View.Opening.Genuine
	past.Round = c.View.Pre
	c.View.Canary, c.View.Opening, c.View.Releases = past, nil, nil
	c.View.Pre = Round{Evidence: genuine.Evidence, Signature: genuine.Signature}
	c.Phase, c.Deadline = Attesting, b.Height+b.Params.CommitBlocks
	b.saveCase(c, was, "it was a canary: %s to those who saw it; now in earnest", total(past.Bonus))
}

// allRevealed says whether everyone who committed has spoken.
func (c *Case) allRevealed(r task.Round) bool {
	round := c.Round(r)
	for _, k := range round.Commitments {
		if c.Judges(k.Node) && !slices.ContainsFunc(round.Reveals, func(v task.Reveal) bool { return v.Node == k.Node }) {
			return false
		}
	}
	return round.ClosedAt != 0
}

// endRound settles what verifiers said in a round that is over (spec §10.4).
// The chain appraises only where they differ: for those who all say OK nobody
// has to look, and anybody still can, by an accusation.
func (b *Block) endRound(c *Case, r task.Round) {
	round := c.Round(r)
	if round.ClosedAt == 0 || len(round.Evidence) == 0 {
		return
	}
	digest := task.H(task.TagEvidence, round.Evidence)
	differ := round.Faulty || slices.ContainsFunc(round.Reveals, func(v task.Reveal) bool { return v.Verdict == task.Fault })
	for _, k := range slices.Clone(round.Commitments) {
		if !c.Judges(k.Node) {
			continue
		}
		seats := task.Amount(c.Member(k.Node).Seats)
		i := slices.IndexFunc(round.Reveals, func(v task.Reveal) bool { return v.Node == k.Node })
		switch {
		case i < 0 && b.Height < round.ClosedAt+b.Params.CommitBlocks: // it had time left
		case i < 0 && r == task.PostRun && c.View.Pre.Faulty: // it was not heard any more
		case i < 0 && round.Faulty && round.Other == nil:
			b.slash(c, k.Node, r, NoReveal, seats*b.Params.Miss, c.witnesses(r))
			b.missed(k.Node, c.ID())
		case i < 0:
			b.slash(c, k.Node, r, NoReveal, seats*b.Params.NoReveal, nil)
		case round.Reveals[i].Evidence != digest: // of what nobody has shown: neither paid nor slashed
		case !differ:
			b.logNode(k.Node, c.ID(), Verified, 0)
		default:
			b.judge(c, r, round.Reveals[i])
		}
	}
}

// judge holds one verdict against the chain's own appraisal.
func (b *Block) judge(c *Case, r task.Round, v task.Reveal) {
	seats := task.Amount(c.Member(v.Node).Seats)
	round := c.Round(r)
	truth := b.appraise(c, r, round.Evidence)
	switch {
	case truth == v.Verdict && truth == task.OK:
		b.logNode(v.Node, c.ID(), Verified, 0)
	case truth == v.Verdict:
		b.saw(v.Node)
		b.logNode(v.Node, c.ID(), FoundFault, 0)
	case truth == task.OK:
		b.slash(c, v.Node, r, FalseFault, seats*b.Params.FalseAlarm, nil)
	default:
		b.slash(c, v.Node, r, FalseOK, seats*b.Params.Miss, c.witnesses(r))
		b.missed(v.Node, c.ID())
	}
}

// speaking counts the seats whose reveals are about this evidence.
func (c *Case) speaking(reveals []task.Reveal, evidence []byte) (seats uint32) {
	digest := task.H(task.TagEvidence, evidence)
	for _, v := range reveals {
		if c.Judges(v.Node) && v.Evidence == digest {
			seats += c.Member(v.Node).Seats
		}
	}
	return seats
}

// decided says whether a round's evidence is fixed: the enclave was found good
// and keys may be on their way to it, the chain has found it faulty, or it came
// with the proof of a canary.
func (c *Case) decided(r task.Round) bool {
	return r == task.Recheck || r == task.PreRun && c.Phase > Attesting || c.Round(r).Faulty
}

// attestUp is the end of the time in which an enclave had to be found good.
func (b *Block) attestUp(c *Case) {
	r := c.PreRound()
	round := c.Round(r)
	switch {
	case round.ClosedAt == 0 && c.committedSeats(r) >= sortition.Quorum(c.JudgeSeats()):
		b.closeCommits(c, r)
	case b.Height < c.roundEnd(r) && !round.Faulty:
		b.extend(c, r, c.roundEnd(r))
	case len(round.Evidence) == 0:
		b.slash(c, c.View.Executor, r, Absent, b.Params.Absent, nil)
		b.passOver(c, Pass{Why: WasAbsent})
	case b.appraise(c, r, round.Evidence) == task.Fault:
		if round.ClosedAt == 0 { // an executor can explain a canary only after that
			b.closeCommits(c, r)
		}
		b.foundFaulty(c, r)
	default:
		// The evidence is good, and too few say so: that is the committee's doing.
		b.redraw(c)
	}
}

// redraw gives the task to a fresh committee: this one was silent, or doubts
// what cannot be proven (spec §10.4). It slashes nobody for a doubt.
func (b *Block) redraw(c *Case) {
	b.endRound(c, c.PreRound())
	b.nextAttempt(c, "too few judged evidence that is good")
}

// endReview decides on the exit once all have spoken or their time is up.
func (b *Block) endReview(c *Case) {
	round := &c.View.Post
	ok, _ := c.Tally(task.PostRun, round.Reveals)
	quorum := round.ClosedAt != 0 && ok >= sortition.Quorum(c.JudgeSeats())
	switch {
	case round.Faulty:
		b.endFaulty(c, task.PostRun)
	case quorum:
		b.settle(c, outcomeOf(c.View.Result.Result.Outcome))
	case len(round.Evidence) == 0:
		b.silent(c, task.PostRun)
		b.settle(c, ExitSilent)
	case b.appraise(c, task.PostRun, round.Evidence) == task.Fault:
		round.Faulty = true
		b.endFaulty(c, task.PostRun)
	default: // too few spoke; the exit is clean all the same
		b.settle(c, outcomeOf(c.View.Result.Result.Outcome))
	}
}
