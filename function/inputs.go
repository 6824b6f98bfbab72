package function

import (
	"encoding/json"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// ReadInputs reads the files that Alice gives as FILE or NAME=FILE and makes of
// them the one blob that a function takes. What the function would refuse is
// refused here, before it costs anything.
func ReadInputs(m task.Manifest, given []string) ([]byte, error) {
	names := inputNames(m)
	files := map[string][]byte{}
	for _, g := range given {
		name, path, named := strings.Cut(g, "=")
		if !named || !slices.Contains(names, name) {
			if _, err := os.Stat(g); named && err != nil {
				return nil, usage("--input: there is no input %s; the function takes %s", name, strings.Join(names, ", "))
			}
			if len(names) != 1 {
				return nil, usage("--input %s: the function takes several inputs, so say which: %s", g, strings.Join(names, "=FILE, ")+"=FILE")
			}
			name, path = names[0], g
		}
		if files[name] != nil {
			return nil, usage("--input: %s is given twice", name)
		}
		data, err := disk.ReadPiped(path, task.MaxBlob)
		switch {
		case err != nil:
			return nil, task.Refuse("input-unreadable", "%v", err)
		case len(data) == 0:
			return nil, task.Refuse("input-empty", "%s is empty", path)
		}
		files[name] = data
	}
	for _, p := range Ports(m) {
		data, ok := files[p.Name]
		switch {
		case !ok && !p.Optional:
			return nil, usage("--input: %s is missing%s", p.Name, ofType(p))
		case ok && p.MaxBytes > 0 && uint64(len(data)) > p.MaxBytes:
			return nil, task.Refuse("input-too-large", "%s has %d bytes; the function takes at most %d", p.Name, len(data), p.MaxBytes)
		}
		if is := looksLike(data, p.Type); ok && is != "" {
			return nil, task.Refuse("input-type", "%s looks like %s; the function takes %s", p.Name, is, p.Type)
		}
	}
	return tee.PackInputs(m, files)
}

// Ports are what a function takes: if it does not say, one file of any kind.
func Ports(m task.Manifest) []task.Port {
	if len(m.Inputs) == 0 {
		return []task.Port{{Name: "input"}}
	}
	return m.Inputs
}

func inputNames(m task.Manifest) (names []string) {
	for _, p := range Ports(m) {
		names = append(names, p.Name)
	}
	return names
}

func ofType(p task.Port) string {
	switch {
	case p.Type != "" && p.Doc != "":
		return ": " + p.Type + ", " + p.Doc
	case p.Type != "" || p.Doc != "":
		return ": " + p.Type + p.Doc
	}
	return ""
}

// looksLike says what data is, if that can be told and is not what was asked
// for; else nothing. Only types that are known by their first bytes are told
// apart.
func looksLike(data []byte, want string) string {
	want, _, err := mime.ParseMediaType(want)
	if err != nil {
		return ""
	}
	if want == "application/json" {
		if !json.Valid(data) {
			return "something that is no JSON"
		}
		return ""
	}
	is, _, _ := strings.Cut(http.DetectContentType(data), ";")
	family, _, _ := strings.Cut(want, "/")
	known := []string{"image", "audio", "video", "application/pdf", "application/zip", "application/gzip"}
	if is != want && (slices.Contains(known, family) || slices.Contains(known, want)) {
		if _, sub, _ := strings.Cut(want, "/"); sub == "*" && strings.HasPrefix(is, family+"/") || want == "image/svg+xml" {
			return ""
		}
		return is
	}
	return ""
}
