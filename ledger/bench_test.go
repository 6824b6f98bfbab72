package ledger

import (
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/task"
)

// BenchmarkTasks plays whole tasks that end well, of 16 seats among ten workers, one
// after the other: all their transactions, signatures and proofs checked, and the
// blocks around them. It says how many a core does in a second of its own time,
// whatever else the machine does.
func BenchmarkTasks(b *testing.B) {
	const tasks = 10
	w := newWorld(b, 10)
	genesis := w.store.clone()
	for range tasks {
		w.postFor(16)
		w.elect()
		w.finish()
	}
	if c := w.c(); c.Settlement.Outcome != Completed {
		b.Fatalf("%+v", c.Settlement)
	}
	txs, bytes := 0, 0
	for _, t := range w.tape {
		txs += len(t.txs)
		for _, raw := range t.txs {
			bytes += len(raw)
		}
	}
	b.ReportAllocs()
	begin := processor(b)
	for b.Loop() {
		s := genesis.clone()
		for i, t := range w.tape {
			block := NewBlock(s, uint64(i+1))
			if err := block.Begin(t.beacon, 1_700_000_000); err != nil {
				b.Fatal(err)
			}
			for _, raw := range t.txs {
				tx, err := task.VerifyTx(raw, "test")
				if err == nil {
					err = block.Apply(tx)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			block.End()
		}
		if i := len(w.tape) - 1; Read(s).Meta().Open != 0 {
			b.Fatalf("tasks are open after block %d", i)
		}
	}
	used := processor(b) - begin
	b.ReportMetric(float64(tasks*b.N)/used.Seconds(), "tasks/s·core")
	b.ReportMetric(float64(used.Microseconds())/float64(tasks*b.N), "cpu-µs/task")
	b.ReportMetric(float64(txs)/tasks, "txs/task")
	b.ReportMetric(float64(len(w.tape))/tasks, "blocks/task")
	b.ReportMetric(float64(bytes)/tasks, "B/task")
}

// clone is a copy that goes its own way.
func (s *MemStore) clone() *MemStore {
	return &MemStore{m: maps.Clone(s.m), keys: slices.Clone(s.keys)}
}

// processor is what this process has used of the processors.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
