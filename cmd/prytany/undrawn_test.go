package main

import (
	"context"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
)

// BenchmarkUndrawn measures what a task costs a worker that wins no seat in it: the
// blocks of real tasks, at one worker more whose stake is next to nothing. bytes are
// those of the news of a task, as a node sends them; a worker reads nothing else, or
// the benchmark fails.
func BenchmarkUndrawn(b *testing.B) {
	const tasks = 8
	l := &load{}
	l.town = newTown(b, host.Config{Workers: 10, Corrupt: l.counted})
	limits := small
	limits.Gas, limits.WallMillis = 1_000_000, 1000
	l.f = l.publish("noop", noop, limits)
	l.play(b, 1, 1)
	from := l.Client.Height() + 1
	l.play(b, tasks, tasks)
	news := &rerun{b: b}
	bytes := 0
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	for block := range l.Client.Client.Watch(ctx, from) {
		said := ledger.NewsOf(block.Events)
		news.blocks = append(news.blocks, said)
		for _, n := range said {
			bytes += len(task.Encode(n))
		}
		if block.Height == l.Client.Height() {
			stop()
		}
	}
	c := l.Workers[0].Config
	c.Chain = news
	if err := l.Stop(); err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread() // its processor time is the worker's
	defer runtime.UnlockOSThread()
	news.times = max(b.N/tasks, 1)
	begin := cpuOfThread(b)
	b.ResetTimer()
	if err := node.New(c).Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	done := float64(news.times * tasks)
	b.ReportMetric(float64((cpuOfThread(b)-begin).Microseconds())/done, "cpu-µs/task")
	b.ReportMetric(float64(bytes)/tasks, "B/task")
	b.ReportMetric(0, "ns/op")
}

// rerun is a chain that shows the same blocks again and again, and no case.
type rerun struct {
	node.Chain
	b      *testing.B
	blocks [][]ledger.News
	times  int
	once   sync.Once
}

func (r *rerun) Values(context.Context) (ledger.Values, uint64, error) {
	return ledger.Values{}, 0, nil
}

func (r *rerun) Node(context.Context, task.NodeID) (ledger.NodeRecord, error) {
	return ledger.NodeRecord{Stakes: []ledger.Stake{{Amount: 1}}}, nil
}

func (r *rerun) Case(context.Context, task.TaskID) (*ledger.Case, error) {
	r.once.Do(func() { r.b.Error("a worker that was not drawn reads a case") })
	return nil, task.Refuse("no-task", "")
}

func (r *rerun) News(_ context.Context, _ uint64, each func(uint64, []ledger.News)) error {
	height := uint64(0)
	for range r.times {
		for _, news := range r.blocks {
			height++
			each(height, news)
		}
	}
	return nil
}

// cpuOfThread is what this thread has used of the processors.
func cpuOfThread(b *testing.B) time.Duration {
	const thisThread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thisThread, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
