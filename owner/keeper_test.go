package owner

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

func keyOf(s string) ed25519.PrivateKey {
	h := task.H(task.TagSalt, []byte(s))
	return ed25519.NewKeyFromSeed(h[:])
}

// request is a case in which an enclave has been found good, and what its
// executor shows an owner.
type request struct {
	c        *ledger.Case
	ev       attest.Evidence
	opening  task.Opening
	evidence []byte
	reveals  []task.Reveal
	chips    map[task.NodeID]ed25519.PrivateKey
	vrfs     map[task.NodeID]*vrf.PrivateKey
	peers    map[task.NodeID]ed25519.PrivateKey
}

// under puts a case under reference values.
func under(c *ledger.Case, ref attest.Reference) {
	c.Values = ref.Hash()
	if err := c.Under(ref); err != nil {
		panic(err)
	}
}

func newRequest(t *testing.T, change ...func(*ledger.Case)) *request {
	q := &request{chips: map[task.NodeID]ed25519.PrivateKey{}, vrfs: map[task.NodeID]*vrf.PrivateKey{}, peers: map[task.NodeID]ed25519.PrivateKey{}}
	f := task.Function{Manifest: task.Manifest{Name: "f", Runtime: task.RuntimeWasm}, Code: task.Blob{CID: "code", Size: 1}}
	q.c = &ledger.Case{
		Task:     task.Task{Chain: "c", Function: f.ID(), Data: []task.Data{{Blob: task.Blob{CID: "input", Size: 1}}}, MinSeats: 4, Policy: task.Policy{MinTier: task.TierSimulated}},
		Function: f, Params: ledger.Embedded("c"), Seats: 20, TotalStake: 6, Beacon: beacon.Signature{1}, Phase: ledger.Attesting,
	}
	under(q.c, attest.Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}})
	for _, f := range change {
		f(q.c)
	}
	for i := range 6 {
		name := string(rune('a' + i))
		sk := vrf.NewKey(task.H(task.TagSalt, []byte(name)))
		chip := keyOf(name + " chip")
		n := task.Node{Operator: task.PublicKey(keyOf(name)), VRF: task.Key(sk.Public()), Peer: task.PublicKey(keyOf(name + " peer")), Runtimes: []string{task.RuntimeWasm, task.RuntimeDocker}, TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(chip)}}
		won, ok := sortition.Win(sk, task.Hash(n.ID()), q.c.Seed(), q.c.Seats, 1, 6)
		if !ok {
			continue
		}
		m, err := q.c.Admit(n, attest.Platform{Measurement: task.Hash{7}}.Profile(), 1, task.Claim{Task: q.c.ID(), Node: n.ID(), Proof: task.Proof(won.Proof())})
		if err != nil {
			t.Fatal(err)
		}
		q.c.Members = append(q.c.Members, m)
		q.chips[n.ID()], q.vrfs[n.ID()], q.peers[n.ID()] = chip, sk, keyOf(name+" peer")
	}
	q.c.View.Executor, _ = q.c.Roster().Next(0)
	q.c.View.Pre.ClosedAt, q.c.View.Pre.Progress = 9, ledger.Sealed
	q.c.Stage, q.c.Deadline = ledger.Opening, 100
	q.quote()
	q.judge(task.OK)
	return q
}

// quote makes the executor's evidence for the case as it is.
func (q *request) quote() { q.quoteAs(func(*attest.Platform) {}) }

// quoteAs has it quoted by a platform that is not as it should be.
func (q *request) quoteAs(change func(*attest.Platform)) {
	x := q.c.Member(q.c.View.Executor)
	want := q.c.Expected(task.PreRun, q.c.View.Number, x.Node)
	keys := attest.Keys{Seal: attest.SealKey([]byte(enclaveKey))}
	p := q.platform()
	change(&p)
	q.ev = p.Quote(want.Context, keys, q.c.Nonce(), attest.EmptyState)
	q.show()
}

// platform is the executor's.
func (q *request) platform() attest.Platform {
	return attest.Platform{Chip: q.chips[q.c.View.Executor], Measurement: task.Hash{7}}
}

