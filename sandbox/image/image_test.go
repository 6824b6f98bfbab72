package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func file(name, data string) entry {
	return entry{&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, []byte(data)}
}
func dir(name string) entry {
	return entry{&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, nil}
}
func link(name, to string) entry {
	return entry{&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, nil}
}
func hard(name, to string) entry {
	return entry{&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}, nil}
}
func special(kind byte, name string) entry {
	return entry{&tar.Header{Typeflag: kind, Name: name, Devmajor: 1, Devminor: 1}, nil}
}

// raw makes a tar without any of writeTar's manners.
func raw(t testing.TB, list ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		if err := w.WriteHeader(e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zip(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.Bytes()
}

func zst(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// layout is an image made by hand: change sees each of its parts before they
// are sealed by their digests.
func layout(t testing.TB, layers [][]byte, mediaType string, change func(*configFile, *manifest)) (image []byte, digest string) {
	t.Helper()
	var c configFile
	c.platform = platform{Architecture: runtime.GOARCH, OS: "linux"}
	c.Config.Cmd = []string{"/run"}
	c.RootFS.Type = "layers"
	m := manifest{SchemaVersion: 2, MediaType: typeManifest}
	files := []entry{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)}
	put := func(kind string, data []byte) descriptor {
		d := descriptor{MediaType: kind, Digest: sum(data), Size: int64(len(data))}
		files = append(files, file("blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:"), string(data)))
		return d
	}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, sum(l))
		packed := l
		switch {
		case strings.HasSuffix(mediaType, "gzip"):
			packed = zip(t, l)
		case strings.HasSuffix(mediaType, "zstd"):
			packed = zst(t, l)
		}
		m.Layers = append(m.Layers, put(mediaType, packed))
	}
	if change != nil {
		change(&c, &m)
	}
	config := put(typeConfig, mustJSON(c))
	if m.Config == nil {
		m.Config = &config
	}
	d := put(typeManifest, mustJSON(m))
	return raw(t, files...), d.Digest
}

// unpack unpacks into a directory whose parent holds a canary, and fails the
// test if that was touched.
func unpack(t testing.TB, image []byte, digest string, layer []byte, o Options) (string, Config, error) {
	t.Helper()
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(outside, "root")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := Unpack(t.Context(), root, image, digest, layer, o)
	if got, e := os.ReadFile(canary); e != nil || string(got) != "untouched" {
		t.Errorf("the file outside has %q, %v", got, e)
	}
	if list, _ := os.ReadDir(outside); len(list) != 2 {
		t.Errorf("outside is now %v", list)
	}
	return inside, c, err
}

func TestUnpackLayers(t *testing.T) {
	lower := raw(t, dir("etc"), file("etc/a", "1"), file("etc/b", "1"), dir("gone"), file("gone/x", "1"),
		dir("covered"), file("covered/old", "1"), file("becomes", "file"), link("lib", "usr/lib"), link("abs", "/etc/a"), hard("etc/c", "etc/a"))
	upper := raw(t, file("etc/.wh.b", ""), file(".wh.gone", ""), dir("covered"), file("covered/new", "2"),
		file("covered/.wh..wh..opq", ""), dir("becomes"), file("becomes/dir", "2"))
	for _, kind := range []string{typeLayer, typeLayer + "+gzip", typeLayer + "+zstd", typeDockerLayer + ".gzip"} {
		img, digest := layout(t, [][]byte{lower, upper}, kind, nil)
		at, c, err := unpack(t, img, digest, zip(t, raw(t, file("code/main", "3"))), Options{})
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if len(c.Cmd) != 1 || c.Cmd[0] != "/run" {
			t.Errorf("configuration %+v", c)
		}
		var got []string
		_ = fs.WalkDir(os.DirFS(at), ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !d.IsDir() {
				got = append(got, p)
			}
			return nil
		})
		want := "abs becomes/dir code/main covered/new etc/a etc/c lib"
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got  %s\nwant %s", kind, strings.Join(got, " "), want)
		}
	}
}

func TestNoPowersAreUnpacked(t *testing.T) {
	e := file("su", "x")
	e.Mode = 0o6755
	e.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\xff\xff\xff\xff"}
	e.Format = tar.FormatPAX
	e.Uid, e.Gid = 3, 4
	e.ModTime = time.Unix(1000, 0)
	var o Options
	if os.Geteuid() == 0 {
		o.IDs = 1 << 20
	}
	at, _, err := unpack(t, nil, "", raw(t, e), o)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(filepath.Join(at, "su"))
	if err != nil || st.Mode() != 0o755 || st.ModTime().Unix() != 1000 {
		t.Errorf("%v %v %v", st.Mode(), st.ModTime(), err)
	}
	if o.IDs != 0 {
		if uid, gid := owner(st); uid != 1<<20+3 || gid != 1<<20+4 {
			t.Errorf("owner %d:%d", uid, gid)
		}
	}
	if x := xattrs(t, filepath.Join(at, "su")); x != "" {
		t.Errorf("extended attributes %q", x)
	}
}

