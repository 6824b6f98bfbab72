package ledger

import (
	"testing"

	"github.com/prytany/prytany/task"
)

// hand is a coalition of Alice and of whoever executes.
func (w *world) hand(executor task.NodeID) (sum task.Amount) {
	rec, _ := w.state().Node(executor)
	for _, u := range rec.Unbonding {
		sum += u.Amount
	}
	return sum + rec.Bond + w.state().Account(rec.Node.Operator).Balance + w.state().Account(task.PublicKey(w.keys["alice"])).Balance
}

// lose burns all of a node's bond but so much. It draws on as before.
func (w *world) lose(id task.NodeID, rest task.Amount) {
	key := join(keyNode, id[:])
	n, _ := load[NodeRecord](w.block.state, key)
	w.block.meta.Burned += n.Bond - rest
	n.Bond = rest
	save(w.block.state, key, n)
}

// Alice and her executor have the result, which is sealed to her. How the case ends
// then must not give them back more of what it costs than it takes from him.
func TestNobodyRobsBobByFailing(t *testing.T) {
	start := func(t *testing.T, rest task.Amount) (w *world, before task.Amount, executor task.NodeID) {
		w = newWorld(t, 9)
		f := w.function()
		f.Manifest.Royalty = 7 * task.PRY
		w.fn = f.ID()
		w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
		tk := w.task()
		tk.GasPrice, tk.Seats, tk.Fee = 1, 16, 16*w.block.Params.SeatFee
		w.id = tk.ID()
		all := map[task.NodeID]task.Amount{}
		for id := range w.nodes {
			all[id] = w.hand(id)
		}
		w.must("alice", task.Body{Post: &tk})
		w.next()
		w.elect()
		executor = w.c().View.Executor
		rec, _ := w.state().Node(executor)
		w.lose(executor, rest) // or a tenth of it would be dear
		return w, all[executor] + rest - rec.Bond, executor
	}
	shows := func(w *world, shown task.Showing) {
		reveals := w.commit(shown, everyone(task.OK))
		w.must("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals, w.opening(shown))})
		for _, r := range []uint8{alices, bobs} {
			if err := w.release(r); err != nil {
				w.t.Fatal(err)
			}
		}
		if err := w.result(task.RunOK, 1); err != nil {
			w.t.Fatal(err)
		}
	}
	run := func(w *world) { shows(w, w.pair(w.quote(task.PreRun))) }
	accuses := func(w *world, a task.Accusation) {
		w.next()
		a.Ballot, a.Accused = w.c().Ballot(), w.c().View.Executor
		w.must("alice", task.Body{Accuse: &a})
		w.wait(Closed)
	}
	ends := map[string]func(w *world){
		"honest": func(w *world) { run(w); w.left() },
		"called, and Alice silent": func(w *world) {
			w.judge(everyone(task.OK)) // all keys come directly, and she has her result by them
			if err := w.release(bobs); err != nil {
				w.t.Fatal(err)
			}
			w.wait(Closed)
		},
		"called, and Alice's key opens nothing": func(w *world) {
			w.judge(everyone(task.OK))
			for _, r := range []uint8{alices, bobs} {
				if err := w.release(r); err != nil {
					w.t.Fatal(err)
				}
			}
			if err := w.result(task.WrongKey, 0); err != nil {
				w.t.Fatal(err)
			}
			w.left()
		},
		"no word of how the enclave ended": func(w *world) { run(w); w.wait(Closed) },
		"a second pair, shown by Alice": func(w *world) {
			shown := w.pair(w.quote(task.PreRun))
			other := w.both(w.quote(task.PreRun), w.dirty(task.PreRun))
			shows(w, shown)
			accuses(w, task.Accusation{Pairs: []task.Pair{shown.Pair(), other.Pair()}})
		},
		"a second good piece, shown by Alice": func(w *world) {
			shown := w.both(w.quote(task.PreRun), w.quote(task.PreRun))
			shows(w, shown)
			accuses(w, task.Accusation{Shown: &shown})
		},
		"evidence that is bad, shown by Alice": func(w *world) {
			shows(w, w.both(w.dirty(task.PreRun), w.quote(task.PreRun)))
			accuses(w, task.Accusation{Look: true})
		},
		"a second pair, shown by Alice before the chain knows the verdict": func(w *world) {
			shown := w.pair(w.quote(task.PreRun))
			other := w.both(w.quote(task.PreRun), w.dirty(task.PreRun))
			reveals := w.commit(shown, everyone(task.OK)) // a quorum: owners give their keys directly
			w.must("carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals, nil)})
			w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: shown.Ballot, Accused: w.c().View.Executor, Pairs: []task.Pair{shown.Pair(), other.Pair()}}})
			for w.c().Phase != Closed { // and her file comes to nobody any more
				if err := w.lacks(w.c().View.Executor, alices); err != nil {
					w.t.Fatal(err)
				}
				w.next()
			}
		},
		"a second result, shown by Alice": func(w *world) {
			run(w)
			other := w.bare(task.RunFailed, 1)
			s := w.signed(other)
			accuses(w, task.Accusation{Result: &s})
		},
		"a dirty exit": func(w *world) {
			run(w)
			w.next()
			w.next()
			if err := w.exit(w.dirty(task.PostRun)); err != nil {
				w.t.Fatal(err)
			}
			w.wait(Closed)
		},
		"keys by a verdict that is kept from the chain, until Bob brings it": func(w *world) {
			shown := w.pair(w.quote(task.PreRun))
			reveals := w.commit(shown, everyone(task.OK)) // enough for both owners, directly
			w.must("bob", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, reveals, w.opening(shown))})
			for w.c().View.Number == 0 {
				w.next()
			}
			for w.c().Phase != Closed { // and her file comes to nobody any more
				if err := w.lacks(w.c().View.Executor, alices); err != nil {
					w.t.Fatal(err)
				}
				w.next()
			}
		},
	}
	for _, rest := range []task.Amount{100 * task.PRY, 20 * task.PRY} { // a tenth is more than all that it is about, and less
		cost := map[string]int64{}
		for name, end := range ends {
			w, before, executor := start(t, rest)
			end(w)
			after := w.hand(executor)
			cost[name] = int64(before) - int64(after)
			t.Logf("of %s, %-37s %-18s Alice and her executor lose %s", rest, name, w.c().Settlement.Outcome, task.Amount(cost[name]))
		}
		for name, c := range cost {
			if fees := int64(5 * Embedded("").TxFee); c+fees < cost["honest"] { // for transactions that were not needed
				t.Errorf("of %s, %s: Alice and her executor keep %s that they would have paid", rest, name, task.Amount(cost["honest"]-c))
			}
		}
	}
}

