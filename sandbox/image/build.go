package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"
)

// epoch is the time of all there is in an image that is built here.
var epoch = time.Unix(0, 0).UTC()

// Build makes an image of one layer from the tar of a root file system, and
// returns it as a tar of an OCI image layout, with its digest. What differs
// from machine to machine is not in it: entries are sorted, all belong to
// 0:0 and are as old as 1970, and extended attributes and set-id bits are
// gone. So the same files and configuration give the same bytes, with the
// same version of Go, whose gzip it is. All of it is in memory.
//
// The root file system is held to the same rules as in Unpack: an image that
// Build makes can be unpacked.
func Build(rootfs io.Reader, c Config) (layout []byte, digest string, err error) {
	if err := c.check(); err != nil {
		return nil, "", err
	}
	entries, err := readRoot(rootfs)
	if err != nil {
		return nil, "", err
	}
	layer, err := writeTar(entries)
	if err != nil {
		return nil, "", err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed) // its header has neither name nor time
	if _, err := z.Write(layer); err != nil {
		return nil, "", err
	}
	if err := z.Close(); err != nil {
		return nil, "", err
	}

	var file configFile
	file.platform = platform{Architecture: runtime.GOARCH, OS: "linux"}
	file.Config = c
	file.RootFS.Type, file.RootFS.DiffIDs = "layers", []string{sum(layer)}
	l := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	put := func(mediaType string, data []byte) descriptor {
		d := descriptor{MediaType: mediaType, Digest: sum(data), Size: int64(len(data))}
		l["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")] = data
		return d
	}
	config := put(typeConfig, mustJSON(file))
	m := manifest{
		SchemaVersion: 2, MediaType: typeManifest, Config: &config,
		Layers: []descriptor{put(typeLayer+"+gzip", packed.Bytes())},
	}
	d := put(typeManifest, mustJSON(m))
	index := d
	index.Platform = &file.platform
	l["index.json"] = mustJSON(manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{index}})

	var files []entry
	for name, data := range l {
		files = append(files, entry{&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data})
	}
	layout, err = writeTar(files)
	return layout, d.Digest, err
}

// BuildDir is Build of a directory.
func BuildDir(dir string, c Config) (layout []byte, digest string, err error) {
	rootfs, err := tarDir(dir)
	if err != nil {
		return nil, "", err
	}
	return Build(bytes.NewReader(rootfs), c)
}

// DockerArchive makes of a directory what `docker load` reads: an image of that
// configuration and name, in the older form that all engines know.
func DockerArchive(dir string, c Config, name string) ([]byte, error) {
	layer, err := Layer(dir)
	if err != nil {
		return nil, err
	}
	var file configFile
	file.platform = platform{Architecture: runtime.GOARCH, OS: "linux"}
	file.Config = c
	file.RootFS.Type, file.RootFS.DiffIDs = "layers", []string{sum(layer)}
	config := mustJSON(file)
	configName := strings.TrimPrefix(sum(config), "sha256:") + ".json"
	index := mustJSON([]map[string]any{{"Config": configName, "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	one := func(name string, data []byte) entry {
		return entry{&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
	}
	return writeTar([]entry{one(configName, config), one("layer.tar", layer), one("manifest.json", index)})
}

// Layer makes a private layer from a directory, in the same way: the same
// files give the same bytes. It is a plain tar.
func Layer(dir string) ([]byte, error) {
	rootfs, err := tarDir(dir)
	if err != nil {
		return nil, err
	}
	entries, err := readRoot(bytes.NewReader(rootfs))
	if err != nil {
		return nil, err
	}
	return writeTar(entries)
}

func tarDir(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	if err := errors.Join(t.AddFS(root.FS()), t.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return b.Bytes(), nil
}

// An entry is a file of a tar.
type entry struct {
	*tar.Header
	data []byte
}

// readRoot reads a root file system and keeps of it what an image has.
func readRoot(r io.Reader) ([]entry, error) {
	var list []entry
	seen := map[string]bool{}
	left := DefaultLimits.Bytes
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, invalid("not a tar: %v", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := clean(h.Name)
		if err != nil {
			return nil, err
		}
		if name == "." {
			continue
		}
		switch {
		case seen[name]:
			return nil, invalid("%q occurs twice", name)
		case len(list) == DefaultLimits.Files:
			return nil, invalid("more than %d files", DefaultLimits.Files)
		case strings.HasPrefix(path.Base(name), whiteout):
			return nil, invalid("%q would be taken for a whiteout", name)
		}
		seen[name] = true
		e, err := plain(h, name)
		if err != nil {
			return nil, err
		}
		if h.Size > left {
			return nil, invalid("files of more than %d bytes", DefaultLimits.Bytes)
		}
		if left -= h.Size; e.Typeflag == tar.TypeReg {
			if e.data, err = io.ReadAll(io.LimitReader(t, h.Size)); err != nil {
				return nil, invalid("%q: %v", name, err)
			}
		}
		list = append(list, e)
	}
}

// plain is an entry's header with nothing in it that depends on the machine.
func plain(h *tar.Header, name string) (entry, error) {
	p := &tar.Header{Typeflag: h.Typeflag, Name: name, Mode: int64(fs.FileMode(h.Mode) & 0o777)}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		p.Typeflag = tar.TypeReg
	case tar.TypeDir:
		p.Name += "/"
	case tar.TypeSymlink:
		p.Linkname, p.Mode = h.Linkname, 0o777
	case tar.TypeLink:
		to, err := clean(h.Linkname)
		if err != nil {
			return entry{}, fmt.Errorf("link %q: %w", name, err)
		}
		p.Linkname, p.Mode = to, 0
	default:
		return entry{}, invalid("%q is a device, a fifo or something else that no image here may have: leave it out", name)
	}
	return entry{Header: p}, nil
}

// writeTar sorts by name, hard links last: what they name is there by then.
func writeTar(list []entry) ([]byte, error) {
	slices.SortFunc(list, func(a, b entry) int {
		if l := (a.Typeflag == tar.TypeLink); l != (b.Typeflag == tar.TypeLink) {
			if l {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, e := range list {
		e.Size, e.ModTime, e.Format = int64(len(e.data)), epoch, tar.FormatPAX
		if err := t.WriteHeader(e.Header); err != nil {
			return nil, fmt.Errorf("%q: %w", e.Name, err)
		}
		if _, err := t.Write(e.data); err != nil {
			return nil, err
		}
	}
	err := t.Close()
	return b.Bytes(), err
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}
