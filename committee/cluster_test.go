package committee

import (
	"container/heap"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// cluster runs one task on many machines and one ledger in virtual time: a
// queue of events, no goroutine, no clock, one seed.
type cluster struct {
	t      testing.TB
	rand   *rand.Rand
	now    float64 // milliseconds
	queue  queue
	seq    int
	oneWay float64 // network delay
	every  float64 // between blocks
	jitter float64
	loss   float64
	nodes  map[task.NodeID]*peer
	order  []*peer
	store  *ledger.MemStore
	height uint64
	pool   []queued
	val    beacon.Secret
	alice  ed25519.PrivateKey
	bob    ed25519.PrivateKey
	id     task.TaskID
	served map[task.Hash]bool
	params ledger.Params
	log    []string
	blame  bool                 // Alice's key opens nothing
	slow   map[task.NodeID]bool // whose hosts stop their enclaves until they are out of time
	dies   task.NodeID          // its enclave, in the middle of the run
	begun  map[theTurn]bool

	noDecoy task.NodeID          // shows two good pieces
	hides   task.NodeID          // brings no reveals, and does not open its pair
	robs    task.NodeID          // leaves out the reveals
	robbed  map[task.NodeID]bool // of these
	atLast  bool                 // and their commitments, and brings the others' in the last block
	runs    float64              // milliseconds until its enclave has ended

	busy map[task.NodeID]bool // no enclave free; somebody cuts that word off their claims
}

// theTurn is one executor's in one view of one attempt.
type theTurn struct {
	id            task.NodeID
	attempt, view uint32
}

type queued struct {
	from ed25519.PrivateKey
	body task.Body
}

type peer struct {
	id     task.NodeID
	node   task.Node
	vrf    *vrf.PrivateKey
	key    ed25519.PrivateKey
	op     ed25519.PrivateKey
	chip   ed25519.PrivateKey
	m      *Machine
	c      *ledger.Case // as it last heard of it
	height uint64       // of the last block that passed here
	timers map[TimerKind]due
	dead   bool                                                    // hears and says nothing
	says   func(found Appraised) (Appraised, bool)                 // instead of what it found, or nothing
	spoil  func(attest.Platform, attest.Context, *attest.Evidence) // what its enclave shows as genuine
}

type due struct {
	timer  Timer
	height uint64
}

type item struct {
	at  float64
	seq int
	do  func()
}
type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any     { o := *q; x := o[len(o)-1]; *q = o[:len(o)-1]; return x }

func (c *cluster) after(ms float64, do func()) {
	c.seq++
	heap.Push(&c.queue, item{c.now + ms, c.seq, do})
}

func key(s string) ed25519.PrivateKey {
	h := task.H(task.TagSalt, []byte(s))
	return ed25519.NewKeyFromSeed(h[:])
}

// sealKey stands for what owners seal to.
const sealKey = "an enclave's key"

var (
	enclaveKeys = attest.Keys{Seal: attest.SealKey([]byte(sealKey)), Sign: task.PublicKey(key("enclave"))}
	decoyKeys   = attest.Keys{Sign: task.PublicKey(key("thrown away"))}
)

// newCluster makes n workers of equal stake and posts a task for tau seats.
func newCluster(t testing.TB, seed uint64, n int, tau uint32, times Patience, blockMillis float64, set ...func(*ledger.Params)) *cluster {
	c := &cluster{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), oneWay: 25, nodes: map[task.NodeID]*peer{}, store: ledger.NewMemStore(),
		every: blockMillis, val: beacon.NewSecret([32]byte{1}), alice: key("alice"), bob: key("bob"), begun: map[theTurn]bool{},
	}
	c.params = ledger.Embedded("test")
	for _, f := range set {
		f(&c.params)
	}
	g := ledger.Genesis{Params: c.params, Beacon: beacon.OwnGroup(task.Key{1}, c.val)}
	g.Reference = attest.Reference{AllowSimulated: true, Measurements: []task.Hash{{9}}}
	for _, k := range []ed25519.PrivateKey{c.alice, c.bob} {
		g.Accounts = append(g.Accounts, ledger.Grant{Account: task.PublicKey(k), Balance: 1000 * task.PRY})
	}
	for i := range n {
		name := fmt.Sprintf("%d/%d", seed, i)
		p := &peer{vrf: vrf.NewKey(task.H(task.TagSalt, []byte(name))), key: key(name + "p"), op: key(name + "o"), chip: key(name + "c"), timers: map[TimerKind]due{}}
		p.node = task.Node{Operator: task.PublicKey(p.op), VRF: task.Key(p.vrf.Public()), Peer: task.PublicKey(p.key), Runtimes: []string{"wasm"}, TEE: task.TEE{Kind: "simulated", Identity: task.PublicKey(p.chip)}}
		p.id = p.node.ID()
		p.m = New(p.id, times)
		c.nodes[p.id] = p
		c.order = append(c.order, p)
		g.Accounts = append(g.Accounts, ledger.Grant{Account: p.node.Operator, Balance: 10 * task.PRY})
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: p.node, Bond: 100 * task.PRY, Profile: attest.Platform{Measurement: g.Reference.Measurements[0]}.Profile()})
	}
	if err := ledger.Init(c.store, g); err != nil {
		t.Fatal(err)
	}
	fn := task.Function{Owner: task.PublicKey(c.bob), Manifest: task.Manifest{Name: "f", Runtime: "wasm", Limits: task.Limits{Gas: 1, MemoryBytes: 1, OutputBytes: 1, WallMillis: 100}}, Code: task.Blob{CID: "x", Size: 1}}
	tk := task.Task{Chain: "test", Requester: task.PublicKey(c.alice), Function: fn.ID(), Data: []task.Data{{Owner: task.PublicKey(c.alice), Blob: task.Blob{CID: "y", Size: 1}}}, Recipient: task.NameRecipient("r"), GasLimit: 1, Fee: 4 * task.PRY, Seats: tau, MinSeats: 4, Policy: task.Policy{MinTier: 1}}
	c.id = tk.ID()
	c.block(queued{c.bob, task.Body{Publish: &task.Publish{Function: fn, Bond: 10 * task.PRY}}})
	c.block(queued{c.alice, task.Body{Post: &tk}})
	c.tick(blockMillis)
	return c
}

