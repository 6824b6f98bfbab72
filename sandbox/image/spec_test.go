package image

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

type object = map[string]any

// parts are what an image is made of, before digests seal it.
type parts struct {
	t          *testing.T
	layers     [][]entry
	kind       string // media type of the layers
	first      []byte // of each layer's tar, before its entries
	pack       func([]byte) []byte
	oci        object // oci-layout
	config     object
	manifest   object
	descriptor object // the manifest's
	index      object // nil for an image without one
	files      map[string][]byte
	digest     string              // that is asked for; the index's or manifest's if it is empty
	late       func(*parts)        // after all is sealed, to take something away
	blobs      map[string][]byte   // by digest, for late
	top        object              // index.json
	entries    func([]any) []any   // of the index, from the one that is good
	layerOf    func(object) object // each descriptor of a layer
}

func newParts(t *testing.T) *parts {
	return &parts{
		t: t, layers: [][]entry{{file("etc/name", "lower")}, {file("bin/run", "upper")}}, kind: typeLayer,
		oci: object{"imageLayoutVersion": "1.0.0"},
		config: object{
			"architecture": runtime.GOARCH, "os": "linux", "rootfs": object{"type": "layers"},
			"config": object{"Cmd": []string{"/bin/run"}, "Env": []string{"A=1"}},
		},
		manifest:   object{"schemaVersion": 2, "mediaType": typeManifest},
		descriptor: object{"platform": object{"architecture": runtime.GOARCH, "os": "linux"}},
		files:      map[string][]byte{}, blobs: map[string][]byte{}, top: object{},
	}
}

func (p *parts) put(mediaType string, data []byte) object {
	p.blobs[sum(data)] = data
	return object{"mediaType": mediaType, "digest": sum(data), "size": len(data)}
}

// seal makes the tar of a layout, and says which image of it is meant.
func (p *parts) seal() (layout []byte, digest string) {
	var ids []string
	var layers []any
	for _, l := range p.layers {
		plain := slices.Concat(p.first, raw(p.t, l...))
		packed := plain
		if p.pack != nil {
			packed = p.pack(plain)
		}
		ids = append(ids, sum(plain))
		d := p.put(p.kind, packed)
		if p.layerOf != nil {
			d = p.layerOf(d)
		}
		layers = append(layers, d)
	}
	if r, ok := p.config["rootfs"].(object); ok && r["diff_ids"] == nil {
		r["diff_ids"] = ids
	}
	fill := func(o object, key string, v any) {
		if _, ok := o[key]; !ok {
			o[key] = v
		}
	}
	fill(p.manifest, "config", p.put(typeConfig, mustJSON(p.config)))
	fill(p.manifest, "layers", layers)
	d := p.put(typeManifest, mustJSON(p.manifest))
	for k, v := range p.descriptor {
		d[k] = v
	}
	top := d
	if p.index != nil {
		list := []any{d}
		if p.entries != nil {
			list = p.entries(list)
		}
		fill(p.index, "manifests", list)
		top = p.put(typeIndex, mustJSON(p.index))
	}
	fill(p.top, "schemaVersion", 2)
	fill(p.top, "manifests", []any{top})
	p.files["index.json"] = mustJSON(p.top)
	if p.oci != nil {
		p.files["oci-layout"] = mustJSON(p.oci)
	}
	if digest = p.digest; digest == "" {
		digest, _ = top["digest"].(string)
	}
	if p.late != nil {
		p.late(p)
	}
	for d, data := range p.blobs {
		p.files["blobs/"+strings.Replace(d, ":", "/", 1)] = data
	}
	var list []entry
	for name, data := range p.files {
		list = append(list, file(name, string(data)))
	}
	return raw(p.t, list...), digest
}

// A specified case is one of a row of the table in docs/oci.md.
type specified struct {
	row  string
	edit func(*parts)
	// want is what comes of it: nothing if it is as if the edit had not been made;
	// words of an Invalid error; or "bringer: " and words of an ErrDigest.
	want  string
	check func(t *testing.T, at string, c Config) // of an image that is other than before
}

func other(mediaType string) func(*parts) {
	return func(p *parts) { p.kind = mediaType }
}

func zipped(t *testing.T) func([]byte) []byte {
	return func(b []byte) []byte { return zip(t, b) }
}

// content says that a file is as a case wants it.
func content(name, want string) func(*testing.T, string, Config) {
	return func(t *testing.T, at string, _ Config) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(at, name))
		if want == "" {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is there: %v", name, err)
			}
		} else if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func layersOf(l ...[]entry) func(*parts) { return func(p *parts) { p.layers = l } }

// upper is a second layer over one that has etc/name.
func upper(l ...entry) func(*parts) {
	return func(p *parts) { p.layers[1] = append(p.layers[1], l...) }
}

