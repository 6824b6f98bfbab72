package economy

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sim/internal/dice"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// This file plays tasks on the production ledger, one after the other and
// without a network: every draw, commitment, reveal, pair and payment is a
// real transaction of a real block, and after each block the money is counted.
//
// Not modelled: lost messages, latency, fees of transactions (one relay sends
// and pays them all), and pay for executing (the gas price is zero, so that
// what a worker earns is what verifying earns it).

// econStore is a state in memory, in one map for each key space. It forgets
// what no rule reads: logs, the lists of owners, and, by [econWorld.forget],
// closed cases.
type econStore map[string]map[string][]byte

// space is a key up to its second slash.
func (s econStore) space(key []byte) map[string][]byte {
	name := string(key)
	if i := bytes.IndexByte(key[2:], '/'); i >= 0 {
		name = name[:i+3]
	}
	if s[name] == nil {
		s[name] = map[string][]byte{}
	}
	return s[name]
}

func (s econStore) Get(key []byte) []byte { return s.space(key)[string(key)] }
func (s econStore) Delete(key []byte)     { delete(s.space(key), string(key)) }

func (s econStore) Set(key, value []byte) {
	if !bytes.HasPrefix(key, []byte("p/log/")) && !bytes.HasPrefix(key, []byte("p/owned/")) {
		s.space(key)[string(key)] = slices.Clone(value)
	}
}

func (s econStore) Ascend(prefix []byte, visit func(key, value []byte) bool) {
	space := s.space(prefix)
	for _, k := range slices.Sorted(maps.Keys(space)) {
		if strings.HasPrefix(k, string(prefix)) && !visit([]byte(k), space[k]) {
			return
		}
	}
}

// econWorker is an operator: its node, its mind, and what it has done.
type econWorker struct {
	operator ed25519.PrivateKey
	node     econNode
	past     []task.NodeID // nodes of its that were sent away
	mind     econMind
	insider  bool // told the truth for nothing, by the executor

	checked uint64      // appraisals, one for each seat: see [Economy]
	rounds  uint64      // seats times the rounds that they judged
	drawn   uint32      // seats in the present task
	before  task.Amount // its money when the task was posted
	spent   uint64      // checked at that time
}

type econNode struct {
	task.Node
	vrf        *vrf.PrivateKey
	peer, chip ed25519.PrivateKey
}

// econWorld is one chain.
type econWorld struct {
	store   econStore
	params  ledger.Params
	height  uint64
	block   *ledger.Block
	rng     *rand.Rand
	source  *rand.PCG
	alice   ed25519.PrivateKey
	bob     ed25519.PrivateKey
	relay   ed25519.PrivateKey
	poster  ed25519.PrivateKey // who posts the next task
	fn      task.FunctionID
	workers []*econWorker

	id      task.TaskID // the present task
	faulty  bool        // the enclave of its first executor is bad
	selfish bool        // such an executor is the first to accuse itself
	enclave econEnclave
	claimed int64 // attempt whose claims were sent, −1 for none
	words   map[task.Ballot]*econWords

	judges []uint32 // judging seats of each view that was decided
}

// econEnclave is the present executor's.
type econEnclave struct {
	view    task.Ballot
	sign    ed25519.PrivateKey
	keys    attest.Keys
	shown   task.Showing
	opening task.Opening
	place   uint8
}

// econWords are those of one round.
type econWords struct {
	reveals  []task.Reveal
	timid    []task.Reveal // only if the others name the same place
	revealed bool
}

// econHalt is a broken rule of the experiment itself.
type econHalt struct{ error }

func halt(format string, args ...any) { panic(econHalt{fmt.Errorf("economy: "+format, args...)}) }

// halted, deferred, makes a halt the error of whoever ran the experiment.
func halted(err *error) {
	switch p := recover().(type) {
	case nil:
	case econHalt:
		*err = p.error
	default:
		panic(p)
	}
}

func must(err error) {
	if err != nil {
		halt("%v", err)
	}
}

// fresh is a secret from the seed.
func (w *econWorld) fresh() (h task.Hash) {
	for i := 0; i < len(h); i += 8 {
		binary.LittleEndian.PutUint64(h[i:], w.source.Uint64())
	}
	return h
}

