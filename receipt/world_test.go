package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// world is a real ledger, with everyone's keys and no chain under it. Each
// transaction has a block of its own.
type world struct {
	t      testing.TB
	store  *ledger.MemStore
	height uint64
	block  *ledger.Block
	nodes  map[task.NodeID]worker
	val    beacon.Secret
	id     task.TaskID
	tk     task.Task
	salt   byte

	// What a story may bend.
	tweak   func(*quoted)                  // before the chip signs
	verdict func(task.NodeID) task.Verdict // silent: commits and does not reveal
	lax     bool                           // what is refused is no failure
	one     bool                           // the next transaction comes in the same block
}

type worker struct {
	name string
	node task.Node
	vrf  *vrf.PrivateKey
	peer ed25519.PrivateKey
	chip ed25519.PrivateKey
}

const chainID = "test"

// silent is no verdict; elsewhere is OK for the other place.
const (
	silent    task.Verdict = 0
	elsewhere task.Verdict = 9
)

var measurement = task.Hash{42}

func seedOf(s string) [32]byte          { return task.H(task.TagSalt, []byte(s)) }
func keyOf(s string) ed25519.PrivateKey { h := seedOf(s); return ed25519.NewKeyFromSeed(h[:]) }
func address(name string) task.Address  { return task.PublicKey(keyOf(name)) }
func enclaveKey(v uint32) attest.Keys {
	name := fmt.Sprint("enclave ", v)
	return attest.Keys{Seal: attest.SealKey([]byte(name)), Sign: address(name)}
}

func newWorker(name string) worker {
	w := worker{name: name, vrf: vrf.NewKey(seedOf(name + " vrf")), peer: keyOf(name + " peer"), chip: keyOf(name + " chip")}
	w.node = task.Node{
		Operator: address(name), VRF: task.Key(w.vrf.Public()), Peer: task.PublicKey(w.peer),
		Addr: "/memory/" + name, Runtimes: []string{task.RuntimeWasm}, Arch: "any",
		TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(w.chip)},
	}
	return w
}

// newWorld posts one task on a chain of nine workers and brings it to its first
// claims.
func newWorld(t testing.TB, args ...string) *world {
	w := &world{t: t, store: ledger.NewMemStore(), nodes: map[task.NodeID]worker{}, val: groupSecret}
	w.tweak = func(*quoted) {}
	w.verdict = func(task.NodeID) task.Verdict { return task.OK }
	p := ledger.Embedded(chainID)
	g := ledger.Genesis{
		Params: p, Beacon: beacon.OwnGroup(task.Key{1}, w.val),
		Reference: attest.Reference{AllowSimulated: true, Measurements: []task.Hash{measurement}, MinTCB: 3},
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		g.Accounts = append(g.Accounts, ledger.Grant{Account: address(name), Balance: 1000 * task.PRY})
	}
	for i := range 9 {
		k := newWorker(fmt.Sprint("n", i))
		w.nodes[k.node.ID()] = k
		g.Accounts = append(g.Accounts, ledger.Grant{Account: k.node.Operator, Balance: task.PRY})
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: k.node, Bond: task.Amount(100*(i+1)) * task.PRY, Profile: attest.Platform{Measurement: measurement, TCB: 3}.Profile()})
	}
	if err := ledger.Init(w.store, g); err != nil {
		t.Fatal(err)
	}
	w.begin()
	f := task.Function{
		Owner: address("bob"), Code: task.Blob{CID: "code", Size: 10},
		Manifest: task.Manifest{
			Name: "sum", Version: "1", Description: "adds up", Runtime: task.RuntimeWasm, Args: []string{"-v"}, TaskArgs: true, Royalty: task.PRY / 2,
			Limits: task.Limits{Gas: 1e7, MemoryBytes: 1 << 20, OutputBytes: 1 << 20, WallMillis: 1000},
		},
		Broker: task.Endpoint{Addr: "/memory/broker", Account: address("bob")},
	}
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
	w.tk = task.Task{
		Chain: chainID, Requester: address("alice"), Function: f.ID(), Args: args,
		Data: []task.Data{{Owner: address("alice"), Blob: task.Blob{CID: "input", Size: 5}}}, Recipient: task.NameRecipient("age1"), Endpoint: task.Endpoint{Addr: "/memory/alice", Account: address("alice")},
		GasLimit: 1_000_000, GasPrice: 4 * task.PRY, Fee: 40 * task.PRY, Seats: 13, MinSeats: 4, Policy: task.Policy{MinTier: task.TierSimulated},
	}
	w.id = w.tk.ID()
	w.must("alice", task.Body{Post: &w.tk})
	return w
}

