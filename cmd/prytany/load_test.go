package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
)

// BenchmarkLoad measures whole tasks, from the posting to the last payment, of a
// function that does nothing, so many of them at once, on one network of ten
// workers in this process: how many it does, what each costs, and what Alice waits
// for. A task that does not end as it should, within the deadlines of one turn,
// fails the benchmark with its case.
func BenchmarkLoad(b *testing.B) {
	l := &load{}
	l.town = newTown(b, host.Config{Workers: 10, RPC: "127.0.0.1:0", Corrupt: l.counted})
	limits := small
	limits.Gas, limits.WallMillis = 1_000_000, 1000 // a lost run is not waited for long
	l.f = l.publish("noop", noop, limits)
	l.play(b, 2, 1) // what is made once is made
	for _, atOnce := range []int{1, 8, 32} {
		b.Run(fmt.Sprint("at-once-", atOnce), func(b *testing.B) { l.measure(b, b.N, atOnce) })
	}
}

// load is a town with something to count in it.
type load struct {
	*town
	f        task.Function
	enclaves atomic.Int64
}

// counted counts the enclaves that a worker takes for its tasks.
func (l *load) counted(n node.Config) node.Config {
	start := n.Enclaves
	n.Enclaves = func(ctx context.Context, f task.Function) (node.Enclave, error) {
		l.enclaves.Add(1)
		return start(ctx, f)
	}
	return n
}

func (l *load) measure(b *testing.B, tasks, atOnce int) {
	begin, used, enclaves, from := time.Now(), cpuOfAll(b), l.enclaves.Load(), l.Client.Height()
	b.ResetTimer()
	waits, turns := l.play(b, tasks, atOnce)
	b.StopTimer()
	took, cpu, to := time.Since(begin), cpuOfAll(b)-used, l.Client.Height()
	txs, bytes := l.written(b, from+1, to)
	n := float64(tasks)
	slices.Sort(waits)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(n/took.Seconds(), "tasks/s")
	b.ReportMetric(ms(cpu)/n, "cpu-ms/task")
	b.ReportMetric(float64(txs)/n, "txs/task")
	b.ReportMetric(float64(bytes)/n/1000, "kB/task")
	b.ReportMetric(float64(l.enclaves.Load()-enclaves)/n, "enclaves/task")
	b.ReportMetric(float64(turns)/n, "turns/task")
	b.ReportMetric(ms(took)/float64(max(to-from, 1)), "ms/block")
	b.ReportMetric(ms(waits[len(waits)/2]), "p50-ms")
	b.ReportMetric(ms(waits[min(len(waits)*95/100, len(waits)-1)]), "p95-ms")
}

// play runs so many tasks, some at once, and says what Alice waited for each, and
// how many executors had their turn.
func (l *load) play(b *testing.B, tasks, atOnce int) (waits []time.Duration, turns int) {
	ctx, stop := context.WithCancelCause(b.Context())
	defer stop(nil)
	var mu sync.Mutex
	open := map[task.TaskID]uint64{} // by when it must have ended
	go l.watch(ctx, func(height uint64) {
		mu.Lock()
		defer mu.Unlock()
		for id, due := range open {
			if height > due {
				stop(fmt.Errorf("task %s has not ended by block %d", id.Short(), due))
				return
			}
		}
	})
	one := func() error {
		begin := time.Now()
		r, err := l.alice.Post(ctx, l.job(l.f, "x"))
		if err != nil {
			return err
		}
		mu.Lock()
		open[r.ID] = l.Client.Height() + l.patience()
		mu.Unlock()
		_, err = r.Result(ctx, func(ledger.Event) {})
		wait := time.Since(begin)
		var c *ledger.Case
		if err == nil {
			c, err = r.Settled(ctx, nil)
		}
		if err != nil || c.Settlement.Outcome != ledger.Completed {
			l.dump(b, r)
			return fmt.Errorf("task %s: %w, %w", r.ID.Short(), err, context.Cause(ctx))
		}
		mu.Lock()
		defer mu.Unlock()
		delete(open, r.ID)
		waits, turns = append(waits, wait), turns+1+len(c.Passed)+int(c.Attempt)
		return r.Forget()
	}
	var wg sync.WaitGroup
	left := atomic.Int64{}
	left.Store(int64(tasks))
	for range min(atOnce, tasks) {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := one(); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		b.Fatal(err)
	}
	return waits, turns
}

// watch calls each for every block.
func (l *load) watch(ctx context.Context, each func(height uint64)) {
	_ = l.Client.Watch(ctx, 0, func(height uint64, _ []ledger.Event) { each(height) })
}

// patience is how many blocks a task may take in which each phase lasts as long as
// it may, and one executor has its turn.
func (l *load) patience() uint64 {
	p := l.Params
	run := p.Blocks(l.f.Manifest.LateMillis()) + p.RunGraceBlocks
	return 8*p.ClaimBlocks + 2*(p.AttestBlocks+p.CommitBlocks) + p.ReleaseBlocks + run + p.ReviewBlocks
}

// dump shows what became of a task.
func (l *load) dump(b *testing.B, r *owner.Run) {
	c, err := l.Client.Case(context.Background(), r.ID)
	if err != nil {
		b.Error(err)
		return
	}
	for _, e := range c.History {
		b.Logf("%s block %d: %s", r.ID.Short(), e.Height, explain.Fact(e))
	}
	b.Logf("%s is %s, its deadline is block %d, the chain is at %d", r.ID.Short(), c.Phase, c.Deadline, l.Client.Height())
}

// written counts what stands in some blocks.
func (l *load) written(b *testing.B, from, to uint64) (txs, bytes int) {
	for h := from; h <= to; h++ {
		for _, tx := range l.transactions(b, h) {
			txs, bytes = txs+1, bytes+len(tx)
		}
	}
	return txs, bytes
}

// cpuOfAll is what this process and its enclaves have used of the processors.
func cpuOfAll(b *testing.B) (all time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		all += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return all
}
