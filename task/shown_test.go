package task

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// dumbSteps are the gas steps by their definition, in numbers without an end.
func dumbSteps(limit, least uint64) (steps []uint64) {
	for k := range 8 {
		s := new(big.Int).SetUint64(limit)
		two := big.NewInt(1 << k)
		s.Add(s, two).Sub(s, big.NewInt(1)).Div(s, two)
		v := s.Uint64()
		if v < least {
			v = least
		}
		if v > limit {
			v = limit
		}
		if !slices.Contains(steps, v) {
			steps = append(steps, v)
		}
	}
	return steps
}

func dumbShown(limit, least, used uint64) uint64 {
	best := limit
	for _, s := range dumbSteps(limit, least) {
		if s >= used && s < best {
			best = s
		}
	}
	return best
}

// at favours numbers near powers of two, where the rounding is.
func at(t *rapid.T, name string) uint64 {
	n := uint64(1) << rapid.IntRange(0, 63).Draw(t, name+" power")
	return n + rapid.Uint64Range(0, 3).Draw(t, name+" off") - 1
}

// Gas is shown as one of at most eight steps, never below what was used or the
// least, and above the least not twice what was used.
func TestGasIsShownInSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit, least, used := max(1, at(t, "limit")), at(t, "least"), at(t, "used")
		m := Manifest{Limits: Limits{Gas: limit, GasLeast: least}}
		steps, want := m.GasSteps(limit), dumbSteps(limit, least)
		if !slices.Equal(steps, want) || len(steps) > 8 || steps[0] != limit {
			t.Fatalf("steps of %d, at least %d: %d, want %d", limit, least, steps, want)
		}
		got := m.ShownGas(limit, used)
		if want := dumbShown(limit, least, used); got != want {
			t.Fatalf("%d of %d, at least %d, is shown as %d, want %d", used, limit, least, got, want)
		}
		if got < min(used, limit) || got < min(least, limit) || got > limit || got > steps[len(steps)-1] && got/2 >= used {
			t.Fatalf("%d of %d, at least %d, is shown as %d", used, limit, least, got)
		}
		if m.ShownGas(limit, got) != got {
			t.Fatalf("%d is not shown as itself", got)
		}
		m.Exact = true
		if got := m.ShownGas(limit, used); got != min(used, limit) {
			t.Fatalf("exact: %d of %d is shown as %d", used, limit, got)
		}
	})
}

func TestGasStepsAtTheEdges(t *testing.T) {
	for _, row := range []struct {
		name               string
		limit, least, used uint64
		steps, shown       uint64
	}{
		{"limit 1", 1, 0, 0, 1, 1},
		{"limit 1, used 1", 1, 0, 1, 1, 1},
		{"limit 2, used 0", 2, 0, 0, 2, 1},
		{"limit 3, used 2", 3, 0, 2, 3, 2},
		{"limit 128", 128, 0, 1, 8, 1},
		{"limit 129, the last step is rounded up", 129, 0, 1, 8, 2},
		{"limit 2^62, nothing used", 1 << 62, 0, 0, 8, 1 << 55},
		{"limit 2^62, all used", 1 << 62, 0, 1 << 62, 8, 1 << 62},
		{"limit 2^62, one above a step", 1 << 62, 0, 1<<61 + 1, 8, 1 << 62},
		{"limit 2^62, on a step", 1 << 62, 0, 1 << 61, 8, 1 << 61},
		{"limit 2^64-1", math.MaxUint64, 0, 1, 8, 1 << 57},
		{"least above the limit", 100, 200, 5, 1, 100},
		{"least is the limit", 100, 100, 5, 1, 100},
		{"least between two steps", 100, 30, 5, 3, 30},
		{"above it", 100, 30, 31, 3, 50},
		{"least is a step", 100, 25, 1, 3, 25},
		{"least below a 128th", 1 << 20, 1, 1, 8, 1 << 13},
		{"more than the limit", 100, 0, 1000, 8, 100},
	} {
		m := Manifest{Limits: Limits{GasLeast: row.least}}
		steps, shown := m.GasSteps(row.limit), m.ShownGas(row.limit, row.used)
		if uint64(len(steps)) != row.steps || shown != row.shown {
			t.Errorf("%s: %d, shown as %d; want %d steps and %d", row.name, steps, shown, row.steps, row.shown)
		}
	}
}

// Of a run that is not paid by gas no gas is shown, whatever it used.
func TestUnpaidRunsShowNoGas(t *testing.T) {
	m, p := Manifest{Limits: Limits{Gas: 1000}}, Task{GasLimit: 400}
	for o, want := range map[Outcome]uint64{RunOK: 100, RunFailed: 100, OutOfTime: 0, WrongKey: 0} {
		if got := m.Shown(p, o, 70); got != want {
			t.Errorf("%s: %d, want %d", o, got, want)
		}
	}
}

