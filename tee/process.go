package tee

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/walls"
)

// Enclave is the node's end of the pipe. Its methods wait for the enclave's
// answer; one call at a time. It holds ciphertext only.
type Enclave struct {
	mu   sync.Mutex
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
	done chan struct{} // closed when the process has ended
}

// environment is all of an enclave's. A garbage collection that begins while a
// guest computes would hold the whole process until the guest next calls the
// host, its wall limit with it; the process lives for one task, so it may do
// without.
var environment = []string{"GOGC=off", "GOMEMLIMIT=4GiB", "GOTRACEBACK=none"}

// CheckEnvironment refuses any other, but for how many processors there are: the
// Go runtime obeys words in there, and its libraries look for places.
func CheckEnvironment(have []string) error {
	for _, word := range have {
		if n, ok := strings.CutPrefix(word, "GOMAXPROCS="); ok {
			if _, err := strconv.ParseUint(n, 10, 16); err == nil {
				continue
			}
		}
		if !slices.Contains(environment, word) {
			return fmt.Errorf("an enclave has no %q in its environment", word)
		}
	}
	return nil
}

// Start runs the program as a process of its own, within walls, or without any if
// w is nil: with the argument that it takes to find something by (spec §9.1.6) and
// an environment of constants, killed if this process dies. ctx bounds its life.
func (p *Program) Start(ctx context.Context, w *walls.Profile, args ...string) (*Enclave, error) {
	cmd := &exec.Cmd{Path: p.Path(), Args: append([]string{p.name}, args...), Env: environment}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if w != nil {
		err = walls.Start(cmd, *w)
	} else {
		cmd.Args, cmd.Dir = append(cmd.Args, walls.None), "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("enclave: %w", err)
	}
	e := &Enclave{cmd: cmd, in: in, out: out, done: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	go func() {
		_, _ = cmd.Process.Wait()
		stop()
		close(e.done)
	}()
	return e, nil
}

// Alive says whether the process has not ended yet.
func (e *Enclave) Alive() bool {
	select {
	case <-e.done:
		return false
	default:
		return true
	}
}

func (e *Enclave) call(q Request) (Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := WriteFrame(e.in, q); err != nil {
		return Response{}, fmt.Errorf("enclave: it is gone: %w", err)
	}
	a, err := ReadFrame[Response](e.out)
	if err != nil {
		return Response{}, fmt.Errorf("enclave: it is gone: %w", err)
	}
	if a.Error != "" {
		return a, errors.New("enclave: " + a.Error)
	}
	return a, nil
}

// Begin gives the enclave its task and returns its pre-run evidence, a decoy, and the
// key that owners seal to.
func (e *Enclave) Begin(b Begin) (genuine, decoy, seal []byte, err error) {
	a, err := e.call(Request{Begin: &b})
	return a.Evidence, a.Decoy, a.Seal, err
}

// Release hands an owner's sealed key in.
func (e *Enclave) Release(r task.Release) error {
	_, err := e.call(Request{Release: &r})
	return err
}

// Run hands the blobs in, the image in the clear, and that compiled. It returns
// the signed result and the output, encrypted to Alice, and nothing else of what a
// function may have made the enclave say.
func (e *Enclave) Run(q Run) (r task.SignedResult, output []byte, err error) {
	a, err := e.call(Request{Run: &q})
	if err != nil {
		return r, nil, err
	}
	if a.Result == nil {
		return r, nil, errors.New("enclave: no result in its answer")
	}
	return *a.Result, a.Output, nil
}

// Compile has an enclave that has begun nothing compile a public module; the
// enclave ends.
func (e *Enclave) Compile(module []byte) ([]byte, error) {
	a, err := e.call(Request{Compile: &Compile{Module: module}})
	return a.Compiled, err
}

// Exit returns the exit evidence; the enclave ends.
func (e *Enclave) Exit(c attest.Context, nonce task.Hash) ([]byte, error) {
	a, err := e.call(Request{Exit: &Exit{Context: c, Nonce: nonce}})
	return a.Evidence, err
}

// Close kills the enclave, if it has not ended, and waits for it.
func (e *Enclave) Close() {
	_ = e.in.Close()
	_ = e.cmd.Process.Kill()
	<-e.done
	_ = e.out.Close()
}