// Layers that nobody makes by accident. None may be unpacked, and none may
// reach the file beside the root.
func TestHostileLayers(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		what string
		list []entry
	}{
		{"path with ..", []entry{file("../canary", "x")}},
		{"path with .. inside", []entry{file("a/../../canary", "x")}},
		{"absolute path", []entry{file("/etc/passwd", "x")}},
		{"empty path element", []entry{file("a//b", "x")}},
		{"path with a dot inside", []entry{file("a/./b", "x")}},
		{"long name", []entry{file(long, "x")}},
		{"long path", []entry{file(strings.Repeat("d/", 2100)+"x", "x")}},
		{"deep path", []entry{file(strings.Repeat("d/", 200)+"x", "x")}},
		{"link out", []entry{link("l", "../canary")}},
		{"link out from below", []entry{link("a/b/l", "../../../canary")}},
		{"link to the parent", []entry{link("l", "..")}},
		{"empty link", []entry{link("l", "")}},
		{"link that is too long for the kernel", []entry{link("l", strings.Repeat("x", 4096))}},
		{"file through a link", []entry{link("l", "/"), file("l/x", "x")}},
		{"file through a link to a directory inside", []entry{dir("d"), link("l", "d"), file("l/x", "x")}},
		{"file through a link to the root's own parent", []entry{link("l", "/.."), file("l/canary", "x")}},
		{"directory over a link, then a file", []entry{link("l", "/tmp"), dir("l"), file("l/x", "x")}},
		{"hard link out", []entry{hard("h", "../canary")}},
		{"hard link to an absolute path", []entry{hard("h", "/etc/passwd")}},
		{"hard link to a symbolic link", []entry{link("l", "/etc/passwd"), hard("h", "l")}},
		{"hard link through a symbolic link", []entry{dir("d"), file("d/f", "x"), link("l", "d"), hard("h", "l/f")}},
		{"hard link to a directory", []entry{dir("d"), hard("h", "d")}},
		{"hard link to nothing", []entry{hard("h", "none")}},
		{"character device", []entry{special(tar.TypeChar, "dev/mem")}},
		{"block device", []entry{special(tar.TypeBlock, "dev/sda")}},
		{"fifo", []entry{special(tar.TypeFifo, "f")}},
		{"unknown type", []entry{{&tar.Header{Typeflag: 'Z', Name: "z"}, nil}}},
		{"twice the same", []entry{file("a", "1"), file("a", "2")}},
		{"file, then a directory of that name", []entry{file("a", "1"), dir("a")}},
		{"directory with files, then a file", []entry{file("a/b", "1"), file("a", "2")}},
		{"directory with files, then a link", []entry{file("a/b", "1"), link("a", "/etc")}},
		{"file below a file", []entry{file("a", "1"), file("a/b", "2")}},
		{"whiteout of nothing", []entry{file(".wh.", "")}},
		{"whiteout of the directory itself", []entry{file("d/.wh..", "")}},
		{"whiteout of the parent", []entry{file("d/.wh...", "")}},
		{"whiteout of a whiteout", []entry{file(".wh..wh.aufs", "")}},
		{"whiteout through a link", []entry{link("l", "/"), file("l/.wh.etc", "")}},
		{"opaque through a link", []entry{link("l", "/"), file("l/.wh..wh..opq", "")}},
		{"strange owner", []entry{{&tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1 << 20}, nil}}},
		{"the root is a file", []entry{{&tar.Header{Typeflag: tar.TypeReg, Name: "."}, nil}}},
		{"the root is a link", []entry{link("./", "/etc")}},
	} {
		layer := raw(t, c.list...)
		_, _, err := unpack(t, nil, "", layer, Options{})
		var inv *Invalid
		if !errors.As(err, &inv) {
			t.Errorf("%s: private layer: %v", c.what, err)
		}
		img, digest := layout(t, [][]byte{layer}, typeLayer+"+gzip", nil)
		if _, _, err = unpack(t, img, digest, nil, Options{}); !errors.As(err, &inv) {
			t.Errorf("%s: image: %v", c.what, err)
		}
		t.Logf("%-45s refused: %v", c.what, inv)
	}
}

