package model

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Phase (c): the ledger alone, from the evidence to the last payment. Everyone
// may send anything that could count, in any order and block, or nothing.

func settlement(name string, views uint32, height uint64, faultyExit bool) Scenario {
	sc := Scenario{
		Name: name, liar: -1, chain: true, ledgerOnly: true, blocks: height, maximum: 200_000,
		params: func(p *ledger.Params) { p.MaxViews, p.AttestBlocks = views, 2 },
		timers: map[committee.TimerKind]bool{},
		offers: func(m *model, chain int32) []int32 { return offers(m, chain, faultyExit) },
		checks: []check{supplyHolds, settledOnce, deadlinesEnd},
		Bounds: fmt.Sprintf("%d views, each block empty, full, reversed or of one transaction, until the end", views),
	}
	sc.goals = map[string]func(*model, *world) bool{}
	ends := []ledger.Outcome{ledger.Completed, ledger.DataOwnerSilent, ledger.CodeOwnerSilent, ledger.ExecutorsFailed, ledger.ExitSilent, ledger.NoCommittee}
	if faultyExit {
		ends = []ledger.Outcome{ledger.DirtyExit}
	}
	for _, o := range ends {
		sc.goals["settled as "+o.String()] = func(m *model, w *world) bool {
			s := m.chain[w.chain].c.Settlement
			return s != nil && s.Outcome == o
		}
	}
	if !faultyExit {
		for what, why := range map[string]ledger.Cause{"passed over by its committee": ledger.FoundSilent, "passed over by its own enclave": ledger.RanOutOfTime} {
			sc.goals[what] = func(m *model, w *world) bool {
				return slices.ContainsFunc(m.chain[w.chain].c.Passed, func(p ledger.Pass) bool { return p.Why == why })
			}
		}
	}
	return sc
}

// offers are the transactions that could count in a state of the chain.
func offers(m *model, chain int32, faultyExit bool) (all []int32) {
	l := m.chain[chain]
	k := l.c
	offer := func(key int, what string, b task.Body) {
		all = append(all, m.note(min(key, members-1), what, fact{kind: tx, body: b, key: key}))
	}
	who, ok := m.cast.byID[k.View.Executor]
	if !ok || k.Phase == ledger.Closed {
		return nil
	}
	if k.Phase == ledger.Attesting {
		q := m.pair(k, who, k.Ballot(), false)
		var commitments []task.Commitment
		var reveals []task.Reveal
		for i, w := range m.cast.workers {
			if !k.Roster().Judges(w.id) {
				continue
			}
			v := task.Reveal{Ballot: k.Ballot(), Node: w.id, Verdict: task.OK, Pair: q.Shown.Pair().Hash(), Place: q.Place, Salt: task.Hash{byte(i)}}
			c := task.Commitment{Ballot: v.Ballot, Node: w.id, Digest: v.Digest()}
			c.Signature = task.Sign(w.peer, c.Hash())
			commitments, reveals = append(commitments, c), append(reveals, v)
		}
		switch round := &k.View.Pre; {
		case round.Progress == ledger.Collecting:
			offer(who, fmt.Sprintf("commitments of all, %d", k.View.Number), task.Body{Commitments: task.PackCommitments(commitments)})
			if !round.HasPair() {
				offer(who, fmt.Sprintf("evidence, %d", k.View.Number), task.Body{Show: &q.Shown})
			}
		default:
			offer(who, fmt.Sprintf("reveals of all, with the opening, %d", k.View.Number), task.Body{Verdicts: task.PackVerdicts(k.Ballot(), reveals, &q.Opening)})
			if len(round.Reveals) == 0 {
				offer(who, fmt.Sprintf("reveal of one, %d", k.View.Number), task.Body{Verdicts: task.PackVerdicts(k.Ballot(), reveals[:1], nil)})
			}
		}
	}
	if k.Stage == ledger.Leaving || k.Stage == ledger.Left {
		e := m.cast.exit(k, who, k.Ballot(), faultyExit)
		offer(who, fmt.Sprintf("exit, %d", k.View.Number), task.Body{Exit: &e})
	}
	if k.Phase == ledger.Releasing || k.Phase == ledger.Running {
		digest := task.H(task.TagEvidence, k.Genuine())
		if !k.View.Called() {
			offer(who, fmt.Sprintf("call for keys, view %d", k.View.Number), task.Body{Call: &task.Call{Ballot: k.Ballot(), Seal: []byte(sealKey)}})
		}
		for party, key := range map[uint8]int{1: byAlice, 2: byBob} {
			if k.View.Called() && !k.Released(party) {
				offer(key, fmt.Sprintf("release of party %d, view %d", party, k.View.Number), task.Body{Release: &task.Release{Task: m.cast.id, View: k.View.Number, Party: party, Evidence: digest, Sealed: []byte{1}}})
			}
		}
		for _, o := range []task.Outcome{task.RunOK, task.OutOfTime} {
			result := m.cast.result(k, who, digest, o)
			offer(who, fmt.Sprintf("result, view %d: %s", k.View.Number, o), task.Body{Result: &result})
		}
	}
	if k.Phase == ledger.Attesting {
		skip := task.Skip{Task: m.cast.id, View: k.View.Number + 1}
		for _, w := range m.cast.workers {
			v := task.Vote{Task: m.cast.id, View: skip.View, Node: w.id}
			if w.id != k.View.Executor {
				skip.Votes = append(skip.Votes, task.SignedVote{Vote: v, Signature: task.Sign(w.peer, v.Hash())})
			}
		}
		offer((who+1)%members, fmt.Sprintf("skip of view %d", k.View.Number), task.Body{Skip: &skip})
	}
	slices.Sort(all)
	return all
}

