package ledger

import (
	"github.com/prytany/prytany/task"
)

// Outcome is how a case ended (spec §10.2).
type Outcome uint8

// The outcomes.
const (
	Completed       Outcome = 1
	FunctionFailed  Outcome = 2
	DataOwnerSilent Outcome = 3
	CodeOwnerSilent Outcome = 4
	ExecutorsFailed Outcome = 5
	DirtyExit       Outcome = 6
	NoCommittee     Outcome = 7
	ExitSilent      Outcome = 8  // a result, and no word of how the enclave ended
	BadEnclave      Outcome = 9  // found after the result
	ForgedResult    Outcome = 10 // two results of one enclave
	InputWithheld   Outcome = 11
	CodeWithheld    Outcome = 12 // or the image
	AllOutOfTime    Outcome = 13 // all who executed
	RequesterSilent Outcome = 14 // who owns no data, and named nobody whom a result is for

	// ShortOfGas is how a function's record counts a failure that may be the
	// requester's doing, who gave the run less gas than the function's own limit, and
	// all of it may have been used. So nobody spoils a record by small limits (spec §10.9). No
	// case ends so.
	ShortOfGas Outcome = 15
)

var outcomeWords = task.Words{
	"", "ok", "failed", "data-owner-silent", "code-owner-silent", "executors-failed", "dirty-exit", "no-committee", "exit-silent",
	"bad-evidence", "forged-result", "input-withheld", "code-withheld", "out-of-time", "requester-silent", "short-of-gas",
}

func (o Outcome) String() string { return outcomeWords.Of(uint8(o)) }

// MarshalText is the outcome's word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads one.
func (o *Outcome) UnmarshalText(text []byte) error { return task.ReadWord(outcomeWords, o, text) }

// Culprit is whose fault such an end is.
func (o Outcome) Culprit() Culprit { return table[o].fault }

// Culprit is whose fault an outcome is.
type Culprit uint8

// The culprits.
const (
	Nobody       Culprit = 1
	AParty       Culprit = 2 // one of those that the fault names
	TheExecutor  Culprit = 3
	TheNetwork   Culprit = 4 // too few workers
	NobodyCanSee Culprit = 5 // the function is slow, or the machines were
)

var culpritWords = task.Words{"", "nobody", "party", "executor", "network", "unseen"}

func (p Culprit) String() string { return culpritWords.Of(uint8(p)) }

// MarshalText is the culprit's word.
func (p Culprit) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads one.
func (p *Culprit) UnmarshalText(text []byte) error { return task.ReadWord(culpritWords, p, text) }

// Fault is who is to blame for how a case ended: one of those parties, by their
// places in the case's list, or somebody who is none.
type Fault struct {
	Of      Culprit  `cbor:"1,keyasint" json:"of"`
	Parties []uint32 `cbor:"2,keyasint" json:"parties"`
}

// End is how a case ends: the outcome, and the party at whose fault, if it is one's.
type End struct {
	Outcome Outcome
	Party   uint8
}

// Settlement is the end of a case: whose fault, and where every base unit of
// its escrow went.
type Settlement struct {
	Outcome  Outcome   `cbor:"1,keyasint" json:"outcome"`
	Fault    Fault     `cbor:"2,keyasint" json:"fault"`
	Height   uint64    `cbor:"3,keyasint" json:"height,string"`
	Payments []Payment `cbor:"4,keyasint" json:"payments"`
	// Kept is what is left of each party's lock that came from a bond, and goes back
	// into it.
	Kept   []task.Amount `cbor:"5,keyasint" json:"kept"`
	Burned task.Amount   `cbor:"6,keyasint" json:"burned"` // of the lock of a party that withheld a file
	Rent   task.Amount   `cbor:"7,keyasint" json:"rent"`   // for the room that the task took, burned
}

// Payment is one account's part.
type Payment struct {
	To     task.Address `cbor:"1,keyasint" json:"to"`
	Node   task.NodeID  `cbor:"2,keyasint" json:"node"` // zero for a party
	Amount task.Amount  `cbor:"3,keyasint" json:"amount"`
	Why    Due          `cbor:"4,keyasint" json:"why"`
	Party  uint8        `cbor:"5,keyasint" json:"party"` // its place among the parties, where no node is paid
}

// Due is what a payment is for.
type Due uint8

// The dues.
const (
	WhyExecutor Due = 1
	WhyVerifier Due = 2
	WhyRoyalty  Due = 3
	WhyRefund   Due = 4
	WhyFinder   Due = 5 // of what cost another its bond
	WhyRoom     Due = 6 // of what was locked for rent, what was not used
)

