package image

import (
	"encoding/json"
	"errors"
	"slices"
)

// Digest is the name of the image in a tar of an OCI image layout: of the one
// manifest or index that its index.json has, or of the first for this
// architecture.
func Digest(layout []byte) (string, error) {
	l, err := readLayout(layout)
	if err == nil && l.index == nil {
		err = errors.New("it has no index.json")
	}
	if err != nil {
		return "", invalid("%v. `docker save` of version 25 or later writes an OCI image layout, and so does `skopeo copy … oci-archive:FILE`", err)
	}
	if len(l.index) > maxJSON {
		return "", invalid("index.json is of %d bytes, more than %d", len(l.index), maxJSON)
	}
	var m manifest
	if err := json.Unmarshal(l.index, &m); err != nil {
		return "", invalid("index.json: %v", err)
	}
	if _, err := m.kind(descriptor{MediaType: typeIndex}); err != nil {
		return "", invalid("index.json: %v", err)
	}
	if len(m.Manifests) == 1 {
		return m.Manifests[0].Digest, nil
	}
	d, err := l.choose(m.Manifests)
	if err != nil {
		return "", invalid("index.json: %v", err)
	}
	return d.Digest, nil
}

// Command is what an image starts if nobody says otherwise: its Entrypoint and Cmd.
// It is empty if the image names neither.
func Command(layout []byte, digest string) ([]string, error) {
	l, err := readLayout(layout)
	if err != nil {
		return nil, err
	}
	m, err := l.manifest(digest)
	if err != nil {
		return nil, err
	}
	c, err := l.config(m)
	return slices.Concat(c.Config.Entrypoint, c.Config.Cmd), err
}
