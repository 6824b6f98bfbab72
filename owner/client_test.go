package owner

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/prytany/prytany/attest"
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

func (s *shaky) VerifiedCase(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	return s.Case(ctx, id)
}

func (s *shaky) Watch(ctx context.Context, _ uint64, each func(uint64, []ledger.Event)) error {
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

// liar says that a task is settled, and can prove only that it runs.
type liar struct {
	shaky
	proof error
}

func (l *liar) VerifiedCase(context.Context, task.TaskID) (*ledger.Case, error) {
	return &ledger.Case{Phase: ledger.Running}, l.proof
}

// A node's word ends no task: what is destroyed with it would be lost.
func TestSettledIsProven(t *testing.T) {
	if c, err := Settled(t.Context(), &liar{}, task.TaskID{}, nil); c != nil || task.CodeOf(err) != "node-lies" {
		t.Errorf("%v, %v", c, err)
	}
	r := &Run{c: &Client{Chain: &liar{}, Log: slog.New(slog.DiscardHandler)}, direct: make(chan task.SignedResult)}
	r.keeper = &Keeper{Chain: &liar{}}
	if _, err := r.Result(t.Context(), func(ledger.Event) {}); task.CodeOf(err) != "node-lies" {
		t.Errorf("%v", err)
	}
}

// nowhere has the case that it was given, and no blob; it notes what it is asked for.
type nowhere struct {
	Chain
	c     *ledger.Case
	asked []string
}

func (n *nowhere) Case(context.Context, task.TaskID) (*ledger.Case, error) { return n.c, nil }

func (n *nowhere) Get(_ context.Context, b task.Blob, _ string) ([]byte, error) {
	n.asked = append(n.asked, b.CID)
	return nil, errors.New("not here")
}

func (n *nowhere) Put(context.Context, []byte) (task.Blob, error) { return task.Blob{}, nil }

// Anybody may send Alice the enclave's result; she looks for the output only
// where its executor says that it is.
func TestOutputIsLookedForWhereTheExecutorSays(t *testing.T) {
	q := newRequest(t)
	enclave, ev := keyOf("enclave"), q.ev
	ev.Keys.Sign = task.PublicKey(enclave)
	n := &nowhere{c: q.c}
	r := &Run{ID: q.c.ID(), c: &Client{Chain: n, Blobs: n}, keeper: &Keeper{judged: map[task.Ballot]attest.Evidence{q.c.Ballot(): ev}}}
	res := task.Result{Task: r.ID, Node: q.c.View.Executor, Evidence: ev.Digest(), Size: 5}
	s := task.SignedResult{Result: res, Signature: task.Sign(enclave, res.Hash()), CID: "elsewhere"}
	for name, forged := range map[string]task.SignedResult{"by nobody": s, "by another": s.PlacedBy(keyOf("stranger"))} {
		if _, err := r.take(t.Context(), forged); task.CodeOf(err) != "result-forged" || len(n.asked) > 0 {
			t.Errorf("placed %s: %v, and asked for %v", name, err, n.asked)
		}
	}
	for _, name := range "abcdef" { // one of them is the executor
		if peer := keyOf(string(name) + " peer"); task.PublicKey(peer) == q.c.Member(res.Node).Node.Peer {
			_, _ = r.take(t.Context(), s.PlacedBy(peer))
		}
	}
	if len(n.asked) != 1 {
		t.Errorf("placed by the executor: asked for %v", n.asked)
	}
}

// An executor whose enclave is out of time has no result for Alice: she waits for
// the next one's.
func TestOutOfTimeIsNoResult(t *testing.T) {
	id := task.TaskID{1}
	r := &Run{direct: make(chan task.SignedResult, 4)}
	c := &Client{runs: map[task.TaskID]*Run{id: r}}
	for o, heard := range map[task.Outcome]int{task.OutOfTime: 0, task.RunOK: 1} {
		c.HearResult(task.Key{}, task.Encode(task.SignedResult{Result: task.Result{Task: id, Outcome: o}}))
		if len(r.direct) != heard {
			t.Errorf("%s: %d results are taken", o, len(r.direct))
		}
		for len(r.direct) > 0 {
			<-r.direct
		}
	}
}
