package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// finished is what came of a run: a command's result, or what stands beside the
// error if it did not end well.
type finished struct {
	Task    task.TaskID    `json:"task"`
	Outcome ledger.Outcome `json:"outcome,omitempty"`
	Files   []string       `json:"files"`
	Receipt string         `json:"receipt,omitempty"`
	Gas     uint64         `json:"gas,omitempty,string"` // that is paid
	Run     *tee.Report    `json:"run,omitempty"`        // this and what follows only Alice knows
	Log     string         `json:"log,omitempty"`
	Message string         `json:"message,omitempty"` // the function's own word on its failure
	Reason  string         `json:"reason,omitempty"`
}

// unfinished is an error with what came of the run all the same.
type unfinished struct {
	error
	*finished
}

func (u unfinished) Unwrap() error { return u.error }

// follow waits for a task that was posted, writes what came of it and tells it.
func (a *app) follow(ctx context.Context, c *client.Client, o runOptions, r *owner.Run) error {
	locked := "what the task may cost"
	if k, err := c.Session.Node.Case(ctx, r.ID); err == nil {
		locked = k.Escrow.Of(0).String()
	}
	f := &finished{Task: r.ID, Files: []string{}}
	var unwritten []string
	end, err := c.Follow(ctx, r, client.Take{
		Event: func(e ledger.Event) { a.say("  block %d  %s", e.Height, explain.Fact(e.Fact)) },
		Result: func(r *client.Result) (safe bool) {
			f.Gas = r.Gas
			unwritten, safe = a.deliver(o, r, f)
			a.tellResult(f)
			return safe
		},
		Receipt: func(raw []byte) { unwritten = append(unwritten, a.writeReceipt(o, raw, f)...) },
	})
	settled := end.Case != nil
	if settled {
		f.Outcome = end.Case.Settlement.Outcome
	}
	left := func(err error) error {
		what := fmt.Sprintf("task %s goes on without this process; if the key to its input is not released in time, it ends as data-owner-silent", r.ID)
		switch {
		case settled:
			what = fmt.Sprintf("task %s is settled, and its receipt is not here", r.ID)
		case len(f.Files) > 0:
			what = fmt.Sprintf("the result of task %s is written to %s, and only its receipt is not", r.ID, named(f.Files))
		}
		e := client.CutShort(ctx, what)
		if e == nil {
			e = task.Refuse(cmp.Or(task.CodeOf(err), "failed"), "%v; %s", err, what)
		}
		if !settled {
			e = e.WithMoney("%s in escrow; what the task does not cost comes back when it is settled", locked)
		}
		return unfinished{e.WithNext("prytany task result %s --output FILE   takes it up again", r.ID), f}
	}
	if err != nil {
		return left(err)
	}
	if end.Kept != nil {
		a.say("the key to the result could not be removed: %v", end.Kept)
	}
	if f.Outcome == ledger.Completed && end.Result != nil && len(f.Files) == 0 {
		a.say("the function wrote no file: there is no output")
	}
	if err := ended(end, f, unwritten); err != nil {
		return unfinished{err, f}
	}
	return a.print(f, lines(f.Files))
}

// lines is names for a person, one on each.
func lines(names []string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintln(&b, visible(n))
	}
	return b.String()
}

// named is names for a sentence.
func named(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
	return strings.Join(names, ", ")
}

// deliver writes the result. What cannot be written where it should be is kept
// whole as the tar that it came as; why, is returned. safe says that all of it
// is on the disk somewhere.
func (a *app) deliver(o runOptions, r *client.Result, f *finished) (unwritten []string, safe bool) {
	out, err := r.Output, r.Broken
	f.Log, f.Message, f.Reason = told(out.Log), told([]byte(out.Message)), told([]byte(out.Run.Reason))
	if err == nil {
		f.Run = &out.Run
	}
	if err == nil && len(out.Files) > 0 {
		f.Files, err = writeOutput(o.output, out.Files)
	}
	if err == nil && len(out.Log) > toldMost {
		var path string
		if path, err = a.rescue("prytany-"+f.Task.Short()+".tar", r.Archive); err == nil {
			a.say("all of the function's log is in %s", path)
		}
	}
	if err == nil {
		return nil, true
	}
	path, lost := a.rescue("prytany-"+f.Task.Short()+".tar", r.Archive)
	if lost != nil {
		return []string{fmt.Sprintf("the result could not be written: %v; nor elsewhere: %v; prytany task result %s --output FILE brings it again", err, lost, f.Task)}, false
	}
	f.Files = append(f.Files, path)
	return []string{fmt.Sprintf("the result could not all be written: %v; all of it is in %s", err, path)}, true
}

// writeReceipt writes the receipt, elsewhere if it must.
func (a *app) writeReceipt(o runOptions, raw []byte, f *finished) (unwritten []string) {
	path, err := o.receiptPath()
	if err == nil {
		err = disk.WriteSynced(path, raw, 0o644)
	}
	if err != nil {
		unwritten = []string{fmt.Sprintf("the receipt could not be written: %v", err)}
		if path, err = a.rescue("prytany-"+f.Task.Short()+".receipt.cbor", raw); err != nil {
			return append(unwritten, fmt.Sprintf("nor elsewhere: %v; prytany task receipt %s brings it again", err, f.Task))
		}
		unwritten = append(unwritten, "it is in "+path)
	}
	f.Receipt = path
	a.say("receipt: %s", path)
	return unwritten
}

// toldMost is how much of a log is shown, in bytes.
const toldMost = 64 << 10

// told is text of the function's for people and programs: visible, and not
// without end.
func told(text []byte) string {
	if len(text) > toldMost {
		return visible(string(text[:toldMost])) + "\n[the rest is in the result]"
	}
	return visible(string(text))
}

// tellResult says what the function said. It is in no file.
func (a *app) tellResult(f *finished) {
	if f.Log != "" {
		a.say("the function's log:\n%s", f.Log)
	}
	if f.Message != "" {
		a.say("the function's message:\n%s", f.Message)
	}
	if f.Reason != "" {
		a.say("reason: %s", f.Reason)
	}
	if f.Run != nil {
		a.say("for you alone: %s, exit code %d, %d gas, %d ms; paid as %d gas", f.Run.Outcome, f.Run.ExitCode, f.Run.Gas, f.Run.Millis, f.Gas)
	}
}

// ended is what a person has to know of a settled task, if it did not all go well.
func ended(end *client.End, f *finished, unwritten []string) error {
	err := end.Err()
	if err == nil && len(unwritten) == 0 {
		return nil
	}
	var e *task.Error
	_ = errors.As(err, &e)
	if e == nil {
		e = task.Refuse("output-unwritten", "task %s ended well", f.Task)
	}
	told := *e
	if f.Reason != "" {
		told.What += "; the reason: " + f.Reason
	}
	if len(unwritten) > 0 {
		told.What += "; " + strings.Join(unwritten, "; ")
	}
	if told.Money == "" {
		back, locked := end.Case.Returned()
		told.Money = fmt.Sprintf("the run is paid: of %s in escrow, %s came back", locked, back)
	}
	if told.Next == "" {
		told.Next = "prytany task why " + f.Task.String()
	}
	return &told
}