// field sets one of an object, which is its parent's if there is a second name.
func set(of func(*parts) object, value any, names ...string) func(*parts) {
	return func(p *parts) {
		o := of(p)
		for _, n := range names[:len(names)-1] {
			in, ok := o[n].(object)
			if !ok {
				in = object{}
				o[n] = in
			}
			o = in
		}
		o[names[len(names)-1]] = value
	}
}

var (
	ofConfig     = func(p *parts) object { return p.config }
	ofManifest   = func(p *parts) object { return p.manifest }
	ofDescriptor = func(p *parts) object { return p.descriptor }
	ofIndex      = func(p *parts) object {
		if p.index == nil {
			p.index = object{"schemaVersion": 2, "mediaType": typeIndex}
		}
		return p.index
	}
)

// without takes a field away.
func without(of func(*parts) object, name string) func(*parts) {
	return func(p *parts) { delete(of(p), name) }
}

// among puts other entries before the good one of an index.
func among(others ...object) func(*parts) {
	return func(p *parts) {
		ofIndex(p)
		p.entries = func(good []any) []any {
			var list []any
			for _, o := range others {
				if _, ok := o["digest"]; !ok {
					o["digest"], o["size"] = sum([]byte("nothing")), 7
				}
				list = append(list, o)
			}
			return append(list, good...)
		}
	}
}

func both(edits ...func(*parts)) func(*parts) {
	return func(p *parts) {
		for _, e := range edits {
			e(p)
		}
	}
}

// layerField sets one of the descriptors of layers.
func layerField(name string, value any) func(*parts) {
	return func(p *parts) {
		p.layerOf = func(o object) object { o[name] = value; return o }
	}
}

