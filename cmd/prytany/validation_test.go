package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/enclave"
)

// validation is the example on this machine, with its model: a test is skipped
// where there is no container runtime, or nothing to make its image of.
func validation(t *testing.T) (a *app, home string, patients []byte) {
	skipInShort(t)
	if k, err := container.Pick(t.Context()); err != nil {
		t.Skip(err)
	} else {
		k.Close()
	}
	a = &app{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	home = filepath.Join(t.TempDir(), "validation")
	if err := function.Init(home, "validation"); err != nil {
		t.Fatal(err)
	}
	training, err := a.loadPackages(t.Context(), filepath.Join(home, "data"))
	if code := task.CodeOf(err); code == "apt-missing" || code == "apt-failed" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := a.runHere(t.Context(), training, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "code", "model.joblib"), data["model.joblib"], 0o600); err != nil {
		t.Fatal(err)
	}
	return a, home, data["patients.csv"]
}

// The report leaves, and what a vendor would like to leave with it does not: another
// field, more digits, a small cell.
func TestValidation(t *testing.T) {
	a, home, patients := validation(t)
	few := bytes.Join(bytes.SplitAfter(patients, []byte("\n"))[:41], nil)
	script := filepath.Join(home, "code", "validate.py")
	honest, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	run := func(patients []byte, old, new string) sandbox.Result {
		t.Helper()
		code := strings.Replace(string(honest), old, new, 1)
		if code == string(honest) && old != new {
			t.Fatalf("there is no %q in it", old)
		}
		if err := os.WriteFile(script, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := function.Load(t.Context(), home, nil)
		if err != nil {
			t.Fatal(err)
		}
		rs, done, err := a.runtimesFor(t.Context(), s.Manifest, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		in := []sandbox.File{{Name: "patients.csv", Data: patients}}
		r, err := rs.Run(t.Context(), s.Manifest, enclave.NewJob(s.Manifest, nil, s.Manifest.Limits.Gas, s.Code, s.Image, in))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	report := func(r sandbox.Result) (v validationReport) {
		t.Helper()
		if r.Outcome != sandbox.OK || len(r.Outputs) != 1 {
			t.Fatalf("%s: %s\n%s", r.Outcome, r.Reason, r.Log)
		}
		if err := json.Unmarshal(r.Outputs[0].Data, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	all := report(run(patients, "", ""))
	if n, err := all.AUC.Float64(); err != nil || n < 0.8 || len(all.Calibration) < 3 {
		t.Errorf("of all patients: %+v", all)
	}
	suppressed := 0
	for _, n := range report(run(few, "", "")).Confusion {
		if n == nil {
			suppressed++
		}
	}
	if suppressed < 2 {
		t.Errorf("of 40 patients %d cells are suppressed: a single one follows from the others", suppressed)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"a patient's line":  {`    with open("/out/report.json"`, `    report["patient"] = x[0].tolist()` + "\n" + `    with open("/out/report.json"`, "a field that it may not have"},
		"a number's digits": {`round(float(roc_auc_score(ill, risk)), 3)`, `0.5 + x[0][0] * 1e-9`, "auc: not one of the numbers"},
		"small cells":       {"FEW = 5", "FEW = 0", "confusion/"},
	} {
		if r := run(few, c.old, c.new); r.Outcome != sandbox.OutputRefused || !strings.Contains(r.Reason, c.says) || len(r.Outputs) != 0 {
			t.Errorf("%s: %s, %s\n%s", name, r.Outcome, r.Reason, r.Log)
		}
	}
}

func TestReportForPeople(t *testing.T) {
	dir := t.TempDir()
	files, err := writeReport(dir, []byte(`{"auc":0.97,"brier":0.1,"calibration":[{"observed":0.5,"patients":20,"predicted":0.25},{"observed":1,"patients":20,"predicted":1}],`+
		`"confusion":{"false_negative":null,"false_positive":12,"true_negative":90,"true_positive":null}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"AUC 0.97 ", "risk ≥ ½         –        12\n", "risk < ½         –        90\n", "[··········|·········o····················]", "·o]\n"} {
		if !strings.Contains(files.words, want) {
			t.Errorf("%q is not in it:\n%s", want, files.words)
		}
	}
	plot, err := os.ReadFile(files.Plot)
	if err != nil || !strings.Contains(string(plot), `points="160,260 460,60"`) {
		t.Errorf("%v\n%s", err, plot)
	}
	if raw, err := os.ReadFile(files.Report); err != nil || !strings.HasPrefix(string(raw), `{"auc":0.97`) {
		t.Errorf("%v\n%s", err, raw)
	}
	if _, err := writeReport(dir, []byte("x")); err == nil {
		t.Error("what is no report is written")
	}
}

// What the job needs and this machine lacks is said, with what to do.
func TestValidationSaysWhatItNeeds(t *testing.T) {
	for name, row := range map[string]struct {
		o    demoOptions
		code string
		next string
	}{
		"no runtime":      {demoOptions{job: jobValidation, runtime: task.RuntimeOCI, oci: []string{"/nothing/here"}}, "runtime-unavailable", "prytany doctor"},
		"another runtime": {demoOptions{job: jobValidation, runtime: task.RuntimePython}, "usage", ""},
		"another job":     {demoOptions{job: "harvest", runtime: task.RuntimeWasm}, "usage", ""},
	} {
		a := &app{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
		_, err := a.demoJob(t.Context(), row.o)
		if task.CodeOf(err) != row.code || row.next != "" && err.(*task.Error).Next != row.next {
			t.Errorf("%s: %v", name, err)
		}
	}
}
