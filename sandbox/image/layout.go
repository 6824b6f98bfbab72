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
	typeDockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	typeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
)

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int64     `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
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
	blobs, err := readLayout(image)
	if err != nil {
		return Config{}, err
	}
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

// blobs are the files of a layout by digest. None was checked yet.
type blobs map[string][]byte

// readLayout finds the blobs in a layout's tar. They stay where they are.
func readLayout(image []byte) (blobs, error) {
	b := blobs{}
	layout := false
	r := bytes.NewReader(image)
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: not a tar: %v", ErrDigest, err)
		}
		if n == maxEntries {
			return nil, fmt.Errorf("%w: the layout has more than %d files", ErrDigest, maxEntries)
		}
		if h.Typeflag != tar.TypeReg || h.PAXRecords["GNU.sparse.major"] != "" {
			continue // directories; and there is no use for anything else
		}
		start := len(image) - r.Len()
		if h.Size > int64(r.Len()) {
			return nil, fmt.Errorf("%w: the tar ends within %q", ErrDigest, h.Name)
		}
		data := image[start : start+int(h.Size)]
		name := strings.TrimPrefix(h.Name, "./")
		if hash, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			if b["sha256:"+hash] != nil {
				return nil, fmt.Errorf("%w: the layout has %q twice", ErrDigest, name)
			}
			b["sha256:"+hash] = data
		}
		layout = layout || name == "oci-layout"
	}
	if !layout {
		return nil, fmt.Errorf("%w: not an OCI image layout: it has no file oci-layout", ErrDigest)
	}
	return b, nil
}

// get returns a blob whose size and digest are what the descriptor says.
func (b blobs) get(d descriptor) ([]byte, error) {
	data, ok := b[d.Digest]
	if !ok {
		return nil, fmt.Errorf("%w: blob %s is not in it", ErrDigest, d.Digest)
	}
	if d.Size != int64(len(data)) {
		return nil, fmt.Errorf("%w: blob %s has %d bytes, not %d", ErrDigest, d.Digest, len(data), d.Size)
	}
	if got := sum(data); got != d.Digest {
		return nil, fmt.Errorf("%w: blob %s has the digest %s", ErrDigest, d.Digest, got)
	}
	return data, nil
}

func (b blobs) json(d descriptor, v any) error {
	if len(b[d.Digest]) > maxJSON {
		return invalid("%s is of %d bytes, more than %d", d.Digest, len(b[d.Digest]), maxJSON)
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

// manifest reads the manifest of that digest. If that is an index, it is the
// manifest in it that is for this architecture.
func (b blobs) manifest(digest string) (manifest, error) {
	d := descriptor{Digest: digest, Size: int64(len(b[digest]))}
	var m manifest
	if err := b.json(d, &m); err != nil {
		return m, err
	}
	if m.MediaType == typeIndex || m.MediaType == typeDockerIndex {
		here := -1
		for i, d := range m.Manifests {
			if p := d.Platform; p != nil && *p == (platform{runtime.GOARCH, "linux"}) && here < 0 {
				here = i
			}
		}
		if here < 0 {
			return m, invalid("none of its %d manifests is for linux/%s", len(m.Manifests), runtime.GOARCH)
		}
		d, m = m.Manifests[here], manifest{}
		if err := b.json(d, &m); err != nil {
			return m, err
		}
	}
	switch {
	case m.SchemaVersion != 2:
		return m, invalid("a manifest of schema version %d, not 2", m.SchemaVersion)
	case m.MediaType != typeManifest && m.MediaType != typeDockerManifest && m.MediaType != "":
		return m, invalid("%q is not the media type of an image manifest", m.MediaType)
	case m.Config == nil:
		return m, invalid("a manifest without a configuration")
	case m.Config.MediaType != typeConfig && m.Config.MediaType != typeDockerConfig:
		return m, invalid("%q is not the media type of an image's configuration: an artifact, not a container image", m.Config.MediaType)
	}
	return m, nil
}

func (b blobs) config(m manifest) (configFile, error) {
	var c configFile
	if err := b.json(*m.Config, &c); err != nil {
		return c, err
	}
	switch {
	case c.platform != (platform{runtime.GOARCH, "linux"}):
		return c, invalid("for %s/%s, and this machine is linux/%s", c.OS, c.Architecture, runtime.GOARCH)
	case c.RootFS.Type != "layers" || len(c.RootFS.DiffIDs) != len(m.Layers):
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
