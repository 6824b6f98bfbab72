package ledger

import "github.com/prytany/prytany/task"

// This file is the life of a case (spec §6.2). A case is in one stage at a time. The
// stage says what is waited for, until when, and what happens if it does not come. No
// code asks a height whether something has happened.

// Phase is where a case stands, for everybody. It groups stages.
type Phase uint8

// The phases, in order. A case goes back from Electing to Posted for another
// attempt, and from any of the later ones to Attesting when an executor is
// passed over.
const (
	Posted    Phase = 1 // waits for the beacon that seeds the draw
	Electing  Phase = 2 // claims are open
	Attesting Phase = 3 // the executor shows a pair of evidence, verifiers commit and reveal
	Releasing Phase = 4 // the executor has called: parties release their keys on the chain
	Running   Phase = 5 // the enclave is found good; it owes a result
	Reviewing Phase = 6 // the result is there; the executor shows how its enclave ended
	Closed    Phase = 7 // settled
)

var phaseWords = task.Words{"", "posted", "electing", "attesting", "releasing", "running", "reviewing", "closed"}

func (p Phase) String() string { return phaseWords.Of(uint8(p)) }

// MarshalText is the phase's word.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads one.
func (p *Phase) UnmarshalText(text []byte) error { return task.ReadWord(phaseWords, p, text) }

// Stage is what a case waits for.
type Stage uint8

// The stages, in order.
const (
	Seeding     Stage = 1  // for the beacon that seeds the draw
	Claiming    Stage = 2  // for claims
	Gathering   Stage = 3  // for late claims: too few came in time
	Committing  Stage = 4  // for a pair of evidence, and commitments
	Opening     Stage = 5  // the commitments are closed: for reveals, and the opening of the pair
	Judging     Stage = 6  // the pair is opened: for a quorum that names the genuine place
	Doubting    Stage = 7  // all have spoken, and too few so: for who found the other piece good to show it
	Unlocking   Stage = 8  // the executor has called: for the parties' keys
	Computing   Stage = 9  // for a result
	Questioning Stage = 10 // for the beacon that the exit's nonce is made of
	Leaving     Stage = 11 // for the exit evidence
	Left        Stage = 12 // it is there: for words about the enclave that are still due
	TimedOut    Stage = 13 // the enclave ran out of time, or is gone: for the same
	Condemned   Stage = 14 // the chain has found the pair faulty: for last words
	Settled     Stage = 15 // for nothing
)

var stageWords = task.Words{
	"", "seeding", "claiming", "gathering", "committing", "opening", "judging", "doubting", "unlocking", "computing",
	"questioning", "leaving", "left", "timed-out", "condemned", "settled",
}

func (s Stage) String() string { return stageWords.Of(uint8(s)) }

// MarshalText is the stage's word.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads one.
func (s *Stage) UnmarshalText(text []byte) error { return task.ReadWord(stageWords, s, text) }

// phaseOf has each stage's phase. A case that is timed out or condemned stays in the
// phase in which that happened.
var phaseOf = [...]Phase{
	Seeding: Posted, Claiming: Electing, Gathering: Electing,
	Committing: Attesting, Opening: Attesting, Judging: Attesting, Doubting: Attesting,
	Unlocking: Releasing, Computing: Running,
	Questioning: Reviewing, Leaving: Reviewing, Left: Reviewing,
	TimedOut: 0, Condemned: 0, Settled: Closed,
}

// enter brings a case into a stage, and with it into its phase and its deadline.
func (b *Block) enter(c *Case, s Stage) {
	c.Deadline = b.deadline(c, s)
	c.Stage = s
	if p := phaseOf[s]; p != 0 {
		c.Phase = p
	}
}

// goOn brings the verdict on a pair a stage further. A case that is condemned stays
// so, and only waits longer.
func (b *Block) goOn(c *Case, s Stage) {
	if c.Stage == Condemned {
		c.Deadline = b.deadline(c, s)
		return
	}
	b.enter(c, s)
}

// deadline is the block at whose end a stage that begins now is over, or with whose
// beacon.
func (b *Block) deadline(c *Case, s Stage) uint64 {
	p, words := &b.Params, b.Height+b.Params.CommitBlocks
	switch s {
	case Seeding, Questioning:
		return b.Height + c.Foresight.Kind.Distance()
	case Claiming:
		return b.Height + p.ClaimBlocks
	case Gathering:
		return c.LastClaims()
	case Committing, Doubting, Condemned:
		return words
	case Opening:
		return max(c.AttestBy(), words)
	case Judging:
		return max(c.Deadline, words)
	case Unlocking:
		return b.Height + p.ReleaseBlocks
	case Computing:
		run := p.Blocks(c.Function.Manifest.LateMillis()) + p.RunGraceBlocks
		if !c.View.Called() { // its time to call comes first
			run += p.ReleaseBlocks
		}
		return b.Height + run
	case Leaving:
		return c.View.ResultAt + p.ReviewBlocks
	case Left, TimedOut:
		return c.wordsDue()
	}
	return 0
}

// dice goes on with a case that has waited for this block's beacon.
func (b *Block) dice(c *Case, time int64) {
	switch c.Stage {
	case Seeding:
		b.seed(c, time) // to Claiming
	case Questioning:
		b.askExit(c) // to Leaving
	}
}

// expire ends a stage whose deadline has come. What ends a stage before is done by
// the transaction that brings it.
func (b *Block) expire(c *Case) {
	switch c.Stage {
	case Claiming, Gathering:
		b.closeClaims(c) // to Gathering, Committing, Seeding or Settled
	case Committing:
		b.commitUp(c) // to Opening, or the next view
	case Opening:
		b.openUp(c) // to the next view
	case Judging, Doubting:
		b.judgeUp(c) // to Condemned, or another committee
	case Unlocking:
		party, _ := c.Unreleased()
		b.settle(c, c.Silent(party))
	case Computing:
		b.silent(c)
		b.passOver(c, Pass{Why: BroughtNothing}) // to the next view
	case TimedOut:
		b.endTurn(c) // to the next view
	case Leaving:
		b.silent(c)
		b.settle(c, End{Outcome: ExitSilent})
	case Left:
		b.endExit(c) // to Settled
	case Condemned:
		b.endFaulty(c) // to the next view, or Settled
	}
}

// Progress is how far the verdict on one executor's pair has come.
type Progress uint8

// The steps, in order.
const (
	Collecting Progress = 0 // commitments still count
	Sealed     Progress = 1 // the set is closed: reveals count
	Opened     Progress = 2 // it is known which piece is genuine
	Decided    Progress = 3 // a quorum has named it
)

var progressWords = task.Words{"collecting", "sealed", "opened", "decided"}

func (p Progress) String() string { return progressWords.Of(uint8(p)) }

// MarshalText is the step's word.
func (p Progress) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads one.
func (p *Progress) UnmarshalText(text []byte) error { return task.ReadWord(progressWords, p, text) }