func (c *cluster) tick(ms float64) {
	pool := c.pool
	c.pool = nil
	c.block(pool...)
	if c.theCase().Phase != ledger.Closed {
		c.after(ms, func() { c.tick(ms) })
	}
}

func (c *cluster) theCase() *ledger.Case {
	k, ok := ledger.Read(c.store).Case(c.id)
	if !ok {
		return &ledger.Case{}
	}
	return k
}

// block makes a block and tells everyone when its case has changed.
func (c *cluster) block(txs ...queued) {
	c.height++
	b := ledger.NewBlock(c.store, c.height)
	var due *beacon.Beacon
	if b.BeaconDue() {
		v := c.val.Beacon(b.BeaconInput())
		due = &v
	}
	if err := b.Begin(due, 1_700_000_000); err != nil {
		c.t.Fatal(err)
	}
	nonces := map[task.Address]uint64{}
	for _, q := range txs {
		from := task.PublicKey(q.from)
		if _, ok := nonces[from]; !ok {
			nonces[from] = ledger.Read(c.store).Account(from).Nonce
		}
		tx, err := task.VerifyTx(task.SignTx(q.from, task.Tx{Chain: "test", Nonce: nonces[from], Body: q.body}), "test")
		if err != nil {
			c.t.Fatal(err)
		}
		nonces[from]++
		if err := b.Apply(tx); err != nil {
			c.logf("block %d refused %s: %v", c.height, q.body.Kind(), err)
		}
	}
	events := b.End()
	if r := ledger.Read(c.store); r.Held() != r.Meta().Supply {
		c.t.Fatalf("block %d: held %d of %d", c.height, r.Held(), r.Meta().Supply)
	}
	for _, e := range events {
		c.logf("block %d: %+v", c.height, e.Fact)
	}
	// Owners follow the chain too: no executor can make them look silent.
	if k := c.theCase(); k.Phase == ledger.Releasing && !c.blame {
		c.after(2*c.oneWay, func() { c.owners(k.Attempt, k.View.Number, k.View.Pre.Digests[k.View.Pre.Place]) })
	}
	k, height := c.theCase(), c.height
	for _, p := range c.order {
		if len(events) > 0 {
			c.after(1, func() { c.step(p, ChainMoved{Case: k}) })
		}
		c.after(1, func() { c.pass(p, height) })
	}
}

