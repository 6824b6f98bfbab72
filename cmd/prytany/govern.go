package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) chainCommand() *cobra.Command {
	c := &cobra.Command{Use: "chain", Short: "Show what a chain's validators have agreed on"}
	c.AddCommand(&cobra.Command{
		Use: "reference", Short: "Print the reference values in force, coming and going, and the log of changes", Args: none,
		Long: "Which programs, kinds of evidence, TCB floors, activators and container runtimes the chain accepts, since\n" +
			"which block, and by whose signatures. The chain's pinned validators have signed every line: the node that\n" +
			"answers is not believed.",
		RunE: func(c *cobra.Command, _ []string) error { return a.chainReference(c.Context()) },
	})
	return c
}

func (a *app) validatorCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "validator", Short: "Change the chain's reference values, as its validators",
		Long: "draft writes a change to a file. Each validator signs the file, on a machine that needs no network.\n" +
			"When more than two thirds of the power have signed, anyone submits it. change does all three at once,\n" +
			"for a chain with one validator.",
	}
	var o changeOptions
	terms := func(c *cobra.Command) {
		c.Flags().StringArrayVar(&o.add, "add", nil, "a value that shall come: LIST:VALUE, such as measurement:HEX or simulated-floor:9; may be repeated")
		c.Flags().StringArrayVar(&o.remove, "remove", nil, "a value that shall go; may be repeated")
		c.Flags().StringArrayVar(&o.keep, "keep", nil, "a value that shall not go after all; may be repeated")
		c.Flags().Uint64Var(&o.from, "from", 0, "block from which what is added is in force (default: twice the chain's notice from now)")
		c.Flags().Uint64Var(&o.until, "until", 0, "block from which what is removed is not (default: the notice after --from)")
	}
	draft := &cobra.Command{
		Use: "draft FILE", Short: "Write a change of reference values to a file, to be signed", Args: exactly(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error { return a.validatorDraft(c.Context(), args[0], o) },
	}
	terms(draft)
	var key string
	sign := &cobra.Command{
		Use: "sign FILE", Short: "Show a drafted change and sign it with a validator's key", Args: exactly(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.validatorSign(args[0], key) },
	}
	submit := &cobra.Command{
		Use: "submit FILE", Short: "Bring a signed change to the chain", Args: exactly(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error { return a.validatorSubmit(c.Context(), args[0]) },
	}
	change := &cobra.Command{
		Use: "change", Short: "Draft, sign and submit a change at once, as a chain's only validator", Args: none,
		RunE: func(c *cobra.Command, _ []string) error { return a.validatorChange(c.Context(), o, key) },
	}
	terms(change)
	for _, x := range []*cobra.Command{sign, change} {
		x.Flags().StringVar(&key, "key", "", "file of the validator's consensus key, 32 bytes (of a devnet: validator/consensus.key in its --dir)")
	}
	c.AddCommand(draft, sign, submit, change)
	return c
}

// changeOptions are what a person says of a change.
type changeOptions struct {
	add, remove, keep []string
	from, until       uint64
}

// drafted is a change on its way from hand to hand. Nothing in it is secret.
type drafted struct {
	Chain  string          `json:"chain"`
	Number uint64          `json:"number,string"`
	Terms  []attest.Term   `json:"terms"`
	Signed []task.Approval `json:"signed"`
}

func (d drafted) govern() task.Govern {
	return task.Govern{Number: d.Number, Change: task.Encode(attest.Change{Terms: d.Terms}), Signed: d.Signed}
}

// maxDraft bounds a draft's file, in bytes: roots are written in hex.
const maxDraft = 1 << 20

func readDraft(path string) (d drafted, err error) {
	raw, err := disk.ReadFile(path, maxDraft)
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	if err == nil {
		_, err = attest.ParseChange(d.govern().Change)
	}
	if err != nil {
		return d, task.Refuse("draft-malformed", "%s: %v", path, err).WithNext("prytany validator draft --help")
	}
	return d, nil
}

func (d drafted) write(path string) error {
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

func values(flag string, list []string) (all []attest.Value, err error) {
	for _, text := range list {
		var v attest.Value
		if err := v.UnmarshalText([]byte(text)); err != nil {
			return nil, usage("--%s: %v", flag, err)
		}
		all = append(all, v)
	}
	return all, nil
}

// draft makes a change of what a person says, by the register as it is.
func (a *app) draft(ctx context.Context, s *client.Session, o changeOptions) (d drafted, err error) {
	add, err := values("add", o.add)
	if err != nil {
		return d, err
	}
	remove, err := values("remove", o.remove)
	if err != nil {
		return d, err
	}
	keep, err := values("keep", o.keep)
	if err != nil {
		return d, err
	}
	if len(add)+len(remove)+len(keep) == 0 {
		return d, usage("a change adds, removes or keeps something").WithNext("prytany validator draft --help")
	}
	params, err := s.Node.Params(ctx)
	if err != nil {
		return d, err
	}
	register, height, err := s.Node.Values(ctx)
	if err != nil {
		return d, err
	}
	from, until := o.from, o.until
	if from == 0 {
		from = params.Earliest(params.Earliest(height)) // time to sign
	}
	if until == 0 {
		until = params.Earliest(from)
	}
	d = drafted{Chain: s.Chain, Number: register.Number + 1, Signed: []task.Approval{}}
	for _, v := range add {
		d.Terms = append(d.Terms, attest.Term{Value: v, From: from})
	}
	for _, v := range append(slices.Clone(remove), keep...) {
		i := slices.IndexFunc(register.Standing, func(x ledger.Standing) bool {
			return x.Value.Equal(v) && (x.Until == 0 || x.Until > height)
		})
		if i < 0 {
			return d, task.Refuse("no-value", "%s is not among the reference values of %s", v, s.Chain).WithNext("prytany chain reference")
		}
		t := attest.Term{Value: v, From: register.Standing[i].From}
		if t.Until = max(until, t.From); slices.ContainsFunc(keep, v.Equal) { // before it began: called off
			t.Until = 0
		}
		d.Terms = append(d.Terms, t)
	}
	next, err := register.Amend(height, params.NoticeBlocks, attest.Change{Terms: d.Terms})
	if err != nil {
		return d, err
	}
	_, err = attest.ParseChange(d.govern().Change)
	a.foresee(next, height)
	return d, err
}

// foresee says what a person should know before a change is signed.
func (a *app) foresee(v ledger.Values, height uint64) {
	for _, h := range v.Moments(height) {
		a.say("from block %d: %d values in force", h, len(v.At(h)))
	}
}

func (a *app) validatorDraft(ctx context.Context, path string, o changeOptions) error {
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	d, err := a.draft(ctx, s, o)
	if err != nil {
		return err
	}
	if err := d.write(path); err != nil {
		return err
	}
	return a.print(d, d.text()+"next: prytany validator sign "+task.ShellWord(path)+" --key FILE\n")
}

func (d drafted) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "change %d of chain %s\n", d.Number, visible(d.Chain))
	writeTerms(&b, d.Terms)
	return b.String()
}

