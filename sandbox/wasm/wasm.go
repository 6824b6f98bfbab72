// Package wasm runs functions that are WASI preview 1 modules, and Python scripts in an
// interpreter that is one, under the contract of package sandbox (spec §9.2, §9.3).
//
// It has three properties that the rest of the protocol builds on:
//
// A run is measured: package gas rewrites the module so that it counts its
// own instructions, and calls of the host are charged by what they move.
//
// A run is repeatable: the same job gives the same result, gas included, on
// every machine. Time is a shadow clock that moves by a microsecond each time
// it is read and by the length of each sleep, which takes no time at all.
// Random numbers come from a seed derived from the job; they are good enough
// for hash tables, and no secret from whoever knows the job. Only the sign
// and payload of a computed NaN are the processor's own, and code that looks
// at these bits sees which it is.
//
// A run leaves nothing: the memory of the guest and the files it wrote are
// overwritten with zeros when it ends, and a digest of the writable state,
// taken before the run and again after the wiping, says so (spec §9.5). The
// call stack of the guest is the engine's and goes with the process, which
// lives for one task.
//
// # How a run is stopped
//
// By gas, always, exactly, and by nothing but the job itself. The wall limit
// is for the case that a machine is slower than its owner thought. When it
// has passed, the next check of the gas counter stops the guest, and so does
// its next call of the host. But the timer is Go's: on a single processor it
// does not fire while the guest computes, and a garbage collection that
// begins meanwhile waits for the guest, and all the process with it. So a
// process for guests has two processors and the collector off, and whoever
// must be sure kills it: the enclave's parent does (spec §9.1).
//
// A module takes about half a second for a megabyte to compile, of the time
// that the wall limit gives it. When that is over nobody waits for the rest,
// but it goes on until it or the process ends.
package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/gas"
	"github.com/prytany/prytany/task"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// maxCompiled is how many modules an engine keeps compiled.
const maxCompiled = 8

// Engine runs WebAssembly modules. Its methods may be called by several
// goroutines at once.
type Engine struct {
	runtime wazero.Runtime

	mu      sync.Mutex
	modules map[task.Hash]*module
	clock   uint64 // counts uses
}

// A module is compiled once and kept while it is in use or among the last.
// Until it is ready, only the one that compiles it touches what comes of that.
type module struct {
	hash     task.Hash
	ready    chan struct{} // closed when it is compiled
	info     *gas.Module
	compiled wazero.CompiledModule
	err      error // what is wrong with it
	users    int
	last     uint64
}

// New starts an engine. It fails where the processor has no compiler, for
// an interpreter would call it a stack overflow much sooner.
func New(ctx context.Context) (w *Engine, err error) { return NewCached(ctx, "") }

// NewCached starts an engine that keeps what it compiles in a directory,
// and runs what it finds there: nobody else may write to it, and it is for
// modules that are public.
func NewCached(ctx context.Context, dir string) (w *Engine, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("no WebAssembly compiler here: %v", r)
		}
	}()
	config := wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithDebugInfoEnabled(false)
	if dir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(dir)
		if err != nil {
			return nil, err
		}
		config = config.WithCompilationCache(cache)
	}
	w = &Engine{runtime: wazero.NewRuntimeWithConfig(ctx, config), modules: map[task.Hash]*module{}}
	if err := exportWASI(ctx, w.runtime); err != nil {
		return nil, errors.Join(err, w.Close(ctx))
	}
	return w, nil
}

// Close frees all that the engine holds. No run may be under way. A compilation
// that a run did not wait for goes on until it or the process ends.
func (w *Engine) Close(ctx context.Context) error { return w.runtime.Close(ctx) }

// Compile prepares a module, which takes most of the time of a short run. The
// error says what is wrong with the module, and Run then says the same; or it is
// the context's, if that ended first.
func (w *Engine) Compile(ctx context.Context, code []byte) error {
	m, err := w.acquire(ctx, code)
	if err != nil {
		return err
	}
	defer w.release(ctx, m)
	return m.err
}

// acquire waits until a module is compiled, or for as long as its context lasts:
// the engine itself cannot be stopped.
func (w *Engine) acquire(ctx context.Context, code []byte) (*module, error) {
	hash := task.Hash(sha256.Sum256(code))
	w.mu.Lock()
	m := w.modules[hash]
	if m == nil {
		m = &module{hash: hash, ready: make(chan struct{}), users: 1}
		w.modules[hash] = m
		go func() {
			ctx := context.WithoutCancel(ctx)
			m.err = w.compile(ctx, m, code)
			close(m.ready)
			w.release(ctx, m)
		}()
	}
	m.users++
	w.clock++
	m.last = w.clock
	w.mu.Unlock()
	select {
	case <-m.ready:
		return m, nil
	case <-ctx.Done():
		w.release(ctx, m)
		return nil, ctx.Err()
	}
}

