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

// PackLayer makes a private layer of the files of a directory, which will be in
// /code: the same bytes for the same files, of which names, content and who may
// execute are kept. What compilers and git leave beside them is left out.
func PackLayer(dir fs.FS) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	files := 0
	err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "__pycache__" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is no plain file", path)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := fs.ReadFile(dir, path)
		if err != nil {
			return err
		}
		files++
		h := &tar.Header{Name: CodeDir + "/" + path, Mode: 0o644 | int64(info.Mode()&0o100)/0o100*0o111, Size: int64(len(data)), Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err == nil && files == 0 {
		err = errors.New("there is no file")
	}
	if err != nil {
		return nil, fmt.Errorf("the code: %w", err)
	}
	err = w.Close()
	return buf.Bytes(), err
}

// CodeFiles are the files of a private layer, by their names below /code, for
// runtimes that show a function no more of it than that. A layer with anything
// else in it, or with more than MaxFiles files, is refused: it was made for
// another runtime.
func CodeFiles(layer []byte) ([]File, error) {
	all, err := PlainFiles(layer, MaxFiles)
	if err != nil {
		return nil, fmt.Errorf("the code: %w", err)
	}
	var files []File
	for _, f := range all {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		name, ok := strings.CutPrefix(strings.TrimPrefix(f.Name, "./"), CodeDir+"/")
		if !ok || !fs.ValidPath(name) || len(name) > MaxPath {
			return nil, fmt.Errorf("the code: there is a file %q outside of %s/", f.Name, CodeDir)
		}
		files = append(files, File{Name: name, Data: f.Data})
	}
	return files, nil
}

// PlainFiles reads a tar from anyone, of at most so many plain files and
// directories, the latter by names that end in a slash. Names are as they are
// in it. The files are together no longer than the tar, although one that is
// sparse can say so.
func PlainFiles(archive []byte, most int) (files []File, err error) {
	r := tar.NewReader(bytes.NewReader(archive))
	for room := int64(len(archive)); ; {
		h, err := r.Next()
		switch {
		case err == io.EOF:
			return files, nil
		case err != nil:
			return nil, fmt.Errorf("not a tar: %w", err)
		case len(files) == most:
			return nil, fmt.Errorf("more than %d files", most)
		case h.Typeflag == tar.TypeDir:
			files = append(files, File{Name: strings.TrimSuffix(h.Name, "/") + "/"})
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%q is no plain file", h.Name)
		case h.Size > room:
			return nil, fmt.Errorf("%q is longer than the tar that it is in", h.Name)
		}
		room -= h.Size
		data := make([]byte, h.Size)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, fmt.Errorf("not a tar: %w", err)
		}
		files = append(files, File{Name: h.Name, Data: data})
	}
}
