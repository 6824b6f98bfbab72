package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
)

// Media types of what this package reads. Docker's are those of images that
// were pushed by old tools; the content is the same.
const (
	typeIndex          = "application/vnd.oci.image.index.v1+json"
	typeManifest       = "application/vnd.oci.image.manifest.v1+json"
	typeConfig         = "application/vnd.oci.image.config.v1+json"
	typeLayer          = "application/vnd.oci.image.layer.v1.tar"
	typeForeignLayer   = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	typeDockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	typeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	typeDockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
)

// What the specification says that is not here is in testdata/image-spec.md.
type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int64     `json:"size"`
	Data      []byte    `json:"data,omitempty"` // the content itself
	Platform  *platform `json:"platform,omitempty"`
}

type platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	Variant      string   `json:"variant,omitempty"`
	Features     []string `json:"os.features,omitempty"` // that the system must have
}

// here says that what is for p runs on this machine. A feature that a system
// must have is one that Linux as it is here has not: none is defined.
func (p platform) here() bool {
	return p.OS == "linux" && p.Architecture == runtime.GOARCH && len(p.Features) == 0
}

// plain says that p is for every processor of its architecture.
func (p platform) plain() bool {
	return p.Variant == "" || p.Variant == map[string]string{"amd64": "v1", "arm64": "v8"}[p.Architecture]
}

func (p platform) String() string {
	s := p.OS + "/" + p.Architecture
	if len(p.Features) > 0 {
		s += fmt.Sprintf(" with %.100q", p.Features)
	}
	return s
}

// manifest is an image's or, with Manifests, an index of several.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

