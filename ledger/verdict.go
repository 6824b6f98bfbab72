package ledger

import (
	"slices"

	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// This file is the round of verdicts: commitments, reveals, the opening of the
// executor's pair, what the chain makes of them, and the exit (spec §7.5, §7.6).
//
// Verifiers do the looking. Before the run the chain itself appraises only where
// that decides something: when somebody doubts, when a committee comes to no
// decision, and on an accusation. What it then computes beats any number of words.

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
	if c.Phase != Attesting || ballot.View != c.View.Number {
		return task.Refuse("ballot-stale", "no commitments are awaited in phase %s, view %d", c.Phase, c.View.Number)
	}
	round := &c.View.Pre
	if round.Progress != Collecting {
		return task.Refuse("commits-closed", "the commitments are closed")
	}
	added, r := 0, c.Roster()
	before, seen := c.committed(r), once{}
	for _, k := range set {
		m := c.Member(k.Node)
		known := slices.ContainsFunc(round.Commitments, func(o task.Commitment) bool { return o.Node == k.Node })
		if k.Ballot != ballot || m == nil || known || !r.Judges(k.Node) || !seen.first(k.Node) || !k.Signature.Verify(m.Node.Peer, k.Hash()) {
			continue
		}
		round.Commitments = append(round.Commitments, k)
		added++
	}
	if added == 0 {
		return task.Refuse("nothing-new", "no new valid commitment among %d", len(set))
	}
	seats := c.committed(r)
	if seats >= r.Quorum() { // stragglers of a late quorum have no longer than those of an early one
		c.Deadline = min(c.Deadline, b.Height+b.Params.CommitBlocks)
		if before < r.Quorum() { // and some time always: else who brings the quorum could leave them out
			c.Deadline = max(c.Deadline, b.Height+b.Params.lastCommits())
		}
	}
	b.saveCase(c, Fact{Kind: FactCommitted, Seats: seats, Of: r.Judging()})
	if seats == r.Judging() {
		b.closeCommits(c)
	}
	return nil
}

// closeCommits closes the commit set: from here on reveals count, and a copied
// verdict is worth nothing (spec §7.5).
func (b *Block) closeCommits(c *Case) {
	r := c.Roster()
	c.View.Pre.ClosedAt, c.View.Pre.Progress = b.Height, Sealed
	b.goOn(c, Opening)
	b.saveCase(c, Fact{Kind: FactClosed, Seats: c.committed(r), Of: r.Judging()})
}

// openRound finds the case of a ballot whose round can still be spoken in.
func (b *Block) openRound(ballot task.Ballot) (*Case, error) {
	c, err := b.open(ballot.Task, ballot.Attempt)
	if err != nil {
		return nil, err
	}
	if c.Phase < Attesting || ballot != c.Ballot() {
		return nil, task.Refuse("ballot-stale", "nothing of that round is awaited in phase %s, view %d", c.Phase, c.View.Number)
	}
	return c, nil
}

// show takes both pieces of a pair. Before the commitments are closed they are for
// a committee that does not answer: from then on the silence is not the executor's.
// Afterwards they are for a verifier that found the other piece good, or neither:
// only then does the chain look at both. Or for one whose executor does not open what
// it has shown: from then on the silence is not the committee's.
func (b *Block) show(s task.Showing) error {
	c, err := b.openRound(s.Ballot)
	if err != nil {
		return err
	}
	if err := c.CheckShowing(s); err != nil {
		return err
	}
	round, two := &c.View.Pre, c.View.Pre.contradicts(s.Pair())
	if round.Faulty || c.shownBoth() && !two {
		return task.Refuse("nothing-new", "the pair is on the chain")
	}
	unknown := !round.HasPair()
	round.put(s)
	if round.Progress != Collecting && !two && !unknown && !c.doubted() {
		return task.Refuse("nothing-new", "nobody has named the other place, or said FAULT")
	}
	if round.Progress == Collecting {
		c.Deadline = max(c.Deadline, b.Height+b.Params.CommitBlocks)
	}
	b.saveCase(c, Fact{Kind: FactShown, Node: c.View.Executor})
	b.weigh(c)
	return nil
}

// put takes a pair that its executor has signed: as the round's, or as another
// beside it.
func (r *Round) put(s task.Showing) {
	if p := s.Pair(); r.contradicts(p) {
		r.Other = &p
		return
	}
	r.Digests, r.Signature, r.Evidence = s.Pair().Digests, s.Signature, s.Evidence
}

