package node

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// scene is one block: what happened, and the case after it.
type scene struct {
	phases []ledger.Phase
	seeded bool
	member bool
	lie    bool // the news promise a seat that nobody wins
}

// play is a chain with one task, in scenes, that notes what a worker does.
type play struct {
	Chain
	t      *testing.T
	w      *world
	scenes []scene
	now    *ledger.Case
	stake  task.Amount
	did    []string
	after  func(block int) // when all that a block has caused is done
}

func (p *play) Node(context.Context, task.NodeID) (ledger.NodeRecord, error) {
	p.did = append(p.did, "node")
	rec := p.w.workers[1].rec
	rec.Stakes = []ledger.Stake{{Amount: p.stake}}
	return rec, nil
}

func (p *play) Case(context.Context, task.TaskID) (*ledger.Case, error) {
	p.did = append(p.did, "case "+p.now.Phase.String())
	return p.now, nil
}

func (p *play) Values(context.Context) (v ledger.Values, height uint64, err error) { return }

func (p *play) Send(_ context.Context, _ ed25519.PrivateKey, b task.Body) error {
	p.did = append(p.did, "send "+b.Kind())
	return nil
}

func (p *play) News(_ context.Context, _ uint64, each func(uint64, []ledger.News)) error {
	attempt := uint32(0)
	for i, s := range p.scenes {
		c := *p.w.c
		c.Phase, c.Members = s.phases[len(s.phases)-1], nil
		if s.seeded && i > 0 {
			attempt++
		}
		c.Attempt = attempt
		if s.member {
			c.Members = p.w.c.Members
		}
		if c.Phase < ledger.Attesting {
			c.View = ledger.View{}
		}
		if s.lie {
			c.TotalStake = 1 << 50
		}
		p.now = &c
		var events []ledger.Event
		for k, phase := range s.phases {
			e := ledger.Event{Task: c.ID(), Phase: phase, Fact: ledger.Fact{Height: uint64(i + 1)}}
			if s.seeded && k == 0 {
				d := c.Draw()
				if s.lie {
					d.TotalStake = p.stake
				}
				e.Draw = &d
			}
			events = append(events, e)
		}
		each(uint64(i+1), ledger.NewsOf(events))
		p.after(i)
	}
	return nil
}

// Who wins no seat draws by the news that bring the seed, and reads neither the
// case nor, within an epoch, its own record again. Who has a part in a task follows
// its case as long as it has one.
func TestWhoWinsNothingReadsNoCase(t *testing.T) {
	const posted, electing, attesting, running, closed = ledger.Posted, ledger.Electing, ledger.Attesting, ledger.Running, ledger.Closed
	one := func(p ledger.Phase) scene { return scene{phases: []ledger.Phase{p}} }
	seeded := scene{phases: []ledger.Phase{electing}, seeded: true}
	in := func(p ledger.Phase) scene { return scene{phases: []ledger.Phase{p}, member: true} }
	for name, row := range map[string]struct {
		stake  task.Amount
		scenes []scene
		want   []string
	}{
		"no seat": {
			0, []scene{one(posted), seeded, one(electing), one(attesting), one(running), one(closed)},
			[]string{"node"},
		},
		"no seat in two tasks of an epoch, the seed among other news": {
			0, []scene{{phases: []ledger.Phase{electing, electing, attesting}, seeded: true}, one(closed), one(posted), seeded, one(closed)},
			[]string{"node"},
		},
		"a seat": {
			100, []scene{seeded, in(attesting), in(running), in(closed)},
			[]string{"node", "case electing", "node", "send claims", "case attesting", "case running", "case closed"},
		},
		"a seat, and its claim is not taken": {
			100, []scene{seeded, one(attesting), one(running), one(closed)},
			[]string{"node", "case electing", "node", "send claims", "case attesting"},
		},
		"news that lie about a seat": {
			100, []scene{{phases: []ledger.Phase{electing}, seeded: true, lie: true}, one(attesting), one(running), one(closed)},
			[]string{"node", "case electing", "node", "case attesting"},
		},
		"woken while a task is under way, without a part": {
			100, []scene{one(attesting), one(running), one(closed)},
			[]string{"case attesting"},
		},
		"woken while a task is under way, with a part": {
			100, []scene{in(attesting), in(running), in(closed)},
			[]string{"case attesting", "case running", "case closed"},
		},
		"woken while claims are open": {
			100, []scene{one(electing), in(attesting), in(closed)},
			[]string{"case electing", "node", "send claims", "case attesting", "case closed"},
		},
		"a seat in the second attempt": {
			100, []scene{one(attesting), one(posted), seeded, in(attesting), in(closed)},
			[]string{"case attesting", "node", "case electing", "node", "send claims", "case attesting", "case closed"},
		},
	} {
		w := newWorld(t)
		k := w.workers[1]
		p := &play{t: t, w: w, scenes: row.scenes, stake: row.stake}
		worker := New(Config{
			Node: k.rec.Node, Peer: k.peer, Operator: k.peer, VRF: k.vrf, Chain: p, Net: nobody{}, Journal: w, Epoch: 1000, Patience: committee.Embedded, Slots: 1,
			Log: slog.New(slog.DiscardHandler), Appraise: attest.Appraise, Fits: w.fits,
		})
		worker.nextLook = 1 << 32 // at its registration
		p.after = func(int) {     // a session has its own goroutine: what it was told is done when it hears more
			worker.mu.Lock()
			r := worker.runners[w.c.ID()]
			worker.mu.Unlock()
			if r == nil {
				return
			}
			told := make(chan struct{})
			r.post(func(*Session) { close(told) })
			select {
			case <-told:
			case <-r.ctx.Done():
			}
		}
		if err := worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.did, row.want) {
			t.Errorf("%s: %q, want %q", name, p.did, row.want)
		}
		if len(worker.left) != 0 || len(worker.runners) != 0 {
			t.Errorf("%s: %d tasks are still noted, %d followed", name, len(worker.left), len(worker.runners))
		}
	}
}

// How long a message waits for the block that it is about is a matter of blocks,
// where they come late, and of a second where they do not.
func TestEarlyMessagesWaitForBlocks(t *testing.T) {
	for name, row := range map[string]struct {
		block time.Duration // between two of them
		want  time.Duration
	}{
		"a machine at rest":  {25 * time.Millisecond, time.Second},
		"a busy machine":     {500 * time.Millisecond, 4 * time.Second},
		"a chain that halts": {time.Hour, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := New(Config{Log: slog.New(slog.DiscardHandler)})
			ctx, stop := context.WithCancel(t.Context())
			go func() {
				tick := time.NewTicker(row.block)
				defer tick.Stop()
				for h := uint64(1); ; h++ {
					select {
					case <-tick.C:
						w.passes(h)
					case <-ctx.Done():
						return
					}
				}
			}()
			begin := time.Now()
			w.HearMessage(task.Key{1}, task.Encode(Message{Alive: &task.Ballot{Task: task.TaskID{1}}}))
			if took := time.Since(begin); took != row.want {
				t.Errorf("%s: %s, want %s", name, took, row.want)
			}
			stop()
		})
	}
}
