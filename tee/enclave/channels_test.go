package enclave

import (
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/task"
)

// What Bob's code can say to the chain about Alice's data by one run: each thing
// that it can vary, varied as finely as it goes, through a whole enclave. What is
// left of it outside is counted, and is no more than the specification says (§9.8).
func TestChannels(t *testing.T) {
	m := tellerManifest
	allowed := map[string]uint64{}
	for _, c := range m.Channels(m.RunGas(task.Task{GasLimit: m.Limits.Gas})) {
		allowed[c.Name] = c.Values
	}
	fine := func(from, most uint32) (list []uint32) { // powers of two, and one more or less
		for n := from; ; n *= 2 {
			for _, v := range []uint32{n - 1, n, n + 1} {
				if v >= from && v <= most {
					list = append(list, v)
				}
			}
			if n > most/2 {
				return append(list, most)
			}
		}
	}
	bits := math.Log2
	const outputs, log, wall = 1 << 20, 64 << 10, 60_000
	outcomes, gases, sizes, times := map[task.Outcome]bool{}, map[uint64]bool{}, map[uint64]bool{}, map[time.Duration]bool{}
	var table strings.Builder
	fmt.Fprintf(&table, "%-28s %12s %9s %11s %s\n", "varied", "before, bits", "tried", "told apart", "after, bits")
	for _, row := range []struct {
		what   string
		before float64 // log2 of the values that it could have, when they were exact
		values []uint32
		say    func(uint32) secret20
		sees   func(seen) string // the one public thing that it changes
		most   uint64            // values of that
	}{
		{"gas", bits(float64(m.Limits.Gas + 1)), append(fine(1, 20_000_000), 0), func(n uint32) secret20 { return secret20{Loops: n} },
			func(s seen) string { return fmt.Sprint(s.outcome, s.gas, s.size) }, allowed["gas"] + 1}, // none left is another outcome
		{"bytes of output", bits(outputs / 512), fine(1, outputs), func(n uint32) secret20 { return secret20{Loops: 1, Size: n, Files: 1} },
			func(s seen) string { return fmt.Sprint(s.outcome, s.size) }, allowed["size"]},
		{"number of files", bits(1025), fine(1, 32), func(n uint32) secret20 { return secret20{Loops: 1, Files: n} },
			func(s seen) string { return fmt.Sprint(s.outcome, s.size) }, allowed["size"]},
		{"bytes of log", bits(log/512 + 1), fine(1, log), func(n uint32) secret20 { return secret20{Loops: 1, Log: n} },
			func(s seen) string { return fmt.Sprint(s.outcome, s.size) }, allowed["size"]},
		{"exit code", 32, append(fine(1, 255), 1<<31, 1<<32-1), func(n uint32) secret20 { return secret20{Loops: 1, Exit: n} },
			func(s seen) string { return fmt.Sprint(s.outcome, s.size) }, 1},
		{"bytes of log of a failure", bits(log/512 + 1), fine(1, log), func(n uint32) secret20 { return secret20{Loops: 1, Log: n, Exit: 1} },
			func(s seen) string { return fmt.Sprint(s.outcome, s.size) }, 1},
		{"how it fails", bits(4), []uint32{0, 1, 2}, func(n uint32) secret20 {
			return []secret20{{Loops: 1, Exit: 1}, {Loops: 1, Size: outputs + 1, Files: 1}, {Loops: 0}}[n]
		}, func(s seen) string { return fmt.Sprint(s.outcome, s.size) }, 1},
	} {
		apart := map[string]bool{}
		for _, v := range row.values {
			got, _ := tell(t, m, row.say(v))
			apart[row.sees(got)] = true
			outcomes[got.outcome], gases[got.gas], sizes[got.size], times[got.handed] = true, true, true, true
		}
		fmt.Fprintf(&table, "%-28s %12.1f %9d %11d %11.1f\n", row.what, row.before, len(row.values), len(apart), bits(float64(len(apart))))
		if uint64(len(apart)) > row.most || row.most > 1 && len(apart) < 2 {
			t.Errorf("%s: %d values can be told apart, of %d at most: %v", row.what, len(apart), row.most, apart)
		}
	}
	// Time: a run takes what it takes, and is seen to take one of a few times.
	for d := range times {
		if ms := uint64(d.Milliseconds()); m.ShownMillis(task.RunOK, ms) != ms {
			t.Errorf("a result was handed out after %s", d)
		}
	}
	// A collection that begins while a guest computes waits for it (package sandbox).
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	debug.FreeOSMemory() // which is one, and is over when it returns
	late := m
	late.Limits.Gas, late.Limits.WallMillis = 1<<62, 20
	got, told := tell(t, late, secret20{Log: 77})
	if (got != seen{outcome: task.OutOfTime, handed: got.handed}) || got.handed < 20*time.Millisecond || told.Log != nil || told.Run.Outcome != "" {
		t.Errorf("out of time, and shown: %+v, %+v", got, told)
	}
	outcomes[got.outcome] = true
	fmt.Fprintf(&table, "\n%-28s %12s %11s %11s\n", "seen", "before, bits", "seen here", "at most, bits")
	before := map[string]float64{"outcome": bits(6), "gas": bits(float64(m.Limits.Gas + 1)), "size": bits(outputs / 512), "time": bits(wall)}
	here := map[string]int{"outcome": len(outcomes), "gas": len(gases), "size": len(sizes), "time": len(times)}
	exact, coarse := 32.0, 0.0
	for _, c := range m.Channels(m.Limits.Gas) {
		fmt.Fprintf(&table, "%-28s %12.1f %11d %11.1f\n", c.Name, before[c.Name], here[c.Name], bits(float64(c.Values)))
		if uint64(here[c.Name]) > c.Values {
			t.Errorf("%s: %d values, at most %d", c.Name, here[c.Name], c.Values)
		}
		exact += before[c.Name]
		coarse += bits(float64(c.Values))
	}
	fmt.Fprintf(&table, "%-28s %12.1f %11s %11.1f\n%-28s %12.1f %11s %11.1f\n", "exit code", 32.0, "none", 0.0, "all of it, in one run", exact, "", coarse)
	t.Logf("limits: %d gas, %d bytes of output, %d ms\n%s", m.Limits.Gas, outputs, wall, &table)
}

// Four bytes of Alice's input stood in the gas of a run that ended well, and she saw
// nothing of it. Bob calibrates at home, and reads it off the chain.
func TestGasDoesNotCarryTheInput(t *testing.T) {
	m := tellerManifest
	read := func(secret uint32) float64 {
		at := func(n uint32) float64 {
			got, _ := tell(t, m, secret20{Loops: n})
			return float64(got.gas)
		}
		a, b := at(1), at(1_000_001)
		return (at(secret)-a)/(b-a)*1e6 + 1
	}
	for _, secret := range []uint32{0x1EADB, 0x7EEF01} {
		if got := read(secret); math.Abs(got-float64(secret)) < 1000 {
			t.Errorf("Bob reads %.0f, Alice's input was %d", got, secret)
		}
	}
	m.Exact = true // and so he can where she has accepted it
	if got := read(0x1EADB); math.Round(got) != 0x1EADB {
		t.Errorf("metered exactly, Bob reads %.1f", got)
	}
}
