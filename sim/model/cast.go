package model

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Members is n: a seat each, so f is 1 and a quorum of all is 3.
const Members = 4

const (
	chainID = "model"
	members = Members
)

// cast is who plays: four workers of which n0 owns the lowest ticket, n1 the
// next and so on, two owners, a validator, and a task that has been seeded.
type cast struct {
	workers [members]*worker
	byID    map[task.NodeID]int
	alice   ed25519.PrivateKey
	bob     ed25519.PrivateKey
	secret  beacon.Secret               // the one validator's
	beacons map[task.Hash]beacon.Beacon // by input: many states have one height
	params  ledger.Params
	id      task.TaskID
	enclave ed25519.PrivateKey
	keys    attest.Keys
	seeded  chainState
}

type worker struct {
	id    task.NodeID
	node  task.Node
	vrf   *vrf.PrivateKey
	peer  ed25519.PrivateKey
	op    ed25519.PrivateKey
	chip  ed25519.PrivateKey
	seat  ledger.Member
	claim task.Claim
}

func fixedKey(s string) ed25519.PrivateKey {
	h := task.H(task.TagSalt, []byte(s))
	return ed25519.NewKeyFromSeed(h[:])
}

// newCast finds, among beacons, one by which each worker draws one seat.
func newCast(set func(*ledger.Params)) *cast {
	for try := byte(1); ; try++ {
		if c := tryCast(try, set); c != nil {
			return c
		}
	}
}

// sealKey stands for the key that owners seal to.
const sealKey = "the enclave of all"

func tryCast(try byte, set func(*ledger.Params)) *cast {
	c := &cast{byID: map[task.NodeID]int{}, alice: fixedKey("alice"), bob: fixedKey("bob"), secret: beacon.NewSecret([32]byte{try}), beacons: map[task.Hash]beacon.Beacon{}, enclave: fixedKey("enclave")}
	c.keys = attest.Keys{Seal: attest.SealKey([]byte(sealKey)), Sign: task.PublicKey(c.enclave)}
	c.params = ledger.Embedded(chainID)
	p := &c.params
	p.IntervalMillis = 2000 // one block for a run, and to hear that it is late
	p.ClaimBlocks, p.CommitBlocks, p.AttestBlocks, p.ReleaseBlocks, p.RunGraceBlocks, p.ReviewBlocks = 1, 1, 3, 2, 1, 2
	p.MaxAttempts, p.MaxViews, p.DeclineBlocks, p.SkipBlocks = 1, 3, 1, 1
	set(p)
	g := ledger.Genesis{Params: c.params, Beacon: beacon.OwnGroup(task.Key{1}, c.secret)}
	g.Reference = attest.Reference{AllowSimulated: true, Measurements: []task.Hash{{9}}}
	for _, k := range []ed25519.PrivateKey{c.alice, c.bob} {
		g.Accounts = append(g.Accounts, ledger.Grant{Account: task.PublicKey(k), Balance: 1000 * task.PRY})
	}
	for i := range members {
		name := fmt.Sprint("worker", i)
		w := &worker{vrf: vrf.NewKey(task.H(task.TagSalt, []byte(name))), peer: fixedKey(name + "p"), op: fixedKey(name + "o"), chip: fixedKey(name + "c")}
		w.node = task.Node{Operator: task.PublicKey(w.op), VRF: task.Key(w.vrf.Public()), Peer: task.PublicKey(w.peer), Runtimes: []string{"wasm"}, TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(w.chip)}}
		w.id = w.node.ID()
		c.workers[i] = w
		g.Accounts = append(g.Accounts, ledger.Grant{Account: w.node.Operator, Balance: 10 * task.PRY})
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: w.node, Bond: 100 * task.PRY, Profile: attest.Platform{Measurement: g.Reference.Measurements[0]}.Profile()})
	}
	s := chainState{store: &snapshot{m: map[string][]byte{}}}
	if err := ledger.Init(s.store, g); err != nil {
		panic(err)
	}
	fn := task.Function{Owner: task.PublicKey(c.bob), Manifest: task.Manifest{Name: "f", Runtime: "wasm", Limits: task.Limits{Gas: 1, MemoryBytes: 1, OutputBytes: 1, WallMillis: 1000}}, Code: task.Blob{CID: "x", Size: 1}}
	post := task.Task{Chain: chainID, Requester: task.PublicKey(c.alice), Function: fn.ID(), Data: []task.Data{{Owner: task.PublicKey(c.alice), Blob: task.Blob{CID: "y", Size: 1}}}, Recipient: task.NameRecipient("r"), GasLimit: 1, Fee: 4 * task.PRY, Seats: members, MinSeats: 4, Policy: task.Policy{MinTier: 1}}
	c.id = post.ID()
	s = c.block(s, []signed{{c.bob, task.Body{Publish: &task.Publish{Function: fn, Bond: 10 * task.PRY}}}})
	s = c.block(s, []signed{{c.alice, task.Body{Post: &post}}})
	s = c.block(s, nil)
	k := s.read(c.id)
	if k == nil || k.Phase != ledger.Electing {
		panic("the model's task was not posted")
	}
	for _, w := range c.workers {
		won, ok := sortition.Win(w.vrf, task.Hash(w.id), k.Seed(), k.Seats, uint64(100*task.PRY), uint64(k.TotalStake))
		if !ok || won.Seats() != 1 {
			return nil
		}
		w.claim = task.Claim{Task: c.id, Attempt: k.Attempt, Node: w.id, Proof: task.Proof(won.Proof())}
		w.seat = ledger.Member{Node: w.node, Seats: won.Seats(), Beta: won.Output(), Claim: w.claim}
	}
	lowest := func(w *worker) sortition.Ticket {
		return sortition.Tickets(task.Hash(w.id), w.seat.Beta, w.seat.Seats)[0]
	}
	slices.SortFunc(c.workers[:], func(a, b *worker) int { return lowest(a).Compare(lowest(b)) })
	var set4 []task.Claim
	for i, w := range c.workers {
		c.byID[w.id] = i
		set4 = append(set4, w.claim)
	}
	// The claims of all, brought by one: they are on the chain, and still open if
	// the parameters give them more than one block.
	c.seeded = c.block(s, []signed{{c.workers[0].op, task.Body{Claims: task.PackClaims(set4)}}})
	return c
}

