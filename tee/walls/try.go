package walls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/prytany/prytany/task"
)

// trialName is what a program is called when it is to build walls and say which
// stand.
const trialName = "prytany-walls"

// trial is that process's answer.
type trial struct {
	Standing Standing
	Refused  *task.Error
}

// Try builds the walls of a profile around a process of a program that has this
// package in it, and says which stand on this machine. The process ends then.
func Try(ctx context.Context, program string, p Profile) (Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := &exec.Cmd{Path: program, Args: []string{trialName}}
	in, err := cmd.StdinPipe()
	if err != nil {
		return Standing{}, err
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Standing{}, err
	}
	if err := Start(cmd, p); err != nil {
		return Standing{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(out, 64<<10))
	ended := cmd.Wait()
	if err != nil {
		return Standing{}, err
	}
	var t trial
	if err := json.Unmarshal(said, &t); err != nil {
		return Standing{}, fmt.Errorf("the process that tries the walls ended: %v", ended)
	}
	if t.Refused != nil {
		return t.Standing, t.Refused
	}
	return t.Standing, nil
}

func init() {
	// Here and not in a function of main's, so that every program can try.
	if len(os.Args) == 2 && os.Args[0] == trialName {
		s, err := Enter()
		t := trial{Standing: s}
		errors.As(err, &t.Refused)
		_ = json.NewEncoder(os.Stdout).Encode(t)
		os.Exit(0)
	}
}
