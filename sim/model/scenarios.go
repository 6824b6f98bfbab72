package model

import (
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Scenarios are what is searched. Deep ones take minutes and gigabytes.
func Scenarios(deep bool) []Scenario {
	paid := func(sc *Scenario) { sc.offers = bothRelease }
	all := []Scenario{
		agreement("agreement, n3 equivocates, a crash", 3, 0, 1, false),
		agreement("agreement, n0 equivocates", 0, 0, 0, false),
		verdicts("verdicts, all honest", -1, true, func(sc *Scenario) { paid(sc); prompt(sc, deep); reaches(sc, ledger.Completed) }),
		verdicts("verdicts, n3 says the opposite", 3, true, func(sc *Scenario) { paid(sc); sc.lies = flips; reaches(sc, ledger.NoCommittee) }),
		verdicts("verdicts, n3 commits and falls silent", 3, true, func(sc *Scenario) { paid(sc); sc.mutes = muteReveals; reaches(sc, ledger.NoCommittee) }),
		verdicts("verdicts, n0 shows faulty evidence and hides n3", 0, true, func(sc *Scenario) { sc.spoilt, sc.deaf = spoiltBy(0), hides(0, 3); reaches(sc, ledger.ExecutorsFailed) }),
		verdicts("verdicts, a canary, n3 says OK", 3, true, func(sc *Scenario) {
			sc.lies = flips
			prompt(sc, deep)
			sc.params = func(p *ledger.Params) { p.MaxViews, p.CanaryPPM, p.PostingFee = 1, 1_000_000, 800_000 }
		}),
		verdicts("verdicts, n3 says the opposite, blocks at any time", 3, false, func(sc *Scenario) { paid(sc); prompt(sc, deep); sc.lies = flips }),
		settlement("settlement", 1, 40, false),
		settlement("settlement after a dirty exit", 1, 40, true),
	}
	if deep {
		two := settlement("settlement, two views", 2, 60, false)
		two.maximum = 2_000_000
		all = append(all, agreement("agreement, n3 equivocates, two views", 3, 1, 0, false),
			agreement("agreement, n0 equivocates, a crash", 0, 0, 1, false), two)
		for i := range all {
			all[i].maximum = max(all[i].maximum, 3_000_000)
		}
	}
	return all
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
	amnesia := agreement("a crash that takes the journal along", 3, 0, 1, false)
	amnesia.forgetful = true
	undeclared := verdicts("a second liar", 3, true, func(sc *Scenario) {
		sc.lies = func(_ *model, self int, _ committee.Appraise, v task.Verdict, reason string) (task.Verdict, string) {
			if self >= 2 && v == task.OK {
				return task.Fault, "bad-signature"
			}
			return v, reason
		}
	})
	return map[string]Scenario{"an honest member says one thing": amnesia, "nobody honest is slashed": undeclared}
}