func (w *world) begin() {
	w.height++
	w.block = ledger.NewBlock(w.store, w.height)
	var due *beacon.Beacon
	if w.block.BeaconDue() {
		b := w.val.Beacon(w.block.BeaconInput())
		due = &b
	}
	if err := w.block.Begin(due, 1_700_000_000); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) next() {
	w.block.End()
	w.begin()
}

// must applies a transaction; with the next block it is done.
func (w *world) must(name string, body task.Body) {
	w.t.Helper()
	nonce := ledger.Read(w.store).Account(address(name)).Nonce
	tx, err := task.VerifyTx(task.SignTx(keyOf(name), task.Tx{Chain: chainID, Nonce: nonce, Body: body}), chainID)
	if err == nil {
		err = w.block.Apply(tx)
	}
	if err != nil && !w.lax {
		w.t.Fatalf("%s: %s: %v", name, body.Kind(), err)
	}
	if w.one {
		w.one = false
		return
	}
	w.next()
}

func (w *world) c() *ledger.Case {
	c, ok := ledger.Read(w.store).Case(w.id)
	if !ok {
		w.t.Fatal("no case")
	}
	return c
}

// wait lets blocks pass until the case is in a phase, with nobody doing anything.
func (w *world) wait(p ledger.Phase) *world {
	w.t.Helper()
	for range 3000 {
		if w.c().Phase == p {
			return w
		}
		w.next()
	}
	w.t.Fatalf("waiting for %s: %+v", p, w.c().History)
	return w
}

// claim sends the winning claims of at most so many nodes.
func (w *world) claim(most int) *world {
	w.t.Helper()
	w.wait(ledger.Electing)
	c := w.c()
	var set []task.Claim
	for _, id := range slices.SortedFunc(maps.Keys(w.nodes), func(a, b task.NodeID) int { return bytes.Compare(a[:], b[:]) }) {
		rec, _ := ledger.Read(w.store).Node(id)
		won, ok := sortition.Win(w.nodes[id].vrf, task.Hash(id), c.Seed(), c.Seats, uint64(rec.StakeAt(c.Epoch)), uint64(c.TotalStake))
		if ok && len(set) < most {
			set = append(set, task.Claim{Task: w.id, Attempt: c.Attempt, Node: id, Proof: task.Proof(won.Proof())})
		}
	}
	w.must("carol", task.Body{Claims: task.PackClaims(set)})
	return w
}

// elects claims once in an attempt, and lets a block pass.
func (w *world) elects() *world {
	if c := w.c(); c.Phase == ledger.Electing && len(c.Members) == 0 {
		return w.claim(99)
	}
	w.next()
	return w
}

// unbonded has every node but one take its bond back: they can cover no turn.
func (w *world) unbonded(but task.NodeID) *world {
	for id, k := range w.nodes {
		if id == but {
			continue
		}
		rec, _ := ledger.Read(w.store).Node(id)
		w.one = true
		w.must(k.name, task.Body{Unbond: &task.Bond{Node: id, Amount: rec.Bond}})
	}
	w.next()
	return w
}

func (w *world) elect() *world { return w.claim(99).wait(ledger.Attesting) }

// decline has a member say that it executes nothing.
func (w *world) decline(id task.NodeID, why task.DeclineReason) *world {
	return w.lack(id, task.Lack{Reason: why})
}

// lacks has the executor decline for want of a party's file.
func (w *world) lacks(party uint8) *world {
	return w.lack(w.c().View.Executor, task.Lack{Reason: task.NoFile, Party: party})
}

func (w *world) lack(id task.NodeID, why task.Lack) *world {
	w.t.Helper()
	d := task.Decline{Task: w.id, Attempt: w.c().Attempt, Node: id, Lack: why}.SignedBy(w.nodes[id].peer)
	w.must("carol", task.Body{Decline: &d})
	return w
}

// declines has the executor do so.
func (w *world) declines(why task.DeclineReason) *world { return w.decline(w.c().View.Executor, why) }

// skip has the committee pass over its executor, as soon as it may.
func (w *world) skip() *world {
	for !w.lax && w.height < w.c().SkipFrom() {
		w.next()
	}
	c := w.c()
	var votes []task.SignedVote
	for _, m := range c.Members {
		v := task.Vote{Task: w.id, Attempt: c.Attempt, View: c.View.Number + 1, Node: m.Claim.Node}
		votes = append(votes, task.SignedVote{Vote: v, Signature: task.Sign(w.nodes[v.Node].peer, v.Hash())})
	}
	w.must("carol", task.Body{Skip: &task.Skip{Task: w.id, Attempt: c.Attempt, View: c.View.Number + 1, Votes: votes}})
	return w
}