// show makes the evidence the genuine piece of a pair.
func (q *request) show() {
	q.evidence = task.Encode(q.ev)
	b, x := q.c.Ballot(), q.c.View.Executor
	proof, beta := q.vrfs[x].Prove(b.PairInput())
	q.opening = task.Opening{Pair: task.Pair{Ballot: b, Digests: [2]task.Hash{{1}, {2}}}, Proof: task.Proof(proof), Evidence: q.evidence}
	q.opening.Pair.Digests[task.PairPlace(beta)] = task.H(task.TagEvidence, q.evidence)
	q.sign()
}

func (q *request) sign() {
	q.opening.Pair.Signature = task.Sign(q.peers[q.c.View.Executor], q.opening.Pair.Hash())
}

// place is where the executor's VRF puts the genuine piece.
func (q *request) place() uint8 {
	return task.PairPlace(q.vrfs[q.c.View.Executor].Output(q.c.Ballot().PairInput()))
}

// onChain lets the chain know what the request says.
func (q *request) onChain() {
	r := &q.c.View.Pre
	r.Digests, r.Signature, r.Proof = q.opening.Pair.Digests, q.opening.Pair.Signature, q.opening.Proof
	r.Place, r.OpenedAt, r.Progress, r.Reveals = q.place(), r.ClosedAt, ledger.Decided, q.reveals
	r.Evidence = [2][]byte{}
	r.Evidence[r.Place] = q.evidence
}

// other is the word of who names the other place.
const other task.Verdict = 9

// judge lets every judge say the same of the evidence.
func (q *request) judge(v task.Verdict) {
	q.c.View.Pre.Commitments, q.reveals = nil, nil
	for _, m := range q.c.Members {
		if !q.c.Roster().Judges(m.Claim.Node) {
			continue
		}
		r := task.Reveal{Ballot: q.c.Ballot(), Node: m.Claim.Node, Verdict: v, Place: q.place(), Pair: q.opening.Pair.Hash()}
		switch v {
		case task.Fault:
			r.Reason, r.Place = "x", 0
		case other:
			r.Verdict, r.Place = task.OK, 1-r.Place
		}
		q.reveals = append(q.reveals, r)
		q.c.View.Pre.Commitments = append(q.c.View.Pre.Commitments, task.Commitment{Ballot: r.Ballot, Node: r.Node, Digest: r.Digest()})
	}
}

// enclaveKey is what owners seal to.
const enclaveKey = "an enclave's key"

func keeper(policy task.Policy) *Keeper {
	return &Keeper{
		Role: task.DataOwner, Policy: policy, Log: slog.New(slog.DiscardHandler), Chain: &told{height: 10},
		Seal: func(_ *ledger.Case, r task.Release, enclave []byte) (task.Release, error) {
			if string(enclave) != enclaveKey {
				return r, errors.New("not an enclave's key")
			}
			r.Sealed = []byte("sealed")
			return r, nil
		},
	}
}

