package tee

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
)

// logBytes is how much of a function's standard error Alice gets.
const logBytes = 64 << 10

// A runtime runs jobs by one technology (spec §9.3).
type runtime interface {
	Run(ctx context.Context, job sandbox.Job) (sandbox.Result, error)
}

// execute runs the sandbox, unless a key opens nothing. An error is the host's
// failure, for which nobody signs a result.
func (e *enclave) execute(q Run) (sandbox.Result, task.Outcome, error) {
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
	inputs, err := UnpackInputs(m, input)
	if err != nil {
		return failed("Alice's input is not what the function takes: " + err.Error()), task.BadInputKey, nil
	}
	job := NewJob(m, e.begin.Task.Args, e.begin.Task.GasLimit, code, q.Image, inputs)
	ran, err := RunFunction(context.Background(), m, e.begin.Host, job)
	return ran, outcomes[ran.Outcome], err
}

// RunFunction runs a job in the runtime of its manifest, and holds what comes
// out to that. An error is the host's failure.
func RunFunction(ctx context.Context, m task.Manifest, h Host, job sandbox.Job) (sandbox.Result, error) {
	r, done, err := open(ctx, m, h)
	if err != nil {
		return failed(""), fmt.Errorf("the sandbox does not start: %w", err)
	}
	defer done()
	ran, err := r.Run(ctx, job)
	if errors.Is(err, image.ErrDigest) { // Bob's blob is not the image that he names
		ran = failed(err.Error())
		ran.Outcome, err = sandbox.FunctionError, nil
	}
	checkOutputs(m, &ran)
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
	sandbox.OK: task.RunOK, sandbox.FunctionError: task.FunctionError, sandbox.GasExhausted: task.GasExhausted,
	sandbox.MemoryExceeded: task.MemoryExceeded, sandbox.OutputExceeded: task.OutputExceeded, sandbox.WallExceeded: task.WallExceeded,
}

// PackInputs makes one blob of a function's inputs: of a function that names
// none, the one file; else a tar of them, in the manifest's order.
func PackInputs(m task.Manifest, files map[string][]byte) ([]byte, error) {
	if len(m.Inputs) == 0 {
		return files["input"], nil
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range m.Inputs {
		data, ok := files[p.Name]
		if !ok {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: p.Name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX}); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}

// UnpackInputs gives a function its files: those that its manifest names, none
// missing, none too long and none beside them.
func UnpackInputs(m task.Manifest, blob []byte) ([]sandbox.File, error) {
	if len(m.Inputs) == 0 {
		return []sandbox.File{{Name: "input", Data: blob}}, nil
	}
	files, err := sandbox.PlainFiles(blob, len(m.Inputs))
	if err != nil {
		return nil, fmt.Errorf("want a tar of the inputs alone: %w", err)
	}
	return files, checkPorts("input", m.Inputs, files)
}

// checkOutputs holds a run that went well to the outputs that its manifest
// names: that it wrote other files is the function's error.
func checkOutputs(m task.Manifest, r *sandbox.Result) {
	if r.Outcome != sandbox.OK || len(m.Outputs) == 0 {
		return
	}
	if err := checkPorts("output", m.Outputs, r.Outputs); err != nil {
		r.Outcome, r.Reason, r.Outputs = sandbox.FunctionError, "the function broke its manifest: "+err.Error(), nil
	}
}

// checkPorts holds files to what a manifest says of them.
func checkPorts(what string, ports []task.Port, files []sandbox.File) error {
	seen := map[string]bool{}
	for _, f := range files {
		i := slices.IndexFunc(ports, func(p task.Port) bool { return p.Name == f.Name })
		switch {
		case i < 0:
			return fmt.Errorf("there is no %s %q", what, f.Name)
		case seen[f.Name]:
			return fmt.Errorf("%s %s stands twice", what, f.Name)
		case ports[i].MaxBytes > 0 && uint64(len(f.Data)) > ports[i].MaxBytes:
			return fmt.Errorf("%s %s has %d bytes, more than %d", what, f.Name, len(f.Data), ports[i].MaxBytes)
		}
		seen[f.Name] = true
	}
	for _, p := range ports {
		if !p.Optional && !seen[p.Name] {
			return fmt.Errorf("%s %s is missing", what, p.Name)
		}
	}
	return nil
}
