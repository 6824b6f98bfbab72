package sim

import (
	"testing"
)

// The change of values really comes in the middle of tasks: some are seeded before
// it and judged after, some machines are shut out, and some come back.
func TestValuesChangeWhileTasksRun(t *testing.T) {
	if testing.Short() {
		t.Skip("whole worlds")
	}
	var changed, across, shut, back int
	for seed := uint64(1); seed < 60; seed += 3 {
		w := newWorld(seed, Options{})
		w.run()
		if w.violation != "" {
			t.Errorf("seed %d: %s", seed, w.violation)
		}
		until, ok := w.rise()
		if !ok {
			continue
		}
		changed++
		for _, j := range w.jobs {
			if c, ok := w.chain.read().Case(j.id); ok && c.SeededAt < until && c.View.Pre.ClosedAt >= until {
				across++
			}
		}
		for _, k := range w.workers {
			switch rec, _ := w.chain.read().Node(k.id); {
			case k.tcb == oldTCB:
				shut++
			case len(rec.Stakes) > 0 && rec.Profile.TCB == newTCB && k.life > 0:
				back++
			}
		}
	}
	if changed < 5 || across == 0 || shut == 0 || back == 0 {
		t.Errorf("%d worlds changed their values, %d tasks were seeded before and judged after, %d machines were shut out, %d came back", changed, across, shut, back)
	}
}
