//go:build !release

package main

import "embed"

// embedded is empty: only a release carries the enclave programs.
var embedded embed.FS