// Alice's first key opens nothing, and the enclave has said so under its signature; with
// her second it has run, and the result is hers. Then its executor calls, she puts the bad
// key on the chain, and the blame for it comes in the same block. It must not outrun Bob,
// who has his time to answer, and whom the royalty is due from then on.
func TestBlameWaitsForAllAnswers(t *testing.T) {
	w := newWorld(t, 9)
	f := w.function()
	f.Manifest.Royalty = 7 * task.PRY
	w.fn = f.ID()
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 200 * task.PRY}})
	k := w.task() // whose royalty is nearly all that it costs
	k.GasPrice, k.Seats, k.Fee = 1, 16, 16*w.block.Params.SeatFee
	w.id = k.ID()
	w.must("alice", task.Body{Post: &k})
	w.next()
	w.elect()
	w.judge(everyone(task.OK))
	before := w.state().Account(task.PublicKey(w.keys["bob"])).Balance
	if err := w.call(); err != nil {
		t.Fatal(err)
	}
	if err := w.released(alices); err != nil {
		t.Fatal(err)
	}
	if err := w.result(task.WrongKey, 0); task.CodeOf(err) != "blame-unfounded" {
		t.Fatalf("a blame before Bob could answer: %v", err)
	}
	if err := w.released(bobs); err != nil {
		t.Fatal(err)
	}
	if err := w.result(task.WrongKey, 0); err != nil {
		t.Fatal(err)
	}
	w.left()
	if got := w.state().Account(task.PublicKey(w.keys["bob"])).Balance - before; w.c().Settlement.Outcome != DataOwnerSilent || got < 6*task.PRY {
		t.Errorf("%s: Bob gets %s of a royalty of %s", w.c().Settlement.Outcome, got, f.Manifest.Royalty)
	}
}

