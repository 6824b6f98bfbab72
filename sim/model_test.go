package sim

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sim/model"
)

var deepModel = flag.Bool("model.deep", false, "search the model within wider bounds")

func search(t *testing.T, sc model.Scenario) model.Report {
	start := time.Now()
	r := model.Run(sc)
	how := "all that there are within these bounds"
	if !r.Exhausted {
		how = fmt.Sprintf("not all: it ended at a violation, or at the bound of %d states", r.Maximum)
	}
	t.Logf("%s: %d states, %s (%s; %d members, one attempt); %d steps between them; %d states of members in %d steps of the machine; %d of the ledger; %.1f s",
		r.Scenario, r.States, how, r.Bounds, model.Members, r.Edges, r.Locals, r.Steps, r.Chain, time.Since(start).Seconds())
	return r
}

func TestModel(t *testing.T) {
	if testing.Short() {
		t.Skip("a million states, one after the other")
	}
	for _, sc := range model.Scenarios(*deepModel) {
		t.Run(sc.Name, func(t *testing.T) {
			r := search(t, sc)
			if r.Violation != "" {
				t.Errorf("%s", r.Violation)
				for _, line := range r.Trace {
					t.Log(line)
				}
			}
			if !r.Exhausted && r.Violation == "" && !*deepModel {
				t.Error("the search was cut off")
			}
			for _, goal := range r.Missed {
				t.Errorf("never reached: %s", goal)
			}
		})
	}
}

// The model can fail: with one more failure than is promised to be borne, it
// finds what breaks, and tells how.
func TestModelFindsWhatIsPlanted(t *testing.T) {
	for want, sc := range model.Planted() {
		r := search(t, sc)
		if !strings.HasPrefix(r.Violation, want) {
			t.Errorf("%s: found %q, want %q", sc.Name, r.Violation, want)
		}
		t.Log(r.Violation)
		for _, line := range r.Trace {
			t.Log(line)
		}
	}
}