// evidence is what the executor's enclave makes.
func (w *world) evidence(r task.Round) attest.Evidence {
	c := w.c()
	k := w.nodes[c.View.Executor]
	ev := quoted{
		attest.Evidence{Keys: enclaveKey(c.View.Number), State: attest.EmptyState},
		attest.Platform{Chip: k.chip, Measurement: measurement, TCB: 3},
	}
	ev.Nonce = w.nonce(r)
	w.tweak(&ev)
	return ev.Platform.Quote(c.Expected(r, c.View.Number, k.node).Context, ev.Keys, ev.Nonce, ev.State)
}

// nonce is what evidence has to answer.
func (w *world) nonce(r task.Round) task.Hash {
	if r == task.PostRun {
		return w.c().View.ExitNonce
	}
	return w.c().Nonce()
}

// quoted is evidence and the platform that is to make it: what a story may
// change before the chip signs.
type quoted struct {
	attest.Evidence
	attest.Platform
}

// pair is the executor's evidence with a decoy beside it.
func (w *world) pair() task.Showing {
	c := w.c()
	k := w.nodes[c.View.Executor]
	beta := k.vrf.Output(c.Ballot().PairInput())
	keys := attest.Keys{Sign: address("thrown away")}
	decoy := attest.Platform{Chip: k.chip, Measurement: measurement, TCB: 3}.
		Decoy(c.Expected(task.PreRun, c.View.Number, k.node).Context, keys, w.nonce(task.PreRun), attest.DecoyFault(beta))
	return w.both(w.evidence(task.PreRun), decoy)
}

// both is a pair of the story's choice, under the executor's name.
func (w *world) both(genuine, other attest.Evidence) task.Showing {
	c := w.c()
	k := w.nodes[c.View.Executor]
	s, at := task.Showing{Ballot: c.Ballot()}, task.PairPlace(k.vrf.Output(c.Ballot().PairInput()))
	s.Evidence[at], s.Evidence[1-at] = task.Encode(genuine), task.Encode(other)
	s.Signature = task.Sign(k.peer, s.Pair().Hash())
	return s
}

// twoGood is a pair without a decoy.
func (w *world) twoGood() task.Showing {
	other := w.evidence(task.PreRun)
	k := w.nodes[w.c().View.Executor]
	keys := attest.Keys{Sign: address("not thrown away")}
	other = attest.Platform{Chip: k.chip, Measurement: measurement, TCB: 3}.
		Quote(w.c().Expected(task.PreRun, w.c().View.Number, k.node).Context, keys, other.Nonce, other.State)
	return w.both(w.evidence(task.PreRun), other)
}

// opening says which of a pair is genuine.
func (w *world) opening(s task.Showing) *task.Opening {
	proof, beta := w.nodes[w.c().View.Executor].vrf.Prove(s.Ballot.PairInput())
	return &task.Opening{Pair: s.Pair(), Proof: task.Proof(proof), Evidence: s.Evidence[task.PairPlace(beta)]}
}

// show brings both pieces to the chain.
func (w *world) show(s task.Showing) *world {
	w.must("carol", task.Body{Show: &s})
	return w
}

// judge has every verifier commit, and reveal what the story wants of it, and the
// executor open its pair.
func (w *world) judge() *world { return w.judgeThis(w.pair(), true) }

func (w *world) judgeThis(shown task.Showing, opens bool) *world {
	w.t.Helper()
	c, opening := w.c(), w.opening(shown)
	place := task.PairPlace(w.nodes[c.View.Executor].vrf.Output(c.Ballot().PairInput()))
	var commits []task.Commitment
	var reveals []task.Reveal
	for _, id := range w.judges() {
		w.salt++
		v := task.Reveal{Ballot: c.Ballot(), Node: id, Verdict: w.verdict(id), Place: place, Pair: shown.Pair().Hash(), Salt: task.Hash{w.salt}}
		switch v.Verdict {
		case task.Fault:
			v.Place, v.Reason = 0, attest.DebugEnclave
		case elsewhere:
			v.Verdict, v.Place = task.OK, 1-place
		}
		k := task.Commitment{Ballot: v.Ballot, Node: id, Digest: v.Digest()}
		k.Signature = task.Sign(w.nodes[id].peer, k.Hash())
		commits = append(commits, k)
		if v.Verdict != silent {
			reveals = append(reveals, v)
		}
	}
	w.must("carol", task.Body{Commitments: task.PackCommitments(commits)})
	if !opens {
		opening = nil
	}
	if opens || len(reveals) > 0 {
		w.must("carol", task.Body{Verdicts: task.PackVerdicts(c.Ballot(), reveals, opening)})
	}
	return w
}