// supplyHolds: all money there was is all money there is (spec §10.8). It is
// checked after every block, also one to a state that is known.
func supplyHolds(m *model, _ *world) string { return m.broken }

// settledOnce: a settlement pays exactly what was locked, and nothing that
// anyone still sends moves a closed case (§10.7).
func settledOnce(m *model, w *world) string {
	k := m.chain[w.chain].c
	if k.Settlement == nil {
		return ""
	}
	sum, _ := task.Sum(append([]task.Amount{k.Settlement.Burned, k.Settlement.Rent}, k.Settlement.Kept...)...)
	for _, p := range k.Settlement.Payments {
		sum += p.Amount
	}
	if locked, _ := k.Escrow.Sum(); sum != locked || k.Phase != ledger.Closed {
		return fmt.Sprintf("a settlement pays what was locked: %d of %d", sum, locked)
	}
	key := lateKey{w.chain, w.pool}
	if what, ok := m.late[key]; ok {
		return what
	}
	m.late[key] = ""
	// What came too late, and all that ever counted. An accusation is in time.
	late := slices.DeleteFunc(w.pool.all(), func(i int32) bool { return m.facts[i].body.Accuse != nil })
	for i := range m.facts {
		if m.facts[i].kind == tx && m.facts[i].body.Accuse == nil && m.sc.ledgerOnly {
			late = append(late, int32(i))
		}
	}
	if k.Settlement.Height != m.chain[w.chain].state.height {
		return ""
	}
	next := m.cast.block(m.chain[w.chain].state, m.signed(late)).read(m.cast.id)
	if string(task.Encode(next)) != string(task.Encode(k)) {
		m.late[key] = "a settled case changes no more"
	}
	return m.late[key]
}

// deadlinesEnd: if nobody says anything any more, the task still ends (§6.2).
func deadlinesEnd(m *model, w *world) string {
	at := w.chain
	for range 40 {
		if m.chain[at].c.Phase == ledger.Closed || m.ends[at] {
			m.ends[w.chain] = true
			return ""
		}
		at = m.block(at, nil)
	}
	return fmt.Sprintf("every task ends: after 40 empty blocks it is %s", m.chain[at].c.Phase)
}
