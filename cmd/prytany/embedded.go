//go:build release

package main

import (
	"embed"
	"io/fs"
)

// carried are the enclave programs of a release, and their digests: make
// release puts them there.
//
//go:embed embedded/prytany-enclave embedded/prytany-enclave.sha256
//go:embed embedded/prytany-enclave-docker embedded/prytany-enclave-docker.sha256
var carried embed.FS

var embedded fs.FS = carried
