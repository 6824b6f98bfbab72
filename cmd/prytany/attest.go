package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) attestCommand() *cobra.Command {
	c := &cobra.Command{Use: "attest", Short: "Look at evidence of enclaves"}
	c.AddCommand(a.attestShowCommand())
	return c
}

func (a *app) attestShowCommand() *cobra.Command {
	var of, at string
	var beside []string
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "Say in words what evidence shows, and what was expected of it",
		Long: "FILE is one of\n" +
			"  a receipt: the evidence of each round is held against the task and the genesis in it;\n" +
			"  evidence alone: signatures and certificates are judged, by the vendors' roots, and all else if --task\n" +
			"  gives the receipt of its task;\n" +
			"  an SEV-SNP report, a TDX quote or a Nitro document as the vendor's tools and the clouds' services write\n" +
			"  it, in hex, base64, JSON or Azure's HCL report, too: signatures and certificates, with what --with adds\n" +
			"  to it. What is missing is named, with the place to get it, and what a chain would refuse by default.\n" +
			"Exit code 0: all of it holds. 1: something does not. 2: it cannot be read, or not judged for what is missing.",
		Args: exactly(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.attestShow(args[0], of, at, beside) },
	}
	c.Flags().StringVar(&of, "task", "", "receipt of the task that the evidence is for")
	c.Flags().StringVar(&at, "at", "", "judge certificates at this time, such as 2026-05-31T12:00:00Z (default: now; in a receipt, its chain's)")
	c.Flags().StringArrayVar(&beside, "with", nil, "file beside a vendor's own, as often as needed: certificates (DER, PEM, AMD's table, Azure's JSON), Intel's collateral")
	return c
}

// incomplete is the reason for evidence that nobody can judge.
const incomplete = "incomplete"

// described is evidence in words.
type described struct {
	Round     string           `json:"round,omitempty"` // none if it was made for no task
	Evidence  task.Hash        `json:"evidence"`
	Appraisal attest.Appraisal `json:"appraisal"`
	Rows      []attest.Row     `json:"rows"`
	Decoy     bool             `json:"decoy"`             // faulty on purpose
	Opened    []string         `json:"opened,omitempty"`  // wrappings that were taken off, from outside in
	Default   *defaults        `json:"default,omitempty"` // what a chain with the default rules says; none of a case, which has its own
	Missing   []string         `json:"missing,omitempty"` // what must come beside it, and from where
	Unused    []string         `json:"unused,omitempty"`  // files beside it that are nothing to it
}

// defaults is what a chain with the default rules says of evidence, whatever it is for.
type defaults struct {
	Judged  bool          `json:"judged"` // else by what it says of itself, for certificates are missing
	Refuses []*task.Error `json:"refuses"`
}

