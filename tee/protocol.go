// Package tee is the node's end of the enclave, and what both ends share: the
// protocol of the pipe, the platforms that quote, and the archives that go in
// and come out. Package tee/enclave is the inside.
//
// The node starts the enclave for one task, as a process of its own, and speaks
// a small typed protocol with it over one pair of pipes ([Request],
// [Response]). It hands in ciphertext and gets out ciphertext, evidence and a
// signed result.
//
// The platform that every machine has is [attest.Simulated]: the process is an
// ordinary one, and its "chip" is a key that the node holds. It behaves like a
// TEE in every message and protects nothing from the machine's owner; its
// evidence says so by type.
package tee

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// MaxFrame bounds one message between node and enclave: all inputs, the code, an
// image, what was compiled, and a bit.
const MaxFrame = 3*task.MaxBlob + MaxCompiled + 1<<20

// Request is what the node asks of the enclave: exactly one field is set.
type Request struct {
	Begin   *Begin        `cbor:"1,keyasint,omitempty"`
	Release *task.Release `cbor:"2,keyasint,omitempty"`
	Run     *Run          `cbor:"3,keyasint,omitempty"`
	Exit    *Exit         `cbor:"4,keyasint,omitempty"`
	Compile *Compile      `cbor:"5,keyasint,omitempty"` // in the place of all others
}

// Compile asks an enclave to compile a public module and to do nothing else: it
// answers with a [Compiled], and ends.
type Compile struct {
	Module []byte `cbor:"1,keyasint"`
}

// Begin tells the enclave what it is for. It answers with evidence, a decoy, and its
// sealing key.
type Begin struct {
	Task     task.Task      `cbor:"1,keyasint"`
	Function task.Function  `cbor:"2,keyasint"`
	Context  attest.Context `cbor:"3,keyasint"`
	Nonce    task.Hash      `cbor:"4,keyasint"`
	Platform Platform       `cbor:"5,keyasint"`
	Fault    uint8          `cbor:"6,keyasint"` // of the decoy: [attest.Decoy]
}

// Run brings the parties' encrypted files, in the order of [task.Parties], and the
// image if the function has one. The enclave answers with a result.
type Run struct {
	Files [][]byte `cbor:"1,keyasint"` // by party; empty of who has none
	Image []byte   `cbor:"2,keyasint"` // in the clear
	// Compiled is the image, compiled, or nothing. It is used only if it is what
	// the enclave program has in [Public], byte for byte.
	Compiled []byte `cbor:"3,keyasint,omitempty"`
}

// Exit asks for the last evidence; then the enclave ends.
type Exit struct {
	Context attest.Context `cbor:"1,keyasint"`
	Nonce   task.Hash      `cbor:"2,keyasint"`
}

// Response is the enclave's answer. Error is for what the node did wrong; what
// the function did is in the result.
type Response struct {
	Evidence []byte             `cbor:"1,keyasint,omitempty"`
	Result   *task.SignedResult `cbor:"2,keyasint,omitempty"`
	Output   []byte             `cbor:"3,keyasint,omitempty"` // the encrypted output blob
	Decoy    []byte             `cbor:"5,keyasint,omitempty"` // evidence that is faulty on purpose, of keys that nobody has kept
	Compiled []byte             `cbor:"6,keyasint,omitempty"` // of a compile job alone
	Seal     []byte             `cbor:"7,keyasint,omitempty"` // the HPKE public key that the evidence names
	Error    string             `cbor:"4,keyasint,omitempty"`
}

// WriteFrame sends one message: four bytes of length, then CBOR.
func WriteFrame(w io.Writer, v any) error {
	body := task.Encode(v)
	if len(body) > MaxFrame {
		return fmt.Errorf("message of %d bytes: %w", len(body), task.ErrTooLarge)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// ReadFrame reads one message; its size is checked before it is allocated.
func ReadFrame[T any](r io.Reader) (T, error) {
	var zero T
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return zero, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return zero, fmt.Errorf("message of %d bytes: %w", n, task.ErrTooLarge)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return zero, err
	}
	return task.Decode[T](body, MaxFrame)
}
