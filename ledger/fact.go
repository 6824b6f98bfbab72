package ledger

import (
	"github.com/prytany/prytany/task"
)

// Fact is one thing that happened to a case: what, to whom, and the numbers that were
// true then. It has no words: what one node finds in text others would have to find
// bit for bit. Words are made where people read, by package explain.
//
// A fact has the fields of its kind (spec §6.1.1) and no others; one that is 0 is left
// out.
type Fact struct {
	Height  uint64             `cbor:"1,keyasint" json:"height,string"`
	Kind    Kind               `cbor:"2,keyasint" json:"kind"`
	Node    task.NodeID        `cbor:"3,keyasint,omitzero" json:"node,omitzero"`
	Role    task.Role          `cbor:"4,keyasint,omitzero" json:"role,omitzero"`   // of the party
	Number  uint32             `cbor:"5,keyasint,omitzero" json:"number,omitzero"` // of the attempt, or of the view
	Nodes   uint32             `cbor:"6,keyasint,omitzero" json:"nodes,omitzero"`
	Seats   uint32             `cbor:"7,keyasint,omitzero" json:"seats,omitzero"`         // that came, committed, or named the genuine place
	Against uint32             `cbor:"8,keyasint,omitzero" json:"against,omitzero"`       // seats
	Of      uint32             `cbor:"9,keyasint,omitzero" json:"of,omitzero"`            // seats: all, or as many as were asked for
	Until   uint64             `cbor:"10,keyasint,omitzero" json:"until,omitzero,string"` // height
	Amount  task.Amount        `cbor:"11,keyasint,omitzero" json:"amount,omitzero"`       // the requester's, or a slashed node's
	Bond    task.Amount        `cbor:"12,keyasint,omitzero" json:"bond,omitzero"`         // of the code owner's
	Gas     uint64             `cbor:"13,keyasint,omitzero" json:"gas,omitzero,string"`   // that the result shows
	Ran     task.Outcome       `cbor:"14,keyasint,omitzero" json:"ran,omitzero"`          // how the run ended
	Reason  task.DeclineReason `cbor:"15,keyasint,omitzero" json:"reason,omitzero"`       // the decliner's own
	Cause   Cause              `cbor:"16,keyasint,omitzero" json:"cause,omitzero"`        // why money, a turn or an attempt was lost
	Outcome Outcome            `cbor:"17,keyasint,omitzero" json:"outcome,omitzero"`      // of the case
	Party   uint8              `cbor:"18,keyasint,omitzero" json:"party,omitzero"`        // its place in the case's list
}

// Kind is what a fact says has happened.
type Kind uint8

// The kinds.
const (
	FactPosted      Kind = 1  // the money is locked, a draw is called for
	FactSeeded      Kind = 2  // the beacon is there, claims are open
	FactClaimed     Kind = 3  // claims came
	FactClaimsLate  Kind = 4  // they are waited for longer
	FactAttemptOver Kind = 5  // the attempt came to nothing
	FactTurn        Kind = 6  // a view begins
	FactDeclined    Kind = 7  // a member executes nothing in this attempt
	FactCommitted   Kind = 8  // commitments came
	FactCommitsLate Kind = 9  // they are waited for longer
	FactClosed      Kind = 10 // the commitments are closed
	FactShown       Kind = 11 // both pieces of the executor's pair are on the chain
	FactRevealed    Kind = 12 // reveals came, or the opening of the pair
	FactGood        Kind = 13 // a quorum has found the enclave good
	FactUndecided   Kind = 14 // all have revealed, and there is no quorum
	FactFaulty      Kind = 15 // the chain itself has found the pair faulty
	FactPassed      Kind = 16 // an executor is passed over
	FactReleased    Kind = 17 // an owner has released its key
	FactRunning     Kind = 18 // both have
	FactResult      Kind = 19 // the enclave's result is there
	FactLate        Kind = 20 // the enclave ran out of time, or is gone; words about it are still due
	FactExitAsked   Kind = 21 // the exit has its nonce
	FactExit        Kind = 22 // the exit evidence is there
	FactExitWaits   Kind = 23 // words about the enclave are still due
	FactSlashed     Kind = 24 // a node has lost money
	FactUnproven    Kind = 25 // an accusation proved nothing
	FactSettled     Kind = 26 // the case is closed
	FactCalled      Kind = 27 // the executor calls for the owners' keys
)

