package attest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-sev-guest/abi"
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
	var d description
	d.row("round", given(known, want.Context.Round.String()), e.Round.String(), e.Round == want.Context.Round)
	c, err := d.quote(e, want, policy, ref)
	d.row("sealing key", "", e.Keys.Seal.String(), true)
	if want.Keys != nil {
		d.row("enclave's keys", "those of the pre-run evidence", "signing key "+e.Keys.Sign.Short(), *want.Keys == e.Keys)
	} else {
		d.row("enclave's keys", "", "signing key "+e.Keys.Sign.Short(), true)
	}
	if want.Boots != nil && err == nil {
		d.row("starts of the machine", boots(*want.Boots), boots(c.Boots), *want.Boots == c.Boots)
	}
	d.row("writable state", EmptyState.String(), e.State.String(), e.State == EmptyState)
	if want.OCI || !e.Runtime.IsZero() {
		runtimes, actual := "none", "none"
		if want.OCI {
			runtimes = hashes(ref.Runtimes)
		}
		if !e.Runtime.IsZero() {
			actual = e.Runtime.String()
		}
		fits := want.OCI && slices.Contains(ref.Runtimes, e.Runtime) && (want.Runtime == nil || *want.Runtime == e.Runtime)
		d.row("container runtime", given(known, runtimes), actual, fits)
	}
	if known {
		d.row("nonce", want.Nonce.String(), e.Nonce.String(), e.Nonce == want.Nonce)
		data := ReportData(want.Context, e.Keys, e.State, e.Nonce, e.Runtime)
		d.row("report data", data.String(), c.ReportData.String(), err == nil && c.ReportData == data)
	} else {
		d.row("nonce", "", e.Nonce.String(), true)
		d.row("report data", "", c.ReportData.String(), true)
	}
	return append(d.rows, says(e.Kind, e.Quote)...)
}

type description struct{ rows []Row }

// row adds one; without anything expected nothing can fail to hold.
func (d *description) row(what, expected, actual string, holds bool) {
	r := Row{What: what, Expected: expected, Actual: actual, Holds: &holds}
	if expected == "" {
		r.Holds = nil
	}
	d.rows = append(d.rows, r)
}

// quote adds what holds for a quote of any kind.
func (d *description) quote(e Evidence, want Expected, policy task.Policy, ref Reference) (Claims, error) {
	known := want.Context.Chain != ""
	tier, understood := e.Kind.Tier()
	d.row("kind", given(known, want.Kind), string(e.Kind), understood && string(e.Kind) == want.Kind)
	var accepted []string
	for _, k := range []Kind{Simulated, TPM, SEVSNP, TDX, Nitro} {
		if ref.accepts(k) && (len(policy.Kinds) == 0 || slices.Contains(policy.Kinds, string(k))) {
			accepted = append(accepted, string(k))
		}
	}
	if known {
		d.row("accepted kinds", orNone(accepted), string(e.Kind), slices.Contains(accepted, string(e.Kind)))
	}
	c, err := e.Claims(want, ref)
	if err != nil {
		d.row("signatures and certificates", "hold", err.Error(), false)
		return Claims{Tier: tier}, err
	}
	d.row("signatures and certificates", "hold", "hold", true)
	d.row("tier", given(known, policy.MinTier.String()+" or better"), c.Tier.String(), c.Tier >= policy.MinTier)
	d.row("chip", given(known, want.Chip.String()), c.Chip.String(), c.Chip == want.Chip)
	d.row("debug mode", "off", onOff(c.Debug), !c.Debug)
	d.row("TCB", given(policy.MinTCB > 0, fmt.Sprintf("%#x or later", policy.MinTCB)), fmt.Sprintf("%#x", c.TCB), kinds[e.Kind].reaches(c.TCB, policy.MinTCB))
	list := programs(want, policy, ref)
	d.row("measurement", given(known, hashes(list)), c.Measurement.String(), slices.Contains(list, c.Measurement))
	return c, nil
}

func given(cond bool, s string) string {
	if cond {
		return s
	}
	return ""
}

