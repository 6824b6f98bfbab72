package ledger

import (
	"fmt"

	"github.com/prytany/prytany/task"
)

// Economics are the numbers that make honest work the best that a verifier
// can do (spec §10.6). Amounts are for one seat, so that splitting a stake over
// many nodes changes nothing.
type Economics struct {
	CheckCost       task.Amount `cbor:"21,keyasint" json:"check_cost"`        // c: what one appraisal costs a verifier, at most
	DetectPPM       uint64      `cbor:"22,keyasint" json:"detect_ppm,string"` // d: how surely an appraisal finds a fault
	FaultPPM        uint64      `cbor:"23,keyasint" json:"fault_ppm,string"`  // φ: the highest rate of bad enclaves at which honesty must still pay
	SeatFee         task.Amount `cbor:"24,keyasint" json:"seat_fee"`          // w: the least committee fee, for each expected seat
	WrongPick       task.Amount `cbor:"25,keyasint" json:"wrong_pick"`        // P_w: for naming the place that is not good
	Miss            task.Amount `cbor:"26,keyasint" json:"miss"`              // P_miss: the same where the round was decided by it and the enclave was bad
	FalseAlarm      task.Amount `cbor:"27,keyasint" json:"false_alarm"`
	NoReveal        task.Amount `cbor:"28,keyasint" json:"no_reveal"`
	BadEvidencePPM  uint64      `cbor:"29,keyasint" json:"bad_evidence_ppm,string"` // of an executor's bond, for a pair that is not what it must be
	EquivocationPPM uint64      `cbor:"30,keyasint" json:"equivocation_ppm,string"` // of a bond, for two words that exclude each other
	JailMisses      uint64      `cbor:"31,keyasint" json:"jail_misses,string"`      // the count at which a node is sent away
	JailBlocks      uint64      `cbor:"32,keyasint" json:"jail_blocks,string"`      // before its operator may bond it again
	DisputeBlocks   uint64      `cbor:"33,keyasint" json:"dispute_blocks,string"`   // after the settlement, for accusations
	AccusationBond  task.Amount `cbor:"34,keyasint" json:"accusation_bond"`         // burned if the accusation proves nothing
	Committee       uint32      `cbor:"35,keyasint" json:"committee"`               // n: the seats of a usual committee
	Absent          task.Amount `cbor:"38,keyasint" json:"absent"`                  // A: for no evidence in time
	Silence         task.Amount `cbor:"39,keyasint" json:"silence"`                 // S: for silence after the evidence was found good
}

// Default are the numbers of spec §10.6, in units of the cost of one check.
func Default(cost task.Amount) Economics {
	return Economics{
		CheckCost: cost, DetectPPM: 990_000, FaultPPM: 800_000,
		SeatFee: 4 * cost, WrongPick: 10 * cost, Miss: 50 * cost, FalseAlarm: 20 * cost, NoReveal: 10 * cost,
		BadEvidencePPM: 100_000, EquivocationPPM: 100_000, JailMisses: 3 * wrongWord, JailBlocks: 4000, DisputeBlocks: 4000,
		AccusationBond: 50 * cost, Committee: task.DefaultSeats, Absent: 10 * cost, Silence: 100 * cost,
	}
}

// check holds the inequalities of spec §10.6 with the factor 2 that covers what
// the model leaves out.
func (e Economics) check(p Params) error {
	for _, share := range []uint64{e.DetectPPM, e.FaultPPM, e.BadEvidencePPM, e.EquivocationPPM} {
		if share > million {
			return fmt.Errorf("genesis: a share is over a million parts per million")
		}
	}
	// Small enough that no product below wraps.
	for _, a := range []task.Amount{e.CheckCost, e.SeatFee, e.WrongPick, e.Miss, e.FalseAlarm, e.NoReveal} {
		if a > 1<<40 {
			return fmt.Errorf("genesis: an amount for one seat is over 2^40 base units")
		}
	}
	// e: a look misses the fault of a decoy, and half of the looks are at the decoy.
	wrong := (million - e.DetectPPM) / 2
	look := 2 * e.CheckCost
	switch n := task.Amount(e.Committee); {
	case e.Absent == 0 || e.Silence < e.Absent:
		return fmt.Errorf("genesis: absent must cost something, and silence at least as much: or evidence would be shown only to be silent after it (spec §10.6)")
	case e.Silence < p.silentRent():
		return fmt.Errorf("genesis: silence must cost at least %s, the rent of a view on a chain that is nearly full: or silence would cost others more than who is silent (spec §10.6)", p.silentRent())
	case p.MinBond < e.Silence:
		return fmt.Errorf("genesis: min_bond %s is less than the %s that a silent executor loses", p.MinBond, e.Silence)
	case n == 0 || n > task.MaxSeats || e.JailMisses <= wrongWord || e.DisputeBlocks == 0 || e.DisputeBlocks > 1<<40 || e.JailBlocks > 1<<40:
		return fmt.Errorf("genesis: committee, jail_misses (over %d), jail_blocks or dispute_blocks is out of range", wrongWord)
	case margin(million/2-wrong, e.SeatFee/2+e.WrongPick) < look:
		return fmt.Errorf("genesis: guessing pays: (½−e)(w/2 + wrong_pick) must be at least 2c (spec §10.6)")
	case margin(million-e.FaultPPM, e.SeatFee/2+e.FalseAlarm) < look+margin(e.FaultPPM, margin(million-e.DetectPPM, e.Miss)):
		return fmt.Errorf("genesis: crying FAULT always pays: (1−φ)(w/2 + false_alarm) must be at least 2c + φ(1−d)·miss (spec §10.6)")
	case margin(million-wrong, e.SeatFee) < look+margin(wrong, e.WrongPick):
		return fmt.Errorf("genesis: sleeping pays: (1−e)w must be at least 2c + e·wrong_pick (spec §10.6)")
	case e.NoReveal < e.WrongPick:
		return fmt.Errorf("genesis: no_reveal must be at least wrong_pick: or silence would be the way out of a lie")
	case e.Miss < e.WrongPick:
		return fmt.Errorf("genesis: miss must be at least wrong_pick: or a lie that decides would be the cheaper one")
	case p.MinBond < n*e.Miss:
		return fmt.Errorf("genesis: min_bond %s is less than the %s that %d seats can lose in one round", p.MinBond, n*e.Miss, n)
	}
	return nil
}

// margin is a share of x in parts per million, rounded down.
func margin(ppm uint64, x task.Amount) task.Amount {
	part, _ := x.MulDiv(ppm, million)
	return part
}

// Cap is the most that a task of so many seats may put at stake beyond its
// committee's fee: half of what a committee that lies together loses, and no
// more than the least executor loses for bad evidence (spec §10.1).
func (p Params) Cap(seats uint32) task.Amount {
	executor, _ := p.MinBond.MulDiv(p.BadEvidencePPM, million)
	return min(task.Amount(seats)*p.Miss/2, executor)
}
