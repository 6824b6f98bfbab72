package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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

// errSilent is why a command gives up a network.
var errSilent = errors.New("the network has not answered for a while")

// silenceMost is how long a network may say nothing.
const silenceMost = 30 * time.Second

// whileUp is ctx, and ends with errSilent when the chain has not answered for
// so long.
func whileUp(ctx context.Context, ask func(context.Context) error, most time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		every := time.NewTicker(most / 20)
		defer every.Stop()
		for last := time.Now(); ; {
			once, done := context.WithTimeout(ctx, most/4)
			// A refusal is an answer.
			if err := ask(once); err == nil || task.CodeOf(err) != "" {
				last = time.Now()
			}
			done()
			if time.Since(last) > most {
				cancel(errSilent)
			}
			select {
			case <-every.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// whileUp is ctx, as long as the session's network answers.
func (s *session) whileUp(ctx context.Context) (context.Context, context.CancelFunc) {
	return whileUp(ctx, func(ctx context.Context) error { _, err := s.chain.Meta(ctx); return err }, silenceMost)
}

// cutShort is an error that came of ctx, by a signal or by a network that is
// gone; any other is nil.
func cutShort(ctx context.Context, what string) *task.Error {
	switch {
	case ctx.Err() == nil:
		return nil
	case errors.Is(context.Cause(ctx), errSilent):
		return task.Refuse("network-down", "the network has not answered for %s; %s", silenceMost, what)
	}
	return task.Refuse("interrupted", "stopped by a signal; %s", what)
}

// post posts the task. If that was cut short nobody here knows its name.
func (c *client) post(ctx context.Context, j owner.Job) (*owner.Run, error) {
	r, err := c.Post(ctx, j)
	if err == nil {
		return r, nil
	}
	if e := cutShort(ctx, "it is not known whether the task was posted"); e != nil {
		return nil, e.WithMoney("in escrow, if it was posted").
			WithNext("prytany task list; if it is there, prytany task result ID --output FILE takes it up again")
	}
	return nil, err
}

// follow waits for a task that was posted, writes what came of it and tells it.
func (a *app) follow(ctx context.Context, s *session, o runOptions, r *owner.Run) error {
	locked := "what the task may cost"
	if c, err := s.chain.Case(ctx, r.ID); err == nil {
		locked = c.Escrow.Of(0).String()
	}
	f := &finished{Task: r.ID, Files: []string{}}
	each := func(e ledger.Event) { a.say("  block %d  %s", e.Height, explain.Fact(e.Fact)) }
	settled := false
	left := func(err error) error {
		what := fmt.Sprintf("task %s goes on without this process; if the key to its input is not released in time, it ends as data-owner-silent", r.ID)
		switch {
		case settled:
			what = fmt.Sprintf("task %s is settled, and its receipt is not here", r.ID)
		case len(f.Files) > 0:
			what = fmt.Sprintf("the result of task %s is written to %s, and only its receipt is not", r.ID, named(f.Files))
		}
		e := cutShort(ctx, what)
		if e == nil {
			e = task.Refuse(cmp.Or(task.CodeOf(err), "failed"), "%v; %s", err, what)
		}
		if !settled {
			e = e.WithMoney("%s in escrow; what the task does not cost comes back when it is settled", locked)
		}
		return unfinished{e.WithNext("prytany task result %s --output FILE   takes it up again", r.ID), f}
	}
	result, runErr := r.Result(ctx, each)
	if runErr != nil && ctx.Err() != nil {
		return left(runErr)
	}
	// The result first: it is paid for, and nothing that follows may lose it.
	var unwritten []string
	safe := false
	if runErr == nil {
		f.Gas = result.Result.Gas
		unwritten, safe = a.deliver(o, result.Archive, f)
		a.tellResult(f)
	}
	c, err := r.Settled(ctx, each)
	if err != nil {
		return left(err)
	}
	settled, f.Outcome = true, c.Settlement.Outcome
	raw, err := makeReceipt(ctx, s.chain, c)
	if err != nil {
		return left(err)
	}
	unwritten = append(unwritten, a.writeReceipt(o, raw, f)...)
	// Last of all: until the end the key may be asked for, and all be done again.
	if safe || c.View.Result == nil {
		if err := r.Forget(); err != nil {
			a.say("the key to the result could not be removed: %v", err)
		}
	}
	if f.Outcome == ledger.Completed && runErr == nil && len(f.Files) == 0 {
		a.say("the function wrote no file: there is no output")
	}
	if err := ended(c, f, runErr, unwritten); err != nil {
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
func (a *app) deliver(o runOptions, archive []byte, f *finished) (unwritten []string, safe bool) {
	out, err := tee.Unpack(archive)
	f.Log, f.Message, f.Reason = told(out.Log), told([]byte(out.Message)), told([]byte(out.Run.Reason))
	if err == nil {
		f.Run = &out.Run
	}
	if err == nil && len(out.Files) > 0 {
		f.Files, err = writeOutput(o.output, out.Files)
	}
	if err == nil && len(out.Log) > toldMost {
		var path string
		if path, err = a.rescue("prytany-"+f.Task.Short()+".tar", archive); err == nil {
			a.say("all of the function's log is in %s", path)
		}
	}
	if err == nil {
		return nil, true
	}
	path, lost := a.rescue("prytany-"+f.Task.Short()+".tar", archive)
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
func ended(c *ledger.Case, f *finished, runErr error, unwritten []string) error {
	err := explain.Ended(c)
	if err == nil {
		err = runErr
	}
	if err == nil && len(unwritten) == 0 {
		return nil
	}
	var e *task.Error
	if err != nil && !errors.As(err, &e) {
		e = task.Refuse("result-missing", "task %s ended well, and its result could not be had: %v", f.Task, err)
	}
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
		back, locked := c.Returned()
		told.Money = fmt.Sprintf("the run is paid: of %s in escrow, %s came back", locked, back)
	}
	if told.Next == "" {
		told.Next = "prytany task why " + f.Task.String()
	}
	return &told
}
