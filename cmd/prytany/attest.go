package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/attest"
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
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "Say in words what evidence shows, and what was expected of it",
		Long: "FILE is a receipt, whose evidence of each round is held against the task and the genesis in it, or\n" +
			"evidence alone. Of the latter only signatures and certificates can be judged, by the vendors' roots,\n" +
			"unless --task gives the receipt of its task.\nExit code 0: all of it holds. 1: something does not. 2: it cannot be read.",
		Args: exactly(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.attestShow(args[0], of, at) },
	}
	c.Flags().StringVar(&of, "task", "", "receipt of the task that the evidence is for")
	c.Flags().StringVar(&at, "at", "", "judge certificates at this time, such as 2026-05-31T12:00:00Z (default: now; in a receipt, its chain's)")
	return c
}

// described is evidence in words.
type described struct {
	Round     string           `json:"round"`
	Evidence  task.Hash        `json:"evidence"`
	Appraisal attest.Appraisal `json:"appraisal"`
	Rows      []attest.Row     `json:"rows"`
	Canary    bool             `json:"canary"` // faulty on purpose
}

func (a *app) attestShow(path, of, at string) error {
	raw, err := readFile(path, receipt.MaxSize)
	if err != nil {
		return task.Refuse("could-not", "%v", err)
	}
	var list []described
	if r, bad := receipt.Parse(raw); bad == nil {
		if of != "" || at != "" {
			return usage("%s is a receipt, which says itself for which task and when; --task and --at go with evidence alone", path)
		}
		list = describeCase(&r.Case)
	} else if list, err = describeAlone(raw, of, at); err != nil {
		return err
	}
	if len(list) == 0 {
		return task.Refuse("could-not", "%s holds no evidence", path)
	}
	var text strings.Builder
	good := true
	for _, d := range list {
		d.write(&text)
		good = good && (d.Appraisal.Verdict == task.OK || d.Canary)
	}
	if err := a.print(list, text.String()); err != nil {
		return err
	}
	if !good {
		return exitCode(1)
	}
	return nil
}

// describeCase is the evidence of each round of a case.
func describeCase(c *ledger.Case) (list []described) {
	if c.Member(c.View.Executor) == nil {
		return nil
	}
	rounds := []task.Round{c.PreRound(), task.PostRun}
	if c.View.Canary != nil { // what was shown first
		rounds = append([]task.Round{task.PreRun}, rounds...)
	}
	for _, r := range rounds {
		if ev, err := attest.ParseEvidence(c.Round(r).Evidence); err == nil {
			d := describe(ev, c.Wanted(r), c.Task.Policy, c.Params.Reference)
			d.Canary = c.View.Canary != nil && r == task.PreRun
			list = append(list, d)
		}
	}
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

func describeAlone(raw []byte, of, at string) ([]described, error) {
	ev, err := attest.ParseEvidence(raw)
	if err != nil {
		return nil, task.Refuse("could-not", "neither a receipt nor evidence: %v", err)
	}
	if of != "" {
		file, err := readFile(of, receipt.MaxSize)
		if err != nil {
			return nil, task.Refuse("could-not", "%v", err)
		}
		r, err := receipt.Parse(file)
		if err != nil {
			return nil, err
		}
		if r.Case.Member(r.Case.View.Executor) == nil {
			return nil, task.Refuse("could-not", "the receipt names no executor")
		}
		return []described{describe(ev, r.Case.Wanted(ev.Round), r.Case.Task.Policy, r.Case.Params.Reference)}, nil
	}
	want := attest.Expected{Now: time.Now().Unix()}
	if at != "" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return nil, usage("--at: %v", err)
		}
		want.Now = t.Unix()
	}
	d := describe(ev, want, task.Policy{}, anybodys())
	// Nothing was expected of it: what its own signatures say is all there is.
	if _, err := ev.Claims(want, anybodys()); err != nil {
		var e *task.Error
		errors.As(err, &e)
		d.Appraisal = attest.Appraisal{Verdict: task.Fault, Reason: e.Code, Detail: e.What}
	} else {
		c := d.Appraisal.Claims
		d.Appraisal = attest.Appraisal{Verdict: task.OK, Tier: c.Tier, Claims: c}
		if slices.ContainsFunc(d.Rows, func(r attest.Row) bool { return r.Holds != nil && !*r.Holds }) {
			d.Appraisal.Verdict, d.Appraisal.Reason, d.Appraisal.Detail = task.Fault, "not-as-expected", "the signatures hold; what is marked does not"
		}
	}
	return []described{d}, nil
}

func describe(ev attest.Evidence, want attest.Expected, p task.Policy, ref attest.Reference) described {
	return described{ev.Round.String(), ev.Digest(), attest.Appraise(ev, want, p, ref), attest.Describe(ev, want, p, ref), false}
}

func (d described) write(text *strings.Builder) {
	fmt.Fprintf(text, "%s evidence %s: %s", d.Round, d.Evidence.Short(), d.Appraisal.Verdict)
	if d.Appraisal.Verdict == task.Fault {
		fmt.Fprintf(text, ", %s: %s", d.Appraisal.Reason, d.Appraisal.Detail)
	}
	if d.Canary {
		text.WriteString(" (a canary: faulty on purpose)")
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
	text.WriteString("\n")
}