func writeTerms(b *strings.Builder, terms []attest.Term) {
	for _, t := range terms {
		fmt.Fprintf(b, "  %s  %s\n", shown(t.Value), span(t))
	}
}

// span is when a value is in force.
func span(t attest.Term) string {
	from := "since the genesis"
	if t.From > 0 {
		from = fmt.Sprintf("from block %d", t.From)
	}
	switch {
	case t.Until == 0:
		return from
	case t.Until == t.From:
		return "called off"
	}
	return fmt.Sprintf("%s until block %d", from, t.Until)
}

// shown is a value for people: of a certificate the beginning is enough there.
func shown(v attest.Value) string {
	s := v.String()
	if len(s) > 96 {
		return s[:88] + "…"
	}
	return s
}

func (a *app) validatorSign(path, key string) error {
	d, err := readDraft(path)
	if err != nil {
		return err
	}
	if err := d.sign(key); err != nil {
		return err
	}
	if err := d.write(path); err != nil {
		return err
	}
	return a.print(d, d.text()+fmt.Sprintf("signed by %d validators\n", len(d.Signed)))
}

// sign adds a validator's signature, or makes it anew.
func (d *drafted) sign(path string) error {
	if path == "" {
		return usage("--key FILE names the validator's consensus key")
	}
	seed, err := disk.ReadFile(path, disk.MaxSecret)
	if err == nil && len(seed) != ed25519.SeedSize {
		err = fmt.Errorf("%s holds %d bytes, not %d", path, len(seed), ed25519.SeedSize)
	}
	if err != nil {
		return task.Refuse("key-malformed", "%v", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	mine := task.Approval{Validator: task.PublicKey(key), Signature: task.Sign(key, d.govern().Hash(d.Chain))}
	d.Signed = slices.DeleteFunc(d.Signed, func(x task.Approval) bool { return x.Validator == mine.Validator })
	d.Signed = append(d.Signed, mine)
	slices.SortFunc(d.Signed, func(x, y task.Approval) int { return slices.Compare(x.Validator[:], y.Validator[:]) })
	return nil
}

func (a *app) validatorSubmit(ctx context.Context, path string) error {
	d, err := readDraft(path)
	if err != nil {
		return err
	}
	return a.submitChange(ctx, func(*client.Session) (drafted, error) { return d, nil })
}

func (a *app) validatorChange(ctx context.Context, o changeOptions, key string) error {
	return a.submitChange(ctx, func(s *client.Session) (drafted, error) {
		d, err := a.draft(ctx, s, o)
		if err == nil {
			err = d.sign(key)
		}
		return d, err
	})
}

// submitChange brings a change to the chain, paid for by this user.
func (a *app) submitChange(ctx context.Context, get func(*client.Session) (drafted, error)) error {
	keys, s, err := a.signIn(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	d, err := get(s)
	if err != nil {
		return err
	}
	if d.Chain != s.Chain {
		return task.Refuse("change-elsewhere", "the change is for chain %s, this is %s", visible(d.Chain), s.Chain)
	}
	cl, err := a.openAlice(ctx, s, keys, nil)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := a.fund(ctx, cl); err != nil {
		return err
	}
	g := d.govern()
	r, err := s.Node.Client.Submit(ctx, keys.Account(), task.Body{Govern: &g})
	if err != nil {
		return err
	}
	a.say("change %d is on the chain, in block %d", d.Number, r.Height)
	return a.print(changeMade{d, r.Height}, d.text())
}

// logShown is how many of the last changes are proven and printed.
const logShown = 20

func (a *app) chainReference(ctx context.Context) error {
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	v, height, err := s.Node.Values(ctx)
	if err != nil {
		return err
	}
	var log []ledger.Amendment
	for n := v.Number - min(v.Number, logShown) + 1; n <= v.Number; n++ {
		c, err := s.Node.Amendment(ctx, n)
		if err != nil {
			return err
		}
		log = append(log, c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "chain %s, block %d: reference values after %d changes, as its validators have signed them\n", s.Chain, height, v.Number)
	for _, x := range v.Standing {
		fmt.Fprintf(&b, "  %-10s %s  %s\n", state(x.Term, height), shown(x.Value), standing(x, height))
	}
	for _, c := range log {
		fmt.Fprintf(&b, "change %d in block %d, signed with a power of %d of %d by %s\n", c.Number, c.Height, c.Power, c.Total, signers(c))
		writeTerms(&b, c.Change.Terms)
	}
	return a.print(chainValues{s.Chain, height, v.Number, v.Standing, log}, b.String())
}

// state is a value's in a word.
func state(t attest.Term, height uint64) string {
	switch {
	case t.From > height:
		return "coming"
	case t.Until == 0:
		return "in force"
	case t.Until > height:
		return "going"
	}
	return "gone"
}

// standing says since when a value is accepted and how long yet, and by which
// changes.
func standing(x ledger.Standing, height uint64) string {
	text := "accepted since the genesis"
	switch {
	case x.From > height:
		text = fmt.Sprintf("accepted from block %d, by change %d", x.From, x.Begun)
	case x.From > 0:
		text = fmt.Sprintf("accepted since block %d, by change %d", x.From, x.Begun)
	}
	if x.Until != 0 {
		text += fmt.Sprintf(", until block %d, by change %d", x.Until, x.Ended)
	}
	return text
}

func signers(c ledger.Amendment) string {
	var names []string
	for _, x := range c.Signed {
		names = append(names, x.Validator.Short())
	}
	return strings.Join(names, ", ")
}

// shutOut says of a registered machine from when on the values that are known to
// come refuse it.
type shutOut struct {
	From uint64 `json:"from,string"`
	Why  string `json:"why"`
	Code string `json:"code"`
}

func shutOutOf(n ledger.NodeRecord, v ledger.Values, height uint64) *shutOut {
	from, why, ok := v.ShutOut(height, func(ref attest.Reference) error { return n.Profile.Accepted(n.Node.TEE, ref) })
	var e *task.Error
	if !ok || !errors.As(why, &e) {
		return nil
	}
	return &shutOut{from, e.What, e.Code}
}

// text is a line for people.
func (o *shutOut) text(height uint64) string {
	if o.From <= height+1 {
		return "shut out: " + o.Why
	}
	return fmt.Sprintf("shut out from block %d (now is %d): %s", o.From, height, o.Why)
}