var kindWords = task.Words{
	FactPosted: "posted", FactSeeded: "seeded", FactClaimed: "claimed", FactClaimsLate: "claims-late",
	FactAttemptOver: "attempt-over", FactTurn: "turn", FactDeclined: "declined", FactCommitted: "committed",
	FactCommitsLate: "commits-late", FactClosed: "commits-closed", FactShown: "shown", FactRevealed: "revealed",
	FactGood: "good", FactUndecided: "undecided", FactFaulty: "faulty", FactPassed: "passed-over",
	FactReleased: "released", FactRunning: "running", FactResult: "result", FactLate: "late",
	FactExitAsked: "exit-asked", FactExit: "exit", FactExitWaits: "exit-waits", FactSlashed: "slashed",
	FactUnproven: "unproven", FactSettled: "settled", FactCalled: "called",
}

func (k Kind) String() string { return kindWords.Of(uint8(k)) }

// MarshalText is the kind's word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads one.
func (k *Kind) UnmarshalText(text []byte) error { return task.ReadWord(kindWords, k, text) }

// has says which fields a kind has beside height and kind, by bit.
type has uint32

const (
	hasNode has = 1 << iota
	hasRole
	hasNumber
	hasNodes
	hasSeats
	hasAgainst
	hasOf
	hasUntil
	hasAmount
	hasBond
	hasGas
	hasRan
	hasReason
	hasCause
	hasOutcome
	hasParty
)

var fieldsOf = map[Kind]has{
	FactPosted:      hasAmount | hasBond,
	FactSeeded:      hasNumber | hasOf | hasUntil,
	FactClaimed:     hasNodes | hasSeats,
	FactClaimsLate:  hasNodes | hasSeats | hasOf | hasUntil,
	FactAttemptOver: hasNumber | hasNodes | hasSeats | hasOf | hasCause,
	FactTurn:        hasNode | hasNumber | hasOf,
	FactDeclined:    hasNode | hasReason | hasParty,
	FactCommitted:   hasSeats | hasOf,
	FactCommitsLate: hasSeats | hasOf | hasUntil,
	FactClosed:      hasSeats | hasOf,
	FactShown:       hasNode,
	FactRevealed:    hasSeats | hasAgainst | hasOf,
	FactGood:        hasNode | hasUntil,
	FactUndecided:   hasUntil,
	FactFaulty:      hasNode | hasUntil,
	FactPassed:      hasNode | hasNumber | hasCause,
	FactReleased:    hasRole | hasParty,
	FactRunning:     hasUntil,
	FactResult:      hasGas | hasRan,
	FactLate:        hasNode | hasUntil,
	FactExitAsked:   hasUntil,
	FactExit:        0,
	FactExitWaits:   hasUntil,
	FactSlashed:     hasNode | hasAmount | hasCause,
	FactUnproven:    hasNode,
	FactSettled:     hasOutcome | hasRole | hasParty,
	FactCalled:      hasNode | hasUntil,
}

// Check says whether a fact is of a known kind, has no field of another, and no number
// that stands for nothing.
func (f Fact) Check() error {
	may, known := fieldsOf[f.Kind]
	var uses has
	for i, there := range [...]bool{
		!f.Node.IsZero(), f.Role != 0, f.Number != 0, f.Nodes != 0, f.Seats != 0, f.Against != 0, f.Of != 0, f.Until != 0,
		f.Amount != 0, f.Bond != 0, f.Gas != 0, f.Ran != 0, f.Reason != 0, f.Cause != 0, f.Outcome != 0, f.Party != 0,
	} {
		if there {
			uses |= 1 << i
		}
	}
	if !known || uses&^may != 0 {
		return task.Refuse("fact-malformed", "a fact of the kind %s has other fields than that kind has", f.Kind)
	}
	if f.Role > task.CodeOwner || f.Ran > task.WrongKey || f.Reason > task.Pledged || f.Reason == task.Gone || f.Outcome >= ShortOfGas || f.Cause != 0 && !causeWords.Has(uint8(f.Cause)) {
		return task.Refuse("fact-malformed", "a fact of the kind %s has a number that stands for nothing", f.Kind)
	}
	return nil
}

// MaxHistory bounds the facts that a case keeps; the first are kept.
const MaxHistory = 512

// note adds a fact to the case's history, and tells it to whoever follows the chain.
func (b *Block) note(c *Case, f Fact) {
	f.Height = b.Height
	if len(c.History) < MaxHistory {
		c.History = append(c.History, f)
	}
	b.events = append(b.events, Event{Task: c.ID(), Phase: c.Phase, Fact: f})
}
