package ledger

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// world is a ledger with everyone's keys, and no chain under it.
type world struct {
	t      testing.TB
	store  *MemStore
	height uint64
	block  *Block
	keys   map[string]ed25519.PrivateKey
	nodes  map[task.NodeID]*worker
	names  map[task.NodeID]string
	val    beacon.Secret
	fn     task.FunctionID
	id     task.TaskID // the task under test
	salt   byte
	fee    task.Amount // of the last transaction
	events []Event
	tape   []taped           // all blocks so far
	wrote  func(task.TaskID) // told of each case that is written
}

// taped is what a block was made of.
type taped struct {
	beacon *beacon.Beacon
	txs    [][]byte
}

type worker struct {
	name string
	node task.Node
	vrf  *vrf.PrivateKey
	peer ed25519.PrivateKey
	chip ed25519.PrivateKey
}

func seedKey(s string) ed25519.PrivateKey {
	h := task.H(task.TagSalt, []byte(s))
	return ed25519.NewKeyFromSeed(h[:])
}

var measurement = task.Hash{42}

func newWorker(name string) *worker {
	w := &worker{name: name, peer: seedKey(name + " peer"), chip: seedKey(name + " chip")}
	h := task.H(task.TagSalt, []byte(name+" vrf"))
	w.vrf = vrf.NewKey(h)
	w.node = task.Node{
		Operator: task.PublicKey(seedKey(name)), VRF: task.Key(w.vrf.Public()), Peer: task.PublicKey(w.peer),
		Addr: "/memory/" + name, Runtimes: []string{task.RuntimeWasm, task.RuntimeDocker}, Arch: "any",
		TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(w.chip)},
	}
	return w
}

func (k *worker) platform() attest.Platform {
	return attest.Platform{Chip: k.chip, Measurement: measurement}
}

// enrol is a worker's registration, with its quote over the latest beacon.
func (w *world) enrol(k *worker, bond task.Amount) *task.Register {
	h := w.registration(k.node)
	quote, _ := k.platform().Quoter().Quote(h)
	return &task.Register{Node: k.node, Bond: bond, Possession: task.Sign(k.peer, h), Quote: quote, Beacon: w.state().Beacon().Height}
}

func (w *world) registration(n task.Node) task.Hash {
	return task.RegistrationHash("test", n, w.state().Beacon().Value)
}

func newWorld(t testing.TB, workers int, set ...func(*Params)) *world {
	return newWorldUnder(t, workers, func(*attest.Reference) {}, set...)
}

// newWorldUnder is one with other reference values.
func newWorldUnder(t testing.TB, workers int, values func(*attest.Reference), set ...func(*Params)) *world {
	w := &world{
		t: t, store: NewMemStore(), keys: map[string]ed25519.PrivateKey{}, nodes: map[task.NodeID]*worker{},
		names: map[task.NodeID]string{}, val: beacon.NewSecret([32]byte{1}),
	}
	p := Embedded("test")
	for _, f := range set {
		f(&p)
	}
	g := Genesis{
		Params: p, Beacon: beacon.OwnGroup(task.Key{1}, w.val),
		Reference: attest.Reference{AllowSimulated: true, Measurements: []task.Hash{measurement}, Runtimes: []task.Hash{{55}}},
	}
	values(&g.Reference)
	for _, name := range []string{"alice", "bob", "carol"} {
		w.keys[name] = seedKey(name)
		g.Accounts = append(g.Accounts, Grant{task.PublicKey(w.keys[name]), 1000 * task.PRY})
	}
	for i := range workers {
		k := newWorker(fmt.Sprintf("n%d", i))
		w.keys[k.name] = seedKey(k.name)
		w.nodes[k.node.ID()], w.names[k.node.ID()] = k, k.name
		g.Accounts = append(g.Accounts, Grant{k.node.Operator, 10 * task.PRY})
		g.Nodes = append(g.Nodes, FirstNode{k.node, task.Amount(100*(i+1)) * task.PRY, k.platform().Profile()})
	}
	if err := Init(w.store, g); err != nil {
		t.Fatal(err)
	}
	w.begin()
	return w
}

