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

// lateMillis is the least time, in milliseconds, that is shown of a run beyond its
// wall limit: to end it, to wipe and to pack.
const lateMillis = 1000

// LateMillis is when a run that is out of time hands its result out, in
// milliseconds after it began, on a machine that is not slow to wipe it. By then
// any other run has, so the chain waits so long for each (spec §6.2).
func (m Manifest) LateMillis() uint64 { return m.Limits.WallMillis + lateMillis }

// ShownMillis is when a run that took so many milliseconds hands out its result:
// after 10 ms times a power of two, as long as that is before [Manifest.LateMillis];
// else so long after the wall limit, or a second times a power of two. Metered
// exactly, it is at once; but all that are out of time take the same.
func (m Manifest) ShownMillis(o Outcome, took uint64) uint64 {
	if m.Exact && o != OutOfTime {
		return took
	}
	if shown := doubled(leastMillis, took); o != OutOfTime && shown < m.LateMillis() {
		return shown
	}
	wall := m.Limits.WallMillis
	return wall + doubled(lateMillis, max(took, wall)-wall)
}

// doubled is the least of least·2ᵏ that is not below n.
func doubled(least, n uint64) uint64 {
	if n <= least {
		return least
	}
	return least << bits.Len64((n-1)/least)
}

// Channel is one thing that is public about a run, and how many values it can
// have: its capacity is log2 of that, in bits.
type Channel struct {
	Name   string `json:"name"`
	Values uint64 `json:"values,string"`
}

// Channels are all that the function's code can say to the chain by a run with
// that gas limit (spec §9.8): what the outcome is, the gas, the size and the time.
// One that is out of time shows nothing else, and is run again in the next view.
func (m Manifest) Channels(limit uint64) []Channel {
	gas := uint64(len(m.GasSteps(limit)))
	if m.Exact {
		gas = max(limit, limit+1) // 0 counts too, as far as there is a number for it
	}
	most := m.Limits.WallMillis + afterMillis
	times := most + 1 // of exact metering: each millisecond, and 0
	if !m.Exact {
		times = 0
		for n, last := uint64(0), uint64(0); last < most; n = last + 1 {
			last = m.ShownMillis(RunOK, n)
			times++
		}
	}
	sizes := uint64(0)
	for n, last := uint64(0), uint64(0); last < m.Limits.archive(); n = last + 1 {
		last = ShownSize(n)
		sizes++
	}
	return []Channel{{"outcome", 3}, {"gas", gas}, {"size", sizes}, {"time", times}}
}