var dueWords = task.Words{"", "executor", "verifier", "royalty", "refund", "finder", "room"}

func (d Due) String() string { return dueWords.Of(uint8(d)) }

// MarshalText is the due's word.
func (d Due) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads one.
func (d *Due) UnmarshalText(text []byte) error { return task.ReadWord(dueWords, d, text) }

// payer is whose lock pays.
type payer uint8

const (
	byRequester payer = 1
	byCulprit   payer = 2 // the party at fault
)

// terms is a row of the table of spec §10.2. Where nobody pays, a payer is 0.
type terms struct {
	fault    Culprit
	executor payer
	fixed    bool // only the fixed part, not gas used
	verifier payer
	royalty  payer
	burned   payer // who loses the fixed part, and nobody gets it
}

// A party that releases nothing, or nothing that opens what it must, pays for the work that it has
// made useless; and for the code, if its owner has answered: the executor may be that
// party's friend, and have brought it the result before it called.
var silence = terms{fault: AParty, executor: byCulprit, fixed: true, verifier: byCulprit, royalty: byCulprit}

var table = map[Outcome]terms{
	Completed:       {fault: Nobody, executor: byRequester, verifier: byRequester, royalty: byRequester},
	FunctionFailed:  {fault: AParty, executor: byRequester, verifier: byRequester},
	DataOwnerSilent: silence,
	CodeOwnerSilent: silence,
	RequesterSilent: silence,
	ExecutorsFailed: {fault: TheExecutor},
	DirtyExit:       {fault: TheExecutor},
	NoCommittee:     {fault: TheNetwork},
	ExitSilent:      {fault: TheExecutor},
	BadEnclave:      {fault: TheExecutor},
	ForgedResult:    {fault: TheExecutor},
	InputWithheld:   {fault: AParty, burned: byCulprit},
	CodeWithheld:    {fault: AParty, burned: byCulprit},
	AllOutOfTime:    {fault: NobodyCanSee, verifier: byRequester},
}

// ended is how a case ends by its result.
func (c *Case) ended(r task.Result) End {
	switch r.Outcome {
	case task.RunOK:
		return End{Outcome: Completed}
	case task.WrongKey:
		return c.Silent(r.Party)
	}
	return End{Outcome: FunctionFailed}
}

// Silent is the end by a party that releases nothing, or nothing that can be used.
func (c *Case) Silent(party uint8) End {
	switch c.RoleOf(party) {
	case task.Requester:
		return End{RequesterSilent, party}
	case task.CodeOwner:
		return End{CodeOwnerSilent, party}
	}
	return End{DataOwnerSilent, party}
}

// withheld is the end by a party whose file comes to nobody.
func (c *Case) withheld(party uint8) End {
	if c.RoleOf(party) == task.CodeOwner {
		return End{CodeWithheld, party}
	}
	return End{InputWithheld, party}
}

// fault says who is to blame for an end. A function that fails may do so by its code or
// by any of its inputs.
func fault(parties []task.Party, e End) Fault {
	f := Fault{Of: table[e.Outcome].fault}
	switch {
	case f.Of != AParty:
	case e.Outcome == FunctionFailed:
		for i, p := range parties {
			if p.Role != task.Requester {
				f.Parties = append(f.Parties, uint32(i))
			}
		}
	default:
		f.Parties = []uint32{uint32(e.Party)}
	}
	return f
}

// purseOf is whose lock answers for a party: its own, but for data that the requester
// owns himself.
func purseOf(parties []task.Party, i uint8) uint8 {
	if parties[i].Role == task.DataOwner && parties[i].Account == parties[0].Account {
		return 0
	}
	return i
}

