package journal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prytany/prytany/task"
	bolt "go.etcd.io/bbolt"
)

func verdict(view uint32, v task.Verdict) task.Reveal {
	return task.Reveal{Ballot: task.Ballot{Task: task.TaskID{1}, View: view}, Verdict: v}
}

func TestWhatWasSaidStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "votes")
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{j.Reveal(verdict(0, task.OK)), j.Reveal(verdict(1, task.Fault)), j.Reveal(verdict(0, task.OK))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Reveal(verdict(0, task.Fault)); !errors.Is(err, ErrContradiction) {
		t.Errorf("a second verdict: %v", err)
	}
	for _, why := range []task.DeclineReason{task.NoFile, task.Busy} { // the first one stays
		if err := j.Decline(task.Decline{Task: task.TaskID{1}, Lack: task.Lack{Reason: why}}); err != nil {
			t.Error(err)
		}
	}
	pair := task.Pair{Ballot: verdict(2, task.OK).Ballot, Digests: [2]task.Hash{{1}, {2}}}
	for range 2 {
		if err := j.Pair(pair); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(path); task.CodeOf(err) != "journal-busy" {
		t.Errorf("opened twice: %v", err)
	}
	_ = j.Close()
	if j, err = Open(path); err != nil {
		t.Fatal(err)
	}
	reveals, declines, err := j.Load(task.TaskID{1})
	if err != nil || len(reveals) != 2 || reveals[0] != verdict(0, task.OK) || len(declines) != 1 || declines[0].Reason != task.NoFile {
		t.Fatalf("%v, %v, %v", reveals, declines, err)
	}
	pair.Digests[1] = task.Hash{3}
	if err := j.Pair(pair); !errors.Is(err, ErrContradiction) {
		t.Errorf("a second pair: %v", err)
	}
	if err := j.Forget(task.TaskID{1}); err != nil {
		t.Fatal(err)
	}
	_ = j.Close() // by then it is forgotten
	if j, err = Open(path); err != nil {
		t.Fatal(err)
	}
	if reveals, declines, _ := j.Load(task.TaskID{1}); len(reveals)+len(declines) != 0 {
		t.Error("a settled task is still on record")
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	_ = j.Close()
}

// Who writes a word does not wait for one that is refused, and a refusal takes no
// other word along, whatever is written together.
func TestWordsTogether(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "votes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Reveal(verdict(0, task.OK)); err != nil {
		t.Fatal(err)
	}
	stats := j.db.Stats().TxStats
	before := stats.GetWrite()
	started, goes := make(chan struct{}), make(chan struct{})
	go func() { // the disk is busy
		_ = j.write(func(*bolt.Tx) error { close(started); <-goes; return nil })
	}()
	<-started
	const words = 20
	var wg sync.WaitGroup
	for i := range words {
		wg.Go(func() {
			if err := j.Reveal(verdict(uint32(1+i), task.OK)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := j.Reveal(verdict(0, task.Fault)); !errors.Is(err, ErrContradiction) {
				t.Errorf("a second verdict: %v", err)
			}
		})
		_ = j.Forget(task.TaskID{2, byte(i)})
	}
	for queued := 0; queued < 3*words; {
		j.mu.Lock()
		queued = len(j.queue)
		j.mu.Unlock()
		runtime.Gosched()
	}
	close(goes)
	wg.Wait()
	stats = j.db.Stats().TxStats
	if n := stats.GetWrite() - before; n > words {
		t.Errorf("%d pages are written one by one for what can be written in two turns", n)
	}
	reveals, _, err := j.Load(task.TaskID{1})
	if err != nil || len(reveals) != 1+words {
		t.Errorf("%d words of %d are there, %v", len(reveals), 1+words, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if err := j.Reveal(verdict(99, task.OK)); err == nil {
		t.Error("a closed journal takes a word")
	}
}

// What nobody waits for is written all the same, when it is much.
func TestForgettingIsBounded(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "votes"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 * maxIdle {
		if err := j.Forget(task.TaskID{byte(i), byte(i >> 8)}); err != nil {
			t.Fatal(err)
		}
	}
	j.writer.Wait()
	if len(j.queue) >= maxIdle {
		t.Errorf("%d wait", len(j.queue))
	}
	_ = j.Close()
}

// BenchmarkReveal is one verdict, by so many sessions at once.
func BenchmarkReveal(b *testing.B) {
	for _, sessions := range []int{1, 16} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			j, err := Open(filepath.Join(b.TempDir(), "votes"))
			if err != nil {
				b.Fatal(err)
			}
			var view atomic.Uint32
			var wg sync.WaitGroup
			b.ResetTimer()
			for range sessions {
				wg.Go(func() {
					for v := view.Add(1); int(v) <= b.N; v = view.Add(1) {
						if err := j.Reveal(verdict(v, task.OK)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			_ = j.Close()
		})
	}
}

// A child process judges in many tasks at once until it is killed; whatever it had
// reported as stored must be there afterwards.
func TestKillNine(t *testing.T) {
	const tasks = 8
	of := func(i int, view uint32) task.Reveal {
		return task.Reveal{Ballot: task.Ballot{Task: task.TaskID{1, byte(i)}, View: view}, Verdict: task.OK}
	}
	if path := os.Getenv("PRYTANY_JOURNAL"); path != "" {
		j, err := Open(path)
		if err != nil {
			os.Exit(3)
		}
		for i := range tasks {
			go func() {
				for view := uint32(0); ; view++ {
					if err := j.Reveal(of(i, view)); err != nil {
						os.Exit(4)
					}
					_, _ = os.Stdout.Write([]byte{byte(i)})
				}
			}()
		}
		select {}
	}
	path := filepath.Join(t.TempDir(), "votes")
	for range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=TestKillNine")
		cmd.Env = append(os.Environ(), "PRYTANY_JOURNAL="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var stored [tasks]int
		buf := make([]byte, 1)
		for range 20 * tasks {
			if _, err := out.Read(buf); err != nil {
				t.Fatal(err)
			}
			stored[buf[0]]++
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		j, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tasks {
			reveals, _, err := j.Load(task.TaskID{1, byte(i)})
			if err != nil || len(reveals) < stored[i] {
				t.Fatalf("%d verdicts on record, %d were reported as stored: %v", len(reveals), stored[i], err)
			}
		}
		_ = j.Close()
	}
}
