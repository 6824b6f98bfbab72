package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// unpacker applies layers, one after the other, to a directory.
type unpacker struct {
	ctx    context.Context
	dst    *os.Root
	ids    uint32
	limits Limits
	below  string // what all names must begin with, and are then without
	bytes  int64  // of files so far
	files  int    // entries so far
	names  int    // bytes of their names
	read   int64  // bytes of the layers so far, as tars
	dir    string // the last one whose parents were looked at
}

// layerFiles are the names that a layer has used so far: true for its own
// entries, false for the directories on the way to them.
type layerFiles map[string]bool

func (s layerFiles) add(name string) {
	s[name] = true
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := s[dir]; ok {
			return
		}
		s[dir] = false
	}
}

func (s layerFiles) has(name string) bool {
	_, ok := s[name]
	return ok
}

// Names that begin so are no files but say that one of a lower layer is gone.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq" // all of the lower layers in this directory
)

// layer unpacks one layer and returns the digest of its tar.
func (u *unpacker) layer(packed []byte, mediaType string) (diffID string, err error) {
	plain, err := decompress(packed, mediaType)
	if err != nil {
		return "", err
	}
	defer plain.Close()
	hash := sha256.New()
	// A tar has 512 bytes of header for each entry, and some more for long
	// names, so what the files may take is not all it may have. But what is no
	// file costs time too, and one blob may be a layer many times.
	ratio := freeRatio + u.limits.Ratio*int64(len(packed))
	all := u.limits.Bytes + int64(u.limits.Files)*maxPath - u.read
	limited := &limitedReader{ctx: u.ctx, r: io.TeeReader(plain, hash), left: min(ratio, all)}
	defer func() { u.read += min(ratio, all) - limited.left }()
	err = u.apply(limited)
	if err == nil { // the digest is over all, the padding too
		if _, err = io.Copy(io.Discard, limited); err != nil {
			err = invalid("%v", err)
		}
	}
	switch {
	case u.ctx.Err() != nil:
		return "", u.ctx.Err()
	case err == nil:
	case limited.left <= 0 && ratio <= all:
		return "", invalid("it unpacks to more than %d times its size", u.limits.Ratio)
	case limited.left <= 0:
		return "", invalid("the layers unpack to more than %d bytes", all+u.read)
	default:
		return "", err
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// isZstd says that a zstd stream begins so: with a frame of data, or with one
// that is to be skipped, of which there are sixteen kinds (RFC 8878).
func isZstd(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	magic := binary.LittleEndian.Uint32(b)
	return magic == 0xfd2fb528 || magic&^0xf == 0x184d2a50
}

// decompress believes the media type, and for a plain one the first bytes, so
// that a private layer may be packed too. A tar begins with a name, and none has
// such bytes.
func decompress(packed []byte, mediaType string) (io.ReadCloser, error) {
	var kind string
	ok := false
	for _, of := range []string{typeLayer, typeForeignLayer, typeDockerLayer, typeDockerForeign} {
		if k, is := strings.CutPrefix(mediaType, of); is {
			kind, ok = k, true
		}
	}
	if !ok {
		return nil, invalid("%q is not the media type of a layer", mediaType)
	}
	if kind == "" {
		switch {
		case bytes.HasPrefix(packed, []byte{0x1f, 0x8b}):
			kind = "+gzip"
		case isZstd(packed):
			kind = "+zstd"
		}
	}
	switch kind {
	case "":
		return io.NopCloser(bytes.NewReader(packed)), nil
	case "+gzip", ".gzip":
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, invalid("gzip: %v", err)
		}
		return r, nil
	case "+zstd", ".zstd":
		r, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, invalid("zstd: %v", err)
		}
		return r.IOReadCloser(), nil
	}
	return nil, invalid("layers of media type %q are not read here: use gzip, zstd or none", mediaType)
}

// limitedReader fails when it has given what it may, or its time is over.
type limitedReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left <= 0 {
		return 0, errLimit
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	return n, err
}