// The checks of spec §8.1: an owner that skips one of them releases its key
// where it must not.
func TestKeeperRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		code   string // what the refusal begins with; "" is a release
		policy task.Policy
		change func(*request)
	}{
		{name: "all is well", change: func(*request) {}},
		{name: "a claim that was not drawn", code: "claim-false", change: func(q *request) { q.c.Members[0].Claim.Proof[5]++ }},
		{name: "seats that were not won", code: "claim-false", change: func(q *request) { q.c.Members[0].Seats++ }},
		{name: "another's claim", code: "claim-mismatch", change: func(q *request) { q.c.Members[0].Claim.Node = q.c.Members[1].Claim.Node }},
		{name: "an executor whose turn it is not", code: "executor-false", change: func(q *request) {
			q.c.Passed = []ledger.Pass{{Executor: q.c.View.Executor, Attempt: q.c.Attempt}}
			q.c.View.Executor, _ = q.c.Roster().Next(1)
			q.c.Passed = nil
			q.quote()
			q.judge(task.OK)
		}},
		{name: "commitments still open", code: "commits-open", change: func(q *request) { q.c.View.Pre.Progress = ledger.Collecting }},
		{name: "a verdict that nobody committed to", code: "reveal-uncommitted", change: func(q *request) { q.reveals[0].Salt[0]++ }},
		{name: "a stranger's verdict", code: "reveal-uncommitted", change: func(q *request) { q.reveals[0].Node[0]++ }},
		{name: "one verdict many times", code: "verdicts-weak", change: func(q *request) {
			q.reveals = []task.Reveal{q.reveals[0], q.reveals[0], q.reveals[0], q.reveals[0], q.reveals[0], q.reveals[0]}
		}},
		{name: "no verdicts", code: "verdicts-weak", change: func(q *request) { q.reveals = nil }},
		{name: "verdicts of FAULT", code: "verdicts-weak", change: func(q *request) { q.judge(task.Fault) }},
		{name: "verdicts for the other place", code: "verdicts-weak", change: func(q *request) { q.judge(other) }},
		{name: "verdicts on another pair", code: "verdicts-weak", change: func(q *request) { q.ev.Keys.Sign[0]++; q.show() }},
		{name: "the piece in the other place", code: "pair-false", change: func(q *request) {
			q.opening.Pair.Digests[0], q.opening.Pair.Digests[1] = q.opening.Pair.Digests[1], q.opening.Pair.Digests[0]
			q.sign()
			q.judge(other)
		}},
		{name: "a place that the VRF has not named", code: "pair-false", change: func(q *request) { q.opening.Proof[7]++ }},
		{name: "a pair that the executor has not signed", code: "evidence-unsigned", change: func(q *request) { q.opening.Pair.Signature[0]++ }},
		{name: "another pair than the chain has", code: "pair-other", change: func(q *request) {
			q.onChain()
			q.ev.Keys.Sign[0]++
			q.show()
			q.judge(task.OK)
		}},
		{name: "a quorum that lies about a debug enclave", code: "evidence-debug-enclave", change: func(q *request) {
			q.quoteAs(func(p *attest.Platform) { p.Debug = true })
			q.judge(task.OK)
		}},
		{name: "a quorum that lies about a foreign program", code: "evidence-wrong-measurement", change: func(q *request) {
			q.quoteAs(func(p *attest.Platform) { p.Measurement[0]++ })
			q.judge(task.OK)
		}},
		{name: "a quorum that lies about a replayed quote", code: "evidence-nonce-missing", change: func(q *request) {
			q.ev.Nonce = attest.NonceRoot([]task.Hash{q.ev.Nonce})
			q.show()
			q.judge(task.OK)
		}},
		{name: "another key to seal to", code: "seal-key", change: func(q *request) {
			q.ev.Keys.Seal = attest.SealKey([]byte("the executor's own"))
			q.ev = q.platform().Quote(q.c.Wanted(task.PreRun).Context, q.ev.Keys, q.ev.Nonce, q.ev.State)
			q.show()
			q.judge(task.OK)
		}},
		{name: "evidence of another task", code: "evidence-report-data-mismatch", change: func(q *request) {
			q.ev.Quote, _ = attest.Platform{Chip: q.chips[q.c.View.Executor], Measurement: task.Hash{7}}.Quoter().Quote(task.Hash{1})
			q.show()
			q.judge(task.OK)
		}},
		{name: "good for the task, too weak for the owner", code: "evidence-tier-too-low", policy: task.Policy{MinTier: task.TierConfidential}, change: func(*request) {}},
	} {
		t.Run(row.name, func(t *testing.T) {
			q := newRequest(t)
			row.change(q)
			r, err := keeper(row.policy).Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey))
			if row.code == "" {
				if err != nil || !bytes.Equal(r.Sealed, []byte("sealed")) || r.Evidence != q.ev.Digest() {
					t.Fatalf("%+v, %v", r, err)
				}
				return
			}
			if !strings.HasPrefix(task.CodeOf(err), row.code) || len(r.Sealed) != 0 {
				t.Errorf("%v, want %s", err, row.code)
			}
		})
	}
}