// Settle is the table applied to a case: pure, so that the offline verifier
// repeats it. It assumes that the case is not settled yet, and that the end is by a
// party that there is.
func Settle(c *Case, e End, height uint64) Settlement {
	t, parties := table[e.Outcome], c.Parties()
	s := Settlement{Outcome: e.Outcome, Fault: fault(parties, e), Height: height}
	locks, room := make([]task.Amount, len(parties)), c.Escrow.Room
	copy(locks, c.Escrow.Locks)
	s.Rent = c.rent(height)
	room -= s.Rent
	pay := func(from *task.Amount, p Payment) {
		if p.Amount = min(p.Amount, *from); p.Amount > 0 {
			*from -= p.Amount
			s.Payments = append(s.Payments, p)
		}
	}
	purse := func(who payer) *task.Amount {
		if who == byCulprit {
			return &locks[purseOf(parties, e.Party)]
		}
		return &locks[0]
	}
	toNode := func(m *Member, a task.Amount, why Due) Payment {
		return Payment{To: m.Node.Operator, Node: m.Claim.Node, Amount: a, Why: why}
	}
	toParty := func(i int, a task.Amount, why Due) Payment {
		return Payment{To: parties[i].Account, Party: uint8(i), Amount: a, Why: why}
	}
	if m := c.Member(c.View.Executor); m != nil && t.executor != 0 {
		due := fixedPart(c.Task, c.Params)
		if !t.fixed && c.View.Result != nil {
			due, _ = task.GasCost(c.View.Result.Result.Gas, c.Task.GasPrice)
		}
		pay(purse(t.executor), toNode(m, due, WhyExecutor))
	}
	if code := len(parties) - 1; t.royalty == byRequester || t.royalty == byCulprit && int(e.Party) != code && c.Released(uint8(code)) {
		pay(purse(t.royalty), toParty(code, c.Function.Manifest.Royalty, WhyRoyalty))
	}
	judged, seats := verdictShares(c, e.Outcome), c.Roster().Judging()
	for i := range c.Members {
		m := &c.Members[i]
		if share, ok := judged[m.Claim.Node]; ok && t.verifier != 0 {
			fee, _ := c.Task.Fee.MulDiv(share, uint64(seats))
			pay(purse(t.verifier), toNode(m, fee, WhyVerifier))
		}
	}
	if t.burned != 0 {
		from := purse(t.burned)
		s.Burned = min(fixedPart(c.Task, c.Params), *from)
		*from -= s.Burned
	}
	// The remainder of every split is the requester's.
	pay(&locks[0], toParty(0, locks[0], WhyRefund))
	pay(&room, toParty(0, room, WhyRoom))
	s.Kept = locks
	return s
}

// verdictShares counts the seats of each verifier that named the genuine place: it
// has looked. Of an enclave that was bad all the same, nobody has.
func verdictShares(c *Case, o Outcome) map[task.NodeID]uint64 {
	shares, says := map[task.NodeID]uint64{}, c.Words()
	for _, v := range c.View.Pre.Reveals {
		if says(v) == ForGenuine && o != BadEnclave {
			shares[v.Node] += uint64(c.Member(v.Node).Seats)
		}
	}
	return shares
}

// Returned is what came back to the requester when the case was settled, of all that
// was locked for the work and for room.
func (c *Case) Returned() (back, locked task.Amount) {
	for _, p := range c.Settlement.Payments {
		if p.Why == WhyRefund || p.Why == WhyRoom {
			back += p.Amount
		}
	}
	return back, c.Escrow.Of(0) + c.Escrow.Room
}

// fixedPart is what an executor gets for work that an owner made useless.
func fixedPart(t task.Task, p Params) task.Amount {
	gas, _ := task.GasCost(t.GasLimit, t.GasPrice)
	part, _ := gas.MulDiv(p.FixedPPM, million)
	return part
}

// settle pays a case out and closes it. It runs once: a closed case has no
// deadline and takes no transaction.
func (b *Block) settle(c *Case, e End) {
	o := e.Outcome
	if o != NoCommittee && o != ExecutorsFailed && o != AllOutOfTime { // there the turns have ended before
		b.endRound(c)
		b.unpledge(c)
	}
	s := Settle(c, e, b.Height)
	for _, p := range s.Payments {
		b.credit(p.To, p.Amount)
	}
	b.meta.Burned += s.Burned + s.Rent
	if kept := s.Kept[len(s.Kept)-1]; kept > 0 { // the code owner's, last
		key := join(keyFunction, c.Task.Function[:])
		f, _ := load[FunctionRecord](b.state, key)
		f.Bond += kept
		save(b.state, key, f)
	}
	c.Settlement = &s
	b.enter(c, Settled)
	b.meta.Open--
	b.logFunction(c, o)
	if c.View.Result != nil && table[o].executor != 0 {
		b.logNode(c.View.Executor, c.ID(), Executed, 0)
	}
	b.saveCase(c, c.SettledAs())
}

// SettledAs is the end of a case as a fact, with the party at whose fault it is, if it
// is the fault of one.
func (c *Case) SettledAs() Fact {
	s := c.Settlement
	f := Fact{Height: s.Height, Kind: FactSettled, Outcome: s.Outcome}
	if s.Fault.Of == AParty && len(s.Fault.Parties) == 1 {
		f.Party = uint8(s.Fault.Parties[0])
		f.Role = c.RoleOf(f.Party)
	}
	return f
}

// credit adds to an account. No balance can wrap: all money is at most the supply.
func (b *Block) credit(to task.Address, a task.Amount) {
	key := join(keyAccount, to[:])
	acct, _ := load[Account](b.state, key)
	acct.Balance += a
	save(b.state, key, acct)
}
