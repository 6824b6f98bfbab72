package task

import "math/bits"

// What the chain and Bob see of a run is coarse on purpose (spec §9.8): his code
// could write Alice's data into any number that is exact. The enclave rounds
// up to these values before it signs, the chain takes no others, and what they
// can carry is counted in [Manifest.Channels].

// gasSteps is how many values gas can have at most.
const gasSteps = 8

// GasSteps are the values that the gas of a run can be signed as, falling: the
// limit, its half, quarter and so on, each rounded up, down to the least that the
// manifest names, or to a 128th. The limit of a run, above 0, is [Manifest.RunGas].
func (m Manifest) GasSteps(limit uint64) []uint64 {
	least := min(m.Limits.GasLeast, limit)
	steps := []uint64{limit}
	for k := 1; k < gasSteps; k++ {
		next := max(least, limit>>k+min(1, limit&(1<<k-1)))
		if next == steps[k-1] {
			break
		}
		steps = append(steps, next)
	}
	return steps
}

// ShownGas is what a run that used so much gas is signed as, and paid by: the
// least step that is not below it.
func (m Manifest) ShownGas(limit, used uint64) uint64 {
	if m.Exact {
		return min(used, limit)
	}
	shown := limit
	for _, s := range m.GasSteps(limit) {
		if s >= used {
			shown = s
		}
	}
	return shown
}

// Shown is the gas that stands in a result with this outcome, of a run that used
// so much: 0 if nobody is paid by gas for it, since then nobody needs to know.
func (m Manifest) Shown(t Task, o Outcome, used uint64) uint64 {
	if !o.Paid() {
		return 0
	}
	return m.ShownGas(m.RunGas(t), used)
}

// RunGas is the gas limit of a run: the manifest's or the task's, the lesser.
func (m Manifest) RunGas(t Task) uint64 { return min(m.Limits.Gas, t.GasLimit) }

// MaxArchive is what fits into a blob when it is encrypted, in bytes: that takes
// a header of some KiB, and 16 bytes for each 64 KiB.
const MaxArchive = MaxBlob - 128<<10

// leastShown is the least size that is shown of a result's archive, in bytes.
const leastShown = 4 << 10

// ShownSize is what an archive of n bytes, at most [MaxArchive], is padded to: the
// next power of four from 4 KiB on, and at most MaxArchive.
func ShownSize(n uint64) uint64 {
	size := uint64(leastShown)
	for size < n {
		size *= 4
	}
	return min(size, MaxArchive)
}

// archive bounds what Alice's archive can have: the outputs, their names, and what
// is beside them.
func (l Limits) archive() uint64 { return min(l.OutputBytes+8<<20, MaxArchive) }

// afterMillis is what an enclave needs at most, in milliseconds, to wipe and to
// pack what a function has left when its time is over.
const afterMillis = 10_000

// leastMillis is the least time that is shown of a run, in milliseconds.
const leastMillis = 10

// ShownMillis is when a run that took so many milliseconds hands out its
// result: after 10 ms, or the next power of two times that.
func ShownMillis(took uint64) uint64 {
	if took <= leastMillis {
		return leastMillis
	}
	return leastMillis << bits.Len64((took-1)/leastMillis)
}

// Channel is one thing that is public about a run, and how many values it can
// have: its capacity is log2 of that, in bits.
type Channel struct {
	Name   string `json:"name"`
	Values uint64 `json:"values"`
}

// Channels are all that the function's code can say to the chain by a run with
// that gas limit (spec §9.8): what the outcome is, the gas, the size and the time.
// One that is out of time shows nothing else, and is run again in the next view.
func (m Manifest) Channels(limit uint64) []Channel {
	gas := uint64(len(m.GasSteps(limit)))
	if m.Exact {
		gas = max(limit, limit+1) // 0 counts too, as far as there is a number for it
	}
	var sizes, times uint64
	for n, last := uint64(0), uint64(0); last < m.Limits.archive(); n = last + 1 {
		last = ShownSize(n)
		sizes++
	}
	for n, last := uint64(0), uint64(0); last < m.Limits.WallMillis+afterMillis; n = last + 1 {
		last = ShownMillis(n)
		times++
	}
	return []Channel{{"outcome", 3}, {"gas", gas}, {"size", sizes}, {"time", times}}
}
