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

// ended is what came of a run: what is signed of it, and what the requester alone hears.
type ended struct {
	sandbox.Result
	outcome task.Outcome
	party   uint8  // whose key is wrong
	detail  string // one of tee.Outcomes; empty if she hears nothing
}

// execute runs the sandbox, unless a key opens nothing. An error is the host's
// failure, for which nobody signs a result. No function can cause one: it could
// tell something by that, and its executor would pay.
func (e *enclave) execute(q tee.Run) (ended, error) {
	if len(q.Files) != len(e.parties) {
		return ended{}, fmt.Errorf("%d files for %d parties", len(q.Files), len(e.parties))
	}
	plain := make([][]byte, len(e.parties))
	defer func() {
		for _, p := range plain {
			clear(p)
		}
	}()
	for i, p := range e.parties {
		if !p.Names {
			continue
		}
		e.to = e.opened[i].to
		if _, err := e.encrypt(nil); err != nil {
			// A result that nobody can be given is the fault of who asked for it.
			return wrongKey(i, p.Role, "the "+p.Role.String()+"'s release names nobody whom the result could be encrypted to"), nil
		}
	}
	for i, p := range e.parties {
		if p.File == (task.Blob{}) {
			continue
		}
		var blame bool
		var err error
		if plain[i], blame, err = e.opened[i].decrypt(q.Files[i], p.File); blame || err != nil {
			return wrongKey(i, p.Role, "the "+p.Role.String()+"'s key does not open its file"), err
		}
	}
	const input = 1 // the one, of the first data owner
	code, m := plain[len(plain)-1], e.begin.Function.Manifest
	if m.Image != nil && task.BlobOf(q.Image) != m.Image.Blob {
		return ended{}, fmt.Errorf("this is not the image %s", m.Image.Blob.CID)
	}
	inputs, err := tee.UnpackInputs(m, plain[input])
	if err != nil {
		return wrongKey(input, task.DataOwner, "the input is not what the function takes: "+err.Error()), nil
	}
	job := NewJob(m, e.begin.Task.Args, e.begin.Task.GasLimit, code, q.Image, inputs)
	ran, err := e.runtimes.run(context.Background(), m, q.Compiled, job)
	if err != nil {
		return ended{}, err
	}
	return judged(m, ran), nil
}

// wrongKey is the end of a run that a party's key, or what it opens, prevented.
func wrongKey(party int, role task.Role, reason string) ended {
	e := ended{Result: failed(reason), outcome: task.WrongKey, party: uint8(party), detail: "wrong-input-key"}
	if role == task.CodeOwner {
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
	case sandbox.OutputRefused:
		e.detail = "output-refused"
	case sandbox.WallExceeded, sandbox.Killed:
		e.outcome = task.OutOfTime
	default:
		e.detail = "function-error"
	}
	if m.Bounded() {
		// What fits a schema is all that leaves: a failure says its kind alone.
		e.Log, e.Message, e.ExitCode, e.Reason = nil, "", 0, ""
		return e
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
	if m.Bounded() {
		out.Run.Gas = m.ShownGas(m.RunGas(e.begin.Task), ran.Gas)
		out.Run.Millis = m.ShownMillis(ran.outcome, out.Run.Millis)
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

// encrypt encrypts to whom the requester's release names, who must be the one that the
// task names.
func (e *enclave) encrypt(plain []byte) ([]byte, error) {
	if task.NameRecipient(e.to) != e.begin.Task.Recipient {
		return nil, errors.New("the release names another recipient than the task")
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
