package economy

import (
	"crypto/ed25519"
	"log/slog"
	"math/rand/v2"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/sim/internal/dice"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// This file plays tasks on the production ledger, with a production session for
// every worker (package node, and in it the committee's machine). What a coalition
// does otherwise, it does at the edges of its own people: what they send, sign,
// serve, release and say. No rule is written here a second time.
//
// Words come at once and blocks one after the other: there is no latency, and
// nothing is lost.

// coalParty is whose money a change is.
type coalParty int

const (
	partyAlice coalParty = iota
	partyBob
	partyMates // the coalition's workers
	partyStrangers
	coalParties
)

var coalPartyNames = []string{"data owner", "code owner", "friends", "other workers"}

// coalRun is what a chain was worth to each party, in units of c: money, less looks
// and runs, and for Alice the results that she has.
type coalRun struct {
	worth  [coalParties]float64
	given  float64 // results that Alice has if the coalition's workers are her friends
	burned float64
	blocks float64 // in which tasks of others were open
	jailed float64 // strangers
}

// coalWorld is one chain with a coalition in it.
type coalWorld struct {
	*econWorld
	plan   coalPlan
	fns    []task.FunctionID
	first  int // of the workers that are the coalition's
	tasks  []*coalTask
	pool   []coalTx
	queue  []func()
	spent  [coalParties]float64 // looks and runs
	gained float64              // Alice's results
	given  float64              // and those that only friends brought her
	looked map[task.Hash]attest.Appraisal
	blocks uint64
}

// coalTx is a transaction on its way.
type coalTx struct {
	key  ed25519.PrivateKey
	body task.Body
	ours bool
	from uint64 // not before this height
}

// coalTask is one task.
type coalTask struct {
	id       task.TaskID
	owner    ed25519.PrivateKey
	market   coalMarket
	plan     coalPlan // what of the coalition's it is about
	trap     bool     // posted by the coalition beside what it needs, and worth nothing to Alice
	c        *ledger.Case
	sessions []*coalSession
	has      bool // a friend has run it: if Alice is one she has the result, whatever the chain says
	voted    map[task.Ballot]bool
	pairs    map[task.Ballot][2]task.Pair // that a friend has signed
	accused  map[task.Ballot]bool
	unbonded bool
	posted   uint64
}

// The experiment's crowd. Strangers have equal bonds; the coalition has a few nodes,
// or as many as it can, under an operator each.
const (
	coalStrangers = 12
	coalNodes     = 4
	coalMost      = 10            // with its stake split
	coalBond      = 3             // of a stranger, in least bonds
	coalLeft      = 10 * task.PRY // of a function's bond, when Bob takes it back: the next task needs some
	coalRare      = 2             // strangers with the coalition's kind of machine
)

// coalWorthShare is what a result is worth to Alice, over what she offers for it.
const coalWorthShare = 1.1

var coalRareMeasurement = task.Hash{8}

// coalParams are those of an embedded chain, whose longer deadlines are a fifth as
// long, in proportion: what is waited for to the end costs blocks.
func coalParams() ledger.Params {
	p := ledger.Embedded("economy")
	p.IntervalMillis = 100
	p.CommitBlocks, p.DeclineBlocks, p.SkipBlocks, p.AttestBlocks = 3, 10, 15, 30
	p.ReleaseBlocks, p.RunGraceBlocks, p.ReviewBlocks, p.DisputeBlocks = 20, 20, 20, 100
	return p
}

// newCoalWorld founds a chain. All that is drawn before the first block is the same
// for all plans, so two chains of one stream differ by what people do.
func newCoalWorld(seed, stream uint64, stake float64, plan coalPlan, tasks int) *coalWorld {
	p := coalParams()
	e := &econWorld{store: econStore{}, params: p, source: rand.NewPCG(seed, stream)}
	e.rng = rand.New(e.source)
	w := &coalWorld{econWorld: e, plan: plan, looked: map[task.Hash]attest.Appraisal{}}
	g := ledger.Genesis{Params: p, Beacon: dice.Group()}
	g.Reference = attest.Reference{AllowSimulated: true, Measurements: []task.Hash{econMeasurement, coalRareMeasurement}}
	grant := func(key ed25519.PrivateKey) {
		g.Accounts = append(g.Accounts, ledger.Grant{Account: task.PublicKey(key), Balance: 1000 * task.PRY})
	}
	e.bob = e.key()
	grant(e.bob)
	for range 2 * tasks { // an account for each task, and for each that is worth nothing
		t := &coalTask{owner: e.key(), voted: map[task.Ballot]bool{}, accused: map[task.Ballot]bool{}, pairs: map[task.Ballot][2]task.Pair{}}
		grant(t.owner)
		w.tasks = append(w.tasks, t)
	}
	bonds := slices.Repeat([]task.Amount{coalBond * p.MinBond}, coalStrangers)
	ours := task.Amount(stake / (1 - stake) * float64(coalStrangers*coalBond*p.MinBond))
	n := coalNodes
	if plan.does(devSplit) {
		n = coalMost
	}
	if n = min(n, int(ours/p.MinBond)); n > 0 {
		bonds = append(bonds, slices.Repeat([]task.Amount{ours / task.Amount(n)}, n)...)
	}
	w.first = coalStrangers
	for i, bond := range bonds {
		k := &econWorker{operator: e.key()}
		k.node = e.machine(k)
		e.workers = append(e.workers, k)
		grant(k.operator)
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: k.node.Node, Bond: bond, Profile: w.platform(i).Profile()})
	}
	must(ledger.Init(e.store, g))
	e.begin()
	for i, m := range coalMarkets {
		f := task.Function{Owner: task.PublicKey(e.bob), Code: task.Blob{CID: "code", Size: 1}, Manifest: task.Manifest{
			Name: string(rune('a' + i)), Version: "1", Runtime: task.RuntimeWasm, Royalty: m.royalty * p.CheckCost,
			Limits: task.Limits{Gas: 1e7, MemoryBytes: 1 << 20, OutputBytes: 1 << 20, WallMillis: 500},
		}}
		if plan.does(devNarrow) && plan.roles()&coalBob != 0 {
			f.Manifest.SuitedPPM = 1
		}
		w.fns = append(w.fns, f.ID())
		e.must(e.bob, task.Body{Publish: &task.Publish{Function: f, Bond: 100 * task.PRY}})
	}
	return w
}