// A link of the image must not become a way out for the private layer.
func TestLayersDoNotFollowLinksOfOthers(t *testing.T) {
	img, digest := layout(t, [][]byte{raw(t, link("code", "/")), raw(t, dir("x"))}, typeLayer, nil)
	_, _, err := unpack(t, img, digest, raw(t, file("code/canary", "x")), Options{})
	if err == nil || !strings.Contains(err.Error(), `"code" is a link to "/"`) {
		t.Error(err)
	}
}

func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks for long, in one thread")
	}
	zeros := make([]byte, 64<<20)
	bomb := raw(t, file("zeros", string(zeros)))
	many := make([]entry, 300)
	for i := range many {
		many[i] = dir(fmt.Sprint("d", i))
	}
	sparse := entry{&tar.Header{Typeflag: tar.TypeReg, Name: "s", Size: 1 << 40}, nil}
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(sparse.Header); err != nil {
		t.Fatal(err)
	}
	small := Limits{Bytes: 1 << 20, Files: 200, Layers: 2, Ratio: 100}
	for _, c := range []struct {
		what  string
		layer []byte
		l     Limits
		want  string
	}{
		{"gzip bomb", zip(t, bomb), Limits{1 << 30, 10, 1, 100}, "100 times its size"},
		{"zstd bomb", zst(t, bomb), Limits{1 << 30, 10, 1, 100}, "100 times its size"},
		{"bomb after the end of the tar", zip(t, append(raw(t, dir("d")), zeros...)), Limits{1 << 30, 10, 1, 100}, "100 times its size"},
		{"large file", bomb, small, "more than 1048576 bytes"},
		{"file that says it is a terabyte", head.Bytes(), small, "more than 1048576 bytes"},
		{"many files", raw(t, many...), small, "more than 200 files"},
		{"many directories in one path", raw(t, file(strings.Repeat("d/", 120)+"x", ""), file("e/"+strings.Repeat("d/", 100)+"x", "")), small, "more than 200 files"},
	} {
		_, _, err := unpack(t, nil, "", c.layer, Options{Limits: c.l})
		var inv *Invalid
		if !errors.As(err, &inv) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	// What is no file takes time as well, in each layer again.
	padded := append(raw(t, dir("d")), zeros[:2<<20]...)
	small.Ratio = 10_000
	img, digest := layout(t, [][]byte{padded[:1<<20], padded[:1<<20-512]}, typeLayer+"+gzip", nil)
	if _, _, err := unpack(t, img, digest, nil, Options{Limits: small}); err == nil || !strings.Contains(err.Error(), "layers unpack to more than 1867776 bytes") {
		t.Error(err)
	}
	img, digest = layout(t, [][]byte{raw(t, dir("d")), raw(t, dir("e")), raw(t, dir("f"))}, typeLayer, nil)
	if _, _, err := unpack(t, img, digest, nil, Options{Limits: small}); err == nil || !strings.Contains(err.Error(), "3 layers") {
		t.Error(err)
	}
}