// leave brings the executor's evidence of how its enclave has ended.
func (w *world) leave() *world {
	w.t.Helper()
	for w.c().Phase == ledger.Reviewing && w.c().View.ExitNonce.IsZero() {
		w.next()
	}
	c := w.c()
	e := task.Exit{Ballot: c.Ballot(), Evidence: task.Encode(w.evidence(task.PostRun))}
	e.Signature = task.Sign(w.nodes[c.View.Executor].peer, e.Hash())
	w.must("carol", task.Body{Exit: &e})
	return w
}

// judges are those of the present view, the ones with the fewest seats first.
func (w *world) judges() (all []task.NodeID) {
	c := w.c()
	for _, m := range c.Members {
		if c.Roster().Judges(m.Claim.Node) {
			all = append(all, m.Claim.Node)
		}
	}
	slices.SortStableFunc(all, func(a, b task.NodeID) int { return int(c.Member(a).Seats) - int(c.Member(b).Seats) })
	return all
}

// say has the first judges say these, and all others something else.
func (w *world) say(others task.Verdict, first ...task.Verdict) *world {
	odd := w.judges()
	w.verdict = func(id task.NodeID) task.Verdict {
		if i := slices.Index(odd, id); i >= 0 && i < len(first) {
			return first[i]
		}
		return others
	}
	return w
}

// dirty has the evidence of one round say that something was left behind.
func (w *world) dirty(judge func(*world) *world) *world {
	w.tweak = func(ev *quoted) { ev.State = task.Hash{1} }
	judge(w)
	w.tweak = func(*quoted) {}
	return w
}

// until waits for a view, or the end.
func (w *world) until(view uint32) *world {
	for w.c().View.Number < view && w.c().Phase != ledger.Closed {
		w.next()
	}
	return w
}

// nextView waits for the next executor, or the end.
func (w *world) nextView() *world {
	for n := w.c().View.Number; w.c().View.Number == n && w.c().Phase != ledger.Closed; {
		w.next()
	}
	return w
}

// accuse brings a proof against a node to the chain.
func (w *world) accuse(who task.NodeID, a task.Accusation) *world {
	w.t.Helper()
	a.Accused, a.Ballot = who, w.c().Ballot()
	w.must("alice", task.Body{Accuse: &a})
	return w
}

// look has the chain look at the executor's pair.
func (w *world) look() *world {
	return w.accuse(w.c().View.Executor, task.Accusation{Look: true})
}

// otherPair is another that the executor has signed for this ballot.
func (w *world) otherPair() *world {
	c := w.c()
	other := task.Pair{Ballot: c.Ballot(), Digests: [2]task.Hash{{1}, {2}}}
	other.Signature = task.Sign(w.nodes[c.View.Executor].peer, other.Hash())
	return w.accuse(c.View.Executor, task.Accusation{Pairs: []task.Pair{c.Pair(), other}})
}

// twoResults accuses the executor of having signed another one.
func (w *world) twoResults() *world {
	c := w.c()
	second := *c.View.Result
	second.Result.Gas++
	second.Signature = task.Sign(keyOf(fmt.Sprint("enclave ", c.View.Number)), second.Result.Hash())
	return w.accuse(c.View.Executor, task.Accusation{Result: &second})
}

// twoWords accuses a node of having committed to two verdicts in one round.
func (w *world) twoWords(id task.NodeID) *world {
	var words []task.Commitment
	for i := range byte(2) {
		k := task.Commitment{Ballot: w.c().Ballot(), Node: id, Digest: task.Hash{1 + i}}
		k.Signature = task.Sign(w.nodes[id].peer, k.Hash())
		words = append(words, k)
	}
	return w.accuse(id, task.Accusation{Commitments: words})
}

// call is the executor's, for keys that it was not given.
func (w *world) call() *world {
	w.t.Helper()
	c := w.c()
	w.must(w.nodes[c.View.Executor].name, task.Body{Call: &task.Call{Ballot: c.Ballot(), Seal: []byte(fmt.Sprint("enclave ", c.View.Number))}})
	return w
}

// The places of the two among the parties of a task.
const (
	alices uint8 = 1
	bobs   uint8 = 2
)

// release is what parties say on the chain, when the executor has called.
func (w *world) release(parties ...uint8) *world {
	w.t.Helper()
	if c := w.c(); c.Phase == ledger.Running && !c.View.Called() {
		w.call()
	}
	c := w.c()
	for _, party := range parties {
		w.must(map[uint8]string{alices: "alice", bobs: "bob"}[party], task.Body{Release: &task.Release{
			Task: w.id, Attempt: c.Attempt, View: c.View.Number, Party: party,
			Evidence: task.H(task.TagEvidence, c.Genuine()), Sealed: []byte("sealed"),
		}})
	}
	return w
}