// pass lets a block pass at a node.
func (c *cluster) pass(p *peer, height uint64) {
	p.height = height
	for _, kind := range []TimerKind{SilenceTimer, FlushTimer, StallTimer, WordTimer} {
		if t, ok := p.timers[kind]; ok && t.height <= height {
			delete(p.timers, kind)
			c.step(p, TimedOut{Timer: t.timer})
		}
	}
}

func (c *cluster) logf(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf("%7.1f ms  ", c.now)+fmt.Sprintf(format, args...))
}

// send delivers an event after the network's delay, or not at all.
func (c *cluster) send(from, to *peer, e Event) {
	if from.dead || to == from || c.rand.Float64() < c.loss {
		return
	}
	c.after(c.oneWay+c.rand.Float64()*c.jitter, func() { c.hear(to, e) })
}

// hear keeps back what is ahead of the case as a node knows it.
func (c *cluster) hear(p *peer, e Event) {
	var b task.Ballot
	switch e := e.(type) {
	case VoteHeard:
		b = task.Ballot{Attempt: e.Vote.Vote.Attempt, View: e.Vote.Vote.View - 1}
	case EvidenceHeard:
		b = e.Shown.Ballot
	case CommitmentHeard:
		b = e.Commitment.Ballot
	case RevealHeard:
		b = e.Reveal.Ballot
	case AliveHeard:
		b = task.Ballot{Attempt: e.Attempt, View: e.View}
	case Appraised, ChainMoved, Left, Quoted, Ran, TimedOut, Unable, Unanswered, Won: // nobody sends these
	}
	if k := p.c; k == nil || b.Attempt > k.Attempt || b.Attempt == k.Attempt && (k.Phase < ledger.Attesting || b.View > k.View.Number) {
		c.after(5, func() { c.hear(p, e) })
		return
	}
	c.step(p, e)
}

func (c *cluster) broadcast(from *peer, e Event) {
	for _, to := range c.order {
		c.send(from, to, e)
	}
}

// step runs one event through one machine and does what it asks.
func (c *cluster) step(p *peer, e Event) {
	if p.dead {
		return
	}
	if moved, ok := e.(ChainMoved); ok {
		p.c = moved.Case
	}
	for _, a := range p.m.Step(e) {
		c.perform(p, a)
	}
}

func (c *cluster) perform(p *peer, a Action) {
	switch a := a.(type) {
	case Draw:
		rec, _ := ledger.Read(c.store).Node(p.id)
		won, ok := sortition.Win(p.vrf, task.Hash(p.id), a.Case.Seed(), a.Case.Seats, uint64(rec.StakeAt(a.Case.Epoch)), uint64(a.Case.TotalStake))
		if ok {
			claim := task.Claim{Task: c.id, Attempt: a.Case.Attempt, Node: p.id, Proof: task.Proof(won.Proof())}
			if c.busy[p.id] {
				word := task.Decline{Task: c.id, Attempt: a.Case.Attempt, Node: p.id, Lack: task.Lack{Reason: task.Busy}}.SignedBy(p.key)
				claim.Busy = &word.Signature
			}
			c.step(p, Won{Claim: claim})
		}
	case Cast:
		s := task.SignedVote{Vote: a.Vote, Signature: task.Sign(p.key, a.Vote.Hash())}
		c.broadcast(p, VoteHeard{Vote: s})
		c.step(p, VoteHeard{Vote: s})
	case CommitVerdict:
		k := task.Commitment{Ballot: a.Reveal.Ballot, Node: p.id, Digest: a.Reveal.Digest()}
		k.Signature = task.Sign(p.key, k.Hash())
		c.send(p, c.nodes[p.c.View.Executor], CommitmentHeard{Commitment: k})
		c.step(p, CommitmentHeard{Commitment: k})
	case SendReveal:
		c.send(p, c.nodes[p.c.View.Executor], RevealHeard{Reveal: a.Reveal})
		c.step(p, RevealHeard{Reveal: a.Reveal})
	case SendEvidence:
		c.broadcast(p, EvidenceHeard{From: p.id, Shown: a.Shown})
	case Appraise:
		found, ok := c.find(p, a), true
		if p.says != nil {
			found, ok = p.says(found)
		}
		if ok {
			c.step(p, found)
		}
	case StartEnclave:
		// What a second enclave shows would contradict the first's evidence.
		if mine := (theTurn{p.id, a.Ballot.Attempt, a.Ballot.View}); c.begun[mine] {
			c.t.Errorf("node %s starts a second enclave in view %d", p.id.Short(), a.Ballot.View)
		} else {
			c.begun[mine] = true
		}
		c.after(5, func() { c.quote(p, a.Ballot) })
		c.beat(p, c.theCase().Attempt, a.Ballot.View)
	case QuoteExit:
		c.after(5, func() {
			e := task.Exit{Ballot: a.Ballot, Evidence: task.Encode(c.evidence(p, task.PostRun, a.Ballot.View))}
			e.Signature = task.Sign(p.key, e.Hash())
			c.step(p, Left{Exit: e})
		})
	case RequestKeys:
		c.after(2*c.oneWay, func() { c.release(p, a) })
	case Submit:
		if p.id == c.hides && a.Body.Verdicts != nil {
			return
		}
		if k := a.Body.Claims; k != nil {
			for i := range k.Won {
				k.Won[i].Busy = nil
			}
		}
		wait := c.oneWay
		if p.id == c.robs {
			var ok bool
			if a.Body, wait, ok = c.rob(a.Body); !ok {
				return
			}
		}
		c.after(wait, func() { c.pool = append(c.pool, queued{p.op, a.Body}) })
	case SetTimer:
		p.timers[a.Timer.Kind] = due{a.Timer, p.height + a.Blocks}
	case Decline:
		d := a.Decline.SignedBy(p.key)
		c.after(c.oneWay, func() { c.pool = append(c.pool, queued{p.op, task.Body{Decline: &d}}) })
	case StopEnclave, Finish:
	}
}

