package container

import (
	"math"
	"math/bits"
	"time"
)

// What a container's gas costs (spec §9.4.7).
const (
	GasPerMicrosecond    = 1000 // of processor time
	GasPerMiBMillisecond = 100  // of memory held
	tick                 = 10 * time.Millisecond
	longestGap           = 10 * tick
)

// A Meter turns what a cgroup has used into gas. It has whole numbers only. What
// is held while nothing runs costs nothing: how long that is, whoever rules the
// machine decides.
type Meter struct {
	cpus uint64 // that the job may keep busy; more than that nobody used
	// gap is the longest time between two readings that counts, 0 for any. One
	// that is longer is a time in which this process did not run, and nobody saw
	// whether the job did.
	gap    time.Duration
	at     time.Duration // the last reading, since the job's start
	seen   time.Duration // of processor time, counted or not
	cpu    time.Duration // of processor time, counted
	memory uint64        // gas
	rest   uint64        // of memory held, in KiB·µs, less than one gas
}

// NewMeter is one for a job that may keep so many processors busy, read at any
// distance.
func NewMeter(cpus uint64) Meter { return Meter{cpus: cpus} }

// Read counts what was used since the last reading, given the time since the job's
// start, all of the processor time that the kernel counted for it since then, and the
// bytes that it holds.
func (m *Meter) Read(at, cpu time.Duration, bytes uint64) {
	passed := max(at-m.at, 0)
	m.at = max(m.at, at)
	whole := m.gap == 0 || passed <= m.gap
	if !whole {
		passed = m.gap
	}
	most := time.Duration(math.MaxInt64)
	if hi, lo := bits.Mul64(uint64(passed), m.cpus); hi == 0 && lo < uint64(most) {
		most = time.Duration(lo)
	}
	used := min(max(cpu-m.seen, 0), most)
	if whole {
		m.seen += used // the rest was read a moment after the clock: it counts next time
	} else {
		m.seen = max(m.seen, cpu)
	}
	m.cpu += used
	m.held(bytes, min(passed, used))
}

// kibMicros is what one gas buys: 1024 KiB for 1,000 µs cost GasPerMiBMillisecond.
const kibMicros = 1024 * 1000 / GasPerMiBMillisecond

// held counts memory that was held for some time.
func (m *Meter) held(bytes uint64, d time.Duration) {
	hi, lo := bits.Mul64(bytes/1024, uint64(max(d, 0).Microseconds()))
	lo, carry := bits.Add64(lo, m.rest, 0)
	if hi += carry; hi >= kibMicros {
		m.memory, m.rest = math.MaxUint64, 0
		return
	}
	var gas uint64
	gas, m.rest = bits.Div64(hi, lo, kibMicros)
	m.memory = add(m.memory, gas)
}

// Gas is what was used.
func (m *Meter) Gas() uint64 {
	hi, lo := bits.Mul64(uint64(m.cpu.Microseconds()), GasPerMicrosecond)
	if hi > 0 {
		return math.MaxUint64
	}
	return add(m.memory, lo)
}

// add does not wrap.
func add(a, b uint64) uint64 {
	if sum, carry := bits.Add64(a, b, 0); carry == 0 {
		return sum
	}
	return math.MaxUint64
}
