// Package sandbox runs Bob's function on Alice's data and lets neither of
// them reach anything else (spec §9).
//
// # The contract
//
// It is the same for every runtime (spec §9.2). A function finds its input as
// read-only files in /in, leaves its output as files in /out, and has /tmp for
// what is to be forgotten. It has
// arguments, an exit code, and a standard error stream of which a bounded
// part becomes a log, for Alice if its author says so. If it fails, it may say
// why in /out/error.txt. There is nothing else: no network, no other
// file, no environment, no standard input; what it writes to standard output
// is dropped. A Job says what to run and within which Limits, and a Result
// says what came of it. Whatever the function does, Run gives a Result that
// names it in words Alice can read; an error means that the host itself could
// not do its part, and that the run must not be charged to anyone.
//
// The runtimes are packages of their own: wasm runs WebAssembly, and Python on it,
// container and docker run images. What they share is here, so that none of them
// links another's engine.
package sandbox

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/task"
)

// What a job may ask for at most.
const (
	MaxFiles    = 1024     // input files, and files and directories in /out
	TmpBytes    = 64 << 20 // in /tmp, and no more than the memory that the job may have
	TmpFiles    = 4096     // files and directories in /tmp
	MaxArgs     = 1024     // arguments
	MaxGas      = 1 << 62  // as a limit
	MaxArgBytes = 1 << 20  // bytes of all arguments
	MaxPath     = 4096     // bytes of the path of a file
	MaxName     = 255      // bytes of each of its elements
)

// Limits are what a run may use. Nothing is unlimited, except by Wall 0.
type Limits struct {
	Gas         uint64        // counted instructions, see package gas; at most MaxGas
	MemoryBytes uint64        // linear memory; rounded down to pages of 64 KiB, at most 4 GiB
	OutputBytes uint64        // content of all files in /out together
	LogBytes    uint64        // standard error; what comes after is dropped
	Wall        time.Duration // 0: as long as the context allows
}

// Clock starts the wall limit's time, on top of the context's.
func (l Limits) Clock(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.Wall == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, l.Wall)
}

// A File is a regular file. Its name is a relative path with slashes, as in
// package io/fs, below /in or /out.
type File struct {
	Name string
	Data []byte
}

// A Job is one run of one function. Run reads Code, Image and the data of
// Inputs and keeps no reference to any, unless its time ends before the module
// is compiled.
type Job struct {
	// Code is what Bob keeps private: for wasm a module, for every other runtime
	// a layer, which is a tar of files that come on top of the image.
	Code []byte
	// Image is the public part that Code builds on, and Digest its name, such as
	// sha256:…, which Run holds it to. For python it is the interpreter, for
	// containers a tar of an OCI image layout; empty if Code is all there is.
	Image  []byte
	Digest string
	Args   []string // wasm: without the program's name, which is "function"
	Inputs []File
	Limits Limits
}

// An Outcome says in one word how a run ended (spec §10.2).
type Outcome uint8

const (
	OK             Outcome = iota + 1 // exit code 0, output within its limit
	FunctionError                     // not a module that can be run, a trap, or another exit code
	GasExhausted                      // stopped at the gas limit
	MemoryExceeded                    // failed after it was denied more memory
	OutputExceeded                    // wrote more, or more files, than allowed
	WallExceeded                      // took too long
	Killed                            // ended by SIGKILL, and not by this package: nobody can say by whom
	OutputRefused                     // wrote what the schema of an output does not allow; no runtime says it, but who holds it to its manifest
)

var outcomes = [...]string{
	OK: "ok", FunctionError: "function error", GasExhausted: "gas exhausted",
	MemoryExceeded: "memory exceeded", OutputExceeded: "output exceeded", WallExceeded: "wall time exceeded",
	Killed: "killed", OutputRefused: "output refused",
}

func (o Outcome) String() string {
	if o < OK || int(o) >= len(outcomes) {
		return fmt.Sprintf("outcome %d", uint8(o))
	}
	return outcomes[o]
}

// A Result says what came of a run.
type Result struct {
	Outcome  Outcome
	ExitCode uint32    // what the function said; 0 also where it did not come to say it
	Gas      uint64    // used, at most Limits.Gas; exactly that if GasExhausted
	Outputs  []File    // sorted by name, and none unless OK
	Log      []byte    // at most Limits.LogBytes
	Message  string    // of a run that failed: what it wrote to /out/error.txt, at most MaxMessage bytes
	Reason   string    // for Alice, in words; empty if OK
	Before   task.Hash // StateDigest of the writable state when the run began
	After    task.Hash // and when all was wiped
}

// EmptyState is the StateDigest of a writable state with nothing in it.
var EmptyState = StateDigest(nil)

// StateDigest is the digest of writable state: the hash over the name and
// content of all files in the order of their names (spec §9.5). A directory
// is a file without content whose name ends in a slash.
func StateDigest(files []File) task.Hash {
	files = slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	parts := make([][]byte, 0, 2*len(files))
	for _, f := range files {
		parts = append(parts, []byte(f.Name), f.Data)
	}
	return task.H(task.TagState, parts...)
}

// Check finds what no runtime could run. It is the caller who is at fault
// here, for he has read the manifest and packed the input.
func (j *Job) Check() error {
	if len(j.Args) > MaxArgs {
		return fmt.Errorf("%d arguments, more than %d", len(j.Args), MaxArgs)
	}
	size := 0
	for _, a := range j.Args {
		size += len(a) + 1
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("argument %q has a zero byte", a)
		}
	}
	if size > MaxArgBytes {
		return fmt.Errorf("arguments of %d bytes, more than %d", size, MaxArgBytes)
	}
	if len(j.Inputs) > MaxFiles {
		return fmt.Errorf("%d input files, more than %d", len(j.Inputs), MaxFiles)
	}
	for _, f := range j.Inputs {
		if !fs.ValidPath(f.Name) || f.Name == "." || len(f.Name) > MaxPath {
			return fmt.Errorf("input file has the name %q", f.Name)
		}
	}
	if j.Limits.Gas > MaxGas {
		return fmt.Errorf("a gas limit of %d, more than %d", j.Limits.Gas, uint64(MaxGas))
	}
	if j.Limits.Wall < 0 {
		return fmt.Errorf("a wall limit of %v", j.Limits.Wall)
	}
	return nil
}
