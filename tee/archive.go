package tee

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/schema"
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
// names: that it wrote other files is the function's error. What has a schema is
// brought into its one form (spec §9.10).
func CheckOutputs(m task.Manifest, r *sandbox.Result) {
	if r.Outcome != sandbox.OK || len(m.Outputs) == 0 {
		return
	}
	if err := canonical(m, r.Outputs); err != nil {
		r.Outcome, r.Reason = sandbox.OutputRefused, "an output is not what its schema allows: "+err.Error()
		for _, f := range r.Outputs {
			clear(f.Data)
		}
		r.Outputs = nil
		return
	}
	if err := checkPorts("output", m.Outputs, r.Outputs); err != nil {
		r.Outcome, r.Reason = sandbox.FunctionError, "the function broke its manifest: "+err.Error()
		for _, f := range r.Outputs {
			if f.Name == sandbox.MessageFile {
				r.Message = sandbox.ReadMessage(bytes.NewReader(f.Data))
			}
		}
		r.Outputs = nil
	}
}

// canonical writes the files that have a schema anew.
func canonical(m task.Manifest, files []sandbox.File) error {
	schemas, err := schema.Of(m)
	if err != nil {
		return err
	}
	for i, f := range files {
		s := schemas[f.Name]
		if s == nil {
			continue
		}
		data, err := s.Canonical(f.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		clear(f.Data)
		files[i].Data = data
	}
	return nil
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

// MaxLog is how much of a function's standard error Alice gets, in bytes.
const MaxLog = 64 << 10

// Names of what is beside out/ in Alice's archive.
const (
	logName     = "log.txt"
	messageName = "error.txt"
	reportName  = "run.json"
)

// Output is Alice's archive: a tar, so that `age -d | tar x` opens it without
// Prytany. It has out/ with what the function wrote, if the run was ok; log.txt,
// the function's standard error, if its manifest gives that; error.txt, what the
// function wrote there of its failure, if it failed; and run.json. After the tar's
// end zeros follow, up to a size that says little (spec §9.8).
type Output struct {
	Files   map[string][]byte
	Log     []byte // nil: there is none
	Message string // empty: there is none
	Run     Report
}

// Report is run.json: what Alice learns of a run, and nobody else. It has one form,
// that of its fields in this order as [json.Marshal] writes them, and a newline.
type Report struct {
	Outcome  string `json:"outcome"`    // one of Outcomes
	ExitCode uint32 `json:"exit_code"`  // what the function said; 0 also where it did not come to say it
	Gas      uint64 `json:"gas,string"` // used, to the last unit
	Millis   uint64 `json:"ms,string"`  // from the keys to the function's end
	Reason   string `json:"reason"`     // in words, at most MaxReason bytes; empty if ok
}

// MaxReason bounds a report's reason, in bytes.
const MaxReason = 1 << 10

// Outcomes are all ways in which a run ends of which Alice gets a report. One that
// is out of time has none: it is run again by another executor (spec §9.8).
var Outcomes = []string{"ok", "function-error", "gas-exhausted", "memory-limit", "output-limit", "output-refused", "wrong-input-key", "wrong-code-key"}

// encode is the one form of a report.
func (r Report) encode() []byte {
	r.Reason = cut(strings.ToValidUTF8(r.Reason, "\ufffd"), MaxReason)
	raw, err := json.Marshal(r)
	if err != nil {
		panic(err) // text and numbers
	}
	return append(raw, '\n')
}

// cut ends a text before it is longer than most bytes, between two characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// maxReport bounds run.json: each byte of a reason may become six.
const maxReport = 6*MaxReason + 256

func decodeReport(raw []byte) (r Report, err error) {
	if len(raw) > maxReport {
		return r, fmt.Errorf("%s of %d bytes: %w", reportName, len(raw), task.ErrTooLarge)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return Report{}, fmt.Errorf("%s: %w", reportName, err)
	}
	if !bytes.Equal(raw, r.encode()) || !slices.Contains(Outcomes, r.Outcome) {
		return Report{}, fmt.Errorf("%s is not in its one form", reportName)
	}
	return r, nil
}

// ShownFailure is the size of every archive of a run that is not ok: with all that
// such a one may have. How it failed is for Alice alone.
func ShownFailure(m task.Manifest) uint64 {
	const block = 512
	size := uint64(3*block + maxReport + block + sandbox.MaxMessage) // the tar's end; two files, each padded
	if m.Log {
		size += 2*block + MaxLog
	}
	return task.ShownSize(size)
}

// Pack makes an archive of at least so many bytes, in a size that is shown
// ([task.ShownSize]). [task.ErrTooLarge] says that it cannot be brought to Alice.
func (o Output) Pack(least uint64) ([]byte, error) {
	const block = 512
	room := uint64(4*block + maxReport + len(o.Log) + len(o.Message) + 2*block)
	for name, data := range o.Files {
		room += uint64(4*block + 2*len(name) + len(data)) // a header, one for a long name, and what fills the last block
	}
	if room = max(room, least); room <= task.MaxArchive {
		room = task.ShownSize(room)
	}
	buf := bytes.NewBuffer(make([]byte, 0, room)) // no copies are left behind
	w := tar.NewWriter(buf)
	add := func(name string, data []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Files)) {
		if err := add("out/"+name, o.Files[name]); err != nil {
			return nil, err
		}
	}
	if o.Log != nil {
		if err := add(logName, o.Log); err != nil {
			return nil, err
		}
	}
	if o.Message != "" {
		if err := add(messageName, []byte(o.Message)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(add(reportName, o.Run.encode()), w.Close()); err != nil {
		return nil, err
	}
	size := max(uint64(buf.Len()), least)
	if size > task.MaxArchive {
		clear(buf.Bytes())
		return nil, fmt.Errorf("an archive of %d bytes: %w", size, task.ErrTooLarge)
	}
	return append(buf.Bytes(), make([]byte, task.ShownSize(size)-uint64(buf.Len()))...), nil
}

// Unpack opens the archive that Pack made, from an enclave that was attested
// but whose output is still checked: names, sizes and forms.
func Unpack(archive []byte) (Output, error) {
	out := Output{Files: map[string][]byte{}}
	bad := func(format string, args ...any) (Output, error) {
		return out, fmt.Errorf("output archive: "+format, args...)
	}
	files, err := sandbox.PlainFiles(archive, 2048)
	if err != nil {
		return bad("%w", err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		if seen[f.Name] {
			return bad("%q stands twice", f.Name)
		}
		seen[f.Name] = true
		switch f.Name {
		case logName:
			if len(f.Data) > MaxLog {
				return bad("a log of %d bytes: %w", len(f.Data), task.ErrTooLarge)
			}
			out.Log = f.Data
		case messageName:
			if len(f.Data) > sandbox.MaxMessage || !utf8.Valid(f.Data) {
				return bad("%s is too long, or no text", messageName)
			}
			out.Message = string(f.Data)
		case reportName:
			if out.Run, err = decodeReport(f.Data); err != nil {
				return bad("%w", err)
			}
		default:
			name, ok := strings.CutPrefix(f.Name, "out/")
			if !ok || !filepath.IsLocal(name) || strings.HasSuffix(name, "/") {
				return bad("name %q", f.Name)
			}
			out.Files[name] = f.Data
		}
	}
	if !seen[reportName] {
		return bad("there is no %s", reportName)
	}
	return out, nil
}