// apply reads a tar to its end. Each entry is counted before anything of it is
// kept.
func (u *unpacker) apply(r io.Reader) error {
	t := tar.NewReader(r)
	seen := layerFiles{}
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return invalid("not a tar: %v", err)
		}
		if u.files++; u.files > u.limits.Files {
			return invalid("more than %d files", u.limits.Files)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := clean(h.Name)
		if err != nil {
			return err
		}
		if u.below != "" {
			at, ok := strings.CutPrefix(name, u.below+"/")
			if name == u.below || name == "." {
				at, ok = ".", true
			}
			if !ok {
				return invalid("%q is not below %s/: with this runtime all of the layer must be", name, u.below)
			}
			if h.Typeflag == tar.TypeLink {
				if h.Linkname, ok = strings.CutPrefix(strings.TrimPrefix(h.Linkname, "./"), u.below+"/"); !ok {
					return invalid("link %q leads out of %s/", name, u.below)
				}
			}
			name = at
		}
		if name == "." {
			if h.Typeflag != tar.TypeDir {
				return invalid("the root is not a directory")
			}
			continue // its mode is the caller's affair
		}
		if seen[name] {
			return invalid("%q occurs twice in one layer", name)
		}
		if u.names += len(name); u.names > maxNames {
			return invalid("names of more than %d bytes", maxNames)
		}
		used := seen.has(name)
		seen.add(name)
		if err := u.entry(t, h, name, used, seen); err != nil {
			return err
		}
	}
}

// clean checks the path of an entry, or of a hard link's target, and returns
// it in the form of package io/fs.
func clean(name string) (string, error) {
	p := strings.TrimSuffix(name, "/")
	for strings.HasPrefix(p, "./") {
		p = p[2:]
	}
	if p == "" && strings.HasPrefix(name, ".") {
		p = "."
	}
	switch {
	case len(p) > maxPath:
		return "", invalid("a path of %d bytes, more than %d", len(p), maxPath)
	case strings.HasPrefix(p, "/"):
		return "", invalid("path %q is absolute", name)
	case !utf8.ValidString(p):
		return "", invalid("path %q is not in UTF-8: give the file a name that is", name)
	case strings.ContainsRune(p, 0):
		return "", invalid("path %q has a zero byte", name)
	case slices.Contains(strings.Split(p, "/"), ".."):
		return "", invalid("path %q is not one below the root: it has ..", name)
	case p == "":
		return "", invalid("an entry without a path")
	case !fs.ValidPath(p):
		return "", invalid("path %q is not in its shortest form, %q: other unpackers take it, and here a path is written in one way", name, path.Clean(p))
	case strings.Count(p, "/") >= maxDepth:
		return "", invalid("path %q is more than %d directories deep", name, maxDepth)
	}
	for e := range strings.SplitSeq(p, "/") {
		if len(e) > maxName {
			return "", invalid("path %q has a name of more than %d bytes", name, maxName)
		}
	}
	return p, nil
}

// entry writes one entry. used says that this layer has files below it already.
func (u *unpacker) entry(t *tar.Reader, h *tar.Header, name string, used bool, seen layerFiles) error {
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if err := u.parents(dir); err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteout) {
		return u.whiteout(dir, base, seen)
	}
	old, err := u.dst.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Only a directory may come on top of a directory, and stay.
	if old != nil && (h.Typeflag != tar.TypeDir || !old.IsDir()) {
		if used {
			return invalid("%q is no directory, and the same layer has files below it", name)
		}
		if err := u.remove(name); err != nil {
			return err
		}
		old = nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if old == nil {
			if err := u.dst.Mkdir(name, 0o700); err != nil {
				return err
			}
		}
		return u.attributes(name, h)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(t, h, name)
	case tar.TypeSymlink:
		return u.symlink(h, name)
	case tar.TypeLink:
		return u.hardlink(h, name)
	case tar.TypeChar, tar.TypeBlock:
		return invalid("%q is a device: leave it out, /dev has what there is", name)
	case tar.TypeFifo:
		return invalid("%q is a fifo", name)
	}
	return invalid("%q is of type %q, which is no kind of file", name, h.Typeflag)
}

// parents makes the directories on the way to an entry. All of them must be
// directories: nothing is reached through a link.
func (u *unpacker) parents(dir string) error {
	if dir == "." || dir == u.dir {
		return nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		at := dir[:i]
		st, err := u.dst.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if u.files++; u.files > u.limits.Files {
				return invalid("more than %d files", u.limits.Files)
			}
			if err := u.dst.Mkdir(at, 0o700); err != nil {
				return err
			}
			if err := u.attributes(at, &tar.Header{Mode: 0o755}); err != nil {
				return err
			}
		case err != nil:
			return err
		case st.Mode()&fs.ModeSymlink != 0:
			to, _ := u.dst.Readlink(at)
			return invalid("%q is a link to %q, and files come after it: name them where they are", at, to)
		case !st.IsDir():
			return invalid("%q is a file, and files come below it", at)
		}
	}
	u.dir = dir
	return nil
}

