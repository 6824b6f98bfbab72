// Package examples carries functions that Bob could have written, each with
// its manifest, as source: no binary is committed, the demo compiles them.
package examples

import "embed"

// Sources are the examples' files, by their paths below this folder.
//
//go:embed hello poster python pillow container validation packages
var Sources embed.FS
