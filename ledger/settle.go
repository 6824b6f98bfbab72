package ledger

import (
	"github.com/prytany/prytany/task"
)

// Outcome is how a case ended (spec §10.2).
type Outcome string

// The outcomes.
const (
	Completed       Outcome = "ok"
	FunctionFailed  Outcome = "failed"
	AliceSilent     Outcome = "alice-silent"
	BobSilent       Outcome = "bob-silent"
	ExecutorsFailed Outcome = "executors-failed"
	DirtyExit       Outcome = "dirty-exit"
	NoCommittee     Outcome = "no-committee"
	ExitSilent      Outcome = "exit-silent"   // a result, and no word of how the enclave ended
	BadEnclave      Outcome = "bad-evidence"  // found after the result
	ForgedResult    Outcome = "forged-result" // two results of one enclave
	InputWithheld   Outcome = "input-withheld"
	CodeWithheld    Outcome = "code-withheld" // or the image
	AllOutOfTime    Outcome = "out-of-time"   // all who executed
)

// Party is who is at fault.
type Party string

// The parties.
const (
	Nobody       Party = "nobody"
	FunctionOrIn Party = "the function (Bob) or the input (Alice)"
	PartyAlice   Party = "Alice"
	PartyBob     Party = "Bob"
	TheExecutor  Party = "the executor"
	TheNetwork   Party = "the network: too few workers"
	NobodyCanSee Party = "nobody can see: the function is slow, or the machines were"
)

// Settlement is the end of a case: whose fault, and where every base unit of
// its escrow went.
type Settlement struct {
	Outcome  Outcome     `cbor:"1,keyasint" json:"outcome"`
	Fault    Party       `cbor:"2,keyasint" json:"fault"`
	Height   uint64      `cbor:"3,keyasint" json:"height"`
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
	Why    string       `cbor:"4,keyasint" json:"why"`
}

// Reasons of payments.
const (
	WhyExecutor = "executor"
	WhyVerifier = "verifier"
	WhyRoyalty  = "royalty"
	WhyRefund   = "refund"
	WhyFinder   = "finder" // of what cost another its bond
	WhyRoom     = "room"   // of what was locked for rent, what was not used
)

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
	pay := func(from *task.Amount, to task.Address, node task.NodeID, a task.Amount, why string) {
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
	judged := verdictShares(c, o)
	for _, m := range c.Members {
		if share, ok := judged[m.Claim.Node]; ok && t.verifier != 0 {
			fee, _ := c.Task.Fee.MulDiv(share, uint64(c.JudgeSeats()))
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
	was := c.Deadline
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
	c.Settlement, c.Phase, c.Deadline = &s, Closed, 0
	b.meta.Open--
	b.logFunction(c, o)
	if c.View.Result != nil && table[o].executor != 0 {
		b.logNode(c.View.Executor, c.ID(), Executed, 0)
	}
	b.saveCase(c, was, "settled: %s; fault: %s", o, s.Fault)
}

// credit adds to an account. No balance can wrap: all money is at most the supply.
func (b *Block) credit(to task.Address, a task.Amount) {
	key := join(keyAccount, to[:])
	acct, _ := load[Account](b.state, key)
	acct.Balance += a
	save(b.state, key, acct)
}