// Who is at fault: the bringer if the bytes are not those of the digest, the
// author if they are.
func TestImageIsWhatItsDigestNames(t *testing.T) {
	layer := raw(t, file("a", "content that is somewhere"))
	good, digest := layout(t, [][]byte{layer}, typeLayer, nil)
	flip := func(at []byte) []byte {
		b := bytes.Clone(good)
		b[bytes.Index(b, at)] ^= 1
		return b
	}
	for what, b := range map[string][]byte{
		"layer changed":    flip([]byte("content that")),
		"config changed":   flip([]byte(`"/run"`)),
		"manifest changed": flip([]byte(`"schemaVersion"`)),
		"cut":              good[:len(good)/3],
		"no tar":           []byte("hello"),
		"empty tar":        raw(t),
		"not a layout":     layer,
	} {
		if _, _, err := unpack(t, b, digest, nil, Options{}); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := unpack(t, good, "sha256:"+strings.Repeat("0", 64), nil, Options{}); !errors.Is(err, ErrDigest) {
		t.Error(err)
	}
	for what, change := range map[string]func(*configFile, *manifest){
		"other machine":       func(c *configFile, _ *manifest) { c.Architecture = "s390x" },
		"other system":        func(c *configFile, _ *manifest) { c.OS = "windows" },
		"diffID":              func(c *configFile, _ *manifest) { c.RootFS.DiffIDs[0] = sum(nil) },
		"too few diffIDs":     func(c *configFile, _ *manifest) { c.RootFS.DiffIDs = nil },
		"artifact":            func(_ *configFile, m *manifest) { m.Config = &descriptor{MediaType: "text/plain"} },
		"layer type":          func(_ *configFile, m *manifest) { m.Layers[0].MediaType = "text/plain" },
		"encrypted layer":     func(_ *configFile, m *manifest) { m.Layers[0].MediaType = typeLayer + "+encrypted" },
		"manifest type":       func(_ *configFile, m *manifest) { m.MediaType = "text/plain" },
		"schema":              func(_ *configFile, m *manifest) { m.SchemaVersion = 1 },
		"environment":         func(c *configFile, _ *manifest) { c.Config.Env = []string{"=x"} },
		"zero in an argument": func(c *configFile, _ *manifest) { c.Config.Cmd = []string{"a\x00b"} },
	} {
		b, d := layout(t, [][]byte{layer}, typeLayer, change)
		_, _, err := unpack(t, b, d, nil, Options{})
		if inv := new(Invalid); !errors.As(err, &inv) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestIndexChoosesByPlatform(t *testing.T) {
	img, digest := layout(t, [][]byte{raw(t, file("here", ""))}, typeLayer, nil)
	b, err := readLayout(img)
	if err != nil {
		t.Fatal(err)
	}
	index := func(arch string) string {
		m := manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{
			{MediaType: typeManifest, Digest: sum(nil), Platform: &platform{Architecture: "none", OS: "linux"}},
			{MediaType: typeManifest, Digest: digest, Size: int64(len(b.blobs[digest])), Platform: &platform{Architecture: arch, OS: "linux"}},
		}}
		data := mustJSON(m)
		b.blobs[sum(data)] = data
		return sum(data)
	}
	if m, err := b.manifest(index(runtime.GOARCH)); err != nil || len(m.Layers) != 1 {
		t.Error(m, err)
	}
	if _, err := b.manifest(index("other")); err == nil {
		t.Error("a manifest for another machine was taken")
	}
}

func TestBuildIsReproducible(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for i, d := range []string{a, b} {
		names := []string{"bin/tool", "etc/x", "z"}
		if i == 1 {
			names = []string{"z", "etc/x", "bin/tool"}
		}
		for _, n := range names {
			p := filepath.Join(d, n)
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(n), 0o755),
				os.Chmod(p, 0o755), os.Chtimes(p, time.Now(), time.Unix(int64(i*1000), 0))); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("tool", filepath.Join(d, "bin/alias")); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{Entrypoint: []string{"/bin/tool"}, Env: []string{"A=1"}}
	one, digest, err := BuildDir(a, c)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := BuildDir(b, c)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("two builds differ, %v", err)
	}
	at, got, err := unpack(t, one, digest, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if x, y := mustJSON(got), mustJSON(c); !bytes.Equal(x, y) {
		t.Errorf("configuration %s, not %s", x, y)
	}
	if data, err := os.ReadFile(filepath.Join(at, "bin/alias")); string(data) != "bin/tool" {
		t.Errorf("%q %v", data, err)
	}
	for what, e := range map[string]entry{
		"device": special(tar.TypeChar, "dev/null"), "whiteout": file(".wh.x", ""), "traversal": file("../x", ""),
	} {
		if _, _, err := Build(bytes.NewReader(raw(t, e)), c); err == nil {
			t.Errorf("built an image with a %s", what)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	layer := raw(f, dir("d"), file("d/f", "x"), link("l", "d"), hard("h", "d/f"), file(".wh.y", ""))
	f.Add(layer, "")
	f.Add(zip(f, layer), "")
	img, digest := layout(f, [][]byte{layer}, typeLayer, nil)
	f.Add(img, digest)
	f.Fuzz(func(t *testing.T, data []byte, digest string) {
		o := Options{Limits: Limits{Bytes: 1 << 20, Files: 100, Layers: 4, Ratio: 10}}
		_, _, _ = unpack(t, nil, "", data, o)
		_, _, _ = unpack(t, data, digest, nil, o)
		if json.Valid(data) {
			// What is in the blobs is reached by no mutation, for its digest changes.
			b := blobs{sum(data): data}
			if m, err := b.manifest(sum(data)); err == nil {
				_, _ = b.config(m)
			}
		}
	})
}

// What the kernel does not start a program with is the image's fault, and is
// found before the runtime finds it and it looks like the host's.
func TestConfigOfAnImage(t *testing.T) {
	long := strings.Repeat("x", maxArg)
	for what, c := range map[string]Config{
		"zero byte": {User: "a\x00"}, "no name": {Env: []string{"=x"}}, "many": {Cmd: make([]string, maxArgs+1)},
		"long variable": {Env: []string{"A=" + long}}, "long argument": {Cmd: []string{long + "x"}}, "long directory": {WorkingDir: "/" + long},
	} {
		img, digest := layout(t, [][]byte{raw(t, dir("d"))}, typeLayer, func(f *configFile, _ *manifest) { f.Config = c })
		var inv *Invalid
		if _, _, err := unpack(t, img, digest, nil, Options{}); !errors.As(err, &inv) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", what, err)
		}
	}
}
