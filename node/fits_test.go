package node

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// A machine that the case's values do not accept does not draw; and if it has
// become another one since the draw, it declines and starts no enclave.
func TestWhoIsShutOutDoesNotDraw(t *testing.T) {
	for _, shut := range []bool{false, true} {
		w := newWorld(t)
		w.shut = shut
		w.session(w.workers[0]).Chain(w.electing())
		if slices.Contains(w.trace, "submit claims") == shut {
			t.Errorf("shut out %t: %q", shut, w.trace)
		}
	}
	for _, shut := range []bool{false, true} {
		w := newWorld(t)
		s := w.session(w.workers[0])
		s.Chain(w.electing())
		w.shut = shut
		s.Chain(w.c)
		if slices.Contains(w.trace, "start 0") == shut {
			t.Errorf("shut out since the draw %t: %q", shut, w.trace)
		}
		if said := len(w.declined) == 1 && w.declined[0].Reason == task.CannotRun; said != shut {
			t.Errorf("shut out since the draw %t: declined %v", shut, w.declined)
		}
	}
}

// calendar is a chain on which nothing happens but blocks.
type calendar struct {
	Chain
	values ledger.Values
	height uint64
}

func (c *calendar) Values(context.Context) (ledger.Values, uint64, error) {
	return c.values, c.height, nil
}

// Node says that the worker has nothing bonded, so that it shows no machine.
func (c *calendar) Node(context.Context, task.NodeID) (r ledger.NodeRecord, err error) {
	return r, nil
}

func (c *calendar) News(_ context.Context, _ uint64, each func(uint64, []ledger.News)) error {
	for c.height < 35 {
		c.height++
		each(c.height, nil)
	}
	return nil
}

// A worker says once an epoch what will shut it out, and that it is shut out.
func TestWorkersLookAhead(t *testing.T) {
	floor := func(n uint64) attest.Value { return attest.Value{List: "simulated-floor", Number: n} }
	c := &calendar{values: ledger.Values{Standing: []ledger.Standing{
		{Term: attest.Term{Value: attest.Value{List: "measurement", Data: bytes.Repeat([]byte{7}, 32)}}},
		{Term: attest.Term{Value: attest.Value{List: "simulated"}}},
		{Term: attest.Term{Value: floor(8), Until: 25}}, {Term: attest.Term{Value: floor(9), From: 20}},
	}}}
	p := attest.Platform{Measurement: task.Hash(bytes.Repeat([]byte{7}, 32)), TCB: 8}.Profile()
	var log bytes.Buffer
	w := New(Config{
		Node: task.Node{Runtimes: []string{task.RuntimeWasm, task.RuntimePython}}, Chain: c, Epoch: 10, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Fits: func(ref attest.Reference, _ string) error { return p.Accepted(task.TEE{Kind: "simulated"}, ref) },
	})
	if err := w.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
		_, rest, _ := strings.Cut(line, "msg=")
		said = append(said, rest)
	}
	const why = ` why="stale-tcb: TCB 8 below floor 9"`
	want := []string{
		`"this machine will be shut out" from=25 height=0` + why, `"this machine will be shut out" from=25 height=10` + why,
		`"this machine will be shut out" from=25 height=20` + why, `"this machine is shut out, and does not draw" height=30` + why,
	}
	if !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
}
