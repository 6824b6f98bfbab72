package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sim"
	"github.com/prytany/prytany/task"
)

// played stands in for sim.Run: seed 3 violates something, and later seeds are
// done sooner.
func played(seed uint64, o sim.Options) sim.Result {
	time.Sleep(time.Millisecond * time.Duration(20-min(seed, 20)) / 10)
	r := sim.Result{
		Seed: seed, Trace: task.Hash{byte(seed)}, Blocks: 10, Latency: []uint64{100 * (seed + 1)},
		Outcomes: map[ledger.Outcome]uint64{ledger.Completed: 1}, Slashes: map[ledger.Cause]uint64{ledger.Silence: 2},
	}
	if seed == 3 {
		r.Violation = "supply is conserved: block 7: 1 held of 2"
	}
	return r
}

func simulated(t *testing.T, asJSON bool, o campaign) (string, error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{out: &out, err: &bytes.Buffer{}, json: asJSON}
	o.run = played
	err := a.simulate(context.Background(), o)
	return out.String(), err
}

func TestSimulateReportsViolations(t *testing.T) {
	out, err := simulated(t, false, campaign{limit: 20, Calm: true, Workers: 7, Tasks: 2})
	var code exitCode
	if !errors.As(err, &code) || code != 1 {
		t.Errorf("ended with %v, want exit code 1", err)
	}
	for _, want := range []string{
		"seeds            20\n", "blocks           200\n", "tasks ok         20\n", "slashes silence  40\n", "latency p50 ms   1000\n", "latency p95 ms   1900\n", "violations       1\n",
		"\nseed 3 violates: supply is conserved: block 7: 1 held of 2\n  replay: prytany simulate --seed 3 --calm --workers 7 --tasks 2\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	out, err = simulated(t, true, campaign{limit: 20, Honest: true})
	if !errors.As(err, &code) || !strings.Contains(out, `"replay": "prytany simulate --seed 3 --honest"`) {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
	if out, err = simulated(t, false, campaign{From: 4, limit: 10}); err != nil || strings.Contains(out, "replay") {
		t.Errorf("from seed 4 nothing is violated: %v\n%s", err, out)
	}
}

// The number of cores decides nothing, nor who is done first.
func TestSimulateIsDeterministic(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		first, _ := simulated(t, asJSON, campaign{limit: 20})
		for _, cores := range []int{1, 5} {
			old := runtime.GOMAXPROCS(cores)
			got, _ := simulated(t, asJSON, campaign{limit: 20})
			runtime.GOMAXPROCS(old)
			if got != first {
				t.Errorf("with %d cores:\n%s\nwant:\n%s", cores, got, first)
			}
		}
	}
}

// When the time is over, what ran is every seed from the first to the last.
func TestSimulateForAWhile(t *testing.T) {
	for _, wall := range []time.Duration{1, 30 * time.Millisecond} {
		o := campaign{From: 50, limit: 1 << 62, wall: wall, run: played}
		results := o.play(context.Background(), &progress{})
		if len(results) == 0 {
			t.Errorf("in %v nothing ran", wall)
		}
		for i, r := range results {
			if r.Seed != 50+uint64(i) {
				t.Fatalf("result %d is of seed %d", i, r.Seed)
			}
		}
	}
}

func TestSimulatePercentile(t *testing.T) {
	hundred := make([]uint64, 100)
	for i := range hundred {
		hundred[i] = uint64(i + 1)
	}
	for _, x := range []struct {
		of   []uint64
		p    int
		want uint64
	}{{nil, 50, 0}, {[]uint64{7}, 50, 7}, {[]uint64{7}, 95, 7}, {hundred, 50, 50}, {hundred, 95, 95}, {hundred[:3], 50, 2}} {
		if got := percentile(x.of, x.p); got != x.want {
			t.Errorf("p%d of %d: %d, want %d", x.p, len(x.of), got, x.want)
		}
	}
}

// Same flags, same bytes, in every form; on one core and on many.
func TestSimulateElectionIsDeterministic(t *testing.T) {
	elect := func(form string) string {
		dir := t.TempDir()
		var out bytes.Buffer
		args := []string{"simulate", "election", "--workers", "500", "--draws", "200", "--seats", "5,13", "--seed", "9", "--svg", dir, "--quiet"}
		if form != "" {
			args = append(args, form)
		}
		if code := run(args, nil, &out, os.Stderr); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		for _, name := range []string{"blocked", "decided", "committee-5", "committee-13"} {
			raw, err := os.ReadFile(filepath.Join(dir, name+".svg"))
			if err != nil {
				t.Fatal(err)
			}
			out.Write(raw)
		}
		return out.String()
	}
	for _, form := range []string{"", "--json", "--csv"} {
		first := elect(form)
		old := runtime.GOMAXPROCS(1)
		second := elect(form)
		runtime.GOMAXPROCS(old)
		if first != second {
			t.Errorf("%q: the bytes differ", form)
		}
	}
}

// What is for one of the two experiments is refused with the other, and not ignored.
func TestSimulateCoalitionsRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{
		{"--rounds", "2"}, {"--for", "1m"}, {"--stakes", "0.2"},
		{"--coalitions", "--faults", "0.2"}, {"--coalitions", "--batches", "3"},
		{"--coalitions", "--stakes", "0.5"}, {"--coalitions", "--only", "saint"},
	} {
		var out bytes.Buffer
		if code := run(append([]string{"simulate", "economy", "--quiet"}, args...), nil, &out, io.Discard); code != 2 || out.Len() > 0 {
			t.Errorf("%v: exit code %d, want 2; %s", args, code, &out)
		}
	}
}
