package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/tee/walls"
)

// noop is the smallest WASI module: a _start that returns.
var noop = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" +
	"\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b")

// BenchmarkSubmitToResult measures what Alice waits for, from the posting to
// the opened result, with a function that does nothing, and splits it by
// phase. The memory is that of this process: the whole network with its owners.
func BenchmarkSubmitToResult(b *testing.B) {
	w := newTown(b, host.Config{Workers: 10})
	f := w.publish("noop", noop, small)
	phases := map[string]time.Duration{}
	warm := true
	for b.Loop() {
		begin := time.Now()
		last, phase := begin, ledger.Posted
		r, err := w.alice.Post(b.Context(), w.job(f, "x"))
		if err != nil {
			b.Fatal(err)
		}
		spent := map[string]time.Duration{"posted": time.Since(last)}
		last = time.Now()
		_, err = r.Result(b.Context(), func(e ledger.Event) {
			if e.Phase != phase {
				spent[e.Phase.String()] += time.Since(last)
				last, phase = time.Now(), e.Phase
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		spent["result"] = time.Since(last)
		if !warm {
			for k, v := range spent {
				phases[k] += v
			}
		}
		warm = false
		b.StopTimer()
		if _, err := r.Settled(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	for k, v := range phases {
		b.ReportMetric(float64(v.Microseconds())/1000/float64(max(b.N-1, 1)), "ms-to-"+k)
	}
	b.ReportMetric(float64(rssBytes(b))/1e6, "MB-rss")
}

// rssBytes is this process's resident memory.
func rssBytes(b *testing.B) (rss uint64) {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size uint64
	if _, err := fmt.Sscan(string(raw), &size, &rss); err != nil {
		b.Fatal(err)
	}
	return rss * uint64(os.Getpagesize())
}

// BenchmarkAtRest measures the processor time of a whole network with nothing
// to do, as a share of one core.
func BenchmarkAtRest(b *testing.B) {
	newTown(b, host.Config{Workers: 10})
	time.Sleep(2 * time.Second)
	begin, used := time.Now(), cpuTime()
	for b.Loop() {
		time.Sleep(time.Second)
	}
	b.ReportMetric(100*float64(cpuTime()-used)/float64(time.Since(begin)), "%-of-a-core")
}

// BenchmarkEnclaveStart measures an enclave from nothing to its first answer, with
// and without walls, beside a process that only echoes.
func BenchmarkEnclaveStart(b *testing.B) {
	for name, w := range map[string]*walls.Profile{"enclave": {Kind: walls.Modules}, "unwalled": nil} {
		b.Run(name, func(b *testing.B) {
			p, err := (host.Programs{Beside: beside}).Find(b.Context(), host.EnclaveProgram)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			for b.Loop() {
				if err := answers(b.Context(), p, w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("process", func(b *testing.B) {
		for b.Loop() {
			cat := exec.Command("cat")
			in, err := cat.StdinPipe()
			if err != nil {
				b.Fatal(err)
			}
			out, err := cat.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := cat.Start(); err != nil {
				b.Skip(err)
			}
			if _, err := in.Write([]byte{1}); err != nil {
				b.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
			_ = cat.Process.Kill()
			_ = cat.Wait()
		}
	})
}
