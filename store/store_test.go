package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/task"
)

func vote(view uint32, executor byte) task.SignedVote {
	return task.SignedVote{Vote: task.Vote{Task: task.TaskID{1}, View: view, Stage: task.Prepare, Executor: task.NodeID{executor}}}
}

func TestWhatWasSaidStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "votes")
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	reveal := task.Reveal{Ballot: task.Ballot{Task: task.TaskID{1}, Round: task.PreRun}, Verdict: task.OK}
	for _, err := range []error{j.Vote(vote(0, 1)), j.Vote(vote(1, 2)), j.Vote(vote(0, 1)), j.Reveal(reveal)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Vote(vote(0, 9)); !errors.Is(err, ErrContradiction) {
		t.Errorf("a second prepare in view 0: %v", err)
	}
	other := reveal
	other.Verdict = task.Fault
	if err := j.Reveal(other); !errors.Is(err, ErrContradiction) {
		t.Errorf("a second verdict: %v", err)
	}
	if _, err := OpenJournal(path); task.CodeOf(err) != "journal-busy" {
		t.Errorf("opened twice: %v", err)
	}
	_ = j.Close()
	if j, err = OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	votes, reveals, err := j.Load(task.TaskID{1})
	if err != nil || len(votes) != 2 || len(reveals) != 1 || reveals[0] != reveal {
		t.Fatalf("%v, %v, %v", votes, reveals, err)
	}
	if err := j.Forget(task.TaskID{1}); err != nil {
		t.Fatal(err)
	}
	if votes, reveals, _ := j.Load(task.TaskID{1}); len(votes)+len(reveals) != 0 {
		t.Error("a settled task is still on record")
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	_ = j.Close()
}

// A child process votes until it is killed; whatever it had reported as stored
// must be there afterwards.
func TestKillNine(t *testing.T) {
	if path := os.Getenv("PRYTANY_JOURNAL"); path != "" {
		j, err := OpenJournal(path)
		if err != nil {
			os.Exit(3)
		}
		for view := uint32(0); ; view++ {
			if err := j.Vote(vote(view, 1)); err != nil {
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
		votes, _, err := j.Load(task.TaskID{1})
		if err != nil || len(votes) < stored {
			t.Fatalf("%d votes on record, %d were reported as stored: %v", len(votes), stored, err)
		}
		_ = j.Close()
	}
}
