package model

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Phase (a): the agreement on an executor, before the chain has named one
// (spec §6.5). All claims are known; the chain stands still.

// agreement makes a scenario. The liar has said everything from the start: one
// word of each kind reaches each member, and not the same one.
func agreement(name string, liar int, views uint32, crashes uint8, silence bool) Scenario {
	sc := Scenario{
		Name: name, liar: liar, crashes: crashes, maxView: views, maximum: 3_000_000, silent: 2,
		params:    func(p *ledger.Params) { p.ClaimBlocks = 9 },
		timers:    map[committee.TimerKind]bool{committee.CollectTimer: true, committee.ViewTimer: true, committee.SilenceTimer: silence},
		crashable: []int{},
		start:     func(m *model) []int32 { return slander(m, liar, views) },
		extra:     func(m *model, said facts) []int32 { return locks(m, liar, views, said) },
		checks:    []check{oneWord, oneExecutor, executorIsThere, locksHold},
	}
	for i := range members {
		if i != liar {
			sc.crashable = append(sc.crashable, i)
		}
	}
	sc.Bounds = fmt.Sprintf("words of views 0 to %d are heard, %d crashes, liar n%d", views, crashes, liar)
	sc.goals = map[string]func(*model, *world) bool{
		"all honest members decide in view 0":    func(m *model, w *world) bool { return decides(m, w, 0) == 3 || decides(m, w, 0) == 4 && liar < 0 },
		fmt.Sprint("a decision in view ", views): func(m *model, w *world) bool { return decides(m, w, views) > 0 },
	}
	return sc
}

func decides(m *model, w *world, view uint32) (n int) {
	for _, i := range w.said.all() {
		if f := &m.facts[i]; f.kind == decision && f.vote.View == view {
			n++
		}
	}
	return n
}

// group numbers the questions to which the liar has several answers.
func group(stage task.Stage, view uint32) int32 { return int32(stage)*16 + int32(view) + 1 }

// slander is what a liar can say on its own.
func slander(m *model, liar int, views uint32) (all []int32) {
	if liar < 0 {
		return nil
	}
	say := func(v task.Vote) {
		v.Task, v.Node = m.cast.id, m.cast.workers[liar].id
		all = append(all, m.voteIn(liar, v, nil, group(v.Stage, v.View)))
	}
	for view := range views + 1 {
		for x := range 2 {
			say(task.Vote{View: view, Stage: task.Prepare, Executor: m.cast.workers[x].id})
			say(task.Vote{View: view, Stage: task.Commit, Executor: m.cast.workers[x].id})
		}
		if view > 0 {
			say(task.Vote{View: view, Stage: task.NewView})
		}
	}
	return all
}

// locks are the new-views of the liar that carry a lock: it needs the prepares
// of others for a proof.
func locks(m *model, liar int, views uint32, said facts) (all []int32) {
	if liar < 0 {
		return nil
	}
	prepared := map[task.Vote][]task.SignedVote{}
	for _, i := range said.all() {
		f := &m.facts[i]
		if f.kind == vote && f.vote.Stage == task.Prepare {
			what := f.vote
			what.Node = task.NodeID{}
			prepared[what] = append(prepared[what], f.event.(committee.VoteHeard).Vote.Vote())
		}
	}
	for what, proof := range prepared {
		if len(proof) < 3 {
			continue
		}
		for to := what.View + 1; to <= views; to++ {
			v := task.Vote{Task: m.cast.id, View: to, Stage: task.NewView, Executor: what.Executor, LockView: what.View, Node: m.cast.workers[liar].id}
			slices.SortFunc(proof, func(a, b task.SignedVote) int { return m.cast.byID[a.Vote.Node] - m.cast.byID[b.Vote.Node] })
			all = append(all, m.voteIn(liar, v, proof[:3], group(task.NewView, to)))
		}
	}
	slices.Sort(all)
	return all
}

// oneWord: an honest member never says two things to one question.
func oneWord(m *model, w *world) string {
	type question struct {
		from  int
		stage task.Stage
		view  uint32
	}
	first := map[question]*fact{}
	for _, i := range w.said.all() {
		f := &m.facts[i]
		if f.kind != vote || f.from == m.sc.liar {
			continue
		}
		q := question{f.from, f.vote.Stage, f.vote.View}
		if old := first[q]; old != nil && old.vote != f.vote {
			return fmt.Sprintf("an honest member says one thing: n%d %s, and %s", f.from, old.name, f.name)
		}
		first[q] = f
	}
	return ""
}

// oneExecutor: no two honest members decide differently in one view.
func oneExecutor(m *model, w *world) string {
	first := map[uint32]*fact{}
	for _, i := range w.said.all() {
		f := &m.facts[i]
		if f.kind != decision {
			continue
		}
		if old := first[f.vote.View]; old != nil && old.vote.Executor != f.vote.Executor {
			return fmt.Sprintf("a view has one executor: n%d %s, n%d %s", old.from, old.name, f.from, f.name)
		}
		first[f.vote.View] = f
	}
	return ""
}

// executorIsThere: whoever is decided has prepared itself in some view up to
// then, and n−f have.
func executorIsThere(m *model, w *world) string {
	said := w.said.all()
	for _, i := range said {
		d := &m.facts[i]
		if d.kind != decision {
			continue
		}
		own, seats := false, 0
		seen := [members]bool{}
		for _, j := range said {
			f := &m.facts[j]
			if f.kind == vote && f.vote.Stage == task.Prepare && f.vote.View == d.vote.View && f.vote.Executor == d.vote.Executor && !seen[f.from] {
				seen[f.from] = true
				seats++
				own = own || f.vote.Node == d.vote.Executor
			}
		}
		if !own || seats < 3 {
			return fmt.Sprintf("a decided executor has prepared itself, and n−f have: n%d %s on %d prepares, its own %v", d.from, d.name, seats, own)
		}
	}
	return ""
}

// locksHold: what an honest member has decided in a view stays, unless one of
// those who decided it has found its executor silent and let go.
func locksHold(m *model, w *world) string {
	said := w.said.all()
	for _, i := range said {
		d := &m.facts[i]
		if d.kind != decision {
			continue
		}
		letGo := false
		for _, j := range said {
			f := &m.facts[j]
			letGo = letGo || f.kind == vote && f.from != m.sc.liar && f.vote.Stage == task.NewView && f.vote.View > d.vote.View && f.vote.Executor.IsZero() && hasDecided(m, said, f.from, d)
		}
		if letGo {
			continue
		}
		for _, j := range said {
			if f := &m.facts[j]; f.kind == decision && f.vote.View > d.vote.View && f.vote.Executor != d.vote.Executor {
				return fmt.Sprintf("a lock is respected: n%d %s, then n%d %s, and nobody had let go", d.from, d.name, f.from, f.name)
			}
		}
	}
	return ""
}

func hasDecided(m *model, said []int32, who int, d *fact) bool {
	return slices.ContainsFunc(said, func(i int32) bool {
		f := &m.facts[i]
		return f.kind == decision && f.from == who && f.vote == d.vote
	})
}