func specification(t *testing.T) []specified {
	here := object{"architecture": runtime.GOARCH, "os": "linux"}
	elsewhere := object{"architecture": "s390x", "os": "linux"}
	owned := func(change func(*tar.Header)) entry {
		e := file("owned", "x")
		change(e.Header)
		return e
	}
	opaqueFile := file("etc/.wh..wh..opq", "")
	stat := func(check func(os.FileInfo) bool) func(*testing.T, string, Config) {
		return func(t *testing.T, at string, _ Config) {
			st, err := os.Lstat(filepath.Join(at, "owned"))
			if err != nil || !check(st) {
				t.Errorf("%v %v", st, err)
			}
		}
	}
	return []specified{
		// image-layout.md
		{"ImageLayout.imageLayoutVersion", func(p *parts) { p.oci["imageLayoutVersion"] = "1.1.0" }, "", nil},
		{"ImageLayout.imageLayoutVersion", func(p *parts) { p.oci["imageLayoutVersion"] = "2.0.0" }, "bringer: version", nil},
		{"ImageLayout.imageLayoutVersion", func(p *parts) { p.oci = object{} }, "bringer: version", nil},
		{"layout: oci-layout", func(p *parts) { p.oci = nil }, "bringer: no file oci-layout", nil},
		{"layout: oci-layout", func(p *parts) { p.oci = nil; p.files["oci-layout"] = []byte("1.0.0") }, "bringer: oci-layout", nil},
		{"layout: index.json", func(p *parts) { p.late = func(p *parts) { delete(p.files, "index.json") } }, "", nil},
		{"layout: unknown files", func(p *parts) { p.files["manifest.json"], p.files["blobs/x"] = []byte("[]"), nil }, "", nil},
		{"layout: blobs that nothing names", func(p *parts) { p.put("text/plain", []byte("x")) }, "", nil},
		{"layout: a blob is missing", func(p *parts) { p.late = func(p *parts) { p.blobs = nil } }, "bringer: is not in it", nil},
		{"layout: a blob is not that of its name", func(p *parts) {
			p.late = func(p *parts) {
				for d := range p.blobs {
					p.blobs[d] = []byte("{}")
				}
			}
		}, "bringer: has the digest", nil},

		// image-index.md
		{"Index.schemaVersion", set(ofIndex, 1, "schemaVersion"), "schema version 1", nil},
		{"Index.schemaVersion", without(ofIndex, "schemaVersion"), "schema version 0", nil},
		{"Index.mediaType", without(ofIndex, "mediaType"), "", nil},
		{"Index.mediaType", set(ofIndex, typeDockerIndex, "mediaType"), "", nil},
		{"Index.mediaType", set(ofIndex, "text/plain", "mediaType"), "not the media type", nil},
		{"Index.mediaType", set(ofIndex, typeManifest, "mediaType"), "the other", nil},
		{"index: what two readers take for two things", both(without(ofIndex, "mediaType"), set(ofIndex, []any{}, "layers"), set(ofIndex, object{}, "config")), "has manifests, as an index", nil},
		{"index: what two readers take for two things", both(set(ofIndex, object{}, "config")), "has manifests, as an index", nil},
		{"Index.artifactType", set(ofIndex, "application/x", "artifactType"), "", nil},
		{"Index.subject", set(ofIndex, object{"digest": "x"}, "subject"), "", nil},
		{"Index.annotations", set(ofIndex, object{"org.opencontainers.image.title": "x"}, "annotations"), "", nil},
		{"Index.manifests", set(ofIndex, []any{}, "manifests"), "none of its 0", nil},
		{"Index.manifests", set(ofIndex, nil, "manifests"), "none of its 0", nil},
		{"index: the first that fits", among(object{"mediaType": typeManifest, "platform": here}), "bringer: is not in it", nil},
		{"index: a media type that is not known", among(object{"mediaType": "application/xml"}, object{"mediaType": "application/xml", "platform": here}), "", nil},
		{"index: an index in it", func(p *parts) {
			ofIndex(p)
			p.entries = func(good []any) []any {
				for range maxIndexes - 2 {
					d := p.put(typeIndex, mustJSON(object{"schemaVersion": 2, "manifests": good}))
					good = []any{d}
				}
				return good
			}
		}, "", nil},
		{"index: an index in it", func(p *parts) {
			ofIndex(p)
			p.entries = func(good []any) []any {
				for range 3 * maxIndexes {
					good = []any{p.put(typeIndex, mustJSON(object{"schemaVersion": 2, "manifests": good}))}
				}
				return good
			}
		}, "none of its 1", nil},
		{"Descriptor.platform", both(without(ofDescriptor, "platform"), among()), "", nil},
		{"Descriptor.platform", both(without(ofDescriptor, "platform"), among(object{"mediaType": typeManifest}, object{})), "", nil},
		{"Descriptor.platform", both(without(ofDescriptor, "platform"), set(ofConfig, "s390x", "architecture"), among()), "none of its 1", nil},
		{"Descriptor.platform", both(set(ofDescriptor, nil, "platform"), among()), "", nil},
		{"Platform.architecture", among(object{"mediaType": typeManifest, "platform": elsewhere}), "", nil},
		{"Platform.architecture", both(among(), set(ofDescriptor, "s390x", "platform", "architecture")), "none of its 1", nil},
		{"Platform.os", among(object{"mediaType": typeManifest, "platform": object{"architecture": runtime.GOARCH, "os": "windows"}}), "", nil},
		{"Platform.os", both(among(), set(ofDescriptor, "windows", "platform", "os")), "none of its 1", nil},
		{"Platform.os.version", both(among(), set(ofDescriptor, "6.1", "platform", "os.version")), "", nil},
		{"Platform.os.features", among(object{"mediaType": typeManifest, "platform": object{"architecture": runtime.GOARCH, "os": "linux", "os.features": []string{"erofs"}}}), "", nil},
		{"Platform.os.features", both(among(), set(ofDescriptor, []string{"erofs"}, "platform", "os.features")), "none of its 1", nil},
		{"Platform.variant", among(object{"mediaType": typeManifest, "platform": object{"architecture": runtime.GOARCH, "os": "linux", "variant": "v4"}}), "", nil},
		{"Platform.variant", both(among(object{"mediaType": typeManifest, "platform": object{"architecture": runtime.GOARCH, "os": "linux", "variant": "v4"}}), set(ofDescriptor, "v3", "platform", "variant")), "bringer: is not in it", nil},
		{"Platform.variant", both(among(), set(ofDescriptor, "v4", "platform", "variant")), "", nil},
		{"Platform.features", both(among(), set(ofDescriptor, []string{"sse4"}, "platform", "features")), "", nil},

		// descriptor.md
		{"Descriptor.mediaType", other("text/plain"), "not the media type of a layer", nil},
		{"Descriptor.mediaType", both(among(), without(ofDescriptor, "mediaType")), "", nil},
		{"Descriptor.mediaType", both(among(), set(ofDescriptor, typeIndex, "mediaType")), "its descriptor calls it", nil},
		{"Descriptor.digest", layerField("digest", "sha512:"+strings.Repeat("0", 128)), "sha256 and 64 digits", nil},
		{"Descriptor.digest", layerField("digest", "sha256:"+strings.Repeat("A", 64)), "sha256 and 64 digits", nil},
		{"Descriptor.digest", func(p *parts) { p.digest = "latest" }, "sha256 and 64 digits", nil},
		{"Descriptor.digest", layerField("digest", "sha256:"+strings.Repeat("0", 64)), "bringer: is not in it", nil},
		{"Descriptor.size", layerField("size", 5), "descriptor says", nil},
		{"Descriptor.size", layerField("size", -1), "descriptor says", nil},
		{"Descriptor.urls", layerField("urls", []string{"https://example.com/layer"}), "", nil},
		{"Descriptor.annotations", layerField("annotations", object{"a": "b"}), "", nil},
		{"Descriptor.artifactType", layerField("artifactType", "application/x"), "", nil},
		{"Descriptor.data", func(p *parts) {
			p.layerOf = func(o object) object {
				d, _ := o["digest"].(string)
				o["data"] = base64.StdEncoding.EncodeToString(p.blobs[d])
				delete(p.blobs, d)
				return o
			}
		}, "", nil},
		{"Descriptor.data", func(p *parts) {
			p.layerOf = func(o object) object {
				d, _ := o["digest"].(string)
				o["data"] = base64.StdEncoding.EncodeToString([]byte("another"))
				delete(p.blobs, d)
				return o
			}
		}, "has another digest", nil},
		{"Descriptor.data", layerField("data", "%"), "illegal base64", nil},

		// manifest.md
		{"Manifest.schemaVersion", set(ofManifest, 1, "schemaVersion"), "schema version 1", nil},
		{"Manifest.mediaType", without(ofManifest, "mediaType"), "", nil},
		{"Manifest.mediaType", set(ofManifest, typeDockerManifest, "mediaType"), "", nil},
		{"Manifest.mediaType", set(ofManifest, "text/plain", "mediaType"), "not the media type", nil},
		{"Manifest.mediaType", set(ofManifest, typeIndex, "mediaType"), "the other", nil},
		{"Manifest.artifactType", set(ofManifest, "application/x", "artifactType"), "", nil},
		{"Manifest.subject", set(ofManifest, object{"digest": "x"}, "subject"), "", nil},
		{"Manifest.annotations", set(ofManifest, object{"a": "b"}, "annotations"), "", nil},
		{"Manifest.config", set(ofManifest, nil, "config"), "without a configuration", nil},
		{"Manifest.config", set(ofManifest, object{"mediaType": "application/vnd.oci.empty.v1+json"}, "config"), "an artifact", nil},
		{"Manifest.config", func(p *parts) {
			p.late = nil
			p.manifest["config"] = p.put(typeDockerConfig, mustJSON(object{}))
		}, "for /", nil},
		{"Manifest.layers", set(ofManifest, []any{}, "layers"), "its configuration names 2", nil},
		{"Manifest.layers", layersOf(), "", content("bin/run", "")},
		{"manifest: the base layer is the first", layersOf([]entry{file("bin/run", "old")}, []entry{file("bin/run", "upper"), file("etc/name", "lower")}), "", nil},

		// config.md
		{"Image.created", set(ofConfig, "not a date", "created"), "", nil},
		{"Image.author", set(ofConfig, "x", "author"), "", nil},
		{"Image.architecture", set(ofConfig, "s390x", "architecture"), "for linux/s390x", nil},
		{"Image.architecture", without(ofConfig, "architecture"), "for linux/", nil},
		{"Image.os", set(ofConfig, "windows", "os"), "for windows/", nil},
		{"Image.os.version", set(ofConfig, "6.1", "os.version"), "", nil},
		{"Image.os.features", set(ofConfig, []string{"erofs"}, "os.features"), `with ["erofs"]`, nil},
		{"Image.variant", set(ofConfig, "v3", "variant"), "", nil},
		{"Image.config", set(ofConfig, nil, "config"), "", func(t *testing.T, _ string, c Config) {
			if !reflect.DeepEqual(c, Config{}) {
				t.Errorf("%+v", c)
			}
		}},
		{"Image.rootfs", set(ofConfig, nil, "rootfs"), "its configuration names 0", nil},
		{"RootFS.type", set(ofConfig, "squashfs", "rootfs", "type"), "of type", nil},
		{"RootFS.type", set(ofConfig, "", "rootfs", "type"), "", nil},
		{"RootFS.type", set(ofConfig, object{}, "rootfs"), "", nil},
		{"RootFS.diff_ids", set(ofConfig, []string{sum(nil), sum(nil)}, "rootfs", "diff_ids"), "and the image says", nil},
		{"RootFS.diff_ids", set(ofConfig, []string{sum(nil)}, "rootfs", "diff_ids"), "its configuration names 1", nil},
		{"Image.history", set(ofConfig, []any{nil}, "history"), "", nil},
		{"History.created", set(ofConfig, []any{object{"created": "x"}}, "history"), "", nil},
		{"History.created_by", set(ofConfig, []any{object{"created_by": "x"}}, "history"), "", nil},
		{"History.author", set(ofConfig, []any{object{"author": "x"}}, "history"), "", nil},
		{"History.comment", set(ofConfig, []any{object{"comment": "x"}}, "history"), "", nil},
		{"History.empty_layer", set(ofConfig, []any{object{"empty_layer": true}}, "history"), "", nil},
		{"ImageConfig.User", set(ofConfig, "app:", "config", "User"), "", func(t *testing.T, _ string, c Config) {
			if c.User != "app:" {
				t.Errorf("%+v", c)
			}
		}},
		{"ImageConfig.WorkingDir", set(ofConfig, "/app/", "config", "WorkingDir"), "", func(t *testing.T, _ string, c Config) {
			if c.WorkingDir != "/app/" {
				t.Errorf("%+v", c)
			}
		}},
		{"ImageConfig.Env", set(ofConfig, []string{"X=1", "Y=", "Z==1"}, "config", "Env"), "", func(t *testing.T, _ string, c Config) {
			if !slices.Equal(c.Env, []string{"X=1", "Y=", "Z==1"}) {
				t.Errorf("%+v", c)
			}
		}},
		{"ImageConfig.Env", set(ofConfig, []string{"=1"}, "config", "Env"), "not NAME=value", nil},
		{"ImageConfig.Env", set(ofConfig, []string{"X"}, "config", "Env"), "not NAME=value", nil},
		{"ImageConfig.Entrypoint", set(ofConfig, []string{"/x"}, "config", "Entrypoint"), "", func(t *testing.T, _ string, c Config) {
			if !slices.Equal(c.Entrypoint, []string{"/x"}) {
				t.Errorf("%+v", c)
			}
		}},
		{"ImageConfig.Cmd", set(ofConfig, "/bin/sh -c true", "config", "Cmd"), "cannot unmarshal string", nil},
		{"ImageConfig.Cmd", set(ofConfig, []string{"/y"}, "config", "Cmd"), "", func(t *testing.T, _ string, c Config) {
			if !slices.Equal(c.Cmd, []string{"/y"}) {
				t.Errorf("%+v", c)
			}
		}},
		{"ImageConfig.ExposedPorts", set(ofConfig, object{"80/tcp": object{}}, "config", "ExposedPorts"), "", nil},
		{"ImageConfig.Volumes", set(ofConfig, object{"/data": object{}}, "config", "Volumes"), "", nil},
		{"ImageConfig.Labels", set(ofConfig, object{"a": "b"}, "config", "Labels"), "", nil},
		{"ImageConfig.StopSignal", set(ofConfig, "SIGRTMIN+3", "config", "StopSignal"), "", nil},
		{"ImageConfig.ArgsEscaped", set(ofConfig, true, "config", "ArgsEscaped"), "", nil},
		{"ImageConfig.Memory", set(ofConfig, 1, "config", "Memory"), "", nil},
		{"ImageConfig.MemorySwap", set(ofConfig, 1, "config", "MemorySwap"), "", nil},
		{"ImageConfig.CpuShares", set(ofConfig, 1, "config", "CpuShares"), "", nil},
		{"ImageConfig.Healthcheck", set(ofConfig, object{"Test": []string{"NONE"}}, "config", "Healthcheck"), "", nil},
		{"json: fields that are not known", both(set(ofConfig, 1, "x"), set(ofConfig, 1, "config", "x"), set(ofManifest, 1, "x"), set(ofIndex, 1, "x"), set(ofDescriptor, 1, "x")), "", nil},
		{"json: null", both(set(ofConfig, nil, "created"), set(ofConfig, nil, "variant"), set(ofConfig, nil, "history"), set(ofConfig, nil, "config", "User"), set(ofConfig, nil, "config", "Volumes"),
			set(ofConfig, nil, "config", "Entrypoint"), set(ofManifest, nil, "annotations"), set(ofManifest, nil, "mediaType"), set(ofIndex, nil, "mediaType")), "", nil},

		// layer.md
		{"layer: media types", both(other(typeLayer+"+gzip"), func(p *parts) { p.pack = zipped(p.t) }), "", nil},
		{"layer: media types", both(other(typeLayer+"+zstd"), func(p *parts) { p.pack = func(b []byte) []byte { return zst(p.t, b) } }), "", nil},
		{"layer: media types", both(other(typeForeignLayer)), "", nil},
		{"layer: media types", both(other(typeForeignLayer+"+gzip"), func(p *parts) { p.pack = zipped(p.t) }), "", nil},
		{"layer: media types", both(other(typeForeignLayer+"+zstd"), func(p *parts) { p.pack = func(b []byte) []byte { return zst(p.t, b) } }), "", nil},
		{"layer: media types", both(other(typeDockerForeign+".gzip"), func(p *parts) { p.pack = zipped(p.t) }), "", nil},
		{"layer: media types", both(other(typeDockerLayer+".zstd"), func(p *parts) { p.pack = func(b []byte) []byte { return zst(p.t, b) } }), "", nil},
		{"layer: media types", other(typeLayer + "+encrypted"), "use gzip, zstd or none", nil},
		{"layer: media types", other(typeLayer + "+gzip"), "gzip: ", nil},
		{"layer: zstd", both(other(typeLayer+"+zstd"), func(p *parts) { p.pack = func(b []byte) []byte { return skipped(p.t, b) } }), "", nil},
		{"layer: zstd", func(p *parts) { p.pack = func(b []byte) []byte { return skipped(p.t, b) } }, "", nil},
		{"layer: duplicates", upper(file("a", ""), file("a", "")), "occurs twice", nil},
		{"layer: duplicates", upper(file("a", ""), file("./a", "")), "occurs twice", nil},
		{"layer: file types", upper(special(tar.TypeChar, "d")), "is a device", nil},
		{"layer: file types", upper(special(tar.TypeBlock, "d")), "is a device", nil},
		{"layer: file types", upper(special(tar.TypeFifo, "d")), "is a fifo", nil},
		{"layer: file types", upper(dir("d"), link("l", "d")), "", nil},
		{"layer: mtime", upper(owned(func(h *tar.Header) { h.ModTime = time.Unix(1000, 0) })), "", stat(func(st os.FileInfo) bool { return st.ModTime().Unix() == 1000 })},
		{"layer: uid and gid", upper(owned(func(h *tar.Header) { h.Uid = 1 << 16 })), "ids go up to 65535", nil},
		{"layer: uid and gid", upper(owned(func(h *tar.Header) { h.Gid = 1 << 16 })), "ids go up to 65535", nil},
		{"layer: uname and gname", upper(owned(func(h *tar.Header) { h.Uname, h.Gname = "nobody", "none" })), "", nil},
		{"layer: mode", upper(owned(func(h *tar.Header) { h.Mode = 0o6751 })), "", stat(func(st os.FileInfo) bool { return st.Mode() == 0o751 })},
		{"layer: xattrs", upper(owned(func(h *tar.Header) {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"SCHILY.xattr.user.x": "y"}
		})), "", func(t *testing.T, at string, _ Config) {
			if x := xattrs(t, filepath.Join(at, "owned")); x != "" {
				t.Errorf("%q", x)
			}
		}},
		{"layer: attributes of Windows", upper(owned(func(h *tar.Header) {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"MSWINDOWS.fileattr": "32", "LIBARCHIVE.creationtime": "1"}
		})), "", nil},
		{"layer: links", upper(file("f", "x"), hard("h", "f"), link("l", "f")), "", content("h", "x")},
		{"layer: links", upper(hard("h", "etc/name")), "", content("h", "lower")},
		{"layer: links", upper(hard("h", "none")), "no file of the image", nil},
		{"layer: sparse files", func(p *parts) { p.first = sparse("s") }, "", content("s", strings.Repeat("\x00", 512)+strings.Repeat("s", 512))},
		{"layer: a directory over a directory", func(p *parts) {
			p.layers[0] = append(p.layers[0], entry{&tar.Header{Typeflag: tar.TypeDir, Name: "owned/", Mode: 0o700}, nil}, file("owned/kept", "x"))
			p.layers[1] = append(p.layers[1], entry{&tar.Header{Typeflag: tar.TypeDir, Name: "owned/", Mode: 0o751}, nil})
		}, "", func(t *testing.T, at string, c Config) {
			stat(func(st os.FileInfo) bool { return st.Mode().Perm() == 0o751 })(t, at, c)
			content("owned/kept", "x")(t, at, c)
		}},
		{"layer: anything else over what is there", func(p *parts) {
			p.layers[0] = append(p.layers[0], file("d/a", "1"), file("f", "2"), link("g", "f"))
			p.layers[1] = append(p.layers[1], file("d", "3"), file("f/a", "4"), file("g", "5"))
		}, "is a file, and files come below it", nil},
		{"layer: anything else over what is there", func(p *parts) {
			p.layers[0] = append(p.layers[0], file("d/a", "1"), file("f", "2"), link("g", "f"))
			p.layers[1] = append(p.layers[1], file("d", "3"), dir("f"), file("f/a", "4"), file("g", "5"))
		}, "", func(t *testing.T, at string, c Config) {
			content("d", "3")(t, at, c)
			content("f/a", "4")(t, at, c)
			content("g", "5")(t, at, c)
		}},
		{"layer: whiteouts", upper(file("etc/.wh.name", "")), "", content("etc/name", "")},
		{"layer: whiteouts", upper(file("etc/.wh.name", "")), "", content("etc/.wh.name", "")},
		{"layer: whiteouts", upper(file(".wh.none", "")), "", nil},
		{"layer: whiteouts", upper(file(".wh.", "")), "stands for no file", nil},
		{"layer: whiteouts are for lower layers", upper(file("etc/.wh.name", ""), file("etc/name", "new")), "", content("etc/name", "new")},
		{"layer: whiteouts are for lower layers", upper(file("etc/name", "new"), file("etc/.wh.name", "")), "", content("etc/name", "new")},
		{"layer: whiteouts are for lower layers", upper(file("etc/new", "x"), file(".wh.etc", "")), "", func(t *testing.T, at string, c Config) {
			content("etc/new", "x")(t, at, c)
			content("etc/name", "")(t, at, c)
		}},
		{"layer: whiteouts are for lower layers", upper(link("etc/name", "/"), file("etc/.wh.name", "")), "", content("bin/run", "upper")},
		{"layer: opaque whiteouts", upper(opaqueFile, file("etc/new", "x")), "", content("etc/name", "")},
		{"layer: opaque whiteouts", upper(file("etc/new", "x"), opaqueFile), "", func(t *testing.T, at string, c Config) {
			content("etc/name", "")(t, at, c)
			content("etc/new", "x")(t, at, c)
		}},
		{"layer: names", upper(file("./a", ""), dir("./b")), "", nil},
		{"layer: names", upper(file("caf\xe9", "")), "not in UTF-8", nil},
		{"layer: names", upper(file("etc//x", "")), `shortest form, "etc/x"`, nil},
		{"layer: names", upper(file("etc/./x", "")), `shortest form, "etc/x"`, nil},
		{"layer: names", upper(file("etc/../x", "")), "it has ..", nil},
		{"layer: names", upper(file("/x", "")), "is absolute", nil},
		{"layer: names", upper(hard("h", "caf\xe9")), "not in UTF-8", nil},
		{"layer: names", upper(hard("h", "etc//name")), "shortest form", nil},
	}
}

