package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

type runOptions struct {
	inputs          []string
	output, receipt string
	gas, price, fee string
	seats, minSeats uint32
	policy          function.Policy
	accept          []string
	minSuccess      float64
	maxLoad         uint64
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run FUNCTION [-- ARGUMENT...]",
		Short: "Run a published function on a private file: Alice's side",
		Long: "Encrypts the input, posts the task and locks the money, releases the key to the attested\n" +
			"enclave only, and writes the result. FUNCTION is an id, or a name if only one has it.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("prytany run takes a FUNCTION").WithNext("prytany func list")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.runTask(c.Context(), o, args) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.inputs, "input", nil, "the private input (needed): FILE, or NAME=FILE where the function takes several")
	o.placeFlags(c)
	f.StringVar(&o.gas, "gas", "", "the most gas to pay for, such as 20G (default: the function's own limit)")
	f.StringVar(&o.price, "gas-price", fmt.Sprint(client.GasPrice), "base units per million gas")
	f.StringVar(&o.fee, "fee", "2", "PRY for the committee")
	f.Uint32Var(&o.seats, "seats", task.DefaultSeats, "expected seats on the committee")
	f.Uint32Var(&o.minSeats, "min-seats", client.MinSeats, "the least that will do")
	policyFlags(c, &o.policy)
	acceptFlag(c, &o.accept)
	f.Uint64Var(&o.maxLoad, "max-load", 0, "the most times the usual price to pay for room on the chain, which doubles with each tenth of it that is taken (default: twice what it is now)")
	f.Float64Var(&o.minSuccess, "min-success", 0, "refuse a function of whose finished runs a smaller share ended well, 0 to 1")
	return c
}

// placeFlags are where to write what comes of a run.
func (o *runOptions) placeFlags(c *cobra.Command) {
	c.Flags().StringVar(&o.output, "output", "", "where to write the result: a file for one, a directory for several (needed)")
	c.Flags().StringVar(&o.receipt, "receipt", "", "where to write the receipt (default: beside the output)")
}

// job is the task that the flags ask for.
func (o runOptions) job(f ledger.FunctionRecord, args []string) (owner.Job, error) {
	j := owner.Job{Function: f.Function.ID(), Args: args, Seats: o.seats, MinSeats: o.minSeats, GasLimit: f.Function.Manifest.Limits.Gas, MaxLoad: o.maxLoad}
	var err error
	if o.gas != "" {
		if j.GasLimit, err = function.ParseQuantity(o.gas); err != nil {
			return j, usage("--gas: %v", err)
		}
	}
	price, err := function.ParseQuantity(o.price)
	if err != nil {
		return j, usage("--gas-price: %v", err)
	}
	j.GasPrice = task.Amount(price)
	if j.Fee, err = task.ParseAmount(o.fee); err != nil {
		return j, usage("--fee: %v", err)
	}
	if j.Policy, err = o.policy.Read(); err != nil {
		return j, usage("--%v", err)
	}
	if bobs := f.Function.Manifest.Policy; bobs != nil {
		both, ok := j.Policy.And(*bobs)
		if !ok {
			return j, task.Refuse("policy-unmeetable", "the function's owner accepts none of the kinds or measurements that you do").WithNext("prytany func show %s", f.Function.ID())
		}
		j.Policy = both
	}
	j.Policy.Accept = o.accept
	if err := ledger.CheckRequest(task.Task{Args: j.Args, GasLimit: j.GasLimit, Policy: j.Policy}, f.Function.Manifest); err != nil {
		return j, err.WithMoney("nothing was locked")
	}
	j.Input, err = function.ReadInputs(f.Function.Manifest, o.inputs)
	return j, err
}

// acceptFlag takes the weaknesses that Alice accepts.
func acceptFlag(c *cobra.Command, to *[]string) {
	c.Flags().StringSliceVar(to, "accept", nil, "accept functions that protect less: "+strings.Join(task.Weaknesses, ", "))
	c.PreRunE = func(*cobra.Command, []string) error {
		for i, w := range *to {
			if !slices.Contains(task.Weaknesses, w) || slices.Contains((*to)[:i], w) {
				return usage("--accept: %q is none of %s, or given twice", w, strings.Join(task.Weaknesses, ", "))
			}
		}
		return nil
	}
}

func (a *app) runTask(ctx context.Context, o runOptions, args []string) error {
	if len(o.inputs) == 0 || o.output == "" {
		return usage("--input and --output are needed").WithNext("prytany run --help")
	}
	if !(o.minSuccess >= 0 && o.minSuccess <= 1) {
		return usage("--min-success is %v, want 0 to 1", o.minSuccess)
	}
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop := s.WhileUp(ctx)
	defer stop()
	f, err := s.FindFunction(ctx, args[0])
	if err != nil {
		return err
	}
	job, err := o.job(f, args[1:])
	if err != nil {
		return err
	}
	if err := a.trackRecord(f, o.minSuccess); err != nil {
		return err
	}
	if err := s.CheckRunnable(ctx, f.Function.Manifest); err != nil {
		return err
	}
	if err := a.quote(ctx, s, f, &job); err != nil {
		return err
	}
	if err := o.checkPlaces(f.Function.Manifest); err != nil {
		var e *task.Error
		if errors.As(err, &e) && e.Code != "usage" {
			err = e.WithMoney("nothing was locked")
		}
		return err
	}
	keys, err := a.keystore()
	if err != nil {
		return err
	}
	me, err := a.openAlice(ctx, s, keys, nil)
	if err != nil {
		return err
	}
	defer me.Close()
	if err := a.fund(ctx, me); err != nil {
		return err
	}
	r, err := me.Post(ctx, job)
	if err != nil {
		return err
	}
	a.say("task %s posted; Ctrl-C leaves it to the chain, and prytany task result takes it up again", r.ID)
	return a.follow(ctx, me, o, r)
}