func (w *econWorld) key() ed25519.PrivateKey {
	h := w.fresh()
	return ed25519.NewKeyFromSeed(h[:])
}

// econMeasurement is of the one enclave program.
var econMeasurement = task.Hash{7}

// econParams are those of an embedded chain, with deadlines that do not make
// the experiment wait.
func econParams(e ledger.Economics) ledger.Params {
	p := ledger.Embedded("economy")
	p.Economics = e
	p.ClaimBlocks, p.CommitBlocks, p.AttestBlocks, p.ReviewBlocks = 1, 2, 8, 8
	return p
}

// newEconWorld founds a chain whose workers have the least bond each.
func newEconWorld(seed, stream uint64, p ledger.Params, minds []econMind) *econWorld {
	w := &econWorld{store: econStore{}, params: p, source: rand.NewPCG(seed, stream), words: map[task.Ballot]*econWords{}}
	w.rng = rand.New(w.source)
	g := ledger.Genesis{Params: p, Beacon: dice.Group()}
	g.Reference = attest.Reference{AllowSimulated: true, Measurements: []task.Hash{econMeasurement}}
	for _, who := range []*ed25519.PrivateKey{&w.alice, &w.bob, &w.relay} {
		*who = w.key()
		g.Accounts = append(g.Accounts, ledger.Grant{Account: task.PublicKey(*who), Balance: 1e6 * task.PRY})
	}
	for _, m := range minds {
		k := &econWorker{operator: w.key(), mind: m}
		k.node = w.machine(k)
		w.workers = append(w.workers, k)
		g.Accounts = append(g.Accounts, ledger.Grant{Account: k.node.Operator, Balance: 100 * p.MinBond})
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: k.node.Node, Bond: p.MinBond, Profile: attest.Platform{Measurement: econMeasurement}.Profile()})
	}
	must(ledger.Init(w.store, g))
	w.poster = w.alice
	w.begin()
	w.publish(w.bob)
	return w
}

// machine is a fresh node of an operator.
func (w *econWorld) machine(k *econWorker) econNode {
	n := econNode{vrf: vrf.NewKey(w.fresh()), peer: w.key(), chip: w.key()}
	n.Node = task.Node{
		Operator: task.PublicKey(k.operator), VRF: task.Key(n.vrf.Public()), Peer: task.PublicKey(n.peer), Addr: "/memory/1",
		Runtimes: []string{task.RuntimeWasm}, Arch: "any",
		TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(n.chip)},
	}
	return n
}

func (w *econWorld) publish(owner ed25519.PrivateKey) {
	f := task.Function{Owner: task.PublicKey(owner), Code: task.Blob{CID: "code", Size: 1}, Manifest: task.Manifest{
		Name: "f", Version: "1", Runtime: task.RuntimeWasm,
		Limits: task.Limits{Gas: 1e7, MemoryBytes: 1 << 20, OutputBytes: 1 << 20, WallMillis: 1000},
	}}
	w.fn = f.ID()
	w.must(owner, task.Body{Publish: &task.Publish{Function: f, Bond: 1000 * task.PRY}})
}

// begin starts a block with its beacon.
func (w *econWorld) begin() {
	w.height++
	w.block = ledger.NewBlock(w.store, w.height)
	var due *beacon.Beacon
	if w.block.BeaconDue() {
		due = dice.Beacon(w.block.BeaconInput())
	}
	must(w.block.Begin(due, 1_700_000_000))
}

// next ends a block and counts the money.
func (w *econWorld) next() {
	w.block.End()
	if held, supply := w.read().Held(), w.read().Meta().Supply; held != supply {
		halt("block %d: %s held, the supply is %s", w.height, held, supply)
	}
	w.begin()
}

// read sees the state as of the last block.
func (w *econWorld) read() ledger.Reader { return ledger.Read(w.store) }

// send applies a body as its sender's next transaction, in a block of its own:
// what follows sees what it did.
func (w *econWorld) send(from ed25519.PrivateKey, body task.Body) error {
	tx, err := task.VerifyTx(task.SignTx(from, task.Tx{Chain: w.params.Chain, Nonce: w.block.Nonce(task.PublicKey(from)), Body: body}), w.params.Chain)
	if err != nil {
		return err
	}
	return w.block.Apply(tx)
}

