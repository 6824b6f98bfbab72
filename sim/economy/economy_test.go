package economy

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// economy is a small experiment.
func economy(t *testing.T, o Options) Table {
	t.Helper()
	table, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func text(t *testing.T, table Table) string {
	var b strings.Builder
	if err := table.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Honesty is the best that a verifier can do alone, up to the rate of faults
// that the rules are made for, and to 0.9.
func TestEconomyHonestyPays(t *testing.T) {
	if testing.Short() {
		t.Skip("some seven hundred tasks")
	}
	table := economy(t, Options{Tasks: 12, Batches: 8, Deviants: 4, Long: -1})
	t.Log("\n" + text(t, table))
	for _, r := range table.Rows {
		sure := r.Gain+r.GainBand < 0
		switch {
		case r.Rest == "guess" && r.Strategy == "honest":
			if r.Gain-r.GainBand < 0 {
				t.Errorf("honest among those who guess gains %.2f ± %.2f: nobody begins to look", r.Gain, r.GainBand)
			}
		case r.Strategy == r.Rest:
		case r.Strategy == "once":
			// The second look is a verifier's own insurance: who leaves it out saves half a
			// check, and pays where an enclave is bad.
			if want := 0.5; r.Fault == 0 && math.Abs(r.Gain-want) > max(0.3, r.GainBand) {
				t.Errorf("one look gains %.2f ± %.2f, want %.2f", r.Gain, r.GainBand, want)
			}
		case r.Strategy == "twice":
			if want := -0.5; r.Fault == 0 && math.Abs(r.Gain-want) > max(0.3, r.GainBand) {
				t.Errorf("two looks always gain %.2f ± %.2f, want %.2f", r.Gain, r.GainBand, want)
			}
		case r.Strategy == "fault" && r.Fault >= 0.8:
			if r.Fault <= float64(table.Options.Rules.FaultPPM)/1e6 && r.Gain >= 0 {
				t.Errorf("φ %.2f: crying FAULT gains %.2f", r.Fault, r.Gain)
			}
		case !sure:
			t.Errorf("φ %.2f: %s gains %.2f ± %.2f over honesty", r.Fault, r.Strategy, r.Gain, r.GainBand)
		}
	}
	if even, ok := table.Even("fault"); ok && even < float64(table.Options.Rules.FaultPPM)/1e6 {
		t.Errorf("crying FAULT pays from φ %.2f on (%t)", even, ok)
	}
	for _, s := range table.Schemes {
		if s.Pays {
			t.Errorf("%s: %.1f ± %.1f pays", s.Name, s.Value, s.Band)
		}
	}
}

// The rows weigh good and faulty tasks. Chains with faults at their true rate
// must show the same.
func TestEconomyWeighsRight(t *testing.T) {
	if testing.Short() {
		t.Skip("some sixty tasks")
	}
	o := Options{Seed: 5}.filled()
	c := econCell{rest: econHonest, strategy: econHonest}
	var half, true2 []econBatch
	for b := range uint64(8) {
		half = append(half, c.batch(o, b, 8, 0.5))
		true2 = append(true2, c.batch(o, 100+b, 10, 0.2))
	}
	_, x := econIncome(0.2, half)
	_, y := econIncome(0.2, true2)
	if math.Abs(x-y) > 2 { // a tenth more faulty tasks makes 2.4 more
		t.Errorf("honesty at φ 0.2: %.2f weighed, %.2f as it is", x, y)
	}
}

// Who guesses, or keeps quiet, is out soon.
func TestEconomyJail(t *testing.T) {
	for name, jailed := range map[string]bool{"guess": true, "hush": true, "honest": false} {
		b := econCell{rest: econHonest, strategy: econMindOf(name)}.batch(Options{}.filled(), 1, 30, 0)
		if got := b.jailed > 0; got != jailed {
			t.Errorf("%s: %d jailed", name, b.jailed)
		}
	}
}

// The same options give the same bytes, however many chains run at a time.
func TestEconomyIsDeterministic(t *testing.T) {
	o := Options{Tasks: 4, Batches: 2, Long: 6, Only: []string{"guess", "coin"}}
	var all [2]bytes.Buffer
	for i := range all {
		o.Parallel = 1 + 2*i
		table := economy(t, o)
		for _, write := range []error{table.WriteJSON(&all[i]), table.WriteText(&all[i]), table.WriteCSV(&all[i])} {
			if write != nil {
				t.Fatal(write)
			}
		}
	}
	if !bytes.Equal(all[0].Bytes(), all[1].Bytes()) {
		t.Errorf("two tables of one seed:\n%s\n%s", &all[0], &all[1])
	}
}

func TestEconomyFormats(t *testing.T) {
	table := Table{Options: Options{}.filled(), Rows: []Row{{Rest: "honest", Strategy: "guess", Fault: 0.05, Income: 1, Gain: -0.3}}}
	var c, j bytes.Buffer
	if err := table.WriteCSV(&c); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&c).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
		t.Errorf("%v %v", rows, err)
	}
	if err := table.WriteJSON(&j); err != nil {
		t.Fatal(err)
	}
	var back Table
	if err := json.Unmarshal(j.Bytes(), &back); err != nil || back.Rows[0] != table.Rows[0] {
		t.Errorf("%+v %v", back, err)
	}
	if r, ok := table.Row("guess", 0.05); !ok || r.Income != 1 {
		t.Errorf("%+v %t", r, ok)
	}
	if s := text(t, table); !strings.Contains(s, "guess") {
		t.Error(s)
	}
}

func TestEconomyRefusesNonsense(t *testing.T) {
	bad := Options{}.filled().Rules
	bad.NoReveal = bad.WrongPick - 1
	for name, o := range map[string]Options{
		"few workers":  {Workers: 3},
		"all deviate":  {Deviants: 20},
		"one batch":    {Batches: 1},
		"negative":     {Tasks: -1},
		"bad rules":    {Rules: bad},
		"no such name": {Only: []string{"saint"}},
	} {
		if _, err := Run(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