// ran brings the case from a committee to a result under review.
func (w *world) ran(o task.Outcome, gas uint64, wrong ...uint8) *world {
	w.t.Helper()
	return w.judge().release(alices, bobs).result(o, gas, wrong...)
}

// result is the enclave's, of a run that used the keys on the chain.
func (w *world) result(o task.Outcome, gas uint64, wrong ...uint8) *world {
	w.t.Helper()
	c := w.c()
	keys := make([]task.Hash, len(c.Parties()))
	for _, o := range c.View.Releases {
		keys[o.Party] = o.Hash()
	}
	r := task.Result{
		Keys: keys,
		Task: w.id, Attempt: c.Attempt, View: c.View.Number, Node: c.View.Executor, Outcome: o, Gas: c.Function.Manifest.Shown(c.Task, o, gas), Output: task.Hash{7}, Size: 99,
		PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: task.H(task.TagEvidence, c.Genuine()),
	}
	for _, party := range wrong {
		r.Party = party
	}
	cid := "out"
	if o == task.OutOfTime {
		r.Output, r.Size, cid = task.Hash{}, 0, ""
	}
	sig := task.Sign(keyOf(fmt.Sprint("enclave ", c.View.Number)), r.Hash())
	s := task.SignedResult{Result: r, Signature: sig, CID: cid}.PlacedBy(w.nodes[r.Node].peer)
	w.must("carol", task.Body{Result: &s})
	return w
}

// numerous is a second attempt with enough members for all that is to happen.
func numerous(t testing.TB, nonce *int) *world {
	for ; ; *nonce++ {
		w := newWorld(t, fmt.Sprint(*nonce))
		for w.c().Attempt == 0 {
			w.next()
		}
		if w.elect(); len(w.c().Members) >= 8 {
			return w
		}
	}
}

// completed is a whole story, with something in every field: no committee at
// first, and a member of the next that declines; then an executor that is accused of
// its evidence, one that is found silent, one that runs out of time, and one that
// declines; then one that does it, with verifiers of whom one has guessed, one says
// FAULT and one nothing.
func completed(t testing.TB) *world {
	nonce := 0
	for ; ; nonce++ {
		w := much(numerous(t, &nonce))
		c, odd := w.c(), w.judges()[:2]
		if c.Roster().Judging()-c.Member(odd[0]).Seats-c.Member(odd[1]).Seats >= c.Roster().Quorum() {
			w.say(task.OK, elsewhere, silent)
			return w.ran(task.RunOK, 250_000).leave().wait(ledger.Closed)
		}
	}
}

// much is what happens before, up to the last executor's turn.
func much(w *world) *world {
	w.say(task.OK).dirty((*world).judge)
	w.look().until(1)
	w.skip()
	w.ran(task.OutOfTime, 0)
	for range 3 {
		w.next()
	}
	return w.lacks(alices)
}

var errUnproven = errors.New("the state has another value")

// proven stands in for the chain's proof: it vouches for the case as it is in
// the ledger's state, and for its own bytes.
func (w *world) receipt() (receipt.Receipt, receipt.Trust) {
	r := receipt.New(w.c(), []byte("proof"))
	return r, against(func(proof, key, value []byte) error {
		if string(proof) != "proof" || !bytes.Equal(key, ledger.CaseKey(w.id)) || !bytes.Equal(value, w.store.Get(key)) {
			return errUnproven
		}
		return nil
	})
}

// against trusts the worlds' group, and of states what it is told.
func against(state func(proof, key, value []byte) error) receipt.Trust {
	return receipt.Trust{State: state, Beacon: verifyOnce}
}

// gullible believes any state, like a chain all of whose validators conspire. They
// have not conspired when the beacon was made: else there would be a caveat.
var gullible = against(func(_, _, _ []byte) error { return nil })

// verifyOnce is the production check, done once for each question: some tests ask it
// thousands of times.
func verifyOnce(input task.Hash, s beacon.Signature) error {
	type question struct {
		input task.Hash
		s     beacon.Signature
	}
	if known, ok := asked.Load(question{input, s}); ok {
		err, _ := known.(error)
		return err
	}
	err := groupSecret.Public().Verify(input, s)
	asked.Store(question{input, s}, err)
	return err
}

var (
	asked       sync.Map
	groupSecret = beacon.NewSecret([32]byte{1})
)
