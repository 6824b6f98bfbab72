package sim

import (
	"container/heap"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
)

// Virtual time is in microseconds.
const (
	millisecond int64 = 1000
	second            = 1000 * millisecond
)

// loop is the one source of time, order and chance.
type loop struct {
	now   int64
	seq   uint64
	steps uint64
	queue queue
	rand  *rand.Rand
	trace hash.Hash
	log   io.Writer
}

type item struct {
	at  int64
	seq uint64 // of two at one time, the one that was planned first
	do  func()
}

type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func newLoop(seed uint64, log io.Writer) loop {
	return loop{rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), log: log}
}

// after plans something.
func (l *loop) after(micros int64, do func()) {
	l.seq++
	heap.Push(&l.queue, item{l.now + max(micros, 0), l.seq, do})
}

// step does what comes next; false if nothing does.
func (l *loop) step() bool {
	if len(l.queue) == 0 {
		return false
	}
	next := heap.Pop(&l.queue).(item)
	l.now = next.at
	l.steps++
	next.do()
	return true
}

// say puts a line into the trace, and into the transcript if there is one.
func (l *loop) say(format string, args ...any) {
	line := fmt.Sprintf("%10.3f ms  "+format+"\n", append([]any{float64(l.now) / 1000}, args...)...)
	_, _ = io.WriteString(l.trace, line)
	if l.log != nil {
		_, _ = io.WriteString(l.log, line)
	}
}

// chance is true with probability p.
func (l *loop) chance(p float64) bool { return l.rand.Float64() < p }

// between is uniform from a to b, both included.
func (l *loop) between(a, b int64) int64 { return a + l.rand.Int64N(b-a+1) }

// fresh makes 32 bytes for a key.
func (l *loop) fresh() (s [32]byte) {
	for i := range s {
		s[i] = byte(l.rand.Uint32())
	}
	return s
}