// does says whether the plan has a deviation.
func (w *coalWorld) does(deviation int) bool { return w.plan.does(deviation) }

// platform is the i-th worker's.
func (w *coalWorld) platform(i int) attest.Platform {
	p := attest.Platform{Measurement: econMeasurement}
	if i >= coalStrangers-coalRare {
		p.Measurement = coalRareMeasurement
	}
	if i < len(w.workers) {
		p.Chip = w.workers[i].node.chip
	}
	return p
}

func (w *coalWorld) index(id task.NodeID) int {
	return slices.IndexFunc(w.workers, func(k *econWorker) bool { return k.node.ID() == id })
}

// friend says whether a node is the coalition's.
func (w *coalWorld) friend(id task.NodeID) bool { return w.index(id) >= w.first }

func (w *coalWorld) party(k *econWorker) coalParty {
	if slices.Index(w.workers, k) >= w.first {
		return partyMates
	}
	return partyStrangers
}

// money is what each party has, and what was burned.
func (w *coalWorld) money() (all [coalParties]float64, burned float64) {
	c := float64(w.params.CheckCost)
	for _, t := range w.tasks {
		all[partyAlice] += float64(w.read().Account(task.PublicKey(t.owner)).Balance) / c
	}
	bob := w.read().Account(task.PublicKey(w.bob)).Balance
	for _, id := range w.fns {
		f, _ := w.read().Function(id)
		bob += f.Bond
	}
	all[partyBob] = float64(bob) / c
	for _, k := range w.workers {
		all[w.party(k)] += float64(w.wealth(k)) / c
	}
	return all, float64(w.read().Meta().Burned) / c
}

// coalChain plays a chain of some tasks of one market, one after the other.
func coalChain(seed, stream uint64, stake float64, plan coalPlan, tasks int) (r coalRun) {
	w := newCoalWorld(seed, stream, stake, plan, tasks)
	w.step()
	before, burned := w.money()
	for i := range tasks {
		w.height = 256*((w.height+255)/256) - 1 // the same draws, however long the task before has taken
		w.block.End()
		w.begin()
		w.play(int(stream%uint64(len(coalMarkets))), w.tasks[i], w.tasks[tasks+i])
	}
	if held, supply := w.read().Held(), w.read().Meta().Supply; held != supply {
		halt("%s held, the supply is %s", held, supply)
	}
	r.worth, r.burned = w.money()
	for i := range r.worth {
		r.worth[i] -= before[i] + w.spent[i]
	}
	r.worth[partyAlice] += w.gained
	r.given = w.given
	r.burned -= burned
	r.blocks = float64(w.blocks)
	for _, k := range w.workers[:w.first] {
		if rec, _ := w.read().Node(k.node.ID()); rec.JailedUntil > 0 {
			r.jailed++
		}
	}
	return r
}

