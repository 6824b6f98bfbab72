package ledger

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// TestThreat has each threat of spec §12 to money, votes and the draw by its
// name. Where more tests look at one, §12.1 lists them.
func TestThreat(t *testing.T) {
	for _, threat := range []struct {
		name string
		test func(*testing.T)
	}{
		{"task grinding", threatTaskGrinding},
		{"block-hash grinding", threatBlockGrinding},
		{"withheld claims", threatWithheldClaims},
		{"sybil split", threatSybilSplit},
		{"late stake", threatLateStake},
		{"equivocation", TestEquivocation},
		{"copied verdicts", threatCopiedVerdicts},
		{"guessing", TestAWrongPickCosts},
		{"always FAULT", TestFalseAlarmCosts},
		{"self-accusation", TestSelfAccusationLoses},
		{"false slashing", TestFalseAccusationCostsItsBond},
		{"double settlement in every order", threatDoubleSettlement},
		{"fee overflow", threatFeeOverflow},
		{"owner no-show", threatNoShow},
		{"reputation laundering", threatLaundering},
	} {
		t.Run(threat.name, threat.test)
	}
}

// Who posts a task cannot choose its committee: the seed is not there before
// the next block's beacon, which the task cannot influence.
func threatTaskGrinding(t *testing.T) {
	w := newWorld(t, 9)
	w.publish()
	seeds := map[task.Hash]bool{}
	for range 3 {
		tk := w.task()
		w.id = tk.ID()
		w.must("alice", task.Body{Post: &tk})
		if c := w.c(); c.Phase != Posted || !c.Beacon.IsZero() {
			t.Fatalf("the draw is known in the block that posts: %s", c.Phase)
		}
		w.next()
		if w.c().Phase != Electing || w.c().Beacon.IsZero() {
			t.Fatalf("no draw: %s", w.c().Phase)
		}
		seeds[w.c().Seed()] = true
	}
	if len(seeds) != 3 {
		t.Errorf("%d seeds for three tasks", len(seeds))
	}
}

