package sim

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
)

// person is Alice or Bob: the production keeper, with a life around it.
type person struct {
	w      *world
	name   string
	role   task.Role
	party  uint8 // its place among a task's parties
	key    ed25519.PrivateKey
	keeper *owner.Keeper
	silent bool // releases nothing, answers nobody
	wrong  bool // releases a key that opens nothing
	// withholds says that its files come to nobody, or to friends only.
	withholds bool
	friends   map[int]bool
	busy      map[task.TaskID]bool
}

func (w *world) key() ed25519.PrivateKey {
	s := w.fresh()
	return ed25519.NewKeyFromSeed(s[:])
}

// people makes Alice and Bob.
func (w *world) people() {
	w.alice = &person{w: w, name: "alice", role: task.DataOwner, party: 1, key: w.key()}
	w.bob = &person{w: w, name: "bob", role: task.CodeOwner, party: 2, key: w.key()}
	for _, p := range []*person{w.alice, w.bob} {
		p.busy = map[task.TaskID]bool{}
		p.silent = !w.o.Honest && w.chance(0.06)
		p.wrong = !w.o.Honest && w.chance(0.05)
		p.withholds, p.friends = !w.o.Honest && w.chance(0.05), map[int]bool{}
		if w.chance(0.5) {
			for i := range 10 {
				p.friends[i] = w.chance(0.5)
			}
		}
		p.keeper = &owner.Keeper{Role: p.role, Account: p.key, Chain: light{w, p}, Seal: p.seal, Log: slog.New(slog.DiscardHandler)}
	}
}

// serves says whether its files come to a worker.
func (p *person) serves(k *worker) bool {
	return p.w.reached(k) && !p.keepsFrom(k)
}

func (p *person) keepsFrom(k *worker) bool { return p.withholds && !p.friends[k.index] }

// wrongKey begins what is sealed to the right enclave, and opens nothing.
const wrongKey = "not the key of "

// seal stands in for HPKE: what is sealed names the one enclave that can open it.
func (p *person) seal(c *ledger.Case, r task.Release, enclave []byte) (task.Release, error) {
	p.w.checkRelease(p, c, enclave)
	r.Sealed = append([]byte(p.name+" to "), enclave...)
	if p.wrong {
		r.Sealed = append([]byte(wrongKey), r.Sealed...)
	}
	p.w.say("%s releases the key of task %s, view %d, to an enclave of %s", p.name, r.Task.Short(), r.View, p.w.name(c.View.Executor))
	return r, nil
}

// follow is the keeper's look at a case that has moved.
func (p *person) follow(c *ledger.Case) {
	id := c.ID()
	if p.silent || c.Phase != ledger.Releasing || p.busy[id] {
		return
	}
	p.busy[id] = true
	p.w.after(p.w.between(2*millisecond, 40*millisecond), func() {
		p.busy[id] = false
		p.keeper.Record(context.Background(), id, func(*ledger.Case, task.Party) bool { return true })
	})
}

// passes lets a block pass at a keeper: what executors keep back it brings itself.
func (p *person) passes(height uint64) {
	for _, b := range p.keeper.Overdue(height) {
		p.w.after(p.w.between(2*millisecond, 20*millisecond), func() { p.keeper.Bring(context.Background(), b) })
	}
}

// ask is an executor's request for the key; answer is called with the reply,
// or never.
func (p *person) ask(q task.KeyRequest, tries int, answer func(task.KeyReply)) {
	if p.silent {
		return
	}
	c, ok := p.w.chain.at(q.Opening.Pair.Ballot.Task)
	due := ok && c.Phase >= ledger.Attesting && c.Ballot() == q.Opening.Pair.Ballot && c.View.Pre.Progress >= ledger.Sealed
	if !due {
		if tries > 0 { // a proof lags the executor's word
			p.w.after(30*millisecond, func() { p.ask(q, tries-1, answer) })
		}
		return
	}
	r, err := p.keeper.Decide(c, q.Party, q.Opening, q.Reveals, q.Seal)
	if task.CodeOf(err) == "release-early" && tries > 0 { // the chain must know it first
		p.w.after(30*millisecond, func() { p.ask(q, tries-1, answer) })
		return
	}
	if err != nil {
		p.w.say("%s refuses a key of task %s to %s: %s", p.name, q.Opening.Pair.Ballot.Task.Short(), p.w.name(c.View.Executor), task.CodeOf(err))
		answer(task.KeyReply{Refused: err.Error()})
		return
	}
	answer(task.KeyReply{Release: &r})
}