// A docker function is run by a program of its own. An owner whose own policy says
// nothing of programs releases to it; one that names another does not; and none
// releases to it for another function.
func TestKeeperReleasesToTheProgramOfDockerFunctions(t *testing.T) {
	docker := task.Hash{8}
	for _, row := range []struct {
		runtime string
		own     []task.Hash
		code    string
	}{
		{task.RuntimeDocker, nil, ""},
		{task.RuntimeDocker, []task.Hash{{7}, docker}, ""},
		{task.RuntimeDocker, []task.Hash{{7}}, "evidence-wrong-measurement"},
		{task.RuntimeWasm, nil, "evidence-wrong-measurement"},
	} {
		q := newRequest(t, func(c *ledger.Case) {
			c.Function.Manifest.Runtime = row.runtime
			c.Task.Function = c.Function.ID()
			ref := c.Reference()
			ref.Docker = []task.Hash{docker}
			under(c, ref)
		})
		q.quoteAs(func(p *attest.Platform) { p.Measurement = docker })
		q.judge(task.OK)
		if _, err := keeper(task.Policy{MinTier: task.TierSimulated, Measurements: row.own}).check(q.c, q.opening, q.reveals); task.CodeOf(err) != row.code {
			t.Errorf("%s, an owner who accepts %v: %v, want %q", row.runtime, row.own, err, row.code)
		}
	}
}

// Alice names a program of her own beside the chain's, executes her own task with it,
// and would read Bob's code. Her policy is her word alone.
func TestNoTaskNamesAProgramForBob(t *testing.T) {
	hers := task.Hash{66}
	q := newRequest(t, func(c *ledger.Case) { c.Task.Policy.Measurements = []task.Hash{{7}, hers} })
	q.quoteAs(func(p *attest.Platform) { p.Measurement = hers })
	q.judge(task.OK)
	if _, err := keeper(task.Policy{MinTier: task.TierSimulated}).check(q.c, q.opening, q.reveals); task.CodeOf(err) != "evidence-wrong-measurement" {
		t.Errorf("Bob's broker: %v", err)
	}
	if a := q.c.Appraise(task.PreRun, q.evidence); a.Reason != attest.WrongMeasurement {
		t.Errorf("the chain: %+v", a)
	}
	q.quoteAs(func(*attest.Platform) {}) // and the chain's own is good for both
	q.judge(task.OK)
	if _, err := keeper(task.Policy{MinTier: task.TierSimulated}).check(q.c, q.opening, q.reveals); err != nil {
		t.Error(err)
	}
}

// One key, one enclave: the same answer for the same evidence, none for another.
func TestKeeperRemembersByTheChain(t *testing.T) {
	q := newRequest(t)
	first, err := keeper(task.Policy{}).Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey))
	if err != nil {
		t.Fatal(err)
	}
	first.Sealed = []byte("as it was sealed the first time")
	q.c.View.Releases = []task.Release{first}
	again, err := keeper(task.Policy{}).Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey)) // of another process
	if err != nil || again.Hash() != first.Hash() {
		t.Errorf("%v: sealed anew", err)
	}
	q.c.View.Releases[0].Evidence[0]++
	if _, err := keeper(task.Policy{}).Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey)); task.CodeOf(err) != "release-twice" {
		t.Errorf("%v", err)
	}
}