// contradicts says whether a pair is another than the round's.
func (r *Round) contradicts(p task.Pair) bool {
	return r.HasPair() && r.Digests != p.Digests
}

// shownBoth says whether both pieces are on the chain.
func (c *Case) shownBoth() bool {
	e := &c.View.Pre.Evidence
	return len(e[0]) > 0 && len(e[1]) > 0
}

// verdicts takes the new reveals of a set, each of which must open a commitment,
// and the opening of the pair that they are about, and acts as soon as enough is
// known.
func (b *Block) verdicts(t task.Verdicts) error {
	c, err := b.openRound(t.Ballot)
	if err != nil {
		return err
	}
	round := &c.View.Pre
	if round.Progress == Collecting {
		return task.Refuse("commits-open", "the commit set is not closed yet")
	}
	opens := t.Opening != nil && round.Progress < Opened
	if opens {
		place, err := c.CheckOpening(*t.Opening)
		if err != nil {
			return err
		}
		round.open(*t.Opening, place, b.Height)
		b.goOn(c, Judging)
	}
	known := len(round.Reveals)
	for _, v := range t.All() {
		said := slices.ContainsFunc(round.Reveals, func(o task.Reveal) bool { return o.Node == v.Node })
		if !said && v.Ballot == t.Ballot && c.CheckReveal(v) == nil {
			round.Reveals = append(round.Reveals, v)
		}
	}
	if !opens && len(round.Reveals) == known {
		return task.Refuse("nothing-new", "no new valid reveal among %d, and nothing that opens the pair", len(t.Words))
	}
	ok, other := c.Tally(round.Reveals)
	b.saveCase(c, Fact{Kind: FactRevealed, Seats: ok, Against: other, Of: c.Roster().Judging()})
	b.weigh(c)
	return nil
}

// open takes the executor's word for which of its pair is genuine.
func (r *Round) open(o task.Opening, place uint8, height uint64) {
	r.Digests, r.Signature = o.Pair.Digests, o.Pair.Signature
	r.Evidence[place], r.Place, r.Proof, r.OpenedAt, r.Progress = o.Evidence, place, o.Proof, height, Opened
}

// CheckOpening says whether the present executor has signed this pair, and where
// its registered VRF puts the genuine piece (spec §7.6).
func (c *Case) CheckOpening(o task.Opening) (place uint8, err error) {
	m := c.Member(c.View.Executor)
	switch {
	case m == nil || o.Pair.Ballot != c.Ballot():
		return 0, task.Refuse("ballot-stale", "the evidence is for another view, attempt or task")
	case len(o.Evidence) == 0 || len(o.Evidence) > task.MaxEvidence:
		return 0, task.Refuse("evidence-malformed", "evidence has 1 to %d bytes", task.MaxEvidence)
	case !o.Pair.Signature.Verify(m.Node.Peer, o.Pair.Hash()):
		return 0, task.Refuse("evidence-unsigned", "the executor has not signed this evidence")
	case c.View.Pre.contradicts(o.Pair):
		return 0, task.Refuse("pair-other", "the executor has shown another pair")
	}
	beta, err := vrf.Verify(vrf.PublicKey(m.Node.VRF), o.Pair.Ballot.PairInput(), vrf.Proof(o.Proof))
	if err != nil {
		return 0, task.Refuse("pair-false", "the proof of the place is not by the executor's VRF key: %v", err)
	}
	if place = task.PairPlace(beta); o.Pair.Digests[place] != task.H(task.TagEvidence, o.Evidence) {
		return 0, task.Refuse("pair-false", "the genuine evidence is in place %d, by the executor's VRF, and this is another piece", place)
	}
	return place, nil
}

// weigh acts on what is known of a round.
func (b *Block) weigh(c *Case) {
	round := &c.View.Pre
	// One doubt is enough for the chain to look: proof beats any number of OKs.
	if c.Stage != Condemned && (c.doubted() || round.Other != nil) && b.wrong(c) != 0 {
		b.foundFaulty(c)
	}
	ok, _ := c.Tally(round.Reveals)
	switch {
	case c.Stage == Condemned:
		b.lastWords(c)
	case c.Stage != Judging && c.Stage != Doubting:
	case ok >= c.Roster().Quorum():
		round.DecidedAt, round.Progress = b.Height, Decided
		b.enter(c, Computing)
		b.saveCase(c, Fact{Kind: FactGood, Node: c.View.Executor, Until: c.Deadline})
	case c.Stage == Judging && c.allRevealed():
		b.enter(c, Doubting)
		b.saveCase(c, Fact{Kind: FactUndecided, Until: c.Deadline})
	}
}