// A case keeps no more words than can be read: those of one attempt's committees.
func TestTheLargestCaseIsReadable(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	w.elect()
	var round Round
	for i := range task.MaxSeats - 1 {
		id := task.NodeID(task.H(task.TagSalt, task.U64(uint64(i))))
		round.Commitments = append(round.Commitments, task.Commitment{Node: id, Digest: task.Hash{1}, Signature: task.Signature{1}})
		round.Reveals = append(round.Reveals, task.Reveal{Node: id, Verdict: task.OK, Pair: task.Hash{1}, Salt: task.Hash{1}})
	}
	round.Evidence = [2][]byte{make([]byte, task.MaxEvidence), make([]byte, task.MaxEvidence)}
	c, err := w.block.open(w.c().ID(), w.c().Attempt)
	if err != nil {
		t.Fatal(err)
	}
	fill := func() {
		for v := range c.Params.MaxViews {
			c.Passed = append(c.Passed, Pass{Attempt: c.Attempt, View: v, Pre: round, Why: BroughtNothing})
		}
	}
	fill()
	for c.Attempt+1 < c.Params.MaxAttempts {
		w.block.nextAttempt(c, TooFewJudged)
		fill()
	}
	if raw := task.Encode(c); len(raw) > MaxCase {
		t.Errorf("%d bytes, and a case has at most %d", len(raw), MaxCase)
	}
}

// A pledge is worth what is left of the bond when it is due. So what two words of the
// executor's own in tasks of strangers cost it is not Alice's, who shows them, as long as
// his silence in her task could cost that.
func TestAPledgeIsNobodysReward(t *testing.T) {
	w := newWorld(t, 9)
	f := w.function()
	f.Manifest.Royalty = 7 * task.PRY
	w.fn = f.ID()
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 200 * task.PRY}})
	dear := func(who string) task.TaskID {
		k := w.task()
		k.Requester = task.PublicKey(w.keys[who])
		k.Data[0].Owner, k.Nonce = k.Requester, w.state().Account(k.Requester).Nonce
		k.GasPrice, k.Seats, k.Fee = 1, 16, 16*w.block.Params.SeatFee
		w.must(who, task.Body{Post: &k})
		return k.ID()
	}
	w.id = dear("alice")
	w.next()
	w.elect()
	id, friend := w.id, w.c().View.Executor
	w.lose(friend, 10*task.PRY) // all but that
	before := w.hand(friend) + w.c().Escrow.Of(0)
	w.judge(everyone(task.OK)) // keys and result go beside the chain
	for range 12 {
		var two []task.Commitment
		of := dear("carol")
		for i := range 2 {
			k := task.Commitment{Ballot: task.Ballot{Task: of}, Node: friend, Digest: task.Hash{byte(i + 1)}}
			k.Signature = task.Sign(w.nodes[friend].peer, k.Hash())
			two = append(two, k)
		}
		w.must("alice", task.Body{Accuse: &task.Accusation{Ballot: two[0].Ballot, Accused: friend, Commitments: two}})
	}
	for w.c().View.Number == 0 && w.c().Phase != Closed {
		w.next()
	}
	w.id = id
	lost := before - w.hand(friend) - w.c().Escrow.Of(0) // the lock comes back, whatever follows
	if due := w.c().forfeit(); lost < due {
		t.Errorf("Alice and her friend lost %s, and she gets back %s: they keep %s", lost, due, due-lost)
	}
}