// An owner answers for its own places in the list, each for itself, and all of them to
// one enclave: not for the requester's, another role's, or none.
func TestKeeperSpeaksForItsOwnParties(t *testing.T) {
	two := func(c *ledger.Case) {
		c.Task.Data = append(c.Task.Data, task.Data{Blob: task.Blob{CID: "more", Size: 1}})
	}
	q, k := newRequest(t, two), keeper(task.Policy{})
	seen := map[task.Hash]bool{}
	for party, code := range map[uint8]string{0: "not-owner", 1: "", 2: "", 3: "not-owner", 4: "not-owner", 255: "not-owner"} {
		r, err := k.Decide(q.c, party, q.opening, q.reveals, []byte(enclaveKey))
		if task.CodeOf(err) != code || err == nil && (r.Party != party || seen[r.Hash()]) {
			t.Errorf("party %d: %v, %+v", party, err, r)
		}
		seen[r.Hash()] = err == nil
	}
	chain := &told{c: q.c}
	k.Chain, q.c.Phase = chain, ledger.Releasing
	q.onChain()
	mine := func(_ *ledger.Case, p task.Party) bool { return p.File.CID == "more" }
	if k.Record(t.Context(), q.c.ID(), mine); len(chain.all) != 1 || chain.all[0].Release == nil || chain.all[0].Release.Party != 2 {
		t.Errorf("%+v", chain.all)
	}
	q = newRequest(t, two)
	again := keeper(task.Policy{})
	if _, err := again.Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey)); err != nil {
		t.Fatal(err)
	}
	q.ev.Keys.Sign[0]++
	q.show()
	q.judge(task.OK)
	if _, err := again.Decide(q.c, 2, q.opening, q.reveals, []byte(enclaveKey)); task.CodeOf(err) != "release-twice" {
		t.Errorf("each file to an enclave of its own: %v", err)
	}
}

func TestKeeperReleasesOnce(t *testing.T) {
	q, k := newRequest(t), keeper(task.Policy{})
	first, err := k.Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey))
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey))
	if err != nil || again.Hash() != first.Hash() {
		t.Errorf("asked again: %v", err)
	}
	q.ev.Keys.Sign[0]++
	q.show()
	q.judge(task.OK)
	if _, err := k.Decide(q.c, 1, q.opening, q.reveals, []byte(enclaveKey)); task.CodeOf(err) != "release-twice" {
		t.Errorf("a second enclave: %v", err)
	}
}

// told is a chain that shows one case and keeps what is submitted.
type told struct {
	Chain
	height uint64
	c      *ledger.Case
	all    []task.Body
	money  task.Amount
	block  chan struct{} // that a transaction waits for; nil is no wait
	sent   atomic.Int32
}

func (t *told) Account(context.Context, task.Address) (ledger.Account, error) {
	return ledger.Account{Balance: t.money}, nil
}

func (t *told) Height() uint64                                                  { return t.height }
func (t *told) Case(context.Context, task.TaskID) (*ledger.Case, error)         { return t.c, nil }
func (t *told) VerifiedCase(context.Context, task.TaskID) (*ledger.Case, error) { return t.c, nil }
func (t *told) Submit(_ context.Context, _ ed25519.PrivateKey, b task.Body) (uint64, error) {
	t.sent.Add(1)
	if t.block != nil {
		<-t.block
	}
	t.all = append(t.all, b)
	return 0, nil
}