// rob leaves out of an executor's transaction what the robbed have said.
func (c *cluster) rob(b task.Body) (rest task.Body, wait float64, ok bool) {
	wait = c.oneWay
	if v := b.Verdicts; v != nil {
		said := slices.DeleteFunc(v.All(), func(r task.Reveal) bool { return c.robbed[r.Node] })
		b.Verdicts = task.PackVerdicts(v.Ballot, said, v.Opening)
		return b, wait, len(said) > 0 || v.Opening != nil
	}
	if k := b.Commitments; c.atLast && k != nil {
		said := slices.DeleteFunc(k.All(), func(k task.Commitment) bool { return c.robbed[k.Node] })
		b.Commitments = task.PackCommitments(said)
		return b, float64(c.theCase().Deadline-c.height-1)*c.every - 5, len(said) > 0
	}
	return b, wait, true
}

// find is what an honest verifier finds: the place of the good piece, the one that
// its coin names first.
func (c *cluster) find(p *peer, a Appraise) Appraised {
	b := a.Shown.Ballot
	found := Appraised{Ballot: b, Pair: a.Shown.Pair().Hash(), Salt: task.H(task.TagSalt, p.id[:], task.Encode(b))}
	coin := found.Salt[0] & 1
	for _, place := range [2]uint8{coin, 1 - coin} {
		v := p.c.Appraise(task.PreRun, a.Shown.Evidence[place])
		if v.Verdict == task.OK {
			found.Verdict, found.Place, found.Reason = task.OK, place, ""
			return found
		}
		found.Verdict, found.Reason = v.Verdict, v.Reason
	}
	return found
}

// beat sends signs of life while the executor's work lasts.
func (c *cluster) beat(p *peer, attempt, view uint32) {
	c.after(300, func() {
		if k := c.theCase(); !p.dead && k.Phase != ledger.Closed && k.Attempt == attempt && k.View.Number <= view {
			c.broadcast(p, AliveHeard{Attempt: attempt, View: view, Node: p.id})
			c.beat(p, attempt, view)
		}
	})
}

func (c *cluster) evidence(p *peer, r task.Round, view uint32) attest.Evidence {
	context, nonce := p.c.Expected(r, view, p.node).Context, p.c.Wanted(r).Nonce
	platform := attest.Platform{Chip: p.chip, Measurement: task.Hash{9}}
	ev := platform.Quote(context, enclaveKeys, nonce, attest.EmptyState)
	if p.spoil != nil {
		p.spoil(platform, context, &ev)
	}
	return ev
}

