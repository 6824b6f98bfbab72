package sim

import (
	"crypto/ed25519"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sim/internal/dice"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// rare is the measurement of a program that no worker runs.
var rare = task.Hash{10}

// stranger comes to a chain when its tasks are settled, and takes what registry and
// posting would give: a machine that it keeps, or registers anew after a bad record;
// a committee of its own choice; all the room that there is. What it must not get it
// must be refused, and what is anybody's right it must get. Blocks are made by hand
// here, and most heights left out, which changes nothing for the ledger.
type stranger struct {
	w      *world
	height uint64
	key    ed25519.PrivateKey
	names  []*worker // under which it appears, with one machine
}

// strangers plays them all.
func (w *world) strangers() {
	if w.violation != "" || w.read().Account(task.PublicKey(w.alice.key)).Balance < 700*task.PRY {
		return
	}
	s := &stranger{w: w, height: w.chain.height, key: w.key()}
	chip := w.key()
	for _, name := range []string{"first", "second"} {
		k := &worker{name: name, operator: w.key(), peer: w.key(), chip: chip, vrf: vrf.NewKey(w.fresh())}
		k.node = task.Node{
			Operator: task.PublicKey(k.operator), VRF: task.Key(k.vrf.Public()), Peer: task.PublicKey(k.peer), Addr: name,
			Runtimes: []string{task.RuntimeWasm}, Arch: "any", TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(chip)},
		}
		k.id = k.node.ID()
		s.names = append(s.names, k)
		_ = s.block(1, w.alice.key, task.Body{Transfer: &task.Transfer{To: k.node.Operator, Amount: 150 * task.PRY}})
	}
	s.keepsAMachine()
	s.fillsTheChain()
}

func (w *world) read() ledger.Reader { return w.chain.read() }

// block makes a block so many heights later, with some transactions of one sender in
// it. It returns the first refusal.
func (s *stranger) block(later uint64, key ed25519.PrivateKey, bodies ...task.Body) (refused error) {
	s.height += later
	b := ledger.NewBlock(s.w.chain.store, s.height)
	var due *beacon.Beacon
	if b.BeaconDue() {
		due = dice.Beacon(b.BeaconInput())
	}
	if err := b.Begin(due, unix(s.w.now)); err != nil {
		panic(err)
	}
	for _, body := range bodies {
		if body.Post != nil {
			body.Post.Requester, body.Post.Data[0].Owner, body.Post.Nonce = task.PublicKey(key), task.PublicKey(key), b.Nonce(task.PublicKey(key))
		}
		if err := b.Apply(s.w.chain.sign(b, pooled{key: key, body: body})); refused == nil {
			refused = err
		}
	}
	b.End()
	s.w.checkSupply()
	return refused
}

func (s *stranger) register(k *worker, late ledger.Beacon) error {
	h := task.RegistrationHash(chainID, k.node, late.Value)
	quote, err := attest.Platform{Chip: k.chip, Measurement: rare, TCB: newTCB}.Quoter().Quote(h)
	if err != nil {
		panic(err)
	}
	return s.block(1, k.operator, task.Body{Register: &task.Register{
		Node: k.node, Bond: s.w.params.MinBond, Possession: task.Sign(k.peer, h), Quote: quote, Beacon: late.Height,
	}})
}

// want says which refusal there must be, "" for none.
func (s *stranger) want(invariant, code string, err error) {
	if got := task.CodeOf(err); got != code || err != nil && code == "" {
		s.w.violate(invariant, "block %d: %v, and not %q", s.height, err, code)
	}
}