func (w *Engine) release(ctx context.Context, m *module) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.users--
	for len(w.modules) > maxCompiled {
		var oldest *module
		for _, m := range w.modules {
			if m.users == 0 && (oldest == nil || m.last < oldest.last) {
				oldest = m
			}
		}
		if oldest == nil {
			return
		}
		delete(w.modules, oldest.hash)
		if oldest.compiled != nil {
			_ = oldest.compiled.Close(ctx)
		}
	}
}

func (w *Engine) compile(ctx context.Context, m *module, code []byte) (err error) {
	defer func() { // in the engine, or in what is before it
		if r := recover(); r != nil {
			err = errors.New("the engine cannot compile the module")
			if e, ok := r.(error); ok && fromSystem(e) {
				err = &denied{e}
			}
		}
	}()
	m.info, err = gas.Instrument(code)
	if err != nil {
		return err
	}
	if !m.info.Entry {
		return errors.New("the module has no function _start without parameters and results")
	}
	for _, im := range m.info.Imports {
		if im.Module != wasiModule || !isCall[im.Name] {
			return fmt.Errorf("the module wants %q from %q, which does not exist here", im.Name, im.Module)
		}
		if !m.info.Memory {
			return errors.New("the module calls the host but has no memory")
		}
	}
	m.compiled, err = w.runtime.CompileModule(ctx, m.info.Code)
	if fromSystem(err) {
		return &denied{err}
	}
	if err != nil {
		return errors.New("not a valid module: " + firstLine(err))
	}
	return nil
}

// denied is what the system refused to the engine: no fault of the module.
type denied struct{ error }

// fromSystem says whether an error is the operating system's. A module causes
// none: it is memory for machine code that it does not give.
func fromSystem(err error) bool {
	var e syscall.Errno
	return errors.As(err, &e)
}

// Run runs a job to its end. It returns an error only if the job could not be
// run, for reasons that lie with the host or the caller; a run that fails
// gives a Result. It returns the context's error if that ended before the
// wall limit did.
func (w *Engine) Run(ctx context.Context, job sandbox.Job) (sandbox.Result, error) {
	if err := job.Check(); err != nil {
		return sandbox.Result{}, fmt.Errorf("job: %w", err)
	}
	nothing := sandbox.Result{Outcome: sandbox.FunctionError, Before: sandbox.EmptyState, After: sandbox.EmptyState}
	code, script, err := codeOf(&job)
	if err != nil {
		nothing.Reason = err.Error()
		return nothing, nil
	}
	wall, stop := job.Limits.Clock(ctx)
	defer stop()
	m, err := w.acquire(wall, code)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			w.release(ctx, m)
		}
		return sandbox.Result{}, ctx.Err()
	case err != nil:
		nothing.Outcome, nothing.Reason = sandbox.WallExceeded, "the module was not compiled when the function's time was over"
		return nothing, nil
	}
	defer w.release(ctx, m)
	if no := (*denied)(nil); errors.As(m.err, &no) {
		return sandbox.Result{}, fmt.Errorf("no memory for the module's code: %w", no.error)
	}
	if m.err != nil {
		nothing.Reason = m.err.Error()
		return nothing, nil
	}
	if need := uint64(m.info.MinPages) * gas.PageSize; need > job.Limits.MemoryBytes {
		nothing.Outcome = sandbox.MemoryExceeded
		nothing.Reason = fmt.Sprintf("the module needs %d bytes of memory to begin with, and may have %d", need, job.Limits.MemoryBytes)
		return nothing, nil
	}
	return w.start(ctx, wall, m, &job, script)
}

// codeOf is the module of a job, and what it interprets: a function that
// is no module is the private files of one that is public.
func codeOf(j *sandbox.Job) (module []byte, script []sandbox.File, err error) {
	if len(j.Image) == 0 {
		return j.Code, nil, nil
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(j.Image)); got != j.Digest {
		return nil, nil, fmt.Errorf("the interpreter is %s, not the manifest's %s", got, j.Digest)
	}
	script, err = sandbox.CodeFiles(j.Code)
	return j.Image, script, err
}