func (w *econWorld) must(from ed25519.PrivateKey, body task.Body) {
	if err := w.send(from, body); err != nil {
		halt("block %d, %s: %v", w.height, body.Kind(), err)
	}
}

// wealth is all that an operator owns: its balance, and what its nodes have
// bonded or are unbonding.
func (w *econWorld) wealth(k *econWorker) task.Amount {
	all := w.read().Account(task.PublicKey(k.operator)).Balance
	for _, id := range append([]task.NodeID{k.node.ID()}, k.past...) {
		n, _ := w.read().Node(id)
		all += n.Bond
		for _, u := range n.Unbonding {
			all += u.Amount
		}
	}
	return all
}

// play takes one task from the posting to the last payment and returns its
// case. faulty says that the first executor's enclave is bad.
func (w *econWorld) play(faulty bool) *ledger.Case {
	w.faulty, w.claimed = faulty, -1
	clear(w.words)
	for _, k := range w.workers {
		k.before, k.spent, k.drawn = w.wealth(k), k.checked, 0
	}
	w.post()
	for range 1000 {
		w.next()
		c, ok := w.read().Case(w.id)
		switch {
		case !ok:
			halt("the case is lost")
		case c.Phase == ledger.Closed:
			w.forget(c)
			return c
		case c.Phase == ledger.Electing && w.claimed < int64(c.Attempt):
			w.claim(c)
		case c.Phase == ledger.Attesting:
			w.attest(c)
		case c.Stage == ledger.Computing:
			w.keys(c)
		case c.Stage == ledger.Leaving:
			w.exit(c)
		}
	}
	halt("the task does not end")
	return nil
}

func (w *econWorld) post() {
	t := task.Task{
		Chain: w.params.Chain, Requester: task.PublicKey(w.poster), Nonce: w.block.Nonce(task.PublicKey(w.poster)), Function: w.fn,
		Data: []task.Data{{Owner: task.PublicKey(w.poster), Blob: task.Blob{CID: "input", Size: 1}}}, Recipient: task.NameRecipient("age1"), GasLimit: 1_000_000,
		Fee: w.params.SeatFee * task.DefaultSeats, Seats: task.DefaultSeats, MinSeats: 4,
		Policy: task.Policy{MinTier: task.TierSimulated},
	}
	w.id = t.ID()
	w.must(w.poster, task.Body{Post: &t})
}

// claim lets everyone draw; those who withhold know what they have won.
func (w *econWorld) claim(c *ledger.Case) {
	w.claimed = int64(c.Attempt)
	var set []task.Claim
	for _, k := range w.workers {
		id := k.node.ID()
		rec, _ := w.read().Node(id)
		k.drawn = 0
		won, ok := sortition.Win(k.node.vrf, task.Hash(id), c.Seed(), c.Seats, uint64(rec.StakeAt(c.Epoch)), uint64(c.TotalStake))
		if !ok {
			continue
		}
		k.drawn = won.Seats()
		if !k.mind.withholds {
			set = append(set, task.Claim{Task: w.id, Attempt: c.Attempt, Node: id, Proof: task.Proof(won.Proof())})
		}
	}
	if len(set) > 0 {
		w.must(w.relay, task.Body{Claims: task.PackClaims(set)})
	}
}

func (w *econWorld) worker(id task.NodeID) *econWorker {
	for _, k := range w.workers {
		if k.node.ID() == id || slices.Contains(k.past, id) {
			return k
		}
	}
	halt("a stranger on the committee")
	return nil
}