func (s *stranger) keepsAMachine() {
	w, p := s.w, s.w.params
	first, second := s.names[0], s.names[1]
	old := ledger.Beacon{Value: ledger.FirstBeacon(chainID)}
	s.want("a machine is registered", "", s.register(first, w.read().Beacon()))
	s.want("one machine, one node", "tee-taken", s.register(second, w.read().Beacon()))
	s.asksForItsOwn(2 * p.EpochBlocks)

	// It has the machine no more, and leaves the bond where it is.
	_ = s.block(p.RenewBlocks, nil)
	rec, _ := w.read().Node(first.id)
	if got := rec.StakeAt(s.height / p.EpochBlocks); got != 0 {
		w.violate("who does not show its machine draws nothing", "block %d: it draws with %s", s.height, got)
	}
	s.want("one machine, one node", "tee-taken", s.register(second, w.read().Beacon()))
	_ = s.block(p.RenewBlocks, nil)
	s.want("one machine, one node", "tee-taken", s.register(second, w.read().Beacon()))
	_ = s.block(p.UnbondBlocks, nil)
	before, _ := w.read().Node(first.id)
	s.want("a registration is fresh", "quote-old", s.register(second, old))
	s.want("a machine is free when the bond is back", "", s.register(second, w.read().Beacon()))
	s.want("one machine, one node", "tee-gone", s.block(1, first.operator, task.Body{Bond: &task.Bond{Node: first.id, Amount: p.MinBond}}))
	after, _ := w.read().Node(second.id)
	for cause, n := range before.Counts {
		if after.Counts[cause] < n {
			w.violate("a record stays with its machine", "%s %d times under one name, %d under the next", cause, n, after.Counts[cause])
		}
	}
}

// asksForItsOwn posts a task that only the stranger's machine could work for.
func (s *stranger) asksForItsOwn(later uint64) {
	w := s.w
	_ = s.block(later, nil)
	var all, own task.Amount
	epoch := (s.height + 1) / w.params.EpochBlocks
	for _, n := range w.read().Nodes(ledger.Whole) {
		all += n.StakeAt(epoch)
		if n.Profile.Measurement == rare {
			own += n.StakeAt(epoch)
		}
	}
	t := s.task()
	t.Policy.Measurements = []task.Hash{rare}
	if 3*own < all {
		s.want("no policy picks its judges", "policy-narrow", s.block(1, w.alice.key, task.Body{Post: &t}))
	}
}

func (s *stranger) task() task.Task {
	return task.Task{
		Chain: chainID, Function: s.w.function().ID(), Data: []task.Data{{Blob: task.Blob{CID: "input", Size: 5}}}, Recipient: task.NameRecipient("age1"),
		GasLimit: 1000, GasPrice: 1, Fee: 2 * s.w.params.SeatFee, Seats: 2, MinSeats: 2, Policy: task.Policy{MinTier: task.TierSimulated},
	}
}

// fillsTheChain posts as much as there is room for, and pays more for each tenth. All
// come in one block, so that nothing of hers comes back meanwhile.
func (s *stranger) fillsTheChain() {
	w := s.w
	for w.read().Meta().Open > 0 {
		_ = s.block(1, nil)
	}
	alice := task.PublicKey(w.alice.key)
	had := w.read().Account(alice).Balance
	tasks := make([]task.Task, w.params.MaxOpen)
	bodies := make([]task.Body, len(tasks))
	for i := range tasks {
		tasks[i] = s.task()
		bodies[i].Post = &tasks[i]
	}
	_ = s.block(1, w.alice.key, bodies...) // her money, or Bob's bond, may be used up
	spent, least, open := had-w.read().Account(alice).Balance, task.Amount(0), uint64(0)
	for i := range tasks {
		c, ok := w.chain.at(tasks[i].ID())
		if !ok {
			continue
		}
		times := task.Amount(1)
		for range 10 * open / w.params.MaxOpen {
			times *= 2
		}
		least += times*w.params.PostingFee + c.Escrow.Locks[0] + c.Escrow.Room
		open++
	}
	if spent < least || open < w.params.MaxOpen/4 {
		w.violate("room gets dearer as it gets scarce", "%d of %d tasks cost %s and not %s", open, w.params.MaxOpen, spent, least)
	}
}