// A key is given before the chain knows the verdict only as long as the owner has time
// to bring that itself. It does so if the executor has not in time, until the chain
// knows it: from then on the executor's silence costs what it may have gained.
func TestKeysAheadOfTheChain(t *testing.T) {
	type scene struct {
		q     *request
		k     *Keeper
		chain *told
	}
	start := func(height uint64) scene {
		q := newRequest(t)
		k, chain := keeper(task.Policy{}), &told{c: q.c, height: height}
		k.Chain = chain
		return scene{q, k, chain}
	}
	decide := func(s scene) error {
		_, err := s.k.Decide(s.q.c, 1, s.q.opening, s.q.reveals, []byte(enclaveKey))
		return err
	}
	commit := ledger.Embedded("c").CommitBlocks
	last := 100 - 2*commit // of an opening until block 100
	t.Run("no time is left", func(t *testing.T) {
		s := start(last + 1)
		if err := decide(s); task.CodeOf(err) != "release-early" {
			t.Fatal(err)
		}
		if _, err := s.k.awaitClosed(stopped(t), s.q.c.Ballot()); !errors.Is(err, context.Canceled) {
			t.Fatalf("not waited for: %v", err)
		}
		s.q.onChain() // and now the chain knows it
		if err := decide(s); err != nil {
			t.Error(err)
		}
		if all := s.k.Overdue(1 << 40); len(all) > 0 {
			t.Errorf("and there is nothing to bring: %v", all)
		}
	})
	t.Run("a pair that is found faulty", func(t *testing.T) {
		s := start(last)
		s.q.onChain()
		s.q.c.View.Pre.Faulty = true
		if err := decide(s); task.CodeOf(err) != "release-stale" {
			t.Error(err)
		}
	})
	for name, row := range map[string]struct {
		change func(*ledger.Case)
		brings bool // the verdict
		more   bool // another time
		pairs  int
	}{
		"kept back":               {func(*ledger.Case) {}, true, true, 0},
		"opened, but no reveals":  {func(c *ledger.Case) { c.View.Pre.Progress = ledger.Opened }, true, true, 0},
		"brought":                 {func(c *ledger.Case) { c.Phase = ledger.Running }, false, false, 0},
		"another's turn":          {func(c *ledger.Case) { c.View.Number++ }, false, false, 0},
		"another attempt":         {func(c *ledger.Case) { c.Attempt++ }, false, false, 0},
		"found faulty meanwhile":  {func(c *ledger.Case) { c.View.Pre.Faulty = true }, false, false, 0},
		"another pair was shown":  {func(c *ledger.Case) { c.View.Pre.Digests = [2]task.Hash{{7}, {8}} }, false, true, 2},
		"the same pair was shown": {nil, true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(last)
			if err := decide(s); err != nil {
				t.Fatal(err)
			}
			if all := s.k.Overdue(last + commit - 1); len(all) > 0 {
				t.Fatalf("the executor has no time: %v", all)
			}
			all := s.k.Overdue(last + commit)
			if len(all) != 1 || all[0] != s.q.c.Ballot() {
				t.Fatalf("overdue are %v", all)
			}
			changed := *s.q.c
			if changed.View.Pre.Digests = s.q.opening.Pair.Digests; row.change != nil {
				changed.View.Pre.Digests = [2]task.Hash{}
				row.change(&changed)
			}
			s.chain.c = &changed
			s.k.Bring(t.Context(), all[0])
			if again := s.k.Overdue(last + commit + commit/2 + 1); len(again) > 0 != row.more {
				t.Errorf("again %v", again)
			}
			if want := row.brings || row.pairs > 0; len(s.chain.all) > 0 != want {
				t.Fatalf("%d transactions", len(s.chain.all))
			}
			for _, b := range s.chain.all {
				if v := b.Verdicts; row.brings && (v == nil || v.Opening == nil || len(v.Words) != len(s.q.reveals)) {
					t.Errorf("%+v", b)
				}
				if a := b.Accuse; row.pairs > 0 && (a == nil || len(a.Pairs) != row.pairs || a.Accused != changed.View.Executor || a.Pairs[0] != s.q.opening.Pair) {
					t.Errorf("%+v", b)
				}
			}
		})
	}
	t.Run("an account that cannot pay", func(t *testing.T) {
		s := start(last)
		s.k.Account = keyOf("alice")
		least := bringing(s.q.c)
		for money, want := range map[task.Amount]error{least - 1: context.Canceled, least: nil} {
			s.chain.money = money
			if _, err := s.k.awaitClosed(stopped(t), s.q.c.Ballot()); !errors.Is(err, want) {
				t.Errorf("with %s: %v", money, err)
			}
		}
		if err := decide(s); err != nil {
			t.Fatal(err)
		}
		if s.chain.money = least; !s.k.canPay(t.Context(), s.q.c) {
			t.Error("the same turn is counted twice")
		}
		next := *s.q.c
		next.View.Number++
		if s.k.canPay(t.Context(), &next) {
			t.Error("one balance for two turns")
		}
	})
	t.Run("one at a time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(last)
			if err := decide(s); err != nil {
				t.Fatal(err)
			}
			s.chain.block = make(chan struct{})
			s.k.Chain = passing{s.chain, last + 4*commit}
			var wg sync.WaitGroup
			wg.Go(func() { _ = s.k.Follow(t.Context(), 0, func(*ledger.Case, task.Party) bool { return true }) })
			synctest.Wait()
			if n := s.chain.sent.Load(); n != 1 {
				t.Errorf("%d transactions wait for one block", n)
			}
			close(s.chain.block)
			wg.Wait()
		})
	})
	t.Run("with the blocks", func(t *testing.T) {
		s := start(last)
		if err := decide(s); err != nil {
			t.Fatal(err)
		}
		s.k.Chain = passing{s.chain, last + commit}
		_ = s.k.Follow(t.Context(), 0, func(*ledger.Case, task.Party) bool { return true })
		if len(s.chain.all) != 1 || s.chain.all[0].Verdicts == nil {
			t.Errorf("%+v", s.chain.all)
		}
	})
}

