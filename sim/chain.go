package sim

import (
	"context"
	"crypto/ed25519"
	"math/rand/v2"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sim/internal/dice"
	"github.com/prytany/prytany/task"
)

// chain is the replicated state as all honest validators have it: consensus on
// blocks is CometBFT's, and not simulated. Less than a third of its proposers
// are hostile: they leave transactions out, order them as they like, and offer
// blocks that honest validators refuse.
type chain struct {
	w          *world
	store      *state
	height     uint64
	validators []*validator
	pool       []pooled
	claims     verified
	dice       *rand.Rand // of who passes claims on, so that the other worlds live as they did
	asleep     bool       // nothing is open and nothing waits: no blocks are made
}

type validator struct {
	name    string
	hostile bool
	sign    ed25519.PrivateKey // blocks, and changes of reference values
}

type pooled struct {
	key  ed25519.PrivateKey
	body task.Body
	who  string
	then func(error) // what its sender hears
}

const chainID = "sim"

var (
	measurement = task.Hash{9}
)

// found writes the genesis.
func (w *world) found() {
	c := &chain{w: w, store: newState(), asleep: true, claims: verified{}, dice: rand.New(rand.NewPCG(w.seed, 27))}
	w.chain = c
	p := ledger.Embedded(chainID)
	p.IntervalMillis, p.EpochBlocks = 50, uint64(w.between(5, 20))
	p.ClaimBlocks, p.CommitBlocks = uint64(w.between(2, 4)), uint64(w.between(3, 6))
	if e := ledger.Embedded(chainID); w.o.Interval != 0 {
		p.IntervalMillis, p.ClaimBlocks, p.CommitBlocks = w.o.Interval, e.ClaimBlocks, e.CommitBlocks
	}
	p.AttestBlocks, p.ReleaseBlocks, p.RunGraceBlocks, p.ReviewBlocks = 50, 50, 50, 50
	p.DisputeBlocks, p.JailBlocks, p.UnbondBlocks, p.MaxViews, p.MaxAttempts = 60, 60, 2500, 4, 4
	p.DeclineBlocks, p.SkipBlocks, p.FetchFloor = 20, 20, 1<<30
	p.MaxOpen = uint64(max(40, 20*w.o.Tasks)) // few enough for strangers to fill it
	p.NoticeBlocks = 2 * p.EpochBlocks
	w.params = p
	g := ledger.Genesis{Params: p, Beacon: dice.Group(), Reference: attest.Reference{AllowSimulated: true, Measurements: []task.Hash{measurement, rare}}}
	for i := range 4 {
		name := dice.Validator(i)
		c.validators = append(c.validators, &validator{name: name, sign: dice.Key(name), hostile: i == 3 && !w.o.Honest})
	}
	for _, who := range []*person{w.alice, w.bob} {
		g.Accounts = append(g.Accounts, ledger.Grant{Account: task.PublicKey(who.key), Balance: 1000 * task.PRY})
	}
	w.age(&g.Reference)
	for i, k := range w.workers {
		if !slices.ContainsFunc(w.workers[:i], func(o *worker) bool { return o.node.Operator == k.node.Operator }) {
			g.Accounts = append(g.Accounts, ledger.Grant{Account: k.node.Operator, Balance: 100 * task.PRY})
		}
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: k.node, Bond: k.bond, Profile: k.platform().Profile()})
	}
	if err := ledger.Init(c.store, g); err != nil {
		panic(err)
	}
	w.facts.genesis(g)
}

// read is the state as it is.
func (c *chain) read() ledger.Reader { return ledger.Read(c.store) }

// submit puts a transaction into the pool.
func (c *chain) submit(p pooled) {
	c.pass(p)
	c.pool = append(c.pool, p)
	if c.asleep {
		c.asleep = false
		c.w.after(int64(c.w.params.IntervalMillis)*millisecond, c.tick)
	}
}

// tick makes a block and plans the next, as long as there is a reason to.
func (c *chain) tick() {
	for turn := range c.validators {
		if c.propose(c.validators[(int(c.height)+turn)%len(c.validators)]) {
			break
		}
	}
	if c.read().Meta().Open == 0 && len(c.pool) == 0 && !c.w.due() {
		c.asleep = true
		return
	}
	c.w.after(int64(c.w.params.IntervalMillis)*millisecond+c.w.between(0, 5*millisecond), c.tick)
}