func (c *cluster) quote(p *peer, b task.Ballot) {
	proof, beta := p.vrf.Prove(b.PairInput())
	place := task.PairPlace(beta)
	want := p.c.Expected(task.PreRun, b.View, p.node).Context
	decoy := attest.Platform{Chip: p.chip, Measurement: task.Hash{9}}.
		Decoy(want, decoyKeys, p.c.Wanted(task.PreRun).Nonce, attest.DecoyFault(beta))
	if p.id == c.noDecoy {
		decoy = c.evidence(p, task.PreRun, b.View)
		decoy = attest.Platform{Chip: p.chip, Measurement: task.Hash{9}}.Quote(want, decoyKeys, decoy.Nonce, decoy.State)
	}
	s := task.Showing{Ballot: b}
	s.Evidence[place], s.Evidence[1-place] = task.Encode(c.evidence(p, task.PreRun, b.View)), task.Encode(decoy)
	s.Signature = task.Sign(p.key, s.Pair().Hash())
	c.step(p, Quoted{Shown: s, Place: place, Opening: task.Opening{Pair: s.Pair(), Proof: task.Proof(proof), Evidence: s.Evidence[place]}})
}

// release plays both owners and the enclave's run.
func (c *cluster) release(p *peer, a RequestKeys) {
	if p.dead {
		return
	}
	digest, b := task.H(task.TagEvidence, a.Opening.Evidence), a.Opening.Pair.Ballot
	k := c.theCase()
	if c.blame { // what Alice gives opens nothing: she is called to say it before the chain
		c.after(10, func() { c.step(p, Unanswered{Call: task.Call{Ballot: b, Seal: []byte(sealKey)}}) })
		c.after(250, func() { c.owners(k.Attempt, b.View, digest) })
	}
	wait := 10.0
	if p.id == c.robs {
		wait = c.runs
	}
	c.after(wait, func() {
		if p.id == c.dies {
			c.step(p, Unable{Ballot: b, Why: task.Lack{Reason: task.CannotRun}})
			return
		}
		outcome, party, keys := task.RunOK, uint8(0), make([]task.Hash, 3)
		if c.blame {
			alice := task.Release{Task: c.id, Attempt: k.Attempt, View: b.View, Party: alices, Evidence: digest, Sealed: []byte{1}}
			outcome, party, keys[alices] = task.WrongKey, alices, alice.Hash()
		}
		cid := "o"
		if c.slow[p.id] {
			outcome, cid = task.OutOfTime, ""
		}
		r := task.Result{Task: c.id, Attempt: k.Attempt, View: b.View, Node: p.id, Outcome: outcome, Party: party, Keys: keys, Evidence: digest, PreState: attest.EmptyState, PostState: attest.EmptyState}
		r.Gas = k.Function.Manifest.Shown(k.Task, outcome, 0)
		c.step(p, Ran{Result: task.SignedResult{Result: r, Signature: task.Sign(key("enclave"), r.Hash()), CID: cid}.PlacedBy(p.key)})
	})
}

// run processes events until done, or the queue is empty, or a minute is over.
func (c *cluster) run(done func() bool) bool {
	for len(c.queue) > 0 && !done() {
		i := heap.Pop(&c.queue).(item)
		if i.at > 120_000 {
			return false
		}
		c.now = i.at
		i.do()
	}
	return done()
}

func (c *cluster) closed() bool { return c.theCase().Phase == ledger.Closed }

func (c *cluster) dump() {
	for _, l := range c.log {
		c.t.Log(l)
	}
}

// The places of the two among the parties of a task.
const (
	alices uint8 = 1
	bobs   uint8 = 2
)

// owners release their keys to an enclave, once.
func (c *cluster) owners(attempt, view uint32, evidence task.Hash) {
	if c.served == nil {
		c.served = map[task.Hash]bool{}
	}
	if c.served[evidence] {
		return
	}
	c.served[evidence] = true
	for _, o := range []struct {
		party uint8
		key   ed25519.PrivateKey
	}{{alices, c.alice}, {bobs, c.bob}} {
		r := task.Release{Task: c.id, Attempt: attempt, View: view, Party: o.party, Evidence: evidence, Sealed: []byte{1}}
		c.pool = append(c.pool, queued{o.key, task.Body{Release: &r}})
	}
}