func (c *cast) name(id task.NodeID) string {
	if id.IsZero() {
		return "nobody"
	}
	if i, ok := c.byID[id]; ok {
		return fmt.Sprint("n", i)
	}
	return id.Short()
}

// ---- the chain: a state, and blocks that make another ----

// chainState is the ledger after some block. It never changes.
type chainState struct {
	height uint64
	store  *snapshot
}

type signed struct {
	key  ed25519.PrivateKey
	body task.Body
}

// block makes the next state. What the ledger refuses is left out, fee and all:
// a refused transaction changes nothing that the model is about.
func (c *cast) block(s chainState, txs []signed) chainState {
	next, _ := c.blockOf(s, txs)
	return next
}

func (c *cast) blockOf(s chainState, txs []signed) (next chainState, refused int) {
	to := &snapshot{m: maps.Clone(s.store.m)}
	b := ledger.NewBlock(to, s.height+1)
	var due *beacon.Beacon
	if b.BeaconDue() {
		in := b.BeaconInput()
		v, ok := c.beacons[in]
		if !ok {
			v = c.secret.Beacon(in)
			c.beacons[in] = v
		}
		due = &v
	}
	if err := b.Begin(due, 1_700_000_000); err != nil {
		panic(err)
	}
	for _, t := range txs {
		tx, err := task.VerifyTx(task.SignTx(t.key, task.Tx{Chain: chainID, Nonce: b.Nonce(task.PublicKey(t.key)), Body: t.body}), chainID)
		if err != nil {
			panic(err)
		}
		if b.Apply(tx) != nil {
			refused++
		}
	}
	b.End()
	return chainState{s.height + 1, to}, refused
}

func (s chainState) read(id task.TaskID) *ledger.Case {
	k, ok := ledger.Read(s.store).Case(id)
	if !ok {
		return nil
	}
	return k
}

