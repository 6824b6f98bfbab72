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
	AliceSilent     Outcome = 3
	BobSilent       Outcome = 4
	ExecutorsFailed Outcome = 5
	DirtyExit       Outcome = 6
	NoCommittee     Outcome = 7
	ExitSilent      Outcome = 8  // a result, and no word of how the enclave ended
	BadEnclave      Outcome = 9  // found after the result
	ForgedResult    Outcome = 10 // two results of one enclave
	InputWithheld   Outcome = 11
	CodeWithheld    Outcome = 12 // or the image
	AllOutOfTime    Outcome = 13 // all who executed

	// ShortOfGas is how a function's record counts a failure that may be Alice's
	// doing: she gave the run less gas than the function's own limit, and all of it
	// may have been used. So nobody spoils a record by small limits (spec §10.9). No
	// case ends so.
	ShortOfGas Outcome = 14
)

var outcomeWords = task.Words{
	"", "ok", "failed", "alice-silent", "bob-silent", "executors-failed", "dirty-exit", "no-committee", "exit-silent",
	"bad-evidence", "forged-result", "input-withheld", "code-withheld", "out-of-time", "short-of-gas",
}

func (o Outcome) String() string { return outcomeWords.Of(uint8(o)) }

// MarshalText is the outcome's word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads one.
func (o *Outcome) UnmarshalText(text []byte) error { return task.ReadWord(outcomeWords, o, text) }

// Fault is whose fault such an end is.
func (o Outcome) Fault() Party { return table[o].fault }

// Party is who is at fault.
type Party uint8

// The parties.
const (
	Nobody       Party = 1
	FunctionOrIn Party = 2 // Bob's function, or Alice's input
	PartyAlice   Party = 3
	PartyBob     Party = 4
	TheExecutor  Party = 5
	TheNetwork   Party = 6 // it has too few workers
	NobodyCanSee Party = 7 // the function is slow, or the machines were
)

var partyWords = task.Words{"", "nobody", "function-or-input", "alice", "bob", "executor", "network", "unseen"}

func (p Party) String() string { return partyWords.Of(uint8(p)) }

// MarshalText is the party's word.
func (p Party) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads one.
func (p *Party) UnmarshalText(text []byte) error { return task.ReadWord(partyWords, p, text) }

// Settlement is the end of a case: whose fault, and where every base unit of
// its escrow went.
type Settlement struct {
	Outcome  Outcome     `cbor:"1,keyasint" json:"outcome"`
	Fault    Party       `cbor:"2,keyasint" json:"fault"`
	Height   uint64      `cbor:"3,keyasint" json:"height,string"`
	Payments []Payment   `cbor:"4,keyasint" json:"payments"`
	Kept     task.Amount `cbor:"5,keyasint" json:"kept"`   // of Bob's lock, back in the function's bond
	Burned   task.Amount `cbor:"6,keyasint" json:"burned"` // of the lock of an owner who withheld a file
	Rent     task.Amount `cbor:"7,keyasint" json:"rent"`   // for the room that the task took, burned
}