// begin starts the next block, with its beacon if one is due.
func (w *world) begin() {
	w.height++
	w.block = NewBlock(w.store, w.height)
	w.block.wrote = w.wrote
	var due *beacon.Beacon
	if w.block.BeaconDue() {
		b := w.val.Beacon(w.block.BeaconInput())
		due = &b
	}
	w.tape = append(w.tape, taped{beacon: due})
	if err := w.block.Begin(due, 1_700_000_000); err != nil {
		w.t.Fatalf("block %d: %v", w.height, err)
	}
}

// next ends the block and checks that no money came or went, and that each pledge is one
// of an open turn.
func (w *world) next() {
	w.events = append(w.events, w.block.End()...)
	r := Read(w.store)
	if held, supply := r.Held(), r.Meta().Supply; held != supply {
		w.t.Fatalf("block %d: %d held, supply %d", w.height, held, supply)
	}
	w.pledges()
	w.begin()
}

// state reads through the block that is under way.
func (w *world) state() Reader { return Read(w.block.state) }

// send applies a body as its sender's next transaction.
func (w *world) send(name string, body task.Body) error {
	key := w.keys[name]
	nonce := w.state().Account(task.PublicKey(key)).Nonce
	raw := task.SignTx(key, task.Tx{Chain: "test", Nonce: nonce, Body: body})
	tx, err := task.VerifyTx(raw, "test")
	if err != nil {
		return err
	}
	last := &w.tape[len(w.tape)-1]
	last.txs = append(last.txs, raw)
	w.fee = w.block.Params.Fee(tx.Size())
	return w.block.Apply(tx)
}

func (w *world) must(name string, body task.Body) {
	w.t.Helper()
	if err := w.send(name, body); err != nil {
		w.t.Fatalf("%s %s: %v", name, body.Kind(), err)
	}
}

func (w *world) function() task.Function {
	return task.Function{
		Owner: task.PublicKey(w.keys["bob"]),
		Manifest: task.Manifest{
			Name: "f", Version: "1", Runtime: task.RuntimeWasm, Royalty: task.PRY / 2,
			Limits: task.Limits{Gas: 1e7, MemoryBytes: 1 << 20, OutputBytes: 1 << 20, WallMillis: 1000},
		},
		Code: task.Blob{CID: "code", Size: 10},
	}
}

func (w *world) publish() {
	f := w.function()
	w.fn = f.ID()
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
}

func (w *world) task() task.Task {
	alice := task.PublicKey(w.keys["alice"])
	return task.Task{
		Chain: "test", Requester: alice, Nonce: w.state().Account(alice).Nonce, Function: w.fn,
		Data: []task.Data{{Owner: alice, Blob: task.Blob{CID: "input", Size: 5}}}, Recipient: task.NameRecipient("age1"), GasLimit: 1_000_000, GasPrice: 4 * task.PRY,
		Fee: 2 * task.PRY, Seats: 13, MinSeats: 4, Policy: task.Policy{MinTier: task.TierSimulated},
	}
}

func (w *world) c() *Case {
	c, ok := w.state().Case(w.id)
	if !ok {
		w.t.Fatalf("no case %s", w.id.Short())
	}
	return c
}

// post publishes, posts and seeds a task.
func (w *world) post() { w.postFor(w.task().Seats) }

// postFor does so for many seats, where a test is of no draw in particular.
func (w *world) postFor(seats uint32) {
	if w.fn.IsZero() {
		w.publish()
	}
	tk := w.task()
	tk.Seats, tk.Fee = seats, max(tk.Fee, task.Amount(seats)*w.block.Params.SeatFee)
	w.id = tk.ID()
	w.must("alice", task.Body{Post: &tk})
	w.next()
}

// allClaims are those of every worker that draws seats in the present attempt.
func (w *world) allClaims() []task.Claim {
	c := w.c()
	var set []task.Claim
	for id, k := range w.nodes {
		rec, _ := w.state().Node(id)
		won, ok := sortition.Win(k.vrf, task.Hash(id), c.Seed(), c.Seats, uint64(rec.StakeAt(c.Epoch)), uint64(c.TotalStake))
		if ok {
			set = append(set, task.Claim{Task: w.id, Attempt: c.Attempt, Node: id, Proof: task.Proof(won.Proof())})
		}
	}
	return set
}

// elect brings the case to Attesting.
func (w *world) elect() {
	w.t.Helper()
	for range 20 {
		switch c := w.c(); c.Phase {
		case Attesting:
			return
		case Electing:
			if len(c.Members) == 0 {
				w.must("carol", task.Body{Claims: task.PackClaims(w.allClaims())})
			}
		}
		w.next()
	}
	w.t.Fatalf("no committee: %v", w.c().History)
}