// coalTraps are the deviations that post a task beside the one that is needed. All
// else of the plan is then about that one.
const coalTraps coalPlan = 1<<devJunk | 1<<devNarrow

func (t *coalTask) does(deviation int) bool { return t.plan.does(deviation) }

// play takes a task from its posting to the last payment, with a trap beside it if
// that is the plan.
func (w *coalWorld) play(market int, main, trap *coalTask) {
	open := []*coalTask{main}
	main.market = coalMarkets[market]
	fn := w.fns[market]
	if w.plan&coalTraps == 0 {
		main.plan = w.plan
	}
	if w.does(devForesee) {
		for range 9 {
			if !w.ownBlock() || w.elects(main, fn) {
				break
			}
			w.step()
		}
	}
	w.post(main, fn)
	if w.plan&coalTraps != 0 {
		trap.trap, trap.plan, trap.market = true, w.plan, coalMarkets[0]
		w.post(trap, w.fns[0])
		open = append(open, trap)
	}
	for range 4000 {
		w.step()
		if !slices.ContainsFunc(open, func(t *coalTask) bool { return t.c == nil || t.c.Phase != ledger.Closed }) {
			w.pool = nil
			for _, t := range open {
				w.close(t)
			}
			return
		}
	}
	halt("%s: the task does not end: phase %s", w.plan, main.c.Phase)
}

// wish is the task as Alice would post it.
func (w *coalWorld) wish(t *coalTask, fn task.FunctionID) task.Task {
	alice := task.PublicKey(t.owner)
	return task.Task{
		Chain: w.params.Chain, Requester: alice, Nonce: w.block.Nonce(alice), Function: fn,
		Data: []task.Data{{Owner: alice, Blob: task.Blob{CID: "input", Size: 1}}}, Recipient: task.NameRecipient("age1"), GasLimit: 1_000_000, GasPrice: t.market.gas * w.params.CheckCost,
		Fee: w.params.SeatFee * task.DefaultSeats, Seats: task.DefaultSeats, MinSeats: 4, Policy: task.Policy{MinTier: task.TierSimulated},
	}
}

// post posts a task. If the chain refuses what the plan has made of it, it is posted
// as it should be.
func (w *coalWorld) post(t *coalTask, fn task.FunctionID) {
	wish := w.wish(t, fn)
	if t.does(devNarrow) {
		wish.Policy.Measurements, wish.MinSeats = []task.Hash{coalRareMeasurement}, 2
	}
	if t.does(devKinds) {
		wish.Policy.MaxKindPPM = 400_000
	}
	if t.does(devOperators) {
		wish.Policy.MaxOperatorPPM = 100_000
	}
	if !w.takes(t.owner, wish) {
		wish = w.wish(t, fn)
	}
	w.must(t.owner, task.Body{Post: &wish})
	t.id, t.posted = wish.ID(), w.height
	for i, k := range w.workers {
		s := &coalSession{w: w, t: t, k: k, mate: i >= w.first, timers: map[committee.TimerKind]coalTimer{}, looks: map[task.Hash]int{}}
		t.sessions = append(t.sessions, s)
	}
}

// takes says whether a node's pool would take a task as its owner's next transaction.
func (w *coalWorld) takes(owner ed25519.PrivateKey, wish task.Task) bool {
	tx, err := task.VerifyTx(task.SignTx(owner, task.Tx{Chain: w.params.Chain, Nonce: wish.Nonce, Body: task.Body{Post: &wish}}), w.params.Chain)
	must(err)
	_, err = ledger.Check(w.store, w.height, tx, ledger.Pooled{})
	return err == nil
}

// close counts what a settled task was worth.
func (w *coalWorld) close(t *coalTask) {
	if !t.trap {
		w.blocks += t.c.Settlement.Height - t.posted
		offered := task.Amount(task.DefaultSeats)*w.params.SeatFee/w.params.CheckCost + t.market.gas + t.market.royalty
		switch worth := coalWorthShare * float64(offered); {
		case t.c.Settlement.Outcome == ledger.Completed:
			w.gained += worth
		case t.has:
			w.given += worth
		}
	}
	w.forget(t.c)
}

// ownBlock says whether the next block is proposed by the coalition: every third is.
func (w *coalWorld) ownBlock() bool { return w.height%3 == 0 }

