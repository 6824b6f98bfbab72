package client

import (
	"context"
	"errors"

	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// Result is what a task has given, opened.
type Result struct {
	Gas     uint64 // that is paid
	Archive []byte // all of it, as it came: a tar
	Output  tee.Output
	Broken  error // why the archive could not be unpacked; nil: it was
}

// Take is who hears of a task and takes what comes of it, in this order.
type Take struct {
	// Event hears of every change of the case. Nil: nobody does.
	Event func(ledger.Event)
	// Result takes the result, before it is known how the task ends: it is paid for, and
	// nothing that follows may lose it. It says whether the result is in a safe place, since
	// the key to it is destroyed then. Nil: who calls Follow has it in memory, and that is
	// no safe place.
	Result func(*Result) (safe bool)
	// Receipt takes the receipt. Nil: nobody does.
	Receipt func(raw []byte)
}

// End is what came of a task, as far as it came.
type End struct {
	Result  *Result      // nil: there is none
	Missing error        // why there is no result; nil: there is one
	Case    *ledger.Case // as it was settled; nil: it is not
	Receipt []byte       // nil: it was not had
	Kept    error        // why the key to the result could not be destroyed; nil: it was, or should not be
}

// Follow waits for a task that was posted or taken up again, until it is settled and its
// receipt is there. It releases the key to the input to an enclave that has shown what it
// is, if one asks. How the task ended is in the End: an error says only that it could not
// be followed to there, so that another Follow may. Then the End has what came before.
func (c *Client) Follow(ctx context.Context, r *owner.Run, t Take) (*End, error) {
	if t.Event == nil {
		t.Event = func(ledger.Event) {}
	}
	end, safe := &End{}, false
	outcome, err := r.Result(ctx, t.Event)
	switch {
	case err != nil && ctx.Err() != nil:
		return end, err
	case err != nil:
		end.Missing = err
	default:
		end.Result = &Result{Gas: outcome.Result.Gas, Archive: outcome.Archive}
		end.Result.Output, end.Result.Broken = tee.Unpack(outcome.Archive)
		if t.Result != nil {
			safe = t.Result(end.Result)
		}
	}
	k, err := r.Settled(ctx, t.Event)
	if err != nil {
		return end, err
	}
	end.Case = k
	if end.Receipt, err = Receipt(ctx, c.Session.Node, k.ID()); err != nil {
		return end, err
	}
	if t.Receipt != nil {
		t.Receipt(end.Receipt)
	}
	// Last of all: until the end the key may be asked for, and all be done again.
	if safe || k.View.Result == nil {
		end.Kept = r.Forget()
	}
	return end, nil
}

// Err is nil if the task ended well and its result is there; else it says whose fault
// that is and where the money is.
func (e *End) Err() error {
	err := explain.Ended(e.Case)
	if err == nil {
		err = e.Missing
	}
	if err == nil {
		return nil
	}
	if known := (*task.Error)(nil); !errors.As(err, &known) {
		return task.Refuse("result-missing", "task %s ended well, and its result could not be had: %v", e.Case.ID(), err)
	}
	return err
}
