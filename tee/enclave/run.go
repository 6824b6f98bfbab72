package enclave

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// ended is what came of a run: what is signed of it, and what Alice alone hears.
type ended struct {
	sandbox.Result
	outcome task.Outcome
	detail  string // one of tee.Outcomes; empty if she hears nothing
}

// execute runs the sandbox, unless a key opens nothing. An error is the host's
// failure, for which nobody signs a result. No function can cause one: it could
// tell something by that, and its executor would pay.
func (e *enclave) execute(q tee.Run) (ended, error) {
	if _, err := e.encrypt(nil); err != nil {
		// A result that nobody can be given is Alice's fault: she named nobody.
		return notBegun(task.BadInputKey, "Alice named nobody whom the result could be encrypted to"), nil
	}
	code, blame, err := e.code.decrypt(q.Code, e.begin.Function.Code)
	if blame || err != nil {
		return notBegun(task.BadCodeKey, "Bob's key does not open his code"), err
	}
	defer clear(code)
	input, blame, err := e.input.decrypt(q.Input, e.begin.Task.Input)
	if blame || err != nil {
		return notBegun(task.BadInputKey, "Alice's key does not open her input"), err
	}
	defer clear(input)
	m := e.begin.Function.Manifest
	if m.Image != nil && task.BlobOf(q.Image) != m.Image.Blob {
		return ended{}, fmt.Errorf("this is not the image %s", m.Image.Blob.CID)
	}
	inputs, err := tee.UnpackInputs(m, input)
	if err != nil {
		return notBegun(task.BadInputKey, "Alice's input is not what the function takes: "+err.Error()), nil
	}
	job := NewJob(m, e.begin.Task.Args, e.begin.Task.GasLimit, code, q.Image, inputs)
	ran, err := e.runtimes.run(context.Background(), m, q.Compiled, job)
	if err != nil {
		return ended{}, err
	}
	return judged(m, ran), nil
}

// notBegun is the end of a run that an owner's key, or what it opens, prevented.
func notBegun(blame task.Outcome, reason string) ended {
	e := ended{failed(reason), blame, "wrong-input-key"}
	if blame == task.BadCodeKey {
		e.detail = "wrong-code-key"
	}
	return e
}

// judged is what a run's end is for the money, and what Alice hears of it
// (spec §9.2.9, §9.3).
func judged(m task.Manifest, ran sandbox.Result) ended {
	e := ended{Result: ran, outcome: task.RunFailed}
	switch ran.Outcome {
	case sandbox.OK:
		e.outcome, e.detail = task.RunOK, "ok"
	case sandbox.GasExhausted:
		e.detail = "gas-exhausted"
	case sandbox.MemoryExceeded:
		e.detail = "memory-limit"
	case sandbox.OutputExceeded:
		e.detail = "output-limit"
	case sandbox.WallExceeded, sandbox.Killed:
		e.outcome = task.OutOfTime
	default:
		e.detail = "function-error"
	}
	if !m.Log {
		e.Log, e.Reason = nil, withheld(ran)
	} else if e.Log == nil {
		e.Log = []byte{}
	}
	return e
}

// withheld is why a run failed, in words that say nothing about Bob's code. Limits
// are his manifest's, and the exit code is his program's word to the outside; but
// what crashed how, and what is wrong with which file, is his affair.
func withheld(ran sandbox.Result) string {
	switch ran.Outcome {
	case sandbox.GasExhausted, sandbox.OutputExceeded: // nothing but a limit
		return ran.Reason
	case sandbox.MemoryExceeded:
		return "the function was denied more memory, and failed"
	case sandbox.FunctionError:
		if ran.ExitCode != 0 {
			return fmt.Sprintf("the function ended with exit code %d", ran.ExitCode)
		}
		return "the function failed"
	}
	return ""
}

// pack makes Alice's archive and encrypts it to her: of one size for all runs that
// are not ok, and none for one that is out of time, which another executor begins
// again. Outputs that are too many for her to get are the function's failure.
func (e *enclave) pack(m task.Manifest, ran *ended, took time.Duration) ([]byte, error) {
	if ran.outcome == task.OutOfTime {
		return nil, nil
	}
	out := tee.Output{
		Files: map[string][]byte{}, Log: ran.Log, Message: ran.Message,
		Run: tee.Report{Outcome: ran.detail, ExitCode: ran.ExitCode, Gas: ran.Gas, Millis: uint64(took.Milliseconds()), Reason: ran.Reason},
	}
	for _, f := range ran.Outputs {
		out.Files[f.Name] = f.Data
	}
	least := uint64(0)
	if ran.outcome != task.RunOK {
		least = tee.ShownFailure(m)
	}
	packed, err := out.Pack(least)
	if err != nil { // by whatever the function has written, and nothing else
		ran.outcome = task.RunFailed
		out.Files, out.Run.Outcome, out.Run.Reason = nil, "output-limit", "the output, with its names, is longer than a blob can be"
		if packed, err = out.Pack(tee.ShownFailure(m)); err != nil {
			return nil, err
		}
	}
	defer clear(packed)
	file, err := e.encrypt(packed)
	if err != nil { // as execute has found before
		return nil, nil
	}
	return file, nil
}

// encrypt encrypts to whom Alice's release names, who must be the one that her task
// names: a release is hers if it opens her input, and this it need not.
func (e *enclave) encrypt(plain []byte) ([]byte, error) {
	if task.NameRecipient(e.to) != e.begin.Task.Recipient {
		return nil, errors.New("Alice's release names another recipient than her task")
	}
	return seal.Encrypt(e.to, plain)
}

// Run runs a job in the runtime of its manifest, and holds what comes
// out to that. An error is the host's failure.
func (rs Runtimes) Run(ctx context.Context, m task.Manifest, job sandbox.Job) (sandbox.Result, error) {
	return rs.run(ctx, m, nil, job)
}

func (rs Runtimes) run(ctx context.Context, m task.Manifest, compiled []byte, job sandbox.Job) (sandbox.Result, error) {
	r, done, err := rs.open(ctx, m, compiled)
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

// NewJob is the run that a manifest asks for, with what Alice adds to it: her
// arguments come after Bob's. The first of all is the program, or the script; so
// where Bob names none, hers are not taken in its place (spec §9.2.8).
func NewJob(m task.Manifest, args []string, gas uint64, code, image []byte, inputs []sandbox.File) sandbox.Job {
	j := sandbox.Job{
		Code: code, Image: image, Args: slices.Concat(m.Args, args), Inputs: inputs,
		Limits: sandbox.Limits{
			Gas: min(m.Limits.Gas, gas, sandbox.MaxGas), MemoryBytes: m.Limits.MemoryBytes, OutputBytes: m.Limits.OutputBytes,
			LogBytes: tee.MaxLog, Wall: time.Duration(m.Limits.WallMillis) * time.Millisecond,
		},
	}
	if len(m.Args) == 0 && m.Runtime != task.RuntimeWasm {
		j.Args = nil
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
