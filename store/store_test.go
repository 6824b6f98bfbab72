package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/task"
)

func verdict(view uint32, v task.Verdict) task.Reveal {
	return task.Reveal{Ballot: task.Ballot{Task: task.TaskID{1}, View: view}, Verdict: v}
}

func TestWhatWasSaidStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "votes")
	j, err := OpenJournal(path)
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
	for _, why := range []task.DeclineReason{task.NoInput, task.Busy} { // the first one stays
		if err := j.Decline(task.Decline{Task: task.TaskID{1}, Reason: why}); err != nil {
			t.Error(err)
		}
	}
	pair := task.Pair{Ballot: verdict(2, task.OK).Ballot, Digests: [2]task.Hash{{1}, {2}}}
	for range 2 {
		if err := j.Pair(pair); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenJournal(path); task.CodeOf(err) != "journal-busy" {
		t.Errorf("opened twice: %v", err)
	}
	_ = j.Close()
	if j, err = OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	reveals, declines, err := j.Load(task.TaskID{1})
	if err != nil || len(reveals) != 2 || reveals[0] != verdict(0, task.OK) || len(declines) != 1 || declines[0].Reason != task.NoInput {
		t.Fatalf("%v, %v, %v", reveals, declines, err)
	}
	pair.Digests[1] = task.Hash{3}
	if err := j.Pair(pair); !errors.Is(err, ErrContradiction) {
		t.Errorf("a second pair: %v", err)
	}
	if err := j.Forget(task.TaskID{1}); err != nil {
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

// A child process judges until it is killed; whatever it had reported as stored
// must be there afterwards.
func TestKillNine(t *testing.T) {
	if path := os.Getenv("PRYTANY_JOURNAL"); path != "" {
		j, err := OpenJournal(path)
		if err != nil {
			os.Exit(3)
		}
		for view := uint32(0); ; view++ {
			if err := j.Reveal(verdict(view, task.OK)); err != nil {
				os.Exit(4)
			}
			_, _ = os.Stdout.Write([]byte{1})
		}
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
		stored := 0
		for buf := make([]byte, 1); stored < 20; stored++ {
			if _, err := out.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		j, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		reveals, _, err := j.Load(task.TaskID{1})
		if err != nil || len(reveals) < stored {
			t.Fatalf("%d verdicts on record, %d were reported as stored: %v", len(reveals), stored, err)
		}
		_ = j.Close()
	}
}
