// Package nsm makes Nitro evidence inside an AWS Nitro Enclave: an attestation
// document of the Nitro Security Module, by one ioctl on /dev/nsm that carries a
// CBOR request and its answer (Linux 6.8, include/uapi/linux/nsm.h).
//
// It was written against the kernel's header and tested with a function in
// place of the ioctl. It has not been run on hardware.
package nsm

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/fxamacker/cbor/v2"
	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// Path is the module's device.
const Path = "/dev/nsm"

// maxResponse bounds an answer, in bytes (NSM_RESPONSE_MAX_SIZE).
const maxResponse = 0x3000

// Quoter asks the module. Call is the ioctl, or what stands in for it.
type Quoter struct {
	Call func(request []byte) ([]byte, error)
}

// Open gives a quoter on the device.
func Open(path string) Quoter {
	return Quoter{func(request []byte) ([]byte, error) { return ioctl(path, request) }}
}

// Kind is [attest.Nitro].
func (Quoter) Kind() attest.Kind { return attest.Nitro }

// request and response are the module's, by name.
type request struct {
	Attestation attestation `cbor:"Attestation"`
}

type attestation struct {
	UserData  []byte `cbor:"user_data"`
	Nonce     []byte `cbor:"nonce"`
	PublicKey []byte `cbor:"public_key"`
}

type response struct {
	Attestation *struct {
		Document []byte `cbor:"document"`
	} `cbor:"Attestation"`
	Error string `cbor:"Error"`
}

// Quote has the module sign a document with the report data in it.
func (q Quoter) Quote(reportData task.Hash) ([]byte, error) {
	raw, err := cbor.Marshal(request{attestation{UserData: reportData[:]}})
	if err != nil {
		return nil, err
	}
	answer, err := q.Call(raw)
	if err != nil {
		return nil, task.Refuse("tee-missing", "no Nitro Enclave here: %v", err)
	}
	if len(answer) > maxResponse {
		return nil, fmt.Errorf("nsm: an answer of %d bytes: %w", len(answer), task.ErrTooLarge)
	}
	var r response
	if err := cbor.Unmarshal(answer, &r); err != nil {
		return nil, fmt.Errorf("nsm: %w", err)
	}
	if r.Attestation == nil || len(r.Attestation.Document) == 0 {
		return nil, fmt.Errorf("nsm: the module gives no document: %s", r.Error)
	}
	return task.Encode(attest.NitroQuote{Document: r.Attestation.Document}), nil
}

// message is struct nsm_raw: two iovecs, of the request and of the answer.
type message struct {
	request, response unix.Iovec
}

// ioctlRaw is NSM_IOCTL_RAW: _IOWR(0x0A, 0, struct nsm_raw).
const ioctlRaw = 3<<30 | unsafe.Sizeof(message{})<<16 | 0x0A<<8

func ioctl(path string, in []byte) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := make([]byte, maxResponse)
	var m message
	m.request.Base, m.response.Base = &in[0], &out[0]
	m.request.SetLen(len(in))
	m.response.SetLen(len(out))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlRaw, uintptr(unsafe.Pointer(&m)))
	runtime.KeepAlive(in)
	if errno != 0 {
		return nil, errno
	}
	if m.response.Len > maxResponse {
		return nil, fmt.Errorf("nsm: an answer of %d bytes", m.response.Len)
	}
	return out[:m.response.Len], nil
}
