package enclave

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// logBytes is how much of a function's standard error Alice gets.
const logBytes = 64 << 10

// execute runs the sandbox, unless a key opens nothing. An error is the host's
// failure, for which nobody signs a result.
func (e *enclave) execute(q tee.Run, c *compiled) (sandbox.Result, task.Outcome, error) {
	code, blame, err := e.code.decrypt(q.Code, e.begin.Function.Code)
	if blame || err != nil {
		return failed("Bob's key does not open his code"), task.BadCodeKey, err
	}
	defer clear(code)
	input, blame, err := e.input.decrypt(q.Input, e.begin.Task.Input)
	if blame || err != nil {
		return failed("Alice's key does not open her input"), task.BadInputKey, err
	}
	defer clear(input)
	m := e.begin.Function.Manifest
	if m.Image != nil && task.BlobOf(q.Image) != m.Image.Blob {
		return failed(""), 0, fmt.Errorf("this is not the image %s", m.Image.Blob.CID)
	}
	inputs, err := tee.UnpackInputs(m, input)
	if err != nil {
		return failed("Alice's input is not what the function takes: " + err.Error()), task.BadInputKey, nil
	}
	job := NewJob(m, e.begin.Task.Args, e.begin.Task.GasLimit, code, q.Image, inputs)
	ran, err := e.runtimes.run(context.Background(), m, c, job)
	return ran, outcomes[ran.Outcome], err
}

// Run runs a job in the runtime of its manifest, and holds what comes
// out to that. An error is the host's failure.
func (rs Runtimes) Run(ctx context.Context, m task.Manifest, job sandbox.Job) (sandbox.Result, error) {
	return rs.run(ctx, m, &compiled{}, job)
}

func (rs Runtimes) run(ctx context.Context, m task.Manifest, c *compiled, job sandbox.Job) (sandbox.Result, error) {
	r, done, err := rs.open(ctx, m, c)
	if err != nil {
		return failed(""), fmt.Errorf("the sandbox does not start: %w", err)
	}
	defer done()
	ran, err := r.Run(ctx, job)
	if errors.Is(err, image.ErrDigest) { // Bob's blob is not the image that he names
		ran = failed(err.Error())
		ran.Outcome, err = sandbox.FunctionError, nil
	}
	tee.CheckOutputs(m, &ran)
	return ran, err
}

// NewJob is the run that a manifest asks for, with what Alice adds to it.
func NewJob(m task.Manifest, args []string, gas uint64, code, image []byte, inputs []sandbox.File) sandbox.Job {
	j := sandbox.Job{
		Code: code, Image: image, Args: slices.Concat(m.Args, args), Inputs: inputs,
		Limits: sandbox.Limits{
			Gas: min(m.Limits.Gas, gas), MemoryBytes: m.Limits.MemoryBytes, OutputBytes: m.Limits.OutputBytes,
			LogBytes: logBytes, Wall: time.Duration(m.Limits.WallMillis) * time.Millisecond,
		},
	}
	if m.Image != nil {
		j.Digest = m.Image.Digest
	}
	return j
}

// failed is the result of a run that did not begin: nothing was written.
func failed(reason string) sandbox.Result {
	return sandbox.Result{Reason: reason, Before: sandbox.EmptyState, After: sandbox.EmptyState}
}

var outcomes = map[sandbox.Outcome]task.Outcome{
	sandbox.OK: task.RunOK, sandbox.FunctionError: task.RunFailed, sandbox.GasExhausted: task.RunFailed,
	sandbox.MemoryExceeded: task.RunFailed, sandbox.OutputExceeded: task.RunFailed, sandbox.WallExceeded: task.OutOfTime,
}
