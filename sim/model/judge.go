package model

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Phase (b): the verdicts. The chain has named n0 the executor; its evidence,
// commitments and reveals go their ways.

// verdicts makes a scenario. In a calm one a block comes when everything that
// was said has been heard, and flush and stall timers have had their time:
// there nobody honest may lose anything. Else blocks come at any time.
func verdicts(name string, liar int, calm bool, set func(*Scenario)) Scenario {
	sc := Scenario{
		Name: name, liar: liar, chain: true, enclaves: true, calm: calm, silent: 2, maxView: 0, maximum: 1_000_000, blocks: 40,
		params: func(p *ledger.Params) { p.MaxViews = 1 },
		timers: map[committee.TimerKind]bool{committee.FlushTimer: true, committee.StallTimer: true},
		deaf:   func(_ *model, _ int, f *fact) bool { return f.kind == vote },
		checks: []check{supplyHolds, settledOnce, deadlinesEnd, oneVerdict, keysWait, honestKeepTheirs, proofWins, revealsLand},
		goals:  map[string]func(*model, *world) bool{},
	}
	sc.Bounds = "one view; blocks full, in either order"
	if !calm {
		sc.Bounds = "one view; blocks at any time, empty, full, reversed or of one transaction"
	}
	set(&sc)
	return sc
}

func reaches(sc *Scenario, o ledger.Outcome) {
	sc.goals["settled as "+o.String()] = func(m *model, w *world) bool {
		s := m.chain[w.chain].c.Settlement
		return s != nil && s.Outcome == o
	}
}

// flips names the other place, and of two bad pieces the first.
func flips(m *model, self int, found committee.Appraised) committee.Appraised {
	if self == m.sc.liar {
		found.Verdict, found.Place, found.Reason = task.OK, 1-found.Place, ""
	}
	return found
}

// muteReveals commits and then says nothing.
func muteReveals(_ *model, f *fact) bool {
	return f.kind == reveal || f.kind == tx && f.body.Verdicts != nil
}

// afterwards says nothing once the verdict is there: no call, no result, no exit.
func afterwards(_ *model, f *fact) bool {
	return f.kind == tx && (f.body.Call != nil || f.body.Result != nil || f.body.Exit != nil)
}

// mute says nothing at all.
func mute(*model, *fact) bool { return true }

func passedOver(m *model, w *world) bool {
	return slices.ContainsFunc(m.chain[w.chain].c.Passed, func(p ledger.Pass) bool { return p.Why == ledger.FoundSilent })
}

func spoiltBy(who int) func(int, task.Ballot) bool {
	return func(self int, _ task.Ballot) bool { return self == who }
}

// twoFaces shows another pair beside what the enclave of n0 makes.
func twoFaces(m *model) []int32 {
	q := m.pair(m.chain[0].c, 0, task.Ballot{Task: m.cast.id}, true)
	return []int32{m.note(0, "shows another pair, with faulty evidence", fact{kind: evidence, public: true, event: committee.EvidenceHeard{From: m.cast.workers[0].id, Shown: q.Shown}})}
}

// hides makes an executor that hears nothing from one verifier, and so brings
// nothing of its to the chain.
func hides(executor, from int) func(*model, int, *fact) bool {
	return func(_ *model, to int, f *fact) bool { return f.kind == vote || to == executor && f.from == from }
}

// ---- the invariants ----

// oneVerdict: an honest verifier commits to one thing in a round.
func oneVerdict(m *model, w *world) string {
	first := map[string]task.Hash{}
	for _, i := range w.said.all() {
		f := &m.facts[i]
		if f.kind != commitment || f.from == m.sc.liar {
			continue
		}
		k := f.event.(committee.CommitmentHeard).Commitment
		q := string(task.Encode([]any{k.Ballot, k.Node}))
		if old, ok := first[q]; ok && old != k.Digest {
			return fmt.Sprintf("an honest verifier commits once: n%d %s", f.from, f.name)
		}
		first[q] = k.Digest
	}
	return ""
}

