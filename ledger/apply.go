package ledger

import (
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/schema"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Apply does one transaction. If it is refused, the state is as before but for
// the sender's fee and nonce; with a wrong nonce or no money for the fee not
// even these.
func (b *Block) Apply(tx task.VerifiedTx) error {
	t, fee := tx.Tx(), b.Params.Fee(tx.Size())
	if t.Free() {
		return b.do(t, 0)
	}
	acct, _ := load[Account](b.state, join(keyAccount, t.From[:]))
	if t.Nonce != acct.Nonce {
		return task.Refuse("nonce-wrong", "nonce %d of %s; the next is %d", t.Nonce, t.From.Short(), acct.Nonce)
	}
	if acct.Balance < fee {
		return noFee(t, acct, fee)
	}
	acct.Nonce++
	acct.Balance -= fee
	b.meta.Burned += fee
	save(b.state, join(keyAccount, t.From[:]), acct)
	return b.do(t, fee)
}

// do does what a transaction is for, or nothing.
func (b *Block) do(t task.Tx, fee task.Amount) error {
	outer, meta, events := b.state, b.meta, len(b.events)
	b.meta.Stakes = slices.Clone(meta.Stakes)
	b.state = newOverlay(outer)
	err := b.apply(t)
	if err == nil {
		if t.Body.Decline != nil { // whoever cannot work is not to hesitate to say so
			b.meta.Burned -= fee
			b.credit(t.From, fee)
		}
		b.writeCases()
		b.state.Flush()
	} else {
		b.meta, b.events = meta, b.events[:events]
		clear(b.cases) // what it has changed in them has not happened
	}
	b.state = outer
	return err
}

func noFee(t task.Tx, acct Account, fee task.Amount) error {
	return task.Refuse("no-fee", "%s holds %s, the fee is %s", t.From.Short(), acct.Balance, fee)
}

func (b *Block) apply(t task.Tx) error {
	switch body := t.Body; {
	case body.Transfer != nil:
		return b.transfer(t.From, *body.Transfer)
	case body.Register != nil:
		return b.register(t.From, *body.Register)
	case body.Bond != nil:
		return b.bond(t.From, *body.Bond)
	case body.Unbond != nil:
		return b.unbond(t.From, *body.Unbond)
	case body.Publish != nil:
		return b.publish(t.From, *body.Publish)
	case body.Post != nil:
		return b.post(t)
	case body.Claims != nil:
		return b.claims(body.Claims.All(), t.Free())
	case body.Commitments != nil:
		return b.commitments(body.Commitments.All())
	case body.Verdicts != nil:
		return b.verdicts(*body.Verdicts)
	case body.Skip != nil:
		return b.skip(*body.Skip)
	case body.Release != nil:
		return b.release(t.From, *body.Release)
	case body.Result != nil:
		return b.result(*body.Result)
	case body.Show != nil:
		return b.show(*body.Show)
	case body.Exit != nil:
		return b.exit(*body.Exit)
	case body.Accuse != nil:
		return b.accuse(t.From, *body.Accuse)
	case body.Withdraw != nil:
		return b.withdraw(t.From, *body.Withdraw)
	case body.Decline != nil:
		return b.decline(*body.Decline)
	case body.Call != nil:
		return b.call(t.From, *body.Call)
	case body.Govern != nil:
		return b.govern(*body.Govern)
	}
	return task.Refuse("tx-malformed", "the transaction does nothing")
}

// debit takes from an account, or says what is missing.
func (b *Block) debit(from task.Address, a task.Amount) error {
	key := join(keyAccount, from[:])
	acct, _ := load[Account](b.state, key)
	rest, ok := acct.Balance.Sub(a)
	if !ok {
		return task.Refuse("no-money", "%s holds %s, %s are needed", from.Short(), acct.Balance, a)
	}
	acct.Balance = rest
	save(b.state, key, acct)
	return nil
}

func (b *Block) transfer(from task.Address, t task.Transfer) error {
	if err := b.debit(from, t.Amount); err != nil {
		return err
	}
	b.credit(t.To, t.Amount)
	return nil
}

func (b *Block) register(from task.Address, r task.Register) error {
	if from != r.Node.Operator {
		return task.Refuse("not-operator", "only the operator registers a node")
	}
	if err := r.Node.Check(); err != nil {
		return task.Refuse("node-malformed", "%v", err)
	}
	if err := vrf.PublicKey(r.Node.VRF).Validate(); err != nil {
		return task.Refuse("node-malformed", "VRF key: %v", err)
	}
	beacon, err := b.lateBeacon(r.Beacon)
	if err != nil {
		return err
	}
	bound := task.RegistrationHash(b.Params.Chain, r.Node, beacon)
	if !r.Possession.Verify(r.Node.Peer, bound) {
		return task.Refuse("no-possession", "the peer key has not signed this registration")
	}
	id := r.Node.ID()
	n, known := load[NodeRecord](b.state, join(keyNode, id[:]))
	owner, owned := b.owner(r.Node.TEE)
	var before NodeRecord
	moves := owned && owner != id // from another node
	if moves {
		before, _ = load[NodeRecord](b.state, join(keyNode, owner[:]))
		if err := b.occupied(before); err != nil {
			return err
		}
	}
	if (!known || moves) && r.Bond < b.Params.MinBond {
		return task.Refuse("bond-low", "a node bonds at least %s, this is %s", b.Params.MinBond, r.Bond)
	}
	if known && n.Node.TEE != r.Node.TEE {
		return task.Refuse("tee-changed", "a node keeps its TEE; register another node for another TEE")
	}
	if n.JailedUntil > b.Height {
		return jailed(n)
	}
	if acct, _ := load[Account](b.state, join(keyAccount, from[:])); acct.Balance < r.Bond {
		return task.Refuse("no-money", "%s holds %s, the bond is %s", from.Short(), acct.Balance, r.Bond) // before the appraisal, which costs more than the fee
	}
	n.Node = r.Node
	if !known || moves || len(r.Quote) > 0 {
		p, err := attest.Enrol(r.Node.TEE, r.Quote, bound, b.Params.Chain, b.time, b.reference())
		if err != nil {
			return err
		}
		b.classify(&n, p)
		b.shown(&n)
	}
	if moves {
		b.inherit(&n, before)
	}
	b.state.Set(join(keyChip, r.Node.TEE.Identity[:]), id[:])
	save(b.state, join(keyNode, id[:]), n)
	if r.Bond == 0 {
		return nil
	}
	return b.bond(from, task.Bond{Node: id, Amount: r.Bond})
}

// bond adds to a node's bond; it counts in the draw after a whole epoch.
func (b *Block) bond(from task.Address, t task.Bond) error {
	n, ok := load[NodeRecord](b.state, join(keyNode, t.Node[:]))
	if !ok {
		return task.Refuse("no-node", "node %s is not registered", t.Node.Short())
	}
	if n.JailedUntil > b.Height {
		return jailed(n)
	}
	if owner, owned := b.owner(n.Node.TEE); !owned || owner != t.Node {
		return task.Refuse("tee-gone", "the TEE of node %s is another node's now", t.Node.Short())
	}
	if n.Lapsed {
		return task.Refuse("node-lapsed", "node %s has not shown its machine for %d blocks, and draws no more", t.Node.Short(), b.Params.RenewBlocks).
			WithNext("start prytany node on that machine, which shows it")
	}
	if sum, ok := n.Bond.Add(t.Amount); !ok || sum < b.Params.MinBond {
		return task.Refuse("bond-low", "a node bonds at least %s, this makes %s", b.Params.MinBond, sum)
	}
	if err := b.debit(from, t.Amount); err != nil {
		return err
	}
	n.Bond += t.Amount
	b.restake(&n)
	save(b.state, join(keyNode, t.Node[:]), n)
	return nil
}

func jailed(n NodeRecord) error {
	return task.Refuse("node-jailed", "the node was sent away; it may be bonded again from block %d", n.JailedUntil)
}

// unbond begins to take from a bond; the money waits longer than any dispute
// (spec §3.3). What stays is nothing or at least the minimum.
func (b *Block) unbond(from task.Address, t task.Bond) error {
	n, ok := load[NodeRecord](b.state, join(keyNode, t.Node[:]))
	if !ok || n.Node.Operator != from {
		return task.Refuse("not-operator", "only the operator of a registered node unbonds it")
	}
	rest, ok := n.Bond.Sub(t.Amount)
	if !ok || t.Amount == 0 || rest != 0 && rest < b.Params.MinBond {
		return task.Refuse("bond-low", "the bond is %s; what stays must be nothing or at least %s", n.Bond, b.Params.MinBond)
	}
	if len(n.Unbonding) >= 16 {
		return task.Refuse("unbonding-full", "16 withdrawals are under way; wait for the first")
	}
	n.Bond = rest
	b.restake(&n)
	due := b.Height + b.Params.UnbondBlocks
	n.Unbonding = append(n.Unbonding, Unbonding{Height: due, Amount: t.Amount})
	b.state.Set(unbondKey(due, t.Node), nil)
	save(b.state, join(keyNode, t.Node[:]), n)
	return nil
}

// payUnbonded gives back what has waited long enough.
func (b *Block) payUnbonded() {
	var ripe [][]byte
	b.state.Ascend([]byte(keyUnbond), func(k, _ []byte) bool {
		if heightIn(k, keyUnbond) > b.Height {
			return false
		}
		ripe = append(ripe, k)
		return true
	})
	for _, k := range ripe {
		b.state.Delete(k)
		key := join(keyNode, k[len(keyUnbond)+8:])
		n, _ := load[NodeRecord](b.state, key)
		n.Unbonding = slices.DeleteFunc(n.Unbonding, func(u Unbonding) bool {
			if u.Height <= b.Height {
				b.credit(n.Node.Operator, u.Amount)
			}
			return u.Height <= b.Height
		})
		save(b.state, key, n)
	}
}

// publish registers a function, or adds to the bond of a known one.
func (b *Block) publish(from task.Address, p task.Publish) error {
	if p.Function.Owner != from {
		return task.Refuse("not-owner", "only its owner publishes a function")
	}
	if err := p.Function.Check(); err != nil {
		return task.Refuse("function-malformed", "%v", err)
	}
	if _, err := schema.Of(p.Function.Manifest); err != nil {
		return task.Refuse("schema-invalid", "%v", err)
	}
	if err := b.Params.CheckFunction(p.Function); err != nil {
		return err
	}
	id := p.Function.ID()
	f, known := load[FunctionRecord](b.state, join(keyFunction, id[:]))
	if least := b.Params.Deposit(p.Function); !known && p.Bond < least {
		return task.Refuse("bond-low", "a function of this length is published with a bond of at least %s, this is %s", least, p.Bond)
	}
	if err := b.debit(from, p.Bond); err != nil {
		return err
	}
	if !known {
		f = FunctionRecord{Function: p.Function, Height: b.Height}
		key := NameKey(p.Function.Manifest.Name)
		n, _ := load[Name](b.state, key)
		save(b.state, key, Name{Functions: n.Functions + 1, Last: id})
	}
	f.Bond += p.Bond
	save(b.state, join(keyFunction, id[:]), f)
	return nil
}

// withdraw gives an owner back what no open task locks of a function's bond, down
// to what keeps it in the state.
func (b *Block) withdraw(from task.Address, w task.Withdraw) error {
	key := join(keyFunction, w.Function[:])
	f, known := load[FunctionRecord](b.state, key)
	switch {
	case !known:
		return task.Refuse("no-function", "function %s is not published here", w.Function.Short())
	case f.Function.Owner != from:
		return task.Refuse("not-owner", "only its owner takes from a function's bond")
	}
	least := b.Params.Deposit(f.Function)
	rest, ok := f.Bond.Sub(w.Amount)
	if !ok || w.Amount == 0 || rest < least {
		return task.Refuse("bond-low", "%s of the bond are free of open tasks; at least %s must stay", f.Bond, least)
	}
	f.Bond = rest
	save(b.state, key, f)
	b.credit(from, w.Amount)
	return nil
}

// quote says what a task locks of each party's money, or why it cannot be posted.
// acct is the requester's account after the transaction's fee.
func (b *Block) quote(t task.Tx, acct Account) (Escrow, FunctionRecord, error) {
	p := *t.Body.Post
	f, known := load[FunctionRecord](b.state, join(keyFunction, p.Function[:]))
	refuse := func(code, format string, args ...any) (Escrow, FunctionRecord, error) {
		return Escrow{}, f, task.Refuse(code, format, args...).WithMoney("nothing is locked; the account still holds %s", acct.Balance)
	}
	if p.Requester != t.From || p.Chain != t.Chain || p.Nonce != t.Nonce {
		return refuse("task-mismatch", "the task names another requester, chain or nonce than its transaction")
	}
	if err := p.Check(); err != nil {
		return refuse("task-malformed", "%v", err)
	}
	ref := b.reference()
	if best := ref.BestTier(); p.Policy.MinTier > best {
		return refuse("tier-unavailable", "the task wants %s evidence or better; this chain knows %s at best", p.Policy.MinTier, best)
	}
	if !known {
		return refuse("no-function", "function %s is not published here", p.Function.Short())
	}
	if err := CheckParties(p); err != nil {
		return Escrow{}, f, err.WithMoney("nothing is locked; the account still holds %s", acct.Balance)
	}
	if err := CheckRequest(p, f.Function.Manifest); err != nil {
		return Escrow{}, f, err.WithMoney("nothing is locked; the account still holds %s", acct.Balance)
	}
	if err := lacks(f.Function.Manifest, ref); err != nil {
		return Escrow{}, f, err.WithMoney("nothing is locked; the account still holds %s", acct.Balance)
	}
	if asked, ok := machines(p.Policy, f.Function.Manifest, ref); !ok || !ref.Serves(asked) {
		return refuse("policy-unmeetable", "no enclave that this chain knows meets the task's kinds, measurements and TCB floor")
	}
	if least, ok := b.Params.SeatFee.MulDiv(uint64(p.Seats), 1); !ok || p.Fee < least {
		return refuse("fee-low", "%d seats are paid at least %s together, or verifiers would not look; the task offers %s", p.Seats, least, p.Fee)
	}
	if b.meta.Open >= b.Params.MaxOpen {
		return refuse("chain-full", "%d tasks are open, the most this chain takes; try again later", b.meta.Open)
	}
	if err := b.narrow(p.Policy, f.Function.Manifest); err != nil {
		return Escrow{}, f, err.WithMoney("nothing is locked; the account still holds %s", acct.Balance)
	}
	room, ok3 := b.Params.Room(*t.Body.Post, f.Function, b.Params.Load(b.meta.Open))
	if p.MaxLoad > 0 && room.Load > p.MaxLoad {
		return Escrow{}, f, task.Refuse("room-dear", "%d of at most %d tasks are open, so room costs %d times the usual price: %s for the posting and up to %s of rent; the task takes %d times at the most",
			b.meta.Open, b.Params.MaxOpen, room.Load, room.Fee, room.Locked, p.MaxLoad).
			WithMoney("nothing is locked; the account still holds %s", acct.Balance).WithNext("--max-load %d, or try later", room.Load)
	}
	locks, ok := Locks(p, f.Function, b.Params)
	gas, _ := task.GasCost(p.GasLimit, p.GasPrice)
	work, promise := locks[0], locks[len(locks)-1]
	need, ok2 := task.Sum(work, room.Fee, room.Locked)
	if !ok || !ok2 || !ok3 {
		return refuse("amount-overflow", "gas limit × price + fees is over 2^64-1 base units")
	}
	if acct.Balance < need {
		return Escrow{}, f, task.Refuse("escrow-low", "the task locks %s (gas %s, committee %s, royalty %s, posting %s, rent up to %s, at %d times the usual price of room); the account holds %s",
			need, gas, p.Fee, f.Function.Manifest.Royalty, room.Fee, room.Locked, room.Load, acct.Balance).
			WithMoney("nothing is locked; the account still holds %s", acct.Balance).WithNext("%s", cheaper(room))
	}
	if stake := work - p.Fee; stake > b.Params.Cap(p.Seats) {
		return refuse("value-over-cap", "gas and royalty of %s are more than %d seats can answer for, %s; ask for more seats", stake, p.Seats, b.Params.Cap(p.Seats))
	}
	if work > b.Params.MinBond {
		return Escrow{}, f, task.Refuse("lock-over-bond", "gas, committee and royalty of %s are more than the least bond, %s; who executes a task answers for all of that", work, b.Params.MinBond).
			WithMoney("nothing is locked; the account still holds %s", acct.Balance).WithNext("a lower --fee, or fewer --seats")
	}
	if f.Bond < promise {
		return refuse("function-bond-low", "the function's free bond is %s; this task needs %s of it, in case its owner releases no key", f.Bond, promise)
	}
	return Escrow{Locks: locks, Room: room.Locked}, f, nil
}

// cheaper is what to do about a task that the account cannot pay.
func cheaper(r Room) string {
	if r.Load > 1 {
		return "try later, when fewer tasks are open and room is cheaper, or a lower --gas or --fee"
	}
	return "a lower --gas or --fee"
}

// narrow refuses a policy that too little of the present stake meets: a few who own
// all the machines that a task asks for would judge each other.
func (b *Block) narrow(p task.Policy, m task.Manifest) *task.Error {
	epoch := b.epoch()
	return CheckSuited(Suited(Reader{b.state}.Alike(), p, m, b.reference(), epoch), b.meta.TotalStake(epoch), m)
}

// CheckSuited says whether a policy that suits so much of all stake is wide enough
// for a function. Nil if so.
func CheckSuited(has, all task.Amount, m task.Manifest) *task.Error {
	need, _ := all.MulDiv(m.Suited(), million)
	if has >= need {
		return nil
	}
	return task.Refuse("policy-narrow", "machines that the task's policy asks for have %s of the %s of all stake; the function wants tasks that %s can work for", has, all, need).
		WithNext("ask for less: --kind, --measurement, --tier, --min-tcb; or the function's owner lowers suited_share in its manifest")
}

// CheckParties refuses a task with other parties than this version of the protocol
// settles: one data owner, who is the requester (spec §10.1). Everything else counts
// parties, and would take more. Nil if so.
func CheckParties(t task.Task) *task.Error {
	if len(t.Data) != 1 || t.Data[0].Owner != t.Requester {
		return task.Refuse("data-owners", "a task has one input, and who posts it owns it; this one has %d, or another's", len(t.Data)).
			WithNext("one task for each owner, posted by that owner")
	}
	return nil
}

// CheckRequest says whether a function takes what a task asks of it, and a task
// what the function is (spec §10.1). Nil if so.
func CheckRequest(t task.Task, m task.Manifest) *task.Error {
	switch lacks, ok := t.Policy.Accepts(m); {
	case !t.Policy.Meets(m):
		return task.Refuse("policy-weak", "the function's owner releases its key under a stricter policy than the task's, and would look silent")
	case len(t.Args) > 0 && !m.TaskArgs:
		return task.Refuse("args-refused", "the function %.80q takes no arguments of a task, and this one brings %d", m.Name, len(t.Args)).WithNext("leave out what follows --")
	case m.Runtime == task.RuntimeDocker && t.Policy.MinTier > task.TierSimulated:
		return task.Refuse("docker-tier", "the task wants %s evidence; a function of the runtime docker is run by an engine of the host's, whatever the evidence says", t.Policy.MinTier).
			WithNext("--tier simulated, with nothing secret")
	case !ok:
		return task.Refuse("weakness-unaccepted", "%s, and the task's policy does not accept it", Weakness(lacks)).WithNext("--accept %s", lacks)
	case t.GasLimit < m.Limits.GasLeast:
		return task.Refuse("gas-low", "the function is paid for at least %d gas a run; the task offers %d at most", m.Limits.GasLeast, t.GasLimit).
			WithNext("--gas %d", m.Limits.GasLeast)
	}
	return nil
}

// Weakness says what it is that Alice has to accept.
func Weakness(name string) string {
	if name == task.WeakDocker {
		return "the function is run by an engine of the host's, which handles code, input and output in the clear"
	}
	return "the function's gas stands on the chain to the last unit, its result comes to the millisecond, and its code can write into both what it has read"
}

// Locks is what a task locks of each party's money: the requester's for all that the
// task may cost, the code owner's bond for work that is useless if no key comes. Data
// that the requester owns himself is answered for by his lock (spec §10.1). It is not
// ok over 2^64-1.
func Locks(t task.Task, f task.Function, p Params) (locks []task.Amount, ok bool) {
	locks = make([]task.Amount, len(t.Data)+2)
	gas, ok := task.GasCost(t.GasLimit, t.GasPrice)
	var ok2, ok3 bool
	locks[0], ok2 = task.Sum(gas, t.Fee, f.Manifest.Royalty)
	locks[len(locks)-1], ok3 = fixedPart(t, p).Add(t.Fee)
	return locks, ok && ok2 && ok3
}

// post locks the money and opens the case (spec §10.1).
func (b *Block) post(t task.Tx) error {
	acct, _ := load[Account](b.state, join(keyAccount, t.From[:]))
	escrow, f, err := b.quote(t, acct)
	if err != nil {
		return err
	}
	id := t.Body.Post.ID()
	room, _ := b.Params.Room(*t.Body.Post, f.Function, b.Params.Load(b.meta.Open)) // as quoted
	if err := b.debit(t.From, escrow.Locks[0]+escrow.Room+room.Fee); err != nil {
		return err
	}
	b.meta.Burned += room.Fee
	b.meta.Open++
	f.Bond -= escrow.Locks[len(escrow.Locks)-1]
	save(b.state, join(keyFunction, t.Body.Post.Function[:]), f)
	c := &Case{
		Task: *t.Body.Post, Function: f.Function, Params: b.Params, PostedAt: b.Height,
		Seats: t.Body.Post.Seats, Escrow: escrow,
	}
	b.bind(c)
	b.callFor(c)
	b.hold(id, c)
	b.state.Set(join(keyOwned, t.From[:], task.U64(b.Height), id[:]), nil)
	b.saveCase(c, Fact{Kind: FactPosted, Amount: escrow.Locks[0], Bond: escrow.Locks[len(escrow.Locks)-1]})
	return nil
}

// open loads a case that a committee transaction may change.
func (b *Block) open(id task.TaskID, attempt uint32) (*Case, error) {
	c, ok := b.loadCase(id)
	switch {
	case !ok:
		return nil, task.Refuse("no-task", "task %s is not on this chain", id.Short())
	case c.Phase == Closed:
		return nil, task.Refuse("task-closed", "task %s is settled", id.Short())
	case c.Attempt != attempt:
		return nil, task.Refuse("attempt-stale", "attempt %d of task %s; the present one is %d", attempt, id.Short(), c.Attempt)
	}
	return c, nil
}

// once says of each node in a set whether it is the first time: nobody's signature
// or proof is checked twice.
type once map[task.NodeID]bool

func (o once) first(id task.NodeID) bool {
	was := o[id]
	o[id] = true
	return !was
}

// claims takes what is valid and new of a set; nothing new is an error, so
// that repeating it costs. Where it costs nothing, all must be.
func (b *Block) claims(set []task.Claim, free bool) error {
	if len(set) == 0 {
		return task.Refuse("nothing-new", "no claim in the set")
	}
	c, err := b.open(set[0].Task, set[0].Attempt)
	if err != nil {
		return err
	}
	if c.Phase != Electing {
		return task.Refuse("claims-closed", "claims for attempt %d are closed", c.Attempt)
	}
	added := 0
	seen := once{}
	for _, k := range set {
		if k.Task != set[0].Task || k.Attempt != c.Attempt || c.Member(k.Node) != nil || !seen.first(k.Node) {
			continue
		}
		n, ok := load[NodeRecord](b.state, join(keyNode, k.Node[:]))
		if !ok {
			continue
		}
		m, err := b.admit(c, n.Node, n.Profile, n.StakeAt(c.Epoch), k)
		if err != nil {
			continue
		}
		c.Members = append(c.Members, m)
		added++
	}
	if added == 0 || free && added < len(set) {
		return task.Refuse("nothing-new", "%d new valid claims among %d", added, len(set))
	}
	if c.Stage == Gathering && c.gathered() { // they were waited for
		c.Deadline = b.Height
	}
	b.saveCase(c, Fact{Kind: FactClaimed, Nodes: uint32(len(c.Members)), Seats: c.Roster().Total()})
	return nil
}

// Suits says whether a node's machine is what the task's policy asks for: only
// then it draws.
func (c *Case) Suits(n task.Node, p attest.Profile) error {
	ref := c.Reference()
	if err := lacks(c.Function.Manifest, ref); err != nil {
		return err
	}
	asked, ok := machines(c.Task.Policy, c.Function.Manifest, ref)
	if !ok {
		return task.Refuse("policy-unmeetable", "no program for docker functions that is accepted now is one that the task accepts")
	}
	return p.Meets(n.TEE, asked, ref)
}

// machines is what a task's policy asks of nodes' machines, and whether any can
// be that. A node's profile shows the program of its other functions. Those of
// docker functions are the whole chain's, and they quote by the simulated
// platform alone.
func machines(p task.Policy, m task.Manifest, ref attest.Reference) (asked task.Policy, ok bool) {
	if m.Runtime != task.RuntimeDocker {
		return p, true
	}
	asked, ok = p.And(task.Policy{Kinds: []string{string(attest.Simulated)}, Measurements: ref.Docker})
	asked.Measurements = nil
	return asked, ok
}

// Admit verifies that a node may claim and has won its seats in the present
// attempt (spec §5.4). The offline verifier calls it again.
func (c *Case) Admit(n task.Node, p attest.Profile, stake task.Amount, k task.Claim) (Member, error) {
	if err := c.Suits(n, p); err != nil {
		return Member{}, err
	}
	if d, busy := k.Decline(); busy {
		if err := d.Check(n.Peer); err != nil {
			return Member{}, err
		}
	}
	won, err := sortition.Unverified{Node: task.Hash(k.Node), Proof: vrf.Proof(k.Proof)}.
		Verify(c.Seed(), vrf.PublicKey(n.VRF), c.Seats, uint64(stake), uint64(c.TotalStake))
	if err != nil {
		return Member{}, err
	}
	return Member{Node: n, Profile: p, Stake: stake, Claim: k, Beta: won.Output(), Seats: won.Seats()}, nil
}

// result takes the enclave's word and opens the review of its exit.
func (b *Block) result(s task.SignedResult) error {
	c, err := b.open(s.Result.Task, s.Result.Attempt)
	if err != nil {
		return err
	}
	switch {
	case c.Stage == Condemned && (c.Phase == Releasing || c.Phase == Running):
		return task.Refuse("result-early", "the chain has found this enclave's evidence faulty")
	case c.Stage != Unlocking && c.Stage != Computing:
		return task.Refuse("result-stale", "no result is awaited in phase %s", c.Phase)
	}
	if err := c.CheckResult(s); err != nil {
		return err
	}
	if s.Result.Outcome == task.OutOfTime {
		c.View.Late = &s
		b.endTurn(c)
		return nil
	}
	c.View.Result, c.View.ResultAt = &s, b.Height
	b.enter(c, Questioning)
	b.saveCase(c, Fact{Kind: FactResult, Gas: s.Result.Gas, Ran: s.Result.Outcome})
	return nil
}