func (u *unpacker) remove(name string) error {
	u.dir = ""
	return u.dst.RemoveAll(name)
}

// whiteout removes what lower layers put there. What this layer put there
// itself stays.
func (u *unpacker) whiteout(dir, base string, seen layerFiles) error {
	if base == opaque {
		return u.hide(dir, seen)
	}
	gone := strings.TrimPrefix(base, whiteout)
	if gone == "" || gone == "." || gone == ".." || strings.HasPrefix(gone, whiteout) {
		return invalid("%q stands for no file", path.Join(dir, base))
	}
	name := path.Join(dir, gone)
	if !seen.has(name) {
		return u.remove(name)
	}
	// This layer has it anew, and wrote it before it said that the old one is gone.
	st, err := u.dst.Lstat(name)
	if err != nil || !st.IsDir() {
		return err
	}
	if !seen[name] { // only what is below: as if the directory had been made for that
		if err := u.attributes(name, &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return err
		}
	}
	return u.hide(name, seen)
}

// hide empties a directory of what lower layers put there.
func (u *unpacker) hide(dir string, seen layerFiles) error {
	list, err := fs.ReadDir(u.dst.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := path.Join(dir, e.Name())
		switch {
		case !seen.has(name):
			err = u.remove(name)
		case e.IsDir():
			err = u.hide(name, seen)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) file(t *tar.Reader, h *tar.Header, name string) error {
	if h.Size > u.limits.Bytes-u.bytes {
		return invalid("files of more than %d bytes", u.limits.Bytes)
	}
	u.bytes += h.Size
	f, err := u.dst.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	src := &readError{r: t}
	_, err = io.Copy(f, src)
	if src.err != nil {
		err = invalid("%q: %v", name, src.err)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.attributes(name, h)
}

// readError tells an archive that ends too soon from a disk that is full.
type readError struct {
	r   io.Reader
	err error
}

func (r *readError) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (u *unpacker) symlink(h *tar.Header, name string) error {
	to := h.Linkname
	if to == "" || len(to) >= maxPath || strings.ContainsRune(to, 0) {
		return invalid("link %q to %q", name, to)
	}
	// An absolute target begins at the container's root, and is inside.
	if !path.IsAbs(to) {
		if p := path.Join(path.Dir(name), to); p == ".." || strings.HasPrefix(p, "../") {
			return invalid("link %q leads out of the image, to %q", name, to)
		}
	}
	if err := u.dst.Symlink(to, name); err != nil {
		return err
	}
	return u.own(name, h)
}

func (u *unpacker) hardlink(h *tar.Header, name string) error {
	to, err := clean(h.Linkname)
	if err != nil {
		return fmt.Errorf("link %q: %w", name, err)
	}
	// Lstat follows links on the way, so each directory there is looked at.
	for i, c := range to {
		if c == '/' {
			if st, err := u.dst.Lstat(to[:i]); err != nil || !st.IsDir() {
				return invalid("link %q to %q, which is not there", name, to)
			}
		}
	}
	st, err := u.dst.Lstat(to)
	if err != nil || !st.Mode().IsRegular() {
		return invalid("link %q to %q, which is no file of the image", name, to)
	}
	return u.dst.Link(to, name)
}

// attributes sets owner, permissions and time. The bits that let a program act
// as its owner are not set, and there is no code here for extended attributes.
func (u *unpacker) attributes(name string, h *tar.Header) error {
	if err := u.own(name, h); err != nil {
		return err
	}
	if err := u.dst.Chmod(name, fs.FileMode(h.Mode)&0o777); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir || h.ModTime.IsZero() {
		return nil
	}
	return u.dst.Chtimes(name, h.ModTime, h.ModTime)
}

func (u *unpacker) own(name string, h *tar.Header) error {
	if h.Uid < 0 || h.Uid >= ids || h.Gid < 0 || h.Gid >= ids {
		return invalid("%q belongs to %d:%d: ids go up to %d", name, h.Uid, h.Gid, ids-1)
	}
	if u.ids == 0 {
		return nil
	}
	return u.dst.Lchown(name, int(u.ids)+h.Uid, int(u.ids)+h.Gid)
}
