package committee

import (
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// crowd is an executor's machine in a committee of so many others, with its pair, and
// what they have committed to. The chain collects.
func crowd(t *testing.T, others int) (m *Machine, c *ledger.Case, words []task.Reveal) {
	t.Helper()
	self := task.NodeID{1}
	m = New(self, Embedded)
	c = &ledger.Case{Phase: ledger.Attesting, Stage: ledger.Committing, Params: ledger.Embedded("test"), View: ledger.View{Executor: self}}
	c.Members = []ledger.Member{{Claim: task.Claim{Node: self}, Seats: 1}}
	for i := range others {
		c.Members = append(c.Members, ledger.Member{Claim: task.Claim{Node: task.NodeID(task.H(task.TagSalt, task.U64(uint64(i))))}, Seats: 1})
	}
	m.Step(ChainMoved{c})
	shown := task.Showing{Ballot: c.Ballot(), Evidence: [2][]byte{make([]byte, task.MaxEvidence), {1}}}
	m.Step(Quoted{Shown: shown, Opening: task.Opening{Pair: shown.Pair(), Evidence: shown.Evidence[0]}})
	for _, o := range c.Members[1:] {
		words = append(words, task.Reveal{Ballot: c.Ballot(), Node: o.Claim.Node, Verdict: task.OK, Pair: shown.Pair().Hash(), Salt: task.Hash(o.Claim.Node)})
	}
	return m, c, words
}

// brought are the transactions among actions, each of which must be one that the chain
// can read, and whose words of commitments and reveals they bring.
func brought(t *testing.T, actions []Action) (txs int, opened bool, commits, reveals map[task.NodeID]int) {
	t.Helper()
	commits, reveals = map[task.NodeID]int{}, map[task.NodeID]int{}
	for _, a := range actions {
		said, ok := a.(Submit)
		if !ok {
			continue
		}
		txs++
		if raw := task.SignTx(key("executor"), task.Tx{Chain: "test", Body: said.Body}); len(raw) > task.MaxTx {
			t.Errorf("%s of %d bytes", said.Body.Kind(), len(raw))
		}
		if k := said.Body.Commitments; k != nil {
			for _, w := range k.Words {
				commits[w.Node]++
			}
		}
		if v := said.Body.Verdicts; v != nil {
			opened = opened || v.Opening != nil && len(reveals) == 0
			for _, w := range v.Words {
				reveals[w.Node]++
			}
		}
	}
	return txs, opened, commits, reveals
}

// The round of the largest committee comes to the chain: in several transactions, the
// opening in the first. What of it the chain does not take is brought again, and
// nothing else.
func TestARoundOfAThousand(t *testing.T) {
	m, c, words := crowd(t, task.MaxSeats-1)
	var out []Action
	for _, v := range words {
		out = append(out, m.Step(CommitmentHeard{task.Commitment{Ballot: v.Ballot, Node: v.Node, Digest: v.Digest()}})...)
	}
	if txs, _, commits, _ := brought(t, out); len(commits) != len(words) || txs != 3 {
		t.Fatalf("%d of %d commitments in %d transactions", len(commits), len(words), txs)
	}
	up := TimedOut{Timer{Kind: FlushTimer}}
	took := *c // the chain has taken the first of them
	for _, v := range words[:400] {
		took.View.Pre.Commitments = append(took.View.Pre.Commitments, task.Commitment{Ballot: v.Ballot, Node: v.Node, Digest: v.Digest()})
	}
	if txs, _, _, _ := brought(t, m.Step(ChainMoved{&took})); txs != 0 {
		t.Errorf("%d transactions more, before their time", txs)
	}
	if _, _, commits, _ := brought(t, m.Step(up)); len(commits) != len(words)-400 || commits[words[0].Node] > 0 {
		t.Errorf("%d commitments again, of %d that are not there", len(commits), len(words)-400)
	}

	closed := took
	for _, v := range words[400:] {
		closed.View.Pre.Commitments = append(closed.View.Pre.Commitments, task.Commitment{Ballot: v.Ballot, Node: v.Node, Digest: v.Digest()})
	}
	closed.Stage, closed.View.Pre.Progress, closed.View.Pre.ClosedAt, closed.Deadline = ledger.Opening, ledger.Sealed, 5, 120
	out = m.Step(ChainMoved{&closed})
	for _, v := range words {
		out = append(out, m.Step(RevealHeard{v})...)
	}
	txs, opened, _, reveals := brought(t, out)
	if len(reveals) != len(words) || !opened || txs < 3 {
		t.Fatalf("%d of %d reveals in %d transactions; opened %t", len(reveals), len(words), txs, opened)
	}
	said := closed // of them the chain takes all but the first, which has the opening
	said.View.Pre.Reveals = words[190:]
	m.Step(ChainMoved{&said})
	if _, opened, _, reveals = brought(t, m.Step(up)); len(reveals) != 190 || !opened {
		t.Errorf("%d reveals again, of 190 that are not there; opened %t", len(reveals), opened)
	}
	done := said
	done.View.Pre.Reveals, done.View.Pre.Progress = words, ledger.Opened
	m.Step(ChainMoved{&done})
	if txs, _, _, _ := brought(t, m.Step(up)); txs != 0 {
		t.Errorf("%d transactions of what the chain has", txs)
	}
}
