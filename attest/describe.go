package attest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
)

// Row is one thing that evidence says, beside what was expected.
type Row struct {
	What     string `json:"what"`
	Expected string `json:"expected"` // "" if nothing was
	Actual   string `json:"actual"`
	Holds    *bool  `json:"holds"` // nil if there was nothing to hold it against
}

// Describe puts evidence into words for people, check by check, each on its
// own: where [Appraise] stops at the first fault, Describe names all. Without
// want.Context.Chain nothing is known of the executor, and only the quote's own
// signatures and certificates are held against the reference.
func Describe(e Evidence, want Expected, policy task.Policy, ref Reference) []Row {
	known := want.Context.Chain != ""
	var rows []Row
	say := func(what, expected, actual string, holds bool) {
		r := Row{What: what, Expected: expected, Actual: actual, Holds: &holds}
		if expected == "" {
			r.Holds = nil
		}
		rows = append(rows, r)
	}
	given := func(cond bool, s string) string {
		if cond {
			return s
		}
		return ""
	}
	tier, understood := e.Kind.Tier()
	say("kind", given(known, want.Kind), string(e.Kind), understood && string(e.Kind) == want.Kind)
	var accepted []string
	for _, k := range []Kind{Simulated, TPM, SEVSNP, TDX, Nitro} {
		if ref.accepts(k) && (len(policy.Kinds) == 0 || slices.Contains(policy.Kinds, string(k))) {
			accepted = append(accepted, string(k))
		}
	}
	say("accepted kinds", given(known, orNone(accepted)), string(e.Kind), slices.Contains(accepted, string(e.Kind)))
	say("round", given(known, want.Context.Round.String()), e.Round.String(), e.Round == want.Context.Round)
	c, err := e.Claims(want, ref)
	if err != nil {
		say("signatures and certificates", "hold", err.Error(), false)
		c = Claims{Tier: tier}
	} else {
		say("signatures and certificates", "hold", "hold", true)
		say("tier", given(known, policy.MinTier.String()+" or better"), c.Tier.String(), c.Tier >= policy.MinTier)
		say("chip", given(known, want.Chip.String()), c.Chip.String(), c.Chip == want.Chip)
		say("debug mode", "off", onOff(c.Debug), !c.Debug)
		say("TCB", given(policy.MinTCB > 0, fmt.Sprintf("%#x or later", policy.MinTCB)), fmt.Sprintf("%#x", c.TCB), kinds[e.Kind].reaches(c.TCB, policy.MinTCB))
		list := policy.Measurements
		if len(list) == 0 {
			list = ref.Measurements
		}
		var names []string
		for _, m := range list {
			names = append(names, m.String())
		}
		say("measurement", given(known, orNone(names)), c.Measurement.String(), slices.Contains(list, c.Measurement))
	}
	say("sealing key", fmt.Sprintf("%d bytes", sealKeySize), fmt.Sprintf("%d bytes", len(e.Keys.Seal)), len(e.Keys.Seal) == sealKeySize)
	if want.Keys != nil {
		say("enclave's keys", "those of the pre-run evidence", "signing key "+e.Keys.Sign.Short(), want.Keys.Equal(e.Keys))
	} else {
		say("enclave's keys", "", "signing key "+e.Keys.Sign.Short(), true)
	}
	if want.Boots != nil && err == nil {
		say("starts of the machine", boots(*want.Boots), boots(c.Boots), *want.Boots == c.Boots)
	}
	say("writable state", EmptyState.String(), e.State.String(), e.State == EmptyState)
	if known {
		answered := 0
		for _, n := range want.Nonces {
			if slices.Contains(e.Nonces, n) {
				answered++
			}
		}
		say("nonces", fmt.Sprintf("all %d that were asked", len(want.Nonces)), fmt.Sprintf("%d of them, %d in all", answered, len(e.Nonces)), answered == len(want.Nonces))
		data := ReportData(want.Context, e.Keys, e.State, NonceRoot(e.Nonces))
		say("report data", data.String(), c.ReportData.String(), err == nil && c.ReportData == data)
	} else {
		say("nonces", "", fmt.Sprint(len(e.Nonces)), true)
		say("report data", "", c.ReportData.String(), true)
	}
	return rows
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func boots(n uint64) string { return fmt.Sprintf("%d, resumed %d times", n>>32, uint32(n)) }
