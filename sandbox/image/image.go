// Package image turns the bytes of a container image into a directory, and a
// directory into the bytes of an image (OCI image specification 1.1).
//
// Both kinds of input are hostile. An image comes as a tar of an OCI image
// layout from whoever had it, and its digest is all that vouches for it. What
// is then inside is the word of the function's author, and so is the private
// layer that goes on top. Unpack believes neither:
//
// Every byte is counted before it is kept, and every limit of Limits holds for
// the image and the layer together.
//
// Nothing is written but below the directory it is given, which is an
// [os.Root]: no path is absolute or has a "..", no entry is reached through a
// symbolic link, no hard link names anything but a regular file of the image.
// A symbolic link is stored and never followed.
//
// What would be more than a file is refused: devices, fifos, sockets, names
// that occur twice, whiteouts that stand for anything but one name. What would
// give a file a power is dropped: set-user-id and set-group-id bits and all
// extended attributes, file capabilities among them.
//
// Build is the way back. The same files give the same bytes, whoever builds
// them and when, so that an image has one digest.
package image

import (
	"errors"
	"fmt"
)

// A Config says how the image wants to be started. Entrypoint, Cmd, Env,
// WorkingDir and User are those of the OCI image configuration.
type Config struct {
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	Env        []string `json:"Env,omitempty"` // NAME=value
	WorkingDir string   `json:"WorkingDir,omitempty"`
	User       string   `json:"User,omitempty"` // user or uid, and perhaps : and group or gid
}

// Limits bound what an image may cost. They hold for all its layers and the
// private layer together; none may be 0.
type Limits struct {
	Bytes  int64 // of all files, also of those that a later layer hides; and of all tars, with a path's length more for each of Files
	Files  int   // entries of all layers
	Layers int   // of the image, without the private one
	Ratio  int64 // unpacked to packed bytes of a layer, from freeRatio bytes on
}

// DefaultLimits are enough for a language with its libraries, and little
// enough for memory.
var DefaultLimits = Limits{Bytes: 2 << 30, Files: 200_000, Layers: 128, Ratio: 200}

const (
	freeRatio  = 16 << 20  // bytes that a layer may unpack to whatever its ratio
	maxJSON    = 1 << 20   // bytes of a manifest, an index, a configuration
	maxPath    = 4096      // bytes of a path, and, with one that ends it, of a link's target
	maxName    = 255       // bytes of each of its elements
	maxNames   = 64 << 20  // bytes of all paths
	maxDepth   = 128       // elements of a path
	maxWindow  = 128 << 20 // bytes that a zstd frame may look back: what zstd -d reads without being told
	maxIndexes = 4         // indexes, each in the other, and the manifest in the last
	maxEntries = 4096      // entries of the layout's tar
	maxArgs    = 1024      // elements of Entrypoint, Cmd and Env
	maxArg     = 64 << 10  // bytes of each of them: Linux starts nothing with more than twice that
)

// ErrDigest says that the bytes are not the image that the digest names, or
// not all of it. Whoever brought them is at fault; the image may be fine.
var ErrDigest = errors.New("these bytes are not the image of that digest")

// An Invalid error says that the image, or the private layer, is what its
// author made, and cannot be unpacked here. Its author is at fault.
type Invalid struct{ msg string }

func (e *Invalid) Error() string { return e.msg }

func invalid(format string, args ...any) error {
	return &Invalid{fmt.Sprintf(format, args...)}
}
