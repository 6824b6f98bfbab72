package sandbox

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// CodeDir is where a private layer has its files, as paths in the layer and for
// the function.
const CodeDir = "code"

// PackLayer makes a private layer of files that will be in /code, in the order
// given and with nothing in it but names and content.
func PackLayer(files []File) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: CodeDir + "/" + f.Name, Mode: 0o644, Size: int64(len(f.Data)), Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}

// CodeFiles are the files of a private layer, by their names below /code, for
// runtimes that show a function no more of it than that. A layer with anything
// else in it, or with more than MaxFiles files, is refused: it was made for
// another runtime.
func CodeFiles(layer []byte) ([]File, error) {
	var files []File
	r := tar.NewReader(bytes.NewReader(layer))
	for room := len(layer); ; {
		h, err := r.Next()
		switch {
		case err == io.EOF:
			return files, nil
		case err != nil:
			return nil, fmt.Errorf("the code is no tar: %w", err)
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("the code has %q, which is no plain file", h.Name)
		}
		name, ok := strings.CutPrefix(strings.TrimPrefix(h.Name, "./"), CodeDir+"/")
		if !ok || !fs.ValidPath(name) || len(name) > maxPath {
			return nil, fmt.Errorf("the code has a file %q outside of %s/", h.Name, CodeDir)
		}
		if len(files) == MaxFiles {
			return nil, fmt.Errorf("the code has more than %d files", MaxFiles)
		}
		if h.Size > int64(room) { // a sparse file can be longer than its tar
			return nil, errors.New("the code unpacks to more than its own size")
		}
		data := make([]byte, h.Size)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, fmt.Errorf("the code is no tar: %w", err)
		}
		room -= len(data)
		files = append(files, File{Name: name, Data: data})
	}
}