// sparse is an entry as GNU tar writes it, of a file that begins with a hole.
func sparse(name string) []byte {
	b := make([]byte, 1024)
	for at, field := range map[int]string{
		0: name, 100: "0000644", 108: "0000000", 116: "0000000", 124: "00000001000", 136: "00000000000", 148: "        ", 156: "S", 257: "ustar  ",
		386: "00000001000", 398: "00000001000", 483: "00000002000", 512: strings.Repeat("s", 512),
	} {
		copy(b[at:], field)
	}
	all := 0
	for _, c := range b[:512] {
		all += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00", all))
	return b
}

// skipped is a zstd stream as pzstd writes it: before each frame of data is one
// that is to be skipped, here of a kind for each.
func skipped(t *testing.T, plain []byte) (b []byte) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; len(plain) > 0; i++ {
		n := min(len(plain), 700)
		b = append(b, 0x50|byte(i%16), 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4)
		b = append(b, w.EncodeAll(plain[:n], nil)...)
		plain = plain[n:]
	}
	return b
}

// What becomes of each field, MUST and SHOULD of the image specification: the
// table of docs/oci.md, row by row, and nothing that the specification has is
// missing in it.
func TestImageSpecification(t *testing.T) {
	table := documented(t, "Image specification")
	tested := map[string][]specified{}
	for _, c := range specification(t) {
		tested[c.row] = append(tested[c.row], c)
		t.Run(c.row, func(t *testing.T) {
			p := newParts(t)
			c.edit(p)
			img, digest := p.seal()
			at, got, err := unpack(t, img, digest, nil, Options{})
			words, bringer := strings.CutPrefix(c.want, "bringer: ")
			inv := new(Invalid)
			switch {
			case c.want == "":
				if err != nil {
					t.Fatal(err)
				}
			case bringer && !errors.Is(err, ErrDigest), !bringer && !errors.As(err, &inv), !strings.Contains(err.Error(), words):
				t.Fatalf("%v, want %q", err, c.want)
			}
			switch {
			case c.want != "":
			case c.check != nil:
				c.check(t, at, got)
			default:
				if !reflect.DeepEqual(got, Config{Cmd: []string{"/bin/run"}, Env: []string{"A=1"}}) {
					t.Errorf("configuration %+v", got)
				}
				content("bin/run", "upper")(t, at, got)
				content("etc/name", "lower")(t, at, got)
			}
		})
	}
	for row, verdict := range table {
		cases := tested[row]
		differs := slices.ContainsFunc(cases, func(c specified) bool { return c.want != "" || c.check != nil })
		refuses := slices.ContainsFunc(cases, func(c specified) bool { return c.want != "" })
		switch {
		case len(cases) == 0:
			t.Errorf("docs/oci.md: no test is for %q", row)
		case verdict == "ignored" && refuses, verdict == "refused" && !refuses, verdict == "used" && !differs && !strings.Contains(row, ":"):
			t.Errorf("docs/oci.md: %q is %s, and its tests say something else", row, verdict)
		}
	}
	for row := range tested {
		if table[row] == "" {
			t.Errorf("docs/oci.md has no row %q", row)
		}
	}
	for _, v := range []any{v1.Descriptor{}, v1.Platform{}, v1.Index{}, v1.Manifest{}, v1.Image{}, v1.ImageConfig{}, v1.RootFS{}, v1.History{}, v1.ImageLayout{}} {
		typ := reflect.TypeOf(v)
		for _, f := range reflect.VisibleFields(typ) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if row := typ.Name() + "." + name; name != "" && table[row] == "" {
				t.Errorf("docs/oci.md has no row %q", row)
			}
		}
	}
}