// start gives the view its enclave, which shows its pair.
func (w *econWorld) start(c *ledger.Case) {
	view := c.Ballot()
	if w.enclave.view == view {
		return
	}
	k := w.worker(c.View.Executor)
	e := econEnclave{view: view, sign: w.key()}
	e.keys = attest.Keys{Sign: task.PublicKey(e.sign)}
	want := c.Wanted(task.PreRun)
	platform := attest.Platform{Chip: k.node.chip, Measurement: econMeasurement}
	proof, beta := k.node.vrf.Prove(view.PairInput())
	e.place = task.PairPlace(beta)
	genuine := platform.Quote(want.Context, e.keys, want.Nonce, attest.EmptyState)
	if w.lies(c) {
		genuine = platform.Quote(want.Context, e.keys, want.Nonce, task.Hash{13})
	}
	decoy := platform.Decoy(want.Context, attest.Keys{Sign: task.PublicKey(w.key())}, want.Nonce, attest.DecoyFault(beta))
	e.shown = task.Showing{Ballot: view}
	e.shown.Evidence[e.place], e.shown.Evidence[1-e.place] = task.Encode(genuine), task.Encode(decoy)
	e.shown.Signature = task.Sign(k.node.peer, e.shown.Pair().Hash())
	e.opening = task.Opening{Pair: e.shown.Pair(), Proof: task.Proof(proof), Evidence: e.shown.Evidence[e.place]}
	w.enclave = e
}

// lies says whether the present executor's enclave is the bad one.
func (w *econWorld) lies(c *ledger.Case) bool {
	return w.faulty && c.View.Number == 0 && c.Attempt == 0
}

// attest brings the round forward: commitments, and reveals with the opening of the
// pair once the set is closed.
func (w *econWorld) attest(c *ledger.Case) {
	w.start(c)
	shown, closed := w.enclave.shown, c.View.Pre.Progress >= ledger.Sealed
	said := w.words[shown.Ballot]
	switch {
	case said == nil:
		said = &econWords{}
		w.words[shown.Ballot] = said
		w.commit(c, said)
	case !closed && !c.View.Pre.HasPair(): // too few speak: that is not the executor's silence
		w.must(w.relay, task.Body{Show: &shown})
	case closed && !said.revealed:
		said.revealed = true
		if w.selfish && w.lies(c) {
			w.accuse(c, w.worker(c.View.Executor).operator, task.Accusation{Shown: &shown})
		}
		reveals := said.reveals
		for _, v := range said.timid {
			if v.Place == w.enclave.place {
				reveals = append(reveals, v)
			}
		}
		w.must(w.relay, task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals, &w.enclave.opening)})
	}
}

// commit asks every judge for its word, and brings the commitments.
func (w *econWorld) commit(c *ledger.Case, said *econWords) {
	ballot, pair := w.enclave.view, w.enclave.shown.Pair().Hash()
	var truth [2]task.Verdict
	for i, evidence := range w.enclave.shown.Evidence {
		truth[i] = c.Appraise(task.PreRun, evidence).Verdict
	}
	insiders := w.worker(c.View.Executor).insider
	var set []task.Commitment
	var copies []*econWorker
	commit := func(k *econWorker, d task.Hash) {
		o := task.Commitment{Ballot: ballot, Node: k.node.ID(), Digest: d}
		o.Signature = task.Sign(k.node.peer, o.Hash())
		set = append(set, o)
	}
	for _, m := range c.Members {
		k := w.worker(m.Claim.Node)
		if !c.Roster().Judges(m.Claim.Node) {
			continue
		}
		k.rounds += uint64(m.Seats)
		word := k.mind.say(econAsk{coin: uint8(w.rng.Uint64() & 1), told: w.enclave.place, rng: w.rng, look: func(place uint8) task.Verdict {
			return w.look(k, m.Seats, truth[place], insiders && k.insider)
		}})
		v := task.Reveal{Ballot: ballot, Node: m.Claim.Node, Verdict: word.verdict, Place: word.place, Pair: pair, Salt: w.fresh()}
		if word.verdict == task.Fault {
			v.Reason = attest.DirtyState
		}
		switch word.how {
		case econSilent:
			continue
		case econCopied:
			copies = append(copies, k)
			continue
		case econPlain:
			said.reveals = append(said.reveals, v)
		case econTimid:
			said.timid = append(said.timid, v)
		}
		commit(k, v.Digest())
	}
	for _, k := range copies { // they have seen the others' commitments, and then their reveals
		if len(said.reveals) > 0 {
			v := said.reveals[0]
			commit(k, v.Digest())
			v.Node = k.node.ID()
			said.reveals = append(said.reveals, v)
		}
	}
	if len(set) > 0 {
		w.must(w.relay, task.Body{Commitments: task.PackCommitments(set)})
	}
}

