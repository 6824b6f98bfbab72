package model

import (
	"strings"

	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Scenarios are what is searched. Deep ones take minutes and gigabytes.
func Scenarios(deep bool) []Scenario {
	paid := func(sc *Scenario) { sc.offers = bothRelease }
	all := []Scenario{
		verdicts("verdicts, all honest", -1, true, func(sc *Scenario) { paid(sc); prompt(sc, deep); reaches(sc, ledger.Completed) }),
		verdicts("verdicts, n3 says the opposite", 3, true, func(sc *Scenario) { paid(sc); sc.lies = flips; reaches(sc, ledger.NoCommittee) }),
		verdicts("verdicts, n3 commits and falls silent", 3, true, func(sc *Scenario) { paid(sc); sc.mutes = muteReveals; reaches(sc, ledger.NoCommittee) }),
		verdicts("verdicts, n0 shows faulty evidence and hides n3", 0, true, func(sc *Scenario) { sc.spoilt, sc.deaf = spoiltBy(0), hides(0, 3); reaches(sc, ledger.ExecutorsFailed) }),
		verdicts("verdicts, n3 says the opposite, blocks at any time", 3, false, func(sc *Scenario) { paid(sc); prompt(sc, deep); sc.lies = flips }),
		verdicts("verdicts, n0 shows two faces, n1 crashes", 0, false, func(sc *Scenario) {
			sc.start, sc.crashes, sc.crashable = twoFaces, 1, []int{1}
			sc.mutes = afterwards
			prompt(sc, deep)
			sc.Bounds += "; the liar says nothing after the verdict"
			sc.maximum = 3_000_000
		}),
		verdicts("skip, n0 is silent", 0, true, func(sc *Scenario) { paid(sc); twoViews(sc); sc.mutes = mute }),
		verdicts("skip, n0 is silent, n1 crashes", 0, true, func(sc *Scenario) {
			paid(sc)
			twoViews(sc)
			sc.mutes, sc.crashes, sc.crashable = mute, 1, []int{1}
		}),
		verdicts("skip, n0 is slower than others' patience", -1, true, func(sc *Scenario) { paid(sc); twoViews(sc); sc.slow = true }),
		verdicts("skip, n3 alone says that n0 is silent", 3, true, func(sc *Scenario) {
			paid(sc)
			sc.deaf, sc.start = nil, func(m *model) []int32 {
				return []int32{m.vote(3, task.Vote{Task: m.cast.id, View: 1, Node: m.cast.workers[3].id})}
			}
			prompt(sc, deep)
			reaches(sc, ledger.Completed)
		}),
		settlement("settlement", 1, 40, false),
		settlement("settlement after a dirty exit", 1, 40, true),
	}
	if deep {
		all = append(all, settlement("settlement, two views", 2, 60, false),
			verdicts("skip, n0 is silent, blocks at any time", 0, false, func(sc *Scenario) { paid(sc); twoViews(sc); sc.mutes = mute }))
		for i := range all {
			all[i].maximum = max(all[i].maximum, 3_000_000)
		}
	}
	return all
}

// twoViews lets the committee pass over n0, by words, at any time that the rules allow.
func twoViews(sc *Scenario) {
	sc.deaf, sc.maxView = nil, 1
	sc.timers = map[committee.TimerKind]bool{committee.SilenceTimer: true}
	sc.params = func(p *ledger.Params) { p.MaxViews, p.AttestBlocks = 2, 12 }
	sc.Bounds = strings.Replace(sc.Bounds, "one view", "two views", 1) + "; silence timers, at any time"
	reaches(sc, ledger.Completed)
	sc.goals["passed over by its committee"] = passedOver
}

// prompt leaves out the timers of a scenario that has too many states with them.
func prompt(sc *Scenario, deep bool) {
	if !deep {
		sc.timers = nil
		sc.Bounds += "; no timers"
	}
	sc.maximum = 400_000
}

// Planted are searches that must find something: each has one more failure
// than the protocol promises to bear.
func Planted() map[string]Scenario {
	amnesia := verdicts("a crash that takes the journal along", 0, false, func(sc *Scenario) {
		sc.crashes, sc.crashable, sc.forgetful, sc.timers = 1, []int{1}, true, nil
		sc.start = twoFaces
	})
	undeclared := verdicts("a second liar", 3, true, func(sc *Scenario) {
		sc.lies = func(_ *model, self int, found committee.Appraised) committee.Appraised {
			if self >= 2 && found.Verdict == task.OK {
				found.Place = 1 - found.Place
			}
			return found
		}
	})
	return map[string]Scenario{"an honest verifier commits once": amnesia, "nobody honest is slashed": undeclared}
}
