package container

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
)

// BenchmarkStart is a function that does nothing, from the job to its result:
// unpacking, the container, wiping. Beside it are the same runtime by hand on
// files that are there, and the program as a plain process.
func BenchmarkStart(b *testing.B) {
	against(b, "nothing")
}

// BenchmarkWork is a function that keeps a processor busy by counting.
func BenchmarkWork(b *testing.B) {
	against(b, "count", "200000000")
}

func against(b *testing.B, args ...string) {
	g := job(b)
	dir := b.TempDir()
	program := filepath.Join(dir, "guest")
	if err := os.WriteFile(program, unpacked(b)["guest"], 0o755); err != nil {
		b.Fatal(err)
	}
	plain := func() {
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	for _, name := range (Config{}).withDefaults().Runtimes {
		s, p := probe(b.Context(), name)
		if p != nil {
			p.Close()
		}
		if !s.Available {
			b.Logf("%s is left out: %s. To have it: %s", name, s.Why, s.Hint)
			continue
		}
		b.Run(name, func(b *testing.B) {
			r := open(b, name)
			var ours, bare, process time.Duration
			for b.Loop() {
				ours += timed(func() {
					j := sandbox.Job{Image: g.Image, Digest: g.Digest, Args: append([]string{"/guest"}, args...), Limits: limits}
					if res, err := r.Run(context.Background(), j); err != nil || res.Outcome != sandbox.OK {
						b.Fatal(res.Outcome, res.Reason, err)
					}
				})
				bare += byHand(b, r, args)
				process += timed(plain)
			}
			b.ReportMetric(ours.Seconds()*1000/float64(b.N), "ms/job")
			b.ReportMetric(bare.Seconds()*1000/float64(b.N), "ms/by-hand")
			b.ReportMetric(process.Seconds()*1000/float64(b.N), "ms/process")
			b.ReportMetric(float64(ours)/float64(bare), "job/by-hand")
			b.ReportMetric(float64(ours)/float64(process), "job/process")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// byHand is how long the runtime itself takes, on a box that is filled, in a
// keeper since some do not run elsewhere.
func byHand(b *testing.B, r *Runtime, args []string) time.Duration {
	j := job(b, args...)
	x, err := newBox(r.config, &j)
	if err != nil {
		b.Fatal(err)
	}
	defer x.close()
	var res sandbox.Result
	if err := r.fill(b.Context(), x, &j, &res); err != nil || res.Outcome != 0 {
		b.Fatal(err, res.Reason)
	}
	var log bytes.Buffer
	return timed(func() {
		k, err := startKeeper(&exec.Cmd{Stdout: io.Discard, Stderr: &log}, order{Argv: r.engine.command()}, r.program, x)
		if err != nil {
			b.Fatal(err)
		}
		if <-k.done; k.err != nil {
			b.Fatal(k.err, log.String())
		}
	})
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