// doubted says whether a judge has named the other place, or said FAULT: as long as
// the pair is not opened, only FAULT is known to be a doubt.
func (c *Case) doubted() bool {
	says := c.Words()
	return slices.ContainsFunc(c.View.Pre.Reveals, func(v task.Reveal) bool { return says(v) == Against })
}

// Word is what a reveal says about the round's pair.
type Word uint8

// The words.
const (
	Elsewhere  Word = iota // of a pair that is not the round's, or of a place that is not known yet
	ForGenuine             // OK for the genuine place
	Against                // OK for the other, or FAULT
)

// Reading is by what reveals are read: a pair, and the place of its genuine piece as
// soon as that is known.
type Reading struct {
	Pair   task.Hash // zero: none is known
	Opened bool
	Place  uint8
}

// Reading is the round's.
func (c *Case) Reading() Reading {
	round := &c.View.Pre
	x := Reading{Opened: round.Progress >= Opened, Place: round.Place}
	if round.HasPair() {
		x.Pair = c.Pair().Hash()
	}
	return x
}

// Word is what a reveal says, by whomever.
func (x Reading) Word(v task.Reveal) Word {
	switch {
	case x.Pair.IsZero() || v.Pair != x.Pair:
		return Elsewhere
	case v.Verdict == task.Fault:
		return Against
	case !x.Opened:
		return Elsewhere
	case v.Place == x.Place:
		return ForGenuine
	}
	return Against
}

// Words reads what judges say about the round's pair. What anybody else says is
// about nothing.
func (c *Case) Words() func(task.Reveal) Word {
	x, r := c.Reading(), c.Roster()
	return func(v task.Reveal) Word {
		if !r.Judges(v.Node) {
			return Elsewhere
		}
		return x.Word(v)
	}
}

// Wrong says what is wrong with the present executor's pair, as far as it is on the
// chain: exactly one piece must be good, the one that its VRF names, and there must
// be no other pair. It is 0 if nothing is.
func (c *Case) Wrong(appraise func(evidence []byte) task.Verdict) Cause {
	round := &c.View.Pre
	if c.shownBoth() {
		first, second := appraise(round.Evidence[0]), appraise(round.Evidence[1])
		switch {
		case first == task.OK && second == task.OK:
			return TwoGood
		case first == second:
			return BadEvidence
		}
	}
	if round.Progress >= Opened && appraise(round.Evidence[round.Place]) == task.Fault {
		return BadEvidence
	}
	if round.Other != nil { // last: it must not be what saves those who said OK of a faulty piece
		return TwoPairs
	}
	return 0
}

func (b *Block) wrong(c *Case) Cause {
	return c.Wrong(func(evidence []byte) task.Verdict { return b.appraise(c, task.PreRun, evidence) })
}

// foundFaulty notes that an executor's pair is not what it must be. All who
// committed get the time to say what they had committed to.
func (b *Block) foundFaulty(c *Case) {
	c.View.Pre.Faulty = true
	b.enter(c, Condemned)
	b.saveCase(c, Fact{Kind: FactFaulty, Node: c.View.Executor, Until: c.Deadline})
}

// lastWords ends a faulty round before its time when everyone has spoken.
func (b *Block) lastWords(c *Case) {
	if c.allRevealed() {
		b.endFaulty(c)
	}
}

// endFaulty decides a round whose evidence is faulty.
func (b *Block) endFaulty(c *Case) {
	b.condemn(c, b.wrong(c))
	if c.Phase == Reviewing {
		b.settle(c, End{Outcome: BadEnclave})
		return
	}
	b.passOver(c, Pass{Why: WasFaulty})
}

// condemn slashes an executor for the pair that it has signed, for the good of
// those who found it, and sends it away: a TEE that lies once is not asked again.
func (b *Block) condemn(c *Case, cause Cause) {
	id, ppm := c.View.Executor, b.Params.BadEvidencePPM
	if cause == TwoPairs {
		ppm = b.Params.EquivocationPPM
	}
	want, _ := b.atStake(id).MulDiv(ppm, million)
	b.slash(c, id, cause, want, c.finders())
	b.jail(id, c.ID())
}

