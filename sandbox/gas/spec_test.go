package gas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// engineSource is where the engine's own test data lies: it comes with the
// WebAssembly specification's test suite in binary form.
func engineSource(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skip("the source of the engine is not here: ", err)
	}
	return dir
}

// A twin is a module in three forms, as it came, counted by regions and
// counted one by one, which have to behave alike.
type twin struct {
	runtimes [3]wazero.Runtime
	named    map[string][3]api.Module
	last     [3]api.Module
	refused  bool
}

func newTwin(t testing.TB, imports []byte) *twin {
	w := &twin{named: map[string][3]api.Module{}}
	for i := range w.runtimes {
		w.runtimes[i] = newRuntime(t)
		if imports != nil {
			if _, err := w.runtimes[i].Instantiate(t.Context(), imports); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

func forms(code []byte) (three [3][]byte, err error) {
	m, err := Instrument(code)
	if err != nil {
		return three, err
	}
	dull, err := naive(code)
	return [3][]byte{withoutNames(code), m.Code, dull}, err
}

// load instantiates all three forms. Of the original it runs the start function by hand as well.
func (w *twin) load(ctx context.Context, code []byte) error {
	w.last, w.refused = [3]api.Module{}, false
	three, err := forms(code)
	if err != nil {
		w.refused = true
		return err
	}
	var errs [3]error
	for i, form := range three {
		w.last[i], errs[i] = w.runtimes[i].InstantiateWithConfig(ctx, form, wazero.NewModuleConfig().WithName(""))
		if errs[i] == nil && i > 0 {
			w.last[i].ExportedGlobal(Limit).(api.MutableGlobal).Set(1 << 50)
			if f := w.last[i].ExportedFunction(Start); f != nil {
				_, errs[i] = f.Call(ctx)
			}
		}
	}
	if (errs[0] == nil) != (errs[1] == nil) || (errs[1] == nil) != (errs[2] == nil) {
		return fmt.Errorf("not alike: %w", errors.Join(errs[:]...))
	}
	w.refused = errs[0] != nil
	return nil
}

func kind(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(line, "wasm error: ")
}

// call calls a function of all three and compares what they do.
func (w *twin) call(ctx context.Context, modules [3]api.Module, name string, args []uint64) error {
	var results [3][]uint64
	var errs [3]error
	var used [3]uint64
	for i, m := range modules {
		if i > 0 {
			m.ExportedGlobal(Used).(api.MutableGlobal).Set(0)
			m.ExportedGlobal(Depth).(api.MutableGlobal).Set(0)
		}
		results[i], errs[i] = m.ExportedFunction(name).Call(ctx, args...)
		if i > 0 {
			used[i] = m.ExportedGlobal(Used).Get()
		}
	}
	for i := 1; i < 3; i++ {
		deep := kind(errs[0]) == "stack overflow" && errs[i] != nil
		if kind(errs[0]) != kind(errs[i]) && !deep {
			return fmt.Errorf("%v, but counted %v", errs[0], errs[i])
		}
		if f := modules[0].ExportedFunction(name).Definition(); !slices.Equal(results[0], results[i]) && comparable(f) {
			return fmt.Errorf("%x, but counted %x", results[0], results[i])
		}
	}
	if errs[0] == nil && used[1] != used[2] {
		return fmt.Errorf("counted %d, but one by one %d", used[1], used[2])
	}
	return nil
}

// comparable is false for references, which are addresses.
func comparable(f api.FunctionDefinition) bool {
	return !slices.ContainsFunc(f.ResultTypes(), func(t api.ValueType) bool { return t == api.ValueTypeExternref || t == 0x70 })
}

type command struct {
	Type       string
	Line       int
	Name       string
	As         string
	Filename   string
	ModuleType string `json:"module_type"`
	Action     struct {
		Type, Module, Field string
		Args                []value
	}
}

type value struct {
	Type     string
	LaneType string `json:"lane_type"`
	Value    any
}

// words gives a value in the form of the engine.
func (v value) words() []uint64 {
	parse := func(s string) uint64 {
		if s == "null" {
			return 0
		}
		u, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			panic(err)
		}
		return u
	}
	if v.Type != "v128" {
		return []uint64{parse(v.Value.(string))}
	}
	lanes := v.Value.([]any)
	width := 128 / len(lanes)
	out := make([]uint64, 2)
	for i, l := range lanes {
		x := parse(l.(string))
		if width < 64 {
			x &= 1<<width - 1
		}
		out[i*width/64] |= x << (i * width % 64)
	}
	return out
}

// The specification's tests do the same, counted or not.
func TestSpecification(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	dir := filepath.Join(engineSource(t), "internal/integration_test/spectest")
	imports, err := os.ReadFile(filepath.Join(dir, "v2/testdata/spectest.wasm"))
	if err != nil {
		imports, err = os.ReadFile(filepath.Join(dir, "testdata/spectest.wasm"))
	}
	if err != nil {
		t.Skip(err)
	}
	scripts, _ := filepath.Glob(filepath.Join(dir, "v2/testdata/*.json"))
	if len(scripts) == 0 {
		t.Skip("no tests there")
	}
	total := map[string]int{}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".json"), func(t *testing.T) {
			runScript(t, script, imports, total)
		})
	}
	t.Log(total)
	if total["call"] < 40_000 || total["module"] < 1_000 {
		t.Error("fewer than there should be")
	}
}

func runScript(t *testing.T, script string, imports []byte, total map[string]int) {
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Commands []command }
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	w := newTwin(t, imports)
	for _, c := range s.Commands {
		fail := func(err error) {
			if err != nil {
				t.Errorf("line %d: %v", c.Line, err)
			}
		}
		code, _ := os.ReadFile(filepath.Join(filepath.Dir(script), c.Filename))
		switch c.Type {
		case "module":
			err := w.load(t.Context(), code)
			if err != nil && strings.Contains(err.Error(), "not a function") || err == nil && w.refused {
				total["module with other imports"]++
				continue
			}
			fail(err)
			total["module"]++
			if c.Name != "" {
				w.named[c.Name] = w.last
			}
		case "register":
			// Registered modules are imported by others for their functions,
			// which is not possible here: the others are refused.
		case "assert_invalid", "assert_malformed":
			if c.ModuleType != "binary" {
				continue
			}
			if _, err := newRuntime(t).CompileModule(t.Context(), code); err == nil {
				continue // the engine takes it
			}
			total["invalid"]++
			m, err := Instrument(code)
			if err != nil {
				continue
			}
			if _, err := newRuntime(t).CompileModule(t.Context(), m.Code); err == nil {
				fail(errors.New("became valid by being counted"))
			}
		case "assert_return", "assert_trap", "assert_exhaustion", "action":
			modules := w.last
			if c.Action.Module != "" {
				modules = w.named[c.Action.Module]
			}
			if c.Action.Type != "invoke" || modules[0] == nil || modules[1] == nil {
				total["not called"]++
				continue
			}
			var args []uint64
			for _, v := range c.Action.Args {
				args = append(args, v.words()...)
			}
			total["call"]++
			fail(w.call(t.Context(), modules, c.Action.Field, args))
		}
	}
}