// Payment is one account's part.
type Payment struct {
	To     task.Address `cbor:"1,keyasint" json:"to"`
	Node   task.NodeID  `cbor:"2,keyasint" json:"node"` // zero for owners
	Amount task.Amount  `cbor:"3,keyasint" json:"amount"`
	Why    Due          `cbor:"4,keyasint" json:"why"`
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

// terms is a row of the table of spec §10.2. Payers: 'a' Alice's escrow, 'b'
// Bob's lock, 0 nobody.
type terms struct {
	fault    Party
	executor byte // who pays the executor
	fixed    bool // only the fixed part, not gas used
	verifier byte
	royalty  bool
	burned   byte // who loses the fixed part, and nobody gets it
}

var table = map[Outcome]terms{
	Completed:       {fault: Nobody, executor: 'a', verifier: 'a', royalty: true},
	FunctionFailed:  {fault: FunctionOrIn, executor: 'a', verifier: 'a'},
	AliceSilent:     {fault: PartyAlice, executor: 'a', fixed: true, verifier: 'a'},
	BobSilent:       {fault: PartyBob, executor: 'b', fixed: true, verifier: 'b'},
	ExecutorsFailed: {fault: TheExecutor},
	DirtyExit:       {fault: TheExecutor},
	NoCommittee:     {fault: TheNetwork},
	ExitSilent:      {fault: TheExecutor},
	BadEnclave:      {fault: TheExecutor},
	ForgedResult:    {fault: TheExecutor},
	InputWithheld:   {fault: PartyAlice, burned: 'a'},
	CodeWithheld:    {fault: PartyBob, burned: 'b'},
	AllOutOfTime:    {fault: NobodyCanSee, verifier: 'a'},
}

func outcomeOf(o task.Outcome) Outcome {
	switch o {
	case task.RunOK:
		return Completed
	case task.BadInputKey:
		return AliceSilent
	case task.BadCodeKey:
		return BobSilent
	}
	return FunctionFailed
}

// Settle is the table applied to a case: pure, so that the offline verifier
// repeats it. It assumes that the case is not settled yet.
func Settle(c *Case, o Outcome, height uint64) Settlement {
	t := table[o]
	s := Settlement{Outcome: o, Fault: t.fault, Height: height}
	purse := c.Escrow
	s.Rent = c.rent(height)
	purse.Room -= s.Rent
	pay := func(from *task.Amount, to task.Address, node task.NodeID, a task.Amount, why Due) {
		if a = min(a, *from); a > 0 {
			*from -= a
			s.Payments = append(s.Payments, Payment{To: to, Node: node, Amount: a, Why: why})
		}
	}
	payer := func(who byte) *task.Amount {
		if who == 'b' {
			return &purse.Bob
		}
		return &purse.Alice
	}
	if m := c.Member(c.View.Executor); m != nil && t.executor != 0 {
		due := fixedPart(c.Task, c.Params)
		if !t.fixed && c.View.Result != nil {
			due, _ = task.GasCost(c.View.Result.Result.Gas, c.Task.GasPrice)
		}
		pay(payer(t.executor), m.Node.Operator, m.Claim.Node, due, WhyExecutor)
	}
	if t.royalty {
		pay(&purse.Alice, c.Function.Owner, task.NodeID{}, c.Function.Manifest.Royalty, WhyRoyalty)
	}
	judged, seats := verdictShares(c, o), c.Roster().Judging()
	for _, m := range c.Members {
		if share, ok := judged[m.Claim.Node]; ok && t.verifier != 0 {
			fee, _ := c.Task.Fee.MulDiv(share, uint64(seats))
			pay(payer(t.verifier), m.Node.Operator, m.Claim.Node, fee, WhyVerifier)
		}
	}
	if t.burned != 0 {
		from := payer(t.burned)
		s.Burned = min(fixedPart(c.Task, c.Params), *from)
		*from -= s.Burned
	}
	// The remainder of every split is Alice's.
	pay(&purse.Alice, c.Task.Owner, task.NodeID{}, purse.Alice, WhyRefund)
	pay(&purse.Room, c.Task.Owner, task.NodeID{}, purse.Room, WhyRoom)
	s.Kept = purse.Bob
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

// Returned is what came back to the task's owner when the case was settled, of all
// that she had locked: for the work, and for room.
func (c *Case) Returned() (back, locked task.Amount) {
	for _, p := range c.Settlement.Payments {
		if p.Why == WhyRefund || p.Why == WhyRoom {
			back += p.Amount
		}
	}
	return back, c.Escrow.Alice + c.Escrow.Room
}

// fixedPart is what an executor gets for work that an owner made useless.
func fixedPart(t task.Task, p Params) task.Amount {
	gas, _ := task.GasCost(t.GasLimit, t.GasPrice)
	part, _ := gas.MulDiv(p.FixedPPM, million)
	return part
}

// settle pays a case out and closes it. It runs once: a closed case has no
// deadline and takes no transaction.
func (b *Block) settle(c *Case, o Outcome) {
	if o != NoCommittee && o != ExecutorsFailed && o != AllOutOfTime { // there the rounds have ended before
		b.endRound(c)
	}
	s := Settle(c, o, b.Height)
	for _, p := range s.Payments {
		b.credit(p.To, p.Amount)
	}
	b.meta.Burned += s.Burned + s.Rent
	if s.Kept > 0 {
		key := join(keyFunction, c.Task.Function[:])
		f, _ := load[FunctionRecord](b.state, key)
		f.Bond += s.Kept
		save(b.state, key, f)
	}
	c.Settlement = &s
	b.enter(c, Settled)
	b.meta.Open--
	b.logFunction(c, o)
	if c.View.Result != nil && table[o].executor != 0 {
		b.logNode(c.View.Executor, c.ID(), Executed, 0)
	}
	b.saveCase(c, Fact{Kind: FactSettled, Outcome: o})
}

// credit adds to an account. No balance can wrap: all money is at most the supply.
func (b *Block) credit(to task.Address, a task.Amount) {
	key := join(keyAccount, to[:])
	acct, _ := load[Account](b.state, key)
	acct.Balance += a
	save(b.state, key, acct)
}
