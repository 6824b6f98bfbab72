package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/enclave"
)

// validationJob has a hospital (Alice) validate a vendor's (Bob's) secret model on
// its patients. Before they meet, the example's own script trains the model and
// makes the patients, in a container as a function's code.
func (a *app) validationJob(ctx context.Context, o demoOptions) (j demoJob, err error) {
	j = demoJob{
		input: "patients.csv", are: "patients are", output: "report.json", write: writeReport,
		preparing: "the vendor's function: a model and its validation, in Python with scikit-learn, in a container",
	}
	switch o.runtime {
	case task.RuntimeOCI:
		name, err := pickContainer(ctx, o.oci)
		if err != nil {
			return j, err
		}
		j.preparing += " by " + name
	case task.RuntimeDocker:
		if err := a.probeDocker(ctx); err != nil {
			return j, err
		}
	default:
		return j, usage("--job validation runs in a container: --runtime oci or docker, and not %s", o.runtime)
	}
	dir, err := os.MkdirTemp("", "prytany-validation-")
	if err != nil {
		return j, err
	}
	defer os.RemoveAll(dir)
	home := filepath.Join(dir, "validation")
	if err := function.Init(home, "validation"); err != nil {
		return j, err
	}
	run := func(s function.Source, input []byte) (map[string][]byte, error) {
		s.Manifest.Runtime = o.runtime // one container is as good as another
		return a.runHere(ctx, s, o.oci, input)
	}
	training, err := a.loadPackages(ctx, filepath.Join(home, "data"))
	if err != nil {
		return j, err
	}
	a.say("training the vendor's model, and making the hospital's patients, from the breast-cancer set of scikit-learn")
	data, err := run(training, nil)
	if err != nil {
		return j, err
	}
	if j.data = data["patients.csv"]; o.input != "" {
		if j.data, err = disk.ReadPiped(o.input, task.MaxBlob); err != nil {
			return j, task.Refuse("input-unreadable", "%v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "code", "model.joblib"), data["model.joblib"], 0o600); err != nil {
		return j, err
	}
	if j.made, err = function.Load(ctx, home, a.say); err != nil {
		return j, err
	}
	j.check = func(got []byte) (bool, error) {
		want, err := run(j.made, j.data)
		return bytes.Equal(got, want[j.output]), err
	}
	return j, nil
}

// loadPackages loads a function whose image is made of packages: of today's, where
// the mirrors have those of the lock file no more.
func (a *app) loadPackages(ctx context.Context, dir string) (function.Source, error) {
	s, err := function.Load(ctx, dir, a.say)
	if task.CodeOf(err) != "packages-gone" {
		return s, err
	}
	a.say("the packages of the example's lock file are gone from this machine's mirrors: it takes today's")
	p, err := function.ReadPlan(dir)
	if err != nil {
		return s, err
	}
	if _, _, err := p.Lock(ctx, a.say); err != nil {
		return s, err
	}
	return p.Load(ctx, a.say)
}

// runHere runs a function on this machine, as func test does, on its first input.
func (a *app) runHere(ctx context.Context, s function.Source, oci []string, input []byte) (map[string][]byte, error) {
	m := s.Manifest
	runtimes, done, err := a.runtimesFor(ctx, m, oci)
	if err != nil {
		return nil, err
	}
	defer done()
	var files []sandbox.File
	if input != nil {
		files = append(files, sandbox.File{Name: m.Inputs[0].Name, Data: input})
	}
	r, err := runtimes.Run(ctx, m, enclave.NewJob(m, nil, m.Limits.Gas, s.Code, s.Image, files))
	if err != nil {
		return nil, task.Refuse("runtime-unavailable", "this machine cannot run it: %v", err).WithNext("prytany doctor")
	}
	if r.Outcome != sandbox.OK {
		return nil, task.Refuse("function-failed", "%s: %s: %s\n%s", m.Name, r.Outcome, visible(r.Reason), visible(string(r.Log)))
	}
	out := map[string][]byte{}
	for _, f := range r.Outputs {
		out[f.Name] = f.Data
	}
	return out, nil
}

// validationReport is what examples/validation/report.schema.json allows.
type validationReport struct {
	AUC, Brier  json.Number
	Confusion   map[string]*int
	Calibration []struct {
		Predicted, Observed json.Number
		Patients            int
	}
}

func writeReport(dir string, got []byte) (demoFiles, error) {
	files := demoFiles{Report: filepath.Join(dir, "report.json"), Plot: filepath.Join(dir, "calibration.svg")}
	var r validationReport
	if err := json.Unmarshal(got, &r); err != nil {
		return files, fmt.Errorf("report.json: %w", err)
	}
	files.words = r.text()
	if err := os.WriteFile(files.Report, got, 0o644); err != nil {
		return files, err
	}
	return files, os.WriteFile(files.Plot, r.plot(), 0o644)
}

// text is the report for people.
func (r validationReport) text() string {
	cell := func(name string) string {
		if n := r.Confusion[name]; n != nil {
			return fmt.Sprint(*n)
		}
		return "–" // suppressed
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nvalidation of the vendor's model on the hospital's patients\n\n  AUC %s   Brier score %s\n\n", r.AUC, r.Brier)
	fmt.Fprintf(&b, "                 ill   healthy\n  risk ≥ ½  %8s  %8s\n  risk < ½  %8s  %8s\n", cell("true_positive"), cell("false_positive"), cell("false_negative"), cell("true_negative"))
	b.WriteString("  a group of fewer than 5, and what it would follow from, is shown as –\n\n")
	b.WriteString("  predicted  observed  patients  calibration: o observed, | predicted\n")
	for _, g := range r.Calibration {
		const width = 40
		bar := []rune("[" + strings.Repeat("·", width+1) + "]")
		bar[1+at(g.Predicted, width)] = '|'
		bar[1+at(g.Observed, width)] = 'o'
		fmt.Fprintf(&b, "  %9s  %8s  %8d  %s\n", g.Predicted, g.Observed, g.Patients, string(bar))
	}
	b.WriteByte('\n')
	return b.String()
}

// at is where a share lies on a line of so many steps.
func at(share json.Number, steps int) int {
	f, err := share.Float64()
	if err != nil {
		return 0
	}
	return int(min(max(f, 0), 1)*float64(steps) + 0.5)
}

// plot is the calibration as a picture: on the diagonal the model says what is so.
func (r validationReport) plot() []byte {
	const side, margin = 400, 60
	x := func(n json.Number) int { return margin + at(n, side) }
	y := func(n json.Number) int { return margin + side - at(n, side) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", side+2*margin, side+2*margin)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&b, `<text x="%d" y="28" font-size="16">%s</text>`+"\n", margin, html.EscapeString("Calibration; AUC "+r.AUC.String()+", Brier score "+r.Brier.String()))
	for _, tick := range []json.Number{"0", "0.25", "0.5", "0.75", "1"} {
		fmt.Fprintf(&b, `<path d="M%d %dV%dM%d %dH%d" stroke="#ddd"/>`, x(tick), margin, margin+side, margin, y(tick), margin+side)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text><text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", x(tick), margin+side+18, tick, margin-8, y(tick)+4, tick)
	}
	fmt.Fprintf(&b, `<path d="M%d %dL%d %d" stroke="#999" stroke-dasharray="4"/>`+"\n", x("0"), y("0"), x("1"), y("1"))
	var points []string
	for _, g := range r.Calibration {
		points = append(points, fmt.Sprintf("%d,%d", x(g.Predicted), y(g.Observed)))
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="5" fill="#0a6"><title>%d patients</title></circle>`+"\n", x(g.Predicted), y(g.Observed), g.Patients)
	}
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#0a6" stroke-width="2"/>`+"\n", strings.Join(points, " "))
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">predicted risk</text><text transform="translate(16 %d) rotate(-90)" text-anchor="middle">share that is ill</text>`+"\n</svg>\n", margin+side/2, margin+side+40, margin+side/2)
	return b.Bytes()
}
