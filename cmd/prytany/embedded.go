//go:build release

package main

import "embed"

// embedded are the enclave programs of a release, and their digests: make
// release puts them there.
//
//go:embed embedded/prytany-enclave embedded/prytany-enclave.sha256
//go:embed embedded/prytany-enclave-docker embedded/prytany-enclave-docker.sha256
var embedded embed.FS