// platform is the executor's.
func (w *world) platform() (attest.Platform, *worker) {
	k := w.nodes[w.c().View.Executor]
	if k == nil {
		k = newWorker("nobody") // no executor yet
	}
	return k.platform(), k
}

func enclaveKeys() attest.Keys {
	return attest.Keys{Seal: attest.SealKey([]byte("enclave")), Sign: task.PublicKey(seedKey("enclave"))}
}

// nonce is what evidence has to answer.
func (w *world) nonce(r task.Round) task.Hash {
	if r == task.PostRun {
		return w.c().View.ExitNonce
	}
	return w.c().Nonce()
}

// quote is the executor's evidence, as it should be.
func (w *world) quote(r task.Round) attest.Evidence {
	p, k := w.platform()
	c := w.c()
	return p.Quote(c.Expected(r, c.View.Number, k.node).Context, enclaveKeys(), w.nonce(r), attest.EmptyState)
}

// dirty is evidence that is honest about a state that is not.
func (w *world) dirty(r task.Round) attest.Evidence {
	p, k := w.platform()
	c := w.c()
	return p.Quote(c.Expected(r, c.View.Number, k.node).Context, enclaveKeys(), w.nonce(r), task.Hash{13})
}

// place is where the executor's VRF puts the genuine piece.
func (w *world) place() uint8 {
	_, k := w.platform()
	return task.PairPlace(k.vrf.Output(w.c().Ballot().PairInput()))
}

// pair is genuine evidence with a decoy beside it, under the executor's name.
func (w *world) pair(genuine attest.Evidence) task.Showing {
	p, k := w.platform()
	c := w.c()
	keys := attest.Keys{Seal: attest.SealKey([]byte("thrown away")), Sign: task.PublicKey(seedKey("thrown away"))}
	decoy := p.Decoy(c.Expected(task.PreRun, c.View.Number, k.node).Context, keys, w.nonce(task.PreRun), 7)
	return w.both(genuine, decoy)
}

// both is a pair of evidence of the test's choice.
func (w *world) both(genuine, other attest.Evidence) task.Showing {
	_, k := w.platform()
	s, at := task.Showing{Ballot: w.c().Ballot()}, w.place()
	s.Evidence[at], s.Evidence[1-at] = task.Encode(genuine), task.Encode(other)
	s.Signature = task.Sign(k.peer, s.Pair().Hash())
	return s
}

// opening says which of a pair is genuine.
func (w *world) opening(s task.Showing) *task.Opening {
	_, k := w.platform()
	proof, beta := k.vrf.Prove(s.Ballot.PairInput())
	return &task.Opening{Pair: s.Pair(), Proof: task.Proof(proof), Evidence: s.Evidence[task.PairPlace(beta)]}
}

// say is what a verifier does: it names the genuine place (OK), says FAULT or names
// the other place. awake says whether it speaks at all.
type say func(task.NodeID) (v task.Verdict, awake bool)

// decoys is the word of who names the other place.
const decoys task.Verdict = 9

// judge commits and reveals for every verifier but the sleepers, about good
// evidence.
func (w *world) judge(says say) {
	w.t.Helper()
	w.judgeThis(w.pair(w.quote(task.PreRun)), says)
}