func (a *app) attestShow(path, of, at string, beside []string) error {
	raw, err := disk.ReadPiped(path, receipt.MaxSize)
	if err != nil {
		return task.Refuse("could-not", "%v", err)
	}
	var list []described
	if r, bad := receipt.Parse(raw); bad == nil {
		if of != "" || at != "" || len(beside) > 0 {
			return usage("%s is a receipt, which says itself for which task and when; --task, --at and --with go with evidence alone", path)
		}
		list = describeCase(&r.Case, r.Reference)
	} else {
		now, err := timeOf(at)
		if err != nil {
			return err
		}
		var d described
		if ev, bad := attest.ParseEvidence(raw); bad != nil {
			d, err = describeVendors(raw, of, beside, now)
		} else if len(beside) > 0 {
			err = usage("%s has its certificates in it; --with goes with a vendor's own file", path)
		} else {
			d, err = describeAlone(ev, of, now)
		}
		if err != nil {
			return err
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return task.Refuse("could-not", "%s holds no evidence", path)
	}
	var text strings.Builder
	code := exitCode(0)
	for _, d := range list {
		d.write(&text)
		switch {
		case d.Appraisal.Reason == incomplete:
			code = 2
		case d.Appraisal.Verdict != task.OK && !d.Decoy:
			code = max(code, 1)
		}
	}
	if err := a.print(list, text.String()); err != nil {
		return err
	}
	if code != 0 {
		return code
	}
	return nil
}

// describeCase is the evidence of each round of a case.
func describeCase(c *ledger.Case, ref attest.Reference) (list []described) {
	if c.Member(c.View.Executor) == nil {
		return nil
	}
	add := func(r task.Round, evidence []byte, decoy bool) {
		if ev, err := attest.ParseEvidence(evidence); err == nil {
			d := describe(ev, c.Wanted(r), c.Task.Policy, ref)
			d.Decoy = decoy
			list = append(list, d)
		}
	}
	for i, evidence := range c.View.Pre.Evidence { // the decoy is there only if somebody doubted
		add(task.PreRun, evidence, c.View.Pre.Progress >= ledger.Opened && i != int(c.View.Pre.Place))
	}
	add(task.PostRun, c.View.Exit, false)
	return list
}

// anybodys are the rules for evidence of which nothing else is known: every
// kind, the vendors' own roots.
func anybodys() attest.Reference {
	return attest.Reference{
		AllowSimulated: true, Kinds: []attest.Kind{attest.TPM, attest.SEVSNP, attest.TDX, attest.Nitro},
		SNP: attest.SNPReference{Products: []string{"Milan", "Genoa", "Turin"}},
	}
}

// timeOf is when to judge certificates, in Unix seconds.
func timeOf(at string) (int64, error) {
	if at == "" {
		return time.Now().Unix(), nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return 0, usage("--at: %v", err)
	}
	return t.Unix(), nil
}

func describeAlone(ev attest.Evidence, of string, now int64) (d described, err error) {
	if of == "" {
		d = described{Round: ev.Round.String(), Evidence: ev.Digest(), Rows: attest.Describe(ev, attest.Expected{Now: now}, task.Policy{}, anybodys())}
		d.judge(ev, now)
		d.Default = byDefault(ev.Kind, ev.Quote, true, now)
		return d, nil
	}
	file, err := disk.ReadFile(of, receipt.MaxSize)
	if err != nil {
		return d, task.Refuse("could-not", "%v", err)
	}
	r, err := receipt.Parse(file)
	if err != nil {
		return d, err
	}
	if r.Case.Member(r.Case.View.Executor) == nil {
		return d, task.Refuse("could-not", "the receipt names no executor")
	}
	return describe(ev, r.Case.Wanted(ev.Round), r.Case.Task.Policy, r.Reference), nil
}

// maxBeside bounds a file beside a vendor's own, in bytes.
const maxBeside = 1 << 20

// describeVendors is of a file that one of the vendors' tools has written.
func describeVendors(raw []byte, of string, beside []string, now int64) (d described, err error) {
	var with [][]byte
	for _, path := range beside {
		b, err := disk.ReadPiped(path, maxBeside)
		if err != nil {
			return d, task.Refuse("could-not", "%v", err)
		}
		with = append(with, b)
	}
	v, err := attest.FromVendor(raw, with...)
	if err != nil {
		return d, err
	}
	if of != "" {
		return d, usage("--task goes with evidence as a node shows it; this is a vendor's own file")
	}
	d = described{Evidence: sha256.Sum256(raw), Opened: v.Opened, Missing: v.Missing, Rows: v.Describe(now, anybodys())}
	d.Default = byDefault(v.Kind, v.Quote, v.Refused == nil && len(v.Missing) == 0, now)
	for _, i := range v.Unused {
		d.Unused = append(d.Unused, beside[i])
	}
	if v.Refused != nil {
		d.Appraisal = attest.Appraisal{Verdict: task.Fault, Reason: v.Refused.Code, Detail: v.Refused.What}
		return d, nil
	}
	if len(v.Missing) > 0 {
		d.Appraisal = attest.Appraisal{Verdict: task.Fault, Reason: incomplete, Detail: "it cannot be judged without what is named below (--with)"}
		return d, nil
	}
	d.judge(attest.Evidence{Kind: v.Kind, Quote: v.Quote}, now)
	if d.Appraisal.Reason == attest.StaleQuote {
		d.Appraisal.Detail += " (--at TIME judges it at another)"
	}
	return d, nil
}

func byDefault(k attest.Kind, quote []byte, judged bool, now int64) *defaults {
	return &defaults{Judged: judged, Refuses: attest.ByDefault(k, quote, judged, now)}
}

// write says it in words.
func (d *defaults) write(text *strings.Builder) {
	for _, r := range d.Refuses {
		fmt.Fprintf(text, "  a chain with the default rules refuses it: %s: %s\n", r.Code, r.What)
	}
	switch {
	case len(d.Refuses) > 0:
	case d.Judged:
		text.WriteString("  a chain with the default rules takes it, if it has this program among its measurements\n")
	default:
		text.WriteString("  nothing that it says of itself is refused by a chain with the default rules\n")
	}
}

// judge is for evidence of which nothing was expected: what its own signatures
// say is all there is.
func (d *described) judge(ev attest.Evidence, now int64) {
	c, err := ev.Claims(attest.Expected{Now: now}, anybodys())
	var e *task.Error
	switch {
	case errors.As(err, &e):
		d.Appraisal = attest.Appraisal{Verdict: task.Fault, Reason: e.Code, Detail: e.What}
	case slices.ContainsFunc(d.Rows, func(r attest.Row) bool { return r.Holds != nil && !*r.Holds }):
		d.Appraisal = attest.Appraisal{Verdict: task.Fault, Reason: "not-as-expected", Detail: "the signatures hold; what is marked does not", Tier: c.Tier, Claims: c}
	default:
		d.Appraisal = attest.Appraisal{Verdict: task.OK, Tier: c.Tier, Claims: c}
	}
}

func describe(ev attest.Evidence, want attest.Expected, p task.Policy, ref attest.Reference) described {
	return described{
		Round: ev.Round.String(), Evidence: ev.Digest(),
		Appraisal: attest.Appraise(ev, want, p, ref), Rows: attest.Describe(ev, want, p, ref),
	}
}

func (d described) write(text *strings.Builder) {
	what := "vendor's"
	if d.Round != "" {
		what = d.Round
	}
	verdict := d.Appraisal.Verdict.String()
	if d.Appraisal.Reason == incomplete {
		verdict = "not judged"
	}
	fmt.Fprintf(text, "%s evidence %s: %s", what, d.Evidence.Short(), verdict)
	if d.Appraisal.Verdict == task.Fault {
		fmt.Fprintf(text, ", %s: %s", d.Appraisal.Reason, d.Appraisal.Detail)
	}
	if d.Decoy {
		text.WriteString(" (a decoy: faulty on purpose)")
	}
	text.WriteString("\n")
	for _, r := range d.Rows {
		mark := "·"
		if r.Holds != nil {
			mark = map[bool]string{true: "✓", false: "✗"}[*r.Holds]
		}
		fmt.Fprintf(text, "  %s %-28s %s\n", mark, r.What, r.Actual)
		if r.Expected != "" && r.Expected != r.Actual {
			fmt.Fprintf(text, "    %-28s expected: %s\n", "", r.Expected)
		}
	}
	if len(d.Opened) > 0 {
		fmt.Fprintf(text, "  taken out of: %s\n", strings.Join(d.Opened, ", then "))
	}
	if d.Default != nil {
		d.Default.write(text)
	}
	for _, m := range d.Missing {
		fmt.Fprintf(text, "  missing: %s\n", m)
	}
	for _, u := range d.Unused {
		fmt.Fprintf(text, "  not used: %s is nothing to it\n", u)
	}
	text.WriteString("\n")
}
