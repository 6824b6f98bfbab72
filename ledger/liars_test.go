package ledger

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// elected is a fresh world with a committee.
func elected(t testing.TB, set ...func(*Params)) *world {
	w := newWorld(t, 9, set...)
	w.post()
	w.elect()
	return w
}

// verifiers are the judges of the present view, those with fewest seats first.
func (w *world) verifiers() (all []task.NodeID) {
	c := w.c()
	for _, m := range c.Members {
		if c.Roster().Judges(m.Claim.Node) {
			all = append(all, m.Claim.Node)
		}
	}
	slices.SortStableFunc(all, func(a, b task.NodeID) int { return int(c.Member(a).Seats) - int(c.Member(b).Seats) })
	return all
}

// except says v, but lets the first n of the verifiers do something else.
func (w *world) except(n int, v task.Verdict, says say) say {
	odd := w.verifiers()[:n]
	return func(id task.NodeID) (task.Verdict, bool) {
		if slices.Contains(odd, id) {
			return says(id)
		}
		return v, true
	}
}

// nextAttempt waits for it.
func (w *world) nextAttempt() {
	for a := w.c().Attempt; w.c().Attempt == a && w.c().Phase != Closed; {
		w.next()
	}
}

// lost is what each node lost in the case, by cause.
func (w *world) lost(cause Cause) map[task.NodeID]task.Amount {
	all := map[task.NodeID]task.Amount{}
	for _, s := range w.c().Slashes {
		if s.Cause == cause {
			all[s.Node] += s.Amount
		}
	}
	return all
}

func (w *world) earned(id task.NodeID) task.Amount {
	return w.state().Account(w.nodes[id].node.Operator).Balance
}

// Whoever cries FAULT at good evidence pays, and stops nobody.
func TestFalseAlarmCosts(t *testing.T) {
	w := elected(t)
	crier := w.verifiers()[0]
	seats := task.Amount(w.c().Member(crier).Seats)
	w.judge(w.except(1, task.OK, everyone(task.Fault)))
	if p := w.c().Phase; p != Running {
		t.Fatalf("one false alarm holds the task up: %s", p)
	}
	w.wait(Closed)
	if got := w.lost(FalseFault)[crier]; got != seats*w.block.Params.FalseAlarm {
		t.Errorf("lost %s for a false alarm", got)
	}
}

func TestEquivocation(t *testing.T) {
	w := elected(t)
	c := w.c()
	id := w.verifiers()[0]
	sign := func(key ed25519.PrivateKey, digest byte) task.Commitment {
		k := task.Commitment{Ballot: c.Ballot(), Node: id, Digest: task.Hash{digest}}
		k.Signature = task.Sign(key, k.Hash())
		return k
	}
	peer := w.nodes[id].peer
	other := sign(peer, 2)
	other.Ballot.View = 1
	other.Signature = task.Sign(peer, other.Hash())
	for name, words := range map[string][]task.Commitment{
		"the same twice": {sign(peer, 1), sign(peer, 1)},
		"one is forged":  {sign(peer, 1), sign(seedKey("other"), 2)},
		"two questions":  {sign(peer, 1), other},
	} {
		w.must("carol", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: id, Commitments: words}})
		if len(w.c().Slashes) != 0 {
			t.Fatalf("%s: slashed", name)
		}
	}
	two := task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: id, Commitments: []task.Commitment{sign(peer, 1), sign(peer, 2)}}}
	w.must("carol", two)
	if err := w.send("carol", two); task.CodeOf(err) != "nothing-new" {
		t.Errorf("paid twice: %v", err)
	}
	if n, _ := w.state().Node(id); w.lost(Equivocation)[id] == 0 || n.JailedUntil == 0 || n.Counts[Equivocation] != 1 {
		t.Errorf("%+v", n)
	}
}

// An enclave that signs two results forges one receipt.
func TestTwoResults(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	c := w.c()
	second := *c.View.Result
	second.Result.Gas++
	second.Signature = task.Sign(seedKey("enclave"), second.Result.Hash())
	w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: c.View.Executor, Result: &second}})
	if c := w.c(); c.Settlement == nil || c.Settlement.Outcome != ForgedResult || w.lost(TwoResults)[c.View.Executor] == 0 {
		t.Errorf("%v", c.History)
	}
}

// An executor whose exit nobody was shown is not paid.
func TestExitMustBeShown(t *testing.T) {
	w := ran(t, task.RunOK, 250_000)
	id := w.c().View.Executor
	w.wait(Closed)
	if s := w.c().Settlement; s.Outcome != ExitSilent || paid(s, WhyExecutor) != 0 {
		t.Errorf("%+v", s)
	}
	if n, _ := w.state().Node(id); n.Counts[Silence] != 1 {
		t.Errorf("%+v", n.Counts)
	}
}

// Self-accusation: a node that owns executor and accuser loses.
func TestSelfAccusationLoses(t *testing.T) {
	w := elected(t)
	c := w.c()
	name := w.names[c.View.Executor]
	rich := func() task.Amount {
		n, _ := w.state().Node(c.View.Executor)
		all := w.state().Account(n.Node.Operator).Balance + n.Bond
		for _, u := range n.Unbonding {
			all += u.Amount
		}
		return all
	}
	before := rich()
	w.judgeThis(w.pair(w.dirty(task.PreRun)), everyone(task.OK))
	w.must(name, task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: c.View.Executor, Look: true}})
	for w.c().View.Number == 0 {
		w.next()
	}
	if s := w.lost(BadEvidence)[c.View.Executor]; s == 0 || before-rich() < s/2 {
		t.Errorf("slashed %s, lost %s", s, before-rich())
	}
}

// Nodes without a seat can be slashed in a case for two words that nobody asked
// of them: not without end, or the case could not be read any more.
func TestSlashesOfStrangersEnd(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	stranger := newWorker("stranger")
	w.keys["stranger"] = seedKey("stranger")
	w.must("carol", task.Body{Transfer: &task.Transfer{To: stranger.node.Operator, Amount: 300 * task.PRY}})
	w.must("stranger", task.Body{Register: w.enrol(stranger, 100*task.PRY)})
	var two []task.Commitment
	for i := range 2 {
		k := task.Commitment{Ballot: w.c().Ballot(), Node: stranger.node.ID(), Digest: task.Hash{byte(i)}}
		k.Signature = task.Sign(stranger.peer, k.Hash())
		two = append(two, k)
	}
	c := w.c()
	for len(c.Slashes) < maxSlashes {
		c.Slashes = append(c.Slashes, Slash{Node: task.NodeID{9}, Cause: Equivocation})
	}
	save(w.block.state, join(keyCase, w.id[:]), c)
	clear(w.block.cases)
	err := w.send("carol", task.Body{Accuse: &task.Accusation{Ballot: task.Ballot{Task: w.id}, Accused: stranger.node.ID(), Commitments: two}})
	if task.CodeOf(err) != "nothing-new" || !strings.Contains(err.Error(), "no room") {
		t.Errorf("one more: %v", err)
	}
	if _, err := ParseCase(task.Encode(w.c())); err != nil {
		t.Errorf("the case cannot be read any more: %v", err)
	}
}
