package owner

import (
	"context"
	"errors"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// shaky is a chain whose node answers with these errors, one after the other,
// and then that the task is settled.
type shaky struct {
	Chain
	errs []error
}

func (s *shaky) Case(context.Context, task.TaskID) (*ledger.Case, error) {
	if len(s.errs) == 0 {
		return &ledger.Case{Phase: ledger.Closed}, nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	return nil, err
}

func (s *shaky) Watch(ctx context.Context, each func(uint64, []ledger.Event)) error {
	for h := uint64(1); ctx.Err() == nil; h++ {
		each(h, nil)
	}
	return ctx.Err()
}

// A node that is out of reach for a moment does not lose Alice her receipt; one
// that refuses says so.
func TestSettledOutlastsANodeOutOfReach(t *testing.T) {
	away, no := errors.New("connection refused"), task.Refuse("no-task", "")
	if c, err := Settled(context.Background(), &shaky{errs: []error{away, away, away}}, task.TaskID{}, nil); err != nil || c.Phase != ledger.Closed {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := Settled(context.Background(), &shaky{errs: []error{away, no}}, task.TaskID{}, nil); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
}