// propose lets a validator make the next block; false if the others refuse it.
func (c *chain) propose(v *validator) bool {
	b := ledger.NewBlock(c.store, c.height+1)
	b.Remember(c.claims)
	var due *beacon.Beacon
	if b.BeaconDue() {
		due = dice.Beacon(b.BeaconInput())
	}
	var missing, forged bool
	if v.hostile && due != nil && c.w.chance(0.3) { // no beacon, or the one that it knows already
		if forged = c.w.chance(0.5); forged {
			due = dice.Beacon(beacon.Input(chainID, c.height))
		} else {
			due, missing = nil, true
		}
	}
	if err := b.Begin(due, unix(c.w.now)); err != nil {
		c.w.say("block %d of %s is refused: %s", c.height+1, v.name, task.CodeOf(err))
		return false
	}
	pool, later := slices.Clone(c.pool), []pooled(nil)
	if v.hostile {
		pool, later = c.w.censor(pool)
	}
	pool = c.pack(pool)
	var why string
	if v.hostile {
		pool, why = c.forge(pool)
	} else {
		c.checkPacked(pool)
	}
	switch err := c.takes(pool, due); {
	case err != nil && why == "":
		c.w.violate("what is right in a block is taken", "block %d of %s: %v", c.height+1, v.name, err)
	case err == nil && why != "":
		c.w.violate("no block brings claims that do not count", "block %d of %s: %s", c.height+1, v.name, why)
	case err != nil:
		c.w.say("block %d of %s is refused: %s", c.height+1, v.name, why)
		return false
	}
	c.height, c.pool = c.height+1, nil
	if missing || forged {
		c.w.violate("a beacon is its height's", "block %d of %s was accepted: its beacon was missing %t, of the block before %t", c.height, v.name, missing, forged)
	}
	for _, p := range pool {
		err := b.Apply(c.sign(b, p))
		if err != nil {
			c.w.say("block %d refuses %s of %s: %s", c.height, p.body.Kind(), p.who, task.CodeOf(err))
		} else {
			c.w.say("block %d takes %s of %s", c.height, p.body.Kind(), p.who)
		}
		if p.then != nil {
			c.w.after(c.w.between(millisecond, 10*millisecond), func() { p.then(err) })
		}
	}
	events := b.End()
	for _, e := range events {
		c.w.say("block %d task %s: %s", c.height, e.Task.Short(), explain.Fact(e.Fact))
	}
	c.pool = append(later, c.pool...)
	c.w.checkBlock(events, len(pool))
	c.w.spread(events)
	c.w.pass(c.height)
	return true
}

// spread tells everyone of the cases that a block has changed.
func (w *world) spread(events []ledger.Event) {
	seen := map[task.TaskID]bool{}
	for _, e := range events {
		if seen[e.Task] {
			continue
		}
		seen[e.Task] = true
		k, ok := w.chain.at(e.Task)
		if !ok {
			continue
		}
		w.closedNow(k)
		for _, p := range w.workers {
			p.follow(k)
		}
		for _, p := range []*person{w.alice, w.bob} {
			p.follow(k)
		}
	}
}

// pass lets a block pass at everyone who has the chain.
func (w *world) pass(height uint64) {
	for _, p := range []*person{w.alice, w.bob} {
		p.passes(height)
	}
	for _, k := range w.workers {
		if len(k.sessions) == 0 {
			continue
		}
		life := k.life
		w.after(w.between(8*millisecond, 9*millisecond), func() { // what the block has changed is known by then
			if k.life == life && w.reached(k) {
				k.passes(height)
			}
		})
	}
}

// light is the chain as an owner's light client shows it: proven, so always
// true, and read at once.
type light struct {
	w   *world
	who *person
}

func (l light) Height() uint64                                { return l.w.chain.height }
func (l light) Params(context.Context) (ledger.Params, error) { return l.w.params, nil }
func (l light) Account(_ context.Context, a task.Address) (ledger.Account, error) {
	return l.w.chain.read().Account(a), nil
}
func (l light) Function(_ context.Context, id task.FunctionID) (ledger.FunctionRecord, error) {
	f, ok := l.w.chain.read().Function(id)
	if !ok {
		return f, task.Refuse("no-function", "function %s is not published", id.Short())
	}
	return f, nil
}
func (l light) Case(_ context.Context, id task.TaskID) (*ledger.Case, error) {
	c, ok := l.w.chain.at(id)
	if !ok {
		return nil, task.Refuse("no-task", "task %s is not on this chain", id.Short())
	}
	return c, nil
}
func (l light) VerifiedCase(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	return l.Case(ctx, id)
}

// Submit does not wait for the block: what comes of it shows in the case.
func (l light) Submit(_ context.Context, key ed25519.PrivateKey, body task.Body) (uint64, error) {
	l.w.after(l.w.between(millisecond, 30*millisecond), func() {
		l.w.chain.submit(pooled{key: key, body: body, who: l.who.name})
	})
	return 0, nil
}
func (l light) Watch(context.Context, uint64, func(uint64, []ledger.Event)) error { return nil }

// unix is the made-up time of a block, in Unix seconds, for microseconds of the
// simulation.
func unix(now int64) int64 { return 1_700_000_000 + now/1_000_000 }
