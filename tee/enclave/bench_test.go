package enclave

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
)

// The same Python script in every runtime that this machine has, as an enclave
// runs it, from nothing to the result; beside the machine's own Python where
// there is one. "start" does nothing, "work" is half a second of a loop there.
// The figure is the ratio to that process.
func BenchmarkRuntimes(b *testing.B) {
	const loop = `
n = 0
for i in range(5_000_000): n += i * i
`
	for _, script := range []struct{ name, text string }{{"start", ""}, {"work", loop}} {
		text := script.text + "open('/out/done', 'w').write('x')\n"
		alone := nativePython(b, script.text)
		for _, r := range pythons(b) {
			b.Run(script.name+"/"+r.name, func(b *testing.B) {
				layer, err := sandbox.PackLayer(fstest.MapFS{"main.py": {Data: []byte(text)}})
				if err != nil {
					b.Fatal(err)
				}
				job := NewJob(r.manifest, nil, 1<<50, layer, r.image, []sandbox.File{{Name: "input", Data: []byte("x")}})
				run := func() {
					res, err := r.runtimes.run(context.Background(), r.manifest, r.compiled, job)
					if err != nil || res.Outcome != sandbox.OK {
						b.Fatalf("%v: %s: %s\n%s", err, res.Outcome, res.Reason, res.Log)
					}
				}
				for b.Loop() {
					run()
				}
				took := b.Elapsed() / time.Duration(b.N)
				b.ReportMetric(float64(took.Milliseconds()), "ms")
				b.ReportMetric(0, "ns/op")
				if alone > 0 {
					b.ReportMetric(float64(took)/float64(alone), "×process")
				}
			})
		}
	}
}

// nativePython is how long the machine's own Python takes, the best of three.
func nativePython(b *testing.B, text string) (best time.Duration) {
	python, err := exec.LookPath("python3")
	if err != nil {
		b.Logf("no python3 to compare with")
		return 0
	}
	for range 3 {
		begin := time.Now()
		if err := exec.Command(python, "-c", text).Run(); err != nil {
			b.Fatal(err)
		}
		if took := time.Since(begin); best == 0 || took < best {
			best = took
		}
	}
	return best
}

// python is one way to run a script.
type python struct {
	name     string
	manifest task.Manifest
	image    []byte
	runtimes Runtimes
	compiled []byte // the image
}

func pythons(b *testing.B) (all []python) {
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Skip(err)
	}
	load := func(pattern string) []byte {
		found, _ := filepath.Glob(filepath.Join(cache, "prytany", "images", pattern))
		if len(found) == 0 {
			return nil
		}
		raw, err := os.ReadFile(found[0])
		if err != nil {
			b.Fatal(err)
		}
		return raw
	}
	manifest := func(runtime string, digest string, args ...string) task.Manifest {
		return task.Manifest{
			Runtime: runtime, Args: args, Image: &task.Image{Digest: digest},
			Limits: task.Limits{Gas: 1 << 50, MemoryBytes: 512 << 20, OutputBytes: 1 << 20, WallMillis: 120_000},
		}
	}
	if wasm := load("python-*.wasm"); wasm != nil {
		m := manifest(task.RuntimePython, fmt.Sprintf("sha256:%x", sha256.Sum256(wasm)), "/code/main.py")
		compiled, err := compile(b.Context(), wasm)
		if err != nil {
			b.Fatal(err)
		}
		rs := Standard("")
		rs[task.RuntimePython] = Runtime{interprets: interpreters(wasm, compiled)}
		all = append(all, python{"python, compiled anew", m, wasm, rs, nil}, python{"python, compiled before", m, wasm, rs, compiled})
	}
	if oci := load("python-pillow.tar"); oci != nil {
		digest, err := image.Digest(oci)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range []string{"crun", "runc", "runsc"} {
			m := manifest(task.RuntimeOCI, digest, "python3", "/code/main.py")
			rs := Standard(name)
			if _, err := rs.digest(m.Runtime); err == nil {
				all = append(all, python{"oci, " + name, m, oci, rs, nil})
			}
		}
	}
	if len(all) == 0 {
		b.Skip("no image to run: tools/install.sh")
	}
	return all
}