// passing is a chain that makes its blocks up to a height, and ends.
type passing struct {
	*told
	last uint64
}

func (p passing) Watch(_ context.Context, _ uint64, each func(uint64, []ledger.Event)) error {
	for h := p.height; h <= p.last; h++ {
		each(h, nil)
	}
	return nil
}

func (t *told) Watch(ctx context.Context, _ uint64, _ func(uint64, []ledger.Event)) error {
	return ctx.Err()
}

// stopped is a context that is over.
func stopped(t *testing.T) context.Context {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	return ctx
}

// An owner accuses each bad executor that its verifiers let pass, once: the
// second may be bad in the same way, and silence would be the owner's fault.
func TestKeeperAccusesEachBadExecutor(t *testing.T) {
	q, k := newRequest(t), keeper(task.Policy{})
	chain := &told{c: q.c}
	k.Chain, q.c.Phase = chain, ledger.Releasing
	for view := range uint32(2) {
		q.c.View.Number = view
		q.c.View.Executor, _ = q.c.Roster().Next(view)
		q.c.View.Pre.Digests = [2]task.Hash{}
		q.quoteAs(func(p *attest.Platform) { p.Debug = true })
		q.judge(task.OK)
		q.onChain()
		for range 2 {
			k.Record(t.Context(), q.c.ID(), func(*ledger.Case, task.Party) bool { return true })
		}
		if n := len(chain.all); n != int(view)+1 || chain.all[view].Accuse == nil || !chain.all[view].Accuse.Look || chain.all[view].Accuse.Accused != q.c.View.Executor {
			t.Fatalf("view %d: %d transactions: %+v", view, n, chain.all)
		}
	}
}

// ticking is a chain that makes twenty blocks in which nothing happens, and
// counts the proofs that it is asked for.
type ticking struct {
	Chain
	c      *ledger.Case
	reads  int
	proofs int
}

func (c *ticking) Height() uint64 { return 10 }

func (c *ticking) Case(context.Context, task.TaskID) (*ledger.Case, error) {
	c.reads++
	return c.c, nil
}

func (c *ticking) VerifiedCase(context.Context, task.TaskID) (*ledger.Case, error) {
	c.proofs++
	return c.c, nil
}

func (c *ticking) Watch(_ context.Context, _ uint64, each func(uint64, []ledger.Event)) error {
	for h := range uint64(20) {
		each(h, nil)
	}
	return context.DeadlineExceeded
}

// What a stranger may ask for costs an owner a look or three, not one with every
// block, and no proof.
func TestAskingForNothingCostsLittle(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*task.Ballot)
		reads  int
		code   string
	}{
		"a view that never comes": {func(b *task.Ballot) { b.View = 1 << 31 }, 1, "release-early"},
		"the next view":           {func(b *task.Ballot) { b.View++ }, 3, ""},
	} {
		q, k := newRequest(t), keeper(task.Policy{})
		chain := &ticking{c: q.c}
		k.Chain = chain
		b := q.c.Ballot()
		row.change(&b)
		if _, err := k.awaitClosed(t.Context(), b); task.CodeOf(err) != row.code || err == nil || chain.reads > row.reads || chain.proofs > 0 {
			t.Errorf("%s: %d looks, %d proofs, %v", name, chain.reads, chain.proofs, err)
		}
	}
	q, k := newRequest(t), keeper(task.Policy{})
	k.Chain = &ticking{c: q.c}
	k.waiting.Store(maxWaiting)
	b := q.c.Ballot()
	b.View++
	if _, err := k.awaitClosed(t.Context(), b); task.CodeOf(err) != "owner-busy" || k.waiting.Load() != maxWaiting {
		t.Errorf("one more than may wait: %v", err)
	}
}
