package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/gas"
	"github.com/prytany/prytany/sandbox/internal/wat"
	"github.com/prytany/prytany/task"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// A bare module is run without the engine's judgement, in the form that it
// has: counted, or as it came. What the host charges to one that does not
// count goes to a counter that nobody reads.
type bare struct {
	w        *Engine
	compiled wazero.CompiledModule
	hash     task.Hash
	counts   bool
	spare    api.MutableGlobal
}

func newBare(t testing.TB, code []byte, counts bool) *bare {
	t.Helper()
	b := &bare{w: engine(t), hash: sha256.Sum256(code), counts: counts}
	if counts {
		m, err := gas.Instrument(code)
		if err != nil {
			t.Fatal(err)
		}
		code = m.Code
	}
	other, err := gas.Instrument(wat.Module("func f"))
	if err != nil {
		t.Fatal(err)
	}
	spare, err := b.w.runtime.InstantiateWithConfig(t.Context(), other.Code, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	b.spare = spare.ExportedGlobal(gas.Used).(api.MutableGlobal)
	if b.compiled, err = b.w.runtime.CompileModule(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	return b
}

// run gives what the host saw, the exit code, and the time of the call alone.
func (b *bare) run(t testing.TB, job sandbox.Job) (r *run, exit uint32, d time.Duration) {
	t.Helper()
	r = newRun(t.Context(), b.hash, &job, nil)
	r.limit, r.used = sandbox.MaxGas, b.spare
	if err := r.files.load(r.files.in, job.Inputs); err != nil {
		t.Fatal(err)
	}
	mem := &memory{limit: job.Limits.MemoryBytes}
	ctx := context.WithValue(t.Context(), runKey{}, r)
	m, err := b.w.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, mem), b.compiled, guestConfig())
	if err != nil {
		t.Fatal(err)
	}
	entry := "_start"
	if b.counts {
		entry = gas.Run
		r.used = m.ExportedGlobal(gas.Used).(api.MutableGlobal)
		m.ExportedGlobal(gas.Limit).(api.MutableGlobal).Set(sandbox.MaxGas)
	} else {
		r.used.Set(0)
	}
	start := time.Now()
	_, err = m.ExportedFunction(entry).Call(ctx)
	d = time.Since(start)
	var e *sys.ExitError
	if errors.As(err, &e) {
		exit = e.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Close(ctx), mem.wipe()); err != nil {
		t.Fatal(err)
	}
	return r, exit, d
}

var work = []struct{ name, size string }{
	{"sieve", "1000000"}, {"matmul", "160"}, {"blur", "10"}, {"sha256", "15000"}, {"sort", "60000"}, {"map", "40000"}, {"fib", "28"},
}

// Counting changes nothing but the time.
func TestCountedIsTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the guest once more")
	}
	jobs := []sandbox.Job{
		guest(t, "copy"), guest(t, "files"), guest(t, "forbidden"), guest(t, "world"), guest(t, "time"), guest(t, "sleep"),
		guest(t, "random"), guest(t, "names"), guest(t, "open"), guest(t, "log", "100"), guest(t, "exit", "7"), guest(t, "panic"),
		guest(t, "bomb"), guest(t, "flood", "2000"), guest(t, "hog"),
	}
	for _, w := range work {
		jobs = append(jobs, guest(t, w.name, "10"))
	}
	u := newBare(t, jobs[0].Code, false)
	for _, job := range jobs {
		plain, exit, _ := u.run(t, job)
		counted := runJob(t, job)
		if exit != counted.ExitCode || !bytes.Equal(plain.log.bytes(), counted.Log) {
			t.Errorf("%v: exit code %d, counted %d\n%s\n%s", job.Args, exit, counted.ExitCode, plain.log.bytes(), counted.Log)
		}
		if counted.Outcome != sandbox.OK {
			continue
		}
		same := func(a, b sandbox.File) bool { return a.Name == b.Name && bytes.Equal(a.Data, b.Data) }
		if out := plain.files.take(); !slices.EqualFunc(out, counted.Outputs, same) {
			t.Errorf("%v: %v, counted %v", job.Args, out, counted.Outputs)
		}
	}
}

// BenchmarkCounted runs each piece of work counted and uncounted in turn. The
// ratio is of the best times, which others on the machine disturb least; it
// should not be above 1.3.
func BenchmarkCounted(b *testing.B) {
	for _, c := range work {
		b.Run(c.name, func(b *testing.B) {
			job := guest(b, c.name, c.size)
			plain, counted := newBare(b, job.Code, false), newBare(b, job.Code, true)
			best := func(best *time.Duration, of *bare) uint64 {
				r, _, d := of.run(b, job)
				if *best == 0 || d < *best {
					*best = d
				}
				return r.used.Get()
			}
			var without, with time.Duration
			var used uint64
			for b.Loop() {
				best(&without, plain)
				used = best(&with, counted)
			}
			b.ReportMetric(float64(with)/float64(without), "counted/uncounted")
			b.ReportMetric(float64(used)/float64(with.Nanoseconds()), "gas/ns")
		})
	}
}

// BenchmarkRun is how long the shortest runs take, once they are compiled.
func BenchmarkRun(b *testing.B) {
	for name, job := range map[string]sandbox.Job{
		"nothing":    small("func _start"),
		"nothing-go": guest(b, "exit", "0"),
		"copy-go":    guest(b, "copy"),
	} {
		b.Run(name, func(b *testing.B) {
			runJob(b, job)
			for b.Loop() {
				runJob(b, job)
			}
		})
	}
}

// BenchmarkCompile is what comes before the first run of a module.
func BenchmarkCompile(b *testing.B) {
	code := guest(b).Code
	b.Run("instrument", func(b *testing.B) {
		b.SetBytes(int64(len(code)))
		for b.Loop() {
			if _, err := gas.Instrument(code); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		b.SetBytes(int64(len(code)))
		for b.Loop() {
			w, err := New(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if err := w.Compile(b.Context(), code); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