// There is one beacon for a height, whoever proposes and whatever is in the block:
// of another key, height or chain none is taken.
func threatBlockGrinding(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.block.End()
	next := func() *Block { return NewBlock(w.store, w.height+1) }
	good := w.val.Beacon(next().BeaconInput())
	for range 2 {
		if err := next().Begin(&good, 1_700_000_000); err != nil {
			t.Fatal(err)
		}
	}
	stranger := beacon.NewSecret([32]byte{5})
	for name, other := range map[string]beacon.Beacon{
		"another key's":       stranger.Beacon(next().BeaconInput()),
		"the last height's":   w.val.Beacon(beacon.Input("test", w.height)),
		"the next height's":   w.val.Beacon(beacon.Input("test", w.height+2)),
		"another chain's":     w.val.Beacon(beacon.Input("tes", w.height+1)),
		"the zero value":      {},
		"of something else's": w.val.Beacon(task.Hash{1}),
	} {
		if err := next().Begin(&other, 1_700_000_000); task.CodeOf(err) != "beacon-forged" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := next().Begin(nil, 1_700_000_000); task.CodeOf(err) != "beacon-missing" {
		t.Errorf("none: %v", err)
	}
}

// A claim that is held back until the others are known counts for nothing.
func threatWithheldClaims(t *testing.T) {
	w := newWorld(t, 9)
	w.postFor(60)
	all := w.allClaims()
	held := all[0]
	w.must("carol", task.Body{Claims: task.PackClaims(all[1:])})
	for w.c().Phase == Electing {
		w.next()
	}
	if err := w.send("carol", task.Body{Claims: task.PackClaims([]task.Claim{held})}); task.CodeOf(err) != "claims-closed" {
		t.Errorf("%v", err)
	}
	if w.c().Member(held.Node) != nil {
		t.Error("it is on the committee all the same")
	}
}

// One stake on six nodes draws what it draws on one, within three standard
// errors.
func threatSybilSplit(t *testing.T) {
	const draws, total, whole = 20_000, 3000, 600
	rng := rand.New(rand.NewPCG(7, 7))
	beta := func() (b vrf.Output) {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	var one, six float64
	for range draws {
		one += float64(sortition.Seats(beta(), 13, whole, total))
		for range 6 {
			six += float64(sortition.Seats(beta(), 13, whole/6, total))
		}
	}
	mean := 13.0 * whole / total
	if limit := 3 * math.Sqrt(2*mean/draws); math.Abs(one-six)/draws > limit {
		t.Errorf("one node draws %.4f seats, six %.4f", one/draws, six/draws)
	}
}

// Stake that comes after the seed is known changes nothing for it.
func threatLateStake(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	c := w.c()
	for id, k := range w.nodes {
		w.must("carol", task.Body{Transfer: &task.Transfer{To: k.node.Operator, Amount: 50 * task.PRY}})
		before, _ := w.state().Node(id)
		w.must(w.names[id], task.Body{Bond: &task.Bond{Node: id, Amount: 40 * task.PRY}})
		after, _ := w.state().Node(id)
		if before.StakeAt(c.Epoch) != after.StakeAt(c.Epoch) || after.StakeAt(c.Epoch+1) != before.StakeAt(c.Epoch) || after.StakeAt(c.Epoch+2) == before.StakeAt(c.Epoch) {
			t.Fatalf("%s: %s, then %s in this epoch and %s in the next but one", w.names[id], before.StakeAt(c.Epoch), after.StakeAt(c.Epoch), after.StakeAt(c.Epoch+2))
		}
	}
	w.elect()
	for _, m := range w.c().Members {
		if rec, _ := w.state().Node(m.Claim.Node); m.Stake != rec.Bond-40*task.PRY {
			t.Errorf("%s drew with %s", w.names[m.Claim.Node], m.Stake)
		}
	}
}

// Another's commitment, signed as one's own, can be opened by nobody: its
// reveal names its author.
func threatCopiedVerdicts(t *testing.T) {
	w := elected(t)
	thief, victim := w.verifiers()[0], w.verifiers()[1]
	shown := w.pair(w.quote(task.PreRun))
	c := w.c()
	honest := task.Reveal{Ballot: c.Ballot(), Node: victim, Verdict: task.OK, Pair: shown.Pair().Hash(), Salt: task.Hash{1}}
	var set []task.Commitment
	for _, id := range []task.NodeID{thief, victim} {
		k := task.Commitment{Ballot: honest.Ballot, Node: id, Digest: honest.Digest()}
		k.Signature = task.Sign(w.nodes[id].peer, k.Hash())
		set = append(set, k)
	}
	w.must("carol", task.Body{Commitments: task.PackCommitments(set)})
	for w.c().View.Pre.Progress < Sealed && w.c().Phase == Attesting && w.c().View.Number == 0 && w.c().Attempt == 0 {
		w.commitRest(shown, set)
		w.next()
	}
	stolen := honest
	stolen.Node = thief
	if err := w.c().CheckReveal(stolen); task.CodeOf(err) != "reveal-uncommitted" {
		t.Errorf("the copy opens: %v", err)
	}
	if err := w.c().CheckReveal(honest); err != nil {
		t.Errorf("the original does not: %v", err)
	}
}

// commitRest lets all others commit, so that the set is closed.
func (w *world) commitRest(shown task.Showing, have []task.Commitment) {
	var rest []task.Commitment
	for _, id := range w.verifiers() {
		if slices.ContainsFunc(have, func(k task.Commitment) bool { return k.Node == id }) {
			continue
		}
		v := task.Reveal{Ballot: shown.Ballot, Node: id, Verdict: task.OK, Pair: shown.Pair().Hash()}
		k := task.Commitment{Ballot: shown.Ballot, Node: id, Digest: v.Digest()}
		k.Signature = task.Sign(w.nodes[id].peer, k.Hash())
		rest = append(rest, k)
	}
	_ = w.send("carol", task.Body{Commitments: task.PackCommitments(rest)})
}

// All that ever ended a case is sent again, in every order: it stays settled
// as it was, and no money moves but fees.
func threatDoubleSettlement(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	c := w.c()
	again := []task.Body{{Result: c.View.Result}}
	for _, r := range c.View.Releases {
		again = append(again, task.Body{Release: &r})
	}
	exit := task.Exit{Ballot: c.Ballot(), Evidence: task.Encode(w.quote(task.PostRun))}
	exit.Signature = task.Sign(w.nodes[c.View.Executor].peer, exit.Hash())
	again = append(again, task.Body{Verdicts: task.PackVerdicts(c.Ballot(), c.View.Pre.Reveals, nil)}, task.Body{Exit: &exit}, task.Body{Skip: &task.Skip{Task: w.id, View: 1}})
	w.left()
	settled := task.Encode(*w.c().Settlement)
	bob := w.state().Account(task.PublicKey(w.keys["bob"])).Balance
	orders(len(again), func(order []int) {
		for _, i := range order {
			if err := w.send("carol", again[i]); task.CodeOf(err) != "task-closed" {
				t.Fatalf("%s on a closed case: %v", again[i].Kind(), err)
			}
		}
	})
	w.next()
	if !slices.Equal(task.Encode(*w.c().Settlement), settled) || w.state().Account(task.PublicKey(w.keys["bob"])).Balance != bob {
		t.Error("the settlement changed, or somebody was paid again")
	}
}

// orders visits every permutation of n things.
func orders(n int, visit func([]int)) {
	var rec func(done []int)
	rec = func(done []int) {
		if len(done) == n {
			visit(done)
			return
		}
		for i := range n {
			if !slices.Contains(done, i) {
				rec(append(done, i))
			}
		}
	}
	rec(nil)
}

// Amounts at the edge of 64 bits are refused; none wraps into something small.
func threatFeeOverflow(t *testing.T) {
	for name, change := range map[string]func(*task.Task){
		"fee":       func(k *task.Task) { k.Fee = math.MaxUint64 },
		"gas":       func(k *task.Task) { k.GasLimit, k.GasPrice = math.MaxUint64, math.MaxUint64 },
		"gas price": func(k *task.Task) { k.GasPrice = math.MaxUint64 },
		"their sum": func(k *task.Task) { k.Fee = math.MaxUint64 - 1; k.GasLimit, k.GasPrice = 1_000_000, 4 },
	} {
		w := newWorld(t, 9)
		w.publish()
		tk := w.task()
		change(&tk)
		before := w.state().Account(tk.Requester).Balance
		err := w.send("alice", task.Body{Post: &tk})
		if got := task.CodeOf(err); got != "amount-overflow" && got != "escrow-low" && got != "task-malformed" {
			t.Errorf("%s: %v", name, err)
		}
		if lost := before - w.state().Account(tk.Requester).Balance; lost != w.fee {
			t.Errorf("%s: cost %s", name, lost)
		}
	}
}

// An owner who does not show up pays for the others' work, and only then; Alice for the
// code as well, whose owner has shown up.
func threatNoShow(t *testing.T) {
	for silent, want := range map[uint8]Outcome{alices: DataOwnerSilent, bobs: CodeOwnerSilent} {
		w := elected(t)
		w.judge(everyone(task.OK))
		if err := w.release(3 - silent); err != nil {
			t.Fatal(err)
		}
		w.wait(Closed)
		s := w.c().Settlement
		fine := s.Outcome == want && paid(s, WhyExecutor) > 0 && paid(s, WhyVerifier) > 0 && (paid(s, WhyRoyalty) > 0) == (silent == alices)
		if all := w.c().Escrow.Locks[0]; !fine || (paid(s, WhyRefund) == all) != (silent == bobs) {
			t.Errorf("party %d silent: %+v", silent, s)
		}
	}
}

// A record cannot be left behind by leaving: it stays under the node's name,
// its TEE cannot come back under another, and a fresh name starts with nothing.
func threatLaundering(t *testing.T) {
	w := elected(t)
	liar := w.c().View.Executor
	w.judgeThis(w.pair(w.dirty(task.PreRun)), everyone(task.Fault))
	for w.c().View.Number == 0 {
		w.next()
	}
	rec, _ := w.state().Node(liar)
	if rec.Counts[BadEvidence] != 1 || rec.Lost == 0 || rec.JailedUntil == 0 {
		t.Fatalf("no record: %+v", rec)
	}
	fresh := newWorker("fresh")
	w.keys["fresh"] = seedKey("fresh")
	w.must("alice", task.Body{Transfer: &task.Transfer{To: fresh.node.Operator, Amount: 300 * task.PRY}})
	same := newWorker("fresh")
	same.node.TEE, same.chip = rec.Node.TEE, w.nodes[liar].chip
	if err := w.send("fresh", task.Body{Register: w.enrol(same, 150*task.PRY)}); task.CodeOf(err) != "tee-taken" {
		t.Errorf("the liar's TEE under a fresh name: %v", err)
	}
	if err := w.send("fresh", task.Body{Register: w.enrol(fresh, 150*task.PRY)}); err != nil {
		t.Fatal(err)
	}
	if n, _ := w.state().Node(fresh.node.ID()); len(n.Counts) != 0 || n.StakeAt(w.block.epoch()+1) != 0 {
		t.Errorf("a newcomer starts with %v, drawing with %s at once", n.Counts, n.StakeAt(w.block.epoch()+1))
	}
	if again, _ := w.state().Node(liar); again.Counts[BadEvidence] != 1 || again.Counts[Jailed] != 1 {
		t.Errorf("the old record: %+v", again.Counts)
	}
}

// What costs validators work or memory costs its sender in proportion.
func TestJunkIsPaidFor(t *testing.T) {
	w := newWorld(t, 20)
	w.post()
	fill := func(size func(n int) int) (n int) {
		for size(n+1) < task.MaxTx-400 {
			n++
		}
		return n
	}
	// A proof that does not hold, over and over, is looked at once; what there is
	// of more costs its sender.
	k := w.allClaims()
	bad := k[0]
	bad.Proof[79] ^= 1
	same := slices.Repeat([]task.Claim{bad}, fill(func(n int) int { return len(task.Encode(task.PackClaims(slices.Repeat([]task.Claim{bad}, n)))) }))
	if err := w.send("carol", task.Body{Claims: task.PackClaims(same)}); task.CodeOf(err) != "nothing-new" {
		t.Errorf("%d times one claim: %v", len(same), err)
	}
	if w.fee < 60*w.block.Params.TxFee {
		t.Errorf("64 KiB for %s", w.fee)
	}
	again := append([]task.Claim{bad}, k...) // and the good one of the same node is not looked at then
	w.must("carol", task.Body{Claims: task.PackClaims(again)})
	if n := len(w.c().Members); n != len(k)-1 {
		t.Errorf("%d of %d claims count after a bad one of the first node", n, len(k))
	}
	// A function stays in the state: its bond is at least what its bytes cost.
	f := w.function()
	for range 14 {
		f.Manifest.Args = append(f.Manifest.Args, strings.Repeat("x", 4096))
	}
	for _, row := range []struct {
		bond task.Amount
		want string
	}{{0, "bond-low"}, {w.block.Params.Deposit(f) - 1, "bond-low"}, {w.block.Params.Deposit(f), ""}} {
		if err := w.send("bob", task.Body{Publish: &task.Publish{Function: f, Bond: row.bond}}); task.CodeOf(err) != row.want {
			t.Errorf("a function of %d bytes for %s: %v", len(task.Encode(f)), row.bond, err)
		}
	}
}