// keysWait: the chain lets keys go, and an executor asks for them, only when a
// quorum has revealed OK (§8.1).
func keysWait(m *model, w *world) string {
	k := m.chain[w.chain].c
	for _, i := range w.said.all() {
		f := &m.facts[i]
		if f.kind != keys || f.from == m.sc.liar {
			continue
		}
		var ok []int
		for _, j := range w.said.all() {
			if r := &m.facts[j]; r.kind == reveal && names(r.reveal, f.opening.Pair, f.opening.Evidence) && !slices.Contains(ok, r.from) {
				ok = append(ok, r.from)
			}
		}
		if len(ok) < members-1-int(f.ballot.View) { // of so few judges a quorum is all
			return fmt.Sprintf("keys wait for a quorum: n%d %s with %d OKs", f.from, f.name, len(ok))
		}
	}
	if k.Phase < ledger.Releasing || k.Phase > ledger.Reviewing {
		return ""
	}
	ok := uint32(0)
	for _, r := range k.View.Pre.Reveals {
		if names(r, k.Pair(), k.View.Pre.Evidence[k.View.Pre.Place]) && r.Node != k.View.Executor {
			ok += k.Member(r.Node).Seats
		}
	}
	if ok < members-1-k.View.Number {
		return fmt.Sprintf("keys wait for a quorum: it is %s with %d OKs", k.Phase, ok)
	}
	return ""
}

// names says whether a reveal names the place of some evidence in a pair.
func names(r task.Reveal, p task.Pair, evidence []byte) bool {
	return r.Verdict == task.OK && r.Pair == p.Hash() && p.Digests[r.Place] == task.H(task.TagEvidence, evidence)
}

// honestKeepTheirs: nobody honest is slashed for a lie, and nobody at all for
// silence where the network is in time (§10.4).
func honestKeepTheirs(m *model, w *world) string {
	for _, s := range m.chain[w.chain].c.Slashes {
		quiet := s.Cause == ledger.NoReveal || s.Cause == ledger.Absent || s.Cause == ledger.Silence
		if who := m.cast.byID[s.Node]; who != m.sc.liar && (m.sc.calm || !quiet) {
			return fmt.Sprintf("nobody honest is slashed: n%d lost %s for %s", who, s.Amount, s.Cause)
		}
	}
	if m.sc.calm && !m.sc.slow {
		for _, p := range m.chain[w.chain].c.Passed {
			if who := m.cast.byID[p.Executor]; who != m.sc.liar {
				return fmt.Sprintf("nobody honest is passed over: n%d, %s", who, p.Why)
			}
		}
	}
	return ""
}

// proofWins: faulty evidence that somebody honest has called so on the chain
// never ends well, and costs its executor.
func proofWins(m *model, w *world) string {
	k := m.chain[w.chain].c
	if k.Phase != ledger.Closed {
		return ""
	}
	rounds := []*ledger.Round{&k.View.Pre}
	for i := range k.Passed {
		rounds = append(rounds, &k.Passed[i].Pre)
	}
	for _, r := range rounds {
		for _, v := range r.Reveals {
			// What it says of another pair than the round's is for an accusation, which may come late.
			if v.Verdict != task.Fault || m.cast.byID[v.Node] == m.sc.liar || v.Pair != (task.Pair{Ballot: v.Ballot, Digests: r.Digests}).Hash() {
				continue
			}
			paid := slices.ContainsFunc(k.Slashes, func(s ledger.Slash) bool { return s.Cause == ledger.BadEvidence })
			if k.Settlement.Outcome == ledger.Completed || !paid {
				return fmt.Sprintf("proof beats words: n%d found a fault, and it ends as %s", m.cast.byID[v.Node], k.Settlement.Outcome)
			}
		}
	}
	return ""
}

// revealsLand: where the network is in time, what an honest verifier committed
// to before the set closed is on the chain at the end, opened.
func revealsLand(m *model, w *world) string {
	k := m.chain[w.chain].c
	if !m.sc.calm || k.Phase != ledger.Closed {
		return ""
	}
	rounds := []*ledger.Round{&k.View.Pre}
	for i := range k.Passed {
		rounds = append(rounds, &k.Passed[i].Pre)
	}
	for _, r := range rounds {
		for _, c := range r.Commitments {
			opened := slices.ContainsFunc(r.Reveals, func(v task.Reveal) bool { return v.Node == c.Node })
			if m.cast.byID[c.Node] != m.sc.liar && !opened && r.Progress >= ledger.Sealed {
				return fmt.Sprintf("every honest reveal lands: that of n%d is missing", m.cast.byID[c.Node])
			}
		}
	}
	return ""
}

// bothRelease offers the keys of both owners as soon as they are awaited.
func bothRelease(m *model, chain int32) []int32 {
	if m.chain[chain].c.Phase != ledger.Releasing {
		return nil
	}
	return slices.DeleteFunc(offers(m, chain, false), func(i int32) bool { return m.facts[i].body.Release == nil })
}