// schedule plans what Alice and Bob will do, and when it ends.
func (w *world) schedule() {
	f := w.function()
	w.chain.submit(pooled{key: w.bob.key, who: "bob", body: task.Body{Publish: &task.Publish{Function: f, Bond: 500 * task.PRY}}})
	n := w.o.Tasks
	if n == 0 {
		n = int(w.between(1, 3))
	}
	outcomes := []task.Outcome{task.RunOK, task.RunOK, task.RunOK, task.RunFailed, task.RunFailed}
	for i := range n {
		at := 200*millisecond + int64(i)*w.between(100*millisecond, 900*millisecond)
		if i == n-1 && n > 1 { // the last one is posted when all is well again
			at = w.net.heals + second
		}
		j := &job{outcome: outcomes[w.rand.IntN(len(outcomes))], calm: at > w.net.heals}
		w.jobs = append(w.jobs, j)
		w.after(at, func() { w.post(j, f) })
	}
}

// churn moves stake while tasks run: some bond more, some take a part or all.
func (w *world) churn() {
	for _, k := range w.workers {
		for range w.between(0, 2) {
			b := task.Body{Bond: &task.Bond{Node: k.id, Amount: task.Amount(w.between(1, 90)) * task.PRY}}
			if w.chance(0.5) {
				b = task.Body{Unbond: b.Bond}
			}
			all := b.Unbond != nil && w.chance(0.15)
			w.after(w.between(0, w.net.heals+3*second), func() {
				if rec, ok := w.chain.read().Node(k.id); ok && all {
					b.Unbond.Amount = rec.Bond
				}
				k.submit(b)
			})
		}
	}
}

// due says whether something is planned that needs blocks.
func (w *world) due() bool {
	for _, j := range w.jobs {
		if j.closed == 0 {
			return true
		}
	}
	return false
}

func (w *world) function() task.Function {
	return task.Function{
		Owner: task.PublicKey(w.bob.key), Code: task.Blob{CID: "code", Size: 10}, Broker: task.Endpoint{Addr: "bob"},
		Manifest: task.Manifest{
			Name: "f", Version: "1", Runtime: task.RuntimeWasm, Royalty: task.PRY / 2,
			Limits: task.Limits{Gas: 1e7, MemoryBytes: 1 << 20, OutputBytes: 1 << 20, WallMillis: 500},
		},
	}
}

func (w *world) post(j *job, f task.Function) {
	alice := task.PublicKey(w.alice.key)
	seats := uint32(w.between(5, 14))
	if w.o.Seats != 0 {
		seats = w.o.Seats
	}
	p := task.Task{
		Chain: chainID, Requester: alice, Nonce: w.chain.read().Account(alice).Nonce, Function: f.ID(),
		Data: []task.Data{{Owner: alice, Blob: task.Blob{CID: fmt.Sprint("input ", w.now), Size: 5}}}, Recipient: task.NameRecipient("age1"), Endpoint: task.Endpoint{Addr: "alice"},
		GasLimit: 1_000_000, GasPrice: task.PRY, Fee: max(2*task.PRY, task.Amount(seats)*w.params.SeatFee), Seats: seats, MinSeats: min(seats, 4), Policy: w.policy(),
	}
	if len(w.chain.pool) > 0 { // her nonce may be about to be used
		w.after(60*millisecond, func() { w.post(j, f) })
		return
	}
	j.id, j.posted = p.ID(), w.now
	w.say("alice posts task %s for %d seats", j.id.Short(), seats)
	w.chain.submit(pooled{key: w.alice.key, who: "alice", body: task.Body{Post: &p}, then: func(err error) {
		if task.CodeOf(err) == "task-mismatch" { // another transaction of hers was first
			w.post(j, f)
		} else if task.CodeOf(err) == "policy-narrow" && w.fewSuit() {
			j.closed, j.refused = w.now, true
		} else if err != nil {
			w.violate("an honest task is taken", "%v", err)
		}
	}})
}

// fewSuit says whether less than a third of the stake can work for any task now: the
// rest is on its way out of the draw, or of machines that are not accepted any more.
func (w *world) fewSuit() bool {
	r, height, floor := w.chain.read(), w.chain.height, uint64(0)
	if until, ok := w.rise(); ok && height+1 >= until {
		floor = newTCB
	}
	var suits task.Amount
	epoch := (height + 1) / w.params.EpochBlocks
	for _, n := range r.Nodes(ledger.Whole) {
		if n.JailedUntil <= height && !n.Lapsed && n.Profile.TCB >= floor {
			suits += n.StakeAt(epoch)
		}
	}
	return 3*suits < r.Meta().TotalStake(epoch)
}

// closedNow notes that a case has a result, and that it is settled.
func (w *world) closedNow(c *ledger.Case) {
	for _, j := range w.jobs {
		if j.id == c.ID() && c.View.Result != nil && j.answered == 0 {
			j.answered = w.now
		}
		if j.id == c.ID() && c.Phase == ledger.Closed && j.closed == 0 {
			j.closed = w.now
			w.checkReceipt(c)
		}
	}
}

// message is what a worker's session says to another, as bytes on a stream.
func encode(m node.Message) []byte { return task.Encode(m) }
