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
)

// A Meter turns what a cgroup has used into gas. It has whole numbers only.
type Meter struct {
	memory uint64 // gas
	rest   uint64 // of memory held, in KiB·µs, less than one gas
}

// kibMicros is what one gas buys: 1024 KiB for 1,000 µs cost GasPerMiBMillisecond.
const kibMicros = 1024 * 1000 / GasPerMiBMillisecond

// Held counts memory that was held for some time.
func (m *Meter) Held(bytes uint64, d time.Duration) {
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

// Gas is what was used, given all of the processor time so far.
func (m *Meter) Gas(cpu time.Duration) uint64 {
	hi, lo := bits.Mul64(uint64(max(cpu, 0).Microseconds()), GasPerMicrosecond)
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
