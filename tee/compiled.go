package tee

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// MaxCompiled bounds a [Compiled], encoded, in bytes.
const MaxCompiled = 256 << 20

// Compiled is what the engine makes of a module: a file of its cache. The name
// follows from the module and the kind of processor, so under it no engine finds
// the code of another module, or code for another processor.
type Compiled struct {
	Name string `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
}

// Interpreters are public modules, by their digests as manifests have them, and for
// each the SHA-256 of its [Compiled], one for each kind of processor.
//
// The compiler makes the same of a module each time. So nobody's word is needed
// for what it has made: whatever has the digest is that, whoever brings it. And
// everybody can make it again to see whether this table is right.
type Interpreters map[string][]string

// Public are the interpreters that enclaves take compiled. As a part of the program
// the table is measured. Others are compiled anew in each run.
var Public = Interpreters{
	// CPython 3.12.0 for WASI (tools/python-wasi.sh)
	"sha256:e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763": {
		"7f474e13a942d6c862abcad34b9560a5327851634db38fc823f8f34e74418219", // amd64 with BMI1, BMI2 and POPCNT
	},
}

// Has says whether an encoded [Compiled] is an interpreter's.
func (i Interpreters) Has(interpreter string, compiled []byte) bool {
	if len(compiled) > MaxCompiled || len(i[interpreter]) == 0 {
		return false
	}
	sum := sha256.Sum256(compiled)
	return slices.Contains(i[interpreter], hex.EncodeToString(sum[:]))
}