// print names the state by all that decides what can come: the case but for its
// prose, the nodes and the deadlines. Fees and nonces differ between ways to it.
func (s chainState) print(id task.TaskID) task.Hash {
	var all bytes.Buffer
	for _, k := range slices.Sorted(maps.Keys(s.store.m)) {
		if strings.HasPrefix(k, "a/node/") || strings.HasPrefix(k, "p/due/") {
			all.WriteString(k)
			all.Write(s.store.m[k])
		}
	}
	if c := s.read(id); c != nil {
		c.History = nil
		all.Write(task.Encode(c))
	}
	return task.H(task.TagState, task.U64(s.height), all.Bytes())
}

// snapshot is a ledger.Store that is cheap to copy: values are never changed.
type snapshot struct{ m map[string][]byte }

func (s *snapshot) Get(key []byte) []byte { return s.m[string(key)] }
func (s *snapshot) Set(key, value []byte) { s.m[string(key)] = value }
func (s *snapshot) Delete(key []byte)     { delete(s.m, string(key)) }
func (s *snapshot) Ascend(prefix []byte, visit func(key, value []byte) bool) {
	var keys []string
	for k := range s.m {
		if strings.HasPrefix(k, string(prefix)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !visit([]byte(k), s.m[k]) {
			return
		}
	}
}

// ---- the enclave ----

// pair is what the enclave of a worker shows for a ballot in a case, and what opens
// it; a spoilt one is genuine in no place: it names a state that is not empty.
func (c *cast) pair(k *ledger.Case, who int, b task.Ballot, spoilt bool) committee.Quoted {
	w := c.workers[who]
	context := k.Expected(task.PreRun, b.View, w.node).Context
	platform := attest.Platform{Chip: w.chip, Measurement: task.Hash{9}}
	state := attest.EmptyState
	if spoilt {
		state = task.Hash{66}
	}
	proof, beta := w.vrf.Prove(b.PairInput())
	genuine := platform.Quote(context, c.keys, k.Nonce(), state)
	decoy := platform.Decoy(context, attest.Keys{}, k.Nonce(), attest.DecoyFault(beta))
	q := committee.Quoted{Shown: task.Showing{Ballot: b}, Place: task.PairPlace(beta)}
	q.Shown.Evidence[q.Place], q.Shown.Evidence[1-q.Place] = task.Encode(genuine), task.Encode(decoy)
	q.Shown.Signature = task.Sign(w.peer, q.Shown.Pair().Hash())
	q.Opening = task.Opening{Pair: q.Shown.Pair(), Proof: task.Proof(proof), Evidence: q.Shown.Evidence[q.Place]}
	return q
}

// exit is how the enclave of a worker has ended; a dirty one has left something.
func (c *cast) exit(k *ledger.Case, who int, b task.Ballot, dirty bool) task.Exit {
	w, state := c.workers[who], attest.EmptyState
	if dirty {
		state = task.Hash{66}
	}
	context := k.Expected(task.PostRun, b.View, w.node).Context
	ev := attest.Platform{Chip: w.chip, Measurement: task.Hash{9}}.Quote(context, c.keys, k.View.ExitNonce, state)
	e := task.Exit{Ballot: b, Evidence: task.Encode(ev)}
	e.Signature = task.Sign(w.peer, e.Hash())
	return e
}

func (c *cast) result(k *ledger.Case, who int, evidence task.Hash, o task.Outcome) task.SignedResult {
	r := task.Result{
		Task: c.id, Attempt: k.Attempt, View: k.View.Number, Node: c.workers[who].id, Outcome: o,
		Evidence: evidence, PreState: attest.EmptyState, PostState: attest.EmptyState, Keys: make([]task.Hash, len(k.Parties())),
	}
	r.Gas = k.Function.Manifest.Shown(k.Task, o, 0)
	cid := "o"
	if o == task.OutOfTime {
		cid = ""
	}
	return task.SignedResult{Result: r, Signature: task.Sign(c.enclave, r.Hash()), CID: cid}.PlacedBy(c.workers[who].peer)
}
