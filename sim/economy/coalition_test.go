package economy

import (
	"bytes"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// coalHunted are the deviations of a small search: enough for the attacks that robbed
// people once, and some that never did.
var coalHunted = []string{
	"input-to-friends", "no-input-key", "narrow", "busy", "mute", "skip", "no-result", "no-exit", "guess", "hush", "unbond", "censor-ends",
}

// smallHunt is a search of some hundred chains a round.
func smallHunt(t testing.TB, rounds int) CoalitionTable {
	t.Helper()
	table, err := Coalitions(CoalitionOptions{Rounds: rounds, Fresh: 36, Chains: 16, Finds: 4, Stakes: []float64{0.33}, Only: coalHunted})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// No coalition below a third of the stake gains by what is tried here.
func TestCoalitionsGainNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("some twelve hundred tasks")
	}
	table := smallHunt(t, 1)
	var text bytes.Buffer
	if err := table.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	for _, f := range table.Holes() {
		t.Errorf("%v gain %.2f ± %.2f", f.Deviations, f.Gain, f.Band)
	}
}

// What the search has found once: Alice and whoever executes for her have the result,
// and a silence at the end cost him less than it spared her.
func TestSilenceDoesNotPayFriends(t *testing.T) {
	s := &coalSearch{o: CoalitionOptions{Chains: 12}.filled(), runs: map[coalChainKey]coalRun{}}
	dear := coalHand{coalAlice | coalWorkers, 1}
	for _, p := range []coalPlan{coalPlanOf("input-to-friends", "no-exit"), coalPlanOf("input-to-friends", "no-result", "enough"), coalPlanOf("input-to-friends", "run-first", "enough")} {
		if f := s.find(coalCandidate{p, 3}, dear); f.Gain > coalFloor {
			t.Errorf("%s gains %.1f ± %.1f c a task", p, f.Gain, f.Band)
		}
	}
}

// Each deviation alone is a story that ends, keeps the supply, and leaves those who
// keep to the rules unpunished, unless it makes them break one.
func TestEveryDeviationEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("three chains for each of sixty deviations")
	}
	var idle []string
	var honest [3]coalRun // in each market
	for m := range honest {
		honest[m] = coalChain(3, uint64(m), 0.33, 0, 2)
	}
	for i, d := range coalDeviations {
		same := true
		for m := range honest {
			r := coalChain(3, uint64(m), 0.33, 1<<i, 2)
			if r.jailed > 0 {
				t.Errorf("%s: %v honest workers are jailed", d.name, r.jailed)
			}
			same = same && r == honest[m]
		}
		if same && d.role != coalProposer { // whose turn it is decides whether these come up
			idle = append(idle, d.name)
		}
	}
	// These do something only together with others, but for kinds: a policy that asks
	// for more of them than there are is refused.
	if want := []string{"enough", "kinds", "two-pairs"}; !slices.Equal(idle, want) {
		t.Errorf("%v change nothing, want %v", idle, want)
	}
}

// The same seed and rounds give the same bytes, on any number of cores.
func TestCoalitionsAreDeterministic(t *testing.T) {
	o := CoalitionOptions{Seed: 5, Rounds: 1, Fresh: 9, Chains: 4, Finds: 1, Tasks: 1, Stakes: []float64{0.25}, Only: []string{"hush", "narrow", "told"}}
	var all [2]bytes.Buffer
	for i := range all {
		before := runtime.GOMAXPROCS(1 + i)
		o.Parallel = 1 + 2*i
		table, err := Coalitions(o)
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{table.WriteJSON(&all[i]), table.WriteText(&all[i])} {
			if err != nil {
				t.Fatal(err)
			}
		}
		all[i].Write(CoalitionPlot(table).SVG())
	}
	if !bytes.Equal(all[0].Bytes(), all[1].Bytes()) {
		t.Errorf("two tables of one seed:\n%s\n%s", &all[0], &all[1])
	}
}

// Two chains of one stream differ by what people do, and by nothing else.
func TestCoalitionsArePaired(t *testing.T) {
	a, b := coalChain(1, 4, 0.25, 0, 2), coalChain(1, 4, 0.25, coalPlanOf("enough"), 2)
	if a != b {
		t.Errorf("a deviation that never comes up changes %+v to %+v", a, b)
	}
	if c := coalChain(1, 7, 0.25, 0, 2); c == a {
		t.Error("two streams are alike")
	}
}

func TestCoalitionNames(t *testing.T) {
	var names []string
	for i, d := range coalDeviations {
		if d.name == "" || d.about == "" || d.role == 0 || slices.Contains(names, d.name) || strings.ContainsAny(d.name, " +") {
			t.Errorf("deviation %d: %+v", i, d)
		}
		names = append(names, d.name)
	}
	p := coalPlanOf("told", "once", "hush")
	if p.size() != 3 || p.known().size() != 2 || p.roles() != coalWorkers || p.String() != "told + once + hush" {
		t.Errorf("%s: %d, %s, %b", p, p.size(), p.known(), p.roles())
	}
}

func TestCoalitionFormats(t *testing.T) {
	f := CoalitionFind{Deviations: []string{"skip", "narrow"}, Coalition: []string{"workers"}, Stake: 0.33, Market: "usual", Gain: 3, Beyond: 3, Pays: true, Loss: 5, Others: map[string]float64{"other workers": -5}}
	table := CoalitionTable{Options: CoalitionOptions{}.filled(), Best: []CoalitionFind{f}, Floor: coalFloor}
	var text, raw bytes.Buffer
	if err := table.WriteText(&text); err != nil || !strings.Contains(text.String(), "THIS PAYS: skip + narrow") || !strings.Contains(text.String(), "other workers 5.0") {
		t.Errorf("%v\n%s", err, &text)
	}
	if err := table.WriteJSON(&raw); err != nil {
		t.Fatal(err)
	}
	var back CoalitionTable
	if err := json.Unmarshal(raw.Bytes(), &back); err != nil || len(back.Holes()) != 1 {
		t.Errorf("%v: %s", err, &raw)
	}
	if rows := table.Rows(); len(rows) != 2 || len(rows[0]) != len(rows[1]) {
		t.Errorf("%v", rows)
	}
}

func TestCoalitionsRefuseNonsense(t *testing.T) {
	for name, o := range map[string]CoalitionOptions{
		"half of the stake": {Stakes: []float64{0.5}},
		"no stake":          {Stakes: []float64{0}},
		"no such name":      {Only: []string{"saint"}},
		"few plans":         {Fresh: 2},
		"negative":          {Rounds: -1},
	} {
		if _, err := Coalitions(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
