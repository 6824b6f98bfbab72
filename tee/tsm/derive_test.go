package tsm

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// chip derives keys as the secure processor does: from its own secret, what the
// request selects, and what is so of the guest.
func chip(secret, measurement string, policy uint64) func([32]byte) ([64]byte, error) {
	return func(q [32]byte) (a [64]byte, err error) {
		d := sha256.New()
		d.Write([]byte(secret))
		d.Write(q[:])
		fields := binary.LittleEndian.Uint64(q[8:])
		if fields&1 != 0 {
			d.Write(binary.LittleEndian.AppendUint64(nil, policy))
		}
		if fields&8 != 0 {
			d.Write([]byte(measurement))
		}
		if fields>>6 != 0 || binary.LittleEndian.Uint32(q[0:]) > 1 {
			binary.LittleEndian.PutUint32(a[:], 0x16) // invalid parameters
		}
		d.Sum(a[32:32])
		return a, nil
	}
}

// A VM gets the same key as another of the same image on the same chip, and
// nobody else does.
func TestSNPSealingKey(t *testing.T) {
	derive := func(call func([32]byte) ([64]byte, error), label task.Hash) task.Hash {
		t.Helper()
		key, err := Quoter{Is: attest.SEVSNP, derive: call}.SealingKey(label)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	want := derive(chip("c", "image", 3), task.Hash{1})
	if derive(chip("c", "image", 3), task.Hash{1}) != want {
		t.Error("not the same key twice")
	}
	for name, key := range map[string]task.Hash{
		"another label":       derive(chip("c", "image", 3), task.Hash{2}),
		"another chip":        derive(chip("d", "image", 3), task.Hash{1}),
		"another image":       derive(chip("c", "other", 3), task.Hash{1}),
		"a guest under debug": derive(chip("c", "image", 1<<19|3), task.Hash{1}),
	} {
		if key == want {
			t.Errorf("%s: the same key", name)
		}
	}
	refuses := func([32]byte) (a [64]byte, err error) { a[0] = 0x16; return a, nil }
	if _, err := (Quoter{Is: attest.SEVSNP, derive: refuses}).SealingKey(task.Hash{}); err == nil {
		t.Error("a key that the processor refuses")
	}
	if _, err := (Quoter{Is: attest.TDX, derive: chip("c", "image", 3)}).SealingKey(task.Hash{}); task.CodeOf(err) != "no-sealing" {
		t.Errorf("TDX: %v", err)
	}
	if _, err := (Quoter{Is: attest.SEVSNP}).SealingKey(task.Hash{}); task.CodeOf(err) != "tee-missing" {
		t.Errorf("without the device: %v", err)
	}
}

// The kernel's header has 32 bytes and this number.
func TestIoctl(t *testing.T) {
	if unsafe.Sizeof(message{}) != 32 || ioctlDerive != 0xc0205301 {
		t.Errorf("%d bytes, %#x", unsafe.Sizeof(message{}), ioctlDerive)
	}
}
