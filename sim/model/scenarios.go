package model

import (
	"github.com/prytany/prytany/ledger"
)

// Scenarios are what is searched. Deep ones take minutes and gigabytes.
func Scenarios(deep bool) []Scenario {
	paid := func(sc *Scenario) { sc.offers = bothRelease }
	all := []Scenario{
		agreement("agreement, n3 equivocates, a crash", 3, 0, 1, false),
		agreement("agreement, n0 equivocates", 0, 0, 0, false),
		verdicts("verdicts, all honest", -1, true, func(sc *Scenario) { paid(sc); sc.maximum = 40_000; reaches(sc, ledger.Completed) }),
		verdicts("verdicts, n3 says the opposite", 3, true, func(sc *Scenario) { paid(sc); sc.lies = flips; reaches(sc, ledger.NoCommittee) }),
		verdicts("verdicts, n3 commits and falls silent", 3, true, func(sc *Scenario) { paid(sc); sc.mutes = muteReveals; reaches(sc, ledger.NoCommittee) }),
		verdicts("verdicts, n0 shows faulty evidence and hides n3", 0, true, func(sc *Scenario) { sc.spoilt, sc.deaf = spoiltBy(0), hides(0, 3); reaches(sc, ledger.ExecutorsFailed) }),
		verdicts("verdicts, a canary, n3 says OK", 3, true, func(sc *Scenario) {
			sc.lies, sc.maximum = flips, 40_000
			sc.params = func(p *ledger.Params) { p.MaxViews, p.CanaryPPM, p.PostingFee = 1, 1_000_000, 800_000 }
		}),
		verdicts("verdicts, n3 says the opposite, blocks at any time", 3, false, func(sc *Scenario) { paid(sc); sc.lies = flips; sc.maximum = 40_000 }),
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
