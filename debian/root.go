package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
)

// merged are the directories of the root that are links to those of the same name in
// usr, as every Debian has it since bookworm. Packages may still say bin/x.
var merged = []string{"bin", "lib", "lib32", "lib64", "libx32", "sbin"}

// unneeded is what no program of an image reads, by the beginning of its path.
var unneeded = []string{
	"usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/", "usr/share/bug/", "usr/share/doc-base/",
	"usr/share/menu/", "usr/share/zoneinfo/", "var/cache/", "var/log/", "var/lib/apt/", "usr/lib/systemd/", "etc/init.d/",
}

// keeps says whether a file goes into the image. Of documents, licences do.
func keeps(name string) bool {
	if strings.HasPrefix(name, "usr/share/doc/") {
		return path.Base(name) == "copyright"
	}
	return !slices.ContainsFunc(unneeded, func(p string) bool { return strings.HasPrefix(name+"/", p) })
}

// LockFile is where an image says which packages it is made of.
const LockFile = "usr/share/prytany/debian.lock"

// maxRoot bounds a root file system, in bytes of its files.
const maxRoot = 2 << 30

type file struct {
	header *tar.Header
	data   []byte
}

// A root is a tree that is being made, by path.
type root struct {
	files map[string]file
	size  int64
}

// Root unpacks the packages of a lock, which Fetch has put into a directory, and
// adds links, from path to target. It gives a tar.
func Root(ctx context.Context, l Lock, dir string, links map[string]string) ([]byte, error) {
	r := &root{files: map[string]file{}}
	for _, p := range l {
		at := filepath.Join(dir, p.file())
		if _, err := p.read(at); err != nil {
			return nil, err
		}
		if err := r.unpack(ctx, at); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(links)) {
		to, err := inUsr(name)
		if err == nil {
			err = r.add(file{header: &tar.Header{Typeflag: tar.TypeSymlink, Name: to, Linkname: links[name], Mode: 0o777}})
		}
		if err != nil {
			return nil, task.Refuse("image-invalid", "link %s: %v", name, err)
		}
	}
	for _, name := range merged {
		if slices.ContainsFunc(slices.Collect(maps.Keys(r.files)), func(n string) bool { return strings.HasPrefix(n, "usr/"+name+"/") }) {
			if err := r.add(file{header: &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "usr/" + name, Mode: 0o777}}); err != nil {
				return nil, err
			}
		}
	}
	own := map[string]string{
		LockFile:     string(l.Encode()),
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
		"etc/group":  "root:x:0:\nnogroup:x:65534:\n",
	}
	for name, text := range own { // what packages have scripts make
		if err := r.add(file{&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, []byte(text)}); err != nil {
			return nil, err
		}
	}
	return r.tar()
}

// unpack adds the files of one package.
func (r *root) unpack(ctx context.Context, deb string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := r.read(out); err != nil {
		stop()
		_ = cmd.Wait()
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("dpkg-deb: %w\n%s", err, tail(said.Bytes()))
	}
	return nil
}

func (r *root) read(in io.Reader) error {
	t := tar.NewReader(in)
	for {
		h, err := t.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, in) // what fills the last block
			return err
		}
		if err != nil {
			return err
		}
		name, err := inUsr(h.Name)
		if err != nil {
			return err
		}
		if h.Name = name; name == "." || !keeps(name) || slices.Contains(merged, name) {
			continue
		}
		f := file{header: h}
		switch h.Typeflag {
		case tar.TypeLink:
			if h.Linkname, err = inUsr(h.Linkname); err != nil {
				return err
			}
		case tar.TypeReg:
			if r.size += h.Size; r.size > maxRoot {
				return fmt.Errorf("more than %d bytes of files", maxRoot)
			}
			if f.data, err = io.ReadAll(t); err != nil {
				return err
			}
		}
		if err := r.add(f); err != nil {
			return err
		}
	}
}

// inUsr is where a path of a package lies in an image.
func inUsr(name string) (string, error) {
	clean := path.Clean(strings.TrimPrefix(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("the path %q leads out of the root", name)
	}
	first, rest, below := strings.Cut(clean, "/")
	if below && slices.Contains(merged, first) {
		return "usr/" + first + "/" + rest, nil
	}
	return clean, nil
}

// add puts a file into the tree. Packages share directories, and nothing else.
func (r *root) add(f file) error {
	name := f.header.Name
	if old, ok := r.files[name]; ok && (old.header.Typeflag != tar.TypeDir || f.header.Typeflag != tar.TypeDir) {
		return fmt.Errorf("%s comes twice", name)
	}
	r.files[name] = f
	return nil
}

// tar writes the tree, sorted, hard links last.
func (r *root) tar() ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, links := range []bool{false, true} {
		for _, name := range slices.Sorted(maps.Keys(r.files)) {
			f := r.files[name]
			if (f.header.Typeflag == tar.TypeLink) != links {
				continue
			}
			h := &tar.Header{
				Typeflag: f.header.Typeflag, Name: name, Linkname: f.header.Linkname, Mode: f.header.Mode & 0o777,
				Size: int64(len(f.data)), Format: tar.FormatPAX,
			}
			if err := w.WriteHeader(h); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if _, err := w.Write(f.data); err != nil {
				return nil, err
			}
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// Key names what Root makes of a lock and links, for whoever keeps it.
func Key(l Lock, links map[string]string) string {
	h := sha256.New()
	h.Write(l.Encode())
	for _, name := range slices.Sorted(maps.Keys(links)) {
		fmt.Fprintf(h, "%q %q\n", name, links[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