// documented reads the rows of a section of docs/oci.md: what, and whether it is
// used, ignored or refused.
func documented(t *testing.T, section string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/oci.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*\\| \\*\\*(used|ignored|refused)\\*\\*").FindAllStringSubmatch(rest, -1) {
		if rows[m[1]] != "" {
			t.Errorf("docs/oci.md has %q twice", m[1])
		}
		rows[m[1]] = m[2]
	}
	if lines := strings.Count(rest, "\n| `"); lines != len(rows) {
		t.Errorf("docs/oci.md: %d rows, of which %d say used, ignored or refused", lines, len(rows))
	}
	return rows
}

// The name of an image is found however its layout's index.json says it.
func TestDigestOfOtherPeoplesLayouts(t *testing.T) {
	for what, edit := range map[string]func(*parts){
		"an image":                           func(*parts) {},
		"a lone entry without a platform":    without(ofDescriptor, "platform"),
		"an index":                           func(p *parts) { ofIndex(p) },
		"an index without a media type":      without(ofIndex, "mediaType"),
		"an index.json with a media type":    func(p *parts) { p.top["mediaType"] = typeIndex },
		"two names of one image":             twice(false),
		"two names, neither with a platform": twice(true),
		"something else beside it": func(p *parts) {
			p.late = func(p *parts) {
				list, _ := p.top["manifests"].([]any)
				p.top["manifests"] = append([]any{object{"mediaType": "application/xml", "digest": sum([]byte("x")), "size": 1}}, list...)
				p.files["index.json"] = mustJSON(p.top)
			}
		},
	} {
		p := newParts(t)
		edit(p)
		img, want := p.seal()
		got, err := Digest(img)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", what, got, err, want)
			continue
		}
		if c, err := Command(img, got); err != nil || !slices.Equal(c, []string{"/bin/run"}) {
			t.Errorf("%s: %q, %v", what, c, err)
		}
		if _, _, err := unpack(t, img, got, nil, Options{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, edit := range map[string]func(*parts){
		"no index":       func(p *parts) { p.late = func(p *parts) { delete(p.files, "index.json") } },
		"schema":         func(p *parts) { p.top["schemaVersion"] = 1 },
		"nothing in it":  func(p *parts) { p.top["manifests"] = []any{} },
		"an image in it": func(p *parts) { p.top["layers"] = []any{object{}} },
	} {
		p := newParts(t)
		edit(p)
		img, _ := p.seal()
		if got, err := Digest(img); err == nil {
			t.Errorf("%s: %s", what, got)
		}
	}
}

func twice(bare bool) func(*parts) {
	return func(p *parts) {
		if bare {
			delete(p.descriptor, "platform")
		}
		p.late = func(p *parts) {
			list, _ := p.top["manifests"].([]any)
			p.top["manifests"] = append(list, list...)
			p.files["index.json"] = mustJSON(p.top)
		}
	}
}

// Indexes that name each other's content many times over are looked into once.
func TestIndexesThatMultiply(t *testing.T) {
	p := newParts(t)
	ofIndex(p)
	p.entries = func([]any) []any {
		d := p.put(typeManifest, mustJSON(object{"schemaVersion": 2, "config": object{}}))
		list := []any{d}
		for range maxIndexes {
			many := make([]any, 0, 2000)
			for range 2000 {
				many = append(many, list[0])
			}
			list = []any{p.put(typeIndex, mustJSON(object{"schemaVersion": 2, "manifests": many}))}
		}
		return list
	}
	img, digest := p.seal()
	if _, _, err := unpack(t, img, digest, nil, Options{}); err == nil || !strings.Contains(err.Error(), "none of its") {
		t.Error(err)
	}
}

// As private layer a stream is known by its first bytes.
func TestPrivateLayersArePacked(t *testing.T) {
	plain := raw(t, file("code/main", strings.Repeat("x", 5000)))
	for what, packed := range map[string][]byte{"tar": plain, "gzip": zip(t, plain), "two members of gzip": append(zip(t, plain[:512]), zip(t, plain[512:])...), "zstd": zst(t, plain), "pzstd": skipped(t, plain)} {
		at, _, err := unpack(t, nil, "", packed, Options{})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		content("code/main", strings.Repeat("x", 5000))(t, at, Config{})
	}
	if isZstd([]byte("(\xb5/")) || isZstd(nil) || isZstd([]byte{0x60, 0x2a, 0x4d, 0x18}) || isZstd([]byte{0x4f, 0x2a, 0x4d, 0x18}) {
		t.Error("taken for zstd")
	}
	// A window as zstd --ultra -22 --long wants it, and one that zstd -d refuses.
	for size, ok := range map[int]bool{128 << 20: true, 256 << 20: false} {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(size), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Flush(), w.Close()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := unpack(t, nil, "", b.Bytes(), Options{}); (err == nil) != ok {
			t.Errorf("a window of %d: %v", size, err)
		}
	}
}
