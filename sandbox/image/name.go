package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
)

// Digest is the name of the image in a tar of an OCI image layout: of the one
// manifest that its index has, or of the first for this architecture.
func Digest(layout []byte) (string, error) {
	t := tar.NewReader(bytes.NewReader(layout))
	for n := 0; n < maxEntries; n++ {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", invalid("not a tar: %v", err)
		}
		if h.Name != "index.json" && h.Name != "./index.json" {
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(t, maxJSON))
		if err != nil {
			return "", err
		}
		return named(raw)
	}
	return "", errors.New("not an OCI image layout: it has no index.json. `docker save` of version 25 or later writes one, and so does `skopeo copy … oci-archive:FILE`")
}

// Command is what an image starts if nobody says otherwise: its Entrypoint and Cmd.
// It is empty if the image names neither.
func Command(layout []byte, digest string) ([]string, error) {
	b, err := readLayout(layout)
	if err != nil {
		return nil, err
	}
	m, err := b.manifest(digest)
	if err != nil {
		return nil, err
	}
	c, err := b.config(m)
	return slices.Concat(c.Config.Entrypoint, c.Config.Cmd), err
}

func named(index []byte) (string, error) {
	var m manifest
	if err := json.Unmarshal(index, &m); err != nil {
		return "", invalid("index.json: %v", err)
	}
	for _, d := range m.Manifests {
		if len(m.Manifests) == 1 || d.Platform != nil && *d.Platform == (platform{runtime.GOARCH, "linux"}) {
			return d.Digest, nil
		}
	}
	return "", invalid("index.json names %d images, none of them for linux/%s", len(m.Manifests), runtime.GOARCH)
}