func (w *Engine) start(parent, wall context.Context, m *module, job *sandbox.Job, script []sandbox.File) (sandbox.Result, error) {
	r := newRun(wall, m.hash, job, script)
	if err := r.files.load(r.files.in, job.Inputs); err != nil {
		return sandbox.Result{}, err
	}
	if script != nil {
		if err := r.files.load(r.files.directory(r.files.root, sandbox.CodeDir, nil), script); err != nil {
			return sandbox.Result{Outcome: sandbox.FunctionError, Before: sandbox.EmptyState, After: sandbox.EmptyState, Reason: err.Error()}, nil
		}
	}
	mem := &memory{limit: job.Limits.MemoryBytes &^ (gas.PageSize - 1)}
	result := sandbox.Result{Before: sandbox.StateDigest(r.files.written())}

	// The engine must not see that the context ends: it would then look at
	// it on every turn of a loop.
	inner := context.WithValue(context.WithoutCancel(parent), runKey{}, r)
	guest, err := w.runtime.InstantiateModule(experimental.WithMemoryAllocator(inner, mem), m.compiled, guestConfig())
	if mem.err != nil {
		return sandbox.Result{}, fmt.Errorf("no memory for the guest: %w", mem.err)
	}
	if err == nil {
		r.judge(&result, guest, r.call(inner, m, guest))
		_ = guest.Close(inner) // what can go wrong there is up to the guest
	} else {
		result.Outcome, result.Reason = sandbox.FunctionError, "the module cannot be started: "+firstLine(err)
	}
	result.Log = r.log.bytes()
	if result.Outcome == sandbox.OK {
		result.Outputs = r.files.take()
	} else {
		result.Message = r.files.message()
	}
	r.files.wipe()
	result.After = sandbox.StateDigest(r.files.written())
	if err := mem.wipe(); err != nil {
		return sandbox.Result{}, fmt.Errorf("the guest's memory: %w", err)
	}
	if err := parent.Err(); err != nil && result.Outcome == sandbox.WallExceeded {
		return sandbox.Result{}, err
	}
	return result, nil
}

// guestConfig gives a guest nothing of the engine's own.
func guestConfig() wazero.ModuleConfig {
	return wazero.NewModuleConfig().WithName("").WithStartFunctions()
}

// call runs the guest until it returns, exits, traps or is stopped.
func (r *run) call(ctx context.Context, m *module, guest api.Module) error {
	r.used = guest.ExportedGlobal(gas.Used).(api.MutableGlobal)
	limit := guest.ExportedGlobal(gas.Limit).(api.MutableGlobal)
	limit.Set(r.limit)
	// From here on the guest only reads its limit, and this only writes it.
	stop := context.AfterFunc(r.ctx, func() {
		r.expired.Store(true)
		limit.Set(0)
	})
	defer stop()
	for _, f := range []string{gas.Start, gas.Run} {
		if f == gas.Start && !m.info.Start {
			continue
		}
		if _, err := guest.ExportedFunction(f).Call(ctx); err != nil {
			return err
		}
	}
	return nil
}

// judge says how the run ended, given the error of its last call.
func (r *run) judge(result *sandbox.Result, guest api.Module, err error) {
	r.files.closeAll()
	used := r.used.Get()
	result.Gas = min(used, r.limit)
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		result.ExitCode = exit.ExitCode()
	}
	failed := err != nil && (exit == nil || exit.ExitCode() != 0)
	why := "the function crashed: " + trap(err)
	switch {
	case exit != nil:
		why = fmt.Sprintf("the function ended with exit code %d", result.ExitCode)
	case guest.ExportedGlobal(gas.Depth).Get() > gas.MaxDepth:
		why = "the function crashed: its calls are nested too deep"
	}
	tooMuch := r.files.tooMuch()
	switch {
	case tooMuch != "":
		result.Outcome = sandbox.OutputExceeded
		result.Reason = "the output has too many " + tooMuch
	case used > r.limit:
		result.Outcome = sandbox.GasExhausted
		result.Reason = fmt.Sprintf("the function was stopped when it had used all %d gas", r.limit)
	case !failed:
		result.Outcome = sandbox.OK
	case r.expired.Load():
		result.Outcome = sandbox.WallExceeded
		result.Reason = "the function was stopped when its time was over"
	case guest.ExportedGlobal(gas.Denied).Get() != 0:
		result.Outcome = sandbox.MemoryExceeded
		result.Reason = why + ", after it was denied more memory"
	default:
		result.Outcome = sandbox.FunctionError
		result.Reason = why
	}
}

// trap says in a word why a guest could not go on. What the engine adds about
// the place is about Bob's code, and stays here.
func trap(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(firstLine(err), "wasm error: ")
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