// elects says whether the latest beacon would give a friend the lowest ticket of all
// whose keys the coalition knows, and a low one.
func (w *coalWorld) elects(t *coalTask, fn task.FunctionID) bool {
	wish, epoch := w.wish(t, fn), w.height/w.params.EpochBlocks
	seed := sortition.Seed(w.params.Chain, task.Hash(wish.ID()), 0, w.read().Beacon().Value)
	for _, k := range w.workers[w.first:] {
		rec, _ := w.read().Node(k.node.ID())
		won, ok := sortition.Win(k.node.vrf, task.Hash(k.node.ID()), seed, wish.Seats, uint64(rec.StakeAt(epoch)), uint64(w.read().Meta().TotalStake(epoch)))
		if !ok {
			continue
		}
		for _, ticket := range sortition.Tickets(task.Hash(k.node.ID()), won.Output(), won.Seats()) {
			if ticket.Hash[0] < 16 {
				return true
			}
		}
	}
	return false
}

// submit puts a transaction into the pool.
func (w *coalWorld) submit(key ed25519.PrivateKey, ours bool, body task.Body) {
	w.pool = append(w.pool, coalTx{key: key, body: body, ours: ours})
}

// censored says whether the coalition leaves a transaction out of its own block.
func (w *coalWorld) censored(tx coalTx) bool {
	if tx.ours || !w.ownBlock() {
		return false
	}
	b := tx.body
	return w.does(devFill) ||
		w.does(devCensorClaims) && b.Claims != nil ||
		w.does(devCensorWords) && (b.Commitments != nil || b.Verdicts != nil || b.Show != nil) ||
		w.does(devCensorEnds) && (b.Result != nil || b.Exit != nil || b.Decline != nil || b.Release != nil || b.Call != nil)
}

// step makes a block of what is in the pool, and lets everyone hear of it.
func (w *coalWorld) step() {
	pool := w.pool
	w.pool = nil
	for _, tx := range pool {
		if tx.from > w.height || w.censored(tx) {
			w.pool = append(w.pool, tx)
			continue
		}
		_ = w.send(tx.key, tx.body) // one that is refused was too late, or was meant to be
	}
	moved := map[task.TaskID]bool{}
	for _, e := range w.block.End() {
		moved[e.Task] = true
	}
	for _, t := range w.tasks {
		if t.id.IsZero() || t.c != nil && t.c.Phase == ledger.Closed {
			continue
		}
		if moved[t.id] {
			c, ok := w.read().Case(t.id)
			if !ok {
				halt("the case is lost")
			}
			t.c = c
			w.moved(t)
		}
		w.passes(t)
	}
	w.begin()
}

// drain lets all words arrive.
func (w *coalWorld) drain() {
	for len(w.queue) > 0 {
		do := w.queue[0]
		w.queue = w.queue[1:]
		do()
	}
}

func (w *coalWorld) later(do func()) { w.queue = append(w.queue, do) }

// moved tells everyone what the case is now.
func (w *coalWorld) moved(t *coalTask) {
	for i, s := range t.sessions {
		if s.s == nil {
			quiet := slog.New(slog.DiscardHandler)
			inner, err := node.NewSession(node.SessionConfig{
				Node: s.k.node.Node, Peer: s.k.node.peer, VRF: s.k.node.vrf, Patience: coalPatience, Journal: &s.journal, Effects: s,
				Appraise: s.appraise, Fits: func(attest.Reference, string) error { return nil }, Log: quiet,
			}, t.c)
			must(err)
			s.s = inner
		}
		if t.c.Phase <= ledger.Electing || t.c.Member(w.workers[i].node.ID()) != nil {
			w.later(func() { s.s.Chain(t.c) })
		}
	}
	w.drain()
	w.owners(t)
	w.conspire(t)
	w.drain()
}

// passes lets a block pass: timers are in blocks, and who waits looks again.
func (w *coalWorld) passes(t *coalTask) {
	if t.c == nil || t.c.Phase == ledger.Closed {
		return
	}
	for _, s := range t.sessions {
		for kind := committee.SilenceTimer; kind <= committee.SkipTimer; kind++ {
			if up, ok := s.timers[kind]; ok && up.height <= w.height {
				delete(s.timers, kind)
				w.later(func() { s.s.TimedOut(up.timer) })
			}
		}
		if s.start != nil {
			w.later(s.tryStart)
		}
		if s.asked != 0 {
			w.later(s.askKeys)
		}
	}
	w.drain()
	w.owners(t)
}