type configFile struct {
	platform
	Config Config `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// Options say how files are unpacked. The zero value has the default limits
// and gives all files to the caller.
type Options struct {
	Limits Limits // DefaultLimits if it is zero
	// IDs is the first of 65,536 user and group ids that those in the image are
	// added to. If it is 0, files belong to who unpacks them.
	IDs uint32
	// Below, if set, is the one directory that the layers may have files in.
	// They are unpacked as if it was the root.
	Below string
}

// ids is how many users and groups an image may name, from 0.
const ids = 1 << 16

// Unpack writes the files of an image, and the private layer on top of them,
// into dst, which must be empty. The image is a tar of an OCI image layout and
// digest the name of its manifest, or of an index with a manifest for this
// architecture; without an image, the layer is all there is, and the Config is
// empty. An error that is neither ErrDigest nor Invalid is the host's. After
// any error dst holds something, which is the caller's to remove. When ctx
// ends, its error is returned.
func Unpack(ctx context.Context, dst *os.Root, image []byte, digest string, layer []byte, o Options) (Config, error) {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	u := &unpacker{ctx: ctx, dst: dst, ids: o.IDs, limits: o.Limits, below: o.Below}
	var c Config
	if len(image) > 0 {
		var err error
		if c, err = u.image(image, digest); err != nil {
			return Config{}, fmt.Errorf("image %s: %w", digest, err)
		}
	}
	if len(layer) > 0 {
		if _, err := u.layer(layer, typeLayer); err != nil {
			return Config{}, fmt.Errorf("private layer: %w", err)
		}
	}
	return c, nil
}

func (u *unpacker) image(image []byte, digest string) (Config, error) {
	l, err := readLayout(image)
	if err != nil {
		return Config{}, err
	}
	blobs := l.blobs
	m, err := blobs.manifest(digest)
	if err != nil {
		return Config{}, err
	}
	c, err := blobs.config(m)
	if err != nil {
		return Config{}, err
	}
	if len(m.Layers) > u.limits.Layers {
		return Config{}, invalid("%d layers, more than %d", len(m.Layers), u.limits.Layers)
	}
	for i, d := range m.Layers {
		packed, err := blobs.get(d)
		if err != nil {
			return Config{}, err
		}
		sum, err := u.layer(packed, d.MediaType)
		if err != nil {
			return Config{}, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if sum != c.RootFS.DiffIDs[i] {
			return Config{}, invalid("layer %d unpacks to %s, and the image says %s", i+1, sum, c.RootFS.DiffIDs[i])
		}
	}
	return c.Config, nil
}

// A laidOut image is what there is in a tar of an OCI image layout.
type laidOut struct {
	blobs
	index []byte // index.json; nil if there is none
}

// blobs are the files of a layout by digest. None was checked yet.
type blobs map[string][]byte

// readLayout finds the blobs in a layout's tar. They stay where they are. Files
// that it does not know are nothing to it.
func readLayout(image []byte) (l laidOut, err error) {
	b := blobs{}
	var marker []byte
	r := bytes.NewReader(image)
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return l, fmt.Errorf("%w: not a tar: %v", ErrDigest, err)
		}
		if n == maxEntries {
			return l, fmt.Errorf("%w: the layout has more than %d files", ErrDigest, maxEntries)
		}
		if h.Typeflag != tar.TypeReg || h.PAXRecords["GNU.sparse.major"] != "" {
			continue // directories; and there is no use for anything else
		}
		start := len(image) - r.Len()
		if h.Size > int64(r.Len()) {
			return l, fmt.Errorf("%w: the tar ends within %q", ErrDigest, h.Name)
		}
		data := image[start : start+int(h.Size)]
		name := strings.TrimPrefix(h.Name, "./")
		if hash, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			if b["sha256:"+hash] != nil {
				return l, fmt.Errorf("%w: the layout has %q twice", ErrDigest, name)
			}
			b["sha256:"+hash] = data
		}
		switch name {
		case "oci-layout":
			marker = data
		case "index.json":
			l.index = data
		}
	}
	if marker == nil {
		return l, fmt.Errorf("%w: not an OCI image layout: it has no file oci-layout", ErrDigest)
	}
	var version struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(marker[:min(len(marker), maxJSON)], &version); err != nil {
		return l, fmt.Errorf("%w: oci-layout: %v", ErrDigest, err)
	}
	// The number changes when layouts do, and has been 1.0.0 since there are any.
	if !strings.HasPrefix(version.Version, "1.") {
		return l, fmt.Errorf("%w: a layout of version %.20q: those of 1.0.0 are read here", ErrDigest, version.Version)
	}
	l.blobs = b
	return l, nil
}

// digestForm is how a blob is named here. The specification knows SHA-512 too,
// which nobody has to read, and any name of that form.
var digestForm = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)

// get returns the blob that the descriptor says. If there is none, or another,
// whoever brought the layout is at fault; what else can be wrong is the word of
// the descriptor's author.
func (b blobs) get(d descriptor) ([]byte, error) {
	if !digestForm.MatchString(d.Digest) {
		return nil, invalid("the digest %.150q: sha256 and 64 digits, a to f among them, are read here", d.Digest)
	}
	data, ok := b[d.Digest]
	if !ok && d.Data == nil {
		return nil, fmt.Errorf("%w: blob %s is not in it", ErrDigest, d.Digest)
	}
	if !ok {
		if data = d.Data; sum(data) != d.Digest {
			return nil, invalid("blob %s has another digest where its descriptor has it in itself", d.Digest)
		}
	}
	if got := sum(data); got != d.Digest {
		return nil, fmt.Errorf("%w: blob %s has the digest %s", ErrDigest, d.Digest, got)
	}
	if d.Size != int64(len(data)) {
		return nil, invalid("blob %s has %d bytes, and its descriptor says %d", d.Digest, len(data), d.Size)
	}
	return data, nil
}

func (b blobs) json(d descriptor, v any) error {
	if n := max(len(b[d.Digest]), len(d.Data)); n > maxJSON {
		return invalid("%s is of %d bytes, more than %d", d.Digest, n, maxJSON)
	}
	data, err := b.get(d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return invalid("%s: %v", d.Digest, err)
	}
	return nil
}

// kinds of what a manifest can be.
const (
	unknownKind = iota
	manifestKind
	indexKind
)

// kindOf is what a media type names. One that nobody here knows is no error.
func kindOf(mediaType string) int {
	switch mediaType {
	case typeIndex, typeDockerIndex:
		return indexKind
	case typeManifest, typeDockerManifest:
		return manifestKind
	}
	return unknownKind
}

// kind is what m is. Its own media type may be absent, and then its descriptor's
// tells, and if there is none, what is in it. What two readers could take for
// two things is refused (CVE-2021-41190).
func (m manifest) kind(d descriptor) (int, error) {
	image, index := m.Config != nil || len(m.Layers) > 0, m.Manifests != nil
	own, told := kindOf(m.MediaType), kindOf(d.MediaType)
	switch {
	case m.SchemaVersion != 2:
		return 0, invalid("a manifest of schema version %d, not 2", m.SchemaVersion)
	case m.MediaType != "" && own == unknownKind:
		return 0, invalid("%.100q is not the media type of an image's manifest or index", m.MediaType)
	case image && index:
		return 0, invalid("it has manifests, as an index, and layers or a configuration, as an image")
	case own != unknownKind && told != unknownKind && own != told:
		return 0, invalid("its descriptor calls it %q, and it says that it is %q", d.MediaType, m.MediaType)
	case own == unknownKind && told != unknownKind:
		own = told
	case own == unknownKind && index:
		own = indexKind
	case own == unknownKind:
		own = manifestKind
	}
	if own == indexKind && image || own == manifestKind && index {
		return 0, invalid("by its media type it is an index or an image, and by what is in it the other")
	}
	return own, nil
}

// manifest reads the manifest of that digest. If that is an index, it is the
// manifest in it that is for this architecture.
func (b blobs) manifest(digest string) (manifest, error) {
	d := descriptor{Digest: digest, Size: int64(len(b[digest]))}
	for range maxIndexes {
		m, kind, err := b.read(d)
		if err != nil {
			return m, err
		}
		if kind == manifestKind {
			return m, m.check()
		}
		if d, err = b.choose(m.Manifests); err != nil {
			return m, err
		}
	}
	return manifest{}, invalid("more than %d indexes, each in the other", maxIndexes)
}

func (b blobs) read(d descriptor) (m manifest, kind int, err error) {
	if err = b.json(d, &m); err == nil {
		kind, err = m.kind(d)
	}
	return m, kind, err
}

// choose is the entry of an index that is for this machine: of those that fit
// the first that is for every processor of its kind, or else the first. So all
// machines of an architecture choose the same. An entry fits by its platform; if
// it names none, by its image's, or as an index that has one that fits. What is
// of a media type that is not known here is passed over.
func (b blobs) choose(list []descriptor) (descriptor, error) {
	c := chooser{b, map[string]*platform{}}
	return c.choose(list, maxIndexes)
}

// A chooser looks into each blob once, however often it is named.
type chooser struct {
	blobs
	known map[string]*platform // by digest: what is for this machine, or nil
}

func (c chooser) choose(list []descriptor, depth int) (descriptor, error) {
	var fits []descriptor
	for _, d := range list {
		if d.MediaType != "" && kindOf(d.MediaType) == unknownKind {
			continue
		}
		if d.Platform == nil {
			d.Platform = c.platform(d, depth)
		}
		if d.Platform != nil && d.Platform.here() {
			fits = append(fits, d)
		}
	}
	for _, d := range fits {
		if d.Platform.plain() {
			return d, nil
		}
	}
	if len(fits) > 0 {
		return fits[0], nil
	}
	return descriptor{}, invalid("none of its %d manifests is for linux/%s", len(list), runtime.GOARCH)
}

// platform is what an entry without one is for, or nil where that cannot be
// read: then another may do.
func (c chooser) platform(d descriptor, depth int) *platform {
	p, ok := c.known[d.Digest]
	if !ok {
		p = c.look(d, depth)
		c.known[d.Digest] = p
	}
	return p
}

func (c chooser) look(d descriptor, depth int) *platform {
	m, kind, err := c.read(d)
	switch {
	case err != nil || depth == 0:
		return nil
	case kind == indexKind:
		in, err := c.choose(m.Manifests, depth-1)
		if err != nil {
			return nil
		}
		return in.Platform
	case m.check() != nil:
		return nil
	}
	var f configFile
	if c.json(*m.Config, &f) != nil {
		return nil
	}
	return &f.platform
}

// check looks at the manifest of one image.
func (m manifest) check() error {
	switch {
	case m.Config == nil:
		return invalid("a manifest without a configuration")
	case m.Config.MediaType != typeConfig && m.Config.MediaType != typeDockerConfig:
		return invalid("%.100q is not the media type of an image's configuration: an artifact, not a container image", m.Config.MediaType)
	}
	return nil
}

func (b blobs) config(m manifest) (configFile, error) {
	var c configFile
	if err := b.json(*m.Config, &c); err != nil {
		return c, err
	}
	switch {
	case !c.here():
		return c, invalid("for %s, and this machine is linux/%s", c.platform, runtime.GOARCH)
	case c.RootFS.Type != "layers" && c.RootFS.Type != "": // which is left out in spite of the specification
		return c, invalid("its rootfs is of type %.100q, not layers", c.RootFS.Type)
	case len(c.RootFS.DiffIDs) != len(m.Layers):
		return c, invalid("%d layers, and its configuration names %d", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	return c, c.Config.check()
}

func (c Config) check() error {
	if len(c.Entrypoint)+len(c.Cmd) > maxArgs || len(c.Env) > maxArgs {
		return invalid("more than %d arguments or variables", maxArgs)
	}
	for _, list := range [][]string{c.Entrypoint, c.Cmd, c.Env, {c.WorkingDir, c.User}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return invalid("a zero byte in %.100q", s)
			}
			if len(s) > maxArg {
				return invalid("%.100q has %d bytes, more than %d", s, len(s), maxArg)
			}
		}
	}
	for _, e := range c.Env {
		if i := strings.IndexByte(e, '='); i < 1 {
			return invalid("environment %q is not NAME=value", e)
		}
	}
	return nil
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(h[:])
}

// errLimit is what a counting reader says at its end.
var errLimit = errors.New("limit")