// judgeThis is about a pair of the test's choice.
func (w *world) judgeThis(shown task.Showing, says say) {
	w.t.Helper()
	reveals := w.commit(shown, says)
	w.must("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals, w.opening(shown))})
}

// commit brings the commitments and waits until they are closed.
func (w *world) commit(shown task.Showing, says say) (reveals []task.Reveal) {
	w.t.Helper()
	commits, reveals := w.speak(shown, says)
	w.must("carol", task.Body{Commitments: task.PackCommitments(commits)})
	for range 20 {
		if w.c().View.Pre.Progress >= Sealed {
			break
		}
		w.next()
	}
	return reveals
}

// speak makes what verifiers say about a pair.
func (w *world) speak(shown task.Showing, says say) (commits []task.Commitment, reveals []task.Reveal) {
	c, at := w.c(), w.place()
	for _, m := range c.Members {
		id := m.Claim.Node
		v, awake := says(id)
		if !c.Roster().Judges(id) || !awake {
			continue
		}
		w.salt++
		rev := task.Reveal{Ballot: c.Ballot(), Node: id, Verdict: v, Place: at, Pair: shown.Pair().Hash(), Salt: task.Hash{w.salt}}
		switch v {
		case task.Fault:
			rev.Place, rev.Reason = 0, attest.BadSignature
		case decoys:
			rev.Verdict, rev.Place = task.OK, 1-at
		}
		k := task.Commitment{Ballot: rev.Ballot, Node: id, Digest: rev.Digest()}
		k.Signature = task.Sign(w.nodes[id].peer, k.Hash())
		commits, reveals = append(commits, k), append(reveals, rev)
	}
	return commits, reveals
}

// exit brings the executor's evidence of how its enclave ended.
func (w *world) exit(ev attest.Evidence) error {
	_, k := w.platform()
	e := task.Exit{Ballot: w.c().Ballot(), Evidence: task.Encode(ev)}
	e.Signature = task.Sign(k.peer, e.Hash())
	return w.send("carol", task.Body{Exit: &e})
}

// left ends the case by a good exit.
func (w *world) left() {
	w.t.Helper()
	for w.c().Phase == Reviewing && w.c().View.ExitNonce.IsZero() {
		w.next()
	}
	if err := w.exit(w.quote(task.PostRun)); err != nil {
		w.t.Fatal(err)
	}
	w.wait(Closed)
}

func everyone(v task.Verdict) say {
	return func(task.NodeID) (task.Verdict, bool) { return v, true }
}

// call is the executor's, for keys that it was not given.
func (w *world) call() error {
	c := w.c()
	return w.send(w.names[c.View.Executor], task.Body{Call: &task.Call{Ballot: c.Ballot(), Seal: []byte("enclave")}})
}

// The places of the two among the parties of a task.
const (
	alices uint8 = 1
	bobs   uint8 = 2
)

// release is a party's on the chain, when the executor has called.
func (w *world) release(party uint8) error {
	c := w.c()
	if c.Stage == Computing && !c.View.Called() {
		if err := w.call(); err != nil {
			return err
		}
	}
	return w.released(party)
}

func (w *world) released(party uint8) error {
	c := w.c()
	pre, _ := attest.ParseEvidence(c.Genuine())
	who := map[uint8]string{alices: "alice", bobs: "bob"}[party]
	return w.send(who, task.Body{Release: &task.Release{
		Task: w.id, Attempt: c.Attempt, View: c.View.Number, Party: party, Evidence: pre.Digest(), Sealed: []byte("sealed"),
	}})
}

// result brings a result as an enclave signs it, of a run that used so much gas.
func (w *world) result(o task.Outcome, gas uint64) error {
	c := w.c()
	gas = c.Function.Manifest.Shown(c.Task, o, gas)
	pre, _ := attest.ParseEvidence(c.Genuine())
	r := task.Result{
		Task: w.id, Attempt: c.Attempt, View: c.View.Number, Node: c.View.Executor, Outcome: o, Gas: gas,
		PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: pre.Digest(),
	}
	r.Keys = keysOf(c)
	if o == task.WrongKey {
		r.Party = alices
	}
	s := w.signed(r)
	if o == task.OutOfTime { // there is no output that could lie anywhere
		s.CID = ""
		s = s.PlacedBy(w.nodes[r.Node].peer)
	}
	return w.send("carol", task.Body{Result: &s})
}

// keysOf are the releases on the chain, by party.
func keysOf(c *Case) []task.Hash {
	keys := make([]task.Hash, len(c.Parties()))
	for _, r := range c.View.Releases {
		keys[r.Party] = r.Hash()
	}
	return keys
}

// signed is a result under the signatures of enclave and executor.
func (w *world) signed(r task.Result) task.SignedResult {
	s := task.SignedResult{Result: r, Signature: task.Sign(seedKey("enclave"), r.Hash()), CID: "out"}
	if k := w.nodes[r.Node]; k != nil { // nil before there is an executor
		return s.PlacedBy(k.peer)
	}
	return s
}

func (w *world) wait(p Phase) {
	w.t.Helper()
	for range 1000 {
		if w.c().Phase == p {
			return
		}
		w.next()
	}
	w.t.Fatalf("waiting for %s, still %s: %v", p, w.c().Phase, w.c().History)
}