func TestSizesAreShownInPowersOfFour(t *testing.T) {
	for n, want := range map[uint64]uint64{
		0: 4 << 10, 1: 4 << 10, 4 << 10: 4 << 10, 4<<10 + 1: 16 << 10, 16 << 10: 16 << 10, 1 << 20: 1 << 20, 1<<20 + 1: 4 << 20,
		64 << 20: 64 << 20, 64<<20 + 1: MaxArchive, MaxArchive: MaxArchive,
	} {
		if got := ShownSize(n); got != want {
			t.Errorf("%d bytes are shown as %d, want %d", n, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, MaxArchive).Draw(t, "n")
		if got := ShownSize(n); got < n || got > 4<<10 && got/4 >= n {
			t.Fatalf("%d bytes are shown as %d", n, got)
		}
	})
}

func TestTimesAreShownInPowersOfTwo(t *testing.T) {
	for _, row := range []struct{ wall, took, shown, late uint64 }{
		{240_000, 0, 10, 241_000}, {240_000, 10, 10, 241_000}, {240_000, 11, 20, 241_000}, {240_000, 20, 20, 241_000}, {240_000, 1000, 1280, 241_000},
		{240_000, 163_840, 163_840, 241_000}, {240_000, 163_841, 241_000, 241_000}, {240_000, 241_000, 241_000, 241_000},
		{240_000, 241_001, 242_000, 242_000}, {240_000, 242_001, 244_000, 244_000}, {240_000, 244_001, 248_000, 248_000},
		{15, 9, 10, 1015}, {15, 12, 20, 1015}, {15, 641, 1015, 1015},
		{20_000, 20_000, 20_480, 21_000}, {20_000, 20_481, 21_000, 21_000},
		{24 * 3600 * 1000, 24*3600*1000 + 1, 24*3600*1000 + 1000, 24*3600*1000 + 1000},
	} {
		m := Manifest{Limits: Limits{WallMillis: row.wall}}
		if a, b := m.ShownMillis(RunOK, row.took), m.ShownMillis(OutOfTime, row.took); a != row.shown || b != row.late {
			t.Errorf("wall %d ms: %d ms are shown as %d, out of time as %d; want %d and %d", row.wall, row.took, a, b, row.shown, row.late)
		}
		m.Exact = true
		if a, b := m.ShownMillis(RunFailed, row.took), m.ShownMillis(OutOfTime, row.took); a != row.took || b != row.late {
			t.Errorf("exact, wall %d ms: %d ms are shown as %d, out of time as %d", row.wall, row.took, a, b)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		m := Manifest{Limits: Limits{WallMillis: rapid.Uint64Range(1, 24*3600*1000).Draw(t, "wall")}}
		took := rapid.Uint64Range(0, m.Limits.WallMillis).Draw(t, "took")
		got := m.ShownMillis(RunOK, took)
		if got < took || got > m.LateMillis() || got > 10 && got != m.LateMillis() && got/2 >= took {
			t.Fatalf("wall %d ms: %d ms are shown as %d", m.Limits.WallMillis, took, got)
		}
		if again := m.ShownMillis(RunOK, got); again != got {
			t.Fatalf("%d ms are shown as %d", got, again)
		}
	})
}

// Code that writes as much as it can into what is shown of its run says no more
// than the channels have room for.
func TestChannelsHoldAllThatIsShown(t *testing.T) {
	for _, limits := range []Limits{
		{Gas: 1, MemoryBytes: 1, OutputBytes: 1, WallMillis: 1},
		{Gas: 100, MemoryBytes: 1, OutputBytes: 5 << 20, WallMillis: 95, GasLeast: 30},
		{Gas: 1e6, MemoryBytes: 1, OutputBytes: 64 << 10, WallMillis: 3000},
	} {
		m := Manifest{Limits: limits}
		gas, sizes, times := map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
		for used := range limits.Gas + 2 {
			gas[m.ShownGas(limits.Gas, used)] = true
		}
		for n := uint64(0); n <= limits.archive(); n += 512 {
			sizes[ShownSize(n)] = true
		}
		sizes[ShownSize(limits.archive())] = true
		for took := range limits.WallMillis + afterMillis + 1 {
			times[m.ShownMillis(RunOK, took)] = true
		}
		have := m.Channels(limits.Gas)
		for i, seen := range []int{len([]Outcome{RunOK, RunFailed, OutOfTime}), len(gas), len(sizes), len(times)} {
			if have[i].Values != uint64(seen) {
				t.Errorf("%+v: %s has %d values, seen were %d", limits, have[i].Name, have[i].Values, seen)
			}
		}
	}
	m := Manifest{Limits: Limits{Gas: 1000, OutputBytes: 1, WallMillis: 1}, Exact: true}
	if c := m.Channels(1000); c[1].Values != 1001 || c[3].Values != 10_002 {
		t.Errorf("exact gas and time: %+v", c)
	}
	if c := m.Channels(math.MaxUint64); c[1].Values != math.MaxUint64 {
		t.Errorf("exact gas without a limit: %+v", c)
	}
}