// finders are the verifiers who had not committed to the genuine place when nobody
// knew what the others would say, and whoever accused the executor on the chain.
func (c *Case) finders() (all []share) {
	says := c.Words()
	for _, v := range c.View.Pre.Reveals {
		if says(v) == Against {
			all = append(all, c.share(v.Node))
		}
	}
	if accuser := c.View.Pre.Accuser; accuser != (task.Address{}) {
		all = append(all, share{account: accuser, weight: 1})
	}
	return all
}

// allRevealed says whether everyone who committed has spoken.
func (c *Case) allRevealed() bool {
	round, r := &c.View.Pre, c.Roster()
	for _, k := range round.Commitments {
		if r.Judges(k.Node) && !slices.ContainsFunc(round.Reveals, func(v task.Reveal) bool { return v.Node == k.Node }) {
			return false
		}
	}
	return round.Progress != Collecting
}

// endRound settles what verifiers said in a round that is over (spec §10.4). The
// chain appraises only where they differ: for those who all name the genuine place
// nobody has to look, and anybody still can, by an accusation.
func (b *Block) endRound(c *Case) {
	round := &c.View.Pre
	if round.Progress == Collecting {
		return
	}
	r := c.Roster()
	for _, k := range slices.Clone(round.Commitments) {
		if !r.Judges(k.Node) {
			continue
		}
		seats := task.Amount(r.Seats(k.Node))
		i := slices.IndexFunc(round.Reveals, func(v task.Reveal) bool { return v.Node == k.Node })
		switch {
		case i < 0 && b.Height < round.ClosedAt+b.Params.CommitBlocks: // it had time left
		case i < 0:
			b.slash(c, k.Node, NoReveal, seats*b.Params.NoReveal, nil)
			b.missed(k.Node, c.ID())
		default:
			b.judge(c, round.Reveals[i], seats)
		}
	}
}

// judge holds one verdict against what the chain knows of the pair. Where both
// pieces are good, or there are two pairs, the executor alone is to blame.
func (b *Block) judge(c *Case, v task.Reveal, seats task.Amount) {
	round, word := &c.View.Pre, c.Words()(v)
	id, t := v.Node, c.ID()
	switch bad := round.Faulty && b.wrong(c) == BadEvidence; {
	case word == Elsewhere, round.Faulty && !bad, round.Progress < Opened && !bad: // neither true nor false
	case bad && word == Against:
		b.right(id)
		b.logNode(id, t, FoundFault, 0)
	case bad:
		b.falseOK(c, id, seats)
	case word == ForGenuine:
		b.right(id)
		b.logNode(id, t, Verified, 0)
	case v.Verdict == task.OK && !c.shownBoth() && b.Height < round.OpenedAt+b.Params.CommitBlocks: // it had time left to show that the other is good as well
	case v.Verdict == task.OK:
		b.slash(c, id, WrongPick, seats*b.Params.WrongPick, nil)
		b.missed(id, t)
	default:
		b.slash(c, id, FalseFault, seats*b.Params.FalseAlarm, nil)
		b.missed(id, t)
	}
}

// falseOK is the price of OK for evidence that is faulty: higher if the round was
// decided by it, for then an owner may have lost a secret.
func (b *Block) falseOK(c *Case, id task.NodeID, seats task.Amount) {
	each := b.Params.WrongPick
	if c.View.Pre.Progress == Decided {
		each = b.Params.Miss
	}
	b.slash(c, id, FalseOK, seats*each, nil)
	b.missed(id, c.ID())
}

// commitUp is the end of the time for commitments.
func (b *Block) commitUp(c *Case) {
	switch r := c.Roster(); {
	case c.committed(r) >= r.Quorum():
		b.closeCommits(c)
	case b.Height < c.AttestBy():
		b.extend(c, c.AttestBy())
	case c.shownBoth(): // the silence is the committee's; now the executor is to open its pair
		b.closeCommits(c)
	default:
		b.slash(c, c.View.Executor, Absent, b.Params.Absent, nil)
		b.passOver(c, Pass{Why: WasAbsent})
	}
}

