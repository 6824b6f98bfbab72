package gas

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/sandbox/internal/wat"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// FuzzRewrite holds that no input makes the rewriter panic, that what is no
// module stays none, that what is one is counted or refused, and that it then
// does the same as before, at the price that counting one by one arrives at.
func FuzzRewrite(f *testing.F) {
	for _, c := range counts {
		f.Add(wat.Module(c.module))
	}
	most := 4096
	if flag.Lookup("test.fuzz").Value.String() != "" {
		most = 1024 // the larger take seconds, and over ten a fuzzed input counts as a deadlock
	}
	if !testing.Short() {
		dir := engineSource(f)
		seeds, _ := filepath.Glob(filepath.Join(dir, "internal/integration_test/fuzzcases/testdata/*.wasm"))
		more, _ := filepath.Glob(filepath.Join(dir, "internal/integration_test/spectest/v2/testdata/*.0.wasm"))
		for _, s := range append(seeds, more...) {
			if b, err := os.ReadFile(s); err == nil && len(b) < most {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		m, err := Instrument(code)
		if err != nil {
			return
		}
		r := newRuntime(t)
		_, plain := r.CompileModule(t.Context(), withoutNames(code))
		_, counted := r.CompileModule(t.Context(), m.Code)
		if plain != nil && counted == nil {
			t.Fatalf("became valid by being counted; it was %v", plain)
		}
		if plain == nil && counted != nil {
			t.Fatalf("became invalid by being counted: %v", counted)
		}
		if plain != nil || len(m.Imports) > 0 || m.MinPages > 256 {
			return
		}
		compareAll(t, code)
	})
}

// withoutNames leaves out the custom sections, which the engine would read.
func withoutNames(code []byte) []byte {
	r := reader{b: code, at: len(header)}
	out := []byte(header)
	for r.left() > 0 {
		id := r.byte()
		if content := r.bytes(int(r.u32())); id != secCustom {
			out = appendSized(append(out, id), content)
		}
	}
	return out
}

// compareAll calls each exported function once, with zeros, in all forms.
func compareAll(t *testing.T, code []byte) {
	const limit = 1_000_000
	three, err := forms(code)
	if err != nil {
		t.Fatal(err)
	}
	w := newTwin(t, nil)
	var errs [3]error
	for i, form := range three[1:] { // the original last: it may have no end
		w.last[1+i], errs[1+i] = w.runtimes[1+i].InstantiateWithConfig(t.Context(), form, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	}
	if (errs[1] == nil) != (errs[2] == nil) {
		t.Fatalf("%v, one by one %v", errs[1], errs[2])
	}
	if errs[1] != nil {
		return
	}
	set := func(i int) {
		w.last[i].ExportedGlobal(Used).(api.MutableGlobal).Set(0)
		w.last[i].ExportedGlobal(Depth).(api.MutableGlobal).Set(0)
		w.last[i].ExportedGlobal(Limit).(api.MutableGlobal).Set(limit)
	}
	ends := func(name string, args []uint64) bool {
		set(1)
		_, err := w.last[1].ExportedFunction(name).Call(t.Context(), args...)
		over := w.last[1].ExportedGlobal(Used).Get() > limit || w.last[1].ExportedGlobal(Depth).Get() > MaxDepth
		set(1)
		return !over && kind(err) != "stack overflow"
	}
	if start := w.last[1].ExportedFunction(Start); start != nil && !ends(Start, nil) {
		return
	}
	for name, def := range w.last[1].ExportedFunctionDefinitions() {
		if name == Start || name == Run {
			continue
		}
		args := []uint64{}
		for _, p := range def.ParamTypes() {
			args = append(args, 0)
			if p == 0x7b {
				args = append(args, 0)
			}
		}
		if !ends(name, args) {
			continue
		}
		// A fresh start for each, for the trial has left its traces.
		w := newTwin(t, nil)
		if err := w.load(t.Context(), code); err != nil {
			t.Fatal(err)
		}
		if w.refused {
			return
		}
		if err := w.call(t.Context(), w.last, name, args); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
