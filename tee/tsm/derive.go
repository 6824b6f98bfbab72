package tsm

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// guestPath is the device by which an SEV-SNP guest speaks with the secure
// processor. What they say to each other is encrypted: the host passes it on.
const guestPath = "/dev/sev-guest"

// SealingKey derives a key that only this VM's image, under the same guest
// policy, gets from this chip (SEV-SNP firmware ABI, MSG_KEY_REQ). TDX has no such
// thing.
func (q Quoter) SealingKey(label task.Hash) (task.Hash, error) {
	if q.Is != attest.SEVSNP {
		return task.Hash{}, task.Refuse("no-sealing", "%s derives no keys", q.Is)
	}
	call := q.derive
	if call == nil {
		call = guestRequest
	}
	var request [32]byte // root key 0, which is the VCEK; VMPL, SVN and TCB 0
	const policy, measurement = 1 << 0, 1 << 3
	binary.LittleEndian.PutUint64(request[8:], policy|measurement)
	answer, err := call(request)
	if err != nil {
		return task.Hash{}, task.Refuse("tee-missing", "no SEV-SNP guest here: %v", err)
	}
	if status := binary.LittleEndian.Uint32(answer[:]); status != 0 {
		return task.Hash{}, fmt.Errorf("tsm: the processor derives no key: status %#x", status)
	}
	return task.H(task.TagCompiled, answer[32:], label[:]), nil
}

// message is struct snp_guest_request_ioctl (include/uapi/linux/sev-guest.h).
type message struct {
	version           uint8
	request, response *byte
	errors            uint64
}

// ioctlDerive is SNP_GET_DERIVED_KEY: _IOWR('S', 1, struct snp_guest_request_ioctl).
const ioctlDerive = 3<<30 | unsafe.Sizeof(message{})<<16 | 'S'<<8 | 1

// guestRequest asks the device: struct snp_derived_key_req, and the 64 bytes of
// struct snp_derived_key_resp.
func guestRequest(request [32]byte) (answer [64]byte, err error) {
	f, err := os.OpenFile(guestPath, os.O_RDWR, 0)
	if err != nil {
		return answer, err
	}
	defer f.Close()
	m := message{version: 1, request: &request[0], response: &answer[0]}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlDerive, uintptr(unsafe.Pointer(&m)))
	runtime.KeepAlive(&m)
	if errno != 0 {
		return answer, fmt.Errorf("%w (firmware %#x)", errno, m.errors)
	}
	return answer, nil
}