// openUp is the end of the time in which the executor had to open its pair. Of one
// that is not even known, there are words alone: it could not decline any more.
func (b *Block) openUp(c *Case) {
	if !c.View.Pre.HasPair() {
		b.passOver(c, Pass{Why: WasAbsent})
		return
	}
	b.silent(c)
	b.passOver(c, Pass{Why: DidNotOpen})
}

// judgeUp is the end of the time in which an enclave had to be found good. If it is,
// and too few say so, that is the committee's doing.
func (b *Block) judgeUp(c *Case) {
	if b.wrong(c) != 0 {
		b.foundFaulty(c)
		return
	}
	b.redraw(c)
}

// redraw gives the task to a fresh committee: this one was silent, or doubts
// what cannot be proven (spec §10.4). It slashes nobody for a doubt.
func (b *Block) redraw(c *Case) {
	b.endRound(c)
	b.unpledge(c)
	b.nextAttempt(c, TooFewJudged)
}

// exit takes the executor's evidence of how its enclave ended. The chain appraises
// it, always: there is nothing left for verifiers to say.
func (b *Block) exit(e task.Exit) error {
	c, err := b.open(e.Ballot.Task, e.Ballot.Attempt)
	if err != nil {
		return err
	}
	// Before its nonce is there it could have been made at any time.
	if c.Stage != Leaving && c.Stage != Left || e.Ballot != c.Ballot() {
		return task.Refuse("ballot-stale", "no exit is awaited in phase %s, view %d", c.Phase, c.View.Number)
	}
	if c.Stage == Left {
		return task.Refuse("nothing-new", "the exit evidence is on the chain")
	}
	if err := c.CheckExit(e); err != nil {
		return err
	}
	c.View.Exit, c.View.ExitSignature = e.Evidence, e.Signature
	b.saveCase(c, Fact{Kind: FactExit})
	b.endExit(c)
	return nil
}

// CheckExit says whether the present executor has signed this exit.
func (c *Case) CheckExit(e task.Exit) error {
	m := c.Member(c.View.Executor)
	switch {
	case m == nil || e.Ballot != c.Ballot():
		return task.Refuse("ballot-stale", "the exit is of another view, attempt or task")
	case len(e.Evidence) == 0 || len(e.Evidence) > task.MaxEvidence:
		return task.Refuse("evidence-malformed", "evidence has 1 to %d bytes", task.MaxEvidence)
	case !e.Signature.Verify(m.Node.Peer, e.Hash()):
		return task.Refuse("evidence-unsigned", "the executor has not signed this evidence")
	}
	return nil
}

// endExit settles a case by its exit, once the time for words about the enclave is
// up: a run that is over at once must not save those who keep silent or lie.
func (b *Block) endExit(c *Case) {
	if due := c.wordsDue(); b.Height < due {
		b.enter(c, Left)
		b.saveCase(c, Fact{Kind: FactExitWaits, Until: due})
		return
	}
	if b.appraise(c, task.PostRun, c.View.Exit) == task.Fault {
		want, _ := b.atStake(c.View.Executor).MulDiv(b.Params.BadEvidencePPM, million)
		b.slash(c, c.View.Executor, UncleanExit, want, nil)
		b.jail(c.View.Executor, c.ID())
		b.settle(c, End{Outcome: DirtyExit})
		return
	}
	b.settle(c, c.ended(c.View.Result.Result))
}

// endTurn passes over an executor whose enclave ran out of time, or that gives up,
// once the time for words about that enclave is up: the first costs nothing, the
// second less than faulty evidence, and neither must outrun it.
func (b *Block) endTurn(c *Case) {
	if due := c.wordsDue(); b.Height < due {
		b.enter(c, TimedOut)
		b.saveCase(c, Fact{Kind: FactLate, Node: c.View.Executor, Until: due})
		return
	}
	if c.View.Gone != nil {
		b.silent(c)
		b.passOver(c, Pass{Why: GaveUp, Gone: c.View.Gone})
		return
	}
	b.passOver(c, Pass{Why: RanOutOfTime, Result: c.View.Late})
}

// wordsDue is the height until which somebody may have a word about the enclave:
// who has not revealed, and who named the other place and may have found it good.
func (c *Case) wordsDue() (due uint64) {
	round := &c.View.Pre
	if !c.allRevealed() {
		due = round.ClosedAt + c.Params.CommitBlocks
	}
	if c.doubted() && !c.shownBoth() {
		due = max(due, round.OpenedAt+c.Params.CommitBlocks)
	}
	return due
}
