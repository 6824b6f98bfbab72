//go:build !release

package main

import (
	"embed"
	"io/fs"
)

// embedded is empty: only a release carries the enclave programs.
var embedded fs.FS = embed.FS{}
