package ledger

import (
	"fmt"

	"github.com/prytany/prytany/task"
)

// Economics are the numbers that make honest work the best that a verifier
// can do (spec §10.6). Amounts are for one seat, so that splitting a stake over
// many nodes changes nothing.
type Economics struct {
	CanaryPPM       uint64      `cbor:"20,keyasint" json:"canary_ppm"` // κ: how often an enclave shows faulty evidence on purpose
	CheckCost       task.Amount `cbor:"21,keyasint" json:"check_cost"` // c: what one appraisal costs a verifier, at most
	DetectPPM       uint64      `cbor:"22,keyasint" json:"detect_ppm"` // d: how surely an appraisal finds a fault
	FaultPPM        uint64      `cbor:"23,keyasint" json:"fault_ppm"`  // φ: the highest rate of faults at which honesty must still pay
	SeatFee         task.Amount `cbor:"24,keyasint" json:"seat_fee"`   // w: the least committee fee, for each expected seat
	Bonus           task.Amount `cbor:"25,keyasint" json:"bonus"`      // B: shared by those who say FAULT to a canary
	Miss            task.Amount `cbor:"26,keyasint" json:"miss"`       // for an OK where the proof says FAULT
	FalseAlarm      task.Amount `cbor:"27,keyasint" json:"false_alarm"`
	NoReveal        task.Amount `cbor:"28,keyasint" json:"no_reveal"`
	BadEvidencePPM  uint64      `cbor:"29,keyasint" json:"bad_evidence_ppm"` // of an executor's bond, for what its enclave cannot explain
	EquivocationPPM uint64      `cbor:"30,keyasint" json:"equivocation_ppm"` // of a bond, for two words that exclude each other
	JailMisses      uint64      `cbor:"31,keyasint" json:"jail_misses"`      // false OKs until a node is sent away
	JailBlocks      uint64      `cbor:"32,keyasint" json:"jail_blocks"`      // before its operator may bond it again
	DisputeBlocks   uint64      `cbor:"33,keyasint" json:"dispute_blocks"`   // after the settlement, for accusations
	AccusationBond  task.Amount `cbor:"34,keyasint" json:"accusation_bond"`  // burned if the accusation proves nothing
	Committee       uint32      `cbor:"35,keyasint" json:"committee"`        // n: the seats of a usual committee
	Absent          task.Amount `cbor:"38,keyasint" json:"absent"`           // A: for no evidence in time
	Silence         task.Amount `cbor:"39,keyasint" json:"silence"`          // S: for silence after the evidence was found good
}

// Default are the numbers of spec §10.6, in units of the cost of one check.
func Default(cost task.Amount) Economics {
	return Economics{
		CanaryPPM: 50_000, CheckCost: cost, DetectPPM: 990_000, FaultPPM: 800_000,
		SeatFee: 4 * cost, Bonus: 35 * cost, Miss: 50 * cost, FalseAlarm: 20 * cost, NoReveal: 10 * cost,
		BadEvidencePPM: 100_000, EquivocationPPM: 100_000, JailMisses: 3, JailBlocks: 4000, DisputeBlocks: 4000,
		AccusationBond: 50 * cost, Committee: task.DefaultSeats, Absent: 10 * cost, Silence: 100 * cost,
	}
}

// check holds the inequalities of spec §10.6 with the factor 2 that covers what
// the model leaves out. A chain without canaries is allowed, and its
// verifiers have no reason to look: that is for experiments.
func (e Economics) check(p Params) error {
	for _, share := range []uint64{e.CanaryPPM, e.DetectPPM, e.FaultPPM, e.BadEvidencePPM, e.EquivocationPPM} {
		if share > million {
			return fmt.Errorf("genesis: a share is over a million parts per million")
		}
	}
	// Small enough that no product below wraps.
	for _, a := range []task.Amount{e.CheckCost, e.SeatFee, e.Bonus, e.Miss, e.FalseAlarm, e.NoReveal} {
		if a > 1<<40 {
			return fmt.Errorf("genesis: an amount for one seat is over 2^40 base units")
		}
	}
	switch n := task.Amount(e.Committee); {
	case e.Absent == 0 || e.Silence < e.Absent:
		return fmt.Errorf("genesis: absent must cost something, and silence at least as much: or evidence would be shown only to be silent after it (spec §10.6)")
	case e.Silence < p.silentRent():
		return fmt.Errorf("genesis: silence must cost at least %s, the rent of a view on a chain that is nearly full: or silence would cost others more than who is silent (spec §10.6)", p.silentRent())
	case p.MinBond < e.Silence:
		return fmt.Errorf("genesis: min_bond %s is less than the %s that a silent executor loses", p.MinBond, e.Silence)
	case n == 0 || n > task.MaxSeats || e.JailMisses == 0 || e.DisputeBlocks == 0 || e.DisputeBlocks > 1<<40 || e.JailBlocks > 1<<40:
		return fmt.Errorf("genesis: committee, jail_misses, jail_blocks or dispute_blocks is out of range")
	case e.CanaryPPM == 0:
		return nil
	case e.margin(e.CanaryPPM, e.DetectPPM, e.Bonus/n+e.Miss) < 2*e.CheckCost:
		return fmt.Errorf("genesis: saying OK unread pays: κ·d·(B/n + miss) must be at least 2c (spec §10.6)")
	case e.margin(million-e.FaultPPM, million, e.SeatFee/2+e.FalseAlarm) < 2*e.CheckCost+e.margin(e.FaultPPM, million-e.DetectPPM, e.Bonus+e.Miss):
		return fmt.Errorf("genesis: crying FAULT always pays: (1−φ)(w/2 + false_alarm) must be at least 2c + φ(1−d)(B + miss) (spec §10.6)")
	case e.NoReveal < 2*e.CheckCost || e.Miss <= e.NoReveal:
		return fmt.Errorf("genesis: no_reveal must be at least 2c, and miss more than no_reveal: or silence would be the way out of a lie")
	case p.PostingFee < e.margin(e.CanaryPPM, million, e.Bonus):
		return fmt.Errorf("genesis: the posting fee must cover the canaries' bonus, κ·B = %s", e.margin(e.CanaryPPM, million, e.Bonus))
	case p.MinBond < n*e.Miss:
		return fmt.Errorf("genesis: min_bond %s is less than the %s that %d seats can lose in one round", p.MinBond, n*e.Miss, n)
	}
	return nil
}

// margin is a·b·x for two shares in parts per million, rounded down.
func (e Economics) margin(a, b uint64, x task.Amount) task.Amount {
	once, _ := x.MulDiv(a*b, million*million)
	return once
}

// Cap is the most that a task of so many seats may put at stake beyond its
// committee's fee: half of what a committee that lies together loses, and no
// more than the least executor loses for bad evidence (spec §10.1).
func (p Params) Cap(seats uint32) task.Amount {
	if p.CanaryPPM == 0 {
		return ^task.Amount(0)
	}
	executor, _ := p.MinBond.MulDiv(p.BadEvidencePPM, million)
	return min(task.Amount(seats)*p.Miss/2, executor)
}
