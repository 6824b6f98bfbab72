package ledger

import (
	"fmt"
	"testing"

	"github.com/prytany/prytany/task"
	"pgregory.net/rapid"
)

// Whatever transactions come in whatever order, no money comes or goes, and a
// refused one changes nothing but its sender's fee and nonce.
func TestSupplyIsConserved(t *testing.T) {
	verbs := []string{"transfer", "bond", "unbond", "publish", "withdraw", "post", "claims", "commit", "reveal", "release", "result", "skip", "show", "open", "exit", "accuse", "look"}
	people := []string{"alice", "bob", "carol", "n0", "n1", "n5"}
	froms := []string{"all", "forged", "stale", "none", "executor", "stranger"}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, 9)
		w.post()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0, 1:
				w.next()
			case 2:
				w.stride()
			default:
				who := rapid.SampledFrom(people).Draw(rt, "who")
				with := map[string]string{
					"to": rapid.SampledFrom(people).Draw(rt, "to"), "node": rapid.SampledFrom([]string{"n0", "n1", "n8"}).Draw(rt, "node"),
					"amount": fmt.Sprint(rapid.IntRange(0, 1500).Draw(rt, "amount")), "bond": fmt.Sprint(rapid.IntRange(0, 1500).Draw(rt, "bond")),
					"fee": fmt.Sprint(rapid.IntRange(0, 60).Draw(rt, "fee")), "from": rapid.SampledFrom(froms).Draw(rt, "from"),
					"role": rapid.SampledFrom([]string{"alice", "bob"}).Draw(rt, "role"), "votes": rapid.SampledFrom([]string{"all", "few"}).Draw(rt, "votes"),
					"gas": fmt.Sprint(rapid.IntRange(1, 1_000_000).Draw(rt, "gas")),
				}
				if w.c().Phase == Closed {
					if w.fewAreLeft() {
						return
					}
					w.id = task.TaskID{}
					tk := w.task()
					if w.send("alice", task.Body{Post: &tk}) != nil { // too many are jailed, or money is gone
						w = newWorld(t, 9)
						w.post()
					} else {
						w.id = tk.ID()
						w.next()
					}
				}
				body := w.body(who, rapid.SampledFrom(verbs).Draw(rt, "verb"), with)
				before := w.state().Account(task.PublicKey(w.keys[who]))
				err := w.send(who, body)
				after := w.state().Account(task.PublicKey(w.keys[who]))
				if err != nil && before.Balance-after.Balance > w.fee {
					rt.Fatalf("%s: refused (%v) and still cost %s", body.Kind(), err, before.Balance-after.Balance)
				}
			}
			save(w.block.state, []byte(keyMeta), w.block.meta)
			if r := w.state(); r.Held() != r.Meta().Supply {
				rt.Fatalf("%d held of %d", r.Held(), r.Meta().Supply)
			}
			if err := fits(w.c()); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// fewAreLeft says whether so many have been jailed that no task is taken any more.
func (w *world) fewAreLeft() bool {
	var able task.Amount
	epoch := w.height / w.block.Params.EpochBlocks
	for _, n := range w.state().Nodes(Whole) {
		if n.JailedUntil <= w.height {
			able += n.StakeAt(epoch)
		}
	}
	return 3*able < w.state().Meta().TotalStake(epoch)
}

// stride helps the case along, so that late phases are reached too.
func (w *world) stride() {
	switch c := w.c(); c.Phase {
	case Electing:
		if len(c.Members) == 0 {
			_ = w.send("carol", task.Body{Claims: task.PackClaims(w.allClaims())})
		}
	case Attesting:
		switch {
		case len(c.View.Pre.Commitments) > 0 || c.View.Pre.Progress >= Sealed || c.Pair().Digests != [2]task.Hash{}:
		case w.salt%3 == 0: // somebody lies
			w.judgeThis(w.pair(w.dirty(task.PreRun)), w.except(1, task.OK, everyone([]task.Verdict{task.Fault, decoys}[w.salt%2])))
		default:
			w.judge(everyone(task.OK))
		}
	case Releasing:
		_, _ = w.release(alices), w.release(bobs)
	case Running:
		switch {
		case w.salt%4 == 1 && !c.View.Called():
			_ = w.call()
		case w.salt%5 == 0:
			_ = w.result(task.OutOfTime, 5)
		default:
			_ = w.result(task.RunOK, 5)
		}
	case Reviewing:
		if !c.View.ExitNonce.IsZero() {
			_ = w.exit(w.quote(task.PostRun))
		}
	}
}

// BenchmarkApply measures each kind of transaction on a small state, its
// signature check included.
func BenchmarkApply(b *testing.B) {
	for _, row := range []struct {
		verb, who string
		with      map[string]string
	}{
		{"transfer", "alice", map[string]string{"to": "bob", "amount": "0"}},
		{"bond", "n0", map[string]string{"node": "n0", "amount": "0"}},
		{"publish", "bob", map[string]string{"bond": "0"}},
		{"post", "alice", map[string]string{"fee": "0", "gas": "1"}},
	} {
		b.Run(row.verb, func(b *testing.B) {
			w := newWorld(b, 9)
			w.block.Params.MaxOpen, w.block.Params.SeatFee = 1<<30, 0 // tasks without end, and without fees
			w.publish()
			for b.Loop() {
				if err := w.send(row.who, w.body(row.who, row.verb, row.with)); err != nil && task.CodeOf(err) != "escrow-low" && task.CodeOf(err) != "no-fee" && task.CodeOf(err) != "function-bond-low" {
					b.Fatal(err)
				}
			}
		})
	}
	// The kinds of a committee change the case once; each runs on a fresh copy
	// of the state in which it is due.
	for verb, prepare := range map[string]func(*world) (string, task.Body){
		"claims": func(w *world) (string, task.Body) { return "carol", w.claimsRow("all") },
		"skip": func(w *world) (string, task.Body) {
			w.elect()
			w.stage("late")
			return "carol", w.skipRow("all")
		},
		"verdicts": func(w *world) (string, task.Body) {
			w.elect()
			shown := w.pair(w.quote(task.PreRun))
			return "carol", task.Body{Verdicts: task.PackVerdicts(shown.Ballot, w.commit(shown, everyone(task.OK)), w.opening(shown))}
		},
		"release": func(w *world) (string, task.Body) {
			w.elect()
			w.judge(everyone(task.OK))
			if err := w.call(); err != nil {
				panic(err)
			}
			return "alice", w.body("alice", "release", nil)
		},
		"result": func(w *world) (string, task.Body) {
			w.elect()
			w.judge(everyone(task.OK))
			return "carol", w.resultRow(nil)
		},
	} {
		b.Run(verb, func(b *testing.B) {
			w := newWorld(b, 9)
			w.post()
			who, body := prepare(w)
			key := w.keys[who]
			raw := task.SignTx(key, task.Tx{Chain: "test", Nonce: w.state().Account(task.PublicKey(key)).Nonce, Body: body})
			for b.Loop() {
				fork := *w.block
				fork.state, fork.cases = newOverlay(w.block.state), map[task.TaskID]*held{}
				tx, err := task.VerifyTx(raw, "test")
				if err == nil {
					err = fork.Apply(tx)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
