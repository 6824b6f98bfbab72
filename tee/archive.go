package tee

import (
	"archive/tar"
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/task"
)

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

// CheckOutputs holds a run that went well to the outputs that its manifest
// names: that it wrote other files is the function's error.
func CheckOutputs(m task.Manifest, r *sandbox.Result) {
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

// Pack makes Alice's archive: out/ with what the function wrote, log.txt with
// its bounded stderr, reason.txt if it failed. A tar, so that `age -d | tar x`
// opens it without Prytany.
func Pack(r sandbox.Result) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(name string, data []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	for _, f := range r.Outputs {
		if err := add("out/"+f.Name, f.Data); err != nil {
			return nil, err
		}
	}
	if err := add("log.txt", r.Log); err != nil {
		return nil, err
	}
	if r.Reason != "" {
		if err := add("reason.txt", []byte(r.Reason)); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}

// Output is Alice's archive, opened.
type Output struct {
	Files  map[string][]byte
	Log    []byte
	Reason string
}

// Unpack opens the archive that Pack made, from an enclave that was attested
// but whose output is still checked: names and sizes are bounded.
func Unpack(archive []byte) (Output, error) {
	out := Output{Files: map[string][]byte{}}
	files, err := sandbox.PlainFiles(archive, 2048)
	if err != nil {
		return out, fmt.Errorf("output archive: %w", err)
	}
	for _, f := range files {
		switch f.Name {
		case "log.txt":
			out.Log = f.Data
		case "reason.txt":
			out.Reason = string(f.Data)
		default:
			name, ok := strings.CutPrefix(f.Name, "out/")
			if !ok || !filepath.IsLocal(name) || strings.HasSuffix(name, "/") {
				return out, fmt.Errorf("output archive: name %q", f.Name)
			}
			out.Files[name] = f.Data
		}
	}
	return out, nil
}