// TestChannelTable prints what of a run could be read off the chain in bits,
// before results were rounded and now (spec §9.8), and holds the sum down.
func TestChannelTable(t *testing.T) {
	m := Manifest{Limits: Limits{Gas: 20e9, MemoryBytes: 256 << 20, OutputBytes: 32 << 20, WallMillis: 240_000}}
	before := map[string]float64{
		"outcome": math.Log2(6), // ok, error, gas, memory, output, wall
		"gas":     math.Log2(20e9),
		"size":    math.Log2(float64(m.Limits.archive())),
		"time":    math.Log2(240_000 / 25), // in blocks of 25 ms
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-10s %8s %8s\n", "observable", "before", "now")
	was, now := 32.0, 0.0
	fmt.Fprintf(&table, "%-10s %8.2f %8.2f\n", "exit code", 32.0, 0.0)
	for _, c := range m.Channels(m.Limits.Gas) {
		bits := math.Log2(float64(c.Values))
		was, now = was+before[c.Name], now+bits
		fmt.Fprintf(&table, "%-10s %8.2f %8.2f\n", c.Name, before[c.Name], bits)
	}
	fmt.Fprintf(&table, "%-10s %8.2f %8.2f", "together", was, now)
	t.Log(table.String())
	if now > 12 || was < 100 {
		t.Errorf("%.2f bits before, %.2f now", was, now)
	}
}

// What a manifest must not say.
func TestManifestsAreHeldToTheirCommand(t *testing.T) {
	image := &Image{Digest: "sha256:" + strings.Repeat("0", 64)}
	good := Manifest{Name: "f", Runtime: RuntimeWasm, Limits: Limits{Gas: 1000, MemoryBytes: 1, OutputBytes: 1, WallMillis: 1}}
	native := func(runtime string, args ...string) func(*Manifest) {
		return func(m *Manifest) {
			m.Runtime, m.Image, m.Args = runtime, image, args
			if runtime != RuntimePython {
				m.Arch = "amd64"
			}
		}
	}
	for _, row := range []struct {
		name, says string // empty: it is taken
		change     func(*Manifest)
	}{
		{"wasm without arguments", "", func(*Manifest) {}},
		{"python with a script", "", native(RuntimePython, "/code/main.py")},
		{"python without", "needs the whole command", native(RuntimePython)},
		{"python -c", "the first is the script", native(RuntimePython, "-c", "pass")},
		{"python -", "the first is the script", native(RuntimePython, "-")},
		{"python and nothing", "the first is the script", native(RuntimePython, "")},
		{"oci with a command", "", native(RuntimeOCI, "/bin/f", "-x")},
		{"oci by the image's entrypoint", "needs the whole command", native(RuntimeOCI)},
		{"docker likewise", "needs the whole command", native(RuntimeDocker)},
		{"too many arguments", "args: 65 arguments", func(m *Manifest) { m.Args = slices.Repeat([]string{"x"}, 65) }},
		{"least of the gas", "", func(m *Manifest) { m.Limits.GasLeast = 1000 }},
		{"least above the most", "limits.gas_least is 1001", func(m *Manifest) { m.Limits.GasLeast = 1001 }},
		{"Bob accepts for Alice", "it is Alice who accepts", func(m *Manifest) { m.Policy = &Policy{MinTier: 1, Accept: []string{WeakExact}} }},
		{"docker on hardware", "for the tier simulated only", func(m *Manifest) {
			native(RuntimeDocker, "/f")(m)
			m.Policy = &Policy{MinTier: TierMeasured}
		}},
		{"docker, simulated", "", func(m *Manifest) {
			native(RuntimeDocker, "/f")(m)
			m.Policy = &Policy{MinTier: TierSimulated}
		}},
	} {
		m := good
		row.change(&m)
		err := m.Check()
		if row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.says)
		}
	}
}

// Alice's policy names each weakness of a function, or it is not hers to take.
func TestWeaknessesAreAccepted(t *testing.T) {
	both := Manifest{Runtime: RuntimeDocker, Exact: true}
	for _, row := range []struct {
		m      Manifest
		accept []string
		lacks  string
	}{
		{Manifest{Runtime: RuntimeWasm}, nil, ""},
		{Manifest{Runtime: RuntimeWasm}, []string{WeakDocker}, ""},
		{Manifest{Runtime: RuntimeDocker}, nil, WeakDocker},
		{Manifest{Exact: true}, []string{WeakDocker}, WeakExact},
		{both, []string{WeakDocker}, WeakExact},
		{both, []string{WeakExact, WeakDocker}, ""},
	} {
		lacks, ok := Policy{Accept: row.accept}.Accepts(row.m)
		if lacks != row.lacks || ok != (lacks == "") {
			t.Errorf("%+v with %v: lacks %q, %v", row.m.Weaknesses(), row.accept, lacks, ok)
		}
	}
	for _, accept := range [][]string{{"everything"}, {WeakDocker, WeakDocker}, {""}} {
		if (Policy{MinTier: 1, Accept: accept}).check() == nil {
			t.Errorf("a policy that accepts %q is taken", accept)
		}
	}
}
