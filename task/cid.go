package task

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// blobChunk is the size of a blob's leaves (spec §1.3). They are all under one
// root: MaxBlob has no more of them than a node has links.
const blobChunk = 1 << 20

// BlobOf names a file as IPFS does, in the one shape that blobs have: so who
// was brought a file knows by itself whether it is the one that was named.
// Content over MaxBlob has no name, and gets the zero Blob.
func BlobOf(data []byte) Blob {
	const raw, dagPB = 0x55, 0x70
	size := uint64(len(data))
	if size == 0 || size > MaxBlob {
		return Blob{}
	}
	if size <= blobChunk {
		return Blob{cidOf(raw, data), size}
	}
	// A dag-pb node: links with hash, empty name and size; then a UnixFS file
	// with its size and those of its leaves.
	var node []byte
	unixfs := binary.AppendUvarint([]byte{1 << 3, 2, 3 << 3}, size)
	for rest := data; len(rest) > 0; {
		leaf := rest[:min(len(rest), blobChunk)]
		rest = rest[len(leaf):]
		link := field(nil, 1, cidBytes(raw, leaf))
		link = field(link, 2, nil)
		link = binary.AppendUvarint(append(link, 3<<3), uint64(len(leaf)))
		node = field(node, 2, link)
		unixfs = binary.AppendUvarint(append(unixfs, 4<<3), uint64(len(leaf)))
	}
	return Blob{cidOf(dagPB, field(node, 1, unixfs)), size}
}

// field appends a length-delimited field of protocol buffers.
func field(b []byte, number byte, value []byte) []byte {
	b = binary.AppendUvarint(append(b, number<<3|2), uint64(len(value)))
	return append(b, value...)
}

func cidBytes(codec byte, block []byte) []byte {
	const version, sha2, length = 1, 0x12, sha256.Size
	digest := sha256.Sum256(block)
	return append([]byte{version, codec, sha2, length}, digest[:]...)
}

func cidOf(codec byte, block []byte) string {
	return "b" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(cidBytes(codec, block)))
}