// look is an appraisal: it costs a check for each seat, and misses a fault as
// often as the chain's parameters say. Insiders know for nothing.
func (w *econWorld) look(k *econWorker, seats uint32, truth task.Verdict, knows bool) task.Verdict {
	if knows {
		return truth
	}
	k.checked += uint64(seats)
	if truth == task.Fault && w.rng.Uint64N(1_000_000) >= w.params.DetectPPM {
		return task.OK
	}
	return truth
}

// keys gives the owners' keys directly to an enclave that was found good, which runs.
// An owner looks herself: where the evidence is faulty and nobody said so, she accuses.
func (w *econWorld) keys(c *ledger.Case) {
	if w.lies(c) {
		w.accuse(c, w.poster, task.Accusation{Look: true})
		return
	}
	w.run(c)
}

func (w *econWorld) accuse(c *ledger.Case, from ed25519.PrivateKey, a task.Accusation) {
	a.Ballot, a.Accused = c.Ballot(), c.View.Executor
	w.must(from, task.Body{Accuse: &a})
}

// run brings the enclave's result.
func (w *econWorld) run(c *ledger.Case) {
	r := task.Result{
		Task: w.id, Attempt: c.Attempt, View: c.View.Number, Node: c.View.Executor, Outcome: task.RunOK,
		PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: task.H(task.TagEvidence, c.Genuine()),
	}
	r.Gas = c.Function.Manifest.Shown(c.Task, r.Outcome, 0)
	r.Keys = make([]task.Hash, len(c.Parties()))
	for _, o := range c.View.Releases {
		r.Keys[o.Party] = o.Hash()
	}
	w.judges = append(w.judges, c.Roster().Judging())
	s := task.SignedResult{Result: r, Signature: task.Sign(w.enclave.sign, r.Hash()), CID: "out"}.PlacedBy(w.worker(r.Node).node.peer)
	w.must(w.relay, task.Body{Result: &s})
}

// exit shows how the enclave ended.
func (w *econWorld) exit(c *ledger.Case) {
	k, want := w.worker(c.View.Executor), c.Wanted(task.PostRun)
	ev := attest.Platform{Chip: k.node.chip, Measurement: econMeasurement}.Quote(want.Context, w.enclave.keys, want.Nonce, attest.EmptyState)
	e := task.Exit{Ballot: c.Ballot(), Evidence: task.Encode(ev)}
	e.Signature = task.Sign(k.node.peer, e.Hash())
	w.must(w.relay, task.Body{Exit: &e})
}

// wasBad says whether a worker was passed over in a case, as the bad executor.
func (w *econWorld) wasBad(c *ledger.Case, k *econWorker) bool {
	return slices.ContainsFunc(c.Passed, func(p ledger.Pass) bool { return w.worker(p.Executor) == k })
}

// forget drops a closed case: nobody in the experiment disputes one.
func (w *econWorld) forget(c *ledger.Case) {
	id := c.ID()
	w.store.Delete(append([]byte("p/case/"), id[:]...))
	w.store.Delete(ledger.CaseKey(id))
}

// earned is what a worker made of the present task, in units of the cost of a
// check.
func (w *econWorld) earned(k *econWorker) float64 {
	c := float64(w.params.CheckCost)
	return (float64(w.wealth(k))-float64(k.before))/c - float64(k.checked-k.spent)
}

// rebond lets a worker whose node was sent away register a fresh one.
func (w *econWorld) rebond(k *econWorker) bool {
	rec, ok := w.read().Node(k.node.ID())
	if !ok || rec.JailedUntil <= w.height {
		return false
	}
	k.past = append(k.past, k.node.ID())
	k.node = w.machine(k)
	late := w.read().Beacon()
	h := task.RegistrationHash(w.params.Chain, k.node.Node, late.Value)
	platform := attest.Platform{Chip: k.node.chip, Measurement: econMeasurement}
	quote, err := platform.Quoter().Quote(h)
	must(err)
	w.must(k.operator, task.Body{Register: &task.Register{Node: k.node.Node, Bond: w.params.MinBond, Possession: task.Sign(k.node.peer, h), Quote: quote, Beacon: late.Height}})
	return true
}