func hashes(list []task.Hash) string {
	var names []string
	for _, m := range list {
		names = append(names, m.String())
	}
	return orNone(names)
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

// says is what a quote holds in the names and the form of its vendor, whether
// or not its signatures hold; nothing if it cannot be read.
func says(k Kind, quote []byte) []Row {
	var d description
	say := func(what, format string, args ...any) { d.row(what, "", fmt.Sprintf(format, args...), true) }
	switch k {
	case SEVSNP:
		q, err := task.Decode[SNPQuote](quote, task.MaxEvidence)
		if err != nil || len(q.Report) != abi.ReportSize {
			break
		}
		r, err := abi.ReportToProto(q.Report)
		if err != nil {
			break
		}
		say("MEASUREMENT", "%x", r.Measurement)
		say("REPORT_DATA", "%x", r.ReportData)
		say("HOST_DATA", "%x", r.HostData)
		say("POLICY", "%#x", r.Policy)
		say("VMPL", "%d", r.Vmpl)
		say("REPORTED_TCB", "%#016x", r.ReportedTcb)
		say("CHIP_ID", "%x", r.ChipId)
	case TDX:
		q, err := task.Decode[TDXQuote](quote, task.MaxEvidence)
		if err != nil {
			break
		}
		p, err := parseTDX(q.Quote)
		if err != nil {
			break
		}
		say("quote", "version %d", p.version)
		say("MRTD", "%x", p.report.measured())
		for i := range 4 {
			say(fmt.Sprintf("RTMR%d", i), "%x", p.report.register(i))
		}
		say("REPORTDATA", "%x", p.report.data())
		say("TDATTRIBUTES", "%x", p.report.attributes())
		say("TEE_TCB_SVN", "%x", p.report.svn())
		if p.report.is15() {
			say("TEE_TCB_SVN_2", "%x", p.report.laterSVN())
			say("MRSERVICETD", "%x", p.report.serviceTDs())
		}
		say("FMSPC", "%x", p.ext.fmspc)
	case Nitro:
		q, err := task.Decode[NitroQuote](quote, task.MaxEvidence)
		if err != nil {
			break
		}
		_, d, err := parseNitro(q.Document)
		if err != nil {
			break
		}
		for _, i := range slices.Sorted(maps.Keys(d.PCRs)) {
			if !zero(d.PCRs[i]) || i < 3 {
				say(fmt.Sprintf("PCR%d", i), "%x", d.PCRs[i])
			}
		}
		for _, f := range []struct {
			name  string
			value []byte
		}{{"user_data", d.UserData}, {"nonce", d.Nonce}, {"public_key", d.PublicKey}} {
			if len(f.value) > 0 {
				say(f.name, "%x", f.value)
			}
		}
		say("module_id", "%q", d.ModuleID)
		say("timestamp", "%s", utc(int64(d.Timestamp/1000)))
	}
	return d.rows
}

// Defaults are the rules of a chain that takes every kind of hardware and whose genesis
// changes nothing else: no simulated evidence, the vendors' own roots, Intel's best TCB
// status alone, and no processors of Milan.
func Defaults() Reference { return Reference{Kinds: []Kind{TPM, SEVSNP, TDX, Nitro}} }

// ByDefault says what a chain with [Defaults] refuses of a quote, whichever task and node
// it is for: nothing if nothing. Of a quote that cannot be judged, for certificates are
// missing, it goes by what the quote says of itself. now is in Unix seconds.
func ByDefault(k Kind, quote []byte, judged bool, now int64) (why []*task.Error) {
	if judged {
		var refused *task.Error
		_, err := Evidence{Kind: k, Quote: quote}.Claims(Expected{Now: now}, Defaults())
		switch {
		case k == Simulated:
			refused = task.Refuse(SimulatedRefused, "it is made by ordinary software and protects nothing")
		case errors.As(err, &refused) && k == TPM && refused.Code == UntrustedChain:
			refused = task.Refuse(UntrustedChain, "no maker of TPMs is trusted until a genesis names its root, and activators")
		}
		if refused != nil {
			why = append(why, refused)
		}
	}
	for _, doubt := range doubts(k, quote) {
		if !slices.ContainsFunc(why, func(o *task.Error) bool { return o.Code == doubt.Code }) {
			why = append(why, doubt)
		}
	}
	return why
}

// doubts are what a quote says of itself that every chain refuses, or one with [Defaults].
func doubts(k Kind, quote []byte) (all []*task.Error) {
	doubt := func(is bool, code, what string, args ...any) {
		if is {
			all = append(all, task.Refuse(code, what, args...))
		}
	}
	const debug = "the enclave runs in debug mode: its owner can read it"
	switch k {
	case SEVSNP:
		q, err := task.Decode[SNPQuote](quote, task.MaxEvidence)
		if err != nil || len(q.Report) != abi.ReportSize {
			break
		}
		r, err := abi.ReportToProto(q.Report)
		if err != nil {
			break
		}
		if e := nameless(q.Report); e != nil {
			all = append(all, e)
		}
		product := snpProduct(q.Report)
		if c, err := readCertificate(q.VCEK); product == snpUnknown && err == nil {
			product = strings.TrimPrefix(c.issuer.common, "SEV-")
		}
		doubt(product != snpUnknown && !slices.Contains(defaultProducts, product), WrongProduct,
			"a %s processor; a chain takes %s unless its genesis says otherwise",
			product, strings.Join(defaultProducts, " and "))
		p, err := abi.ParseSnpPolicy(r.Policy)
		doubt(err == nil && p.Debug, DebugEnclave, debug)
		doubt(err == nil && p.MigrateMA, UnsafePolicy, "the guest's policy lets a migration agent move it")
		doubt(r.Vmpl != 0, UnsafePolicy, "the report comes from privilege level %d, not from the most privileged one", r.Vmpl)
	case TDX:
		q, err := task.Decode[TDXQuote](quote, task.MaxEvidence)
		if err != nil {
			break
		}
		p, err := parseTDX(q.Quote)
		if err != nil {
			break
		}
		doubt(p.report.attributes()[0] != 0, DebugEnclave, debug)
		unsafe := p.report.unsafe()
		doubt(unsafe != "", UnsafePolicy, "%s", unsafe)
	case Nitro:
		q, err := task.Decode[NitroQuote](quote, task.MaxEvidence)
		if err != nil {
			break
		}
		_, d, err := parseNitro(q.Document)
		doubt(err == nil && zero(d.PCRs[0]), DebugEnclave, debug)
	}
	return all
}
